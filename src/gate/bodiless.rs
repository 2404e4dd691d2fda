//! Requests that have no body, by their method or by their own word.
//!
//! HTTP/2 says by the end of the stream that there is none, HTTP/1 by a missing length. What one side takes for none and
//! the other for one becomes the next request, with whatever identity headers its client wrote into it.

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::request::{Oddity, Refusal, Request, Rules};

/// HTTP/2 needs no header to send a body: without an end of stream one may follow, and Pingora would send it on in
/// chunks, which an API that skips bodies of GET runs as requests.
pub(super) fn check_frames(session: &mut Session) -> std::result::Result<(), Refusal> {
    let head = session.req_header();
    if session.is_http2() && has_no_body(&head.method) && !session.is_body_empty() {
        return Err(Refusal::Malformed("a body on GET, HEAD or OPTIONS"));
    }
    Ok(())
}

/// Waits until an HTTP/2 request has ended that has no body by its method or its `content-length: 0`: Pingora believes
/// it, and the API would have executed the request when DATA shows that it lied. At most `limits.body_read`.
pub(super) async fn await_end(session: &mut Session, rules: &Rules) -> Result<std::result::Result<(), Refusal>> {
    let says_none = |length: &HeaderValue| length.as_bytes().iter().all(|byte| *byte == b'0');
    let head = session.req_header();
    let length = head.headers.get(CONTENT_LENGTH);
    let says_none = length.is_some_and(says_none);
    // A GET that says how long its body is may come to a route that tolerates it.
    let may_have = length.is_some() && head.method == Method::GET && rules.tolerated.has(Oddity::GetBody);
    // Pingora calls a body done that says it is none: only the stream's end counts then.
    let may_come = says_none || (has_no_body(&head.method) && !may_have && !session.as_downstream_mut().is_body_done());
    if !session.is_http2() || !may_come {
        return Ok(Ok(()));
    }
    let ended = async {
        // What goes wrong here is the client's doing: more DATA than was announced, or a reset.
        while let Some(data) =
            session.as_downstream_mut().read_request_body().await.map_err(|error| error.into_down())?
        {
            if !data.is_empty() {
                return Ok(Err(Refusal::Malformed("DATA where there is no body")));
            }
        }
        Ok(Ok(()))
    };
    match tokio::time::timeout(rules.limits.body_read, ended).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "the end of a body without bytes").into_down()),
    }
}

/// An API that skips the body of a GET would run it as the next request. On a connection that ends with this request there
/// is no next one.
pub(super) fn close_behind(request: &Request, head: &mut RequestHeader) -> Result<()> {
    if request.oddities.has(Oddity::GetBody) && head.version <= Version::HTTP_11 {
        head.insert_header(CONNECTION, "close")?;
    }
    Ok(())
}

fn has_no_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
