//! A request with a runner token: told by its content before either login is asked, so that neither sees it.
//!
//! The Authorization line decides, as an explicit credential does everywhere; whatever else came along goes nowhere. The
//! decision table is not asked: it was when the token was made, and its bar is that of a privileged route. A route that does
//! not list such tokens refuses them (in report mode they pass as nobody), and a public one takes them for nobody.

use std::sync::Arc;

use super::arm::{Stand, stand};
use super::{Caller, Decision, Refusal, Steps, World, arm_upstream, csrf, provide};
use crate::clock::Now;
use crate::identity::checks::Checks;
use crate::identity::legacy::Foreign;
use crate::identity::runner::{World as Beside, may_be_in};
use crate::identity::{self, Carrier, Identity, Method};
use crate::issuer::Judged;
use crate::policy::{self, Permit, Policy};
use crate::request::{Authorization, View, loose};
use crate::route::{Access, Captures, Route};
use crate::snapshot::Snapshot;

/// What is known of the token.
pub(super) enum Came {
    Valid(Arc<Identity>),
    Refused(Refusal),
}

/// The decision about a request with a runner token; `None` without one.
pub(super) fn decide(
    world: World<'_>,
    view: &View<'_>,
    caller: Caller<'_>,
    (route, policy, captures): (&Route, &Policy, &Captures<'_, '_>),
    now: Now,
    steps: &mut impl Steps,
) -> Option<Decision> {
    let snapshot = world.snapshot;
    let came = came(snapshot, view, caller, now, steps)?;
    let person = match &came {
        Came::Valid(person) if route.access != Access::Public => Some(person),
        Came::Valid(_) | Came::Refused(_) => None,
    };
    let at = match caller {
        Caller::Assumed(_, Some(side)) => Stand::assumed(side),
        Caller::Assumed(_, None) | Caller::Credentials(_) => stand(world, person.map(|person| &person.facts)),
    };
    let side = at.side(route.access);
    let by_arm = |permit: Permit| permit.by(route, arm_upstream(snapshot, side));
    let decided = |outcome, identity| Decision {
        side: Some(side),
        arm: Some(side).filter(|_| at.is_of_somebody),
        identity,
        ..Decision::of(Some(route.index), outcome)
    };
    if let (Came::Refused(refusal), Access::Protected | Access::Privileged) = (&came, route.access) {
        let reported = match refusal {
            Refusal::Identity(refusal) => Permit::reported_anonymous(route, refusal),
            _ => None,
        };
        steps.step("resolve", "refused", || refusal.reason());
        return Some(decided(reported.map(by_arm).ok_or_else(|| refusal.clone()), None));
    }
    // No other site's page can set the line, but a route may list the pages that may open its tunnels.
    if view.request.handshake.is_some() && !csrf::may_open(view, route, None, snapshot) {
        steps.step("websocket", "refused", || "its Origin may not open a WebSocket here".to_owned());
        return Some(decided(Err(Refusal::Identity(identity::Refusal::CrossSite)), None));
    }
    steps.step("arm", side.as_str(), || match (at.why, person) {
        (Some(why), _) => why.to_string(),
        (None, None) => "nobody is named: a public route takes no runner tokens".to_owned(),
        (None, Some(_)) => "there is nothing to choose".to_owned(),
    });
    let outcome = policy::authorize(route, policy, person, captures, view, steps)
        .map(by_arm)
        .and_then(|permit| provide(snapshot, route, permit, steps));
    if outcome.as_ref().is_ok_and(|permit| permit.identity().is_none() && permit.reported().is_some()) {
        steps.step("mode", "report", || "let through as nobody".to_owned());
    }
    super::told(&outcome, steps);
    let identity = person.map(|person| (Arc::clone(person), Carrier::Header));
    Some(decided(outcome.map_err(Refusal::Policy), identity))
}

/// What the request's runner token is worth; `None` without one.
pub(super) fn came(
    snapshot: &Snapshot,
    view: &View<'_>,
    caller: Caller<'_>,
    now: Now,
    steps: &mut impl Steps,
) -> Option<Came> {
    let tries = match caller {
        Caller::Assumed(person, _) if matches!(person.facts.method, Method::Runner(_)) => {
            steps.step("identity", "valid", || format!("{}, assumed", person.facts.subject));
            return Some(Came::Valid(Arc::clone(person)));
        }
        Caller::Assumed(..) => return None,
        Caller::Credentials(tries) => tries,
    };
    let runner = snapshot.runner.as_ref()?;
    let Authorization::Bearer(token) = &view.request.credentials.authorization else { return None };
    if !runner.owns(token) {
        return None;
    }
    Some(match runner.judge(token, beside(snapshot, tries.checks), now, tries.clerk) {
        Judged::Valid(person) => {
            steps.step("runner", "valid", || format!("{} by a runner token", person.facts.subject));
            Came::Valid(person)
        }
        Judged::Invalid(reason) => {
            if reason.is_forgery() {
                steps.failed_check();
            }
            steps.step("runner", "invalid", || reason.to_string());
            Came::Refused(Refusal::Identity(identity::Refusal::Runner(reason)))
        }
        Judged::Unchecked => Came::Refused(Refusal::Unchecked),
    })
}

/// Whether a request brings a runner token, whatever it is worth.
pub(super) fn is_there(snapshot: &Snapshot, view: &View<'_>) -> bool {
    match &view.request.credentials.authorization {
        Authorization::Bearer(token) => snapshot.runner.as_ref().is_some_and(|runner| runner.owns(token)),
        Authorization::Absent | Authorization::Malformed => false,
    }
}

/// Whether a text holds a runner token, in any reading: wherever it travels, it is for no API and no legacy server.
pub(in crate::gate) fn is_in(snapshot: &Snapshot, text: &[u8]) -> bool {
    let Some(runner) = &snapshot.runner else { return false };
    loose::holds(text, may_be_in, |token| runner.owns(token))
}

impl Foreign for Snapshot {
    fn is_in(&self, text: &str) -> bool {
        is_in(self, text.as_bytes())
    }
}

/// What the world of now adds to a token.
fn beside<'a>(snapshot: &'a Snapshot, checks: Checks<'a>) -> Beside<'a> {
    Beside {
        linking: &snapshot.linking,
        headers: &snapshot.headers,
        has_legacy: snapshot.legacy.is_some(),
        instances: &snapshot.instances,
        checks,
    }
}
