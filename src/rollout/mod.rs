//! Which side is authoritative for whom: percentage, buckets, lists, and the arm that follows from them.
//!
//! An arm is a pure function of the verified person, their link state and the effective percentage: it needs no cookie,
//! no store and no clock, so that every replica and every restart gives the same answer. (Who signs in is nobody yet: for
//! them there is `cookie`.) It never says what a person
//! may do (that is `policy`) and never which credentials are accepted (that is `gate::decide`'s table).

pub mod arm;
pub mod bucket;
pub mod control;
pub mod cookie;
mod murmur3;
mod percent;
pub mod plan;
pub mod state;
mod store;

pub use arm::{Arm, Assignment, Choice, Lists, Person, Side, Unit, Why};
pub use bucket::{Algorithm, Bucket, Bucketing};
pub use control::{Change, Current, Expected, Observer, Rollout};
pub use percent::{NotAPercent, Percent};
pub use plan::Plan;
pub use state::{By, Dealing, Limits, Move, Record, Refusal, Source};

/// Where the guard of a rollout stands. A fifth state, Clerk refused entirely, acts before any arm and is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Normal,
    /// The percentage cannot rise; nobody's arm changes.
    Frozen,
    /// Tripped by itself: back to legacy, but not on privileged routes.
    RolledAuto,
    /// An operator confirmed the rollback: back to legacy everywhere.
    RolledOp,
}

impl Guard {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Frozen => "frozen",
            Self::RolledAuto => "rolled_auto",
            Self::RolledOp => "rolled_op",
        }
    }
}
