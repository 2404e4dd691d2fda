//! People who want to be somebody else: by an org of their own, by claims, cookies, headers and forged tokens.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::bed::{Bed, Running};
use super::super::issuer::{Token, first_pem, now, tampered, token};
use super::super::wire::{Call, Response};
use super::{
    By, LEGACY_ISSUER, LEGACY_JWT, LegacyToken, SECRET, answer_to, legacy, linked, saw, seen, session, set_percent,
    two, user, with,
};

/// Ada is `42` and works at acme; Bob came with Clerk; Eve is a stranger.
fn map() -> String {
    let orgs = [("acme", "org_acme"), ("eves", "org_eves")]
        .map(|(legacy, clerk)| format!("{{\"kind\":\"org\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\"}}\n"))
        .concat();
    let people = linked("42", "user_ada") + &linked("66", "user_mallory") + &user("13", "user_sealed", "sealed");
    let member =
        "{\"kind\":\"membership\",\"user\":\"42\",\"org\":\"acme\",\"role\":\"admin\",\"workspaces\":[\"w1\"]}\n";
    orgs + &people + member
}

const TENANTS: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: vault, match: { path: "/vault/{*rest}" }, access: privileged }
  - { id: invoice.read, match: { method: [GET], path: "/api/orgs/{org}/invoices" }, require: { org: "{org}" } }
  - { id: invoice.write, match: { method: [POST], path: "/api/orgs/{org}/invoices" }, require: { org: "{org}", role: [org:admin] } }
  - id: workspace
    match: { path: "/api/orgs/{org}/workspaces/{workspace}" }
    require: { org: "{org}", workspace: "{workspace}" }
  - id: close
    match: { path: "/api/orgs/{org}/close" }
    access: privileged
    require: { org: "{org}", role: [org:admin] }
"#;

const ROLLOUT: &str = "{ source: api, percent: 0, unit: user, limits: { max_step: 100 } }";

fn bed() -> Bed {
    two(&map(), ROLLOUT).policy(TENANTS).section(
        "identity: { map: { file: map.jsonl }, roles: { \"org:admin\": [admin] }, workspaces: { claim: workspaces, map: true } }",
    )
}

/// Everything of acme's, by both its ids.
fn doors(bed: &Running) -> Vec<Call> {
    ["acme", "org_acme"]
        .iter()
        .flat_map(|org| {
            [
                bed.get(&format!("/api/orgs/{org}/invoices")),
                bed.post(&format!("/api/orgs/{org}/invoices")).body("{}"),
                bed.get(&format!("/api/orgs/{org}/workspaces/w1")),
                bed.get(&format!("/api/orgs/{org}/close")),
            ]
        })
        .collect()
}

/// In both arms.
fn in_each_arm(bed: &Running, check: impl Fn(&str)) {
    for percent in ["0", "100"] {
        set_percent(bed, percent);
        check(&format!("at {percent} %"));
    }
}

fn refused(answer: &Response) -> bool {
    let known = ["403 forbidden", "403 unmapped_principal", "401 step_up_clerk", "401 clerk_invalid"];
    known.contains(&answer.outcome().as_str())
}

#[test]
fn an_org_of_ones_own_opens_nobody_elses() {
    let bed = bed().start_on_sockets();
    let eve = token("user_eve");
    let strangers: [(&str, Token); 9] = [
        ("with acme's slug", eve.clone().org("org_evil", "acme", "admin")),
        ("with acme's Clerk id as slug", eve.clone().org("org_evil", "org_acme", "admin")),
        ("with acme's legacy id as id", eve.clone().org("acme", "acme", "admin")),
        ("of a mapped org of her own", eve.clone().org("org_eves", "acme", "admin")),
        ("without an org", eve.clone()),
        (
            "with acme in version 1's claims",
            eve.clone().org("org_evil", "acme", "admin").claim("org_id", json!("org_acme")),
        ),
        ("with workspaces", eve.clone().org("org_evil", "acme", "admin").claim("workspaces", json!(["w1"]))),
        ("who says to be 42", eve.org("org_evil", "acme", "admin").claim("external_id", json!("42"))),
        (
            "who is in the map",
            token("user_mallory").org("org_eves", "acme", "admin").claim("workspaces", json!(["w1"])),
        ),
    ];
    let ada = [
        legacy("42").claim("org", json!("acme")).claim("roles", json!(["admin"])).sign(),
        token("user_ada").org("org_acme", "whatever", "admin").sign(),
    ];
    in_each_arm(&bed, |when| {
        for (name, stranger) in &strangers {
            let bearer = stranger.clone().sign();
            for door in doors(&bed) {
                let reached = bed.origin().count();
                let answer = answer_to(&door.clone().bearer(&bearer));
                assert!(refused(&answer), "{when}: a stranger {name}: {door:?}: {}", answer.outcome());
                assert_eq!(bed.origin().count(), reached, "{when}: a stranger {name} reaches the API");
            }
        }
        // The doors do open, to Ada with either login.
        for (index, bearer) in ada.iter().enumerate() {
            let answers: Vec<String> =
                doors(&bed).into_iter().take(4).map(|door| answer_to(&door.bearer(bearer)).outcome()).collect();
            let last = if index == 0 && when == "at 100 %" { "401 step_up_clerk" } else { "200 ok" };
            assert_eq!(answers, ["200 ok", "200 ok", "200 ok", last], "{when}: ada by credential {index}");
        }
    });
}

