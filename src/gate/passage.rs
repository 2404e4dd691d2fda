//! What one request carries through the hooks, from the first to the last.
//!
//! Takes the snapshot once and keeps it, so that a reload in mid-request cannot mix two policies; counts the request
//! as in flight until it is dropped, whatever becomes of it (a cancelled or panicked task never reaches `logging`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::decide::{Decision, Refusal, World};
use super::issue;
use super::record::{self, Action};
use super::reply::Code;
use super::tail::Tail;
use crate::clock;
use crate::guard::Slow;
use crate::identity::{Carrier, Identity};
use crate::inject::{Issued, Proven};
use crate::issuer::NotSigned;
use crate::policy::Permit;
use crate::request::{Client, Request};
use crate::rollout::{Current, Side};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Attempt, Ended, Hold};

/// The context of one request.
#[derive(Debug)]
pub struct Passage {
    pub started: Instant,
    pub snapshot: Arc<Snapshot>,
    pub request: Option<Box<Request>>,
    /// Who sent what was refused before it could be read as a request.
    pub sender: Option<Box<Client>>,
    /// Index of the route found.
    pub route: Option<usize>,
    pub identity: Option<(Arc<Identity>, Carrier)>,
    /// What is in force of the rollout; taken once, as the snapshot is.
    pub rollout: Option<Arc<Current>>,
    /// The side that counted; `None` where nobody was asked for.
    pub side: Option<Side>,
    /// The same where it is somebody's arm, or everybody's: what is counted and written down.
    pub arm: Option<Side>,
    /// Which of the credentials may go on, and whose the Authorization line is.
    pub proven: Proven,
    pub bearer: Option<Side>,
    /// The answer says `x-crossgate-upgrade: clerk`.
    pub upgrade: bool,
    /// The credentials named two people and were taken away.
    pub conflict: bool,
    /// The answer carries an arm cookie that says so.
    pub keeps: Option<Side>,
    pub permit: Option<Permit>,
    /// Tokens of crossgate's own that go up with it.
    pub issued: Issued,
    pub refusal: Option<Refusal>,
    /// About the server itself: `OPTIONS *`.
    pub is_about_server: bool,
    /// Bytes of the body in this attempt, and since when they come.
    pub body_seen: u64,
    pub tail: Tail,
    pub body_since: Instant,
    /// The client's body was given up.
    pub slow: Option<Slow>,
    /// The recorded action that this request is.
    pub action: Option<Box<Action>>,
    /// The request is a token exchange, for this audience and these scopes as far as they are known.
    pub exchange: Option<String>,
    /// It goes on although it could not be recorded, as its route says.
    pub unrecorded: bool,
    /// A connection to the API was there: bytes may have gone up.
    pub was_connected: bool,
    /// Attempts to reach the upstream.
    pub tries: usize,
    /// The last of them; what became of it is told to it.
    pub attempt: Option<Attempt>,
    /// Status of the API's answer.
    pub upstream_status: Option<u16>,
    /// The connection to the API, where it can be ended at a deadline.
    pub hold: Option<Hold>,
    /// What the read timeout stands for of a connection that other requests share.
    pub shared: Option<Ended>,
    /// That timeout ran out.
    pub timed_out: Option<Ended>,
    /// The API's answer ends with its connection.
    pub close_delimited: bool,
    _in_flight: InFlightGuard,
}

impl Passage {
    pub fn new(snapshot: Arc<Snapshot>, rollout: Option<Arc<Current>>, in_flight: &Arc<InFlight>) -> Self {
        Self {
            started: Instant::now(),
            snapshot,
            request: None,
            sender: None,
            route: None,
            identity: None,
            rollout,
            side: None,
            arm: None,
            proven: Proven::default(),
            bearer: None,
            upgrade: false,
            conflict: false,
            keeps: None,
            permit: None,
            issued: Issued::default(),
            refusal: None,
            is_about_server: false,
            body_seen: 0,
            tail: Tail::default(),
            body_since: Instant::now(),
            slow: None,
            action: None,
            exchange: None,
            unrecorded: false,
            was_connected: false,
            tries: 0,
            attempt: None,
            upstream_status: None,
            hold: None,
            shared: None,
            timed_out: None,
            close_delimited: false,
            _in_flight: in_flight.enter(),
        }
    }

    /// What was decided, and the tokens that go up by it.
    pub(super) fn take(&mut self, decision: Decision, metrics: &Metrics) {
        self.route = decision.route;
        self.side = decision.side;
        self.arm = decision.arm;
        self.identity = decision.identity;
        self.proven = decision.proven;
        self.bearer = decision.bearer;
        self.upgrade = decision.upgrade;
        self.conflict = decision.conflict;
        self.keeps = decision.keeps;
        match decision.outcome {
            Ok(permit) => match issue::issue(&self.snapshot, &permit, clock::now(), metrics) {
                Ok(issued) => {
                    self.issued = issued;
                    self.permit = Some(permit);
                }
                Err(NotSigned) => self.refusal = Some(Refusal::Upstream(Code::Internal)),
            },
            Err(refusal) => self.refusal = Some(refusal),
        }
    }

    /// What a decision is made by.
    pub fn world(&self) -> World<'_> {
        World { snapshot: &self.snapshot, rollout: self.rollout.as_deref() }
    }

    /// What a request is about by itself, once it is one.
    pub(super) fn is_about<T>(&self, what: fn(&Snapshot, &Request) -> Option<T>) -> Option<T> {
        self.request.as_deref().and_then(|request| what(&self.snapshot, request))
    }

    /// The client, also of what is no request.
    pub fn client(&self) -> Option<&Client> {
        self.request.as_deref().map(|request| &request.client).or(self.sender.as_deref())
    }

    /// Which deadline ended the request, if one did.
    pub fn ended(&self) -> Option<Ended> {
        self.hold.as_ref().and_then(Hold::ended).or(self.timed_out)
    }

    /// The request's id, once it has one.
    pub fn request_id(&self) -> &str {
        self.client().map_or("", |client| &client.request_id)
    }
}

/// A task that was cancelled or panicked never comes to its end; what it may have done is written down all the same.
impl Drop for Passage {
    fn drop(&mut self) {
        record::abandon(self);
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
