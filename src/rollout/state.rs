//! What a rollout is at a moment, and every move that is allowed from there: pure, so that a table can test it.
//!
//! Lowering is never limited; whatever could put more people into the Clerk arm is. Nothing here touches a disk or the
//! clock, and nobody is told: that is `control`. How a record outlives the process is `store`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Algorithm, Guard, Percent, Unit};

/// How people are dealt to places between 0 and 100 %. Whatever changes in it re-deals everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealing {
    pub algorithm: Algorithm,
    pub unit: Unit,
    pub salt: Arc<str>,
    /// Names the key of `crossgate-1` without telling it; empty for algorithms without one.
    pub key_id: Arc<str>,
}

/// The state of a rollout, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub rollout: Arc<str>,
    /// One more with each resume and each reshuffle.
    pub generation: u64,
    /// One more with each change; which of two records is the later one.
    pub revision: u64,
    pub guard: Guard,
    /// What was asked for.
    pub desired: Percent,
    /// What people are assigned by, also while rolled back: the guard then overrules it where the decision table says.
    pub assigned: Percent,
    pub dealing: Dealing,
    /// Milliseconds since the epoch.
    pub changed_at: i64,
    pub changed_by: Arc<str>,
    /// Since when `assigned` stands; milliseconds since the epoch.
    pub dwell_since: i64,
}

impl Record {
    pub const fn is_rolled(&self) -> bool {
        matches!(self.guard, Guard::RolledAuto | Guard::RolledOp)
    }

    /// The share of movable people in the Clerk arm: nobody after a rollback.
    pub const fn effective(&self) -> Percent {
        if self.is_rolled() { Percent::ZERO } else { self.assigned }
    }
}

/// `rollout.source`: who moves the percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    File,
    Api,
}

impl Source {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// `rollout.limits`, for whatever raises the percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_percent: Percent,
    /// Above zero.
    pub max_step: Percent,
    pub min_dwell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let max_step = Percent::from_ppm(250_000).unwrap_or(Percent::ALL);
        Self { max_percent: Percent::ALL, max_step, min_dwell: Duration::ZERO }
    }
}

/// What the config says about moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub source: Source,
    pub limits: Limits,
    /// How the config wants people dealt: taken up at the first start and by a reshuffle, never by an edit.
    pub dealing: Dealing,
}

/// Who asks, when.
#[derive(Debug, Clone)]
pub struct By {
    /// The name of a token, `unix`, or `config`; never a credential.
    pub actor: Arc<str>,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// A move that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Set(Percent),
    /// Deals everybody anew, as the config says by now.
    Reshuffle(Percent),
    Freeze,
    Resume(Option<Percent>),
    Rollback,
    Confirm,
    /// The config's percentage.
    File(Percent),
    /// The next step towards what the config says.
    Advance,
}

impl Move {
    /// Whether it only stops: nobody rises, and the bar of privileged routes stays where it is. Lowering a percentage is
    /// none, since on the legacy side a legacy credential is enough for a privileged action.
    pub const fn is_brake(self) -> bool {
        matches!(self, Self::Freeze | Self::Rollback)
    }

    /// Its name in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set(_) => "rollout.set",
            Self::Reshuffle(_) => "rollout.reshuffle",
            Self::Freeze => "rollout.freeze",
            Self::Resume(_) => "rollout.resume",
            Self::Rollback => "rollout.rollback",
            Self::Confirm => "rollout.confirm",
            Self::File(_) => "rollout.file",
            Self::Advance => "rollout.step",
        }
    }
}

/// Why a move is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another writer owns the percentage.
    Source(Source),
    Frozen,
    RolledBack,
    MaxPercent(Percent),
    /// The highest percentage that one step reaches.
    MaxStep(Percent),
    /// How long until the next step up.
    MinDwell(Duration),
    /// The move does not exist from this state.
    State(Guard, &'static str),
    NotFrozen,
    NothingToReshuffle,
    /// The key by which people were dealt is not there.
    Key(String),
    /// Somebody else was faster; the generation that it is.
    Generation(u64),
    /// Nobody could write down that it happened.
    Unrecorded(String),
    /// It could not be made durable.
    Storage(String),
}

