//! What is remembered by a whole token, bounded by number and by bytes.
//!
//! The hash is keyed at random and the whole token is compared: no two tokens ever share an answer, and nobody can choose
//! tokens that collide. How long something holds is for whoever asks to say.

use std::borrow::Borrow;
use std::hash::BuildHasher;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

/// Values by token.
#[derive(Debug)]
pub(super) struct Bounded<V, S>(Cache<Box<str>, V, ByBytes, S>);

/// Something that takes room.
pub(super) trait Weigh {
    /// Bytes in memory, roughly, those of its token included.
    fn bytes(&self, token: &str) -> u64;
}

impl<V: Weigh + Clone, S: BuildHasher + Clone + Default> Bounded<V, S> {
    /// Entries are dropped when either bound is reached.
    pub(super) fn new(max_entries: usize, max_bytes: u64) -> Self {
        let max_entries = max_entries.max(1);
        // An entry weighs at least its share, so that the one bound that the cache knows keeps both.
        let weighter = ByBytes { share: (max_bytes / max_entries as u64).max(1) };
        let options = OptionsBuilder::new().estimated_items_capacity(max_entries).weight_capacity(max_bytes).build();
        let (hasher, cycle) = (S::default(), DefaultLifecycle::default());
        Self(match options {
            Ok(options) => Cache::with_options(options, weighter, hasher, cycle),
            // INVARIANT: both capacities are set, which is all that can be missing.
            Err(_) => Cache::with(max_entries, max_bytes, weighter, hasher, cycle),
        })
    }

    pub(super) fn find(&self, token: &str) -> Option<V> {
        self.0.get(token)
    }

    pub(super) fn keep(&self, token: &str, value: V) {
        self.0.insert(token.into(), value);
    }

    pub(super) fn forget(&self, token: &str) {
        self.0.remove(token);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes accounted for.
    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }
}

#[derive(Debug, Clone)]
struct ByBytes {
    share: u64,
}

impl<K: Borrow<str>, V: Weigh> Weighter<K, V> for ByBytes {
    fn weight(&self, token: &K, value: &V) -> u64 {
        value.bytes(token.borrow()).max(self.share)
    }
}
