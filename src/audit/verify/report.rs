//! What a verification found, as values: each break with its place, what it may be, and what to do next.

use std::fmt;

use crate::audit::chain;
use crate::audit::entry::Event;

/// Most problems that are told one by one.
pub(super) const MOST: usize = 100;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A line of a segment does not stand in the chain.
    Chain(chain::Broken),
    /// Bytes without a line feed, where no writer can have left them.
    Unfinished,
    /// Entries from `from` to `to` are in no file.
    Missing {
        from: u64,
        to: u64,
    },
    /// The same, before the oldest file.
    Dropped {
        to: u64,
    },
    /// A signed checkpoint covers `covered`, and the trail ends before it.
    Cut {
        covered: u64,
        by: String,
    },
    /// The entry is not the one that was signed.
    Rewritten {
        by: String,
    },
    /// The file that is written is not there.
    NoActive,
    /// The first line does not say that a segment begins.
    NoOpening,
    /// The file's name and its first entry differ.
    Name {
        named: u64,
    },
    Seal {
        field: &'static str,
        said: u64,
        found: u64,
    },
    NoSeal,
    AfterSeal,
    /// Sealed or closed, and nothing signed says so.
    Unsigned {
        seq: u64,
    },
    /// So many entries that a checkpoint must be among them.
    Uncovered {
        entries: u64,
    },
    NoCheckpoint,
    Signature,
    ForeignKey {
        key: String,
    },
    /// It covers entries that its segment cannot have.
    Misplaced {
        seq: u64,
    },
    /// It stands behind one that covers a later entry.
    Disorder {
        seq: u64,
        before: u64,
    },
    /// Nothing that holds and is signed covers any entry.
    NothingSigned,
    /// The trail was ended in order at `end`, and nobody who may sign went on.
    BehindEnd {
        end: u64,
        by: String,
    },
    NoKey,
    /// The key in the folder is not the one that is trusted.
    OtherKey {
        key: String,
    },
    /// The service itself found the trail broken when it started.
    Declared {
        reason: String,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(broken) => broken.fmt(f),
            Self::Unfinished => f.write_str("the line has no end"),
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::Dropped { to } => {
                write!(f, "entries up to {to} are missing, and no `trail.retire` says that they went")
            }
            Self::Cut { covered, by } => write!(f, "the trail ends here, but {by} covers entry {covered}"),
            Self::Rewritten { by } => write!(f, "{by} covers another entry with this seq"),
            Self::NoActive => f.write_str("the file is not there"),
            Self::NoOpening => f.write_str("the segment does not begin with `trail.open`"),
            Self::Name { named } => write!(f, "by its name the file begins with entry {named}"),
            Self::Seal { field, said, found } => write!(f, "the seal says {field} {said}, the segment has {found}"),
            Self::NoSeal => f.write_str("the segment was rotated, but its seal is missing"),
            Self::AfterSeal => f.write_str("there are lines behind the seal"),
            Self::Unsigned { seq } => write!(f, "no checkpoint covers entry {seq}, where one was written"),
            Self::Uncovered { entries } => {
                write!(f, "no checkpoint covers the last {entries} entries; the writer signs one every 10000")
            }
            Self::NoCheckpoint => f.write_str("this is no checkpoint"),
            Self::Signature => f.write_str("the signature is not that of the key"),
            Self::ForeignKey { key } => write!(f, "signed with key {key:?}, which is not the trusted one"),
            Self::Misplaced { seq } => write!(f, "covers entry {seq}, which this segment cannot have"),
            Self::Disorder { seq, before } => {
                write!(f, "covers entry {seq}, but stands behind a checkpoint of entry {before}")
            }
            Self::NothingSigned => f.write_str(
                "nothing signed covers any entry; a checkpoint is written before the first one and at each start",
            ),
            Self::BehindEnd { end, by } => {
                write!(f, "the trail was closed with entry {end}, which {by} says, and this stands behind it")
            }
            Self::NoKey => f.write_str("no public key to check signatures with"),
            Self::OtherKey { key } => write!(f, "holds key {key}, which is not the trusted one"),
            Self::Declared { reason } => write!(f, "the service found the trail before this entry broken: {reason:?}"),
        }
    }
}

