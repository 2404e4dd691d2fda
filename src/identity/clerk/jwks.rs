//! A set of public keys, read whole or not at all.
//!
//! Used by `keys` (fetched and persisted sets) and by the config (file and PEM), for Clerk's instances and for a legacy
//! issuer. A set with one hostile entry is refused whole: whoever could write that entry could write the others.
//! Entries for other algorithms are no offence and are skipped. Each key is for one algorithm, which no token chooses,
//! and is made ready for verification here, so that a request builds nothing.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::pem::PublicKey;
use super::{pem, token};
use crate::identity::json;

/// More than any real set, less than what hurts.
pub const MAX_SET_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 100;
const MIN_MODULUS_BITS: usize = 2048;
/// Above it, one verification costs what a flood needs.
const MAX_MODULUS_BITS: usize = 8192;
const MIN_EXPONENT: u64 = 65_537;
/// What the crypto library takes.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// The verification keys of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// The only key, from a PEM, has no name and serves every `kid`.
    nameless: bool,
    /// A private part was published with a public key: the keys still verify, but an operator must know.
    pub leaked: bool,
}

/// Whose key set it is, which says what may stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetKind {
    /// RSA keys for RS256. An RSA key for another purpose is an offence: Clerk publishes none.
    Clerk,
    /// Keys for these algorithms. Others are skipped, as issuers publish keys for encryption beside them.
    Legacy(Box<[KeyAlgorithm]>),
}

impl SetKind {
    fn wants(&self, algorithm: KeyAlgorithm) -> bool {
        match self {
            Self::Clerk => algorithm == KeyAlgorithm::Rs256,
            Self::Legacy(wanted) => wanted.contains(&algorithm),
        }
    }
}

/// What a public key verifies. A key has one algorithm, so that no token can choose another for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl KeyAlgorithm {
    /// As `alg` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    kid: Box<str>,
    numbers: Numbers,
    /// A header, still encoded, that passed every check on a token whose signature held. Clerk stamps the same one on
    /// every token of a key, so that all but the first need not be parsed.
    header: OnceLock<Box<str>>,
}

#[derive(Debug)]
enum Numbers {
    Rsa {
        modulus: Box<[u8]>,
        exponent: u64,
        decoding: DecodingKey,
    },
    /// An uncompressed point of P-256.
    P256 {
        point: Box<[u8]>,
        key: ParsedPublicKey,
    },
    Ed25519 {
        point: Box<[u8]>,
        key: ParsedPublicKey,
    },
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rsa { modulus, exponent, .. }, Self::Rsa { modulus: other, exponent: theirs, .. }) => {
                modulus == other && exponent == theirs
            }
            (Self::P256 { point, .. }, Self::P256 { point: other, .. })
            | (Self::Ed25519 { point, .. }, Self::Ed25519 { point: other, .. }) => point == other,
            (Self::Rsa { .. } | Self::P256 { .. } | Self::Ed25519 { .. }, _) => false,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.numbers == other.numbers
    }
}

impl Eq for Key {}

/// Why a key set is refused. `at` counts entries from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySetProblem {
    TooLarge,
    /// Not strict JSON of the form `{"keys":[{…}]}`.
    Malformed,
    TooManyKeys,
    /// No key for signatures of a wanted algorithm in it.
    Empty,
    /// A key without a name cannot be told from the others.
    MissingKid {
        at: usize,
    },
    DuplicateKid {
        at: usize,
    },
    /// `use`, `key_ops` or `alg` say that the key is for something else.
    WrongPurpose {
        at: usize,
    },
    /// `n` or `e` is missing or not canonical base64url of a number.
    BadNumber {
        at: usize,
    },
    ModulusSize {
        at: usize,
        bits: usize,
    },
    /// An even modulus or exponent is no RSA key.
    Even {
        at: usize,
    },
    ExponentSize {
        at: usize,
    },
    /// `x` or `y` is missing, not canonical base64url, or no point of the curve.
    BadPoint {
        at: usize,
    },
    /// No PEM with one public key of a wanted algorithm.
    BadPem,
}

impl std::fmt::Display for KeySetProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {} KiB", MAX_SET_BYTES / 1024),
            Self::Malformed => write!(f, "not strict JSON of the form {{\"keys\": [{{…}}]}}"),
            Self::TooManyKeys => write!(f, "more than {MAX_KEYS} keys"),
            Self::Empty => write!(f, "no key for signatures of an accepted algorithm"),
            Self::MissingKid { at } => write!(f, "key {at} has no usable kid"),
            Self::DuplicateKid { at } => write!(f, "key {at} has the kid of an earlier key"),
            Self::WrongPurpose { at } => write!(f, "use, key_ops or alg of key {at} is not for RS256 signatures"),
            Self::BadPoint { at } => write!(f, "x or y of key {at} is no point of its curve"),
            Self::BadNumber { at } => write!(f, "n or e of key {at} is not canonical base64url of a number"),
            Self::ModulusSize { at, bits } => {
                write!(f, "key {at} has {bits} bits, not {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS}")
            }
            Self::Even { at } => write!(f, "n or e of key {at} is even"),
            Self::ExponentSize { at } => write!(f, "e of key {at} is below {MIN_EXPONENT} or too large"),
            Self::BadPem => write!(f, "not a PEM with one public key of an accepted algorithm"),
        }
    }
}

