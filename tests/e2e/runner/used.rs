//! What a runner token does, and where it does nothing.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{IDENTITY, LEGACY, MAP, RULES, RUNNER, SECRET, START, ada, bed, exchange, legacy, part, reload};
use crate::bed::{Bed, until};
use crate::issuer::{now, tampered, token};
use crate::wire::{Call, Response};

const READ: &str = "/api/orgs/acme/executions";

/// The answer, once the disk is not too slow for what is recorded.
fn settled(call: &Call) -> Response {
    until("a record in time", || Some(call.send()).filter(|answer| answer.outcome() != "503 audit_unavailable"))
}

#[test]
fn scopes_narrow_what_a_route_takes() {
    let bed = bed().start();
    let reader = exchange(&bed, &ada(), "executions:read");
    let writer = exchange(&bed, &ada(), "executions:write");
    assert_eq!(bed.get(READ).bearer(&reader).send().outcome(), "200 ok");
    assert_eq!(bed.get(READ).bearer(&writer).send().outcome(), "200 ok", "any of the listed");
    assert_eq!(settled(&bed.post(START).bearer(&reader)).outcome(), "403 forbidden");
    assert_eq!(settled(&bed.post(START).bearer(&writer)).outcome(), "200 ok");
    // The scope is asked of tokens that have some: a session is what it always was.
    assert_eq!(settled(&bed.post(START).bearer(&ada())).outcome(), "200 ok");
    assert_eq!(bed.get(READ).bearer(&ada()).send().outcome(), "403 forbidden", "only runners");
    // A route that does not list it.
    assert_eq!(bed.get("/me/x").bearer(&writer).send().outcome(), "403 forbidden");
}

/// Found by attack: it passed with all of the person's identity, a minted legacy token included.
#[test]
fn report_mode_takes_no_token_for_more_than_its_rule_does() {
    let sessions =
        "\n  - { id: sessions, match: { path: \"/sessions/{*rest}\" }, mode: report, require: { token: [session] } }\n";
    let bed = bed().policy(&format!("{}{sessions}", super::RULES)).start();
    let reader = exchange(&bed, &ada(), "executions:read");
    let writer = exchange(&bed, &ada(), "executions:write");
    let table = [
        ("/reported/x", &reader, "runner", "its scope holds"),
        ("/reported/x", &writer, "none", "another scope"),
        ("/sessions/x", &writer, "none", "no runner is asked for"),
        ("/sessions/x", &ada(), "clerk", "the session is"),
    ];
    for (target, credential, method, name) in table {
        assert_eq!(bed.get(target).bearer(credential).send().outcome(), "200 ok", "{name}");
        let seen = bed.origin().last();
        assert_eq!(seen.values("x-crossgate-method"), [method], "{name}");
        assert_eq!(seen.values("x-crossgate-subject").is_empty(), method == "none", "{name}");
        assert!(seen.values("authorization").is_empty(), "{name}");
    }
    for route in ["reported", "sessions"] {
        let counted = bed.ask_admin(&format!("/v1/report/{route}")).text();
        assert!(counted.contains("\"42\""), "whose it was is counted: {counted}");
    }
}

#[test]
fn a_public_route_takes_it_for_nobody() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "");
    let bad = [runner.clone(), tampered(&runner, 2), tampered(&runner, 1)];
    for runner in &bad {
        let call = bed.get("/public/x").bearer(runner).cookie(&format!("__session={}; a=1", ada()));
        assert_eq!(call.send().outcome(), "200 ok");
        let seen = bed.origin().last();
        assert_eq!(seen.values("x-crossgate-method"), ["none"]);
        assert!(seen.values("authorization").is_empty(), "never shown to the API");
        assert_eq!(seen.values("cookie"), ["a=1"]);
    }
    // Report mode lets it through as nobody, without it.
    assert_eq!(bed.get("/reported/x").bearer(&bad[1]).send().outcome(), "200 ok");
    assert!(bed.origin().last().values("authorization").is_empty());
}

