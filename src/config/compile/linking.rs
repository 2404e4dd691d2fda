//! `identity.map` and `identity.canonical`: who is one person on both sides, and under which id.
//!
//! The map's file is far larger than any other, so that it is read line by line and only when it changed: a reload that
//! leaves it alone keeps the map that serves. A map with an error is an error of the configuration.

use std::path::Path;
use std::sync::Arc;

use super::identity::claim_path;
use super::missing;
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::{Files, Unreadable};
use crate::config::watched::Print;
use crate::identity::link::{Canonical, Linking, Source};
use crate::identity::map::{self, Extent, IdentityMap, Side, Stamp};

/// What linking is compiled beside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    pub(super) has_clerk: bool,
    pub(super) has_legacy: bool,
    pub(super) previous: Option<&'a Linking>,
    pub(super) state_dir: &'a Path,
}

/// Without `workspaces`, which `identity.workspaces` adds.
pub(super) fn compile(
    raw: Option<raw::IdentityMap>,
    canonical: Option<raw::Canonical>,
    root: At<'_>,
    beside: Beside<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Linking {
    let Beside { has_clerk, has_legacy, previous, .. } = beside;
    let identity = root.key("identity");
    let at = identity.key("map");
    let is_written = raw.is_some();
    let raw::IdentityMap { file, claim } = raw.unwrap_or_default();
    if is_written && file.is_none() && claim.is_none() && !at.lost_keys() {
        missing(
            at,
            "file",
            "name the map: map: { file: map.jsonl }, or a claim: map: { claim: external_id }",
            problems,
        );
    }
    let mut linking = Linking { has_clerk, ..Linking::default() };
    if let Some(previous) = previous {
        linking.conflicts = Arc::clone(&previous.conflicts);
    }
    if let Some(file) = &file {
        let path = at.source.resolve(file);
        if let Some((map, source)) = load(&path, at.key("file"), beside, files, problems) {
            linking.counts = map.counts();
            linking.map = Some(map);
            linking.source = Some(source);
        }
    }
    linking.claim = claim.as_deref().and_then(|text| trusted_claim(text, at.key("claim"), problems));
    if claim.is_some() && !has_clerk {
        let message = "`claim` has no effect without `clerk`: it stands in Clerk's tokens";
        problems.push(no_effect(at.key("claim"), message, "remove it, or configure clerk"));
    }
    let is_linked = is_written || identity.was_dropped("map") || root.was_dropped("identity");
    if canonical == Some(raw::Canonical::Legacy) && !has_legacy && !is_linked {
        let message = "`canonical: legacy` has no effect: nothing gives anybody a legacy id";
        problems.push(no_effect(
            identity.key("canonical"),
            message,
            "remove it, or name a map: map: { file: map.jsonl }",
        ));
    }
    if has_legacy && has_clerk && !is_linked {
        let message = "nothing says who is one person on both sides: whoever comes with both logins is two people";
        let help = "name the map or the mapped claim: identity: { map: { file: map.jsonl, claim: external_id } }";
        let problem =
            Problem::at_span(codes::UNLINKED, root.source, root.key("legacy").key_span(), message).help(help).warning();
        problems.push(problem);
    }
    linking.canonical = match canonical {
        Some(raw::Canonical::Legacy) => Canonical::Legacy,
        Some(raw::Canonical::Clerk) => Canonical::Clerk,
        None if has_legacy => Canonical::Legacy,
        None => Canonical::Clerk,
    };
    linking
}

fn no_effect(at: At<'_>, message: &str, help: &str) -> Problem {
    Problem::at_span(codes::NO_EFFECT, at.source, at.key_span(), message).help(help).warning()
}

fn load(
    path: &Path,
    at: At<'_>,
    beside: Beside<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<(Arc<IdentityMap>, Source)> {
    let Beside { previous, state_dir, .. } = beside;
    let before = Print::of(path);
    let held = previous.and_then(|previous| Some((previous.map.as_ref()?, previous.source.as_ref()?)));
    if let Some((map, source)) = held
        && source.path == path
        && source.stamp.is_some()
        && source.stamp == Stamp::of(path)
    {
        files.remember_digest(path, map.digest(), before);
        return Some((Arc::clone(map), source.clone()));
    }
    match map::load_stamped(path) {
        Ok((map::Loaded { map, .. }, stamp)) => {
            files.remember_digest(path, map.digest(), before);
            let source = Source { path: path.to_path_buf(), stamp };
            if let Some(loss) = lost(&map, held.map(|(held, _)| &**held), beside) {
                let (kept, message) = (Extent::path(state_dir), format!("the map is not taken up: {loss}"));
                let help = format!("if that is meant, remove {} and load it again", kept.display());
                problems.push(Problem::at(codes::MAP_LOSS, at, format!("{message}; {help}")));
                return None;
            }
            // Written again with the same bytes: what was remembered by the map that serves goes on.
            let map = match held {
                Some((held, _)) if held.digest() == map.digest() => Arc::clone(held),
                _ => Arc::new(map),
            };
            Some((map, source))
        }
        Err(told) => {
            files.remember_digest(path, "", before);
            for map::Problem { line, message } in told {
                let help = "`crossgate map verify` shows every error of the map";
                problems.push(match line {
                    0 => Problem::at(codes::BAD_MAP, at, message).help(help),
                    line => {
                        let place = Some((line, 1));
                        Problem::of_file(&Unreadable { code: codes::BAD_MAP, message, place }, path).help(help)
                    }
                });
            }
            None
        }
    }
}

/// What a map has lost against the one before, which serves now or served before a restart. Whoever removes what is kept of
/// that one has said that the loss is meant.
fn lost(map: &IdentityMap, held: Option<&IdentityMap>, beside: Beside<'_>) -> Option<String> {
    let against_held = || held.and_then(|held| map::loss(held, map));
    match (Extent::kept(beside.state_dir), held) {
        (Ok(Some(before)), None) => Extent::of(&map.counts()).loss(before),
        (Ok(Some(_)), Some(_)) => against_held(),
        // It was kept, and somebody removed it.
        (Ok(None), _) if beside.previous.is_some_and(Linking::is_extent_kept) => None,
        (Ok(None), _) => against_held(),
        // A hint that cannot be read, as after a power cut, must not keep the gate from starting.
        (Err(problem), _) => {
            let path = Extent::path(beside.state_dir);
            tracing::warn!(%problem, path = %path.display(), "how many people the last identity map had cannot be read");
            against_held()
        }
    }
}

/// Whoever may write the claim may become anybody. What Clerk lets people write themselves is refused by its name; what a
/// template copies from there under another one, nobody can see.
fn trusted_claim(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let path = claim_path(text, at, problems)?;
    let is_unsafe = |name: &String| {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        letters.to_ascii_lowercase().contains("unsafemetadata")
    };
    if path.iter().any(is_unsafe) {
        let message = "people write their own unsafe_metadata: it cannot say who they are";
        let help = "use external_id or public_metadata, which only the secret key can set";
        problems.push(Problem::at(codes::MAP_CLAIM, at, message).help(help));
        return None;
    }
    Some(path)
}

/// Warns about people and orgs on the rollout's lists whom the map does not know under their canonical id: the entry does
/// nothing.
pub(super) fn lists(rollout: Option<&raw::Rollout>, linking: &Linking, root: At<'_>, problems: &mut Vec<Problem>) {
    let (Some(rollout), Some(map)) = (rollout, linking.map.as_deref()) else { return };
    let at = root.key("rollout");
    for (listed, key) in [(&rollout.include, "include"), (&rollout.exclude, "exclude")] {
        let Some(raw::Listed { users, orgs }) = listed else { continue };
        let at = at.key(key);
        let told = [(users, "users", user as Known), (orgs, "orgs", org as Known)];
        for (ids, key, known) in told {
            for (index, id) in ids.iter().flatten().enumerate() {
                let Err(better) = known(map, linking.canonical, id) else { continue };
                let help = match better {
                    Some(better) => format!("identity.canonical makes it `{better}`"),
                    None => "lists name canonical ids: write it as the map does, or add it to the map".to_owned(),
                };
                let message = "the identity map does not know this as anybody's canonical id";
                let place = at.key(key).item(index);
                problems.push(Problem::at(codes::ROLLOUT_UNKNOWN, place, message).help(help).warning());
            }
        }
    }
}

/// Whether an id is a canonical one; else the canonical id of whom it names, if anybody.
type Known = fn(&IdentityMap, Canonical, &str) -> Result<(), Option<String>>;

fn user(map: &IdentityMap, canonical: Canonical, id: &str) -> Result<(), Option<String>> {
    let (own, other) = match canonical {
        Canonical::Legacy => (map.user_by_legacy(id), map.user_by_clerk(id)),
        Canonical::Clerk => (map.user_by_clerk(id), map.user_by_legacy(id)),
    };
    match (own, other) {
        (Some(_), _) => Ok(()),
        (None, None) => Err(None),
        (None, Some(other)) => {
            let better = match canonical {
                Canonical::Legacy => other.legacy(),
                Canonical::Clerk => other.clerk(),
            };
            better.map_or(Ok(()), |better| Err(Some(better.to_owned())))
        }
    }
}

fn org(map: &IdentityMap, canonical: Canonical, id: &str) -> Result<(), Option<String>> {
    let (side, own, other) = match canonical {
        Canonical::Legacy => (Side::Legacy, map.org_by_legacy(id), map.org_by_clerk(id)),
        Canonical::Clerk => (Side::Clerk, map.org_by_clerk(id), map.org_by_legacy(id)),
    };
    let Some(known) = own.or(other) else { return Err(None) };
    let name = Linking::canonical_name(side, known);
    if name == id { Ok(()) } else { Err(Some(name.to_owned())) }
}
