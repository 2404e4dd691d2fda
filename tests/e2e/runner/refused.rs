//! What must not become a token: nothing is issued, the answer is RFC 6749's, and the trail has it.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{ada, bed, entries, exchange, form, legacy, part, post, refusal, reload};
use crate::bed::{Bed, Running, until};
use crate::issuer::{now, tampered, token};
use crate::wire::{Response, Wire};

const KIND: &str = "urn:ietf:params:oauth:token-type:";

fn send(bed: &Running, kind: &str, body: &str) -> Response {
    bed.post("/.crossgate/token").header("content-type", kind).body(body).send()
}

/// The reasons of the denials so far.
fn denials(bed: &Running) -> Vec<String> {
    let text = |entry: &serde_json::Value| entry["reason"].as_str().unwrap_or_default().to_owned();
    entries(bed, "denied", "token.exchange").iter().map(text).collect()
}

#[test]
fn bad_subjects() {
    let assertion = "identity:\n  canonical: legacy\n  map: { file: map.jsonl }\n  roles: { \"org:admin\": [admin] }\n  assertion: { enabled: true, issuer: https://gate.internal, audience: app }";
    let bed = bed().section(assertion).start();
    assert_eq!(bed.get("/me/x").bearer(&ada()).send().outcome(), "200 ok");
    let asserted = bed.origin().last().values("x-crossgate-assertion").remove(0);
    let runner = exchange(&bed, &ada(), "");
    let in_parts: Vec<&str> = runner.split('.').collect();
    let good = ada();
    let table = [
        ("another issuer", token("user_ada").claim("iss", json!("https://evil.example")).sign()),
        ("another key", token("user_ada").by_second_key().sign()),
        ("expired", token("user_ada").expired().sign()),
        ("a changed payload", tampered(&good, 1)),
        ("a changed signature", tampered(&good, 2)),
        ("pending", token("user_ada").claim("sts", json!("pending")).sign()),
        ("a template's token", token("user_ada").without("sid").sign()),
        ("a machine's", token("mch_1").sign()),
        ("an opaque machine token", "mt_0123456789abcdef".to_owned()),
        ("an assertion", asserted),
        ("a runner token", runner.clone()),
        ("a runner token, changed", format!("{}.{}.AAAA", in_parts[0], in_parts[1])),
        ("a legacy token of another secret", legacy("43", 600).replace('.', "_")),
        ("an expired legacy token", legacy("43", -600)),
        ("no token", "hello".to_owned()),
    ];
    for (name, subject) in &table {
        let answer = post(&bed, &form(subject).body());
        assert_eq!(refusal(&answer), "400 invalid_request", "{name}");
        let is_over = answer.json()["error_description"].as_str().unwrap().contains("expired");
        assert_eq!(is_over, name.contains("expired"), "{name}: {}", answer.text());
        assert!(!answer.text().contains(subject.as_str()), "{name}: nothing is repeated");
    }
    // Somebody is told to come with Clerk, and who is gone or sealed is not told from a bad token.
    assert!(denials(&bed).iter().any(|reason| reason == "token-expired"), "{:?}", denials(&bed));
    assert!(denials(&bed).iter().any(|reason| reason == "runner: token-type-mismatch"), "{:?}", denials(&bed));
    assert!(bed.metric("crossgate_token_exchanges_total{result=\"invalid_request\"}") >= table.len() as f64);
    let text = std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap();
    assert!(!text.contains(in_parts[2]), "no token in the trail");
}

