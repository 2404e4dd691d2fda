//! One verdict about the Clerk credentials of a request: header first, then cookies.
//!
//! Called by the gate once per request, a second time after a key was fetched. Never waits, never logs. The
//! order within a token is: known from the cache; form; issuer; key; signature; claims; time. A claim decides
//! nothing in a request's favour before its signature holds.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::claims::{self, Judged, Refusal};
use super::cookies::{self, Choice, Known, Session, TwoSessions};
use super::instance::{Instance, Instances};
use super::jwks::Key;
use super::keys::Unknown;
use super::reason::Reason;
use super::token::{self, Parts};
use crate::clock::Now;
use crate::identity::cache::{self, Entry, Proof, TokenCache};
use crate::identity::checks::{self, About, Checks};
use crate::identity::headers::{self, HeaderNames};
use crate::identity::{Carrier, Facts, Identity, Linking, Verdict};
use crate::request::credential::{Authorization, Credentials};

/// What a verification needs of the snapshot; made per request out of borrows.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    pub instances: &'a Instances,
    pub cache: &'a TokenCache,
    pub headers: &'a HeaderNames,
    pub linking: &'a Linking,
    /// Path of the claim that lists workspaces.
    pub workspaces_claim: Option<&'a [String]>,
    pub checks: Checks<'a>,
}

/// Whether the caller may still be sent to fetch a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// No signature is checked: tokens that are not known yet are [`Pause::Unchecked`].
    KnownOnly,
    First,
    /// One refetch was awaited; what is missing now stays missing.
    Last,
}

/// Why there is no verdict yet, or none at all.
#[derive(Debug)]
pub enum Pause {
    /// Await `instance.keys.refetch(kid, now)`, then verify again with [`Attempt::Last`].
    NeedKeys { instance: Arc<Instance>, kid: Option<Box<str>> },
    /// Two Clerk sessions under one cookie name.
    Ambiguous,
    /// [`Attempt::KnownOnly`] met a token that is not known.
    Unchecked,
}

impl From<TwoSessions> for Pause {
    fn from(_: TwoSessions) -> Self {
        Self::Ambiguous
    }
}

