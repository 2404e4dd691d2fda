//! `/v1/rollouts`: what the rollout is, and moving it.
//!
//! Translates between HTTP and `rollout`: which moves are allowed is decided there. A change is answered once it is
//! durable.

use std::sync::Arc;

use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::{Value, json};

use super::health::Why;
use super::{Admin, answer, body, json as json_answer, problem, refusals};
use crate::clock;
use crate::identity::clerk::is_hidden;
use crate::rollout::{By, Current, Expected, Move, Percent, Refusal, Rollout};
use crate::snapshot::Scope;

const MAX_REASON: usize = 256;

/// What a path below `/v1/rollouts` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    All,
    One,
    Weight,
    Freeze,
    Resume,
    Rollback,
    Confirm,
}

impl Asked {
    /// With the name of the rollout, where there is one.
    pub(super) fn parse(path: &str) -> Option<(Self, &str)> {
        let rest = path.strip_prefix("/v1/rollouts")?;
        if rest.is_empty() {
            return Some((Self::All, ""));
        }
        let rest = rest.strip_prefix('/')?;
        let (name, action) = rest.split_once('/').unwrap_or((rest, ""));
        let asked = match action {
            "" if !rest.ends_with('/') => Self::One,
            "weight" => Self::Weight,
            "freeze" => Self::Freeze,
            "resume" => Self::Resume,
            "rollback" => Self::Rollback,
            "confirm" => Self::Confirm,
            _ => return None,
        };
        Some((asked, name))
    }

    pub(super) const fn method(self) -> Method {
        match self {
            Self::All | Self::One => Method::GET,
            Self::Weight => Method::PUT,
            Self::Freeze | Self::Resume | Self::Rollback | Self::Confirm => Method::POST,
        }
    }

    /// As the trail names it.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::All | Self::One => "admin.read",
            Self::Weight => "rollout.set",
            Self::Freeze => "rollout.freeze",
            Self::Resume => "rollout.resume",
            Self::Rollback => "rollout.rollback",
            Self::Confirm => "rollout.confirm",
        }
    }

    /// Resuming and confirming lower or end what protects people: their own scope.
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::All | Self::One => Scope::Read,
            Self::Weight | Self::Freeze | Self::Rollback => Scope::RolloutWrite,
            Self::Resume | Self::Confirm => Scope::RolloutResume,
        }
    }

    fn as_move(self, body: &Body) -> Result<Option<Move>, &'static str> {
        if body.percent.is_some() && !matches!(self, Self::Weight | Self::Resume) {
            return Err("`percent` belongs to weight and resume only");
        }
        if body.reshuffle && self != Self::Weight {
            return Err("`reshuffle` belongs to weight only");
        }
        Ok(Some(match self {
            Self::All | Self::One => return Ok(None),
            Self::Weight => {
                let percent = body.percent.ok_or("`percent` is missing, as in {\"percent\":25}")?;
                if body.reshuffle { Move::Reshuffle(percent) } else { Move::Set(percent) }
            }
            Self::Freeze => Move::Freeze,
            Self::Resume => Move::Resume(body.percent),
            Self::Rollback => Move::Rollback,
            Self::Confirm => Move::Confirm,
        }))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "as_written")]
    percent: Option<Percent>,
    reason: Option<String>,
    reshuffle: bool,
}

/// A number's own text counts, which a float would round.
fn as_written<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Percent>, D::Error> {
    use serde::de::Error;
    let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
    let text = raw.get();
    let percent = if text.starts_with('"') {
        serde_json::from_str::<String>(text).map_err(D::Error::custom)?.parse()
    } else {
        text.parse()
    };
    percent.map(Some).map_err(D::Error::custom)
}

