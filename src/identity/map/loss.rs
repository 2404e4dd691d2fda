//! What a new map has lost against the one before: a file that was cut between two lines looks whole.
//!
//! Whoever has no line is known to one side only. So a seal that got lost revives a login that was ended, and a person that
//! got lost becomes two: a map that loses either is not taken up by itself. Owns the two numbers that outlive a restart
//! (`map.json` in `state_dir`); never says what a map may gain.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Counts, IdentityMap, State, User};

const FILE: &str = "map.json";
/// The file has some forty bytes.
const MAX_BYTES: u64 = 4096;

/// How many people a map that served had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Lines of kind `user`.
    users: usize,
    /// Those whose legacy credential proves nothing.
    ended: usize,
    /// Lines of kind `org`.
    #[serde(default)]
    orgs: usize,
    #[serde(default)]
    memberships: usize,
}

impl Extent {
    pub fn of(counts: &Counts) -> Self {
        let of = |which: fn(State) -> bool| {
            let each = State::ALL.into_iter().zip(counts.users);
            each.filter(|(state, _)| which(*state)).map(|(_, count)| count).sum()
        };
        let ended = of(|state| !state.legacy_proves());
        Self { users: of(|_| true), ended, orgs: counts.orgs, memberships: counts.memberships }
    }

    /// Why a map of this extent is not taken up after one of `before`.
    pub fn loss(self, before: Self) -> Option<String> {
        let gone = before.users.saturating_sub(self.users);
        if gone > before.users / 100 {
            let (now, then) = (self.users, before.users);
            return Some(format!(
                "it has {now} people and had {then}: more than 1 % are gone, as when a file is cut off"
            ));
        }
        // People leave orgs every day; that most of them did at once is a file that was cut behind its people.
        for (what, now, then) in
            [("orgs", self.orgs, before.orgs), ("memberships", self.memberships, before.memberships)]
        {
            if then.saturating_sub(now) > then / 2 {
                return Some(format!("it has {now} {what} and had {then}: more than half are gone"));
            }
        }
        let revived = before.ended.saturating_sub(self.ended);
        (revived > 0).then(|| {
            let (now, then) = (self.ended, before.ended);
            format!("{now} people are sealed, deleted or native to Clerk, and {then} were: old logins would be revived")
        })
    }

    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// What was kept when a map last served; `None` at the first start.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn kept(state_dir: &Path) -> io::Result<Option<Self>> {
        let path = Self::path(state_dir);
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        if !meta.is_file() || meta.len() > MAX_BYTES {
            return Err(io::Error::other("it is none of crossgate's"));
        }
        Ok(Some(serde_json::from_slice(&fs::read(&path)?)?))
    }

    /// Keeps it for the next start.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(self, state_dir: &Path) -> io::Result<()> {
        fs::create_dir_all(state_dir)?;
        let new = state_dir.join("map.json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self)?)?;
        file.sync_all()?;
        fs::rename(new, Self::path(state_dir))
    }
}

/// Why `new` is not taken up while `old` serves: by number, or since a login that was ended would prove somebody again.
pub fn loss(old: &IdentityMap, new: &IdentityMap) -> Option<String> {
    if let Some(loss) = Extent::of(&new.counts()).loss(Extent::of(&old.counts())) {
        return Some(loss);
    }
    let is_revived = |user: &User<'_>| {
        let proves = |now: Option<User<'_>>| now.is_none_or(|now| now.state().legacy_proves());
        let legacy = user.legacy().is_some_and(|id| proves(new.user_by_legacy(id)));
        let clerk = user.legacy().is_none() && user.clerk().is_some_and(|id| proves(new.user_by_clerk(id)));
        let is_back = user.state() == State::Deleted
            && user.clerk().and_then(|id| new.user_by_clerk(id)).is_some_and(|now| now.state().clerk_proves());
        !user.state().legacy_proves() && (legacy || clerk) || is_back
    };
    old.users().find(is_revived).map(|user| {
        let id = user.legacy().or(user.clerk()).unwrap_or_default();
        format!("{id} was {} and would not be any more", user.state().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::{Extent, loss};
    use crate::identity::map::{IdentityMap, read};

    fn map(ids: std::ops::Range<u32>, ended: &[(u32, &str)]) -> IdentityMap {
        let mut text = String::new();
        for id in ids {
            let state = ended.iter().find(|(at, _)| *at == id).map_or("linked", |(_, state)| state);
            text +=
                &format!("{{\"kind\":\"user\",\"legacy\":\"{id}\",\"clerk\":\"user_{id}\",\"state\":\"{state}\"}}\n");
        }
        read(text.as_bytes()).unwrap().map
    }

    #[test]
    fn what_is_lost() {
        let sealed = [(7, "sealed"), (9, "deleted")];
        let old = map(0..300, &sealed);
        let table = [
            ("the same", map(0..300, &sealed), None),
            ("more", map(0..400, &sealed), None),
            ("one per cent", map(0..297, &sealed), None),
            ("more than one per cent", map(0..296, &sealed), Some("more than 1 % are gone")),
            ("emptied", map(0..0, &[]), Some("it has 0 people")),
            ("a seal less", map(0..300, &[(7, "sealed")]), Some("old logins would be revived")),
            ("a seal for another", map(0..300, &[(7, "sealed"), (8, "deleted")]), Some("9 was deleted")),
            ("somebody sealed without a line", map(8..300, &[(9, "deleted"), (10, "sealed")]), Some("more than 1 %")),
            ("a deleted one only sealed", map(0..300, &[(7, "deleted"), (9, "sealed")]), Some("9 was deleted")),
            ("one of the sealed left out", map(8..308, &[(9, "deleted"), (10, "sealed")]), Some("7 was sealed")),
        ];
        for (name, new, expected) in table {
            let told = loss(&old, &new);
            assert_eq!(told.is_some(), expected.is_some(), "{name}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{name}");
        }
    }

    #[test]
    fn what_stands_behind_the_people_is_not_lost_either() {
        let people = (0..4).map(|id| format!("{{\"kind\":\"user\",\"legacy\":\"{id}\",\"state\":\"legacy_only\"}}\n"));
        let people: String = people.collect();
        let orgs = "{\"kind\":\"org\",\"legacy\":\"a\"}\n{\"kind\":\"membership\",\"user\":\"1\",\"org\":\"a\"}\n";
        let whole = read(format!("{people}{orgs}").as_bytes()).unwrap().map;
        let cut = read(people.as_bytes()).unwrap().map;
        assert!(loss(&whole, &cut).unwrap().contains("0 orgs and had 1"));
        assert_eq!(loss(&cut, &whole), None);
    }

    #[test]
    fn a_restart_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert_eq!(Extent::kept(&state).unwrap(), None);
        let extent = Extent::of(&map(0..3, &[(1, "sealed")]).counts());
        extent.keep(&state).unwrap();
        assert_eq!(Extent::kept(&state).unwrap(), Some(extent));
        std::fs::write(state.join("map.json"), "{").unwrap();
        assert!(Extent::kept(&state).is_err());
    }
}
