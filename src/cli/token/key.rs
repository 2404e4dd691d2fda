//! A development signing key: made here, kept in a file, published as a key set.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// An RSA-2048 key with its id.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pair: KeyPair,
    kid: String,
}

impl SigningKey {
    pub(crate) fn make(kid: &str) -> Result<Self, String> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key can be made".to_owned())?;
        Ok(Self { pair, kid: kid.to_owned() })
    }

    /// Reads a PKCS#8 PEM, or makes a key and writes one (mode 0600).
    pub(super) fn read_or_make(path: &Path, kid: String) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let pair = from_pem(&text)
                    .ok_or_else(|| format!("{}: not an RSA private key in PKCS#8 PEM", path.display()))?;
                Ok(Self { pair, kid })
            }
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
                let key = Self::make(&kid)?;
                key.write(path).map_err(|problem| format!("{} cannot be written: {problem}", path.display()))?;
                Ok(key)
            }
            Err(problem) => Err(format!("{} cannot be read: {problem}", path.display())),
        }
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| std::io::Error::other("the key has no encoding"))?;
        let body = STANDARD.encode(der.as_ref());
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{BEGIN}")?;
        for line in body.as_bytes().chunks(64) {
            file.write_all(line)?;
            writeln!(file)?;
        }
        writeln!(file, "{END}")
    }

    /// A compact RS256 token over these claims.
    pub(crate) fn sign(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid, "cat": "cl_B7d4PD111AAA" });
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let input = format!("{}.{}", part(header.to_string()), part(Value::Object(claims.clone()).to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .map_err(|_| "the key cannot sign".to_owned())?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The public half as a key set.
    pub(crate) fn jwks(&self) -> Value {
        let public = self.pair.public_key();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": part(public.modulus().big_endian_without_leading_zero()),
            "e": part(public.exponent().big_endian_without_leading_zero()),
        }] })
    }
}

fn from_pem(text: &str) -> Option<KeyPair> {
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()?;
    KeyPair::from_pkcs8(&der).ok()
}
