//! Whether a rule could hold for somebody on some path: asked before a token is narrowed to what its person may do.
//!
//! Org and workspace are compared with the request, which is not there yet: a person with an active org is taken to ask for
//! it, and one who may enter a workspace for that one. Everything else is judged as it will be. An answer of yes permits
//! nothing: the rule is evaluated with each request.

use super::rule::{OrgRule, Rule, WorkspaceRule, has_org, named};
use super::tri::Tri;
use crate::identity::{Facts, Workspaces};

/// Which outcomes a rule can have, over all requests. Neither: it cannot be told, and denies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Can {
    pub hold: bool,
    pub fail: bool,
}

impl From<Tri> for Can {
    fn from(value: Tri) -> Self {
        Self { hold: value == Tri::True, fail: value == Tri::False }
    }
}

pub(super) fn could_hold(rule: &Rule, facts: &Facts) -> bool {
    can(rule, facts).hold
}

fn can(rule: &Rule, facts: &Facts) -> Can {
    let each = |rules: &[Rule]| rules.iter().map(|rule| can(rule, facts)).collect::<Vec<_>>();
    match rule {
        Rule::All(rules) => {
            let each = each(rules);
            Can { hold: each.iter().all(|can| can.hold), fail: each.iter().any(|can| can.fail) }
        }
        Rule::Any(rules) => {
            let each = each(rules);
            Can { hold: each.iter().any(|can| can.hold), fail: each.iter().all(|can| can.fail) }
        }
        Rule::Not(rule) => {
            let Can { hold, fail } = can(rule, facts);
            Can { hold: fail, fail: hold }
        }
        Rule::Org(rules) => one_of(rules.iter().map(|rule| org(rule, facts))),
        Rule::Workspace(rules) => one_of(rules.iter().map(|rule| workspace(rule, facts))),
        Rule::When(condition) => condition.could(facts),
        Rule::Token(_)
        | Rule::Scope(_)
        | Rule::Role(_)
        | Rule::Permission(_)
        | Rule::Feature(_)
        | Rule::Plan(_)
        | Rule::Claim(_)
        | Rule::Reverified(_) => rule.of_facts(facts).into(),
    }
}

fn one_of(each: impl Iterator<Item = Can>) -> Can {
    each.fold(Can { hold: false, fail: true }, |all, can| Can {
        hold: all.hold || can.hold,
        fail: all.fail && can.fail,
    })
}

fn org(rule: &OrgRule, facts: &Facts) -> Can {
    let OrgRule::Named { namespace, template } = rule else { return Tri::from(has_org(facts)).into() };
    if !has_org(facts) {
        return Tri::False.into();
    }
    match template.literal() {
        Some(name) => named(*namespace, facts, name.as_bytes()).into(),
        // Whether the org has a name there at all.
        None => Can { hold: !matches!(named(*namespace, facts, b""), Tri::Unknown(_)), fail: true },
    }
}

fn workspace(rule: &WorkspaceRule, facts: &Facts) -> Can {
    let Workspaces::Known(known) = &facts.workspaces else { return Can::default() };
    match rule.template.literal() {
        Some(id) => rule.admits(facts, id.as_bytes()).into(),
        None => {
            let enters = |id: &str| rule.admits(facts, id.as_bytes()) == Tri::True;
            Can { hold: known.iter().any(|workspace| enters(&workspace.id)), fail: true }
        }
    }
}

#[cfg(test)]
#[path = "possible_tests.rs"]
mod tests;