impl std::error::Error for KeySetProblem {}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517) of Clerk's.
    ///
    /// # Errors
    /// [`KeySetProblem`], the first one found.
    pub fn parse_jwks(bytes: &[u8]) -> Result<Self, KeySetProblem> {
        Self::parse_jwks_of(bytes, &SetKind::Clerk)
    }

    /// Reads a JSON Web Key Set.
    ///
    /// # Errors
    /// [`KeySetProblem`], the first one found.
    pub fn parse_jwks_of(bytes: &[u8], kind: &SetKind) -> Result<Self, KeySetProblem> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(KeySetProblem::TooLarge);
        }
        let set = json::parse_object(bytes).map_err(|_| KeySetProblem::Malformed)?;
        let Some(Value::Array(entries)) = set.get("keys") else { return Err(KeySetProblem::Malformed) };
        if entries.len() > MAX_KEYS {
            return Err(KeySetProblem::TooManyKeys);
        }
        let mut keys: Vec<Arc<Key>> = Vec::with_capacity(entries.len());
        let mut leaked = false;
        for (at, entry) in entries.iter().enumerate() {
            let Value::Object(entry) = entry else { return Err(KeySetProblem::Malformed) };
            let Some(algorithm) = algorithm_of(entry)?.filter(|algorithm| kind.wants(*algorithm)) else { continue };
            let key = match read_key(at, entry, algorithm) {
                Err(KeySetProblem::WrongPurpose { .. }) if matches!(kind, SetKind::Legacy(_)) => continue,
                read => read?,
            };
            if keys.iter().any(|earlier| earlier.kid == key.kid) {
                return Err(KeySetProblem::DuplicateKid { at });
            }
            leaked |= ["d", "p", "q", "dp", "dq", "qi"].iter().any(|part| entry.contains_key(*part));
            keys.push(Arc::new(key));
        }
        if keys.is_empty() {
            return Err(KeySetProblem::Empty);
        }
        Ok(Self { keys, nameless: false, leaked })
    }

    /// Reads one public key (`BEGIN PUBLIC KEY`), as Clerk's dashboard shows it. It serves whatever `kid` a token
    /// names, since a PEM has none.
    ///
    /// # Errors
    /// [`KeySetProblem`].
    pub fn from_pem(text: &str) -> Result<Self, KeySetProblem> {
        Self::from_pem_of(text, &SetKind::Clerk)
    }

    /// Reads one public key for an algorithm of `kind`.
    ///
    /// # Errors
    /// [`KeySetProblem`].
    pub fn from_pem_of(text: &str, kind: &SetKind) -> Result<Self, KeySetProblem> {
        let public = pem::public_key(text).ok_or(KeySetProblem::BadPem)?;
        let key = match &public {
            PublicKey::Rsa { modulus, exponent } => Key::rsa(0, "", modulus, exponent)?,
            PublicKey::P256(point) => Key::p256(0, "", point)?,
            PublicKey::Ed25519(point) => Key::ed25519(0, "", point)?,
        };
        if !kind.wants(key.algorithm()) {
            return Err(KeySetProblem::BadPem);
        }
        Ok(Self { keys: vec![Arc::new(key)], nameless: true, leaked: false })
    }

    /// How many keys can verify.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true of a set that was read; for completeness beside [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The names of the keys, for the admin's view; none for a PEM.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(|_| !self.nameless).map(|key| &*key.kid)
    }

    /// Whether the keys have names, so that a token must have one too.
    pub(in crate::identity) fn is_named(&self) -> bool {
        !self.nameless
    }

    /// The key that a token names. Never "any key that fits": a `kid` is compared byte for byte.
    pub(in crate::identity) fn find(&self, kid: Option<&str>) -> Option<&Arc<Key>> {
        if self.nameless {
            return self.keys.first();
        }
        let kid = kid?;
        self.keys.iter().find(|key| &*key.kid == kid)
    }

    /// The key whose tokens have had exactly this encoded header before.
    pub(in crate::identity) fn find_by_header(&self, header: &str) -> Option<&Arc<Key>> {
        self.keys.iter().find(|key| key.header.get().is_some_and(|known| **known == *header))
    }

    /// Whether this very key, name and numbers, still stands in the set.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.keys.iter().any(|held| **held == *key)
    }
}

