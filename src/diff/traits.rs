//! The traits by which two rules can tell people apart, and somebody with each combination of them.
//!
//! Read off both rules: every role, permission, claim, org and the like that one of them names, each with what it is
//! compared with, and somebody who has something else or nothing. Two people with the same traits fare the same under both
//! rules. Claims that cannot be read are not among the traits: they deny as missing ones do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::conditions;
use super::judge::Asker;
use crate::identity::{Facts, Identity, Method, Org, Scoped, TokenKind, Workspace, Workspaces};
use crate::policy::{ClaimPath, ClaimRule, ClaimValue, OrgName, OrgRule, Reverified, Rule, ScopedName};
use crate::request::View;
use crate::rollout::Side;
use crate::route::Found;

/// What somebody came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Nobody,
    Session,
    Legacy,
    /// A legacy credential that only the API can verify.
    Unproven,
    Runner,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "no credential",
            Self::Session => "session",
            Self::Legacy => "legacy",
            Self::Unproven => "legacy credential, unverified",
            Self::Runner => "runner",
        }
    }
}

/// One trait and what there is to choose from.
#[derive(Debug)]
pub(super) struct Trait {
    pub(super) options: Vec<Choice>,
}

/// An option of a trait.
#[derive(Debug)]
pub(super) struct Choice {
    /// In the words of a policy, understood by itself: `role org:admin`.
    pub(super) label: String,
    set: Set,
}

/// What it makes of somebody.
#[derive(Debug, Clone)]
enum Set {
    Arm(Side),
    Org(Names),
    Role(Option<String>),
    LegacyRoles(Vec<String>),
    Permission(String, bool),
    Feature(String, Granted),
    Plan(String, Granted),
    Claim(Vec<String>, Option<Value>),
    /// Whether there are any.
    Ages(bool),
    FirstAge(f64),
    SecondAge(f64),
    Places(Option<Vec<Workspace>>),
    Scope(String, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Granted {
    org: bool,
    user: bool,
}

/// The names of the active org; none at all where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    clerk: Option<String>,
    slug: Option<String>,
    legacy: Option<String>,
}

/// A name that nothing is called by.
const OTHER: &str = "something-else";

/// What one config says about a request: its route's rule, and what the rule reads of the request.
pub(super) struct Seen<'a> {
    pub(super) rule: &'a Rule,
    pub(super) found: &'a Found<'a, 'a>,
    pub(super) view: View<'a>,
}

/// What is asked, of both rules.
#[derive(Default)]
struct Asked {
    has_org: bool,
    orgs: BTreeMap<u8, BTreeMap<String, String>>,
    workspaces: BTreeMap<String, String>,
    workspace_roles: BTreeSet<String>,
    roles: BTreeSet<String>,
    legacy_roles: BTreeSet<String>,
    permissions: BTreeSet<String>,
    features: BTreeMap<String, bool>,
    plans: BTreeMap<String, bool>,
    claims: BTreeMap<String, (ClaimPath, Vec<ClaimValue>, usize)>,
    /// The claim that stands for it, and its text.
    conditions: BTreeMap<String, String>,
    minutes: Vec<f64>,
    scopes: BTreeSet<String>,
}

const NAMESPACES: [OrgName; 3] = [OrgName::ClerkId, OrgName::Slug, OrgName::LegacyId];

