//! The endpoint: what it answers, whom, and that nothing comes of a question.

use serde_json::{Value, json};

use super::super::bed::{Bed, Running, reserve};
use super::super::issuer::token;
use super::super::legacy_server::{Kind, LegacyServer};
use super::super::wire::{Address, Call};
use super::{post, question, steps, told};

const RULES: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: read, match: { method: GET, path: "/orgs/{org}" }, require: { org: "{org}" } }
  - { id: write, match: { method: POST, path: "/orgs/{org}" }, require: { org: "{org}", role: org:admin } }
  - { id: run, match: { method: POST, path: "/orgs/{org}/runs" }, access: privileged, require: { org: "{org}" },
      audit: { action: run.start, resource: "org:{org}" } }
  - { id: one, match: { path: "/one" }, require: { org: any, any: [ { role: org:owner }, { not: { feature: beta } } ] } }
  - { id: asked, match: { path: "/asked" }, require: { org: any, when: 'request.query.key == "x"' } }
  - { id: found, match: { path: "/found" }, require: { org: "{query.org}" } }
"#;

fn bed() -> Running {
    Bed::new().policy(RULES).start()
}

/// Without what hangs on the moment: how the check of the times read the clock.
fn timeless(mut told: Value) -> Value {
    for step in told["steps"].as_array_mut().unwrap() {
        let detail = step["detail"].as_str().unwrap_or_default().to_owned();
        if let Some((before, _)) = detail.split_once("; now ") {
            step["detail"] = json!(before);
        }
    }
    told
}

#[test]
fn the_endpoint_and_the_command_say_the_same() {
    let bed = bed();
    let config = bed.folder().join("crossgate.yaml");
    let ada = format!("Bearer {}", token("user_ada").org("org_1", "acme", "member").sign());
    let expired = format!("Bearer {}", token("user_ada").expired().sign());
    let unknown = format!("Bearer {}", token("user_ada").issued(30).in_header("kid", json!("ins_never")).sign());
    let with = |value: &str| vec![("authorization", value.to_owned())];
    let table = [
        ("GET", "/orgs/org_1", with(&ada), "200 ok"),
        ("POST", "/orgs/org_1", with(&ada), "403 forbidden"),
        ("GET", "/orgs/org_2", with(&ada), "403 forbidden"),
        ("POST", "/orgs/org_1/runs", with(&ada), "200 ok"),
        ("GET", "/one", with(&ada), "200 ok"),
        ("GET", "/found?org=org_1", with(&ada), "200 ok"),
        ("GET", "/orgs/org_1", with(&expired), "401 clerk_expired"),
        ("GET", "/orgs/org_1", with(&unknown), "401 clerk_invalid"),
        ("GET", "/orgs/org_1", vec![], "401 no_credential"),
        ("GET", "/public/x", with("Bearer not-a-token"), "200 ok"),
        ("GET", "/orgs/%2e%2e/x", vec![], "400 bad_path"),
        ("GET", "/nowhere", vec![], "403 no_route"),
        ("GET", "/.crossgate/nothing", vec![], "403 no_route"),
        (
            "OPTIONS",
            "/orgs/org_1",
            vec![("origin", "https://a.example".to_owned()), ("access-control-request-method", "POST".to_owned())],
            "200 ok",
        ),
    ];
    for (method, url, lines, expected) in table {
        let posted = post(&bed, &question(method, url, &lines));
        assert_eq!(posted.status, 200, "{method} {url}: {}", posted.text());
        let posted = posted.json();
        let typed = told(&config, method, url, &lines, &[]);
        assert_eq!(timeless(posted.clone()), timeless(typed), "{method} {url}");
        let outcome = format!("{} {}", posted["status"], posted["code"].as_str().unwrap());
        assert_eq!(outcome, expected, "{method} {url}: {posted}");
        // And so does the gate.
        let call = lines.iter().fold(bed.call(method, url), |call, (name, value)| call.header(name, value));
        let live = call.send();
        assert_eq!(live.outcome(), expected, "{method} {url} live");
    }
    let body =
        json!({ "method": "POST", "url": "/orgs/acme", "as": { "user": "u1", "org": "acme", "role": "org:admin" } });
    let assumed = post(&bed, &body).json();
    assert_eq!(assumed["decision"], "allow", "{assumed}");
    let typed = told(&config, "POST", "/orgs/acme", &[], &["--as", "{ user: u1, org: acme, role: org:admin }"]);
    assert_eq!(assumed, typed);
    let later = json!({ "url": "/orgs/org_1", "headers": { "authorization": ada }, "at": "2031-01-31T12:00:00+01:00" });
    assert_eq!(post(&bed, &later).json()["decision"], "deny");
}

