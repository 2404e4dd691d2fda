//! What a new map changes, and which changes nobody should make unawares.
//!
//! Two maps go in, counts and conflicts come out; nothing is written here. A conflict is a change that lets somebody prove
//! or reach more than before, or that looks like an accident. Lowering is never a conflict.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::identity::map::{Grant, IdentityMap, Loaded, Org, Side, State, User, twins};

/// Most conflicts that are told; all are counted.
const MAX_TOLD: usize = 100;

/// Kinds of conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// Two ids that differ by case or accents only.
    Twins,
    /// Two orgs of one side become one of the other.
    OrgMerge,
    /// Somebody gets a role that may be higher.
    RoleRaise,
    /// A legacy credential that proved nothing would prove somebody again.
    SealedRegression,
    /// An id comes to mean another person or organisation.
    IdReuse,
    /// More than 1 % of the users, orgs or memberships would go.
    Shrink,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Twins => "twins",
            Self::OrgMerge => "org_merge",
            Self::RoleRaise => "role_raise",
            Self::SealedRegression => "sealed_regression",
            Self::IdReuse => "id_reuse",
            Self::Shrink => "shrink",
        }
    }
}

#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) kind: Kind,
    /// Of the new file; 0 when no line of it is to blame.
    pub(super) line: usize,
    pub(super) message: String,
}

/// How many entries of one kind are new, different, gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: usize,
    pub(super) changed: usize,
    pub(super) removed: usize,
}

#[derive(Debug, Default)]
pub(super) struct Diff {
    pub(super) users: Changes,
    pub(super) orgs: Changes,
    pub(super) memberships: Changes,
    pub(super) conflicts: Vec<Conflict>,
    /// All, also those that are not told.
    pub(super) counts: BTreeMap<Kind, usize>,
}

impl Diff {
    pub(super) fn new(old: &IdentityMap, new: &Loaded) -> Self {
        let mut diff = Self::default();
        diff.users(old, new);
        diff.orgs(old, &new.map);
        diff.memberships(old, new);
        diff.twins(old, new);
        for (noun, changes, before) in [
            ("users", diff.users, old.users().len()),
            ("orgs", diff.orgs, old.links().count()),
            ("memberships", diff.memberships, old.counts().memberships),
        ] {
            let gone = changes.removed;
            if gone * 100 > before {
                diff.conflict(Kind::Shrink, 0, format!("{gone} of {before} {noun} would go: more than 1 %"));
            }
        }
        diff
    }

    pub(super) fn is_empty(&self) -> bool {
        [self.users, self.orgs, self.memberships].iter().all(|changes| *changes == Changes::default())
    }

    fn conflict(&mut self, kind: Kind, line: usize, message: String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.conflicts.len() < MAX_TOLD {
            self.conflicts.push(Conflict { kind, line, message });
        }
    }

    fn users(&mut self, old: &IdentityMap, new: &Loaded) {
        for user in new.map.users() {
            let line = new.places.line(user);
            let by_legacy = user.legacy().and_then(|id| old.user_by_legacy(id));
            let by_clerk = user.clerk().and_then(|id| old.user_by_clerk(id));
            let Some(before) = by_legacy.or(by_clerk) else {
                self.users.added += 1;
                continue;
            };
            if (before.legacy(), before.clerk(), before.state()) != (user.legacy(), user.clerk(), user.state()) {
                self.users.changed += 1;
            }
            let pairs = [
                ("legacy", user.legacy(), by_legacy.and_then(User::clerk), user.clerk()),
                ("clerk", user.clerk(), by_clerk.and_then(User::legacy), user.legacy()),
            ];
            for (side, id, was, is) in pairs {
                if let (Some(id), Some(was), Some(is)) = (id, was, is)
                    && was != is
                {
                    self.conflict(Kind::IdReuse, line, format!("{side} user `{id}` was `{was}` and would be `{is}`"));
                }
            }
            self.state(line, user, by_legacy.map(User::state), by_clerk.map(User::state));
        }
        for before in old.users() {
            let by_legacy = before.legacy().map(|id| (id, new.map.user_by_legacy(id).is_some()));
            let by_clerk = before.clerk().map(|id| (id, new.map.user_by_clerk(id).is_some()));
            if ![by_legacy, by_clerk].into_iter().flatten().any(|(_, is_there)| is_there) {
                self.users.removed += 1;
            }
            // An id that no line names keeps its side's meaning: whoever holds a credential for it is somebody again.
            let state = before.state();
            let legacy = by_legacy.filter(|_| !state.legacy_proves());
            let clerk = by_clerk.filter(|_| state == State::Deleted);
            for (side, id) in [("legacy", legacy), ("clerk", clerk)] {
                if let Some((id, false)) = id {
                    let message =
                        format!("{side} user `{id}` is {} and would be unknown: it would count again", state.as_str());
                    self.conflict(Kind::SealedRegression, 0, message);
                }
            }
        }
    }

