//! The story of a request, told once.
//!
//! [`decide`] is a pure function of a snapshot, a view of the request and the clock: the proxy, `crossgate explain`
//! and the benches all call it, so that what an operator is told is what a request meets. The one thing it cannot do
//! is wait: when a key is missing that a fetch might bring, it says so ([`Decided::Fetch`]) and is called again.

use std::sync::Arc;

use crate::clock::Now;
use crate::identity::clerk::{Attempt, Instance, Pause, Verifier};
use crate::identity::{self, Carrier, Identity, Reason, Verdict};
use crate::policy::{self, Permit};
use crate::request::{self, View};
use crate::route::{self, Access, Route};
use crate::snapshot::Snapshot;

mod csrf;
mod resolve;
pub mod table;

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

/// What became of one request.
#[derive(Debug)]
pub struct Decision {
    /// Index of the route, if one was found.
    pub route: Option<usize>,
    /// The person whose identity goes upstream, also where policy then refused them.
    pub identity: Option<(Arc<Identity>, Carrier)>,
    pub outcome: Result<Permit, Refusal>,
}

/// A decision, or the fetch that has to come first.
#[derive(Debug)]
pub enum Decided {
    Done(Decision),
    /// Ask `instance` for the key set once, then call again with `fetched`.
    Fetch {
        instance: Arc<Instance>,
        kid: Option<Box<str>>,
    },
}

/// Who the request is judged as.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Whoever its credentials prove.
    Credentials(Attempt),
    /// What-if (`explain --as`): this person, without a credential.
    Assumed(&'a Arc<Identity>),
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

/// Route, identity, policy: who may pass, and as whom.
pub fn decide(snapshot: &Snapshot, view: &View<'_>, caller: Caller<'_>, now: Now, steps: &mut impl Steps) -> Decided {
    let own_options = snapshot.routes.find_own_options(view);
    let is_exempt = own_options.is_none();
    let found = match own_options.map_or_else(|| snapshot.routes.find(view), Ok) {
        Ok(found) => found,
        Err(refusal) => {
            steps.step("route", "refused", || refusal.to_string());
            return refused(None, None, Refusal::Route(refusal));
        }
    };
    let route = found.route;
    steps.step("route", "found", || format!("{} at {}", route.id, route.place));
    let Some(policy) = snapshot.policies.get(route.index) else {
        // INVARIANT: a snapshot holds one policy a route; without one nothing is permitted.
        return refused(None, None, Refusal::Route(route::Refusal::NoRoute));
    };

    if let Some(permit) = Permit::preflight(route, view).filter(|_| is_exempt) {
        // A browser sends no credentials with a preflight; the route's own request will be judged when it comes.
        steps.step("identity", "skipped", || "a preflight carries no credentials".to_owned());
        return Decided::Done(Decision { route: Some(route.index), identity: None, outcome: Ok(permit) });
    }

    let verified = match caller {
        Caller::Credentials(attempt) => verifier(snapshot).verify(&view.request.credentials, now, attempt),
        Caller::Assumed(person) => Ok(Verdict::Valid { identity: Arc::clone(person), carrier: Carrier::Header }),
    };
    let verdict = match verified {
        Ok(verdict) => verdict,
        Err(Pause::NeedKeys { instance, kid }) => return Decided::Fetch { instance, kid },
        Err(Pause::Ambiguous | Pause::Unchecked) if route.access == Access::Public => Verdict::Absent,
        Err(Pause::Unchecked) => {
            steps.step("identity", "refused", || "too many bad signatures from this address".to_owned());
            return refused(Some(route), None, Refusal::Unchecked);
        }
        Err(Pause::Ambiguous) => {
            steps.step("identity", "refused", || identity::Refusal::Ambiguous.to_string());
            return refused(Some(route), None, Refusal::Identity(identity::Refusal::Ambiguous));
        }
    };
    if matches!(verdict, Verdict::Invalid { reason: Reason::TokenInvalidSignature, .. }) {
        steps.failed_check();
    }
    steps.step("identity", verdict.name(), || match caller {
        Caller::Credentials(_) => verdict.to_string(),
        Caller::Assumed(person) => format!("{}, assumed", person.facts.subject),
    });

    let age = match caller {
        Caller::Credentials(_) => Some(now),
        Caller::Assumed(_) => None,
    };
    let identity = match resolve::resolve(&verdict, route, view, snapshot, age) {
        Ok(identity) => identity,
        Err(refusal) => {
            steps.step("resolve", "refused", || refusal.to_string());
            return match Permit::reported_anonymous(route, &refusal) {
                Some(permit) => {
                    steps.step("mode", "report", || "let through as nobody".to_owned());
                    Decided::Done(Decision { route: Some(route.index), identity: None, outcome: Ok(permit) })
                }
                None => refused(Some(route), None, Refusal::Identity(refusal)),
            };
        }
    };
    if view.request.handshake.is_some() {
        let person = identity.as_ref().map(|(person, carrier)| (&**person, *carrier));
        if !csrf::may_open(view, route, person, snapshot) {
            let refusal = identity::Refusal::CrossSite;
            steps.step("websocket", "refused", || "its Origin may not open a WebSocket here".to_owned());
            return refused(Some(route), None, Refusal::Identity(refusal));
        }
        steps.step("websocket", "allowed", || "the handshake is complete".to_owned());
    }
    steps.step("arm", "clerk", || "there is no legacy side".to_owned());

    let person = identity.as_ref().map(|(person, _)| person);
    let outcome = policy::authorize(route, policy, person, &found.captures, view, steps).map_err(Refusal::Policy);
    steps.step("policy", if outcome.is_ok() { "allowed" } else { "refused" }, || match &outcome {
        Ok(permit) => match permit.reported() {
            Some(refusal) => format!("report mode lets through: {refusal}"),
            None => "every condition holds".to_owned(),
        },
        Err(refusal) => refusal.reason(),
    });
    Decided::Done(Decision { route: Some(route.index), identity, outcome })
}

fn verifier(snapshot: &Snapshot) -> Verifier<'_> {
    Verifier {
        instances: &snapshot.instances,
        cache: &snapshot.cache,
        headers: &snapshot.headers,
        workspaces_claim: snapshot.workspaces_claim.as_deref(),
    }
}

fn refused(route: Option<&Route>, identity: Option<(Arc<Identity>, Carrier)>, refusal: Refusal) -> Decided {
    Decided::Done(Decision { route: route.map(|route| route.index), identity, outcome: Err(refusal) })
}
