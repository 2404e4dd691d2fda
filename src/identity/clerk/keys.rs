//! The keys of one issuer as they are now: the last good set, its age, and what is known about names it lacks.
//!
//! Shared by every request and by one `refresh` task, which alone fetches: however many requests ask for a new
//! key, there is one flight. Lives across reloads while its source stays the same. Reading never waits; the only
//! wait is [`Keys::refetch`], for the end of a flight that is under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::instance::{KeySource, KeyUrl};
use super::jwks::{Key, KeySet};
use crate::clock::Now;

/// Least time between two fetches that an unknown `kid` asks for; a flood of invented names buys no more.
pub const REFETCH_GAP: Duration = Duration::from_secs(30);
/// How long a name that a fresh set lacks is refused without asking again. Longer than the gap, so that one bad
/// name cannot own it; short enough for a key that is used before it is published.
const BAD_KID_MEMORY: Duration = Duration::from_secs(60);
/// Names remembered at once; the oldest goes first.
const MAX_BAD_KIDS: usize = 256;
/// Longest wait of a request for a flight: more than one fetch may take, so that only a missing task hits it.
const FLIGHT_WAIT: Duration = Duration::from_secs(6);

/// The keys of one issuer.
#[derive(Debug)]
pub struct Keys {
    issuer: Arc<str>,
    source: KeySource,
    held: ArcSwapOption<Held>,
    bad_kids: Mutex<VecDeque<(Box<str>, Instant)>>,
    forced: Mutex<Option<Forced>>,
    attempts: watch::Sender<Attempts>,
    /// Outlives this struct in the task that waits on it.
    wake: Arc<Notify>,
    has_task: AtomicBool,
    /// An operator asked while a flight was under way, which may have read the old set.
    again: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_failure: ArcSwapOption<String>,
}

/// A set and where it stands in time.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) set: Arc<KeySet>,
    /// Changes whenever the set does; what is cached under an older one is looked at again.
    pub(crate) generation: u64,
    fetched: Option<Fetched>,
}

#[derive(Debug, Clone, Copy)]
struct Fetched {
    at_unix_ms: i64,
    /// When it was put here, and how old it was then: a persisted set is older than this process.
    held_since: Instant,
    age_then: Duration,
}

impl Fetched {
    /// The larger of both clocks' answers: a wall clock that was set back must not make keys young, and a machine
    /// that slept does not count its sleep on the monotonic one.
    fn age(&self, now: Now) -> Duration {
        let mono = now.mono.saturating_duration_since(self.held_since).saturating_add(self.age_then);
        let wall = u64::try_from(now.real_unix_ms().saturating_sub(self.at_unix_ms)).unwrap_or(0);
        mono.max(Duration::from_millis(wall))
    }
}

/// Fetches that ended; requests wait for the number to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Attempts {
    ended: u64,
    last_was_good: bool,
}

/// The last fetch that a request asked for.
#[derive(Debug, Clone, Copy)]
struct Forced {
    at: Instant,
    /// [`Attempts::ended`] then: while it is the same, the flight is under way.
    ended_then: u64,
}

/// How far the keys can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// Older than `privileged_max_stale`, because refreshing fails.
    Stale,
    /// No keys, or only ones beyond `max_stale`: nothing can be verified.
    Outage,
}

impl Health {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Outage => "outage",
        }
    }
}

/// How a fetch ended that a request waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refetch {
    /// A good set arrived, whether or not it has the key.
    Fetched,
    Failed,
}

/// What the admin and the metrics show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStats {
    pub health: Health,
    /// Since the last good fetch; `None` without keys, and for a file or PEM.
    pub age: Option<Duration>,
    pub kids: Vec<String>,
    pub fetches_succeeded: u64,
    pub fetches_failed: u64,
    /// Why the latest fetch failed, if it did.
    pub last_failure: Option<Arc<String>>,
    /// The set shows a private key: everyone can sign with it.
    pub leaked: bool,
}

/// What to do about a token whose key is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Unknown {
    /// No such key: the token is bad.
    Refuse,
    /// Fetch first, then judge again.
    Ask,
    CannotTell,
}

impl Keys {
    pub fn new(issuer: Arc<str>, source: KeySource) -> Arc<Self> {
        let held = match &source {
            KeySource::Url(_) => None,
            KeySource::Set(set) => Some(Arc::new(Held { set: Arc::new(set.clone()), generation: 1, fetched: None })),
        };
        Arc::new(Self {
            issuer,
            source,
            held: ArcSwapOption::new(held),
            bad_kids: Mutex::default(),
            forced: Mutex::default(),
            attempts: watch::Sender::new(Attempts::default()),
            wake: Arc::default(),
            has_task: AtomicBool::new(false),
            again: AtomicBool::new(false),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_failure: ArcSwapOption::empty(),
        })
    }

