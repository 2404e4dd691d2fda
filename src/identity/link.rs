//! Linking: what the other side knows of a person, added to what a credential said, before headers are made of it.
//!
//! Called by both verifiers once a credential, so that a request pays nothing. Sources are the identity map and, where the
//! map has no line for a person, the mapped claim; the map decides wherever both speak. A claim that contradicts the map is
//! void, counted, and leaves the person known to one side only. Never guesses (no e-mail, no slug, no claim that the person
//! can write), never decides which credential counts, and never fills Clerk's roles: those are Clerk's to say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::checks::Checks;
use super::clerk::claims::is_plain_text;
use super::map::{self, Counts, Extent, Grant, IdentityMap, Side, Stamp, User};
use super::{Facts, Link, Login, Org, Workspace, Workspaces};

/// `identity`, as far as it says who is whom. Belongs to one configuration.
#[derive(Debug, Default)]
pub struct Linking {
    pub map: Option<Arc<IdentityMap>>,
    /// Path of the mapped claim in Clerk's tokens.
    pub claim: Option<Vec<String>>,
    pub canonical: Canonical,
    /// There are people with ids of Clerk's, which nobody else may be called by.
    pub has_clerk: bool,
    /// A membership says which workspaces its person may enter.
    pub workspaces: bool,
    /// Where the map came from.
    pub source: Option<Source>,
    /// Of the map; all zero without one.
    pub counts: Counts,
    /// Outlives configurations.
    pub conflicts: Arc<Conflicts>,
    /// How many people the map has stands in `state_dir`.
    pub extent_kept: AtomicBool,
}

/// The file of a map, so that a reload need not read it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// `None`: the file changed while it was read.
    pub stamp: Option<Stamp>,
}

/// Which id is the subject when a person has both; who has one keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Canonical {
    Legacy,
    #[default]
    Clerk,
}

/// The map says that this person is gone: no credential proves them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deleted;

/// A legacy id is an id of somebody at Clerk: two people would have one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClerksId;

/// What is wrong with a mapped claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The map gives this Clerk user another legacy id, or none.
    Differs,
    /// The map has a line for the legacy id, and it is not this Clerk user's.
    Taken,
    /// No plain text, or the way to it ends in something else.
    Unreadable,
    /// An id of Clerk's, as templates with a fallback write it: the two namespaces never mix.
    ClerkId,
}

impl Conflict {
    pub const ALL: [Self; 4] = [Self::Differs, Self::Taken, Self::Unreadable, Self::ClerkId];

    /// The label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Differs => "claim_differs",
            Self::Taken => "claim_taken",
            Self::Unreadable => "claim_unreadable",
            Self::ClerkId => "claim_is_clerk_id",
        }
    }
}

/// Mapped claims that were void, counted once a verified credential.
#[derive(Debug, Default)]
pub struct Conflicts([AtomicU64; 4]);

