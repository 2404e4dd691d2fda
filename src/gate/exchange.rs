//! `POST /.crossgate/token`: a person's credential for a runner token (RFC 8693).
//!
//! ```text
//! form      the body, read within its deadline and parsed
//! subject   who the credential names, by the bar of a privileged route
//! terms     audience, org and scopes that this person may have
//! once      a legacy credential is reserved: it converts once
//! record    durable in the trail before anything leaves
//! ```
//!
//! Only the form counts: whatever credentials the request itself carries are not looked at, so that no page can make a
//! browser exchange somebody's cookie. Errors are those of RFC 6749 5.2 and say nothing that the client did not know.

mod form;
mod subject;

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, PRAGMA, RETRY_AFTER};
use http::{HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora::{Error as Failure, ErrorType, Result};
use pingora_proxy::Session;
use serde_json::json;

use super::Gate;
use super::decide::Refusal;
use super::passage::Passage;
use super::reply::{self, Code};
use super::{own, record};
use crate::clock;
use crate::guard;
use crate::identity::{Facts, Login, Method as Way, TokenKind, runner};
use crate::issuer::{self, Grant, NotGranted, Reservation, Runner, Spent, Unreserved};
use crate::policy::{self, Why};
use crate::request;
use crate::snapshot::Snapshot;
use form::{Asked, Error, Told};

/// A form with two long tokens is a tenth of it.
const MAX_BODY: usize = 64 << 10;
/// How long a credential without an end is remembered.
const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// Legacy credentials are taken for a little longer than they say.
const LEEWAY_MS: i64 = 10_000;

/// Why nothing is issued: what the client is told, and what the trail and the access line say.
struct Denied {
    told: Told,
    why: Refusal,
}

impl Denied {
    /// Of the request's form.
    const fn form(told: Told) -> Self {
        Self { told, why: Refusal::Request(request::Refusal::Malformed(told.1)) }
    }

    /// Of what may be asked for.
    const fn forbidden(told: Told, predicate: &'static str) -> Self {
        Self { told, why: Refusal::Policy(policy::Refusal::Forbidden { predicate, why: Why::False }) }
    }

    fn later(why: Refusal) -> Self {
        Self { told: (Error::TemporarilyUnavailable, "this cannot be done now: try again"), why }
    }
}

/// What is handed out.
struct Issued {
    grant: Grant,
    kind: form::Kind,
    scope: String,
}

/// Whether a request is for this endpoint.
pub(super) fn is_asked(snapshot: &Snapshot, request: &request::Request) -> bool {
    snapshot.runner.is_some() && request.path.as_str().strip_prefix(&*snapshot.endpoints.prefix) == Some("/token")
}

/// By which rules a request is read: a form that is too large is answered here, in the words of this endpoint, whatever
/// `limits.body` is.
pub(super) fn rules<'a>(snapshot: &'a Snapshot, session: &Session) -> Cow<'a, request::Rules> {
    let rules = &snapshot.request;
    let path = session.req_header().uri.path();
    let is_here = || snapshot.runner.is_some() && path.strip_prefix(&*snapshot.endpoints.prefix) == Some("/token");
    if rules.limits.body.is_none() || !is_here() {
        return Cow::Borrowed(rules);
    }
    let limits = request::Limits { body: None, ..rules.limits };
    Cow::Owned(request::Rules { limits, ..rules.clone() })
}

/// Answers with a token, or says why there is none.
pub(super) async fn answer(gate: &Gate, session: &mut Session, passage: &mut Passage) -> Result<bool> {
    if session.req_header().method != Method::POST {
        return not_allowed(session, passage).await;
    }
    passage.exchange = Some(String::new());
    let issued = match read(session, passage).await? {
        Ok(body) => exchange(gate, session, passage, &body).await,
        Err(denied) => Err(denied),
    };
    let issued = match issued {
        Err(denied) if !record::refused_exchange(gate, session, passage, &denied.why).await => {
            Err(Denied::later(Refusal::Audit))
        }
        other => other,
    };
    gate.metrics.token_exchange(issued.as_ref().map_or_else(|denied| denied.told.0.as_str(), |_| "issued"));
    match issued {
        Ok(issued) => granted(session, passage, issued).await,
        Err(denied) => refuse(session, passage, denied).await,
    }
}

