//! `POST /v1/reload`: files and key sets are read again, now.
//!
//! Answered once the new config serves, or with everything that is wrong with it. What is read, and by whom, is
//! `reload`'s; here it becomes HTTP.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use super::{json as json_answer, problem, view};
use crate::clock;
use crate::reload::{By, Outcome, Reloads, Verdict};

pub(super) const PATH: &str = "/v1/reload";

/// Longest wait for the end of a request that has no body.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Reloads in the name of `actor`.
pub(super) async fn serve(actor: Arc<str>, reloads: &Reloads, session: &mut ServerSession) -> Response<Vec<u8>> {
    if !has_no_body(session).await {
        return problem(StatusCode::BAD_REQUEST, "a reload takes no body: it reads what the files say");
    }
    match reloads.reload(By::Admin(actor)).await {
        Some(outcome) if outcome.verdict == Verdict::Refused => refused(&outcome),
        Some(outcome) if outcome.verdict == Verdict::Unsettled => problem(
            StatusCode::CONFLICT,
            "the files change faster than they can be read, the last good config serves: ask again",
        ),
        Some(outcome) => json_answer(StatusCode::OK, &loaded(&outcome)),
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "a bug ended the thread that reloads"),
    }
}

/// Clients send `{}`, too, when they must send something.
async fn has_no_body(session: &mut ServerSession) -> bool {
    let read = async {
        let mut body = Vec::new();
        while let Ok(Some(piece)) = session.read_request_body().await {
            body.extend_from_slice(&piece);
            if body.len() > 64 {
                break;
            }
        }
        body
    };
    let read = tokio::time::timeout(BODY_WAIT, read).await;
    read.is_ok_and(|body| matches!(body.trim_ascii(), b"" | b"{}"))
}

/// As `GET /v1/snapshot`, with what `check` would warn about.
fn loaded(outcome: &Outcome) -> Value {
    let mut shown = view::snapshot(&outcome.snapshot, clock::now());
    let more = json!({
        "warnings": outcome.problems,
        "restart_needed": outcome.restart_needed,
        "routes_gone": {
            "count": outcome.gone.count,
            "guarded": outcome.gone.guarded,
            "ids": outcome.gone.ids.iter().map(|id| &**id).collect::<Vec<_>>(),
        },
    });
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}

/// As `check --format json`, in the form of a problem.
fn refused(outcome: &Outcome) -> Response<Vec<u8>> {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let mut body = json!({
        "type": "about:blank",
        "title": "the new config is refused, the last good one serves",
        "status": status.as_u16(),
        "code": "config_refused",
        "snapshot": &*outcome.snapshot.id,
    });
    if let (Some(body), Value::Object(report)) = (body.as_object_mut(), outcome.report()) {
        body.extend(report);
    }
    let mut answer = json_answer(status, &body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    answer
}