impl Asked {
    fn add(&mut self, seen: &Seen<'_>) {
        let value = |template: &crate::policy::Template| {
            let value = template.value(&seen.found.captures, &seen.view)?;
            let written = template.written(&seen.found.route.pattern);
            String::from_utf8(value).ok().filter(|value| !value.is_empty()).map(|value| (value, written))
        };
        seen.rule.visit(&mut |rule| match rule {
            // Conditions are compared as text (`routes`): what they would come to for whom is not analysed.
            Rule::Token(_) | Rule::Any(_) | Rule::All(_) | Rule::Not(_) => {}
            Rule::Scope(asked) => self.scopes.extend(asked.iter().map(ToString::to_string)),
            Rule::Org(rules) => {
                self.has_org = true;
                for rule in rules {
                    let OrgRule::Named { namespace, template } = rule else { continue };
                    let names = self.orgs.entry(*namespace as u8).or_default();
                    names.extend(value(template));
                }
            }
            Rule::Workspace(rules) => {
                for rule in rules {
                    self.workspaces.extend(value(&rule.template));
                    self.workspace_roles.extend(rule.roles.iter().map(ToString::to_string));
                }
            }
            Rule::Role(asked) => {
                self.has_org = true;
                self.roles.extend(asked.iter().map(|role| role.as_str().to_owned()));
                let legacy = asked.iter().filter_map(|role| role.legacy()).flatten();
                self.legacy_roles.extend(legacy.map(ToString::to_string));
            }
            Rule::Permission(asked) => {
                self.has_org = true;
                self.permissions.extend(asked.iter().map(|name| name.as_str().to_owned()));
            }
            Rule::Feature(asked) => add_scoped(&mut self.features, asked),
            Rule::Plan(asked) => add_scoped(&mut self.plans, asked),
            Rule::Claim(ClaimRule { path, any_of }) => {
                let (_, values, rules) =
                    self.claims.entry(path.as_str().to_owned()).or_insert_with(|| (path.clone(), Vec::new(), 0));
                *rules += 1;
                for value in any_of {
                    if !values.contains(value) {
                        values.push(value.clone());
                    }
                }
            }
            Rule::When(condition) => {
                if let Some(claim) = conditions::claim(condition) {
                    self.conditions.insert(claim.to_owned(), conditions::shown(condition));
                }
            }
            Rule::Reverified(asked) => self.minutes.push(Reverified::after_minutes(asked)),
        });
    }
}

fn add_scoped(known: &mut BTreeMap<String, bool>, asked: &[ScopedName]) {
    for name in asked {
        *known.entry(name.name().to_owned()).or_default() |= name.is_scoped();
    }
}

/// What else decides which traits matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Both logins exist, and the two routes differ in their access: the arm may matter.
    pub(super) arms: bool,
    /// A legacy side exists.
    pub(super) has_legacy: bool,
    /// Tokens are minted for the API, which lack something without an org.
    pub(super) mints: bool,
}