/// The body, or why it is none.
///
/// # Errors
/// The client is gone, or too slow.
async fn read(session: &mut Session, passage: &mut Passage) -> Result<std::result::Result<Vec<u8>, Denied>> {
    const NO_FORM: Told = (Error::InvalidRequest, "the body has to be application/x-www-form-urlencoded");
    let too_large = || {
        let told = (Error::InvalidRequest, "the body is larger than 64 KiB");
        Ok(Err(Denied { told, why: Refusal::Request(request::Refusal::BodyTooLarge) }))
    };
    let headers = &session.req_header().headers;
    let is_form = |kind: &HeaderValue| form::is_form(kind.as_bytes());
    if !headers.get(CONTENT_TYPE).is_some_and(is_form) {
        return Ok(Err(Denied::form(NO_FORM)));
    }
    let limits = passage.snapshot.request.limits;
    let limit = limits.body.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_BODY).min(MAX_BODY);
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return too_large();
    }
    if headers.contains_key(EXPECT) && !session.is_http2() {
        session.as_downstream_mut().write_continue_response().await.map_err(Failure::into_down)?;
    }
    guard::awaits_body(session.as_downstream().stream(), true);
    let mut body = Vec::new();
    let whole = async {
        while let Some(chunk) = session.as_downstream_mut().read_request_body().await.map_err(Failure::into_down)? {
            if body.len() + chunk.len() > limit {
                return Ok(false);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(true)
    };
    // The whole of it within what others may rest between two bytes: it is small.
    let read = tokio::time::timeout(limits.body_read, whole).await;
    guard::awaits_body(session.as_downstream().stream(), false);
    match read {
        Ok(Ok(true)) => Ok(Ok(body)),
        Ok(Ok(false)) => too_large(),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            passage.refusal = Some(Refusal::Upstream(Code::RequestTimeout));
            Err(Failure::explain(ErrorType::ReadTimedout, "a form that took too long").into_down())
        }
    }
}

async fn exchange(
    gate: &Gate,
    session: &Session,
    passage: &mut Passage,
    body: &[u8],
) -> std::result::Result<Issued, Denied> {
    let asked = form::parse(body).map_err(Denied::form)?;
    let snapshot = std::sync::Arc::clone(&passage.snapshot);
    // INVARIANT: without one the endpoint is not there.
    let Some(runner) = &snapshot.runner else { return Err(Denied::later(Refusal::Upstream(Code::Internal))) };
    let person = subject::person(gate, passage, &asked).await?;
    let facts = &person.facts;
    if asked.is_refresh_token && facts.method.login() == Login::Clerk {
        return Err(Denied::form((Error::InvalidRequest, "a session of Clerk's is no refresh_token: say jwt")));
    }
    target(runner, &asked, facts)?;
    let scopes = scopes(&snapshot, runner, &asked, facts)?;
    let now = clock::now();
    let is_legacy = facts.method.login() == Login::Legacy;
    let reserved = if is_legacy { Some(reserve(&snapshot, runner, &asked.subject, facts).await?) } else { None };
    let until_ms = facts.expires_at_ms.filter(|_| is_legacy);
    let id = crate::audit::Id::random().to_string();
    let grant = runner.grant(facts, &scopes, &snapshot.linking, until_ms, &id, now).map_err(|why| match why {
        NotGranted::NotSigned => Denied::later(Refusal::Upstream(Code::Internal)),
        NotGranted::TooLarge => {
            Denied::form((Error::InvalidRequest, "the subject's org and workspaces do not fit into a token"))
        }
        NotGranted::EndsTooSoon => Denied::form((Error::InvalidRequest, "the subject token ends within a minute")),
    })?;
    let scope = scopes.join(" ");
    passage.exchange = Some(format!("{} {scope}", runner.spec().names.audience));
    record::exchange(gate, session, passage).await.map_err(|_| Denied::later(Refusal::Audit))?;
    if let Some(reserved) = reserved {
        keep(reserved).await?;
    }
    Ok(Issued { grant, kind: asked.kind, scope })
}