#[test]
fn a_legacy_person_is_nobody_in_other_orgs_and_has_no_roles_but_those_that_mean_one() {
    let bed = bed().start_on_sockets();
    let write = |token: &LegacyToken| bed.post("/api/orgs/acme/invoices").bearer(&token.sign()).body("{}").send();
    let at = |org: &str, roles: Value| legacy("66").claim("org", json!(org)).claim("roles", roles);
    assert_eq!(write(&at("acme", json!(["admin"]))).outcome(), "200 ok", "an equal role");
    for (name, token) in [
        ("another org", at("eves", json!(["admin"]))),
        ("the Clerk id as a legacy org", at("org_acme", json!(["admin"]))),
        ("Clerk's role by name", at("acme", json!(["org:admin"]))),
        ("an unlisted role", at("acme", json!(["owner"]))),
        ("another spelling", at("acme", json!(["Admin"]))),
        ("several in one text", at("acme", json!("member,admin"))),
        ("none", at("acme", json!([]))),
        ("no org", legacy("66").claim("roles", json!(["admin"]))),
    ] {
        let answer = write(&token);
        assert!(refused(&answer), "{name}: {}", answer.outcome());
    }
}

/// Where a claim names people's legacy ids, the map has the first word, and nobody is two people.
#[test]
fn a_claim_takes_nobody_from_whom_the_map_gave_them_to() {
    let bed = bed().section("identity: { map: { file: map.jsonl, claim: external_id } }").start_on_sockets();
    let me = |token: Token| bed.get("/me/1").bearer(&token.sign()).send();
    for (name, token) in [
        ("a stranger who says to be ada", token("user_eve").claim("external_id", json!("42"))),
        ("somebody of the map who says to be ada", token("user_mallory").claim("external_id", json!("42"))),
        ("somebody who says to be a sealed one", token("user_eve").claim("external_id", json!("13"))),
        ("an id that is no text", token("user_eve").claim("external_id", json!([42]))),
        (
            "metadata that people write themselves",
            token("user_eve").claim("unsafe_metadata", json!({ "external_id": "42" })),
        ),
    ] {
        let answer = me(token);
        let who = if answer.status == 200 {
            [saw(&answer, "x-crossgate-subject"), saw(&answer, "x-crossgate-legacy-user")]
        } else {
            assert!(matches!(answer.status, 400 | 401 | 403), "{name}: {}", answer.outcome());
            [String::new(), String::new()]
        };
        for id in who {
            assert!(!["42", "13"].contains(&id.as_str()), "{name} is {id}");
        }
    }
    let linked = me(token("user_new").claim("external_id", json!("77")));
    assert_eq!((linked.outcome().as_str(), saw(&linked, "x-crossgate-subject").as_str()), ("200 ok", "77"));
    let own = me(token("user_eve").claim("external_id", json!("user_eve")));
    assert_eq!(own.outcome(), "200 ok", "as templates with a fallback write it");
    assert_eq!(saw(&own, "x-crossgate-legacy-user"), "", "a Clerk id is no legacy id");
    // And two credentials are one person by the claim alone.
    let both = |clerk: Token, old: &str| {
        with(bed.get("/me/1"), Some((&legacy(old).sign(), By::Header)), Some((&clerk.sign(), By::Cookie)))
            .send()
            .outcome()
    };
    assert_eq!(both(token("user_new").claim("external_id", json!("77")), "77"), "200 ok");
    assert_eq!(both(token("user_new").claim("external_id", json!("77")), "42"), "400 identity_conflict");
    assert_eq!(both(token("user_eve").claim("external_id", json!("42")), "42"), "400 identity_conflict");
    assert_eq!(both(token("user_eve"), "42"), "400 identity_conflict", "not in the map, no claim: another person");
    assert_eq!(both(token("user_eve"), "user_eve"), "400 identity_conflict", "ids that only look alike");
}

