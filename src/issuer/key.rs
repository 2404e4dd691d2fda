//! Keys to sign with: secrets of HMAC, private RSA and P-256 keys. Never shown, not even by `Debug`.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaEncoding, UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::identity::legacy::{HmacAlgorithm, Secret};

/// What tokens are signed with, as `alg` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hmac(HmacAlgorithm),
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac(algorithm) => algorithm.as_str(),
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A key with the one algorithm that it serves.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Hmac(Box<hmac::Key>),
    Rsa(Box<rsa::KeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

/// Without the key.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why bytes are no key to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// Nothing that begins with `-----BEGIN … PRIVATE KEY`.
    NoPem,
    /// Everybody may have this one.
    Public,
    Encrypted,
    /// A key of another kind, or RSA below 2048 bits.
    Unfit,
    /// The machine has no randomness to make one.
    NotMade,
}

impl std::fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoPem => "this file holds no private key in PEM",
            Self::Public => "this is a public key or a certificate: nothing can be signed with it",
            Self::Encrypted => "the private key is encrypted, and nobody would be there to type its password",
            Self::Unfit => "this private key is of another kind than the algorithm asks for",
            Self::NotMade => "no key could be made",
        })
    }
}

impl std::error::Error for KeyProblem {}

impl SigningKey {
    pub fn hmac(algorithm: HmacAlgorithm, secret: &Secret) -> Self {
        Self { algorithm: Algorithm::Hmac(algorithm), pair: Pair::Hmac(Box::new(secret.key(algorithm))) }
    }

