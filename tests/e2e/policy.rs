//! Every predicate through the binary, and what becomes of an API that fails.

use std::time::Duration;

use serde_json::{Value, json};

use super::bed::Bed;
use super::issuer::{Token, token};
use super::origin::Answer;

const RULES: &str = r#"
routes:
  - { id: org, match: { path: "/org/{org}" }, require: { org: "{org}" } }
  - { id: slug, match: { path: "/slug/{org}" }, require: { org: { slug: "{org}" } } }
  - { id: any-org, match: { path: /any-org }, require: { org: any } }
  - { id: role, match: { path: /role }, require: { org: any, role: [org:admin, billing] } }
  - { id: permission, match: { path: /permission }, require: { org: any, permission: "org:invoices:write" } }
  - { id: workspace, match: { path: "/workspace/{workspace}" }, require: { workspace: "{workspace}" } }
  - { id: editor, match: { path: "/editor/{workspace}" }, require: { workspace: { id: "{workspace}", role: [editor] } } }
  - { id: feature, match: { path: /feature }, require: { feature: executions } }
  - { id: plan, match: { path: /plan }, require: { plan: [pro, team] } }
  - { id: strict, match: { path: /strict }, require: { reverified: strict } }
  - { id: custom, match: { path: /custom }, require: { reverified: { level: first_factor, after_minutes: 5 } } }
  - { id: both, match: { path: /both }, require: { org: any, role: org:admin, reverified: strict } }
  - { id: claim, match: { path: /claim }, require: { claim: { department: [eng, ops] } } }
  - { id: typed, match: { path: /typed }, require: { claim: { level: 3, staff: true } } }
  - { id: deep, match: { path: /deep }, require: { claim: { "meta.team": red } } }
  - { id: either, match: { path: /either }, require: { any: [ { claim: { staff: true } }, { claim: { level: 3 } } ] } }
  - { id: all, match: { path: /all }, require: { all: [ { claim: { staff: true } }, { claim: { level: 3 } } ] } }
  - { id: not, match: { path: /not }, require: { not: { claim: { department: sales } } } }
  - { id: query, match: { path: /query }, require: { org: "{query.org}" } }
  - { id: header, match: { path: /header }, require: { org: "{header.x-org}" } }
  - { id: token, match: { path: /token }, require: { token: [session] } }
"#;