impl Key {
    fn rsa(at: usize, kid: &str, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeySetProblem> {
        let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
            return Err(KeySetProblem::BadNumber { at });
        };
        if *first == 0 || exponent.first().is_none_or(|byte| *byte == 0) {
            return Err(KeySetProblem::BadNumber { at });
        }
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        if !(MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&bits) {
            return Err(KeySetProblem::ModulusSize { at, bits });
        }
        if exponent.len() > 8 {
            return Err(KeySetProblem::ExponentSize { at });
        }
        let number = exponent.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        if last % 2 == 0 || number % 2 == 0 {
            return Err(KeySetProblem::Even { at });
        }
        if !(MIN_EXPONENT..=MAX_EXPONENT).contains(&number) {
            return Err(KeySetProblem::ExponentSize { at });
        }
        let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(kid, Numbers::Rsa { modulus: modulus.into(), exponent: number, decoding }))
    }

    /// `point` is 4, x, y: the library looks whether it lies on the curve.
    fn p256(at: usize, kid: &str, point: &[u8]) -> Result<Self, KeySetProblem> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        let key = key.ok().filter(|_| point.len() == 65).ok_or(KeySetProblem::BadPoint { at })?;
        Ok(Self::new(kid, Numbers::P256 { point: point.into(), key }))
    }

    fn ed25519(at: usize, kid: &str, point: &[u8]) -> Result<Self, KeySetProblem> {
        let key = ParsedPublicKey::new(&ED25519, point);
        let key = key.ok().filter(|_| point.len() == 32).ok_or(KeySetProblem::BadPoint { at })?;
        Ok(Self::new(kid, Numbers::Ed25519 { point: point.into(), key }))
    }

    fn new(kid: &str, numbers: Numbers) -> Self {
        Self { kid: kid.into(), numbers, header: OnceLock::new() }
    }

    /// The only algorithm that this key verifies.
    pub(in crate::identity) const fn algorithm(&self) -> KeyAlgorithm {
        match self.numbers {
            Numbers::Rsa { .. } => KeyAlgorithm::Rs256,
            Numbers::P256 { .. } => KeyAlgorithm::Es256,
            Numbers::Ed25519 { .. } => KeyAlgorithm::EdDsa,
        }
    }

    /// Remembers the header of a token that this key has verified; only the first one counts.
    pub(in crate::identity) fn remember_header(&self, header: &str) {
        let _ = self.header.set(header.into());
    }

    /// Whether `signature` (base64url) is this key's signature of `signed`. The algorithm is the key's, never the
    /// token's.
    pub(in crate::identity) fn verifies(&self, signature: &str, signed: &str) -> bool {
        let key = match &self.numbers {
            Numbers::Rsa { decoding, .. } => {
                return jsonwebtoken::crypto::verify(signature, signed.as_bytes(), decoding, Algorithm::RS256)
                    .unwrap_or(false);
            }
            Numbers::P256 { key, .. } | Numbers::Ed25519 { key, .. } => key,
        };
        let signature = URL_SAFE_NO_PAD.decode(signature);
        signature.is_ok_and(|signature| key.verify_sig(signed.as_bytes(), &signature).is_ok())
    }
}

/// What an entry could verify; `None` for kinds of keys that never count here, symmetric ones above all.
fn algorithm_of(entry: &Map<String, Value>) -> Result<Option<KeyAlgorithm>, KeySetProblem> {
    let Some(Value::String(kind)) = entry.get("kty") else { return Err(KeySetProblem::Malformed) };
    let curve = entry.get("crv").and_then(Value::as_str);
    Ok(match (&**kind, curve) {
        ("RSA", _) => Some(KeyAlgorithm::Rs256),
        ("EC", Some("P-256")) => Some(KeyAlgorithm::Es256),
        ("OKP", Some("Ed25519")) => Some(KeyAlgorithm::EdDsa),
        _ => None,
    })
}

fn read_key(at: usize, entry: &Map<String, Value>, algorithm: KeyAlgorithm) -> Result<Key, KeySetProblem> {
    let kid = match entry.get("kid") {
        Some(Value::String(kid)) if token::is_kid(kid) => kid,
        _ => return Err(KeySetProblem::MissingKid { at }),
    };
    let is_text = |name: &str, expected: &str| match entry.get(name) {
        None => true,
        Some(Value::String(text)) => text == expected,
        Some(_) => false,
    };
    let may_verify = match entry.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    };
    if !is_text("use", "sig") || !is_text("alg", algorithm.as_str()) || !may_verify {
        return Err(KeySetProblem::WrongPurpose { at });
    }
    let bytes = |name: &str| match entry.get(name) {
        Some(Value::String(text)) => URL_SAFE_NO_PAD.decode(text).ok(),
        _ => None,
    };
    match algorithm {
        KeyAlgorithm::Rs256 => {
            let number = |name| bytes(name).ok_or(KeySetProblem::BadNumber { at });
            Key::rsa(at, kid, &number("n")?, &number("e")?)
        }
        KeyAlgorithm::Es256 => {
            let number = |name| bytes(name).filter(|n| n.len() == 32).ok_or(KeySetProblem::BadPoint { at });
            Key::p256(at, kid, &[&[4][..], &number("x")?, &number("y")?].concat())
        }
        KeyAlgorithm::EdDsa => Key::ed25519(at, kid, &bytes("x").ok_or(KeySetProblem::BadPoint { at })?),
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
