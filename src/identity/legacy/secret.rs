//! Secrets of HMAC-signed tokens, read at load. Never shown, not even by `Debug`.

use std::sync::Arc;

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::identity::json;

/// `HS256`, `HS384`, `HS512`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HmacAlgorithm {
    Hs256,
    Hs384,
    Hs512,
}

impl HmacAlgorithm {
    /// As `alg` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Bytes of the hash: a shorter secret is easier to guess than to forge around (RFC 7518 3.2).
    pub const fn hash_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    const fn primitive(self) -> hmac::Algorithm {
        match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
        }
    }
}

/// One secret under its name. Several stand beside each other while one replaces another.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: Arc<str>,
    bytes: Box<[u8]>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretProblem {
    Empty,
    /// A PEM or a JSON Web Key: if it is public, everybody could sign with it.
    Key,
}

impl std::fmt::Display for SecretProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "the secret is empty",
            Self::Key => "this is a PEM or a JSON Web Key, not a secret",
        })
    }
}

impl std::error::Error for SecretProblem {}

impl Secret {
    /// Takes the bytes of a file; one newline at its end belongs to the editor, not to the secret.
    ///
    /// # Errors
    /// [`SecretProblem`].
    pub fn from_file(name: Arc<str>, bytes: &[u8]) -> Result<Self, SecretProblem> {
        let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |bytes| bytes.strip_suffix(b"\r").unwrap_or(bytes));
        if bytes.is_empty() {
            return Err(SecretProblem::Empty);
        }
        let is_pem = bytes.windows(10).any(|window| window == b"-----BEGIN");
        if is_pem || is_jwk(bytes) {
            return Err(SecretProblem::Key);
        }
        Ok(Self { name, bytes: bytes.into() })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it has fewer bytes than the hash.
    pub const fn is_weak_for(&self, algorithm: HmacAlgorithm) -> bool {
        self.bytes.len() < algorithm.hash_bytes()
    }

    /// Whether both are the same secret, whatever their names.
    pub fn repeats(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    pub(crate) fn key(&self, algorithm: HmacAlgorithm) -> hmac::Key {
        hmac::Key::new(algorithm.primitive(), &self.bytes)
    }

    /// For HTTP Basic; the bytes are a client's secret then.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn is_jwk(bytes: &[u8]) -> bool {
    let Ok(Value::Object(members)) = json::parse_strict(bytes) else { return false };
    members.contains_key("kty") || members.contains_key("keys")
}

#[cfg(test)]
mod tests {
    use super::{HmacAlgorithm, Secret, SecretProblem};

    type Read<'a> = Result<&'a [u8], SecretProblem>;

    #[test]
    fn what_a_file_holds() {
        let table: [(&str, &[u8], Read<'_>); 12] = [
            ("plain", b"abc", Ok(b"abc")),
            ("one newline", b"abc\n", Ok(b"abc")),
            ("one CRLF", b"abc\r\n", Ok(b"abc")),
            ("two newlines", b"abc\n\n", Ok(b"abc\n")),
            ("spaces stay", b" abc ", Ok(b" abc ")),
            ("any bytes", b"\x00\xff", Ok(b"\x00\xff")),
            ("JSON that is no key", b"{\"a\":1}", Ok(b"{\"a\":1}")),
            ("empty", b"", Err(SecretProblem::Empty)),
            ("a newline", b"\n", Err(SecretProblem::Empty)),
            ("a PEM", b"-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n", Err(SecretProblem::Key)),
            ("a PEM behind text", b"# key\n-----BEGIN RSA PUBLIC KEY-----", Err(SecretProblem::Key)),
            ("a JWK", b"{\"kty\":\"RSA\"}", Err(SecretProblem::Key)),
        ];
        for (name, bytes, expected) in table {
            let read = Secret::from_file("a".into(), bytes);
            assert_eq!(read.as_ref().map(Secret::bytes), expected.as_ref().map(|bytes| *bytes), "{name}");
        }
    }

    #[test]
    fn weak_and_never_shown() {
        let secret = Secret::from_file("a".into(), &[b'x'; 40]).unwrap();
        let weak = [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512].map(|a| secret.is_weak_for(a));
        assert_eq!(weak, [false, true, true]);
        assert!(!format!("{secret:?}").contains("xx") && !format!("{secret:?}").contains("120"));
    }
}
