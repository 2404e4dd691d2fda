//! Proof that a request was authorized. Only `policy` makes one; `inject` and the proxy ask for it.
//!
//! The fields are private and there is no way to change them: whose identity goes upstream is settled with the
//! decision, and cannot drift from it afterwards.

use std::sync::Arc;

use super::{Cause, Policy, Refusal, Why};
use crate::identity::{self, Identity};
use crate::request::View;
use crate::route::{Mode, Route};

/// May go upstream, with this identity and nobody else's.
#[derive(Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
    route: usize,
    upstream: usize,
    reported: Option<Reported>,
}

/// What would have been the answer, had the route not been in report mode.
#[derive(Debug, Clone)]
pub enum Reported {
    Unauthenticated(identity::Refusal),
    Refused(Refusal),
}

impl Permit {
    pub(super) fn new(route: &Route, identity: Option<Arc<Identity>>, reported: Option<Refusal>) -> Self {
        let reported = reported.map(Reported::Refused);
        Self { identity, route: route.index, upstream: route.upstream, reported }
    }

    /// A preflight goes to the API as its route, as nobody: the request that it announces is judged when it comes.
    /// `None` for any other request, so that this makes no way around `authorize`.
    pub fn preflight(route: &Route, view: &View<'_>) -> Option<Self> {
        view.request.preflight.as_ref().map(|_| Self::new(route, None, None))
    }

    /// With `mode: report`, somebody who could not be named passes as nobody. A request that names two people, or one
    /// that can be read in two ways, passes in no mode.
    pub fn reported_anonymous(route: &Route, refusal: &identity::Refusal) -> Option<Self> {
        use identity::Refusal as R;
        match (route.mode, refusal) {
            (Mode::Enforce, _) | (Mode::Report, R::Conflict | R::Ambiguous) => None,
            (
                Mode::Report,
                R::NoCredential
                | R::Expired
                | R::Invalid { .. }
                | R::Unverifiable { .. }
                | R::StaleKeys
                | R::LegacyInvalid { .. }
                | R::LegacySealed
                | R::LegacyUnverifiable
                | R::StepUp
                | R::CrossSite
                | R::Runner(_),
            ) => {
                let reported = Some(Reported::Unauthenticated(refusal.clone()));
                Some(Self { identity: None, route: route.index, upstream: route.upstream, reported })
            }
        }
    }

    /// Somebody whom only the API can name (`passthrough`) passes as nobody, where nothing is asked of a person.
    ///
    /// # Errors
    /// [`Refusal`]: something is.
    pub fn unproven(route: &Route, policy: &Policy) -> Result<Self, Refusal> {
        match (policy.asks_for_nothing(), route.mode) {
            (true, _) => Ok(Self::new(route, None, None)),
            (false, mode) => {
                let refusal = Refusal::Forbidden { predicate: "token", why: Why::Unknown(Cause::NoIdentity) };
                match mode {
                    Mode::Enforce => Err(refusal),
                    Mode::Report => Ok(Self::new(route, None, Some(refusal))),
                }
            }
        }
    }

    /// The API is to get a token that says an id of the other side, and this person has none: nothing less goes up in its
    /// place.
    ///
    /// # Errors
    /// [`Refusal::Unmapped`], which under `mode: report` is kept in the permit instead.
    pub fn lacking(mut self, route: &Route, predicate: &'static str) -> Result<Self, Refusal> {
        let refusal = Refusal::Unmapped { predicate };
        match route.mode {
            Mode::Enforce => Err(refusal),
            Mode::Report => {
                self.reported.get_or_insert(Reported::Refused(refusal));
                Ok(self)
            }
        }
    }

    /// The same by another upstream: that of the person's arm, where the route names none of its own.
    #[must_use]
    pub fn by(mut self, route: &Route, upstream: Option<usize>) -> Self {
        if let Some(upstream) = upstream.filter(|_| !route.names_upstream) {
            self.upstream = upstream;
        }
        self
    }

    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub fn route_index(&self) -> usize {
        self.route
    }

    pub fn upstream(&self) -> usize {
        self.upstream
    }

    /// With `mode: report`: the refusal that would have been, to be counted and logged.
    pub fn reported(&self) -> Option<&Reported> {
        self.reported.as_ref()
    }
}

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unauthenticated(refusal) => refusal.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}
