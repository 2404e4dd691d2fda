//! The identity map: which legacy person is which Clerk person, and the same for organisations.
//!
//! Owns the file `identity.map.file` (contract §9, docs/identity-map.md) as a compact, read-only structure; a reload
//! makes a new one. The gate asks it who is whom, which state a link is in and what a membership grants. A principal
//! that both sides name is one person only by this map or by the mapped claim; an id that it does not know is known to
//! one side only and keeps that side's meaning. Never guesses: no e-mail, no folding of case, no slug.
//!
//! Why this form. A million linked users (uuid and `user_…`, 68 bytes of ids each) have to fit into 120 MB and be found
//! in under a microsecond from both sides. A map of strings takes 226 to 336 MB, since each string costs a pointer, a
//! length and an allocation; a sorted array takes 46 MB and 3.7 µs. Here ids lie in an arena, a user is a record of
//! eight bytes, and each side has a table of four-byte indices under a keyed hash, so that ids chosen by strangers cannot
//! be made to collide. Ids of a fixed width would be smaller still, but would know one format of id only. Measured by
//! `bench/map.sh`; figures in `bench/results/`.

mod arena;
mod build;
mod line;
mod load;
mod loss;
mod orgs;
mod state;
mod twins;
mod users;
mod write;

use arena::Arena;
use orgs::Orgs;
use users::Users;

pub use build::{Builder, Loaded, Places};
pub use line::{Fields, Line, MAX_ID};
pub use load::{MAX_FILE, MAX_LINE, Problem, Stamp, lines, load, load_stamped, open, read};
pub use loss::{Extent, loss};
pub use orgs::Side;
pub use state::State;
pub use twins::{Twin, twins};
pub use write::{Entry, entries, write_jsonl};

/// Indices stay below: the builder keeps one bit for the side that named them.
const INDEX_END: u32 = 1 << 31;

/// Who is whom. Read-only; shared by all requests of a snapshot.
#[derive(Default)]
pub struct IdentityMap {
    arena: Arena,
    users: Users,
    orgs: Orgs,
    /// Where the memberships of a user begin, and where the last one's end; empty without memberships.
    starts: Vec<u32>,
    /// By user, then by org.
    memberships: Vec<Membership>,
    /// Distinct pairs of role and workspaces: place and length in the arena.
    grants: Vec<(u32, u32)>,
    digest: Box<str>,
}

#[derive(Debug, Clone, Copy)]
struct Membership {
    org: u32,
    grant: u32,
}

/// A person that the map knows.
#[derive(Clone, Copy)]
pub struct User<'m> {
    map: &'m IdentityMap,
    index: u32,
}

/// A name of an organisation on one side.
#[derive(Clone, Copy)]
pub struct Org<'m> {
    map: &'m IdentityMap,
    index: u32,
}

/// What a membership grants.
#[derive(Clone, Copy)]
pub struct Grant<'m> {
    /// Role, then each workspace, with U+0000 between: ids cannot hold it.
    text: &'m str,
}

/// How many entries a map has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By [`State::ALL`].
    pub users: [usize; 5],
    pub orgs: usize,
    pub memberships: usize,
}

impl Counts {
    /// By the kind of line.
    pub fn by_kind(&self) -> [(&'static str, usize); 3] {
        [("user", self.users.iter().sum()), ("org", self.orgs), ("membership", self.memberships)]
    }
}

impl IdentityMap {
    /// The person with this legacy id. `None`: no such id in the map, so known to the legacy side at most.
    pub fn user_by_legacy(&self, id: &str) -> Option<User<'_>> {
        self.users.by_legacy(&self.arena, id).map(|index| User { map: self, index })
    }