    /// The keys of `old` themselves where issuer and source are the same; else new ones, which start with the old
    /// set where only the times of the same address changed.
    pub(in crate::identity) fn adopt(issuer: Arc<str>, source: KeySource, old: Option<&Arc<Self>>) -> Arc<Self> {
        let Some(old) = old.filter(|old| old.issuer == issuer) else { return Self::new(issuer, source) };
        if old.source == source {
            return Arc::clone(old);
        }
        let same_address = match (&old.source, &source) {
            (KeySource::Url(was), KeySource::Url(is)) => {
                was.url == is.url && was.allow_private == is.allow_private && was.kind == is.kind
            }
            (KeySource::Set(_), _) | (_, KeySource::Set(_)) => false,
        };
        let keys = Self::new(issuer, source);
        if same_address {
            keys.held.store(old.held.load_full());
        }
        keys
    }

    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The address, if the keys are fetched.
    pub fn url(&self) -> Option<&KeyUrl> {
        match &self.source {
            KeySource::Url(url) => Some(url),
            KeySource::Set(_) => None,
        }
    }

    /// True once: for the caller that starts the `refresh` task of these keys.
    pub fn claim_task(&self) -> bool {
        self.url().is_some() && !self.has_task.swap(true, Ordering::AcqRel)
    }

    /// Reads the set, unless there is none or it is too old to be used for anything. No lock, no count.
    pub(crate) fn read<R>(&self, now: Now, read: impl FnOnce(Option<&Held>) -> R) -> R {
        let guard = self.held.load();
        let usable = guard.as_deref().filter(|held| match (&held.fetched, self.url()) {
            (Some(fetched), Some(url)) => fetched.age(now) <= url.max_stale,
            (None, _) | (_, None) => true,
        });
        read(usable)
    }

    pub fn health(&self, now: Now) -> Health {
        self.read(now, |held| match (held, self.url()) {
            (None, _) => Health::Outage,
            (Some(Held { fetched: Some(fetched), .. }), Some(url)) => {
                // Between two refreshes that work, a set may be older than a very small limit.
                let limit = url.privileged_max_stale.max(url.refresh + url.refresh / 5);
                if fetched.age(now) > limit { Health::Stale } else { Health::Ok }
            }
            (Some(_), _) => Health::Ok,
        })
    }

    pub fn stats(&self, now: Now) -> KeyStats {
        let held = self.held.load();
        let held = held.as_deref();
        KeyStats {
            health: self.health(now),
            age: held.and_then(|held| held.fetched).map(|fetched| fetched.age(now)),
            kids: held.map_or_else(Vec::new, |held| held.set.kids().map(str::to_owned).collect()),
            fetches_succeeded: self.succeeded.load(Ordering::Relaxed),
            fetches_failed: self.failed.load(Ordering::Relaxed),
            last_failure: self.last_failure.load_full(),
            leaked: held.is_some_and(|held| held.set.leaked),
        }
    }

    /// What a token with an unknown `kid` gets. `issued_ms` is its unverified `iat`: a token older than the last
    /// good set would have its key in it, a newer one may have a key that was made since.
    pub(in crate::identity) fn unknown(&self, kid: &str, issued_ms: Option<i64>, now: Now) -> Unknown {
        if self.url().is_none() {
            return Unknown::Refuse;
        }
        let fetched_ms = self.read(now, |held| held.and_then(|held| held.fetched).map(|fetched| fetched.at_unix_ms));
        let covered =
            matches!((fetched_ms, issued_ms), (Some(fetched), issued) if issued.is_none_or(|issued| issued <= fetched));
        // A name is bad as of a set: a stranger may have made it known before its key was published, and must not
        // sign out those whose tokens came after.
        if covered && self.is_bad(kid, now) {
            return Unknown::Refuse;
        }
        if self.may_force(now) || self.is_under_way(now) {
            return Unknown::Ask;
        }
        if covered { Unknown::Refuse } else { Unknown::CannotTell }
    }

    /// What a token gets while there are no usable keys at all.
    pub(in crate::identity) fn missing(&self, now: Now) -> Unknown {
        let may_ask = self.url().is_some() && (self.may_force(now) || self.is_under_way(now));
        if may_ask { Unknown::Ask } else { Unknown::CannotTell }
    }

