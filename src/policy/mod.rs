//! What a caller may do: the rule of a route, and the only place that makes a [`Permit`].
//!
//! Called by `gate::decide` with a verified identity. Three-valued throughout: what cannot be evaluated is unknown,
//! stays unknown under `not`, and denies. Never verifies a credential, never reads an org, role or workspace out
//! of the request except to compare it with what the credential says.

mod claim;
mod condition;
mod has;
mod parts;
mod permit;
mod possible;
mod reverify;
mod roles;
mod rule;
mod template;
mod trace;
mod tri;

use std::sync::Arc;

use http::HeaderName;

use crate::identity::{Facts, Identity, TokenKind};
use crate::request::View;
use crate::route::{Access, Captures, Mode, Route};

pub use claim::{ClaimPath, ClaimPathProblem, ClaimPathProblemKind, ClaimRule, ClaimValue};
pub use condition::{Condition, ConditionProblem, ConditionProblemKind, ConditionScope};
pub use has::{PermissionName, RoleName, ScopedName, feature_holds, permission_holds, plan_holds, role_holds};
pub use parts::{Kind, Part};
pub use permit::{Permit, Reported};
pub use reverify::{Level, Preset, ReverificationParams, Reverified, reverified_holds};
pub use roles::Roles;
pub use rule::{OrgName, OrgRule, PREDICATES, Rule, WorkspaceRule};
pub use template::{Sources, Template, TemplateProblem, TemplateProblemKind};
pub use trace::Trace;
pub use tri::{Cause, Tri};

/// The compiled rule of one route.
#[derive(Debug)]
pub struct Policy {
    rule: Rule,
}

/// Why a caller is turned away.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 403 `forbidden`. The client is not told which predicate; logs and `explain` are.
    Forbidden { predicate: &'static str, why: Why },
    /// 403 `reverification`: everything else holds, so that proving a factor again will do.
    Reverification(ReverificationParams),
    /// 403 `unmapped_principal`: the other side's id is asked for, and the identity map has none of this person's or org's.
    Unmapped { predicate: &'static str },
}

/// Whether a predicate does not hold or cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    False,
    Unknown(Cause),
}

impl Why {
    /// Stable name for logs and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::Unknown(cause) => cause.as_str(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forbidden { predicate, why: Why::False } => write!(f, "{predicate} does not hold"),
            Self::Forbidden { predicate, why } => write!(f, "{predicate} cannot be told: {}", why.as_str()),
            Self::Unmapped { predicate } => {
                write!(f, "{predicate} asks for an id of the other side, and the identity map has none here")
            }
            Self::Reverification(_) => f.write_str("reverified does not hold, everything else does"),
        }
    }
}

impl Refusal {
    /// The predicate that a policy test or an audit entry names.
    pub const fn predicate(&self) -> &'static str {
        match self {
            Self::Forbidden { predicate, .. } | Self::Unmapped { predicate } => predicate,
            Self::Reverification(_) => "reverified",
        }
    }
}

