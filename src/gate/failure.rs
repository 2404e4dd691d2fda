//! What an error below the gate means: whose it is, and with which code the client hears of it.
//!
//! Never tells an error's own text to anybody: it names peers and may quote bytes of a request.

use pingora::{Error, ErrorSource, ErrorType};

use super::decide::Refusal;
use super::reply::Code;
use crate::request;

pub(super) fn broken_body() -> Refusal {
    Refusal::Request(request::Refusal::Malformed("the chunked body is malformed"))
}

/// Whether the client closed its connection or broke it, or its stream (`H2Error`: a reset, or the end of all streams).
/// Also when it sent its next request before this one's answer (`ConnectError`): this one may have been executed by now,
/// and a 400 would say that it was not.
pub(super) fn client_is_gone(error: &Error) -> bool {
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
pub(super) fn failure(error: &Error) -> Refusal {
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