impl Refusal {
    /// Its stable name in answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Frozen => "frozen",
            Self::RolledBack => "rolled_back",
            Self::MaxPercent(_) => "max_percent",
            Self::MaxStep(_) => "max_step",
            Self::MinDwell(_) => "min_dwell",
            Self::State(..) => "state",
            Self::NotFrozen => "not_frozen",
            Self::NothingToReshuffle => "same_dealing",
            Self::Key(_) => "key_file",
            Self::Generation(_) => "generation",
            Self::Unrecorded(_) => "audit_unavailable",
            Self::Storage(_) => "storage",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(Source::File) => {
                write!(f, "rollout.source is file: change rollout.percent in the config and reload")
            }
            Self::Source(Source::Api) => {
                write!(f, "rollout.source is api: the config's percentage counts at the first start only")
            }
            Self::Frozen => write!(f, "the rollout is frozen, so that it cannot rise: resume it first"),
            Self::RolledBack => write!(f, "the rollout is rolled back, so that it cannot rise: resume it first"),
            Self::MaxPercent(max) => write!(f, "rollout.limits.max_percent is {max} %"),
            Self::MaxStep(reach) => write!(f, "rollout.limits.max_step lets this step go up to {reach} %"),
            Self::MinDwell(left) => {
                write!(f, "rollout.limits.min_dwell: the next step up may come in {} s", left.as_secs().max(1))
            }
            Self::State(guard, what) => write!(f, "the rollout is {}, and {what}", guard.as_str()),
            Self::NotFrozen => write!(f, "a reshuffle moves people: freeze the rollout first"),
            Self::NothingToReshuffle => {
                write!(f, "algorithm, unit and salt of the config are those in use: there is nothing to reshuffle")
            }
            Self::Key(why) => write!(f, "people cannot be dealt: {why}"),
            Self::Generation(now) => write!(f, "the rollout has changed: its generation is {now}"),
            Self::Unrecorded(why) => write!(f, "the change cannot be recorded, hence is not made: {why}"),
            Self::Storage(why) => write!(f, "the change cannot be made durable: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Record {
    /// The record after a move; equal to this one when there is nothing to do.
    ///
    /// # Errors
    /// Why the move is not made.
    pub fn after(&self, asked: Move, terms: &Terms, by: &By) -> Result<Self, Refusal> {
        let mut next = self.clone();
        match asked {
            Move::Set(percent) => {
                only(terms, Source::Api)?;
                self.may_rise(percent, terms, by)?;
                next.desired = percent;
                next.assigned = percent;
            }
            Move::Reshuffle(percent) => self.reshuffle(percent, terms, &mut next)?,
            Move::Freeze => match self.guard {
                Guard::Normal => next.guard = Guard::Frozen,
                Guard::Frozen => {}
                guard @ (Guard::RolledAuto | Guard::RolledOp) => {
                    return Err(Refusal::State(guard, "nothing can rise from here, so there is nothing to freeze"));
                }
            },
            Move::Resume(percent) => self.resume(percent, terms, by, &mut next)?,
            // As a trip: the privileged bar stays where it is until somebody confirms.
            Move::Rollback => {
                if !self.is_rolled() {
                    next.guard = Guard::RolledAuto;
                }
            }
            Move::Confirm => match self.guard {
                Guard::RolledAuto | Guard::RolledOp => next.guard = Guard::RolledOp,
                guard @ (Guard::Normal | Guard::Frozen) => {
                    return Err(Refusal::State(guard, "only a rollback can be confirmed"));
                }
            },
            Move::File(percent) => {
                only(terms, Source::File)?;
                next.desired = percent;
                next.assigned = self.towards(percent, terms, by.at);
            }
            Move::Advance => {
                if terms.source == Source::File {
                    next.assigned = self.towards(self.desired, terms, by.at);
                }
            }
        }
        if next == *self {
            return Ok(next);
        }
        if next.assigned != self.assigned || next.generation != self.generation {
            next.dwell_since = by.at;
        }
        next.revision = self.revision.saturating_add(1);
        next.changed_at = by.at;
        next.changed_by = Arc::clone(&by.actor);
        Ok(next)
    }

    /// Whether an API call may go to this percentage.
    fn may_rise(&self, to: Percent, terms: &Terms, by: &By) -> Result<(), Refusal> {
        if to <= self.assigned {
            return Ok(());
        }
        match self.guard {
            Guard::Normal => {}
            Guard::Frozen => return Err(Refusal::Frozen),
            Guard::RolledAuto | Guard::RolledOp => return Err(Refusal::RolledBack),
        }
        within(self.assigned, to, terms.limits)?;
        match self.dwell_left(terms.limits, by.at) {
            Duration::ZERO => Ok(()),
            left => Err(Refusal::MinDwell(left)),
        }
    }

    fn dwell_left(&self, limits: Limits, now: i64) -> Duration {
        let elapsed = Duration::from_millis(u64::try_from(now.saturating_sub(self.dwell_since)).unwrap_or(0));
        limits.min_dwell.saturating_sub(elapsed)
    }

    /// Where a file's percentage leads by now: down at once, up by one step when its time has come.
    fn towards(&self, desired: Percent, terms: &Terms, now: i64) -> Percent {
        if desired <= self.assigned {
            return desired;
        }
        if self.guard != Guard::Normal || !self.dwell_left(terms.limits, now).is_zero() {
            return self.assigned;
        }
        let target = desired.min(terms.limits.max_percent).min(reach(self.assigned, terms.limits));
        // A maximum that was lowered takes nobody out: it bounds what rises.
        target.max(self.assigned)
    }

    fn resume(&self, percent: Option<Percent>, terms: &Terms, by: &By, next: &mut Self) -> Result<(), Refusal> {
        if percent.is_some() {
            only(terms, Source::Api)?;
        }
        let limits = terms.limits;
        match self.guard {
            Guard::Normal => {
                return Err(Refusal::State(self.guard, "there is nothing to resume from"));
            }
            Guard::Frozen => {
                let to = percent.unwrap_or(self.assigned);
                if to > self.assigned {
                    Self { guard: Guard::Normal, ..self.clone() }.may_rise(to, terms, by)?;
                }
                next.assigned = to;
            }
            // From nobody: the first step again, however far it had come.
            Guard::RolledAuto | Guard::RolledOp => {
                let first = reach(Percent::ZERO, limits).min(limits.max_percent);
                let to = percent.unwrap_or_else(|| self.assigned.min(first));
                within(Percent::ZERO, to, limits)?;
                next.assigned = to;
            }
        }
        if terms.source == Source::Api {
            next.desired = next.assigned;
        }
        next.guard = Guard::Normal;
        next.generation = self.generation.saturating_add(1);
        Ok(())
    }

    fn reshuffle(&self, percent: Percent, terms: &Terms, next: &mut Self) -> Result<(), Refusal> {
        if self.guard != Guard::Frozen {
            return Err(Refusal::NotFrozen);
        }
        if self.dealing == terms.dealing {
            return Err(Refusal::NothingToReshuffle);
        }
        if percent > self.assigned {
            return Err(Refusal::Frozen);
        }
        // The file's percentage stays the file's.
        if percent != self.assigned {
            only(terms, Source::Api)?;
            next.desired = percent;
        }
        next.assigned = percent;
        next.dealing = terms.dealing.clone();
        next.generation = self.generation.saturating_add(1);
        Ok(())
    }
}

fn only(terms: &Terms, source: Source) -> Result<(), Refusal> {
    if terms.source == source { Ok(()) } else { Err(Refusal::Source(terms.source)) }
}

/// The highest percentage that one step up reaches.
fn reach(from: Percent, limits: Limits) -> Percent {
    Percent::from_ppm(from.ppm().saturating_add(limits.max_step.ppm())).unwrap_or(Percent::ALL)
}

fn within(from: Percent, to: Percent, limits: Limits) -> Result<(), Refusal> {
    if to > limits.max_percent {
        return Err(Refusal::MaxPercent(limits.max_percent));
    }
    let reach = reach(from, limits);
    if to > reach { Err(Refusal::MaxStep(reach)) } else { Ok(()) }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
