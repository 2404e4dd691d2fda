//! Reads one public key out of a PEM: the little DER that this takes, and none of the rest.
//!
//! Called by `jwks` at load. Strict: definite and minimal lengths, RSA, P-256 and Ed25519 only, nothing left over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// AlgorithmIdentifier of RFC 8017 A.1: OID 1.2.840.113549.1.1.1 and NULL.
const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// AlgorithmIdentifier of RFC 5480 2.1.1: id-ecPublicKey with the named curve secp256r1.
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// AlgorithmIdentifier of RFC 8410 3: id-Ed25519, no parameters.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// A key as its numbers; whether they make sense is `jwks`' matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// As SEC 1 writes a point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The key of the only block in `text`: a SubjectPublicKeyInfo (`PUBLIC KEY`) or a PKCS#1 key (`RSA PUBLIC KEY`).
pub(super) fn public_key(text: &str) -> Option<PublicKey> {
    let text = text.trim();
    if let Some(der) = block(text, "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----") {
        let info = alone(SEQUENCE, &der)?;
        let (algorithm, rest) = element(SEQUENCE, info)?;
        let bits = alone(BIT_STRING, rest)?;
        // The first byte counts unused bits; a key is whole bytes.
        let key = bits.strip_prefix(&[0])?;
        return match algorithm {
            RSA_ENCRYPTION => numbers(key),
            P256 => Some(PublicKey::P256(key.to_vec())),
            ED25519 => Some(PublicKey::Ed25519(key.to_vec())),
            _ => None,
        };
    }
    numbers(&block(text, "-----BEGIN RSA PUBLIC KEY-----", "-----END RSA PUBLIC KEY-----")?)
}

fn block(text: &str, begin: &str, end: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(begin)?.strip_suffix(end)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

/// RSAPublicKey of RFC 8017 A.1.1.
fn numbers(der: &[u8]) -> Option<PublicKey> {
    let key = alone(SEQUENCE, der)?;
    let (modulus, rest) = element(INTEGER, key)?;
    let exponent = alone(INTEGER, rest)?;
    Some(PublicKey::Rsa { modulus: positive(modulus)?, exponent: positive(exponent)? })
}

fn positive(integer: &[u8]) -> Option<Vec<u8>> {
    match integer {
        // The sign bit: a zero byte stands in front of a number whose first bit is set, and of no other.
        [0, first, ..] if *first >= 0x80 => Some(integer.get(1..)?.to_vec()),
        [first, ..] if (1..0x80).contains(first) => Some(integer.to_vec()),
        _ => None,
    }
}

/// The content of an element that fills all of `der`.
fn alone(tag: u8, der: &[u8]) -> Option<&[u8]> {
    element(tag, der).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// The content of the first element and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => rest.split_first().map(|(a, rest)| (usize::from(*a), rest)).filter(|(n, _)| *n >= 0x80)?,
        0x82 => {
            let (bytes, rest) = rest.split_first_chunk::<2>()?;
            (Some(usize::from(u16::from_be_bytes(*bytes))).filter(|n| *n > 0xff)?, rest)
        }
        // No RSA key that is accepted is longer than 64 KiB.
        _ => return None,
    };
    rest.split_at_checked(length)
}