    fn state(&mut self, line: usize, user: User<'_>, by_legacy: Option<State>, by_clerk: Option<State>) {
        let (id, is) = (any_id(user), user.state());
        if [by_legacy, by_clerk].contains(&Some(State::Deleted)) && is != State::Deleted {
            self.conflict(Kind::IdReuse, line, format!("user `{id}` was deleted and would be {}", is.as_str()));
        } else if let Some(was) = by_legacy.filter(|was| !was.legacy_proves() && is.legacy_proves()) {
            let message = format!("user `{id}` was {} and would be {}", was.as_str(), is.as_str());
            self.conflict(Kind::SealedRegression, line, message);
        }
    }

    fn orgs(&mut self, old: &IdentityMap, new: &IdentityMap) {
        for link in new.links() {
            let names = (link.legacy.map(Org::id), link.clerk.map(Org::id));
            let was = (names.0.and_then(|id| old.org_by_legacy(id)), names.1.and_then(|id| old.org_by_clerk(id)));
            let is_same = match (names, was) {
                ((Some(legacy), Some(clerk)), _) => old.is_same_org(legacy, clerk),
                (_, (Some(org), None) | (None, Some(org))) => org.partner().is_none(),
                _ => false,
            };
            if is_same {
                continue;
            }
            match was {
                (None, None) => self.orgs.added += 1,
                _ => self.orgs.changed += 1,
            }
            for (org, before) in [(link.legacy, was.0), (link.clerk, was.1)] {
                let Some(org) = org else { continue };
                if org.partners().nth(1).is_some() {
                    let names: Vec<String> = org.partners().map(|partner| format!("`{}`", partner.id())).collect();
                    let message = format!("{} org `{}` joins {}", side(org), org.id(), names.join(" and "));
                    self.conflict(Kind::OrgMerge, 0, message);
                }
                // Repointed: a partner of before is none any more, and another one is.
                let lost = before.into_iter().flat_map(Org::partners).find(|was| {
                    let still = org.partners().any(|is| is.id() == was.id());
                    !still
                });
                if let (Some(was), Some(is)) = (lost, org.partner()) {
                    let message =
                        format!("{} org `{}` was `{}` and would be `{}`", side(org), org.id(), was.id(), is.id());
                    self.conflict(Kind::IdReuse, 0, message);
                }
            }
        }
        let is_known = |org: Option<Org<'_>>| {
            org.is_some_and(|org| match org.side() {
                Side::Legacy => new.org_by_legacy(org.id()).is_some(),
                Side::Clerk => new.org_by_clerk(org.id()).is_some(),
            })
        };
        self.orgs.removed = old.links().filter(|link| !is_known(link.legacy) && !is_known(link.clerk)).count();
    }

    fn memberships(&mut self, old: &IdentityMap, new: &Loaded) {
        for user in new.map.users() {
            let before = counterpart(user, old);
            for (org, grant) in new.map.memberships(user) {
                let was = before.and_then(|user| grant_in(old, user, org));
                let Some(was) = was else {
                    self.memberships.added += 1;
                    continue;
                };
                let is_same = was.role() == grant.role() && was.workspaces().eq(grant.workspaces());
                if is_same {
                    continue;
                }
                self.memberships.changed += 1;
                if may_raise(was.role(), grant.role()) {
                    let message = format!(
                        "user `{}` in org `{}` had the role {} and would have {}",
                        any_id(user),
                        org.id(),
                        role(was),
                        role(grant)
                    );
                    self.conflict(Kind::RoleRaise, new.places.line(user), message);
                }
            }
        }
        for user in old.users() {
            let after = counterpart(user, &new.map);
            let gone = old
                .memberships(user)
                .filter(|(org, _)| after.and_then(|user| grant_in(&new.map, user, *org)).is_none())
                .count();
            self.memberships.removed += gone;
        }
    }

    /// Only those that are new: what was accepted once is not asked for every night.
    fn twins(&mut self, old: &IdentityMap, new: &Loaded) {
        let known = twins(old);
        for twin in twins(&new.map) {
            if known.contains(&twin) || known.iter().any(|pair| (pair.one, pair.other) == (twin.other, twin.one)) {
                continue;
            }
            let message = format!("{} ids `{}` and `{}` look alike and would be two", twin.kind, twin.one, twin.other);
            self.conflict(Kind::Twins, 0, message);
        }
    }
}

