//! Values that a policy takes from the request: literal text with `{segment}`, `{query.name}`, `{header.name}`.
//!
//! Parsed at load against the route's pattern, so that a misspelt segment is a problem and never an empty value.
//! A value is compared decoded, byte for byte; what the request does not have, or has twice, is unknown. Templates of
//! the audit trail may name `{claim.name}` too; they are written down and never compared.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::claim::{ClaimPath, ClaimPathProblemKind};
use super::tri::Cause;
use crate::identity::Identity;
use crate::identity::headers::push_visible;
use crate::request::{QueryValue, Request, View, credential, query_readings, query_value};
use crate::route::{Captures, Pattern};

/// What a rule reads of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a, 'v> {
    pub captures: &'a Captures<'a, 'v>,
    pub request: &'a Request,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// `None` where claims are compared by their own rule.
    pub claims: Option<&'a Map<String, Value>>,
}

impl<'a, 'v> Source<'a, 'v> {
    pub(super) fn new(captures: &'a Captures<'a, 'v>, view: &View<'a>) -> Self {
        Self {
            captures,
            request: view.request,
            query: view.request.query.as_deref(),
            headers: view.headers,
            claims: None,
        }
    }
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// A capture, by its position in the pattern.
    Segment(usize),
    Query(Box<str>),
    Header(HeaderName),
    Claim(ClaimPath),
}

/// What a template may name beside the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    Request,
    /// Also the caller's verified claims.
    RequestAndClaims,
}

/// What is wrong, and at which byte of the template's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    pub at: usize,
    pub kind: TemplateProblemKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateProblemKind {
    Empty,
    /// A brace without its partner.
    Brace,
    /// The route's pattern has no such capture.
    UnknownSegment(String),
    /// `{something.name}` with anything but `query` and `header`.
    UnknownSource(String),
    /// The same where `claim` may be named too.
    UnknownSourceOfAudit(String),
    /// `{query.}`, or a header name that is none.
    BadName,
    BadClaim(ClaimPathProblemKind),
}

impl fmt::Display for TemplateProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a value is missing"),
            Self::Brace => f.write_str("a brace has no partner"),
            Self::UnknownSegment(name) => write!(f, "the path has no segment `{{{name}}}`"),
            Self::UnknownSource(name) => write!(f, "`{name}.…` is neither `query.…` nor `header.…`"),
            Self::UnknownSourceOfAudit(name) => {
                write!(f, "`{name}.…` is none of `query.…`, `header.…` and `claim.…`")
            }
            Self::BadClaim(kind) => kind.fmt(f),
            Self::BadName => f.write_str("the name of a query parameter or header is missing or malformed"),
        }
    }
}

