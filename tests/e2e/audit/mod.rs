//! The trail through the binary: what is written when, and what happens when nothing can be written.

mod faults;
mod kill;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::bed::{Bed, Ended, Running, crossgate, until};
use super::issuer::{tampered, token};
use super::origin::Answer;

const RULES: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - id: execution.start
    match: { method: [POST], path: "/api/orgs/{org}/workspaces/{workspace}/executions" }
    access: privileged
    require: { org: "{org}", role: [org:admin], workspace: "{workspace}" }
    audit: { action: execution.start, resource: "workspace:{workspace}" }
  - { id: approve, match: { path: "/approve/{*rest}" }, access: privileged }
"#;

const PATH: &str = "/api/orgs/org_1/workspaces/w1/executions";

pub(super) fn bed() -> Bed {
    Bed::new().policy(RULES).section("identity: { workspaces: { claim: workspaces } }")
}

fn admin() -> String {
    token("user_ada").org("org_1", "acme", "admin").claim("workspaces", serde_json::json!(["w1"])).sign()
}

/// All whole lines of the active segment.
fn trail(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}"))).collect()
}

pub(super) fn entries(folder: &Path, event: &str) -> Vec<Value> {
    trail(folder).into_iter().filter(|entry| entry["event"] == event).collect()
}

pub(super) fn outcome(bed: &Running, attempt: &Value) -> Value {
    until("the outcome", || {
        entries(bed.folder(), "privileged.outcome").into_iter().find(|outcome| outcome["ref"] == attempt["id"])
    })
}

fn verify(folder: &Path) -> std::process::Output {
    crossgate().args(["audit", "verify"]).arg(folder.join("audit")).output().unwrap()
}

fn assert_verified(folder: &Path) {
    let verified = verify(folder);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
}

#[test]
fn a_privileged_action_is_on_disk_before_the_api_hears_of_it() {
    let bed = bed().start();
    let file = bed.folder().join("audit/audit.jsonl");
    bed.origin().answers(move |request| {
        let id = request.values("x-crossgate-request-id").remove(0);
        let is_written = std::fs::read_to_string(&file)
            .unwrap()
            .lines()
            .any(|line| line.contains("privileged.attempt") && line.contains(&format!("\"id\":\"{id}\"")));
        Answer::text(201, if is_written { "recorded" } else { "unrecorded" })
    });
    let answer = bed.post(PATH).bearer(&admin()).body("{}").send();
    assert_eq!((answer.status, answer.text().as_str()), (201, "recorded"));
    let attempts = entries(bed.folder(), "privileged.attempt");
    let [attempt] = attempts.as_slice() else { panic!("{attempts:?}") };
    for (pointer, expected) in [
        ("/decision", "allow"),
        ("/code", "ok"),
        ("/route", "execution.start"),
        ("/access", "privileged"),
        ("/action", "execution.start"),
        ("/resource", "workspace:w1"),
        ("/actor/subject", "user_ada"),
        ("/actor/clerk_user", "user_ada"),
        ("/actor/session", "sess_1"),
        ("/actor/token", "session"),
        ("/actor/method", "clerk"),
        ("/org", "org_1"),
        ("/workspace", "w1"),
        ("/role", "org:admin"),
        ("/arm", "clerk"),
        ("/request/method", "POST"),
        ("/request/host", "127.0.0.1"),
        ("/request/path", PATH),
        ("/request/client", "127.0.0.1"),
        ("/request/peer", "127.0.0.1"),
    ] {
        assert_eq!(attempt.pointer(pointer).and_then(Value::as_str), Some(expected), "{pointer} of {attempt}");
    }
    assert_eq!(attempt["request"]["id"], answer.header("x-request-id").unwrap());
    assert_eq!(attempt["policy"]["snapshot"], bed.ask_admin("/v1/snapshot").json()["snapshot"]);
    assert!(attempt["policy"]["file"].as_str().unwrap().ends_with("main.yaml"), "{attempt}");
    assert_eq!(attempt["actor"]["token_hash"].as_str().map(str::len), Some(32));
    let outcome = outcome(&bed, attempt);
    assert_eq!(
        (&outcome["decision"], &outcome["reason"], &outcome["code"]),
        (&"allow".into(), &"ok".into(), &"ok".into())
    );
    assert_eq!((&outcome["outcome"]["status"], &outcome["outcome"]["upstream"]), (&201.into(), &"app".into()));
    assert_eq!(outcome["outcome"]["bytes"], 8);
    assert!(outcome["outcome"]["duration_us"].as_u64().is_some_and(|took| took > 0));
    assert_eq!((&outcome["action"], &outcome["request"]["id"]), (&attempt["action"], &attempt["request"]["id"]));
    let folder = bed.folder().to_owned();
    let (kept, ended) = bed.stop_keeping_folder();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_verified(&folder);
    drop(kept);
}

