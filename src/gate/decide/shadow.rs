//! Shadow: what each login alone would have meant for a request that carries both.
//!
//! Pure, made by the same steps as the decision and after it, which it never changes. Sends nothing, waits for nothing and
//! counts nothing: what could not be told when the decision was made is incomparable. Only the gate counts and tells.
//!
//! | dimension | is compared | incomparable |
//! |---|---|---|
//! | identity | one person, by the map or the mapped claim | a side names nobody: bad, expired, void, or not to be told now |
//! | org | the active org's canonical id; none on both sides is the same | no two sides of one person |
//! | role | whether a rule on a role could tell them apart (`identity.roles`) | the same; another org; a side says none; neither is listed |
//! | permission | whether the route's rule lets this person through | no two sides of one person |
//! | status | what a request with this credential alone is answered | 503 on a side: that is the moment, not the person |

use std::fmt;
use std::sync::Arc;

use super::arm::Stand;
use super::resolve::{self, Moment};
use super::table::Same;
use super::verify::Verdicts;
use super::{Case, Decision, LACKS_TOKEN, Refusal, csrf, judge};
use crate::gate::reply::Code;
use crate::identity::{Carrier, Facts, Identity, Verdict, legacy};
use crate::policy::{self, Reported};
use crate::rollout::Side;
use crate::route::{Access, Mode};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    Identity,
    Org,
    Role,
    Permission,
    Status,
}

impl Dimension {
    pub const ALL: [Self; 5] = [Self::Identity, Self::Org, Self::Role, Self::Permission, Self::Status];

    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Org => "org",
            Self::Role => "role",
            Self::Permission => "permission",
            Self::Status => "status",
        }
    }

    /// One bit of a set of dimensions.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// How the two sides compare in one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Agree,
    Disagree,
    Incomparable,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Agree, Self::Disagree, Self::Incomparable];

    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
            Self::Incomparable => "incomparable",
        }
    }

    const fn of(agree: Option<bool>) -> Self {
        match agree {
            Some(true) => Self::Agree,
            Some(false) => Self::Disagree,
            None => Self::Incomparable,
        }
    }
}

/// The outcome of each dimension, in the order of [`Dimension::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison([Outcome; Dimension::ALL.len()]);

impl Comparison {
    pub fn each(&self) -> impl Iterator<Item = (Dimension, Outcome)> {
        Dimension::ALL.into_iter().zip(self.0)
    }

    /// The [bits](Dimension::bit) of the dimensions in which they disagree.
    pub fn disagreements(&self) -> u8 {
        let disagree = self.each().filter(|(_, outcome)| *outcome == Outcome::Disagree);
        disagree.fold(0, |bits, (dimension, _)| bits | dimension.bit())
    }

    /// In one word: one disagreement is one.
    pub fn overall(&self) -> Outcome {
        let has = |outcome| self.0.contains(&outcome);
        match () {
            () if has(Outcome::Disagree) => Outcome::Disagree,
            () if has(Outcome::Agree) => Outcome::Agree,
            () => Outcome::Incomparable,
        }
    }
}

/// One request, as each login alone would have had it.
#[derive(Debug)]
pub struct Shadow {
    pub comparison: Comparison,
    /// What the sides said, where they disagree.
    pub evidence: Option<Box<Evidence>>,
}

/// A disagreement, for those who look into it.
#[derive(Debug)]
pub struct Evidence {
    pub legacy: Heard,
    pub clerk: Heard,
    /// One person is refused by a privileged route's rule with the legacy login and let through with Clerk's.
    pub widens: bool,
}

/// What one side alone comes to.
#[derive(Debug)]
pub struct Heard {
    /// Who it names; nobody where it proves nothing.
    pub person: Option<Arc<Identity>>,
    /// What a request with it alone is refused with.
    pub code: Option<Code>,
    /// What the route's rule says of the person; `None` where there is nobody to judge.
    pub permission: Option<Result<(), policy::Refusal>>,
}

impl Heard {
    /// The code of the answer, `ok` where it is the API's.
    pub fn word(&self) -> &'static str {
        self.code.map_or("ok", Code::as_str)
    }
}

/// The same while it is compared: who it names is not kept unless they disagree.
struct Alone<'a> {
    person: Option<&'a Arc<Identity>>,
    code: Option<Code>,
    permission: Option<Result<(), policy::Refusal>>,
}

