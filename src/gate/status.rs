//! `endpoints.status`: the answer to a frontend that asks who is signed in.
//!
//! Always 200, also when nobody is, and never proxied: a frontend that polls it must not be logged out by the answer, nor by
//! a key server. What is true is found by `decide`; here it becomes a response that no cache keeps, that pages of other
//! sites cannot read, and that holds nothing of a credential. Leaves no entry in the trail.

use http::Method;
use http::header::{CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::ask::fetch_aside;
use super::decide::{Asked, standing};
use super::passage::Passage;
use super::{Gate, own, reply};
use crate::clock;
use crate::request::View;
use crate::snapshot::Snapshot;

/// Whether this is asked, or a browser asks whether its page may ask.
pub(super) fn is_asked(snapshot: &Snapshot, view: &View<'_>) -> bool {
    let Some(status) = &snapshot.endpoints.status else { return false };
    let is_here =
        matches!(*view.routed_method(), Method::GET | Method::HEAD) && view.request.path.as_str() == status.path;
    // A route with a `{…}` is as good as everywhere: only one that names this path is about it.
    let is_apis = || snapshot.routes.as_sent(view).is_some_and(|route| route.pattern.names().len() == 0);
    is_here && !(status.gives_way && is_apis())
}

/// Answers it.
pub(super) async fn answer(gate: &Gate, session: &mut Session, passage: &Passage) -> Result<bool> {
    let Some(request) = passage.request.as_deref() else { return Ok(true) };
    if own::is_preflight(passage) {
        // The API knows nothing of this path. Whoever sends a header of their own asks first.
        return own::preflight(session, passage).await;
    }
    let view = View { request, headers: &session.req_header().headers };
    let Asked { status, refetch } = gate
        .ask(passage, request.client.address, |tries, spent| {
            standing(passage.world(), &view, tries, (clock::now(), reply::random()), spent)
        })
        .await;
    fetch_aside(refetch);
    let body = status.render(passage.snapshot.endpoints.status.as_ref().and_then(|status| status.body.as_ref()));
    let mut head = ResponseHeader::build(200, Some(10))?;
    head.insert_header(CONTENT_TYPE, "application/json")?;
    // A page of another site could include JSON as a script or a style.
    head.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    head.insert_header(VARY, "Origin")?;
    own::send(session, passage, head, body).await
}
