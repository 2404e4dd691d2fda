//! Tokens that were verified, so that the next request with the same one costs a lookup.
//!
//! Asked by `clerk::judge` with the whole token, before anything is parsed. Successes only, and what became of them:
//! nothing is kept that time or a fetched key could turn from refusal into acceptance. Belongs to one configuration and dies with it.
//! The hash is keyed at random and the whole token is compared, so that two tokens never share an answer and
//! nobody can choose tokens that collide.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::clerk::{Instances, Key};
use super::{Facts, Identity};
use crate::clock::Now;

/// Verified tokens, bounded by number and by bytes.
#[derive(Debug)]
pub struct TokenCache {
    entries: Cache<Box<str>, Arc<Entry>, ByBytes, ByTail>,
}

/// A verified token and how long that holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    /// Index of its instance.
    pub(super) instance: usize,
    pub(super) key: Arc<Key>,
    /// Of the key set that verified it.
    pub(super) generation: u64,
    pub(super) good_from_ms: i64,
    pub(super) good_until_ms: i64,
    /// `good_until_ms` on the monotonic clock: the wall clock may be set back.
    pub(super) deadline: Instant,
    pub(super) bytes: u64,
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
        let max_entries = max_entries.max(1);
        // An entry weighs at least its share, so that the one bound that the cache knows keeps both.
        let share = (max_bytes / max_entries as u64).max(1);
        let options = OptionsBuilder::new().estimated_items_capacity(max_entries).weight_capacity(max_bytes).build();
        let weighter = ByBytes { share };
        let entries = match options {
            Ok(options) => Cache::with_options(options, weighter, ByTail::default(), DefaultLifecycle::default()),
            // INVARIANT: both capacities are set, which is all that can be missing.
            Err(_) => Cache::with(max_entries, max_bytes, weighter, ByTail::default(), DefaultLifecycle::default()),
        };
        Self { entries }
    }

    /// What is known of a token, if its key would still verify it.
    pub(super) fn find(&self, token: &str, instances: &Instances, now: Now) -> Option<Known> {
        let entry = self.entries.get(token)?;
        let keys = &instances.at(entry.instance)?.keys;
        let held = keys.read(now, |held| held.is_some_and(|held| held.still_holds(entry.generation, &entry.key)));
        // Before its time by a wall clock that was set back: judged anew, as if it had never been seen.
        if !held || now.unix_ms < entry.good_from_ms {
            return None;
        }
        let over = now.unix_ms >= entry.good_until_ms || now.mono >= entry.deadline;
        Some(if over { Known::Over(entry) } else { Known::Good(entry) })
    }

    pub(super) fn insert(&self, token: &str, entry: Entry) {
        self.entries.insert(token.into(), Arc::new(entry));
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes accounted for.
    pub fn weight(&self) -> u64 {
        self.entries.weight()
    }
}

/// Room for a busy replica: 20,000 tokens within their minute, 64 MiB at most.
impl Default for TokenCache {
    fn default() -> Self {
        Self::new(20_000, 64 * 1024 * 1024)
    }
}

/// The monotonic instant at which a token ends that is good until `good_until_ms`.
pub(super) fn deadline(good_until_ms: i64, now: Now) -> Instant {
    let left = u64::try_from(good_until_ms.saturating_sub(now.unix_ms)).unwrap_or(0);
    now.mono.checked_add(Duration::from_millis(left)).unwrap_or(now.mono)
}

/// What an identity takes in memory, roughly: the payload three times over, as text, as tree and as facts.
pub(super) fn weigh(token: &str, facts: &Facts, headers: usize) -> u64 {
    (token.len() * 4 + facts.claims.len() * 96 + headers * 160 + 1024) as u64
}

/// Hashes the end of a token only, which is its signature's: nobody but the signer can make two good tokens that share
/// it, and others are never kept. Keyed at random all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct ByTail(RandomState);

#[derive(Debug)]
pub(super) struct TailHasher(DefaultHasher);

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

#[derive(Debug, Clone)]
struct ByBytes {
    share: u64,
}

impl Weighter<Box<str>, Arc<Entry>> for ByBytes {
    fn weight(&self, _: &Box<str>, entry: &Arc<Entry>) -> u64 {
        entry.bytes.max(self.share)
    }
}
