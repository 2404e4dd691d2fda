//! Where somebody stands, told to whoever asks: what an ordinary route would say of these credentials, and what a client
//! does next so that a privileged one would not refuse them for how they signed in.
//!
//! Asks both sides and the [`table`] as a decision does, and differs in that it refuses nobody: what would be a refusal is
//! an answer here. Never says more of a person than what their own credential proved, and of two people nothing.

use super::arm::stand;
use super::resolve::{self, Moment, Question};
use super::runner::{self, Came};
use super::table::{self, Beside, Clerk, Denial, Inputs, Issuance, Resolved, Same};
use super::verify::{self, Pause, Verdicts};
use super::{Caller, Refusal, Steps, Tries, Wait, World, follow};
use crate::clock::Now;
use crate::gate::close::rfc3339;
use crate::gate::reply::{self, Code};
use crate::identity::clerk::{self, Health};
use crate::identity::{self, Facts, Link, Method, Verdict, legacy};
use crate::policy::{self, OrgName};
use crate::request::View;
use crate::rollout::Side;
use crate::route::Access;
use crate::status::{Action, Migration, Org, Status, User};

/// A status, and what is worth fetching, but not worth waiting for.
#[derive(Debug)]
pub(in crate::gate) struct Asked {
    pub(in crate::gate) status: Status,
    pub(in crate::gate) refetch: Option<Wait>,
}

/// Nothing proves anybody, and nothing more is to be told.
const ANONYMOUS: &str = "anonymous";
/// A credential is there that crossgate did not verify: in an outage, or since only the API can.
const UNVERIFIED: &str = "unverified";
/// The credentials name two people.
const CONFLICT: &str = "conflict";
/// A legacy credential is good, and proves nothing any more.
const SEALED: &str = "sealed";

/// Where the sender of these credentials stands. `random` is 0 to 1, and spreads out when they come back.
///
/// # Errors
/// What has to come first; then it is asked again, with the [`Tries`] that are left.
pub(in crate::gate) fn standing(
    world: World<'_>,
    view: &View<'_>,
    tries: Tries<'_>,
    (now, random): (Now, f64),
    steps: &mut impl Steps,
) -> Result<Asked, Wait> {
    let caller = Caller::Credentials(tries);
    if let Some(came) = runner::came(world.snapshot, view, caller, now, steps) {
        return Ok(Asked { status: of_runner(world, came).at(now, random), refetch: None });
    }
    let told = match verify::verify(world.snapshot, view, Access::Protected, tries, now) {
        Ok(verdicts) => {
            follow(&verdicts, caller, world.snapshot, steps);
            let told = tell(world, &verdicts, now);
            return Ok(Asked { status: told.at(now, random), refetch: verdicts.refetch });
        }
        Err(Pause::Wait(wait)) => return Err(wait),
        // Too many bad ones came from there to check another: who has a good one is not to be sent to a login for it.
        Err(Pause::Refused(Refusal::Unchecked)) => unchecked(),
        // Two under one name: to pick one would say which of two people.
        Err(Pause::Refused(_)) => Told::of(Next { state: CONFLICT, action: Action::SignIn }),
    };
    Ok(Asked { status: told.at(now, random), refetch: None })
}

fn unchecked() -> Told {
    Told { come_back: Some(Code::Overloaded), ..Told::of(Next { state: UNVERIFIED, action: Action::None }) }
}

/// Of a runner: the person in whose name it acts. There is nothing for it to do but, once its token is over, to get another.
fn of_runner(world: World<'_>, came: Came) -> Told {
    match came {
        Came::Valid(person) => {
            let side = stand(world, Some(&person.facts)).side(Access::Protected);
            let next = Next { state: person.facts.link.as_str(), action: Action::None };
            Told { person: Some(Person::of(world, &person.facts, None, side)), ..Told::of(next) }
        }
        Came::Refused(Refusal::Unchecked) => unchecked(),
        Came::Refused(_) => Told::of(Next { state: ANONYMOUS, action: Action::SignIn }),
    }
}

/// Everything but the time.
struct Told {
    person: Option<Person>,
    next: Next,
    /// Why it is worth asking again: degraded.
    come_back: Option<Code>,
}

struct Person {
    method: Method,
    user: User,
    org: Option<Org>,
    expires_at_ms: Option<i64>,
    arm: Side,
}

impl Person {
    /// `other`: what the other credential of the same person says.
    fn of(world: World<'_>, facts: &Facts, other: Option<&Facts>, arm: Side) -> Self {
        let namespace = world.snapshot.endpoints.status.as_ref().map_or(OrgName::ClerkId, |status| status.org_name);
        let (user, org) = (user(facts, other), org(facts, namespace));
        Self { method: facts.method, user, org, expires_at_ms: facts.expires_at_ms, arm }
    }
}

/// What a client makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Next {
    state: &'static str,
    action: Action,
}