/// The traits of somebody of this kind that the rules may tell apart.
pub(super) fn traits(kind: Kind, seen: &[Seen<'_>], around: Around) -> Vec<Trait> {
    let mut asked = Asked { has_org: around.mints, ..Asked::default() };
    seen.iter().for_each(|seen| asked.add(seen));
    let mut traits = Vec::new();
    let mut add = |options: Vec<Choice>| {
        if options.len() > 1 {
            traits.push(Trait { options });
        }
    };
    match kind {
        Kind::Nobody | Kind::Unproven => return traits,
        Kind::Session | Kind::Legacy | Kind::Runner => {}
    }
    let is_legacy = kind == Kind::Legacy;
    if around.arms {
        let arm = |side: Side| Choice { label: format!("{} arm", side.as_str()), set: Set::Arm(side) };
        add(vec![arm(Side::Legacy), arm(Side::Clerk)]);
    }
    if asked.has_org {
        add(orgs(&asked, is_legacy, around.has_legacy));
    }
    if is_legacy {
        add(legacy_roles(&asked.legacy_roles));
    } else {
        add(roles(&asked.roles));
        for name in &asked.permissions {
            let has = |has: bool| Choice {
                label: if has { format!("permission {name}") } else { format!("without permission {name}") },
                set: Set::Permission(name.clone(), has),
            };
            add(vec![has(true), has(false)]);
        }
        for (name, is_scoped) in &asked.features {
            add(granted("feature", name, *is_scoped, Set::Feature));
        }
        for (name, is_scoped) in &asked.plans {
            add(granted("plan", name, *is_scoped, Set::Plan));
        }
        if !asked.minutes.is_empty() {
            ages(&asked.minutes).into_iter().for_each(&mut add);
        }
    }
    add(places(&asked));
    for (path, values, rules) in asked.claims.values() {
        add(claim(path, values, *rules));
    }
    for (name, text) in &asked.conditions {
        let comes_to = |value: Option<bool>, word: &str| Choice {
            label: format!("condition {text} {word}"),
            set: Set::Claim(vec![name.clone()], value.map(Value::from)),
        };
        add(vec![comes_to(Some(true), "holds"), comes_to(Some(false), "fails"), comes_to(None, "cannot be told")]);
    }
    if kind == Kind::Runner {
        for name in &asked.scopes {
            let has = |has: bool| Choice {
                label: if has { format!("scope {name}") } else { format!("without scope {name}") },
                set: Set::Scope(name.clone(), has),
            };
            add(vec![has(true), has(false)]);
        }
    }
    traits
}

fn orgs(asked: &Asked, is_legacy: bool, has_legacy: bool) -> Vec<Choice> {
    let named: Vec<(OrgName, &BTreeMap<String, String>)> = NAMESPACES
        .into_iter()
        .filter_map(|namespace| asked.orgs.get(&(namespace as u8)).map(|names| (namespace, names)))
        .collect();
    let alone = named.len() == 1;
    let own = if is_legacy { OrgName::LegacyId } else { OrgName::ClerkId };
    let plain = Names {
        clerk: (!is_legacy).then(|| OTHER.to_owned()),
        slug: None,
        legacy: (is_legacy || has_legacy).then(|| OTHER.to_owned()),
    };
    let mut all = vec![(plain, Vec::new())];
    for (namespace, names) in named {
        let word = match (namespace, alone) {
            (_, true) => "org",
            (OrgName::ClerkId, false) => "org's clerk id",
            (OrgName::Slug, false) => "org's slug",
            (OrgName::LegacyId, false) => "org's legacy id",
        };
        let mut options: Vec<(Option<String>, String)> =
            names.iter().map(|(value, written)| (Some(value.clone()), format!("{word} {written}"))).collect();
        options
            .push((Some(OTHER.to_owned()), if alone { "another org".to_owned() } else { format!("another {word}") }));
        // An id of one's own side is always there; a slug and the other side's need not be.
        if namespace != own {
            let what = match namespace {
                OrgName::ClerkId => "an org without a clerk id",
                OrgName::Slug => "an org without a slug",
                OrgName::LegacyId => "an org without a legacy id",
            };
            options.push((None, what.to_owned()));
        }
        all = all
            .iter()
            .flat_map(|(names, labels)| {
                options.iter().map(move |(value, label)| {
                    let mut names = names.clone();
                    match namespace {
                        OrgName::ClerkId => names.clerk.clone_from(value),
                        OrgName::Slug => names.slug.clone_from(value),
                        OrgName::LegacyId => names.legacy.clone_from(value),
                    }
                    (names, labels.iter().chain([label]).cloned().collect::<Vec<_>>())
                })
            })
            .collect();
    }
    let mut options: Vec<Choice> = all
        .into_iter()
        .filter(|(names, _)| !is_legacy || names.slug.is_none())
        .map(|(names, labels)| Choice {
            label: if labels.is_empty() { "in an org".to_owned() } else { labels.join(" and ") },
            set: Set::Org(names),
        })
        .collect();
    options.push(Choice { label: "no org".to_owned(), set: Set::Org(Names::default()) });
    options
}

fn roles(names: &BTreeSet<String>) -> Vec<Choice> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut options: Vec<Choice> =
        names.iter().map(|name| Choice { label: format!("role {name}"), set: Set::Role(Some(name.clone())) }).collect();
    options.push(Choice { label: "another role".to_owned(), set: Set::Role(Some(format!("org:{OTHER}"))) });
    options.push(Choice { label: "no role".to_owned(), set: Set::Role(None) });
    options
}

/// Most legacy roles of which every set is tried; of more, every pair is.
const MAX_SETS: usize = 5;

fn legacy_roles(names: &BTreeSet<String>) -> Vec<Choice> {
    if names.is_empty() {
        return Vec::new();
    }
    let names: Vec<&String> = names.iter().collect();
    let mut sets: Vec<Vec<String>> = vec![Vec::new()];
    for name in &names {
        let with: Vec<Vec<String>> = sets
            .iter()
            .filter(|set| names.len() <= MAX_SETS || set.len() < 2)
            .map(|set| set.iter().chain([*name]).cloned().collect())
            .collect();
        sets.extend(with);
    }
    sets.push(vec![OTHER.to_owned()]);
    sets.sort_by_key(Vec::len);
    let label = |set: &[String]| match set {
        [] => "no role".to_owned(),
        [one] if one == OTHER => "another legacy role".to_owned(),
        [one] => format!("legacy role {one}"),
        more => format!("legacy roles {}", more.join(" and ")),
    };
    sets.into_iter().map(|set| Choice { label: label(&set), set: Set::LegacyRoles(set) }).collect()
}

fn granted(what: &str, name: &str, is_scoped: bool, set: fn(String, Granted) -> Set) -> Vec<Choice> {
    let option = |label: String, org, user| Choice { label, set: set(name.to_owned(), Granted { org, user }) };
    let without = option(format!("without {what} {name}"), false, false);
    if !is_scoped {
        return vec![option(format!("{what} {name}"), true, false), without];
    }
    vec![
        option(format!("{what} org:{name}"), true, false),
        option(format!("{what} user:{name}"), false, true),
        option(format!("{what} org:{name} and user:{name}"), true, true),
        without,
    ]
}

