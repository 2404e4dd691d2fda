//! Tokens: any bytes as header and claims, unsigned, signed by the instance's key, in the header and in a cookie. No
//! panic, no unsigned token is ever good, and a good one says whose it is.
#![no_main]

use std::cell::OnceCell;
use std::sync::Arc;

use arbitrary::Arbitrary;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crossgate::clock::Now;
use crossgate::identity::cache::TokenCache;
use crossgate::identity::clerk::{
    Attempt, Checks, CookieRules, InstanceSpec, Instances, KeySet, KeySource, PublishableKey, Verifier,
};
use crossgate::identity::{HeaderNames, Verdict};
use crossgate::request::Credentials;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const ISSUER: &str = "https://clerk.example.com";
const NOW: i64 = 1_700_000_000;

#[derive(Debug, Arbitrary)]
enum Claims<'a> {
    Raw(&'a [u8]),
    /// Members laid over a good payload; the value as JSON, or as text.
    Over(Vec<(Member, &'a str)>),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Member {
    Iss, Sub, Sid, Sts, Exp, Nbf, Iat, Azp, Aud, Act, Fva, V, O, OrgId, OrgRole, OrgSlug, OrgPermissions, Fea, Pla, Workspaces, Jti,
}

impl Member {
    fn name(self) -> &'static str {
        match self {
            Self::Iss => "iss", Self::Sub => "sub", Self::Sid => "sid", Self::Sts => "sts", Self::Exp => "exp",
            Self::Nbf => "nbf", Self::Iat => "iat", Self::Azp => "azp", Self::Aud => "aud", Self::Act => "act",
            Self::Fva => "fva", Self::V => "v", Self::O => "o", Self::OrgId => "org_id", Self::OrgRole => "org_role",
            Self::OrgSlug => "org_slug", Self::OrgPermissions => "org_permissions", Self::Fea => "fea",
            Self::Pla => "pla", Self::Workspaces => "workspaces", Self::Jti => "jti",
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    header: Option<&'a [u8]>,
    claims: Claims<'a>,
    signed: bool,
    in_cookie: bool,
    suffixed: bool,
    other_cookies: &'a [u8],
}

struct World {
    key: KeyPair,
    instances: Instances,
    cache: TokenCache,
    names: HeaderNames,
}

thread_local! {
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

fn fail(what: impl std::fmt::Display) -> ! {
    panic!("{what}")
}

fn world() -> World {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap_or_else(|_| fail("no key"));
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap_or_else(|_| fail("no public key"));
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der.as_ref()));
    let spec = InstanceSpec {
        name: Arc::from("first"),
        issuer: Arc::from(ISSUER),
        publishable_key: Some(
            PublishableKey::parse("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k").unwrap_or_else(|problem| fail(format!("{problem:?}"))),
        ),
        keys: KeySource::Set(KeySet::from_pem(&pem).unwrap_or_else(|problem| fail(format!("{problem:?}")))),
        checks: Checks::default(),
        cookies: CookieRules::default(),
probe: None,
    };
    World {
        key,
        instances: Instances::new(vec![spec], None).unwrap_or_else(|problem| fail(format!("{problem:?}"))),
        cache: TokenCache::new(64, 1 << 20),
        names: HeaderNames::new(|_| None),
    }
}

fn payload(claims: &Claims<'_>) -> Vec<u8> {
    match claims {
        Claims::Raw(bytes) => bytes.to_vec(),
        Claims::Over(members) => {
            let mut good = serde_json::json!({
                "iss": ISSUER, "sub": "user_1", "sid": "sess_1", "sts": "active", "v": 2,
                "iat": NOW - 10, "nbf": NOW - 20, "exp": NOW + 50,
            });
            for (member, text) in members {
                good[member.name()] = serde_json::from_str(text).unwrap_or_else(|_| Value::String((*text).to_owned()));
            }
            good.to_string().into_bytes()
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    WORLD.with(|cell| {
        let world = cell.get_or_init(world);
        let header = input.header.unwrap_or(br#"{"alg":"RS256","typ":"JWT"}"#);
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload(&input.claims)));
        let mut signature = vec![0; world.key.public_modulus_len()];
        if input.signed {
            let _ = world.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        }
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&signature));
        let mut headers = HeaderMap::new();
        if input.in_cookie {
            let name = if input.suffixed {
                format!("__session_{}", crossgate::identity::clerk::cookie_suffix("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k"))
            } else {
                "__session".to_owned()
            };
            let line = [format!("{name}={token}; ").as_bytes(), input.other_cookies].concat();
            let Ok(value) = HeaderValue::from_bytes(&line) else { return };
            headers.insert(COOKIE, value);
        } else {
            let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) else { return };
            headers.insert(AUTHORIZATION, value);
        }
        let Ok(credentials) = Credentials::read(&headers) else { fail("one line is not ambiguous") };
        let verifier = Verifier {
            instances: &world.instances,
            cache: &world.cache,
            headers: &world.names,
            linking: &crossgate::identity::Linking::default(),
            workspaces_claim: Some(&["workspaces".to_owned()]),
        };
        let now = Now::at_unix_ms(NOW * 1000);
        if let Ok(Verdict::Valid { identity, .. }) = verifier.verify(&credentials, now, Attempt::First) {
            assert!(input.signed, "unsigned, and good");
            assert!(identity.facts.subject.starts_with("user_"), "{}", identity.facts.subject);
            for (name, value) in &identity.headers {
                assert!(value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{name}: {value:?}");
            }
        }
    });
});
