//! The payload of a Clerk session token: checked claim by claim, then turned into [`Facts`].
//!
//! Called by `judge` for a token whose signature holds, and for one whose key is missing, where only its refusals
//! count. The time is judged last, so that `Expired` is said only of a token that is good otherwise. Values that
//! become header values are bounded here; which names they travel under is `headers`' matter.

use serde_json::{Map, Value};

use super::instance::{Checks, Instance, MissingAzp, PendingSessions};
use super::organization;
use super::reason::Reason;
use crate::clock::Now;
use crate::identity::checks::{self, About, Checks as Told};
use crate::identity::times::{TimeProblem, Times, Validity};
use crate::identity::{Facts, Method, TokenKind, Workspace, Workspaces};

/// Why claims do not make an identity now.
#[derive(Debug)]
pub(super) enum Refusal {
    Invalid(Reason),
    /// Good in every other respect: whom it names.
    Expired(Box<Facts>),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}

/// What claims say, and from when to when they may be believed.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) facts: Facts,
    /// Milliseconds since the epoch, leeway included.
    pub(super) good_from_ms: i64,
    pub(super) good_until_ms: i64,
}

/// Longest role, slug, impersonator or permission.
const MAX_TEXT: usize = 128;

/// Judges the claims of a token of `instance`; `workspaces` is the path of the claim with workspaces, if any.
pub(super) fn judge(
    claims: Map<String, Value>,
    instance: &Instance,
    workspaces: Option<&[String]>,
    now: Now,
    told: Told<'_>,
) -> Result<Judged, Refusal> {
    let checks = &instance.checks;
    if !matches!(claims.get("iss"), Some(Value::String(issuer)) if **issuer == *instance.issuer) {
        return Err(Reason::TokenInvalidIssuer.into());
    }
    let claim = |name: &str| checks::shown(claims.get(name));
    let one_of = |known: &[String]| if known.is_empty() { "not checked".to_owned() } else { known.join(", ") };
    let subject = told.of(About::Clerk, checks::SESSION, session_ids(&claims), || {
        let asked = if session_ids(&claims).is_ok() { "" } else { "; asked: sub user_…, sid sess_…" };
        format!("sub {}, sid {}{asked}", claim("sub"), claim("sid"))
    })?;
    told.of(About::Clerk, checks::AUDIENCE, audience(&claims, checks), || {
        format!("{}; configured: {}", claim("aud"), one_of(&checks.audiences))
    })?;
    told.of(About::Clerk, checks::PARTY, authorized_party(&claims, checks), || {
        format!("{}; configured: {}", claim("azp"), one_of(&checks.authorized_parties))
    })?;
    let is_pending =
        checks.pending_sessions == PendingSessions::Deny && claims.get("sts").is_some_and(|sts| sts == "pending");
    told.note(About::Clerk, checks::STATUS, !is_pending, || claim("sts"));
    if is_pending {
        return Err(Reason::Pending.into());
    }
    let shaped = organization::read(&claims).and_then(|org| Ok((org, actor(&claims)?)));
    let (org, actor) = told.of(About::Clerk, checks::CLAIMS, shaped, || {
        let names = ["o", "org_id", "act"].into_iter().filter(|name| claims.contains_key(*name));
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            "no org, no impersonator".to_owned()
        } else {
            format!("the form of {}", names.join(", "))
        }
    })?;
    let workspaces = workspaces.map_or(Workspaces::Missing, |path| read_workspaces(&claims, path));
    let times = Times::read(&claims, now).ok().filter(Times::has_end).ok_or(Reason::TokenVerificationFailed);
    if told.is_heard() {
        let holds = times.is_ok_and(|times| times.judge(checks.clock_skew, now).is_ok());
        told.note(About::Clerk, checks::TIMES, holds, || Times::told(&claims, checks.clock_skew, now));
    }
    let times = times?;
    let facts = Facts {
        method: Method::Clerk,
        token: TokenKind::Session,
        instance: instance.name.clone(),
        subject: subject.user.clone(),
        clerk_user: Some(subject.user),
        session: Some(subject.session),
        org: org.active,
        features: org.features,
        plans: org.plans,
        factor_ages: factor_ages(&claims),
        actor,
        workspaces,
        issued_at_ms: times.issued_ms(),
        expires_at_ms: times.expires_ms(),
        claims,
        // What the other side knows of them is linking's matter.
        ..Facts::default()
    };
    match times.judge(checks.clock_skew, now) {
        // INVARIANT: a token without an end was refused above.
        Ok(Validity { until_ms: None, .. }) => Err(Reason::TokenVerificationFailed.into()),
        Ok(Validity { from_ms, until_ms: Some(good_until_ms) }) => {
            Ok(Judged { facts, good_from_ms: from_ms, good_until_ms })
        }
        Err(TimeProblem::NotYet) => Err(Reason::TokenNotActiveYet.into()),
        Err(TimeProblem::IssuedInTheFuture) => Err(Reason::TokenIatInTheFuture.into()),
        Err(TimeProblem::Over) => Err(Refusal::Expired(Box::new(facts))),
    }
}

struct SessionIds {
    user: String,
    session: String,
}

