//! Proof that a request was authorized. Only `policy` makes one; `inject` and the proxy ask for it.

use std::sync::Arc;

use super::Refusal;
use crate::identity::Identity;
use crate::route::Route;

/// May go upstream, with this identity and nobody else's.
#[derive(Debug)]
pub struct Permit {
    identity: Option<Arc<Identity>>,
    route: usize,
    upstream: usize,
    reported: Option<Refusal>,
}

impl Permit {
    pub(super) fn new(route: &Route, identity: Option<Arc<Identity>>, reported: Option<Refusal>) -> Self {
        Self { identity, route: route.index, upstream: route.upstream, reported }
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
    pub fn reported(&self) -> Option<&Refusal> {
        self.reported.as_ref()
    }
}
