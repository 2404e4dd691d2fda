//! The legacy side's credentials: whose they are, and whether they hold.
//!
//! ```text
//! owner ─ jwt                            told here and now, and known from then on
//!       └ lookup ─ introspect, forward   told by a server, remembered for a while
//! ```
//!
//! [`LegacyVerifier::verify`] is the one entry for requests. It never waits: where a key or an answer is missing it says
//! so ([`Pause`]), the caller awaits that and asks again. Never decides which side counts.
//!
//! # Whose credential it is
//! Told by content, never by the name of a header or cookie; each side looks only where its credentials travel. Of the
//! token of `Authorization: Bearer`, where both may look, the first line that fits decides:
//!
//! | content | with `jwt` | with another verifier |
//! |---|---|---|
//! | no `clerk` is configured | legacy | legacy |
//! | `mt_…`, `ak_…`, `oat_…` (Clerk's opaque machine tokens) | Clerk | Clerk |
//! | a JWT whose `iss` is a configured Clerk instance, whatever its `alg` | Clerk | Clerk |
//! | a JWT with the configured legacy `issuer`, or an `alg` of the allow-list | legacy | legacy |
//! | another JWT with `alg: RS256` | Clerk | legacy |
//! | another JWT (`none`, no `alg`, an algorithm of nobody's) | legacy | legacy |
//! | no JWT: its header is no base64url of strict JSON, or it is longer than 8 KiB | Clerk | legacy |
//! | a malformed line (`Bearer a b`) | Clerk; legacy without `clerk` | the same |
//!
//! Where nothing tells, a token stays Clerk's with `jwt`, so that configuring a legacy side changes no answer of before.
//! A header or scheme of the legacy side's own: whatever is not Clerk's by content (lines 2 and 3) is legacy. A cookie
//! of its own name, `__session` included: as above, but with `jwt` what is no JWT is a foreign cookie and not there at
//! all, and so is a Clerk token, which Clerk's side finds under Clerk's names only. Two legacy values under one cookie
//! name are ambiguous; a Clerk session beside a legacy token under one name is not.
//!
//! # `passthrough`
//! The credential is there and unverified ([`Verdict::Unproven`]): the API keeps checking by itself, crossgate only
//! strips and routes. It proves nobody: no identity, no identity headers, no rule that asks for one can hold. It may
//! pass where nothing is required of a person, and to privileged routes only with `privileged: true`.

mod ask;
mod breaker;
mod claims;
mod exchange;
mod forward;
mod introspect;
mod jwt;
mod login;
mod lookup;
mod memory;
mod owner;
mod reason;
mod secret;

use std::sync::Arc;

use crate::clock::{self, Now};
use crate::identity::cache::Known;
use crate::identity::checks::{self, About};
use crate::identity::clerk::{Attempt, Keys, Verifier};
use crate::identity::headers::HeaderNames;
use crate::identity::{Carrier, Facts, Identity, Linking};
use crate::request::CredentialLine;
use crate::request::credential::{Authorization, Credentials, Line};

pub use claims::{ClaimPath, Claims};
pub use exchange::{Client, Exchange, ExchangeProblem, Incoming, Outgoing};
pub use forward::{ForwardSpec, NamedHeaders};
pub use introspect::{ClientCredentials, IntrospectionSpec};
pub use jwt::{Algorithm, JwtSpec};
pub use login::Glance;
pub use lookup::{Answers, AskStats, Lookup};
pub use reason::Reason;
pub use secret::{HmacAlgorithm, Secret, SecretProblem};

use jwt::JwtVerifier;
use lookup::Lookups;
use owner::Owner;

/// What the config hands over for `legacy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub carriers: Carriers,
    pub verify: Verify,
}

/// `legacy.credential`: where credentials travel; at least one of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carriers {
    pub header: Option<HeaderCarrier>,
    pub cookie: Option<Box<str>>,
}

/// A header that is put there on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderCarrier {
    /// `Authorization: Bearer`, where Clerk's tokens travel, too.
    Bearer,
    /// Another scheme or header, which `request::Rules` must name, so that it is read.
    Own(CredentialLine),
}

/// `legacy.verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    Jwt(JwtSpec),
    Introspection(IntrospectionSpec),
    ForwardAuth(ForwardSpec),
    Passthrough(Passthrough),
}

