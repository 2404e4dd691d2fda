//! Between Pingora's heads and the story's: reads one into `request::Head`, applies edits and injections.

use std::cell::RefCell;

use http::header::TRANSFER_ENCODING;
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::bodiless;
use crate::inject;
use crate::request::path::PathRefusal;
use crate::request::{self, Client, Edits, Head, Peer, Refusal, Rules, Sanitized};

/// The first step, on what Pingora read.
pub(super) fn sanitize(session: &mut Session, rules: &Rules) -> std::result::Result<Sanitized, Refusal> {
    bodiless::check_frames(session)?;
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
