//! Which of Clerk's cookies counts: the session under its plain or its suffixed name, and what the browser's
//! `__client_uat` says about it.
//!
//! Called by `judge` when the header brings no token, or to see whether the cookie names somebody else. Follows
//! Clerk's SDK row by row, but only among cookies that are Clerk's by their content: other products use the name
//! `__session` too. Everything read here is unverified and only chooses; rows that exist to redirect a page say
//! nothing to an API and are left out.

use serde_json::{Map, Value};

use super::instance::Instances;
use super::publishable_key::InstanceKind;
use super::reason::Reason;
use super::token::Parts;
use crate::clock::Now;
use crate::identity::cache::{self, TokenCache};
use crate::request::credential::Cookies;

const SESSION: &str = "__session";
const CLIENT_UAT: &str = "__client_uat";

/// Two sessions of Clerk's under one name: the API may read the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TwoSessions;

/// A session cookie whose content names a configured instance.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) token: &'a str,
    pub(super) known: Known,
}

/// What is known of a session before it is judged.
#[derive(Debug)]
pub(super) enum Known {
    /// It was verified before, and the cache says what holds now.
    Before(cache::Known),
    /// The claims, unverified, and the index of the instance that they name.
    Claimed { claims: Map<String, Value>, instance: usize },
}

impl<'a> Session<'a> {
    /// Reads a cookie's content. `None`: not a session of any configured instance, hence not there at all.
    fn read(token: &'a str, instances: &Instances, cache: Option<&TokenCache>, now: Now) -> Option<Self> {
        if let Some(known) = cache.and_then(|cache| cache.find(token, |at| instances.keys(at), now)) {
            return Some(Self { token, known: Known::Before(known) });
        }
        let claims = Parts::split(token).and_then(|parts| parts.payload()).ok()?;
        let (instance, _) = instances.by_issuer(claims.get("iss")?.as_str()?)?;
        Some(Self { token, known: Known::Claimed { claims, instance } })
    }

    fn instance(&self) -> usize {
        match &self.known {
            Known::Before(known) => known.entry().instance(),
            Known::Claimed { instance, .. } => *instance,
        }
    }

    /// A claim in seconds, as the JavaScript SDK compares it: what is no number counts as zero.
    fn seconds(&self, name: &str) -> f64 {
        let claims = match &self.known {
            Known::Before(known) => &known.entry().identity.facts.claims,
            Known::Claimed { claims, .. } => claims,
        };
        claims.get(name).and_then(Value::as_f64).unwrap_or(0.0)
    }
}

/// What the cookies of one instance say.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    Absent,
    Refused(Reason),
    Judge(Session<'a>),
}

/// The session under the plain name, of whichever instance.
pub(super) fn plain_session<'a>(
    cookies: &'a Cookies,
    instances: &Instances,
    cache: Option<&TokenCache>,
    now: Now,
) -> Result<Option<Session<'a>>, TwoSessions> {
    session(cookies, SESSION, instances, cache, now)
}

/// Chooses for the instance at `index`; `plain` is taken if it is this instance's and counts.
pub(super) fn choose<'a>(
    cookies: &'a Cookies,
    index: usize,
    instances: &'a Instances,
    cache: Option<&TokenCache>,
    plain: &mut Option<Session<'a>>,
    now: Now,
) -> Result<Choice<'a>, TwoSessions> {
    let Some(instance) = instances.at(index).filter(|instance| instance.cookies.enabled) else {
        return Ok(Choice::Absent);
    };
    let (suffixed, suffixed_uat) = match &instance.cookie_names {
        Some(names) => (session(cookies, &names.session, instances, cache, now)?, cookies.first(&names.client_uat)),
        None => (None, None),
    };
    let plain_uat = cookies.first(CLIENT_UAT);
    let suffixed_uat = suffixed_uat.filter(|value| !value.is_empty());
    let jar = Jar { plain: plain.as_ref(), plain_uat, suffixed: suffixed.as_ref(), suffixed_uat };
    let (session, uat) = if jar.suffix_counts(index, instance.kind(), now) {
        (suffixed, suffixed_uat)
    } else {
        (plain.take_if(|session| session.instance() == index), plain_uat)
    };
    let uat = uat.map_or(0.0, leading_integer);
    Ok(match session {
        None => Choice::Absent,
        Some(_) if uat == 0.0 => Choice::Refused(Reason::NoClientUat),
        Some(session) if session.instance() != index => Choice::Refused(Reason::TokenInvalidIssuer),
        Some(session) if session.seconds("iat") < uat => Choice::Refused(Reason::IatBeforeClientUat),
        Some(session) => Choice::Judge(session),
    })
}

/// The four cookies that the choice is made from.
struct Jar<'a> {
    plain: Option<&'a Session<'a>>,
    plain_uat: Option<&'a str>,
    suffixed: Option<&'a Session<'a>>,
    suffixed_uat: Option<&'a str>,
}

impl Jar<'_> {
    /// Clerk's `usesSuffixedCookies`, rule by rule; the first that holds decides. Its rule for a plain session
    /// that names no issuer is gone, since such a cookie is not Clerk's.
    fn suffix_counts(&self, index: usize, kind: InstanceKind, now: Now) -> bool {
        let signed_out = |uat: Option<&str>| uat == Some("0");
        let issued = |session: Option<&Session<'_>>| session.map_or(0.0, |session| session.seconds("iat"));
        let expired = |session: &Session<'_>| session.seconds("exp") <= now.unix_seconds() as f64;
        if self.plain.is_some_and(|session| session.instance() != index) {
            return true;
        }
        if self.suffixed_uat.is_none() && self.suffixed.is_none() {
            return false;
        }
        if !signed_out(self.suffixed_uat) && !signed_out(self.plain_uat) && issued(self.plain) > issued(self.suffixed) {
            return false;
        }
        if signed_out(self.suffixed_uat) && !signed_out(self.plain_uat) {
            return false;
        }
        let development = kind == InstanceKind::Development;
        if development
            && !signed_out(self.suffixed_uat)
            && signed_out(self.plain_uat)
            && self.suffixed.is_some_and(expired)
        {
            return false;
        }
        self.suffixed_uat.is_some() || self.suffixed.is_none()
    }
}

/// JavaScript's `parseInt`, zero where it finds no number. Exact up to 2^53, which no time reaches.
fn leading_integer(text: &str) -> f64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|digits| digits.parse::<f64>().ok()).map_or(0.0, |number| sign * number)
}

/// The only session under `name`.
fn session<'a>(
    cookies: &'a Cookies,
    name: &'a str,
    instances: &Instances,
    cache: Option<&TokenCache>,
    now: Now,
) -> Result<Option<Session<'a>>, TwoSessions> {
    let mut found = None;
    for value in cookies.all(name) {
        if let Some(session) = Session::read(value, instances, cache, now)
            && found.replace(session).is_some()
        {
            return Err(TwoSessions);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "cookies_tests.rs"]
mod tests;
