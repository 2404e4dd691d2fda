//! What a request leaves to the connection that carries it: timeouts, and whether there is a next one.
//!
//! Of HTTP/1, the deadlines are the guard's, which sees every byte; it is told here where a request stands.

use std::sync::atomic::Ordering;

use http::header::TRANSFER_ENCODING;
use pingora_proxy::Session;

use super::Gate;
use super::passage::Passage;
use crate::guard::{self, Phase};

/// Its head is complete. Pingora's own keep-alive is without end after the first request.
pub(super) fn enter(gate: &Gate, session: &mut Session, passage: &Passage) {
    guard::enter(session.as_downstream().stream(), Phase::Request);
    let limits = &passage.snapshot.request.limits;
    // Of HTTP/1, the guard sees every byte and knows better; HTTP/2 has no read timeout at all.
    session.set_read_timeout(None);
    let write = session.is_http2().then_some(limits.body_read);
    session.set_write_timeout(write);
    session.set_total_drain_timeout(Some(limits.body_read));
    // A body in chunks is read in two ways by two servers more often than any other: its connection ends with it.
    let close = gate.draining.load(Ordering::Relaxed) || session.req_header().headers.contains_key(TRANSFER_ENCODING);
    if close {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        session.set_keepalive(Some(gate.keepalive.as_secs().max(1)));
    }
}

/// The request is over.
pub(super) fn leave(session: &mut Session) {
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