impl Alone<'_> {
    /// Whether the route's rule lets them through.
    fn is_permitted(&self) -> Option<bool> {
        self.permission.as_ref().map(Result::is_ok)
    }

    fn kept(self) -> Heard {
        Heard { person: self.person.map(Arc::clone), code: self.code, permission: self.permission }
    }
}

fn status_of(code: Option<Code>) -> u16 {
    code.map_or(200, Code::status)
}

/// Compares both sides of a request that was decided. `stand` is where the person stands whom its credentials name.
/// `None` where there is nothing to compare, or nobody asked for it.
pub(super) fn compare(case: &Case<'_>, verdicts: &Verdicts, made: &Decision, stand: Stand) -> Option<Shadow> {
    let rules = case.world.snapshot.shadow.as_ref()?;
    let is_judged = matches!(case.found.route.access, Access::Protected | Access::Privileged);
    let is_both = !matches!(verdicts.legacy, legacy::Verdict::Absent) && !matches!(verdicts.clerk, Verdict::Absent);
    if !is_judged || !is_both {
        return None;
    }
    // Junk is anybody's to send: two bad ones say nothing of the two logins, and would dilute what good ones say.
    let is_good =
        matches!(verdicts.legacy, legacy::Verdict::Valid { .. }) || matches!(verdicts.clerk, Verdict::Valid { .. });
    if !is_good {
        return None;
    }
    let (old, new) = (legacy_person(&verdicts.legacy), clerk_person(&verdicts.clerk));
    // Choosing an arm is the dearest step: of one person with one org on both sides it is done.
    let stands_there = |facts: &Facts| match old.map(|old| &old.facts) {
        Some(old) => old.subject == facts.subject && old.canonical_org == facts.canonical_org && old.link == facts.link,
        None => true,
    };
    let legacy = alone(case, verdicts, made, Side::Legacy, old.map(|_| stand));
    let clerk = alone(case, verdicts, made, Side::Clerk, new.filter(|new| stands_there(&new.facts)).map(|_| stand));
    let pair = legacy.person.zip(clerk.person);
    let is_one = pair.map(|(old, _)| resolve::same(&old.facts, &verdicts.clerk) == Same::Same);
    // Two people have nothing in common that could differ.
    let of_one = pair.filter(|_| is_one == Some(true)).map(|(old, new)| (&old.facts, &new.facts));
    let org = of_one.map(|(old, new)| old.canonical_org == new.canonical_org);
    let role = of_one.filter(|_| org == Some(true)).and_then(|(old, new)| rules.roles.agree(old, new));
    let permitted = of_one.and_then(|_| legacy.is_permitted().zip(clerk.is_permitted()));
    let comparison = Comparison([
        Outcome::of(is_one),
        Outcome::of(org),
        Outcome::of(role),
        Outcome::of(permitted.map(|(old, new)| old == new)),
        Outcome::of(status(&legacy, &clerk, &verdicts.legacy)),
    ]);
    let widens = permitted == Some((false, true)) && case.found.route.access == Access::Privileged;
    let evidence = (comparison.disagreements() != 0)
        .then(|| Box::new(Evidence { legacy: legacy.kept(), clerk: clerk.kept(), widens }));
    Some(Shadow { comparison, evidence })
}

/// Whether both alone would be answered alike. What only the API can verify is for the API to answer.
fn status(old: &Alone<'_>, new: &Alone<'_>, verdict: &legacy::Verdict) -> Option<bool> {
    let (old, new) = (status_of(old.code), status_of(new.code));
    let is_told = !matches!(verdict, legacy::Verdict::Unproven { .. }) && old != 503 && new != 503;
    is_told.then_some(old == new)
}

