//! Policy tests: from what people write to cases that can be run, each with its place.
//!
//! Compiled only for `check` and `test`: a reload does not wait for them, and a test that is wrong stops nothing that serves.
//! Knows the words by which a decision can be expected, and decides nothing.

use http::{HeaderName, HeaderValue, Method, Uri, header};

use super::missing;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::headers::Fact;
use crate::persona::{Assumed, Beside, Persona};
use crate::policy::PREDICATES;
use crate::rollout::Side;
use crate::route::Place;
use crate::snapshot::Snapshot;

/// The predicate of somebody of whom no token for the API can be made.
const LACKS_TOKEN: &str = "legacy_token";

/// One policy test.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Where it is written.
    pub place: Place,
    pub method: String,
    /// A path with its query, or a URL.
    pub url: String,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// Milliseconds since the epoch, UTC; `None` where the test does not say.
    pub at_ms: Option<i64>,
    /// `None` is nobody.
    pub person: Option<Assumed>,
    /// The same as it was written.
    pub written: Option<Persona>,
    pub expected: Expected,
}

/// What has to come of it; what is `None` is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub route: Option<String>,
    pub arm: Option<Side>,
    pub upstream: Option<String>,
    /// Identity headers; `None` for one that the API must not get.
    pub headers: Vec<(HeaderName, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Passes. With a word: in report mode, which lets through what this predicate or code would have refused.
    Allow(Option<String>),
    /// Is refused, by this predicate or code if one is named.
    Deny(Option<String>),
}

/// What tests are compiled against.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Around<'a> {
    /// `None` where the config has errors: what a test says of it is not looked at, the rest is.
    pub(in crate::config) snapshot: Option<&'a Snapshot>,
    /// The codes of answers that a decision can end in.
    pub(in crate::config) answers: &'a [&'static str],
}

