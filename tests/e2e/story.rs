//! The outcomes that everybody meets: who passes, who does not, and what they are told.

use super::bed::Bed;
use super::issuer::{tampered, token};
use serde_json::json;

const INVOICES: &str = "/api/orgs/org_acme/invoices";

#[test]
fn each_outcome() {
    let bed = Bed::new().start();
    let ada = token("user_ada");
    let admin = ada.clone().org("org_acme", "acme", "admin").sign();
    let member = ada.clone().org("org_acme", "acme", "member").sign();
    let stranger = ada.clone().org("org_other", "acme", "admin").sign();
    let expired = ada.clone().org("org_acme", "acme", "admin").expired().sign();
    let nowhere = ada.sign();
    let table = [
        ("anybody on public", bed.get("/public/hello"), "200 ok"),
        ("public, its root", bed.get("/public"), "200 ok"),
        ("a member on public", bed.get("/public/hello").bearer(&member), "200 ok"),
        ("an expired token on public", bed.get("/public/hello").bearer(&expired), "200 ok"),
        ("a tampered token on public", bed.get("/public/hello").bearer(&tampered(&member, 1)), "200 ok"),
        ("no bearer token at all on public", bed.get("/public/hello").bearer("junk"), "200 ok"),
        ("no token", bed.get(INVOICES), "401 no_credential"),
        ("another scheme", bed.get(INVOICES).header("authorization", "Basic dTpw"), "401 no_credential"),
        ("a member reads", bed.get(INVOICES).bearer(&member), "200 ok"),
        ("head as get", bed.call("HEAD", INVOICES).bearer(&member), "200 ok"),
        ("an admin writes", bed.post(INVOICES).bearer(&admin).body("{}"), "200 ok"),
        ("a member writes", bed.post(INVOICES).bearer(&member).body("{}"), "403 forbidden"),
        ("another tenant", bed.get(INVOICES).bearer(&stranger), "403 forbidden"),
        ("the slug is no id", bed.get("/api/orgs/acme/invoices").bearer(&member), "403 forbidden"),
        ("no org", bed.get(INVOICES).bearer(&nowhere), "403 forbidden"),
        ("signed in is enough", bed.get("/me").bearer(&nowhere), "200 ok"),
        ("expired", bed.get(INVOICES).bearer(&expired), "401 clerk_expired"),
        ("tampered claims", bed.get(INVOICES).bearer(&tampered(&member, 1)), "401 clerk_invalid"),
        ("tampered signature", bed.get(INVOICES).bearer(&tampered(&member, 2)), "401 clerk_invalid"),
        ("junk", bed.get(INVOICES).bearer("junk"), "401 clerk_invalid"),
        ("two bearer lines", bed.get(INVOICES).bearer(&member).bearer(&member), "400 bad_header"),
        ("dot segment", bed.get("/public/../api/orgs/org_acme/invoices"), "400 bad_path"),
        ("encoded dot segment", bed.get("/public/%2e%2e/api").bearer(&member), "400 bad_path"),
        ("encoded slash", bed.get("/public/a%2fb"), "400 bad_path"),
        ("double slash", bed.get("/public//a"), "400 bad_path"),
        ("no route", bed.get("/internal").bearer(&admin), "403 no_route"),
        ("no route for the method", bed.call("DELETE", INVOICES).bearer(&admin), "403 no_route"),
        ("own prefix", bed.get("/.crossgate/anything").bearer(&admin), "403 no_route"),
    ];
    for (name, call, expected) in table {
        let before = (bed.origin().count(), bed.origin().connections());
        let answer = call.send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
        if expected == "200 ok" {
            assert_eq!(bed.origin().count(), before.0 + 1, "{name}");
        } else {
            assert_eq!((bed.origin().count(), bed.origin().connections()), before, "{name}: something reached the API");
        }
    }
}

