//! What the config says beside its routes, compared as written: each difference told with what it means.
//!
//! A table says what each key does to decisions. What it does not know is told as not analysed and counts as if it could
//! let somebody in: a key that is new here must not pass in silence. Values are shown only where they are no secret and no
//! address; files that the config names are compared by their digests.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Difference, Json, Version};

/// What a difference does to decisions. Ordered by how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Somebody gets in, or would under some circumstance.
    Widens,
    /// Could do either, or is not analysed.
    Either,
    /// Somebody gets in no more, or would not under some circumstance.
    Narrows,
    /// Another arm, another API or another limit; nobody gets in or out by it.
    Changes,
    /// No decision changes by it, or what does is told by route.
    None,
}

impl Effect {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Widens => "widens",
            Self::Either => "may_widen",
            Self::Narrows => "narrows",
            Self::Changes => "changes",
            Self::None => "none",
        }
    }

    pub const fn may_widen(self) -> bool {
        matches!(self, Self::Widens | Self::Either)
    }

    pub const fn may_narrow(self) -> bool {
        matches!(self, Self::Narrows | Self::Either)
    }
}

/// A difference beside the decisions by route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Also {
    pub effect: Effect,
    /// The key, with its values where they may be shown.
    pub what: String,
    pub meaning: String,
}

/// A config file as people wrote it, the environment put in.
#[derive(Debug, Default)]
pub struct Written {
    pub document: Json,
    /// SHA-256 of each file that it names, by the key that names it.
    pub files: BTreeMap<String, String>,
}

/// What changing a key does.
struct Key {
    /// Up to its first difference; `*` is any one name.
    path: &'static str,
    effect: Effect,
    /// Values are neither secrets nor addresses.
    shown: bool,
    meaning: &'static str,
}

const fn key(path: &'static str, effect: Effect, shown: bool, meaning: &'static str) -> Key {
    Key { path, effect, shown, meaning }
}

