//! Runner tokens: signed in exchange for a person's credential, and verified when they come back.
//!
//! The keys are a ring of their own, so that no assertion is ever taken for a runner token nor the other way round. What
//! was verified is remembered as long as it holds, bounded, and forgotten with its configuration: who is linked, sealed or
//! gone is asked of the map that serves. Never decides who gets a token; that is the gate's exchange.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ring::{Ring, RingProblem, Schedule};
use super::{Algorithm, Once};
use crate::clock::Now;
use crate::identity::clerk::Attempt;
use crate::identity::runner::{self, Names, Presented, Reason, Terms, World};
use crate::identity::{Facts, Identity, Linking};

/// Longest token, so that any server's limit of headers takes it beside what else a request carries.
const MAX_TOKEN: usize = 6 * 1024;
/// A token that is over before its runner has begun is of no use.
const SHORTEST: Duration = Duration::from_secs(60);
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 32 << 20;

/// What the config says about runner tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerSpec {
    pub names: Names,
    /// Whole seconds.
    pub ttl: Duration,
    /// All that may be asked for.
    pub scopes: Vec<Box<str>>,
    /// Claims of credentials that the rules of runners' routes ask for.
    pub carried: Vec<Box<str>>,
}

/// Makes and verifies runner tokens. Belongs to one configuration; its keys and what was converted outlive it.
#[derive(Debug)]
pub struct Runner {
    spec: RunnerSpec,
    ring: Arc<Ring>,
    once: Arc<Once>,
    known: Cache<Box<str>, Arc<Known>, ByBytes>,
}

/// A token that was verified.
#[derive(Debug)]
struct Known {
    identity: Arc<Identity>,
    kid: String,
    good_from_ms: i64,
    good_until_ms: i64,
    /// On the monotonic clock: a wall clock that is set back revives nothing.
    deadline: Instant,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Box<str>, Arc<Known>> for ByBytes {
    fn weight(&self, token: &Box<str>, known: &Arc<Known>) -> u64 {
        const SHARE: usize = MAX_BYTES as usize / MAX_ENTRIES;
        (token.len() * 3 + known.identity.headers.len() * 160 + 1024).max(SHARE) as u64
    }
}

/// A new token.
#[derive(Debug)]
pub struct Grant {
    pub token: String,
    /// Seconds.
    pub expires_in: u64,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotGranted {
    /// There is no key, or no randomness.
    NotSigned,
    /// The person's orgs, roles and permissions do not fit.
    TooLarge,
    /// The credential that it would be made from is about to end.
    EndsTooSoon,
}

/// What came of a token that says it is one of ours.
#[derive(Debug, Clone)]
pub enum Judged {
    Valid(Arc<Identity>),
    Invalid(Reason),
    /// Not known, and not to be checked now.
    Unchecked,
}

impl Runner {
    pub fn new(spec: RunnerSpec, ring: Arc<Ring>, once: Arc<Once>) -> Self {
        Self { spec, ring, once, known: Cache::with_weighter(MAX_ENTRIES, MAX_BYTES, ByBytes) }
    }

    pub const fn spec(&self) -> &RunnerSpec {
        &self.spec
    }

    pub const fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Which legacy credentials were converted.
    pub const fn once(&self) -> &Arc<Once> {
        &self.once
    }

    pub fn keys_dir(&self) -> &Path {
        self.ring.folder()
    }

    /// Nobody but crossgate verifies, and each replica looks into the folder at least twice a minute.
    pub const fn schedule(&self) -> Schedule {
        Schedule {
            algorithm: Algorithm::Es256,
            rotate: Some(Duration::from_secs(30 * 24 * 3600)),
            overlap: Duration::from_secs(900),
            ttl: self.spec.ttl,
        }
    }

    /// Whether a token is for this side to judge, whatever it is worth: nobody else gets to see it.
    pub fn owns(&self, token: &str) -> bool {
        self.ring.begins(token) || runner::claims_to_be(token, &self.spec.names.issuer)
    }

