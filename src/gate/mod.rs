//! The only code that implements Pingora's request hooks, in the order in which they run.
//!
//! ```text
//! early_request_filter      sanitize; refusals are kept for the next hook, which can answer
//! request_filter            own endpoints, then route, identity, policy (decide); answers refusals
//! upstream_peer             the arm's upstream
//! upstream_request_filter   inject: remove, then insert; without a permit nothing goes upstream
//! request_body_filter       limits.body
//! upstream_response_filter  identity headers that the API echoes leave in no answer
//! fail_to_proxy             what went wrong becomes a code
//! logging                   access line, metrics
//! ```
//!
//! Hooks stay short and call one step each; what a step does is told in its own module.

mod close;
pub mod decide;
mod own;
pub mod passage;
pub mod reply;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::clock;
use crate::guard::{self, Phase};
use crate::identity::clerk::Attempt;
use crate::inject::{self, Context};
use crate::request::{self, Authorization, Sanitized, View};
use crate::snapshot::{Live, Preflight};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;
use decide::{Caller, Decided, Refusal};
use passage::{InFlight, Passage};
use reply::Code;

/// Attempts to connect before a request fails; nothing was sent in a failed one.
const MAX_TRIES: usize = 2;

/// The proxy.
#[derive(Debug)]
pub struct Gate {
    pub live: Live,
    pub metrics: Metrics,
    pub log: Log,
    pub in_flight: Arc<InFlight>,
    /// Set while draining: answers then close their connections.
    pub draining: Arc<AtomicBool>,
    pub keepalive: Duration,
}

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage::new(self.live.load_full(), &self.in_flight)
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
        wire::await_no_body(session, passage.snapshot.request.limits.body_read).await?;
        match wire::sanitize(session, &passage.snapshot.request) {
            Ok(Sanitized::Request(request, edits)) => {
                wire::apply(edits, session)?;
                if request.client.dropped {
                    self.note_dropped_forwarding(&request);
                }
                passage.request = Some(request);
            }
            Ok(Sanitized::Server(_)) => passage.answered = true,
            Err(refusal) => {
                passage.sender = Some(Box::new(wire::sender(session, &passage.snapshot.request)));
                passage.refusal = Some(Refusal::Request(refusal));
            }
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, passage: &mut Passage) -> Result<bool> {
        if passage.answered {
            return own::server_options(session).await;
        }
        if passage.refusal.is_none() && self.in_flight.count() > passage.snapshot.request.limits.in_flight {
            passage.refusal = Some(Refusal::Overloaded);
        }
        if passage.refusal.is_none() && own::is_own_path(passage) {
            passage.refusal = Some(Refusal::Route(crate::route::Refusal::NoRoute));
        }
        if passage.refusal.is_none() {
            self.decide(session, passage).await;
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

    async fn upstream_peer(&self, _session: &mut Session, passage: &mut Passage) -> Result<Box<HttpPeer>> {
        passage.tries += 1;
        let route = passage.route.and_then(|index| passage.snapshot.routes.get(index));
        let timeout = route.and_then(|route| route.timeout);
        let upstream = passage.permit.as_ref().and_then(|permit| passage.snapshot.upstreams.get(permit.upstream()));
        match upstream.and_then(|upstream| upstream.peer(timeout)) {
            Some(peer) => Ok(peer),
            None => Error::e_explain(ErrorType::InternalError, "no permit, hence no upstream"),
        }
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
        let snapshot = &passage.snapshot;
        let forwards = snapshot.upstreams.get(permit.upstream()).is_some_and(|upstream| upstream.forward.clerk);
        let carrier = passage.identity.as_ref().map(|(_, carrier)| *carrier).filter(|_| permit.identity().is_some());
        let route = snapshot.routes.get(permit.route_index());
        let context = Context {
            names: &snapshot.headers,
            route: route.map_or("", |route| &route.id),
            arm: "clerk",
            request_id: &request.client.request_id,
            forward: carrier.filter(|_| forwards),
            own_authorization: request.credentials.authorization != Authorization::Absent,
        };
        inject::inject(permit, &context, &mut wire::Outgoing(head));
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        passage: &mut Passage,
    ) -> Result<()> {
        let Some(chunk) = body else { return Ok(()) };
        if session.was_upgraded() {
            return Ok(());
        }
        passage.body_seen += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
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
        if answer.status == http::StatusCode::SWITCHING_PROTOCOLS {
            // No upgrade was asked for: the bytes behind it would be a tunnel that nobody checked.
            passage.refusal = Some(Refusal::Upstream(Code::UpstreamUnavailable));
            return Error::e_explain(ErrorType::HTTPStatus(502), "a 101 that was not asked for");
        }
        if !answer.status.is_informational() {
            passage.upstream_status = Some(answer.status.as_u16());
        }
        wire::strip_hop_by_hop(answer);
        wire::strip_echo(answer, &passage.snapshot.headers);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        passage: &mut Passage,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent, so trying once more is safe for a POST too.
        error.set_retry(passage.tries < MAX_TRIES);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, passage: &mut Passage) -> FailToProxy {
        if passage.refusal.is_none() && guard::is_broken(session.as_downstream().stream()) {
            passage.refusal = Some(broken_body());
        }
        if client_is_gone(error) && passage.refusal.is_none() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let refusal = passage.refusal.take().unwrap_or_else(|| failure(error));
        let error_code = refusal.code().status();
        passage.refusal = Some(refusal);
        if session.response_written().is_none_or(|written| written.status.is_informational()) {
            session.set_keepalive(None);
            // The client may be gone by now; there is nobody left to tell.
            let _ = own::refuse(session, passage).await;
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, passage: &mut Passage) {
        close::close(self, session, error, passage);
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
        session.set_read_timeout(Some(limits.body_read));
        session.set_write_timeout(Some(limits.body_read));
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

    /// Runs the story, waiting for a key set at most once.
    async fn decide(&self, session: &Session, passage: &mut Passage) {
        let Some(request) = passage.request.as_deref() else { return };
        let view = View { request, headers: &session.req_header().headers };
        let mut caller = Caller::Credentials(Attempt::First);
        let decision = loop {
            match decide::decide(&passage.snapshot, &view, caller, clock::now(), &mut ()) {
                Decided::Done(decision) => break decision,
                Decided::Fetch { instance, kid } => {
                    // Whether it brought the key is seen by asking again.
                    let _ = instance.keys.refetch(kid.as_deref(), clock::now()).await;
                    caller = Caller::Credentials(Attempt::Last);
                }
            }
        };
        passage.route = decision.route;
        passage.identity = decision.identity;
        match decision.outcome {
            Ok(permit) => passage.permit = Some(permit),
            Err(refusal) => passage.refusal = Some(refusal),
        }
    }
}

fn broken_body() -> Refusal {
    Refusal::Request(request::Refusal::Malformed("the chunked body is malformed"))
}

/// Whether the client closed its connection or broke it. Also when it sent its next request before this one's answer
/// (`ConnectError`): this one may have been executed by now, and a 400 would say that it was not.
fn client_is_gone(error: &Error) -> bool {
    *error.esource() == ErrorSource::Downstream
        && matches!(
            error.etype(),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectError
        )
}

/// What a failure below means for the client. Never the error's own text: it names peers.
fn failure(error: &Error) -> Refusal {
    let timeout = matches!(
        error.etype(),
        ErrorType::ConnectTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::TLSHandshakeTimedout
    );
    let code = match error.esource() {
        ErrorSource::Upstream if timeout => Code::UpstreamTimeout,
        ErrorSource::Upstream => Code::UpstreamUnavailable,
        ErrorSource::Downstream if timeout => Code::RequestTimeout,
        ErrorSource::Downstream => Code::BadRequest,
        ErrorSource::Internal | ErrorSource::Unset => Code::Internal,
    };
    Refusal::Upstream(code)
}
