//! Report mode: what would have been refused, why and whose, on the admin listener and by `crossgate report`.
//!
//! The screens are in `report/`; after a change of wording `UPDATE=1 cargo test --test e2e report`, then read the difference.

use std::process::Output;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::bed::{Bed, Running, crossgate, until};
use super::issuer::{now, token};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const POLICY: &str = r#"
routes:
  - id: invoice.read
    match: { method: GET, path: "/orgs/{org}/invoices" }
    require: { org: "{org}" }
    mode: report
  - id: invoice.write
    match: { method: POST, path: "/orgs/{org}/invoices" }
    require: { org: "{org}", role: org:admin }
    mode: report
  - id: me
    match: { method: GET, path: /me }
"#;

fn bed(policy: &str) -> Running {
    let bed = Bed::new().policy(policy).section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }");
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    bed.start()
}

fn legacy(user: &str) -> String {
    let claims = json!({ "sub": user, "exp": now() + 600 });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn person(user: &str, role: &str) -> String {
    token(user).org("org_1", "acme", role).sign()
}

fn report(bed: &Running, arguments: &[&str]) -> Output {
    let mut command = crossgate();
    command.arg("report").args(arguments).arg("-c").arg(bed.folder().join("crossgate.yaml"));
    command.env_remove("CROSSGATE_ADMIN_TOKEN").env("COLUMNS", "80").output().unwrap()
}

fn shown(bed: &Running, arguments: &[&str]) -> String {
    let output = report(bed, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Without what differs from run to run.
fn timeless(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20").filter(|at| rest[*at..].len() >= 20) {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let is_time = tail.as_bytes()[4] == b'-' && tail.as_bytes()[10] == b'T' && tail.as_bytes()[19] == b'Z';
        let (word, length) = if is_time { ("2026-01-31T12:00:00Z", 20) } else { ("20", 2) };
        out.push_str(word);
        rest = &tail[length..];
    }
    out + rest
}

fn screen(name: &str, text: &str) {
    let path = format!("{}/tests/e2e/report/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = timeless(text);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
    for line in text.lines().filter(|line| !line.contains('\u{1b}')) {
        assert!(line.chars().count() <= 80, "{name}: {line}");
    }
}

/// The view of one route.
fn route(bed: &Running, id: &str) -> Value {
    let view = bed.ask_admin("/v1/report").json();
    let routes = view["routes"].as_array().unwrap();
    routes.iter().find(|route| route["route"] == id).unwrap_or_else(|| panic!("{id}: {view}")).clone()
}

fn counts(view: &Value) -> (u64, u64, Vec<(String, u64)>) {
    let reasons = view["reasons"].as_array().unwrap().iter();
    let word = |reason: &Value| reason["predicate"].as_str().or(reason["code"].as_str()).unwrap().to_owned();
    let reasons = reasons.map(|reason| (word(reason), reason["count"].as_u64().unwrap())).collect();
    (view["seen"].as_u64().unwrap(), view["would_refuse"].as_u64().unwrap(), reasons)
}

fn several(reasons: &[(&str, u64)]) -> Vec<(String, u64)> {
    reasons.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

/// A few members who write, somebody of another org, and strangers.
fn traffic(bed: &Running) {
    for (user, times) in [("user_bob", 4), ("user_carol", 2)] {
        for _ in 0..times {
            let answer = bed.post("/orgs/org_1/invoices?token=secret").bearer(&person(user, "member")).send();
            assert_eq!(answer.outcome(), "200 ok", "report mode lets through");
        }
    }
    for number in 0..6 {
        bed.post("/orgs/org_1/invoices").bearer(&person(&format!("user_{number}"), "member")).send();
    }
    bed.post("/orgs/org_2/invoices").bearer(&person("user_ada", "admin")).send();
    for _ in 0..3 {
        bed.post("/orgs/org_1/invoices").send();
        bed.post("/orgs/org_1/invoices").bearer(&person("user_ada", "admin")).send();
    }
    for _ in 0..5 {
        assert_eq!(bed.get("/orgs/org_1/invoices").bearer(&person("user_ada", "admin")).send().status, 200);
        assert_eq!(bed.get("/me").send().status, 401, "enforced");
    }
}

#[test]
fn an_operator_sees_how_many_why_and_whose() {
    let bed = bed(POLICY);
    let (seen, would_refuse, reasons) = counts(&route(&bed, "invoice.read"));
    assert_eq!((seen, would_refuse, reasons.len()), (0, 0, 0), "also before anybody came");
    screen("nobody-yet", &shown(&bed, &[]));
    traffic(&bed);
    let view = route(&bed, "invoice.write");
    assert_eq!(counts(&view), (19, 16, several(&[("role", 12), ("no_credential", 3), ("org", 1)])));
    assert_eq!((&view["access"], &view["mode"]), (&json!("protected"), &json!("report")));
    let role = &view["reasons"][0];
    assert_eq!(
        (&role["code"], &role["status"], &role["predicate"]),
        (&json!("forbidden"), &json!(403), &json!("role"))
    );
    assert_eq!(role["principals"].as_array().unwrap().len(), 5);
    assert_eq!(role["principals"][0]["subject"], "user_bob");
    assert_eq!(role["more"], json!({ "principals": 3, "requests": 3, "others": false }));
    assert_eq!(view["reasons"][1]["principals"][0]["subject"], Value::Null, "nobody in particular");
    assert_eq!(counts(&route(&bed, "invoice.read")), (5, 0, Vec::new()));
    let all = bed.ask_admin("/v1/report").text();
    assert!(!all.contains("secret") && !all.contains("eyJ") && !all.contains("\"me\""), "{all}");
    // The metric counts the same.
    for (reason, count) in [("forbidden", 13.0), ("no_credential", 3.0)] {
        let series = format!("crossgate_report_total{{reason=\"{reason}\",route=\"invoice.write\"}}");
        until("the metric", || (bed.metric(&series) == count).then_some(()));
    }
    // One route shows everybody.
    let one = bed.ask_admin("/v1/report/invoice.write").json();
    assert_eq!(one["routes"][0]["reasons"][0]["principals"].as_array().unwrap().len(), 8);
    for (target, said) in [("/v1/report/me", "it is enforced"), ("/v1/report/nothing", "no route of this id")] {
        let answer = bed.ask_admin(target);
        assert!(answer.status == 404 && answer.text().contains(said), "{}", answer.text());
    }
    screen("all-routes", &shown(&bed, &[]));
    screen("one-route", &shown(&bed, &["invoice.write"]));
    let coloured = crossgate()
        .args(["report", "-c"])
        .arg(bed.folder().join("crossgate.yaml"))
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    screen("in-colour", &String::from_utf8(coloured.stdout).unwrap());
    let json: Value = serde_json::from_str(&shown(&bed, &["--format", "json"])).unwrap();
    assert_eq!(json["routes"].as_array().unwrap().len(), 2);
    let admin = bed.admin.to_string();
    assert!(shown(&bed, &["--admin", &admin]).contains("would refuse 16 of 19 requests (84.2 %)"));
    assert_eq!(report(&bed, &["me"]).status.code(), Some(1), "enforced");
    assert_eq!(report(&bed, &["no such route"]).status.code(), Some(2));
    let config = bed.folder().join("crossgate.yaml");
    let (kept, _) = bed.stop_keeping_folder();
    let output = crossgate().args(["report", "-c"]).arg(config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("no crossgate answers on"), "{said}");
    drop(kept);
}

#[test]
fn a_preflight_and_what_passes_in_no_mode_would_not_be_refused_by_the_rule() {
    let bed = bed(POLICY);
    let preflight = bed
        .call("OPTIONS", "/orgs/org_1/invoices")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    preflight.send();
    assert_eq!(counts(&route(&bed, "invoice.write")), (0, 0, Vec::new()));
    let twice =
        bed.post("/orgs/org_1/invoices").header("authorization", "Bearer a").header("authorization", "Bearer b");
    assert_eq!(twice.send().status, 400);
    assert_eq!(counts(&route(&bed, "invoice.write")).1, 0);
}

#[test]
fn counts_survive_a_reload_and_begin_anew_with_another_rule() {
    let bed = bed(POLICY);
    traffic(&bed);
    let before = route(&bed, "invoice.write");
    let reload = |policy: &str| {
        let snapshot = || bed.ask_admin("/v1/snapshot").json()["snapshot"].clone();
        let old = snapshot();
        std::fs::write(bed.folder().join("policies/main.yaml"), policy).unwrap();
        bed.process.signal("HUP");
        until("the reload", || (snapshot() != old).then_some(()));
    };
    reload(&POLICY.replace("/me", "/you"));
    assert_eq!(route(&bed, "invoice.write"), before, "another route changed");
    bed.post("/orgs/org_1/invoices").send();
    assert_eq!(counts(&route(&bed, "invoice.write")).1, 17);
    reload(&POLICY.replace("role: org:admin", "role: [org:admin, org:member]"));
    assert_eq!(counts(&route(&bed, "invoice.write")), (0, 0, Vec::new()), "another rule");
    assert_eq!(counts(&route(&bed, "invoice.read")).0, 5, "the same rule");
    reload(&POLICY.replace("    mode: report\n", ""));
    assert_eq!(bed.ask_admin("/v1/report").json(), json!({ "routes": [] }));
    screen("none-in-report-mode", &shown(&bed, &[]));
    reload(POLICY);
    assert_eq!(counts(&route(&bed, "invoice.read")), (0, 0, Vec::new()), "in report mode again");
}

#[test]
fn ten_thousand_strangers_at_once_fill_no_memory_and_hide_nobody() {
    let bed = bed(POLICY);
    let regular = person("user_ada", "member");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bed, regular) = (&bed, &regular);
            scope.spawn(move || {
                let mut wire = bed.connect();
                for number in 0..2_500 {
                    let subject = format!("{thread}-{number}-{}", "x".repeat(300));
                    let call = bed.post("/orgs/org_1/invoices").bearer(&legacy(&subject));
                    assert_eq!(wire.exchange(&call).status, 200);
                    if number % 25 == 0 {
                        assert_eq!(wire.exchange(&bed.post("/orgs/org_1/invoices").bearer(regular)).status, 200);
                        assert_eq!(wire.exchange(&bed.get("/orgs/org_1/invoices").bearer(regular)).status, 200);
                    }
                }
                // Enough to say that a rule may be enforced.
                for _ in 0..200 {
                    wire.exchange(&bed.get("/orgs/org_1/invoices").bearer(regular));
                }
            });
        }
    });
    let view = bed.ask_admin("/v1/report/invoice.write");
    assert!(view.body.len() < 64 << 10, "{} bytes", view.body.len());
    let view = &view.json()["routes"][0];
    let (seen, would_refuse, _) = counts(view);
    assert_eq!((seen, would_refuse), (10_400, 10_400));
    let reasons = view["reasons"].as_array().unwrap();
    let ada = reasons.iter().flat_map(|reason| reason["principals"].as_array().unwrap());
    let ada: u64 = ada.filter(|one| one["subject"] == "user_ada").map(|one| one["count"].as_u64().unwrap()).sum();
    assert_eq!(ada, 400, "not hidden by the crowd");
    for reason in reasons {
        let principals = reason["principals"].as_array().unwrap();
        assert!(principals.len() <= 100);
        let listed: u64 = principals.iter().map(|one| one["count"].as_u64().unwrap()).sum();
        assert_eq!(listed + reason["more"]["requests"].as_u64().unwrap(), reason["count"].as_u64().unwrap());
    }
    let shown = shown(&bed, &[]);
    assert!(shown.contains("- invoice.read: enforce it. No refusal in 1,200 requests since"), "{shown}");
}