/// A cookie can be planted by any sibling domain; then the victim must not act as the planter, nor the planter's session
/// decide that the victim is nobody on pages that need one.
#[test]
fn a_planted_credential_makes_nobody_somebody_else() {
    let bed = bed().start_on_sockets();
    let (ada_old, ada_new) = (legacy("42").sign(), token("user_ada").sign());
    let (eve_new, mallory_old) = (token("user_eve").sign(), legacy("66").sign());
    let expired = token("user_eve").expired().sign();
    in_each_arm(&bed, |when| {
        for (name, old, new) in [
            ("Eve's session beside Ada's legacy header", (&ada_old, By::Header), (&eve_new, By::Cookie)),
            ("Eve's session beside Ada's legacy cookie", (&ada_old, By::Cookie), (&eve_new, By::Cookie)),
            ("Eve's old session beside Ada's legacy cookie", (&ada_old, By::Cookie), (&expired, By::Cookie)),
            ("Mallory's legacy cookie beside Ada's session", (&mallory_old, By::Cookie), (&ada_new, By::Cookie)),
            ("Mallory's legacy cookie beside Ada's header", (&mallory_old, By::Cookie), (&ada_new, By::Header)),
        ] {
            let send = |path: &str| answer_to(&with(bed.get(path), Some((old.0, old.1)), Some((new.0, new.1))));
            for path in ["/me/1", "/vault/1"] {
                assert_eq!(send(path).outcome(), "400 identity_conflict", "{when}: {name}: {path}");
            }
            let public = send("/public/1");
            assert_eq!(public.outcome(), "200 ok", "{when}: {name}");
            assert_eq!(saw(&public, "x-crossgate-subject"), "", "{when}: {name}");
            assert_eq!(saw(&public, "x-crossgate-method"), "none", "{when}: {name}");
            for line in ["authorization", "cookie"] {
                let left = seen(&public, line).concat();
                assert!(!left.contains("ey"), "{when}: {name}: {line} reached the API: {left}");
            }
        }
    });
}

#[test]
fn junk_beside_a_good_credential_changes_nothing() {
    let bed = bed().start_on_sockets();
    let ada = legacy("42").sign();
    let forged = legacy("66").sign_with(b"another secret, of the same length or so");
    let jars = [
        "session=".to_owned(),
        "session=junk".to_owned(),
        "session=a.b.c".to_owned(),
        format!("session={forged}"),
        format!("session={}", legacy("66").expired().sign()),
        format!("session={}", tampered(&legacy("66").sign(), 1)),
        "__session=junk; __client_uat=1".to_owned(),
        session(&tampered(&token("user_eve").sign(), 2)),
        session(&token("user_eve").claim("sts", json!("pending")).sign()),
        session(&token("user_eve").claim("iss", json!("https://other.example")).sign()),
        format!("__session={}; __client_uat=0", token("user_eve").sign()),
        format!("SESSION={forged}; Session={forged}; session_={forged}"),
        "theme=dark; =; ;; x".to_owned(),
    ];
    in_each_arm(&bed, |when| {
        for jar in &jars {
            for path in ["/me/1", "/public/1"] {
                let answer = bed.get(path).bearer(&ada).cookie(jar).send();
                assert_eq!(answer.outcome(), "200 ok", "{when}: {path} {jar}");
                assert_eq!(saw(&answer, "x-crossgate-subject"), "42", "{when}: {path} {jar}");
            }
            let alone = bed.get("/me/1").cookie(jar).send();
            assert!(
                matches!(alone.outcome().as_str(), "401 no_credential" | "401 invalid"),
                "{jar}: {}",
                alone.outcome()
            );
        }
        let good = token("user_ada").sign();
        for jar in &jars[..6] {
            let answer = answer_to(&bed.get("/vault/1").bearer(&good).cookie(jar));
            assert_eq!(answer.outcome(), "200 ok", "{when}: {jar}");
            assert_eq!(saw(&answer, "x-crossgate-subject"), "42", "{when}: {jar}");
        }
    });
    for jar in [
        format!("session={ada}; session={}", legacy("66").sign()),
        format!("session={}; session={ada}", legacy("66").sign()),
    ] {
        assert_eq!(bed.get("/me/1").cookie(&jar).send().outcome(), "400 bad_header", "two under one name");
    }
    let two = bed.get("/me/1").bearer(&ada).bearer(&legacy("66").sign()).send();
    assert_eq!(two.outcome(), "400 bad_header");
    let differ = bed.get("/me/1").bearer(&ada).cookie(&format!("session={}", legacy("66").sign())).send();
    assert_eq!(differ.outcome(), "400 identity_conflict", "two people on one side");
}

