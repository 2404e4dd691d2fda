//! What a route asks beside the path: host, method, headers, query; and which of two routes asks for more.
//!
//! Called by `table` for the few routes whose pattern a path reached. Never reads a header or parameter that stands
//! twice: the API may read the other one.

use http::{HeaderMap, HeaderName, Method};

use super::Route;
use crate::request::{Oddities, QueryValue, View, is_usual, query_value};

/// Why a route whose path matches was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot<'r> {
    Host,
    Method,
    Header(&'r HeaderName),
    Query(&'r str),
    /// A query parameter that it asks for is repeated or can be read in two ways.
    Ambiguous(&'r str),
    /// It holds, but the route that was found is more specific.
    LessSpecific,
}

impl std::fmt::Display for WhyNot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("another host"),
            Self::Method => f.write_str("another method"),
            Self::Header(name) => write!(f, "header {name} is not as asked"),
            Self::Query(name) => write!(f, "query parameter {name} is not as asked"),
            Self::Ambiguous(name) => write!(f, "query parameter {name} can be read in two ways"),
            Self::LessSpecific => f.write_str("less specific than the route found"),
        }
    }
}

/// The request as far as routes ask for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub host: Option<&'a str>,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub oddities: Oddities,
}

/// Among routes with the same path shape, the greatest wins.
pub(super) type Rank = (usize, MethodRank, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MethodRank {
    Any,
    /// A `GET` route, asked with `HEAD`.
    Followed,
    Named,
}

impl<'a> Asked<'a> {
    pub(super) fn new(view: &View<'a>) -> Self {
        let request = view.request;
        Self {
            method: request.preflight.as_ref().unwrap_or(&request.method),
            host: request.host.as_deref(),
            query: request.query.as_deref(),
            headers: view.headers,
            oddities: request.oddities,
        }
    }

    /// The rank of a route that holds, or the first thing that does not.
    pub(super) fn rank<'r>(&self, route: &'r Route) -> Result<Rank, WhyNot<'r>> {
        let host = match &route.host {
            None => 0,
            Some(pattern) if self.host.is_some_and(|host| pattern.matches(host)) => pattern.specificity(),
            Some(_) => return Err(WhyNot::Host),
        };
        let method = self.method_rank(&route.methods).ok_or(WhyNot::Method)?;
        for (name, value) in &route.headers {
            if !self.header_is(name, value) {
                return Err(WhyNot::Header(name));
            }
        }
        for (name, value) in &route.query {
            match query_value(self.query, name) {
                QueryValue::One(found) if found == *value => {}
                QueryValue::One(_) | QueryValue::Absent => return Err(WhyNot::Query(name)),
                QueryValue::Unreadable => return Err(WhyNot::Ambiguous(name)),
            }
        }
        Ok((host, method, route.headers.len() + route.query.len()))
    }

    fn method_rank(&self, methods: &[Method]) -> Option<MethodRank> {
        if methods.is_empty() {
            // A method beyond the usual ones is let in by the route that names it, and must not open the others.
            is_usual(self.method).then_some(MethodRank::Any)
        } else if methods.contains(self.method) {
            Some(MethodRank::Named)
        } else if self.method == Method::HEAD && methods.contains(&Method::GET) {
            // An API answers HEAD by running its GET handler (RFC 9110 9.3.2).
            Some(MethodRank::Followed)
        } else {
            None
        }
    }

    fn header_is(&self, name: &HeaderName, value: &str) -> bool {
        let mut lines = self.headers.get_all(name).iter();
        let first = lines.next();
        // A repeated line matches nothing: the API may read the other one.
        lines.next().is_none() && first.is_some_and(|line| line.as_bytes() == value.as_bytes())
    }
}

/// Whether some request could hold both with the same rank. Their patterns have the same shape.
pub(super) fn cannot_be_told_apart(one: &Route, other: &Route) -> bool {
    let same_methods = if one.methods.is_empty() || other.methods.is_empty() {
        one.methods.is_empty() && other.methods.is_empty()
    } else {
        one.methods.iter().any(|method| other.methods.contains(method))
    };
    let same_count = one.headers.len() + one.query.len() == other.headers.len() + other.query.len();
    // Two values for one name exclude each other, since a repeated name matches neither.
    let excluded = one.headers.iter().any(|(name, value)| other.headers.iter().any(|(n, v)| n == name && v != value))
        || one.query.iter().any(|(name, value)| other.query.iter().any(|(n, v)| n == name && v != value));
    one.host == other.host && same_methods && same_count && !excluded
}