impl Template {
    /// The whole value, where nothing of the request is in it.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Reads a template as people write it.
    ///
    /// # Errors
    /// [`TemplateProblem`] with the place of the first mistake.
    pub fn parse(text: &str, pattern: &Pattern, sources: Sources) -> Result<Self, TemplateProblem> {
        let problem = |at, kind| TemplateProblem { at, kind };
        if text.is_empty() {
            return Err(problem(0, TemplateProblemKind::Empty));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let open = rest.find(['{', '}']).unwrap_or(rest.len());
            let (literal, braced) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Piece::Literal(literal.into()));
            }
            if braced.is_empty() {
                break;
            }
            let inner = braced.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = inner.filter(|(name, _)| !name.contains('{')) else {
                return Err(problem(at + open, TemplateProblemKind::Brace));
            };
            parts.push(piece(name, pattern, sources).map_err(|kind| problem(at + open + 1, kind))?);
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The places among the pattern's names that it reads.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|part| match part {
            Piece::Segment(position) => Some(*position),
            Piece::Literal(_) | Piece::Query(_) | Piece::Header(_) | Piece::Claim(_) => None,
        })
    }

    /// The header names that it reads; they must not be repeated in a request.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|part| match part {
            Piece::Header(name) => Some(name),
            Piece::Literal(_) | Piece::Segment(_) | Piece::Query(_) | Piece::Claim(_) => None,
        })
    }

    /// The query parameters that it reads.
    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Piece::Query(name) => Some(&**name),
            Piece::Literal(_) | Piece::Segment(_) | Piece::Header(_) | Piece::Claim(_) => None,
        })
    }

    /// As people write it on a route with this pattern.
    pub fn written(&self, pattern: &Pattern) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Segment(position) => {
                    text.push_str(&format!("{{{}}}", pattern.names().nth(*position).unwrap_or_default()));
                }
                Piece::Query(name) => text.push_str(&format!("{{query.{name}}}")),
                Piece::Header(name) => text.push_str(&format!("{{header.{name}}}")),
                Piece::Claim(path) => text.push_str(&format!("{{claim.{}}}", path.as_str())),
            }
        }
        text
    }

    /// What it comes to for one request, byte for byte; `None` where the request does not say it, or says it twice.
    pub fn value(&self, captures: &Captures<'_, '_>, view: &View<'_>) -> Option<Vec<u8>> {
        self.resolve(&Source::new(captures, view)).ok().map(Cow::into_owned)
    }

    /// The value for one request. Allocates only for several parts, escapes and query values.
    pub(super) fn resolve<'a>(&'a self, source: &Source<'a, 'a>) -> Result<Cow<'a, [u8]>, Cause> {
        if let [only] = self.parts.as_slice() {
            return only.resolve(source);
        }
        let mut value = Vec::new();
        for part in &self.parts {
            value.extend_from_slice(&part.resolve(source)?);
        }
        Ok(Cow::Owned(value))
    }

    /// What is written and what it stands for in one request, for whoever explains. Values of queries are nobody's to see.
    pub(super) fn explained(&self, source: &Source<'_, '_>) -> String {
        if let Some(text) = self.literal() {
            return text.to_owned();
        }
        let written = self.written(source.captures.pattern());
        let is_secret = self.parts.iter().any(|part| match part {
            Piece::Query(_) => true,
            Piece::Header(name) => credential::carries(name),
            Piece::Literal(_) | Piece::Segment(_) | Piece::Claim(_) => false,
        });
        match self.resolve(source) {
            Ok(_) if is_secret => format!("{written} (not shown)"),
            Ok(value) => format!("{written} = {}", value.escape_ascii()),
            Err(cause) => format!("{written}, which has no value: {}", cause.as_str()),
        }
    }

    /// The value for one request as text to write down: literals as they are, values percent-encoded where they are not
    /// visible ASCII (`%` too), what is not there as nothing. Of a query parameter that can be read in several ways all
    /// readings are told, between ` & `, as they were sent: whoever asks must not choose that the record stays empty.
    pub fn label(&self, captures: &Captures<'_, '_>, view: &View<'_>, identity: Option<&Identity>) -> String {
        let claims = identity.map(|identity| &identity.facts.claims);
        let source = Source { claims, ..Source::new(captures, view) };
        let mut label = String::new();
        for part in &self.parts {
            match (part, part.resolve(&source)) {
                (Piece::Literal(text), _) => label.push_str(text),
                (_, Ok(value)) => push_visible(&value, &mut label),
                (Piece::Query(name), Err(Cause::AmbiguousValue)) => {
                    for (at, reading) in query_readings(source.query, name).into_iter().enumerate() {
                        // No value has a blank of its own in it: the separator cannot be forged.
                        label.push_str(if at > 0 { " & " } else { "" });
                        push_visible(reading.as_bytes(), &mut label);
                    }
                }
                (_, Err(_)) => {}
            }
        }
        label
    }
}

impl Piece {
    fn resolve<'a>(&'a self, source: &Source<'a, 'a>) -> Result<Cow<'a, [u8]>, Cause> {
        match self {
            Self::Literal(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Segment(position) => {
                source.captures.at(*position).map(|segment| segment.decoded()).ok_or(Cause::MissingValue)
            }
            Self::Query(name) => match query_value(source.query, name) {
                QueryValue::One(value) => Ok(Cow::Owned(value.into_bytes())),
                QueryValue::Absent => Err(Cause::MissingValue),
                QueryValue::Unreadable => Err(Cause::AmbiguousValue),
            },
            Self::Header(name) => {
                let mut lines = source.headers.get_all(name).iter();
                match (lines.next(), lines.next()) {
                    (Some(line), None) => Ok(Cow::Borrowed(line.as_bytes())),
                    (None, _) => Err(Cause::MissingValue),
                    (Some(_), Some(_)) => Err(Cause::AmbiguousValue),
                }
            }
            Self::Claim(path) => match path.find(source.claims.ok_or(Cause::MissingClaim)?)? {
                Value::String(text) => Ok(Cow::Borrowed(text.as_bytes())),
                scalar @ (Value::Number(_) | Value::Bool(_)) => Ok(Cow::Owned(scalar.to_string().into_bytes())),
                Value::Null | Value::Array(_) | Value::Object(_) => Err(Cause::OtherType),
            },
        }
    }
}

fn piece(name: &str, pattern: &Pattern, sources: Sources) -> Result<Piece, TemplateProblemKind> {
    match name.split_once('.') {
        None => match pattern.position(name) {
            Some(position) => Ok(Piece::Segment(position)),
            None => Err(TemplateProblemKind::UnknownSegment(name.to_owned())),
        },
        Some(("query", name)) if !name.is_empty() => Ok(Piece::Query(name.into())),
        Some(("header", name)) => {
            name.parse::<HeaderName>().map(Piece::Header).map_err(|_| TemplateProblemKind::BadName)
        }
        Some(("query", _)) => Err(TemplateProblemKind::BadName),
        Some(("claim", path)) if sources == Sources::RequestAndClaims => {
            ClaimPath::parse(path).map(Piece::Claim).map_err(|problem| TemplateProblemKind::BadClaim(problem.kind))
        }
        Some((source, _)) if sources == Sources::RequestAndClaims => {
            Err(TemplateProblemKind::UnknownSourceOfAudit(source.to_owned()))
        }
        Some((source, _)) => Err(TemplateProblemKind::UnknownSource(source.to_owned())),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
