//! Lines become a map, in whatever order they stand, or problems that name their line.
//!
//! Used by the loader and by `map import`. What needs only earlier lines (duplicate users) is told at once; what needs
//! the whole file (merges, dangling memberships) at the end. Memory is a small multiple of the file's size, whatever
//! the file says. Never makes a map of a file with a problem.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::line::{Line, shown};
use super::load::Problem;
use super::orgs::Side;
use super::{IdentityMap, Membership, User};

/// Most problems that are told of one file.
pub(super) const MAX_PROBLEMS: usize = 100;
/// The bit of an index that says that a Clerk id named it.
const BY_CLERK: u32 = super::INDEX_END;
/// Stands for a user or an org that no line has named so far.
const UNKNOWN: u32 = u32::MAX;

#[derive(Debug, Default)]
pub struct Builder {
    map: IdentityMap,
    user_lines: Vec<u32>,
    links: Vec<LinkLine>,
    members: Vec<Member>,
    /// Names of memberships that stood before what they name, by position in `members`.
    pending: Vec<(usize, Box<str>, Box<str>)>,
    grants: HashTable<u32>,
    key: RandomState,
    problems: Vec<Problem>,
}

/// A map and where its entries stand.
#[derive(Debug)]
pub struct Loaded {
    pub map: IdentityMap,
    pub places: Places,
}

/// Lines of users, for those who tell something about them; drop it when nobody will.
#[derive(Debug)]
pub struct Places(Vec<u32>);

impl Places {
    /// The line of a user of the map that came with this; 0 for another map's.
    pub fn line(&self, user: User<'_>) -> usize {
        self.0.get(user.index as usize).map_or(0, |line| *line as usize)
    }
}

#[derive(Debug, Clone, Copy)]
struct LinkLine {
    legacy: Option<u32>,
    clerk: Option<u32>,
    merge: bool,
    line: u32,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    user: u32,
    org: u32,
    grant: u32,
    line: u32,
}

const FULL: &str = "the map is full: it holds 4 GiB of ids at most";

