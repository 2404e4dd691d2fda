use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Algorithm, JwtSpec, JwtVerifier};
use crate::clock::Now;
use crate::identity::HeaderNames;
use crate::identity::checks::Checks;
use crate::identity::clerk::testing::{NOW_S, OTHER, OURS, now, seconds, url};
use crate::identity::clerk::{Attempt, KeyAlgorithm, KeySet, KeySource, KeyUrl, SetKind};
use crate::identity::legacy::{Claims, HmacAlgorithm, Judgment, Secret};

const ISSUER: &str = "https://legacy.example.com";
const SECRET: &[u8] = &[7; 64];

static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

const fn hs(algorithm: HmacAlgorithm) -> Algorithm {
    Algorithm::Hmac(algorithm)
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// All kinds of keys in one set.
fn keys(algorithms: &[KeyAlgorithm]) -> KeySource {
    let point = EC.public_key().as_ref();
    let set = json!({"keys": [
        OURS.jwk("rsa"),
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..65])},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ED.public_key())},
        {"kty": "oct", "kid": "oct", "k": b64(SECRET)},
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": OURS.jwk("x")["n"], "e": "AQAB"},
    ]});
    let kind = SetKind::Legacy(algorithms.into());
    KeySource::Set(KeySet::parse_jwks_of(set.to_string().as_bytes(), &kind).unwrap())
}

fn secret(name: &str, bytes: &[u8]) -> Secret {
    Secret::from_file(name.into(), bytes).unwrap()
}

fn spec(algorithms: &[Algorithm]) -> JwtSpec {
    let public: Vec<_> = algorithms
        .iter()
        .filter_map(|algorithm| match algorithm {
            Algorithm::Public(algorithm) => Some(*algorithm),
            Algorithm::Hmac(_) => None,
        })
        .collect();
    JwtSpec {
        algorithms: algorithms.to_vec(),
        secrets: vec![secret("new", SECRET), secret("old", b"an older secret, of thirty-two bytes")],
        keys: (!public.is_empty()).then(|| keys(&public)),
        issuer: Some(ISSUER.into()),
        audiences: Vec::new(),
        claims: Claims::default(),
    }
}

const ALL: [Algorithm; 6] = [
    hs(HmacAlgorithm::Hs256),
    hs(HmacAlgorithm::Hs384),
    hs(HmacAlgorithm::Hs512),
    Algorithm::Public(KeyAlgorithm::Rs256),
    Algorithm::Public(KeyAlgorithm::Es256),
    Algorithm::Public(KeyAlgorithm::EdDsa),
];

fn verifier(algorithms: &[Algorithm]) -> JwtVerifier {
    JwtVerifier::new(spec(algorithms), HeaderNames::default(), Arc::default(), None)
}

fn claims(changes: Value) -> Value {
    let mut all = json!({"iss": ISSUER, "sub": "42", "iat": NOW_S, "nbf": NOW_S - 10, "exp": NOW_S + 60});
    let (Value::Object(members), Value::Object(changes)) = (&mut all, changes) else { panic!("objects") };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name)
        } else {
            members.insert(name, value)
        };
    }
    all
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], signed: &str) -> String {
    b64(hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes()))
}

/// A token of these texts, with a signature of this algorithm.
fn token_of(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = match algorithm {
        Algorithm::Hmac(HmacAlgorithm::Hs256) => mac(hmac::HMAC_SHA256, SECRET, &signed),
        Algorithm::Hmac(HmacAlgorithm::Hs384) => mac(hmac::HMAC_SHA384, SECRET, &signed),
        Algorithm::Hmac(HmacAlgorithm::Hs512) => mac(hmac::HMAC_SHA512, SECRET, &signed),
        Algorithm::Public(KeyAlgorithm::Rs256) => OURS.sign(&signed, &RSA_PKCS1_SHA256),
        Algorithm::Public(KeyAlgorithm::Es256) => b64(EC.sign(&SystemRandom::new(), signed.as_bytes()).unwrap()),
        Algorithm::Public(KeyAlgorithm::EdDsa) => b64(ED.sign(signed.as_bytes())),
    };
    format!("{signed}.{signature}")
}

