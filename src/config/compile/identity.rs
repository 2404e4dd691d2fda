//! `identity`: the names of identity headers and of orgs in paths, where workspaces come from, and what legacy roles mean.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use http::HeaderName;

use super::linking::{self, Beside};
use super::{header, missing};
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::identity::headers::Fact;
use crate::identity::map::Side;
use crate::identity::{HeaderNames, Linking};
use crate::policy::{self, ClaimPath, OrgName, RoleName};
use crate::request::fold::fold;

/// What `identity` says.
pub(super) struct Identity {
    pub(super) headers: HeaderNames,
    /// The names that the config gives, which clients must not send either.
    pub(super) renamed: Vec<HeaderName>,
    pub(super) org_name: OrgName,
    pub(super) workspaces_claim: Option<Vec<String>>,
    /// Something says which workspaces somebody may enter, or was meant to: it had a problem of its own.
    pub(super) has_workspaces: bool,
    pub(super) linking: Linking,
    /// The map has legacy ids of orgs.
    pub(super) has_legacy_orgs: bool,
    pub(super) roles: Roles,
}

/// `identity.roles`: a role of Clerk's, with its prefix, and the legacy ones that mean the same.
pub(super) type Roles = BTreeMap<Box<str>, Vec<Box<str>>>;

pub(super) fn compile(
    raw: Option<raw::Identity>,
    beside: Beside<'_>,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Identity {
    let at = root.key("identity");
    // What is asserted is `issued`'s.
    let raw::Identity { canonical, map, headers, roles, names, workspaces, assertion: _ } = raw.unwrap_or_default();
    let has_map = map.as_ref().is_some_and(|map| map.file.is_some());
    let mut linking = linking::compile(map, canonical, root, beside, files, problems);
    let (headers, renamed) = header_names(headers.unwrap_or_default(), at.key("headers"), problems);
    let raw::Named(roles) = roles.unwrap_or_default();
    if !beside.has_legacy && !roles.is_empty() {
        let place = at.key("roles");
        problems.push(
            Problem::at_span(
                codes::NO_EFFECT,
                at.source,
                place.key_span(),
                "`roles` has no effect without a legacy side",
            )
            .help("it says which legacy roles mean the same as a Clerk role; Clerk's own need no mapping")
            .warning(),
        );
    }
    let roles = role_map(roles, at.key("roles"), problems);
    let has_legacy_orgs = linking.map.as_deref().is_some_and(|map| map.orgs().any(|org| org.side() == Side::Legacy));
    let raw::Names { org } = names.unwrap_or_default();
    let place = at.key("names").key("org");
    let org_name = match org {
        Some(raw::OrgNames::ClerkId) => OrgName::ClerkId,
        Some(raw::OrgNames::Slug) => {
            if has_legacy_orgs {
                problems.push(slug_beside_ids(place, "names: { org: legacy_id }"));
            }
            OrgName::Slug
        }
        Some(raw::OrgNames::LegacyId) => {
            if !beside.has_legacy && !has_map && !at.was_dropped("map") {
                let message = "legacy_id needs `legacy` or a map: nothing gives an org a legacy id";
                let help = "name the map: identity: { map: { file: map.jsonl } }, or use clerk_id or slug";
                problems.push(Problem::at(codes::ORG_NAMESPACE, place, message).help(help));
            }
            OrgName::LegacyId
        }
        // Where there is nothing of Clerk's, orgs have only the legacy side's names.
        None if has_map || !beside.has_clerk => OrgName::LegacyId,
        None => OrgName::ClerkId,
    };
    let raw::Workspaces { claim, map: by_map } = workspaces.unwrap_or_default();
    let at_workspaces = at.key("workspaces");
    if by_map == Some(true) && !has_map && !at.was_dropped("map") && !at.key("map").was_dropped("file") {
        missing(at.key("map"), "file", "name the map that workspaces come from: map: { file: map.jsonl }", problems);
    }
    linking.workspaces = by_map.unwrap_or(has_map);
    let workspaces_claim = claim.as_deref().and_then(|text| claim_path(text, at_workspaces.key("claim"), problems));
    // A legacy credential has a place for workspaces in any case.
    let is_said = claim.is_some() || linking.workspaces || beside.has_legacy;
    let has_workspaces = is_said || at.was_dropped("workspaces") || at_workspaces.lost_keys();
    Identity { headers, renamed, org_name, workspaces_claim, has_workspaces, linking, has_legacy_orgs, roles }
}

