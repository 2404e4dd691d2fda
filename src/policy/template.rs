//! Values that a policy takes from the request: literal text with `{segment}`, `{query.name}`, `{header.name}`.
//!
//! Parsed at load against the route's pattern, so that a misspelt segment is a problem and never an empty value.
//! A value is compared decoded, byte for byte; what the request does not have, or has twice, is unknown.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName};

use super::tri::Cause;
use crate::request::{QueryValue, View, query_value};
use crate::route::{Captures, Pattern};

/// What a rule reads of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a, 'v> {
    pub captures: &'a Captures<'a, 'v>,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

impl<'a, 'v> Source<'a, 'v> {
    pub(super) fn new(captures: &'a Captures<'a, 'v>, view: &View<'a>) -> Self {
        Self { captures, query: view.request.query.as_deref(), headers: view.headers }
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
    /// `{query.}`, or a header name that is none.
    BadName,
}

impl fmt::Display for TemplateProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a value is missing"),
            Self::Brace => f.write_str("a brace has no partner"),
            Self::UnknownSegment(name) => write!(f, "the path has no segment `{{{name}}}`"),
            Self::UnknownSource(name) => write!(f, "`{name}.…` is neither `query.…` nor `header.…`"),
            Self::BadName => f.write_str("the name of a query parameter or header is missing or malformed"),
        }
    }
}

impl Template {
    /// Reads a template as people write it.
    ///
    /// # Errors
    /// [`TemplateProblem`] with the place of the first mistake.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, TemplateProblem> {
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
            parts.push(piece(name, pattern).map_err(|kind| problem(at + open + 1, kind))?);
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The header names that it reads; they must not be repeated in a request.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|part| match part {
            Piece::Header(name) => Some(name),
            Piece::Literal(_) | Piece::Segment(_) | Piece::Query(_) => None,
        })
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
        }
    }
}

fn piece(name: &str, pattern: &Pattern) -> Result<Piece, TemplateProblemKind> {
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
        Some((source, _)) => Err(TemplateProblemKind::UnknownSource(source.to_owned())),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
