//! `POST /v1/explain`: the decision on one request that is only described, by the snapshot and the rollout that serve now.
//!
//! The same answer as `crossgate explain --format json` gives. Nothing comes of it: no entry in the trail, no budget of
//! anybody's, no metric of traffic, nothing in a cache, no request to the API. A legacy server is asked, as the gate would
//! ask it, about what is not remembered.

use std::sync::Arc;

use http::StatusCode;
use pingora::protocols::http::ServerSession;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Admin, answer, body, problem};
use crate::clock;
use crate::explain::{self, Explained, Posted, Read, Senseless, show};
use crate::gate::decide::World;

/// Questions at once; each may wait for a legacy server, which is not asked more than this on our account.
static TURNS: Semaphore = Semaphore::const_new(4);

pub(super) const PATH: &str = "/v1/explain";

/// Answers it.
pub(super) async fn serve(admin: &Admin, session: &mut ServerSession) -> http::Response<Vec<u8>> {
    let posted = match body::read(session).await {
        Ok(posted) => posted,
        Err((status, why)) => return problem(status, &why),
    };
    // A form that a web page posts is never JSON, and a page needs leave (CORS) to post JSON.
    if posted.is_json != Some(true) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json");
    }
    // Whoever sends slowly holds nobody up.
    let Ok(_turn) = TURNS.try_acquire() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once: ask again");
    };
    let snapshot = admin.live.load_full();
    let question = match Posted::parse(&posted.bytes, &snapshot) {
        Ok(question) => question,
        Err(senseless) => return refused(&senseless),
    };
    let Posted { asked, person, at } = question;
    let now = at.unwrap_or_else(clock::now);
    let rollout = admin.rollout.as_ref().map(|rollout| Arc::clone(&rollout.current()));
    let world = World { snapshot: &snapshot, rollout: rollout.as_deref() };
    let explained: Result<Explained, String> = match (explain::read(asked, &snapshot), &person) {
        (Read::Refused(explained), _) => Ok(explained),
        (Read::OfTheServer, _) => Err("crossgate answers this itself: no route is asked".to_owned()),
        (Read::Question(question), None) => Ok(question.ask(world, now).await),
        (Read::Question(question), Some(person)) => question.assume(world, person, now),
    };
    match explained {
        Ok(explained) => super::json(StatusCode::OK, &show::to_json(&explained, &snapshot)),
        Err(problem) => refused(&Senseless { field: Some("url"), problem }),
    }
}

fn refused(senseless: &Senseless) -> http::Response<Vec<u8>> {
    let Senseless { field, problem } = senseless;
    let detail = field.map_or_else(|| problem.clone(), |field| format!("{field}: {problem}"));
    let body = json!({
        "type": "about:blank",
        "title": "this is no question",
        "status": 400,
        "field": field,
        "detail": detail,
    });
    answer(StatusCode::BAD_REQUEST, "application/problem+json", serde_json::to_vec(&body).unwrap_or_default())
}
