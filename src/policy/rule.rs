//! The rule of a route: a tree of predicates over facts and request, evaluated in three-valued logic.
//!
//! Built by `config::compile` from `require`; evaluated only by `authorize`. Knows no YAML and changes nothing.

use super::claim::ClaimRule;
use super::condition::Condition;
use super::has::{self, PermissionName, RoleName, ScopedName};
use super::reverify::{Reverified, reverified_holds};
use super::template::{Source, Template};
use super::trace::Trace;
use super::tri::{Cause, Tri};
use crate::identity::{Facts, Login, TokenKind, Workspaces};

/// One predicate, or several put together. A list means any of its elements; an empty one never holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    Token(Vec<TokenKind>),
    /// What the credential was narrowed to; of one that has no scopes it cannot be told.
    Scope(Vec<Box<str>>),
    Org(Vec<OrgRule>),
    Workspace(Vec<WorkspaceRule>),
    Role(Vec<RoleName>),
    Permission(Vec<PermissionName>),
    Feature(Vec<ScopedName>),
    Plan(Vec<ScopedName>),
    Claim(ClaimRule),
    When(Box<Condition>),
    Reverified(Reverified),
    Any(Vec<Rule>),
    All(Vec<Rule>),
    Not(Box<Rule>),
}

/// The words by which a refusal names the predicate that did not hold.
pub const PREDICATES: &[&str] = &[
    "token",
    "org",
    "workspace",
    "role",
    "permission",
    "feature",
    "plan",
    "claim",
    "when",
    "any",
    "not",
    "scope",
    "reverified",
];

/// Which of an organisation's names is compared. A slug is chosen by strangers, so it never stands for an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgName {
    ClerkId,
    Slug,
    LegacyId,
}

/// What is asked of the active organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgRule {
    /// There is one.
    Any,
    /// Its name in this namespace is this value.
    Named { namespace: OrgName, template: Template },
}

/// A workspace that the caller may enter, perhaps only with one of some roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRule {
    pub template: Template,
    /// Roles within the workspace, exactly as the claim writes them; empty when any will do.
    pub roles: Vec<Box<str>>,
}

/// What a rule is evaluated on.
pub(super) struct Context<'a> {
    pub facts: &'a Facts,
    pub source: Source<'a, 'a>,
    /// Reverification predicates that are taken as held, to see whether anything else is missing.
    pub assumed: &'a [&'a Reverified],
}

/// The outcome, and the predicate that a refusal names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub value: Tri,
    /// The first predicate that did not hold, with its own outcome.
    pub failed: (&'static str, Tri),
}