#[test]
fn only_who_may_read_the_admin_listener_sees_names() {
    let bed = Bed::new().policy(POLICY);
    for (name, secret) in [("reader", "reader-reader-reader"), ("mover", "mover-mover-mover")] {
        let path = bed.folder().join(format!("{name}.token"));
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let admin = super::bed::reserve().local_addr().unwrap();
    let tokens = "tokens: [{ name: reader, token_file: reader.token, scopes: [read] }, { name: mover, token_file: mover.token, scopes: [\"rollout:write\"] }]";
    let bed = bed.section(&format!("admin: {{ address: \"{admin}\", {tokens} }}"));
    let gate = super::wire::Address::Tcp(super::bed::reserve().local_addr().unwrap());
    let bed = bed.start_at(gate, super::wire::Address::Tcp(admin));
    let asked = |secret: Option<&str>| {
        let call = super::wire::Call::new(&bed.admin, "GET", "/v1/report");
        secret.map_or(call.clone(), |secret| call.bearer(secret)).send().status
    };
    assert_eq!((asked(None), asked(Some("mover-mover-mover")), asked(Some("reader-reader-reader"))), (401, 403, 200));
    let output = report(&bed, &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--token-file"));
    let file = bed.folder().join("reader.token");
    assert_eq!(report(&bed, &["--token-file", file.to_str().unwrap()]).status.code(), Some(0));
}
