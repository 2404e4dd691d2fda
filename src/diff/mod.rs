//! Which decisions change between two configs, by route and by who asks.
//!
//! Behind `crossgate diff`. From the structure of both: sample requests for every way in which the two route tables can
//! treat a request differently ([`crate::route::Sampler`]), and for each pair of routes that such a request falls under,
//! people with every combination of the traits that one of the two rules names. Both configs then decide about them by the
//! code that serves, and the differences are put into as few words as will do. What the config says beside its routes is
//! compared as written, and each difference that could change a decision is told. Reads no file and fetches no key.

mod conditions;
mod cover;
mod judge;
mod landing;
mod pairs;
mod request;
mod routes;
mod settings;
pub mod show;
mod traits;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::clock::Now;
use crate::snapshot::Snapshot;

pub use judge::{Direction, Outcome};
pub use landing::Landing;
pub use settings::{Also, Effect, Written};

/// One config, compiled and as written.
#[derive(Debug)]
pub struct Version {
    pub snapshot: Snapshot,
    pub written: Written,
}

/// What differs.
#[derive(Debug, Default)]
pub struct Difference {
    pub changes: Vec<Change>,
    pub also: Vec<Also>,
    /// What was not compared to the last case, in words.
    pub gaps: Vec<String>,
    pub compared: Compared,
}

/// How much was asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub requests: usize,
    pub decisions: usize,
}

/// Requests that fall under one pair of routes, and the people for whom that makes a difference.
#[derive(Debug)]
pub struct Change {
    pub methods: BTreeSet<String>,
    pub paths: BTreeSet<String>,
    /// One of these requests.
    pub example: String,
    /// The host, headers and parameters without which it would be another request.
    pub conditions: Vec<String>,
    pub old: Landing,
    pub new: Landing,
    pub cases: Vec<Case>,
}

/// People whose decision changes in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub direction: Direction,
    /// Each line is one description; together they are all of them.
    pub who: Vec<Who>,
    /// Descriptions that were left out.
    pub more: usize,
    pub old: Outcome,
    pub new: Outcome,
    /// Predicates that refuse, before or after, where they differ from person to person.
    pub predicates: BTreeSet<&'static str>,
}

/// A description of people: all of whom each part is true.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// What they came with: `session`, `legacy`, `runner`, `no credential`.
    pub kinds: Vec<&'static str>,
    pub traits: Vec<String>,
}

/// What `--fail-on` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOn {
    Any,
    Widening,
    Narrowing,
}

impl Difference {
    /// Whether something changes in this way, or could: what was not compared counts.
    pub fn has(&self, what: FailOn) -> bool {
        let cases = || self.changes.iter().flat_map(|change| &change.cases);
        match what {
            FailOn::Any => {
                !self.changes.is_empty()
                    || !self.gaps.is_empty()
                    || self.also.iter().any(|also| also.effect != Effect::None)
            }
            FailOn::Widening => {
                !self.gaps.is_empty()
                    || cases().any(|case| case.direction == Direction::Widening)
                    || self.also.iter().any(|also| also.effect.may_widen())
            }
            FailOn::Narrowing => {
                !self.gaps.is_empty()
                    || cases().any(|case| case.direction == Direction::Narrowing)
                    || self.also.iter().any(|also| also.effect.may_narrow())
            }
        }
    }

    pub(super) fn gap(&mut self, text: String) {
        if !self.gaps.contains(&text) {
            self.gaps.push(text);
        }
    }
}

/// Compares two configs. Their policies serve nobody afterwards: conditions have been replaced in them.
pub fn compare(old: &mut Version, new: &mut Version, now: Now) -> Difference {
    conditions::stand_in(&mut old.snapshot, &mut new.snapshot);
    let (old, new) = (&*old, &*new);
    let mut difference = Difference::default();
    let matched = routes::matched(&old.snapshot, &new.snapshot);
    let landings = landing::differing(&old.snapshot, &new.snapshot, &matched, &mut difference);
    for group in landings {
        pairs::compare(&old.snapshot, &new.snapshot, group, now, &mut difference);
    }
    difference.changes.sort_by(|one, other| {
        let weight = |change: &Change| change.cases.iter().map(|case| case.direction).min();
        (weight(one), &one.paths, &one.methods).cmp(&(weight(other), &other.paths, &other.methods))
    });
    routes::settings(&old.snapshot, &new.snapshot, &matched, &mut difference);
    settings::compare(old, new, &mut difference);
    difference.also.sort_by(|one, other| (one.effect, &one.what).cmp(&(other.effect, &other.what)));
    difference.also.dedup();
    difference
}

/// A value of the config, as JSON has it.
type Json = Value;

#[cfg(test)]
mod tests;
