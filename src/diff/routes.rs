//! Which routes of two tables are the same, and what else of a route changes beside its decisions.
//!
//! Two routes are the same route when they match the same requests; whether they then decide alike is asked of the rules.
//! Names of segments and ids play no part in that.

use std::collections::HashMap;

use super::Difference;
use super::settings::{Also, Effect};
use crate::rollout::Side;
use crate::route::{Access, Definition, Mode, Route};
use crate::snapshot::Snapshot;

/// The routes of two tables by what they match.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// Index of the old one, index of the new one, and whether they decide alike for certain.
    pub(super) both: Vec<(usize, usize, bool)>,
    pub(super) removed: Vec<usize>,
    pub(super) added: Vec<usize>,
}

impl Matched {
    /// Whether two routes are one and decide alike.
    pub(super) fn is_same(&self, old: usize, new: usize) -> bool {
        self.both.binary_search(&(old, new, true)).is_ok()
    }

    /// Routes of either table that may decide otherwise than the other table does.
    pub(super) fn changed(&self) -> (Vec<usize>, Vec<usize>) {
        let differing = || self.both.iter().filter(|(_, _, same)| !same);
        let old = self.removed.iter().copied().chain(differing().map(|(old, _, _)| *old));
        let new = self.added.iter().copied().chain(differing().map(|(_, new, _)| *new));
        (old.collect(), new.collect())
    }
}

pub(super) fn matched(old: &Snapshot, new: &Snapshot) -> Matched {
    let mut matched = Matched::default();
    let mut by_match: HashMap<String, usize> = old.routes.iter().map(|route| (matches(route), route.index)).collect();
    for route in new.routes.iter() {
        match by_match.remove(&matches(route)).and_then(|index| old.routes.get(index)) {
            Some(before) => {
                let same = decides(old, before) == decides(new, route);
                matched.both.push((before.index, route.index, same));
            }
            None => matched.added.push(route.index),
        }
    }
    matched.removed = by_match.into_values().collect();
    matched.removed.sort_unstable();
    matched.both.sort_unstable();
    matched
}

