//! Makes the tokens that cases describe, with keys of its own.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crossgate::identity::clerk::KeySet;
use serde_json::{Map, Value, json};

use crate::case::Case;

/// The instance's key and a stranger's.
pub(crate) struct Mint {
    instance: KeyPair,
    other: KeyPair,
}

/// The minted tokens of a case, by name.
pub(crate) type Tokens = Map<String, Value>;

impl Mint {
    pub(crate) fn new() -> Self {
        let generate = || KeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { instance: generate(), other: generate() }
    }

    pub(crate) fn pem(&self, other: bool) -> String {
        let key = if other { &self.other } else { &self.instance };
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der.as_ref()))
    }

    /// The instance's key under this `kid`, as a key set.
    pub(crate) fn set(&self, kid: &str) -> KeySet {
        let der = self.instance.public_key().as_ref();
        // RSAPublicKey of a 2048-bit key: 30 82 01 0a, 02 82 01 01 00, modulus, 02 03, 01 00 01.
        let modulus = URL_SAFE_NO_PAD.encode(&der[9..265]);
        let set =
            json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": modulus, "e": "AQAB"}]});
        KeySet::parse_jwks(set.to_string().as_bytes()).unwrap()
    }

    /// All tokens of a case. `missing` claims are added to payloads that lack them.
    pub(crate) fn tokens(&self, case: &Case, missing: &Map<String, Value>) -> Tokens {
        let mut minted = Tokens::new();
        for (name, spec) in &case.tokens {
            let token = match spec.get("raw").and_then(Value::as_str) {
                Some(raw) => raw.to_owned(),
                None => self.token(spec, missing, &minted),
            };
            minted.insert(name.clone(), Value::String(token));
        }
        minted
    }

    fn token(&self, spec: &Value, missing: &Map<String, Value>, minted: &Tokens) -> String {
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": "ins_1"});
        for (name, value) in spec.get("header").and_then(Value::as_object).into_iter().flatten() {
            match value {
                Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
                value => header[name] = value.clone(),
            }
        }
        let mut payload = spec["payload"].clone();
        if spec.get("nested").is_none()
            && let Some(claims) = payload.as_object_mut()
        {
            for (name, value) in missing {
                claims.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let payload = expand(&payload.to_string(), minted);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let padding: &'static dyn RsaEncoding =
            match spec.get("hash").or_else(|| header.get("alg")).and_then(Value::as_str) {
                Some("RS384") => &RSA_PKCS1_SHA384,
                Some("RS512") => &RSA_PKCS1_SHA512,
                _ => &RSA_PKCS1_SHA256,
            };
        let signature = match spec.get("sign").and_then(Value::as_str) {
            None | Some("instance") => sign(&self.instance, &signed, padding),
            Some("other") => sign(&self.other, &signed, padding),
            Some("bad") => vec![7; 256],
            Some(unknown) => panic!("no such signature: {unknown}"),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn sign(key: &KeyPair, signed: &str, padding: &'static dyn RsaEncoding) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    signature
}

/// Puts minted tokens in place of `{{NAME}}`.
pub(crate) fn expand(text: &str, minted: &Tokens) -> String {
    minted.iter().fold(text.to_owned(), |text, (name, token)| {
        text.replace(&format!("{{{{{name}}}}}"), token.as_str().unwrap_or_default())
    })
}
