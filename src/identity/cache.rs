//! Tokens that were verified by their signature, so that the next request with the same one costs a lookup.
//!
//! Asked with the whole token before anything is parsed, by both sides: Clerk's, whose keys are fetched, and the legacy
//! one, where a secret may have vouched. Successes only, and what became of them: nothing is kept that time or a fetched key
//! could turn from refusal into acceptance. Belongs to one configuration and dies with it, secrets included.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bounded::{Bounded, Weigh};
use super::clerk::{Key, Keys};
use super::{Facts, Identity};
use crate::clock::Now;

/// Verified tokens, bounded by number and by bytes.
#[derive(Debug)]
pub struct TokenCache(Bounded<Arc<Entry>, ByTail>);

/// A verified token and how long that holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    pub(super) proof: Proof,
    good_from_ms: i64,
    good_until_ms: i64,
    /// `good_until_ms` on the monotonic clock: the wall clock may be set back.
    deadline: Instant,
    bytes: u64,
}

/// What vouched for a token.
#[derive(Debug)]
pub(super) enum Proof {
    /// A secret of this configuration.
    Secret,
    /// A key of a set that is fetched.
    Key {
        key: Arc<Key>,
        /// Of the set, when it verified the token.
        generation: u64,
        /// Index of the instance whose set it is; 0 where there is one.
        instance: usize,
    },
}

impl Entry {
    /// `good_ms`: from when until when, by the wall clock.
    pub(super) fn new(identity: Arc<Identity>, proof: Proof, good_ms: (i64, i64), bytes: u64, now: Now) -> Self {
        let (good_from_ms, good_until_ms) = good_ms;
        let left = u64::try_from(good_until_ms.saturating_sub(now.unix_ms)).unwrap_or(0);
        let deadline = now.mono.checked_add(Duration::from_millis(left)).unwrap_or(now.mono);
        Self { identity, proof, good_from_ms, good_until_ms, deadline, bytes }
    }

    /// Index of the instance of Clerk's.
    pub(super) const fn instance(&self) -> usize {
        match self.proof {
            Proof::Key { instance, .. } => instance,
            Proof::Secret => 0,
        }
    }
}

impl Weigh for Arc<Entry> {
    fn bytes(&self, _: &str) -> u64 {
        self.bytes
    }
}

/// What the cache says about a token.
#[derive(Debug)]
pub(super) enum Known {
    Good(Arc<Entry>),
    /// It was good and its time is over, by either clock: a wall clock that was set back does not revive it.
    Over(Arc<Entry>),
}

impl Known {
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Good(entry) | Self::Over(entry) => entry,
        }
    }
}

impl TokenCache {
    /// Sized for what a replica sees within a token's minute; entries are dropped when either bound is reached.
    pub fn new(max_entries: usize, max_bytes: u64) -> Self {
        Self(Bounded::new(max_entries, max_bytes))
    }

    /// What is known of a token, if what vouched for it would do so again. `keys`: the set of an instance.
    pub(super) fn find<'k>(
        &self,
        token: &str,
        keys: impl FnOnce(usize) -> Option<&'k Keys>,
        now: Now,
    ) -> Option<Known> {
        let entry = self.0.find(token)?;
        let holds = match &entry.proof {
            Proof::Secret => true,
            Proof::Key { key, generation, instance } => {
                keys(*instance)?.read(now, |held| held.is_some_and(|held| held.still_holds(*generation, key)))
            }
        };
        // Before its time by a wall clock that was set back: judged anew, as if it had never been seen.
        if !holds || now.unix_ms < entry.good_from_ms {
            return None;
        }
        let over = now.unix_ms >= entry.good_until_ms || now.mono >= entry.deadline;
        Some(if over { Known::Over(entry) } else { Known::Good(entry) })
    }

    pub(super) fn insert(&self, token: &str, entry: Entry) {
        self.0.keep(token, Arc::new(entry));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes accounted for.
    pub fn weight(&self) -> u64 {
        self.0.weight()
    }
}

/// Room for a busy replica: 20,000 tokens within their minute, 64 MiB at most.
impl Default for TokenCache {
    fn default() -> Self {
        Self::new(20_000, 64 * 1024 * 1024)
    }
}

/// What an identity takes in memory, roughly: the payload three times over, as text, as tree and as facts.
pub(super) fn weigh(token: &str, facts: &Facts, headers: usize) -> u64 {
    (token.len() * 4 + facts.claims.len() * 96 + headers * 160 + 1024) as u64
}

/// Hashes the end of a token only, which is its signature's: nobody but the signer can make two good tokens that share
/// it, and others are never kept. Keyed at random all the same.
#[derive(Debug, Clone, Default)]
struct ByTail(RandomState);

#[derive(Debug)]
struct TailHasher(DefaultHasher);

impl BuildHasher for ByTail {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher(self.0.build_hasher())
    }
}

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        const TAIL: usize = 64;
        self.0.write(bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes));
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