fn places(asked: &Asked) -> Vec<Choice> {
    if asked.workspaces.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<(Vec<Workspace>, Vec<String>)> = vec![(Vec::new(), Vec::new())];
    for (id, written) in &asked.workspaces {
        let mut options: Vec<(Option<Workspace>, String)> = vec![(None, format!("not workspace {written}"))];
        let place = |role: Option<&str>| Some(Workspace { id: id.clone(), role: role.map(str::to_owned) });
        options.push((place(None), format!("workspace {written}")));
        if !asked.workspace_roles.is_empty() {
            for role in &asked.workspace_roles {
                options.push((place(Some(role)), format!("workspace {written} as {role}")));
            }
            options.push((place(Some(OTHER)), format!("workspace {written} in another role")));
        }
        all = all
            .iter()
            .flat_map(|(places, labels)| {
                options.iter().map(move |(place, label)| {
                    let places = places.iter().chain(place).cloned().collect::<Vec<_>>();
                    (places, labels.iter().chain([label]).cloned().collect::<Vec<_>>())
                })
            })
            .collect();
    }
    let mut options: Vec<Choice> = all
        .into_iter()
        .map(|(places, labels)| Choice { label: labels.join(" and "), set: Set::Places(Some(places)) })
        .collect();
    options.push(Choice { label: "no workspaces claim".to_owned(), set: Set::Places(None) });
    options
}

/// A claim is missing, has one of the values, another one of each type, or is a list.
fn claim(path: &ClaimPath, values: &[ClaimValue], rules: usize) -> Vec<Choice> {
    let names: Vec<String> = path.names().map(str::to_owned).collect();
    let option = |label: String, value: Option<Value>| Choice { label, set: Set::Claim(names.clone(), value) };
    let name = path.as_str();
    let mut options: Vec<Choice> =
        values.iter().map(|value| option(format!("claim {name} {value}"), Some(json_of(value)))).collect();
    let is_text = values.iter().any(|value| matches!(value, ClaimValue::Text(_)));
    let is_number = values.iter().any(|value| matches!(value, ClaimValue::Number(_)));
    if is_text {
        options.push(option(format!("another claim {name}"), Some(Value::from(OTHER))));
    }
    if is_number {
        let mut other = 1_000_003_i64;
        while values.contains(&ClaimValue::Number(Number::from(other))) {
            other += 1;
        }
        let label = if is_text { format!("another number in claim {name}") } else { format!("another claim {name}") };
        options.push(option(label, Some(Value::from(other))));
    }
    for flag in [true, false] {
        let value = ClaimValue::Bool(flag);
        if values.iter().any(|value| matches!(value, ClaimValue::Bool(_))) && !values.contains(&value) {
            options.push(option(format!("claim {name} {flag}"), Some(Value::from(flag))));
        }
    }
    // Several rules about one claim can hold together only where it is a list.
    if rules > 1 {
        for (at, one) in values.iter().enumerate() {
            for other in values.iter().skip(at + 1) {
                let list = Value::from(vec![json_of(one), json_of(other)]);
                options.push(option(format!("claim {name} {one} and {other}"), Some(list)));
            }
        }
        if values.len() > 2 {
            let list: Vec<Value> = values.iter().map(json_of).collect();
            options.push(option(format!("claim {name} with all of them"), Some(Value::from(list))));
        }
    }
    options.push(option(format!("no claim {name}"), None));
    options
}

fn json_of(value: &ClaimValue) -> Value {
    match value {
        ClaimValue::Text(text) => Value::from(&**text),
        ClaimValue::Number(number) => Value::from(number.clone()),
        ClaimValue::Bool(flag) => Value::from(*flag),
    }
}

/// Ages on either side of every limit: whether they are known at all, then of each factor.
fn ages(minutes: &[f64]) -> [Vec<Choice>; 3] {
    let mut limits = minutes.to_vec();
    limits.sort_by(f64::total_cmp);
    limits.dedup();
    let mut ages: Vec<(f64, String)> = Vec::new();
    let mut before = 0.0;
    for limit in &limits {
        let label = if before == 0.0 { format!("under {limit} min") } else { format!("{before} to {limit} min") };
        ages.push(((before + limit) / 2.0, label));
        before = *limit;
    }
    ages.push((before + 1.0, format!("{before} min or more")));
    let known = |known: bool| Choice {
        label: if known { "factor ages".to_owned() } else { "no factor ages".to_owned() },
        set: Set::Ages(known),
    };
    let factor = |word: &str, set: fn(f64) -> Set| -> Vec<Choice> {
        let of_age = ages.iter().map(|(age, label)| Choice { label: format!("{word} factor {label}"), set: set(*age) });
        of_age.chain([Choice { label: format!("no {word} factor"), set: set(NEVER) }]).collect()
    };
    [vec![known(true), known(false)], factor("first", Set::FirstAge), factor("second", Set::SecondAge)]
}