    /// Judges a token that is [ours](Self::owns); nothing is ever fetched for it.
    pub fn judge(&self, token: &str, world: World<'_>, now: Now, attempt: Attempt) -> Judged {
        if !world.checks.is_heard()
            && let Some(known) = self.known.get(token)
            && self.ring.holds(&known.kid)
            && now.unix_ms >= known.good_from_ms
        {
            let is_over = now.unix_ms >= known.good_until_ms || now.mono >= known.deadline;
            return if is_over { Judged::Invalid(Reason::Expired) } else { Judged::Valid(Arc::clone(&known.identity)) };
        }
        if attempt == Attempt::KnownOnly {
            return Judged::Unchecked;
        }
        match self.verify(token, world, now) {
            Ok(identity) => Judged::Valid(identity),
            Err(reason) => Judged::Invalid(reason),
        }
    }

    fn verify(&self, token: &str, world: World<'_>, now: Now) -> Result<Arc<Identity>, Reason> {
        let told = world.checks;
        let presented = told.of_runner("header", Presented::read(token), || "as crossgate writes it".to_owned())?;
        let key = self.ring.find(&presented.kid, self.schedule(), now).ok_or(Reason::UnknownKey);
        let key = told.of_runner("kid", key, || presented.kid.clone())?;
        let holds = key.verifies(presented.signed.as_bytes(), &presented.signature);
        let holds = if holds { Ok(()) } else { Err(Reason::Signature) };
        told.of_runner("signature", holds, || "of crossgate's own key".to_owned())?;
        let mut read = runner::read(token, &presented, &self.spec.names, world, now)?;
        if let Some(scopes) = &mut read.identity.facts.scopes {
            // One that the config names no more is nobody's any more.
            scopes.retain(|scope| self.spec.scopes.iter().any(|known| **known == **scope));
        }
        if told.is_heard() {
            return Ok(Arc::new(read.identity));
        }
        let left = u64::try_from(read.good_until_ms.saturating_sub(now.unix_ms)).unwrap_or(0);
        let identity = Arc::new(read.identity);
        let known = Known {
            identity: Arc::clone(&identity),
            kid: presented.kid,
            good_from_ms: read.good_from_ms,
            good_until_ms: read.good_until_ms,
            deadline: now.mono.checked_add(Duration::from_millis(left)).unwrap_or(now.mono),
        };
        self.known.insert(token.into(), Arc::new(known));
        Ok(identity)
    }

    /// A token for this person, narrowed to these scopes. `id` is random; `until_ms` is when the credential ends that it
    /// is made from, where that bounds it.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub fn grant(
        &self,
        facts: &Facts,
        scopes: &[&str],
        linking: &Linking,
        until_ms: Option<i64>,
        id: &str,
        now: Now,
    ) -> Result<Grant, NotGranted> {
        let issued = now.unix_seconds();
        let ttl = i64::try_from(self.spec.ttl.as_secs()).unwrap_or(i64::MAX);
        let left = until_ms.map_or(ttl, |until| until.div_euclid(1000).saturating_sub(issued));
        let life = ttl.min(left);
        let expires_in = u64::try_from(life).unwrap_or(0);
        if expires_in < SHORTEST.as_secs() {
            return Err(NotGranted::EndsTooSoon);
        }
        let Self { spec: RunnerSpec { names, carried, .. }, .. } = self;
        let terms = Terms { names, issued, expires: issued.saturating_add(life), id, scopes, carried };
        let payload = runner::write(facts, terms, linking).to_string();
        let key = self.ring.signer(self.schedule(), now.unix_ms).ok_or(NotGranted::NotSigned)?;
        let token = key.access_token(&payload).ok_or(NotGranted::NotSigned)?;
        if token.len() > MAX_TOKEN { Err(NotGranted::TooLarge) } else { Ok(Grant { token, expires_in }) }
    }
}

/// A folder of signing keys that has to be looked after.
#[derive(Debug, Clone)]
pub struct KeyFolder {
    /// The config key that names it.
    pub key: &'static str,
    pub ring: Arc<Ring>,
    pub schedule: Schedule,
}

impl KeyFolder {
    /// Reads the folder, and makes a key when none is there or the newest has had its time. Blocks on the disk.
    ///
    /// # Errors
    /// [`RingProblem`]; the keys that were there go on.
    pub fn tend(&self, now: Now) -> Result<(), RingProblem> {
        self.ring.tend(self.schedule, now)
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
