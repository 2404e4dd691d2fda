//! What one request carries through the hooks, from the first to the last.
//!
//! Takes the snapshot once and keeps it, so that a reload in mid-request cannot mix two policies; counts the request
//! as in flight until it is dropped, whatever becomes of it (a cancelled or panicked task never reaches `logging`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::decide::Refusal;
use crate::identity::{Carrier, Identity};
use crate::policy::Permit;
use crate::request::{Peer, Request};
use crate::snapshot::Snapshot;

/// The context of one request.
#[derive(Debug)]
pub struct Passage {
    pub started: Instant,
    pub snapshot: Arc<Snapshot>,
    /// Known before anything is checked, so that a refusal can be traced.
    pub peer: Peer,
    pub request: Option<Box<Request>>,
    /// Index of the route found.
    pub route: Option<usize>,
    pub identity: Option<(Arc<Identity>, Carrier)>,
    /// The id of a request that was refused before it had one.
    pub early_id: Option<Box<str>>,
    pub permit: Option<Permit>,
    pub refusal: Option<Refusal>,
    /// Answered by crossgate itself without a refusal (`OPTIONS *`, a preflight).
    pub answered: bool,
    pub body_seen: u64,
    /// Attempts to reach the upstream.
    pub tries: usize,
    /// Status of the API's answer.
    pub upstream_status: Option<u16>,
    _in_flight: InFlightGuard,
}

impl Passage {
    pub fn new(snapshot: Arc<Snapshot>, in_flight: &Arc<InFlight>) -> Self {
        Self {
            started: Instant::now(),
            snapshot,
            peer: Peer::Unix,
            request: None,
            early_id: None,
            route: None,
            identity: None,
            permit: None,
            refusal: None,
            answered: false,
            body_seen: 0,
            tries: 0,
            upstream_status: None,
            _in_flight: in_flight.enter(),
        }
    }

    /// The request's id, once it has one.
    pub fn request_id(&self) -> &str {
        let early = self.early_id.as_deref().unwrap_or_default();
        self.request.as_ref().map_or(early, |request| &request.client.request_id)
    }
}

/// How many requests are being served, and a way to wait until there are none.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
    idle: Notify,
}

impl InFlight {
    fn enter(self: &Arc<Self>) -> InFlightGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(self))
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until no request is in flight, at most this long; whether it came to that.
    pub async fn wait_idle(&self, limit: Duration) -> bool {
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        loop {
            let idle = self.idle.notified();
            if self.count() == 0 {
                return true;
            }
            tokio::select! {
                () = idle => {}
                () = &mut deadline => return self.count() == 0,
            }
        }
    }
}

#[derive(Debug)]
struct InFlightGuard(Arc<InFlight>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
