use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::testing::*;
use super::super::{Attempt, CookieRules, KeySet, KeySource, MissingAzp, PendingSessions};
use crate::identity::{Carrier, Linking, Verdict, map};

const HEADER: &str = r#"{"alg":"RS256","typ":"JWT","kid":"ins_1"}"#;

#[test]
fn claims_one_by_one() {
    let long = "a".repeat(5000);
    let table = [
        ("good", json!({}), "valid user_1"),
        ("v2 organisation", json!({"v": 2, "o": {"id": "org_1", "rol": "admin", "slg": "acme"}}), "valid user_1"),
        ("four kilobytes", json!({"custom": "x".repeat(3000)}), "valid user_1"),
        // issuer
        ("iss missing", json!({"iss": null}), "token-invalid-issuer"),
        ("iss other", json!({"iss": "https://clerk.evil.com"}), "token-invalid-issuer"),
        ("iss slash", json!({"iss": "https://clerk.example.com/"}), "token-invalid-issuer"),
        ("iss case", json!({"iss": "https://Clerk.example.com"}), "token-invalid-issuer"),
        ("iss prefix", json!({"iss": "https://clerk.example.com.evil.com"}), "token-invalid-issuer"),
        ("iss http", json!({"iss": "http://clerk.example.com"}), "token-invalid-issuer"),
        ("iss array", json!({"iss": [ISSUER]}), "token-invalid-issuer"),
        // authorised party
        ("azp missing", json!({"azp": null}), "token-invalid-authorized-parties"),
        ("azp empty", json!({"azp": ""}), "token-invalid-authorized-parties"),
        ("azp other", json!({"azp": "https://evil.example.com"}), "token-invalid-authorized-parties"),
        ("azp suffix", json!({"azp": "https://app.example.com.evil.com"}), "token-invalid-authorized-parties"),
        ("azp slash", json!({"azp": "https://app.example.com/"}), "token-invalid-authorized-parties"),
        ("azp array", json!({"azp": ["https://app.example.com"]}), "token-invalid-authorized-parties"),
        // class
        ("template: no sid", json!({"sid": null}), "token-type-mismatch"),
        ("sid number", json!({"sid": 1}), "token-verification-failed"),
        ("sid of another kind", json!({"sid": "user_1"}), "token-verification-failed"),
        ("machine", json!({"sub": "mch_1"}), "token-type-mismatch"),
        ("organisation as subject", json!({"sub": "org_1"}), "token-type-mismatch"),
        ("handshake in a session", json!({"handshake": ["__session=x"]}), "token-type-mismatch"),
        ("pending", json!({"sts": "pending"}), "pending"),
        ("active", json!({"sts": "active"}), "valid user_1"),
        // values that become headers
        ("sub missing", json!({"sub": null}), "token-verification-failed"),
        ("sub empty", json!({"sub": ""}), "token-verification-failed"),
        ("sub prefix only", json!({"sub": "user_"}), "token-verification-failed"),
        ("sub number", json!({"sub": 7}), "token-verification-failed"),
        ("sub CRLF", json!({"sub": "user_1\r\nx-evil: 1"}), "token-verification-failed"),
        ("sub NUL", json!({"sub": "user_1\u{0}"}), "token-verification-failed"),
        ("sub turned around", json!({"sub": "user_\u{202e}1"}), "token-verification-failed"),
        ("sub space in front", json!({"sub": " user_1"}), "token-verification-failed"),
        ("sub too long", json!({"sub": format!("user_{long}")}), "token-verification-failed"),
        ("role too long", json!({"org_id": "org_1", "org_role": &long[..129]}), "token-verification-failed"),
        ("slug with line", json!({"org_id": "org_1", "org_slug": "a\nb"}), "token-verification-failed"),
        ("v 3", json!({"v": 3}), "token-verification-failed"),
        ("versions mixed", json!({"v": 2, "o": {"id": "org_1"}, "org_id": "org_2"}), "token-verification-failed"),
        // impersonation
        ("actor", json!({"act": {"iss": ISSUER, "sub": "user_9"}}), "valid user_1"),
        ("actor text", json!({"act": "user_9"}), "token-verification-failed"),
        ("actor without sub", json!({"act": {}}), "token-verification-failed"),
        ("actor with line", json!({"act": {"sub": "a\nb"}}), "token-verification-failed"),
        // times
        ("exp missing", json!({"exp": null}), "token-verification-failed"),
        ("exp text", json!({"exp": "1700000060"}), "token-verification-failed"),
        ("exp true", json!({"exp": true}), "token-verification-failed"),
        ("exp array", json!({"exp": [1_700_000_060]}), "token-verification-failed"),
        ("exp object", json!({"exp": {}}), "token-verification-failed"),
        ("exp negative", json!({"exp": -1, "iat": null}), "token-verification-failed"),
        ("exp zero", json!({"exp": 0, "iat": null}), "token-verification-failed"),
        ("exp ten years", json!({"exp": NOW_S + 10 * 366 * 86_400}), "token-verification-failed"),
        ("exp a year", json!({"exp": NOW_S + 365 * 86_400}), "valid user_1"),
        ("exp 1e30", json!({"exp": 1e30}), "token-verification-failed"),
        ("exp 2^64-1", json!({"exp": u64::MAX}), "token-verification-failed"),
        ("exp 2^53+1", json!({"exp": 9_007_199_254_740_993_u64}), "token-verification-failed"),
        ("exp -0.0", json!({"exp": -0.0, "iat": null}), "token-verification-failed"),
        ("exp past", json!({"exp": NOW_S - 60, "iat": NOW_S - 120}), "expired"),
        ("exp within the skew", json!({"exp": NOW_S - 4, "iat": NOW_S - 64}), "valid user_1"),
        ("exp at the skew", json!({"exp": NOW_S - 5, "iat": NOW_S - 65}), "expired"),
        ("exp past fraction", json!({"exp": 1_699_999_994.9, "iat": NOW_S - 65}), "expired"),
        ("exp future fraction", json!({"exp": 1_700_000_059.5}), "valid user_1"),
        ("nbf at the skew", json!({"nbf": NOW_S + 5}), "valid user_1"),
        ("nbf beyond", json!({"nbf": NOW_S + 6}), "token-not-active-yet"),
        ("nbf text", json!({"nbf": "1"}), "token-verification-failed"),
        ("nbf negative", json!({"nbf": -1}), "token-verification-failed"),
        ("iat at the skew", json!({"iat": NOW_S + 5}), "valid user_1"),
        ("iat beyond", json!({"iat": NOW_S + 6}), "token-iat-in-the-future"),
        ("iat text", json!({"iat": "1"}), "token-verification-failed"),
        ("iat after exp", json!({"iat": NOW_S + 61}), "token-verification-failed"),
        ("no iat, no nbf", json!({"iat": null, "nbf": null}), "valid user_1"),
        // expired is said only of what is good otherwise
        ("expired, wrong azp", json!({"exp": NOW_S - 60, "iat": null, "azp": "x"}), "token-invalid-authorized-parties"),
        ("expired, not active yet", json!({"exp": NOW_S - 60, "iat": null, "nbf": NOW_S + 60}), "token-not-active-yet"),
        ("expired, pending", json!({"exp": NOW_S - 60, "iat": null, "sts": "pending"}), "pending"),
    ];
    for (name, changes, expected) in table {
        let token = OURS.token(&claims(changes));
        assert_eq!(Bench::usual().bearer(&token, now()), expected, "{name}");
    }
}