/// `legacy.verify.passthrough`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passthrough {
    /// Unproven credentials may pass to privileged routes, too.
    pub privileged: bool,
}

/// What verification says about the legacy side of one request.
#[derive(Debug, Clone)]
pub enum Verdict {
    Absent,
    Valid {
        identity: Arc<Identity>,
        carrier: Carrier,
    },
    /// There, and not verified (`passthrough`): it proves nobody.
    Unproven {
        carrier: Carrier,
    },
    Invalid {
        reason: Reason,
        carrier: Carrier,
    },
    /// Cannot be told now: 503, never 401.
    Unverifiable {
        carrier: Carrier,
    },
    /// Header and cookie both verify and name two people.
    Conflict,
}

impl Verdict {
    /// The verdict in one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Valid { .. } => "valid",
            Self::Unproven { .. } => "unproven",
            Self::Invalid { .. } => "invalid",
            Self::Unverifiable { .. } => "unverifiable",
            Self::Conflict => "conflict",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no legacy credential was sent"),
            Self::Valid { identity, carrier } => write!(f, "{} in the {carrier}", identity.facts.subject),
            Self::Unproven { carrier } => write!(f, "a credential in the {carrier}, left to the API"),
            Self::Invalid { reason, carrier } => write!(f, "{} ({carrier})", reason.as_str()),
            Self::Unverifiable { carrier } => write!(f, "the credential in the {carrier} cannot be verified now"),
            Self::Conflict => f.write_str("header and cookie verify and name two people"),
        }
    }
}

/// A verdict, and what it means for the other side.
#[derive(Debug, Clone)]
pub struct Judged {
    pub verdict: Verdict,
    /// The Authorization line is this side's: Clerk's must judge cookies only ([`Verifier::verify_cookies`]).
    pub took_authorization: bool,
    /// The header decided, and the cookie says the same of the same person.
    pub cookie_agrees: bool,
}

/// Nothing was sent.
impl Default for Judged {
    fn default() -> Self {
        Self { verdict: Verdict::Absent, took_authorization: false, cookie_agrees: false }
    }
}

/// Why there is no verdict yet, or none at all.
#[derive(Debug)]
pub enum Pause {
    /// Await `keys.refetch(kid, now)`, then verify again with [`Attempt::Last`].
    NeedKeys { keys: Arc<Keys>, kid: Option<Box<str>> },
    /// Await [`Answers::fetch`] of these, then verify again with its answers and [`Attempt::Last`].
    NeedLookup(Vec<Lookup>),
    /// Two legacy credentials under one cookie name.
    Ambiguous,
    /// [`Attempt::KnownOnly`] met a credential that is not known.
    Unchecked,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub credentials: &'a Credentials,
    /// The other side, as far as telling credentials apart needs it; of a config without `clerk` it has no instances.
    pub clerk: Verifier<'a>,
    pub foreign: &'a dyn Foreign,
    /// What was looked up for this request.
    pub answers: &'a Answers,
}

/// Tells what is neither login's although it stands where their credentials travel: nobody judges it, and no server is
/// asked about it.
pub trait Foreign: std::fmt::Debug + Sync {
    /// Whether a text holds such a token, in any reading.
    fn is_in(&self, text: &str) -> bool;
}

/// There is nothing foreign.
impl Foreign for () {
    fn is_in(&self, _: &str) -> bool {
        false
    }
}

/// The compiled legacy side. Belongs to one configuration; keys and answers outlive a reload that leaves them alone.
#[derive(Debug)]
pub struct LegacyVerifier {
    spec: Spec,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Jwt(Box<JwtVerifier>),
    Asked(Arc<Lookups>),
    Passthrough,
}

/// One credential as it was sent.
#[derive(Debug)]
enum Sent<'a> {
    Nothing,
    /// And what is known of it, where it was verified before.
    Token(&'a str, Option<Known>),
    Malformed,
}

impl LegacyVerifier {
    /// Uses the network and the system's clock.
    pub fn new(spec: Spec, headers: HeaderNames, linking: &Arc<Linking>, previous: Option<&Self>) -> Self {
        Self::with(spec, headers, linking, previous, Arc::new(Client::default()), clock::now)
    }

