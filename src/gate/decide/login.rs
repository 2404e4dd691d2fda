//! Routes of the API on which people sign in (`access: login`): everyone passes, as nobody, in one arm from the first
//! request of a login to the last.
//!
//! The arm is that of the signed cookie; without one that of a person whose credential travels along; else it is drawn. It
//! decides which login flow answers and which upstream is used, never what somebody may do. Waits for nothing, so that
//! signing in depends on no key server and no legacy server, and refuses only who could not sign in anywhere: people
//! without a legacy side, while Clerk is out.

use std::fmt;

use super::arm::{Stand, stand};
use super::resolve::{clerks_outage, is_foreign_page};
use super::runner;
use super::verify::{Verdicts, Wait, verifier};
use super::{Caller, Decision, Refusal, Steps, Tries, World, arm_upstream, csrf, follow};
use crate::clock::Now;
use crate::identity::checks::Checks;
use crate::identity::clerk::{self, Attempt};
use crate::identity::legacy::{self, Answers, Glance, Question};
use crate::identity::{self, Carrier, Facts, Verdict};
use crate::inject::Proven;
use crate::policy::{self, Policy};
use crate::request::View;
use crate::rollout::cookie::{self, Unusable};
use crate::rollout::{self, Arm, Guard, Percent, Side};
use crate::route::{Access, Found};
use crate::snapshot::Snapshot;

/// Why a login goes to an arm.
#[derive(Debug, Clone, Copy)]
enum Why {
    OneSide,
    Outage,
    Assumed,
    Cookie,
    Person(Option<rollout::Why>),
    /// `None`: nothing was drawn.
    Draw(Percent, Option<u32>),
    NoRollout,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneSide => f.write_str("there is one login only"),
            Self::Outage => f.write_str("outage: nobody can sign in with Clerk now"),
            Self::Assumed => f.write_str("assumed"),
            Self::Cookie => f.write_str("cookie: this login began there"),
            Self::Person(Some(why)) => write!(f, "person: {why}"),
            Self::Person(None) => f.write_str("person: there is no rollout"),
            Self::Draw(percent, Some(_)) => write!(f, "draw: at {percent} % clerk"),
            Self::Draw(percent, None) => {
                write!(f, "draw: {percent} % of strangers are drawn into clerk; nothing is drawn here")
            }
            Self::NoRollout => f.write_str("there is no rollout, and nobody is named"),
        }
    }
}

/// What the credentials say, and which of them may go on.
struct Seen {
    verdicts: Verdicts,
    proven: Proven,
    /// A legacy signature did not hold, be it of the one that the verdict is about or not.
    is_forged: bool,
}

