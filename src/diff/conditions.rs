//! Conditions in CEL, each a question of its own: it holds, it does not, or it cannot be told.
//!
//! What a condition comes to follows from its text in ways that are not followed here. Two with one and the same meaning come
//! to the same; a changed one may come to anything, so that it is told as widening and narrowing where it decides. Before
//! anybody is judged, each condition is replaced by one that reads a claim which stands for it.

use std::collections::HashMap;

use crate::policy::{Condition, Policy};
use crate::snapshot::Snapshot;

/// What the names of such claims begin with; no token has one.
const STAND_IN: &str = "\u{0}when ";

/// Replaces all conditions of both.
pub(super) fn stand_in(old: &mut Snapshot, new: &mut Snapshot) {
    let mut known: HashMap<String, (usize, Condition)> = HashMap::new();
    let policies = old.policies.iter_mut().chain(&mut new.policies);
    policies.for_each(|policy: &mut Policy| {
        policy.replace_conditions(&mut |condition| {
            let next = known.len();
            let (at, first) = known.entry(condition.meaning()).or_insert_with(|| (next, condition.clone()));
            first.stood_in_by(&format!("{STAND_IN}{at}"))
        });
    });
}

/// The claim that stands for a condition.
pub(super) fn claim(condition: &Condition) -> Option<&str> {
    condition.claims().into_iter().find(|name| name.starts_with(STAND_IN))
}

/// Its text on one line of bounded length.
pub(super) fn shown(condition: &Condition) -> String {
    const LONGEST: usize = 60;
    let text = condition.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