#[test]
fn bad_forms() {
    let bed = bed().start();
    let good = form(&ada());
    let both = |more: &str| format!("{}&{more}", good.body());
    let table = [
        ("no grant", good.clone().without("grant_type").body(), "400 invalid_request"),
        ("another grant", good.clone().with("grant_type", "client_credentials").body(), "400 unsupported_grant_type"),
        ("no subject", good.clone().without("subject_token").body(), "400 invalid_request"),
        ("no type", good.clone().without("subject_token_type").body(), "400 invalid_request"),
        (
            "a type of nobody's",
            good.clone().with("subject_token_type", &format!("{KIND}saml2")).body(),
            "400 invalid_request",
        ),
        (
            "a session as refresh token",
            good.clone().with("subject_token_type", &format!("{KIND}refresh_token")).body(),
            "400 invalid_request",
        ),
        (
            "an id token is asked for",
            good.clone().with("requested_token_type", &format!("{KIND}id_token")).body(),
            "400 invalid_request",
        ),
        ("an actor", good.clone().with("actor_token", "x").body(), "400 invalid_request"),
        ("a parameter twice", both("scope=executions%3Aread&scope=executions%3Awrite"), "400 invalid_request"),
        ("the subject twice", both(&format!("subject_token={}", ada())), "400 invalid_request"),
        ("another audience", good.clone().with("audience", "app").body(), "400 invalid_target"),
        ("a resource", good.clone().with("resource", "https://api.example.com").body(), "400 invalid_target"),
        ("another org", good.clone().with("org", "globex").body(), "400 invalid_target"),
        ("another org by Clerk's id", good.clone().with("org", "org_2").body(), "400 invalid_target"),
        ("a slug", token_form_of_slug(), "400 invalid_target"),
        ("a wider scope", good.clone().with("scope", "executions:write admin").body(), "400 invalid_scope"),
        ("a scope in another case", good.clone().with("scope", "Executions:write").body(), "400 invalid_scope"),
        ("a scope of another role", good.clone().with("scope", "billing:write").body(), "400 invalid_scope"),
        (
            "one of two is another role's",
            good.clone().with("scope", "executions:write billing:write").body(),
            "400 invalid_scope",
        ),
    ];
    for (name, body, expected) in table {
        assert_eq!(refusal(&post(&bed, &body)), expected, "{name}");
    }
    // Legal neighbours.
    for org in ["acme", "org_1"] {
        assert_eq!(post(&bed, &good.clone().with("org", org).with("audience", "runner").body()).status, 200, "{org}");
    }
    let whole = post(&bed, &good.body());
    assert_eq!(whole.json()["scope"], "executions:write executions:read", "what the person may do: no billing");
    let jwt = post(&bed, &good.clone().with("requested_token_type", &format!("{KIND}jwt")).body());
    assert_eq!(jwt.json()["issued_token_type"], format!("{KIND}jwt"));
    for kind in ["application/json", "text/plain", "multipart/form-data; boundary=x"] {
        let answer =
            until("a record in time", || Some(send(&bed, kind, &good.body())).filter(|answer| answer.status != 503));
        assert_eq!(refusal(&answer), "400 invalid_request", "{kind}");
    }
    for predicate in ["audience does not hold", "org does not hold", "scope does not hold"] {
        assert!(denials(&bed).iter().any(|reason| reason == predicate), "{predicate}: {:?}", denials(&bed));
    }
    let named = entries(&bed, "denied", "token.exchange");
    let scope = named.iter().find(|entry| entry["reason"] == "scope does not hold").unwrap();
    assert_eq!((&scope["actor"]["subject"], &scope["code"]), (&json!("42"), &json!("forbidden")), "{scope}");
}

/// Strangers choose slugs: an org is never confirmed by one.
fn token_form_of_slug() -> String {
    form(&token("user_ada").org("org_1", "acme-corp", "admin").sign()).with("org", "acme-corp").body()
}

