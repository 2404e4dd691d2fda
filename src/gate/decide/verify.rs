//! What both logins say about the credentials of one request.
//!
//! The legacy side is asked first: whose an Authorization line is, is told by its content, and what it takes Clerk's side
//! does not look at. Never waits: what has to be fetched first is a [`Wait`] for the gate. Never prefers a side.

use std::sync::Arc;

use super::{Refusal, runner};
use crate::clock::Now;
use crate::identity::checks::Checks;
use crate::identity::clerk::{self, Attempt, Instance, Keys, Verifier};
use crate::identity::legacy::{self, Answers, Foreign, Judged, LegacyVerifier, Lookup, Question};
use crate::identity::{self, Verdict};
use crate::request::View;
use crate::rollout::Side;
use crate::route::Access;
use crate::snapshot::Snapshot;

/// How often each side may still send for something, and what was brought so far.
#[derive(Debug, Clone, Copy)]
pub struct Tries<'a> {
    pub legacy: Attempt,
    pub clerk: Attempt,
    pub answers: &'a Answers,
    /// 32 bits of chance, for who signs in and is nobody yet; `None` where nothing is to be left to chance. Decides an arm,
    /// and nothing that somebody may do.
    pub draw: fn() -> Option<u32>,
    /// Who is told of each check of a credential.
    pub checks: Checks<'a>,
}

/// What has to come before the decision, and which of the [`Tries`] it uses up.
#[derive(Debug)]
pub enum Wait {
    /// Await `instance.keys.refetch(kid, now)`; then Clerk's side has its last try.
    Clerk { instance: Arc<Instance>, kid: Option<Box<str>> },
    /// Await `keys.refetch(kid, now)`; then the legacy side has its last try.
    Legacy { keys: Arc<Keys>, kid: Option<Box<str>> },
    /// Await [`Answers::fetch`]; then the legacy side has its last try, with these answers.
    Lookups(Vec<Lookup>),
}

/// The verdicts of both sides.
#[derive(Debug)]
pub(super) struct Verdicts {
    pub(super) legacy: legacy::Verdict,
    /// The legacy cookie says the same as the header that decided.
    pub(super) cookie_agrees: bool,
    /// The Authorization line is the legacy side's.
    pub(super) took_authorization: bool,
    pub(super) clerk: Verdict,
    /// A key of Clerk's that is worth fetching, but not worth waiting for.
    pub(super) refetch: Option<Wait>,
}

impl Verdicts {
    /// Of a request whose Authorization line is neither side's.
    pub(super) const fn none() -> Self {
        Self {
            legacy: legacy::Verdict::Absent,
            cookie_agrees: false,
            took_authorization: true,
            clerk: Verdict::Absent,
            refetch: None,
        }
    }

    /// What one side alone says.
    pub(super) fn alone(&self, side: Side) -> Self {
        let (legacy, clerk) = match side {
            Side::Legacy => (self.legacy.clone(), Verdict::Absent),
            Side::Clerk => (legacy::Verdict::Absent, self.clerk.clone()),
        };
        let &Self { cookie_agrees, took_authorization, .. } = self;
        Self { legacy, cookie_agrees, took_authorization, clerk, refetch: None }
    }

    /// Of somebody who is only assumed.
    pub(super) fn assumed(person: &Arc<identity::Identity>) -> Self {
        let (identity, carrier) = (Arc::clone(person), identity::Carrier::Header);
        let (legacy, clerk) = match person.facts.method.login() {
            identity::Login::Legacy => (legacy::Verdict::Valid { identity, carrier }, Verdict::Absent),
            identity::Login::Clerk => (legacy::Verdict::Absent, Verdict::Valid { identity, carrier }),
        };
        Self { legacy, cookie_agrees: false, took_authorization: false, clerk, refetch: None }
    }
}

/// Why there are no verdicts.
pub(super) enum Pause {
    Wait(Wait),
    Refused(Refusal),
}

