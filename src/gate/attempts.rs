//! Attempts to have a request answered: by whom, and whether there is another.
//!
//! Another one needs a proof that the API did nothing in the last: nothing was sent, or it may be done twice by its method
//! and broke on a connection from the pool. What is recorded once is sent once.

use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::decide::Refusal;
use super::passage::Passage;
use super::reply::Code;
use super::tail::Tail;
use super::watch;
use crate::upstream::{Asks, Ended, NoEndpoint, Progress};

/// Attempts to connect before a request fails; nothing was sent in a failed one.
const MAX_TRIES: usize = 2;

/// The endpoint of the next one.
///
/// # Errors
/// There is none to ask.
pub(super) fn next(session: &Session, passage: &mut Passage) -> Result<Box<HttpPeer>> {
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

/// There was no connection, and nothing was sent: trying once more is safe for a POST too.
pub(super) fn not_connected(passage: &mut Passage, mut error: Box<Error>) -> Box<Error> {
    if let Some(attempt) = &mut passage.attempt {
        attempt.not_connected(&error);
    }
    error.set_retry(passage.tries < MAX_TRIES);
    error
}

/// It broke off: of what, as the client has to hear it. The endpoint is told how it fared, and Pingora whether to try again.
pub(super) fn broke_off(
    session: &mut Session,
    passage: &mut Passage,
    mut error: Box<Error>,
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
