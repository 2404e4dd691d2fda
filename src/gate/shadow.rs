//! What becomes of a comparison of the two logins: it is counted, some disagreements become a line of the log, and what
//! Clerk alone would grant on a privileged route becomes an entry of the trail.
//!
//! Delays and refuses nothing: what cannot be written is dropped. Writes ids and the names of roles and codes; never a
//! token, a cookie, a query or a path.

use std::time::Instant;

use pingora_proxy::Session;

use super::Gate;
use super::decide::shadow::{Comparison, Evidence, Heard, Outcome, Shadow};
use super::passage::Passage;
use super::record;
use crate::audit::{Actor, Event, Text, WIDENING};
use crate::identity::Facts;
use crate::snapshot;

/// Bytes of a list of roles in a line.
const ROLES_CAP: usize = 256;

pub(super) fn observe(gate: &Gate, session: &Session, passage: &Passage, shadow: &Shadow) {
    let Some(rules) = &passage.snapshot.shadow else { return };
    rules.comparisons.count(&shadow.comparison);
    let Some(evidence) = &shadow.evidence else { return };
    tell(rules, passage, &shadow.comparison, evidence);
    if evidence.widens {
        write(gate, session, passage, evidence);
    }
}

/// A line of the log, if it is this one's turn.
fn tell(rules: &snapshot::Shadow, passage: &Passage, comparison: &Comparison, evidence: &Evidence) {
    let Some(route) = passage.route else { return };
    let dimensions = comparison.disagreements();
    let Some(left_out) = rules.comparisons.admits(route, dimensions, Instant::now()) else { return };
    let disagree = comparison.each().filter(|(_, outcome)| *outcome == Outcome::Disagree);
    let dimensions = disagree.map(|(dimension, _)| dimension.as_str()).collect::<Vec<_>>().join(",");
    let Evidence { legacy, clerk, widens } = evidence;
    let (old, new) = (facts(legacy), facts(clerk));
    tracing::info!(
        target: "crossgate::shadow",
        rollout = &*rules.comparisons.rollout,
        dimensions,
        route = passage.snapshot.routes.get(route).map(|route| &*route.id),
        request_id = passage.request_id(),
        widens,
        legacy_subject = old.map(|facts| facts.subject.as_str()),
        clerk_subject = new.map(|facts| facts.subject.as_str()),
        legacy_org = old.and_then(|facts| facts.canonical_org.as_deref()),
        clerk_org = new.and_then(|facts| facts.canonical_org.as_deref()),
        legacy_roles = old.map(|facts| roles(&facts.legacy_roles)),
        clerk_role = new.and_then(|facts| facts.org.as_ref()?.role.as_deref()),
        legacy_code = legacy.word(),
        clerk_code = clerk.word(),
        legacy_lacks = lacks(legacy),
        clerk_lacks = lacks(clerk),
        left_out,
        "the two logins disagree"
    );
}

/// That one person's Clerk login would be let through where their legacy login is not. Goes on its way: the request waits
/// for nothing.
fn write(gate: &Gate, session: &Session, passage: &Passage, evidence: &Evidence) {
    let Some(facts) = facts(&evidence.clerk) else { return };
    let route = passage.route.and_then(|index| passage.snapshot.routes.get(index)).map(|route| &*route.id);
    let made = || {
        let words = record::words(gate, session, passage);
        let mut entry = record::entry(passage, &words, Event::System);
        let reason = match &evidence.legacy.permission {
            Some(Err(refusal)) => format!("only Clerk would grant it; with the legacy login {refusal}"),
            Some(Ok(())) | None => "only Clerk would grant it".to_owned(),
        };
        entry.reason = Some(Text(&reason));
        entry.action = Some(Text(WIDENING));
        entry.actor.get_or_insert_with(|| Actor {
            subject: Some(Text(&facts.subject)),
            clerk_user: facts.clerk_user.as_deref().map(Text),
            legacy_user: facts.legacy_user.as_deref().map(Text),
            ..Actor::default()
        });
        (Event::System, entry.body())
    };
    let person = (&*facts.instance, facts.subject.as_str());
    gate.ledger.notice(&(WIDENING, person), &route, WIDENING, made);
}

fn facts(heard: &Heard) -> Option<&Facts> {
    heard.person.as_ref().map(|person| &person.facts)
}

/// The predicate that is in this side's way.
fn lacks(heard: &Heard) -> Option<&'static str> {
    heard.permission.as_ref()?.as_ref().err().map(|refusal| refusal.predicate())
}

fn roles(names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        if text.len() + name.len() > ROLES_CAP {
            text.push('…');
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}
