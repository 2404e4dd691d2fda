//! Signed legacy tokens: HMAC by named secrets, or RS256, ES256 and EdDSA by a key set.
//!
//! The algorithms are the config's; a token only says which of them it means. An HMAC is computed with secrets alone and
//! a signature checked with public keys alone, each for its one algorithm, so that no key can be taken for another
//! kind. Order within a token: known from the cache; form; algorithm; key; signature; claims; time. Never waits: where a
//! key is missing it says so.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Judgment;
use super::claims::Claims;
use super::reason::Reason;
use super::secret::{HmacAlgorithm, Secret};
use crate::clock::Now;
use crate::identity::cache::{Entry, Known, Proof, TokenCache, weigh};
use crate::identity::checks::{self, About, Checks};
use crate::identity::clerk::token::{FORBIDDEN, Parts, is_kid};
use crate::identity::clerk::{Attempt, Key, KeyAlgorithm, KeySource, Keys, Unknown};
use crate::identity::headers::{self, HeaderNames};
use crate::identity::times::{TimeProblem, Times, Validity};
use crate::identity::{Facts, Identity, Linking};

/// As between Clerk and crossgate: clocks differ, tokens do not live on.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// `legacy.verify.jwt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSpec {
    /// The allow-list; a token of any other algorithm is refused.
    pub algorithms: Vec<Algorithm>,
    /// For `HS*`, each tried in turn: rotation without a `kid`.
    pub secrets: Vec<Secret>,
    /// For the others.
    pub keys: Option<KeySource>,
    /// Exactly the `iss` of its tokens; `None`: not compared.
    pub issuer: Option<Arc<str>>,
    /// One of these must be in `aud`; empty: not compared.
    pub audiences: Vec<String>,
    pub claims: Claims,
}

/// One algorithm of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Hmac(HmacAlgorithm),
    Public(KeyAlgorithm),
}

impl Algorithm {
    /// As `alg` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac(algorithm) => algorithm.as_str(),
            Self::Public(algorithm) => algorithm.as_str(),
        }
    }
}

#[derive(Debug)]
pub(super) struct JwtVerifier {
    algorithms: Vec<Algorithm>,
    secrets: Vec<(Arc<str>, HmacAlgorithm, hmac::Key)>,
    pub(super) keys: Option<Arc<Keys>>,
    issuer: Option<Arc<str>>,
    audiences: Vec<String>,
    claims: Claims,
    headers: HeaderNames,
    linking: Arc<Linking>,
    known: TokenCache,
}

impl JwtVerifier {
    /// Keys of `previous` are handed on where they come from the same source, so that a reload loses none.
    pub(super) fn new(spec: JwtSpec, headers: HeaderNames, linking: Arc<Linking>, previous: Option<&Self>) -> Self {
        let JwtSpec { algorithms, secrets, keys, issuer, audiences, claims } = spec;
        let hmac = |secret: &Secret| {
            let each = algorithms.iter().filter_map(|algorithm| match algorithm {
                Algorithm::Hmac(algorithm) => Some((secret.name().clone(), *algorithm, secret.key(*algorithm))),
                Algorithm::Public(_) => None,
            });
            each.collect::<Vec<_>>()
        };
        let secrets = secrets.iter().flat_map(hmac).collect();
        let label = issuer.clone().unwrap_or_else(|| "legacy".into());
        let keys = keys.map(|source| Keys::adopt(label, source, previous.and_then(|old| old.keys.as_ref())));
        Self { algorithms, secrets, keys, issuer, audiences, claims, headers, linking, known: TokenCache::default() }
    }

    /// What is known of this very token, where it has been verified here.
    pub(super) fn known(&self, token: &str, now: Now) -> Option<Known> {
        self.known.find(token, |_| self.keys.as_deref(), now)
    }

    pub(super) fn allows(&self, algorithm: &str) -> bool {
        self.algorithms.iter().any(|known| known.as_str() == algorithm)
    }

    pub(super) fn is_issuer(&self, issuer: &str) -> bool {
        self.issuer.as_deref() == Some(issuer)
    }

