//! The head of the API's answer, made fit for the client.
//!
//! What was said to this hop only, and identity headers that the API echoes, leave in no answer; a tunnel opens only behind
//! the answer to this very handshake.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use super::decide::Refusal;
use super::passage::Passage;
use super::reply::Code;
use super::{own, privacy, sticky, tunnel, watch};
use crate::identity::HeaderNames;

/// Says to a client that came with a legacy credential that this person may come with Clerk.
const MAY_UPGRADE: &str = "x-crossgate-upgrade";

/// # Errors
/// It is beyond all bounds, or opens a tunnel that nobody asked for.
pub(super) fn head(answer: &mut ResponseHeader, passage: &mut Passage) -> Result<()> {
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
    strip_hop_by_hop(answer);
    strip_echo(answer, &passage.snapshot.headers);
    if passage.upgrade && (opens_tunnel || !answer.status.is_informational()) {
        answer.insert_header(MAY_UPGRADE, "clerk")?;
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

/// Takes out of an answer what was meant for this hop only (RFC 9110 7.6.1): the API's `Keep-Alive` speaks of another
/// connection than the client's.
fn strip_hop_by_hop(answer: &mut ResponseHeader) {
    const HOP: [HeaderName; 5] =
        [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection"), TE, TRAILER, UPGRADE];
    if !answer.headers.keys().any(|name| *name == CONNECTION || HOP.contains(name)) {
        return; // as nearly always
    }
    let nominated: Vec<HeaderName> = answer
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|option| HeaderName::from_bytes(option.trim().as_bytes()).ok())
        // What frames the answer or belongs to Pingora's own bookkeeping is not the API's to take away.
        .filter(|name| ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) && name != "close")
        .collect();
    for name in nominated.iter().chain(&HOP) {
        answer.remove_header(name);
    }
}

/// Takes identity headers out of an answer: an API that echoes its request must not hand them to a browser.
fn strip_echo(answer: &mut ResponseHeader, names: &HeaderNames) {
    let echoed: Vec<HeaderName> = answer.headers.keys().filter(|name| names.is_twin(name)).cloned().collect();
    for name in &echoed {
        answer.remove_header(name);
    }
}
