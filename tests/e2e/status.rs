//! `/auth/status` as an endpoint: whom it answers, with what around the body, and which body; also with one login only.
//! Every state of an API with two logins stands in `two_logins::status`.

use serde_json::{Value, json};

use super::bed::{Bed, Running, until};
use super::issuer::{self, Keys, now, tampered, token};
use super::wire::{Call, Response};

const CATCH_ALL: &str = "routes: [{ id: all, match: { path: '/{*rest}' }, access: public }]";

fn status(bed: &Running) -> Call {
    bed.get("/auth/status")
}

fn summary(answer: &Response) -> String {
    let body = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (migration, user) = (&body["migration"], &body["user"]);
    format!(
        "{} {} {} {}",
        text(&body["method"]),
        text(&user["id"]),
        text(&migration["state"]),
        text(&migration["action"])
    )
}

#[test]
fn with_clerk_alone() {
    let bed = Bed::new().policy(CATCH_ALL).start();
    let good = token("user_ada").org("org_1", "acme", "admin").sign();
    let answer = status(&bed).bearer(&good).send();
    let body = answer.json();
    assert_eq!(
        (&body["user"], &body["org"], &body["arm"]),
        (
            &json!({ "id": "user_ada", "legacyId": null, "clerkId": "user_ada" }),
            &json!({ "id": "org_1", "role": "org:admin" }),
            &json!("clerk")
        )
    );
    let table = [
        ("nobody", status(&bed), "none - anonymous sign_in"),
        ("ada", status(&bed).bearer(&good), "clerk user_ada clerk_native none"),
        ("expired", status(&bed).bearer(&token("user_ada").expired().sign()), "none - anonymous sign_in"),
        ("forged", status(&bed).bearer(&tampered(&good, 2)), "none - anonymous sign_in"),
        ("no token", status(&bed).bearer("x"), "none - anonymous sign_in"),
        ("another scheme", status(&bed).header("authorization", "Basic eDp5"), "none - anonymous sign_in"),
    ];
    for (name, call, expected) in table {
        let answer = call.send();
        assert_eq!((answer.status, summary(&answer).as_str()), (200, expected), "{name}");
    }
    assert_eq!(bed.origin().count(), 0);
    bed.issuer().serves(Keys::Status(500));
    let unknown = token("user_ada").issued(-2).in_header("kid", json!("ins_never_seen")).sign();
    let body = status(&bed).bearer(&unknown).send().json();
    assert_eq!((&body["authenticated"], &body["degraded"]), (&json!(false), &json!(true)), "{body}");
    assert_eq!(body["migration"], json!({ "state": "unverified", "action": "none" }));
}

#[test]
fn with_clerk_alone_in_an_outage_nobody_is_sent_to_it() {
    let bed = Bed::new().section("server: { threads: 2, ready: { wait: 200ms } }");
    bed.issuer().kill();
    let bed = bed.start();
    for call in [status(&bed), status(&bed).bearer(&token("user_ada").sign())] {
        let body = call.send().json();
        assert_eq!((&body["authenticated"], &body["degraded"]), (&json!(false), &json!(true)), "{body}");
        assert_eq!(body["migration"]["action"], "none", "{body}");
    }
}

#[test]
fn two_instances() {
    let other = issuer::Issuer::start();
    other.serves(Keys::Second);
    let instance = format!(
        "{{ name: other, issuer: \"https://clerk.other.example\", jwks: {{ url: \"{}\", allow_private: true }} }}",
        other.url()
    );
    let bed = Bed::new().instance(&instance).start();
    let eve = token("user_eve").claim("iss", json!("https://clerk.other.example")).by_second_key().sign();
    let ada = token("user_ada").sign();
    assert_eq!(summary(&status(&bed).bearer(&eve).send()), "clerk user_eve clerk_native none");
    assert_eq!(summary(&status(&bed).bearer(&ada).send()), "clerk user_ada clerk_native none");
    // Each carries a person of one of them: nobody can say which is meant.
    let both = status(&bed).bearer(&ada).cookie(&format!("__session={eve}; __client_uat={}", now() - 1000)).send();
    assert_eq!(summary(&both), "none - conflict sign_in");
}