    /// As [`new`](Self::new), with this network and clock.
    pub fn with(
        spec: Spec,
        headers: HeaderNames,
        linking: &Arc<Linking>,
        previous: Option<&Self>,
        network: Arc<dyn Exchange>,
        clock: fn() -> Now,
    ) -> Self {
        let before = previous.map(|previous| &previous.kind);
        let ask = |asker, cache_for| {
            // What is remembered was read by the claims of its configuration, linked by its map and rendered with its names.
            let same = previous.filter(|previous| previous.spec == spec).map(|previous| &previous.kind);
            match same {
                Some(Kind::Asked(lookups)) if lookups.makes_the_same(&headers, linking) => {
                    Kind::Asked(Arc::clone(lookups))
                }
                _ => {
                    let (headers, linking) = (headers.clone(), Arc::clone(linking));
                    Kind::Asked(Arc::new(Lookups::new(asker, headers, linking, cache_for, network, clock)))
                }
            }
        };
        let kind = match &spec.verify {
            Verify::Jwt(jwt) => {
                let before = match before {
                    Some(Kind::Jwt(before)) => Some(&**before),
                    _ => None,
                };
                Kind::Jwt(Box::new(JwtVerifier::new(jwt.clone(), headers, Arc::clone(linking), before)))
            }
            Verify::Introspection(introspection) => {
                ask(ask::Asker::Introspection(introspection.clone()), introspection.cache)
            }
            Verify::ForwardAuth(forward) => {
                ask(ask::Asker::ForwardAuth(forward.clone(), spec.carriers.clone()), forward.cache)
            }
            Verify::Passthrough(_) => Kind::Passthrough,
        };
        Self { spec, kind }
    }

    /// Where its credentials travel: what must be removed where they are not forwarded.
    pub fn carriers(&self) -> &Carriers {
        &self.spec.carriers
    }

    /// `Some` with `passthrough`.
    pub fn passthrough(&self) -> Option<Passthrough> {
        match self.spec.verify {
            Verify::Passthrough(passthrough) => Some(passthrough),
            Verify::Jwt(_) | Verify::Introspection(_) | Verify::ForwardAuth(_) => None,
        }
    }