/// The first that fits counts.
const KEYS: &[Key] = &[
    key("clerk.*.missing_azp", Effect::Either, true, "whether tokens that name no party are believed"),
    key("clerk.*.pending_sessions", Effect::Either, true, "whether sessions with tasks left to do are believed"),
    key("clerk.*.authorized_parties", Effect::Either, true, "for which origins tokens must have been made"),
    key("clerk.*.audiences", Effect::Either, true, "for which audiences tokens must have been made"),
    key("clerk.*.clock_skew", Effect::Either, true, "how far clocks may differ"),
    key("clerk.*.cookies", Effect::Either, true, "which sessions in cookies are believed"),
    key("clerk.*.jwks.refresh", Effect::None, true, "how often keys are fetched"),
    key("clerk.*.jwks.max_stale", Effect::Either, true, "how long old keys are believed"),
    key(
        "clerk.*.jwks.privileged_max_stale",
        Effect::Either,
        true,
        "how long old keys are believed on privileged routes",
    ),
    key("clerk.*.jwks", Effect::Either, false, "whose keys are believed"),
    key("clerk.*.probe", Effect::Changes, false, "when Clerk counts as out"),
    key("clerk", Effect::Either, false, "whose tokens are believed"),
    key(
        "legacy.mint",
        Effect::Either,
        false,
        "what the API's own tokens say of people who came with Clerk; of whom none can be made is refused",
    ),
    key("legacy", Effect::Either, false, "which legacy credentials are believed, and what they say"),
    key("identity.roles", Effect::None, true, "what legacy roles mean; what that changes is told by route"),
    key(
        "identity.names",
        Effect::None,
        true,
        "which name of an org stands in paths; what that changes is told by route",
    ),
    key("identity.map", Effect::Either, false, "who is one person on both sides, and in which orgs"),
    key("identity.workspaces", Effect::Either, true, "which workspaces people may enter"),
    key("identity.canonical", Effect::Changes, true, "which id is the subject, and what the rollout deals by"),
    key("identity.headers", Effect::None, true, "the names of headers to the API"),
    key("identity.assertion", Effect::None, false, "the signed statement to the API"),
    key("rollout.percent", Effect::Changes, true, "how many people are in the Clerk arm"),
    key("rollout.include", Effect::Changes, true, "who is in the Clerk arm whatever the percentage"),
    key("rollout.exclude", Effect::Changes, true, "who is in the legacy arm whatever the percentage"),
    key("rollout.arms", Effect::Changes, true, "which API answers in which arm"),
    key("rollout.unit", Effect::Changes, true, "people are dealt anew"),
    key("rollout.salt", Effect::Changes, false, "people are dealt anew"),
    key("rollout.algorithm", Effect::Changes, true, "people are dealt anew"),
    key("rollout.key_file", Effect::Changes, false, "people are dealt anew where the key is another one"),
    key("rollout.source", Effect::Changes, true, "who moves the percentage"),
    key("rollout.limits", Effect::None, true, "how fast the percentage may rise"),
    key("rollout.shadow", Effect::None, true, "whether logins are compared"),
    key("rollout", Effect::Changes, false, "who is in which arm"),
    key("runner.ttl", Effect::Changes, true, "how long runner tokens are good"),
    key("runner.refresh_ttl", Effect::Changes, true, "how long runner tokens can be renewed"),
    key("runner", Effect::Either, false, "who gets runner tokens, and for what"),
    key("trusted_proxies", Effect::Either, true, "whose word is taken for the client's address and host"),
    key("limits", Effect::Changes, true, "larger or slower requests are refused"),
    key("cors", Effect::Changes, true, "which pages read crossgate's own answers, and who answers preflights"),
    key("upstreams.*.credentials", Effect::Changes, true, "which credentials the API gets"),
    key(
        "upstreams.*.paths",
        Effect::None,
        true,
        "which spellings of a path are refused; what that changes is told by route",
    ),
    key("upstreams", Effect::None, false, "how the API is reached"),
    key("audit.on_failure", Effect::None, true, "what goes on unrecorded; what that changes is told by route"),
    key("audit", Effect::None, false, "how the trail is kept"),
    key("endpoints.prefix", Effect::Changes, true, "which paths crossgate answers itself"),
    key("endpoints", Effect::None, true, "crossgate's own answers"),
    key("admin", Effect::None, false, "who steers crossgate, and where"),
    key("listeners.*.tls.client_ca", Effect::Either, false, "whose client certificates are taken"),
    key("listeners.*.tls.client_auth", Effect::Either, true, "whether clients need a certificate"),
    key("listeners", Effect::None, false, "where crossgate listens"),
    key("server", Effect::None, true, "how the process starts and stops"),
    key("telemetry", Effect::None, false, "what is logged and measured"),
    key("waive", Effect::None, true, "what `check` does not tell again"),
    key("state_dir", Effect::None, false, "where state is kept"),
    key("store", Effect::None, false, "where state is shared"),
    key("policies", Effect::None, false, "which files the routes are in; what that changes is told by route"),
];

const UNKNOWN: Key = key("", Effect::Either, false, "not analysed: it could change decisions");

/// Keys under which whole persons, logins or tokens come into being: there or not there is the difference.
const WHOLE: &[(&str, &str, &str)] = &[
    ("clerk.*", "people of this Clerk instance get in", "people of this Clerk instance get in no more"),
    ("legacy", "people get in with legacy credentials", "nobody gets in with a legacy credential any more"),
    ("runner", "runner tokens are made and believed", "no runner token is believed any more"),
];

pub(super) fn compare(old: &Version, new: &Version, difference: &mut Difference) {
    let (was, is) = (flat(&old.written), flat(&new.written));
    let mut whole = BTreeSet::new();
    for (path, added, removed) in WHOLE {
        let (before, after) = (starting(path, &was), starting(path, &is));
        for name in after.difference(&before) {
            difference.also.push(Also {
                effect: Effect::Widens,
                what: format!("{name} added"),
                meaning: (*added).to_owned(),
            });
            whole.insert(name.clone());
        }
        for name in before.difference(&after) {
            let meaning = (*removed).to_owned();
            difference.also.push(Also { effect: Effect::Narrows, what: format!("{name} removed"), meaning });
            whole.insert(name.clone());
        }
    }
    let is_told = |path: &str| whole.iter().any(|name| is_below(path, name));
    let paths: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for path in paths.into_iter().filter(|path| !is_told(path)) {
        let (before, after) = (was.get(path), is.get(path));
        if before != after {
            difference.also.push(one(path, before, after));
        }
    }
    for (path, digest) in &new.written.files {
        let other = old.written.files.get(path).is_some_and(|known| known != digest);
        if other && !is_told(path) {
            let Key { effect, meaning, .. } = known(path);
            let what = format!("{path}: another content");
            difference.also.push(Also { effect: *effect, what, meaning: (*meaning).to_owned() });
        }
    }
}