impl Builder {
    /// Whether so many problems are known that reading on tells nothing more.
    pub fn has_enough(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// A problem of a line, counted from 1; 0 for the file as a whole.
    pub fn problem(&mut self, line: usize, message: impl Into<String>) {
        if !self.has_enough() {
            self.problems.push(Problem { line, message: message.into() });
        }
    }

    /// Takes one line, counted from 1.
    pub fn add(&mut self, number: usize, line: &Line<'_>) {
        let taken = match line {
            Line::User { legacy, clerk, state } => {
                let (legacy, clerk) = (legacy.as_deref().unwrap_or_default(), clerk.as_deref().unwrap_or_default());
                self.add_user(number, legacy, clerk, *state)
            }
            Line::Org { legacy, clerk, merge } => self.add_org(number, legacy.as_deref(), clerk.as_deref(), *merge),
            Line::Membership { user, org, role, workspaces } => {
                self.add_membership(number, user, org, role.as_deref().unwrap_or_default(), workspaces)
            }
        };
        if taken.is_none() {
            self.problem(number, FULL);
        }
    }

    fn add_user(&mut self, number: usize, legacy: &str, clerk: &str, state: super::State) -> Option<()> {
        let IdentityMap { users, arena, .. } = &self.map;
        let twin_of =
            [("legacy", legacy, users.by_legacy(arena, legacy)), ("clerk", clerk, users.by_clerk(arena, clerk))];
        let mut is_new = true;
        for (side, id, twin) in twin_of {
            if let Some(twin) = twin {
                let first = self.user_lines.get(twin as usize).copied().unwrap_or_default();
                self.problem(number, format!("{side} id `{}` is a user's already, on line {first}", shown(id)));
                is_new = false;
            }
        }
        if is_new {
            self.map.users.push(&mut self.map.arena, legacy, clerk, state)?;
            self.user_lines.push(u32::try_from(number).ok()?);
        }
        Some(())
    }

    fn add_org(&mut self, number: usize, legacy: Option<&str>, clerk: Option<&str>, merge: bool) -> Option<()> {
        let IdentityMap { orgs, arena, .. } = &mut self.map;
        let mut node = |side: Side, id: Option<&str>| match id {
            Some(id) => orgs.node(arena, side, id).map(Some),
            None => Some(None),
        };
        let (legacy, clerk) = (node(Side::Legacy, legacy)?, node(Side::Clerk, clerk)?);
        self.links.push(LinkLine { legacy, clerk, merge, line: u32::try_from(number).ok()? });
        Some(())
    }

    fn add_membership(
        &mut self,
        number: usize,
        user: &str,
        org: &str,
        role: &str,
        workspaces: &[impl AsRef<str>],
    ) -> Option<()> {
        let grant = self.grant(role, workspaces)?;
        let named = (self.user(user).unwrap_or(UNKNOWN), self.org(org).unwrap_or(UNKNOWN));
        if named.0 == UNKNOWN || named.1 == UNKNOWN {
            self.pending.push((self.members.len(), user.into(), org.into()));
        }
        self.members.push(Member { user: named.0, org: named.1, grant, line: u32::try_from(number).ok()? });
        Some(())
    }

    /// The number of a pair of role and workspaces; equal pairs are kept once.
    fn grant(&mut self, role: &str, workspaces: &[impl AsRef<str>]) -> Option<u32> {
        let mut text = role.to_owned();
        for workspace in workspaces {
            text.push('\0');
            text.push_str(workspace.as_ref());
        }
        let Self { map: IdentityMap { arena, grants, .. }, grants: table, key, .. } = self;
        let hash = key.hash_one(text.as_str());
        let at = |grants: &[(u32, u32)], index: u32| grants.get(index as usize).copied().unwrap_or_default();
        let equals = |index: &u32| {
            let (place, length) = at(grants, *index);
            arena.text(place, length as usize) == text
        };
        if let Some(known) = table.find(hash, equals) {
            return Some(*known);
        }
        let index = u32::try_from(grants.len()).ok()?;
        grants.push((arena.push(&[text.as_str()])?, u32::try_from(text.len()).ok()?));
        table.insert_unique(hash, index, |index| {
            let (place, length) = at(grants, *index);
            key.hash_one(arena.text(place, length as usize))
        });
        Some(index)
    }

    /// The user that a membership names, by legacy id before Clerk id.
    fn user(&self, name: &str) -> Option<u32> {
        let IdentityMap { users, arena, .. } = &self.map;
        users.by_legacy(arena, name).or_else(|| users.by_clerk(arena, name).map(|index| index | BY_CLERK))
    }

    fn org(&self, name: &str) -> Option<u32> {
        let IdentityMap { orgs, arena, .. } = &self.map;
        let find = |side| orgs.find(arena, side, name);
        find(Side::Legacy).or_else(|| find(Side::Clerk).map(|index| index | BY_CLERK))
    }

    /// The map, when every line was good.
    ///
    /// # Errors
    /// Up to 100 problems, by line.
    pub fn finish(mut self) -> Result<Loaded, Vec<Problem>> {
        self.link_orgs();
        self.resolve_pending();
        self.settle_memberships();
        if self.problems.is_empty() {
            let Self { mut map, user_lines, .. } = self;
            map.arena.settle();
            map.users.settle();
            map.orgs.settle();
            map.grants.shrink_to_fit();
            return Ok(Loaded { map, places: Places(user_lines) });
        }
        self.problems.sort_by_key(|problem| problem.line);
        Err(self.problems)
    }

    fn link_orgs(&mut self) {
        let mut links = std::mem::take(&mut self.links);
        for link in &links {
            if let (Some(legacy), Some(clerk), true) = (link.legacy, link.clerk, link.merge) {
                self.map.orgs.say_merge(legacy, clerk);
            }
        }
        for side in [Side::Legacy, Side::Clerk] {
            let own = |link: &LinkLine| match side {
                Side::Legacy => link.legacy,
                Side::Clerk => link.clerk,
            };
            let other = |link: &LinkLine| match side {
                Side::Legacy => link.clerk,
                Side::Clerk => link.legacy,
            };
            links.sort_unstable_by_key(|link| (own(link), link.line));
            for group in links.chunk_by(|one, next| own(one) == own(next)) {
                let Some(node) = group.first().and_then(own) else { continue };
                // Nearly all: nothing to compare.
                if let [link] = group {
                    self.map.orgs.link(node, other(link).as_slice());
                    continue;
                }
                let partners = self.partners(node, group, &other, side);
                self.map.orgs.link(node, &partners);
            }
        }
    }

    /// Partners of one name, the main one first. Told: lines that say the same twice, and merges that are not said.
    fn partners(
        &mut self,
        node: u32,
        group: &[LinkLine],
        other: &impl Fn(&LinkLine) -> Option<u32>,
        side: Side,
    ) -> Vec<u32> {
        let word = match side {
            Side::Legacy => "legacy",
            Side::Clerk => "clerk",
        };
        let name = shown(self.map.orgs.id(&self.map.arena, node));
        let mut seen: HashMap<Option<u32>, u32> = HashMap::new();
        let mut main: Option<&LinkLine> = None;
        for link in group {
            // A line without the other side says that there is none, so it stands alone.
            let twin = match other(link) {
                None => seen.values().min().copied(),
                id => seen.get(&id).or_else(|| seen.get(&None)).copied(),
            };
            if let Some(first) = twin {
                // A pair that stands twice would be told from both sides.
                let is_told = side == Side::Clerk && link.legacy.is_some() && seen.contains_key(&link.legacy);
                if !is_told {
                    self.problem(
                        link.line as usize,
                        format!("{word} id `{name}` is an org's already, on line {first}"),
                    );
                }
            } else {
                seen.insert(other(link), link.line);
                match main {
                    _ if link.merge => {}
                    None => main = Some(link),
                    Some(first) => {
                        let message = format!(
                            "{word} org `{name}` would be two orgs of the other side, with line {}: a merge widens \
                             access; say \"merge\":true on this line if it is meant",
                            first.line
                        );
                        self.problem(link.line as usize, message);
                    }
                }
            }
            if self.has_enough() {
                break;
            }
        }
        let main = main.and_then(other);
        let mut partners: Vec<u32> = seen.into_keys().flatten().collect();
        let IdentityMap { orgs, arena, .. } = &self.map;
        partners.sort_unstable_by_key(|index| (Some(*index) != main, orgs.id(arena, *index)));
        partners
    }

    fn resolve_pending(&mut self) {
        for (at, user, org) in std::mem::take(&mut self.pending) {
            let found = (self.user(&user), self.org(&org));
            let Some(member) = self.members.get_mut(at) else { continue };
            let line = member.line as usize;
            (member.user, member.org) = (found.0.unwrap_or(UNKNOWN), found.1.unwrap_or(UNKNOWN));
            for (kind, name, found) in [("user", user, found.0), ("org", org, found.1)] {
                if found.is_none() {
                    self.problem(line, format!("no line has the {kind} `{}` of this membership", shown(&name)));
                }
            }
            if self.has_enough() {
                return;
            }
        }
    }

    fn settle_memberships(&mut self) {
        let mut members = std::mem::take(&mut self.members);
        members.retain(|member| member.user != UNKNOWN && member.org != UNKNOWN);
        for member in &mut members {
            if self.has_enough() {
                return;
            }
            self.refuse_ambiguous(*member);
            member.user &= !BY_CLERK;
            member.org = self.main_name(member.org & !BY_CLERK);
        }
        members.sort_unstable_by_key(|member| (member.user, member.org, member.line));
        for (one, next) in members.iter().zip(members.iter().skip(1)) {
            if (one.user, one.org) == (next.user, next.org) {
                self.problem(next.line as usize, format!("this membership stands already, on line {}", one.line));
            }
        }
        if !self.problems.is_empty() || members.is_empty() {
            return;
        }
        let mut starts = Vec::with_capacity(self.map.users.len() + 1);
        let mut rest = members.iter().enumerate().peekable();
        for user in 0..self.map.users.len() as u32 {
            starts.push(rest.peek().map_or(members.len(), |(at, _)| *at) as u32);
            while rest.next_if(|(_, member)| member.user == user).is_some() {}
        }
        starts.push(members.len() as u32);
        self.map.starts = starts;
        self.map.memberships =
            members.iter().map(|member| Membership { org: member.org, grant: member.grant }).collect();
    }

    /// One text that is a legacy id of one and a Clerk id of another names nobody: a stranger may have chosen it.
    fn refuse_ambiguous(&mut self, member: Member) {
        let IdentityMap { users, orgs, arena, .. } = &self.map;
        let (user, org) = (member.user & !BY_CLERK, member.org & !BY_CLERK);
        let (name, other) = if member.user & BY_CLERK == 0 {
            let name = users.legacy(arena, user);
            (name, users.by_clerk(arena, name))
        } else {
            let name = users.clerk(arena, user);
            (name, users.by_legacy(arena, name))
        };
        let by_user = other.filter(|other| *other != user).map(|_| ("user", shown(name)));
        let side = if member.org & BY_CLERK == 0 { Side::Clerk } else { Side::Legacy };
        let name = orgs.id(arena, org);
        let other = orgs.find(arena, side, name).filter(|other| !orgs.partners(org).contains(other));
        let by_org = other.map(|_| ("org", shown(name)));
        for (kind, name) in [by_user, by_org].into_iter().flatten() {
            let message =
                format!("{kind} `{name}` is a legacy id of one {kind} and a clerk id of another: name the other id");
            self.problem(member.line as usize, message);
        }
    }

    /// A membership written for a Clerk org belongs to its legacy name, so that both spellings are one membership. Not
    /// where orgs were merged: it would reach the other Clerk orgs of that name.
    fn main_name(&self, org: u32) -> u32 {
        let orgs = &self.map.orgs;
        match (orgs.side(org), orgs.partners(org)) {
            (Side::Clerk, [legacy]) if orgs.partners(*legacy).len() == 1 => *legacy,
            _ => org,
        }
    }

    pub(super) fn digest(&mut self, digest: String) {
        self.map.digest = digest.into();
    }
}