#[test]
fn each_predicate() {
    let bed = Bed::new().policy(RULES).section("identity: { workspaces: { claim: workspaces } }").start();
    let ada = || token("user_ada");
    let org = |id: &str, role: &str| {
        ada().claim("o", json!({ "id": id, "slg": "acme", "rol": role, "per": "read,write", "fpm": "3" }))
    };
    let with = |name: &str, value: Value| ada().claim(name, value);
    let spaces = |list: Value| with("workspaces", list);
    let fva = |first: i64, second: i64| with("fva", json!([first, second]));
    let table: Vec<(&str, Token, &str)> = vec![
        ("/org/org_1", org("org_1", "member"), "200 ok"),
        ("/org/%6Frg_1", org("org_1", "member"), "200 ok"),
        ("/org/org_2", org("org_1", "admin"), "403 forbidden"),
        ("/org/ORG_1", org("org_1", "admin"), "403 forbidden"),
        ("/org/org_1", ada(), "403 forbidden"),
        ("/slug/acme", org("org_1", "member"), "200 ok"),
        ("/slug/org_1", org("org_1", "member"), "403 forbidden"),
        ("/any-org", org("org_9", "member"), "200 ok"),
        ("/any-org", ada(), "403 forbidden"),
        ("/role", org("org_1", "admin"), "200 ok"),
        ("/role", org("org_1", "billing"), "200 ok"),
        ("/role", org("org_1", "member"), "403 forbidden"),
        ("/role", org("org_1", "Admin"), "403 forbidden"),
        ("/permission", org("org_1", "member").claim("fea", json!("o:invoices")), "200 ok"),
        ("/permission", org("org_1", "member").claim("fea", json!("o:reports")), "403 forbidden"),
        ("/permission", org("org_1", "member").claim("fea", json!("broken")), "403 forbidden"),
        ("/workspace/w1", spaces(json!(["w1", "w2"])), "200 ok"),
        ("/workspace/w3", spaces(json!(["w1", "w2"])), "403 forbidden"),
        ("/workspace/w1", spaces(json!("w1")), "403 forbidden"),
        ("/workspace/w1", ada(), "403 forbidden"),
        ("/editor/w1", spaces(json!([{ "id": "w1", "role": "editor" }])), "200 ok"),
        ("/editor/w1", spaces(json!([{ "id": "w1", "role": "viewer" }])), "403 forbidden"),
        ("/editor/w1", spaces(json!(["w1"])), "403 forbidden"),
        ("/feature", with("fea", json!("u:executions")), "200 ok"),
        ("/feature", with("fea", json!("u:other")), "403 forbidden"),
        ("/plan", with("pla", json!("u:pro")), "200 ok"),
        ("/plan", with("pla", json!("u:free")), "403 forbidden"),
        ("/strict", fva(0, 0), "200 ok"),
        ("/strict", fva(3, 9), "200 ok"),
        ("/strict", fva(3, -1), "200 ok"),
        ("/custom", fva(4, -1), "200 ok"),
        ("/both", org("org_1", "admin"), "200 ok"),
        ("/both", org("org_1", "member").claim("fva", json!([99, 99])), "403 forbidden"),
        ("/claim", with("department", json!("ops")), "200 ok"),
        ("/claim", with("department", json!(["hr", "eng"])), "200 ok"),
        ("/claim", with("department", json!("sales")), "403 forbidden"),
        ("/claim", ada(), "403 forbidden"),
        ("/typed", with("level", json!(3)).claim("staff", json!(true)), "200 ok"),
        ("/typed", with("level", json!("3")).claim("staff", json!(true)), "403 forbidden"),
        ("/typed", with("level", json!(3)).claim("staff", json!("true")), "403 forbidden"),
        ("/deep", with("meta", json!({ "team": "red" })), "200 ok"),
        ("/deep", with("meta", json!({ "team": "blue" })), "403 forbidden"),
        ("/deep", with("meta.team", json!("red")), "403 forbidden"),
        ("/either", with("staff", json!(true)), "200 ok"),
        ("/either", with("level", json!(3)), "200 ok"),
        ("/either", with("level", json!(4)), "403 forbidden"),
        ("/all", with("staff", json!(true)), "403 forbidden"),
        ("/all", with("staff", json!(true)).claim("level", json!(3)), "200 ok"),
        ("/not", with("department", json!("eng")), "200 ok"),
        ("/not", with("department", json!("sales")), "403 forbidden"),
        // Unknown stays unknown under `not`, and denies.
        ("/not", ada(), "403 forbidden"),
        ("/query?org=org_1", org("org_1", "member"), "200 ok"),
        ("/query?org=org_2", org("org_1", "member"), "403 forbidden"),
        ("/query?org=org_1&org=org_1", org("org_1", "member"), "403 forbidden"),
        ("/query", org("org_1", "member"), "403 forbidden"),
        ("/header", org("org_1", "member"), "403 forbidden"),
        ("/token", ada(), "200 ok"),
    ];
    for (at, (path, token, expected)) in table.into_iter().enumerate() {
        let before = bed.origin().count();
        let answer = bed.get(path).bearer(&token.sign()).send();
        assert_eq!(answer.outcome(), expected, "row {at}, {path}: {}", answer.text());
        assert_eq!(bed.origin().count() - before, usize::from(expected == "200 ok"), "row {at}, {path}");
    }
    let one = bed.get("/header").bearer(&org("org_1", "member").sign()).header("x-org", "org_1");
    assert_eq!(one.send().outcome(), "200 ok");
    let two = one.clone().header("x-org", "org_1").send();
    assert_eq!(two.outcome(), "400 bad_header", "a header that a policy reads stands once");
    let nominated = one.header("connection", "x-org").send();
    assert_eq!(nominated.outcome(), "400 bad_header");
}