const fn kid(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hmac(_) => "new",
        Algorithm::Public(KeyAlgorithm::Rs256) => "rsa",
        Algorithm::Public(KeyAlgorithm::Es256) => "ec",
        Algorithm::Public(KeyAlgorithm::EdDsa) => "ed",
    }
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.as_str(), "typ": "JWT", "kid": kid(algorithm)})
}

fn token(algorithm: Algorithm, payload: &Value) -> String {
    token_of(algorithm, &header(algorithm).to_string(), &payload.to_string())
}

fn word(judgment: &Judgment) -> String {
    match judgment {
        Judgment::Valid(identity) => format!("valid {}", identity.facts.subject),
        Judgment::Invalid(reason) => reason.as_str().to_owned(),
        Judgment::NeedKeys { kid, .. } => format!("fetch {}", kid.as_deref().unwrap_or("-")),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn judge(verifier: &JwtVerifier, token: &str, now: Now) -> String {
    judge_at(verifier, token, now, Attempt::First)
}

fn judge_at(verifier: &JwtVerifier, token: &str, now: Now, attempt: Attempt) -> String {
    word(&verifier.judge(token, verifier.known(token, now), now, attempt, Checks::NOBODY))
}

#[test]
fn each_algorithm_verifies_its_own_tokens_where_it_is_listed() {
    for signed in ALL {
        for listed in ALL {
            let token = token(signed, &claims(json!({})));
            let expected = if signed == listed { "valid 42" } else { "legacy-algorithm" };
            assert_eq!(judge(&verifier(&[listed]), &token, now()), expected, "{signed:?} where {listed:?}");
        }
        let verifier = verifier(&ALL);
        let token = token(signed, &claims(json!({})));
        assert_eq!(judge(&verifier, &token, now()), "valid 42", "{signed:?} among all");
        assert_eq!(judge(&verifier, &token, now()), "valid 42", "{signed:?} again, from memory");
        assert!(verifier.known(&token, now()).is_some());
    }
}

/// J-01, J-03, J-08, J-09: what a header may say.
#[test]
fn headers() {
    for algorithm in ALL {
        let verifier = verifier(&ALL);
        let payload = claims(json!({})).to_string();
        let with = |name: &str, value: Value| {
            let mut header = header(algorithm);
            header[name] = value;
            header.to_string()
        };
        let without = |name: &str| {
            let Value::Object(mut members) = header(algorithm) else { panic!("an object") };
            members.remove(name);
            Value::Object(members).to_string()
        };
        let table = [
            ("typ missing", without("typ"), "valid 42"),
            ("another member", with("x", json!(1)), "valid 42"),
            ("none", with("alg", json!("none")), "legacy-algorithm"),
            ("None", with("alg", json!("None")), "legacy-algorithm"),
            ("none and a space", with("alg", json!("none ")), "legacy-algorithm"),
            ("empty alg", with("alg", json!("")), "legacy-algorithm"),
            ("null alg", with("alg", json!(null)), "legacy-algorithm"),
            ("number", with("alg", json!(256)), "legacy-algorithm"),
            ("list", with("alg", json!([algorithm.as_str()])), "legacy-algorithm"),
            ("lower case", with("alg", json!(algorithm.as_str().to_lowercase())), "legacy-algorithm"),
            ("missing alg", without("alg"), "legacy-algorithm"),
            ("RS512", with("alg", json!("RS512")), "legacy-algorithm"),
            ("PS256", with("alg", json!("PS256")), "legacy-algorithm"),
            ("crit", with("crit", json!(["b64"])), "legacy-malformed"),
            ("crit null", with("crit", json!(null)), "legacy-malformed"),
            ("b64", with("b64", json!(false)), "legacy-malformed"),
            ("zip", with("zip", json!("DEF")), "legacy-malformed"),
            ("cty", with("cty", json!("JWT")), "legacy-malformed"),
            ("jwk", with("jwk", json!({})), "legacy-malformed"),
            ("jku", with("jku", json!("https://evil.example")), "legacy-malformed"),
            ("x5u", with("x5u", json!("http://169.254.169.254/")), "legacy-malformed"),
            ("at+jwt", with("typ", json!("at+jwt")), "legacy-malformed"),
            ("jwt", with("typ", json!("jwt")), "legacy-malformed"),
            ("JWE", with("typ", json!("JWE")), "legacy-malformed"),
            ("alg twice", r#"{"alg":"HS256","alg":"none"}"#.to_owned(), "legacy-malformed"),
            ("an array", r#"["HS256"]"#.to_owned(), "legacy-malformed"),
        ];
        for (name, header, expected) in table {
            assert_eq!(judge(&verifier, &token_of(algorithm, &header, &payload), now()), expected, "{name}");
        }
        let unsigned = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(&payload));
        assert_eq!(judge(&verifier, &unsigned, now()), "legacy-malformed");
        assert_eq!(judge(&verifier, unsigned.trim_end_matches('.'), now()), "legacy-malformed");
    }
}

/// J-02 and its mirror: no key is ever taken for another kind.
#[test]
fn algorithm_confusion() {
    let pem = OURS.pem();
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let (modulus, _) = OURS.numbers();
    let point = EC.public_key().as_ref();
    let materials: [(&str, &[u8]); 8] = [
        ("PEM", pem.as_bytes()),
        ("PEM without newline", pem.trim_end().as_bytes()),
        ("DER", &der),
        ("modulus", &modulus),
        ("point", point),
        ("Ed25519", ED.public_key().as_ref()),
        ("nothing", b""),
        ("JWK", b"{}"),
    ];
    let verifier = verifier(&ALL);
    for (name, material) in materials {
        for kid in ["rsa", "ec", "ed", "oct", "new", "none"] {
            let header = json!({"alg": "HS256", "kid": kid}).to_string();
            let signed = format!("{}.{}", b64(header), b64(claims(json!({})).to_string()));
            let token = format!("{signed}.{}", mac(hmac::HMAC_SHA256, material, &signed));
            assert_eq!(judge(&verifier, &token, now()), "legacy-signature", "{name} for {kid}");
        }
        assert_eq!(
            Secret::from_file("x".into(), material).is_err(),
            ["PEM", "PEM without newline", "nothing"].contains(&name)
        );
    }
    let names =
        [("RS256", "ec"), ("RS256", "ed"), ("ES256", "rsa"), ("ES256", "ed"), ("EdDSA", "rsa"), ("EdDSA", "ec")];
    for (alg, kid) in names {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let token = token_of(Algorithm::Public(KeyAlgorithm::Rs256), &header, &claims(json!({})).to_string());
        assert_eq!(judge(&verifier, &token, now()), "legacy-algorithm", "{alg} naming {kid}");
    }
    // A secret of the set is no secret of ours, and a key for encryption no key.
    for (alg, kid) in [("RS256", "enc"), ("RS256", "oct"), ("RS256", "RSA"), ("ES256", "new")] {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let token = token_of(Algorithm::Public(KeyAlgorithm::Rs256), &header, &claims(json!({})).to_string());
        assert_eq!(judge(&verifier, &token, now()), "legacy-unknown-key", "{alg} naming {kid}");
    }
}

/// J-03, J-04, J-20, J-21.
#[test]
fn signatures() {
    let verifier = verifier(&ALL);
    let payload = claims(json!({})).to_string();
    for algorithm in ALL {
        let good = token_of(algorithm, &header(algorithm).to_string(), &payload);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let forged = |bytes: &[u8]| format!("{signed}.{}", b64(bytes));
        let mut flipped = bytes.clone();
        flipped[5] ^= 1;
        let swapped = good.replacen(&b64(&payload), &b64(claims(json!({"sub": "1"})).to_string()), 1);
        let table = [
            ("flipped", forged(&flipped)),
            ("short", forged(&bytes[1..])),
            ("long", forged(&[&bytes[..], &[0]].concat())),
            ("zero", forged(&vec![0; bytes.len()])),
            ("one byte", forged(&[1])),
            ("swapped payload", swapped),
            ("padded", format!("{good}=")),
            ("another alphabet", format!("{signed}.{}+/", &signature[..signature.len() - 2])),
        ];
        for (name, token) in table {
            assert_eq!(judge(&verifier, &token, now()), "legacy-signature", "{algorithm:?}: {name}");
        }
        for (name, token) in
            [("four parts", format!("{good}.a")), ("two parts", signed.to_owned()), ("space", format!(" {good}"))]
        {
            assert_eq!(judge(&verifier, &token, now()), "legacy-malformed", "{algorithm:?}: {name}");
        }
    }
    // Signed well, in another way than the header says.
    let rs = header(Algorithm::Public(KeyAlgorithm::Rs256)).to_string();
    let signed = format!("{}.{}", b64(&rs), b64(&payload));
    for padding in [
        OURS.sign(&signed, &RSA_PKCS1_SHA512),
        OURS.sign(&signed, &RSA_PSS_SHA256),
        OTHER.sign(&signed, &RSA_PKCS1_SHA256),
    ] {
        assert_eq!(judge(&verifier, &format!("{signed}.{padding}"), now()), "legacy-signature");
    }
    assert_eq!(SHA256_OUTPUT_LEN, 32);
    let sizes = [(4000, "valid 42"), (9000, "legacy-malformed"), (70_000, "legacy-malformed")];
    for (size, expected) in sizes {
        let long = token(ALL[0], &claims(json!({"x": "y".repeat(size * 3 / 4 - 300)})));
        assert_eq!(judge(&verifier, &long, now()), expected, "{size}");
    }
}

/// J-13 to J-16, J-18, J-19.
#[test]
fn payloads() {
    for algorithm in ALL {
        let verifier = verifier(&ALL);
        let text = |text: &str| format!(r#"{{"iss":"{ISSUER}","sub":"42",{text}}}"#);
        let with = |changes: Value| claims(changes).to_string();
        let exp = |literal: &str| text(&format!(r#""exp":{literal}"#));
        let table = [
            ("exp missing", with(json!({"exp": null})), "legacy-claims"),
            ("past", with(json!({"exp": NOW_S - 60, "iat": null})), "legacy-expired"),
            ("at the leeway", with(json!({"exp": NOW_S - 5, "iat": null})), "legacy-expired"),
            ("within the leeway", with(json!({"exp": NOW_S - 4, "iat": null})), "valid 42"),
            ("fraction", exp(&format!("{}.5", NOW_S + 1)), "valid 42"),
            ("text", with(json!({"exp": "1800000000"})), "legacy-claims"),
            ("exp null", exp("null"), "legacy-claims"),
            ("negative", exp("-1"), "legacy-claims"),
            ("zero", exp("0"), "legacy-claims"),
            ("true", exp("true"), "legacy-claims"),
            ("list", exp("[1]"), "legacy-claims"),
            ("ten years", with(json!({"exp": NOW_S + 315_360_000})), "legacy-claims"),
            ("1e400", exp("1e400"), "legacy-malformed"),
            ("1e30", exp("1e30"), "legacy-claims"),
            ("2^64-1", exp("18446744073709551615"), "legacy-claims"),
            ("NaN", exp("NaN"), "legacy-malformed"),
            ("nbf ahead", with(json!({"nbf": NOW_S + 6})), "legacy-not-active-yet"),
            ("iat ahead", with(json!({"iat": NOW_S + 6})), "legacy-iat-in-the-future"),
            ("nbf text", with(json!({"nbf": "1"})), "legacy-claims"),
            ("iat behind exp", with(json!({"iat": NOW_S + 61})), "legacy-claims"),
            ("iss missing", with(json!({"iss": null})), "legacy-issuer"),
            ("iss with a slash", with(json!({"iss": format!("{ISSUER}/")})), "legacy-issuer"),
            ("iss in capitals", with(json!({"iss": ISSUER.to_uppercase()})), "legacy-issuer"),
            ("iss list", with(json!({"iss": [ISSUER]})), "legacy-issuer"),
            ("sub missing", with(json!({"sub": null})), "legacy-claims"),
            ("sub with CRLF", with(json!({"sub": "a\r\nb"})), "legacy-claims"),
            ("sub twice", text(r#""sub":"1","exp":1800000000"#), "legacy-malformed"),
            ("escaped twin", text(r#""s\u0075b":"1","exp":1800000000"#), "legacy-malformed"),
            ("nested twin", text(r#""o":{"a":1,"a":2}"#), "legacy-malformed"),
            ("array", "[]".to_owned(), "legacy-malformed"),
            ("trailing bytes", format!("{}x", with(json!({}))), "legacy-malformed"),
            ("BOM", format!("\u{feff}{}", with(json!({}))), "legacy-malformed"),
            ("too deep", format!("{{\"a\":{}", "[".repeat(2000)), "legacy-malformed"),
        ];
        for (name, payload, expected) in table {
            let token = token_of(algorithm, &header(algorithm).to_string(), &payload);
            assert_eq!(judge(&verifier, &token, now()), expected, "{algorithm:?}: {name}");
        }
    }
}

#[test]
fn audiences() {
    let mut spec = spec(&ALL);
    spec.audiences = vec!["api".to_owned(), "app".to_owned()];
    let verifier = JwtVerifier::new(spec, HeaderNames::default(), Arc::default(), None);
    let table = [
        (json!("api"), "valid 42"),
        (json!(["x", "app"]), "valid 42"),
        (json!("x"), "legacy-audience"),
        (json!([]), "legacy-audience"),
        (json!(["api", 1]), "legacy-audience"),
        (json!({"api": 1}), "legacy-audience"),
        (json!(null), "legacy-audience"),
    ];
    for (audience, expected) in table {
        let token = token(ALL[0], &claims(json!({"aud": audience})));
        assert_eq!(judge(&verifier, &token, now()), expected, "{audience}");
    }
}

/// J-05 for secrets: a name chooses, without one each is tried.
#[test]
fn secrets_rotate() {
    let verifier = verifier(&ALL[..1]);
    let signed_by = |bytes: &[u8], kid: Value| {
        let mut header = json!({"alg": "HS256"});
        if !kid.is_null() {
            header["kid"] = kid;
        }
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims(json!({})).to_string()));
        format!("{signed}.{}", mac(hmac::HMAC_SHA256, bytes, &signed))
    };
    let old: &[u8] = b"an older secret, of thirty-two bytes";
    let table = [
        ("new, no name", SECRET, json!(null), "valid 42"),
        ("old, no name", old, json!(null), "valid 42"),
        ("old by name", old, json!("old"), "valid 42"),
        ("old under the name of new", old, json!("new"), "legacy-signature"),
        ("a name of nobody's", old, json!("2024-01"), "valid 42"),
        ("a name that is none", old, json!("../../x y"), "valid 42"),
        ("a stranger's", b"somebody else's secret of 32 bytes", json!(null), "legacy-signature"),
        ("a stranger's under a name", b"somebody else's secret of 32 bytes", json!("new"), "legacy-signature"),
    ];
    for (name, bytes, kid, expected) in table {
        assert_eq!(judge(&verifier, &signed_by(bytes, kid), now()), expected, "{name}");
    }
    // The old one is gone after a reload, with what it vouched for.
    let mut later = spec(&ALL[..1]);
    later.secrets.truncate(1);
    let later = JwtVerifier::new(later, HeaderNames::default(), Arc::default(), Some(&verifier));
    assert_eq!(judge(&later, &signed_by(old, json!("old")), now()), "legacy-signature");
    assert_eq!(judge(&later, &signed_by(SECRET, json!("new")), now()), "valid 42");
}

#[test]
fn a_pem_serves_any_kid_of_its_algorithm() {
    let kind = SetKind::Legacy([KeyAlgorithm::Es256, KeyAlgorithm::Rs256].into());
    let mut spec = spec(&[Algorithm::Public(KeyAlgorithm::Es256), Algorithm::Public(KeyAlgorithm::Rs256)]);
    spec.keys = Some(KeySource::Set(KeySet::from_pem_of(&ec_pem(), &kind).unwrap()));
    let verifier = JwtVerifier::new(spec, HeaderNames::default(), Arc::default(), None);
    let es = Algorithm::Public(KeyAlgorithm::Es256);
    for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": "whatever"})] {
        assert_eq!(
            judge(&verifier, &token_of(es, &header.to_string(), &claims(json!({})).to_string()), now()),
            "valid 42"
        );
    }
    let rs = token(Algorithm::Public(KeyAlgorithm::Rs256), &claims(json!({})));
    assert_eq!(judge(&verifier, &rs, now()), "legacy-algorithm");
    // Clerk's sets take neither.
    assert!(KeySet::from_pem(&ec_pem()).is_err());
    assert!(KeySet::from_pem_of(&OURS.pem(), &SetKind::Legacy([KeyAlgorithm::EdDsa].into())).is_err());
}

fn ec_pem() -> String {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    let der: PublicKeyX509Der<'_> = EC.public_key().as_der().unwrap();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
}

#[test]
fn points_off_the_curve_are_refused() {
    let set = |x: &str, y: &str, crv: &str, kty: &str| {
        let set = json!({"keys": [{"kty": kty, "crv": crv, "kid": "k", "x": x, "y": y}]}).to_string();
        KeySet::parse_jwks_of(set.as_bytes(), &SetKind::Legacy([KeyAlgorithm::Es256, KeyAlgorithm::EdDsa].into()))
    };
    let point = EC.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
    assert!(set(&x, &y, "P-256", "EC").is_ok());
    let ones = b64([1; 32]);
    for (name, x, y, crv, kty) in [
        ("off the curve", &*x, &*ones, "P-256", "EC"),
        ("short", &*x, "AQ", "P-256", "EC"),
        ("padded", &*format!("{x}="), &*y, "P-256", "EC"),
        ("another curve", &*x, &*y, "P-384", "EC"),
        ("short Ed25519", "AQ", "", "Ed25519", "OKP"),
        ("a private curve", &*x, "", "X25519", "OKP"),
    ] {
        assert!(set(x, y, crv, kty).is_err(), "{name}");
    }
}

/// J-28 to J-31 for a fetched set.
#[test]
fn keys_that_are_not_here() {
    let es = Algorithm::Public(KeyAlgorithm::Es256);
    let mut spec = spec(&[es]);
    spec.keys = Some(KeySource::Url(KeyUrl { kind: SetKind::Legacy([KeyAlgorithm::Es256].into()), ..url() }));
    let verifier = JwtVerifier::new(spec.clone(), HeaderNames::default(), Arc::default(), None);
    let good = token(es, &claims(json!({})));
    assert_eq!(judge(&verifier, &good, now()), "fetch ec");
    let expired = token(es, &claims(json!({"exp": NOW_S - 60, "iat": null})));
    assert_eq!(judge(&verifier, &expired, now()), "legacy-expired", "no key could make it good");
    let keys = Arc::clone(verifier.keys.as_ref().unwrap());
    let KeySource::Set(set) = self::keys(&[KeyAlgorithm::Es256]) else { panic!("a set") };
    keys.fetched(set, now());
    assert_eq!(judge(&verifier, &good, now()), "valid 42");
    let unknown = token_of(es, r#"{"alg":"ES256","kid":"new"}"#, &claims(json!({"iat": NOW_S + 3})).to_string());
    assert_eq!(judge(&verifier, &unknown, now()), "fetch new");
    // A reload keeps the set, and with another list of algorithms reads it anew.
    let reloaded = JwtVerifier::new(spec, HeaderNames::default(), Arc::default(), Some(&verifier));
    assert_eq!(judge(&reloaded, &good, now()), "valid 42");
    // The key is taken away: what it vouched for is looked at again.
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = other.public_key().as_ref();
    let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..65])}]});
    let set =
        KeySet::parse_jwks_of(set.to_string().as_bytes(), &SetKind::Legacy([KeyAlgorithm::Es256].into())).unwrap();
    keys.fetched(set, now());
    assert_eq!(judge(&verifier, &good, now()), "legacy-signature");
    assert_eq!(judge(&verifier, &good, now().plus(seconds(120))), "legacy-signature");
}

/// J-31: a wall clock that is set back revives nothing.
#[test]
fn a_remembered_token_ends() {
    let verifier = verifier(&ALL);
    for algorithm in ALL {
        let token = token(algorithm, &claims(json!({})));
        assert_eq!(judge(&verifier, &token, now()), "valid 42");
        assert_eq!(judge(&verifier, &token, now().plus(seconds(64))), "valid 42");
        let over = now().plus(seconds(65));
        assert_eq!(judge(&verifier, &token, over), "legacy-expired");
        let stepped_back = Now { unix_ms: now().unix_ms, ..over };
        assert_eq!(judge(&verifier, &token, stepped_back), "legacy-expired");
    }
}

#[test]
fn nothing_is_checked_of_a_suspect_but_what_is_known() {
    let verifier = verifier(&ALL);
    let token = token(ALL[0], &claims(json!({})));
    assert_eq!(judge_at(&verifier, &token, now(), Attempt::KnownOnly), "unchecked");
    assert_eq!(judge(&verifier, &token, now()), "valid 42");
    assert_eq!(judge_at(&verifier, &token, now(), Attempt::KnownOnly), "valid 42");
}
