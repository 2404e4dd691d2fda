//! Moving the rollout: by command line and admin listener, over restarts, and by whom.

use std::process::Output;

use serde_json::Value;

use super::bed::{Bed, Running, crossgate, reserve, until};
use super::wire::{Address, Call, Response};

const API: &str = "rollout: { source: api, percent: 10, limits: { max_step: 25 } }";

fn cli(bed: &Running, arguments: &[&str]) -> Output {
    let mut command = crossgate();
    command.arg("rollout").args(arguments).arg("-c").arg(bed.folder().join("crossgate.yaml"));
    command.env_remove("CROSSGATE_ADMIN_TOKEN").output().unwrap()
}

/// Exit code, and what was said.
fn told(bed: &Running, arguments: &[&str]) -> (i32, String) {
    let output = cli(bed, arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// State and effective percentage.
fn stand(bed: &Running) -> (String, String) {
    let view = bed.ask_admin("/v1/rollouts/auth").json();
    (view["state"].as_str().unwrap().to_owned(), view["effective_percent"].to_string())
}

fn at(state: &str, percent: &str) -> (String, String) {
    (state.to_owned(), percent.to_owned())
}

#[test]
fn the_command_line_moves_it_and_a_restart_forgets_nothing() {
    let bed = Bed::new().section(API).start_on_sockets();
    assert_eq!(stand(&bed), at("normal", "10"));
    assert_eq!(bed.metric("crossgate_guard_ok{rollout=\"auth\"}"), 1.0);
    assert_eq!(told(&bed, &["set", "12.5", "--reason", "week 1"]).0, 0);
    let (code, text) = told(&bed, &["set", "60"]);
    assert_eq!(code, 1);
    assert!(text.contains("max_step lets this step go up to 37.5 %"), "{text}");
    assert_eq!(told(&bed, &["freeze"]).0, 0);
    let (code, text) = told(&bed, &["set", "13"]);
    assert!(code == 1 && text.contains("frozen"), "{text}");
    let bed = bed.restart();
    assert_eq!(stand(&bed), at("frozen", "12.5"));
    assert_eq!(told(&bed, &["confirm"]).0, 1);
    assert_eq!(told(&bed, &["rollback"]).0, 0);
    let bed = bed.restart();
    assert_eq!(stand(&bed), at("rolled_auto", "0"));
    assert_eq!(told(&bed, &["confirm"]).0, 0);
    assert_eq!(stand(&bed), at("rolled_op", "0"));
    assert_eq!(bed.metric("crossgate_guard_state{rollout=\"auth\",state=\"rolled_op\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_guard_ok{rollout=\"auth\"}"), 0.0);
    assert_eq!(told(&bed, &["resume", "5"]).0, 0);
    assert_eq!(bed.metric("crossgate_rollout_weight_ratio{arm=\"clerk\",rollout=\"auth\"}"), 0.05);
    let view: Value = serde_json::from_slice(&cli(&bed, &["status", "--format", "json"]).stdout).unwrap();
    assert_eq!((&view["generation"], &view["changed_by"]), (&2.into(), &"unix".into()));
    assert!(told(&bed, &["status"]).1.starts_with("auth: normal, 5 %"));
    assert_eq!(told(&bed, &["set", "101"]).0, 2, "wrong usage");
    assert_eq!(told(&bed, &["status", "--name", "other"]).0, 1);
}

/// Ten rounds; `CROSSGATE_ROLLOUT_KILLS` says how many (`bench/soak/kill.sh` asks for 200).
fn kills() -> u32 {
    std::env::var("CROSSGATE_ROLLOUT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Generation, revision, state and effective percentage.
type Stand = (u64, u64, String, String);

fn stand_of(view: &Value) -> Stand {
    let number = |member: &str| view[member].as_u64().unwrap();
    let state = view["state"].as_str().unwrap().to_owned();
    (number("generation"), number("revision"), state, view["effective_percent"].to_string())
}

/// A move that is allowed from there, and what it leads to.
fn next(from: &Stand, turn: u64) -> (&'static str, &'static str, String, Stand) {
    let (generation, revision, state, percent) = from.clone();
    let percent_then = format!("{}", (turn % 899 + 1) as f64 / 100.0);
    let body = format!("{{\"percent\":{percent_then}}}");
    let (method, action, body, then) = match (&*state, turn % 5) {
        ("normal", 0) => ("POST", "freeze", String::new(), (generation, "frozen", percent)),
        ("normal", 1) => ("POST", "rollback", String::new(), (generation, "rolled_auto", "0".to_owned())),
        ("normal", _) => ("PUT", "weight", body, (generation, "normal", percent_then)),
        ("rolled_auto", 0 | 1) => ("POST", "confirm", String::new(), (generation, "rolled_op", percent)),
        ("frozen", _) => ("POST", "resume", String::new(), (generation + 1, "normal", percent)),
        _ => ("POST", "resume", body, (generation + 1, "normal", percent_then)),
    };
    (method, action, body, (then.0, revision + 1, then.1.to_owned(), then.2))
}

#[test]
fn killed_at_any_moment_it_starts_with_what_was_acknowledged() {
    let mut bed = Bed::new().section(API).section("audit: {}").start_on_sockets();
    let (mut acknowledged, mut in_flight, mut turn) = (0, 0, 0);
    for round in 0..kills() {
        let admin = bed.admin.clone();
        let (acknowledge, told) = std::sync::mpsc::channel();
        let mut last = stand_of(&bed.ask_admin("/v1/rollouts/auth").json());
        let begin = turn;
        // Asked while the process is killed: acknowledged, or not at all.
        let writer = std::thread::spawn(move || {
            let mut turn = begin;
            loop {
                let (method, action, body, then) = next(&last, turn);
                let call = Call::new(&admin, method, &format!("/v1/rollouts/auth/{action}"));
                let call = if body.is_empty() { call } else { call.header("content-type", "application/json") };
                let call = call.body(&body);
                let Ok(mut wire) = super::wire::Wire::try_connect(&admin) else { return (last, None, turn) };
                let Some(answer) = wire.write(&call.bytes()).then(|| wire.response(method)).flatten() else {
                    return (last, Some(then), turn);
                };
                assert_eq!(
                    (answer.status, &stand_of(&answer.json())),
                    (200, &then),
                    "{action} {body}: {}",
                    answer.text()
                );
                last = then;
                turn += 1;
                let _ = acknowledge.send(());
            }
        });
        for _ in 0..=round * 7 % 23 {
            told.recv().unwrap();
        }
        bed.process.signal("KILL");
        let (last, asked, until) = writer.join().unwrap();
        // The one in flight may have been made: asked for once more it would change nothing.
        turn = until + 1;
        bed = bed.start_again();
        let now = stand_of(&bed.ask_admin("/v1/rollouts/auth").json());
        match asked {
            _ if now == last => acknowledged += 1,
            Some(asked) if now == asked => in_flight += 1,
            asked => panic!("round {round}: {now:?} is neither {last:?} nor {asked:?}"),
        }
        assert!(bed.reasons().is_empty(), "a kill breaks nothing");
    }
    eprintln!("{acknowledged} starts with the last acknowledged state, {in_flight} with the one that was being made");
    let said = crossgate().args(["audit", "verify"]).arg(bed.folder().join("audit")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// On TCP, with these `admin` keys beside the address.
fn on_tcp(keys: &str) -> Running {
    let (gate, admin) = (reserve(), reserve());
    let [gate, admin] = [gate, admin].map(|listener| Address::Tcp(listener.local_addr().unwrap()));
    let bed = Bed::new().section(API).section(&format!("admin: {{ address: \"{admin}\", {keys} }}"));
    for (name, token) in [("ci", "0123456789abcdef-ci\n"), ("boss", "0123456789abcdef-boss")] {
        std::fs::write(bed.folder().join(name), token).unwrap();
    }
    bed.start_at(gate, admin)
}

fn put(bed: &Running) -> Call {
    weight(bed, "{\"percent\":\"5\"}")
}

fn weight(bed: &Running, body: &str) -> Call {
    let call = Call::new(&bed.admin, "PUT", "/v1/rollouts/auth/weight");
    call.header("content-type", "application/json").body(body)
}

#[test]
fn without_tokens_a_tcp_address_is_read_only() {
    let bed = on_tcp("");
    assert_eq!(bed.ask_admin("/v1/rollouts").json()["rollouts"][0]["rollout"], "auth");
    let refused = put(&bed).send();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("read-only"), "{}", refused.text());
    assert_eq!(stand(&bed), at("normal", "10"));
}

#[test]
fn tokens_open_what_their_scopes_name() {
    let bed = on_tcp(
        "tokens: [{ name: ci, token_file: ci, scopes: [read, rollout:write] }, { name: boss, token_file: boss, scopes: [rollout:resume] }]",
    );
    let (ci, boss) = ("0123456789abcdef-ci", "0123456789abcdef-boss");
    let status = |call: Call| call.send().status;
    let post = |action: &str| Call::new(&bed.admin, "POST", &format!("/v1/rollouts/auth/{action}"));
    let get = |path: &str| Call::new(&bed.admin, "GET", path);
    assert_eq!(status(get("/healthz")), 200);
    for path in ["/v1/rollouts", "/v1/rollouts/auth", "/v1/snapshot"] {
        assert_eq!(status(get(path)), 401, "{path}");
        assert_eq!(status(get(path).bearer("0123456789abcdef-c")), 401, "{path}");
        assert_eq!(status(get(path).bearer(boss)), 403, "{path}");
        assert_eq!(status(get(path).bearer(ci)), 200, "{path}");
    }
    assert_eq!(status(put(&bed)), 401);
    assert_eq!(status(put(&bed).bearer(boss)), 403);
    assert_eq!(status(put(&bed).bearer(ci).header("origin", "http://localhost")), 403);
    assert_eq!(status(put(&bed).bearer(ci).header("if-match", "\"9\"")), 412);
    let moved: Response = put(&bed).bearer(ci).header("if-match", "\"1\"").send();
    assert_eq!((moved.status, moved.header("etag")), (200, Some("\"1.2\"")));
    assert_eq!(status(put(&bed).bearer(ci).header("if-match", "\"1.1\"")), 412);
    let form = Call::new(&bed.admin, "PUT", "/v1/rollouts/auth/weight").bearer(ci);
    assert_eq!(status(form.header("content-type", "text/plain").body("{\"percent\":1}")), 415);
    let large = format!("{{\"percent\":1,\"reason\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(status(weight(&bed, &large).bearer(ci)), 413);
    let refused = weight(&bed, "{\"percent\":90}").bearer(ci).send();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("max_step")));
    assert_eq!(status(post("freeze").bearer(ci)), 200);
    assert_eq!(status(post("resume").bearer(ci)), 403);
    assert_eq!(status(post("resume").bearer(boss)), 200);
    assert_eq!(status(Call::new(&bed.admin, "GET", "/v1/rollouts/auth/freeze").bearer(ci)), 405);
    assert_eq!(get("/v1/rollouts/auth").bearer(ci).send().json()["changed_by"], "boss");
}

#[test]
fn a_file_is_followed_and_an_edit_re_deals_nobody() {
    let bed = Bed::new().section("rollout: { percent: 10, limits: { max_step: 20 } }").start_on_sockets();
    let path = bed.folder().join("crossgate.yaml");
    let edit = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
        bed.process.signal("HUP");
    };
    edit("percent: 10", "percent: 50");
    until("step by step to the file's percentage", || (stand(&bed) == at("normal", "50")).then_some(()));
    assert_eq!(bed.ask_admin("/v1/rollouts/auth").json()["revision"], 3, "10, 30, 50");
    let (code, text) = told(&bed, &["set", "1"]);
    assert!(code == 1 && text.contains("rollout.source is file"), "{text}");
    edit("percent: 50", "salt: other, percent: 7");
    until("down at once", || (stand(&bed) == at("normal", "7")).then_some(()));
    assert_eq!(bed.reasons(), ["rollout_pending"]);
    assert_eq!(bed.ask_admin("/v1/rollouts/auth").json()["salt"], "auth-clerk");
    assert_eq!(told(&bed, &["set", "7", "--reshuffle"]).0, 1, "not frozen");
    assert_eq!(told(&bed, &["freeze"]).0, 0);
    assert_eq!(told(&bed, &["set", "7", "--reshuffle"]).0, 0);
    assert_eq!(told(&bed, &["resume"]).0, 0);
    assert!(bed.reasons().is_empty());
    assert_eq!(bed.ask_admin("/v1/rollouts/auth").json()["salt"], "other");
}

#[test]
fn a_broken_state_freezes_where_it_was_proven_and_says_so() {
    let bed = Bed::new().section(API).start_on_sockets();
    let state = bed.folder().join("state");
    std::fs::write(state.join("rollout.json"), "{").unwrap();
    let bed = bed.restart();
    assert_eq!(stand(&bed), at("frozen", "10"));
    assert_eq!(bed.reasons(), ["rollout_state"]);
    assert_eq!(bed.ask_admin("/readyz").status, 200);
    assert_eq!(bed.metric("crossgate_rollout_state_broken{rollout=\"auth\"}"), 1.0);
    assert_eq!(told(&bed, &["resume"]).0, 0);
    assert!(bed.reasons().is_empty());
    assert!(state.join("rollout.json.broken").exists());
}

/// The entries of one event, of the only segment.
fn entries(bed: &Running, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["event"] == event).collect()
}

#[test]
fn each_change_is_an_entry_that_says_who_what_and_from_where_to_where() {
    let bed = on_tcp("tokens: [{ name: ci, token_file: ci, scopes: [read, rollout:write] }]");
    let ci = "0123456789abcdef-ci";
    let post = |action: &str| Call::new(&bed.admin, "POST", &format!("/v1/rollouts/auth/{action}")).bearer(ci);
    assert_eq!(weight(&bed, "{\"percent\":12.5,\"reason\":\"week 1\"}").bearer(ci).send().status, 200);
    assert_eq!(weight(&bed, "{\"percent\":99}").bearer(ci).send().status, 409);
    assert_eq!(post("rollback").send().status, 200);
    assert_eq!(post("rollback").send().status, 200, "again: nothing changes, and nothing is written");
    let entries = entries(&bed, "rollout");
    let actions: Vec<&str> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["rollout.start", "rollout.set", "rollout.rollback"]);
    let (start, set, rollback) = (&entries[0], &entries[1], &entries[2]);
    assert_eq!(start["actor"]["subject"], "config");
    assert_eq!(set["actor"], serde_json::json!({ "subject": "ci", "method": "admin" }));
    assert_eq!((&set["reason"], &set["resource"]), (&"week 1".into(), &"rollout:auth".into()));
    assert_eq!(set["rollout"], serde_json::json!({ "generation": 1, "percent": 12.5 }));
    let before = serde_json::json!({ "generation": 1, "percent": 10, "state": "normal", "desired": 10 });
    assert_eq!(set["change"], serde_json::json!({ "state": "normal", "desired": 12.5, "before": before }));
    assert_eq!((&rollback["rollout"]["percent"], &rollback["change"]["state"]), (&0.into(), &"rolled_auto".into()));
    assert_eq!(set["policy"]["snapshot"].as_str().map(str::len), Some(16));
    let said = crossgate().args(["audit", "verify"]).arg(bed.folder().join("audit")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// Who guesses tokens, who tries what theirs is not for, and what a limit refused.
#[test]
fn what_the_admin_listener_refuses_is_in_the_trail() {
    let tokens = "tokens: [{ name: ci, token_file: ci, scopes: [read, rollout:write] }]";
    let bed = on_tcp(tokens);
    let ci = "0123456789abcdef-ci";
    let resume = || Call::new(&bed.admin, "POST", "/v1/rollouts/auth/resume");
    for _ in 0..2 {
        assert_eq!(put(&bed).bearer("canary-0123456789").send().status, 401);
    }
    assert_eq!(put(&bed).send().status, 401);
    assert_eq!(Call::new(&bed.admin, "POST", "/v1/reload").send().status, 401);
    assert_eq!(Call::new(&bed.admin, "GET", "/v1/snapshot").send().status, 401);
    assert_eq!(resume().bearer(ci).send().status, 403);
    assert_eq!(weight(&bed, "{\"percent\":99}").bearer(ci).send().status, 409);
    let told: Vec<_> = entries(&bed, "denied")
        .iter()
        .map(|entry| {
            assert_eq!((&entry["decision"], &entry["request"]["peer"]), (&"deny".into(), &"127.0.0.1".into()));
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            [text(&entry["action"]), text(&entry["code"]), text(&entry["actor"]["subject"])].join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "rollout.set invalid ",
            "rollout.set no_credential ",
            "config.reload no_credential ",
            "admin.read no_credential ",
            "rollout.resume forbidden ci",
            "rollout.set max_step ci",
        ]
    );
    let text = std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap();
    assert!(!text.contains("canary"));
}

/// The folder of the trail is a file for a while.
#[test]
fn what_cannot_be_recorded_is_not_done_unless_it_is_a_brake() {
    let bed = Bed::new().section(API).section("audit: {}").start_on_sockets();
    let (audit, away) = (bed.folder().join("audit"), bed.folder().join("away"));
    std::fs::rename(&audit, &away).unwrap();
    std::fs::write(&audit, "not a folder").unwrap();
    // A batch or two may still reach the file that is open.
    let mut refused = (0, String::new());
    for percent in 1..200 {
        refused = told(&bed, &["set", &format!("{}", f64::from(percent) / 100.0)]);
        if refused.0 == 1 {
            break;
        }
    }
    assert!(refused.0 == 1 && refused.1.contains("cannot be recorded"), "{}", refused.1);
    let before = stand(&bed);
    for refused in [&["set", "11"][..], &["set", "0"]] {
        let (code, text) = told(&bed, refused);
        assert!(code == 1 && text.contains("503") && text.contains("cannot be recorded"), "{text}");
        assert_eq!(stand(&bed), before);
    }
    assert_eq!(told(&bed, &["freeze"]).0, 0);
    assert_eq!(told(&bed, &["resume"]).0, 1);
    assert_eq!(told(&bed, &["rollback", "--reason", "roles are wrong"]).0, 0);
    assert_eq!(told(&bed, &["confirm"]).0, 1, "it lowers the bar of privileged routes");
    assert_eq!(stand(&bed), at("rolled_auto", "0"));
    std::fs::remove_file(&audit).unwrap();
    std::fs::rename(&away, &audit).unwrap();
    until("the trail to come back, with what it missed", || {
        let entries = std::fs::read_dir(&audit).unwrap().flatten();
        let text: String = entries.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        let has = |what: &str| text.lines().any(|line| line.contains("\"event\":\"rollout\"") && line.contains(what));
        (has("rollout.freeze") && has("roles are wrong")).then_some(())
    });
    assert_eq!(told(&bed, &["confirm"]).0, 0);
}

#[test]
fn a_trail_that_does_not_list_the_rollout_has_none_of_it() {
    let bed = Bed::new().section(API).section("audit: { events: [config] }").start_on_sockets();
    assert_eq!(told(&bed, &["set", "12"]).0, 0);
    assert_eq!(entries(&bed, "rollout").len(), 0);
}