/// The cases of one file; those with a problem are left out.
pub(in crate::config) fn compile(
    tests: Vec<raw::Test>,
    at: At<'_>,
    beside: Around<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Case> {
    let compiled = tests.into_iter().enumerate();
    compiled.filter_map(|(index, raw)| case(raw, at.item(index), beside, problems)).collect()
}

fn case(raw: raw::Test, at: At<'_>, beside: Around<'_>, problems: &mut Vec<Problem>) -> Option<Case> {
    let raw::Test { name, request, headers, at: time, person, expect } = raw;
    let before = problems.len();
    let place = Place { file: at.source.name.clone(), line: u32::try_from(at.span().line).unwrap_or(0) };
    if name.as_deref().is_none_or(|name| name.trim().is_empty()) {
        missing(at, "name", "say what it shows, as in name: a member cannot delete invoices", problems);
    }
    if request.is_none() {
        missing(at, "request", "write a method and a path, as in request: GET /orgs/acme/invoices", problems);
    }
    if expect.is_none() {
        missing(at, "expect", "write expect: allow, expect: deny or expect: { deny: role }", problems);
    }
    let request = request.and_then(|text| line(&text, at.key("request"), problems));
    let headers = request_headers(headers, at.key("headers"), beside, problems);
    let at_ms = time.and_then(|text| instant(&text, at.key("at"), problems));
    let written = person.clone();
    let person = person.and_then(|person| assumed(person, at.key("as"), beside, problems));
    let expected = expect.and_then(|raw| expected(raw, at.key("expect"), beside, problems));
    // What was taken out was told, and a case without it would be another one.
    let is_whole = problems.iter().skip(before).all(|problem| !problem.is_error()) && !at.lost_keys();
    let (method, url) = request.filter(|_| is_whole && !at.key("as").lost_keys() && !at.key("expect").lost_keys())?;
    Some(Case { name: name?, place, method, url, headers, at_ms, person, written, expected: expected? })
}

/// `POST /api/orgs/acme/invoices`, taken apart.
fn line(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<(String, String)> {
    let mut tell = |message: &str, help: &str| {
        problems.push(Problem::at(codes::TEST_REQUEST, at, message).help(help));
        None
    };
    let Some((method, url)) = text.trim().split_once(char::is_whitespace) else {
        return tell("a request is a method, a space and a path", "write it as in GET /orgs/acme/invoices");
    };
    let url = url.trim();
    if method.bytes().any(|c| c.is_ascii_lowercase()) {
        let help = format!("write {}", method.to_ascii_uppercase());
        return tell("methods are in upper case", &help);
    }
    if Method::from_bytes(method.as_bytes()).is_err() {
        return tell("this is no method", "write it as in GET /orgs/acme/invoices");
    }
    let is_url = |uri: Uri| uri.scheme().is_some() && uri.authority().is_some();
    if !url.starts_with('/') && !url.parse().is_ok_and(is_url) {
        return tell("this is neither a path nor a URL", "write /orgs/acme or https://api.example.com/orgs/acme");
    }
    Some((method.to_owned(), url.to_owned()))
}

fn request_headers(
    raw: Option<raw::Named<String>>,
    at: At<'_>,
    beside: Around<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let raw::Named(raw) = raw.unwrap_or_default();
    let line = beside.snapshot.and_then(|snapshot| snapshot.request.credential_line.as_ref()).map(|line| &line.header);
    for (index, (name, value)) in raw.iter().enumerate() {
        let place = at.nth(index);
        let Ok(parsed) = name.parse::<HeaderName>() else {
            let message = "this is no header name";
            problems.push(Problem::at_span(codes::TEST_REQUEST, at.source, place.key_span(), message));
            continue;
        };
        if parsed == header::AUTHORIZATION || parsed == header::COOKIE || line == Some(&parsed) {
            let message = "a test carries no credentials: it would need a live token";
            let help = "say who asks with `as`; a request without it is nobody's";
            let problem = Problem::at_span(codes::TEST_REQUEST, at.source, place.key_span(), message);
            problems.push(problem.help(help));
        } else if HeaderValue::from_str(value).is_err() || value.trim() != value {
            problems.push(Problem::at(codes::TEST_REQUEST, place, "no header has such a value"));
        }
    }
    raw
}

fn instant(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<i64> {
    let parsed = text.parse::<jiff::Timestamp>();
    if parsed.is_err() {
        let problem = Problem::at(codes::TEST_REQUEST, at, "this is no time");
        problems.push(problem.help("write it as in 2026-01-31T12:00:00Z"));
    }
    parsed.ok().map(jiff::Timestamp::as_millisecond)
}

fn assumed(person: Persona, at: At<'_>, beside: Around<'_>, problems: &mut Vec<Problem>) -> Option<Assumed> {
    match person.assume(Beside::of(beside.snapshot?)) {
        Ok(assumed) => Some(assumed),
        Err(misfit) => {
            if !at.lost_keys() {
                problems.push(Problem::at(codes::TEST_PERSON, at.key(misfit.field), misfit.to_string()));
            }
            None
        }
    }
}

fn expected(
    raw: raw::TextOr<raw::Expect>,
    at: At<'_>,
    beside: Around<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Expected> {
    let raw = match raw {
        raw::TextOr::Full(raw) => raw,
        raw::TextOr::Text(text) => {
            let outcome = match text.as_str() {
                "allow" => Outcome::Allow(None),
                "deny" => Outcome::Deny(None),
                _ => {
                    problems.push(unknown("value for `expect`", &text, &["allow", "deny"], "known values", at));
                    return None;
                }
            };
            let (headers, route, upstream) = (Vec::new(), None, None);
            return Some(Expected { outcome, status: None, route, arm: None, upstream, headers });
        }
    };
    let raw::Expect { allow, deny, reported, status, route, arm, upstream, headers } = raw;
    let mut tell = |at: At<'_>, message: &str, help: &str| {
        problems.push(Problem::at(codes::TEST_EXPECT, at, message).help(help));
    };
    let at_allow = at.key("allow");
    let (is_allow, within) = match (allow, &deny) {
        (Some(_), Some(_)) => {
            tell(at.key("deny"), "a request is allowed or denied, never both", "remove one of them");
            return None;
        }
        (Some(raw::FlagOr::Flag(false)), None) => {
            tell(
                at_allow,
                "what is not allowed is denied",
                "write deny: true, or deny: and the predicate that refuses",
            );
            return None;
        }
        (Some(raw::FlagOr::Flag(true)), None) => (true, raw::Details::default()),
        (Some(raw::FlagOr::Full(details)), None) => (true, details),
        (None, Some(_)) => (false, raw::Details::default()),
        (None, None) => {
            if !at.lost_keys() {
                tell(at, "neither `allow` nor `deny`", "write expect: allow, or expect: { deny: role }");
            }
            return None;
        }
    };
    let is_twice = [
        within.reported.is_some() && reported.is_some(),
        within.route.is_some() && route.is_some(),
        within.arm.is_some() && arm.is_some(),
        within.upstream.is_some() && upstream.is_some(),
        within.headers.is_some() && headers.is_some(),
    ];
    if is_twice.contains(&true) {
        tell(at_allow, "the same is expected twice, within `allow` and beside it", "write it once");
    }
    // Where each one stands.
    let place = |key: &str| if at.key(key).is_written() { at.key(key) } else { at_allow.key(key) };
    let reported = within.reported.or(reported);
    let upstream = within.upstream.or(upstream);
    let headers = within.headers.or(headers);
    if !is_allow {
        let only_allowed = [
            (
                "reported",
                reported.is_some(),
                "what report mode lets through is allowed: write allow: { reported: role }",
            ),
            ("upstream", upstream.is_some(), "a request that is refused reaches no upstream"),
            ("headers", headers.is_some(), "the API gets no headers of a request that is refused"),
        ];
        for (key, _, why) in only_allowed.into_iter().filter(|(_, is_written, _)| *is_written) {
            problems.push(Problem::at(codes::TEST_EXPECT, place(key), why));
        }
    }
    let outcome = match deny {
        None => Outcome::Allow(reported.and_then(|text| word(text, place("reported"), beside, problems))),
        Some(raw::FlagOr::Flag(true)) => Outcome::Deny(None),
        Some(raw::FlagOr::Flag(false)) => {
            let problem = Problem::at(codes::TEST_EXPECT, at.key("deny"), "what is not denied is allowed");
            problems.push(problem.help("write expect: allow"));
            return None;
        }
        Some(raw::FlagOr::Full(text)) => Outcome::Deny(word(text, at.key("deny"), beside, problems)),
    };
    if let Some(status) = status.filter(|status| !(200..=599).contains(status) || is_allow != (*status < 400)) {
        let message = format!("no request that is {} gets {status}", if is_allow { "allowed" } else { "denied" });
        let help = "a request that passes counts as 200: what the API answers is not asked";
        problems.push(Problem::at(codes::TEST_EXPECT, at.key("status"), message).help(help));
    }
    let route = within.route.or(route);
    if let (Some(id), Some(snapshot)) = (&route, beside.snapshot) {
        let known: Vec<&str> = snapshot.routes.iter().map(|route| &*route.id).collect();
        if !known.contains(&id.as_str()) {
            problems.push(unknown("route", id, &known, "known routes", place("route")));
        }
    }
    if let (Some(name), Some(snapshot)) = (&upstream, beside.snapshot) {
        let known: Vec<&str> = snapshot.upstreams.iter().map(|upstream| &*upstream.name).collect();
        if !known.contains(&name.as_str()) {
            problems.push(unknown("upstream", name, &known, "known upstreams", place("upstream")));
        }
    }
    let arm = within.arm.or(arm).map(|arm| match arm {
        raw::ArmWord::Legacy => Side::Legacy,
        raw::ArmWord::Clerk => Side::Clerk,
    });
    let headers = identity_headers(headers, place("headers"), beside, problems);
    Some(Expected { outcome, status, route, arm, upstream, headers })
}

/// A predicate or the code of an answer.
fn word(text: String, at: At<'_>, beside: Around<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let known: Vec<&str> =
        PREDICATES.iter().copied().chain([LACKS_TOKEN]).chain(beside.answers.iter().copied()).collect();
    if known.contains(&text.as_str()) {
        return Some(text);
    }
    let help = match near(&text, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("predicates: {}; codes are those of docs/answers.md", PREDICATES.join(", ")),
    };
    problems.push(Problem::at(codes::TEST_EXPECT, at, "unknown predicate or code").help(help));
    None
}

/// Those that a test can rely on.
fn identity_headers(
    raw: Option<raw::Named<Option<String>>>,
    at: At<'_>,
    beside: Around<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(HeaderName, Option<String>)> {
    let raw::Named(raw) = raw.unwrap_or_default();
    let Some(names) = beside.snapshot.map(|snapshot| &snapshot.headers) else { return Vec::new() };
    let changing = [Fact::RequestId, Fact::Assertion].map(|fact| names.name(fact));
    let mut headers = Vec::with_capacity(raw.len());
    for (index, (name, value)) in raw.into_iter().enumerate() {
        let place = at.nth(index);
        let known: Vec<&HeaderName> = names.all().filter(|name| !changing.contains(&Some(name))).collect();
        match name.parse::<HeaderName>().ok().filter(|name| known.contains(&name)) {
            Some(name) => headers.push((name, value)),
            None => {
                let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
                let help = match near(&name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known headers: {}", known.join(", ")),
                };
                let message = format!("`{name}` is no identity header that a test can expect");
                let problem = Problem::at_span(codes::TEST_EXPECT, at.source, place.key_span(), message);
                problems.push(problem.help(help));
            }
        }
    }
    headers
}

fn unknown(what: &str, word: &str, known: &[&str], all: &str, at: At<'_>) -> Problem {
    let help = match near(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.len() > 40 => format!("{} {all}", known.len()),
        None => format!("{all}: {}", known.join(", ")),
    };
    Problem::at(codes::TEST_EXPECT, at, format!("unknown {what}")).help(help)
}
