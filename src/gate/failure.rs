//! What an error below the gate means: whose it is, and with which code the client hears of it.
//!
//! Never tells an error's own text to anybody: it names peers and may quote bytes of a request.

use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};

use super::decide::Refusal;
use super::own;
use super::passage::Passage;
use super::reply::Code;
use crate::{guard, request};

/// The request has failed: the client hears of it, if it is there and has heard nothing yet.
pub(super) async fn tell(session: &mut Session, error: &Error, passage: &mut Passage) -> FailToProxy {
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

pub(super) fn broken_body() -> Refusal {
    Refusal::Request(request::Refusal::Malformed("the chunked body is malformed"))
}

/// Whether the client closed its connection or broke it, or its stream (`H2Error`: a reset, or the end of all streams).
/// Also when it sent its next request before this one's answer (`ConnectError`): this one may have been executed by now,
/// and a 400 would say that it was not.
fn client_is_gone(error: &Error) -> bool {
    *error.esource() == ErrorSource::Downstream
        && matches!(
            error.etype(),
            ErrorType::ConnectionClosed
                | ErrorType::ReadError
                | ErrorType::WriteError
                | ErrorType::ConnectError
                | ErrorType::H2Error
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