#[test]
fn every_step_has_its_reason() {
    let bed = bed();
    let ada = format!("Bearer {}", token("user_ada").org("org_1", "acme", "member").sign());
    let ask = |method: &str, url: &str, lines: &[(&str, String)]| post(&bed, &question(method, url, lines)).json();
    let header = [("authorization", ada.clone())];

    let told = ask("GET", "/one", &header);
    assert_eq!(steps(&told, "any")[0].0, "holds", "{told}");
    assert_eq!(steps(&told, "not")[0].0, "holds");
    let depth = |name: &str| {
        told["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()["depth"].clone()
    };
    assert_eq!(
        (depth("any"), depth("role"), depth("not"), depth("feature")),
        (Value::Null, json!(1), json!(1), json!(2))
    );

    let told = ask("GET", "/orgs/org_2", &header);
    assert_eq!(steps(&told, "org"), [("fails", "asked {org} = org_2; has org_1, acme")]);
    let checks = steps(&told, "check");
    for name in ["form", "iss", "header", "kid", "signature", "sid", "aud", "azp", "sts", "claims", "times", "person"] {
        let start = format!("clerk {name}: ");
        assert!(
            checks.iter().any(|(outcome, detail)| *outcome == "pass" && detail.starts_with(&start)),
            "{name}: {checks:?}"
        );
    }
    let candidates = steps(&told, "candidate");
    assert!(candidates.contains(&("passed over", "write: POST /orgs/{org}: another method")), "{candidates:?}");
    assert!(
        candidates
            .iter()
            .any(|(outcome, detail)| *outcome == "chosen" && detail.starts_with("read: GET /orgs/{org} at "))
    );
    assert!(steps(&told, "table")[0].1.starts_with("legacy absent, clerk valid"), "{told}");

    let told = ask("GET", "/orgz/org_2", &header);
    assert!(steps(&told, "candidate").iter().any(|(_, why)| why.ends_with("segment 1 is not `orgs`")), "{told}");

    let told = ask("GET", "/Orgs/org_2", &[]);
    assert_eq!(told["code"], "no_route", "as sent there is none: {told}");

    let told = ask(
        "POST",
        "/orgs/org_1/runs",
        &[
            ("authorization", ada),
            ("x-crossgate-subject", "evil".to_owned()),
            ("cookie", "a=1; __session=theirs".to_owned()),
        ],
    );
    let audit = steps(&told, "audit")[0].1;
    assert!(audit.contains("action run.start, resource org:org_1"), "{audit}");
    assert!(steps(&told, "header").iter().any(|(_, why)| why.starts_with("x-crossgate-subject: ")), "{told}");
    let removed: Vec<&str> = steps(&told, "removed").into_iter().map(|(_, name)| name).collect();
    assert_eq!(removed, ["authorization", "cookie __session"], "{told}");
    assert_eq!(told["headers"]["x-crossgate-subject"], "user_ada");
    assert!(steps(&told, "upstream")[0].1.starts_with("app: "));

    // What fails ends it, and what was not made is said.
    let told = ask(
        "GET",
        "/orgs/org_1",
        &[("authorization", format!("Bearer {}", token("user_ada").claim("azp", json!(7)).sign()))],
    );
    let checks = steps(&told, "check");
    assert!(
        checks.iter().any(|(outcome, detail)| *outcome == "fail" && detail.starts_with("clerk azp: 7")),
        "{checks:?}"
    );
    assert_eq!(checks.last().unwrap(), &("not reached", "clerk sts, claims, times, person"));
}

#[test]
fn nothing_comes_of_a_question() {
    let bed = Bed::new().policy(RULES).section("audit: { file: audit/audit.jsonl }").start();
    let trail = || std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap_or_default().lines().count();
    // What serving traffic moves.
    let counted = || {
        let metrics = bed.ask_admin("/metrics").text();
        let is_still = |line: &&str| {
            [
                "crossgate_auth_decisions_total",
                "crossgate_requests_total",
                "crossgate_report_total",
                "crossgate_jwks_refresh_total",
                "crossgate_missing_azp_total",
                "crossgate_shadow_comparisons_total",
                "crossgate_token_cache_entries",
            ]
            .iter()
            .any(|name| line.starts_with(name))
        };
        metrics.lines().filter(is_still).map(str::to_owned).collect::<Vec<_>>()
    };
    let (entries, before, fetched) = (trail(), counted(), bed.issuer().fetches());
    let ada = token("user_ada").org("org_1", "acme", "member").without("azp").sign();
    let unknown = token("user_ada").issued(-2).in_header("kid", json!("ins_never")).sign();
    for token in [&ada, &ada, &unknown] {
        for (method, url) in [("POST", "/orgs/org_1/runs"), ("POST", "/orgs/org_1"), ("GET", "/nowhere")] {
            let lines = [("authorization", format!("Bearer {token}"))];
            assert_eq!(post(&bed, &question(method, url, &lines)).status, 200);
        }
    }
    assert!(before.iter().any(|line| line.starts_with("crossgate_token_cache_entries 0")), "{before:?}");
    assert_eq!((trail(), counted()), (entries, before));
    assert_eq!(bed.issuer().fetches(), fetched, "no key set is fetched for a question");
    assert_eq!(bed.origin().count(), 0, "the API hears of nothing");
    assert!(!bed.process.stdout.text().contains("/orgs/org_1"), "no access line");
}

#[test]
fn no_secret_is_in_any_answer() {
    let bed = bed();
    let config = bed.folder().join("crossgate.yaml");
    let signed = token("user_ada").org("org_1", "acme", "member").sign();
    let (canary, query) = ("c4n4ry-cookie-value", "c4n4ry-query-value");
    let urls = [
        format!("/orgs/org_1?key={query}"),
        format!("/found?org={query}"),
        format!("/asked?key={query}"),
        format!("/orgs/%7E?key={query}"),
        format!("x://[{query}"),
        format!("//a?{query}"),
    ];
    let all_lines = [
        vec![("authorization", format!("Bearer {signed}")), ("cookie", format!("other={canary}; __session={canary}"))],
        vec![("authorization", format!("Bearer {canary}")), ("cookie", format!("__session={signed}; __client_uat=1"))],
        vec![("authorization", canary.to_owned())],
        vec![("authorization", format!("Bearer {canary} x"))],
    ];
    for url in &urls {
        for lines in &all_lines {
            let posted = post(&bed, &question("GET", url, lines)).text();
            let mut arguments = vec!["GET".to_owned(), url.clone()];
            arguments.extend(lines.iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = super::command(&config, &arguments);
            let said = [posted, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap()];
            for text in &said {
                assert!(!text.contains("c4n4ry"), "{url} {lines:?}: {text}");
                let parts: Vec<&str> = signed.split('.').collect();
                assert!(parts.iter().all(|part| !text.contains(part)), "{url}: a part of the token: {text}");
            }
        }
    }
    for bad in [
        json!({ "url": format!("x{query}") }),
        json!({ "url": "/x", "headers": { "a": format!("{canary}\n") } }),
        json!({ "url": "/x", "headers": { "authorization": [[canary]] } }),
        json!({ "url": "/x", "as": { "user": [canary] } }),
    ] {
        let answer = post(&bed, &bad);
        assert_eq!(answer.status, 400, "{bad}");
        assert!(!answer.text().contains("c4n4ry"), "{}", answer.text());
    }
}

#[test]
fn bad_questions_are_refused_with_their_field() {
    let bed = bed();
    let table = [
        (json!({}), json!("url")),
        (json!({ "url": 7 }), json!("url")),
        (json!({ "url": "orgs" }), json!("url")),
        (json!({ "url": "/auth/status" }), Value::Null),
        (json!({ "url": "/x", "method": "G T" }), json!("method")),
        (json!({ "url": "/x", "headers": [] }), json!("headers")),
        (json!({ "url": "/x", "headers": { "a b": "1" } }), json!("headers")),
        (json!({ "url": "/x", "headers": { "a": 1 } }), json!("headers")),
        (json!({ "url": "/x", "at": "tomorrow" }), json!("at")),
        (json!({ "url": "/x", "as": "u1" }), json!("as")),
        (json!({ "url": "/x", "as": { "org": "acme" } }), json!("as")),
        (json!({ "url": "/x", "as": { "user": "u1", "rol": "x" } }), json!("as")),
        (json!({ "url": "/x", "body": "y" }), Value::Null),
        (json!(["/x"]), Value::Null),
    ];
    for (body, field) in table {
        let answer = post(&bed, &body);
        if body["url"] == "/auth/status" {
            continue;
        }
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.json()["field"], field, "{body}: {}", answer.text());
    }
    let call = || Call::new(&bed.admin, "POST", "/v1/explain").header("content-type", "application/json");
    assert_eq!(call().body("{\"url\":\"/x\",\"url\":\"/y\"}").send().status, 400);
    assert_eq!(call().body("{").send().status, 400);
    let large = json!({ "url": "/x", "headers": { "a": "b".repeat(70_000) } });
    assert_eq!(call().body(large.to_string()).send().status, 413);
    let form = Call::new(&bed.admin, "POST", "/v1/explain").body("{\"url\":\"/x\"}").send();
    assert_eq!(form.status, 415);
    assert_eq!(bed.ask_admin("/v1/explain").status, 405);
    let page = call().header("origin", "https://evil.example").body("{\"url\":\"/x\"}").send();
    assert_eq!(page.status, 403);
    let rebound = call().host("evil.example").body("{\"url\":\"/x\"}").send();
    assert_eq!(rebound.status, 403);
}

#[test]
fn it_takes_the_scope_to_read() {
    let bed = Bed::new().policy(RULES);
    for (name, secret) in [("reader", "reader-reader-reader"), ("mover", "mover-mover-mover")] {
        let path = bed.folder().join(format!("{name}.token"));
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let admin = reserve().local_addr().unwrap();
    let tokens = "tokens: [{ name: reader, token_file: reader.token, scopes: [read] }, { name: mover, token_file: mover.token, scopes: [\"rollout:write\"] }]";
    let bed = bed.section(&format!("admin: {{ address: \"{admin}\", {tokens} }}"));
    let gate = Address::Tcp(reserve().local_addr().unwrap());
    let bed = bed.start_at(gate, Address::Tcp(admin));
    let asked = |secret: Option<&str>| {
        let call = Call::new(&bed.admin, "POST", "/v1/explain").header("content-type", "application/json");
        let call = secret.map_or(call.clone(), |secret| call.bearer(secret));
        call.body("{\"url\":\"/public/x\"}").send().status
    };
    assert_eq!((asked(None), asked(Some("mover-mover-mover")), asked(Some("reader-reader-reader"))), (401, 403, 200));
}

/// The server is asked as the gate asks it, and its answer is kept by nobody.
#[test]
fn a_legacy_server_is_asked_and_nothing_is_remembered() {
    let server = LegacyServer::start();
    let bed = server.bed(Kind::Introspection).start();
    let lines = |value: &str| vec![("authorization", format!("Bearer {value}"))];
    for _ in 0..2 {
        let told = post(&bed, &question("GET", "/me/x", &lines("good-ada"))).json();
        assert_eq!(told["decision"], "allow", "{told}");
        assert_eq!(steps(&told, "check").last().unwrap(), &("pass", "legacy answer: the server says good"));
    }
    assert_eq!(server.asked(), 2, "asked each time");
    let told = post(&bed, &question("GET", "/me/x", &lines("made-up"))).json();
    assert_eq!((&told["code"], server.asked()), (&json!("legacy_invalid"), 3));
    assert_eq!(bed.get("/me/x").bearer("good-ada").send().outcome(), "200 ok");
    assert_eq!(server.asked(), 4, "the gate knew nothing of it");
    let told = post(&bed, &question("GET", "/me/x", &lines("good-ada"))).json();
    assert_eq!(told["decision"], "allow");
}

/// Tokens that crossgate makes are told, and not shown.
#[test]
fn an_assertion_is_told_as_present() {
    let bed = Bed::new()
        .policy(RULES)
        .section("identity: { assertion: { enabled: true, issuer: \"https://gate.internal\", audience: app } }")
        .upstream_option("credentials: { authorization: assertion }")
        .start();
    let ada = format!("Bearer {}", token("user_ada").org("org_1", "acme", "member").sign());
    let answer = post(&bed, &question("GET", "/orgs/org_1", &[("authorization", ada)]));
    let told = answer.json();
    let added: Vec<&str> = steps(&told, "added").into_iter().map(|(_, detail)| detail).collect();
    assert_eq!(
        added,
        [
            "x-crossgate-assertion: a token, made for this request",
            "authorization (assertion): a token, made for this request"
        ]
    );
    assert!(!answer.text().contains("eyJ"), "{}", answer.text());
}

/// The rollout as it stands now, and not as the config has it.
#[test]
fn the_live_rollout_is_what_counts() {
    let bed = Bed::new()
        .policy(RULES)
        .section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }")
        .section("identity: { map: { file: map.jsonl } }")
        .section("rollout: { name: auth, source: api, percent: 0, unit: user, limits: { max_step: 100 } }");
    std::fs::write(bed.folder().join("legacy.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let line = r#"{"kind":"user","legacy":"42","clerk":"user_42","state":"linked"}"#;
    std::fs::write(bed.folder().join("map.jsonl"), format!("{line}\n")).unwrap();
    let bed = bed.start_on_sockets();
    let ask = || {
        let person = json!({ "user": "42", "org": "acme", "token": "legacy" });
        post(&bed, &json!({ "method": "POST", "url": "/orgs/acme/runs", "as": person })).json()
    };
    let order = |method: &str, what: &str, body: &str| {
        let call = Call::new(&bed.admin, method, &format!("/v1/rollouts/auth/{what}"));
        assert_eq!(call.header("content-type", "application/json").body(body).send().status, 200, "{what}");
    };
    assert_eq!((&ask()["arm"], &ask()["decision"]), (&json!("legacy"), &json!("allow")), "{}", ask());
    order("PUT", "weight", "{\"percent\":100}");
    let told = ask();
    assert_eq!((&told["arm"], &told["code"]), (&json!("clerk"), &json!("step_up_clerk")), "{told}");
    let arm = steps(&told, "arm")[0].1;
    assert!(arm.starts_with("user 42: crossgate-1 bucket "), "{arm}");
    assert!(arm.contains("now 100 % (1000000 ppm)") && arm.ends_with("; the person is linked"), "{arm}");
    order("POST", "rollback", "");
    let told = ask();
    let arm = steps(&told, "arm")[0].1;
    assert!(arm.ends_with("; the rollout is rolled back by itself, before that it was clerk"), "{arm}");
    assert_eq!(told["code"], "step_up_clerk", "what trips by itself lowers no bar: {told}");
    order("POST", "confirm", "");
    assert_eq!(ask()["decision"], "allow", "{}", ask());
}