/// One audience and no other; the org is that of the credential, and can only be confirmed.
fn target(runner: &Runner, asked: &Asked, facts: &Facts) -> std::result::Result<(), Denied> {
    if asked.audience.as_ref().is_some_and(|audience| **audience != *runner.spec().names.audience) {
        let told = (Error::InvalidTarget, "no tokens are issued for this audience");
        return Err(Denied::forbidden(told, "audience"));
    }
    let id = facts.org.as_ref().map(|org| &org.id);
    let mut names = facts.canonical_org.iter().chain(id).chain(&facts.legacy_org).chain(&facts.merged_orgs);
    match &asked.org {
        Some(org) if !names.any(|name| name == org) => {
            let told = (Error::InvalidTarget, "the subject token is for another org: switch to it, and exchange again");
            Err(Denied::forbidden(told, "org"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The scopes that the token gets.
fn scopes<'a>(
    snapshot: &crate::snapshot::Snapshot,
    runner: &'a Runner,
    asked: &Asked,
    facts: &Facts,
) -> std::result::Result<Vec<&'a str>, Denied> {
    let mut as_runner = Facts {
        method: Way::Runner(facts.method.login()),
        token: TokenKind::Runner,
        // A token that is used for minutes says nothing of when somebody proved a factor.
        factor_ages: None,
        ..facts.clone()
    };
    let mut may = |scope: &str| {
        as_runner.scopes = Some(vec![scope.to_owned()]);
        let mut asking = snapshot
            .policies
            .iter()
            .filter(|policy| policy.takes(TokenKind::Runner) && policy.scopes().contains(&scope))
            .peekable();
        // What no route asks for grants nothing.
        asking.peek().is_none() || asking.any(|policy| policy.could_permit(&as_runner))
    };
    let known = runner.spec().scopes.iter().map(|scope| &**scope);
    let refused = |description| Denied::forbidden((Error::InvalidScope, description), "scope");
    let Some(wanted) = &asked.scopes else {
        let all: Vec<&str> = known.filter(|scope| may(scope)).collect();
        return if all.is_empty() { Err(refused("the subject may have none of the scopes")) } else { Ok(all) };
    };
    let mut given = Vec::new();
    for scope in wanted {
        match known.clone().find(|known| known == scope).filter(|scope| may(scope)) {
            Some(scope) => given.push(scope),
            None => return Err(refused("a scope that was asked for is unknown, or not the subject's to have")),
        }
    }
    Ok(given)
}

/// Keeps anybody else from exchanging the same legacy credential.
async fn reserve(
    snapshot: &crate::snapshot::Snapshot,
    runner: &Runner,
    credential: &str,
    facts: &Facts,
) -> std::result::Result<Reservation, Denied> {
    let now_ms = clock::now().unix_ms;
    // Of a token, what was signed: a signature can be written in two ways, and both are one credential. Of any, what it
    // says once nothing in it is escaped: a cookie's reader may have undone that.
    let plain = issuer::plain(credential);
    let what = runner::signing_input(&plain).unwrap_or(&plain);
    let broken = || Denied::later(Refusal::Upstream(Code::Internal));
    let told = snapshot.legacy.as_ref().and_then(|legacy| legacy.name_of(facts));
    // Tokens that are verified here have one spelling; a server may take several.
    let is_asked = snapshot.legacy.as_ref().is_some_and(|legacy| legacy.is_asked());
    let folded = is_asked.then(|| issuer::folded(what)).filter(|folded| folded != what);
    let names = [Some(what), told.as_deref(), folded.as_deref()];
    let names = names.into_iter().flatten().map(sha256).collect::<Option<Vec<_>>>();
    let names = names.ok_or_else(broken)?;
    // As the login names them: a canonical id may be another one after a reload.
    let whose = sha256(facts.legacy_user.as_deref().unwrap_or(&facts.subject));
    let person = *whose.as_ref().and_then(|digest| digest.first_chunk()).ok_or_else(broken)?;
    let until_ms = facts.expires_at_ms.unwrap_or(now_ms.saturating_add(REMEMBERED_MS)).saturating_add(LEEWAY_MS);
    let once = std::sync::Arc::clone(runner.once());
    let spent = Spent { names, person, until_ms };
    let reserved = tokio::task::spawn_blocking(move || once.reserve(spent, now_ms)).await;
    match reserved.map_err(|_| broken())? {
        Ok(reservation) => Ok(reservation),
        Err(why) => Err(unreserved(&why)),
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()
}

fn unreserved(why: &Unreserved) -> Denied {
    match why {
        Unreserved::Used => {
            let told = (Error::InvalidRequest, "a legacy credential converts once: sign in again");
            Denied::forbidden(told, "once")
        }
        Unreserved::TooMany => {
            let told = (Error::InvalidRequest, "too many legacy credentials of this person were converted: wait");
            Denied::forbidden(told, "conversions")
        }
        Unreserved::Full => {
            tracing::error!("no more converted legacy credentials can be remembered until older ones have expired");
            Denied::later(Refusal::Upstream(Code::Internal))
        }
        Unreserved::Disk(problem) => {
            tracing::error!(%problem, "a converted legacy credential cannot be remembered: none is exchanged");
            Denied::later(Refusal::Upstream(Code::Internal))
        }
    }
}

async fn keep(reserved: Reservation) -> std::result::Result<(), Denied> {
    let kept = tokio::task::spawn_blocking(move || reserved.keep(clock::now().unix_ms)).await;
    match kept {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(unreserved(&why)),
        Err(_) => Err(Denied::later(Refusal::Upstream(Code::Internal))),
    }
}

async fn granted(session: &mut Session, passage: &Passage, issued: Issued) -> Result<bool> {
    let Issued { grant: Grant { token, expires_in }, kind, scope } = issued;
    let body = json!({
        "access_token": token, "issued_token_type": kind.uri(), "token_type": "Bearer", "expires_in": expires_in,
        "scope": scope,
    });
    write(session, passage, ResponseHeader::build(200, Some(8))?, body.to_string()).await
}

async fn refuse(session: &mut Session, passage: &mut Passage, denied: Denied) -> Result<bool> {
    let Denied { told: (error, description), why } = denied;
    let status = match (error, &why) {
        (Error::TemporarilyUnavailable, _) => 503,
        (_, Refusal::Request(request::Refusal::BodyTooLarge)) => 413,
        _ => 400,
    };
    let mut head = ResponseHeader::build(status, Some(8))?;
    if status == 503 {
        head.insert_header(RETRY_AFTER, reply::come_again(why.code()).to_string())?;
    }
    passage.refusal = Some(why);
    let body = json!({ "error": error.as_str(), "error_description": description });
    write(session, passage, head, body.to_string()).await
}

async fn not_allowed(session: &mut Session, passage: &mut Passage) -> Result<bool> {
    let refusal = Refusal::Request(request::Refusal::Method);
    let answer = reply::answer(&refusal, passage.request_id(), passage.snapshot.endpoints.debug_reasons);
    passage.refusal = Some(refusal);
    let mut head = ResponseHeader::build(answer.status, Some(8))?;
    head.insert_header(CONTENT_TYPE, answer.content_type)?;
    head.insert_header(ALLOW, "POST")?;
    own::send(session, passage, head, answer.body).await
}

/// RFC 6749 5.1: kept by nobody.
async fn write(session: &mut Session, passage: &Passage, mut head: ResponseHeader, body: String) -> Result<bool> {
    head.insert_header(CONTENT_TYPE, "application/json")?;
    head.insert_header(PRAGMA, "no-cache")?;
    own::send(session, passage, head, body.into_bytes()).await
}
