//! A trail that cannot be written: nothing privileged goes on, everything else never notices, and it comes back by itself.

use super::{RULES, bed, entries, trail, verify};
use crate::bed::{Running, until};
use crate::issuer::token;

/// Puts a file where the folder was: nothing can be written there, also not by root.
fn break_it(bed: &Running) {
    let folder = bed.folder().join("audit");
    std::fs::rename(&folder, bed.folder().join("away")).unwrap();
    std::fs::write(&folder, "not a folder").unwrap();
}

fn mend_it(bed: &Running) {
    let folder = bed.folder().join("audit");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(bed.folder().join("away"), &folder).unwrap();
}

#[test]
fn without_its_folder_nothing_privileged_goes_on_and_it_comes_back_without_a_restart() {
    let bed = bed().start();
    let ada = token("user_ada").sign();
    let act = || bed.post("/approve/x").bearer(&ada).body("{}").send();
    assert_eq!(act().outcome(), "200 ok");
    break_it(&bed);
    let answer = until("the failure to be seen", || Some(act()).filter(|answer| answer.status == 503));
    assert_eq!(answer.outcome(), "503 audit_unavailable");
    assert!(answer.header("retry-after").is_some());
    let hits = bed.origin().count();
    for _ in 0..20 {
        assert_eq!(act().outcome(), "503 audit_unavailable");
        assert_eq!(bed.get("/public/x").send().status, 200);
        assert_eq!(bed.get("/me/x").bearer(&ada).send().status, 200);
        assert_eq!(bed.get("/me/x").send().outcome(), "401 no_credential", "a denial that cannot be recorded is one");
    }
    assert_eq!(bed.origin().count(), hits + 40);
    assert!(bed.reasons().contains(&"audit_unavailable".to_owned()));
    assert_eq!(bed.ask_admin("/readyz").status, 200);
    assert_eq!(bed.metric("crossgate_audit_available"), 0.0);
    mend_it(&bed);
    until("the trail to come back", || (act().status == 200).then_some(()));
    assert!(!bed.reasons().contains(&"audit_unavailable".to_owned()));
    assert_eq!(bed.metric("crossgate_audit_available"), 1.0);
    let hits: Vec<String> = bed
        .origin()
        .all()
        .iter()
        .filter(|hit| hit.target() == "/approve/x")
        .flat_map(|hit| hit.values("x-crossgate-request-id"))
        .collect();
    let folder = bed.folder().to_owned();
    let (_kept, _) = bed.stop_keeping_folder();
    let said = verify(&folder);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    let mut recorded = String::new();
    for file in std::fs::read_dir(folder.join("audit")).unwrap() {
        recorded.push_str(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
    }
    let attempts: Vec<&str> = recorded.lines().filter(|line| line.contains("privileged.attempt")).collect();
    for hit in &hits {
        assert!(attempts.iter().any(|line| line.contains(hit)), "{hit} reached the API unrecorded");
    }
}

#[test]
fn a_named_route_may_go_on_when_the_config_says_so_too() {
    let policy = RULES.replace("access: privileged }", "access: privileged, audit: { best_effort: true } }");
    let bed = bed().policy(&policy).section("audit: { on_failure: allow }").start();
    let ada = token("user_ada").sign();
    break_it(&bed);
    let start = || bed.post(super::PATH).bearer(&super::admin()).body("{}").send();
    until("the failure to be seen", || (start().status == 503).then_some(()));
    assert_eq!(bed.post("/approve/x").bearer(&ada).body("{}").send().status, 200);
    assert_eq!(start().outcome(), "503 audit_unavailable", "the other route did not say so");
    assert!(bed.metric("crossgate_audit_unrecorded_total") >= 1.0);
}

#[test]
fn best_effort_alone_opens_nothing() {
    let policy = RULES.replace("access: privileged }", "access: privileged, audit: { best_effort: true } }");
    let bed = bed().policy(&policy).start();
    let ada = token("user_ada").sign();
    break_it(&bed);
    until("the failure to be seen", || {
        (bed.post("/approve/x").bearer(&ada).body("{}").send().status == 503).then_some(())
    });
}

#[test]
fn a_start_without_a_trail_that_must_be_is_refused_in_one_line() {
    let broken = bed();
    std::fs::write(broken.folder().join("audit"), "not a folder").unwrap();
    let (gate, admin) = (crate::bed::reserve(), crate::bed::reserve());
    let address = |listener: &std::net::TcpListener| crate::wire::Address::Tcp(listener.local_addr().unwrap());
    let (gate_address, admin_address) = (address(&gate), address(&admin));
    drop((gate, admin));
    let ended = broken.fail_at(&gate_address, &admin_address);
    assert_eq!(ended.status.code(), Some(1));
    let last = ended.stderr.lines().last().unwrap().to_owned();
    assert!(last.contains("audit"), "{last}");
    std::fs::remove_file(broken.folder().join("audit")).unwrap();
    let running = broken.start_at(gate_address, admin_address);
    assert!(!trail(running.folder()).is_empty());
}

#[test]
fn a_second_process_on_one_trail_is_refused() {
    let first = bed().start();
    let copy = first.folder().join("second.yaml");
    let text = std::fs::read_to_string(first.folder().join("crossgate.yaml")).unwrap();
    let (gate, admin) = (crate::bed::reserve(), crate::bed::reserve());
    let text = text
        .replace(&first.gate.to_string(), &gate.local_addr().unwrap().to_string())
        .replace(&first.admin.to_string(), &admin.local_addr().unwrap().to_string());
    drop((gate, admin));
    std::fs::write(&copy, text).unwrap();
    let second = crate::bed::crossgate().args(["run", "-c"]).arg(&copy).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("audit"), "{said}");
    let ada = token("user_ada").sign();
    assert_eq!(first.post("/approve/x").bearer(&ada).body("{}").send().status, 200);
    assert_eq!(entries(first.folder(), "privileged.attempt").len(), 1);
}