#[test]
fn session_tokens_only() {
    let bed = Bed::new().clerk_option("authorized_parties: [\"https://app.example.com\"]").start();
    let good = token("user_ada").claim("azp", json!("https://app.example.com"));
    let table = [
        ("as Clerk writes it", good.clone(), "200 ok"),
        ("without a category", good.clone().in_header("cat", json!("cl_I7d4PD111III")), "200 ok"),
        (
            "version 1",
            good.clone().without("v").claim("org_id", json!("org_1")).claim("org_role", json!("org:admin")),
            "200 ok",
        ),
        ("an unknown version", good.clone().claim("v", json!(3)), "401 clerk_invalid"),
        ("template", good.clone().in_header("cat", json!("cl_B7d4PD222AAA")), "401 clerk_invalid"),
        ("machine", good.clone().claim("sub", json!("mch_1")), "401 clerk_invalid"),
        ("oauth", good.clone().in_header("typ", json!("at+jwt")), "401 clerk_invalid"),
        ("handshake", good.clone().claim("handshake", json!([])), "401 clerk_invalid"),
        ("no session id", good.clone().without("sid"), "401 clerk_invalid"),
        ("another algorithm's name", good.clone().in_header("alg", json!("RS512")), "401 clerk_invalid"),
        ("none", good.clone().in_header("alg", json!("none")), "401 clerk_invalid"),
        ("crit", good.clone().in_header("crit", json!(["exp"])), "401 clerk_invalid"),
        ("b64", good.clone().in_header("b64", json!(false)), "401 clerk_invalid"),
        ("zip", good.clone().in_header("zip", json!("DEF")), "401 clerk_invalid"),
        ("another issuer", good.clone().claim("iss", json!("https://clerk.evil.example")), "401 clerk_invalid"),
        ("issuer with a slash", good.clone().claim("iss", json!("https://clerk.example.com/")), "401 clerk_invalid"),
        ("another party", good.clone().claim("azp", json!("https://evil.example")), "401 clerk_invalid"),
        ("no party", good.clone().without("azp"), "401 clerk_invalid"),
        ("no exp", good.clone().without("exp"), "401 clerk_invalid"),
        ("exp as text", good.clone().claim("exp", json!("9999999999")), "401 clerk_invalid"),
        ("not yet", good.clone().claim("nbf", json!(super::issuer::now() + 60)), "401 clerk_invalid"),
        ("issued tomorrow", good.clone().issued(-300), "401 clerk_invalid"),
        ("pending", good.clone().claim("sts", json!("pending")), "401 clerk_invalid"),
        ("expired", good.clone().expired(), "401 clerk_expired"),
        ("expired, of another party", good.expired().claim("azp", json!("https://evil.example")), "401 clerk_invalid"),
    ];
    for (name, token, expected) in table {
        let answer = bed.get("/me").bearer(&token.sign()).send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
    }
}

#[test]
fn an_own_answer_has_its_shape() {
    let bed = Bed::new().start();
    let answer = bed.get("/me").send();
    let request_id = answer.header("x-request-id").expect("x-request-id").to_owned();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let body = answer.json();
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["status"], 401);
    assert_eq!(body["code"], "no_credential");
    assert_eq!(body["request_id"], request_id.as_str());
    assert!(body["title"].is_string());
    assert!(body.get("reason").is_none(), "reasons are not for strangers");

    let expired = bed.get("/me").bearer(&token("user_ada").expired().sign()).send();
    assert!(expired.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));

    let head = bed.call("HEAD", "/me").send();
    assert_eq!((head.status, head.body.len()), (401, 0));

    for answer in [answer, expired, head, bed.get("/../").send(), bed.get("/nowhere").send()] {
        assert!(answer.header("server").is_none(), "crossgate does not advertise what it is built on");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 32), "{:?}", answer.headers);
    }
    let from_the_api = bed.get("/public/x").send();
    assert!(from_the_api.header("server").is_none());
}

#[test]
fn two_bad_tokens_get_the_same_answer() {
    let bed = Bed::new().start();
    let shown = |token: &str| {
        let answer = bed.get("/me").bearer(token).send();
        let mut body = answer.json();
        body["request_id"] = json!("");
        let headers: Vec<_> =
            answer.headers.into_iter().filter(|(name, _)| name != "x-request-id" && name != "date").collect();
        (answer.status, headers, body)
    };
    let good = token("user_ada").sign();
    let signature = shown(&tampered(&good, 2));
    for (name, other) in [
        ("claims", tampered(&good, 1)),
        ("issuer", token("user_ada").claim("iss", json!("https://other.example")).sign()),
        ("pending", token("user_ada").claim("sts", json!("pending")).sign()),
        ("template", token("user_ada").in_header("cat", json!("cl_B7d4PD222AAA")).sign()),
    ] {
        assert_eq!(shown(&other), signature, "{name}");
    }
}

#[test]
fn reasons_are_shown_in_development() {
    let bed = Bed::new().section("endpoints: { debug_reasons: true }").start();
    let reason = |call: super::wire::Call| call.send().json()["reason"].as_str().unwrap_or_default().to_owned();
    let good = token("user_ada");
    let pending = good.clone().claim("sts", json!("pending")).sign();
    assert_eq!(reason(bed.get("/me").bearer(&tampered(&good.clone().sign(), 2))), "token-invalid-signature");
    assert_eq!(reason(bed.get("/me").bearer(&pending)), "pending");
    assert_eq!(reason(bed.get("/me").bearer(&good.clone().expired().sign())), "token-expired");
    let role = reason(bed.post(INVOICES).bearer(&good.org("org_acme", "acme", "member").sign()));
    assert!(role.contains("role"), "{role}");
}