impl Conflicts {
    fn count(&self, conflict: Conflict) {
        if let Some(counter) = self.0.get(conflict as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn get(&self, conflict: Conflict) -> u64 {
        self.0.get(conflict as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What the identity map said of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) workspaces: bool,
    pub(super) roles: bool,
}

/// Whom a Clerk user is on the legacy side.
struct Found {
    legacy_user: Option<String>,
    link: Link,
    conflict: Option<Conflict>,
}

enum Claimed<'a> {
    Nothing,
    Id(&'a str),
    Void(Conflict),
}

impl Linking {
    /// Whether facts are added to in the same way: what was remembered with the one holds with the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let digest = |linking: &Self| linking.map.as_ref().map(|map| map.digest().to_owned());
        digest(self) == digest(other)
            && (&self.claim, self.canonical, self.has_clerk, self.workspaces)
                == (&other.claim, other.canonical, other.has_clerk, other.workspaces)
    }

    /// Keeps how many people the map has, for the next start to compare. Fails nothing: what cannot be kept is only not
    /// compared then. Blocks on the disk.
    pub fn keep_extent(&self, state_dir: &Path) {
        if self.map.is_none() {
            return;
        }
        match Extent::of(&self.counts).keep(state_dir) {
            Ok(()) => self.extent_kept.store(true, Ordering::Relaxed),
            Err(problem) => {
                tracing::warn!(%problem, "how many people the identity map has cannot be kept in state_dir");
            }
        }
    }

    pub fn is_extent_kept(&self) -> bool {
        self.extent_kept.load(Ordering::Relaxed)
    }

    /// A person whose Clerk credential verifies.
    ///
    /// # Errors
    /// [`Deleted`].
    pub(super) fn of_clerk(&self, facts: Facts) -> Result<Facts, Deleted> {
        self.of_clerk_told(facts, Checks::NOBODY)
    }

    /// The same; while somebody listens, nothing is counted.
    pub(super) fn of_clerk_told(&self, facts: Facts, checks: Checks<'_>) -> Result<Facts, Deleted> {
        let Some(user) = facts.clerk_user.as_deref() else { return Ok(facts) };
        let Found { legacy_user, link, conflict } = self.find(user, &facts.claims);
        if let Some(conflict) = conflict.filter(|_| !checks.is_heard()) {
            self.conflicts.count(conflict);
        }
        if link == Link::Deleted {
            return Err(Deleted);
        }
        let subject = self.subject(legacy_user.as_deref(), Some(user), &facts.subject);
        let mut facts = Facts { subject, legacy_user, link, ..facts };
        let Some(id) = facts.org.as_ref().map(|org| org.id.as_str()) else { return Ok(facts) };
        let known = self.map.as_deref().and_then(|map| map.org_by_clerk(id));
        facts.canonical_org = Some(self.canonical_org(id, known));
        if let (Some(map), Some(org)) = (self.map.as_deref(), known) {
            let mut names = org.partners().map(|partner| partner.id().to_owned());
            facts.legacy_org = names.next();
            facts.merged_orgs = names.collect();
            let row = facts.clerk_user.as_deref().and_then(|user| map.user_by_clerk(user));
            self.enter_workspaces(&grants(map, row, org), &mut facts);
        }
        Ok(facts)
    }

    /// A person whose legacy credential verifies. Of a sealed or deleted one too: that the credential proves nothing is
    /// the decision table's to say.
    ///
    /// # Errors
    /// [`ClerksId`]: where people choose their legacy ids, one could choose somebody else's subject.
    pub(super) fn of_legacy(&self, mut facts: Facts) -> Result<Facts, ClerksId> {
        let Some(user) = facts.legacy_user.as_deref() else { return Ok(facts) };
        if self.is_clerks(user) {
            return Err(ClerksId);
        }
        let Some(map) = self.map.as_deref() else {
            facts.canonical_org.clone_from(&facts.legacy_org);
            return Ok(facts);
        };
        let row = map.user_by_legacy(user);
        facts.link = match row {
            Some(row) => row.state(),
            // With a claim too, they may be linked by it. Were they not moved then, leaving the Clerk credential out would
            // choose the legacy arm.
            None if self.claim.is_some() => Link::Linked,
            None => Link::LegacyOnly,
        };
        facts.clerk_user = row.and_then(User::clerk).map(str::to_owned);
        facts.subject = self.subject(Some(user), facts.clerk_user.as_deref(), &facts.subject);
        let Some(id) = facts.legacy_org.as_deref() else { return Ok(facts) };
        let known = map.org_by_legacy(id);
        facts.canonical_org = Some(self.canonical_org(id, known));
        if let Some(org) = known {
            let mut names = org.partners().map(|partner| partner.id().to_owned());
            facts.org = names.next().map(|id| Org { id, ..Org::default() });
            facts.merged_orgs = names.collect();
            let grants = grants(map, row, org);
            if facts.legacy_roles.is_empty() {
                facts.legacy_roles = distinct(grants.iter().filter_map(|grant| grant.role()));
                facts.roles_by_map = true;
            }
            self.enter_workspaces(&grants, &mut facts);
        }
        Ok(facts)
    }

    /// Which facts of a person are the map's word and not their credential's.
    pub(super) fn said(&self, facts: &Facts) -> Said {
        let map = self.map.as_deref();
        let found = match facts.method.login() {
            Login::Clerk => map.and_then(|map| {
                let org = map.org_by_clerk(&facts.org.as_ref()?.id)?;
                Some(grants(map, map.user_by_clerk(facts.clerk_user.as_deref()?), org))
            }),
            Login::Legacy => map.and_then(|map| {
                let org = map.org_by_legacy(facts.legacy_org.as_deref()?)?;
                Some(grants(map, map.user_by_legacy(facts.legacy_user.as_deref()?), org))
            }),
        };
        let grants = found.unwrap_or_default();
        Said { workspaces: self.workspaces && !grants.is_empty(), roles: facts.roles_by_map }
    }

    /// Their legacy id by the claims of a Clerk credential that does not count (expired, or not verified). Only for
    /// telling that two credentials name two people.
    pub(super) fn legacy_user(&self, facts: &Facts) -> Option<Box<str>> {
        let found = self.find(facts.clerk_user.as_deref()?, &facts.claims);
        found.legacy_user.map(String::into_boxed_str)
    }

    /// Whether the map says that this Clerk user is gone.
    pub(super) fn is_deleted(&self, facts: &Facts) -> bool {
        let row = self.map.as_deref().zip(facts.clerk_user.as_deref()).and_then(|(map, user)| map.user_by_clerk(user));
        row.is_some_and(|row| row.state() == Link::Deleted)
    }

    fn find(&self, user: &str, claims: &Map<String, Value>) -> Found {
        let claimed = self.claimed(user, claims);
        let row = self.map.as_deref().and_then(|map| map.user_by_clerk(user));
        if let Some(row) = row {
            let conflict = match claimed {
                Claimed::Nothing => None,
                Claimed::Id(id) => (row.legacy() != Some(id)).then_some(Conflict::Differs),
                Claimed::Void(conflict) => Some(conflict),
            };
            return Found { legacy_user: row.legacy().map(str::to_owned), link: row.state(), conflict };
        }
        let unmapped = |conflict| Found { legacy_user: None, link: Link::ClerkNative, conflict };
        match claimed {
            Claimed::Nothing => unmapped(None),
            Claimed::Void(conflict) => unmapped(Some(conflict)),
            // A line that were theirs would have their Clerk id.
            Claimed::Id(id) if self.map.as_deref().is_some_and(|map| map.user_by_legacy(id).is_some()) => {
                unmapped(Some(Conflict::Taken))
            }
            Claimed::Id(id) => Found { legacy_user: Some(id.to_owned()), link: Link::Linked, conflict: None },
        }
    }

    fn claimed<'a>(&self, user: &str, claims: &'a Map<String, Value>) -> Claimed<'a> {
        let Some((first, rest)) = self.claim.as_deref().and_then(<[String]>::split_first) else {
            return Claimed::Nothing;
        };
        let mut value = claims.get(first);
        for name in rest {
            value = match value {
                Some(Value::Object(members)) => members.get(name),
                Some(Value::Null) | None => None,
                Some(_) => return Claimed::Void(Conflict::Unreadable),
            };
        }
        match value {
            // Clerk's templates write null, or nothing, where a user has no such value.
            None | Some(Value::Null) => Claimed::Nothing,
            Some(Value::String(text)) if text.is_empty() => Claimed::Nothing,
            Some(Value::String(text)) if text == user || self.is_clerks(text) => Claimed::Void(Conflict::ClerkId),
            Some(Value::String(text)) if text.len() <= map::MAX_ID && is_plain_text(text) => Claimed::Id(text),
            Some(_) => Claimed::Void(Conflict::Unreadable),
        }
    }

