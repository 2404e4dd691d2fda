//! The story of a request, told once.
//!
//! [`decide`] is a pure function of the compiled world, a view of the request and the clock: the proxy, `crossgate
//! explain` and the benches all call it, so that what an operator is told is what a request meets. The one thing it cannot
//! do is wait: when a key or an answer is missing that a fetch might bring, it says so ([`Decided::Wait`]) and is called
//! again.

use std::sync::Arc;

use crate::audit;
use crate::clock::Now;
use crate::identity::checks::Checks;
use crate::identity::{self, Carrier, Identity, Method, Verdict, legacy};
use crate::inject::Proven;
use crate::policy::{self, Permit, Policy};
use crate::request::{self, View};
use crate::rollout::{Current, Side};
use crate::route;
use crate::snapshot::Snapshot;

mod arm;
mod csrf;
mod login;
mod prove;
mod resolve;
mod runner;
pub mod shadow;
mod standing;
pub mod table;
mod verify;

pub use prove::{Proof, Proved, prove};
pub(super) use runner::is_in as holds_runner_token;
pub(super) use standing::{Asked, standing};
pub use verify::{Tries, Wait};

use arm::Stand;
use resolve::Moment;
use shadow::Shadow;
use verify::Verdicts;
pub(super) use verify::verifier;

/// Why a request does not go upstream. Each step has its own enum; `gate::reply` has the one table of answers.
#[derive(Debug, Clone)]
pub enum Refusal {
    Request(request::Refusal),
    Route(route::Refusal),
    Identity(identity::Refusal),
    Policy(policy::Refusal),
    /// More requests are in flight than `limits.in_flight`.
    Overloaded,
    /// Too many bad signatures came from the client's address: this unknown token was not even checked.
    Unchecked,
    /// The privileged action cannot be recorded, so that it does not go on. Raised by the gate, never by [`decide`].
    Audit,
    /// The API's side failed.
    Upstream(super::reply::Code),
}

/// What a decision is made by.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    /// What is in force of the rollout; `None` where there is none.
    pub rollout: Option<&'a Current>,
}

/// What became of one request.
#[derive(Debug)]
pub struct Decision {
    /// Index of the route, if one was found.
    pub route: Option<usize>,
    /// The side that counted, after the guard; `None` where nobody was asked for.
    pub side: Option<Side>,
    /// The same where it is somebody's arm, or everybody's: what is counted and written down.
    pub arm: Option<Side>,
    /// The person whose identity goes upstream; also one who was verified and then refused.
    pub identity: Option<(Arc<Identity>, Carrier)>,
    pub outcome: Result<Permit, Refusal>,
    /// Which of the credentials may go on.
    pub proven: Proven,
    /// Whose the Authorization line is.
    pub bearer: Option<Side>,
    /// `x-crossgate-upgrade: clerk`.
    pub upgrade: bool,
    /// The credentials named two people and were taken away.
    pub conflict: bool,
    /// Worth fetching, but not worth waiting for.
    pub refetch: Option<Wait>,
    /// The answer carries an arm cookie that says so: the login began here.
    pub keeps: Option<Side>,
    /// Where both logins spoke: how they compare. Changed nothing of the above.
    pub shadow: Option<Shadow>,
}

impl Decision {
    /// Nobody, and nothing but this outcome.
    pub const fn of(route: Option<usize>, outcome: Result<Permit, Refusal>) -> Self {
        Self {
            route,
            side: None,
            arm: None,
            identity: None,
            outcome,
            proven: Proven { clerk: None, legacy_header: false, legacy_cookie: false },
            bearer: None,
            upgrade: false,
            conflict: false,
            refetch: None,
            keeps: None,
            shadow: None,
        }
    }
}

/// A decision, or what has to come first.
#[derive(Debug)]
pub enum Decided {
    Done(Decision),
    /// Await it, then call again with the [`Tries`] that are left.
    Wait(Wait),
}