/// The path without the names of its segments.
pub(super) fn shape(route: &Route) -> String {
    let segments = route.pattern.as_str().split('/').map(|segment| match segment.strip_prefix('{') {
        Some(name) if name.starts_with('*') => "{*}",
        Some(_) => "{}",
        None => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Everything by which it is found.
fn matches(route: &Route) -> String {
    let mut methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    methods.sort_unstable();
    let mut headers: Vec<String> = route.headers.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    headers.sort_unstable();
    let mut query: Vec<String> = route.query.iter().map(|(name, value)| format!("{name:?}={value:?}")).collect();
    query.sort_unstable();
    format!("{} {methods:?} {:?} {headers:?} {query:?}", shape(route), route.host)
}

/// Everything by which it decides.
fn decides(snapshot: &Snapshot, route: &Route) -> String {
    let rule = snapshot.policies.get(route.index).map(crate::policy::Policy::rule);
    let tokens = [Side::Legacy, Side::Clerk].map(|side| gets_tokens(snapshot, route, side));
    format!("{:?} {:?} {rule:?} {} {tokens:?}", route.access, route.mode, route.exact_paths)
}

/// Whether the API behind a route gets tokens that crossgate mints: of whom none can be made is refused there.
pub(super) fn gets_tokens(snapshot: &Snapshot, route: &Route, side: Side) -> bool {
    let of_arm = snapshot.rollout.as_ref().and_then(|plan| plan.upstreams.of(side));
    let upstream = of_arm.filter(|_| !route.names_upstream).unwrap_or(route.upstream);
    snapshot.mint.is_some() && snapshot.upstreams.get(upstream).is_some_and(|upstream| upstream.puts.legacy_tokens())
}

/// What a person sees of a route in a list.
fn named(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
    let host = route.host.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{methods}{host}{}", route.pattern.as_str())
}

/// Tells of routes that came and went, and of what else of one changes.
pub(super) fn settings(old: &Snapshot, new: &Snapshot, matched: &Matched, difference: &mut Difference) {
    let mut tell = |effect, what: String, meaning: &str| {
        difference.also.push(Also { effect, what, meaning: meaning.to_owned() });
    };
    for route in matched.removed.iter().filter_map(|index| old.routes.get(*index)) {
        tell(Effect::None, format!("route {} removed", route.id), &named(route));
    }
    for route in matched.added.iter().filter_map(|index| new.routes.get(*index)) {
        tell(Effect::None, format!("route {} added", route.id), &named(route));
    }
    for (before, after, _) in &matched.both {
        let (Some(before), Some(after)) = (old.routes.get(*before), new.routes.get(*after)) else { continue };
        of_route(old, new, before, after, &mut tell);
    }
}

fn of_route(
    old: &Snapshot,
    new: &Snapshot,
    before: &Route,
    after: &Route,
    tell: &mut impl FnMut(Effect, String, &str),
) {
    // Taken apart, so that nothing that a route may say is forgotten here.
    let Route { index, definition } = after;
    let Definition {
        id,
        place: _,
        pattern: _,
        methods: _,
        host: _,
        headers: _,
        query: _,
        access,
        mode,
        timeout,
        websocket,
        private,
        upstream,
        names_upstream,
        exact_paths,
        tolerates,
    } = definition;
    let what = |what: String| format!("route {id}: {what}");
    if before.id != *id {
        tell(
            Effect::None,
            format!("route {} is now {id}", before.id),
            "the id is a label of metrics, a word of logs and the x-crossgate-route header",
        );
    }
    if before.access != *access {
        let change = what(format!("access {} → {}", before.access.as_str(), access.as_str()));
        match (before.access, access) {
            (Access::Privileged, _) => tell(
                Effect::Widens,
                change,
                "passes also while Clerk's keys are old and while nothing can be written to the audit trail",
            ),
            (_, Access::Privileged) => tell(
                Effect::Narrows,
                change,
                "refused while Clerk's keys are old or nothing can be written to the audit trail; each attempt is recorded",
            ),
            (Access::Public | Access::Login | Access::Protected, _) => {
                tell(Effect::None, change, "who passes is told above");
            }
        }
    }
    if before.mode != *mode {
        let change = what(format!("mode {} → {}", before.mode.as_str(), mode.as_str()));
        let meaning = match mode {
            Mode::Report => "refusals are counted and let through",
            Mode::Enforce => "refusals that were only counted are enforced",
        };
        tell(Effect::None, change, meaning);
    }
    let name = |snapshot: &Snapshot, index: usize| {
        snapshot.upstreams.get(index).map_or_else(|| "none".into(), |upstream| upstream.name.clone())
    };
    let (from, to) = (name(old, before.upstream), name(new, *upstream));
    if from != to {
        tell(Effect::Changes, what(format!("upstream {from} → {to}")), "another API answers");
    }
    if before.names_upstream != *names_upstream {
        let meaning = if *names_upstream { "the arm has no say in it" } else { "the arm chooses it" };
        tell(Effect::Changes, what("who chooses the upstream".to_owned()), meaning);
    }
    for side in [Side::Legacy, Side::Clerk] {
        let arm = side.as_str();
        match (gets_tokens(old, before, side), gets_tokens(new, after, side)) {
            (true, false) => tell(
                Effect::Widens,
                what(format!("legacy tokens in the {arm} arm")),
                "its API gets none any more: also people of whom none can be made get in",
            ),
            (false, true) => tell(
                Effect::Narrows,
                what(format!("legacy tokens in the {arm} arm")),
                "its API gets one with each request: people of whom none can be made are refused",
            ),
            (true, true) | (false, false) => {}
        }
    }
    if before.exact_paths != *exact_paths {
        let change = what(format!("paths exact: {} → {exact_paths}", before.exact_paths));
        tell(Effect::None, change, "whether other spellings of a path are refused; what that changes is told above");
    }
    if before.tolerates != *tolerates {
        let effect = match (tolerates.beyond(before.tolerates), before.tolerates.beyond(*tolerates)) {
            (Some(_), None) => Effect::Widens,
            (None, Some(_)) => Effect::Narrows,
            _ => Effect::Either,
        };
        tell(effect, what("tolerate".to_owned()), "which requests are refused as they are written, whoever sends them");
    }
    let conditions = |snapshot: &Snapshot, index: usize| {
        let policy = snapshot.policies.get(index);
        policy.map(|policy| policy.conditions().into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    if conditions(old, before.index) != conditions(new, *index) {
        tell(
            Effect::Either,
            what("when".to_owned()),
            "conditions are compared as text: whom this lets in is not analysed",
        );
    }
    if before.timeout != *timeout {
        tell(Effect::None, what("timeout".to_owned()), "how long the API may take");
    }
    if before.private != *private {
        tell(Effect::None, what("response.private".to_owned()), "whether answers are kept out of shared caches");
    }
    if before.websocket.until_token_exp != websocket.until_token_exp {
        tell(Effect::None, what("websocket.until".to_owned()), "when a tunnel ends");
    }
    let (mut was, mut is) = (before.websocket.origins.clone(), websocket.origins.clone());
    was.sort_unstable();
    is.sort_unstable();
    if was != is {
        // An empty list asks nothing of tokens in headers, and lets no further pages in with cookies.
        let more = was.is_empty() || is.is_empty() || is.iter().any(|origin| !was.contains(origin));
        let effect = if more { Effect::Either } else { Effect::Narrows };
        tell(effect, what("websocket.origins".to_owned()), "which pages may open WebSockets");
    }
    // Also where only the config around it changes: `audit.on_failure` and the route must both say so.
    let best_effort = |snapshot: &Snapshot, index| snapshot.audit.goes_on_unrecorded(index);
    let effect = match (best_effort(old, before.index), best_effort(new, *index)) {
        (false, true) => Effect::Widens,
        (true, false) => Effect::Narrows,
        (true, true) | (false, false) => Effect::None,
    };
    if effect != Effect::None || old.audit.routes.get(before.index) != new.audit.routes.get(*index) {
        let meaning = match effect {
            Effect::None => "the words under which the trail records it",
            _ => "whether it goes on while nothing can be written to the audit trail",
        };
        tell(effect, what("audit".to_owned()), meaning);
    }
}