impl Told {
    const fn of(next: Next) -> Self {
        Self { person: None, next, come_back: None }
    }

    fn at(self, now: Now, random: f64) -> Status {
        let Self { person, next: Next { state, action }, come_back } = self;
        let (method, user, org, expires_at, arm) = match person {
            None => ("none", None, None, None, None),
            Some(Person { method, user, org, expires_at_ms, arm }) => {
                (method.as_str(), Some(user), org, expires_at_ms.map(rfc3339), Some(arm.as_str()))
            }
        };
        Status {
            authenticated: user.is_some(),
            method,
            user,
            org,
            expires_at,
            arm,
            migration: Migration { state, action },
            degraded: come_back.is_some(),
            retry_after: come_back.and_then(|code| reply::retry_after(code, random)),
            server_time: rfc3339(now.unix_ms),
        }
    }
}

/// How a login fares: whether somebody who signs in with it now is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// There is none.
    None,
    Up,
    /// What was learnt goes on being believed, and is old.
    Weak,
    Down,
}

/// Both of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Logins {
    legacy: Login,
    clerk: Login,
}

/// Whose credential counts, or what is said instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Person(Side, Beside, Action),
    Nobody(Next),
}

fn tell(world: World<'_>, verdicts: &Verdicts, now: Now) -> Told {
    // There it is the API that says who somebody is, also beside a session that verifies.
    let takes_unproven = matches!(verdicts.legacy, legacy::Verdict::Unproven { .. })
        && world.snapshot.policies.iter().any(policy::Policy::asks_for_nothing);
    let moment = Moment { now, assumed: None, stand: None, takes_unproven };
    // It is read only: no other site's page does anything by it, and CORS keeps it from reading.
    let Question { inputs, stand: at, .. } = resolve::question_of(verdicts, Access::Protected, false, world, moment);
    let logins = logins(world, verdicts, inputs, now);
    let come_back = match logins {
        Logins { clerk: Login::Weak | Login::Down, .. } => Some(Code::ClerkOutage),
        Logins { legacy: Login::Weak | Login::Down, .. } => Some(Code::LegacyOutage),
        Logins { legacy: Login::None | Login::Up, clerk: Login::None | Login::Up } => None,
    };
    let nobody = |next| Told { come_back, ..Told::of(next) };
    if matches!(verdicts.legacy, legacy::Verdict::Conflict) || matches!(verdicts.clerk, Verdict::Conflict) {
        return nobody(logins.nobody(Some(Denial::Conflict)));
    }
    let side = at.side(Access::Protected);
    if let Some(Ok(_)) =
        resolve::unproven(verdicts, table::resolve(inputs), side, Access::Protected, world, moment.takes_unproven)
    {
        // Whether it is good only the API knows, which may well have signed them in.
        return nobody(Next { state: UNVERIFIED, action: Action::None });
    }
    let link = |side| facts(verdicts, side).map(|facts| facts.link);
    let (side, beside, action) = match judge(inputs, link(Side::Legacy), logins) {
        Judged::Nobody(next) => return nobody(next),
        Judged::Person(side, beside, action) => (side, beside, action),
    };
    let Some(facts) = facts(verdicts, side) else {
        return nobody(logins.nobody(None));
    };
    // Beside a void legacy credential of somebody else, Clerk's person stands where they stand by themselves.
    let own = if side == Side::Clerk && inputs.sent.same == Same::Diff { stand(world, Some(facts)) } else { at };
    let other = match (beside, side) {
        (Beside::Other, Side::Legacy) => self::facts(verdicts, Side::Clerk),
        (Beside::Other, Side::Clerk) => self::facts(verdicts, Side::Legacy),
        (Beside::Nothing | Beside::Upgrade, _) => None,
    };
    let person = Person::of(world, facts, other, own.side(Access::Protected));
    Told { person: Some(person), next: Next { state: facts.link.as_str(), action }, come_back }
}

/// `legacy_link`: of the legacy credential's person.
fn judge(inputs: Inputs, legacy_link: Option<Link>, logins: Logins) -> Judged {
    match table::resolve(inputs) {
        Ok(Resolved::Person(side, beside)) => {
            let privileged = table::resolve(Inputs { access: Access::Privileged, ..inputs });
            // Both: a privileged route asks for it, and ordinary ones hint at it, which they leave to those who were not
            // rolled back. Not while Clerk is out or old: what cannot succeed now is nothing to do now.
            let is_asked = beside == Beside::Upgrade && privileged == Err(Denial::StepUpClerk);
            let action = match legacy_link {
                _ if !is_asked || logins.clerk != Login::Up => Action::None,
                Some(Link::LegacyOnly) => Action::Link,
                Some(Link::Linked | Link::ClerkNative | Link::Sealed | Link::Deleted) | None => Action::StepUp,
            };
            Judged::Person(side, beside, action)
        }
        Ok(Resolved::Nobody(_)) => Judged::Nobody(logins.nobody(None)),
        Err(denial) => Judged::Nobody(logins.nobody(Some(denial))),
    }
}