    /// The person with this Clerk user id.
    pub fn user_by_clerk(&self, id: &str) -> Option<User<'_>> {
        self.users.by_clerk(&self.arena, id).map(|index| User { map: self, index })
    }

    /// Whether a legacy id and a Clerk id are one person's. Says nothing of what the person's state lets them prove.
    pub fn is_same_user(&self, legacy: &str, clerk: &str) -> bool {
        self.user_by_legacy(legacy).is_some_and(|user| user.clerk() == Some(clerk))
    }

    /// The organisation with this legacy id.
    pub fn org_by_legacy(&self, id: &str) -> Option<Org<'_>> {
        self.org(Side::Legacy, id)
    }

    /// The organisation with this Clerk id (`org_…`); never ask with a slug.
    pub fn org_by_clerk(&self, id: &str) -> Option<Org<'_>> {
        self.org(Side::Clerk, id)
    }

    fn org(&self, side: Side, id: &str) -> Option<Org<'_>> {
        self.orgs.find(&self.arena, side, id).map(|index| Org { map: self, index })
    }

    /// Whether a legacy org and a Clerk org are one organisation.
    pub fn is_same_org(&self, legacy: &str, clerk: &str) -> bool {
        self.org_by_legacy(legacy).is_some_and(|org| org.partners().any(|partner| partner.id() == clerk))
    }

    /// What a person's memberships in an organisation grant: those written for this name and those for its partners on
    /// the other side. Nothing for a stranger; more than one only where orgs were merged, and then they add up.
    pub fn grants<'m>(&'m self, user: User<'m>, org: Org<'m>) -> impl Iterator<Item = Grant<'m>> {
        let own = self.memberships_of(user.index);
        let names = std::iter::once(org.index).chain(self.orgs.partners(org.index).iter().copied());
        names.filter_map(move |name| {
            let at = own.binary_search_by_key(&name, |membership| membership.org).ok()?;
            own.get(at).map(|membership| self.grant(membership.grant))
        })
    }

    /// All organisations in which a person has a membership, with what it grants.
    pub fn memberships<'m>(&'m self, user: User<'m>) -> impl Iterator<Item = (Org<'m>, Grant<'m>)> {
        self.memberships_of(user.index)
            .iter()
            .map(|membership| (Org { map: self, index: membership.org }, self.grant(membership.grant)))
    }

    fn memberships_of(&self, user: u32) -> &[Membership] {
        let at = user as usize;
        let (Some(from), Some(to)) = (self.starts.get(at), self.starts.get(at + 1)) else { return &[] };
        self.memberships.get(*from as usize..*to as usize).unwrap_or_default()
    }

    fn grant(&self, grant: u32) -> Grant<'_> {
        let (at, length) = self.grants.get(grant as usize).copied().unwrap_or_default();
        Grant { text: self.arena.text(at, length as usize) }
    }

    /// Everybody, in the order of the file.
    pub fn users(&self) -> impl ExactSizeIterator<Item = User<'_>> {
        (0..self.users.len() as u32).map(|index| User { map: self, index })
    }

    /// All names of organisations of both sides.
    pub fn orgs(&self) -> impl ExactSizeIterator<Item = Org<'_>> {
        (0..self.orgs.len() as u32).map(|index| Org { map: self, index })
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { memberships: self.memberships.len(), ..Counts::default() };
        for user in self.users() {
            if let Some(count) = counts.users.get_mut(user.state().bits() as usize) {
                *count += 1;
            }
        }
        counts.orgs = self.links().count();
        counts
    }

    /// Each line of kind `org`: names of both sides and whether the line says `merge`.
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.orgs().flat_map(move |org| {
            let alone = org.partners().next().is_none();
            let own = match org.side() {
                Side::Legacy => Link { legacy: Some(org), clerk: None, merge: false },
                Side::Clerk => Link { legacy: None, clerk: Some(org), merge: false },
            };
            let linked = org.partners().filter(move |_| org.side() == Side::Legacy).map(move |clerk| Link {
                legacy: Some(org),
                clerk: Some(clerk),
                merge: self.orgs.says_merge(org.index, clerk.index),
            });
            std::iter::once(own).filter(move |_| alone).chain(linked)
        })
    }

    /// First 16 hex digits of the file's SHA-256: the same for the same bytes. Empty for a map that came from no file.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// One organisation as a line of the file says it.
#[derive(Debug, Clone, Copy)]
pub struct Link<'m> {
    pub legacy: Option<Org<'m>>,
    pub clerk: Option<Org<'m>>,
    pub merge: bool,
}

impl<'m> User<'m> {
    pub fn legacy(self) -> Option<&'m str> {
        Some(self.map.users.legacy(&self.map.arena, self.index)).filter(|id| !id.is_empty())
    }

    pub fn clerk(self) -> Option<&'m str> {
        Some(self.map.users.clerk(&self.map.arena, self.index)).filter(|id| !id.is_empty())
    }

    pub fn state(self) -> State {
        self.map.users.state(self.index)
    }
}

impl<'m> Org<'m> {
    pub fn id(self) -> &'m str {
        self.map.orgs.id(&self.map.arena, self.index)
    }

    pub fn side(self) -> Side {
        self.map.orgs.side(self.index)
    }

    /// The same organisation's main name on the other side.
    pub fn partner(self) -> Option<Self> {
        self.partners().next()
    }

    /// All its names on the other side, the main one first; more than one only by a merge.
    pub fn partners(self) -> impl Iterator<Item = Self> {
        self.map.orgs.partners(self.index).iter().map(move |index| Self { map: self.map, index: *index })
    }
}

impl<'m> Grant<'m> {
    /// The legacy role; it counts only through `identity.roles`.
    pub fn role(self) -> Option<&'m str> {
        self.text.split('\0').next().filter(|role| !role.is_empty())
    }

    /// The workspaces that the person may enter, sorted.
    pub fn workspaces(self) -> impl Iterator<Item = &'m str> {
        self.text.split('\0').skip(1)
    }
}

/// Without its people: whatever shows a snapshot would show a million of them.
impl std::fmt::Debug for IdentityMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { users, orgs, memberships, digest, .. } = self;
        let mut shown = f.debug_struct("IdentityMap");
        shown.field("users", &users.len()).field("orgs", &orgs.len()).field("memberships", &memberships.len());
        shown.field("digest", digest).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for User<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("User");
        shown.field("legacy", &self.legacy()).field("clerk", &self.clerk()).field("state", &self.state()).finish()
    }
}

impl std::fmt::Debug for Org<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({})", self.side(), self.id())
    }
}

impl std::fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workspaces: Vec<_> = self.workspaces().collect();
        f.debug_struct("Grant").field("role", &self.role()).field("workspaces", &workspaces).finish()
    }
}

#[cfg(test)]
mod tests;
