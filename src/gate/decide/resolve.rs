//! The verdicts meet the route: whose identity goes upstream, if anybody's.
//!
//! Brings what both sides said into the words of the [`table`], and its outcome back into a person or a refusal. What
//! the table does not know is settled here: two people on one side, a cookie that another site's page sent along, and
//! legacy credentials that only the API can verify (`passthrough`).

use std::sync::Arc;

use super::arm::{Stand, stand};
use super::table::{self, Beside, Clerk, Denial, Explicit, Inputs, Issuance, Legacy, Resolved, Same, Sent, Stripped};
use super::verify::Verdicts;
use super::{World, csrf};
use crate::clock::Now;
use crate::identity::clerk::{self, Health};
use crate::identity::{Carrier, Facts, Identity, Refusal, Verdict, legacy};
use crate::inject::Proven;
use crate::request::View;
use crate::rollout::{Side, Why};
use crate::route::{Access, Route};
use crate::snapshot::Snapshot;

/// A person and how they said who they are.
pub(super) type Person = (Arc<Identity>, Carrier);

/// Where the request stands, and who it is.
#[derive(Debug)]
pub(super) struct Resolution {
    /// The side that counts, after the guard.
    pub(super) side: Side,
    /// Somebody's arm it is, or that of everybody: not only where nobody goes.
    pub(super) is_of_somebody: bool,
    pub(super) why: Option<Why>,
    /// What the table was asked.
    pub(super) inputs: Inputs,
    /// Where the person stands whom the credentials name, the legacy one first.
    pub(super) stand: Stand,
    /// Who was verified, also where it was not enough: the trail says whose attempt it was.
    pub(super) verified: Option<Person>,
    pub(super) outcome: Result<Standing, Refusal>,
}

/// As whom a request goes on.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) person: Option<Person>,
    /// Nobody, with a credential that the API verifies by itself.
    pub(super) is_unproven: bool,
    /// `x-crossgate-upgrade: clerk`.
    pub(super) upgrade: bool,
    /// The credentials named two people and were taken away.
    pub(super) conflict: bool,
    pub(super) proven: Proven,
}

/// What else is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Now,
    /// Somebody who is only assumed: their keys have no age, and their arm may be assumed, too.
    pub(super) assumed: Option<Option<Side>>,
    /// Where the person stands, when that is known already.
    pub(super) stand: Option<Stand>,
    /// Nothing is asked of a person on this route.
    pub(super) takes_unproven: bool,
}

impl Moment {
    fn of_keys(self) -> Option<Now> {
        Some(self.now).filter(|_| self.assumed.is_none())
    }
}

/// Whose identity goes upstream.
pub(super) fn resolve(
    verdicts: &Verdicts,
    route: &Route,
    view: &View<'_>,
    world: World<'_>,
    moment: Moment,
) -> Resolution {
    let Question { inputs, stand: at, is_foreign_page } = question(verdicts, route, view, world, moment);
    let side = at.side(route.access);
    let verified = || match (&verdicts.legacy, &verdicts.clerk) {
        // Two people, one of each side: nobody's attempt.
        (legacy::Verdict::Valid { .. }, Verdict::Valid { .. }) if inputs.sent.same != Same::Same => None,
        (legacy::Verdict::Valid { identity, .. }, _) if !identity.facts.link.legacy_proves() => None,
        (legacy::Verdict::Valid { .. }, _) => legacy_person(&verdicts.legacy),
        (_, clerk) => clerk_person(clerk),
    };
    let resolution = |outcome: Result<Standing, Refusal>| Resolution {
        side,
        is_of_somebody: at.is_of_somebody,
        why: at.why,
        inputs,
        stand: at,
        verified: if outcome.is_err() { verified() } else { None },
        outcome,
    };
    // Two people on one side: the table knows one of each.
    if matches!(verdicts.legacy, legacy::Verdict::Conflict) || matches!(verdicts.clerk, Verdict::Conflict) {
        return resolution(match route.access {
            // A public route refuses nobody: who cannot be named is nobody.
            Access::Public | Access::Login => Ok(Standing { conflict: true, ..Standing::default() }),
            Access::Protected | Access::Privileged => Err(Refusal::Conflict),
        });
    }
    let resolved = table::resolve(inputs);
    if let Some(outcome) = unproven(verdicts, resolved, side, route.access, world, moment.takes_unproven) {
        return resolution(outcome);
    }
    match resolved {
        Ok(Resolved::Person(Side::Clerk, _)) if is_foreign_page => resolution(match route.access {
            Access::Public | Access::Login => Ok(Standing::default()),
            Access::Protected | Access::Privileged => Err(Refusal::CrossSite),
        }),
        Ok(Resolved::Person(Side::Clerk, beside)) => {
            // The arm was that of the person whom the legacy credential names. Where it is void, Clerk's is another one.
            let own = match (inputs.sent.same, &verdicts.clerk) {
                (Same::Diff, Verdict::Valid { identity, .. }) => stand(world, Some(&identity.facts)),
                _ => at,
            };
            let person = clerk_person(&verdicts.clerk);
            let standing = Standing { proven: proven(verdicts, &person, beside), person, ..Standing::default() };
            let side = own.side(route.access);
            let outcome = Ok(standing);
            Resolution { side, is_of_somebody: true, why: own.why, inputs, stand: at, verified: None, outcome }
        }
        Ok(Resolved::Person(Side::Legacy, beside)) => {
            let person = legacy_person(&verdicts.legacy);
            resolution(Ok(Standing {
                proven: proven(verdicts, &person, beside),
                person,
                upgrade: beside == Beside::Upgrade,
                ..Standing::default()
            }))
        }
        Ok(Resolved::Nobody(stripped)) => {
            resolution(Ok(Standing { conflict: stripped == Stripped::Conflict, ..Standing::default() }))
        }
        Err(denial) => resolution(Err(told(denial, verdicts))),
    }
}