#[test]
fn reverification_answers_as_clerk_does() {
    let bed = Bed::new().policy(RULES).section("identity: { workspaces: { claim: workspaces } }").start();
    let stale = token("user_ada").claim("fva", json!([30, 30]));
    let answer = bed.get("/strict").bearer(&stale.clone().sign()).send();
    assert_eq!((answer.status, answer.header("content-type")), (403, Some("application/json")));
    assert_eq!(
        answer.json(),
        json!({ "clerk_error": { "type": "forbidden", "reason": "reverification-error",
            "metadata": { "reverification": "strict" } } })
    );
    let custom = bed.get("/custom").bearer(&stale.clone().sign()).send().json();
    assert_eq!(
        custom["clerk_error"]["metadata"]["reverification"],
        json!({ "level": "first_factor", "afterMinutes": 5 })
    );
    for (name, token) in [
        ("never", stale.clone().claim("fva", json!([-1, -1]))),
        ("missing", stale.clone().without("fva")),
        ("malformed", stale.clone().claim("fva", json!([0]))),
        ("at the limit", stale.claim("fva", json!([10, 10]))),
    ] {
        let answer = bed.get("/strict").bearer(&token.sign()).send();
        assert_eq!(answer.status, 403, "{name}");
    }
    assert_eq!(bed.origin().count(), 0);
    assert_eq!(bed.access_lines(1)[0]["code"], "reverification");
}