fn one_login(legacy: &str) -> Running {
    let bed = Bed::new().policy(CATCH_ALL).without("clerk").section(legacy);
    std::fs::write(bed.folder().join("legacy.secret"), "the-api-signed-with-this-for-years-and-years").unwrap();
    bed.start()
}

fn legacy_token(secret: &str) -> String {
    let claims = json!({ "sub": "42", "org": "acme", "roles": ["admin"], "exp": now() + 600 });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).unwrap()
}

#[test]
fn with_the_legacy_login_alone() {
    let bed = one_login("legacy: { verify: { jwt: { secret_file: legacy.secret } } }");
    let body = status(&bed).bearer(&legacy_token("the-api-signed-with-this-for-years-and-years")).send().json();
    assert_eq!((&body["method"], &body["arm"], &body["degraded"]), (&json!("legacy"), &json!("legacy"), &json!(false)));
    assert_eq!(body["user"], json!({ "id": "42", "legacyId": "42", "clerkId": null }));
    assert_eq!(body["org"], json!({ "id": "acme", "role": "admin" }));
    assert_eq!(body["migration"]["action"], "none");
    assert_eq!(
        summary(&status(&bed).bearer(&legacy_token("another-secret-of-just-as-many-bytes")).send()),
        "none - anonymous sign_in"
    );
    assert_eq!(summary(&status(&bed).send()), "none - anonymous sign_in");
}

#[test]
fn what_only_the_api_can_verify_is_not_claimed() {
    let bed =
        one_login("legacy: { credential: { header: authorization, scheme: Bearer }, verify: { passthrough: {} } }");
    let body = status(&bed).bearer("whatever").send().json();
    assert_eq!((&body["authenticated"], &body["degraded"]), (&json!(false), &json!(false)), "{body}");
    assert_eq!(body["migration"], json!({ "state": "unverified", "action": "none" }), "nobody is logged out by it");
    assert_eq!(summary(&status(&bed).send()), "none - anonymous sign_in");

    let both = Bed::new().section("legacy: { credential: { cookie: session }, verify: { passthrough: {} } }").start();
    let ada = token("user_ada").sign();
    let leftover = |call: Call| call.cookie("session=whatever");
    assert_eq!(summary(&leftover(status(&both)).bearer(&ada).send()), "clerk user_ada clerk_native none");
    assert_eq!(summary(&leftover(status(&both)).send()), "none - unverified none");
    let late = token("user_ada").expired().sign();
    assert_eq!(summary(&leftover(status(&both)).bearer(&late).send()), "none - anonymous sign_in", "bad on purpose");
}

#[test]
fn what_is_around_it() {
    let bed = Bed::new().policy(CATCH_ALL).section("cors: { origins: [https://app.example.com] }").start();
    let ada = token("user_ada").sign();
    let answer = status(&bed).bearer(&ada).header("origin", "https://app.example.com").send();
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("cache-control", Some("no-store")),
        ("x-content-type-options", Some("nosniff")),
        ("vary", Some("Origin")),
        ("access-control-allow-origin", Some("https://app.example.com")),
        ("access-control-allow-credentials", Some("true")),
        ("set-cookie", None),
        ("www-authenticate", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.header("x-request-id").is_some());
    let foreign = status(&bed).bearer(&ada).header("origin", "https://evil.example").send();
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));
    assert_eq!(foreign.header("vary"), Some("Origin"));

    let head = bed.call("HEAD", "/auth/status").bearer(&ada).send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
    let asks_first = bed
        .call("OPTIONS", "/auth/status")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization")
        .send();
    assert_eq!(asks_first.status, 204);
    assert_eq!(asks_first.header("access-control-allow-headers"), Some("authorization"));
    assert_eq!(bed.origin().count(), 0, "none of it is the API's");

    // Everything else is.
    for (method, target) in
        [("POST", "/auth/status"), ("GET", "/auth/status/x"), ("GET", "/auth"), ("DELETE", "/auth/status")]
    {
        let before = bed.origin().count();
        assert_eq!(bed.call(method, target).send().status, 200, "{method} {target}");
        assert_eq!(bed.origin().count(), before + 1, "{method} {target}");
    }
    // A query, an escape of a plain letter: the same path.
    for target in ["/auth/status?x=1", "/auth/st%61tus"] {
        assert_eq!(bed.get(target).send().json()["method"], "none", "{target}");
    }
}

