//! What the tests of this folder share: an instance with its own RSA key, tokens made to order, a frozen clock.
//!
//! Compiled for tests only.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use serde_json::{Value, json};

use super::{
    Attempt, Checks, CookieRules, InstanceSpec, Instances, KeySet, KeySource, KeyUrl, Pause, PublishableKey, SetKind,
    Verifier, pem,
};
use crate::clock::Now;
use crate::identity::cache::TokenCache;
use crate::identity::{HeaderNames, Linking, Verdict};
use crate::request::credential::Credentials;

pub(in crate::identity) const ISSUER: &str = "https://clerk.example.com";
/// `clerk.example.com`, production; its suffix is what the tests call `SUFFIX`.
pub(in crate::identity) const PUBLISHABLE_KEY: &str = "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k";
pub(in crate::identity) const KID: &str = "ins_1";
/// The clock stands still here.
pub(in crate::identity) const NOW_S: i64 = 1_700_000_000;

pub(in crate::identity) fn now() -> Now {
    static START: LazyLock<Now> = LazyLock::new(|| Now::at_unix_ms(NOW_S * 1000));
    *START
}

pub(in crate::identity) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An RSA key with which an instance, or an attacker, signs.
pub(in crate::identity) struct Signer {
    key: KeyPair,
}

pub(in crate::identity) static OURS: LazyLock<Signer> = LazyLock::new(Signer::generate);
pub(in crate::identity) static OTHER: LazyLock<Signer> = LazyLock::new(Signer::generate);

impl Signer {
    pub(in crate::identity) fn generate() -> Self {
        Self { key: KeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    pub(in crate::identity) fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().unwrap();
        let lines: Vec<String> = STANDARD
            .encode(der.as_ref())
            .as_bytes()
            .chunks(64)
            .map(|c| String::from_utf8(c.to_vec()).unwrap())
            .collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    pub(in crate::identity) fn numbers(&self) -> (Vec<u8>, Vec<u8>) {
        match pem::public_key(&self.pem()).unwrap() {
            pem::PublicKey::Rsa { modulus, exponent } => (modulus, exponent),
            other => panic!("no RSA key: {other:?}"),
        }
    }

    pub(in crate::identity) fn jwk(&self, kid: &str) -> Value {
        let (n, e) = self.numbers();
        let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": encode(n), "e": encode(e)})
    }

    pub(in crate::identity) fn set(&self, kid: &str) -> KeySet {
        KeySet::parse_jwks(json!({"keys": [self.jwk(kid)]}).to_string().as_bytes()).unwrap()
    }

    pub(in crate::identity) fn sign(&self, signed: &str, padding: &'static dyn RsaEncoding) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        URL_SAFE_NO_PAD.encode(signature)
    }

    /// A token of exactly these texts.
    pub(in crate::identity) fn token_of(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(&signed, &RSA_PKCS1_SHA256);
        format!("{signed}.{signature}")
    }

    pub(in crate::identity) fn token(&self, payload: &Value) -> String {
        self.token_of(&json!({"alg": "RS256", "typ": "JWT", "kid": KID}).to_string(), &payload.to_string())
    }
}

/// The claims of a good session, with these on top; `null` takes one away.
pub(in crate::identity) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": "user_1", "sid": "sess_1", "azp": "https://app.example.com",
        "iat": NOW_S, "nbf": NOW_S - 10, "exp": NOW_S + 60,
    });
    let (Value::Object(all), Value::Object(changes)) = (&mut claims, changes) else { panic!("objects") };
    for (name, value) in changes {
        if value.is_null() {
            all.remove(&name);
        } else {
            all.insert(name, value);
        }
    }
    claims
}

pub(in crate::identity) fn checks() -> Checks {
    Checks { authorized_parties: vec!["https://app.example.com".to_owned()], ..Checks::default() }
}

pub(in crate::identity) fn spec(keys: KeySource) -> InstanceSpec {
    InstanceSpec {
        name: "production".into(),
        issuer: ISSUER.into(),
        publishable_key: Some(PublishableKey::parse(PUBLISHABLE_KEY).unwrap()),
        keys,
        checks: checks(),
        cookies: CookieRules::default(),
        probe: None,
    }
}

pub(in crate::identity) fn url() -> KeyUrl {
    KeyUrl {
        url: "https://clerk.example.com/.well-known/jwks.json".to_owned(),
        refresh: seconds(300),
        max_stale: seconds(24 * 3600),
        privileged_max_stale: seconds(3600),
        allow_private: false,
        kind: SetKind::Clerk,
    }
}

/// Instances, cache and the rest that a verification needs.
pub(in crate::identity) struct Bench {
    pub(in crate::identity) instances: Instances,
    pub(in crate::identity) cache: TokenCache,
    pub(in crate::identity) headers: HeaderNames,
    pub(in crate::identity) workspaces: Option<Vec<String>>,
    pub(in crate::identity) linking: Linking,
}

impl Bench {
    pub(in crate::identity) fn new(specs: Vec<InstanceSpec>) -> Self {
        Self {
            instances: Instances::new(specs, None).unwrap(),
            cache: TokenCache::new(100, 1024 * 1024),
            headers: HeaderNames::default(),
            workspaces: None,
            linking: Linking::default(),
        }
    }

    /// One instance with a fixed set.
    pub(in crate::identity) fn usual() -> Self {
        Self::new(vec![spec(KeySource::Set(OURS.set(KID)))])
    }

    pub(in crate::identity) fn verifier(&self) -> Verifier<'_> {
        Verifier {
            instances: &self.instances,
            cache: &self.cache,
            headers: &self.headers,
            linking: &self.linking,
            workspaces_claim: self.workspaces.as_deref(),
            checks: crate::identity::checks::Checks::NOBODY,
        }
    }

    pub(in crate::identity) fn keys(&self) -> Arc<super::Keys> {
        Arc::clone(&self.instances.at(0).unwrap().keys)
    }

    pub(in crate::identity) fn verify(&self, lines: &[(&'static str, &str)], now: Now) -> Result<Verdict, Pause> {
        self.verifier().verify(&credentials(lines), now, Attempt::First)
    }

    /// The verdict about a token in the header, in words.
    pub(in crate::identity) fn bearer(&self, token: &str, now: Now) -> String {
        word(&self.verify(&[("authorization", &format!("Bearer {token}"))], now))
    }

    pub(in crate::identity) fn cookie(&self, cookies: &str, now: Now) -> String {
        word(&self.verify(&[("cookie", cookies)], now))
    }
}

pub(in crate::identity) fn credentials(lines: &[(&'static str, &str)]) -> Credentials {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    Credentials::read(&headers).unwrap()
}

/// Verdicts as the tables of the tests write them.
pub(in crate::identity) fn word(verdict: &Result<Verdict, Pause>) -> String {
    match verdict {
        Ok(Verdict::Absent) => "absent".to_owned(),
        Ok(Verdict::Valid { identity, .. }) => format!("valid {}", identity.facts.subject),
        Ok(Verdict::Expired { .. }) => "expired".to_owned(),
        Ok(Verdict::Invalid { reason, .. }) => reason.as_str().to_owned(),
        Ok(Verdict::Unverifiable { .. }) => "unverifiable".to_owned(),
        Ok(Verdict::Conflict) => "conflict".to_owned(),
        Err(Pause::NeedKeys { kid, .. }) => format!("fetch {}", kid.as_deref().unwrap_or("-")),
        Err(Pause::Ambiguous) => "ambiguous".to_owned(),
        Err(Pause::Unchecked) => "unchecked".to_owned(),
    }
}
