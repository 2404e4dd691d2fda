//! `identity`: the names of identity headers, of orgs in paths, and of the workspaces claim.

use std::cell::RefCell;
use std::collections::HashMap;

use http::HeaderName;

use super::header;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::HeaderNames;
use crate::identity::headers::Fact;
use crate::policy::{ClaimPath, OrgName};
use crate::request::fold::fold;

/// What `identity` says.
pub(super) struct Identity {
    pub(super) headers: HeaderNames,
    /// The names that the config gives, which clients must not send either.
    pub(super) renamed: Vec<HeaderName>,
    pub(super) org_name: OrgName,
    pub(super) workspaces_claim: Option<Vec<String>>,
    /// The claim is meant to be set: it had a problem of its own.
    pub(super) has_workspaces: bool,
}

pub(super) fn compile(raw: Option<raw::Identity>, root: At<'_>, problems: &mut Vec<Problem>) -> Identity {
    let at = root.key("identity");
    let raw::Identity { headers, roles, names, workspaces } = raw.unwrap_or_default();
    let (headers, renamed) = header_names(headers.unwrap_or_default(), at.key("headers"), problems);
    if roles.is_some_and(|raw::Named(roles)| !roles.is_empty()) {
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
    let raw::Names { org } = names.unwrap_or_default();
    let org_name = match org.unwrap_or(raw::OrgNames::ClerkId) {
        raw::OrgNames::ClerkId => OrgName::ClerkId,
        raw::OrgNames::Slug => OrgName::Slug,
        raw::OrgNames::LegacyId => {
            let place = at.key("names").key("org");
            problems.push(
                Problem::at(
                    codes::ORG_NAMESPACE,
                    place,
                    "legacy_id needs `identity.map`, which this version does not have",
                )
                .help("use clerk_id or slug"),
            );
            OrgName::ClerkId
        }
    };
    let raw::Workspaces { claim } = workspaces.unwrap_or_default();
    let place = at.key("workspaces").key("claim");
    let workspaces_claim = claim.as_deref().and_then(|text| claim_path(text, place, problems));
    let has_workspaces = claim.is_some() || at.was_dropped("workspaces") || at.key("workspaces").was_dropped("claim");
    Identity { headers, renamed, org_name, workspaces_claim, has_workspaces }
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
