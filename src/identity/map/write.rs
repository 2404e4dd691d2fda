//! A map as lines again: sorted, so that equal maps are equal files and a diff shows what changed.
//!
//! Orgs, then users, then memberships: a reader meets each name before it is used. Writes to whatever it is given; files,
//! and that they are replaced whole, are the command's matter.

use std::io::{self, Write};

use serde::Serialize;

use super::{Grant, IdentityMap, Link, Org, Side, User};

/// One line.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'m> {
    Org(Link<'m>),
    User(User<'m>),
    /// User and org by a name that means nobody else, the legacy one where it can.
    Membership {
        user: &'m str,
        org: &'m str,
        grant: Grant<'m>,
    },
}

/// All lines of a map, in order.
pub fn entries(map: &IdentityMap) -> impl Iterator<Item = Entry<'_>> {
    let mut links: Vec<Link<'_>> = map.links().collect();
    links.sort_unstable_by_key(|link| (link.legacy.map(Org::id), link.clerk.map(Org::id)));
    let mut users: Vec<User<'_>> = map.users().collect();
    users.sort_unstable_by_key(|user| (user.legacy(), user.clerk()));
    let members = users.clone().into_iter().flat_map(move |user| {
        let name = user_name(map, user);
        let mut own: Vec<_> = map.memberships(user).map(|(org, grant)| (org_name(map, org), grant)).collect();
        own.sort_unstable_by_key(|(org, _)| *org);
        own.into_iter().map(move |(org, grant)| Entry::Membership { user: name, org, grant })
    });
    links.into_iter().map(Entry::Org).chain(users.into_iter().map(Entry::User)).chain(members)
}

fn user_name<'m>(map: &'m IdentityMap, user: User<'m>) -> &'m str {
    let clerk = user.clerk().unwrap_or_default();
    match user.legacy() {
        Some(legacy) if map.user_by_clerk(legacy).is_none_or(|other| other.index == user.index) => legacy,
        Some(_) | None => clerk,
    }
}

fn org_name<'m>(map: &'m IdentityMap, org: Org<'m>) -> &'m str {
    let other_side = match org.side() {
        Side::Legacy => Side::Clerk,
        Side::Clerk => Side::Legacy,
    };
    let is_foreign = |other: Org<'_>| !org.partners().any(|partner| partner.index == other.index);
    match map.org(other_side, org.id()) {
        // Only written by its other name, and that only while there is one.
        Some(other) if is_foreign(other) => org.partner().map_or(org.id(), Org::id),
        Some(_) | None => org.id(),
    }
}

/// Writes a map as JSON lines.
///
/// # Errors
/// Those of `out`.
pub fn write_jsonl(map: &IdentityMap, out: &mut impl Write) -> io::Result<()> {
    entries(map).try_for_each(|entry| entry.write_jsonl(out))
}

impl Entry<'_> {
    /// # Errors
    /// Those of `out`.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.written())?;
        out.write_all(b"\n")
    }

    fn written(&self) -> Written<'_> {
        match *self {
            Self::Org(link) => {
                Written::Org { legacy: link.legacy.map(Org::id), clerk: link.clerk.map(Org::id), merge: link.merge }
            }
            Self::User(user) => {
                Written::User { legacy: user.legacy(), clerk: user.clerk(), state: user.state().as_str() }
            }
            Self::Membership { user, org, grant } => {
                Written::Membership { user, org, role: grant.role(), workspaces: grant.workspaces().collect() }
            }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Written<'a> {
    User {
        #[serde(skip_serializing_if = "Option::is_none")]
        legacy: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        clerk: Option<&'a str>,
        state: &'static str,
    },
    Org {
        #[serde(skip_serializing_if = "Option::is_none")]
        legacy: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        clerk: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        merge: bool,
    },
    Membership {
        user: &'a str,
        org: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        workspaces: Vec<&'a str>,
    },
}
