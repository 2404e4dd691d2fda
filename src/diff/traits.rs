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
use crate::identity::{Facts, Identity, Login, Method, Org, Scoped, TokenKind, Workspace, Workspaces};
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
    /// With a runner token that a session was exchanged for.
    Runner,
    /// With one that a legacy credential was exchanged for: its roles are that side's.
    LegacyRunner,
}

impl Kind {
    /// Whether their facts are those of the legacy side.
    pub(super) const fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::LegacyRunner)
    }

    const fn is_runner(self) -> bool {
        matches!(self, Self::Runner | Self::LegacyRunner)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "no credential",
            Self::Session => "session",
            Self::Legacy => "legacy",
            Self::Unproven => "legacy credential, unverified",
            Self::Runner => "runner",
            Self::LegacyRunner => "runner by the legacy login",
        }
    }
}

/// One trait and what there is to choose from.
#[derive(Debug)]
pub(super) struct Trait {
    pub(super) options: Vec<Choice>,
    /// Nobody is left out: each person whom the rules tell apart has one of the options.
    pub(super) is_whole: bool,
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
    /// The ids and roles of each rule about workspaces, of which one is enough.
    workspace_sets: Vec<Vec<(BTreeSet<String>, BTreeSet<String>)>>,
    roles: BTreeSet<String>,
    legacy_roles: BTreeSet<String>,
    /// What each rule about roles takes of them.
    legacy_sets: Vec<BTreeSet<String>>,
    permissions: BTreeSet<String>,
    features: BTreeMap<String, bool>,
    plans: BTreeMap<String, bool>,
    claims: BTreeMap<String, AskedClaim>,
    /// The claim that stands for it, and its text.
    conditions: BTreeMap<String, String>,
    minutes: Vec<f64>,
    scopes: BTreeSet<String>,
}

struct AskedClaim {
    path: ClaimPath,
    values: Vec<ClaimValue>,
    /// What each rule about it takes, by the places of the values.
    sets: Vec<BTreeSet<usize>>,
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
                let mut sets = Vec::new();
                for rule in rules {
                    let named = value(&rule.template);
                    let roles: BTreeSet<String> = rule.roles.iter().map(ToString::to_string).collect();
                    sets.push((named.iter().map(|(id, _)| id.clone()).collect(), roles.clone()));
                    self.workspaces.extend(named);
                    self.workspace_roles.extend(roles);
                }
                self.workspace_sets.push(sets);
            }
            Rule::Role(asked) => {
                self.has_org = true;
                self.roles.extend(asked.iter().map(|role| role.as_str().to_owned()));
                let legacy = asked.iter().filter_map(|role| role.legacy()).flatten();
                let set: BTreeSet<String> = legacy.map(ToString::to_string).collect();
                self.legacy_roles.extend(set.iter().cloned());
                self.legacy_sets.push(set);
            }
            Rule::Permission(asked) => {
                self.has_org = true;
                self.permissions.extend(asked.iter().map(|name| name.as_str().to_owned()));
            }
            Rule::Feature(asked) => add_scoped(&mut self.features, asked),
            Rule::Plan(asked) => add_scoped(&mut self.plans, asked),
            Rule::Claim(ClaimRule { path, any_of }) => {
                let claim = self.claims.entry(path.as_str().to_owned()).or_insert_with(|| AskedClaim {
                    path: path.clone(),
                    values: Vec::new(),
                    sets: Vec::new(),
                });
                let place = |value: &ClaimValue| {
                    claim.values.iter().position(|known| known == value).unwrap_or_else(|| {
                        claim.values.push(value.clone());
                        claim.values.len() - 1
                    })
                };
                let set = any_of.iter().map(place).collect();
                claim.sets.push(set);
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
    let mut add = |(options, is_whole): (Vec<Choice>, bool)| {
        if options.len() > 1 {
            traits.push(Trait { options, is_whole });
        }
    };
    let whole = |options: Vec<Choice>| (options, true);
    match kind {
        Kind::Nobody | Kind::Unproven => return traits,
        Kind::Session | Kind::Legacy | Kind::Runner | Kind::LegacyRunner => {}
    }
    let is_legacy = kind.is_legacy();
    if around.arms {
        let arm = |side: Side| Choice { label: format!("{} arm", side.as_str()), set: Set::Arm(side) };
        add(whole(vec![arm(Side::Legacy), arm(Side::Clerk)]));
    }
    if asked.has_org {
        add(orgs(&asked, is_legacy, around.has_legacy));
    }
    if is_legacy {
        add(legacy_roles(&asked));
    } else {
        add(whole(roles(&asked.roles)));
        for name in &asked.permissions {
            let has = |has: bool| Choice {
                label: if has { format!("permission {name}") } else { format!("without permission {name}") },
                set: Set::Permission(name.clone(), has),
            };
            add(whole(vec![has(true), has(false)]));
        }
        for (name, is_scoped) in &asked.features {
            add(whole(granted("feature", name, *is_scoped, Set::Feature)));
        }
        for (name, is_scoped) in &asked.plans {
            add(whole(granted("plan", name, *is_scoped, Set::Plan)));
        }
        if !asked.minutes.is_empty() {
            ages(&asked.minutes).into_iter().map(whole).for_each(&mut add);
        }
    }
    add(places(&asked));
    asked.claims.values().map(claim).for_each(&mut add);
    for (name, text) in &asked.conditions {
        let comes_to = |value: Option<bool>, word: &str| Choice {
            label: format!("condition {text} {word}"),
            set: Set::Claim(vec![name.clone()], value.map(Value::from)),
        };
        add(whole(vec![
            comes_to(Some(true), "holds"),
            comes_to(Some(false), "fails"),
            comes_to(None, "cannot be told"),
        ]));
    }
    if kind.is_runner() {
        for name in &asked.scopes {
            let has = |has: bool| Choice {
                label: if has { format!("scope {name}") } else { format!("without scope {name}") },
                set: Set::Scope(name.clone(), has),
            };
            add(whole(vec![has(true), has(false)]));
        }
    }
    traits
}

