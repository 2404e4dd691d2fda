//! What the trail says about itself: the entries that the writer makes, and the outcomes that nobody else can tell.
//!
//! Owns their wording. Never writes them.

use super::chain::MAX_LINE;
use super::entry::{Entry, Event, Id, Seal, Text};
use super::queue::{Item, Kind};
use crate::clock::unix_micros;

/// Why a segment was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There was no trail.
    First,
    /// The one before is full, and sealed.
    Rotated,
    /// The active one was missing.
    Restarted,
    /// The one before could not be written: it has no seal, and what stands behind this one's predecessor in it was
    /// never acknowledged.
    Recovered,
    /// The one before does not hold.
    Broken,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Rotated => "rotated",
            Self::Restarted => "restarted",
            Self::Recovered => "recovered",
            Self::Broken => "broken",
        }
    }
}

/// Most ids on one line.
const IDS: usize = (MAX_LINE - 512) / 35;

/// First line of a segment.
pub(super) fn open(reason: Reason, before: Option<&str>) -> Item {
    let mut entry = about("trail.open");
    entry.reason = Some(Text(reason.as_str()));
    entry.resource = before.map(Text);
    item(&entry)
}

/// The attempts that have no outcome yet, so that a start reads one segment alone.
pub(super) fn pending(ids: &[Id]) -> Vec<Item> {
    let line = |ids| {
        let mut entry = about("trail.pending");
        entry.refs = ids;
        item(&entry)
    };
    ids.chunks(IDS).map(line).collect()
}

pub(super) fn start(key: &str) -> Item {
    let mut entry = about("trail.start");
    entry.resource = Some(Text(key));
    item(&entry)
}

pub(super) fn stop() -> Item {
    item(&about("trail.stop"))
}

/// Last line of a segment; `seal` is of the lines before it.
pub(super) fn seal(seal: Seal) -> Item {
    let mut entry = about("trail.seal");
    entry.count = Some(seal.last.saturating_sub(seal.first).saturating_add(1));
    entry.seal = Some(seal);
    item(&entry)
}

pub(super) fn retire(name: &str, seal: Seal) -> Item {
    let mut entry = about("trail.retire");
    entry.resource = Some(Text(name));
    entry.seal = Some(seal);
    item(&entry)
}

pub(super) fn torn(name: &str, bytes: u64) -> Item {
    let mut entry = about("trail.torn");
    entry.resource = Some(Text(name));
    entry.count = Some(bytes);
    item(&entry)
}

pub(super) fn broken(name: Option<&str>, reason: &str) -> Item {
    let mut entry = about("trail.broken");
    entry.reason = Some(Text(reason));
    entry.resource = name.map(Text);
    item(&entry)
}

/// The outcome of an attempt of which nothing more is known.
pub(super) fn unknown(attempt: Id) -> Item {
    outcome(attempt, "unknown", None)
}

/// The outcome of an attempt that got durable when its caller had already answered that it cannot be.
pub(super) fn not_sent(attempt: Id) -> Item {
    outcome(attempt, "not_sent", Some("audit_unavailable"))
}

fn outcome(attempt: Id, reason: &str, refused: Option<&'static str>) -> Item {
    let mut entry = Entry::new(Id::random(), unix_micros(), Event::Outcome);
    entry.decision = refused.map(|_| "deny");
    entry.code = refused;
    entry.reason = Some(Text(reason));
    entry.attempt = Some(attempt);
    Item { kind: Kind::Outcome(attempt), event: Event::Outcome, body: entry.body(), ack: None }
}

fn about(action: &'static str) -> Entry<'static> {
    let mut entry = Entry::new(Id::random(), unix_micros(), Event::System);
    entry.action = Some(Text(action));
    entry
}

fn item(entry: &Entry<'_>) -> Item {
    Item { kind: Kind::Other, event: Event::System, body: entry.body(), ack: None }
}
