//! `identity.assertion`: a signed statement of who is calling, for APIs that verify it by the published keys.
//!
//! The same bytes for one person, org and role as long as it lives: verifiers make the claims part of an identity, and
//! caches of answers hang on it. So nothing of the request is in it, and no arm.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::ring::{Ring, Schedule};
use super::template::quote;
use super::tokens::{Given, Life, NotSigned, Sign, Signed, Tokens, payload};
use crate::clock::Now;
use crate::identity::Facts;
use crate::identity::headers::role;

/// What the config says about assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionSpec {
    pub issuer: Box<str>,
    pub audience: Box<str>,
    /// Whole seconds, at least one.
    pub ttl: Duration,
    pub schedule: Schedule,
    /// `endpoints.prefix`.
    pub prefix: Box<str>,
}

/// Makes assertions. Belongs to one configuration; its keys outlive it.
#[derive(Debug)]
pub struct Assertion {
    spec: AssertionSpec,
    /// `aud` and `iss`, as they begin each payload.
    start: String,
    signer: Arc<Signer>,
    tokens: Arc<Tokens>,
}

#[derive(Debug)]
struct Signer {
    ring: Arc<Ring>,
    schedule: Schedule,
}

impl Assertion {
    pub fn new(spec: AssertionSpec, ring: Arc<Ring>) -> Self {
        let mut start = "{\"aud\":".to_owned();
        quote(&spec.audience, &mut start);
        start.push_str(",\"iss\":");
        quote(&spec.issuer, &mut start);
        let signer = Arc::new(Signer { ring, schedule: spec.schedule });
        Self { start, signer, tokens: Arc::new(Tokens::new(spec.ttl)), spec }
    }

    /// Whether another one of this would say the same by the same keys.
    pub fn is_of(&self, spec: &AssertionSpec, ring: &Arc<Ring>) -> bool {
        self.spec == *spec && Arc::ptr_eq(&self.signer.ring, ring)
    }

    pub fn issuer(&self) -> &str {
        &self.spec.issuer
    }

    pub fn audience(&self) -> &str {
        &self.spec.audience
    }

    pub fn ring(&self) -> &Arc<Ring> {
        &self.signer.ring
    }

    pub fn keys_dir(&self) -> &Path {
        self.signer.ring.folder()
    }

    pub const fn schedule(&self) -> Schedule {
        self.spec.schedule
    }

    /// The assertion about this person.
    ///
    /// # Errors
    /// [`NotSigned`], also while there is no key.
    pub fn token(&self, facts: &Facts, now: Now) -> Result<Given, NotSigned> {
        let claims = self.claims(facts);
        let ring = &self.signer.ring;
        self.tokens.get(&claims, now, |token| ring.holds(&token.kid), &self.signer)
    }

    fn claims(&self, facts: &Facts) -> String {
        let mut claims = String::with_capacity(320);
        claims.push_str(&self.start);
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                claims.push_str(",\"");
                claims.push_str(name);
                claims.push_str("\":");
                quote(value, &mut claims);
            }
        };
        add("method", Some(facts.method.as_str()));
        add("org", facts.canonical_org.as_deref().or(facts.org.as_ref().map(|org| org.id.as_str())));
        add("role", role(facts).as_deref());
        add("sub", Some(&facts.subject));
        if let Some(actor) = &facts.actor {
            claims.push_str(",\"act\":{\"sub\":");
            quote(actor, &mut claims);
            claims.push('}');
        }
        claims.push('}');
        claims
    }

    /// `/.well-known/jwks.json`.
    pub fn key_set(&self, now: Now) -> Value {
        let published = self.signer.ring.published(self.spec.schedule, now);
        json!({ "keys": published.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
    }

    /// `/.well-known/openid-configuration`.
    pub fn discovery(&self, now: Now) -> Value {
        let issuer = &*self.spec.issuer;
        let trimmed = issuer.trim_end_matches('/');
        // `<public URL>/.crossgate` is an issuer that finds everything below itself; any other finds it below the prefix.
        let base = match trimmed.ends_with(&*self.spec.prefix) {
            true => trimmed.to_owned(),
            false => format!("{trimmed}{}", self.spec.prefix),
        };
        let mut algorithms: Vec<_> =
            self.signer.ring.published(self.spec.schedule, now).iter().map(|key| key.algorithm().as_str()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{base}/.well-known/jwks.json"),
            // Nobody signs in there; readers of such documents refuse one without (OpenID Connect Discovery 1.0, 3).
            "authorization_endpoint": format!("{base}/authorize"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "claims_supported": ["iss", "aud", "sub", "exp", "iat", "org", "role", "method", "act"],
        })
    }

    /// Seconds for which caches on the way may keep the documents. Verifiers keep what they get from there for as long again
    /// as they keep any: both together must stay below the time for which a key is published before it signs.
    pub fn max_age(&self) -> u64 {
        (self.spec.schedule.overlap.as_secs() / 15).clamp(1, 300)
    }
}

impl Sign for Signer {
    fn sign(&self, claims: &str, life: Life) -> Option<Signed> {
        let key = self.ring.signer(self.schedule, life.issued.saturating_mul(1000))?;
        let token = key.token(&payload(claims, life))?;
        Some(Signed { token, kid: Arc::clone(key.kid()) })
    }
}