    /// The key set of `jwt`, for the task that keeps it fresh and for whoever asks how it fares.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        match &self.kind {
            Kind::Jwt(jwt) => jwt.keys.as_ref(),
            Kind::Asked(_) | Kind::Passthrough => None,
        }
    }

    /// How the server fares that is asked, if one is.
    pub fn ask_stats(&self, now: Now) -> Option<AskStats> {
        match &self.kind {
            Kind::Asked(lookups) => Some(lookups.stats(now)),
            Kind::Jwt(_) | Kind::Passthrough => None,
        }
    }

    /// The verdict about one request.
    ///
    /// # Errors
    /// [`Pause`].
    pub fn verify(&self, question: &Question<'_>, now: Now, attempt: Attempt) -> Result<Judged, Pause> {
        let header = self.header(question, now);
        let took_authorization = self.takes_bearer() && !matches!(header, Sent::Nothing);
        let cookie = self.cookie(question, now)?;
        let told = question.clerk.checks;
        let judge = |sent, carrier| match sent {
            Sent::Nothing => Judgment::Absent,
            Sent::Malformed => {
                told.note(About::Legacy, checks::FORM, false, || "no credential of this header's form".to_owned());
                Judgment::Invalid(Reason::Malformed)
            }
            Sent::Token(token, known) => self.judge((token, known), carrier, question, now, attempt),
        };
        let (header, cookie) = (judge(header, Carrier::Header), judge(cookie, Carrier::Cookie));
        let cookie_agrees = match (&header, &cookie) {
            (Judgment::Valid(one), Judgment::Valid(other)) => say_the_same(&one.facts, &other.facts),
            _ => false,
        };
        let verdict = decide(header, cookie, attempt)?;
        Ok(Judged { verdict, took_authorization, cookie_agrees })
    }

    /// Whether the Authorization line of this request is this side's, whatever it is worth.
    pub fn takes_authorization(&self, question: &Question<'_>, now: Now) -> bool {
        self.takes_bearer() && !matches!(self.header(question, now), Sent::Nothing)
    }

    const fn takes_bearer(&self) -> bool {
        matches!(self.spec.carriers.header, Some(HeaderCarrier::Bearer))
    }

    /// Whether a cookie's value is this side's by its content; for whoever removes what is not forwarded.
    pub fn owns_cookie(&self, name: &str, value: &str, clerk: &Verifier<'_>, now: Now) -> bool {
        self.spec.carriers.cookie.as_deref() == Some(name) && self.own_cookie(value, clerk, now).is_some()
    }

    /// Whether text that was found in an unusual place is a token of either side; for the same.
    pub fn owns_token(&self, token: &str, clerk: &Verifier<'_>) -> bool {
        owner::is_ours(token, &self.kind, clerk.instances)
    }

    /// Whether a server judges this side's credentials, which may take one in several spellings.
    pub fn is_asked(&self) -> bool {
        match self.spec.verify {
            Verify::Introspection(_) | Verify::ForwardAuth(_) => true,
            Verify::Jwt(_) | Verify::Passthrough(_) => false,
        }
    }

    /// What the server that was asked about a good credential calls it, where it says so: servers may take one credential
    /// in many spellings (case, padding). A signed token has one.
    pub fn name_of(&self, facts: &Facts) -> Option<String> {
        match self.spec.verify {
            Verify::Introspection(_) => introspect::name_of(facts),
            Verify::Jwt(_) | Verify::ForwardAuth(_) | Verify::Passthrough(_) => None,
        }
    }

    /// The credentials of a request that brings this token alone, where the side looks whose it is by its content.
    pub fn carrying(&self, token: &str, clerk: &Verifier<'_>) -> Credentials {
        let Carriers { header, cookie } = &self.spec.carriers;
        match (header, cookie) {
            (Some(HeaderCarrier::Own(_)), _) if owner::of_own_header(token, clerk.instances) == Owner::Legacy => {
                Credentials::in_line(token)
            }
            (None, Some(name)) if owner::of_cookie(token, &self.kind, clerk.instances) == Owner::Legacy => {
                Credentials::in_cookie(name, token)
            }
            _ => Credentials::bearer(token),
        }
    }

    fn header<'a>(&self, question: &Question<'a>, now: Now) -> Sent<'a> {
        let Question { credentials, clerk, foreign, .. } = question;
        match &self.spec.carriers.header {
            None => Sent::Nothing,
            Some(HeaderCarrier::Bearer) => match &credentials.authorization {
                Authorization::Absent => Sent::Nothing,
                Authorization::Malformed if clerk.instances.is_empty() => Sent::Malformed,
                Authorization::Malformed => Sent::Nothing,
                Authorization::Bearer(token) if foreign.is_in(token) => Sent::Nothing,
                Authorization::Bearer(token) => self
                    .claim(token, clerk, now, || owner::of_bearer(token, &self.kind, clerk.instances))
                    .unwrap_or(Sent::Nothing),
            },
            Some(HeaderCarrier::Own(_)) => match &credentials.line {
                Line::Absent => Sent::Nothing,
                Line::Malformed => Sent::Malformed,
                Line::Token(token) if foreign.is_in(token) => Sent::Nothing,
                Line::Token(token) => match owner::of_own_header(token, clerk.instances) {
                    Owner::Legacy => Sent::Token(token, self.known(token, now)),
                    Owner::Clerk | Owner::Nobody => Sent::Nothing,
                },
            },
        }
    }

    fn cookie<'a>(&'a self, question: &Question<'a>, now: Now) -> Result<Sent<'a>, Pause> {
        let Some(name) = self.spec.carriers.cookie.as_deref() else { return Ok(Sent::Nothing) };
        let mut found = Sent::Nothing;
        for value in question.credentials.cookies.all(name) {
            if question.foreign.is_in(value) {
                continue;
            }
            let Some(own) = self.own_cookie(value, &question.clerk, now) else { continue };
            if !matches!(found, Sent::Nothing) {
                return Err(Pause::Ambiguous);
            }
            found = own;
        }
        Ok(found)
    }

    fn own_cookie<'a>(&self, value: &'a str, clerk: &Verifier<'_>, now: Now) -> Option<Sent<'a>> {
        self.claim(value, clerk, now, || owner::of_cookie(value, &self.kind, clerk.instances))
    }

    /// A token that is this side's, where Clerk's may stand, too. One that was accepted before needs no second look: the
    /// verifier that knows it owns it.
    fn claim<'a>(
        &self,
        token: &'a str,
        clerk: &Verifier<'_>,
        now: Now,
        owner: impl FnOnce() -> Owner,
    ) -> Option<Sent<'a>> {
        let known = self.known(token, now);
        let is_ours = known.is_some() || self.was_good(token) || !clerk.knows(token, now) && owner() == Owner::Legacy;
        is_ours.then_some(Sent::Token(token, known))
    }

    /// What is known of a token that was verified here.
    fn known(&self, token: &str, now: Now) -> Option<Known> {
        match &self.kind {
            Kind::Jwt(jwt) => jwt.known(token, now),
            Kind::Asked(_) | Kind::Passthrough => None,
        }
    }

    /// Whether the server that is asked called it good before.
    fn was_good(&self, token: &str) -> bool {
        match &self.kind {
            Kind::Asked(lookups) => lookups.knows(token),
            Kind::Jwt(_) | Kind::Passthrough => false,
        }
    }

    fn judge(
        &self,
        (token, known): (&str, Option<Known>),
        carrier: Carrier,
        question: &Question<'_>,
        now: Now,
        attempt: Attempt,
    ) -> Judgment {
        let told = question.clerk.checks;
        match &self.kind {
            Kind::Jwt(jwt) => jwt.judge(token, known, now, attempt, told),
            Kind::Asked(lookups) => lookup::judge(lookups, token, carrier, question.answers, now, attempt, told),
            Kind::Passthrough => {
                told.note(About::Legacy, checks::FORM, true, || "left to the API to verify".to_owned());
                Judgment::Unproven
            }
        }
    }
}