/// Decides about a request on a login route.
pub(super) fn pass(
    world: World<'_>,
    view: &View<'_>,
    found: &Found<'_, '_>,
    policy: &Policy,
    caller: Caller<'_>,
    now: Now,
    steps: &mut impl Steps,
) -> Decision {
    let (snapshot, route) = (world.snapshot, found.route);
    let seen = match caller {
        Caller::Credentials(tries) => look(snapshot, view, found, tries, now),
        Caller::Assumed(person, _) => {
            Seen { verdicts: Verdicts::assumed(person), proven: Proven::default(), is_forged: false }
        }
    };
    let Seen { verdicts, proven, is_forged } = seen;
    if is_forged {
        steps.failed_check();
    }
    follow(&verdicts, caller, snapshot, steps);
    let cookie = cookie(world, view, now);
    match cookie {
        Ok(None) => {}
        Ok(Some(side)) => steps.step("arm_cookie", "valid", || format!("it says {}", side.as_str())),
        Err(why) => steps.step("arm_cookie", "ignored", || why.to_string()),
    }
    let kept = cookie.ok().flatten();
    let (side, why, can_sign_in) = choose(world, &verdicts, kept, caller, now);
    steps.step("arm", side.as_str(), || why.to_string());
    let authorization = &view.request.credentials.authorization;
    let bearer = match authorization {
        crate::request::Authorization::Absent => None,
        _ if verdicts.took_authorization => Some(Side::Legacy),
        _ => Some(Side::Clerk),
    };
    let outcome = if view.request.handshake.is_some() && !csrf::may_open(view, route, None, snapshot) {
        // Of the pages that the route itself names; nobody's cookie is asked for.
        steps.step("websocket", "refused", || "its Origin may not open a WebSocket here".to_owned());
        Err(Refusal::Identity(identity::Refusal::CrossSite))
    } else if can_sign_in {
        policy::authorize(route, policy, None, &found.captures, view, steps)
            .map(|permit| permit.by(route, arm_upstream(snapshot, side)))
            .map_err(Refusal::Policy)
    } else {
        steps.step("resolve", "refused", || "this person has no legacy side, and Clerk is out".to_owned());
        Err(Refusal::Identity(identity::Refusal::Unverifiable { held: false }))
    };
    // What the cookie said before this answer is what it says after it, or it is replaced.
    let is_dealt = world.rollout.is_some_and(|rollout| rollout.cookies.is_some()) && has_both(snapshot);
    let keeps = Some(side).filter(|side| is_dealt && kept != Some(*side));
    Decision {
        side: Some(side),
        arm: Some(side),
        proven,
        bearer,
        refetch: verdicts.refetch,
        keeps,
        ..Decision::of(Some(route.index), outcome)
    }
}

/// Looks at the credentials, with what is held.
fn look(snapshot: &Snapshot, view: &View<'_>, found: &Found<'_, '_>, tries: Tries<'_>, now: Now) -> Seen {
    let clerk = clerk::Verifier { checks: tries.checks, ..verifier(snapshot) };
    let credentials = &view.request.credentials;
    if runner::is_there(snapshot, view) {
        // No login of either side, and nobody else's to see.
        return Seen { verdicts: Verdicts::none(), proven: Proven::default(), is_forged: false };
    }
    let glance = snapshot.legacy.as_ref().map(|side| {
        side.glance(&Question { credentials, clerk, foreign: snapshot, answers: tries.answers }, now, tries.legacy)
    });
    let Glance { judged, header_passes, cookie_passes, is_forged } = glance.unwrap_or_default();
    let ask = |attempt| {
        if judged.took_authorization {
            clerk.verify_cookies(credentials, now, attempt)
        } else {
            clerk.verify(credentials, now, attempt)
        }
    };
    let (asked, refetch) = match ask(tries.clerk) {
        Err(clerk::Pause::NeedKeys { instance, kid }) => (ask(Attempt::Last), Some(Wait::Clerk { instance, kid })),
        asked => (asked, None),
    };
    // Who cannot be named is nobody.
    let verdict = asked.unwrap_or(Verdict::Absent);
    // Only what verifies, as everywhere: an API that is to get Clerk's tokens may take them for verified.
    let carrier = match &verdict {
        Verdict::Valid { carrier: Carrier::Cookie, .. } if is_foreign_page(&verdict, found.route, view, snapshot) => {
            None
        }
        Verdict::Valid { carrier, .. } => Some(*carrier),
        Verdict::Absent
        | Verdict::Expired { .. }
        | Verdict::Invalid { .. }
        | Verdict::Unverifiable { .. }
        | Verdict::Conflict => None,
    };
    Seen {
        verdicts: Verdicts {
            legacy: judged.verdict,
            cookie_agrees: false,
            took_authorization: judged.took_authorization,
            clerk: verdict,
            refetch,
        },
        proven: Proven { clerk: carrier, legacy_header: header_passes, legacy_cookie: cookie_passes },
        is_forged,
    }
}