impl Logins {
    /// What is said of nobody.
    fn nobody(self, denial: Option<Denial>) -> Next {
        let state = match denial {
            None => ANONYMOUS,
            Some(denial) => match denial {
                Denial::NoCredential
                | Denial::ClerkExpired
                | Denial::ClerkInvalid
                | Denial::LegacyInvalid
                | Denial::Invalid
                | Denial::StepUpClerk => ANONYMOUS,
                Denial::Conflict => CONFLICT,
                Denial::LegacySealed => SEALED,
                Denial::ClerkOutage | Denial::LegacyOutage | Denial::StaleKeys => UNVERIFIED,
            },
        };
        // A login that would not be believed is no way out, and whoever may be signed in already is not sent to one.
        let can = match state {
            UNVERIFIED => false,
            SEALED => self.clerk.takes(),
            _ => self.clerk.takes() || self.legacy.takes(),
        };
        Next { state, action: if can { Action::SignIn } else { Action::None } }
    }
}

impl Login {
    const fn takes(self) -> bool {
        matches!(self, Self::Up | Self::Weak)
    }
}

fn logins(world: World<'_>, verdicts: &Verdicts, inputs: Inputs, now: Now) -> Logins {
    Logins { legacy: legacy_login(world, verdicts, now), clerk: clerk_login(world, verdicts, inputs, now) }
}

/// Clerk's: of the instance that the person belongs to, else by the one that fares best.
fn clerk_login(world: World<'_>, verdicts: &Verdicts, inputs: Inputs, now: Now) -> Login {
    if world.snapshot.instances.is_empty() {
        return Login::None;
    }
    let own = match &verdicts.clerk {
        Verdict::Valid { identity, .. } => world.snapshot.instances.named(&identity.facts.instance),
        Verdict::Absent
        | Verdict::Expired { .. }
        | Verdict::Invalid { .. }
        | Verdict::Unverifiable { .. }
        | Verdict::Conflict => None,
    };
    let (keys, is_down) = match own {
        Some(instance) => (inputs.keys, instance.issuance() == clerk::Issuance::Down),
        None => {
            let (keys, issuance) = resolve::clerks_best(world, Some(now));
            (keys, issuance == Issuance::Down)
        }
    };
    match keys {
        Health::Outage => Login::Down,
        Health::Ok | Health::Stale if is_down => Login::Down,
        // A key that nobody has seen may be one that could not be fetched.
        Health::Ok if inputs.sent.clerk == Clerk::Unverifiable => Login::Weak,
        Health::Ok => Login::Up,
        Health::Stale => Login::Weak,
    }
}

fn legacy_login(world: World<'_>, verdicts: &Verdicts, now: Now) -> Login {
    let Some(side) = &world.snapshot.legacy else { return Login::None };
    let is_unverifiable = matches!(verdicts.legacy, legacy::Verdict::Unverifiable { .. });
    let is_broken = side.ask_stats(now).is_some_and(|stats| stats.broken);
    match side.keys().map_or(Health::Ok, |keys| keys.health(now)) {
        Health::Outage => Login::Down,
        _ if is_unverifiable || is_broken => Login::Down,
        Health::Ok => Login::Up,
        Health::Stale => Login::Weak,
    }
}

fn facts(verdicts: &Verdicts, side: Side) -> Option<&Facts> {
    match (side, &verdicts.legacy, &verdicts.clerk) {
        (Side::Legacy, legacy::Verdict::Valid { identity, .. }, _) => Some(&identity.facts),
        (Side::Clerk, _, Verdict::Valid { identity, .. }) => Some(&identity.facts),
        (Side::Legacy | Side::Clerk, _, _) => None,
    }
}

/// `other`: what the other credential of the same person says.
fn user(facts: &Facts, other: Option<&Facts>) -> User {
    let also = |name: fn(&Facts) -> &Option<String>| name(facts).clone().or_else(|| name(other?).clone());
    User {
        id: facts.subject.clone(),
        legacy_id: also(|facts| &facts.legacy_user),
        clerk_id: also(|facts| &facts.clerk_user),
    }
}

fn org(facts: &Facts, namespace: OrgName) -> Option<Org> {
    let org = facts.org.as_ref();
    let id = match namespace {
        OrgName::ClerkId => org.map(|org| org.id.clone()),
        OrgName::Slug => org.and_then(|org| org.slug.clone()),
        OrgName::LegacyId => facts.legacy_org.clone(),
    };
    let role = match facts.method.login() {
        identity::Login::Clerk => org.and_then(|org| org.role.clone()),
        identity::Login::Legacy => Some(facts.legacy_roles.join(",")).filter(|roles| !roles.is_empty()),
    };
    (id.is_some() || role.is_some()).then_some(Org { id, role })
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
