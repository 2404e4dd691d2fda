//! What a decision was, in the words that a test can expect.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::coverage::Seen;
use crate::explain::Explained;
use crate::explain::show;
use crate::explain::steps::Step;
use crate::gate::decide::{Decision, Refusal};
use crate::policy::Reported;
use crate::rollout::Side;
use crate::snapshot::Snapshot;

/// The outcome of one case in one arm.
#[derive(Debug)]
pub struct Got {
    pub is_allowed: bool,
    pub status: u16,
    pub code: &'static str,
    /// Empty where nothing is in the way.
    pub reason: String,
    /// Why it was refused or, in report mode, would have been.
    pub refusal: Option<Named>,
    pub route: Option<Arc<str>>,
    /// The side that counts, after the guard; where nobody is asked for, that of everybody.
    pub arm: Side,
    pub upstream: Option<String>,
    /// The identity headers that the API gets.
    pub headers: Map<String, Value>,
    pub steps: Vec<Step>,
    /// What it shows of its route.
    pub seen: Option<Seen>,
}

/// A refusal, by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub code: &'static str,
    /// The predicate of the rule that did not hold.
    pub predicate: Option<&'static str>,
}

impl Named {
    /// The one to be laid beside the word that a test chose; the predicate where it chose none.
    pub(super) fn word(&self, chosen: Option<&str>) -> &'static str {
        match self.predicate {
            Some(predicate) if chosen != Some(self.code) => predicate,
            _ => self.code,
        }
    }

    fn of(refusal: &Refusal) -> Self {
        let predicate = match refusal {
            Refusal::Policy(refusal) => Some(refusal.predicate()),
            _ => None,
        };
        Self { code: refusal.code().as_str(), predicate }
    }

    fn of_decision(decision: &Decision) -> Option<Self> {
        match &decision.outcome {
            Err(refusal) => Some(Self::of(refusal)),
            Ok(permit) => permit.reported().map(|reported| match reported {
                Reported::Unauthenticated(refusal) => Self::of(&Refusal::Identity(refusal.clone())),
                Reported::Refused(refusal) => Self::of(&Refusal::Policy(refusal.clone())),
            }),
        }
    }
}

impl Got {
    /// `headers`: the request's, as they were sent.
    pub(super) fn of(explained: Explained, headers: &HeaderMap, snapshot: &Snapshot) -> Self {
        let decision = &explained.decision;
        let (status, code, reason) = show::outcome(decision);
        let refusal = Named::of_decision(decision);
        let seen = Seen::of(&explained, headers, snapshot);
        let everybodys = if snapshot.legacy.is_some() { Side::Legacy } else { Side::Clerk };
        let upstream = decision.outcome.as_ref().ok().and_then(|permit| snapshot.upstreams.get(permit.upstream()));
        Self {
            is_allowed: decision.outcome.is_ok(),
            status,
            code,
            reason,
            refusal,
            route: decision.route.and_then(|index| snapshot.routes.get(index)).map(|route| Arc::clone(&route.id)),
            arm: decision.side.unwrap_or(everybodys),
            upstream: upstream.map(|upstream| upstream.name.to_string()),
            headers: explained.headers,
            steps: explained.steps,
            seen,
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "decision": if self.is_allowed { "allow" } else { "deny" },
            "status": self.status,
            "code": self.code,
            "reason": self.reason,
            "predicate": self.refusal.as_ref().and_then(|named| named.predicate),
            "route": self.route.as_deref(),
            "arm": self.arm.as_str(),
            "upstream": self.upstream,
            "headers": self.headers,
        })
    }
}