#[test]
fn it_is_counted_and_leaves_no_trail() {
    let bed = Bed::new()
        .policy("routes: [{ id: vault, match: { path: '/vault' }, access: privileged }]")
        .section("audit: { file: audit.jsonl }")
        .start();
    let ada = token("user_ada").sign();
    for call in [status(&bed), status(&bed).bearer(&ada), status(&bed).bearer(&tampered(&ada, 2))] {
        assert_eq!(call.send().status, 200);
    }
    let lines = bed.access_lines(3);
    for line in lines.iter().filter(|line| line["path"] == "/auth/status") {
        assert_eq!((&line["status"], &line["code"], &line["decision"]), (&json!(200), &json!("ok"), &json!("allow")));
    }
    let series = "crossgate_auth_decisions_total{access=\"none\",arm=\"none\",decision=\"allow\",fault=\"none\",reason=\"ok\",rollout=\"auth\"}";
    assert_eq!(bed.metric(series), 3.0);
    assert_eq!(bed.get("/vault").send().outcome(), "401 no_credential");
    let trail = until("an entry", || {
        let text = std::fs::read_to_string(bed.folder().join("audit.jsonl")).ok()?;
        text.contains("\"denied\"").then_some(text)
    });
    assert!(!trail.contains("/auth/status"), "{trail}");
}

#[test]
fn no_byte_of_a_credential_is_in_the_answer() {
    let secret = "the-api-signed-with-this-for-years-and-years";
    let bed = Bed::new().policy(CATCH_ALL).section(
        "legacy:\n  credential: { header: authorization, scheme: Bearer, cookie: session }\n  verify: { jwt: { secret_file: legacy.secret } }",
    );
    std::fs::write(bed.folder().join("legacy.secret"), secret).unwrap();
    let bed = bed.start();
    let ada = token("user_ada").claim("secret", json!("canary-claim")).claim("sid", json!("sess_canary")).sign();
    let old = legacy_token(secret);
    let bad = tampered(&ada, 2);
    let late = token("user_ada").claim("secret", json!("canary-claim")).expired().sign();
    let jar = |token: &str| format!("__session={token}; __client_uat={}; sid=canary-cookie", now() - 1000);
    let calls = [
        status(&bed).bearer(&ada),
        status(&bed).bearer(&old).cookie(&jar(&ada)),
        status(&bed).cookie(&jar(&ada)),
        status(&bed).cookie(&jar(&bad)),
        status(&bed).cookie(&format!("session={old}; {}", jar(&late))),
        status(&bed).bearer(&late),
        status(&bed).bearer("canary-header"),
        bed.get("/auth/status?token=canary-query").header("x-crossgate-subject", "canary-header"),
    ];
    for (number, call) in calls.iter().enumerate() {
        let answer = call.send();
        assert_eq!(answer.status, 200, "{number}");
        let said = format!("{:?} {}", answer.headers, answer.text());
        assert!(!said.contains("canary") && !said.contains(secret), "{number}: {said}");
        for token in [&ada, &old, &bad, &late] {
            for part in token.split('.') {
                assert!(!said.contains(&part[..part.len().min(24)]), "{number}: {said}");
            }
        }
    }
}

#[test]
fn junk_is_paid_for_here_too() {
    let bed = Bed::new().section("telemetry: { access_log: off, log: info }").start();
    let (ada, bob) = (token("user_ada").sign(), token("user_bob").sign());
    assert_eq!(summary(&status(&bed).bearer(&ada).send()), "clerk user_ada clerk_native none");
    let mut wire = bed.connect();
    let held_back = (0..20_000).find_map(|number| {
        let forged = token(&format!("user_{number}")).in_header("kid", json!("ins_first")).by_second_key();
        let body = wire.exchange(&status(&bed).bearer(&forged.sign())).json();
        (body["migration"]["state"] == "unverified").then_some(body)
    });
    let body = held_back.expect("checks of one address have a budget");
    assert_eq!((&body["authenticated"], &body["degraded"]), (&json!(false), &json!(true)), "{body}");
    assert_eq!(body["migration"]["action"], "none", "who has a good one is not logged out: {body}");
    assert!((2..=8).contains(&body["retryAfter"].as_u64().unwrap()), "{body}");
    assert_eq!(summary(&status(&bed).bearer(&ada).send()), "clerk user_ada clerk_native none", "known before");
    until("the budget", || {
        (summary(&status(&bed).bearer(&bob).send()) == "clerk user_bob clerk_native none").then_some(())
    });
}