impl Verifier<'_> {
    /// The verdict about one request.
    ///
    /// # Errors
    /// [`Pause`].
    pub fn verify(&self, credentials: &Credentials, now: Now, attempt: Attempt) -> Result<Verdict, Pause> {
        // Without an instance no credential can be Clerk's: what a client sends is none of ours.
        if self.instances.is_empty() {
            return Ok(Verdict::Absent);
        }
        let header = match &credentials.authorization {
            Authorization::Absent => None,
            Authorization::Malformed => {
                self.note(checks::FORM, false, || "the Authorization line is no bearer token".to_owned());
                Some(Judgment::Invalid(Reason::TokenInvalid))
            }
            Authorization::Bearer(token) => Some(self.judge(token, now, attempt)),
        };
        let Some(header) = header else {
            return self.cookies(credentials, now, attempt)?.verdict(Carrier::Cookie, attempt);
        };
        // The header decides. The cookie is looked at only for a second person, and for two sessions in one name.
        let cookie =
            if credentials.cookies.is_empty() { Judgment::Absent } else { self.cookies(credentials, now, attempt)? };
        match (&header, &cookie) {
            (Judgment::Valid(one), Judgment::Valid(other)) if !same_person(one, other) => Ok(Verdict::Conflict),
            _ => header.verdict(Carrier::Header, attempt),
        }
    }

    /// The verdict where the Authorization line is the legacy side's: of cookies alone.
    ///
    /// # Errors
    /// [`Pause`].
    pub fn verify_cookies(&self, credentials: &Credentials, now: Now, attempt: Attempt) -> Result<Verdict, Pause> {
        self.cookies(credentials, now, attempt)?.verdict(Carrier::Cookie, attempt)
    }

    /// Whether this very token has been verified as one of Clerk's.
    pub(in crate::identity) fn knows(&self, token: &str, now: Now) -> bool {
        self.cache.find(token, |at| self.instances.keys(at), now).is_some()
    }

    /// All cookies of all instances together.
    fn cookies(&self, credentials: &Credentials, now: Now, attempt: Attempt) -> Result<Judgment, Pause> {
        let jar = &credentials.cookies;
        if jar.is_empty() {
            return Ok(Judgment::Absent);
        }
        let cache = Some(self.cache).filter(|_| !self.checks.is_heard());
        let mut plain = cookies::plain_session(jar, self.instances, cache, now)?;
        let mut together = Judgment::Absent;
        for (index, instance) in self.instances.iter().enumerate() {
            let judgment = match cookies::choose(jar, index, self.instances, cache, &mut plain, now)? {
                Choice::Absent => continue,
                Choice::Refused(reason) => {
                    self.note(checks::IN_COOKIE, false, || {
                        format!("session of {}: {}", instance.name, reason.as_str())
                    });
                    Judgment::Invalid(reason)
                }
                Choice::Judge(session) => {
                    self.note(checks::IN_COOKIE, true, || {
                        format!("session of {}, and __client_uat says signed in", instance.name)
                    });
                    self.judge_session(session, now, attempt)
                }
            };
            together = together.or(judgment);
        }
        Ok(together)
    }

    /// One token out of a header.
    fn judge(&self, token: &str, now: Now, attempt: Attempt) -> Judgment {
        if !self.checks.is_heard()
            && let Some(known) = self.cache.find(token, |at| self.instances.keys(at), now)
        {
            return known.into();
        }
        if token::is_opaque_machine_token(token) {
            self.note(checks::FORM, false, || "one of Clerk's opaque machine tokens, not a session".to_owned());
            return Judgment::Invalid(Reason::TokenTypeMismatch);
        }
        let claims = match Parts::split(token).and_then(|parts| parts.payload()) {
            Ok(claims) => claims,
            Err(reason) => {
                self.note(checks::FORM, false, || "no JWT: three parts, base64url, JSON".to_owned());
                return Judgment::Invalid(reason);
            }
        };
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        match self.instances.by_issuer(issuer) {
            Some(_) if attempt == Attempt::KnownOnly => Judgment::Unchecked,
            Some((index, _)) => self.judge_claimed(token, claims, index, now),
            None => {
                self.note(checks::FORM, true, || "a JWT".to_owned());
                self.note(checks::ISSUER, false, || {
                    format!("{}: no configured instance has this issuer", checks::shown(claims.get("iss")))
                });
                Judgment::Invalid(Reason::TokenInvalidIssuer)
            }
        }
    }

    fn judge_session(&self, session: Session<'_>, now: Now, attempt: Attempt) -> Judgment {
        match session.known {
            Known::Before(known) => known.into(),
            Known::Claimed { .. } if attempt == Attempt::KnownOnly => Judgment::Unchecked,
            Known::Claimed { claims, instance } => self.judge_claimed(session.token, claims, instance, now),
        }
    }

    /// A token whose claims, still unverified, name the instance at `index`.
    fn judge_claimed(&self, token: &str, claims: Map<String, Value>, index: usize, now: Now) -> Judgment {
        let Some(instance) = self.instances.at(index) else {
            return Judgment::Invalid(Reason::TokenInvalidIssuer);
        };
        let parts = match Parts::split(token) {
            Ok(parts) => parts,
            Err(reason) => return Judgment::Invalid(reason),
        };
        self.note(checks::FORM, true, || "a JWT".to_owned());
        self.note(checks::ISSUER, true, || format!("{} is instance {}", instance.issuer, instance.name));
        let known = instance.keys.read(now, |held| {
            let held = held.filter(|_| !self.checks.is_heard())?;
            let key = held.set.find_by_header(parts.header)?;
            Some(Lookup::Found { key: Arc::clone(key), generation: held.generation })
        });
        let (found, kid) = match known {
            Some(known) => (known, None),
            None => match self.checks.of(About::Clerk, checks::HEADER, parts.read_header(), || {
                let members = parts.header_members().unwrap_or_default();
                let member = |name: &str| format!("{name} {}", checks::shown(members.get(name)));
                ["alg", "typ", "cat"].map(member).join(", ")
            }) {
                Ok(header) => (look_up(instance, header.kid.as_deref(), now), header.kid),
                Err(reason) => return Judgment::Invalid(reason),
            },
        };
        let kid = kid.as_deref();
        self.note(checks::KEY, matches!(found, Lookup::Found { .. }), || match &found {
            Lookup::Found { .. } => format!("{} is in the key set", kid.unwrap_or("the only key")),
            Lookup::NoSuchKey => format!("{} is not in the key set", kid.unwrap_or("no name")),
            Lookup::NoKeys => "there are no keys that may be used now".to_owned(),
        });
        match found {
            Lookup::Found { key, generation } => {
                let holds = key.verifies(parts.signature, parts.signed);
                self.note(checks::SIGNATURE, holds, || {
                    (if holds { "it is this key's" } else { "it is not this key's" }).to_owned()
                });
                if !holds {
                    return Judgment::Invalid(Reason::TokenInvalidSignature);
                }
                if !self.checks.is_heard() {
                    key.remember_header(parts.header);
                    if claims::lacks_authorized_party(&claims) {
                        instance.count_missing_azp();
                    }
                }
                match claims::judge(claims, instance, self.workspaces_claim, now, self.checks) {
                    Ok(judged) => self.accept(token, judged, index, key, generation, now),
                    Err(Refusal::Expired(facts)) => self.expired(&facts),
                    Err(Refusal::Invalid(reason)) => Judgment::Invalid(reason),
                }
            }
            Lookup::NoKeys | Lookup::NoSuchKey => {
                let issued_ms = claims.get("iat").and_then(Value::as_f64).map(|seconds| (seconds * 1000.0) as i64);
                // What no key could make good is bad now: no wait, and no answer that depends on the key server.
                let legacy_user = match claims::judge(claims, instance, self.workspaces_claim, now, self.checks) {
                    Err(Refusal::Invalid(reason)) => return Judgment::Invalid(reason),
                    Err(Refusal::Expired(facts)) => self.linking.legacy_user(&facts),
                    Ok(judged) => self.linking.legacy_user(&judged.facts),
                };
                let held = matches!(found, Lookup::NoSuchKey);
                let (unknown, kid) = match (found, kid) {
                    (Lookup::NoSuchKey, None) => (Unknown::Refuse, None),
                    (Lookup::NoSuchKey, Some(kid)) => (instance.keys.unknown(kid, issued_ms, now), Some(kid)),
                    (_, kid) => (instance.keys.missing(now), kid),
                };
                match unknown {
                    // A fetch may have ended between the two looks: the set that is held now is the one to be refused by.
                    Unknown::Refuse => match (look_up(instance, kid, now), parts.payload()) {
                        (Lookup::Found { .. }, Ok(claims)) => self.judge_claimed(token, claims, index, now),
                        _ => Judgment::Invalid(Reason::KidMismatch),
                    },
                    // Whoever listens fetches nothing. A fetch that brings nothing new would end so.
                    Unknown::Ask if held && self.checks.is_heard() => Judgment::Invalid(Reason::KidMismatch),
                    Unknown::Ask => {
                        Judgment::Ask { instance: Arc::clone(instance), kid: kid.map(Into::into), legacy_user }
                    }
                    Unknown::CannotTell => Judgment::Unverifiable { held, legacy_user },
                }
            }
        }
    }

    /// Renewing would not help somebody who is gone.
    fn expired(&self, facts: &Facts) -> Judgment {
        if self.linking.is_deleted(facts) {
            return Judgment::Invalid(Reason::PrincipalDeleted);
        }
        Judgment::Expired { legacy_user: self.linking.legacy_user(facts) }
    }

    fn accept(&self, token: &str, judged: Judged, index: usize, key: Arc<Key>, generation: u64, now: Now) -> Judgment {
        let Judged { facts, good_from_ms, good_until_ms } = judged;
        let Ok(facts) = self.linking.of_clerk_told(facts, self.checks) else {
            self.note(checks::PERSON, false, || "the identity map says deleted".to_owned());
            return Judgment::Invalid(Reason::PrincipalDeleted);
        };
        let Ok(rendered) = headers::render(self.headers, &facts) else {
            self.note(checks::PERSON, false, || "too long to be told in headers".to_owned());
            return Judgment::Invalid(Reason::IdentityTooLarge);
        };
        self.note(checks::PERSON, true, || format!("{}, {}", facts.subject, facts.link.as_str()));
        let bytes = cache::weigh(token, &facts, rendered.len());
        let mut identity = Identity::new(facts, rendered);
        identity.digest = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok();
        let identity = Arc::new(identity);
        let proof = Proof::Key { key, generation, instance: index };
        let entry = Entry::new(Arc::clone(&identity), proof, (good_from_ms, good_until_ms), bytes, now);
        if !self.checks.is_heard() {
            self.cache.insert(token, entry);
        }
        Judgment::Valid(identity)
    }

    fn note(&self, name: &'static str, passed: bool, detail: impl FnOnce() -> String) {
        self.checks.note(About::Clerk, name, passed, detail);
    }
}

