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
    assert_eq!(told(&bed, &["resume", "5"]).0, 0);
    assert_eq!(bed.metric("crossgate_rollout_weight_ratio{arm=\"clerk\",rollout=\"auth\"}"), 0.05);
    let view: Value = serde_json::from_slice(&cli(&bed, &["status", "--format", "json"]).stdout).unwrap();
    assert_eq!((&view["generation"], &view["changed_by"]), (&2.into(), &"unix".into()));
    assert!(told(&bed, &["status"]).1.starts_with("auth: normal, 5 %"));
    assert_eq!(told(&bed, &["set", "101"]).0, 2, "wrong usage");
    assert_eq!(told(&bed, &["status", "--name", "other"]).0, 1);
}

#[test]
fn killed_at_any_moment_it_starts_with_what_was_acknowledged() {
    let mut bed = Bed::new().section(API).start_on_sockets();
    for turn in 0..6_u32 {
        let admin = bed.admin.clone();
        let (acknowledge, acknowledged) = std::sync::mpsc::channel();
        // Asked while the process is killed: acknowledged, or not at all.
        let writer = std::thread::spawn(move || {
            let mut last = None;
            for percent in (1..400_u32).rev() {
                let body = format!("{{\"percent\":{}}}", f64::from(percent) / 100.0);
                let call = Call::new(&admin, "PUT", "/v1/rollouts/auth/weight");
                let call = call.header("content-type", "application/json").body(&body);
                let Ok(mut wire) = super::wire::Wire::try_connect(&admin) else { break };
                if !wire.write(&call.bytes()) || wire.response("PUT").is_none_or(|answer| answer.status != 200) {
                    return (last, Some(percent));
                }
                last = Some(percent);
                let _ = acknowledge.send(());
            }
            (last, None)
        });
        for _ in 0..=turn * 3 {
            acknowledged.recv().unwrap();
        }
        bed.process.signal("KILL");
        let (last, asked) = writer.join().unwrap();
        bed = bed.start_again();
        let (state, percent) = stand(&bed);
        assert_eq!(state, "normal", "a kill breaks nothing");
        let now = (percent.parse::<f64>().unwrap() * 100.0).round();
        let known: Vec<f64> = [last, asked].into_iter().flatten().map(f64::from).collect();
        assert!(known.contains(&now), "{now} is none of {known:?}");
        assert!(bed.reasons().is_empty());
    }
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
