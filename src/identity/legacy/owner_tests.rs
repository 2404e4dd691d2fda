use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Owner, of_bearer, of_cookie, of_own_header};
use crate::identity::HeaderNames;
use crate::identity::clerk::testing::{ISSUER, KID, OURS, spec};
use crate::identity::clerk::{Instances, KeySource};
use crate::identity::legacy::jwt::{Algorithm, JwtSpec, JwtVerifier};
use crate::identity::legacy::{Claims, HmacAlgorithm, Kind, Secret};

const LEGACY: &str = "https://legacy.example.com";

fn jwt() -> Kind {
    let spec = JwtSpec {
        algorithms: vec![Algorithm::Hmac(HmacAlgorithm::Hs256)],
        secrets: vec![Secret::from_file("a".into(), &[7; 32]).unwrap()],
        keys: None,
        issuer: Some(LEGACY.into()),
        audiences: Vec::new(),
        claims: Claims::default(),
    };
    Kind::Jwt(Box::new(JwtVerifier::new(spec, HeaderNames::default(), std::sync::Arc::default(), None)))
}

fn clerk() -> Instances {
    Instances::new(vec![spec(KeySource::Set(OURS.set(KID)))], None).unwrap()
}

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// The table of the module's docs: for the Authorization line with `jwt` and with another verifier, for a cookie with
/// `jwt`, and for a header of the legacy side's own.
#[test]
fn by_content() {
    use Owner::{Clerk, Legacy, Nobody};
    let issued = |issuer: &str| format!(r#"{{"iss":"{issuer}","sub":"1"}}"#);
    let (clerks, legacys, strangers) = (issued(ISSUER), issued(LEGACY), issued("https://x.example.com"));
    let table = [
        ("Clerk's", token(r#"{"alg":"RS256"}"#, &clerks), [Clerk, Clerk, Clerk, Clerk]),
        ("HS256 in Clerk's name", token(r#"{"alg":"HS256"}"#, &clerks), [Clerk, Clerk, Clerk, Clerk]),
        ("none in Clerk's name", token(r#"{"alg":"none"}"#, &clerks), [Clerk, Clerk, Clerk, Clerk]),
        ("M2M", "mt_abc".to_owned(), [Clerk, Clerk, Nobody, Clerk]),
        ("API key", "ak_abc".to_owned(), [Clerk, Clerk, Nobody, Clerk]),
        ("OAuth", "oat_abc".to_owned(), [Clerk, Clerk, Nobody, Clerk]),
        ("legacy's", token(r#"{"alg":"HS256"}"#, &legacys), [Legacy, Legacy, Legacy, Legacy]),
        ("HS256 of nobody's issuer", token(r#"{"alg":"HS256"}"#, &strangers), [Legacy, Legacy, Legacy, Legacy]),
        ("HS256 without issuer", token(r#"{"alg":"HS256"}"#, "{}"), [Legacy, Legacy, Legacy, Legacy]),
        ("HS256, payload unreadable", token(r#"{"alg":"HS256"}"#, "x"), [Legacy, Legacy, Legacy, Legacy]),
        (
            "HS256, issuer twice",
            token(r#"{"alg":"HS256"}"#, r#"{"iss":"a","iss":"b"}"#),
            [Legacy, Legacy, Legacy, Legacy],
        ),
        ("RS256 in legacy's name", token(r#"{"alg":"RS256"}"#, &legacys), [Legacy, Legacy, Legacy, Legacy]),
        ("RS256 of nobody's issuer", token(r#"{"alg":"RS256"}"#, &strangers), [Clerk, Legacy, Clerk, Legacy]),
        (
            "RS256, issuer with a slash",
            token(r#"{"alg":"RS256"}"#, &issued(&format!("{ISSUER}/"))),
            [Clerk, Legacy, Clerk, Legacy],
        ),
        ("RS256, payload unreadable", token(r#"{"alg":"RS256"}"#, "x"), [Clerk, Legacy, Clerk, Legacy]),
        ("none", token(r#"{"alg":"none"}"#, "{}"), [Legacy, Legacy, Legacy, Legacy]),
        ("no alg", token("{}", "{}"), [Legacy, Legacy, Legacy, Legacy]),
        ("another algorithm", token(r#"{"alg":"ES384"}"#, &strangers), [Legacy, Legacy, Legacy, Legacy]),
        ("header unreadable", token("x", &legacys), [Legacy, Legacy, Nobody, Legacy]),
        ("nothing readable", token("x", "x"), [Clerk, Legacy, Nobody, Legacy]),
        ("two parts", "a.b".to_owned(), [Clerk, Legacy, Nobody, Legacy]),
        ("opaque", "0123456789abcdef".to_owned(), [Clerk, Legacy, Nobody, Legacy]),
        ("9 KiB", token(r#"{"alg":"HS256"}"#, &"x".repeat(9000)), [Clerk, Legacy, Nobody, Legacy]),
    ];
    let (jwt, other, instances) = (jwt(), Kind::Passthrough, clerk());
    for (name, token, expected) in table {
        let found = [
            of_bearer(&token, &jwt, &instances),
            of_bearer(&token, &other, &instances),
            of_cookie(&token, &jwt, &instances),
            of_own_header(&token, &instances),
        ];
        assert_eq!(found, expected, "{name}");
        // Without `clerk` nothing is Clerk's.
        assert_eq!(of_bearer(&token, &jwt, &Instances::default()), Legacy, "{name}");
        assert_eq!(of_own_header(&token, &Instances::default()), Legacy, "{name}");
        let cookie = if expected[2] == Nobody { Nobody } else { Legacy };
        assert_eq!(of_cookie(&token, &jwt, &Instances::default()), cookie, "{name}");
    }
    assert_eq!(of_cookie("", &other, &instances), Nobody);
    assert_eq!(of_cookie("opaque", &other, &instances), Legacy);
}