/// What this side alone comes to. Whoever the request was let through or refused as is not judged twice.
fn alone<'a>(case: &Case<'_>, verdicts: &'a Verdicts, made: &Decision, side: Side, stand: Option<Stand>) -> Alone<'a> {
    let person = match side {
        Side::Legacy => legacy_person(&verdicts.legacy),
        Side::Clerk => clerk_person(&verdicts.clerk),
    };
    if let Some(identity) = person
        && is_taken_alone(case, verdicts, side)
        && !made.identity.as_ref().is_some_and(|(as_whom, _)| Arc::ptr_eq(as_whom, identity))
    {
        let permission = permission(case, identity);
        let refusal = permission.as_ref().err().filter(|_| case.found.route.mode == Mode::Enforce);
        let code = refusal.map(|refusal| Refusal::Policy(refusal.clone()).code());
        return Alone { person, code, permission: Some(permission) };
    }
    let is_made_as = |person: &Arc<Identity>| {
        let as_whom = made.identity.as_ref().filter(|_| by_rule(made).is_some());
        as_whom.is_some_and(|(identity, _)| Arc::ptr_eq(identity, person))
    };
    let own;
    let decision = if person.is_some_and(is_made_as) {
        made
    } else {
        let moment = Moment { stand, ..case.moment };
        own = judge(&Case { moment, ..*case }, &verdicts.alone(side), &mut ()).0;
        &own
    };
    // Of whoever is refused before the rule, the rule is asked all the same.
    let permission = person.map(|person| match by_rule(decision) {
        Some(said) => said.map_err(Clone::clone),
        None => permission(case, person),
    });
    Alone { person, code: decision.outcome.as_ref().err().map(Refusal::code), permission }
}

/// Whether this good credential alone leads to the route's rule and nowhere else, so that the rule is all there is to ask:
/// rule 5 of the table takes any on a protected route, whatever the arm, the keys and Clerk's health.
fn is_taken_alone(case: &Case<'_>, verdicts: &Verdicts, side: Side) -> bool {
    let Case { world, view, found, .. } = *case;
    let is_plain = found.route.access == Access::Protected && view.request.handshake.is_none();
    is_plain
        && match (side, &verdicts.clerk) {
            (Side::Legacy, _) => true,
            // A token may have to be made for them; another site's page may have sent them along.
            (Side::Clerk, Verdict::Valid { identity, carrier }) => {
                let is_theirs =
                    *carrier == Carrier::Header || csrf::is_own_page(view, &identity.facts.instance, world.snapshot);
                world.snapshot.mint.is_none() && is_theirs
            }
            (Side::Clerk, _) => false,
        }
}

fn permission(case: &Case<'_>, person: &Arc<Identity>) -> Result<(), policy::Refusal> {
    let Case { found, policy, view, .. } = *case;
    let permit = policy::authorize(found.route, policy, Some(person), &found.captures, view, &mut ())?;
    match permit.reported() {
        Some(Reported::Refused(refusal)) => Err(refusal.clone()),
        Some(Reported::Unauthenticated(_)) | None => Ok(()),
    }
}

/// What the route's rule said, if it came to that; in report mode what it would have said.
fn by_rule(decision: &Decision) -> Option<Result<(), &policy::Refusal>> {
    let refusal = match &decision.outcome {
        Ok(permit) => match permit.reported() {
            Some(Reported::Unauthenticated(_)) => return None,
            Some(Reported::Refused(refusal)) => Some(refusal),
            None => None,
        },
        Err(Refusal::Policy(refusal)) => Some(refusal),
        Err(_) => return None,
    };
    // The rule was content: only a token could not be made.
    Some(refusal.filter(|refusal| refusal.predicate() != LACKS_TOKEN).map_or(Ok(()), Err))
}

/// The person of a legacy credential, unless it is void: of somebody sealed it proves nothing.
fn legacy_person(verdict: &legacy::Verdict) -> Option<&Arc<Identity>> {
    match verdict {
        legacy::Verdict::Valid { identity, .. } => Some(identity).filter(|one| one.facts.link.legacy_proves()),
        _ => None,
    }
}

fn clerk_person(verdict: &Verdict) -> Option<&Arc<Identity>> {
    match verdict {
        Verdict::Valid { identity, .. } => Some(identity),
        _ => None,
    }
}

/// Each dimension, and the sides where they disagree: for `explain`.
impl fmt::Display for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (dimension, outcome)) in self.comparison.each().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", dimension.as_str(), outcome.as_str())?;
        }
        let Some(evidence) = &self.evidence else { return Ok(()) };
        for (name, heard) in [("legacy", &evidence.legacy), ("clerk", &evidence.clerk)] {
            write!(f, "; {name} alone: {} {}", status_of(heard.code), heard.word())?;
            if let Some(Err(refusal)) = &heard.permission {
                write!(f, " ({refusal})")?;
            }
        }
        if evidence.widens { f.write_str("; only Clerk would grant it") } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "shadow_tests.rs"]
mod tests;
