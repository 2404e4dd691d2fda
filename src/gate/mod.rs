//! The only code that implements Pingora's request hooks, in the order in which they run.
//!
//! ```text
//! early_request_filter      sanitize; refusals are kept for the next hook, which can answer
//! request_filter            own endpoints, then route, identity, policy (decide); record; answers refusals
//! upstream_peer             the arm's upstream
//! connected_to_upstream     deadlines begin
//! upstream_request_filter   inject: remove, then insert; without a permit nothing goes upstream
//! request_body_filter       limits.body
//! upstream_response_filter  identity headers that the API echoes leave in no answer
//! fail_to_connect           another endpoint, once; nothing was sent
//! error_while_proxy         the endpoint is told how it fared; what may be done twice may be tried again
//! fail_to_proxy             what went wrong becomes a code
//! logging                   access line, metrics, the outcome of a recorded action
//! ```
//!
//! Hooks stay short and call one step each; what a step does is told in its own module.

mod answer;
mod arrival;
mod ask;
mod attempts;
mod bodiless;
mod close;
mod connection;
pub(crate) mod credentials;
pub mod decide;
mod documents;
mod exchange;
mod failure;
pub mod fairness;
mod issue;
mod outgoing;
mod own;
pub mod passage;
mod privacy;
pub(crate) mod record;
pub mod reply;
mod shadow;
mod status;
mod sticky;
mod tail;
mod tally;
mod tunnel;
mod upload;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::audit::Ledger;
use crate::rollout::Rollout;
use crate::snapshot::{Live, Preflight};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;
use decide::Refusal;
use fairness::Fairness;
use passage::{InFlight, Passage};

pub use own::{Whose, strayed, whose};

/// The proxy.
#[derive(Debug)]
pub struct Gate {
    pub live: Live,
    pub metrics: Metrics,
    pub log: Log,
    pub ledger: Ledger,
    pub rollout: Option<Arc<Rollout>>,
    pub in_flight: Arc<InFlight>,
    pub fairness: Fairness,
    /// Set while draining: answers then close their connections.
    pub draining: Arc<AtomicBool>,
    pub keepalive: Duration,
}

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        let rollout = self.rollout.as_ref().map(|rollout| Arc::clone(&rollout.current()));
        Passage::new(self.live.load_full(), rollout, &self.in_flight)
    }

    /// Nothing: the default adds a compression module to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, passage: &mut Passage) -> Result<()> {
        connection::enter(self, session, passage);
        arrival::read(self, session, passage).await
    }

    async fn request_filter(&self, session: &mut Session, passage: &mut Passage) -> Result<bool> {
        if passage.is_about_server {
            return own::server_options(session, passage).await;
        }
        if passage.refusal.is_none() {
            passage.refusal = self.turned_away(passage);
        }
        if passage.refusal.is_none()
            && let Some(endpoint) = own::asked(session, passage)
        {
            return own::answer(self, session, passage, endpoint).await;
        }
        if passage.refusal.is_none() {
            self.decide(session, passage).await;
            record::record(self, session, passage).await;
        }
        if passage.refusal.is_some() {
            return own::refuse(session, passage).await;
        }
        if passage.snapshot.cors.preflight == Preflight::Answer && own::is_preflight(passage) {
            return own::preflight(session, passage).await;
        }
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, passage: &mut Passage) -> Result<Box<HttpPeer>> {
        attempts::next(session, passage)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        digest: Option<&Digest>,
        passage: &mut Passage,
    ) -> Result<()> {
        passage.was_connected = true;
        watch::connected(session, digest, passage)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        head: &mut RequestHeader,
        passage: &mut Passage,
    ) -> Result<()> {
        outgoing::identify(head, passage)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        passage: &mut Passage,
    ) -> Result<()> {
        upload::piece(session, body, end, passage)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        passage: &mut Passage,
    ) -> Result<()> {
        answer::head(answer, passage)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end: bool,
        passage: &mut Passage,
    ) -> Result<Option<Duration>> {
        watch::received(session, end, passage).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        passage: &mut Passage,
        error: Box<Error>,
    ) -> Box<Error> {
        attempts::not_connected(passage, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        passage: &mut Passage,
        reused: bool,
    ) -> Box<Error> {
        attempts::broke_off(session, passage, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, passage: &mut Passage) -> FailToProxy {
        failure::tell(session, error, passage).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, passage: &mut Passage) {
        close::close(self, session, error, passage);
        record::close(session, error, passage);
        passage.hold = None;
        connection::leave(session);
    }

    fn suppress_error_log(&self, _session: &Session, _passage: &Passage, _error: &Error) -> bool {
        // The access line says it, with a code and without the request's query.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _passage: &Passage,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        // One line for each failed attempt would bury the log while the API is down.
        true
    }

    fn request_summary(&self, _session: &Session, passage: &Passage) -> String {
        // The default names path, query and Host: tokens travel in queries.
        format!("request {}", passage.request_id())
    }
}

impl Gate {
    /// Why nothing of it is looked at.
    fn turned_away(&self, passage: &Passage) -> Option<Refusal> {
        if self.in_flight.count() > passage.snapshot.request.limits.in_flight {
            return Some(Refusal::Overloaded);
        }
        passage.is_about(own::strayed).map(Refusal::Request)
    }
}