#[test]
fn what_is_no_runner_token_of_ours() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let before = bed.origin().count();
    let other = super::bed().start();
    let foreign = exchange(&other, &ada(), "executions:read");
    let table = [
        ("a changed payload", tampered(&runner, 1)),
        ("a changed signature", tampered(&runner, 2)),
        ("signed by another crossgate", foreign),
        ("without a signature", format!("{}.", runner.rsplit_once('.').unwrap().0)),
        ("a longer one", format!("{runner}.x")),
    ];
    for (name, runner) in table {
        let answer = bed.get(READ).bearer(&runner).send();
        assert_eq!(answer.outcome(), "401 invalid", "{name}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{name}");
    }
    assert_eq!(bed.origin().count(), before);
    assert_eq!(bed.get(READ).bearer(&runner).send().outcome(), "200 ok");
}

#[test]
fn the_line_decides_whatever_else_came_along() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let eve = token("user_eve").org("org_2", "globex", "admin").sign();
    assert_eq!(bed.get(READ).bearer(&runner).cookie(&format!("__session={eve}; a=1")).send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-crossgate-subject"), ["42"]);
    assert_eq!(bed.origin().last().values("cookie"), ["a=1"]);
    // Behind a scheme that is none of ours, some APIs read a token all the same.
    assert_eq!(bed.get("/public/x").header("authorization", &format!("Token {runner}")).send().outcome(), "200 ok");
    assert!(bed.origin().last().values("authorization").is_empty());
    // No fallback to a cookie.
    let bad = tampered(&runner, 2);
    assert_eq!(bed.get("/me/x").bearer(&bad).cookie(&format!("__session={}", ada())).send().outcome(), "401 invalid");
    // Elsewhere than in the line it is nothing.
    assert_eq!(bed.get(READ).cookie(&format!("__session={runner}")).send().status, 401);
}