#[test]
fn every_attempt_has_one_outcome_whatever_becomes_of_it() {
    let bed = bed().upstream_option("timeouts: { read: 300ms, connect: 200ms }").start();
    bed.origin().answers(|request| match request.target().as_str() {
        "/approve/hang" | "/approve/gone" => Answer::Hang,
        "/approve/reset" => Answer::Close,
        "/approve/garbage" => Answer::Raw(b"nonsense\r\n\r\n".to_vec()),
        "/approve/cut" => Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec()),
        "/approve/refused" => Answer::text(409, "no"),
        _ => Answer::text(200, "yes"),
    });
    let ada = token("user_ada").sign();
    let table = [
        ("/approve/fine", "200 ok", "ok", 200),
        ("/approve/refused", "409 ok", "ok", 409),
        ("/approve/hang", "504 upstream_timeout", "timeout", 504),
        ("/approve/reset", "502 upstream_unavailable", "reset", 502),
        ("/approve/garbage", "502 upstream_unavailable", "reset", 502),
    ];
    for (path, answer, reason, status) in table {
        assert_eq!(bed.post(path).bearer(&ada).body("{}").send().outcome(), answer, "{path}");
        let attempt = attempt_on(&bed, path);
        let outcome = outcome(&bed, &attempt);
        assert_eq!((&outcome["reason"], &outcome["outcome"]["status"]), (&reason.into(), &status.into()), "{path}");
    }
    let mut wire = bed.connect();
    wire.write(&bed.post("/approve/cut").bearer(&ada).body("{}").bytes());
    wire.rest();
    assert_eq!(outcome(&bed, &attempt_on(&bed, "/approve/cut"))["reason"], "reset");
    let mut wire = bed.connect();
    wire.write(&bed.post("/approve/gone").bearer(&ada).body("{}").bytes());
    let attempt = attempt_on(&bed, "/approve/gone");
    until("the API to have it", || bed.origin().all().iter().find(|hit| hit.target() == "/approve/gone").map(|_| ()));
    drop(wire);
    let reason = outcome(&bed, &attempt)["reason"].clone();
    assert!(["client_gone", "timeout"].contains(&reason.as_str().unwrap()), "{reason}");
    let (attempts, hits) = (entries(bed.folder(), "privileged.attempt"), bed.origin().all());
    assert_eq!(attempts.len(), 7);
    let ids = |entries: &[Value]| -> Vec<String> {
        let mut ids: Vec<_> = entries.iter().map(|entry| entry["request"]["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut hit: Vec<String> = hits.iter().flat_map(|hit| hit.values("x-crossgate-request-id")).collect();
    hit.sort();
    assert_eq!(hit, ids(&attempts), "one hit for each attempt");
    assert_eq!(ids(&entries(bed.folder(), "privileged.outcome")), ids(&attempts), "one outcome for each attempt");
}

pub(super) fn attempt_on(bed: &Running, path: &str) -> Value {
    until("the attempt", || {
        entries(bed.folder(), "privileged.attempt").into_iter().find(|entry| entry["request"]["path"] == path)
    })
}

#[test]
fn nothing_sent_is_an_outcome_too() {
    let bed =
        bed().section("upstreams: { app: { endpoints: [\"127.0.0.1:1\"], timeouts: { connect: 200ms } } }").start();
    let ada = token("user_ada").sign();
    assert_eq!(bed.post("/approve/x").bearer(&ada).body("{}").send().status, 502);
    let outcome = outcome(&bed, &attempt_on(&bed, "/approve/x"));
    assert_eq!((&outcome["reason"], &outcome["code"]), (&"not_sent".into(), &"upstream_unavailable".into()));
}

#[test]
fn the_first_denial_is_written_before_its_answer_and_repeats_are_counted() {
    let bed = bed().start();
    let member = token("user_bob").org("org_1", "acme", "member").claim("workspaces", serde_json::json!(["w1"])).sign();
    for times in 0..5 {
        assert_eq!(bed.post(PATH).bearer(&member).body("{}").send().outcome(), "403 forbidden");
        let denied = entries(bed.folder(), "denied");
        assert_eq!(denied.len(), 1, "after {times} more");
        assert_eq!(denied[0]["reason"], "role does not hold");
        assert_eq!((&denied[0]["decision"], &denied[0]["actor"]["subject"]), (&"deny".into(), &"user_bob".into()));
    }
    for _ in 0..3 {
        assert_eq!(bed.get("/me/x").send().outcome(), "401 no_credential");
        assert_eq!(bed.get("/nowhere").send().outcome(), "403 no_route");
    }
    let denied = entries(bed.folder(), "denied");
    let codes: Vec<_> = denied.iter().map(|entry| entry["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["forbidden", "no_credential", "no_route"]);
    assert!(denied[1].get("actor").is_none() && denied[1]["request"]["peer"] == "127.0.0.1");
    assert!(denied[2].get("route").is_none());
    assert!(bed.origin().all().is_empty());
    let folder = bed.folder().to_owned();
    let (_kept, _) = bed.stop_keeping_folder();
    let mut counts: Vec<_> = entries(&folder, "denied")
        .iter()
        .filter_map(|entry| Some((entry["code"].as_str().unwrap().to_owned(), entry["count"].as_u64()?)))
        .collect();
    counts.sort();
    assert_eq!(counts, [("forbidden".to_owned(), 4), ("no_credential".to_owned(), 2), ("no_route".to_owned(), 2)]);
    assert_verified(&folder);
}

/// What repeats is what is the same: somebody else who acts in a person's name, and another reason, are neither.
#[test]
fn a_denial_hides_neither_an_impersonator_nor_another_reason() {
    let bed = bed().start();
    let of = |role: &str, org: &str| {
        token("user_bob")
            .org(org, "acme", role)
            .claim("workspaces", serde_json::json!(["w1"]))
            .claim("sid", "sess_1".into())
    };
    let member = of("member", "org_1");
    let by = |who: &str| member.clone().claim("act", serde_json::json!({ "sub": who }));
    let stranger = of("admin", "org_2");
    for token in [member.clone(), by("user_imp1"), by("user_imp2"), stranger, by("user_imp1")] {
        assert_eq!(bed.post(PATH).bearer(&token.sign()).body("{}").send().outcome(), "403 forbidden");
    }
    let told: Vec<_> = entries(bed.folder(), "denied")
        .iter()
        .map(|entry| (entry["actor"]["impersonator"].as_str().map(str::to_owned), entry["reason"].clone()))
        .collect();
    let (role, org) = ("role does not hold", "org does not hold");
    let expected = [(None, role), (Some("user_imp1"), role), (Some("user_imp2"), role), (None, org)];
    assert_eq!(told, expected.map(|(who, why)| (who.map(str::to_owned), why.into())));
    let logins = until("the logins", || {
        let logins = entries(bed.folder(), "authentication");
        (logins.len() >= 3).then_some(logins)
    });
    let who: Vec<_> = logins.iter().map(|entry| entry["actor"]["impersonator"].as_str()).collect();
    assert_eq!(who, [None, Some("user_imp1"), Some("user_imp2")]);
}

#[test]
fn a_login_is_written_down_once_a_session() {
    let bed = bed().start();
    for session in ["sess_1", "sess_2"] {
        for age in [20, 21] {
            let token = token("user_ada").claim("sid", session.into()).issued(age).sign();
            for _ in 0..3 {
                assert_eq!(bed.get("/me/x").bearer(&token).send().status, 200);
            }
        }
    }
    let sessions = until("the logins", || {
        let entries = entries(bed.folder(), "authentication");
        (entries.len() >= 2).then(|| entries.iter().map(|entry| entry["actor"]["session"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(sessions, ["sess_1", "sess_2"]);
}

#[test]
fn only_what_is_asked_for_is_written_and_attempts_always_are() {
    let bed = bed().section("audit: { events: [config] }").start();
    assert_eq!(bed.get("/me/x").send().status, 401);
    assert_eq!(bed.post("/approve/x").bearer(&admin()).body("{}").send().status, 200);
    let events: Vec<_> = until("the outcome", || {
        let events: Vec<_> =
            trail(bed.folder()).iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect();
        events.contains(&"privileged.outcome".to_owned()).then_some(events)
    });
    assert!(!events.iter().any(|event| event == "denied" || event == "authentication"), "{events:?}");
    assert!(events.contains(&"config".to_owned()) && events.contains(&"privileged.attempt".to_owned()), "{events:?}");
}

#[test]
fn changes_of_the_config_are_in_the_trail() {
    let bed = bed().start();
    let policy = bed.folder().join("policies/main.yaml");
    let actions = || -> Vec<String> {
        entries(bed.folder(), "config").iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    until("the start", || (actions() == ["config.load"]).then_some(()));
    std::fs::write(&policy, RULES.replace("id: me,", "id: myself,")).unwrap();
    bed.process.signal("HUP");
    until("the reload", || (actions().len() == 2).then_some(()));
    std::fs::write(&policy, "routes: [{ id: canary-secret, nonsense: 1 }]").unwrap();
    bed.process.signal("HUP");
    until("the refusal", || (actions() == ["config.load", "config.reload", "config.refused"]).then_some(()));
    let refused = entries(bed.folder(), "config").pop().unwrap();
    assert_eq!(refused["decision"], "deny");
    assert!(refused["reason"].as_str().unwrap().starts_with("CG0"), "{refused}");
}

/// Else whoever edits the config could switch the writing off without a trace of that.
#[test]
fn the_reload_that_ends_the_events_is_itself_recorded() {
    let bed = bed().section("audit: { events: [privileged, denied, config] }").start();
    let config = bed.folder().join("crossgate.yaml");
    let written = std::fs::read_to_string(&config).unwrap();
    let told = || -> Vec<_> {
        let entries = entries(bed.folder(), "config");
        entries.iter().map(|entry| (entry["action"].clone(), entry["reason"].clone())).collect()
    };
    until("the start", || (told().len() == 1).then_some(()));
    std::fs::write(&config, written.replace("[privileged, denied, config]", "[privileged]")).unwrap();
    let said = until("the reload", || (told().len() == 2).then(|| told().remove(1)));
    let reason = "audit.events: privileged (before: privileged, denied, config)";
    assert_eq!(said, ("config.reload".into(), reason.into()));
    assert_eq!(bed.get("/me/x").send().outcome(), "401 no_credential");
    assert_eq!(entries(bed.folder(), "denied").len(), 0, "as the config says now");
}

#[test]
fn copies_go_to_stdout_line_by_line() {
    let bed = bed().section("audit: { copy_to: stdout }").start();
    for _ in 0..20 {
        assert_eq!(bed.post("/approve/x").bearer(&admin()).body("{}").send().status, 200);
    }
    until("the outcomes", || (entries(bed.folder(), "privileged.outcome").len() == 20).then_some(()));
    let folder = bed.folder().to_owned();
    let (_kept, Ended { stdout, .. }) = bed.stop_keeping_folder();
    let file = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap();
    let copied: Vec<&str> = stdout.lines().filter(|line| line.starts_with("{\"seq\":")).collect();
    assert_eq!(copied, file.lines().collect::<Vec<_>>());
    for line in stdout.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|problem| panic!("{problem}: {line}"));
    }
}

#[test]
fn no_secret_reaches_the_trail_and_a_token_can_be_asked_for() {
    let bed = bed().start();
    let good = token("user_ada").claim("secret", "canary-claim".into()).sign();
    let (bad, expired) = (tampered(&good, 2), token("user_bob").expired().sign());
    for token in [&good, &bad, &expired] {
        bed.post("/approve/x?token=canary-query")
            .bearer(token)
            .cookie("sid=canary-cookie; __session=canary-session")
            .header("x-api-key", "canary-header")
            .header("user-agent", "canary-agent")
            .body("canary-body")
            .send();
        bed.get("/nowhere?canary-query").bearer(token).send();
    }
    until("the outcome", || (!entries(bed.folder(), "privileged.outcome").is_empty()).then_some(()));
    let folder = bed.folder().to_owned();
    let config = folder.join("crossgate.yaml");
    let (_kept, _) = bed.stop_keeping_folder();
    let mut all = String::new();
    for file in std::fs::read_dir(folder.join("audit")).unwrap() {
        all.push_str(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
    }
    assert!(!all.contains("canary"), "{all}");
    for token in [&good, &bad, &expired] {
        for part in token.split('.') {
            assert!(!all.contains(&part[..20]), "{part}");
        }
    }
    for (token, expected) in [(&good, true), (&bad, true), (&token("user_eve").sign(), false)] {
        let mut show = crossgate();
        show.args(["audit", "show", "--format", "json", "--token", token, "-c"]).arg(&config);
        let shown = String::from_utf8(show.output().unwrap().stdout).unwrap();
        assert_eq!(shown.contains("token_hash"), expected, "{shown}");
    }
}

#[test]
fn whatever_a_client_writes_is_one_line_and_can_be_had_back() {
    let bed = bed().start();
    for (name, value) in [
        ("line breaks", "user\r\n{\"seq\":1}"),
        ("an escape", "user\u{1b}[2J\u{9b}31m"),
        ("quotes", "us\"er\\"),
        ("separators", "user\u{2028}\u{2029}\u{85}"),
        ("letters", "üser\u{1f600}"),
        ("nul", "us\u{0}er"),
    ] {
        let token = token(value).sign();
        let answer = bed.post("/approve/x").bearer(&token).body("{}").send();
        if answer.status != 200 {
            continue;
        }
        let found = until(name, || {
            entries(bed.folder(), "privileged.attempt").into_iter().find(|entry| entry["actor"]["clerk_user"] == value)
        });
        assert_eq!(found["action"], "approve");
    }
    let target = format!("/api/orgs/org_1/workspaces/{}/executions", "%22%7D%0A%E2%80%A8".replace("%0A", "%7F"));
    bed.post(&target).bearer(&admin()).body("{}").send();
    let long = format!("/me/{}", "y".repeat(9000));
    assert_eq!(bed.get(&long).send().status, 401);
    let text = std::fs::read(bed.folder().join("audit/audit.jsonl")).unwrap();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.len() <= 4096 && line[..line.len() - 1].iter().all(|byte| (b' '..=b'~').contains(byte)));
        serde_json::from_slice::<Value>(line).unwrap();
    }
}

#[test]
fn a_tunnel_has_an_attempt_at_its_start_and_an_outcome_at_its_end() {
    let bed = bed().start();
    bed.origin().answers(|_| Answer::Tunnel);
    let mut wire = bed.connect();
    let call = bed
        .get("/approve/socket")
        .bearer(&token("user_ada").sign())
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    wire.write(&call.bytes());
    let head = String::from_utf8(wire.head().unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let attempt = attempt_on(&bed, "/approve/socket");
    wire.write(b"hello");
    assert_eq!(wire.exactly(5).unwrap(), b"hello");
    assert!(entries(bed.folder(), "privileged.outcome").is_empty());
    drop(wire);
    let outcome = outcome(&bed, &attempt);
    assert_eq!(outcome["outcome"]["status"], 101, "{outcome}");
}

#[test]
fn a_request_cut_by_the_end_of_the_process_has_an_outcome() {
    let bed = bed().section("server: { threads: 2, drain: { delay: 0s, limit: 100ms } }").start();
    bed.origin().answers(|_| Answer::Hang);
    let mut wire = bed.connect();
    wire.write(&bed.post("/approve/x").bearer(&token("user_ada").sign()).body("{}").bytes());
    let attempt = attempt_on(&bed, "/approve/x");
    let folder = bed.folder().to_owned();
    let (_kept, ended) = bed.stop_keeping_folder();
    assert!(ended.took < Duration::from_secs(30));
    let outcomes = entries(&folder, "privileged.outcome");
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(outcome["ref"], attempt["id"]);
    assert_eq!(trail(&folder).last().unwrap()["action"], "trail.stop");
    assert_verified(&folder);
}