/// The age of a factor that was never used.
const NEVER: f64 = -1.0;

/// Somebody with these options, one of each trait.
pub(super) fn asker<'t>(kind: Kind, chosen: impl IntoIterator<Item = &'t Choice>, has_legacy: bool) -> Asker {
    let token = match kind {
        Kind::Nobody => return Asker::Nobody,
        Kind::Unproven => return Asker::Unproven,
        Kind::Session => TokenKind::Session,
        Kind::Legacy => TokenKind::Legacy,
        Kind::Runner => TokenKind::Runner,
    };
    let is_legacy = kind == Kind::Legacy;
    let mut side = if is_legacy { Side::Legacy } else { Side::Clerk };
    let user = "somebody".to_owned();
    let mut facts = Facts {
        method: match kind {
            Kind::Legacy => Method::Legacy,
            Kind::Runner => Method::Runner(crate::identity::Login::Clerk),
            Kind::Nobody | Kind::Unproven | Kind::Session => Method::Clerk,
        },
        token,
        subject: user.clone(),
        clerk_user: (!is_legacy).then(|| user.clone()),
        legacy_user: (is_legacy || has_legacy).then_some(user),
        features: (!is_legacy).then(Scoped::default),
        plans: (!is_legacy).then(Scoped::default),
        scopes: (kind == Kind::Runner).then(Vec::new),
        ..Facts::default()
    };
    let (mut role, mut permissions) = (None, Vec::new());
    for choice in chosen {
        match &choice.set {
            Set::Arm(arm) => side = *arm,
            Set::Org(names) => {
                facts.org = names.clerk.clone().map(|id| Org { id, slug: names.slug.clone(), ..Org::default() });
                facts.legacy_org.clone_from(&names.legacy);
                facts.canonical_org = names.legacy.clone().or_else(|| names.clerk.clone());
            }
            Set::Role(name) => role.clone_from(name),
            Set::LegacyRoles(names) => facts.legacy_roles.clone_from(names),
            Set::Permission(name, true) => permissions.push(name.clone()),
            Set::Permission(_, false) => {}
            Set::Feature(name, granted) => grant(&mut facts.features, name, *granted),
            Set::Plan(name, granted) => grant(&mut facts.plans, name, *granted),
            Set::Claim(names, Some(value)) => put(&mut facts.claims, names, value),
            Set::Claim(_, None) => {}
            Set::Ages(known) => facts.factor_ages = known.then_some([NEVER, NEVER]),
            Set::FirstAge(age) => facts.factor_ages = facts.factor_ages.map(|[_, second]| [*age, second]),
            Set::SecondAge(age) => facts.factor_ages = facts.factor_ages.map(|[first, _]| [first, *age]),
            Set::Places(places) => {
                facts.workspaces = places.clone().map_or(Workspaces::Missing, Workspaces::Known);
            }
            Set::Scope(name, true) => facts.scopes.get_or_insert_default().push(name.clone()),
            Set::Scope(_, false) => {}
        }
    }
    if let Some(org) = facts.org.as_mut() {
        org.role = role;
        org.permissions = (!is_legacy).then_some(permissions);
    }
    Asker::Person(Arc::new(Identity::new(facts, Vec::new())), side)
}

fn grant(granted: &mut Option<Scoped>, name: &str, Granted { org, user }: Granted) {
    let granted = granted.get_or_insert_default();
    granted.org.extend(org.then(|| name.to_owned()));
    granted.user.extend(user.then(|| name.to_owned()));
}

/// A claim at its place. Where a shorter path has a value already, that one stays: it is no mapping.
fn put(claims: &mut Map<String, Value>, names: &[String], value: &Value) {
    let Some((first, inner)) = names.split_first() else { return };
    if inner.is_empty() {
        claims.entry(first.clone()).or_insert_with(|| value.clone());
        return;
    }
    let next = claims.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(members) = next {
        put(members, inner, value);
    }
}
