//! `endpoints.status`: where frontends ask who they are, and as what they are told.
//!
//! The path is the documented one unless the config says otherwise. A route of the API at that very path keeps it: written
//! beside such a route is an error, the default gives way with a word: wholly, or, to a route that asks for a host, a header
//! or a parameter as well, for the requests that it takes.

use super::missing;
use super::route::Context;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::policy::OrgName;
use crate::request::CanonicalPath;
use crate::request::path::Segment;
use crate::route::{Pattern, Route};
use crate::snapshot::Status;
use crate::status::{Body, BodyProblem, Step};

const DEFAULT: &str = "/auth/status";

/// The path, and who says so.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    path: Vec<u8>,
    shown: String,
    /// `file:line`; `None` of the default.
    written: Option<String>,
}

/// The endpoint and its claim; `None` where it is switched off, or cannot be used.
pub(super) fn compile(
    raw: Option<raw::StatusAt>,
    prefix: &str,
    org_name: OrgName,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(Status, Claim)> {
    let at_endpoints = root.key("endpoints");
    let at = at_endpoints.key("status");
    if root.was_dropped("endpoints") || at_endpoints.was_dropped("status") {
        return None;
    }
    let is_written = raw.is_some();
    let (path, body, place) = match raw {
        None => (DEFAULT.to_owned(), None, at),
        Some(raw::StatusAt::Off) => return None,
        Some(raw::StatusAt::Path(path)) => (path, None, at),
        Some(raw::StatusAt::Full(raw::Status { path, body })) => {
            if path.is_none() && body.is_none() && !at.lost_keys() {
                missing(at, "body", "write status: { body: { … } }, or leave `status` out", problems);
            }
            (path.unwrap_or_else(|| DEFAULT.to_owned()), body, at.key("path"))
        }
    };
    check(&path, prefix, place, problems);
    let body = body.map(|body| {
        Body::compile(body, &mut |way, why| {
            let place = follow(at.key("body"), way);
            problems.push(Problem::at(codes::STATUS_BODY, place, why.to_string()).maybe_help(help(&why)));
        })
    });
    let written = is_written.then(|| format!("{}:{}", at.source.name, place.span().line));
    let claim = Claim { path: folded(&path), shown: path.clone(), written };
    Some((Status { path, body, org_name, gives_way: false }, claim))
}

/// Compared with canonical request paths, so that it must be one itself.
fn check(path: &str, prefix: &str, at: At<'_>, problems: &mut Vec<Problem>) {
    let canonical = CanonicalPath::parse(path.as_bytes());
    let mut tell = |message: &str, help: &str| {
        problems.push(Problem::at(codes::STATUS_PATH, at, message).help(help));
    };
    if path == "/" || path.ends_with('/') || path.contains(['{', '}']) || !canonical.is_ok_and(|p| p.as_str() == path) {
        tell("this path cannot be asked for", "write one path without segments to fill in, as in /auth/status");
    } else if path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("/.well-known/")) {
        tell("crossgate's own documents are there", "choose a path of its own, as in /auth/status");
    } else if path.strip_prefix(prefix) == Some("/token") {
        tell("runner tokens are exchanged there", "choose a path of its own, as in /auth/status");
    }
}

fn help(why: &BodyProblem) -> Option<String> {
    Some(match why {
        BodyProblem::Unbalanced => "write {{ and }} for braces that are meant".to_owned(),
        // The near word is looked for among folded ones.
        BodyProblem::UnknownField(name) => match nearest(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", BodyProblem::fields().join(", ")),
        },
        BodyProblem::NoFlag(name) => format!("write {{{name}}}; only authenticated and degraded choose"),
        BodyProblem::OneWord(name) => format!("write {{{name}?yes:no}}"),
        BodyProblem::TooDeep => return None,
    })
}

fn nearest(name: &str) -> Option<&'static str> {
    let fields = BodyProblem::fields();
    let folded: Vec<String> = fields.iter().map(|field| field.to_lowercase()).collect();
    let found = near(&name.replace('_', ""), folded.iter().map(String::as_str))?;
    fields.into_iter().find(|field| field.to_lowercase() == found)
}

fn follow<'a>(at: At<'a>, way: &[Step]) -> At<'a> {
    way.iter().fold(at, |at, step| match step {
        Step::Key(name) => at.key(name),
        Step::Index(index) => at.item(*index),
    })
}

impl Claim {
    /// Whether a route of the API is at this very path, as loosely as routes are compared.
    fn is_of(&self, pattern: &Pattern, methods: &[http::Method]) -> bool {
        let takes_get = methods.is_empty() || methods.contains(&http::Method::GET);
        takes_get && pattern.names().next().is_none() && folded(pattern.as_str()) == self.path
    }

    /// What the routes of the API leave of the endpoint. One that takes only some requests (those of another host, say) must
    /// not silence it for all others.
    pub(super) fn give_way<'r>(&self, status: Status, routes: impl Iterator<Item = &'r Route>) -> Option<Status> {
        let here: Vec<_> = routes.filter(|route| self.is_of(&route.pattern, &route.methods)).collect();
        let takes_all = |route: &&Route| route.host.is_none() && route.headers.is_empty() && route.query.is_empty();
        let gives_way = self.written.is_none() && !here.is_empty();
        (!gives_way || !here.iter().any(takes_all)).then_some(Status { gives_way, ..status })
    }
}

/// Decoded, in lower case, without a trailing slash.
fn folded(path: &str) -> Vec<u8> {
    // What is no path was told, and equals nothing.
    let canonical = CanonicalPath::parse(path.as_bytes());
    let path = canonical.as_ref().map_or(path, CanonicalPath::as_str);
    let segments = path.trim_end_matches('/').split('/').map(|segment| {
        let bytes = Segment::new(segment).bytes();
        bytes.map(|byte| byte.to_ascii_lowercase()).chain([b'/']).collect::<Vec<_>>()
    });
    segments.flatten().collect()
}

/// A route at the path of the status.
pub(super) fn beside_route(
    id: Option<&str>,
    pattern: &Pattern,
    methods: &[http::Method],
    context: &Context<'_>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(claim) = context.status.filter(|claim| claim.is_of(pattern, methods)) else { return };
    let (id, path) = (id.unwrap_or("?"), &claim.shown);
    problems.push(match &claim.written {
        Some(place) => {
            let message = format!("route `{id}` and endpoints.status ({place}) are both at {path}");
            Problem::at(codes::STATUS_ROUTE, at, message)
                .help("give the status another path, or leave it to the API with endpoints: { status: null }")
        }
        None => {
            let message =
                format!("route `{id}` is at {path}: what it takes goes to the API, and gets no status of crossgate's");
            Problem::at(codes::STATUS_ROUTE, at, message)
                .help("write endpoints: { status: null } if that is meant, or give the status another path")
                .warning()
        }
    });
}