/// What the table is asked, and where the person stands.
pub(super) struct Question {
    pub(super) inputs: Inputs,
    pub(super) stand: Stand,
    /// Clerk's session is a cookie that another site's page may have sent along.
    is_foreign_page: bool,
}

fn question(verdicts: &Verdicts, route: &Route, view: &View<'_>, world: World<'_>, moment: Moment) -> Question {
    let is_foreign_page = is_foreign_page(&verdicts.clerk, route, view, world.snapshot);
    question_of(verdicts, route.access, is_foreign_page, world, moment)
}

/// The same of a route with this access.
pub(super) fn question_of(
    verdicts: &Verdicts,
    access: Access,
    is_foreign_page: bool,
    world: World<'_>,
    moment: Moment,
) -> Question {
    let legacy_facts = legacy_facts(&verdicts.legacy);
    let clerk_facts = match &verdicts.clerk {
        Verdict::Valid { identity, .. } => Some(&identity.facts),
        _ => None,
    };
    let now = moment.of_keys();
    let stand = match (moment.assumed, moment.stand) {
        (Some(Some(side)), _) => Stand::assumed(side),
        (Some(None) | None, Some(known)) => known,
        (Some(None) | None, None) => stand(world, legacy_facts.or(clerk_facts)),
    };
    let same = legacy_facts.map_or(Same::NotApplicable, |legacy| same(legacy, &verdicts.clerk));
    let (legacy, legacy_explicit) = legacy_word(&verdicts.legacy);
    let (mut clerk, clerk_explicit) = clerk_word(&verdicts.clerk);
    if is_foreign_page && same == Same::Same {
        // Beside a good legacy credential of the same person, a session that no page of theirs sent is a leftover like any
        // other: the legacy login goes on as it did before there was Clerk.
        clerk = Clerk::Invalid;
    }
    let explicit = match (legacy_explicit, clerk_explicit) {
        (true, true) => Explicit::Both,
        (true, false) => Explicit::Legacy,
        (false, true) => Explicit::Clerk,
        (false, false) => Explicit::None,
    };
    let at_best = clerks_best(world, now);
    let keys = match &verdicts.clerk {
        Verdict::Valid { identity, .. } => age(identity, world, now),
        Verdict::Unverifiable { held: true, .. } => Health::Stale,
        Verdict::Unverifiable { held: false, .. } => Health::Outage,
        Verdict::Absent | Verdict::Expired { .. } | Verdict::Invalid { .. } | Verdict::Conflict => at_best.0,
    };
    let inputs = Inputs {
        sent: Sent { legacy, clerk, same, explicit },
        arm: stand.arm,
        access,
        keys,
        issuance: at_best.1,
        guard: stand.guard,
    };
    Question { inputs, stand, is_foreign_page }
}

/// Whether Clerk's session is a cookie that no page of the API's own sent.
pub(super) fn is_foreign_page(verdict: &Verdict, route: &Route, view: &View<'_>, snapshot: &Snapshot) -> bool {
    let Verdict::Valid { identity, carrier: Carrier::Cookie } = verdict else { return false };
    match &view.request.handshake {
        Some(_) => !csrf::may_open(view, route, Some((identity, Carrier::Cookie)), snapshot),
        None => !csrf::is_own_page(view, &identity.facts.instance, snapshot),
    }
}

