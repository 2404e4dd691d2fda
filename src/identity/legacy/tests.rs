use serde_json::{Value, json};

use super::{
    Algorithm, Answers, Carriers, Claims, HeaderCarrier, HmacAlgorithm, JwtSpec, LegacyVerifier, Passthrough, Pause,
    Question, Secret, Spec, Verdict, Verify,
};
use crate::identity::HeaderNames;
use crate::identity::clerk::testing::{self, Bench, NOW_S, OURS, now};
use crate::identity::clerk::{Attempt, Instances};
use crate::request::CredentialLine;
use crate::request::credential::Credentials;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const SECRET: &[u8] = &[7; 32];

fn token(sub: &str, changes: &Value) -> String {
    let mut claims = json!({"sub": sub, "exp": NOW_S + 60});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(json!({"alg": "HS256"})), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn verifier(header: Option<HeaderCarrier>, cookie: Option<&str>, passthrough: bool) -> LegacyVerifier {
    let jwt = JwtSpec {
        algorithms: vec![Algorithm::Hmac(HmacAlgorithm::Hs256)],
        secrets: vec![Secret::from_file("a".into(), SECRET).unwrap()],
        keys: None,
        issuer: None,
        audiences: Vec::new(),
        claims: Claims::default(),
    };
    let verify = if passthrough { Verify::Passthrough(Passthrough { privileged: false }) } else { Verify::Jwt(jwt) };
    let spec = Spec { carriers: Carriers { header, cookie: cookie.map(Into::into) }, verify };
    LegacyVerifier::new(spec, HeaderNames::default(), &std::sync::Arc::default(), None)
}

fn own_header() -> HeaderCarrier {
    HeaderCarrier::Own(CredentialLine { header: "x-api-token".parse().unwrap(), scheme: None })
}

fn credentials(legacy: &LegacyVerifier, lines: &[(&'static str, &str)]) -> Credentials {
    let mut headers = http::HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    let line = match &legacy.carriers().header {
        Some(HeaderCarrier::Own(line)) => Some(line),
        _ => None,
    };
    Credentials::read_with(&headers, line).unwrap()
}

/// Both sides' words about one request, as the gate asks for them.
fn both(legacy: &LegacyVerifier, bench: &Bench, lines: &[(&'static str, &str)]) -> (String, String) {
    let credentials = credentials(legacy, lines);
    let clerk = bench.verifier();
    let question = Question { credentials: &credentials, clerk, foreign: &(), answers: &Answers::default() };
    let judged = match legacy.verify(&question, now(), Attempt::First) {
        Ok(judged) => judged,
        Err(pause) => return (word(&Err(pause)), String::new()),
    };
    let theirs = match judged.took_authorization {
        true => clerk.verify_cookies(&credentials, now(), Attempt::First),
        false => clerk.verify(&credentials, now(), Attempt::First),
    };
    (word(&Ok(judged.verdict)), testing::word(&theirs))
}

fn word(verdict: &Result<Verdict, Pause>) -> String {
    match verdict {
        Ok(Verdict::Valid { identity, carrier }) => format!("valid {} in the {carrier}", identity.facts.subject),
        Ok(Verdict::Invalid { reason, carrier }) => format!("{} in the {carrier}", reason.as_str()),
        Ok(verdict) => verdict.name().to_owned(),
        Err(Pause::Ambiguous) => "ambiguous".to_owned(),
        Err(pause) => format!("{pause:?}"),
    }
}

type Lines = Vec<(&'static str, String)>;

#[test]
fn two_sides_of_one_request() {
    let bench = Bench::usual();
    let legacy = verifier(Some(HeaderCarrier::Bearer), Some("__session"), false);
    let (ann, bob) = (token("ann", &json!({})), token("bob", &json!({})));
    let clerk = OURS.token(&testing::claims(json!({})));
    let forged = format!("{}A", &ann[..ann.len() - 2]);
    let bearer = |token: &str| format!("Bearer {token}");
    // Clerk's session counts only while its browser is signed in.
    let cookie = |values: &[&str]| {
        let sessions = values.iter().map(|value| format!("; __session={value}")).collect::<String>();
        format!("__client_uat=1{sessions}")
    };
    let table: Vec<(&str, Lines, &str, &str)> = vec![
        ("nothing", vec![], "absent", "absent"),
        ("legacy", vec![("authorization", bearer(&ann))], "valid ann in the header", "absent"),
        ("Clerk", vec![("authorization", bearer(&clerk))], "absent", "valid user_1"),
        ("legacy in __session", vec![("cookie", cookie(&[&ann]))], "valid ann in the cookie", "absent"),
        ("both in __session", vec![("cookie", cookie(&[&ann, &clerk]))], "valid ann in the cookie", "valid user_1"),
        ("legacy twice", vec![("cookie", cookie(&[&ann, &bob]))], "ambiguous", ""),
        ("legacy twice, equal", vec![("cookie", cookie(&[&ann, &ann]))], "ambiguous", ""),
        ("legacy beside a stranger's", vec![("cookie", cookie(&["abc", &ann]))], "valid ann in the cookie", "absent"),
        ("a stranger's cookie", vec![("cookie", cookie(&["abc"]))], "absent", "absent"),
        ("a bad one", vec![("cookie", cookie(&[&forged]))], "legacy-signature in the cookie", "absent"),
        (
            "header over cookie",
            vec![("authorization", bearer(&ann)), ("cookie", cookie(&[&ann]))],
            "valid ann in the header",
            "absent",
        ),
        ("two people", vec![("authorization", bearer(&ann)), ("cookie", cookie(&[&bob]))], "conflict", "absent"),
        (
            "a bad header is final",
            vec![("authorization", bearer(&forged)), ("cookie", cookie(&[&ann]))],
            "legacy-signature in the header",
            "absent",
        ),
        (
            "a bad cookie poisons nothing",
            vec![("authorization", bearer(&ann)), ("cookie", cookie(&[&forged]))],
            "valid ann in the header",
            "absent",
        ),
        (
            "Clerk in the header, legacy in the cookie",
            vec![("authorization", bearer(&clerk)), ("cookie", cookie(&[&ann]))],
            "valid ann in the cookie",
            "valid user_1",
        ),
        (
            "legacy in the header, Clerk in the cookie",
            vec![("authorization", bearer(&ann)), ("cookie", cookie(&[&clerk]))],
            "valid ann in the header",
            "valid user_1",
        ),
        ("garbage", vec![("authorization", bearer("garbage"))], "absent", "token-invalid"),
        ("malformed line", vec![("authorization", "Bearer a b".to_owned())], "absent", "token-invalid"),
        ("foreign scheme", vec![("authorization", "Basic YTpi".to_owned())], "absent", "absent"),
    ];
    for (name, lines, ours, theirs) in table {
        let lines: Vec<(&'static str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(both(&legacy, &bench, &lines), (ours.to_owned(), theirs.to_owned()), "{name}");
        assert_eq!(both(&legacy, &bench, &lines), (ours.to_owned(), theirs.to_owned()), "{name}, remembered");
    }
}

#[test]
fn without_clerk_every_bearer_is_legacys() {
    let bench = Bench { instances: Instances::default(), ..Bench::usual() };
    let legacy = verifier(Some(HeaderCarrier::Bearer), None, false);
    for (line, expected) in [
        ("Bearer garbage", "legacy-malformed in the header"),
        ("Bearer a b", "legacy-malformed in the header"),
        ("Bearer mt_abc", "legacy-malformed in the header"),
        ("Basic YTpi", "absent"),
    ] {
        let lines = [("authorization", line), ("cookie", "__session=abc")];
        assert_eq!(both(&legacy, &bench, &lines), (expected.to_owned(), "absent".to_owned()), "{line}");
    }
}

#[test]
fn a_header_of_its_own() {
    let bench = Bench::usual();
    let legacy = verifier(Some(own_header()), None, false);
    let ann = token("ann", &json!({}));
    let clerk = OURS.token(&testing::claims(json!({})));
    let bearer = format!("Bearer {ann}");
    for (name, lines, ours, theirs) in [
        ("its own", vec![("x-api-token", &*ann)], "valid ann in the header", "absent"),
        ("the other line is Clerk's", vec![("authorization", &*bearer)], "absent", "token-invalid-issuer"),
        ("a Clerk token proves nothing there", vec![("x-api-token", &*clerk)], "absent", "absent"),
        ("garbage", vec![("x-api-token", "abc")], "legacy-malformed in the header", "absent"),
    ] {
        assert_eq!(both(&legacy, &bench, &lines), (ours.to_owned(), theirs.to_owned()), "{name}");
    }
}

#[test]
fn a_cookie_alone() {
    let bench = Bench::usual();
    let legacy = verifier(None, Some("session"), false);
    let ann = token("ann", &json!({}));
    let clerk = OURS.token(&testing::claims(json!({})));
    let (own, other, theirs, bearer) =
        (format!("session={ann}"), format!("__session={ann}"), format!("session={clerk}"), format!("Bearer {ann}"));
    for (name, lines, ours, clerks) in [
        ("its own", vec![("cookie", &*own)], "valid ann in the cookie", "absent"),
        ("another name", vec![("cookie", &*other)], "absent", "absent"),
        ("a Clerk token", vec![("cookie", &*theirs)], "absent", "absent"),
        ("the header is Clerk's", vec![("authorization", &*bearer)], "absent", "token-invalid-issuer"),
    ] {
        assert_eq!(both(&legacy, &bench, &lines), (ours.to_owned(), clerks.to_owned()), "{name}");
    }
    assert!(legacy.owns_cookie("session", &ann, &bench.verifier(), now()));
    assert!(!legacy.owns_cookie("session", &clerk, &bench.verifier(), now()));
    assert!(!legacy.owns_cookie("__session", &ann, &bench.verifier(), now()));
}

#[test]
fn passthrough_proves_nobody() {
    let bench = Bench::usual();
    let legacy = verifier(Some(HeaderCarrier::Bearer), Some("session"), true);
    let clerk = format!("Bearer {}", OURS.token(&testing::claims(json!({}))));
    for (name, lines, ours, theirs) in [
        ("opaque", vec![("authorization", "Bearer abc")], "unproven", "absent"),
        ("cookie", vec![("cookie", "session=abc")], "unproven", "absent"),
        ("empty cookie", vec![("cookie", "session=")], "absent", "absent"),
        ("Clerk's", vec![("authorization", &*clerk)], "absent", "valid user_1"),
    ] {
        assert_eq!(both(&legacy, &bench, &lines), (ours.to_owned(), theirs.to_owned()), "{name}");
    }
    assert_eq!(legacy.passthrough(), Some(Passthrough { privileged: false }));
}

#[test]
fn what_the_api_hears_of_a_legacy_person() {
    let legacy = verifier(Some(HeaderCarrier::Bearer), None, false);
    let bench = Bench::usual();
    let claims = json!({"org": 7, "roles": ["admin", "a,b"], "workspaces": ["w1", "w2"]});
    let credentials = credentials(&legacy, &[("authorization", &format!("Bearer {}", token("ann", &claims)))]);
    let question =
        Question { credentials: &credentials, clerk: bench.verifier(), foreign: &(), answers: &Answers::default() };
    let Ok(Verdict::Valid { identity, .. }) =
        legacy.verify(&question, now(), Attempt::First).map(|judged| judged.verdict)
    else {
        panic!("valid")
    };
    let headers: Vec<_> =
        identity.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(
        headers,
        [
            "x-crossgate-subject: ann",
            "x-crossgate-legacy-user: ann",
            "x-crossgate-legacy-org: 7",
            "x-crossgate-role: admin,a%2Cb",
            "x-crossgate-workspaces: w1,w2",
            "x-crossgate-method: legacy",
            "x-crossgate-token: legacy",
        ]
    );
    assert!(identity.digest.is_some() && identity.facts.org.is_none() && identity.facts.instance.is_empty());
}
