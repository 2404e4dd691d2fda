//! The users of a map: eight bytes each beside the ids themselves, found by either id.
//!
//! Two tables hold the index of a record under the keyed hash of its legacy and of its Clerk id; the id itself is
//! compared in the arena, so that equal hashes do no harm. Owned by the map; filled by its builder, which looks for
//! duplicates first.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::arena::Arena;
use super::line::MAX_ID;
use super::state::State;

#[derive(Debug, Default)]
pub(super) struct Users {
    records: Vec<Record>,
    by_legacy: HashTable<u32>,
    by_clerk: HashTable<u32>,
    /// SipHash under a key of this map alone: nobody can choose ids that meet in one bucket.
    key: RandomState,
    /// Hashes of all legacy and Clerk ids while the map is built: a table that grows would read every id again, which is
    /// half of the time that loading takes.
    hashes: [Vec<u32>; 2],
}

/// Half of a hash is kept, so half of it counts: the table takes its buckets from the low bits and its marks from the
/// high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Legacy and Clerk id stand one after the other in the arena.
#[derive(Debug, Clone, Copy)]
struct Record {
    at: u32,
    /// Length of the legacy id, then of the Clerk id (0: none), then the state.
    packed: u32,
}

/// Bits of a length: ids have at most 256 bytes.
const LENGTH: u32 = 9;
const LENGTH_MASK: u32 = (1 << LENGTH) - 1;
const _: () = assert!(MAX_ID < 1 << LENGTH);

impl Record {
    fn new(at: u32, legacy: usize, clerk: usize, state: State) -> Self {
        let length = |n: usize| n as u32 & LENGTH_MASK;
        Self { at, packed: length(legacy) | length(clerk) << LENGTH | state.bits() << (2 * LENGTH) }
    }

    fn legacy(self, arena: &Arena) -> &str {
        arena.text(self.at, (self.packed & LENGTH_MASK) as usize)
    }

    fn clerk(self, arena: &Arena) -> &str {
        let before = self.packed & LENGTH_MASK;
        arena.text(self.at.saturating_add(before), (self.packed >> LENGTH & LENGTH_MASK) as usize)
    }

    fn state(self) -> State {
        State::of_bits(self.packed >> (2 * LENGTH))
    }
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a user whose ids nobody has yet; an empty id is none. `None` when there is no room.
    pub(super) fn push(&mut self, arena: &mut Arena, legacy: &str, clerk: &str, state: State) -> Option<u32> {
        let index = u32::try_from(self.records.len()).ok().filter(|index| *index < super::INDEX_END)?;
        let at = arena.push(&[legacy, clerk])?;
        self.records.push(Record::new(at, legacy.len(), clerk.len(), state));
        let halves = [self.half(legacy), self.half(clerk)];
        let Self { by_legacy, by_clerk, hashes, .. } = self;
        for ((id, half), (table, hashes)) in
            [legacy, clerk].into_iter().zip(halves).zip([by_legacy, by_clerk].into_iter().zip(hashes))
        {
            hashes.push(half);
            if !id.is_empty() {
                let hash_again = |index: &u32| spread(hashes.get(*index as usize).copied().unwrap_or_default());
                table.insert_unique(spread(half), index, hash_again);
            }
        }
        Some(index)
    }

    fn half(&self, id: &str) -> u32 {
        self.key.hash_one(id) as u32
    }

    pub(super) fn by_legacy(&self, arena: &Arena, id: &str) -> Option<u32> {
        if id.is_empty() || id.len() > MAX_ID {
            return None;
        }
        self.by_legacy.find(spread(self.half(id)), |index| self.legacy(arena, *index) == id).copied()
    }

    pub(super) fn by_clerk(&self, arena: &Arena, id: &str) -> Option<u32> {
        if id.is_empty() || id.len() > MAX_ID {
            return None;
        }
        self.by_clerk.find(spread(self.half(id)), |index| self.clerk(arena, *index) == id).copied()
    }

    /// Empty when there is none.
    pub(super) fn legacy<'a>(&self, arena: &'a Arena, index: u32) -> &'a str {
        self.records.get(index as usize).map_or("", |record| record.legacy(arena))
    }

    /// Empty when there is none.
    pub(super) fn clerk<'a>(&self, arena: &'a Arena, index: u32) -> &'a str {
        self.records.get(index as usize).map_or("", |record| record.clerk(arena))
    }

    pub(super) fn state(&self, index: u32) -> State {
        self.records.get(index as usize).map_or(State::Deleted, |record| record.state())
    }

    /// Nothing is added afterwards.
    pub(super) fn settle(&mut self) {
        self.records.shrink_to_fit();
        self.hashes = Default::default();
    }
}