/// Whether nobody could come with Clerk now: no instance has usable keys and issues tokens. Keys that are merely old are
/// none.
pub(super) fn clerks_outage(world: World<'_>, now: Now) -> bool {
    matches!(clerks_best(world, Some(now)), (Health::Outage, _) | (_, Issuance::Down))
}

fn legacy_facts(verdict: &legacy::Verdict) -> Option<&Facts> {
    match verdict {
        legacy::Verdict::Valid { identity, .. } => Some(&identity.facts),
        legacy::Verdict::Absent
        | legacy::Verdict::Unproven { .. }
        | legacy::Verdict::Invalid { .. }
        | legacy::Verdict::Unverifiable { .. }
        | legacy::Verdict::Conflict => None,
    }
}

/// The legacy verdict in the table's words, and whether a client put the credential there on purpose.
fn legacy_word(verdict: &legacy::Verdict) -> (Legacy, bool) {
    match verdict {
        legacy::Verdict::Valid { carrier, .. } => (Legacy::Valid, *carrier == Carrier::Header),
        legacy::Verdict::Invalid { carrier, .. } => (Legacy::Invalid, *carrier == Carrier::Header),
        legacy::Verdict::Unverifiable { carrier } => (Legacy::Unverifiable, *carrier == Carrier::Header),
        // It proves nobody; what it is good for beyond that is settled outside the table.
        legacy::Verdict::Absent | legacy::Verdict::Unproven { .. } | legacy::Verdict::Conflict => {
            (Legacy::Absent, false)
        }
    }
}

fn clerk_word(verdict: &Verdict) -> (Clerk, bool) {
    match verdict {
        Verdict::Valid { carrier, .. } => (Clerk::Valid, *carrier == Carrier::Header),
        Verdict::Expired { carrier, .. } => (Clerk::Expired, *carrier == Carrier::Header),
        Verdict::Invalid { carrier, .. } => (Clerk::Invalid, *carrier == Carrier::Header),
        Verdict::Unverifiable { .. } => (Clerk::Unverifiable, false),
        Verdict::Absent | Verdict::Conflict => (Clerk::Absent, false),
    }
}

/// Whether Clerk's credential names the person of the legacy one. An id of the legacy side is compared, which Clerk's
/// has only by the map or the mapped claim: two ids that merely look alike are two people.
pub(super) fn same(legacy: &Facts, clerk: &Verdict) -> Same {
    let named = match clerk {
        Verdict::Valid { identity, .. } => identity.facts.legacy_user.as_deref(),
        Verdict::Expired { legacy_user, .. } | Verdict::Unverifiable { legacy_user, .. } => legacy_user.as_deref(),
        Verdict::Absent | Verdict::Invalid { .. } | Verdict::Conflict => return Same::NotApplicable,
    };
    if named.is_some() && named == legacy.legacy_user.as_deref() { Same::Same } else { Same::Diff }
}

/// Whether the keys that vouch for somebody are young: a key that was stolen and taken away is still held while refreshing
/// fails. Asked at each request, also for a token that the cache knows: keys grow old while tokens live.
fn age(identity: &Identity, world: World<'_>, now: Option<Now>) -> Health {
    let Some(now) = now else { return Health::Ok };
    world
        .snapshot
        .instances
        .named(&identity.facts.instance)
        .map_or(Health::Outage, |instance| instance.keys.health(now))
}

/// Whether somebody who has to come with Clerk could be believed, and could get a token at all: by the instance that fares
/// best.
pub(super) fn clerks_best(world: World<'_>, now: Option<Now>) -> (Health, Issuance) {
    let Some(now) = now else { return (Health::Ok, Issuance::Up) };
    let rank = |(health, issuance): &(Health, Issuance)| match (health, issuance) {
        (Health::Ok, Issuance::Up) => 0,
        (Health::Stale, Issuance::Up) => 1,
        (Health::Outage, _) | (_, Issuance::Down) => 2,
    };
    let each = world.snapshot.instances.iter().map(|instance| {
        let issuance = match instance.issuance() {
            clerk::Issuance::Up => Issuance::Up,
            clerk::Issuance::Down => Issuance::Down,
        };
        (instance.keys.health(now), issuance)
    });
    each.min_by_key(rank).unwrap_or((Health::Outage, Issuance::Up))
}

pub(super) fn clerk_person(verdict: &Verdict) -> Option<Person> {
    match verdict {
        Verdict::Valid { identity, carrier } => Some((Arc::clone(identity), *carrier)),
        _ => None,
    }
}

pub(super) fn legacy_person(verdict: &legacy::Verdict) -> Option<Person> {
    match verdict {
        legacy::Verdict::Valid { identity, carrier } => Some((Arc::clone(identity), *carrier)),
        _ => None,
    }
}

