//! Changes of the rollout in the trail: recorded before they take effect, or not made.
//!
//! Owns what such an entry says, and which change goes on although nothing can be written: only one that takes nobody's
//! protection away. Whether a change is allowed at all is `rollout`'s.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::entry::{Actor, Before, Entry, Event, Id, Policy, RolloutPart, Shift, Text};
use super::ledger::Ledger;
use super::trail::Unavailable;
use crate::clock;
use crate::rollout::{Change, Observer, Record};

/// An operator waits longer than a request: a slow disk is no reason to refuse a rollback.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the config says by now.
#[derive(Debug, Clone)]
pub struct Terms {
    /// `audit.events` has `rollout`.
    pub is_listed: bool,
    /// Something must not go on without a trail.
    pub is_required: bool,
    pub snapshot: Arc<str>,
}

/// Writes changes of the rollout into the trail, and into the log.
pub struct Moves {
    ledger: Ledger,
    terms: Box<dyn Fn() -> Terms + Send + Sync>,
    /// The entry of the change that is being made.
    last: Mutex<Id>,
}

impl Moves {
    pub fn new(ledger: Ledger, terms: impl Fn() -> Terms + Send + Sync + 'static) -> Self {
        Self { ledger, terms: Box::new(terms), last: Mutex::new(Id(0)) }
    }

    /// That what was recorded did not happen.
    fn retract(&self, change: &Change<'_>, code: &'static str, why: &str) {
        let id = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let terms = (self.terms)();
        let resource = resource(change);
        let mut entry = told(change, &resource, &terms.snapshot, Id::random());
        entry.decision = Some("deny");
        entry.code = Some(code);
        entry.reason = Some(Text(why));
        entry.attempt = Some(id);
        self.ledger.post(&entry);
    }
}

impl Observer for Moves {
    fn record(&self, change: &Change<'_>) -> Result<(), String> {
        let by = &*change.new.changed_by;
        tracing::info!(action = change.action, by, reason = change.reason, "the rollout is about to change");
        let terms = (self.terms)();
        if !terms.is_listed {
            return Ok(());
        }
        let id = Id::random();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = id;
        let resource = resource(change);
        let mut entry = told(change, &resource, &terms.snapshot, id);
        entry.decision = Some("allow");
        entry.reason = change.reason.map(Text);
        let why = match commit(&self.ledger, &entry) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if change.is_brake || !terms.is_required {
            if terms.is_required {
                tracing::error!(action = change.action, by, why, "the rollout changes before that is recorded");
            }
            // It waits in the queue until the trail can be written.
            self.ledger.post(&entry);
            return Ok(());
        }
        // It may have reached the disk in the moment in which nobody waited any more.
        self.retract(change, "audit_unavailable", &why);
        Err(why)
    }

    fn undone(&self, change: &Change<'_>, why: &str) {
        tracing::error!(action = change.action, why, "the rollout has not changed after all");
        if (self.terms)().is_listed {
            self.retract(change, "storage", why);
        }
    }
}

/// Waits on this thread, which serves nobody. At the first start there is no runtime yet, hence one of its own.
fn commit(ledger: &Ledger, entry: &Entry<'_>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|problem| format!("no runtime: {problem}"))?;
    let durable: Result<(), Unavailable> = runtime.block_on(ledger.change(entry, PATIENCE));
    durable.map_err(|why| match ledger.trail().status().problem {
        Some(problem) => format!("{why}: {problem}"),
        None => why.to_string(),
    })
}

fn resource(change: &Change<'_>) -> String {
    format!("rollout:{}", change.new.rollout)
}

fn told<'a>(change: &'a Change<'_>, resource: &'a str, snapshot: &'a str, id: Id) -> Entry<'a> {
    let new = change.new;
    let by = &*new.changed_by;
    let mut entry = Entry::new(id, clock::unix_micros(), Event::Rollout);
    entry.action = Some(Text(change.action));
    entry.resource = Some(Text(resource));
    // No token bears one of these names.
    let method = match by {
        "unix" => "unix",
        "config" => "config",
        _ => "admin",
    };
    entry.actor = Some(Actor { subject: Some(Text(by)), method: Some(method), ..Actor::default() });
    entry.rollout = Some(RolloutPart { generation: new.generation, percent: new.effective() });
    let before = |old: &Record| Before {
        generation: old.generation,
        percent: old.effective(),
        state: old.guard.as_str(),
        desired: old.desired,
    };
    let (state, desired) = (new.guard.as_str(), new.desired);
    entry.change = Some(Shift { state, desired, before: change.old.map(before) });
    entry.policy = Some(Policy { snapshot: Text(snapshot), file: None, line: None });
    entry
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moves").field("last", &self.last).finish_non_exhaustive()
    }
}
