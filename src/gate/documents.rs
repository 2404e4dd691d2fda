//! What crossgate publishes about itself below its prefix: the keys of its assertions, and where to find them.

use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::own;
use super::passage::Passage;
use crate::clock;
use crate::issuer::Assertion;
use crate::request::Request;
use crate::snapshot::Snapshot;

/// A document that anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    KeySet,
    Discovery,
}

/// The one that is asked for.
pub(super) fn find(snapshot: &Snapshot, request: &Request) -> Option<Document> {
    snapshot.assertion.as_ref()?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.path.as_str().strip_prefix(&*snapshot.endpoints.prefix)?;
    match path {
        "/.well-known/jwks.json" => Some(Document::KeySet),
        "/.well-known/openid-configuration" => Some(Document::Discovery),
        _ => None,
    }
}

/// Answers with it.
pub(super) async fn answer(session: &mut Session, passage: &Passage, document: Document) -> Result<bool> {
    let Some((kind, body, max_age)) = passage.snapshot.assertion.as_ref().map(|assertion| written(assertion, document))
    else {
        return Ok(true);
    };
    let mut head = ResponseHeader::build(200, Some(8))?;
    head.insert_header(CONTENT_TYPE, kind)?;
    head.insert_header(CACHE_CONTROL, format!("public, max-age={max_age}"))?;
    own::deliver(session, passage, head, body).await
}

fn written(assertion: &Assertion, document: Document) -> (&'static str, String, u64) {
    let (kind, body) = match document {
        // RFC 7517 8.5; no charset, which some verifiers refuse.
        Document::KeySet => ("application/jwk-set+json", assertion.key_set(clock::now())),
        Document::Discovery => ("application/json", assertion.discovery(clock::now())),
    };
    (kind, body.to_string(), assertion.max_age())
}