/// What is known of one carrier.
#[derive(Debug)]
enum Judgment {
    Absent,
    Valid(Arc<Identity>),
    Unproven,
    Invalid(Reason),
    NeedKeys {
        keys: Arc<Keys>,
        kid: Option<Box<str>>,
    },
    NeedLookup(Lookup),
    Unverifiable,
    /// Not known, and not to be checked now.
    Unchecked,
}

/// Whether an API that reads the one credential does what it would do by the other: another org or other roles of the same
/// person were never judged.
fn say_the_same(one: &Facts, other: &Facts) -> bool {
    one.legacy_user == other.legacy_user
        && one.legacy_org == other.legacy_org
        && one.legacy_roles == other.legacy_roles
        && one.workspaces == other.workspaces
}

/// The header decides over the cookie, which is looked at only for a second person.
fn decide(header: Judgment, cookie: Judgment, attempt: Attempt) -> Result<Verdict, Pause> {
    match (header, cookie) {
        (Judgment::Absent, cookie) => cookie.verdict(Carrier::Cookie, attempt),
        (Judgment::Valid(one), Judgment::Valid(other)) if one.facts.legacy_user != other.facts.legacy_user => {
            Ok(Verdict::Conflict)
        }
        (Judgment::NeedLookup(one), Judgment::NeedLookup(other)) if attempt != Attempt::Last => {
            Err(Pause::NeedLookup(vec![one, other]))
        }
        (Judgment::Valid(_), Judgment::NeedLookup(other)) if attempt != Attempt::Last => {
            Err(Pause::NeedLookup(vec![other]))
        }
        (header, _) => header.verdict(Carrier::Header, attempt),
    }
}

impl Judgment {
    fn verdict(self, carrier: Carrier, attempt: Attempt) -> Result<Verdict, Pause> {
        let may_wait = attempt != Attempt::Last;
        Ok(match self {
            Self::Absent => Verdict::Absent,
            Self::Valid(identity) => Verdict::Valid { identity, carrier },
            Self::Unproven => Verdict::Unproven { carrier },
            Self::Invalid(reason) => Verdict::Invalid { reason, carrier },
            Self::NeedKeys { keys, kid } if may_wait => return Err(Pause::NeedKeys { keys, kid }),
            Self::NeedLookup(lookup) if may_wait => return Err(Pause::NeedLookup(vec![lookup])),
            Self::NeedKeys { .. } | Self::NeedLookup(_) | Self::Unverifiable => Verdict::Unverifiable { carrier },
            Self::Unchecked => return Err(Pause::Unchecked),
        })
    }
}

#[cfg(test)]
mod tests;
