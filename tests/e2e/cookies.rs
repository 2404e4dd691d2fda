//! Sessions in cookies: which one counts, what the browser's `__client_uat` says, and which pages may use them.

use serde_json::json;

use super::audit::entries;
use super::bed::{Bed, Running};
use super::issuer::{Token, now, tampered, token};
use super::wire::Call;

/// The instance `clerk.clerk.dev`, whose cookies end in `_QvfNY2dr`.
const PUBLISHABLE: &str = "publishable_key: pk_test_Y2xlcmsuY2xlcmsuZGV2JA";
const ISSUER: &str = "https://clerk.clerk.dev";
const SUFFIX: &str = "QvfNY2dr";

fn bed() -> Bed {
    Bed::new()
        .clerk_option(PUBLISHABLE)
        .clerk_option(&format!("issuer: {ISSUER}"))
        .clerk_option("authorized_parties: [\"https://app.example.com\"]")
}

fn ours(user: &str) -> Token {
    token(user).claim("iss", json!(ISSUER)).claim("azp", json!("https://app.example.com"))
}

/// Who the API was told.
fn subject(bed: &Running) -> String {
    bed.origin().last().values("x-crossgate-subject").join("|")
}

#[test]
fn which_session_counts() {
    let bed = bed().start();
    let (ada, bob) = (ours("user_ada").sign(), ours("user_bob").sign());
    let uat = now() - 1000;
    let foreign = token("user_eve").claim("iss", json!("https://other.example")).sign();
    let old = ours("user_old").issued(2000).sign();
    let ok = |who: &'static str| ("200 ok", who);
    let table = [
        ("plain", format!("__session={ada}; __client_uat={uat}"), ok("user_ada")),
        ("suffixed", format!("__session_{SUFFIX}={ada}; __client_uat_{SUFFIX}={uat}"), ok("user_ada")),
        (
            "both, the suffixed one is as new",
            format!("__session={bob}; __client_uat={uat}; __session_{SUFFIX}={ada}; __client_uat_{SUFFIX}={uat}"),
            ok("user_ada"),
        ),
        (
            "both, the suffixed one is older",
            format!(
                "__session={bob}; __client_uat={}; __session_{SUFFIX}={old}; __client_uat_{SUFFIX}={}",
                uat,
                uat - 2000
            ),
            ok("user_bob"),
        ),
        (
            "signed out under the suffix, in under the plain name",
            format!("__session={bob}; __client_uat={uat}; __session_{SUFFIX}={ada}; __client_uat_{SUFFIX}=0"),
            ok("user_bob"),
        ),
        (
            "another product's session beside ours",
            format!("__session=not.a.token; __session_{SUFFIX}={ada}; __client_uat_{SUFFIX}={uat}"),
            ok("user_ada"),
        ),
        (
            "another instance's session beside ours",
            format!("__session={foreign}; __session_{SUFFIX}={ada}; __client_uat_{SUFFIX}={uat}"),
            ok("user_ada"),
        ),
        ("only another product's session", "__session=opaque; __client_uat=1".to_owned(), ("401 no_credential", "")),
        (
            "only another instance's session",
            format!("__session={foreign}; __client_uat={uat}"),
            ("401 no_credential", ""),
        ),
        ("no cookie of ours", "theme=dark".to_owned(), ("401 no_credential", "")),
        ("signed in without a session", format!("__client_uat={uat}"), ("401 no_credential", "")),
        ("a session without uat", format!("__session={ada}"), ("401 invalid", "")),
        ("signed out", format!("__session={ada}; __client_uat=0"), ("401 invalid", "")),
        ("older than the last sign-in", format!("__session={ada}; __client_uat={}", now() + 10), ("401 invalid", "")),
        ("tampered", format!("__session={}; __client_uat={uat}", tampered(&ada, 2)), ("401 invalid", "")),
        (
            "expired",
            format!("__session={}; __client_uat={uat}", ours("user_ada").expired().sign()),
            ("401 clerk_expired", ""),
        ),
        (
            "of another page",
            format!(
                "__session={}; __client_uat={uat}",
                ours("user_ada").claim("azp", json!("https://evil.example")).sign()
            ),
            ("401 invalid", ""),
        ),
        (
            "two sessions under one name",
            format!("__session={ada}; __session={bob}; __client_uat={uat}"),
            ("400 bad_header", ""),
        ),
        (
            "one session beside junk under one name",
            format!("__session=junk; __session={ada}; __client_uat={uat}"),
            ok("user_ada"),
        ),
        ("another case is another cookie", format!("__SESSION={ada}; __client_uat={uat}"), ("401 no_credential", "")),
    ];
    for (name, jar, (expected, who)) in table {
        let answer = bed.get("/me").cookie(&jar).send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
        if !who.is_empty() {
            assert_eq!(subject(&bed), who, "{name}");
        }
        let public = bed.get("/public/x").cookie(&jar).send();
        assert_eq!(public.outcome(), "200 ok", "{name}: a public route refuses no credential");
        assert_eq!(subject(&bed), who, "{name}: on public");
        assert!(!bed.origin().last().text().contains("__session"), "{name}");
    }
}