#[test]
fn what_crossgate_says_is_said_by_nobody_else() {
    let bed = bed().start_on_sockets();
    let facts =
        ["subject", "clerk-user", "legacy-user", "org", "legacy-org", "role", "method", "arm", "token", "route"];
    let spellings = |fact: &str| {
        [
            format!("x-crossgate-{fact}"),
            format!("X-Crossgate-{}", fact.to_ascii_uppercase()),
            format!("x_crossgate_{}", fact.replace('-', "_")),
            format!("x.crossgate.{}", fact.replace('-', ".")),
            format!("X-Crossgate_{fact}"),
        ]
    };
    let spoof = |call: Call| {
        facts.iter().flat_map(|fact| spellings(fact)).fold(call, |call, name| call.header(&name, "forged"))
    };
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    in_each_arm(&bed, |when| {
        for (name, call, subject) in [
            ("legacy", bed.get("/me/1").bearer(&old), "42"),
            ("Clerk", bed.get("/me/1").bearer(&new), "42"),
            ("both", with(bed.get("/me/1"), Some((&old, By::Cookie)), Some((&new, By::Header))), "42"),
            ("nobody", bed.get("/public/1"), ""),
        ] {
            let answer = spoof(call).send();
            assert_eq!(answer.outcome(), "200 ok", "{when}: {name}");
            let reached = bed.origin().last();
            assert!(!reached.text().contains("forged"), "{when}: {name}: {}", reached.text());
            assert_eq!(reached.values("x-crossgate-subject").concat(), subject, "{when}: {name}");
        }
        let refused = spoof(bed.get("/me/1")).send();
        assert_eq!(refused.outcome(), "401 no_credential", "{when}: a header is no credential");
    });
}

