//! Between Pingora's heads and the story's: reads one into `request::Head`, applies edits and injections.

use std::cell::RefCell;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::identity::HeaderNames;
use crate::inject;
use crate::request::path::PathRefusal;
use crate::request::{self, Client, Edits, Head, Oddity, Peer, Refusal, Request, Rules, Sanitized};

/// The first step, on what Pingora read.
pub(super) fn sanitize(session: &mut Session, rules: &Rules) -> std::result::Result<Sanitized, Refusal> {
    check_frames(session)?;
    let head = session.req_header();
    check_as_sent(session)?;
    let sent = Head {
        method: &head.method,
        target: head.raw_path(),
        authority: if session.is_http2() { head.uri.authority().map(|authority| authority.as_str()) } else { None },
        version: head.version,
        headers: &head.headers,
        peer: peer(session),
        tls: is_tls(session),
    };
    request::sanitize(&sent, rules, &random)
}

/// Where something comes from that [`sanitize`] refused: its answer and its access line have an id, too.
pub(super) fn sender(session: &Session, rules: &Rules) -> Client {
    Client::read(&session.req_header().headers, None, peer(session), is_tls(session), &rules.trusted, &random)
}

fn peer(session: &Session) -> Peer {
    match session.client_addr().and_then(|address| address.as_inet()) {
        Some(address) => Peer::Ip(address.ip().to_canonical()),
        None => Peer::Unix,
    }
}

fn is_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// HTTP/2 needs no header to send a body: without an end of stream one may follow, and Pingora would send it on in
/// chunks, which an API that skips bodies of GET runs as requests.
fn check_frames(session: &mut Session) -> std::result::Result<(), Refusal> {
    let head = session.req_header();
    if session.is_http2() && has_no_body(&head.method) && !session.is_body_empty() {
        return Err(Refusal::Malformed("a body on GET, HEAD or OPTIONS"));
    }
    Ok(())
}

/// Waits until an HTTP/2 request has ended that has no body by its method or its `content-length: 0`: Pingora believes
/// it, and the API would have executed the request when DATA shows that it lied. At most `limit`.
pub(super) async fn await_no_body(session: &mut Session, rules: &Rules) -> Result<std::result::Result<(), Refusal>> {
    let limit: Duration = rules.limits.body_read;
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
    match tokio::time::timeout(limit, ended).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "the end of a body without bytes").into_down()),
    }
}

/// An API that skips the body of a GET would run it as the next request, with whatever identity headers the client wrote into
/// it. On a connection that ends with this request there is no next one.
pub(super) fn close_behind_get_body(request: &Request, head: &mut RequestHeader) -> Result<()> {
    if request.oddities.has(Oddity::GetBody) && head.version <= Version::HTTP_11 {
        head.insert_header(CONNECTION, "close")?;
    }
    Ok(())
}

fn has_no_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What Pingora's parser has already taken away: a Content-Length beside Transfer-Encoding, and a fragment. Both are
/// read in another way by some API, so they are looked for in the bytes as they came.
fn check_as_sent(session: &Session) -> std::result::Result<(), Refusal> {
    if session.is_http2() {
        return Ok(());
    }
    let raw = session.to_h1_raw();
    let line = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.contains(&b'#') {
        return Err(Refusal::Path(PathRefusal::Fragment));
    }
    if session.req_header().headers.contains_key(TRANSFER_ENCODING) {
        const NAME: &[u8] = b"content-length";
        let names_a_length = |line: &[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        if raw.split(|byte| *byte == b'\n').any(names_a_length) {
            return Err(Refusal::Malformed("Content-Length and Transfer-Encoding together"));
        }
    }
    Ok(())
}

/// 16 bytes nobody can guess: ids of requests and traces. Drawn for many requests at once, since the generator's price
/// is by the call; each byte is given out once.
fn random() -> [u8; 16] {
    const DRAWN: usize = 1024;
    thread_local! {
        static LEFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LEFT.with_borrow_mut(|left| {
        if left.is_empty() {
            left.resize(DRAWN, 0);
            // Failing here means the system has no randomness at all; an id of zeros is still a valid id.
            let _ = aws_lc_rs::rand::fill(left);
        }
        let mut bytes = [0; 16];
        let rest = left.len().saturating_sub(bytes.len());
        for (byte, drawn) in bytes.iter_mut().zip(left.drain(rest..)) {
            *byte = drawn;
        }
        bytes
    })
}

/// 32 bits of chance; `None` where the system has none.
pub(super) fn draw() -> Option<u32> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Makes the session's head say what was checked; every attempt upstream is a clone of it.
pub(super) fn apply(edits: Edits, session: &mut Session) -> Result<()> {
    let head = session.req_header_mut();
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (name, value) in edits.insert {
        insert(head, name, value)?;
    }
    if let Some(target) = edits.target {
        head.set_raw_path(target.as_bytes())?;
        if head.raw_path() != target.as_bytes() {
            return Error::e_explain(ErrorType::InternalError, "the head does not say what was checked");
        }
    }
    if head.raw_path().first() != Some(&b'/') {
        return Error::e_explain(ErrorType::InternalError, "the head does not say what was checked");
    }
    Ok(())
}

fn insert(head: &mut RequestHeader, name: HeaderName, value: HeaderValue) -> Result<()> {
    match constant(name.as_str()) {
        Some(constant) => head.insert_header(constant, value),
        None => head.insert_header(name, value),
    }
}

/// What is written on every request, as constants: Pingora keeps each name as it is spelled, and would copy it.
fn constant(name: &str) -> Option<&'static str> {
    macro_rules! constants {
        ($($name:literal)*) => { match name { $($name => Some($name),)* _ => None } };
    }
    constants! {
        "forwarded" "traceparent" "x-forwarded-for" "x-forwarded-host" "x-forwarded-proto" "x-request-id"
        "x-crossgate-arm" "x-crossgate-clerk-user" "x-crossgate-legacy-org" "x-crossgate-legacy-user" "x-crossgate-method" "x-crossgate-org" "x-crossgate-org-slug"
        "x-crossgate-permissions" "x-crossgate-request-id" "x-crossgate-role" "x-crossgate-route"
        "x-crossgate-session" "x-crossgate-subject" "x-crossgate-token" "x-crossgate-workspaces"
    }
}

/// The head that leaves.
#[derive(Debug)]
pub(super) struct Outgoing<'a>(pub(super) &'a mut RequestHeader);

impl inject::Head for Outgoing<'_> {
    fn value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.headers.get(name)
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }

    fn names(&self, which: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
        self.0.headers.keys().filter(|name| which(name)).cloned().collect()
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        // Fails only beyond 32,768 headers, far above any limit here; then the header is absent, which denies.
        let _ = insert(self.0, name, value);
    }
}

/// Takes out of an answer what was meant for this hop only (RFC 9110 7.6.1): the API's `Keep-Alive` speaks of another
/// connection than the client's.
pub(super) fn strip_hop_by_hop(answer: &mut ResponseHeader) {
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
pub(super) fn strip_echo(answer: &mut ResponseHeader, names: &HeaderNames) {
    let echoed: Vec<HeaderName> = answer.headers.keys().filter(|name| names.is_twin(name)).cloned().collect();
    for name in &echoed {
        answer.remove_header(name);
    }
}
