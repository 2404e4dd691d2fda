//! The API's endpoints: Pingora peers made ready when a snapshot is made, cloned per request.
//!
//! Owns addresses, timeouts and which credentials may be passed on. Never resolves a name on the request path
//! (Pingora's own constructor would, and panic), and never decides who may pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// An upstream ready to be used.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub forward: Forward,
    pub exact_paths: bool,
    peers: Box<[HttpPeer]>,
    next: AtomicUsize,
}

/// An endpoint that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEndpoint {
    pub endpoint: Address,
}

impl Upstream {
    /// Makes one peer per endpoint.
    ///
    /// # Errors
    /// A unix path that no socket address can hold (over 107 bytes, or with a NUL).
    pub fn prepare(spec: &Spec) -> Result<Self, BadEndpoint> {
        let peers = spec
            .endpoints
            .iter()
            .map(|endpoint| peer(endpoint, &spec.timeouts).ok_or_else(|| BadEndpoint { endpoint: endpoint.clone() }))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: Arc::clone(&spec.name),
            forward: spec.forward,
            exact_paths: spec.exact_paths,
            peers,
            next: AtomicUsize::new(0),
        })
    }

    /// The next endpoint in turn; `None` without endpoints.
    pub fn peer(&self, read_timeout: Option<Duration>) -> Option<Box<HttpPeer>> {
        let at = match self.peers.len() {
            0 => return None,
            1 => 0,
            many => self.next.fetch_add(1, Ordering::Relaxed) % many,
        };
        let mut peer = Box::new(self.peers.get(at)?.clone());
        if read_timeout.is_some() {
            peer.options.read_timeout = read_timeout;
        }
        Some(peer)
    }
}

fn peer(endpoint: &Address, timeouts: &Timeouts) -> Option<HttpPeer> {
    let mut peer = match endpoint {
        Address::Tcp(address) => from_address(*address),
        Address::Unix(path) => HttpPeer::new_uds(path.to_str()?, false, String::new()).ok()?,
    };
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect * 2);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    Some(peer)
}

#[expect(
    clippy::disallowed_methods,
    reason = "given a SocketAddr: nothing to resolve, hence nothing to block or panic"
)]
fn from_address(address: std::net::SocketAddr) -> HttpPeer {
    HttpPeer::new(address, false, String::new())
}