impl Rule {
    /// The word of the policy language.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Scope(_) => "scope",
            Self::Org(_) => "org",
            Self::Workspace(_) => "workspace",
            Self::Role(_) => "role",
            Self::Permission(_) => "permission",
            Self::Feature(_) => "feature",
            Self::Plan(_) => "plan",
            Self::Claim(_) => "claim",
            Self::When(_) => "when",
            Self::Reverified(_) => "reverified",
            Self::Any(rules) if is_scope(rules) => "scope",
            Self::Any(_) => "any",
            Self::All(_) => "all",
            Self::Not(_) => "not",
        }
    }

    /// The place in the order of evaluation: the tenant boundary before what somebody may do within it, so that
    /// a refusal names the same predicate however the policy file is sorted.
    pub(super) const fn order(&self) -> u8 {
        match self {
            Self::Token(_) => 0,
            Self::Org(_) => 1,
            Self::Workspace(_) => 2,
            Self::Role(_) => 3,
            Self::Permission(_) => 4,
            Self::Feature(_) => 5,
            Self::Plan(_) => 6,
            Self::Claim(_) => 7,
            Self::When(_) => 8,
            Self::Any(_) => 9,
            Self::All(_) => 10,
            Self::Not(_) => 11,
            // What a token was narrowed to is told after what its person may do at all.
            Self::Scope(_) => 12,
            // Last: it is what is left to do when everything else holds.
            Self::Reverified(_) => 13,
        }
    }

    /// Sorts every `all` of the tree.
    pub(super) fn sort(&mut self) {
        match self {
            Self::All(rules) => {
                rules.iter_mut().for_each(Self::sort);
                rules.sort_by_key(Self::order);
            }
            Self::Any(rules) => rules.iter_mut().for_each(Self::sort),
            Self::Not(rule) => rule.sort(),
            _ => {}
        }
    }

    pub(super) fn evaluate(&self, context: &Context<'_>, trace: &mut impl Trace) -> Outcome {
        let value = match self {
            Self::All(rules) => return all(rules, context, trace),
            Self::Any(rules) => {
                trace.open(self.name());
                let value = Tri::any(rules.iter().map(|rule| rule.within(context, trace).value));
                trace.close(self.name(), value, || format!("one of {} must hold", rules.len()));
                value
            }
            Self::Not(rule) => {
                trace.open("not");
                let value = !rule.within(context, trace).value;
                trace.close("not", value, || format!("`{}` must not hold", rule.name()));
                value
            }
            _ => {
                let value = self.holds(context);
                trace.note(self.name(), value, || self.detail(context));
                value
            }
        };
        Outcome { value, failed: (self.name(), value) }
    }

    /// As a part of another rule, where an `all` is told as such.
    fn within(&self, context: &Context<'_>, trace: &mut impl Trace) -> Outcome {
        let Self::All(rules) = self else { return self.evaluate(context, trace) };
        trace.open("all");
        let outcome = all(rules, context, trace);
        trace.close("all", outcome.value, || format!("all {} must hold", rules.len()));
        outcome
    }

    /// The outcome of a single predicate.
    fn holds(&self, context: &Context<'_>) -> Tri {
        let facts = context.facts;
        match self {
            Self::Org(rules) => Tri::any(rules.iter().map(|rule| rule.holds(context))),
            Self::Workspace(rules) => Tri::any(rules.iter().map(|rule| rule.holds(context))),
            Self::When(condition) => condition.holds(facts, &context.source),
            Self::Reverified(asked) if context.assumed.iter().any(|other| std::ptr::eq(*other, asked)) => Tri::True,
            // Put together from others; `evaluate` never asks here.
            Self::All(_) | Self::Any(_) | Self::Not(_) => self.evaluate(context, &mut ()).value,
            _ => self.of_facts(facts),
        }
    }

    /// The outcome of a predicate that reads nothing of the request.
    pub(super) fn of_facts(&self, facts: &Facts) -> Tri {
        match self {
            Self::Token(kinds) => Tri::from(kinds.contains(&facts.token)),
            Self::Scope(asked) => match &facts.scopes {
                None => Tri::Unknown(Cause::NoScopes),
                Some(has) => Tri::from(asked.iter().any(|scope| has.iter().any(|has| **has == **scope))),
            },
            Self::Role(asked) => Tri::any(asked.iter().map(|role| has::role_holds(facts, role))),
            Self::Permission(asked) => Tri::any(asked.iter().map(|name| has::permission_holds(facts, name))),
            Self::Feature(asked) => Tri::any(asked.iter().map(|name| has::feature_holds(facts, name))),
            Self::Plan(asked) => Tri::any(asked.iter().map(|name| has::plan_holds(facts, name))),
            Self::Claim(rule) => rule.holds(&facts.claims),
            Self::Reverified(asked) => reverified_holds(facts, asked),
            // INVARIANT: asked of none of these; were they, nobody could tell.
            Self::Org(_) | Self::Workspace(_) | Self::When(_) | Self::All(_) | Self::Any(_) | Self::Not(_) => {
                Tri::Unknown(Cause::MissingValue)
            }
        }
    }

    /// The reverification predicates that could turn a refusal into a permit. Those under `not` could not.
    pub(super) fn reverifications<'r>(&'r self, found: &mut Vec<&'r Reverified>) {
        match self {
            Self::Reverified(asked) => found.push(asked),
            Self::All(rules) | Self::Any(rules) => rules.iter().for_each(|rule| rule.reverifications(found)),
            _ => {}
        }
    }

    /// Shows each rule of the tree.
    pub fn visit<'r>(&'r self, see: &mut impl FnMut(&'r Self)) {
        see(self);
        match self {
            Self::All(rules) | Self::Any(rules) => {
                for rule in rules {
                    rule.visit(see);
                }
            }
            Self::Not(rule) => rule.visit(see),
            _ => {}
        }
    }

    /// Puts others in the place of its conditions.
    pub(super) fn replace_conditions(&mut self, with: &mut impl FnMut(&Condition) -> Condition) {
        match self {
            Self::When(condition) => **condition = with(condition),
            Self::All(rules) | Self::Any(rules) => rules.iter_mut().for_each(|rule| rule.replace_conditions(with)),
            Self::Not(rule) => rule.replace_conditions(with),
            _ => {}
        }
    }

    /// The templates that it reads.
    pub(super) fn templates<'r>(&'r self, found: &mut Vec<&'r Template>) {
        match self {
            Self::Org(rules) => found.extend(rules.iter().filter_map(|rule| match rule {
                OrgRule::Any => None,
                OrgRule::Named { template, .. } => Some(template),
            })),
            Self::Workspace(rules) => found.extend(rules.iter().map(|rule| &rule.template)),
            Self::All(rules) | Self::Any(rules) => rules.iter().for_each(|rule| rule.templates(found)),
            Self::Not(rule) => rule.templates(found),
            _ => {}
        }
    }

    /// What was asked and what the caller has.
    fn detail(&self, context: &Context<'_>) -> String {
        let facts = context.facts;
        let org = facts.org.as_ref();
        match self {
            Self::Token(kinds) => {
                format!("asked {}; has {}", list(kinds.iter().map(|kind| kind.as_str())), facts.token.as_str())
            }
            Self::Scope(asked) => {
                let has = facts.scopes.as_ref().map_or("no scopes at all".to_owned(), list);
                format!("asked {}; has {has}", list(asked))
            }
            Self::Org(rules) => {
                let asked = list(rules.iter().map(|rule| match rule {
                    OrgRule::Any => "any".to_owned(),
                    OrgRule::Named { template, .. } => shown(template, context),
                }));
                format!("asked {asked}; has {}", list(distinct(names(facts))))
            }
            Self::Workspace(rules) => {
                let asked = list(rules.iter().map(|rule| shown(&rule.template, context)));
                let has = match &facts.workspaces {
                    Workspaces::Missing => "no workspaces claim".to_owned(),
                    Workspaces::Unreadable => "an unreadable workspaces claim".to_owned(),
                    Workspaces::Known(known) => list(known.iter().map(|workspace| match &workspace.role {
                        Some(role) => format!("{} ({role})", workspace.id),
                        None => workspace.id.clone(),
                    })),
                };
                format!("asked {asked}; has {has}")
            }
            Self::Role(asked) => {
                let has = match facts.method.login() {
                    Login::Clerk => list(org.and_then(|org| org.role.as_deref())),
                    Login::Legacy => list(&facts.legacy_roles),
                };
                format!("asked {}; has {has}", list(asked.iter().map(RoleName::as_str)))
            }
            Self::Permission(asked) => {
                let has = org.and_then(|org| org.permissions.as_ref());
                let has = has.map_or("none".to_owned(), list);
                format!("asked {}; has {has}", list(asked.iter().map(PermissionName::as_str)))
            }
            Self::Feature(asked) => format!("asked {}; has {}", list(asked), scoped(facts.features.as_ref())),
            Self::Plan(asked) => format!("asked {}; has {}", list(asked), scoped(facts.plans.as_ref())),
            Self::When(condition) => condition.shown(facts, &context.source),
            Self::Claim(rule) => {
                format!("asked {} = {}; has {}", rule.path.as_str(), list(&rule.any_of), rule.shown(&facts.claims))
            }
            Self::Reverified(asked) => match facts.factor_ages {
                Some([first, second]) => format!("asked {asked}; factors are {first} and {second} minutes old"),
                None => format!("asked {asked}; no factor ages"),
            },
            Self::All(_) | Self::Any(_) | Self::Not(_) => String::new(),
        }
    }
}

