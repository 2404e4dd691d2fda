//! What of a request is written into the trail, and that nothing privileged goes on without it.
//!
//! Runs between the decision and the upstream. A privileged action is durable before the API hears of it, or is refused
//! (503 `audit_unavailable`); the first denial of a caller on a route is durable before its answer. Writes no token, no
//! cookie, no query and no body: names, ids and the canonical path.

use std::sync::atomic::Ordering;

use pingora::Error;
use pingora_proxy::Session;

use super::Gate;
use super::decide::Refusal;
use super::passage::Passage;
use super::reply::Code;
use crate::audit::{
    Actor, Attempt, Entry, Event, EventClass, Events, Id, Labels, OnFailure, Outcome, Policy, Request, RolloutPart,
    Text, Unavailable,
};
use crate::clock;
use crate::identity::{Identity, headers};
use crate::request::{Authorization, View};
use crate::rollout::Side;
use crate::route::{Access, Route};

/// The action that a token exchange is.
const EXCHANGE: &str = "token.exchange";

/// A recorded action under way.
#[derive(Debug)]
pub struct Action {
    attempt: Attempt,
    words: Words,
}

/// What an entry says that is made for it, so that the entry can borrow it.
#[derive(Debug, Default)]
pub(super) struct Words {
    labels: Labels,
    client: String,
    peer: String,
    token_hash: Option<String>,
    role: Option<String>,
}

/// The decision is made: what has to be known before it takes effect.
pub(super) async fn record(gate: &Gate, session: &Session, passage: &mut Passage) {
    announce(gate, session, passage);
    let route = passage.route.and_then(|index| passage.snapshot.routes.get(index));
    let is_privileged = route.is_some_and(|route| route.access == Access::Privileged);
    if let Some(refusal) = &passage.refusal {
        let recorded = deny(gate, session, passage, refusal).await;
        // What must not be done unrecorded is not refused unrecorded either: the answer is the one that asks to come again.
        if !recorded && is_privileged && passage.snapshot.audit.on_failure == OnFailure::Deny {
            passage.refusal = Some(Refusal::Audit);
        }
        return;
    }
    if passage.conflict {
        stripped(gate, session, passage).await;
    }
    if !needs_record(passage) || passage.permit.is_none() {
        return;
    }
    let words = words(gate, session, passage);
    let reported = passage.permit.as_ref().and_then(|permit| permit.reported()).map(ToString::to_string);
    let mut entry = entry(passage, &words, Event::Attempt);
    entry.decision = Some("allow");
    entry.code = Some("ok");
    let reason = reported.map(|reported| format!("report mode: {reported}"));
    entry.reason = reason.as_deref().map(Text);
    let goes_on = passage.route.is_some_and(|route| passage.snapshot.audit.goes_on_unrecorded(route));
    let attempt = if goes_on { gate.ledger.attempt_or_late(&entry).await } else { gate.ledger.attempt(&entry).await };
    if goes_on && attempt.as_ref().map_or(true, Attempt::is_late) {
        passage.unrecorded = true;
        gate.metrics.audit_unrecorded().inc();
    }
    match attempt {
        Ok(attempt) => passage.action = Some(Box::new(Action { attempt, words })),
        Err(_) if goes_on => {}
        Err(_) => passage.refusal = Some(Refusal::Audit),
    }
}

/// A token is about to leave. Its outcome is written with the end of the request.
///
/// # Errors
/// [`Unavailable`]: it must not leave.
pub(super) async fn exchange(gate: &Gate, session: &Session, passage: &mut Passage) -> Result<(), Unavailable> {
    announce(gate, session, passage);
    let words = words(gate, session, passage);
    let mut entry = entry(passage, &words, Event::Attempt);
    entry.decision = Some("allow");
    entry.code = Some("ok");
    let attempt = gate.ledger.attempt(&entry).await?;
    passage.action = Some(Box::new(Action { attempt, words }));
    Ok(())
}