/// Which credentials were proven to be this person's. Whatever else came along goes nowhere: the API might believe it.
fn proven(verdicts: &Verdicts, person: &Option<Person>, beside: Beside) -> Proven {
    let is = |side: crate::identity::Method| {
        person.as_ref().is_some_and(|(identity, _)| identity.facts.method == side) || beside == Beside::Other
    };
    let legacy = match &verdicts.legacy {
        legacy::Verdict::Valid { carrier, .. } if is(crate::identity::Method::Legacy) => Some(*carrier),
        _ => None,
    };
    let clerk = match &verdicts.clerk {
        Verdict::Valid { carrier, .. } if is(crate::identity::Method::Clerk) => Some(*carrier),
        _ => None,
    };
    Proven {
        legacy_header: legacy == Some(Carrier::Header),
        legacy_cookie: legacy == Some(Carrier::Cookie) || legacy.is_some() && verdicts.cookie_agrees,
        clerk,
    }
}

/// `passthrough`: a legacy credential that crossgate cannot verify and the API does. `None` where it changes nothing.
///
/// It counts where nothing else does, and where both are there and the arm is legacy: people go on using the app that
/// they always used, while Clerk's cookie is in their browser. What was sent on purpose and is bad stays final.
pub(super) fn unproven(
    verdicts: &Verdicts,
    resolved: Result<Resolved, Denial>,
    side: Side,
    access: Access,
    world: World<'_>,
    takes_unproven: bool,
) -> Option<Result<Standing, Refusal>> {
    let legacy::Verdict::Unproven { carrier } = &verdicts.legacy else { return None };
    let is_explicit = |carrier: &Carrier| *carrier == Carrier::Header;
    let may_pass = match access {
        Access::Public | Access::Login | Access::Protected => true,
        Access::Privileged => {
            world.snapshot.legacy.as_ref().and_then(|legacy| legacy.passthrough()).is_some_and(|rules| rules.privileged)
        }
    };
    let legacy_counts = match (resolved, &verdicts.clerk) {
        // Clerk's was meant, and the legacy one was not.
        (Ok(Resolved::Person(Side::Clerk, _)), Verdict::Valid { carrier: of_clerk, .. }) => {
            // A leftover of an app must not poison a session that verifies: it counts only where it can do something.
            let may_do = may_pass && takes_unproven;
            may_do && side == Side::Legacy && (is_explicit(carrier) || !is_explicit(of_clerk))
        }
        (_, Verdict::Invalid { carrier, .. } | Verdict::Expired { carrier, .. }) if is_explicit(carrier) => false,
        (Ok(Resolved::Nobody(_)) | Err(_), _) => true,
        (Ok(Resolved::Person(..)), _) => false,
    };
    if !legacy_counts {
        return None;
    }
    if !may_pass {
        return Some(Err(if world.snapshot.instances.is_empty() { Refusal::NoCredential } else { Refusal::StepUp }));
    }
    let proven = Proven { legacy_header: true, legacy_cookie: true, clerk: None };
    Some(Ok(Standing { is_unproven: true, proven, ..Standing::default() }))
}

/// The table's word with what verification knows of it.
fn told(denial: Denial, verdicts: &Verdicts) -> Refusal {
    match denial {
        Denial::Conflict => Refusal::Conflict,
        Denial::NoCredential => Refusal::NoCredential,
        Denial::ClerkExpired => Refusal::Expired,
        Denial::ClerkInvalid => match &verdicts.clerk {
            Verdict::Invalid { reason, .. } => Refusal::Invalid { reason: *reason, explicit: true },
            _ => Refusal::NoCredential,
        },
        Denial::Invalid => match (&verdicts.clerk, &verdicts.legacy) {
            (Verdict::Invalid { reason, .. }, _) => Refusal::Invalid { reason: *reason, explicit: false },
            (_, legacy::Verdict::Invalid { reason, .. }) => Refusal::LegacyInvalid { reason: *reason, explicit: false },
            _ => Refusal::NoCredential,
        },
        Denial::LegacyInvalid => match &verdicts.legacy {
            legacy::Verdict::Invalid { reason, .. } => Refusal::LegacyInvalid { reason: *reason, explicit: true },
            _ => Refusal::NoCredential,
        },
        Denial::LegacySealed => Refusal::LegacySealed,
        Denial::LegacyOutage => Refusal::LegacyUnverifiable,
        Denial::StepUpClerk => Refusal::StepUp,
        Denial::ClerkOutage => match &verdicts.clerk {
            Verdict::Unverifiable { held, .. } => Refusal::Unverifiable { held: *held },
            _ => Refusal::Unverifiable { held: false },
        },
        Denial::StaleKeys => Refusal::StaleKeys,
    }
}
