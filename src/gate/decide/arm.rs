//! The arm of the person that a request's credentials name.
//!
//! Asks `rollout`, and knows the two cases in which there is nothing to ask: an API without a legacy login, and one
//! without Clerk. Never reads what was sent, only who it turned out to be.

use super::World;
use crate::identity::Facts;
use crate::rollout::{Arm, Guard, Person, Side, Unit, Why};
use crate::route::Access;

/// Where somebody stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// Before the guard.
    pub(super) arm: Arm,
    pub(super) guard: Guard,
    /// Somebody's, or everybody's: not only where nobody goes.
    pub(super) is_of_somebody: bool,
    /// `None` where there is nothing to choose.
    pub(super) why: Option<Why>,
}

impl Stand {
    /// What if somebody stood there.
    pub(super) const fn assumed(side: Side) -> Self {
        let arm = match side {
            Side::Legacy => Arm::Legacy,
            Side::Clerk => Arm::Clerk,
        };
        Self { arm, guard: Guard::Normal, is_of_somebody: true, why: None }
    }

    /// The side that counts on such a route, after the guard.
    pub(super) fn side(self, access: Access) -> Side {
        self.arm.after(self.guard, access).side()
    }
}

/// Where the person stands whom the credentials name; `None` is nobody.
pub(super) fn stand(world: World<'_>, person: Option<&Facts>) -> Stand {
    let World { snapshot, rollout } = world;
    let unmoved = |arm| Stand { arm, guard: Guard::Normal, is_of_somebody: true, why: None };
    if snapshot.legacy.is_none() {
        // Everybody is Clerk's, and no percentage moves them.
        return unmoved(Arm::Pinned);
    }
    if snapshot.instances.is_empty() {
        return unmoved(Arm::Legacy);
    }
    let Some(facts) = person else {
        let guard = rollout.map_or(Guard::Normal, |rollout| rollout.record.guard);
        return Stand { guard, is_of_somebody: false, ..unmoved(Arm::Legacy) };
    };
    let Some(rollout) = rollout else {
        let is_pinned = facts.link.is_pinned() || !facts.link.legacy_proves();
        return unmoved(if is_pinned { Arm::Pinned } else { Arm::Legacy });
    };
    let person = Person { user: &facts.subject, org: facts.canonical_org.as_deref(), link: facts.link };
    let choice = rollout.assignment.choose(&person, rollout.record.assigned);
    Stand { arm: choice.arm, guard: rollout.record.guard, is_of_somebody: true, why: Some(choice.why) }
}

/// Why somebody is there, for whoever explains: what was hashed, where it stands, and what the guard made of it.
pub(super) fn told(
    world: World<'_>,
    why: Option<Why>,
    stand: Stand,
    person: Option<&Facts>,
    is_assumed: bool,
) -> String {
    let World { snapshot, rollout } = world;
    let mut text = match (why, person) {
        _ if is_assumed => "assumed".to_owned(),
        (Some(Why::Bucket { unit, bucket, percent }), Some(facts)) => {
            let id = match unit {
                Unit::User => Some(facts.subject.as_str()),
                Unit::Org => facts.canonical_org.as_deref(),
            };
            let (from, id) = (bucket.enrolled_from(), id.unwrap_or_default());
            let unit = unit.as_str();
            let link = facts.link.as_str();
            let (ppm, now) = (from.ppm(), percent.ppm());
            format!("{unit} {id}: {bucket} ({ppm} ppm); now {percent} % ({now} ppm); the person is {link}")
        }
        (Some(why @ Why::Listed { .. }), Some(facts)) => format!("{why}; the person is {}", facts.link.as_str()),
        (Some(why), _) => why.to_string(),
        (None, _) if snapshot.legacy.is_none() => "there is no legacy side".to_owned(),
        (None, _) if snapshot.instances.is_empty() => "there is no Clerk side".to_owned(),
        (None, None) => "nobody is named".to_owned(),
        (None, Some(facts)) => format!("there is no rollout; the person is {}", facts.link.as_str()),
    };
    let guard = match rollout.map(|rollout| rollout.record.guard) {
        Some(Guard::Frozen) => "; the rollout is frozen".to_owned(),
        Some(guard @ (Guard::RolledAuto | Guard::RolledOp)) => {
            let by = if guard == Guard::RolledAuto { "by itself" } else { "by an operator" };
            format!("; the rollout is rolled back {by}, before that it was {}", stand.arm.as_str())
        }
        Some(Guard::Normal) | None => String::new(),
    };
    text.push_str(&guard);
    text
}