/// The key that a token's header names.
fn look_up(instance: &Instance, kid: Option<&str>, now: Now) -> Lookup {
    instance.keys.read(now, |held| match held {
        None => Lookup::NoKeys,
        Some(held) => match held.set.find(kid) {
            Some(key) => Lookup::Found { key: Arc::clone(key), generation: held.generation },
            None if held.set.is_named() => Lookup::NoSuchKey,
            None => Lookup::NoKeys,
        },
    })
}

enum Lookup {
    Found { key: Arc<Key>, generation: u64 },
    NoSuchKey,
    NoKeys,
}

/// What is known of one carrier.
#[derive(Debug)]
enum Judgment {
    Absent,
    Valid(Arc<Identity>),
    /// `legacy_user`: whom it names, as in [`Verdict::Expired`].
    Expired {
        legacy_user: Option<Box<str>>,
    },
    Invalid(Reason),
    Ask {
        instance: Arc<Instance>,
        kid: Option<Box<str>>,
        legacy_user: Option<Box<str>>,
    },
    /// `held`: there are keys, only not this one.
    Unverifiable {
        held: bool,
        legacy_user: Option<Box<str>>,
    },
    Conflict,
    /// Not known, and not to be checked now.
    Unchecked,
}

impl From<cache::Known> for Judgment {
    fn from(known: cache::Known) -> Self {
        match known {
            cache::Known::Good(entry) => Self::Valid(Arc::clone(&entry.identity)),
            cache::Known::Over(entry) => {
                Self::Expired { legacy_user: entry.identity.facts.legacy_user.as_deref().map(Into::into) }
            }
        }
    }
}

