//! The end of a request: metrics and the access line.
//!
//! Never runs for a task that was cancelled or panicked; what must not be lost is therefore never written here first.

use std::borrow::Cow;

use pingora::Error;
use pingora_proxy::Session;

use super::Gate;
use super::decide::Refusal;
use super::passage::Passage;
use super::reply::{self, Code};
use crate::clock;
use crate::guard::Slow;
use crate::rollout::Side;
use crate::snapshot::Snapshot;
use crate::telemetry::access::Line;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::Ended;

/// Bytes of a path in a log line.
const PATH_CAP: usize = 1024;

pub(super) fn close(gate: &Gate, session: &Session, error: Option<&Error>, passage: &Passage) {
    let metrics = metrics(passage);
    let took = passage.started.elapsed();
    metrics.took(passage.arm, took.as_secs_f64());
    let reported = passage.permit.as_ref().and_then(|permit| permit.reported()).map(reply::reported_code);
    if let Some(code) = reported {
        metrics.report(code);
    }
    match &passage.refusal {
        Some(Refusal::Upstream(code)) if passage.permit.is_some() => metrics.failed(passage.arm, *code),
        Some(refusal) => metrics.deny(passage.arm, refusal.code(), refusal.fault()),
        None => metrics.allow(passage.arm),
    }
    if let Some(Refusal::Upstream(Code::Internal)) = &passage.refusal {
        // The one failure that is crossgate's own: said even where nobody keeps an access log.
        tracing::error!(request_id = passage.request_id(), kind = failure(error), "an internal error ended a request");
    }
    if let (Some(rollout), Some(side), Some(_)) = (&passage.rollout, passage.arm, &passage.identity) {
        rollout.count(side);
    }
    if let Some(status) = passage.upstream_status {
        metrics.answered(passage.arm, status);
    }
    if gate.log.is_on() {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        write(gate, session, error, passage, took, reported);
    }
}

fn metrics(passage: &Passage) -> &RouteMetrics {
    let Snapshot { metrics, unrouted, .. } = &*passage.snapshot;
    passage.route.and_then(|index| metrics.get(index)).unwrap_or(unrouted)
}

fn write(gate: &Gate, session: &Session, error: Option<&Error>, passage: &Passage, took: u64, reported: Option<Code>) {
    let request = passage.request.as_deref();
    let client = passage.client();
    let snapshot = &passage.snapshot;
    let identity = passage.identity.as_ref().map(|(identity, _)| identity);
    let refusal = passage.refusal.as_ref();
    let upstream = passage.permit.as_ref().and_then(|permit| snapshot.upstreams.get(permit.upstream()));
    let path = request.map(|request| capped(request.path.as_str()));
    gate.log.write(&Line {
        time: rfc3339(clock::now().unix_ms),
        request_id: passage.request_id(),
        trace: client.map_or("", |client| trace_id(&client.traceparent)),
        client: client.map_or_else(String::new, |client| client.address.to_string()),
        peer: client.map_or_else(String::new, |client| client.peer.to_string()),
        method: session.req_header().method.as_str().get(..16).unwrap_or(session.req_header().method.as_str()),
        host: request.and_then(|request| request.host.as_deref()),
        path: path.as_deref(),
        route: passage.route.and_then(|index| snapshot.routes.get(index)).map(|route| &*route.id),
        decision: if is_denied(passage) { "deny" } else { "allow" },
        code: refusal.map_or("ok", |refusal| refusal.code().as_str()),
        reason: match refusal {
            None | Some(Refusal::Upstream(_)) => failure(error),
            Some(refusal) => Some(refusal.reason()),
        },
        reported: reported.map(Code::as_str),
        subject: identity.map(|identity| identity.facts.subject.as_str()),
        org: identity.and_then(|identity| identity.facts.org.as_ref()).map(|org| org.id.as_str()),
        arm: passage.arm.map(Side::as_str),
        status: session.response_written().map_or(0, |head| head.status.as_u16()),
        ended: passage.ended().map(Ended::as_str).or(passage.slow.map(Slow::as_str)),
        duration_us: took,
        bytes_in: u64::try_from(session.body_bytes_read()).unwrap_or(u64::MAX),
        bytes_out: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
        upstream: upstream.map(|upstream| &*upstream.name),
        snapshot: &snapshot.id,
    });
}

/// A permitted request whose API failed was not denied.
fn is_denied(passage: &Passage) -> bool {
    match &passage.refusal {
        None => false,
        Some(Refusal::Upstream(_)) => passage.permit.is_none(),
        Some(_) => true,
    }
}

/// The kind of a failure below; its text could name peers or carry bytes of the request.
fn failure(error: Option<&Error>) -> Option<String> {
    error.map(|error| format!("{} {}", error.esource().as_str(), error.etype().as_str()))
}

fn capped(path: &str) -> Cow<'_, str> {
    // Canonical paths are ASCII, so every index is a character boundary.
    match path.get(..PATH_CAP) {
        Some(head) if path.len() > PATH_CAP => Cow::Owned(format!("{head}…")),
        _ => Cow::Borrowed(path),
    }
}

fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"))
}
