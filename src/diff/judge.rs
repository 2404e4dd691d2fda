//! One person on one request, decided by the code that serves, and what the two configs' answers are to each other.

use std::sync::Arc;

use serde::Serialize;

use super::request::Readable;
use crate::clock::Now;
use crate::gate::decide::{Caller, Decided, Decision, Refusal, Tries, World, decide};
use crate::identity::Identity;
use crate::identity::checks::Checks;
use crate::identity::clerk::Attempt;
use crate::identity::legacy::Answers;
use crate::policy::{Permit, Reported};
use crate::rollout::Side;
use crate::route::{Access, Route};
use crate::snapshot::Snapshot;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    Allow {
        /// Whether somebody's identity goes up with it.
        named: bool,
        /// Under `mode: report`: the predicate that would have refused.
        reported: Option<&'static str>,
    },
    Deny {
        status: u16,
        code: &'static str,
        predicate: Option<&'static str>,
    },
}

/// What a change does to somebody. Ordered by how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// They get in, and did not before.
    Widening,
    /// They got in, and do no more.
    Narrowing,
    /// In or out as before, with another code, or as nobody instead of as themselves.
    Other,
    /// Refused as before, by another condition: the trail, `explain` and policy tests see it, clients do not.
    Reason,
}

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Widening => "widening",
            Self::Narrowing => "narrowing",
            Self::Other => "other",
            Self::Reason => "reason",
        }
    }
}

impl Outcome {
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let predicate = match refusal {
            Refusal::Policy(refusal) => Some(refusal.predicate()),
            _ => None,
        };
        Self::Deny { status: refusal.code().status(), code: refusal.code().as_str(), predicate }
    }

    fn of(decision: &Decision) -> Self {
        match &decision.outcome {
            Ok(permit) => Self::allowed(permit),
            Err(refusal) => Self::refused(refusal),
        }
    }

    fn allowed(permit: &Permit) -> Self {
        let reported = permit.reported().map(|reported| match reported {
            Reported::Refused(refusal) => refusal.predicate(),
            Reported::Unauthenticated(_) => "credential",
        });
        Self::Allow { named: permit.identity().is_some(), reported }
    }

    /// `None` where they are the same.
    pub(super) fn direction(&self, new: &Self) -> Option<Direction> {
        match (self, new) {
            _ if self == new => None,
            (Self::Deny { .. }, Self::Allow { .. }) => Some(Direction::Widening),
            (Self::Allow { .. }, Self::Deny { .. }) => Some(Direction::Narrowing),
            (Self::Deny { code, .. }, Self::Deny { code: other, .. }) if code == other => Some(Direction::Reason),
            (Self::Allow { named, .. }, Self::Allow { named: other, .. }) if named == other => Some(Direction::Reason),
            (Self::Deny { .. }, Self::Deny { .. }) | (Self::Allow { .. }, Self::Allow { .. }) => Some(Direction::Other),
        }
    }

    /// Without the predicate, which is no part of the answer.
    pub(super) fn answer(&self) -> Self {
        match self {
            Self::Allow { named, .. } => Self::Allow { named: *named, reported: None },
            Self::Deny { status, code, .. } => Self::Deny { status: *status, code, predicate: None },
        }
    }

    pub(super) const fn predicate(&self) -> Option<&'static str> {
        match self {
            Self::Allow { reported, .. } => *reported,
            Self::Deny { predicate, .. } => *predicate,
        }
    }
}

/// For people: `allow`, `deny (role)`, `deny 401 no_credential`.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow { named, reported } => {
                f.write_str(if *named { "allow" } else { "allow as nobody" })?;
                reported.map_or(Ok(()), |predicate| write!(f, " (report mode; else {predicate})"))
            }
            Self::Deny { code: "forbidden", predicate: Some(predicate), .. } => write!(f, "deny ({predicate})"),
            Self::Deny { status, code, .. } => write!(f, "deny {status} {code}"),
        }
    }
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Asker {
    Nobody,
    Person(Arc<Identity>, Side),
    /// With a legacy credential that only the API can verify (`passthrough`).
    Unproven,
}

/// The decision, of a config without people under way: the arm is the asker's.
pub(super) fn judge(
    snapshot: &Snapshot,
    request: &Result<Readable, Outcome>,
    route: Option<&Route>,
    asker: &Asker,
    now: Now,
) -> Outcome {
    let request = match request {
        Ok(request) => request,
        Err(refused) => return refused.clone(),
    };
    let answers = Answers::default();
    let caller = match asker {
        Asker::Nobody => Caller::Credentials(Tries {
            legacy: Attempt::Last,
            clerk: Attempt::Last,
            answers: &answers,
            draw: || None,
            checks: Checks::NOBODY,
        }),
        Asker::Person(person, side) => Caller::Assumed(person, Some(*side)),
        Asker::Unproven => return unproven(snapshot, route),
    };
    let view = request.view();
    match decide(World { snapshot, rollout: None }, &view, caller, now, &mut ()) {
        Decided::Done(decision) => Outcome::of(&decision),
        // INVARIANT: nobody and somebody assumed have no credential to fetch anything for.
        Decided::Wait(_) => Outcome::Deny { status: 503, code: "internal", predicate: None },
    }
}

/// As `gate::decide::resolve` has it where nothing but that credential came.
fn unproven(snapshot: &Snapshot, route: Option<&Route>) -> Outcome {
    let deny = |status, code, predicate| Outcome::Deny { status, code, predicate };
    let Some(route) = route else { return deny(403, "no_route", None) };
    let may_pass = match route.access {
        Access::Public | Access::Login | Access::Protected => true,
        Access::Privileged => {
            snapshot.legacy.as_ref().and_then(|legacy| legacy.passthrough()).is_some_and(|rules| rules.privileged)
        }
    };
    match snapshot.policies.get(route.index) {
        Some(policy) if may_pass => match Permit::unproven(route, policy) {
            Ok(permit) => Outcome::allowed(&permit),
            Err(refusal) => Outcome::refused(&Refusal::Policy(refusal)),
        },
        _ if snapshot.instances.is_empty() => deny(401, "no_credential", None),
        _ => deny(401, "step_up_clerk", None),
    }
}