/// Who the request is judged as.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Whoever its credentials prove.
    Credentials(Tries<'a>),
    /// What-if (`explain --as`): this person, without a credential; in this arm, or in the one that the rollout gives.
    Assumed(&'a Arc<Identity>, Option<Side>),
}

/// Follows the steps as they are taken. `()` follows nothing and costs nothing.
pub trait Steps: policy::Trace {
    /// One step: its name, its outcome, and details that are only built when somebody follows.
    fn step(&mut self, step: &'static str, outcome: &'static str, detail: impl FnOnce() -> String);

    /// A signature was checked and did not hold.
    fn failed_check(&mut self) {}
}

impl Steps for () {
    fn step(&mut self, _: &'static str, _: &'static str, _: impl FnOnce() -> String) {}
}

/// Route, identity, arm, policy: who may pass, and as whom.
pub fn decide(world: World<'_>, view: &View<'_>, caller: Caller<'_>, now: Now, steps: &mut impl Steps) -> Decided {
    let snapshot = world.snapshot;
    let own_options = snapshot.routes.find_own_options(view);
    let is_exempt = own_options.is_none();
    let found = match own_options.map_or_else(|| snapshot.routes.find(view), Ok) {
        Ok(found) => found,
        Err(refusal) => {
            steps.step("route", "refused", || refusal.to_string());
            return done(Decision::of(None, Err(Refusal::Route(refusal))));
        }
    };
    let route = found.route;
    steps.step("route", "found", || format!("{} at {}", route.id, route.place));
    let Some(policy) = snapshot.policies.get(route.index) else {
        // INVARIANT: a snapshot holds one policy a route; without one nothing is permitted.
        return done(Decision::of(None, Err(Refusal::Route(route::Refusal::NoRoute))));
    };

    if !view.request.oddities.is_empty() {
        let recorded = snapshot.audit.routes.get(route.index);
        let mut positions = policy.positions();
        positions.extend(recorded.into_iter().flat_map(audit::RouteRules::positions));
        if snapshot.routes.reads_otherwise(view, &found, &positions) {
            let refusal = route::Refusal::AnotherReading { route: Arc::clone(&route.id), reading: route::Reading::Odd };
            steps.step("route", "refused", || format!("{refusal}, with other values than are compared here"));
            return done(Decision::of(None, Err(Refusal::Route(refusal))));
        }
    }

    if let Some(permit) = Permit::preflight(route, view).filter(|_| is_exempt) {
        // A browser sends no credentials with a preflight; the route's own request will be judged when it comes.
        steps.step("identity", "skipped", || "a preflight carries no credentials".to_owned());
        let at = arm::stand(world, None);
        let side = at.side(route.access);
        let permit = permit.by(route, arm_upstream(snapshot, side));
        let arm = Some(side).filter(|_| at.is_of_somebody);
        return done(Decision { side: Some(side), arm, ..Decision::of(Some(route.index), Ok(permit)) });
    }

    if route.access == route::Access::Login {
        return done(login::pass(world, view, &found, policy, caller, now, steps));
    }

    if let Some(decision) = runner::decide(world, view, caller, (route, policy, &found.captures), now, steps) {
        return done(decision);
    }

    let verified = match caller {
        Caller::Credentials(tries) => verify::verify(snapshot, view, route.access, tries, now),
        Caller::Assumed(person, _) => Ok(Verdicts::assumed(person)),
    };
    let verdicts = match verified {
        Ok(verdicts) => verdicts,
        Err(verify::Pause::Wait(wait)) => return Decided::Wait(wait),
        Err(verify::Pause::Refused(refusal)) => {
            steps.step("identity", "refused", || refusal.reason());
            return done(Decision::of(Some(route.index), Err(refusal)));
        }
    };
    follow(&verdicts, caller, snapshot, steps);

    let assumed = match caller {
        Caller::Credentials(_) => None,
        Caller::Assumed(_, arm) => Some(arm),
    };
    let moment = Moment { now, assumed, stand: None, takes_unproven: policy.asks_for_nothing() };
    let checks = match caller {
        Caller::Credentials(tries) => tries.checks.muted(),
        Caller::Assumed(..) => Checks::NOBODY,
    };
    let case = Case { world, view, found: &found, policy, moment, checks };
    let (mut decision, stand) = judge(&case, &verdicts, steps);
    decision.shadow = shadow::compare(&case, &verdicts, &decision, stand);
    if let Some(shadow) = &decision.shadow {
        steps.step("shadow", shadow.comparison.overall().as_str(), || shadow.to_string());
    }
    decision.refetch = verdicts.refetch;
    done(decision)
}

/// What of a request is the same whoever it turns out to be from.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    world: World<'a>,
    view: &'a View<'a>,
    found: &'a route::Found<'a, 'a>,
    policy: &'a Policy,
    moment: Moment,
    checks: Checks<'a>,
}