/// Most options of one trait. Of more, some are tried, and the report says so.
const MAX_OPTIONS: usize = 4096;

fn orgs(asked: &Asked, is_legacy: bool, has_legacy: bool) -> (Vec<Choice>, bool) {
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
    let (mut all, mut is_whole) = (vec![(plain, Vec::new())], true);
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
        let combined = all.iter().flat_map(|(names, labels)| {
            options.iter().map(move |(value, label)| {
                let mut names = names.clone();
                match namespace {
                    OrgName::ClerkId => names.clerk.clone_from(value),
                    OrgName::Slug => names.slug.clone_from(value),
                    OrgName::LegacyId => names.legacy.clone_from(value),
                }
                (names, labels.iter().chain([label]).cloned().collect::<Vec<_>>())
            })
        });
        let count = all.len() * options.len();
        is_whole &= count <= MAX_OPTIONS;
        // Spread over all of them, so that no name is left out for standing last.
        all = combined.step_by(count.div_ceil(MAX_OPTIONS).max(1)).collect();
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
    (options, is_whole)
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

/// Who has several of the things that rules ask for, beside those who have one: by place, two or more each; and whether
/// that is all of them. One thing a rule is enough to make each hold that can hold, so that nobody needs more. Of many
/// things, those that the same rules take stand for one another.
fn several(things: usize, sets: &[BTreeSet<usize>]) -> (Vec<Vec<usize>>, bool) {
    const MANY: usize = 6;
    let sets: BTreeSet<&BTreeSet<usize>> = sets.iter().filter(|set| !set.is_empty()).collect();
    let mut known = BTreeSet::new();
    let taken_by = |thing: usize| sets.iter().map(|set| set.contains(&thing)).collect::<Vec<bool>>();
    let things: Vec<usize> = (0..things).filter(|thing| things <= MANY || known.insert(taken_by(*thing))).collect();
    let mut found: Vec<Vec<usize>> = vec![Vec::new()];
    for thing in &things {
        let shorter = found.iter().filter(|one| one.len() < sets.len());
        let with: Vec<Vec<usize>> = shorter.map(|one| one.iter().chain([thing]).copied().collect()).collect();
        if found.len() + with.len() > MAX_OPTIONS {
            found.retain(|one| one.len() > 1);
            return (found, false);
        }
        found.extend(with);
    }
    found.retain(|one| one.len() > 1);
    found.sort_by_key(Vec::len);
    (found, true)
}

fn legacy_roles(asked: &Asked) -> (Vec<Choice>, bool) {
    if asked.legacy_sets.is_empty() {
        return (Vec::new(), true);
    }
    let names: Vec<&String> = asked.legacy_roles.iter().collect();
    let place = |name: &String| names.iter().position(|known| *known == name);
    let sets: Vec<BTreeSet<usize>> =
        asked.legacy_sets.iter().map(|set| set.iter().filter_map(place).collect()).collect();
    let (several, is_whole) = several(names.len(), &sets);
    let option = |label: String, names: Vec<String>| Choice { label, set: Set::LegacyRoles(names) };
    let mut options = vec![option("no role".to_owned(), Vec::new())];
    options.extend(names.iter().map(|name| option(format!("legacy role {name}"), vec![(*name).clone()])));
    options.push(option("another legacy role".to_owned(), vec![OTHER.to_owned()]));
    options.extend(several.into_iter().map(|places| {
        let names: Vec<String> =
            places.into_iter().filter_map(|at| names.get(at)).map(|name| (*name).clone()).collect();
        option(format!("legacy roles {}", names.join(" and ")), names)
    }));
    (options, is_whole)
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

/// Most combinations of workspaces that are told one by one.
const MAX_PLACES: usize = 256;

fn places(asked: &Asked) -> (Vec<Choice>, bool) {
    if asked.workspaces.is_empty() {
        return (Vec::new(), true);
    }
    let each = if asked.workspace_roles.is_empty() { 2 } else { asked.workspace_roles.len() + 3 };
    let count = asked.workspaces.iter().try_fold(1_usize, |all, _| all.checked_mul(each));
    let (mut options, is_whole) = match count {
        Some(count) if count <= MAX_PLACES => (all_places(asked), true),
        _ => some_places(asked),
    };
    options.push(Choice { label: "no workspaces claim".to_owned(), set: Set::Places(None) });
    (options, is_whole)
}

/// In which way somebody may enter a workspace, without a role first.
fn ways(asked: &Asked, id: &str, written: &str) -> Vec<(Workspace, String)> {
    let place = |role: Option<&str>| Workspace { id: id.to_owned(), role: role.map(str::to_owned) };
    let mut ways = vec![(place(None), format!("workspace {written}"))];
    if !asked.workspace_roles.is_empty() {
        let roles = asked.workspace_roles.iter();
        ways.extend(roles.map(|role| (place(Some(role)), format!("workspace {written} as {role}"))));
        ways.push((place(Some(OTHER)), format!("workspace {written} in another role")));
    }
    ways
}

fn all_places(asked: &Asked) -> Vec<Choice> {
    let mut all: Vec<(Vec<Workspace>, Vec<String>)> = vec![(Vec::new(), Vec::new())];
    for (id, written) in &asked.workspaces {
        let mut options: Vec<(Option<Workspace>, String)> = vec![(None, format!("not workspace {written}"))];
        options.extend(ways(asked, id, written).into_iter().map(|(place, label)| (Some(place), label)));
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
    let choice = |(places, labels): (Vec<Workspace>, Vec<String>)| Choice {
        label: labels.join(" and "),
        set: Set::Places(Some(places)),
    };
    all.into_iter().map(choice).collect()
}

/// Of many workspaces: none of them, each of them by itself, and as many together as there are rules.
fn some_places(asked: &Asked) -> (Vec<Choice>, bool) {
    let all: Vec<(Workspace, String)> =
        asked.workspaces.iter().flat_map(|(id, written)| ways(asked, id, written)).collect();
    let takes = |(ids, roles): &(BTreeSet<String>, BTreeSet<String>), place: &Workspace| {
        ids.contains(&place.id) && (roles.is_empty() || place.role.as_ref().is_some_and(|role| roles.contains(role)))
    };
    let sets: Vec<BTreeSet<usize>> = asked
        .workspace_sets
        .iter()
        .map(|rules| {
            let is_taken =
                |(_, (place, _)): &(usize, &(Workspace, String))| rules.iter().any(|rule| takes(rule, place));
            all.iter().enumerate().filter(is_taken).map(|(at, _)| at).collect()
        })
        .collect();
    let (several, is_whole) = several(all.len(), &sets);
    // Of a place without a role, a rule about roles cannot be told: who has it beside another was not tried.
    let is_whole = is_whole && asked.workspace_roles.is_empty();
    let option = |label: String, places: Vec<Workspace>| Choice { label, set: Set::Places(Some(places)) };
    let mut options = vec![option("none of these workspaces".to_owned(), Vec::new())];
    options.extend(all.iter().map(|(place, label)| option(format!("only {label}"), vec![place.clone()])));
    options.extend(several.into_iter().map(|chosen| {
        let chosen: Vec<&(Workspace, String)> = chosen.into_iter().filter_map(|at| all.get(at)).collect();
        let labels: Vec<&str> = chosen.iter().map(|(_, label)| label.as_str()).collect();
        option(labels.join(" and "), chosen.iter().map(|(place, _)| place.clone()).collect())
    }));
    (options, is_whole)
}

/// A claim is missing, has one of the values, another one of each type, or is a list.
fn claim(asked: &AskedClaim) -> (Vec<Choice>, bool) {
    let AskedClaim { path, values, sets } = asked;
    let names: Vec<String> = path.names().map(str::to_owned).collect();
    let option = |label: String, value: Option<Value>| Choice { label, set: Set::Claim(names.clone(), value) };
    let name = path.as_str();
    let mut options: Vec<Choice> =
        values.iter().map(|value| option(format!("claim {name} {value}"), Some(json_of(value)))).collect();
    let is_text = values.iter().any(|value| matches!(value, ClaimValue::Text(_)));
    let is_number = values.iter().any(|value| matches!(value, ClaimValue::Number(_)));
    let is_flag = values.iter().any(|value| matches!(value, ClaimValue::Bool(_)));
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
    for flag in [true, false].into_iter().filter(|_| is_flag) {
        if !values.contains(&ClaimValue::Bool(flag)) {
            options.push(option(format!("claim {name} {flag}"), Some(Value::from(flag))));
        }
    }
    // Of two types, what is asked of the one cannot be told of the other; of nothing, both are false.
    if [is_text, is_number, is_flag].into_iter().filter(|there| *there).count() > 1 {
        options.push(option(format!("an empty list in claim {name}"), Some(Value::Array(Vec::new()))));
    }
    let (several, is_whole) = several(values.len(), sets);
    options.extend(several.into_iter().map(|places| {
        let chosen: Vec<&ClaimValue> = places.into_iter().filter_map(|at| values.get(at)).collect();
        let label = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        option(format!("claim {name} {label}"), Some(chosen.into_iter().map(json_of).collect()))
    }));
    options.push(option(format!("no claim {name}"), None));
    (options, is_whole)
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
        Kind::Runner | Kind::LegacyRunner => TokenKind::Runner,
    };
    let is_legacy = kind.is_legacy();
    let mut side = if is_legacy { Side::Legacy } else { Side::Clerk };
    let user = "somebody".to_owned();
    let mut facts = Facts {
        method: match kind {
            Kind::Legacy => Method::Legacy,
            Kind::Runner => Method::Runner(Login::Clerk),
            Kind::LegacyRunner => Method::Runner(Login::Legacy),
            Kind::Nobody | Kind::Unproven | Kind::Session => Method::Clerk,
        },
        token,
        subject: user.clone(),
        clerk_user: (!is_legacy).then(|| user.clone()),
        legacy_user: (is_legacy || has_legacy).then_some(user),
        features: (!is_legacy).then(Scoped::default),
        plans: (!is_legacy).then(Scoped::default),
        scopes: kind.is_runner().then(Vec::new),
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
