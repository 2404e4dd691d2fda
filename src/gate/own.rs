//! Answers that crossgate gives itself: refusals, `OPTIONS *`, preflights.
//!
//! Written by hand, so that a 401 does not close the connection of a load balancer that carries many people's
//! requests (Pingora's own error answers do, and advertise themselves). Where a request's body was not read, Pingora
//! closes all the same, as it must.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora::{Error, Result};
use pingora_proxy::Session;

use super::decide::Refusal;
use super::documents::Document;
use super::passage::Passage;
use super::{Gate, documents, exchange, reply, status};
use crate::request::tolerance::readings;
use crate::request::{self, Oddities, Request, View};
use crate::route;
use crate::snapshot::{Cors, Snapshot};

/// Whether the path is the prefix or below it.
fn is_below(prefix: &str, path: &str) -> bool {
    path.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
}

/// Whose a request is before any route is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The API's: `decide` says what becomes of it.
    Apis,
    /// crossgate answers it itself.
    Own,
    /// Below crossgate's prefix, where nothing is and nothing is proxied.
    Nobodys,
}

/// Whose this one is.
pub fn whose(snapshot: &Snapshot, view: &View<'_>) -> Whose {
    match endpoint(snapshot, view) {
        None => Whose::Apis,
        Some(Endpoint::Nothing) => Whose::Nobodys,
        Some(Endpoint::Document(_) | Endpoint::Exchange | Endpoint::Status) => Whose::Own,
    }
}

/// What crossgate answers itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Endpoint {
    Document(Document),
    Exchange,
    Status,
    /// Its path is below the prefix, and no other of these.
    Nothing,
}

/// Which of them is asked by what came.
pub(super) fn asked(session: &Session, passage: &Passage) -> Option<Endpoint> {
    let request = passage.request.as_deref()?;
    endpoint(&passage.snapshot, &View { request, headers: &session.req_header().headers })
}

fn endpoint(snapshot: &Snapshot, view: &View<'_>) -> Option<Endpoint> {
    let request = view.request;
    if let Some(document) = documents::find(snapshot, request) {
        Some(Endpoint::Document(document))
    } else if exchange::is_asked(snapshot, request) {
        Some(Endpoint::Exchange)
    } else if status::is_asked(snapshot, view) {
        Some(Endpoint::Status)
    } else if is_below(snapshot.endpoints.prefix.as_str(), request.path.as_str()) {
        Some(Endpoint::Nothing)
    } else {
        None
    }
}

/// Its answer.
pub(super) async fn answer(
    gate: &Gate,
    session: &mut Session,
    passage: &mut Passage,
    endpoint: Endpoint,
) -> Result<bool> {
    match endpoint {
        Endpoint::Document(document) => documents::answer(session, passage, document).await,
        Endpoint::Exchange => exchange::answer(gate, session, passage).await,
        Endpoint::Status => status::answer(gate, session, passage).await,
        Endpoint::Nothing => {
            passage.refusal = Some(Refusal::Route(route::Refusal::NoRoute));
            refuse(session, passage).await
        }
    }
}

/// A request that some route may tolerate, at a path that is crossgate's own in any reading: nothing here tolerates
/// anything, and no route may take what stands below the prefix.
pub fn strayed(snapshot: &Snapshot, request: &Request) -> Option<request::Refusal> {
    let oddity = request.oddities.beyond(Oddities::NONE)?;
    let endpoints = &snapshot.endpoints;
    let is_ours = |path: &str| {
        is_below(&endpoints.prefix, path) || endpoints.status.as_ref().is_some_and(|status| status.path == path)
    };
    let path = request.path.as_str();
    let strays = is_ours(path) || readings(path).map_or(true, |all| all.iter().any(|path| is_ours(path.as_str())));
    strays.then(|| oddity.refusal())
}

pub(super) fn is_preflight(passage: &Passage) -> bool {
    passage.request.as_ref().is_some_and(|request| request.preflight.is_some())
}