/// Evaluates every rule, so that `explain` shows them all; the first that does not hold is the one to name.
/// `scope` beside a list of tokens of which some have none: nobody wrote the two alternatives, and a refusal is named by
/// what was written.
pub(super) fn is_scope(rules: &[Rule]) -> bool {
    match rules {
        [Rule::Token(_), Rule::All(rules)] => matches!(rules.as_slice(), [Rule::Token(_), Rule::Scope(_)]),
        _ => false,
    }
}

fn all(rules: &[Rule], context: &Context<'_>, trace: &mut impl Trace) -> Outcome {
    let mut outcome = Outcome { value: Tri::True, failed: ("all", Tri::True) };
    for rule in rules {
        let next = rule.within(context, trace);
        if outcome.value == Tri::True {
            outcome.failed = next.failed;
        }
        outcome.value = outcome.value.and(next.value);
    }
    outcome
}

impl OrgRule {
    /// No active organisation, and one without a slug, equal nothing. Whether one that the map does not know on the side
    /// that is asked for would be the one named, nobody can tell.
    fn holds(&self, context: &Context<'_>) -> Tri {
        let Self::Named { namespace, template } = self else { return Tri::from(has_org(context.facts)) };
        if !has_org(context.facts) {
            return Tri::False;
        }
        match template.resolve(&context.source) {
            Ok(value) => named(*namespace, context.facts, &value),
            Err(cause) => Tri::Unknown(cause),
        }
    }
}