    /// Whether a legacy id is one that somebody at Clerk has, by the map, or that only Clerk gives. A line of the map that
    /// gives the id to its Clerk user, or to nobody at Clerk, was written by the operator.
    fn is_clerks(&self, id: &str) -> bool {
        let map = self.map.as_deref();
        let is_mapped = map.and_then(|map| map.user_by_clerk(id)).is_some_and(|row| row.legacy() != Some(id));
        let is_known = map.is_some_and(|map| map.user_by_legacy(id).is_some());
        is_mapped || self.has_clerk && !is_known && has_clerks_form(id)
    }

    fn subject(&self, legacy: Option<&str>, clerk: Option<&str>, own: &str) -> String {
        let chosen = match self.canonical {
            Canonical::Legacy => legacy,
            Canonical::Clerk => clerk,
        };
        chosen.unwrap_or(own).to_owned()
    }

    /// The one name under which an org is known here, from whichever side somebody comes: its main name on the canonical
    /// side. Of merged orgs it is the same for all, so that both credentials of a person give one arm.
    fn canonical_org(&self, id: &str, known: Option<map::Org<'_>>) -> String {
        let side = match self.canonical {
            Canonical::Legacy => Side::Legacy,
            Canonical::Clerk => Side::Clerk,
        };
        known.map_or(id, |org| Self::canonical_name(side, org)).to_owned()
    }

    /// The name of an org of the map that stands for all that are merged with it.
    pub fn canonical_name(side: Side, org: map::Org<'_>) -> &str {
        let other = org.partner();
        let name = if org.side() == side { other.and_then(map::Org::partner) } else { other };
        name.unwrap_or(org).id()
    }

    /// Where the map has the membership it is the whole truth, also when it names no workspace.
    fn enter_workspaces(&self, grants: &[Grant<'_>], facts: &mut Facts) {
        if self.workspaces && !grants.is_empty() {
            let ids = distinct(grants.iter().flat_map(|grant| grant.workspaces()));
            let known = ids.into_iter().map(|id| Workspace { id, role: None });
            facts.workspaces = Workspaces::Known(known.collect());
        }
    }
}

/// `user_` and 20 or more letters and digits. Ids such as `user_42` are not Clerk's.
fn has_clerks_form(id: &str) -> bool {
    id.strip_prefix("user_")
        .is_some_and(|rest| rest.len() >= 20 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn grants<'m>(map: &'m IdentityMap, user: Option<User<'m>>, org: map::Org<'m>) -> Vec<Grant<'m>> {
    user.map(|user| map.grants(user, org).collect()).unwrap_or_default()
}

/// In order; of merged orgs, two memberships may say the same.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts {
        if !found.iter().any(|known| known == text) {
            found.push(text.to_owned());
        }
    }
    found
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
