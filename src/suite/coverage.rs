//! What the tests of a config show of its routes, and what they leave open.
//!
//! Counted are points: of each route that somebody got through; of one that is guarded also that nobody did without a
//! credential, that each condition of its rule refused somebody, and that each alternative of an `any` let somebody in.
//! Only tests that passed count. Says nothing about whether the tests are right.

use std::collections::HashSet;

use http::HeaderMap;
use serde_json::{Value, json};

use super::Judged;
use crate::explain::Explained;
use crate::gate::decide::Refusal;
use crate::identity::TokenKind;
use crate::policy::{Kind, Reported};
use crate::request::View;
use crate::route::{Access, Place};
use crate::snapshot::Snapshot;

/// What one decision shows of its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    route: usize,
    shown: Vec<Shown>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shown {
    Allowed,
    /// Without a credential.
    Nobody,
    /// By the index of the part.
    Part(usize),
}

impl Seen {
    /// `headers`: the request's, as they were sent.
    pub(super) fn of(explained: &Explained, headers: &HeaderMap, snapshot: &Snapshot) -> Option<Self> {
        let decision = &explained.decision;
        let (route, request) = (decision.route?, explained.request.as_deref()?);
        if request.preflight.is_some() {
            // It passes as nobody, whatever the rule says: the request that it announces shows something.
            return None;
        }
        let mut shown = Vec::new();
        // Report mode lets through what it would refuse: for a test that is a refusal.
        let (allowed, nobody, by_rule) = match &decision.outcome {
            Ok(permit) => match permit.reported() {
                None => (true, false, false),
                Some(Reported::Unauthenticated(refusal)) => (false, is_nobody(refusal), false),
                Some(Reported::Refused(_)) => (false, false, true),
            },
            Err(Refusal::Identity(refusal)) => (false, is_nobody(refusal), false),
            Err(Refusal::Policy(_)) => (false, false, true),
            Err(_) => (false, false, false),
        };
        if allowed {
            shown.push(Shown::Allowed);
        }
        if nobody {
            shown.push(Shown::Nobody);
        }
        let view = View { request, headers };
        let person = decision.identity.as_ref().map(|(person, _)| &person.facts);
        if let (Some(policy), Some(facts), Ok(found)) =
            (snapshot.policies.get(route), person, snapshot.routes.find(&view))
        {
            let parts = policy.parts();
            let holds = |index: usize| parts.get(index).is_some_and(|part| part.holds(facts, &found.captures, &view));
            if by_rule {
                // The one that is named is the first that does not hold.
                let mut conditions =
                    (0..parts.len()).filter(|index| parts.get(*index).is_some_and(|part| part.kind == Kind::Condition));
                shown.extend(conditions.find(|index| !holds(*index)).map(Shown::Part));
            }
            if allowed {
                let alternatives =
                    (0..parts.len()).filter(|index| parts.get(*index).is_some_and(|part| part.kind != Kind::Condition));
                shown.extend(alternatives.filter(|index| holds(*index)).map(Shown::Part));
            }
        }
        Some(Self { route, shown })
    }
}

fn is_nobody(refusal: &crate::identity::Refusal) -> bool {
    matches!(refusal, crate::identity::Refusal::NoCredential)
}

/// What is shown and what is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    /// In the order of the routes.
    pub routes: Vec<Covered>,
}

/// Of one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Covered {
    pub id: String,
    pub place: Place,
    pub access: &'static str,
    pub points: Vec<Point>,
}

/// One thing that a test can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// `allow`, `nobody`, `deny role`, `any 1: claim staff`.
    pub name: String,
    pub is_shown: bool,
}

impl Coverage {
    /// What the cases that passed show of all routes.
    pub fn of<'j>(snapshot: &Snapshot, judged: impl IntoIterator<Item = &'j Judged>) -> Self {
        let passed = judged.into_iter().filter(|judged| judged.passed());
        let seen = passed.flat_map(|judged| &judged.runs).filter_map(|run| run.got.seen.as_ref());
        let seen: HashSet<(usize, Shown)> =
            seen.flat_map(|seen| seen.shown.iter().map(|shown| (seen.route, *shown))).collect();
        // Of a kind that nobody can have here, no test can be refused.
        let kinds = [
            (TokenKind::Session, snapshot.instances.iter().next().is_some()),
            (TokenKind::Legacy, snapshot.legacy.is_some()),
            (TokenKind::Runner, snapshot.runner.is_some()),
        ];
        let kinds: Vec<TokenKind> = kinds.into_iter().filter_map(|(kind, exists)| exists.then_some(kind)).collect();
        let routes = snapshot.routes.iter().map(|route| {
            let point = |name: String, shown: Shown| Point { name, is_shown: seen.contains(&(route.index, shown)) };
            let mut points = vec![point("allow".to_owned(), Shown::Allowed)];
            if matches!(route.access, Access::Protected | Access::Privileged) {
                points.push(point("nobody".to_owned(), Shown::Nobody));
                let parts = snapshot.policies.get(route.index).map(|policy| policy.parts()).unwrap_or_default();
                let parts = parts.iter().enumerate().filter(|(_, part)| !part.takes_all(&kinds));
                points.extend(parts.map(|(index, part)| {
                    let name = match part.kind {
                        Kind::Condition => format!("deny {}", part.name()),
                        Kind::Alternative(number) => format!("any {number}: {}", part.name()),
                    };
                    point(name, Shown::Part(index))
                }));
            }
            let access = route.access.as_str();
            Covered { id: route.id.to_string(), place: route.place.clone(), access, points }
        });
        Self { routes: routes.collect() }
    }

    /// Points that are shown, and all.
    pub fn counts(&self) -> (usize, usize) {
        let points = || self.routes.iter().flat_map(|route| &route.points);
        (points().filter(|point| point.is_shown).count(), points().count())
    }

    /// 0 to 100; of nothing everything is shown.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn percent(&self) -> f64 {
        let (shown, all) = self.counts();
        if all == 0 { 100.0 } else { shown as f64 * 100.0 / all as f64 }
    }

    pub fn to_json(&self) -> Value {
        let (shown, all) = self.counts();
        let routes: Vec<Value> = self
            .routes
            .iter()
            .map(|route| {
                let names = |is_shown: bool| -> Vec<&str> {
                    let points = route.points.iter().filter(|point| point.is_shown == is_shown);
                    points.map(|point| &*point.name).collect()
                };
                json!({
                    "route": route.id,
                    "file": &*route.place.file,
                    "line": route.place.line,
                    "access": route.access,
                    "covered": names(true),
                    "missing": names(false),
                })
            })
            .collect();
        json!({ "percent": self.percent(), "covered": shown, "points": all, "routes": routes })
    }
}