    /// `known`: what [`known`](Self::known) said of it.
    pub(super) fn judge(
        &self,
        token: &str,
        known: Option<Known>,
        now: Now,
        attempt: Attempt,
        told: Checks<'_>,
    ) -> Judgment {
        match known.filter(|_| !told.is_heard()) {
            Some(Known::Good(entry)) => return Judgment::Valid(Arc::clone(&entry.identity)),
            Some(Known::Over(_)) => return Judgment::Invalid(Reason::Expired),
            None => {}
        }
        if attempt == Attempt::KnownOnly {
            return Judgment::Unchecked;
        }
        self.verify(token, now, told).unwrap_or_else(|judgment| judgment)
    }

    fn verify(&self, token: &str, now: Now, told: Checks<'_>) -> Result<Judgment, Judgment> {
        let malformed = |_| Judgment::Invalid(Reason::Malformed);
        let parts = Parts::split(token).and_then(|parts| Ok((parts, parts.header_members()?))).map_err(malformed);
        let (parts, members) = told.of(About::Legacy, checks::FORM, parts, || "a JWT".to_owned())?;
        let read = Header::read(&members).and_then(|header| {
            let algorithm = self.algorithms.iter().find(|algorithm| algorithm.as_str() == header.algorithm);
            Ok((*algorithm.ok_or(Judgment::Invalid(Reason::Algorithm))?, header))
        });
        let (algorithm, header) = told.of(About::Legacy, checks::HEADER, read, || {
            let member = |name: &str| format!("{name} {}", checks::shown(members.get(name)));
            let allowed: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            format!("{}; algorithms: {}", ["alg", "typ"].map(member).join(", "), allowed.join(", "))
        })?;
        let claims = parts.payload().map_err(malformed)?;
        let proof = match algorithm {
            Algorithm::Hmac(algorithm) => {
                let proof = self.check_hmac(&parts, header.kid.as_deref(), algorithm);
                told.of(About::Legacy, checks::SIGNATURE, proof, || "by the configured secrets".to_owned())?
            }
            Algorithm::Public(algorithm) => {
                let found = self.look_up(header.kid.as_deref(), algorithm, now);
                told.note(About::Legacy, checks::KEY, matches!(found, Ok(Lookup::Found(..))), || {
                    let kid = header.kid.as_deref().unwrap_or("no name");
                    match &found {
                        Ok(Lookup::Found(..)) => format!("{kid} is in the key set"),
                        Ok(Lookup::Missing(Missing::Keys)) => "there are no keys that may be used now".to_owned(),
                        Ok(Lookup::Missing(Missing::ThisKey)) => format!("{kid} is not in the key set"),
                        Err(_) => format!("{kid} is for another algorithm"),
                    }
                });
                match found? {
                    Lookup::Found(key, generation) => {
                        let holds = key.verifies(parts.signature, parts.signed);
                        told.note(About::Legacy, checks::SIGNATURE, holds, || {
                            (if holds { "it is this key's" } else { "it is not this key's" }).to_owned()
                        });
                        if !holds {
                            return Err(Judgment::Invalid(Reason::Signature));
                        }
                        Proof::Key { key, generation, instance: 0 }
                    }
                    Lookup::Missing(missing) => return Err(self.without_key(claims, &header, missing, now, told)),
                }
            }
        };
        let (facts, validity) = self.read(claims, now, told)?;
        Ok(self.accept(token, facts, validity, proof, now, told))
    }

    /// A `kid` that names a secret chooses it. Otherwise each is tried: all of them are ours, and tokens of this kind
    /// mostly name none.
    fn check_hmac(&self, parts: &Parts<'_>, kid: Option<&str>, algorithm: HmacAlgorithm) -> Result<Proof, Judgment> {
        let bad = Judgment::Invalid(Reason::Signature);
        let Ok(tag) = URL_SAFE_NO_PAD.decode(parts.signature) else { return Err(bad) };
        let named = kid.filter(|kid| self.secrets.iter().any(|(name, _, _)| **name == **kid));
        let mut candidates = self
            .secrets
            .iter()
            .filter(|(name, for_algorithm, _)| *for_algorithm == algorithm && named.is_none_or(|kid| **name == *kid));
        let holds = candidates.any(|(_, _, key)| hmac::verify(key, parts.signed.as_bytes(), &tag).is_ok());
        if holds { Ok(Proof::Secret) } else { Err(bad) }
    }

