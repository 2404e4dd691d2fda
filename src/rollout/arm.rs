//! The arm of a person: what the map says about their two sides, then the operator's lists, then the hash.
//!
//! Pure, and asked for each request: the same person gets the same arm whatever they send, so that leaving a credential
//! out never chooses an arm. Never says which credentials are accepted.

use std::collections::HashMap;
use std::fmt;

use super::Guard;
use super::bucket::{Bucket, Bucketing};
use super::percent::Percent;
use crate::identity::Link;
use crate::route::Access;

/// One of the two logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Legacy,
    Clerk,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Clerk => "clerk",
        }
    }
}

/// Which side is authoritative for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    Legacy,
    Clerk,
    /// Clerk, and not to be moved: there is no legacy side that could prove anything.
    Pinned,
}

impl Arm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Clerk => "clerk",
            Self::Pinned => "pinned",
        }
    }

    /// What is left of the arm after the guard.
    ///
    /// A guard that trips by itself moves people back, except where it would lower the bar: whoever could provoke it
    /// would otherwise buy the weaker login on privileged routes. Only an operator's word does that.
    pub const fn after(self, guard: Guard, access: Access) -> Self {
        match (self, guard, access) {
            (Self::Clerk, Guard::RolledOp, Access::Public | Access::Login | Access::Protected | Access::Privileged)
            | (Self::Clerk, Guard::RolledAuto, Access::Public | Access::Login | Access::Protected) => Self::Legacy,
            (Self::Clerk, Guard::RolledAuto, Access::Privileged)
            | (
                Self::Clerk,
                Guard::Normal | Guard::Frozen,
                Access::Public | Access::Login | Access::Protected | Access::Privileged,
            )
            | (Self::Legacy | Self::Pinned, _, _) => self,
        }
    }

    /// The authoritative side: what `x-crossgate-arm` says and whose upstream is used, once the guard was asked.
    pub const fn side(self) -> Side {
        match self {
            Self::Legacy => Side::Legacy,
            Self::Clerk | Self::Pinned => Side::Clerk,
        }
    }
}

/// `rollout.unit`: what is moved as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    User,
    /// Roles differ by org, so that its people see one behaviour. Without an org the user.
    Org,
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Org => "org",
        }
    }
}

/// A verified person, by canonical ids: those after mapping, so that both credentials of one person give one arm.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    pub user: &'a str,
    /// The active org.
    pub org: Option<&'a str>,
    pub link: Link,
}

/// `rollout.include` and `rollout.exclude`: the side of people and orgs that the percentage does not move.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    users: HashMap<Box<str>, Side>,
    orgs: HashMap<Box<str>, Side>,
}

impl Lists {
    /// Puts an id on one list: include means Clerk, exclude legacy. `false` when it stands on the other list: nobody can
    /// be on both sides, and a config that says so is refused.
    #[must_use]
    pub fn put(&mut self, unit: Unit, id: &str, side: Side) -> bool {
        let ids = match unit {
            Unit::User => &mut self.users,
            Unit::Org => &mut self.orgs,
        };
        *ids.entry(id.into()).or_insert(side) == side
    }

    /// A person's own entry before that of their org: whoever names one person means the exception.
    fn find(&self, person: &Person<'_>) -> Option<(Unit, Side)> {
        let user = || self.users.get(person.user).map(|side| (Unit::User, *side));
        let org = || self.orgs.get(person.org?).map(|side| (Unit::Org, *side));
        user().or_else(org)
    }
}

/// What decides arms, compiled.
#[derive(Debug)]
pub struct Assignment {
    pub unit: Unit,
    pub lists: Lists,
    pub bucketing: Bucketing,
}

/// An arm and the reason for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub arm: Arm,
    pub why: Why,
}

/// Why somebody is in an arm: for `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Link(Link),
    /// `unit` is the entry's kind: the person or their org.
    Listed {
        unit: Unit,
        side: Side,
    },
    /// `unit` is what was hashed.
    Bucket {
        unit: Unit,
        bucket: Bucket,
        percent: Percent,
    },
    /// There is no id to hash.
    NoKey,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(f, "the identity map says {}", link.as_str()),
            Self::Listed { unit, side } => {
                let list = match side {
                    Side::Clerk => "include",
                    Side::Legacy => "exclude",
                };
                write!(f, "rollout.{list} names the {}", unit.as_str())
            }
            Self::Bucket { unit, bucket, percent } => write!(f, "{}: {bucket}; now {percent} %", unit.as_str()),
            Self::NoKey => f.write_str("there is no id to hash"),
        }
    }
}

impl Assignment {
    /// The arm of a person at the effective percentage, before the guard ([`Arm::after`]).
    pub fn choose(&self, person: &Person<'_>, percent: Percent) -> Choice {
        // Before the lists: an entry can move a person, but cannot give them back a legacy side. A sealed person who is
        // excluded would act through the very credential that was sealed (S4), and a Clerk-native one has nothing to act
        // through. A deleted one acts through nothing; the legacy side is not how they come back.
        if let Link::Sealed | Link::ClerkNative | Link::Deleted = person.link {
            return Choice { arm: Arm::Pinned, why: Why::Link(person.link) };
        }
        // Before `legacy_only`: to include somebody who has no Clerk side yet is how an operator asks them to get one
        // (the hint, and a step-up on privileged routes). It raises the bar and never lowers it.
        if let Some((unit, side)) = self.lists.find(person) {
            return Choice { arm: listed(side), why: Why::Listed { unit, side } };
        }
        // Before the hash: a percentage must not ask for a step-up that people cannot make.
        if person.link == Link::LegacyOnly {
            return Choice { arm: Arm::Legacy, why: Why::Link(person.link) };
        }
        let (unit, key) = self.unit_key(person);
        if key.is_empty() {
            // Legacy, as before the rollout, and never at random: everybody without a key would share one bucket and
            // move at once.
            return Choice { arm: Arm::Legacy, why: Why::NoKey };
        }
        let bucket = self.bucketing.bucket(key);
        let arm = if bucket.is_in(percent) { Arm::Clerk } else { Arm::Legacy };
        Choice { arm, why: Why::Bucket { unit, bucket, percent } }
    }

    fn unit_key<'a>(&self, person: &Person<'a>) -> (Unit, &'a str) {
        match (self.unit, person.org) {
            (Unit::Org, Some(org)) if !org.is_empty() => (Unit::Org, org),
            (Unit::Org | Unit::User, _) => (Unit::User, person.user),
        }
    }
}

const fn listed(side: Side) -> Arm {
    match side {
        Side::Legacy => Arm::Legacy,
        Side::Clerk => Arm::Clerk,
    }
}

#[cfg(test)]
#[path = "arm_tests.rs"]
mod tests;