    /// Reads PEM: PKCS#8, PKCS#1 (RSA) or SEC 1 (P-256).
    ///
    /// # Errors
    /// [`KeyProblem`]; of an HMAC algorithm always, which has a secret.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyProblem> {
        let has = |text: &[u8]| pem.windows(text.len()).any(|piece| piece == text);
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            if has(b"ENCRYPTED") {
                KeyProblem::Encrypted
            } else if has(b"BEGIN PUBLIC KEY") || has(b"BEGIN RSA PUBLIC KEY") || has(b"BEGIN CERTIFICATE") {
                KeyProblem::Public
            } else {
                KeyProblem::NoPem
            }
        })?;
        let der = key.secret_der();
        let pair = match (algorithm, &key) {
            (Algorithm::Hmac(_), _) => return Err(KeyProblem::Unfit),
            (Algorithm::Rs256, PrivateKeyDer::Pkcs8(_)) => rsa::KeyPair::from_pkcs8(der).map(Box::new).map(Pair::Rsa),
            (Algorithm::Rs256, _) => rsa::KeyPair::from_der(der).map(Box::new).map(Pair::Rsa),
            (Algorithm::Es256, PrivateKeyDer::Pkcs8(_)) => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Box::new).map(Pair::Ec)
            }
            (Algorithm::Es256, _) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Box::new).map(Pair::Ec)
            }
        };
        Ok(Self { algorithm, pair: pair.map_err(|_| KeyProblem::Unfit)? })
    }

    /// Makes a key, as PEM (PKCS#8). RSA takes a second or so.
    ///
    /// # Errors
    /// [`KeyProblem`].
    pub fn make(algorithm: Algorithm) -> Result<String, KeyProblem> {
        let der = match algorithm {
            Algorithm::Hmac(_) => return Err(KeyProblem::Unfit),
            Algorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyProblem::NotMade)?;
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyProblem::NotMade)?;
                STANDARD.encode(der.as_ref())
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyProblem::NotMade)?;
                STANDARD.encode(pair.to_pkcs8v1().map_err(|_| KeyProblem::NotMade)?.as_ref())
            }
        };
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let mut rest = der.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = more;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `None` when the machine has no randomness.
    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = &RSA_PKCS1_SHA256;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
        }
    }

    /// Whether this key made a signature; never of a secret.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Hmac(_) | Pair::Rsa(_) => false,
            Pair::Ec(pair) => {
                let public = pair.public_key();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.as_ref()).verify(message, signature).is_ok()
            }
        }
    }

    /// The token of this header ([`Self::header`]) and payload, in its compact form.
    pub(super) fn token(&self, header: &str, payload: &str) -> Option<String> {
        let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 360);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }

    /// The encoded header of its tokens: `alg`, `typ`, `kid` where there is one, and one more that only crossgate knows.
    pub(super) fn header(&self, kid: Option<&str>, kind: &str, private: Option<(&str, &str)>) -> String {
        let mut header = Map::new();
        let members = [("alg", self.algorithm.as_str()), ("typ", kind)];
        for (name, value) in members.into_iter().chain(kid.map(|kid| ("kid", kid))).chain(private) {
            header.insert(name.to_owned(), value.into());
        }
        URL_SAFE_NO_PAD.encode(Value::Object(header).to_string())
    }

    /// The public half as a JSON Web Key with its thumbprint (RFC 7638) as `kid`; none of a secret.
    pub(super) fn jwk(&self) -> Option<(String, Value)> {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // `serde_json` writes members in the order of their names, as the thumbprint wants them.
        let required = match &self.pair {
            Pair::Hmac(_) => return None,
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
                let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).ok()?;
                let Ok(PublicKey::RSA(numbers)) = info.parsed() else { return None };
                let trim = |bytes: &[u8]| {
                    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
                    b64(bytes.get(first..).unwrap_or_default())
                };
                json!({ "e": trim(numbers.exponent), "kty": "RSA", "n": trim(numbers.modulus) })
            }
            Pair::Ec(pair) => {
                // Uncompressed: 4, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33)?, point.get(33..65)?);
                json!({ "crv": "P-256", "kty": "EC", "x": b64(x), "y": b64(y) })
            }
        };
        let kid = b64(digest::digest(&digest::SHA256, required.to_string().as_bytes()).as_ref());
        let mut jwk = required;
        let more = [("alg", self.algorithm.as_str()), ("kid", &kid), ("use", "sig")];
        jwk.as_object_mut()?.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
        Some((kid, jwk))
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, KeyProblem, SigningKey};
    use crate::identity::legacy::{HmacAlgorithm, Secret};

    #[test]
    fn what_a_key_file_holds() {
        let (rsa, ec) = (SigningKey::make(Algorithm::Rs256).unwrap(), SigningKey::make(Algorithm::Es256).unwrap());
        let public = "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let table: [(&str, Algorithm, &str, Option<KeyProblem>); 8] = [
            ("its own", Algorithm::Rs256, &rsa, None),
            ("its own", Algorithm::Es256, &ec, None),
            ("another kind", Algorithm::Rs256, &ec, Some(KeyProblem::Unfit)),
            ("another kind", Algorithm::Es256, &rsa, Some(KeyProblem::Unfit)),
            ("a PEM for a secret", Algorithm::Hmac(HmacAlgorithm::Hs256), &rsa, Some(KeyProblem::Unfit)),
            ("a public key", Algorithm::Es256, public, Some(KeyProblem::Public)),
            ("an encrypted one", Algorithm::Es256, encrypted, Some(KeyProblem::Encrypted)),
            ("text", Algorithm::Es256, "secret", Some(KeyProblem::NoPem)),
        ];
        for (name, algorithm, pem, expected) in table {
            assert_eq!(SigningKey::from_pem(algorithm, pem.as_bytes()).err(), expected, "{name} {algorithm:?}");
        }
    }

    #[test]
    fn keys_are_never_shown_and_secrets_have_no_public_half() {
        let secret = Secret::from_file("a".into(), &[b'x'; 40]).unwrap();
        let key = SigningKey::hmac(HmacAlgorithm::Hs256, &secret);
        assert!(key.jwk().is_none());
        assert!(!format!("{key:?}").contains("120"), "{key:?}");
        let pem = SigningKey::make(Algorithm::Es256).unwrap();
        let key = SigningKey::from_pem(Algorithm::Es256, pem.as_bytes()).unwrap();
        let (kid, jwk) = key.jwk().unwrap();
        assert_eq!(jwk["kid"], kid);
        assert!(jwk.get("d").is_none());
        assert_eq!(kid.len(), 43);
    }
}
