//! What servers answered, for a while: good answers and bad ones apart, so that a flood of bad credentials drives out
//! no good one.
//!
//! The whole credential is hashed, by a random key, and compared: no two ever share an answer. An [`Identity`] is kept,
//! never "allowed": policy judges each request. Of a server that could not tell, only the credential is kept, for a
//! moment, and never over a good answer.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::reason::Reason;
use crate::clock::Now;
use crate::identity::Identity;

const MAX_GOOD: (usize, u64) = (20_000, 32 * 1024 * 1024);
const MAX_BAD: (usize, u64) = (10_000, 4 * 1024 * 1024);
/// A credential that was bad may be good in a moment; one that is tried again and again is bad for this long.
const BAD_FOR: Duration = Duration::from_secs(5);
/// A credential that the server was silent about is not asked about again so soon.
const NOTHING_FOR: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Memory {
    good: Cache<Box<str>, Arc<Good>, ByBytes, RandomState>,
    bad: Cache<Box<str>, Bad, ByBytes, RandomState>,
}

#[derive(Debug)]
struct Good {
    identity: Arc<Identity>,
    /// When the credential itself ends, leeway included.
    good_until_ms: Option<i64>,
    deadline: Instant,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bad {
    /// `None`: the server was silent.
    reason: Option<Reason>,
    deadline: Instant,
}

/// What is known of a credential.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Good(Arc<Identity>),
    Bad(Reason),
    /// Asked a moment ago, without an answer.
    Nothing,
}

impl Default for Memory {
    fn default() -> Self {
        Self { good: cache(MAX_GOOD), bad: cache(MAX_BAD) }
    }
}

impl Memory {
    pub(super) fn find(&self, token: &str, now: Now) -> Option<Told> {
        if let Some(good) = self.good.get(token) {
            let is_over = good.good_until_ms.is_some_and(|until_ms| now.unix_ms >= until_ms);
            return (now.mono < good.deadline && !is_over).then(|| Told::Good(Arc::clone(&good.identity)));
        }
        self.bad.get(token).filter(|bad| now.mono < bad.deadline).map(|bad| bad.reason.map_or(Told::Nothing, Told::Bad))
    }

    /// Whether it was good once, which settles whose it is.
    pub(super) fn was_good(&self, token: &str) -> bool {
        self.good.get(token).is_some()
    }

    /// `cache_for` bounds it, as does the credential's own end.
    pub(super) fn keep_good(
        &self,
        token: &str,
        identity: &Arc<Identity>,
        good_until_ms: Option<i64>,
        cache_for: Duration,
        bytes: u64,
        now: Now,
    ) {
        self.bad.remove(token);
        let left =
            good_until_ms.map(|until_ms| until_ms.saturating_sub(now.unix_ms)).map(|ms| u64::try_from(ms).unwrap_or(0));
        let lasts = left.map_or(cache_for, |left| cache_for.min(Duration::from_millis(left)));
        if lasts.is_zero() {
            return;
        }
        let identity = Arc::clone(identity);
        let good = Good { identity, good_until_ms, deadline: now.mono + lasts, bytes };
        self.good.insert(token.into(), Arc::new(good));
    }

    pub(super) fn keep_bad(&self, token: &str, reason: Reason, cache_for: Duration, now: Now) {
        self.good.remove(token);
        let lasts = cache_for.min(BAD_FOR);
        if !lasts.is_zero() {
            self.bad.insert(token.into(), Bad { reason: Some(reason), deadline: now.mono + lasts });
        }
    }

    /// The server was silent about it. One that was good before may be asked about again at once.
    pub(super) fn keep_nothing(&self, token: &str, now: Now) {
        if !self.was_good(token) {
            self.bad.insert(token.into(), Bad { reason: None, deadline: now.mono + NOTHING_FOR });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.good.len(), self.bad.len())
    }
}

fn cache<V: Clone>((max_entries, max_bytes): (usize, u64)) -> Cache<Box<str>, V, ByBytes, RandomState>
where
    ByBytes: Weighter<Box<str>, V>,
{
    // An entry weighs at least its share, so that the one bound that the cache knows keeps both.
    let weighter = ByBytes { share: max_bytes / max_entries.max(1) as u64 };
    let options = OptionsBuilder::new().estimated_items_capacity(max_entries).weight_capacity(max_bytes).build();
    let (hasher, cycle) = (RandomState::new(), DefaultLifecycle::default());
    match options {
        Ok(options) => Cache::with_options(options, weighter, hasher, cycle),
        // INVARIANT: both capacities are set, which is all that can be missing.
        Err(_) => Cache::with(max_entries, max_bytes, weighter, hasher, cycle),
    }
}

#[derive(Debug, Clone)]
struct ByBytes {
    share: u64,
}

impl Weighter<Box<str>, Arc<Good>> for ByBytes {
    fn weight(&self, _: &Box<str>, good: &Arc<Good>) -> u64 {
        good.bytes.max(self.share)
    }
}

impl Weighter<Box<str>, Bad> for ByBytes {
    fn weight(&self, token: &Box<str>, _: &Bad) -> u64 {
        (token.len() as u64 + 128).max(self.share)
    }
}
