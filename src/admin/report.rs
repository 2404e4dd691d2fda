//! `/v1/report`: what the routes in report mode would have refused.
//!
//! Only reads. Names principals by subject, as the audit trail does, so that it needs the scope `read`.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{json as json_answer, problem};
use crate::route::Route;
use crate::snapshot::Snapshot;
use crate::telemetry::tally::{Tally, ToldReason};

/// Principals of each reason where all routes are asked for, so that ten thousand of them still make an answer.
const PRINCIPALS_OF_ALL: usize = 5;

/// Where one route is asked for: all that are held.
const PRINCIPALS_OF_ONE: usize = 200;

/// The route that a path asks for; `Some(None)` is all of them.
pub(super) fn asked(path: &str) -> Option<Option<&str>> {
    let rest = path.strip_prefix("/v1/report")?;
    if rest.is_empty() {
        return Some(None);
    }
    rest.strip_prefix('/').filter(|route| !route.is_empty()).map(Some)
}

pub(super) fn answer(asked: Option<&str>, snapshot: &Snapshot) -> Response<Vec<u8>> {
    let mut all = snapshot.tallies.iter().filter_map(|(route, tally)| Some((snapshot.routes.get(route)?, tally)));
    let Some(id) = asked else {
        let routes: Vec<_> = all.map(|(route, tally)| view(route, tally, PRINCIPALS_OF_ALL)).collect();
        return json_answer(StatusCode::OK, &json!({ "routes": routes }));
    };
    match all.find(|(route, _)| *route.id == *id) {
        Some((route, tally)) => {
            json_answer(StatusCode::OK, &json!({ "routes": [view(route, tally, PRINCIPALS_OF_ONE)] }))
        }
        None if snapshot.routes.iter().any(|route| *route.id == *id) => {
            problem(StatusCode::NOT_FOUND, "this route is not in report mode: it is enforced")
        }
        None => problem(StatusCode::NOT_FOUND, "there is no route of this id"),
    }
}

fn view(route: &Route, tally: &Tally, principals: usize) -> Value {
    let told = tally.told(principals);
    json!({
        "route": &*route.id,
        "access": route.access.as_str(),
        "mode": route.mode.as_str(),
        "since": time(told.since),
        "seen": told.seen,
        "would_refuse": told.would_refuse(),
        "last": told.last().map(time),
        "reasons": told.reasons.iter().map(reason).collect::<Vec<_>>(),
    })
}

fn reason(reason: &ToldReason) -> Value {
    let principals = reason.principals.iter();
    let principals =
        principals.map(|one| json!({ "subject": one.subject.as_deref(), "count": one.count, "last": time(one.last) }));
    json!({
        "status": reason.code.status(),
        "code": reason.code.as_str(),
        "predicate": reason.predicate,
        "count": reason.count,
        "first": time(reason.first),
        "last": time(reason.last),
        "principals": principals.collect::<Vec<_>>(),
        "more": {
            "principals": reason.more.principals,
            "requests": reason.more.requests,
            "others": reason.more.others,
        },
    })
}

/// RFC 3339 in UTC, to the second.
fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| "-".to_owned(), |time| format!("{time:.0}"))
}