fn any_id(user: User<'_>) -> &str {
    user.legacy().or(user.clerk()).unwrap_or_default()
}

fn role(grant: Grant<'_>) -> String {
    grant.role().map_or_else(|| "none".to_owned(), |role| format!("`{role}`"))
}

fn side(org: Org<'_>) -> &'static str {
    match org.side() {
        Side::Legacy => "legacy",
        Side::Clerk => "clerk",
    }
}

/// The same person in another map.
fn counterpart<'m>(user: User<'_>, map: &'m IdentityMap) -> Option<User<'m>> {
    let by_legacy = user.legacy().and_then(|id| map.user_by_legacy(id));
    by_legacy.or_else(|| user.clerk().and_then(|id| map.user_by_clerk(id)))
}

fn grant_in<'m>(map: &'m IdentityMap, user: User<'m>, org: Org<'_>) -> Option<Grant<'m>> {
    let same = match org.side() {
        Side::Legacy => map.org_by_legacy(org.id()),
        Side::Clerk => map.org_by_clerk(org.id()),
    };
    map.grants(user, same?).next()
}

/// Whether a change of role may be a raise. Only among names that everybody ranks the same way is one known to be none;
/// what cannot be ranked counts as raised.
fn may_raise(was: Option<&str>, is: Option<&str>) -> bool {
    if was == is {
        return false;
    }
    match (was.map(rank), is.map(rank)) {
        (_, None) => false,
        (Some(Some(was)), Some(Some(is))) => is > was,
        _ => true,
    }
}

fn rank(role: &str) -> Option<u8> {
    const RANKS: [&[&str]; 4] = [&["guest", "viewer", "reader"], &["member", "user"], &["admin"], &["owner"]];
    let bare = role.strip_prefix("org:").unwrap_or(role);
    RANKS.iter().position(|names| names.contains(&bare)).map(|rank| rank as u8)
}

#[cfg(test)]
mod tests {
    use super::{Changes, Diff, Kind, may_raise};
    use crate::identity::map::{Loaded, read};

    fn load(text: &str) -> Loaded {
        read(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}: {text}"))
    }

    fn user(legacy: &str, clerk: &str, state: &str) -> String {
        let key = |key: &str, id: &str| if id.is_empty() { String::new() } else { format!(",\"{key}\":\"{id}\"") };
        format!("{{\"kind\":\"user\"{}{},\"state\":\"{state}\"}}\n", key("legacy", legacy), key("clerk", clerk))
    }

    fn org(legacy: &str, clerk: &str, merge: bool) -> String {
        format!("{{\"kind\":\"org\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\",\"merge\":{merge}}}\n")
    }

    fn member(user: &str, role: &str) -> String {
        format!("{{\"kind\":\"membership\",\"user\":\"{user}\",\"org\":\"a\",\"role\":\"{role}\"}}\n")
    }

