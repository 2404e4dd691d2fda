//! What servers answered, for a while: good answers and bad ones apart, so that a flood of bad credentials drives out
//! no good one.
//!
//! An [`Identity`] is kept, never "allowed": policy judges each request. Of a server that could not tell, only the credential is kept, for a
//! moment, and never over a good answer.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reason::Reason;
use crate::clock::Now;
use crate::identity::Identity;
use crate::identity::bounded::{Bounded, Weigh};

const MAX_GOOD: (usize, u64) = (20_000, 32 * 1024 * 1024);
const MAX_BAD: (usize, u64) = (10_000, 4 * 1024 * 1024);
/// A credential that was bad may be good in a moment; one that is tried again and again is bad for this long.
const BAD_FOR: Duration = Duration::from_secs(5);
/// A credential that the server was silent about is not asked about again so soon.
const NOTHING_FOR: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Memory {
    good: Bounded<Arc<Good>, RandomState>,
    bad: Bounded<Bad, RandomState>,
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
        Self { good: Bounded::new(MAX_GOOD.0, MAX_GOOD.1), bad: Bounded::new(MAX_BAD.0, MAX_BAD.1) }
    }
}

impl Memory {
    pub(super) fn find(&self, token: &str, now: Now) -> Option<Told> {
        if let Some(good) = self.good.find(token) {
            let is_over = good.good_until_ms.is_some_and(|until_ms| now.unix_ms >= until_ms);
            return (now.mono < good.deadline && !is_over).then(|| Told::Good(Arc::clone(&good.identity)));
        }
        self.bad
            .find(token)
            .filter(|bad| now.mono < bad.deadline)
            .map(|bad| bad.reason.map_or(Told::Nothing, Told::Bad))
    }

    /// Whether it was good once, which settles whose it is.
    pub(super) fn was_good(&self, token: &str) -> bool {
        self.good.find(token).is_some()
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
        self.bad.forget(token);
        let left =
            good_until_ms.map(|until_ms| until_ms.saturating_sub(now.unix_ms)).map(|ms| u64::try_from(ms).unwrap_or(0));
        let lasts = left.map_or(cache_for, |left| cache_for.min(Duration::from_millis(left)));
        if lasts.is_zero() {
            return;
        }
        let identity = Arc::clone(identity);
        let good = Good { identity, good_until_ms, deadline: now.mono + lasts, bytes };
        self.good.keep(token, Arc::new(good));
    }

    pub(super) fn keep_bad(&self, token: &str, reason: Reason, cache_for: Duration, now: Now) {
        self.good.forget(token);
        let lasts = cache_for.min(BAD_FOR);
        if !lasts.is_zero() {
            self.bad.keep(token, Bad { reason: Some(reason), deadline: now.mono + lasts });
        }
    }

    /// The server was silent about it. One that was good before may be asked about again at once.
    pub(super) fn keep_nothing(&self, token: &str, now: Now) {
        if !self.was_good(token) {
            self.bad.keep(token, Bad { reason: None, deadline: now.mono + NOTHING_FOR });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.good.len(), self.bad.len())
    }
}

impl Weigh for Arc<Good> {
    fn bytes(&self, _: &str) -> u64 {
        self.bytes
    }
}

impl Weigh for Bad {
    fn bytes(&self, token: &str) -> u64 {
        token.len() as u64 + 128
    }
}
