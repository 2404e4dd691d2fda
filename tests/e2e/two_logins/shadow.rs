//! Shadow through the binary: requests of every kind with planted disagreements, counted exactly, and nothing else changed
//! by being compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::super::bed::{Bed, Running, crossgate};
use super::super::issuer::{Token, token};
use super::super::origin::{Answer, Origin};
use super::super::wire::{Call, Response};
use super::{By, LEGACY_JWT, LegacyToken, legacy, linked, session, two, unknown_key, user, with};

const POLICY: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: form, match: { method: [POST], path: "/form/{*rest}" } }
  - { id: org.write, match: { path: "/orgs/{org}/write" }, require: { org: "{org}", role: [org:admin] } }
  - { id: vault, match: { path: "/vault/{*rest}" }, access: privileged, require: { org: any, role: [org:admin] } }
"#;

const IDENTITY: &str =
    r#"identity: { map: { file: map.jsonl }, roles: { "org:admin": [admin, owner], "org:member": [editor] } }"#;

const DIMENSIONS: [&str; 5] = ["identity", "org", "role", "permission", "status"];

/// In the Clerk arm, and in the legacy one.
const PEOPLE: [(&str, bool); 4] = [("in1", true), ("in2", true), ("out1", false), ("out2", false)];

fn bed(shadow: &str) -> Bed {
    let people: String = PEOPLE.iter().map(|(id, _)| linked(id, &format!("user_{id}"))).collect();
    let orgs = [("acme", "org_1"), ("beta", "org_2")]
        .map(|(legacy, clerk)| format!("{}\n", json!({ "kind": "org", "legacy": legacy, "clerk": clerk })))
        .concat();
    let others = linked("other", "user_other") + &user("gone", "user_gone", "sealed");
    let rollout = format!(
        "{{ source: api, percent: 50, unit: user, include: {{ users: [in1, in2] }}, exclude: {{ users: [out1, out2] }} {shadow} }}"
    );
    two(&(people + &orgs + &others), &rollout).policy(POLICY).section(IDENTITY)
}

/// Somebody's two credentials, with an org and a role on each side.
fn old(id: &str, org: &str, role: &str) -> LegacyToken {
    legacy(id).claim("org", json!(org)).claim("roles", json!([role])).claim("secret", json!("canary-claim"))
}

fn new(id: &str, org: &str, role: &str) -> Token {
    token(&format!("user_{id}")).org(org, "canary-slug", role).claim("secret", json!("canary-claim"))
}

/// A request, and what it comes to: the outcome of each dimension (`A`gree, `D`isagree, `I`ncomparable; empty where
/// nothing is compared), and the status of its answer.
struct Planned {
    call: Call,
    compared: &'static str,
    status: u16,
    widens: bool,
}

const KINDS: usize = 20;