#[test]
fn other_methods_and_huge_bodies() {
    let bed = bed().start();
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = bed.call(method, "/.crossgate/token").send();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for path in ["/.crossgate/token/", "/.crossgate/Token", "/.crossgate/token/x"] {
        assert_ne!(bed.post(path).send().status, 200, "{path}");
    }
    let huge = format!("{}&x={}", form(&ada()).body(), "a".repeat(80 << 10));
    let kind = "application/x-www-form-urlencoded";
    let answer = until("a record in time", || Some(send(&bed, kind, &huge)).filter(|answer| answer.status != 503));
    assert_eq!(refusal(&answer), "413 invalid_request");
    let chunked = bed.post("/.crossgate/token").header("content-type", kind).chunked(huge.as_bytes());
    let answer = until("a record in time", || Some(chunked.send()).filter(|answer| answer.status != 503));
    assert_eq!(refusal(&answer), "413 invalid_request");
    assert!(denials(&bed).iter().any(|reason| reason.starts_with("body is larger")), "{:?}", denials(&bed));
    // Also where `limits.body` is met first, which has another answer elsewhere.
    let small = super::bed().section("limits: { body: 32KiB }").start();
    let over = format!("{}&x={}", form(&ada()).body(), "a".repeat(40 << 10));
    let answer = until("a record in time", || Some(send(&small, kind, &over)).filter(|answer| answer.status != 503));
    assert_eq!(refusal(&answer), "413 invalid_request");
    assert!(denials(&small).iter().any(|reason| reason.starts_with("body is larger")), "{:?}", denials(&small));
    assert_eq!(small.metric("crossgate_token_exchanges_total{result=\"invalid_request\"}"), 1.0);
    assert_eq!(small.post("/me/x").bearer(&ada()).body(&over).send().outcome(), "413 too_large");
    // As much as fits, in chunks; and a client that waits to be asked for its body.
    let fits = format!("{}&x={}", form(&ada()).body(), "a".repeat(40 << 10));
    let chunked = bed.post("/.crossgate/token").header("content-type", kind).chunked(fits.as_bytes());
    assert_eq!(until("a record in time", || Some(chunked.send()).filter(|answer| answer.status != 503)).status, 200);
    let body = form(&ada()).body();
    let mut wire = Wire::connect(&bed.gate);
    let head = format!(
        "POST /.crossgate/token HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        bed.gate.host(),
        body.len()
    );
    assert!(wire.write(head.as_bytes()));
    assert!(String::from_utf8(wire.head().unwrap()).unwrap().starts_with("HTTP/1.1 100"));
    assert!(wire.write(body.as_bytes()));
    let head = String::from_utf8(wire.head().unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(bed.origin().count(), 0, "the API hears of none of it");
}

#[test]
fn only_the_form_counts() {
    let bed = bed().start();
    let call = |body: &str| {
        let call = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded").body(body);
        let call = call.bearer(&ada()).cookie(&format!("__session={}", ada()));
        until("a record in time", || Some(call.send()).filter(|answer| answer.status != 503))
    };
    assert_eq!(refusal(&call(&form("x").without("subject_token").body())), "400 invalid_request");
    let eve = token("user_eve").org("org_1", "acme", "admin").sign();
    let answer = call(&form(&eve).body());
    let runner = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(part(&runner, 1)["sub"], "user_eve");
}

#[test]
fn a_legacy_credential_converts_once() {
    let bed = bed().start();
    let credential = legacy("43", 3600);
    let runner = exchange(&bed, &credential, "executions:write");
    assert_eq!(part(&runner, 1)["login"], "legacy");
    let again = |bed: &Running| refusal(&post(bed, &form(&credential).body()));
    assert_eq!(again(&bed), "400 invalid_request");
    assert!(denials(&bed).iter().any(|reason| reason == "once does not hold"), "{:?}", denials(&bed));
    // It stays what it is for the API.
    assert_eq!(bed.get("/me/x").bearer(&credential).send().outcome(), "200 ok");
    let file = bed.folder().join("state/runner-converted");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(credential.rsplit('.').next().unwrap()));
    let bed = bed.restart();
    assert_eq!(again(&bed), "400 invalid_request", "after a restart");
    // A token of an earlier start still holds.
    let used = until("a record in time", || {
        Some(bed.post(super::START).bearer(&runner).send()).filter(|answer| answer.status != 503)
    });
    assert_eq!(used.outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-crossgate-legacy-user"), ["43"]);
}

#[test]
fn one_person_does_not_use_up_what_can_be_converted() {
    let bed = bed();
    let whose = digest(&SHA256, b"43");
    let person: String = whose.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let until = (now() + 3600) * 1000;
    let lines: String = (0..1000).map(|number| format!("{number:064x} {until} {person}\n")).collect();
    std::fs::create_dir_all(bed.folder().join("state")).unwrap();
    std::fs::write(bed.folder().join("state/runner-converted"), lines).unwrap();
    let bed = bed.start();
    let answer = post(&bed, &form(&legacy("43", 3600)).body());
    assert_eq!(refusal(&answer), "400 invalid_request");
    assert!(answer.text().contains("too many legacy credentials"), "{}", answer.text());
    assert!(denials(&bed).iter().any(|reason| reason == "conversions does not hold"), "{:?}", denials(&bed));
    assert_eq!(post(&bed, &form(&legacy("42", 3600)).body()).status, 200, "somebody else");
}

#[test]
fn of_two_conversions_at_once_one_wins() {
    let bed = bed().start();
    let body = form(&legacy("43", 3600)).body();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| post(&bed, &body).status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
}

#[test]
fn a_legacy_credential_bounds_its_token() {
    let bed = bed().start();
    let answer = post(&bed, &form(&legacy("43", 200)).body());
    let life = answer.json()["expires_in"].as_i64().unwrap();
    assert!((190..=200).contains(&life), "{}", answer.text());
    assert_eq!(refusal(&post(&bed, &form(&legacy("43", 50)).body())), "400 invalid_request");
}

#[test]
fn an_exchange_is_no_way_around_clerk() {
    // Everybody is Clerk's: on a privileged route their legacy credential would be step_up_clerk.
    let bed = bed().section("rollout: { percent: 100, limits: { max_step: 100 } }").start();
    let credential = legacy("42", 3600);
    let answer = post(&bed, &form(&credential).body());
    assert_eq!(refusal(&answer), "400 invalid_request");
    assert!(answer.json()["error_description"].as_str().unwrap().contains("sign in with Clerk"), "{}", answer.text());
    assert!(denials(&bed).iter().any(|reason| reason.contains("Clerk")), "{:?}", denials(&bed));
    assert_eq!(post(&bed, &form(&ada()).body()).status, 200);
}

/// The same ECDSA signature in its other form: `s` for `n - s`.
fn flipped(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let left = i16::from(ORDER[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(left < 0);
        bytes[32 + at] = u8::try_from(left + 256 * borrow).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Else a runner whose API gives it back would renew itself for ever.
#[test]
fn a_minted_token_that_an_api_echoes_is_not_converted() {
    let claims = "claims: { sub: \"{legacy_user}\", org: \"{legacy_org}\", roles: [\"{role}\"] }";
    for (verify, key) in [
        ("secret_file: legacy.secret", "key_file: legacy.secret"),
        ("algorithms: [ES256], jwks: { file: mint.json }", "algorithm: ES256, key_file: mint.pem, kid: m"),
    ] {
        let minting = format!("legacy:\n  verify: {{ jwt: {{ {verify} }} }}\n  mint: {{ {key}, ttl: 1h, {claims} }}");
        let bed = bed().section(&minting).upstream_option("credentials: { authorization: legacy_token }");
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let [x, y] = [1, 33].map(|at| URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[at..at + 32]));
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "m", "alg": "ES256", "x": x, "y": y }] });
        std::fs::write(bed.folder().join("mint.pem"), pair.serialize_pem()).unwrap();
        std::fs::write(bed.folder().join("mint.json"), set.to_string()).unwrap();
        let mut bed = bed.start();
        let runner = exchange(&bed, &ada(), "executions:read");
        assert_eq!(bed.get("/api/orgs/acme/executions").bearer(&runner).send().outcome(), "200 ok");
        let line = bed.origin().last().values("authorization").remove(0);
        let minted = line.strip_prefix("Bearer ").unwrap().to_owned();
        let other = if key.contains("ES256") { flipped(&minted) } else { minted.clone() };
        for step in ["while it is remembered", "after a reload", "after a restart"] {
            for token in [&minted, &other] {
                // As good as one of the login's own.
                assert_eq!(bed.get("/me/x").bearer(token).send().outcome(), "200 ok", "{key} {step}");
                assert_eq!(refusal(&post(&bed, &form(token).body())), "400 invalid_request", "{key} {step}");
            }
            let wrong = denials(&bed).into_iter().filter(|reason| reason == "runner: token-type-mismatch").count();
            assert!(wrong > 0 && wrong == denials(&bed).len(), "{key} {step}: {:?}", denials(&bed));
            match step {
                "while it is remembered" => {
                    let before = std::fs::read_to_string(bed.folder().join("crossgate.yaml")).unwrap();
                    let after = before.replace("ttl: 1h", "ttl: 50m");
                    std::fs::write(bed.folder().join("crossgate.yaml"), after).unwrap();
                    reload(&bed);
                }
                _ => bed = bed.restart(),
            }
        }
    }
}