/// Answers the refusal in the passage.
pub(super) async fn refuse(session: &mut Session, passage: &mut Passage) -> Result<bool> {
    let Some(refusal) = &passage.refusal else { return Ok(true) };
    let kind = session.req_header().headers.get(CONTENT_TYPE);
    let answer = if kind.is_some_and(|kind| reply::is_grpc(kind.as_bytes())) {
        reply::grpc(refusal)
    } else {
        reply::answer(refusal, passage.request_id(), passage.snapshot.endpoints.debug_reasons)
    };
    let mut head = ResponseHeader::build(answer.status, Some(8))?;
    head.insert_header(CONTENT_TYPE, answer.content_type)?;
    for (name, value) in answer.headers {
        head.insert_header(name, value)?;
    }
    send(session, passage, head, answer.body).await
}

/// `OPTIONS *` asks about the server itself.
pub(super) async fn server_options(session: &mut Session, passage: &Passage) -> Result<bool> {
    let mut head = ResponseHeader::build(204, Some(2))?;
    head.insert_header(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    name(&mut head, passage)?;
    session.write_response_header(Box::new(head), true).await.map_err(Error::into_down)?;
    Ok(true)
}

/// Names the snapshot that an answer was decided by, where `telemetry.policy_version_header` says so. What an API sends
/// under this name is taken away with its identity headers.
const POLICY: &str = "x-crossgate-policy";

/// Gives an answer its request's id, whatever the API called it: the log knows it by this one.
pub(super) fn name(head: &mut ResponseHeader, passage: &Passage) -> Result<()> {
    if let Some(id) = &passage.snapshot.shown_id {
        head.insert_header(POLICY, id.clone())?;
    }
    match HeaderValue::from_str(passage.request_id()) {
        Ok(id) if !id.is_empty() => head.insert_header("x-request-id", id),
        _ => Ok(()),
    }
}

/// `cors.preflight: answer`. A page of an origin that is not listed gets an answer without permission.
pub(super) async fn preflight(session: &mut Session, passage: &Passage) -> Result<bool> {
    let mut head = ResponseHeader::build(204, Some(8))?;
    if allow_origin(session, &passage.snapshot.cors, &mut head)? {
        if let Some(asked) = passage.request.as_ref().and_then(|request| request.preflight.as_ref()) {
            head.insert_header(ACCESS_CONTROL_ALLOW_METHODS, asked.as_str())?;
        }
        if let Some(asked) = session.req_header().headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            head.insert_header(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone())?;
        }
        head.insert_header(ACCESS_CONTROL_MAX_AGE, "600")?;
    }
    head.insert_header(CACHE_CONTROL, "no-store")?;
    name(&mut head, passage)?;
    session.write_response_header(Box::new(head), true).await.map_err(Error::into_down)?;
    Ok(true)
}

/// An answer that no cache keeps.
pub(super) async fn send(
    session: &mut Session,
    passage: &Passage,
    mut head: ResponseHeader,
    body: impl Into<Bytes>,
) -> Result<bool> {
    head.insert_header(CACHE_CONTROL, "no-store")?;
    deliver(session, passage, head, body).await
}

/// An answer whose head says how long it may be kept: its length, its request's id and who may read it are added here.
pub(super) async fn deliver(
    session: &mut Session,
    passage: &Passage,
    mut head: ResponseHeader,
    body: impl Into<Bytes>,
) -> Result<bool> {
    let body = body.into();
    head.insert_header(CONTENT_LENGTH, body.len().to_string())?;
    name(&mut head, passage)?;
    allow_origin(session, &passage.snapshot.cors, &mut head)?;
    // gRPC's trailers are only taken for such when the stream ends with them.
    let bodiless = session.req_header().method == Method::HEAD || body.is_empty();
    // Whoever does not take it is gone: no failure of ours.
    session.write_response_header(Box::new(head), bodiless).await.map_err(Error::into_down)?;
    if !bodiless {
        session.write_response_body(Some(body), true).await.map_err(Error::into_down)?;
    }
    Ok(true)
}

/// Lets pages of the listed origins read the answer, and caches tell origins apart.
pub(super) fn allow_origin(session: &Session, cors: &Cors, head: &mut ResponseHeader) -> Result<bool> {
    if cors.origins.is_empty() {
        return Ok(false);
    }
    head.insert_header(VARY, "Origin")?;
    let Some(origin) = session.req_header().headers.get(ORIGIN).filter(|origin| cors.origins.contains(origin)) else {
        return Ok(false);
    };
    head.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
    if cors.credentials {
        head.insert_header(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
    }
    head.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, "www-authenticate, retry-after, x-request-id")?;
    Ok(true)
}