/// What makes a session token where `cat` says nothing: every class is signed with the same key.
fn session_ids(claims: &Map<String, Value>) -> Result<SessionIds, Reason> {
    if claims.contains_key("handshake") {
        return Err(Reason::TokenTypeMismatch);
    }
    let Some(Value::String(user)) = claims.get("sub") else { return Err(Reason::TokenVerificationFailed) };
    if !is_id(user, "user_") {
        let other_class = ["mch_", "org_"].iter().any(|prefix| user.starts_with(prefix));
        return Err(if other_class { Reason::TokenTypeMismatch } else { Reason::TokenVerificationFailed });
    }
    match claims.get("sid") {
        Some(Value::String(session)) if is_id(session, "sess_") => {
            Ok(SessionIds { user: user.clone(), session: session.clone() })
        }
        Some(_) => Err(Reason::TokenVerificationFailed),
        // A JWT template cannot carry a `sid`.
        None => Err(Reason::TokenTypeMismatch),
    }
}

/// An id of Clerk's: it stands in headers and logs as it is, so nothing that any of them could misread.
pub(super) fn is_id(text: &str, prefix: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'@' | b'+' | b'-');
    text.len() <= 128 && text.len() > prefix.len() && text.starts_with(prefix) && text.bytes().all(safe)
}

/// A text that people chose and that becomes a header value: no character that ends, hides or reorders a line.
pub(in crate::identity) fn is_plain_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.trim() == text && !text.chars().any(is_hidden)
}

/// A character that ends, hides or reorders a line.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Clerk's rule for sessions: nothing configured, nothing claimed, or a claim that is no text passes.
fn audience(claims: &Map<String, Value>, checks: &Checks) -> Result<(), Reason> {
    if checks.audiences.is_empty() {
        return Ok(());
    }
    let configured = |audience: &str| checks.audiences.iter().any(|known| known == audience);
    let good = match claims.get("aud") {
        Some(Value::String(audience)) => audience.is_empty() || configured(audience),
        Some(Value::Array(list)) => {
            // As JavaScript's filter(Boolean): what is empty does not count, and anything but text ends the check.
            let mut named = list.iter().filter(|item| !is_falsy(item)).peekable();
            let all_text = list.iter().filter(|item| !is_falsy(item)).all(Value::is_string);
            named.peek().is_none() || !all_text || named.filter_map(Value::as_str).any(configured)
        }
        _ => true,
    };
    if good { Ok(()) } else { Err(Reason::TokenVerificationFailed) }
}

fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Which page the session was made for: the only thing that keeps a sibling domain's page out.
fn authorized_party(claims: &Map<String, Value>, checks: &Checks) -> Result<(), Reason> {
    let claimed = match claims.get("azp") {
        None => None,
        Some(Value::String(party)) => Some(party.as_str()).filter(|party| !party.is_empty()),
        Some(_) => return Err(Reason::TokenInvalidAuthorizedParties),
    };
    if checks.authorized_parties.is_empty() {
        return Ok(());
    }
    let good = match claimed {
        Some(party) => checks.authorized_parties.iter().any(|known| known == party),
        None => checks.missing_azp == MissingAzp::Allow,
    };
    if good { Ok(()) } else { Err(Reason::TokenInvalidAuthorizedParties) }
}

/// Whether a token names no party at all, as Clerk's do that were made without an `Origin`.
pub(super) fn lacks_authorized_party(claims: &Map<String, Value>) -> bool {
    claims.get("azp").is_none_or(|party| party == "")
}

/// The impersonator. A claim that is there and unreadable must not read as "nobody".
fn actor(claims: &Map<String, Value>) -> Result<Option<String>, Reason> {
    let actor = match claims.get("act") {
        None => return Ok(None),
        Some(Value::Object(actor)) => actor,
        Some(_) => return Err(Reason::TokenVerificationFailed),
    };
    match actor.get("sub") {
        Some(Value::String(sub)) if is_plain_text(sub) => Ok(Some(sub.clone())),
        _ => Err(Reason::TokenVerificationFailed),
    }
}

/// `fva`: two ages in minutes, -1 for never. Anything else counts as missing, which fails every question for it.
fn factor_ages(claims: &Map<String, Value>) -> Option<[f64; 2]> {
    let Value::Array(ages) = claims.get("fva")? else { return None };
    let [first, second] = ages.as_slice() else { return None };
    let age = |value: &Value| value.as_f64().filter(|age| age.is_finite() && (*age == -1.0 || *age >= 0.0));
    Some([age(first)?, age(second)?])
}

pub(in crate::identity) fn read_workspaces(claims: &Map<String, Value>, path: &[String]) -> Workspaces {
    let Some((first, rest)) = path.split_first() else { return Workspaces::Missing };
    let mut value = claims.get(first);
    for name in rest {
        value = match value {
            Some(Value::Object(members)) => members.get(name),
            // The way to the claim ends in something else: nothing can be said about the workspaces.
            Some(Value::Null) | None => None,
            Some(_) => return Workspaces::Unreadable,
        };
    }
    let list = match value {
        None => return Workspaces::Missing,
        Some(Value::Array(list)) => list,
        Some(_) => return Workspaces::Unreadable,
    };
    let read: Option<Vec<Workspace>> = list.iter().map(workspace).collect();
    read.map_or(Workspaces::Unreadable, Workspaces::Known)
}

fn workspace(value: &Value) -> Option<Workspace> {
    let (id, role) = match value {
        Value::String(id) => (id, None),
        Value::Object(members) => {
            let role = match members.get("role") {
                None | Some(Value::Null) => None,
                Some(Value::String(role)) if is_plain_text(role) => Some(role.clone()),
                Some(_) => return None,
            };
            match members.get("id") {
                Some(Value::String(id)) => (id, role),
                _ => return None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
    };
    is_plain_text(id).then(|| Workspace { id: id.clone(), role })
}
