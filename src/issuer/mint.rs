//! `legacy.mint`: a token in the API's own legacy format for people who came with Clerk.
//!
//! Whoever holds the login's key verifies it as the login's own, crossgate included, so that it would pass as a legacy
//! credential in a token exchange, and a runner whose API gives it back would renew itself for ever. Hence the mark: a
//! parameter of the signed header, which verifiers ignore as they must what they do not understand (RFC 7515 4), and which
//! nobody takes away without the key. It needs no memory: restarts, reloads, replicas and a signature that is written in
//! another way change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::SigningKey;
use super::fresh::{self, Time};
use super::template::{Claims, Person};
use super::tokens::{Given, Life, NotSigned, Sign, Signed, Tokens};
use crate::clock::Now;
use crate::identity::{Facts, Method};

/// The mark.
const MARK: (&str, &str) = ("crossgate", "mint");
/// More readers in a row than unescape what a cookie or a form says.
pub(super) const ESCAPES: usize = 3;

/// `identity.roles`: a role of Clerk's, with its prefix, and the legacy ones that mean the same, in the order of the
/// config: the first is the one that tokens say.
pub type Roles = BTreeMap<Box<str>, Vec<Box<str>>>;

/// What the config says about minted tokens.
#[derive(Debug)]
pub struct MintSpec {
    pub key: SigningKey,
    pub kid: Option<Box<str>>,
    /// Whole seconds, at least one.
    pub ttl: Duration,
    pub issuer: Option<Box<str>>,
    pub audience: Vec<String>,
    pub claims: Claims,
    pub roles: Roles,
}

/// Mints tokens. Belongs to one configuration, so that no token outlives its template.
#[derive(Debug)]
pub struct Mint {
    claims: Claims,
    roles: Roles,
    signer: Arc<Signer>,
    tokens: Arc<Tokens>,
}

#[derive(Debug)]
struct Signer {
    key: SigningKey,
    header: String,
    no_kid: Arc<str>,
}

impl Mint {
    pub fn new(spec: MintSpec) -> Self {
        let MintSpec { key, kid, ttl, issuer, audience, mut claims, roles } = spec;
        if let Some(issuer) = issuer {
            claims.literal("iss", (&*issuer).into());
        }
        match <[String; 1]>::try_from(audience) {
            Ok([one]) => claims.literal("aud", one.into()),
            Err(several) if !several.is_empty() => claims.literal("aud", several.into()),
            Err(_) => {}
        }
        // A token without an end never ends.
        claims.time("exp", Time::Expires);
        claims.time("iat", Time::Issued);
        let header = key.header(kid.as_deref(), "JWT", Some(MARK));
        let signer = Arc::new(Signer { key, header, no_kid: "".into() });
        Self { claims, roles, signer, tokens: Arc::new(Tokens::new(ttl)) }
    }

    /// The fact that the templates ask for and this person lacks.
    pub fn lacks(&self, facts: &Facts) -> Option<&'static str> {
        self.claims.lacks(Person { facts, roles: &self.roles })
    }

    /// The token of this person; none for people who came with a legacy credential, which goes on, and for those who lack
    /// what it has to say.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn token(&self, facts: &Facts, now: Now) -> Result<Option<Given>, NotSigned> {
        if facts.method == Method::Legacy {
            return Ok(None);
        }
        let Ok(claims) = self.claims.render(Person { facts, roles: &self.roles }) else { return Ok(None) };
        self.tokens.get(&claims, now, |_| true, &self.signer).map(Some)
    }
}

/// Whether a text is a minted token, whoever minted it and when, or holds one: a server that judges credentials may take
/// it with escapes, padding or a word in front, as our own verifier does not.
pub fn is_minted(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..ESCAPES {
        if holds_mark(&text) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        text = unescaped(&text);
    }
    holds_mark(&text)
}

/// What is signed is the text of the header, so that no other spelling of it verifies.
fn holds_mark(text: &str) -> bool {
    let (name, value) = MARK;
    let is_marked = |piece: &str| {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(piece) else { return false };
        let members: serde_json::Result<Map<String, Value>> = serde_json::from_slice(&bytes);
        members.is_ok_and(|members| members.get(name).is_some_and(|found| found == value))
    };
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')).any(is_marked)
}

/// Without one layer of percent-encoding.
pub(super) fn unescaped(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let byte = piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, piece.get(2..)) {
            (Some(byte), Some(rest)) => {
                plain.push(char::from(byte));
                plain.push_str(rest);
            }
            _ => {
                plain.push('%');
                plain.push_str(piece);
            }
        }
    }
    plain
}

impl Sign for Signer {
    fn sign(&self, claims: &str, life: Life) -> Option<Signed> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).ok()?;
        let id = format!("{:032x}", u128::from_be_bytes(id));
        let token = self.key.token(&self.header, &fresh::fill(claims, life, &id))?;
        Some(Signed { token, kid: Arc::clone(&self.no_kid) })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{MARK, SigningKey, is_minted};
    use crate::identity::legacy::{HmacAlgorithm, Secret};
    use crate::issuer::Algorithm;

    #[test]
    fn a_minted_token_in_whatever_spelling() {
        let secret = Secret::from_file("a".into(), &[b'x'; 40]).unwrap();
        let key = SigningKey::hmac(HmacAlgorithm::Hs256, &secret);
        let ec =
            SigningKey::from_pem(Algorithm::Es256, SigningKey::make(Algorithm::Es256).unwrap().as_bytes()).unwrap();
        let token = |key: &SigningKey, kid: Option<&str>, private| {
            key.token(&key.header(kid, "JWT", private), r#"{"sub":"a"}"#).unwrap()
        };
        for minted in [token(&key, None, Some(MARK)), token(&key, Some("k1"), Some(MARK)), token(&ec, None, Some(MARK))]
        {
            let escaped: String = minted.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let (signed, _) = minted.rsplit_once('.').unwrap();
            let spellings = [
                minted.clone(),
                format!("{minted}="),
                format!("{minted}."),
                format!("{signed}.AAAA"),
                format!("Bearer%20{minted}"),
                format!("x.{minted}"),
                minted.replacen('e', "%65", 1),
                minted.replacen('e', "%2565", 1),
                minted.replace('.', "%2E"),
                format!("%zz%{escaped}"),
            ];
            for text in spellings {
                assert!(is_minted(&text), "{text}");
            }
        }
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let others = [
            token(&key, None, None),
            token(&ec, Some("crossgate"), Some(("crossgate", "other"))),
            format!("{}.e30.AA", encode(r#"{"x":{"crossgate":"mint"}}"#)),
            format!("{}.e30.AA", encode(r#"["crossgate","mint"]"#)),
            "mint".to_owned(),
            "%".to_owned(),
            "%2525252525é".to_owned(),
            String::new(),
        ];
        for text in others {
            assert!(!is_minted(&text), "{text}");
        }
    }
}
