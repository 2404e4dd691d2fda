//! How long a request waits for the other side, and for what.
//!
//! Before its head, the API may be silent for `timeouts.read` (or the route's `timeout`), counted from the moment when
//! all of the request has gone up; so may it between two pieces of its answer. What rests by nature (event streams,
//! gRPC, tunnels) may be silent for `timeouts.stream_idle`; tunnels also have an end. The deadline itself is kept by
//! the connection to the API (`upstream::Hold`); one that several requests share (HTTP/2) has none, and Pingora's own
//! read timeout has to do. The silence of HTTP/1 clients is `guard`'s to watch.

use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::passage::Passage;
use crate::clock;
use crate::guard;
use crate::upstream::{Ended, Hold, Timeouts};

/// There is a connection to the API.
pub(super) fn connected(session: &mut Session, digest: Option<&Digest>, passage: &mut Passage) -> Result<()> {
    passage.hold = None;
    (passage.body_seen, passage.body_since) = (0, Instant::now());
    // Where the client waits for the API's word, its body begins with the first piece.
    let waits_for_client =
        !session.as_downstream_mut().is_body_done() && !session.req_header().headers.contains_key(EXPECT);
    guard::awaits_body(session.as_downstream().stream(), waits_for_client);
    let Some(hold) = digest.map_or(Ok(None), Hold::take)? else { return Ok(()) };
    if passage.request.as_ref().is_some_and(|request| request.handshake.is_some()) {
        hold.is_handshake();
    }
    if session.req_header().headers.contains_key(EXPECT) {
        // The client waits for the API's word before it sends its body.
        hold.watch(read_limit(passage), Ended::Silent);
    } else if session.is_http2() {
        hold.watch(passage.snapshot.request.limits.body_read, Ended::BodyStalled);
    }
    passage.hold = Some(hold);
    Ok(())
}

/// A piece of the request has gone up, or all of it.
pub(super) fn sent(session: &Session, end: bool, passage: &Passage) {
    let Some(hold) = &passage.hold else { return };
    let is_answered = passage.upstream_status.is_some();
    if session.was_upgraded() || is_answered {
        hold.moved();
    } else if end {
        hold.watch(read_limit(passage), Ended::Silent);
    } else if session.is_http2() {
        hold.watch(passage.snapshot.request.limits.body_read, Ended::BodyStalled);
    } else {
        hold.rest();
    }
}

/// Whether a body over HTTP/2 has come too slowly up to this piece. Counts all time, also the API's in taking it: nobody
/// below HTTP/2 knows whom a stream waits for. A gRPC stream may rest: it is not held to a rate where it can be one.
pub(super) fn is_too_slow(session: &Session, passage: &Passage) -> bool {
    let Some(rate) = passage.snapshot.request.limits.body_min_rate else { return false };
    if passage.shared.is_some() && is_stream(&session.req_header().headers) {
        return false;
    }
    let counted = passage.body_since.elapsed().saturating_sub(guard::GRACE);
    u128::from(passage.body_seen) * 1000 < u128::from(rate) * counted.as_millis()
}

/// The head of the API's answer has come.
pub(super) fn answered(answer: &ResponseHeader, passage: &mut Passage) {
    let has = |name: &HeaderName| answer.headers.contains_key(name);
    passage.close_delimited = !has(&CONTENT_LENGTH) && !has(&TRANSFER_ENCODING);
    let Some(hold) = &passage.hold else { return };
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        hold.watch(times(passage).stream_idle, Ended::StreamIdle);
        end_of_tunnel(hold, passage);
    } else if answer.status.is_informational() {
        hold.moved();
    } else if is_stream(&answer.headers) {
        hold.watch(times(passage).stream_idle, Ended::StreamIdle);
    } else {
        hold.watch(read_limit(passage), Ended::Silent);
    }
}

/// A piece of the answer has come.
///
/// # Errors
/// When the end of the answer is none, but a deadline: without a length, a cut answer looks like a whole one.
pub(super) fn received(session: &Session, end: bool, passage: &Passage) -> Result<()> {
    let Some(hold) = &passage.hold else { return Ok(()) };
    hold.moved();
    if end && passage.close_delimited && !session.was_upgraded() && hold.ended().is_some() {
        return Err(Error::explain(ErrorType::ReadTimedout, "the answer was ended at a deadline").into_up());
    }
    Ok(())
}

/// What a request that was ended at a deadline failed of, and whose fault that is: Pingora saw only that the API's
/// connection was shut.
pub(super) fn told(deadline: Ended) -> Box<Error> {
    let error = Error::explain(ErrorType::ReadTimedout, deadline.as_str());
    match deadline {
        Ended::BodyStalled => error.into_down(),
        Ended::Silent | Ended::StreamIdle | Ended::Lifetime | Ended::TokenExpired => error.into_up(),
    }
}

/// Whether the read timeout of the API's connection ran out.
pub(super) fn is_silence(error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream && *error.etype() == ErrorType::ReadTimedout
}

/// The read timeout of a connection that other requests share: one for the whole request, chosen by what it asks for.
pub(super) fn shared_limit(session: &Session, passage: &Passage) -> (Duration, Ended) {
    let headers = &session.req_header().headers;
    let asks_for_events = headers.get_all(ACCEPT).iter().any(|line| {
        let is_events = |range: &[u8]| starts_with(range.trim_ascii(), b"text/event-stream");
        line.as_bytes().split(|byte| *byte == b',').any(is_events)
    });
    if asks_for_events || is_stream(headers) {
        (times(passage).stream_idle, Ended::StreamIdle)
    } else {
        (read_limit(passage), Ended::Silent)
    }
}

/// What rests by nature: server-sent events and gRPC.
fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        starts_with(kind, b"text/event-stream") || starts_with(kind, b"application/grpc")
    })
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn end_of_tunnel(hold: &Hold, passage: &Passage) {
    let now = Instant::now();
    if let Some(end) = passage.snapshot.request.limits.websocket_lifetime.and_then(|life| now.checked_add(life)) {
        hold.end_at(end, Ended::Lifetime);
    }
    let until_exp = passage.permit.as_ref().and_then(|permit| passage.snapshot.routes.get(permit.route_index()));
    if !until_exp.is_some_and(|route| route.websocket.until_token_exp) {
        return;
    }
    let expires = passage.identity.as_ref().and_then(|(identity, _)| identity.facts.expires_at_ms);
    let Some(expires) = expires else { return };
    let left = Duration::from_millis(u64::try_from(expires - clock::now().unix_ms).unwrap_or(0));
    if let Some(end) = now.checked_add(left) {
        hold.end_at(end, Ended::TokenExpired);
    }
}

fn read_limit(passage: &Passage) -> Duration {
    let route = passage.route.and_then(|index| passage.snapshot.routes.get(index));
    route.and_then(|route| route.timeout).unwrap_or_else(|| times(passage).read)
}

fn times(passage: &Passage) -> Timeouts {
    let upstream = passage.permit.as_ref().and_then(|permit| passage.snapshot.upstreams.get(permit.upstream()));
    upstream.map(|upstream| upstream.timeouts).unwrap_or_default()
}
