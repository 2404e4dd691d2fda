use serde_json::json;

use super::super::testing::{Bench, ISSUER, KID, NOW_S, OTHER, OURS, claims, now, spec};
use super::super::{KeySource, PublishableKey};
use super::leading_integer;
use crate::identity::Verdict;

/// Of `pk_live_Y2xlcmsuZXhhbXBsZS5jb20k`.
fn suffix(key: &str) -> String {
    PublishableKey::parse(key).unwrap().cookie_suffix().to_owned()
}

const LIVE: &str = super::super::testing::PUBLISHABLE_KEY;
const TEST: &str = "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k";

struct Jar {
    plain: String,
    newer: String,
    expired: String,
    foreign: String,
    suffix: String,
}

impl Jar {
    fn new(key: &str) -> Self {
        Self {
            plain: OURS.token(&claims(json!({"sub": "user_plain"}))),
            newer: OURS.token(&claims(json!({"sub": "user_newer", "iat": NOW_S + 1}))),
            expired: OURS.token(&claims(json!({"sub": "user_expired", "iat": NOW_S - 90, "exp": NOW_S - 30}))),
            foreign: OTHER.token(&claims(json!({"iss": "https://auth0.example.com", "sub": "auth0|1"}))),
            suffix: suffix(key),
        }
    }

    /// `S=` is the suffixed session, `U=` the suffixed uat, `s=` and `u=` the plain ones.
    fn cookies(&self, text: &str) -> String {
        let pairs = text.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let name = match name {
                "S" => format!("__session_{}", self.suffix),
                "U" => format!("__client_uat_{}", self.suffix),
                "s" => "__session".to_owned(),
                "u" => "__client_uat".to_owned(),
                other => other.to_owned(),
            };
            let value = match value {
                "plain" => &self.plain,
                "newer" => &self.newer,
                "expired" => &self.expired,
                "foreign" => &self.foreign,
                other => other,
            };
            format!("{name}={value}")
        });
        pairs.collect::<Vec<_>>().join("; ")
    }
}

fn bench(key: &str) -> Bench {
    let mut spec = spec(KeySource::Set(OURS.set(KID)));
    spec.publishable_key = Some(PublishableKey::parse(key).unwrap());
    Bench::new(vec![spec])
}

#[test]
fn the_choice() {
    const NO_UAT: &str = "session-token-but-no-client-uat";
    let table = [
        ("nothing", LIVE, "", "absent"),
        ("plain", LIVE, "s=plain u=1", "valid user_plain"),
        ("suffixed", LIVE, "S=plain U=1", "valid user_plain"),
        ("signed out", LIVE, "u=0", "absent"),
        ("signed in, no session", LIVE, "u=1", "absent"),
        ("session, signed out", LIVE, "s=plain u=0", NO_UAT),
        ("session without uat", LIVE, "s=plain", NO_UAT),
        ("uat no number", LIVE, "s=plain u=x", NO_UAT),
        ("uat negative", LIVE, "s=plain u=-1", "valid user_plain"),
        ("uat with a tail", LIVE, "s=plain u=12x", "valid user_plain"),
        ("uat after the token", LIVE, "s=plain u=1700000001", "session-token-iat-before-client-uat"),
        ("uat at the token", LIVE, "s=plain u=1700000000", "valid user_plain"),
        ("both, suffixed newer", LIVE, "s=plain u=1 S=newer U=1", "valid user_newer"),
        ("both, plain newer", LIVE, "s=newer u=1 S=plain U=1", "valid user_newer"),
        ("both of one age", LIVE, "s=plain u=1 S=plain U=1", "valid user_plain"),
        ("suffixed signed out", LIVE, "s=plain u=1 S=newer U=0", "valid user_plain"),
        ("both signed out", LIVE, "s=plain u=0 S=newer U=0", NO_UAT),
        ("plain signed out", LIVE, "s=newer u=0 S=plain U=1", "valid user_plain"),
        ("suffixed session, no suffixed uat", LIVE, "S=plain u=1", "absent"),
        ("suffixed uat only", LIVE, "U=1", "absent"),
        ("suffixed uat empty", LIVE, "S=plain U= u=1", "absent"),
        ("production does not mind an expired one", LIVE, "s=plain u=0 S=expired U=1", "expired"),
        ("development does", TEST, "s=plain u=0 S=expired U=1", NO_UAT),
        ("another product's alone", LIVE, "s=foreign u=1", "absent"),
        ("another product's beside", LIVE, "s=foreign S=plain U=1", "valid user_plain"),
        ("junk beside", LIVE, "s=junk S=plain U=1", "valid user_plain"),
        ("junk alone", LIVE, "s=junk u=1", "absent"),
        ("two sessions", LIVE, "s=plain s=newer u=1", "ambiguous"),
        ("one session twice", LIVE, "s=plain s=plain u=1", "ambiguous"),
        ("two suffixed sessions", LIVE, "S=plain S=newer U=1", "ambiguous"),
        ("a session and another product's", LIVE, "s=foreign s=plain s=junk u=1", "valid user_plain"),
        ("first uat counts", LIVE, "s=plain u=1 u=0", "valid user_plain"),
        ("near names", LIVE, "x__session=plain __Session=plain __session_=plain u=1", "absent"),
        ("comma in between", LIVE, "s=plain,s=newer u=1", "absent"),
        ("another key's suffix", LIVE, "__session_MqCvchyS=plain __client_uat_MqCvchyS=1", "absent"),
    ];
    for (name, key, text, expected) in table {
        let bench = bench(key);
        let cookies = Jar::new(key).cookies(text);
        assert_eq!(bench.cookie(&cookies, now()), expected, "{name}");
        assert_eq!(bench.cookie(&cookies, now()), expected, "{name}, once more");
    }
}