/// A token with this header and these claims, and a tag by this secret.
fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[test]
fn forged_legacy_tokens() {
    let both = LEGACY_JWT.replace(
        "algorithms: [HS256], secret_file: legacy.secret",
        "algorithms: [HS256, RS256], secret_file: legacy.secret, secrets: [{ name: old, file: old.secret }], jwks: { file: keys.json }",
    );
    let bed = bed().section(&both);
    std::fs::write(bed.folder().join("old.secret"), "the-secret-before-this-one-was-as-long-as-it").unwrap();
    let set = super::super::issuer::key_set(&[super::super::issuer::second()]);
    std::fs::write(bed.folder().join("keys.json"), &set).unwrap();
    let bed = bed.start_on_sockets();
    let claims = json!({ "iss": LEGACY_ISSUER, "sub": "42", "iat": now() - 20, "exp": now() + 600 });
    let hs = |kid: Value| json!({ "alg": "HS256", "typ": "JWT", "kid": kid });
    let none = |alg: &str| forge(&json!({ "alg": alg, "typ": "JWT" }), &claims, b"\0");
    let pem = first_pem();
    let modulus = set.as_bytes();
    let theirs = token("42").claim("iss", json!(LEGACY_ISSUER));
    let forgeries: Vec<(&str, String)> = vec![
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg NONE", none("NONE")),
        ("no alg", forge(&json!({ "typ": "JWT" }), &claims, SECRET.as_bytes())),
        ("an algorithm that is not allowed", forge(&json!({ "alg": "HS512" }), &claims, SECRET.as_bytes())),
        ("lower case", forge(&json!({ "alg": "hs256" }), &claims, SECRET.as_bytes())),
        ("a list", forge(&json!({ "alg": ["HS256"] }), &claims, SECRET.as_bytes())),
        ("HMAC by Clerk's public key", forge(&hs(json!("ins_first")), &claims, pem.as_bytes())),
        ("HMAC by a public key of the set", forge(&hs(json!("ins_second")), &claims, modulus)),
        ("HMAC by an empty secret", forge(&hs(json!("default")), &claims, b"\0")),
        ("RS256 said, HMAC done", forge(&json!({ "alg": "RS256", "kid": "ins_second" }), &claims, SECRET.as_bytes())),
        ("Clerk's own key", theirs.clone().sign()),
        ("Clerk's own key under the name of ours", theirs.clone().in_header("kid", json!("ins_second")).sign()),
        ("the new secret under the old one's name", forge(&hs(json!("old")), &claims, SECRET.as_bytes())),
        ("a key of its own", forge(&json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" } }), &claims, b"\0")),
        (
            "a key set of its own",
            forge(&json!({ "alg": "HS256", "jku": "http://127.0.0.1/" }), &claims, SECRET.as_bytes()),
        ),
        ("critical", forge(&json!({ "alg": "HS256", "crit": ["exp"] }), &claims, SECRET.as_bytes())),
        ("a kid that is a path", forge(&hs(json!("../../dev/null")), &claims, b"")),
        (
            "another issuer",
            forge(
                &hs(json!("default")),
                &json!({ "iss": "https://evil.example", "sub": "42", "exp": now() + 600 }),
                SECRET.as_bytes(),
            ),
        ),
        ("no issuer", forge(&hs(json!("default")), &json!({ "sub": "42", "exp": now() + 600 }), SECRET.as_bytes())),
        ("no end", forge(&hs(json!("default")), &json!({ "iss": LEGACY_ISSUER, "sub": "42" }), SECRET.as_bytes())),
        (
            "no user",
            forge(&hs(json!("default")), &json!({ "iss": LEGACY_ISSUER, "exp": now() + 600 }), SECRET.as_bytes()),
        ),
        ("tampered claims", tampered(&legacy("42").sign(), 1)),
    ];
    for (name, forged) in &forgeries {
        let header = bed.get("/me/1").bearer(forged).send();
        assert_eq!(header.outcome(), "401 legacy_invalid", "{name}");
        let cookie = bed.get("/me/1").cookie(&format!("session={forged}")).send();
        assert_eq!(cookie.outcome(), "401 invalid", "{name}");
        let public = bed.get("/public/1").bearer(forged).send();
        assert_eq!((public.outcome().as_str(), saw(&public, "x-crossgate-subject").as_str()), ("200 ok", ""), "{name}");
        let beside = with(bed.get("/me/1"), Some((forged, By::Header)), Some((&token("user_ada").sign(), By::Cookie)));
        assert_eq!(beside.send().outcome(), "401 legacy_invalid", "{name}: final, whatever cookie there is");
    }
    // Without the form of a token it is nobody's in particular.
    let unsigned = [legacy("42").sign(), none("none")].map(|token| token[..=token.rfind('.').unwrap()].to_owned());
    for forged in &unsigned {
        assert_eq!(bed.get("/me/1").bearer(forged).send().status, 401, "{forged}");
        assert_eq!(bed.get("/me/1").cookie(&format!("session={forged}")).send().status, 401, "{forged}");
    }
    // Whose a token is, is told by its issuer first: neither side takes what the other's key has signed.
    let as_clerks = legacy("user_ada").claim("iss", json!(super::super::issuer::ISSUER)).sign();
    assert_eq!(bed.get("/me/1").bearer(&as_clerks).send().outcome(), "401 clerk_invalid");
    let by_ours = token("user_ada").by_second_key().issued(60).sign();
    assert_eq!(bed.get("/me/1").bearer(&by_ours).send().outcome(), "401 clerk_invalid");
    // And the same with what is good.
    let old = legacy("42").in_header("kid", json!("old")).sign_with(b"the-secret-before-this-one-was-as-long-as-it");
    for good in [legacy("42").sign(), old, theirs.by_second_key().sign()] {
        let answer = bed.get("/me/1").bearer(&good).send();
        assert_eq!((answer.outcome().as_str(), saw(&answer, "x-crossgate-subject").as_str()), ("200 ok", "42"));
    }
}