impl Broken {
    /// What it may be.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::Chain(chain::Broken::Malformed | chain::Broken::Hash) => {
                "a byte was changed after it was written, or something else was written into the file"
            }
            Self::Chain(chain::Broken::Sequence { expected, found }) if found > expected => {
                "lines before this one were deleted or moved"
            }
            Self::Chain(chain::Broken::Sequence { .. }) => "this line was inserted, doubled or moved",
            Self::Chain(chain::Broken::Previous) => "the entry before this one was replaced, or this one was",
            Self::Unfinished => "the end of the file was cut off, or a line feed was changed",
            Self::Missing { .. } => "a whole segment was dropped",
            Self::Dropped { .. } => "the oldest segments were dropped by somebody other than the retention",
            Self::Cut { .. } => "the end was cut off or dropped, or all of it was rolled back to an older copy",
            Self::Rewritten { .. } => "history was written anew: this entry, or one before it, was replaced",
            Self::NoActive => "the newest segment was dropped, or the service stopped in the middle of a rotation",
            Self::NoOpening | Self::Name { .. } => "the file was renamed, or lines were moved from file to file",
            Self::Seal { .. } => "the seal was edited, or lines were moved from file to file",
            Self::NoSeal => "the end of the segment was cut off",
            Self::AfterSeal => "lines were added to a segment that was closed",
            Self::Unsigned { .. } | Self::Uncovered { .. } | Self::NothingSigned => "checkpoints were deleted",
            Self::NoCheckpoint | Self::Signature | Self::Misplaced { .. } => "the checkpoint was edited",
            Self::Disorder { .. } => "checkpoints were edited, moved or doubled",
            Self::BehindEnd { .. } => "somebody other than the service added to the trail while it did not run",
            Self::ForeignKey { .. } | Self::OtherKey { .. } => {
                "the trail was signed again by somebody else, or the installation has another key than it had"
            }
            Self::NoKey => "`audit.pub` was deleted, or left behind when the folder was copied",
            Self::Declared { .. } => "entries were changed, lost or added while the service did not run",
        }
    }

    /// What to do.
    pub fn next(&self) -> &'static str {
        match self {
            Self::NoKey => "give the key with --key FILE, or a config with -c",
            Self::ForeignKey { .. } | Self::OtherKey { .. } => {
                "compare with the key id that `trail.start` entries name; give an older key with --key FILE"
            }
            Self::NoActive => {
                "start the service, which begins a new segment, and verify again; if it ran, keep the folder as it is"
            }
            Self::NothingSigned => {
                "give a checkpoint that was kept elsewhere with --checkpoint FILE, or a config with -c"
            }
            Self::BehindEnd { .. } => {
                "keep a copy of the folder; the next start puts these entries aside as evidence and goes on without them"
            }
            _ => "keep the folder as it is, and compare with a copy or with what `audit.copy_to` shipped",
        }
    }
}

/// A break and its place.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Name of a file in the folder, or the path of one elsewhere.
    pub file: String,
    /// From 1.
    pub line: Option<u64>,
    pub seq: Option<u64>,
    pub broken: Broken,
}

/// An entry's place in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub seq: u64,
    pub time: String,
}

/// One file.
#[derive(Debug, Clone)]
pub struct Segment {
    pub file: String,
    pub first: u64,
    pub last: u64,
    pub entries: u64,
    pub sealed: bool,
    /// Checkpoints that hold.
    pub checkpoints: u64,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    pub entries: u64,
    pub first: Option<Moment>,
    pub last: Option<Moment>,
    /// In the order of [`Event::ALL`].
    pub events: [u64; Event::ALL.len()],
    /// Attempts without an outcome so far.
    pub open: u64,
    pub checkpoints: u64,
    /// The last entry that something signed covers.
    pub signed: Option<Moment>,
    /// Ids of the keys that were trusted, and where they are from.
    pub keys: Vec<(String, String)>,
    pub segments: Vec<Segment>,
    pub problems: Vec<Problem>,
    /// Problems beyond those that are told.
    pub more: u64,
    pub notes: Vec<String>,
    /// Bytes that were read of segments.
    pub bytes: u64,
}

impl Report {
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn broken(
        &mut self,
        file: &str,
        line: impl Into<Option<u64>>,
        seq: impl Into<Option<u64>>,
        broken: Broken,
    ) {
        if self.problems.len() >= MOST {
            self.more += 1;
            return;
        }
        self.problems.push(Problem { file: file.to_owned(), line: line.into(), seq: seq.into(), broken });
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < MOST {
            self.notes.push(note);
        }
    }
}