fn one(path: &str, before: Option<&Json>, after: Option<&Json>) -> Also {
    let Key { effect, shown, meaning, .. } = known(path);
    let what = match (shown, before, after) {
        (false, Some(_), Some(_)) => format!("{path} changed"),
        (false, None, _) => format!("{path} added"),
        (false, _, None) => format!("{path} removed"),
        (true, before, after) => format!("{path}: {} → {}", text(before), text(after)),
    };
    Also { effect: direction(path, *effect, before, after), what, meaning: (*meaning).to_owned() }
}

/// Where the values themselves say which way it goes.
fn direction(path: &str, effect: Effect, before: Option<&Json>, after: Option<&Json>) -> Effect {
    let last = path.rsplit('.').next().unwrap_or_default();
    let word = |value: Option<&Json>| value.and_then(Json::as_str).map(str::to_owned);
    match last {
        "missing_azp" | "pending_sessions" => match word(after).as_deref() {
            Some("allow") => Effect::Widens,
            // `deny` is the default.
            _ => Effect::Narrows,
        },
        // Without a list nothing is asked; with one, each item lets more in.
        "authorized_parties" | "audiences" if effect == Effect::Either => {
            let items = |value: Option<&Json>| -> Option<BTreeSet<String>> {
                let list = value?.as_array()?.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
                (!list.is_empty()).then_some(list)
            };
            match (items(before), items(after)) {
                (_, None) => Effect::Widens,
                (None, Some(_)) => Effect::Narrows,
                (Some(before), Some(after)) if before == after => Effect::None,
                (Some(before), Some(after)) if after.is_subset(&before) => Effect::Narrows,
                (Some(before), Some(after)) if before.is_subset(&after) => Effect::Widens,
                _ => Effect::Either,
            }
        }
        _ => effect,
    }
}

fn text(value: Option<&Json>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| text(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        Some(other) => other.to_string(),
    }
}

fn known(path: &str) -> &'static Key {
    KEYS.iter().find(|key| fits(key.path, path)).unwrap_or(&UNKNOWN)
}

/// Whether a path is this key or lies below it.
fn fits(pattern: &str, path: &str) -> bool {
    let mut names = path.split('.');
    pattern.split('.').all(|asked| names.next().is_some_and(|name| asked == "*" || asked == name))
}

fn is_below(path: &str, name: &str) -> bool {
    path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

/// The paths that fit a pattern, as far as the pattern goes.
fn starting(pattern: &str, values: &BTreeMap<String, Json>) -> BTreeSet<String> {
    let length = pattern.split('.').count();
    let head = |path: &String| path.split('.').take(length).collect::<Vec<_>>().join(".");
    values.keys().filter(|path| fits(pattern, path)).map(head).collect()
}

/// Values by their path. Lists of mappings are told apart by `name`, and by place where there is none; other lists are
/// values, and so are empty mappings.
fn flat(written: &Written) -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    flatten(String::new(), &written.document, &mut found);
    found
}

fn flatten(path: String, value: &Json, found: &mut BTreeMap<String, Json>) {
    let below = |name: &str| {
        // A dot in a name would read as two.
        let name = name.replace('.', "_");
        if path.is_empty() { name } else { format!("{path}.{name}") }
    };
    match value {
        Json::Object(members) if !members.is_empty() || path.is_empty() => {
            for (name, value) in members {
                flatten(below(name), value, found);
            }
        }
        Json::Array(items) if items.iter().any(Json::is_object) => {
            for (at, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Json::as_str).map_or_else(|| at.to_string(), str::to_owned);
                flatten(below(&name), item, found);
            }
        }
        _ => {
            found.insert(path, value.clone());
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
