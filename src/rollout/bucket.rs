//! Where a unit stands between 0 and 100 %: the hash of its id, and from which percentage on it is in the Clerk arm.
//!
//! A bucket is one number, the smallest percentage that enrols the unit. So the sets are nested by construction: who is
//! in at p is in at every q ≥ p, and a step up moves people in one direction only. The algorithms are pinned by vectors
//! (`tests/conformance/buckets`): another reading of one would re-deal everybody at once, as upgrades of three flag
//! platforms did. Never sees who a unit is, and never chooses the arm: lists and link states come first, in `arm`.

use std::fmt;

use aws_lc_rs::hmac;

use super::murmur3::Murmur3;
use super::percent::Percent;

/// Parts the salt from the unit's id, so that no two pairs of them read the same. No id holds it.
const SEPARATOR: u8 = 0x1f;

/// `rollout.algorithm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA256 with a secret: nobody outside can compute or grind who falls into which arm.
    #[default]
    Crossgate1,
    /// Unleash's `flexibleRollout`, in steps of a whole percent: 12.5 % enrols whom 12 % does.
    Unleash,
    /// flagd's `fractional` since its version 2, the Clerk variant standing first.
    Flagd2,
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Crossgate1, Self::Unleash, Self::Flagd2];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crossgate1 => "crossgate-1",
            Self::Unleash => "unleash",
            Self::Flagd2 => "flagd-2",
        }
    }

    /// By its name in the config; `None` for any other.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// A unit's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    algorithm: Algorithm,
    hash: u32,
    enrolled_from: Percent,
}

impl Bucket {
    fn new(algorithm: Algorithm, hash: u32) -> Self {
        let wide = u64::from(hash);
        let ppm = u64::from(Percent::ALL.ppm());
        let enrolled_from = match algorithm {
            // hash < floor(ppm * 2^32 / 10^6), solved for the smallest ppm.
            Algorithm::Crossgate1 => Percent::saturating(((wide + 1) * ppm).div_ceil(1 << 32)),
            // hash % 100 + 1 <= percent
            Algorithm::Unleash => Percent::saturating((wide % 100 + 1) * 10_000),
            // (hash * total) >> 32 < weight. Only the ratio of weight and total counts: ppm of a million places a unit
            // as 25 of 100 does.
            Algorithm::Flagd2 => Percent::saturating(((wide * ppm) >> 32) + 1),
        };
        Self { algorithm, hash, enrolled_from }
    }

    /// Whether the unit is in the Clerk arm at this percentage.
    pub fn is_in(self, percent: Percent) -> bool {
        self.enrolled_from <= percent
    }

    /// The smallest percentage at which the unit is in the Clerk arm: above 0, at most 100.
    pub const fn enrolled_from(self) -> Percent {
        self.enrolled_from
    }

    /// The 32 bits that the algorithm made of salt and id.
    pub const fn hash(self) -> u32 {
        self.hash
    }
}

/// For `explain`. It tells an operator nothing that the key would hide: one bucket says nothing about another.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bucket {}, clerk from {} %", self.algorithm.as_str(), self.hash, self.enrolled_from)
    }
}

/// An algorithm with its salt and key, ready for any number of units; shared by all threads.
pub struct Bucketing(Prepared);

enum Prepared {
    Keyed {
        /// Boxed: it is a kilobyte, and the other variant thirteen bytes.
        key: Box<hmac::Key>,
        /// Salt and separator.
        prefix: Box<[u8]>,
    },
    /// Both hash the salt first, so that it is fed once.
    Unkeyed { algorithm: Algorithm, salted: Murmur3 },
}

impl Bucketing {
    /// `crossgate-1`. Another salt or another key re-deals everybody; all replicas need the same.
    pub fn crossgate(salt: &str, key: &[u8; 32]) -> Self {
        let prefix = [salt.as_bytes(), &[SEPARATOR]].concat().into_boxed_slice();
        Self(Prepared::Keyed { key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)), prefix })
    }

    /// `unleash`, with the `groupId` of its strategy.
    pub fn unleash(group: &str) -> Self {
        Self::salted(Algorithm::Unleash, &[group, ":"])
    }

    /// `flagd-2`, with the flag's key (or the bucketing prefix that its rule names).
    pub fn flagd(flag: &str) -> Self {
        Self::salted(Algorithm::Flagd2, &[flag])
    }

    fn salted(algorithm: Algorithm, parts: &[&str]) -> Self {
        let mut salted = Murmur3::default();
        for part in parts {
            salted.update(part.as_bytes());
        }
        Self(Prepared::Unkeyed { algorithm, salted })
    }

    pub const fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Prepared::Keyed { .. } => Algorithm::Crossgate1,
            Prepared::Unkeyed { algorithm, .. } => *algorithm,
        }
    }

    /// The bucket of a canonical id. Allocates nothing; on the way of every request.
    pub fn bucket(&self, unit_key: &str) -> Bucket {
        let hash = match &self.0 {
            Prepared::Keyed { key, prefix } => {
                let mut context = hmac::Context::with_key(key);
                context.update(prefix);
                context.update(unit_key.as_bytes());
                // INVARIANT: a SHA-256 tag has 32 bytes; without its first four nobody would be enrolled below 100 %.
                context.sign().as_ref().first_chunk().map_or(u32::MAX, |first| u32::from_be_bytes(*first))
            }
            Prepared::Unkeyed { salted, .. } => {
                let mut hash = *salted;
                hash.update(unit_key.as_bytes());
                hash.finish()
            }
        };
        Bucket::new(self.algorithm(), hash)
    }

    /// Whether the unit is in the Clerk arm at this percentage.
    pub fn is_in(&self, unit_key: &str, percent: Percent) -> bool {
        self.bucket(unit_key).is_in(percent)
    }
}

/// Without key and salt.
impl fmt::Debug for Bucketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucketing").field(&self.algorithm()).finish()
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