/// What the uat says holds on every request, not only on the first one with a token.
#[test]
fn a_cached_token_does_not_outlive_a_sign_out() {
    let bench = bench(LIVE);
    let jar = Jar::new(LIVE);
    assert_eq!(bench.cookie(&jar.cookies("s=plain u=1"), now()), "valid user_plain");
    assert_eq!(bench.cookie(&jar.cookies("s=plain u=0"), now()), "session-token-but-no-client-uat");
    assert_eq!(bench.cookie(&jar.cookies("s=plain u=1700000001"), now()), "session-token-iat-before-client-uat");
}

#[test]
fn each_instance_has_its_suffix() {
    let mut second = spec(KeySource::Set(OTHER.set(KID)));
    second.name = "staging".into();
    second.issuer = "https://clerk.staging.com".into();
    let key = "pk_test_Y2xlcmsuc3RhZ2luZy5jb20k";
    second.publishable_key = Some(PublishableKey::parse(key).unwrap());
    let bench = Bench::new(vec![spec(KeySource::Set(OURS.set(KID))), second]);
    let (one, two) = (suffix(LIVE), suffix(key));
    let ours = OURS.token(&claims(json!({})));
    let theirs = OTHER.token(&claims(json!({"iss": "https://clerk.staging.com", "sub": "user_2"})));
    let table = [
        ("plain of the first", format!("__session={ours}; __client_uat=1"), "valid user_1"),
        ("plain of the second", format!("__session={theirs}; __client_uat=1"), "valid user_2"),
        ("suffixed of the first", format!("__session_{one}={ours}; __client_uat_{one}=1"), "valid user_1"),
        ("suffixed of the second", format!("__session_{two}={theirs}; __client_uat_{two}=1"), "valid user_2"),
        (
            "plain of one, suffixed of the other",
            format!("__session={theirs}; __session_{one}={ours}; __client_uat_{one}=1; __client_uat=1"),
            "conflict",
        ),
        ("under the other's suffix", format!("__session_{one}={theirs}; __client_uat_{one}=1"), "token-invalid-issuer"),
    ];
    for (name, cookies, expected) in table {
        assert_eq!(bench.cookie(&cookies, now()), expected, "{name}");
    }
}

#[test]
fn without_a_publishable_key_names_are_plain() {
    let mut spec = spec(KeySource::Set(OURS.set(KID)));
    spec.publishable_key = None;
    let bench = Bench::new(vec![spec]);
    let jar = Jar::new(LIVE);
    assert_eq!(bench.cookie(&jar.cookies("s=plain u=1"), now()), "valid user_plain");
    assert_eq!(bench.cookie(&jar.cookies("S=plain U=1"), now()), "absent");
}

/// A template or another class in the cookie is refused for what it is, though its `iss` is ours.
#[test]
fn classes() {
    let header = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{KID}","cat":"cl_B7d4PD222AAA"}}"#);
    let template = OURS.token_of(&header, &claims(json!({"iss": ISSUER})).to_string());
    let cookies = format!("__session={template}; __client_uat=1");
    let verdict = Bench::usual().verify(&[("cookie", &cookies)], now());
    assert!(matches!(verdict, Ok(Verdict::Invalid { reason: super::Reason::TokenTypeMismatch, .. })));
}

#[test]
fn integers_as_javascript_reads_them() {
    let table = [
        ("", 0.0),
        ("0", 0.0),
        ("12", 12.0),
        (" 12", 12.0),
        ("-1", -1.0),
        ("+3", 3.0),
        ("7x", 7.0),
        ("x7", 0.0),
        ("-", 0.0),
    ];
    for (text, expected) in table {
        assert_eq!(leading_integer(text), expected, "{text:?}");
    }
    assert!(leading_integer(&"9".repeat(500)).is_infinite());
}