/// A warning for who compares a name that strangers choose where there are ids.
pub(super) fn slug_beside_ids(at: At<'_>, instead: &str) -> Problem {
    let message = "a slug is chosen by whoever makes an org, and the identity map has legacy ids: people without a slug of \
                   Clerk's, as all legacy people, are refused, and an org that takes a slug is let in";
    Problem::at(codes::SLUG_BESIDE_IDS, at, message).help(format!("compare ids: {instead}")).warning()
}

/// The same for comparing people by.
pub(super) fn listed_roles(roles: &Roles) -> policy::Roles {
    let listed = roles.iter().map(|(name, legacy)| RoleName::new(name).meant_by(legacy.iter().cloned()));
    policy::Roles::new(listed)
}

fn role_map(raw: Vec<(String, Vec<String>)>, at: At<'_>, problems: &mut Vec<Problem>) -> Roles {
    let mut roles = Roles::new();
    for (index, (name, legacy)) in raw.into_iter().enumerate() {
        let place = at.nth(index);
        let bare = name.trim_start_matches("org:");
        if bare.is_empty() || bare.trim() != bare {
            let message = "nobody has a role like this";
            let problem = Problem::at_span(codes::ROLE_MAP, at.source, place.key_span(), message);
            problems.push(problem.help("write it as Clerk does, as in \"org:admin\""));
        }
        if legacy.is_empty() && !place.has_gaps() {
            let help = "remove it, or name legacy roles: \"org:admin\": [admin, owner]";
            problems.push(Problem::at(codes::ROLE_MAP, place, "no legacy role means this one").help(help));
        }
        for (index, role) in legacy.iter().enumerate() {
            if role.is_empty() || role.trim() != role {
                let help = "write it as the legacy side does";
                problems
                    .push(Problem::at(codes::ROLE_MAP, place.item(index), "nobody has a role like this").help(help));
            }
        }
        let all = roles.entry(RoleName::new(&name).as_str().into()).or_default();
        all.extend(legacy.into_iter().map(String::into_boxed_str));
    }
    roles
}

/// The names in a claim's path, quoted ones without their quotes.
pub(super) fn claim_path(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    if let Err(problem) = ClaimPath::parse(text) {
        let span = at.within(text, problem.at);
        problems.push(Problem::at_span(codes::BAD_CLAIM_PATH, at.source, span, problem.kind.to_string()));
        return None;
    }
    // Quotes come in pairs here, so that every second piece is a quoted name.
    let mut names = Vec::new();
    for (index, piece) in text.split('"').enumerate() {
        match index % 2 {
            0 => names.extend(piece.split('.').filter(|name| !name.is_empty()).map(str::to_owned)),
            _ => names.push(piece.to_owned()),
        }
    }
    Some(names)
}

fn header_names(
    raw: raw::Named<Option<String>>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> (HeaderNames, Vec<HeaderName>) {
    let raw::Named(raw) = raw;
    let mut chosen: HashMap<Fact, Option<HeaderName>> = HashMap::new();
    let mut places: HashMap<Fact, At<'_>> = HashMap::new();
    for (index, (key, name)) in raw.into_iter().enumerate() {
        let place = at.nth(index);
        let Some(fact) = Fact::ALL.into_iter().find(|fact| fact.key() == key) else {
            problems.push(unknown_fact(&key, place));
            continue;
        };
        let name = match name {
            None => None,
            Some(text) => {
                let Some(name) = header::to_carry(&text, fact, place, problems) else { continue };
                Some(name)
            }
        };
        chosen.insert(fact, name);
        places.insert(fact, place);
    }
    let names = HeaderNames::new(|fact| chosen.get(&fact).cloned());
    let taken: RefCell<HashMap<Box<str>, Fact>> = RefCell::default();
    for fact in Fact::ALL {
        let Some(name) = names.name(fact) else { continue };
        let Some(other) = taken.borrow_mut().insert(fold(name.as_str()), fact) else { continue };
        let place = places.get(&fact).or_else(|| places.get(&other)).copied().unwrap_or(at);
        let message = format!("`{}` and `{}` would both travel under `{name}`", other.key(), fact.key());
        problems.push(Problem::at(codes::HEADER_TWICE, place, message));
    }
    (names, chosen.into_values().flatten().collect())
}

fn unknown_fact(key: &str, at: At<'_>) -> Problem {
    let help = match near(key, Fact::ALL.map(Fact::key)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known facts: {}", Fact::ALL.map(Fact::key).join(", ")),
    };
    let message = format!("no identity header carries `{key}`");
    Problem::at_span(codes::UNKNOWN_FACT, at.source, at.key_span(), message).help(help)
}
