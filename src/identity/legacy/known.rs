//! Legacy tokens that were verified by their signature, so that the next request with the same one costs a lookup.
//!
//! As `identity::cache` for Clerk's: successes only, the whole token compared, bounded by number and by bytes. Dies
//! with its configuration, secrets included; a token whose public key left the set is looked at again.

use std::sync::Arc;
use std::time::Instant;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::clock::Now;
use crate::identity::Identity;
use crate::identity::cache::ByTail;
use crate::identity::clerk::{Key, Keys};

const MAX_ENTRIES: usize = 20_000;
const MAX_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct KnownTokens {
    entries: Cache<Box<str>, Arc<Entry>, ByBytes, ByTail>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    pub(super) proof: Proof,
    pub(super) good_from_ms: i64,
    pub(super) good_until_ms: i64,
    /// `good_until_ms` on the monotonic clock: the wall clock may be set back.
    pub(super) deadline: Instant,
    pub(super) bytes: u64,
}

/// What vouched for a token.
#[derive(Debug)]
pub(super) enum Proof {
    /// A secret of this configuration.
    Secret,
    /// A key, and the generation of its set.
    Key(Arc<Key>, u64),
}

impl Default for KnownTokens {
    fn default() -> Self {
        // An entry weighs at least its share, so that the one bound that the cache knows keeps both.
        let weighter = ByBytes { share: MAX_BYTES / MAX_ENTRIES as u64 };
        let options = OptionsBuilder::new().estimated_items_capacity(MAX_ENTRIES).weight_capacity(MAX_BYTES).build();
        let (hasher, cycle) = (ByTail::default(), DefaultLifecycle::default());
        let entries = match options {
            Ok(options) => Cache::with_options(options, weighter, hasher, cycle),
            // INVARIANT: both capacities are set, which is all that can be missing.
            Err(_) => Cache::with(MAX_ENTRIES, MAX_BYTES, weighter, hasher, cycle),
        };
        Self { entries }
    }
}

impl KnownTokens {
    pub(super) fn holds(&self, token: &str) -> bool {
        self.entries.get(token).is_some()
    }

    /// The person of a token whose proof still holds; the inner `None`: its time is over, by either clock.
    pub(super) fn find(&self, token: &str, keys: Option<&Keys>, now: Now) -> Option<Option<Arc<Identity>>> {
        let entry = self.entries.get(token)?;
        let holds = match (&entry.proof, keys) {
            (Proof::Secret, _) => true,
            (Proof::Key(key, generation), Some(keys)) => {
                keys.read(now, |held| held.is_some_and(|held| held.still_holds(*generation, key)))
            }
            (Proof::Key(..), None) => false,
        };
        // Before its time by a wall clock that was set back: judged anew, as if it had never been seen.
        if !holds || now.unix_ms < entry.good_from_ms {
            return None;
        }
        let is_over = now.unix_ms >= entry.good_until_ms || now.mono >= entry.deadline;
        Some((!is_over).then(|| Arc::clone(&entry.identity)))
    }

    pub(super) fn insert(&self, token: &str, entry: Entry) {
        self.entries.insert(token.into(), Arc::new(entry));
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