/// What these verdicts come to, and where the person whom they name stands.
fn judge(case: &Case<'_>, verdicts: &Verdicts, steps: &mut impl Steps) -> (Decision, Stand) {
    let Case { world, view, found, policy, moment, checks } = *case;
    let (snapshot, route) = (world.snapshot, found.route);
    let resolution = resolve::resolve(verdicts, route, view, world, moment);
    let (side, stand) = (resolution.side, resolution.stand);
    let bearer = match &view.request.credentials.authorization {
        request::Authorization::Absent => None,
        _ if verdicts.took_authorization => Some(Side::Legacy),
        _ => Some(Side::Clerk),
    };
    let mut decision = Decision {
        side: Some(side),
        arm: Some(side).filter(|_| resolution.is_of_somebody),
        bearer,
        ..Decision::of(Some(route.index), Err(Refusal::Identity(identity::Refusal::NoCredential)))
    };
    let by_arm = |permit: Permit| permit.by(route, arm_upstream(snapshot, side));
    let cell = || format!("{} → {}", resolution.inputs.settle(), said(&table::resolve(resolution.inputs)));
    steps.step("table", "asked", cell);
    let standing = match resolution.outcome {
        Ok(standing) => standing,
        Err(refusal) => {
            steps.step("arm", side.as_str(), || {
                let person = resolution.verified.as_ref().map(|(person, _)| &person.facts);
                arm::told(world, resolution.why, stand, person, moment.assumed.flatten().is_some())
            });
            steps.step("resolve", "refused", || refusal.to_string());
            decision.identity = resolution.verified;
            decision.outcome = match Permit::reported_anonymous(route, &refusal) {
                Some(permit) => {
                    steps.step("mode", "report", || "let through as nobody".to_owned());
                    // The API decides about its own credential, as it did before crossgate stood in front of it.
                    // One that was sealed proves nothing there either: the map is newer than the API.
                    if refusal != identity::Refusal::LegacySealed && !names_somebody_sealed(&verdicts.legacy) {
                        decision.proven = login::left_to_the_api(snapshot, view, moment.now, checks);
                    }
                    Ok(by_arm(permit))
                }
                None => Err(Refusal::Identity(refusal)),
            };
            return (decision, stand);
        }
    };
    if view.request.handshake.is_some() {
        // The legacy side's cookies were its own matter before, and stay that.
        let person = standing.person.as_ref().filter(|(person, _)| person.facts.method == Method::Clerk);
        if !csrf::may_open(view, route, person.map(|(person, carrier)| (&**person, *carrier)), snapshot) {
            steps.step("websocket", "refused", || "its Origin may not open a WebSocket here".to_owned());
            decision.outcome = Err(Refusal::Identity(identity::Refusal::CrossSite));
            return (decision, stand);
        }
        steps.step("websocket", "allowed", || "the handshake is complete".to_owned());
    }
    steps.step("arm", side.as_str(), || {
        let person = standing.person.as_ref().map(|(person, _)| &person.facts);
        arm::told(world, resolution.why, stand, person, moment.assumed.flatten().is_some())
    });

    let person = standing.person.as_ref().map(|(person, _)| person);
    let outcome = if standing.is_unproven {
        steps.step("identity", "unproven", || "the API verifies the legacy credential by itself".to_owned());
        Permit::unproven(route, policy)
    } else {
        policy::authorize(route, policy, person, &found.captures, view, steps)
    };
    let outcome = outcome.map(by_arm).and_then(|permit| provide(snapshot, route, permit, steps));
    told(&outcome, steps);
    let decision = Decision {
        identity: standing.person,
        outcome: outcome.map_err(Refusal::Policy),
        proven: standing.proven,
        upgrade: standing.upgrade,
        conflict: standing.conflict,
        ..decision
    };
    (decision, stand)
}

