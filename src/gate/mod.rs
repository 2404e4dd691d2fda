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

mod ask;
mod close;
pub(crate) mod credentials;
pub mod decide;
mod documents;
mod exchange;
mod failure;
pub mod fairness;
mod issue;
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
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::audit::Ledger;
use crate::clock;
use crate::guard::{self, Phase, Slow};
use crate::inject::{self, Context};
use crate::issuer::NotSigned;
use crate::request::{self, Sanitized, View};
use crate::rollout::{Rollout, Side};
use crate::snapshot::{Live, Preflight};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Asks, Ended, NoEndpoint, Progress};
use decide::{Caller, Decided, Refusal};
use failure::{broken_body, client_is_gone, failure};
use fairness::Fairness;
use passage::{InFlight, Passage};

pub use own::{Whose, strayed, whose};
use reply::Code;
use tail::Tail;

/// Says to a client that came with a legacy credential that this person may come with Clerk.
const UPGRADE: &str = "x-crossgate-upgrade";

/// Attempts to connect before a request fails; nothing was sent in a failed one.
const MAX_TRIES: usize = 2;

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
        guard::enter(session.as_downstream().stream(), Phase::Request);
        self.set_connection_rules(session, passage);
        if guard::is_broken(session.as_downstream().stream()) {
            passage.sender = Some(Box::new(wire::sender(session, &passage.snapshot.request)));
            passage.refusal = Some(broken_body());
            return Ok(());
        }
        let awaited = wire::await_no_body(session, &passage.snapshot.request).await;
        if !matches!(awaited, Ok(Ok(()))) {
            passage.sender = Some(Box::new(wire::sender(session, &passage.snapshot.request)));
            passage.refusal = awaited?.err().map(Refusal::Request);
            return Ok(());
        }
        let rules = exchange::rules(&passage.snapshot, session);
        match wire::sanitize(session, &rules) {
            Ok(Sanitized::Request(request, edits)) => {
                wire::apply(edits, session)?;
                if request.client.dropped {
                    self.note_dropped_forwarding(&request);
                }
                passage.request = Some(request);
            }
            Ok(Sanitized::Server(client)) => {
                passage.sender = Some(client);
                passage.answered = true;
            }
            Err(refusal) => {
                passage.sender = Some(Box::new(wire::sender(session, &passage.snapshot.request)));
                passage.refusal = Some(Refusal::Request(refusal));
            }
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, passage: &mut Passage) -> Result<bool> {
        if passage.answered {
            return own::server_options(session, passage).await;
        }
        if passage.refusal.is_none() && self.in_flight.count() > passage.snapshot.request.limits.in_flight {
            passage.refusal = Some(Refusal::Overloaded);
        }
        if passage.refusal.is_none() {
            passage.refusal = passage.is_about(own::strayed).map(Refusal::Request);
        }
        if passage.refusal.is_none()
            && let Some(document) = passage.is_about(documents::find)
        {
            passage.answered = true;
            return documents::answer(session, passage, document).await;
        }
        if passage.refusal.is_none() && passage.is(exchange::is_asked) {
            passage.answered = true;
            return exchange::answer(self, session, passage).await;
        }
        if passage.refusal.is_none() && passage.is_with(&session.req_header().headers, status::is_asked) {
            passage.answered = true;
            return status::answer(self, session, passage).await;
        }
        if passage.refusal.is_none() && passage.is(own::is_own_path) {
            passage.refusal = Some(Refusal::Route(crate::route::Refusal::NoRoute));
        }
        if passage.refusal.is_none() {
            self.decide(session, passage).await;
            record::record(self, session, passage).await;
        }
        if passage.refusal.is_some() {
            return own::refuse(session, passage).await;
        }
        if passage.snapshot.cors.preflight == Preflight::Answer && own::is_preflight(passage) {
            passage.answered = true;
            return own::preflight(session, passage).await;
        }
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, passage: &mut Passage) -> Result<Box<HttpPeer>> {
        passage.tries += 1;
        // A body that is sent again is counted again.
        passage.body_seen = 0;
        passage.tail = Tail::default();
        let upstream = passage.permit.as_ref().and_then(|permit| passage.snapshot.upstreams.get(permit.upstream()));
        let Some(upstream) = upstream else {
            return Error::e_explain(ErrorType::InternalError, "no permit, hence no upstream");
        };
        let is_handshake = passage.request.as_ref().is_some_and(|request| request.handshake.is_some());
        let asks = if is_handshake { Asks::WebSocket } else { Asks::Answer };
        match upstream.choose(passage.attempt.take(), asks) {
            Ok((mut peer, attempt)) => {
                passage.shared = None;
                if peer.options.custom_l4.is_none() {
                    let (limit, deadline) = watch::shared_limit(session, passage);
                    peer.options.read_timeout = Some(limit);
                    passage.shared = Some(deadline);
                }
                passage.attempt = Some(attempt);
                Ok(peer)
            }
            Err(NoEndpoint) => {
                passage.refusal = Some(Refusal::Upstream(Code::NoEndpoint));
                Error::e_explain(ErrorType::ConnectNoRoute, "no endpoint to send it to").map_err(Error::into_up)
            }
        }
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
        let (Some(permit), Some(request)) = (&passage.permit, &passage.request) else {
            return Error::e_explain(ErrorType::InternalError, "no permit: nothing goes upstream");
        };
        if !record::may_go_up(passage) {
            return Error::e_explain(ErrorType::InternalError, "no record: nothing privileged goes upstream");
        }
        let snapshot = &passage.snapshot;
        let route = snapshot.routes.get(permit.route_index());
        let ours = credentials::ByContent(snapshot);
        let context = Context {
            names: &snapshot.headers,
            route: route.map_or("", |route| &route.id),
            arm: passage.side.map_or("none", Side::as_str),
            request_id: &request.client.request_id,
            own: credentials::own(snapshot, permit, request, (passage.proven, passage.bearer), &ours),
            issued: &passage.issued,
        };
        inject::inject(permit, &context, &mut wire::Outgoing(head));
        wire::close_behind_get_body(request, head)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        passage: &mut Passage,
    ) -> Result<()> {
        watch::sent(session, end, passage);
        if session.was_upgraded() {
            return Ok(());
        }
        guard::awaits_body(session.as_downstream().stream(), !end);
        passage.body_seen += body.as_ref().map_or(0, |chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if session.is_http2() {
            passage.tail.hold(&session.req_header().headers, body, passage.body_seen, end);
        }
        if session.is_http2() && !end && watch::is_too_slow(session, passage) {
            passage.slow = Some(Slow::Rate);
            passage.refusal = Some(Refusal::Upstream(Code::RequestTimeout));
            return Error::e_explain(ErrorType::HTTPStatus(408), "body below limits.body_min_rate");
        }
        match passage.snapshot.request.limits.body {
            Some(limit) if passage.body_seen > limit => {
                passage.refusal = Some(Refusal::Request(request::Refusal::BodyTooLarge));
                Error::e_explain(ErrorType::HTTPStatus(413), "body over limits.body")
            }
            _ => Ok(()),
        }
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        passage: &mut Passage,
    ) -> Result<()> {
        watch::answered(answer, passage);
        let opens_tunnel = answer.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if opens_tunnel {
            let handshake = passage.request.as_ref().and_then(|request| request.handshake.as_ref());
            if !tunnel::is_answer(answer, handshake) {
                // The bytes behind it would be a tunnel that nobody checked.
                passage.refusal = Some(Refusal::Upstream(Code::UpstreamUnavailable));
                return Error::e_explain(ErrorType::HTTPStatus(502), "a 101 that answers no handshake");
            }
        }
        if let Some(attempt) = &mut passage.attempt {
            attempt.heard(answer)?;
        }
        if opens_tunnel || !answer.status.is_informational() {
            passage.upstream_status = Some(answer.status.as_u16());
        }
        wire::strip_hop_by_hop(answer);
        wire::strip_echo(answer, &passage.snapshot.headers);
        if passage.upgrade && (opens_tunnel || !answer.status.is_informational()) {
            answer.insert_header(UPGRADE, "clerk")?;
        }
        if opens_tunnel {
            tunnel::prepare(answer)?;
        }
        let permit = passage.permit.as_ref();
        let route = permit.and_then(|permit| passage.snapshot.routes.get(permit.route_index()));
        let is_private = route.is_some_and(|route| route.private) && !answer.status.is_informational();
        let is_personal = permit.is_some_and(|permit| permit.identity().is_some());
        let is_kept = sticky::keep(answer, passage)?;
        if is_private || is_kept {
            privacy::apply(answer, is_personal || is_kept)?;
        }
        if opens_tunnel || !answer.status.is_informational() {
            own::name(answer, passage)?;
        }
        Ok(())
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
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(attempt) = &mut passage.attempt {
            attempt.not_connected(&error);
        }
        // Nothing was sent, so trying once more is safe for a POST too.
        error.set_retry(passage.tries < MAX_TRIES);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        passage: &mut Passage,
        reused: bool,
    ) -> Box<Error> {
        if watch::is_silence(&error) {
            passage.timed_out = passage.shared;
        }
        if let Some(deadline) = passage.ended() {
            error = watch::told(deadline);
        }
        // What rests by nature has not failed when it rested for long enough.
        let is_end = passage.ended().is_some_and(|deadline| deadline != Ended::Silent) || session.was_upgraded();
        if let Some(attempt) = passage.attempt.as_mut().filter(|_| !is_end) {
            let request_done = session.as_downstream_mut().is_body_done();
            attempt.broke_off(&error, Progress { request_done, reused });
        }
        // As Pingora's own: again only what may be done twice, on a pooled connection that broke before an answer.
        // What is recorded once is sent once.
        let is_safe = session.req_header().method.is_idempotent()
            && passage.action.is_none()
            && !session.as_ref().retry_buffer_truncated();
        if is_safe && passage.ended().is_none() {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, passage: &mut Passage) -> FailToProxy {
        if passage.refusal.is_none() && guard::is_broken(session.as_downstream().stream()) {
            passage.refusal = Some(broken_body());
        }
        passage.slow = passage.slow.or_else(|| guard::slow(session.as_downstream().stream()));
        if passage.slow.is_some() && passage.refusal.is_none() {
            passage.refusal = Some(Refusal::Upstream(Code::RequestTimeout));
        }
        if client_is_gone(error) && passage.refusal.is_none() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let refusal = passage.refusal.take().unwrap_or_else(|| failure(error));
        let error_code = refusal.code().status();
        passage.refusal = Some(refusal);
        let is_answered = session.response_written().is_some_and(|written| !written.status.is_informational());
        if !is_answered && !session.was_upgraded() {
            session.set_keepalive(None);
            // The client may be gone by now; there is nobody left to tell.
            let _ = own::refuse(session, passage).await;
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, passage: &mut Passage) {
        close::close(self, session, error, passage);
        record::close(session, error, passage);
        passage.hold = None;
        if session.was_upgraded() {
            return;
        }
        // What is left of a body that nobody read is no head; such a connection ends.
        if session.as_downstream_mut().is_body_done() {
            guard::enter(session.as_downstream().stream(), Phase::Idle);
        } else {
            // Not left to Pingora: a head behind such a body would not be looked at by the guard.
            session.set_keepalive(None);
        }
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
    /// Timeouts of the client's connection. Pingora's own keep-alive is without end after the first request.
    fn set_connection_rules(&self, session: &mut Session, passage: &Passage) {
        let limits = &passage.snapshot.request.limits;
        // Of HTTP/1, the guard sees every byte and knows better; HTTP/2 has no read timeout at all.
        session.set_read_timeout(None);
        let write = session.is_http2().then_some(limits.body_read);
        session.set_write_timeout(write);
        session.set_total_drain_timeout(Some(limits.body_read));
        // A body in chunks is read in two ways by two servers more often than any other: its connection ends with it.
        let close =
            self.draining.load(Ordering::Relaxed) || session.req_header().headers.contains_key(TRANSFER_ENCODING);
        if close {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.keepalive.as_secs().max(1)));
        }
    }

    fn note_dropped_forwarding(&self, request: &request::Request) {
        let counter = self.metrics.forwarded_dropped();
        if counter.get() == 0 {
            tracing::warn!(
                peer = %request.client.peer,
                "forwarding headers dropped: the peer is not in trusted_proxies; further ones are only counted"
            );
        }
        counter.inc();
    }

    /// Runs the story; waits at most once for each side.
    async fn decide(&self, session: &Session, passage: &mut Passage) {
        let Some(request) = passage.request.as_deref() else { return };
        let view = View { request, headers: &session.req_header().headers };
        let client = request.client.address;
        let decision = self
            .ask(passage, client, |tries, spent| {
                match decide::decide(passage.world(), &view, Caller::Credentials(tries), clock::now(), spent) {
                    Decided::Done(decision) => Ok(decision),
                    Decided::Wait(wait) => Err(wait),
                }
            })
            .await;
        ask::fetch_aside(decision.refetch);
        passage.route = decision.route;
        passage.side = decision.side;
        passage.arm = decision.arm;
        passage.identity = decision.identity;
        passage.proven = decision.proven;
        passage.bearer = decision.bearer;
        passage.upgrade = decision.upgrade;
        passage.conflict = decision.conflict;
        passage.keeps = decision.keeps;
        match decision.outcome {
            Ok(permit) => match issue::issue(&passage.snapshot, &permit, clock::now(), &self.metrics) {
                Ok(issued) => {
                    passage.issued = issued;
                    passage.permit = Some(permit);
                }
                Err(NotSigned) => passage.refusal = Some(Refusal::Upstream(Code::Internal)),
            },
            Err(refusal) => passage.refusal = Some(refusal),
        }
        tally::count(passage);
        if let Some(shadow) = &decision.shadow {
            shadow::observe(self, session, passage, shadow);
        }
    }
}