    #[test]
    fn conflicts() {
        let linked = user("1", "u1", "linked");
        let acme = org("a", "o1", false);
        let many: String = (0..200).map(|n| user(&format!("{n}"), &format!("u{n}"), "linked")).collect();
        let but = |gone: usize| many.lines().skip(gone).map(|line| format!("{line}\n")).collect::<String>();
        let table: Vec<(&str, String, String, &[Kind])> = vec![
            ("nothing", linked.clone(), linked.clone(), &[]),
            ("sealing", linked.clone(), user("1", "u1", "sealed"), &[]),
            ("linking", user("1", "", "legacy_only"), linked.clone(), &[]),
            ("unsealing", user("1", "u1", "sealed"), linked.clone(), &[Kind::SealedRegression]),
            ("back to legacy", user("1", "u1", "sealed"), user("1", "", "legacy_only"), &[Kind::SealedRegression]),
            (
                "a sealed line goes",
                user("1", "u1", "sealed") + &many.replace("\"1\"", "\"x\"").replace("\"u1\"", "\"y\""),
                many.replace("\"1\"", "\"x\"").replace("\"u1\"", "\"y\""),
                &[Kind::SealedRegression],
            ),
            (
                "a sealed id is left out of a line",
                user("1", "u1", "sealed"),
                user("", "u1", "clerk_native"),
                &[Kind::SealedRegression],
            ),
            ("deleting", user("1", "u1", "sealed"), user("1", "u1", "deleted"), &[]),
            ("back from the dead", user("1", "u1", "deleted"), linked.clone(), &[Kind::IdReuse]),
            ("another Clerk user", linked.clone(), user("1", "u2", "linked"), &[Kind::IdReuse]),
            ("another legacy user", linked.clone(), user("2", "u1", "linked"), &[Kind::IdReuse]),
            ("two of two hundred go", many.clone(), but(2), &[]),
            ("three of two hundred go", many.clone(), but(3), &[Kind::Shrink]),
            ("the only one goes", linked.clone(), String::new(), &[Kind::Shrink]),
            (
                "twins",
                linked.clone(),
                linked.clone() + &user("B", "u3", "linked") + &user("b", "u4", "linked"),
                &[Kind::Twins],
            ),
            (
                "twins of before",
                user("B", "u3", "linked") + &user("b", "u4", "linked"),
                linked.clone() + &user("b", "u4", "linked") + &user("B", "u3", "linked"),
                &[],
            ),
            ("a merge", acme.clone(), acme.clone() + &org("b", "o1", true), &[Kind::OrgMerge]),
            ("a merge of before", acme.clone() + &org("b", "o1", true), acme.clone() + &org("b", "o1", true), &[]),
            ("another Clerk org", acme.clone(), org("a", "o2", false), &[Kind::IdReuse]),
            (
                "a raise",
                linked.clone() + &acme + &member("1", "member"),
                linked.clone() + &acme + &member("1", "admin"),
                &[Kind::RoleRaise],
            ),
            (
                "a lowering",
                linked.clone() + &acme + &member("1", "admin"),
                linked + &acme + &member("u1", "member"),
                &[],
            ),
        ];
        for (name, old, new, expected) in table {
            let diff = Diff::new(&load(&old).map, &load(&new));
            let found: Vec<Kind> = diff.counts.keys().copied().collect();
            assert_eq!(found, expected, "{name}: {:?}", diff.conflicts);
        }
    }

    #[test]
    fn counts() {
        let old = user("1", "u1", "linked")
            + &user("2", "", "legacy_only")
            + &user("3", "u3", "linked")
            + &org("a", "o1", false);
        let new = user("1", "u1", "sealed")
            + &user("3", "u3", "linked")
            + &user("4", "u4", "linked")
            + &org("b", "o2", false);
        let diff = Diff::new(&load(&old).map, &load(&new));
        assert_eq!(diff.users, Changes { added: 1, changed: 1, removed: 1 });
        assert_eq!(diff.orgs, Changes { added: 1, changed: 0, removed: 1 });
        assert!(!diff.is_empty() && Diff::new(&load(&old).map, &load(&old)).is_empty());
    }

    #[test]
    fn raises() {
        let table = [
            (None, None, false),
            (Some("x"), Some("x"), false),
            (Some("x"), None, false),
            (None, Some("viewer"), true),
            (Some("member"), Some("org:admin"), true),
            (Some("owner"), Some("admin"), false),
            (Some("admin"), Some("auditor"), true),
            (Some("auditor"), Some("member"), true),
        ];
        for (was, is, expected) in table {
            assert_eq!(may_raise(was, is), expected, "{was:?} to {is:?}");
        }
    }
}