/// What the table says, in a few words.
fn said(resolved: &Result<table::Resolved, table::Denial>) -> String {
    match resolved {
        Ok(resolved) => {
            let whose = match resolved.side() {
                None => "nobody",
                Some(Side::Legacy) => "the person of the legacy credential",
                Some(Side::Clerk) => "the person of the Clerk credential",
            };
            let detail = match resolved {
                table::Resolved::Nobody(table::Stripped::Nothing)
                | table::Resolved::Person(_, table::Beside::Nothing) => "",
                table::Resolved::Nobody(table::Stripped::Credentials) => "; what proves nothing is taken away",
                table::Resolved::Nobody(table::Stripped::Conflict) => "; two people's credentials are taken away",
                table::Resolved::Person(_, table::Beside::Other) => "; the other side agrees",
                table::Resolved::Person(_, table::Beside::Upgrade) => "; they may move to Clerk",
            };
            format!("as {whose}{detail}")
        }
        Err(denial) => format!("refused, {}", denial.code().as_str()),
    }
}

/// Tells whoever follows what the rule came to.
fn told(outcome: &Result<Permit, policy::Refusal>, steps: &mut impl Steps) {
    steps.step("policy", if outcome.is_ok() { "allowed" } else { "refused" }, || match outcome {
        Ok(permit) => match permit.reported() {
            Some(refusal) => format!("report mode lets through: {refusal}"),
            None => "every condition holds".to_owned(),
        },
        Err(refusal) => refusal.to_string(),
    });
}

/// The predicate of somebody whom every condition lets through, and of whom no token can be made.
const LACKS_TOKEN: &str = "legacy_token";

/// Whether the person has what a minted token says, where the API gets one. On a public route nobody has to be anybody:
/// without a token, the request goes up as nobody's.
fn provide(
    snapshot: &Snapshot,
    route: &route::Route,
    permit: Permit,
    steps: &mut impl Steps,
) -> Result<Permit, policy::Refusal> {
    let gets_tokens = snapshot.upstreams.get(permit.upstream()).is_some_and(|upstream| upstream.puts.legacy_tokens());
    let Some(mint) = snapshot.mint.as_ref().filter(|_| gets_tokens) else { return Ok(permit) };
    let Some(person) = permit.identity().filter(|person| person.facts.method != Method::Legacy) else {
        return Ok(permit);
    };
    let Some(lacks) = mint.lacks(&person.facts) else {
        steps.step("legacy_token", "minted", || "in the name of this person".to_owned());
        return Ok(permit);
    };
    if route.access == route::Access::Public {
        steps.step("legacy_token", "left out", || format!("nothing gives this person a {lacks}"));
        return Ok(permit);
    }
    steps.step("legacy_token", "refused", || format!("nothing gives this person a {lacks}"));
    permit.lacking(route, LACKS_TOKEN)
}

/// Tells whoever follows what both sides said, and counts forgeries.
fn follow(verdicts: &Verdicts, caller: Caller<'_>, snapshot: &Snapshot, steps: &mut impl Steps) {
    if matches!(&verdicts.clerk, Verdict::Invalid { reason, .. } if reason.is_forgery()) {
        steps.failed_check();
    }
    if matches!(&verdicts.legacy, legacy::Verdict::Invalid { reason, .. } if reason.is_forgery()) {
        steps.failed_check();
    }
    if let Caller::Assumed(person, _) = caller {
        steps.step("identity", "valid", || format!("{}, assumed", person.facts.subject));
        return;
    }
    if snapshot.legacy.is_some() {
        steps.step("legacy", verdicts.legacy.name(), || verdicts.legacy.to_string());
    }
    if snapshot.legacy.is_none() || !snapshot.instances.is_empty() {
        let step = if snapshot.legacy.is_some() { "clerk" } else { "identity" };
        steps.step(step, verdicts.clerk.name(), || verdicts.clerk.to_string());
    }
}

/// Whether a legacy credential verifies and proves nothing any more.
fn names_somebody_sealed(verdict: &legacy::Verdict) -> bool {
    matches!(verdict, legacy::Verdict::Valid { identity, .. } if !identity.facts.link.legacy_proves())
}

fn arm_upstream(snapshot: &Snapshot, side: Side) -> Option<usize> {
    snapshot.rollout.as_ref().and_then(|plan| plan.upstreams.of(side))
}

fn done(decision: Decision) -> Decided {
    Decided::Done(decision)
}
