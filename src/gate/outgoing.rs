//! The head that goes up: it says who calls, by a permit, or it does not go.

use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

use super::passage::Passage;
use super::{bodiless, credentials, record, wire};
use crate::inject::{self, Context};
use crate::rollout::Side;

/// Every attempt's is a fresh copy of the client's.
///
/// # Errors
/// There is no permit, or no record of what must not happen unrecorded.
pub(super) fn identify(head: &mut RequestHeader, passage: &Passage) -> Result<()> {
    let (Some(permit), Some(request)) = (&passage.permit, &passage.request) else {
        return Error::e_explain(ErrorType::InternalError, "no permit: nothing goes upstream");
    };
    if !record::may_go_up(passage) {
        return Error::e_explain(ErrorType::InternalError, "no record: nothing privileged goes upstream");
    }
    let snapshot = &passage.snapshot;
    let route = snapshot.routes.get(permit.route_index());
    let ours = credentials::ByContent(snapshot);
    let context = Context {
        names: &snapshot.headers,
        route: route.map_or("", |route| &route.id),
        arm: passage.side.map_or("none", Side::as_str),
        request_id: &request.client.request_id,
        own: credentials::own(snapshot, permit, request, (passage.proven, passage.bearer), &ours),
        issued: &passage.issued,
    };
    inject::inject(permit, &context, &mut wire::Outgoing(head));
    bodiless::close_behind(request, head)
}
