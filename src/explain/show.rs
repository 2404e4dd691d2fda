//! An explained decision as people and programs read it. Never a token: steps say what was checked, not what it was.

use serde_json::{Value, json};

use super::Explained;
use crate::gate::decide::Decision;
use crate::gate::reply::reported_code;
use crate::identity::{Carrier, Identity};
use crate::policy::Permit;
use crate::rollout::Side;
use crate::snapshot::Snapshot;

/// One object, as the contract of `explain --format json` has it.
pub fn to_json(explained: &Explained, snapshot: &Snapshot) -> Value {
    let decision = &explained.decision;
    let route = decision.route.and_then(|index| snapshot.routes.get(index));
    let (status, code, reason) = outcome(decision);
    json!({
        "decision": if decision.outcome.is_ok() { "allow" } else { "deny" },
        "status": status,
        "code": code,
        "reason": reason,
        "reported": decision.outcome.as_ref().ok().and_then(Permit::reported).map(|reported| reported_code(reported).as_str()),
        "route": route.map(|route| &*route.id),
        "access": route.map(|route| route.access.as_str()),
        "mode": route.map(|route| route.mode.as_str()),
        "arm": decision.side.unwrap_or(nobodys(snapshot)).as_str(),
        "identity": decision.identity.as_ref().map(|(identity, carrier)| {
            person(identity, Some(*carrier).filter(|_| !explained.assumed))
        }),
        "headers": explained.headers,
        "path": explained.request.as_ref().map(|request| request.path.as_str()),
        "steps": explained.steps,
        "upstream": decision.outcome.as_ref().ok().and_then(|permit| snapshot.upstreams.get(permit.upstream()))
            .map(|upstream| &*upstream.name),
        "snapshot": &*snapshot.id,
    })
}

/// The side of whoever is not named.
const fn nobodys(snapshot: &Snapshot) -> Side {
    if snapshot.legacy.is_some() { Side::Legacy } else { Side::Clerk }
}

/// Status, code and reason of the answer.
pub fn outcome(decision: &Decision) -> (u16, &'static str, String) {
    match &decision.outcome {
        Ok(permit) => {
            let reason = permit.reported().map_or_else(String::new, |refusal| format!("report mode: {refusal}"));
            (200, "ok", reason)
        }
        Err(refusal) => (refusal.code().status(), refusal.code().as_str(), refusal.reason()),
    }
}

/// Somebody, without their credential.
fn person(identity: &Identity, carrier: Option<Carrier>) -> Value {
    let facts = &identity.facts;
    json!({
        "subject": facts.subject,
        "method": facts.method.as_str(),
        "token": facts.token.as_str(),
        "carrier": carrier.map(|carrier| carrier.to_string()),
        "instance": carrier.map(|_| &*facts.instance),
        "session": facts.session,
        "org": facts.org.as_ref().map(|org| json!({
            "id": org.id, "slug": org.slug, "role": org.role, "permissions": org.permissions,
        })),
        "actor": facts.actor,
    })
}