#[test]
fn payloads_that_two_readers_would_read_differently() {
    let good = claims(json!({})).to_string();
    let with = |more: &str| format!("{},{more}}}", &good[..good.len() - 1]);
    let table = [
        ("as it is", good.clone(), "valid user_1"),
        ("sub twice", with(r#""sub":"user_2""#), "token-invalid"),
        ("sub twice, escaped", with(r#""s\u0075b":"user_2""#), "token-invalid"),
        ("exp twice", with(r#""exp":1"#), "token-invalid"),
        ("role twice", with(r#""v":2,"o":{"id":"org_1","rol":"a","rol":"b"}"#), "token-invalid"),
        ("huge number", with(r#""x":1e400"#), "token-invalid"),
        ("array", format!("[{good}]"), "token-invalid"),
        ("trailing bytes", format!("{good} x"), "token-invalid"),
        ("byte order mark", format!("\u{feff}{good}"), "token-invalid"),
        ("deep", with(&format!(r#""x":{}"#, "[".repeat(2000))), "token-invalid"),
    ];
    for (name, payload, expected) in table {
        let token = OURS.token_of(HEADER, &payload);
        assert_eq!(Bench::usual().bearer(&token, now()), expected, "{name}");
    }
}

#[test]
fn signatures() {
    let payload = claims(json!({})).to_string();
    let good = OURS.token_of(HEADER, &payload);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let with = |signature: &[u8]| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let flipped: Vec<u8> = raw.iter().enumerate().map(|(at, b)| if at == 100 { b ^ 1 } else { *b }).collect();
    let (modulus, _) = OURS.numbers();
    let (header, body) = signed.split_once('.').unwrap();
    let others = OURS.token(&claims(json!({"sub": "user_2"})));
    let others_payload = others.split('.').nth(1).unwrap();
    let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, OURS.pem().as_bytes());
    let hs256 = format!("{}.{body}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"ins_1"}"#));
    let hs256 = format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&hmac_key, hs256.as_bytes())));
    let none = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    let none_signed = OURS.token_of(r#"{"alg":"none","kid":"ins_1"}"#, &payload);
    let table = [
        ("good", good.clone(), "valid user_1"),
        ("another key", OTHER.token_of(HEADER, &payload), "token-invalid-signature"),
        ("bit flipped", with(&flipped), "token-invalid-signature"),
        ("zeros", with(&[0; 256]), "token-invalid-signature"),
        ("one", with(&[[0; 255].as_slice(), &[1]].concat()), "token-invalid-signature"),
        ("short", with(&raw[..255]), "token-invalid-signature"),
        ("long", with(&[raw.as_slice(), &[0]].concat()), "token-invalid-signature"),
        ("s + n", with(&sum(&raw, &modulus)), "token-invalid-signature"),
        ("payload swapped", format!("{header}.{others_payload}.{signature}"), "token-invalid-signature"),
        ("parts swapped", format!("{body}.{header}.{signature}"), "token-invalid-issuer"),
        ("SHA-512", format!("{signed}.{}", OURS.sign(signed, &RSA_PKCS1_SHA512)), "token-invalid-signature"),
        ("SHA-384", format!("{signed}.{}", OURS.sign(signed, &RSA_PKCS1_SHA384)), "token-invalid-signature"),
        ("PSS", format!("{signed}.{}", OURS.sign(signed, &RSA_PSS_SHA256)), "token-invalid-signature"),
        ("HMAC with the public key", hs256, "token-invalid-algorithm"),
        ("none", none, "token-invalid"),
        ("none, well signed", none_signed, "token-invalid-algorithm"),
        ("two parts", signed.to_owned(), "token-invalid"),
        ("padded", format!("{good}=="), "token-invalid-signature"),
        ("nine kilobytes", OURS.token(&claims(json!({"x": "x".repeat(9000)}))), "token-invalid"),
        ("opaque", "mt_8XOIucKvqHVr5tYP123456789abcdefghij".to_owned(), "token-type-mismatch"),
        ("API key", "ak_LCWGdaM8mv8K4PC/57IICZQXAeWfCgF30DZaFXHoGn9=".to_owned(), "token-type-mismatch"),
        ("random", random_text(), "token-invalid"),
    ];
    for (name, token, expected) in table {
        assert_eq!(Bench::usual().bearer(&token, now()), expected, "{name}");
    }
}

/// A signature of 256 bytes has four unused bits in base64: sixteen spellings, of which one is read.
#[test]
fn one_spelling_of_a_signature() {
    let token = OURS.token(&claims(json!({})));
    let bench = Bench::usual();
    let (rest, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let good: Vec<char> =
        alphabet.chars().filter(|c| bench.bearer(&format!("{rest}{c}"), now()).starts_with("valid")).collect();
    assert_eq!(good, last.chars().collect::<Vec<_>>());
}

#[test]
fn keys_are_found_by_name_only() {
    let payload = claims(json!({})).to_string();
    let two = json!({"keys": [OURS.jwk(KID), OTHER.jwk("ins_2")]}).to_string();
    let bench = Bench::new(vec![spec(KeySource::Set(KeySet::parse_jwks(two.as_bytes()).unwrap()))]);
    let table = [
        ("its own", r#"{"alg":"RS256","kid":"ins_1"}"#, "valid user_1"),
        ("the other's", r#"{"alg":"RS256","kid":"ins_2"}"#, "token-invalid-signature"),
        ("case changed", r#"{"alg":"RS256","kid":"INS_1"}"#, "jwk-kid-mismatch"),
        ("zero width space", r#"{"alg":"RS256","kid":"ins_1\u200b"}"#, "jwk-kid-mismatch"),
        ("traversal", r#"{"alg":"RS256","kid":"../ins_1"}"#, "jwk-kid-mismatch"),
        ("SQL", r#"{"alg":"RS256","kid":"x' or '1'='1"}"#, "jwk-kid-mismatch"),
        ("line", r#"{"alg":"RS256","kid":"ins_1\r\n"}"#, "jwk-kid-mismatch"),
        ("missing", r#"{"alg":"RS256"}"#, "jwk-kid-mismatch"),
        ("empty", r#"{"alg":"RS256","kid":""}"#, "jwk-kid-mismatch"),
        ("null", r#"{"alg":"RS256","kid":null}"#, "jwk-kid-mismatch"),
        ("number", r#"{"alg":"RS256","kid":1}"#, "jwk-kid-mismatch"),
        ("list", r#"{"alg":"RS256","kid":["ins_1"]}"#, "jwk-kid-mismatch"),
        ("jku, well signed", r#"{"alg":"RS256","kid":"ins_1","jku":"http://127.0.0.1:1/"}"#, "token-invalid"),
    ];
    for (name, header, expected) in table {
        assert_eq!(bench.bearer(&OURS.token_of(header, &payload), now()), expected, "{name}");
    }
    let pem = Bench::new(vec![spec(KeySource::Set(KeySet::from_pem(&OURS.pem()).unwrap()))]);
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","kid":"whatever"}"#] {
        assert_eq!(pem.bearer(&OURS.token_of(header, &payload), now()), "valid user_1", "{header}");
    }
}

#[test]
fn checks_that_the_config_relaxes() {
    let without_azp = OURS.token(&claims(json!({"azp": null})));
    let bench_with = |change: fn(&mut super::super::Checks)| {
        let mut spec = spec(KeySource::Set(OURS.set(KID)));
        change(&mut spec.checks);
        Bench::new(vec![spec])
    };
    let allow = bench_with(|checks| checks.missing_azp = MissingAzp::Allow);
    assert_eq!(allow.bearer(&without_azp, now()), "valid user_1");
    assert_eq!(allow.instances.named("production").unwrap().missing_azp_count(), 1);
    let foreign = OURS.token(&claims(json!({"azp": "https://evil.example"})));
    assert_eq!(allow.bearer(&foreign, now()), "token-invalid-authorized-parties");
    let unchecked = bench_with(|checks| checks.authorized_parties.clear());
    assert_eq!(unchecked.bearer(&without_azp, now()), "valid user_1");
    let pending = OURS.token(&claims(json!({"sts": "pending"})));
    assert_eq!(
        bench_with(|checks| checks.pending_sessions = PendingSessions::Allow).bearer(&pending, now()),
        "valid user_1"
    );
    let no_skew = bench_with(|checks| checks.clock_skew = seconds(0));
    let at_the_end = OURS.token(&claims(json!({"exp": NOW_S, "iat": null})));
    assert_eq!(no_skew.bearer(&at_the_end, now()), "expired");
    let audience = bench_with(|checks| checks.audiences = vec!["api".to_owned()]);
    for (aud, expected) in [
        (json!(null), "valid user_1"),
        (json!("api"), "valid user_1"),
        (json!("api-2"), "token-verification-failed"),
        (json!(["x", "api"]), "valid user_1"),
        (json!(["x"]), "token-verification-failed"),
        (json!(["x", 1]), "valid user_1"),
        (json!([]), "valid user_1"),
        (json!(7), "valid user_1"),
    ] {
        let token = OURS.token(&claims(json!({"aud": aud})));
        assert_eq!(audience.bearer(&token, now()), expected, "{aud}");
    }
}

#[test]
fn the_header_decides_over_the_cookie() {
    let one = OURS.token(&claims(json!({})));
    let renewed = OURS.token(&claims(json!({"jti": "2"})));
    let two = OURS.token(&claims(json!({"sub": "user_2"})));
    let bad = OTHER.token(&claims(json!({})));
    let expired = OURS.token(&claims(json!({"exp": NOW_S - 60, "iat": NOW_S - 120})));
    let jar = |token: &str| format!("__session={token}; __client_uat={}", NOW_S - 1000);
    let table = [
        ("header alone", Some(&one), None, "valid user_1"),
        ("cookie alone", None, Some(&one), "valid user_1"),
        ("one person twice", Some(&one), Some(&one), "valid user_1"),
        ("one person, two tokens", Some(&one), Some(&renewed), "valid user_1"),
        ("two people", Some(&one), Some(&two), "conflict"),
        ("bad header, good cookie", Some(&bad), Some(&one), "token-invalid-signature"),
        ("expired header, good cookie", Some(&expired), Some(&one), "expired"),
        ("good header, bad cookie", Some(&one), Some(&bad), "valid user_1"),
        ("good header, expired cookie", Some(&one), Some(&expired), "valid user_1"),
        ("expired cookie", None, Some(&expired), "expired"),
        ("bad cookie", None, Some(&bad), "token-invalid-signature"),
        ("nothing", None, None, "absent"),
    ];
    for (name, header, cookie, expected) in table {
        let header = header.map(|token| format!("Bearer {token}"));
        let cookie = cookie.map(|token| jar(token));
        let lines: Vec<_> = [("authorization", &header), ("cookie", &cookie)]
            .into_iter()
            .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
            .collect();
        let bench = Bench::usual();
        assert_eq!(word(&bench.verify(&lines, now())), expected, "{name}");
        assert_eq!(word(&bench.verify(&lines, now())), expected, "{name}, from the cache");
    }
    let bench = Bench::usual();
    let malformed = bench.verify(&[("authorization", "Bearer a b"), ("cookie", &jar(&one))], now());
    assert_eq!(word(&malformed), "token-invalid");
    let basic = bench.verify(&[("authorization", "Basic dTpw"), ("cookie", &jar(&one))], now());
    assert!(matches!(basic, Ok(Verdict::Valid { carrier: Carrier::Cookie, .. })));
}

#[test]
fn two_instances() {
    let second = |key: &super::super::testing::Signer| {
        let mut spec = spec(KeySource::Set(key.set(KID)));
        spec.name = "staging".into();
        spec.issuer = "https://clerk.staging.example.com".into();
        spec.publishable_key = None;
        spec
    };
    let bench = Bench::new(vec![spec(KeySource::Set(OURS.set(KID))), second(&OTHER)]);
    let staging = json!({"iss": "https://clerk.staging.example.com"});
    let table = [
        ("first", OURS.token(&claims(json!({}))), "valid user_1"),
        ("second", OTHER.token(&claims(staging.clone())), "valid user_1"),
        // A key verifies for its own issuer only, though both sets use one kid.
        ("second's key for the first", OTHER.token(&claims(json!({}))), "token-invalid-signature"),
        ("first's key for the second", OURS.token(&claims(staging)), "token-invalid-signature"),
    ];
    for (name, token, expected) in &table {
        assert_eq!(bench.bearer(token, now()), *expected, "{name}");
    }
    let both = format!("Bearer {}", table[0].1);
    let jar = format!("__session={}; __client_uat=1", table[1].1);
    let verdict = bench.verify(&[("authorization", &both), ("cookie", &jar)], now());
    assert_eq!(word(&verdict), "conflict", "one id in two instances is two people");
    let mut twice = second(&OTHER);
    twice.issuer = ISSUER.into();
    let clash = super::super::Instances::new(vec![spec(KeySource::Set(OURS.set(KID))), twice], None);
    assert_eq!(clash.unwrap_err(), super::super::InstancesProblem::SameIssuer { first: 0, second: 1 });
}

#[test]
fn what_an_identity_says() {
    let mut bench = Bench::usual();
    bench.workspaces = Some(vec!["app".to_owned(), "workspaces".to_owned()]);
    let token = OURS.token(&claims(json!({
        "v": 2, "fea": "o:runs,u:beta", "pla": "o:pro", "fva": [3, -1],
        "o": {"id": "org_1", "slg": "acme, inc", "rol": "admin", "per": "read,write", "fpm": "3"},
        "act": {"sub": "user_9"}, "app": {"workspaces": ["w1", {"id": "w,2", "role": "owner"}]},
    })));
    let Ok(Verdict::Valid { identity, .. }) = bench.verify(&[("authorization", &format!("Bearer {token}"))], now())
    else {
        panic!("valid")
    };
    let mut text = String::new();
    for (name, value) in &identity.headers {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    insta::assert_snapshot!(text, @r"
    x-crossgate-subject: user_1
    x-crossgate-clerk-user: user_1
    x-crossgate-org: org_1
    x-crossgate-org-slug: acme,%20inc
    x-crossgate-role: org:admin
    x-crossgate-permissions: org:runs:read,org:runs:write
    x-crossgate-workspaces: w1,w%2C2
    x-crossgate-session: sess_1
    x-crossgate-method: clerk
    x-crossgate-token: session
    x-crossgate-actor: user_9
    ");
    let facts = &identity.facts;
    assert_eq!(facts.factor_ages, Some([3.0, -1.0]));
    assert_eq!(facts.issued_at_ms, Some(NOW_S * 1000));
    assert_eq!(facts.expires_at_ms, Some((NOW_S + 60) * 1000));
    assert_eq!(facts.plans.as_ref().unwrap().org, ["pro"]);
}

#[test]
fn an_identity_that_no_header_holds_is_refused() {
    let names: Vec<String> = (0..60).map(|n| format!("{n:0>90}")).collect();
    let token = OURS.token(&claims(json!({"org_id": "org_1", "org_permissions": names})));
    assert!(token.len() > 7000 && token.len() < 8192);
    assert_eq!(Bench::usual().bearer(&token, now()), "identity-too-large");
}

#[test]
fn workspaces() {
    use crate::identity::{Workspace, Workspaces};
    let known =
        |ids: &[&str]| Workspaces::Known(ids.iter().map(|id| Workspace { id: (*id).to_owned(), role: None }).collect());
    let table = [
        ("list", json!({"w": {"s": ["a", "b"]}}), known(&["a", "b"])),
        ("empty", json!({"w": {"s": []}}), known(&[])),
        ("missing", json!({}), Workspaces::Missing),
        ("missing below", json!({"w": {}}), Workspaces::Missing),
        ("text", json!({"w": {"s": "a"}}), Workspaces::Unreadable),
        ("null in the list", json!({"w": {"s": ["a", null]}}), Workspaces::Unreadable),
        ("number in the list", json!({"w": {"s": [1]}}), Workspaces::Unreadable),
        ("object without id", json!({"w": {"s": [{"role": "x"}]}}), Workspaces::Unreadable),
        ("empty id", json!({"w": {"s": [""]}}), Workspaces::Unreadable),
        ("way through a text", json!({"w": "x"}), Workspaces::Unreadable),
    ];
    for (name, changes, expected) in table {
        let mut bench = Bench::usual();
        bench.workspaces = Some(vec!["w".to_owned(), "s".to_owned()]);
        let token = OURS.token(&claims(changes));
        let Ok(Verdict::Valid { identity, .. }) = bench.verify(&[("authorization", &format!("Bearer {token}"))], now())
        else {
            panic!("{name}")
        };
        assert_eq!(identity.facts.workspaces, expected, "{name}");
    }
}

/// What a cache could get wrong.
#[test]
fn the_cache() {
    let bench = Bench::new(vec![spec(KeySource::Url(url()))]);
    let keys = bench.keys();
    keys.fetched(OURS.set(KID), now());
    let token = OURS.token(&claims(json!({})));
    let at = |n: u64| now().plus(seconds(n));
    assert_eq!(bench.bearer(&token, now()), "valid user_1");
    assert_eq!(bench.cache.len(), 1);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", OTHER.sign(signed, &aws_lc_rs::signature::RSA_PKCS1_SHA256));
    assert_eq!(bench.bearer(&forged, now()), "token-invalid-signature", "same payload, other signature");
    assert_eq!(bench.cache.len(), 1, "refusals are not kept");

    assert_eq!(bench.bearer(&token, at(64)), "valid user_1");
    assert_eq!(bench.bearer(&token, at(65)), "expired");
    let mut set_back = at(66);
    set_back.unix_ms = now().unix_ms + 1000;
    assert_eq!(bench.bearer(&token, set_back), "expired", "the wall clock was set back");
    let jar = format!("__session={token}; __client_uat=1");
    assert_eq!(bench.cookie(&jar, set_back), "expired");

    let fresh = OURS.token(&claims(json!({"jti": "2"})));
    assert_eq!(bench.bearer(&fresh, now()), "valid user_1");
    let mut early = now();
    early.unix_ms -= 20_000;
    assert_eq!(bench.bearer(&fresh, early), "token-not-active-yet", "the wall clock went back before nbf");
    assert_eq!(bench.bearer(&fresh, now()), "valid user_1");

    let both = json!({"keys": [OURS.jwk(KID), OTHER.jwk("ins_2")]}).to_string();
    keys.fetched(KeySet::parse_jwks(both.as_bytes()).unwrap(), at(1));
    assert_eq!(bench.bearer(&fresh, at(1)), "valid user_1", "a key was added");
    keys.fetched(OTHER.set("ins_2"), at(2));
    assert_eq!(bench.bearer(&fresh, at(2)), "fetch ins_1", "its key was removed");
    keys.fetched(OTHER.set(KID), at(3));
    assert_eq!(bench.bearer(&fresh, at(3)), "token-invalid-signature", "its kid has another key");
}

#[test]
fn cookies_may_be_switched_off() {
    let mut off = spec(KeySource::Set(OURS.set(KID)));
    off.cookies = CookieRules { enabled: false, ..CookieRules::default() };
    let token = OURS.token(&claims(json!({})));
    let bench = Bench::new(vec![off]);
    assert_eq!(bench.cookie(&format!("__session={token}; __client_uat=1"), now()), "absent");
    assert_eq!(bench.bearer(&token, now()), "valid user_1");
}

proptest::proptest! {
    /// Whatever stands in a header is judged, and never believed.
    #[test]
    fn no_text_is_a_token(header in ".{0,60}", payload in ".{0,60}", signature in "[A-Za-z0-9_.=-]{0,40}") {
        let bench = Bench::usual();
        let claims = claims(json!({"x": payload}));
        for token in [
            format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&payload)),
            format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims.to_string())),
            signature,
        ] {
            let verdict = bench.bearer(&token, now());
            proptest::prop_assert!(verdict.starts_with("token-") || verdict == "absent", "{}", verdict);
        }
    }

    #[test]
    fn no_bytes_are_a_key_set(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        proptest::prop_assert!(KeySet::parse_jwks(&bytes).is_err());
        proptest::prop_assert!(KeySet::from_pem(&String::from_utf8_lossy(&bytes)).is_err());
    }
}

/// Many tokens from four threads through one small cache: nobody ever gets somebody else's answer.
#[test]
fn identities_never_cross() {
    let bench = Arc::new(Bench::usual());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || {
                for n in 0..150 {
                    let id = format!("user_{}", n * 4 + thread);
                    let token = OURS.token(&claims(json!({"sub": id})));
                    for _ in 0..20 {
                        assert_eq!(bench.bearer(&token, now()), format!("valid {id}"));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(bench.cache.len() <= 100 && bench.cache.weight() <= 1024 * 1024);
}

fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0_u16;
    let mut out = Vec::new();
    for (a, b) in a.iter().rev().zip(b.iter().rev()) {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        out.push(digit as u8);
        carry = digit >> 8;
    }
    if carry > 0 {
        out.push(1);
    }
    out.reverse();
    out
}

fn random_text() -> String {
    let mut bytes = [0; 60];
    rand::fill(&mut bytes).unwrap();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What does not count says whom it names, and only that: the other side's credential may be somebody else's.
#[test]
fn what_is_expired_or_unverifiable_names_somebody_on_the_legacy_side() {
    const MAP: &str = r#"{"kind":"user","legacy":"42","clerk":"user_1","state":"linked"}
{"kind":"user","legacy":"46","clerk":"user_2","state":"deleted"}
"#;
    let linking = || {
        let map = Arc::new(map::read(MAP.as_bytes()).unwrap().map);
        Linking { map: Some(map), claim: Some(vec!["external_id".to_owned()]), ..Linking::default() }
    };
    let known = Bench { linking: linking(), ..Bench::usual() };
    let keyless = Bench { linking: linking(), ..Bench::new(vec![spec(KeySource::Url(url()))]) };
    let named = |bench: &Bench, token: &str| {
        let credentials = credentials(&[("authorization", &format!("Bearer {token}"))]);
        match bench.verifier().verify(&credentials, now(), Attempt::Last).unwrap() {
            Verdict::Expired { legacy_user, .. } => format!("expired {}", legacy_user.as_deref().unwrap_or("-")),
            Verdict::Unverifiable { legacy_user, .. } => {
                format!("unverifiable {}", legacy_user.as_deref().unwrap_or("-"))
            }
            Verdict::Valid { identity, .. } => {
                format!("valid {}", identity.facts.legacy_user.as_deref().unwrap_or("-"))
            }
            other => word(&Ok(other)),
        }
    };
    let over = json!({"exp": NOW_S - 60, "iat": NOW_S - 120});
    let with = |base: &Value, sub: &str, claim: Option<&str>| {
        let mut changes = base.clone();
        changes["sub"] = json!(sub);
        changes["external_id"] = json!(claim);
        OURS.token(&claims(changes))
    };
    let table = [
        ("user_1", None, "valid 42", "expired 42", "unverifiable 42"),
        ("user_1", Some("43"), "valid 42", "expired 42", "unverifiable 42"),
        ("user_3", Some("77"), "valid 77", "expired 77", "unverifiable 77"),
        ("user_3", Some("42"), "valid -", "expired -", "unverifiable -"),
        ("user_3", None, "valid -", "expired -", "unverifiable -"),
        // Renewing helps nobody who is gone; what is not verified says only whom it claims to be.
        ("user_2", None, "principal-deleted", "principal-deleted", "unverifiable 46"),
    ];
    for (sub, claim, valid, expired, unverifiable) in table {
        let (good, late) = (with(&json!({}), sub, claim), with(&over, sub, claim));
        let told = [named(&known, &good), named(&known, &late), named(&keyless, &good)];
        assert_eq!(told, [valid, expired, unverifiable], "{sub} {claim:?}");
        // The cache knows it too, once its time is over.
        if valid.starts_with("valid") {
            let credentials = credentials(&[("authorization", &format!("Bearer {good}"))]);
            let later = known.verifier().verify(&credentials, now().plus(seconds(66)), Attempt::Last).unwrap();
            let Verdict::Expired { legacy_user, .. } = later else { panic!("{later:?}") };
            assert_eq!(format!("valid {}", legacy_user.as_deref().unwrap_or("-")), valid);
        }
    }
}
