//! Which rule a request falls under: the most specific route that matches in every respect.
//!
//! Called by `gate::decide` after sanitizing. Owns patterns, hosts and predicates, the order among routes, and
//! the rule that another reading of a path must not reach another route. Never looks at who is calling, and
//! never changes the path: what was matched is what is sent.

mod captures;
mod host;
mod meeting;
mod near;
mod pattern;
mod predicate;
mod reach;
mod sample;
mod table;
mod trie;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::request::{Oddities, Oddity};

pub use captures::Captures;
pub use host::{HostPattern, HostProblem};
pub use meeting::Meeting;
pub use near::{Miss, Near};
pub use pattern::{MAX_CAPTURES, Pattern, PatternProblem, PatternProblemKind};
pub use predicate::WhyNot;
pub use reach::Instead;
pub use sample::{Sampler, shared};
pub use table::{Clash, Routes};

/// Who may pass at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone; an identity is passed on when there is one.
    Public,
    /// Everyone, as nobody: the routes of the API on which people sign in. Somebody's arm, nobody's identity.
    Login,
    /// Only people whose credential was verified and whom the route's rule permits.
    Protected,
    /// The same, by keys that are not old, and only once the audit trail holds that they do.
    Privileged,
}

impl Access {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Login => "login",
            Self::Protected => "protected",
            Self::Privileged => "privileged",
        }
    }
}

/// What a refusal of the rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    /// Decide, count and log, but let through.
    Report,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// Where a route was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// `websocket` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebSocket {
    /// A tunnel ends when the token that opened it does.
    pub until_token_exp: bool,
    /// Pages that may open one, beside the authorised parties and the API's own; empty is no rule for tokens in headers.
    pub origins: Vec<Box<str>>,
}

/// One route as the config hands it over.
#[derive(Debug, Clone)]
pub struct Definition {
    pub id: Arc<str>,
    pub place: Place,
    pub pattern: Pattern,
    /// Empty for any.
    pub methods: Vec<Method>,
    pub host: Option<HostPattern>,
    /// Each must be there once, with exactly this value.
    pub headers: Vec<(HeaderName, String)>,
    /// Each must be there once, with exactly this value (decoded).
    pub query: Vec<(String, String)>,
    pub access: Access,
    pub mode: Mode,
    pub timeout: Option<Duration>,
    pub websocket: WebSocket,
    /// `response.private`: answers that depend on who asks are kept out of shared caches.
    pub private: bool,
    /// Index into the snapshot's upstreams.
    pub upstream: usize,
    /// The route says so itself: the arm of a person has no say.
    pub names_upstream: bool,
    /// The upstream tells case and trailing slash apart (`paths: exact`).
    pub exact_paths: bool,
    /// `tolerate`.
    pub tolerates: Oddities,
}

/// A route that serves: what its definition says, and its place in everything that is kept by route.
#[derive(Debug)]
pub struct Route {
    pub index: usize,
    pub definition: Definition,
}

impl Deref for Route {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

/// The route of a request, and what its pattern captured.
#[derive(Debug)]
pub struct Found<'r, 'v> {
    pub route: &'r Route,
    pub captures: Captures<'r, 'v>,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 403 `no_route`.
    NoRoute,
    /// Every route names a host, and none is this one: 421 `bad_authority`.
    UnknownHost,
    /// 400 `bad_path`: an API that reads paths loosely would serve what another route guards.
    AnotherReading { route: Arc<str>, reading: Reading },
    /// 400 `bad_request`: a parameter that a route asks for stands twice, or in a spelling that some APIs read as it. Passing
    /// such a route over would let the next, laxer one decide what the API then reads as the stricter.
    AmbiguousQuery,
    /// 400 as sanitizing would have answered: the route, if there is one, does not tolerate what the request has.
    Untolerated(Oddity),
}

/// A way in which an API may read a path more loosely than it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    CaseFolded,
    NoTrailingSlash,
    Both,
    /// Decoded once more, cut at its parameters or with its slashes collapsed, where that is tolerated.
    Odd,
}

impl Reading {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CaseFolded => "case-folded",
            Self::NoTrailingSlash => "no-trailing-slash",
            Self::Both => "case-folded-no-trailing-slash",
            Self::Odd => "as-others-decode-and-cut-it",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route matches"),
            Self::UnknownHost => f.write_str("no route names this host"),
            Self::Untolerated(oddity) => write!(f, "no route here tolerates it: {}", oddity.refusal().reason()),
            Self::AmbiguousQuery => f.write_str("a query parameter that a route asks for can be read in two ways"),
            Self::AnotherReading { route, reading } => {
                write!(f, "read {}, the path would fall under route {route}", reading.as_str())
            }
        }
    }
}

#[cfg(test)]
mod readings_tests;