pub(super) const fn has_org(facts: &Facts) -> bool {
    facts.org.is_some() || facts.legacy_org.is_some()
}

/// Whether the active organisation, of which there is one, has this name.
pub(super) fn named(namespace: OrgName, facts: &Facts, value: &[u8]) -> Tri {
    let is = |name: &str| !name.is_empty() && *value == *name.as_bytes();
    let id = facts.org.as_ref().map(|org| org.id.as_str());
    let (main, is_own) = match namespace {
        OrgName::Slug => {
            return Tri::from(facts.org.as_ref().and_then(|org| org.slug.as_deref()).is_some_and(is));
        }
        OrgName::ClerkId => (id, facts.method.login() == Login::Clerk),
        OrgName::LegacyId => (facts.legacy_org.as_deref(), facts.method.login() == Login::Legacy),
    };
    match main {
        None => Tri::Unknown(Cause::Unmapped),
        Some(main) => Tri::from(is(main) || (!is_own && facts.merged_orgs.iter().any(|name| is(name)))),
    }
}

impl WorkspaceRule {
    fn holds(&self, context: &Context<'_>) -> Tri {
        if !matches!(context.facts.workspaces, Workspaces::Known(_)) {
            return self.admits(context.facts, b"");
        }
        match self.template.resolve(&context.source) {
            Ok(value) => self.admits(context.facts, &value),
            Err(cause) => Tri::Unknown(cause),
        }
    }

    /// Whether somebody may enter the workspace of this id.
    pub(super) fn admits(&self, facts: &Facts, value: &[u8]) -> Tri {
        let known = match &facts.workspaces {
            Workspaces::Missing => return Tri::Unknown(Cause::MissingClaim),
            Workspaces::Unreadable => return Tri::Unknown(Cause::UnreadableClaim),
            Workspaces::Known(known) => known,
        };
        let entered = known.iter().filter(|workspace| !workspace.id.is_empty() && workspace.id.as_bytes() == value);
        Tri::any(entered.map(|workspace| match &workspace.role {
            _ if self.roles.is_empty() => Tri::True,
            Some(role) => Tri::from(self.roles.iter().any(|asked| **asked == **role)),
            None => Tri::Unknown(Cause::MissingClaim),
        }))
    }
}

fn shown(template: &Template, context: &Context<'_>) -> String {
    template.explained(&context.source)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.fold(Vec::new(), |mut seen, name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
        seen
    })
}

fn names(facts: &Facts) -> impl Iterator<Item = &str> {
    let org = facts.org.as_ref();
    let clerks = org.map(|org| org.id.as_str()).into_iter().chain(org.and_then(|org| org.slug.as_deref()));
    clerks.chain(facts.legacy_org.as_deref()).chain(facts.merged_orgs.iter().map(String::as_str))
}

fn scoped(granted: Option<&crate::identity::Scoped>) -> String {
    let Some(granted) = granted else { return "an unreadable claim".to_owned() };
    let org = granted.org.iter().map(|name| format!("org:{name}"));
    list(org.chain(granted.user.iter().map(|name| format!("user:{name}"))))
}

fn list(items: impl IntoIterator<Item: ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