    fn look_up(&self, kid: Option<&str>, algorithm: KeyAlgorithm, now: Now) -> Result<Lookup, Judgment> {
        let Some(keys) = &self.keys else { return Err(Judgment::Invalid(Reason::Algorithm)) };
        keys.read(now, |held| match held {
            None => Ok(Lookup::Missing(Missing::Keys)),
            Some(held) => match held.set.find(kid) {
                Some(key) if key.algorithm() == algorithm => Ok(Lookup::Found(Arc::clone(key), held.generation)),
                Some(_) => Err(Judgment::Invalid(Reason::Algorithm)),
                None => Ok(Lookup::Missing(Missing::ThisKey)),
            },
        })
    }

    /// What no key could make good is bad now: no wait, and no answer that depends on the key server.
    fn without_key(
        &self,
        claims: Map<String, Value>,
        header: &Header,
        missing: Missing,
        now: Now,
        told: Checks<'_>,
    ) -> Judgment {
        let issued_ms = claims.get("iat").and_then(Value::as_f64).map(|seconds| (seconds * 1000.0) as i64);
        if let Err(bad) = self.read(claims, now, told) {
            return bad;
        }
        let Some(keys) = &self.keys else { return Judgment::Invalid(Reason::UnknownKey) };
        let kid = header.kid.as_deref();
        let unknown = match (missing, kid) {
            (Missing::Keys, _) => keys.missing(now),
            (Missing::ThisKey, None) => Unknown::Refuse,
            (Missing::ThisKey, Some(kid)) => keys.unknown(kid, issued_ms, now),
        };
        match unknown {
            Unknown::Refuse => Judgment::Invalid(Reason::UnknownKey),
            // Whoever listens fetches nothing. A fetch that brings nothing new would end so.
            Unknown::Ask if told.is_heard() && matches!(missing, Missing::ThisKey) => {
                Judgment::Invalid(Reason::UnknownKey)
            }
            Unknown::Ask => Judgment::NeedKeys { keys: Arc::clone(keys), kid: kid.map(Into::into) },
            Unknown::CannotTell => Judgment::Unverifiable,
        }
    }

    /// Claims and times of a payload.
    fn read(&self, claims: Map<String, Value>, now: Now, told: Checks<'_>) -> Result<(Facts, Validity), Judgment> {
        let invalid = Judgment::Invalid;
        let is_from = match claims.get("iss") {
            None => self.issuer.is_none(),
            Some(Value::String(issuer)) => self.issuer.as_deref().is_none_or(|known| *known == **issuer),
            Some(_) => false,
        };
        told.note(About::Legacy, checks::ISSUER, is_from, || {
            let asked = self.issuer.as_deref().unwrap_or("not checked");
            format!("{}; configured: {asked}", checks::shown(claims.get("iss")))
        });
        if !is_from {
            return Err(invalid(Reason::Issuer));
        }
        let is_addressed = self.is_addressed(claims.get("aud"));
        told.note(About::Legacy, checks::AUDIENCE, is_addressed, || {
            let asked = if self.audiences.is_empty() { "not checked".to_owned() } else { self.audiences.join(", ") };
            format!("{}; configured: {asked}", checks::shown(claims.get("aud")))
        });
        if !is_addressed {
            return Err(invalid(Reason::Audience));
        }
        let when = if told.is_heard() { Times::told(&claims, CLOCK_SKEW, now) } else { String::new() };
        let times = Times::read(&claims, now).ok().filter(Times::has_end).ok_or(Reason::Claims);
        let read = times.and_then(|times| Ok((times, self.claims.read(claims)?)));
        let (times, facts) = told
            .of(About::Legacy, checks::CLAIMS, read, || "user, org and roles as configured".to_owned())
            .map_err(invalid)?;
        let facts = Facts { issued_at_ms: times.issued_ms(), expires_at_ms: times.expires_ms(), ..facts };
        match told.of(About::Legacy, checks::TIMES, times.judge(CLOCK_SKEW, now), || when) {
            Ok(validity) => Ok((facts, validity)),
            Err(problem) => Err(invalid(problem.into())),
        }
    }

