//! The same with legacy credentials of other forms and in other places, and over other connections.

use serde_json::json;

use super::{RULES, ada, bed, exchange, form, legacy, post, refusal};
use crate::bed::{Bed, until};
use crate::issuer::{now, tampered, token};
use crate::legacy_server::{Kind, LegacyServer, Mode};
use crate::origin::{Answer, Origin};
use crate::wire::Wire;

const READ: &str = "/api/orgs/acme/executions";
const SIMPLE: &str = "routes: [{ id: x, match: { path: /x }, require: { token: [runner], scope: [a] } }]";

#[test]
fn a_legacy_credential_converts_wherever_it_travels() {
    for credential in ["{ header: x-api-token }", "{ header: authorization, scheme: Token }", "{ cookie: session }"] {
        let side =
            format!("legacy: {{ credential: {credential}, verify: {{ jwt: {{ secret_file: legacy.secret }} }} }}");
        let bed = bed().section(&side).start();
        let runner = exchange(&bed, &legacy("43", 3600), "executions:read");
        let call = bed.get(READ).bearer(&runner).header("x-api-token", "other").cookie("session=x; a=1");
        assert_eq!(call.send().outcome(), "200 ok", "{credential}");
        let seen = bed.origin().last();
        assert_eq!(seen.values("x-crossgate-legacy-user"), ["43"], "{credential}");
        assert!(seen.values("authorization").is_empty(), "{credential}");
        // Clerk's session is found in its own place all the same.
        exchange(&bed, &ada(), "executions:read");
    }
}

#[test]
fn a_credential_that_only_the_api_can_verify_is_not_converted() {
    for privileged in ["true", "false"] {
        let side = format!("legacy: {{ verify: {{ passthrough: {{ privileged: {privileged} }} }} }}");
        let bed = bed().section(&side).start();
        assert_eq!(refusal(&post(&bed, &form("opaque-credential").body())), "400 invalid_request");
        let runner = exchange(&bed, &ada(), "executions:read");
        for bearer in [runner.clone(), tampered(&runner, 2)] {
            assert_eq!(bed.get("/public/x").bearer(&bearer).send().outcome(), "200 ok");
            assert!(bed.origin().last().values("authorization").is_empty(), "the API sees no runner token");
        }
    }
}

#[test]
fn a_server_that_judges_credentials_hears_of_no_runner_token_and_converts_once() {
    for kind in [Kind::Introspection, Kind::ForwardAuth] {
        let server = LegacyServer::start();
        let bed = server.bed(kind).policy(SIMPLE).section("runner: { enabled: true, scopes: [a] }").start();
        let runner = exchange(&bed, "good-43", "a");
        assert_eq!(refusal(&post(&bed, &form("good-43").body())), "400 invalid_request", "used: {kind:?}");
        assert_eq!(refusal(&post(&bed, &form("bad-43").body())), "400 invalid_request", "{kind:?}");
        let asked = server.asked();
        for bearer in [&runner, &tampered(&runner, 2), &tampered(&runner, 1)] {
            bed.get("/x").bearer(bearer).send();
        }
        assert_eq!(server.asked(), asked, "{kind:?}");
        assert_eq!(bed.origin().last().values("x-crossgate-legacy-user"), ["43"], "{kind:?}");
        // While nobody can tell, nobody is refused for good.
        server.does(Mode::Status(500));
        let call = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded");
        let answer = call.body(form("good-44").body()).send();
        assert_eq!(refusal(&answer), "503 temporarily_unavailable", "{kind:?}");
        assert_eq!(bed.get("/x").bearer(&runner).send().outcome(), "200 ok", "{kind:?}: needs no server");
    }
}

/// A server that takes one credential in many spellings names it all the same.
#[test]
fn an_opaque_credential_converts_once_in_whatever_spelling() {
    for names in [json!({ "jti": "1" }), json!({ "iat": now() - 60 })] {
        let server = Origin::start();
        let said = names.clone();
        server.answers(move |asked| {
            let body = String::from_utf8_lossy(&asked.body).to_ascii_lowercase();
            let mut answer = said.clone();
            answer["active"] = json!(true);
            answer["sub"] = json!(if body.contains("other") { "44" } else { "43" });
            Answer::text(200, &answer.to_string()).with("content-type", "application/json")
        });
        let side = format!("legacy: {{ verify: {{ introspection: {{ url: \"http://{}/ask\" }} }} }}", server.address);
        let runner = "runner: { enabled: true, scopes: [a] }";
        let bed = Bed::new().policy(SIMPLE).section(&side).section(runner).start();
        exchange(&bed, "credential", "a");
        for spelling in ["CREDENTIAL", "credential=", "credential"] {
            assert_eq!(refusal(&post(&bed, &form(spelling).body())), "400 invalid_request", "{names} {spelling}");
        }
        exchange(&bed, "other", "a");
        let bed = bed.restart();
        assert_eq!(refusal(&post(&bed, &form("Credential").body())), "400 invalid_request", "{names} after a restart");
    }
}