/// No token leaves; whether that could be written down as far as it must be.
pub(super) async fn refused_exchange(gate: &Gate, session: &Session, passage: &Passage, refusal: &Refusal) -> bool {
    // Of an exchange that was recorded and came to nothing, its outcome says why.
    passage.action.is_some()
        || deny(gate, session, passage, refusal).await
        || passage.snapshot.audit.on_failure != OnFailure::Deny
}

/// Whether this request is an action that must not happen unrecorded. A preflight only asks; what it announces is one.
fn needs_record(passage: &Passage) -> bool {
    let is_preflight = passage.request.as_ref().is_some_and(|request| request.preflight.is_some());
    !is_preflight && route(passage).is_some_and(|route| route.access == Access::Privileged)
}

/// The last look before bytes go up, whatever way led there.
pub(super) fn may_go_up(passage: &Passage) -> bool {
    !needs_record(passage) || passage.action.is_some() || passage.unrecorded
}

/// The request is over: what became of its action.
pub(super) fn close(session: &Session, error: Option<&Error>, passage: &mut Passage) {
    let Some(action) = passage.action.take() else { return };
    let Action { attempt, words } = *action;
    let status = session.response_written().map_or(0, |head| head.status.as_u16());
    let bytes = u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX);
    let mut entry = entry(passage, &words, Event::Outcome);
    entry.decision = Some("allow");
    entry.code = Some(passage.refusal.as_ref().map_or("ok", |refusal| refusal.code().as_str()));
    entry.reason = Some(Text(reason(error, passage)));
    entry.outcome = Some(outcome(passage, status, bytes));
    attempt.close(entry);
}

/// The request was dropped before its end: its task was cancelled, or a bug ended it.
pub(super) fn abandon(passage: &mut Passage) {
    let Some(action) = passage.action.take() else { return };
    let Action { attempt, words } = *action;
    let mut entry = entry(passage, &words, Event::Outcome);
    entry.decision = Some("allow");
    entry.reason = Some(Text("unknown"));
    entry.outcome = Some(outcome(passage, passage.upstream_status.unwrap_or_default(), 0));
    attempt.close(entry);
}

/// What became of an action, in a word. `reset` is only what the API does, and `client_gone` what the client does: a body
/// that is too large or none was cut off here. Of what failed inside nobody knows how far it came.
fn reason(error: Option<&Error>, passage: &Passage) -> &'static str {
    match &passage.refusal {
        Some(_) if !passage.was_connected => "not_sent",
        Some(Refusal::Upstream(Code::UpstreamTimeout | Code::RequestTimeout)) => "timeout",
        Some(Refusal::Request(_) | Refusal::Upstream(Code::BadRequest)) => "cut_off",
        Some(Refusal::Upstream(Code::Internal)) => "unknown",
        Some(_) => "reset",
        None if error.is_some() => "client_gone",
        None => "ok",
    }
}

fn outcome(passage: &Passage, status: u16, bytes: u64) -> Outcome<'_> {
    let upstream = passage.permit.as_ref().and_then(|permit| passage.snapshot.upstreams.get(permit.upstream()));
    let duration_us = u64::try_from(passage.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Outcome { status, upstream: upstream.map(|upstream| Text(&upstream.name)), duration_us, bytes }
}

/// As what a denial is written down, if it is.
pub(crate) fn event(refusal: &Refusal, events: Events) -> Option<Event> {
    match refusal {
        Refusal::Route(_) | Refusal::Policy(_) | Refusal::Identity(_) if events.has(EventClass::Denied) => {
            Some(Event::Denied)
        }
        // A failed login that refused a request is its denial; where nobody asks for denials it is still that.
        Refusal::Identity(_) if events.has(EventClass::Authentication) => Some(Event::Authentication),
        Refusal::Route(_) | Refusal::Policy(_) | Refusal::Identity(_) => None,
        // About the request's form or the moment, not about who may do what.
        Refusal::Request(_) | Refusal::Overloaded | Refusal::Unchecked | Refusal::Audit | Refusal::Upstream(_) => None,
    }
}