impl Judgment {
    /// Two instances' cookies: a good one wins over any other, two good ones must agree.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Valid(one), Self::Valid(two)) if same_person(&one, &two) => Self::Valid(one),
            (Self::Valid(_), Self::Valid(_)) | (Self::Conflict, _) | (_, Self::Conflict) => Self::Conflict,
            (Self::Valid(one), _) | (_, Self::Valid(one)) => Self::Valid(one),
            (Self::Unchecked, _) | (_, Self::Unchecked) => Self::Unchecked,
            (ask @ Self::Ask { .. }, _) | (_, ask @ Self::Ask { .. }) => ask,
            (one @ Self::Unverifiable { .. }, _) | (_, one @ Self::Unverifiable { .. }) => one,
            (one @ Self::Expired { .. }, _) | (_, one @ Self::Expired { .. }) => one,
            (Self::Absent, other) => other,
            (first @ Self::Invalid(_), Self::Invalid(_) | Self::Absent) => first,
        }
    }

    fn verdict(self, carrier: Carrier, attempt: Attempt) -> Result<Verdict, Pause> {
        Ok(match self {
            Self::Absent => Verdict::Absent,
            Self::Valid(identity) => Verdict::Valid { identity, carrier },
            Self::Expired { legacy_user } => Verdict::Expired { carrier, legacy_user },
            Self::Invalid(reason) => Verdict::Invalid { reason, carrier },
            Self::Ask { instance, kid, .. } if attempt == Attempt::First => {
                return Err(Pause::NeedKeys { instance, kid });
            }
            Self::Ask { legacy_user, .. } => Verdict::Unverifiable { held: false, legacy_user },
            Self::Unverifiable { held, legacy_user } => Verdict::Unverifiable { held, legacy_user },
            Self::Conflict => Verdict::Conflict,
            Self::Unchecked => return Err(Pause::Unchecked),
        })
    }
}

/// Users of two instances are two people, whatever their ids.
fn same_person(one: &Identity, other: &Identity) -> bool {
    one.facts.instance == other.facts.instance && one.facts.clerk_user == other.facts.clerk_user
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