#[test]
fn a_flood_of_bad_subjects_pays_alone() {
    let bed = bed().section("trusted_proxies: [127.0.0.0/8]").start();
    let bad = form(&tampered(&token("user_eve").sign(), 2)).body();
    let from = |address: &str, body: &str| {
        let call = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded");
        call.header("x-forwarded-for", address).body(body)
    };
    let mut wire = bed.connect();
    let refused = until("the end of the budget", || {
        let answer = (0..20).map(|_| wire.exchange(&from("198.51.100.1", &bad))).last()?;
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refusal(&refused), "503 temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    let good = form(&ada()).body();
    let call = from("198.51.100.2", &good);
    assert_eq!(until("others not to notice", || Some(call.send()).filter(|answer| answer.status == 200)).status, 200);
    // Bad runner tokens are counted as well.
    let runner = exchange(&bed, &token("user_ada").org("org_1", "acme", "admin").sign(), "executions:read");
    let bad = tampered(&runner, 2);
    let use_it = |bearer: &str| bed.get(READ).header("x-forwarded-for", "198.51.100.3").bearer(bearer);
    assert_eq!(wire.exchange(&use_it(&runner)).status, 200);
    until("the end of that budget", || {
        let answer = (0..20).map(|_| wire.exchange(&use_it(&bad))).last()?;
        (answer.outcome() == "503 overloaded").then_some(())
    });
    assert_eq!(wire.exchange(&use_it(&runner)).status, 200, "known ones go on");
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_connections_go_on() {
    let bed = bed().section("limits: { body_read: 300ms }").start();
    let head = |length: usize| {
        format!(
            "POST /.crossgate/token HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n",
            bed.gate.host()
        )
    };
    let mut wire = Wire::connect(&bed.gate);
    assert!(wire.write(format!("{}grant_type=", head(100)).as_bytes()));
    let answer = String::from_utf8(wire.head().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // One byte at a time does not make it longer.
    let mut wire = Wire::connect(&bed.gate);
    assert!(wire.write(head(60_000).as_bytes()));
    until("the end of a slow body", || {
        // As long as another request takes.
        assert_eq!(bed.get("/public/x").send().status, 200);
        (!wire.write(b"a")).then_some(())
    });
    // Someone who leaves in the middle.
    let mut gone = Wire::connect(&bed.gate);
    assert!(gone.write(format!("{}grant_type=", head(100)).as_bytes()));
    drop(gone);
    // A connection goes on after an answer, good or bad.
    let mut wire = bed.connect();
    let kind = "application/x-www-form-urlencoded";
    let call = |body: &str| bed.post("/.crossgate/token").header("content-type", kind).body(body);
    assert_eq!(wire.exchange(&call("a=1")).status, 400);
    let good = form(&ada()).body();
    assert_eq!(
        until("a record in time", || Some(wire.exchange(&call(&good))).filter(|answer| answer.status != 503)).status,
        200
    );
    assert_eq!(wire.exchange(&bed.get("/public/x")).status, 200);
}

#[test]
fn over_http2() {
    let bed = bed().section("listeners: [{ address: \"{gate}\", h2c: true }]").start();
    let output = std::process::Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "--data-binary", &form(&ada()).body()])
        .arg(format!("http://{}/.crossgate/token", bed.gate.host()))
        .output();
    // A machine without it tests this over HTTP/1 only.
    let Ok(output) = output else { return };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("access_token") || said.contains("temporarily_unavailable"), "{said}");
}

#[test]
fn without_a_legacy_side() {
    let bed = Bed::new().policy(SIMPLE).section("runner: { enabled: true, scopes: [a] }").start();
    let runner = exchange(&bed, &token("user_ada").sign(), "");
    assert_eq!(bed.get("/x").bearer(&runner).send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-crossgate-subject"), ["user_ada"]);
    assert_eq!(refusal(&post(&bed, &form(&legacy("43", 600)).body())), "400 invalid_request");
}

#[test]
fn a_login_route_takes_it_for_nobody_and_no_api_sees_it() {
    let rules = format!("{RULES}  - {{ id: login, match: {{ path: \"/login/{{*rest}}\" }}, access: login }}\n");
    for verify in ["passthrough: {}", "jwt: { secret_file: legacy.secret }"] {
        let bed = bed().policy(&rules).section(&format!("legacy: {{ verify: {{ {verify} }} }}")).start();
        let runner = exchange(&bed, &ada(), "executions:read");
        for bearer in [runner.clone(), tampered(&runner, 2)] {
            assert_eq!(bed.get("/login/x").bearer(&bearer).send().outcome(), "200 ok", "{verify}");
            let seen = bed.origin().last();
            assert_eq!(seen.values("x-crossgate-method"), ["none"], "{verify}");
            assert!(seen.values("authorization").is_empty(), "{verify}");
        }
    }
}

#[test]
fn while_nobody_can_tell_an_exchange_comes_again() {
    let bed = bed().section("server: { threads: 2, drain: { delay: 0s, limit: 5s }, ready: { wait: 200ms } }");
    bed.issuer().kill();
    let bed = bed.start();
    let call = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = call.body(form(&ada()).body()).send();
    assert_eq!(refusal(&answer), "503 temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    // Held credentials reach no more than they did: who is of the legacy arm goes on.
    exchange(&bed, &legacy("43", 3600), "executions:read");
}
