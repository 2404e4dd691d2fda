//! `legacy.mint`: a token in the API's own legacy format for people who came with Clerk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::SigningKey;
use super::template::{Claims, Person};
use super::tokens::{NotSigned, Sign, Signed, Token, Tokens, payload};
use crate::clock::Now;
use crate::identity::{Facts, Method};

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
        let header = key.header(kid.as_deref(), "JWT");
        let signer = Arc::new(Signer { key, header, no_kid: "".into() });
        Self { claims, roles, signer, tokens: Arc::new(Tokens::new(ttl)) }
    }

    /// The fact that the templates ask for and this person lacks.
    pub fn lacks(&self, facts: &Facts) -> Option<&'static str> {
        self.claims.lacks(Person { facts, roles: &self.roles })
    }

    /// Whether this is a token that was minted lately, as an API may have echoed it.
    pub fn has_made(&self, token: &str) -> bool {
        self.tokens.has(token)
    }

    /// The token of this person; none for people who came with a legacy credential, which goes on, and for those who lack
    /// what it has to say.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn token(&self, facts: &Facts, now: Now) -> Result<Option<Arc<Token>>, NotSigned> {
        if facts.method == Method::Legacy {
            return Ok(None);
        }
        let Ok(claims) = self.claims.render(Person { facts, roles: &self.roles }) else { return Ok(None) };
        self.tokens.get(&claims, now, |_| true, &self.signer).map(Some)
    }
}

impl Sign for Signer {
    fn sign(&self, claims: &str, issued: i64, expires: i64) -> Option<Signed> {
        let token = self.key.token(&self.header, &payload(claims, issued, expires))?;
        Some(Signed { token, kid: Arc::clone(&self.no_kid) })
    }
}
