//! The verdict meets the route: whose identity goes upstream, if anybody's.
//!
//! Brings what verification said into the words of the [`table`], and its outcome back into a person or a
//! refusal. What the table does not know is settled here first: two people on one side, and a cookie that another site's
//! page sent along.

use std::sync::Arc;

use super::csrf;
use super::table::{self, Clerk, Denial, Explicit, Inputs, Issuance, Legacy, Resolved, Same, Sent};
use crate::clock::Now;
use crate::identity::clerk::Health;
use crate::identity::{Carrier, Identity, Refusal, Verdict};
use crate::request::View;
use crate::rollout::{Arm, Guard, Side};
use crate::route::{Access, Route};
use crate::snapshot::Snapshot;

/// A person and how they said who they are.
pub(super) type Person = (Arc<Identity>, Carrier);

/// Whose identity goes upstream. `now` is `None` for somebody who is only assumed, whose keys have no age.
pub(super) fn resolve(
    verdict: &Verdict,
    route: &Route,
    view: &View<'_>,
    snapshot: &Snapshot,
    now: Option<Now>,
) -> Result<Option<Person>, Refusal> {
    match before_the_table(verdict, route, view, snapshot) {
        // A public route refuses nobody: who cannot be named is nobody.
        Some(_) if route.access == Access::Public => return Ok(None),
        Some(refusal) => return Err(refusal),
        None => {}
    }
    match table::resolve(inputs(verdict, route.access, snapshot, now)) {
        Ok(Resolved::Person(Side::Clerk, _)) => Ok(match verdict {
            Verdict::Valid { identity, carrier } => Some((Arc::clone(identity), *carrier)),
            _ => None,
        }),
        Ok(Resolved::Nobody(_)) => Ok(None),
        // INVARIANT: no legacy credential is read, so that the table names none of that side.
        Ok(Resolved::Person(Side::Legacy, _)) => Err(Refusal::NoCredential),
        Err(denial) => Err(told(denial, verdict)),
    }
}

/// What is refused whatever the table would say.
fn before_the_table(verdict: &Verdict, route: &Route, view: &View<'_>, snapshot: &Snapshot) -> Option<Refusal> {
    match verdict {
        Verdict::Conflict => Some(Refusal::Conflict),
        Verdict::Valid { identity, carrier: Carrier::Cookie } => {
            let is_own = match &view.request.handshake {
                Some(_) => csrf::may_open(view, route, Some((identity, Carrier::Cookie)), snapshot),
                None => csrf::is_own_page(view, &identity.facts.instance, snapshot),
            };
            (!is_own).then_some(Refusal::CrossSite)
        }
        Verdict::Valid { carrier: Carrier::Header, .. }
        | Verdict::Absent
        | Verdict::Expired { .. }
        | Verdict::Invalid { .. }
        | Verdict::Unverifiable { .. } => None,
    }
}

fn inputs(verdict: &Verdict, access: Access, snapshot: &Snapshot, now: Option<Now>) -> Inputs {
    let explicit = |carrier: Carrier| match carrier {
        Carrier::Header => Explicit::Clerk,
        Carrier::Cookie => Explicit::None,
    };
    let (clerk, explicit, keys) = match verdict {
        Verdict::Valid { identity, carrier } => (Clerk::Valid, explicit(*carrier), age(identity, snapshot, now)),
        Verdict::Expired { carrier, .. } => (Clerk::Expired, explicit(*carrier), Health::Ok),
        Verdict::Invalid { carrier, .. } => (Clerk::Invalid, explicit(*carrier), Health::Ok),
        Verdict::Unverifiable { held: true, .. } => (Clerk::Unverifiable, Explicit::None, Health::Stale),
        Verdict::Unverifiable { held: false, .. } => (Clerk::Unverifiable, Explicit::None, Health::Outage),
        Verdict::Absent | Verdict::Conflict => (Clerk::Absent, Explicit::None, Health::Ok),
    };
    Inputs {
        sent: Sent { legacy: Legacy::Absent, clerk, same: Same::NotApplicable, explicit },
        // Without a legacy side everybody is Clerk's, and no percentage moves them.
        arm: Arm::Pinned,
        access,
        keys,
        issuance: Issuance::Up,
        guard: Guard::Normal,
    }
}

/// Whether the keys that vouch for somebody are young: a key that was stolen and taken away is still held while refreshing
/// fails. Asked at each request, also for a token that the cache knows: keys grow old while tokens live.
fn age(identity: &Identity, snapshot: &Snapshot, now: Option<Now>) -> Health {
    let Some(now) = now else { return Health::Ok };
    snapshot.instances.named(&identity.facts.instance).map_or(Health::Outage, |instance| instance.keys.health(now))
}

/// The table's word with what verification knows of it.
fn told(denial: Denial, verdict: &Verdict) -> Refusal {
    match (denial, verdict) {
        (Denial::ClerkInvalid | Denial::Invalid, Verdict::Invalid { reason, carrier }) => {
            Refusal::Invalid { reason: *reason, explicit: *carrier == Carrier::Header }
        }
        (Denial::ClerkExpired, _) => Refusal::Expired,
        (Denial::ClerkOutage, Verdict::Unverifiable { held, .. }) => Refusal::Unverifiable { held: *held },
        (Denial::ClerkOutage, _) => Refusal::Unverifiable { held: false },
        (Denial::StaleKeys, _) => Refusal::StaleKeys,
        (Denial::Conflict, _) => Refusal::Conflict,
        // INVARIANT: the last five are said of legacy credentials and of people who have one; nobody's is read.
        (
            Denial::NoCredential
            | Denial::ClerkInvalid
            | Denial::Invalid
            | Denial::LegacyInvalid
            | Denial::LegacySealed
            | Denial::LegacyOutage
            | Denial::StepUpClerk,
            _,
        ) => Refusal::NoCredential,
    }
}