/// Answers a request whose sender may ask it.
pub(super) async fn serve(
    admin: &Admin,
    asked: Asked,
    actor: Arc<str>,
    rollout: &Arc<Rollout>,
    session: &mut ServerSession,
) -> Response<Vec<u8>> {
    let expected = match expected(&session.req_header().headers) {
        Ok(expected) => expected,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let body = match read_body(session).await {
        Ok(body) => body,
        Err((status, why)) => return problem(status, &why),
    };
    let action = asked.action();
    let asked = match asked.as_move(&body) {
        Ok(Some(asked)) => asked,
        Ok(None) => return shown(asked, &rollout.current()),
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let by = By { actor: Arc::clone(&actor), at: clock::now().unix_ms };
    let resource = format!("rollout:{}", rollout.current().record.rollout);
    let rollout = Arc::clone(rollout);
    let change = move || rollout.apply(asked, &by, body.reason.as_deref(), expected);
    match tokio::task::spawn_blocking(change).await {
        Ok(Ok(current)) => shown(Asked::One, &current),
        Ok(Err(refusal)) => {
            // What was recorded and then could not be made is told in the trail where it failed.
            if !matches!(refusal, Refusal::Unrecorded(_) | Refusal::Storage(_)) {
                let (code, reason) = (refusal.code(), refusal.to_string());
                let told = refusals::Refusal { who: Some(&actor), action, resource: Some(resource), code, reason };
                refusals::record(admin, session, &told).await;
            }
            refused(&refusal)
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "a bug ended the change"),
    }
}

/// What a GET is answered with.
pub(super) fn shown(asked: Asked, current: &Current) -> Response<Vec<u8>> {
    if asked == Asked::All {
        return json_answer(StatusCode::OK, &json!({ "rollouts": [view(current)] }));
    }
    let mut answer = json_answer(StatusCode::OK, &view(current));
    let tag = format!("\"{}.{}\"", current.record.generation, current.record.revision);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn view(current: &Current) -> Value {
    let record = &current.record;
    let changed_at = jiff::Timestamp::from_millisecond(record.changed_at).map(|at| at.to_string()).ok();
    let mut view = json!({
        "rollout": &*record.rollout,
        "generation": record.generation,
        "revision": record.revision,
        "state": record.guard.as_str(),
        "desired_percent": record.desired,
        "effective_percent": record.effective(),
        "assigned_percent": record.assigned,
        "source": current.source.as_str(),
        "algorithm": record.dealing.algorithm.as_str(),
        "unit": record.dealing.unit.as_str(),
        "salt": &*record.dealing.salt,
        "changed_at": changed_at,
        "changed_by": &*record.changed_by,
        "limits": {
            "max_percent": current.limits.max_percent,
            "max_step": current.limits.max_step,
            "min_dwell_seconds": current.limits.min_dwell.as_secs_f64(),
        },
    });
    let problem = current.problem.as_ref().or(current.unkept.as_ref()).map(ToString::to_string);
    let members = [("problem", problem), ("pending", current.pending_detail())];
    for (name, text) in members {
        if let (Some(members), Some(text)) = (view.as_object_mut(), text) {
            members.insert(name.to_owned(), text.into());
        }
    }
    view
}

/// What `/readyz` says of it. A rollout that is held serves, and says why.
pub(super) fn reasons(current: &Current) -> Vec<Why> {
    let problem = current.problem.as_ref().map(|why| {
        let detail = format!("{} at {} %: {why}", current.record.guard.as_str(), current.record.effective());
        Why::new("rollout_state", detail)
    });
    let unkept = current.unkept.as_ref().map(|why| Why::new("rollout_state", why.to_string()));
    let pending = current.pending_detail().map(|detail| Why::new("rollout_pending", detail));
    problem.into_iter().chain(unkept).chain(pending).collect()
}

fn refused(refusal: &Refusal) -> Response<Vec<u8>> {
    let status = match refusal {
        Refusal::Generation(_) => StatusCode::PRECONDITION_FAILED,
        Refusal::Unrecorded(_) | Refusal::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Source(_)
        | Refusal::Frozen
        | Refusal::RolledBack
        | Refusal::MaxPercent(_)
        | Refusal::MaxStep(_)
        | Refusal::MinDwell(_)
        | Refusal::State(..)
        | Refusal::NotFrozen
        | Refusal::NothingToReshuffle
        | Refusal::Key(_) => StatusCode::CONFLICT,
    };
    let body = json!({
        "type": "about:blank",
        "title": "the rollout is not changed",
        "status": status.as_u16(),
        "code": refusal.code(),
        "detail": refusal.to_string(),
    });
    answer(status, "application/problem+json", serde_json::to_vec(&body).unwrap_or_default())
}

/// `If-Match`: the generation, or the whole tag of an answer.
fn expected(headers: &HeaderMap) -> Result<Option<Expected>, &'static str> {
    const BAD: &str = "If-Match is a generation, as in \"17\", or an ETag as it came";
    let mut lines = headers.get_all(IF_MATCH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("If-Match stands there twice");
    }
    if line == "*" {
        return Ok(None);
    }
    let text = line.to_str().map_err(|_| BAD)?.trim().trim_matches('"');
    let (generation, revision) = match text.split_once('.') {
        Some((generation, revision)) => (generation, Some(revision.parse().map_err(|_| BAD)?)),
        None => (text, None),
    };
    Ok(Some(Expected { generation: generation.parse().map_err(|_| BAD)?, revision }))
}

async fn read_body(session: &mut ServerSession) -> Result<Body, (StatusCode, String)> {
    let posted = body::read(session).await?;
    parse(&posted.bytes, posted.is_json)
}

/// `is_json` is what Content-Type says, if it says anything.
fn parse(body: &[u8], is_json: Option<bool>) -> Result<Body, (StatusCode, String)> {
    if body.is_empty() {
        return Ok(Body::default());
    }
    // A form that a web page posts is never JSON, and a page needs leave (CORS) to post JSON.
    if is_json != Some(true) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json".to_owned()));
    }
    // A list would be read as the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err((StatusCode::BAD_REQUEST, "the body is an object, as in {\"percent\":25}".to_owned()));
    }
    let parsed: Body = serde_json::from_slice(body)
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("the body cannot be read: {why}")))?;
    let is_line = |reason: &str| reason.len() <= MAX_REASON && !reason.chars().any(is_hidden);
    if !parsed.reason.as_deref().is_none_or(is_line) {
        let why = format!("a reason is one line of at most {MAX_REASON} bytes, without hidden characters");
        return Err((StatusCode::BAD_REQUEST, why));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use http::header::IF_MATCH;
    use http::{HeaderMap, HeaderValue};

    use super::{Asked, expected, parse};
    use crate::rollout::Move;

    #[test]
    fn paths() {
        let table = [
            ("/v1/rollouts", Some((Asked::All, ""))),
            ("/v1/rollouts/auth", Some((Asked::One, "auth"))),
            ("/v1/rollouts/auth/weight", Some((Asked::Weight, "auth"))),
            ("/v1/rollouts/auth/confirm", Some((Asked::Confirm, "auth"))),
            ("/v1/rollouts/auth/", None),
            ("/v1/rollouts/auth/verdict", None),
            ("/v1/rollouts/auth/weight/x", None),
            ("/v1/rolloutsx", None),
            ("/v1/rollouts/", Some((Asked::One, ""))),
            ("/v1/rollouts//weight", Some((Asked::Weight, ""))),
        ];
        for (path, want) in table {
            assert_eq!(Asked::parse(path), want, "{path}");
        }
    }

    #[test]
    fn two_if_match_lines_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(IF_MATCH, HeaderValue::from_static("\"1\""));
        assert!(expected(&headers).is_ok_and(|expected| expected.is_some()));
        headers.append(IF_MATCH, HeaderValue::from_static("\"0\""));
        assert!(expected(&headers).is_err());
    }

    #[test]
    fn bodies() {
        let table: &[(Asked, &str, Option<Move>)] = &[
            (Asked::Weight, r#"{"percent":25}"#, Some(Move::Set("25".parse().unwrap()))),
            (Asked::Weight, r#"{"percent":"12.5","reason":"go"}"#, Some(Move::Set("12.5".parse().unwrap()))),
            (Asked::Weight, r#"{"percent":1,"reshuffle":true}"#, Some(Move::Reshuffle("1".parse().unwrap()))),
            (Asked::Weight, "", None),
            (Asked::Weight, "{}", None),
            (Asked::Weight, r#"{"percent":101}"#, None),
            (Asked::Weight, r#"{"percent":-1}"#, None),
            (Asked::Weight, r#"{"percent":0.00001}"#, None),
            (Asked::Weight, r#"{"percent":"NaN"}"#, None),
            (Asked::Weight, r#"{"percent":1,"lease_seconds":5}"#, None),
            (Asked::Weight, r#"{"percent":1,"percent":90}"#, None),
            (Asked::Weight, "[25]", None),
            (Asked::Weight, r#"{"percent":1,"reason":"a\nb"}"#, None),
            (Asked::Weight, r#"{"percent":99.99999999999999999999}"#, None),
            (Asked::Weight, r#"{"percent":24.99999999999999999999}"#, None),
            (Asked::Weight, r#"{"percent":25.00000}"#, None),
            (Asked::Weight, r#"{"percent":1e2}"#, None),
            (Asked::Weight, r#"{"percent":null}"#, None),
            (Asked::Weight, r#"{"percent":[25]}"#, None),
            (Asked::Weight, r#"{"percent": 25.5 }"#, Some(Move::Set("25.5".parse().unwrap()))),
            (Asked::Weight, r#"{"percent":"\u0032"}"#, Some(Move::Set("2".parse().unwrap()))),
            (Asked::Weight, "{\"percent\":1,\"reason\":\"a\u{202e}b\"}", None),
            (Asked::Weight, r#"{"percent":1,"reason":"a\u2028b"}"#, None),
            (Asked::Weight, r#"{"percent":1,"reason":"a\u200bb"}"#, None),
            (Asked::Weight, r#"{"percent":1,"reason":"Grüße, 25 %"}"#, Some(Move::Set("1".parse().unwrap()))),
            (Asked::Freeze, "", Some(Move::Freeze)),
            (Asked::Freeze, r#"{"reason":"x"}"#, Some(Move::Freeze)),
            (Asked::Freeze, r#"{"percent":1}"#, None),
            (Asked::Resume, "", Some(Move::Resume(None))),
            (Asked::Resume, r#"{"percent":5}"#, Some(Move::Resume("5".parse().ok()))),
            (Asked::Resume, r#"{"reshuffle":true}"#, None),
        ];
        for (asked, body, want) in table {
            let told = parse(body.as_bytes(), Some(true)).ok().and_then(|body| asked.as_move(&body).ok().flatten());
            assert_eq!(told, *want, "{asked:?} {body}");
        }
        for is_json in [None, Some(false)] {
            assert!(parse(b"{}", is_json).is_err());
            assert!(parse(b"", is_json).is_ok());
        }
    }
}