#[test]
fn the_header_decides_over_the_cookie() {
    let bed = bed().start();
    let (ada, bob) = (ours("user_ada").sign(), ours("user_bob").sign());
    let uat = now() - 1000;
    let jar = |session: &str| format!("__session={session}; __client_uat={uat}");
    let table = [
        ("the same person twice", ada.clone(), jar(&ours("user_ada").issued(30).sign()), "200 ok"),
        ("two people", ada.clone(), jar(&bob), "400 identity_conflict"),
        ("a bad cookie beside a good header", ada.clone(), jar(&tampered(&bob, 2)), "200 ok"),
        ("an expired cookie of somebody else", ada.clone(), jar(&ours("user_bob").expired().sign()), "200 ok"),
        ("a bad header beside a good cookie", tampered(&ada, 2), jar(&bob), "401 clerk_invalid"),
        ("an expired header beside a good cookie", ours("user_ada").expired().sign(), jar(&bob), "401 clerk_expired"),
    ];
    for (name, header, jar, expected) in table {
        let answer = bed.get("/me").bearer(&header).cookie(&jar).send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
        if expected == "200 ok" {
            assert_eq!(subject(&bed), "user_ada", "{name}");
        }
    }
    let basic = bed.get("/me").header("authorization", "Basic dTpw").cookie(&jar(&bob)).send();
    assert_eq!(basic.outcome(), "200 ok", "another scheme decides nothing");
    assert_eq!(subject(&bed), "user_bob");
}

#[test]
fn pages_that_may_use_a_session() {
    let bed = bed().start();
    let jar = format!("__session={}; __client_uat={}", ours("user_ada").sign(), now() - 1000);
    let with = |method: &str, headers: &[(&str, &str)]| {
        let call = bed.call(method, "/me").host("api.test:8080").cookie(&jar);
        let call = if method == "GET" || method == "HEAD" { call } else { call.body("x") };
        headers.iter().fold(call, |call, (name, value)| call.header(name, value))
    };
    let table: [(&str, Call, &str); 18] = [
        ("GET needs no evidence", with("GET", &[]), "200 ok"),
        ("GET from another site", with("GET", &[("sec-fetch-site", "cross-site")]), "200 ok"),
        ("no evidence", with("POST", &[]), "403 csrf"),
        ("PUT", with("PUT", &[]), "403 csrf"),
        ("PATCH", with("PATCH", &[]), "403 csrf"),
        ("DELETE", with("DELETE", &[]), "403 csrf"),
        ("same origin", with("POST", &[("sec-fetch-site", "same-origin")]), "200 ok"),
        ("a sibling", with("POST", &[("sec-fetch-site", "same-site")]), "403 csrf"),
        ("another site", with("POST", &[("sec-fetch-site", "cross-site")]), "403 csrf"),
        ("typed by hand", with("POST", &[("sec-fetch-site", "none")]), "403 csrf"),
        (
            "an authorised page",
            with("POST", &[("sec-fetch-site", "same-site"), ("origin", "https://app.example.com")]),
            "200 ok",
        ),
        ("an authorised page, no fetch metadata", with("POST", &[("origin", "https://app.example.com")]), "200 ok"),
        ("a page that begins alike", with("POST", &[("origin", "https://app.example.com.evil.test")]), "403 csrf"),
        ("the request's own host and port", with("POST", &[("origin", "http://api.test:8080")]), "200 ok"),
        ("the own host, another port", with("POST", &[("origin", "http://api.test:9090")]), "403 csrf"),
        ("a foreign origin", with("POST", &[("origin", "https://evil.example")]), "403 csrf"),
        ("a sandboxed frame", with("POST", &[("origin", "null")]), "403 csrf"),
        (
            "two origins",
            with("POST", &[("origin", "https://app.example.com"), ("origin", "https://evil.example")]),
            "400 bad_header",
        ),
    ];
    for (name, call, expected) in table {
        let before = bed.origin().count();
        let answer = call.send();
        assert_eq!(answer.outcome(), expected, "{name}: {}", answer.text());
        assert_eq!(bed.origin().count() - before, usize::from(expected == "200 ok"), "{name}");
    }
    let header =
        bed.post("/me").bearer(&ours("user_ada").sign()).header("origin", "https://evil.example").body("x").send();
    assert_eq!(header.outcome(), "200 ok", "no page can set a header on another's behalf");

    let public = bed.post("/public/x").cookie(&jar).header("origin", "https://evil.example").body("x").send();
    assert_eq!(public.outcome(), "200 ok");
    assert_eq!(subject(&bed), "", "on a public route a forged request is nobody's");
}

/// The trail named the person as having come, whom a page of another site had only ridden on.
#[test]
fn a_forged_request_is_a_denial_and_no_login() {
    let bed = bed().start();
    let jar = format!("__session={}; __client_uat={}", ours("user_ada").sign(), now() - 1000);
    let forged = bed.post("/me").cookie(&jar).header("origin", "https://evil.example").body("x");
    assert_eq!(forged.send().outcome(), "403 csrf");
    // Whoever comes next is written behind whatever the forged request left.
    assert_eq!(bed.get("/me").bearer(&ours("user_bob").sign()).send().status, 200);
    assert_eq!(bed.get("/me").cookie(&jar).send().status, 200);
    let folder = bed.folder().to_owned();
    // The end writes down what a slow disk has put off.
    let (_kept, _) = bed.stop_keeping_folder();
    let told = |event: &str| -> Vec<String> {
        let told = entries(&folder, event).into_iter();
        told.map(|entry| format!("{} {}", entry["code"], entry["actor"]["subject"]).replace('"', "")).collect()
    };
    assert_eq!(told("authentication"), ["ok user_bob", "ok user_ada"], "ada's own login is the first of hers");
    assert_eq!(told("denied"), ["csrf user_ada"]);
}

#[test]
fn the_rule_can_be_switched_off_and_so_can_cookies() {
    let jar = |user: Token| format!("__session={}; __client_uat={}", user.sign(), now() - 1000);
    let off = bed().clerk_option("cookies: { csrf: off }").start();
    assert_eq!(off.post("/me").cookie(&jar(ours("user_ada"))).body("x").send().outcome(), "200 ok");
    let none = bed().clerk_option("cookies: { enabled: false }").start();
    assert_eq!(none.get("/me").cookie(&jar(ours("user_ada"))).send().outcome(), "401 no_credential");
}
