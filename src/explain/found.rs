//! What is found in a request before anything is decided: what was changed in it, the routes that it could fall under, and
//! the credentials that travel along, by their kind and never by their value.

use http::HeaderMap;

use super::steps::Recorder;
use crate::gate::credentials::ByContent;
use crate::identity::kind;
use crate::inject::Ours;
use crate::request::credential::Line;
use crate::request::{ARM_COOKIE, Authorization, Edits, Request, View};
use crate::route::{Near, Refusal, Route};
use crate::snapshot::Snapshot;

/// Routes that differ in one place, when there is none, and beside one that was found.
const NEAR: [usize; 2] = [5, 2];
/// Names of other cookies are none of ours to list.
const CLERKS: [&str; 4] = ["__session", "__client_uat", "__refresh_", "__clerk_"];

/// What of the head goes on in another form, or not at all.
pub(super) fn edits(edits: &Edits, target: &str, request: &Request, snapshot: &Snapshot, recorder: &mut Recorder) {
    let sent = target.split('?').next().unwrap_or_default();
    let path = request.path.as_str();
    if sent == path {
        recorder.add("path", "as sent", path.to_owned());
    } else {
        recorder.add("path", "repaired", format!("came as {sent}, goes on as {path}"));
    }
    for name in &edits.remove {
        if edits.insert.iter().any(|(inserted, _)| inserted == name) {
            continue;
        }
        let why = if snapshot.request.reserved.holds(name) {
            "only crossgate writes it"
        } else if name.as_str() == "upgrade" {
            "no WebSocket handshake"
        } else if name.as_str() == "connection" {
            "it speaks of one connection only"
        } else {
            "named in Connection, or a twin of a header that is read"
        };
        recorder.add("header", "removed", format!("{name}: {why}"));
    }
}

/// Every route that the path reaches, and some that it nearly reaches.
pub(super) fn candidates(view: &View<'_>, snapshot: &Snapshot, recorder: &mut Recorder) {
    let routes = &snapshot.routes;
    let found = routes.find_own_options(view).map_or_else(|| routes.find(view), Ok);
    match &found {
        Ok(found) => {
            recorder.add("candidate", "chosen", format!("{} at {}", told(found.route), found.route.place));
        }
        Err(Refusal::AnotherReading { route: other, reading }) => {
            if let Some(route) = routes.as_sent(view) {
                recorder.add("candidate", "as sent", told(route));
            }
            let other = routes.iter().find(|route| route.id == *other);
            let detail = other.map_or_else(String::new, |route| format!("{}: read {}", told(route), reading.as_str()));
            recorder.add("candidate", "read loosely", detail);
        }
        Err(Refusal::NoRoute | Refusal::UnknownHost | Refusal::AmbiguousQuery | Refusal::Untolerated(_)) => {}
    }
    let mut reached = Vec::new();
    routes.candidates(view, &mut |route, why| {
        reached.push(route.index);
        if found.as_ref().map_or(true, |found| found.route.index != route.index) {
            recorder.add("candidate", "passed over", format!("{}: {why}", told(route)));
        }
    });
    let limit = if found.is_ok() || !reached.is_empty() { NEAR[1] } else { NEAR[0] };
    let (near, more) = routes.near(&view.request.path, limit);
    let is_told = |id: &str| matches!(&found, Err(Refusal::AnotherReading { route, .. }) if **route == *id);
    let is_some = |near: &Near<'_>| (found.is_err() || near.same > 0) && !is_told(&near.route.id);
    for near in near.into_iter().filter(is_some) {
        recorder.add("candidate", "near", format!("{}: {}", told(near.route), near.miss));
    }
    if more > 0 && found.is_err() {
        recorder.add("candidate", "near", format!("and {more} more that differ in one place"));
    }
}

/// A route as its file has it: `id: GET, POST host/path`.
fn told(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    let methods = if methods.is_empty() { "any method".to_owned() } else { methods.join(", ") };
    let host = route.host.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}: {methods} {host}{}", route.id, route.pattern.as_str())
}

/// Where credentials were found and of which kind they are.
pub(super) fn credentials(request: &Request, snapshot: &Snapshot, recorder: &mut Recorder) {
    let carried = &request.credentials;
    let ours = ByContent(snapshot);
    let kind = |text: &str| {
        if ours.is_runner_in(text.as_bytes()) {
            "a runner token of crossgate's own".to_owned()
        } else {
            kind::describe(text, &snapshot.instances)
        }
    };
    match &carried.authorization {
        Authorization::Absent => {}
        Authorization::Malformed => {
            recorder.add("credential", "malformed", "authorization: no bearer token by its form".to_owned());
        }
        Authorization::Bearer(token) => {
            recorder.add("credential", "found", format!("authorization, Bearer: {}", kind(token)));
        }
    }
    let line = snapshot.request.credential_line.as_ref().map_or("", |line| line.header.as_str());
    match &carried.line {
        Line::Absent => {}
        Line::Malformed => recorder.add("credential", "malformed", format!("{line}: no credential by its form")),
        Line::Token(token) => recorder.add("credential", "found", format!("{line}: {}", kind(token))),
    }
    let legacy = snapshot.legacy.as_ref().and_then(|legacy| legacy.carriers().cookie.as_deref());
    let mut others = 0;
    for (name, value) in carried.cookies.iter() {
        let is_clerks = CLERKS.iter().any(|prefix| name.starts_with(prefix));
        let told = if name == ARM_COOKIE {
            "crossgate's own: the arm of a login".to_owned()
        } else if legacy == Some(name) && ours.is_legacy_cookie(value) {
            format!("the legacy side's: {}", kind(value))
        } else if is_clerks && name.starts_with("__client_uat") {
            "Clerk's: when the browser last signed in or out".to_owned()
        } else if is_clerks || legacy == Some(name) || ours.is_token(value) {
            kind(value)
        } else {
            others += 1;
            continue;
        };
        let is_repeated = carried.cookies.all(name).nth(1).is_some();
        recorder.add("credential", if is_repeated { "repeated" } else { "found" }, format!("cookie {name}: {told}"));
    }
    match others {
        0 => {}
        1 => recorder.add("credential", "foreign", "one cookie that is the API's own matter".to_owned()),
        more => recorder.add("credential", "foreign", format!("{more} cookies that are the API's own matter")),
    }
}

/// The names of headers and cookies that are in `before` and not in `after`.
pub(super) fn missing(before: &HeaderMap, after: &HeaderMap) -> Vec<String> {
    let headers = before.keys().filter(|name| !after.contains_key(*name)).map(|name| name.as_str().to_owned());
    let cookies = |headers: &HeaderMap| crate::request::credential::Cookies::read(headers);
    let (sent, kept) = (cookies(before), cookies(after));
    let cookies = sent.iter().filter(|(name, value)| !kept.all(name).any(|other| other == *value));
    let mut names: Vec<String> = headers.chain(cookies.map(|(name, _)| format!("cookie {name}"))).collect();
    names.dedup();
    names
}