/// Which legacy credentials go on as they came, although they prove nobody: each by itself, so that a bad one hides none of
/// somebody sealed. Asks nobody anything.
pub(super) fn left_to_the_api(snapshot: &Snapshot, view: &View<'_>, now: Now, checks: Checks<'_>) -> Proven {
    let credentials = &view.request.credentials;
    let clerk = clerk::Verifier { checks, ..verifier(snapshot) };
    let question = Question { credentials, clerk, foreign: snapshot, answers: &Answers::default() };
    let Some(side) = &snapshot.legacy else { return Proven::default() };
    let Glance { header_passes, cookie_passes, .. } = side.glance(&question, now, Attempt::KnownOnly);
    Proven { clerk: None, legacy_header: header_passes, legacy_cookie: cookie_passes }
}

/// What the arm cookie says.
fn cookie(world: World<'_>, view: &View<'_>, now: Now) -> Result<Option<Side>, Unusable> {
    let Some(rollout) = world.rollout.filter(|_| has_both(world.snapshot)) else { return Ok(None) };
    let Some(cookies) = &rollout.cookies else { return Ok(None) };
    cookies.read(view.request.credentials.cookies.all(cookie::NAME), &rollout.record, now.unix_ms)
}

/// The arm, and whether this request can come to a login at all.
fn choose(
    world: World<'_>,
    verdicts: &Verdicts,
    kept: Option<Side>,
    caller: Caller<'_>,
    now: Now,
) -> (Side, Why, bool) {
    let snapshot = world.snapshot;
    if !has_both(snapshot) {
        return (stand(world, None).side(Access::Login), Why::OneSide, true);
    }
    let person = person(verdicts);
    let draw = match caller {
        Caller::Assumed(_, Some(side)) => return (Stand::assumed(side).side(Access::Login), Why::Assumed, true),
        Caller::Assumed(_, None) => None,
        Caller::Credentials(tries) => Some(tries.draw),
    };
    if draw.is_some() && clerks_outage(world, now) {
        // Also against the cookie: the flow in which the login began is the one that cannot end.
        return match person {
            Some(facts) if !facts.link.legacy_proves() => (Side::Clerk, Why::Outage, false),
            Some(_) | None => (Side::Legacy, Why::Outage, true),
        };
    }
    // Not after the guard: a rollback moves those who begin. Who has begun would lose the login, and gains nothing that
    // a credential of Clerk's is not worth anyway.
    if let Some(side) = kept {
        return (side, Why::Cookie, true);
    }
    if let Some(facts) = person {
        let at = stand(world, Some(facts));
        return (at.side(Access::Login), Why::Person(at.why), true);
    }
    let Some(rollout) = world.rollout else { return (Side::Legacy, Why::NoRollout, true) };
    let percent = rollout.record.assigned;
    // Without a cookie to keep it, each request would be drawn anew and a login fall apart.
    let drawn = draw.filter(|_| rollout.cookies.is_some()).and_then(|draw| draw());
    let is_in = drawn.map_or(percent == Percent::ALL, |drawn| percent.takes(drawn));
    let arm = if is_in { Arm::Clerk } else { Arm::Legacy };
    let guard: Guard = rollout.record.guard;
    (arm.after(guard, Access::Login).side(), Why::Draw(rollout.record.effective(), drawn), true)
}

/// Whose arm counts: of two people the one whom the legacy credential names, so that a planted Clerk cookie has no say.
fn person(verdicts: &Verdicts) -> Option<&Facts> {
    let legacy = match &verdicts.legacy {
        legacy::Verdict::Valid { identity, .. } => Some(&identity.facts),
        _ => None,
    };
    let clerk = match &verdicts.clerk {
        Verdict::Valid { identity, .. } => Some(&identity.facts),
        _ => None,
    };
    legacy.filter(|facts| facts.link.legacy_proves()).or(clerk).or(legacy)
}

fn has_both(snapshot: &Snapshot) -> bool {
    snapshot.legacy.is_some() && !snapshot.instances.is_empty()
}
