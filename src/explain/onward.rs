//! What becomes of a request that is let through: where it goes, what is taken out and put in, and what is written down.

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::found::missing;
use super::steps::Recorder;
use crate::gate::credentials::{self, ByContent};
use crate::gate::decide::Decision;
use crate::gate::record;
use crate::inject::{self, Context, Issued};
use crate::policy::Permit;
use crate::request::{Request, View};
use crate::rollout::Side;
use crate::route::{Access, Route};
use crate::snapshot::{Preflight, Snapshot};
use crate::upstream::{InAuthorization, TokenPlace};

/// Tells it, and gives the identity headers that the API would get.
pub(super) fn tell(
    snapshot: &Snapshot,
    decision: &Decision,
    request: &Request,
    headers: &HeaderMap,
    recorder: &mut Recorder,
) -> Map<String, Value> {
    let permit = match &decision.outcome {
        Ok(permit) => permit,
        Err(refusal) => {
            if let Some(event) = record::event(refusal, snapshot.audit.events) {
                recorder.add("audit", "written", format!("a {} entry, before the answer", event.as_str()));
            }
            return Map::new();
        }
    };
    let Some(route) = snapshot.routes.get(permit.route_index()) else { return Map::new() };
    if request.preflight.is_some() && snapshot.cors.preflight == Preflight::Answer {
        recorder.add("preflight", "answered", "by crossgate, with 204: cors.preflight is answer".to_owned());
        return Map::new();
    }
    target(snapshot, decision, route, permit, recorder);
    let view = View { request, headers };
    audit(snapshot, route, permit, &view, recorder);
    if route.private {
        recorder.add(
            "response",
            "private",
            "Cache-Control: private and Vary on answers that depend on a person".to_owned(),
        );
    }
    let ours = ByContent(snapshot);
    let context = Context {
        names: &snapshot.headers,
        route: &route.id,
        arm: decision.side.map_or("none", Side::as_str),
        request_id: &request.client.request_id,
        own: credentials::own(snapshot, permit, request, (decision.proven, decision.bearer), &ours),
        // Tokens are good for whoever reads them; the steps say that there are some.
        issued: &Issued::default(),
    };
    let mut after = headers.clone();
    inject::inject(permit, &context, &mut after);
    for name in missing(headers, &after) {
        recorder.add("removed", "removed", name);
    }
    tokens(snapshot, permit, recorder);
    let text = |value: &HeaderValue| json!(String::from_utf8_lossy(value.as_bytes()));
    snapshot
        .headers
        .all()
        .filter_map(|name| after.get(name).map(|value| (name.as_str().to_owned(), text(value))))
        .collect()
}

fn target(snapshot: &Snapshot, decision: &Decision, route: &Route, permit: &Permit, recorder: &mut Recorder) {
    let Some(upstream) = snapshot.upstreams.get(permit.upstream()) else { return };
    let by_arm = decision.side.and_then(|side| snapshot.rollout.as_ref().and_then(|plan| plan.upstreams.of(side)));
    let why = match (route.names_upstream, by_arm, decision.side) {
        (true, _, _) => "the route names it".to_owned(),
        (false, Some(_), Some(side)) => format!("rollout.arms.{}.upstream", side.as_str()),
        (false, _, _) => "nothing names another".to_owned(),
    };
    recorder.add("upstream", "chosen", format!("{}: {why}", upstream.name));
    let detail = match route.timeout {
        Some(timeout) => format!("{} s: the route says so", timeout.as_secs_f64()),
        None => format!("{} s without a byte: the upstream says so", upstream.timeouts.read.as_secs_f64()),
    };
    recorder.add("timeout", "set", detail);
}

fn audit(snapshot: &Snapshot, route: &Route, permit: &Permit, view: &View<'_>, recorder: &mut Recorder) {
    if route.access != Access::Privileged || view.request.preflight.is_some() {
        return;
    }
    let found = snapshot.routes.find(view).ok();
    let rules = snapshot.audit.routes.get(route.index);
    let labels = rules
        .zip(found)
        .map(|(rules, found)| rules.labels(&found.captures, view, permit.identity().map(|person| &**person)));
    let labels = labels.unwrap_or_default();
    let action = labels.action.unwrap_or_else(|| route.id.to_string());
    let resource = labels.resource.map(|resource| format!(", resource {resource}")).unwrap_or_default();
    let without = if snapshot.audit.goes_on_unrecorded(route.index) { "goes on" } else { "is refused" };
    let detail = format!("privileged.attempt: action {action}{resource}; without an entry it {without}");
    recorder.add("audit", "written", detail);
}

/// Tokens of crossgate's own are made anew for each request, and shown to nobody.
fn tokens(snapshot: &Snapshot, permit: &Permit, recorder: &mut Recorder) {
    let Some(upstream) = snapshot.upstreams.get(permit.upstream()) else { return };
    let Some(person) = permit.identity() else { return };
    let puts = &upstream.puts;
    let mut present = |name: &str| recorder.add("added", "present", format!("{name}: a token, made for this request"));
    if snapshot.assertion.is_some() {
        if let Some(name) = snapshot.headers.name(crate::identity::headers::Fact::Assertion) {
            present(name.as_str());
        }
        if puts.authorization == InAuthorization::Assertion {
            present("authorization (assertion)");
        }
    }
    let is_minted = snapshot.mint.as_ref().is_some_and(|mint| mint.lacks(&person.facts).is_none());
    if !is_minted || !puts.legacy_tokens() || person.facts.method == crate::identity::Method::Legacy {
        return;
    }
    if puts.authorization == InAuthorization::LegacyToken {
        present("authorization (legacy token)");
    }
    match &puts.legacy_token {
        Some(TokenPlace::Header(name)) => present(name.as_str()),
        Some(TokenPlace::Cookie(name)) => present(&format!("cookie {name}")),
        None => {}
    }
}