#[test]
fn an_impersonator_stays_named() {
    let bed = bed().start();
    let session = token("user_ada").org("org_1", "acme", "admin").claim("act", json!({ "sub": "user_support" })).sign();
    let runner = exchange(&bed, &session, "executions:write");
    assert_eq!(part(&runner, 1)["act"], json!({ "sub": "runner", "act": { "sub": "user_support" } }));
    assert_eq!(settled(&bed.post(START).bearer(&runner)).outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-crossgate-actor"), ["user_support"]);
    let attempt = super::entries(&bed, "privileged.attempt", "execution.start").remove(0);
    assert_eq!(attempt["actor"]["impersonator"], "user_support");
}

#[test]
fn who_is_sealed_gone_or_moved_out_after_the_exchange() {
    let bed = bed().start();
    let of_clerk = exchange(&bed, &ada(), "executions:read executions:write");
    let of_legacy = exchange(&bed, &legacy("43", 3600), "executions:read executions:write");
    let read = |runner: &str| bed.get(READ).bearer(runner).send().outcome();
    assert_eq!((read(&of_clerk), read(&of_legacy)), ("200 ok".to_owned(), "200 ok".to_owned()));
    let map = |text: &str| {
        std::fs::write(bed.folder().join("map.jsonl"), text).unwrap();
        reload(&bed);
    };
    // Out of a workspace: the map that serves counts, not the one of the exchange.
    map(&MAP.replace(r#"["w1","w2"]"#, r#"["w2"]"#));
    assert_eq!(settled(&bed.post(START).bearer(&of_clerk)).outcome(), "403 forbidden");
    assert_eq!(settled(&bed.post(&START.replace("w1", "w2")).bearer(&of_clerk)).outcome(), "200 ok");
    let gone = MAP.replace("linked", "deleted");
    map(&gone);
    assert_eq!((read(&of_clerk), read(&of_legacy)), ("401 invalid".to_owned(), "200 ok".to_owned()));
    map(&gone.replace(r#""43","state":"legacy_only""#, r#""43","clerk":"user_bob","state":"sealed""#));
    assert_eq!((read(&of_clerk), read(&of_legacy)), ("401 invalid".to_owned(), "401 invalid".to_owned()));
}

/// The roles of a credential stay those of the credential, also where the map said the same at the exchange.
#[test]
fn a_role_that_the_map_gives_later_is_not_gained() {
    let rules = "routes:
  - { id: boss, match: { path: \"/boss/{*rest}\" }, require: { token: [legacy, runner], scope: [executions:read], org: any, role: [org:admin] } }
  - { id: all, match: { path: \"/all/{*rest}\" }, require: { token: [runner], scope: [executions:read] } }";
    let member =
        MAP.replace(r#""user":"43","org":"acme","role":"admin""#, r#""user":"43","org":"acme","role":"member""#);
    let bed = Bed::new().policy(rules).section(RUNNER).section(IDENTITY).section(LEGACY);
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), &member).unwrap();
    let bed = bed.start();
    let legacy = |roles: Value| {
        let claims = json!({ "sub": "43", "org": "acme", "roles": roles, "exp": now() + 3600 });
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    };
    let own = legacy(json!(["member"]));
    let said = exchange(&bed, &own, "executions:read");
    let by_map = exchange(&bed, &legacy(json!([])), "executions:read");
    assert_eq!((&part(&said, 1)["legacy_roles"], part(&by_map, 1).get("legacy_roles")), (&json!(["member"]), None));
    let boss = |token: &str| bed.get("/boss/x").bearer(token).send().outcome();
    assert_eq!([boss(&own), boss(&said), boss(&by_map)], ["403 forbidden"; 3]);
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    reload(&bed);
    assert_eq!([boss(&own), boss(&said), boss(&by_map)], ["403 forbidden", "403 forbidden", "200 ok"]);
}

/// Report mode lets pass what passed before: no API ever took a runner token, so that what the rule refuses is nobody's.
#[test]
fn report_mode_widens_no_runner_token() {
    let rules = "routes:
  - { id: a, match: { path: \"/a/{*rest}\" }, mode: report, require: { token: [session], org: any } }
  - { id: b, match: { path: \"/b/{*rest}\" }, mode: report, require: { token: [runner], scope: [executions:write] } }
  - { id: c, match: { path: \"/c/{*rest}\" }, mode: report, require: { token: [runner], scope: [executions:read] } }";
    let bed = Bed::new().policy(rules).section(RUNNER).section(IDENTITY).section(LEGACY);
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    let bed = bed.start();
    let runner = exchange(&bed, &ada(), "executions:read");
    for (path, named) in [("/a/x", false), ("/b/x", false), ("/c/x", true)] {
        assert_eq!(bed.get(path).bearer(&runner).send().outcome(), "200 ok", "{path}");
        let seen = bed.origin().last();
        assert_eq!(!seen.values("x-crossgate-subject").is_empty(), named, "{path}");
        assert_eq!(seen.values("x-crossgate-method"), [if named { "runner" } else { "none" }], "{path}");
        assert!(seen.values("authorization").is_empty(), "{path}");
    }
}

#[test]
fn keys_that_everybody_can_read_are_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = bed().start();
    let folder = bed.folder().join("state/runner-keys");
    let made = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let check = || {
        let config = bed.folder().join("crossgate.yaml");
        let output = crate::bed::crossgate().args(["check", "-c"]).arg(config).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("CG0214")
    };
    assert!(!check(), "as they are made");
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check());
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!check(), "a group is the operator's");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(check());
}

#[test]
fn keys_that_are_rotated_and_taken_away() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let folder = bed.folder().join("state/runner-keys");
    let made = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let rotated = crate::bed::crossgate()
        .args(["keys", "rotate", "--of", "runner", "-c"])
        .arg(bed.folder().join("crossgate.yaml"))
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    reload(&bed);
    assert_eq!(bed.get(READ).bearer(&runner).send().outcome(), "200 ok", "both keys verify");
    std::fs::remove_file(made).unwrap();
    reload(&bed);
    assert_eq!(bed.get(READ).bearer(&runner).send().outcome(), "401 invalid", "a key that leaked is taken away");
    let next = exchange(&bed, &ada(), "executions:read");
    assert_eq!(bed.get(READ).bearer(&next).send().outcome(), "200 ok");
}

#[test]
fn an_api_gets_tokens_of_its_own_for_a_runner() {
    let minting = "legacy:\n  verify: { jwt: { secret_file: legacy.secret } }\n  mint: { key_file: legacy.secret, claims: { sub: \"{legacy_user}\", org: \"{legacy_org}\", role: \"{role}\" } }";
    let assertion = IDENTITY.replace(
        "identity: {",
        "identity: { assertion: { enabled: true, issuer: https://gate.internal, audience: app },",
    );
    let bed = bed()
        .section(minting)
        .section(&assertion)
        .upstream_option("credentials: { authorization: legacy_token }")
        .start();
    for subject in [ada(), legacy("43", 3600)] {
        let runner = exchange(&bed, &subject, "executions:read");
        assert_eq!(part(&runner, 1)["iss"], "https://gate.internal");
        assert_eq!(bed.get(READ).bearer(&runner).send().outcome(), "200 ok");
        let seen = bed.origin().last();
        let minted = part(seen.values("authorization")[0].strip_prefix("Bearer ").unwrap(), 1);
        assert_eq!((&minted["org"], &minted["role"]), (&json!("acme"), &json!("admin")));
        let asserted = part(&seen.values("x-crossgate-assertion")[0], 1);
        assert_eq!((&asserted["method"], &asserted["sub"]), (&json!("runner"), &minted["sub"]));
        // An assertion is no runner token.
        let asserted = seen.values("x-crossgate-assertion").remove(0);
        assert_eq!(bed.get(READ).bearer(&asserted).send().status, 401);
    }
}

#[test]
fn explain_says_what_it_is() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let explain = |runner: &str| {
        let output = crate::bed::crossgate()
            .args(["explain", "GET", READ, "--format", "json", "-H"])
            .arg(format!("authorization: Bearer {runner}"))
            .arg("-c")
            .arg(bed.folder().join("crossgate.yaml"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = explain(&runner);
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&shown["decision"], &shown["identity"]["method"]), (&json!("allow"), &json!("runner")), "{said}");
    assert!(
        said.contains(r#""outcome":"valid","step":"runner""#) || said.contains(r#""step":"runner","outcome":"valid""#),
        "{said}"
    );
    assert!(!said.contains(runner.rsplit('.').next().unwrap()), "the token is not shown");
    assert!(explain(&tampered(&runner, 2)).contains("signature-invalid"));
    // A person written down by hand.
    let persona = bed.folder().join("runner.yaml");
    std::fs::write(&persona, "{ user: u1, org: acme, role: org:admin, token: runner, scope: [executions:read] }")
        .unwrap();
    let ask = |url: &str| {
        let output = crate::bed::crossgate()
            .args(["explain", "GET", url, "--as"])
            .arg(&persona)
            .arg("-c")
            .arg(bed.folder().join("crossgate.yaml"))
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!((ask(READ), ask("/me/x")), (Some(0), Some(3)));
}

#[test]
fn a_claim_that_a_runners_route_asks_for_goes_along() {
    let rules = format!(
        "{RULES}  - {{ id: eng, match: {{ path: \"/eng/{{*rest}}\" }}, require: {{ token: [runner], scope: [executions:read], claim: {{ department: eng }} }} }}\n"
    );
    let bed = bed().policy(&rules).start();
    let of = |department: &str| {
        token("user_ada")
            .org("org_1", "acme", "admin")
            .claim("department", json!(department))
            .claim("mail", json!("a@b"))
            .sign()
    };
    let runner = exchange(&bed, &of("eng"), "executions:read");
    assert_eq!(part(&runner, 1)["claims"], json!({ "department": "eng" }), "and nothing else does");
    assert_eq!(bed.get("/eng/x").bearer(&runner).send().outcome(), "200 ok");
    let runner = exchange(&bed, &of("ops"), "executions:read");
    assert_eq!(bed.get("/eng/x").bearer(&runner).send().outcome(), "403 forbidden");
}

/// A runner that asks who it is: the person in whose name it acts, whatever cookies came along.
#[test]
fn the_status_names_the_person_behind_it() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let eve = token("user_eve").org("org_2", "globex", "admin").sign();
    let told = |runner: &str| {
        let answer = bed.get("/auth/status").bearer(runner).cookie(&format!("__session={eve}")).send();
        assert_eq!((answer.status, answer.text().contains("eve")), (200, false), "{}", answer.text());
        answer.json()
    };
    let status = told(&runner);
    assert_eq!((&status["authenticated"], &status["method"]), (&json!(true), &json!("runner")));
    assert_eq!((&status["user"]["id"], &status["migration"]["action"]), (&json!("42"), &json!("none")));
    let status = told(&tampered(&runner, 2));
    assert_eq!((&status["authenticated"], &status["migration"]["action"]), (&json!(false), &json!("sign_in")));
}
