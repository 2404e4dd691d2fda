//! The API's endpoints: Pingora peers made ready when a snapshot is made, cloned per request.
//!
//! Owns addresses, timeouts and which credentials may be passed on. Never resolves a name on the request path
//! (Pingora's own constructor would, and panic), and never decides who may pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::upstreams::peer::HttpPeer;

use crate::snapshot::Address;

/// `upstreams.<name>` as the config gives it.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Address>,
    pub timeouts: Timeouts,
    /// `paths: exact`: this API tells case and trailing slash apart.
    pub exact_paths: bool,
    pub forward: Forward,
}

/// `upstreams.<name>.timeouts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// Longest silence of the API, before or within its answer.
    pub read: Duration,
    pub write: Duration,
    /// How long a pooled connection is kept: below the API's own keep-alive, or a POST meets a closed one.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(60),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(4),
        }
    }
}

/// `upstreams.<name>.credentials.forward`: which of our credentials the API still gets as they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forward {
    pub clerk: bool,
    pub legacy: bool,
}