    fn forced(&self) -> std::sync::MutexGuard<'_, Option<Forced>> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_force(&self, now: Now) -> bool {
        self.forced().is_none_or(|forced| now.mono.saturating_duration_since(forced.at) >= REFETCH_GAP)
    }

    fn is_under_way(&self, now: Now) -> bool {
        let ended = self.attempts.borrow().ended;
        self.forced().is_some_and(|forced| {
            forced.ended_then == ended && now.mono.saturating_duration_since(forced.at) < FLIGHT_WAIT
        })
    }

    /// Has the `refresh` task fetch now and waits for the end of that flight, or of the one that is under way.
    /// Whoever comes later within the gap fetches nothing and waits for nothing.
    ///
    /// A name that a good set then lacks is remembered as bad.
    pub async fn refetch(&self, kid: Option<&str>, now: Now) -> Refetch {
        let mut attempts = self.attempts.subscribe();
        let before = attempts.borrow_and_update().ended;
        let wait = {
            let mut forced = self.forced();
            let open = forced.is_none_or(|last| now.mono.saturating_duration_since(last.at) >= REFETCH_GAP);
            if open {
                *forced = Some(Forced { at: now.mono, ended_then: before });
                self.wake.notify_one();
            }
            open || forced.is_some_and(|last| last.ended_then == before)
        };
        if wait {
            let flight = attempts.wait_for(|attempts| attempts.ended != before);
            // A flight that ends too late is a failure for this request; the next one will see its set.
            if tokio::time::timeout(FLIGHT_WAIT, flight).await.is_err() {
                return Refetch::Failed;
            }
        }
        if !self.attempts.borrow().last_was_good {
            return Refetch::Failed;
        }
        if let Some(kid) = kid {
            self.remember_if_bad(kid, now);
        }
        Refetch::Fetched
    }

    fn remember_if_bad(&self, kid: &str, now: Now) {
        let held = self.held.load();
        if held.as_ref().is_some_and(|held| held.set.find(Some(kid)).is_none()) && !self.is_bad(kid, now) {
            let mut bad = self.bad_kids.lock().unwrap_or_else(PoisonError::into_inner);
            if bad.len() >= MAX_BAD_KIDS {
                bad.pop_front();
            }
            bad.push_back((kid.into(), now.mono));
        }
    }

    fn is_bad(&self, kid: &str, now: Now) -> bool {
        let bad = self.bad_kids.lock().unwrap_or_else(PoisonError::into_inner);
        bad.iter().any(|(name, since)| **name == *kid && now.mono.saturating_duration_since(*since) < BAD_KID_MEMORY)
    }

    /// Fetches now, or once more after the flight that is under way: an operator asked for it.
    pub fn wake(&self) {
        self.again.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn take_again(&self) -> bool {
        self.again.swap(false, Ordering::AcqRel)
    }

    /// Whether a request asked after the last flight ended. Taken under the lock that asking takes, so that no
    /// request falls between this answer and its wake-up.
    pub(super) fn is_asked(&self) -> bool {
        let forced = self.forced();
        forced.is_some_and(|forced| forced.ended_then == self.attempts.borrow().ended)
    }

    /// Returns when the first fetch of this process has ended, good or not; at once where nothing is fetched.
    pub async fn first_attempt(&self) {
        if self.url().is_some() {
            let mut ended = self.attempts.subscribe();
            // Fails only when the sender is gone, and the sender is `self`.
            drop(ended.wait_for(|attempts| attempts.ended > 0).await);
        }
    }

    pub(super) fn wake_handle(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// A good set arrived from its source. It replaces the old one: a key that is gone is refused from now on.
    pub(in crate::identity) fn fetched(&self, set: KeySet, now: Now) {
        let fetched = Fetched { at_unix_ms: now.unix_ms, held_since: now.mono, age_then: Duration::ZERO };
        self.put(set, fetched);
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.last_failure.store(None);
        self.attempts.send_modify(|attempts| {
            attempts.ended += 1;
            attempts.last_was_good = true;
        });
    }

    pub(super) fn fetch_failed(&self, cause: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.last_failure.store(Some(Arc::new(cause.to_owned())));
        self.attempts.send_modify(|attempts| {
            attempts.ended += 1;
            attempts.last_was_good = false;
        });
    }

    /// A set that was fetched by an earlier process, at `fetched_unix_ms`. Never replaces one that is held.
    pub(super) fn restored(&self, set: KeySet, fetched_unix_ms: i64, now: Now) {
        if self.held.load().is_none() {
            let age = u64::try_from(now.unix_ms.saturating_sub(fetched_unix_ms)).unwrap_or(0);
            self.put(
                set,
                Fetched { at_unix_ms: fetched_unix_ms, held_since: now.mono, age_then: Duration::from_millis(age) },
            );
        }
    }

    fn put(&self, set: KeySet, fetched: Fetched) {
        let old = self.held.load_full();
        let (set, generation) = match old {
            Some(old) if *old.set == set => (Arc::clone(&old.set), old.generation),
            old => {
                self.bad_kids.lock().unwrap_or_else(PoisonError::into_inner).clear();
                (Arc::new(set), old.map_or(1, |old| old.generation + 1))
            }
        };
        self.held.store(Some(Arc::new(Held { set, generation, fetched: Some(fetched) })));
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The task sleeps on this; when it wakes, there is nothing left to refresh and it ends.
        self.wake.notify_one();
    }
}

impl Held {
    /// Whether a token that `key` verified under `generation` would be verified now.
    pub(crate) fn still_holds(&self, generation: u64, key: &Key) -> bool {
        self.generation == generation || self.set.holds(key)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