#[test]
fn nothing_is_issued_while_the_trail_takes_nothing() {
    let bed = bed().start();
    let (audit, away) = (bed.folder().join("audit"), bed.folder().join("away"));
    std::fs::rename(&audit, &away).unwrap();
    std::fs::write(&audit, "not a folder").unwrap();
    let kind = "application/x-www-form-urlencoded";
    let credential = form(&legacy("43", 3600)).body();
    let session = form(&ada()).body();
    let refused =
        until("the failure to be seen", || Some(send(&bed, kind, &session)).filter(|answer| answer.status == 503));
    assert_eq!(refusal(&refused), "503 temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refusal(&send(&bed, kind, &credential)), "503 temporarily_unavailable");
    std::fs::remove_file(&audit).unwrap();
    std::fs::rename(&away, &audit).unwrap();
    // It was not used up by what came to nothing.
    assert_eq!(post(&bed, &credential).status, 200);
}

#[test]
fn without_runners_there_is_no_endpoint() {
    for runner in ["runner: { enabled: false }", "runner: {}"] {
        let bed = bed().section(runner).start();
        let answer = bed.post("/.crossgate/token").body(form(&ada()).body()).send();
        assert_eq!(answer.outcome(), "403 no_route", "{runner}");
    }
}

#[test]
fn a_signing_key_that_cannot_be_used_ends_the_start() {
    let bed = bed();
    let keys = bed.folder().join("state/runner-keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("1700000000-es256.pem"), "no key").unwrap();
    let ended = fail(&bed);
    assert!(ended.contains("runner-keys/1700000000-es256.pem"), "{ended}");
    std::fs::remove_file(keys.join("1700000000-es256.pem")).unwrap();
    std::fs::write(bed.folder().join("state/runner-converted"), "what is this\n").unwrap();
    let ended = fail(&bed);
    assert!(ended.contains("runner-converted"), "{ended}");
}

fn fail(bed: &Bed) -> String {
    let address = crate::wire::Address::Tcp(crate::bed::reserve().local_addr().unwrap());
    let admin = crate::wire::Address::Tcp(crate::bed::reserve().local_addr().unwrap());
    bed.fail_at(&address, &admin).stderr
}

#[test]
fn a_broken_key_on_reload_keeps_the_last_good() {
    let bed = bed().start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let keys = bed.folder().join("state/runner-keys");
    let made = std::fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    std::fs::write(keys.join("1-es256.pem"), "no key").unwrap();
    bed.process.signal("HUP");
    until("the refusal of the reload", || bed.process.stderr.text().contains("reload refused").then_some(()));
    assert!(made.exists());
    assert_eq!(bed.get("/api/orgs/acme/executions").bearer(&runner).send().outcome(), "200 ok");
    assert_eq!(post(&bed, &form(&ada()).body()).status, 200);
}

#[test]
fn a_form_with_one_byte_changed() {
    let bed = bed().section("trusted_proxies: [127.0.0.0/8]").start();
    let good = form(&ada()).with("scope", "executions:read").with("audience", "runner").body();
    let mut wire = bed.connect();
    for (index, at) in (0..good.len()).step_by(7).enumerate() {
        for byte in [b'&', b'%', 0, 0xff] {
            let mut body = good.clone().into_bytes();
            body[at] = byte;
            let call =
                bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded").body(&body);
            // Each from somebody else, so that nobody's budget ends.
            let call = call.header("x-forwarded-for", &format!("198.51.{}.{}", index / 250, index % 250 + 1));
            let answer = wire.exchange(&call);
            assert!([200, 400, 503].contains(&answer.status), "{at} {byte}: {}", answer.text());
            if answer.status != 200 {
                refusal(&answer);
            }
        }
    }
    assert!(bed.metric("crossgate_panics_total") < 0.5);
}