impl Policy {
    /// All of `rules` must hold. Without a `token` rule only people's own credentials pass, of either login, so that a
    /// new kind of token never opens an old route.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        if !rules.iter().any(|rule| matches!(rule, Rule::Token(_))) {
            rules.push(Rule::Token(vec![TokenKind::Session, TokenKind::Legacy]));
        }
        let mut rule = Rule::All(rules);
        rule.sort();
        Self { rule }
    }

    /// Puts others in the place of its conditions: for asking what would be if they held.
    pub fn replace_conditions(&mut self, with: &mut impl FnMut(&Condition) -> Condition) {
        self.rule.replace_conditions(with);
    }

    /// The tree of its predicates.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether every person's own credential passes, a legacy one included.
    pub fn asks_for_nothing(&self) -> bool {
        fn takes_legacy(rule: &Rule) -> bool {
            match rule {
                Rule::Token(kinds) => kinds.contains(&TokenKind::Legacy),
                Rule::Any(rules) => rules.iter().any(takes_legacy),
                _ => false,
            }
        }
        match &self.rule {
            Rule::All(rules) => rules.iter().all(takes_legacy),
            rule => takes_legacy(rule),
        }
    }

    /// Whether a runner token of this person that is narrowed to these scopes could pass for some path.
    pub fn could_permit(&self, facts: &Facts) -> bool {
        possible::could_hold(&self.rule, facts)
    }

    /// The scopes that it asks for.
    pub fn scopes(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.rule.visit(&mut |rule| {
            if let Rule::Scope(asked) = rule {
                found.extend(asked.iter().map(|scope| &**scope));
            }
        });
        found
    }

    /// Whether tokens of a kind may pass at all.
    pub fn takes(&self, kind: TokenKind) -> bool {
        // INVARIANT: `new` puts one into the outermost rule.
        match &self.rule {
            Rule::All(rules) => rules.iter().all(|rule| !matches!(rule, Rule::Token(kinds) if !kinds.contains(&kind))),
            _ => false,
        }
    }

    /// First members of the claims that it reads.
    pub fn claims(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.rule.visit(&mut |rule| match rule {
            Rule::Claim(rule) => found.extend(rule.path.first()),
            Rule::When(condition) => found.extend(condition.claims()),
            _ => {}
        });
        found
    }

    /// Its conditions, as they are written.
    pub fn conditions(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.rule.visit(&mut |rule| {
            if let Rule::When(condition) = rule {
                found.push(condition.text());
            }
        });
        found
    }

    /// The request headers that it reads.
    pub fn header_names(&self) -> Vec<&HeaderName> {
        let mut templates = Vec::new();
        self.rule.templates(&mut templates);
        let mut found: Vec<&HeaderName> = templates.into_iter().flat_map(Template::header_names).collect();
        self.rule.visit(&mut |rule| {
            if let Rule::When(condition) = rule {
                found.extend(condition.headers().map(|(name, _)| name));
            }
        });
        found
    }

    /// The places of the route's pattern whose values it compares.
    pub fn positions(&self) -> Vec<usize> {
        let mut templates = Vec::new();
        self.rule.templates(&mut templates);
        templates.into_iter().flat_map(Template::positions).collect()
    }

    fn decide(&self, context: &rule::Context<'_>, trace: &mut impl Trace) -> Result<(), Refusal> {
        let outcome = self.rule.evaluate(context, trace);
        let (predicate, value) = outcome.failed;
        let why = match (outcome.value, value) {
            (Tri::True, _) => return Ok(()),
            (_, Tri::Unknown(cause)) => Why::Unknown(cause),
            (_, Tri::False | Tri::True) => Why::False,
        };
        match self.missing_reverification(context) {
            Some(asked) => Err(Refusal::Reverification(asked.params())),
            None if why == Why::Unknown(Cause::Unmapped) => Err(Refusal::Unmapped { predicate }),
            None => Err(Refusal::Forbidden { predicate, why }),
        }
    }

    /// The reverification that the caller must do first, when nothing else is in the way.
    fn missing_reverification(&self, context: &rule::Context<'_>) -> Option<&Reverified> {
        let mut needed = Vec::new();
        self.rule.reverifications(&mut needed);
        needed.retain(|asked| reverified_holds(context.facts, asked) != Tri::True);
        let holds_with = |assumed: &[&Reverified]| {
            let context = rule::Context { facts: context.facts, source: context.source, assumed };
            self.rule.evaluate(&context, &mut ()).value == Tri::True
        };
        if needed.is_empty() || !holds_with(&needed) {
            return None;
        }
        // Behind an `any`, not all of them are needed, and asking for one that does not help would send the client
        // in circles: drop, from the last, each that the rest can do without.
        for at in (0..needed.len()).rev() {
            let mut fewer = needed.clone();
            fewer.remove(at);
            if holds_with(&fewer) {
                needed = fewer;
            }
        }
        needed.first().copied()
    }
}

/// Decides about one request. A public route permits everyone and passes on who they are.
///
/// # Errors
/// [`Refusal`], which under `mode: report` is kept in the permit instead.
pub fn authorize(
    route: &Route,
    policy: &Policy,
    identity: Option<&Arc<Identity>>,
    captures: &Captures<'_, '_>,
    view: &View<'_>,
    trace: &mut impl Trace,
) -> Result<Permit, Refusal> {
    // Who signs in is nobody yet, whatever still travels along.
    let identity = identity.filter(|_| route.access != Access::Login);
    let verdict = match (route.access, identity) {
        (Access::Public | Access::Login, _) => Ok(()),
        (Access::Protected | Access::Privileged, Some(identity)) => {
            let source = template::Source::new(captures, view);
            policy.decide(&rule::Context { facts: &identity.facts, source, assumed: &[] }, trace)
        }
        // Answered as 401, or reported, before it comes to this; should it ever come, nobody passes in any mode.
        (Access::Protected | Access::Privileged, None) => {
            return Err(Refusal::Forbidden { predicate: "token", why: Why::Unknown(Cause::NoIdentity) });
        }
    };
    match (verdict, route.mode) {
        (Ok(()), _) => Ok(Permit::new(route, identity.cloned(), None)),
        (Err(refusal), Mode::Enforce) => Err(refusal),
        (Err(refusal), Mode::Report) => {
            // No API ever took a runner token: where the rule does not, it names nobody, as on a public route. Else report mode
            // would widen what the token was narrowed to.
            let person = identity.filter(|identity| identity.facts.token != TokenKind::Runner);
            Ok(Permit::new(route, person.cloned(), Some(refusal)))
        }
    }
}

#[cfg(test)]
mod tests;