fn plan(bed: &Running, kind: usize, id: &str, is_clerk: bool) -> Planned {
    let (header, cookie) = (By::Header, By::Cookie);
    let legacy = |token: LegacyToken| token.sign();
    let (admin, member) = (old(id, "acme", "admin"), old(id, "acme", "editor"));
    let (boss, plain) = (new(id, "org_1", "admin"), new(id, "org_1", "member"));
    // In turn either is the one that was sent on purpose.
    let both = |target: &str, old: LegacyToken, new: Token| {
        let (by_old, by_new) = if kind.is_multiple_of(2) { (header, cookie) } else { (cookie, header) };
        with(bed.get(target), Some((&legacy(old), by_old)), Some((&new.sign(), by_new)))
    };
    let by_arm = |old: u16, new: u16| if is_clerk { new } else { old };
    let mut widens = false;
    let (call, compared, status) = match kind {
        0 => (with(bed.get("/me/x"), Some((&legacy(admin), header)), None), "", 200),
        1 => (with(bed.get("/me/x"), None, Some((&boss.sign(), header))), "", 200),
        2 => (both("/orgs/acme/write?token=canary-query", admin, boss), "AAAAA", 200),
        3 => (both("/me/x", admin, new("other", "org_1", "admin")), "DIIIA", 400),
        4 => (both("/me/x", admin, new(id, "org_2", "admin")), "ADIAA", 200),
        5 => (both("/me/x", member, boss), "AADAA", 200),
        6 => (both("/orgs/acme/write", member, boss), "AADDD", by_arm(403, 200)),
        7 => (both("/orgs/acme/write", admin, plain), "AADDD", by_arm(200, 403)),
        8 => (
            with(bed.get("/me/x"), Some((&admin.expired().sign(), cookie)), Some((&boss.sign(), header))),
            "IIIID",
            200,
        ),
        9 => (
            with(bed.get("/me/x"), Some((&legacy(admin), header)), Some((&boss.expired().sign(), cookie))),
            "IIIID",
            200,
        ),
        10 => (with(bed.get("/me/x"), Some((&legacy(admin), header)), Some((&unseen(id), cookie))), "IIIII", 200),
        // Legacy alone is a step-up in the Clerk arm.
        11 => (both("/vault/x", admin, boss), if is_clerk { "AAAAD" } else { "AAAAA" }, 200),
        12 => {
            widens = true;
            (both("/vault/x?token=canary-query", member, boss), "AADDD", by_arm(403, 200))
        }
        13 => (both("/vault/x", admin, plain), "AADDD", by_arm(200, 403)),
        14 => (both("/public/x", admin, new("other", "org_2", "member")), "", 200),
        // Browsers send no credentials with a preflight; with one it is a request like any other.
        15 => {
            let preflight = bed.call("OPTIONS", "/form/x").header("origin", "https://app.example.com");
            (preflight.header("access-control-request-method", "POST"), "", 200)
        }
        16 => (both("/nowhere", admin, boss), "", 403),
        // A page of another site's sent the session along.
        17 => {
            let call = with(bed.post("/me/x"), Some((&legacy(admin), header)), Some((&boss.sign(), cookie)));
            (call.header("sec-fetch-site", "cross-site"), "AAAAD", 200)
        }
        // Nobody's legacy credential any more.
        18 => (both("/me/x", old("gone", "acme", "admin"), new("gone", "org_1", "admin")), "IIIID", 0),
        // Two bad ones anybody can send.
        _ => (both("/me/x", admin.expired(), boss.expired()), "", 401),
    };
    // A sealed credential that was sent on purpose is final.
    let status = if status == 0 { if kind.is_multiple_of(2) { 401 } else { 200 } } else { status };
    Planned { call, compared, status, widens }
}

fn unseen(id: &str) -> String {
    unknown_key(&format!("user_{id}")).sign()
}

/// Sends it once more while the disk is too slow for what is recorded; how often it was sent.
fn send(call: &Call) -> (Response, usize) {
    for sent in 1.. {
        let answer = call.send();
        if answer.outcome() != "503 audit_unavailable" {
            return (answer, sent);
        }
        assert!(sent < 100, "the trail cannot be written");
    }
    unreachable!()
}

fn counted(bed: &Running) -> BTreeMap<(&'static str, &'static str), u64> {
    let text = bed.ask_admin("/metrics").text();
    let mut all = BTreeMap::new();
    for dimension in DIMENSIONS {
        for result in ["agree", "disagree", "incomparable"] {
            let series = format!(
                "crossgate_shadow_comparisons_total{{dimension=\"{dimension}\",result=\"{result}\",rollout=\"auth\"}} "
            );
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            all.insert((dimension, result), value.map_or(0, |value| value.trim().parse().unwrap()));
        }
    }
    all
}

/// The entries about what only Clerk would grant.
fn widenings(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["action"] == "shadow.widening").collect()
}

/// The lines of the log about disagreements.
fn told(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.contains("the two logins disagree"));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}"))).collect()
}