#[test]
fn report_mode_counts_and_lets_through() {
    let bed = Bed::new()
        .policy("routes:\n  - { id: trial, match: { path: \"/trial/{org}\" }, require: { org: \"{org}\" }, mode: report }\n")
        .start();
    let ada = token("user_ada").org("org_1", "acme", "member").sign();
    assert_eq!(bed.get("/trial/org_1").bearer(&ada).send().outcome(), "200 ok");
    assert_eq!(bed.get("/trial/org_2").bearer(&ada).send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-crossgate-subject"), ["user_ada"]);
    assert_eq!(bed.get("/trial/org_2").send().outcome(), "200 ok");
    let got = bed.origin().last();
    assert_eq!(got.values("x-crossgate-method"), ["none"]);
    assert!(got.values("x-crossgate-subject").is_empty());
    assert_eq!(
        bed.get("/trial/%2e%2e").bearer(&ada).send().outcome(),
        "400 bad_path",
        "the request itself is still judged"
    );

    let lines = bed.access_lines(4);
    let reported: Vec<_> = lines.iter().map(|line| line["reported"].as_str().unwrap_or("-")).collect();
    assert_eq!(reported, ["-", "forbidden", "no_credential", "-"]);
    assert_eq!(lines[1]["decision"], "allow");
    assert_eq!(bed.metric("crossgate_report_total{reason=\"forbidden\",route=\"trial\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_report_total{reason=\"no_credential\",route=\"trial\"}"), 1.0);
}

const PUBLIC: &str = "
routes:
  - { id: fast, match: { path: /fast }, access: public, timeout: 200ms }
  - { id: slow, match: { path: /slow }, access: public }
";

#[test]
fn an_api_that_fails() {
    let bed = Bed::new().policy(PUBLIC).start();
    let garbage = |text: &'static str| Answer::Raw(text.as_bytes().to_vec());
    let table = [
        ("silence", Answer::Hang, "504 upstream_timeout"),
        ("close", Answer::Close, "502 upstream_unavailable"),
        ("garbage", garbage("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "502 upstream_unavailable"),
        ("half a head", garbage("HTTP/1.1 200 OK\r\ncontent-le"), "502 upstream_unavailable"),
        (
            "an upgrade that nobody asked for",
            garbage("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\ntunnel"),
            "502 upstream_unavailable",
        ),
        ("an error of its own", Answer::text(503, "busy"), "503 ok"),
    ];
    for (name, script, expected) in table {
        bed.origin().answers(move |_| script.clone());
        let answer = bed.get("/fast").send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
        let told = answer.text();
        assert!(!told.contains("127.0.0.1") && !told.contains("SSH") && !told.contains("tunnel"), "{name}: {told}");
    }
}

#[test]
fn a_timeout_is_the_routes_own() {
    let bed = Bed::new().policy(PUBLIC).start();
    bed.origin().answers(|_| Answer::After(Duration::from_millis(500), Box::new(Answer::text(200, "late"))));
    assert_eq!(bed.get("/fast").send().outcome(), "504 upstream_timeout");
    assert_eq!(bed.get("/slow").send().text(), "late");
    let general = Bed::new().policy(PUBLIC).upstream_option("timeouts: { read: 200ms }").start();
    general.origin().answers(|_| Answer::Hang);
    assert_eq!(general.get("/slow").send().outcome(), "504 upstream_timeout");
}

#[test]
fn a_dead_api() {
    let nobody = super::bed::reserve();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let bed =
        Bed::new().policy(PUBLIC).section(&format!("upstreams: {{ app: {{ endpoints: [\"{address}\"] }} }}")).start();
    assert_eq!(bed.get("/slow").send().outcome(), "502 upstream_unavailable");
    assert_eq!(bed.post("/slow").body("x").send().outcome(), "502 upstream_unavailable");
    assert_eq!(bed.ask_admin("/readyz").status, 200);
}

#[test]
fn routes_choose_their_upstream() {
    let other = super::origin::Origin::start();
    other.answers(|_| Answer::text(200, "other"));
    let bed = Bed::new();
    let bed = bed
        .policy("routes:\n  - { id: a, match: { path: /a }, access: public, upstream: app }\n  - { id: b, match: { path: /b }, access: public, upstream: other }\n")
        .upstream_option(&format!("timeouts: {{ connect: 1s }}\n  other: {{ endpoints: [\"{}\"] }}", other.address))
        .start();
    assert_eq!(bed.get("/b").send().text(), "other");
    assert_ne!(bed.get("/a").send().text(), "other");
    assert_eq!((bed.origin().count(), other.count()), (1, 1));
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let policy = r#"
routes:
  - { id: rest, match: { path: "/{*rest}" }, access: public }
  - { id: name, match: { path: "/a/{name}" }, access: public }
  - { id: beta, match: { path: "/a/x", query: { beta: "1" } }, access: public }
  - { id: literal, match: { path: "/a/x" }, access: public }
  - { id: post, match: { path: "/a/x", method: POST }, access: public }
  - { id: host, match: { path: "/a/x", host: h.test }, access: public }
  - { id: tail, match: { path: "/a/x/{*rest}" }, access: public }
"#;
    let bed = Bed::new().policy(policy).start();
    let table = [
        (bed.get("/b"), "rest"),
        (bed.get("/"), "rest"),
        (bed.get("/a/y"), "name"),
        (bed.get("/a/x"), "literal"),
        (bed.call("HEAD", "/a/x"), "literal"),
        (bed.post("/a/x").body("x"), "post"),
        (bed.get("/a/x").host("h.test"), "host"),
        (bed.post("/a/x").host("h.test").body("x"), "host"),
        (bed.get("/a/x?beta=1"), "beta"),
        (bed.get("/a/x/y/z"), "tail"),
        (bed.get("/a/y/z"), "rest"),
    ];
    for (call, route) in table {
        assert_eq!(call.send().status, 200, "{route}");
        assert_eq!(bed.origin().last().values("x-crossgate-route"), [route]);
    }
    let before = bed.origin().count();
    assert_eq!(
        bed.get("/a/x?beta=1&beta=1").send().outcome(),
        "400 bad_request",
        "which of the two does the API read?"
    );
    assert_eq!(bed.origin().count(), before);
}