/// Writes a denial down; whether that is done, or did not have to be.
async fn deny(gate: &Gate, session: &Session, passage: &Passage, refusal: &Refusal) -> bool {
    let events = passage.snapshot.audit.events;
    let event = match refusal {
        // Whoever tries forms on the exchange is after tokens.
        Refusal::Request(_) if passage.exchange.is_some() && events.has(EventClass::Denied) => Event::Denied,
        refusal => match event(refusal, events) {
            Some(event) => event,
            None => return true,
        },
    };
    let Some(request) = passage.request.as_deref() else { return true };
    let code = refusal.code().as_str();
    let person = passage.identity.as_ref().map(|(identity, _)| {
        let facts = &identity.facts;
        // Who acts in somebody's name is another caller: their refusals are not counted as the person's own.
        (&*facts.instance, facts.subject.as_str(), facts.actor.as_deref())
    });
    let who = if person.is_some() { None } else { Some(request.client.address.neighbourhood()) };
    let route = route(passage).map(|route| &*route.id).or_else(|| passage.exchange.as_ref().map(|_| EXCHANGE));
    // One code, several reasons: each is worth its own entry. That somebody asks for another org is no repeat of a role
    // that they lack.
    let is_told_apart = passage.exchange.is_some() || matches!(refusal, Refusal::Policy(_));
    let what = is_told_apart.then(|| refusal.reason());
    let made = || {
        let words = words(gate, session, passage);
        let mut entry = entry(passage, &words, event);
        let reason = refusal.reason();
        entry.decision = Some("deny");
        entry.code = Some(code);
        entry.reason = Some(Text(&reason));
        (event, entry.body())
    };
    let recorded = gate.ledger.denial(&(person, who), &(route, code, what), person.is_some(), code, made).await;
    recorded.is_ok()
}

/// Writes down that two people's credentials came together on a public route, and went no further: somebody may have planted
/// one of them. The request goes on as nobody's, whether that could be written or not.
async fn stripped(gate: &Gate, session: &Session, passage: &Passage) {
    if !passage.snapshot.audit.events.has(EventClass::Authentication) {
        return;
    }
    let Some(request) = passage.request.as_deref() else { return };
    let code = Code::IdentityConflict.as_str();
    let who = request.client.address.neighbourhood();
    let route = route(passage).map(|route| &*route.id);
    let made = || {
        let words = words(gate, session, passage);
        let mut entry = entry(passage, &words, Event::Authentication);
        entry.decision = Some("deny");
        entry.code = Some(code);
        entry.reason = Some(Text("conflict_stripped"));
        (Event::Authentication, entry.body())
    };
    let _ = gate.ledger.denial(&("conflict_stripped", who), &(route, code), false, code, made).await;
}

/// Writes down that somebody signed in, once for each session and hour. Nobody has whose credential did not let them in:
/// a page of another site that rides on somebody's cookie is a denial.
fn announce(gate: &Gate, session: &Session, passage: &Passage) {
    let Some((identity, _)) = &passage.identity else { return };
    if matches!(passage.refusal, Some(Refusal::Identity(_))) {
        return;
    }
    if identity.announced.load(Ordering::Relaxed) || !passage.snapshot.audit.events.has(EventClass::Authentication) {
        return;
    }
    identity.announced.store(true, Ordering::Relaxed);
    let facts = &identity.facts;
    let login = (&*facts.instance, &facts.subject, &facts.session, facts.method.as_str(), &facts.actor);
    if !gate.ledger.is_news(&login) {
        return;
    }
    let words = words(gate, session, passage);
    let mut entry = entry(passage, &words, Event::Authentication);
    entry.decision = Some("allow");
    entry.code = Some("ok");
    (entry.action, entry.resource) = (None, None);
    gate.ledger.post(&entry);
}

fn route(passage: &Passage) -> Option<&Route> {
    passage.route.and_then(|index| passage.snapshot.routes.get(index))
}