pub(in crate::gate) fn verifier(snapshot: &Snapshot) -> Verifier<'_> {
    Verifier {
        instances: &snapshot.instances,
        cache: &snapshot.cache,
        headers: &snapshot.headers,
        linking: &snapshot.linking,
        workspaces_claim: snapshot.workspaces_claim.as_deref(),
        checks: Checks::NOBODY,
    }
}

/// Asks both sides.
pub(super) fn verify(
    snapshot: &Snapshot,
    view: &View<'_>,
    access: Access,
    tries: Tries<'_>,
    now: Now,
) -> Result<Verdicts, Pause> {
    if runner::is_there(snapshot, view) {
        // Neither side's to see, whoever asks; what it is worth was told before.
        return Ok(Verdicts::none());
    }
    let clerk = Verifier { checks: tries.checks, ..verifier(snapshot) };
    let Judged { verdict: legacy, took_authorization, cookie_agrees } = match &snapshot.legacy {
        Some(side) => ask_legacy(side, (clerk, snapshot), view, access, tries, now)?,
        None => Judged::default(),
    };
    let ask = |attempt| {
        let credentials = &view.request.credentials;
        let verified = if took_authorization {
            clerk.verify_cookies(credentials, now, attempt)
        } else {
            clerk.verify(credentials, now, attempt)
        };
        match verified {
            Err(clerk::Pause::Ambiguous | clerk::Pause::Unchecked) if access == Access::Public => Ok(Verdict::Absent),
            Err(clerk::Pause::Unchecked) => Err(Pause::Refused(Refusal::Unchecked)),
            Err(clerk::Pause::Ambiguous) => Err(ambiguous()),
            Err(clerk::Pause::NeedKeys { instance, kid }) => Err(Pause::Wait(Wait::Clerk { instance, kid })),
            Ok(verdict) => Ok(verdict),
        }
    };
    // Whoever has a good legacy credential does not wait for Clerk's key server, which may hang: where only the bar of
    // an ordinary route is to be passed, they pass it whatever Clerk's side turns out to be, or are refused either way.
    let has_legacy = matches!(legacy, legacy::Verdict::Valid { .. }) && access != Access::Privileged;
    let (clerk, refetch) = match ask(tries.clerk) {
        Ok(verdict) => (verdict, None),
        Err(Pause::Wait(wait)) if has_legacy => (ask(Attempt::Last)?, Some(wait)),
        Err(pause) => return Err(pause),
    };
    Ok(Verdicts { legacy, cookie_agrees, took_authorization, clerk, refetch })
}

fn ask_legacy(
    side: &LegacyVerifier,
    (clerk, foreign): (Verifier<'_>, &dyn Foreign),
    view: &View<'_>,
    access: Access,
    tries: Tries<'_>,
    now: Now,
) -> Result<Judged, Pause> {
    let question = Question { credentials: &view.request.credentials, clerk, foreign, answers: tries.answers };
    match side.verify(&question, now, tries.legacy) {
        Ok(judged) => Ok(judged),
        Err(legacy::Pause::NeedKeys { keys, kid }) => Err(Pause::Wait(Wait::Legacy { keys, kid })),
        Err(legacy::Pause::NeedLookup(lookups)) => Err(Pause::Wait(Wait::Lookups(lookups))),
        // Whoever cannot be named is nobody there. The line stays this side's: it was not for Clerk to judge.
        Err(legacy::Pause::Ambiguous | legacy::Pause::Unchecked) if access == Access::Public => {
            Ok(Judged { took_authorization: side.takes_authorization(&question, now), ..Judged::default() })
        }
        Err(legacy::Pause::Unchecked) => Err(Pause::Refused(Refusal::Unchecked)),
        Err(legacy::Pause::Ambiguous) => Err(ambiguous()),
    }
}

fn ambiguous() -> Pause {
    Pause::Refused(Refusal::Identity(identity::Refusal::Ambiguous))
}