#[test]
fn a_body_that_the_frontend_knows() {
    let bed = Bed::new()
        .section(
            "endpoints:\n  status:\n    path: /api/session\n    body:\n      loggedIn: \"{authenticated?yes:no}\"\n      id: \"{user.id}\"\n      text: \"{method}: {migration.action}\"\n      banner: \"{degraded}\"\n      nested: [\"{org.role}\", { v: 2, none: null }]",
        )
        .start();
    let ada = token("user_ada").org("org_1", "acme", "admin").sign();
    assert_eq!(
        bed.get("/api/session").bearer(&ada).send().json(),
        json!({ "loggedIn": "yes", "id": "user_ada", "text": "clerk: none", "banner": false, "nested": ["org:admin", { "v": 2, "none": null }] })
    );
    assert_eq!(
        bed.get("/api/session").send().json(),
        json!({ "loggedIn": "no", "id": null, "text": "none: sign_in", "banner": false, "nested": [null, { "v": 2, "none": null }] })
    );
    assert_eq!(bed.get("/auth/status").send().outcome(), "403 no_route");
}

/// The example of docs/status.md, and what it says that comes of it.
#[test]
fn the_body_of_the_book() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.md")).unwrap();
    let block = |fence: &str, from: &str| {
        let (_, rest) = page.split_once(from).unwrap();
        let (_, rest) = rest.split_once(fence).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let config = block("```yaml\n", "## Another body");
    let (_, endpoints) = config.split_once("\nendpoints:").unwrap();
    let bed = Bed::new().section(&format!("endpoints:{endpoints}")).start();
    let ada = token("user_ada").org("org_1", "acme", "admin").sign();
    let expected: Value = serde_json::from_str(&block("```json\n", "## Another body")).unwrap();
    assert_eq!(bed.get("/auth/status").bearer(&ada).send().json(), expected);
}

/// Such a route once switched the endpoint off for all others.
#[test]
fn a_route_with_a_condition_keeps_what_it_takes() {
    let own = "routes:
  - { id: old, match: { method: [GET], path: /auth/status, host: old.example.com }, access: public }
  - { id: beta, match: { method: [GET], path: /auth/status, header: { x-beta: b1 }, query: { v: '2' } }, access: public }
  - { id: all, match: { path: '/{*rest}' }, access: public }";
    let bed = Bed::new().policy(own).start();
    let table = [
        ("its host", bed.get("/auth/status").host("old.example.com"), true),
        ("another host", bed.get("/auth/status").host("new.example.com"), false),
        ("no host that is named", bed.get("/auth/status"), false),
        ("header and parameter", bed.get("/auth/status?v=2").header("x-beta", "b1"), true),
        ("the header alone", bed.get("/auth/status").header("x-beta", "b1"), false),
        ("another value", bed.get("/auth/status?v=1").header("x-beta", "b1"), false),
    ];
    for (name, call, is_apis) in table {
        let before = bed.origin().count();
        let answer = call.send();
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(bed.origin().count() - before, usize::from(is_apis), "{name}");
        if !is_apis {
            assert_eq!(answer.json()["migration"]["state"], "anonymous", "{name}");
        }
    }
}

#[test]
fn the_api_keeps_its_own() {
    let own = "routes: [{ id: own, match: { method: [GET], path: /auth/status }, access: public }, { id: all, match: { path: '/{*rest}' }, access: public }]";
    let off = Bed::new().policy(CATCH_ALL).section("endpoints: { status: null }").start();
    let kept = Bed::new().policy(own).start();
    for (name, bed) in [("switched off", off), ("its own route", kept)] {
        assert_eq!(bed.get("/auth/status").send().status, 200, "{name}");
        assert_eq!(bed.origin().count(), 1, "{name}");
    }
}