/// With `CROSSGATE_SHADOW_REQUESTS` as many as it says.
#[test]
fn exactly_what_was_planted_is_counted() {
    let requests: usize = std::env::var("CROSSGATE_SHADOW_REQUESTS").ok().map_or(400, |text| text.parse().unwrap());
    let bed = bed("").start_on_sockets();
    // So that a key that nobody has seen stays one that cannot be told.
    bed.issuer().kill();
    let mut expected: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let (mut served, mut disagreeing, mut widening) = (0, 0, 0);
    // Each kind with each person, in an order that repeats nothing but looks like none.
    let mut at = 7;
    for number in 0..requests {
        at = (at * 31 + 17) % 65_537;
        let kind = if number < KINDS * PEOPLE.len() { number % KINDS } else { at % KINDS };
        let (id, is_clerk) =
            PEOPLE[if number < KINDS * PEOPLE.len() { number / KINDS } else { at / KINDS % PEOPLE.len() }];
        let planned = plan(&bed, kind, id, is_clerk);
        let (answer, sent) = send(&planned.call);
        assert_eq!(answer.status, planned.status, "kind {kind} of {id}: {}", answer.text());
        served += usize::from(planned.status == 200);
        widening += if planned.widens { sent } else { 0 };
        disagreeing += if planned.compared.contains('D') { sent } else { 0 };
        for (dimension, outcome) in DIMENSIONS.iter().zip(planned.compared.chars()) {
            let result = match outcome {
                'A' => "agree",
                'D' => "disagree",
                _ => "incomparable",
            };
            *expected.entry((dimension, result)).or_default() += sent as u64;
        }
    }
    let counted = counted(&bed);
    for (series, count) in &counted {
        assert_eq!(*count, expected.get(series).copied().unwrap_or_default(), "{series:?}");
    }
    assert_eq!(bed.origin().count(), served, "nothing more reaches the API");
    println!("{requests} requests, {served} served, {disagreeing} disagree, {widening} widen: {counted:?}");

    let (bed, ended) = bed.stop_keeping_folder();
    let written = widenings(bed.folder());
    let count: u64 = written.iter().map(|entry| entry["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(count, widening as u64);
    assert!(written.iter().filter(|entry| entry["count"].is_null()).count() >= PEOPLE.len());
    assert_verified(bed.folder());

    let lines = told(&ended.stderr);
    let left_out: u64 = lines.iter().map(|line| line["left_out"].as_u64().unwrap()).sum();
    assert!(lines.len() as u64 + left_out <= disagreeing as u64, "{} lines, {left_out} left out", lines.len());
    println!("{} lines, {left_out} left out before the last, {} entries", lines.len(), written.len());
    for (route, dimension) in
        [("me", "identity"), ("me", "org"), ("me", "role"), ("org.write", "permission"), ("vault", "status")]
    {
        let is_told =
            |line: &&Value| line["route"] == route && line["dimensions"].as_str().unwrap().contains(dimension);
        assert!(lines.iter().any(|line| is_told(&line)), "{dimension} on {route}");
    }
    let said = format!("{}{}{}", ended.stdout, ended.stderr, json!(written));
    for secret in ["canary-claim", "canary-query", "canary-slug", "eyJ"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

fn assert_verified(folder: &Path) {
    let Output { status, stdout, stderr } =
        crossgate().args(["audit", "verify"]).arg(folder.join("audit")).output().unwrap();
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

#[test]
fn what_only_clerk_would_grant_is_one_entry_and_a_count() {
    for (id, is_clerk) in [("in1", true), ("out1", false)] {
        let bed = bed("").start_on_sockets();
        let mut sent = 0;
        for _ in 0..5 {
            let planned = plan(&bed, 12, id, is_clerk);
            let (answer, times) = send(&planned.call);
            assert_eq!(answer.status, planned.status);
            sent += times;
        }
        // What both would refuse, and what only the legacy login would grant, is none.
        for kind in [11, 13, 19] {
            send(&plan(&bed, kind, id, is_clerk).call);
        }
        let (bed, ended) = bed.stop_keeping_folder();
        let written = widenings(bed.folder());
        let [first, repeats] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((first["event"].as_str(), first["route"].as_str()), (Some("system"), Some("vault")));
        assert_eq!(first["reason"], "only Clerk would grant it; with the legacy login role does not hold");
        assert_eq!(
            (&first["actor"]["subject"], &first["actor"]["clerk_user"]),
            (&json!(id), &json!(format!("user_{id}")))
        );
        assert_eq!(first["org"], "org_1");
        assert_eq!(first["arm"], if is_clerk { "clerk" } else { "legacy" });
        assert!(first["request"]["id"].is_string() && first["count"].is_null());
        assert_eq!(repeats["count"].as_u64(), Some(sent as u64 - 1));
        assert_eq!(repeats["actor"]["subject"], id);
        let line = &told(&ended.stderr)[0];
        assert_eq!((&line["widens"], &line["dimensions"]), (&json!(true), &json!("role,permission,status")));
        assert_eq!((&line["legacy_roles"], &line["clerk_role"]), (&json!("editor"), &json!("org:admin")));
        assert_eq!((&line["legacy_lacks"], &line["clerk_lacks"]), (&json!("role"), &Value::Null));
        assert_eq!((&line["legacy_org"], &line["clerk_org"]), (&json!("acme"), &json!("acme")));
        assert_eq!(line["legacy_code"], if is_clerk { "step_up_clerk" } else { "forbidden" });
        assert_eq!(line["clerk_code"], "ok");
    }
}

/// `good-NAME` is NAME's, an admin of acme.
fn introspection() -> Origin {
    let server = Origin::start();
    server.answers(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default().to_owned();
        let answer = match token.strip_prefix("good-").and_then(|rest| rest.split('-').next()) {
            Some(id) => json!({ "active": true, "sub": id, "org": "acme", "roles": ["admin"] }),
            None => json!({ "active": false }),
        };
        Answer::text(200, &answer.to_string()).with("content-type", "application/json")
    });
    server
}

#[test]
fn being_compared_sends_nothing_more_and_changes_no_answer() {
    let run = |shadow: &str| {
        let server = introspection();
        let legacy = LEGACY_JWT.lines().take(2).collect::<Vec<_>>().join("\n");
        let verify = format!("introspection: {{ url: \"http://{}/ask\", cache: 60s }}", server.address);
        let bed = bed(shadow).section(&format!("{legacy}\n  verify: {{ {verify} }}")).start_on_sockets();
        let mut answers = Vec::new();
        for number in 0..30 {
            let (id, _) = PEOPLE[number % PEOPLE.len()];
            let whose = if number % 5 == 0 { "other" } else { id };
            let credential = if number % 7 == 0 { "bad".to_owned() } else { format!("good-{id}-{}", number / 2) };
            let session = new(whose, "org_1", if number % 3 == 0 { "member" } else { "admin" });
            // Keys that nobody has seen: the gate asks for them at most once, whoever compares.
            let session = if number % 11 == 0 { unseen(id) } else { session.sign() };
            let target = ["/me/x", "/orgs/acme/write", "/vault/x", "/public/x"][number % 4];
            let call = with(bed.get(target), Some((&credential, By::Cookie)), Some((&session, By::Header)));
            let (answer, _) = send(&call);
            answers.push((answer.outcome(), answer.header("x-crossgate-upgrade").map(str::to_owned)));
        }
        let sent = (server.count(), bed.issuer().fetches(), bed.origin().count());
        (answers, sent, counted(&bed).values().sum::<u64>())
    };
    let (on, off) = (run(""), run(", shadow: { enabled: false }"));
    assert_eq!(on.0, off.0);
    assert_eq!(on.1, off.1, "questions to the legacy server, key fetches, requests to the API");
    assert!(on.1.0 > 20, "the legacy server was asked: {:?}", on.1);
    assert!(on.2 > 50 && off.2 == 0, "{} and {}", on.2, off.2);
}

#[test]
fn explain_shows_how_the_two_logins_compare() {
    let bed = bed("").start_on_sockets();
    let config = bed.folder().join("crossgate.yaml");
    let explain = |old: &LegacyToken, new: &Token, path: &str| {
        let headers =
            [format!("authorization: Bearer {}", old.sign()), format!("cookie: {}", session(&new.clone().sign()))];
        let mut command = crossgate();
        command.args(["explain", "--format", "json", "-c"]).arg(&config).args(["GET", path]);
        for header in &headers {
            command.args(["-H", header]);
        }
        let output = command.output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|problem| panic!("{problem}: {}", String::from_utf8_lossy(&output.stderr)));
        let steps = shown["steps"].as_array().unwrap().clone();
        steps.into_iter().find(|step| step["step"] == "shadow")
    };
    let (member, boss) = (old("out1", "acme", "editor"), new("out1", "org_1", "admin"));
    let step = explain(&member, &boss, "/orgs/acme/write").unwrap();
    assert_eq!(step["outcome"], "disagree");
    assert_eq!(
        step["detail"],
        "identity: agree, org: agree, role: disagree, permission: disagree, status: disagree; legacy alone: 403 forbidden \
         (role does not hold); clerk alone: 200 ok"
    );
    let step = explain(&old("out1", "acme", "owner"), &boss, "/orgs/acme/write").unwrap();
    assert_eq!(step["outcome"], "agree");
    assert_eq!(explain(&member, &boss, "/public/x"), None);
}