pub(super) fn words(gate: &Gate, session: &Session, passage: &Passage) -> Words {
    let snapshot = &passage.snapshot;
    let identity = passage.identity.as_ref().map(|(identity, _)| &**identity);
    let client = passage.client();
    let labels = passage.request.as_deref().and_then(|request| {
        let view = View { request, headers: &session.req_header().headers };
        let rules = snapshot.audit.routes.get(passage.route?)?;
        // Found once already: a second look costs less than keeping what it captures for every request.
        let found = snapshot.routes.find(&view).ok()?;
        Some(rules.labels(&found.captures, &view, identity))
    });
    Words {
        labels: labels.unwrap_or_default(),
        client: client.map_or_else(String::new, |client| client.address.to_string()),
        peer: client.map_or_else(String::new, |client| client.peer.to_string()),
        role: identity.and_then(|identity| headers::role(&identity.facts)).filter(|role| !role.is_empty()),
        token_hash: digest(identity, passage).and_then(|digest| gate.ledger.trail().token_hash(&digest)),
    }
}

/// SHA-256 of the credential that the entry is about: the verified one, or the one that was explicitly sent.
fn digest(identity: Option<&Identity>, passage: &Passage) -> Option<[u8; 32]> {
    if let Some(identity) = identity {
        return identity.digest;
    }
    match &passage.request.as_deref()?.credentials.authorization {
        Authorization::Bearer(token) => {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref().try_into().ok()
        }
        Authorization::Absent | Authorization::Malformed => None,
    }
}

/// All that is known of a request, for any event about it.
pub(super) fn entry<'a>(passage: &'a Passage, words: &'a Words, event: Event) -> Entry<'a> {
    let mut entry = Entry::new(Id::random(), clock::unix_micros(), event);
    let snapshot = &passage.snapshot;
    let mut policy = Policy { snapshot: Text(&snapshot.id), file: None, line: None };
    if let Some(route) = route(passage) {
        entry.route = Some(Text(&route.id));
        entry.access = Some(route.access.as_str());
        entry.action = Some(Text(words.labels.action.as_deref().unwrap_or(&route.id)));
        entry.resource = words.labels.resource.as_deref().map(Text);
        entry.workspace = words.labels.workspace.as_deref().map(Text);
        (policy.file, policy.line) = (Some(Text(&route.place.file)), Some(route.place.line));
    }
    if let Some(resource) = &passage.exchange {
        entry.access = Some(Access::Privileged.as_str());
        entry.action = Some(Text(EXCHANGE));
        entry.resource = Some(Text(resource.as_str())).filter(|resource| !resource.0.is_empty());
    }
    entry.policy = Some(policy);
    let token_hash = words.token_hash.as_deref().map(Text);
    if let Some((identity, _)) = &passage.identity {
        let facts = &identity.facts;
        entry.actor = Some(Actor {
            subject: Some(Text(&facts.subject)),
            clerk_user: facts.clerk_user.as_deref().map(Text),
            legacy_user: facts.legacy_user.as_deref().map(Text),
            session: facts.session.as_deref().map(Text),
            token: Some(facts.token.as_str()),
            token_hash,
            method: Some(facts.method.as_str()),
            impersonator: facts.actor.as_deref().map(Text),
        });
        entry.org = facts.org.as_ref().map(|org| org.id.as_str()).or(facts.legacy_org.as_deref()).map(Text);
        entry.role = words.role.as_deref().map(Text);
    } else if token_hash.is_some() {
        entry.actor = Some(Actor { token_hash, ..Actor::default() });
    }
    entry.arm = passage.arm.map(Side::as_str);
    entry.rollout = passage
        .rollout
        .as_ref()
        .map(|rollout| RolloutPart { generation: rollout.record.generation, percent: rollout.record.effective() });
    entry.request = passage.request.as_deref().map(|request| Request {
        id: Text(&request.client.request_id),
        trace: request.client.traceparent.split('-').nth(1).map(Text),
        method: Text(request.method.as_str()),
        host: request.host.as_deref().map(Text),
        path: Text(request.path.as_str()),
        client: Text(&words.client),
        peer: Text(&words.peer),
    });
    entry
}
