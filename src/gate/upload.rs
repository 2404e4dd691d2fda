//! The client's body on its way up, piece by piece: how much of it, how fast, and that its end is one.

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::decide::Refusal;
use super::passage::Passage;
use super::reply::Code;
use super::watch;
use crate::guard::{self, Slow};
use crate::request;

/// # Errors
/// It is too large or too slow: the passage has the refusal.
pub(super) fn piece(session: &Session, body: &mut Option<Bytes>, end: bool, passage: &mut Passage) -> Result<()> {
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
