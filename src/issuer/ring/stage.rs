//! Which key signs when, and until when each of them is published: of the keys and a time, and of nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::key::RingKey;
use crate::issuer::Algorithm;

/// When keys come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Of new keys.
    pub algorithm: Algorithm,
    /// Age at which the newest key gets a successor; `None` is never.
    pub rotate: Option<Duration>,
    /// How long a key that is made now is published before it signs, and any after the last thing that it signed has
    /// expired.
    pub overlap: Duration,
    /// Life of what is signed.
    pub ttl: Duration,
}

/// What a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Published, not yet signing.
    Waiting,
    Signing,
    /// Signs no more, still published.
    Leaving,
    /// Published no more.
    Gone,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Signing => "signing",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }

    /// Of the key at a place among all, the oldest first.
    pub(super) fn of(keys: &[Arc<RingKey>], at: usize, schedule: Schedule, now_ms: i64) -> Self {
        match signing(keys, schedule, now_ms) {
            Some(signing) if signing == at => Self::Signing,
            Some(signing) if signing < at => Self::Waiting,
            _ => {
                // The successor took over then; what was signed before lives for `ttl`.
                let taken = keys.get(at + 1).map_or(i64::MAX, |next| next.signs_at(schedule));
                let signed = keys.get(at).map_or(i64::MIN, |key| key.seen.signed_ms());
                let end =
                    taken.max(signed).saturating_add(millis(schedule.ttl)).saturating_add(millis(schedule.overlap));
                if now_ms < end { Self::Leaving } else { Self::Gone }
            }
        }
    }
}

/// The newest that was published for long enough; where none was, the one that has been known here for longest, of those
/// the oldest: nobody holds a set without it.
pub(super) fn signing(keys: &[Arc<RingKey>], schedule: Schedule, now_ms: i64) -> Option<usize> {
    let grown = keys.iter().rposition(|key| key.signs_at(schedule) <= now_ms && !key.is_retired(now_ms));
    let known = || {
        let kept = keys.iter().enumerate().filter(|(_, key)| !key.is_retired(now_ms));
        kept.min_by_key(|(_, key)| key.seen.came).map(|(at, _)| at)
    };
    grown.or_else(known).or_else(|| (!keys.is_empty()).then_some(0))
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