    /// As RFC 7519 4.1.3 has it: a text or a list of texts, one of which means us.
    fn is_addressed(&self, audience: Option<&Value>) -> bool {
        let means_us = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|us| us == text));
        match audience {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(means_us),
            Some(one) => means_us(one),
            None => false,
        }
    }

    fn accept(
        &self,
        token: &str,
        facts: Facts,
        validity: Validity,
        proof: Proof,
        now: Now,
        told: Checks<'_>,
    ) -> Judgment {
        let Ok(facts) = self.linking.of_legacy(facts) else {
            told.note(About::Legacy, checks::PERSON, false, || "this id is one of somebody at Clerk".to_owned());
            return Judgment::Invalid(Reason::ClerksId);
        };
        let Ok(rendered) = headers::render(&self.headers, &facts) else {
            told.note(About::Legacy, checks::PERSON, false, || "too long to be told in headers".to_owned());
            return Judgment::Invalid(Reason::IdentityTooLarge);
        };
        told.note(About::Legacy, checks::PERSON, true, || format!("{}, {}", facts.subject, facts.link.as_str()));
        // INVARIANT: a token without an end was refused by `read`.
        let Some(good_until_ms) = validity.until_ms else { return Judgment::Invalid(Reason::Claims) };
        let bytes = weigh(token, &facts, rendered.len());
        let identity = identity(token, facts, rendered);
        let good_ms = (validity.from_ms, good_until_ms);
        let entry = Entry::new(Arc::clone(&identity), proof, good_ms, bytes, now);
        if !told.is_heard() {
            self.known.insert(token, entry);
        }
        Judgment::Valid(identity)
    }
}

/// Somebody with the digest of the credential that proved it.
pub(super) fn identity(
    token: &str,
    facts: Facts,
    rendered: Vec<(http::HeaderName, http::HeaderValue)>,
) -> Arc<Identity> {
    let mut identity = Identity::new(facts, rendered);
    identity.digest = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok();
    Arc::new(identity)
}

impl From<TimeProblem> for Reason {
    fn from(problem: TimeProblem) -> Self {
        match problem {
            TimeProblem::NotYet => Self::NotActiveYet,
            TimeProblem::IssuedInTheFuture => Self::IssuedInTheFuture,
            TimeProblem::Over => Self::Expired,
        }
    }
}

enum Lookup {
    Found(Arc<Key>, u64),
    Missing(Missing),
}

#[derive(Clone, Copy)]
enum Missing {
    /// There are none that may be used.
    Keys,
    /// The one that the token names.
    ThisKey,
}

/// What is read of a header.
struct Header {
    algorithm: String,
    kid: Option<String>,
}

impl Header {
    /// The same strictness as with Clerk's tokens: no member may change what the signature means or bring a key.
    fn read(members: &Map<String, Value>) -> Result<Self, Judgment> {
        if FORBIDDEN.iter().any(|name| members.contains_key(*name)) {
            return Err(Judgment::Invalid(Reason::Malformed));
        }
        if members.get("typ").is_some_and(|kind| kind != "JWT") {
            return Err(Judgment::Invalid(Reason::Malformed));
        }
        let Some(Value::String(algorithm)) = members.get("alg") else {
            return Err(Judgment::Invalid(Reason::Algorithm));
        };
        let kid = match members.get("kid") {
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.clone()),
            _ => None,
        };
        Ok(Self { algorithm: algorithm.clone(), kid })
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
