//! One pair of routes: who is treated differently by them, in as few words as will do.
//!
//! Everybody who can be told apart by either rule is made up and judged under both configs; [`super::cover`] then puts those
//! whose decision changes into words. Where there are too many to try them all, some are tried, and the report says so.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use super::cover::{self, coordinates};
use super::judge::{Direction, Outcome, judge};
use super::landing::{At, Group};
use super::request::{Readable, Sample, find};
use super::routes;
use super::traits::{Around, Choice, Kind, Seen, Trait, asker, traits};
use super::{Case, Change, Difference, Landing, Who};
use crate::clock::Now;
use crate::policy::{OrgRule, Rule, Template};
use crate::rollout::Side;
use crate::route::Route;
use crate::snapshot::Snapshot;

/// Most people of one kind who are tried on one pair of routes.
const MAX_POINTS: usize = 4096;
/// Most lines that describe those of one case and kind.
const MAX_LINES: usize = 4;

/// A request, with or without one of the values that a rule compares.
struct Variant {
    label: String,
    sample: Sample,
    old: Result<Readable, Outcome>,
    new: Result<Readable, Outcome>,
}

/// Cases by what changes; each with descriptions and, where they are told, the kinds that these hold for.
#[derive(Default)]
struct Cases(BTreeMap<(Direction, String, String), Gathered>);

struct Gathered {
    old: Outcome,
    new: Outcome,
    predicates: BTreeSet<&'static str>,
    lines: BTreeMap<Vec<String>, Vec<Kind>>,
    more: usize,
}

pub(super) fn compare(old: &Snapshot, new: &Snapshot, group: Group, now: Now, difference: &mut Difference) {
    let (was, is) = (route(old, &group.old), route(new, &group.new));
    let mut cases = Cases::default();
    let variants = variants(old, new, &group, was, is);
    if let (At::Refused(was), At::Refused(is)) = (&group.old, &group.new) {
        if let Some(direction) = was.direction(is) {
            cases.add(direction, was, is, Some((Vec::new(), Vec::new())));
        }
    } else {
        for kind in kinds(old, new) {
            of_kind(old, new, (was, is), kind, &variants, now, &mut cases, difference);
        }
    }
    let cases = cases.told(kinds(old, new).len());
    if cases.is_empty() {
        return;
    }
    let Group { old: at_old, new: at_new, methods, paths, sample, .. } = group;
    difference.changes.push(Change {
        methods,
        paths,
        example: variants.first().map_or(&sample, |variant| &variant.sample).shown(),
        conditions: conditions(&sample),
        old: landing(was, &at_old),
        new: landing(is, &at_new),
        cases,
    });
}

fn route<'s>(snapshot: &'s Snapshot, at: &At) -> Option<&'s Route> {
    match at {
        At::Route(index) => snapshot.routes.get(*index),
        At::Refused(_) => None,
    }
}

fn landing(route: Option<&Route>, at: &At) -> Landing {
    match (route, at) {
        (Some(route), _) => Landing::Route { id: route.id.to_string(), place: route.place.clone() },
        (None, At::Refused(Outcome::Deny { status, code, .. })) => Landing::Refused { status: *status, code },
        (None, _) => Landing::Refused { status: 403, code: "no_route" },
    }
}

fn conditions(sample: &Sample) -> Vec<String> {
    let host = sample.host.iter().map(|host| format!("host {host}"));
    let headers = sample.headers.iter().map(|(name, value)| format!("header {name}: {value}"));
    let query = sample.query.iter().map(|(name, value)| format!("query {name}={value}"));
    host.chain(headers).chain(query).collect()
}

/// Who can come to both.
fn kinds(old: &Snapshot, new: &Snapshot) -> Vec<Kind> {
    let both = |has: fn(&Snapshot) -> bool| has(old) && has(new);
    let mut kinds = vec![Kind::Nobody];
    kinds.extend(both(|snapshot| !snapshot.instances.is_empty()).then_some(Kind::Session));
    let verifies = |snapshot: &Snapshot| snapshot.legacy.as_ref().is_some_and(|legacy| legacy.passthrough().is_none());
    kinds.extend(both(verifies).then_some(Kind::Legacy));
    let passes = |snapshot: &Snapshot| snapshot.legacy.as_ref().is_some_and(|legacy| legacy.passthrough().is_some());
    kinds.extend(both(passes).then_some(Kind::Unproven));
    let runs = both(|snapshot| snapshot.runner.is_some());
    kinds.extend((runs && kinds.contains(&Kind::Session)).then_some(Kind::Runner));
    kinds.extend((runs && kinds.contains(&Kind::Legacy)).then_some(Kind::LegacyRunner));
    kinds
}

#[expect(clippy::too_many_arguments, reason = "both sides of everything, and where the outcome goes")]
fn of_kind(
    old: &Snapshot,
    new: &Snapshot,
    (was, is): (Option<&Route>, Option<&Route>),
    kind: Kind,
    variants: &[Variant],
    now: Now,
    cases: &mut Cases,
    difference: &mut Difference,
) {
    let has_legacy = old.legacy.is_some() && new.legacy.is_some();
    let has_clerk = !old.instances.is_empty() && !new.instances.is_empty();
    let around = Around {
        arms: has_legacy
            && has_clerk
            && (was.map(|route| route.access) != is.map(|route| route.access)
                || [(old, was), (new, is)].into_iter().any(|(snapshot, route)| {
                    route.is_some_and(|route| {
                        routes::gets_tokens(snapshot, route, Side::Legacy)
                            != routes::gets_tokens(snapshot, route, Side::Clerk)
                    })
                })),
        has_legacy,
        mints: old.mint.is_some() || new.mint.is_some(),
    };
    let Some(first) = variants.first() else { return };
    let traits = seen_traits(old, new, first, kind, around);
    let mut sizes = vec![variants.len()];
    sizes.extend(traits.iter().map(|one| one.options.len()));
    let total = sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
    let total = total.filter(|_| traits.iter().all(|one| one.is_whole)).unwrap_or(usize::MAX);
    let mut judged = |point: &[usize]| {
        let variant = point.first().and_then(|at| variants.get(*at)).unwrap_or(first);
        let person = asker(kind, chosen(&traits, point), has_legacy);
        difference.compared.decisions += 1;
        (judge(old, &variant.old, was, &person, now), judge(new, &variant.new, is, &person, now))
    };
    if total <= MAX_POINTS {
        let outcomes: Vec<_> = (0..total).map(|point| judged(&coordinates(&sizes, point))).collect();
        exactly(&sizes, &outcomes, kind, variants, &traits, cases);
        return;
    }
    let points = some_points(&sizes, &mut judged);
    for (point, (before, after)) in points {
        if let Some(direction) = before.direction(&after) {
            let labels = chosen(&traits, &point).map(|choice| choice.label.clone());
            cases.add(direction, &before, &after, Some((labels.collect(), vec![kind])));
        }
    }
    let name = is.or(was).map_or("no route", |route| &route.id);
    difference.gap(format!(
        "route {name}: its rules tell {} sorts of people apart ({}), of which some were tried",
        if total == usize::MAX { "countless".to_owned() } else { total.to_string() },
        kind.as_str(),
    ));
}

/// The traits that the rules of a pair tell apart.
fn seen_traits(old: &Snapshot, new: &Snapshot, variant: &Variant, kind: Kind, around: Around) -> Vec<Trait> {
    let (was, is) = (variant.old.as_ref().ok(), variant.new.as_ref().ok());
    let was = was.map(Readable::view);
    let is = is.map(Readable::view);
    let was = was.as_ref().and_then(|view| Some((find(old, view).ok()?, *view)));
    let is = is.as_ref().and_then(|view| Some((find(new, view).ok()?, *view)));
    let mut seen = Vec::new();
    for (snapshot, found) in [(old, &was), (new, &is)] {
        let Some((found, view)) = found else { continue };
        let Some(policy) = snapshot.policies.get(found.route.index) else { continue };
        seen.push(Seen { rule: policy.rule(), found, view: *view });
    }
    traits(kind, &seen, around)
}

fn chosen<'t>(traits: &'t [Trait], point: &[usize]) -> impl Iterator<Item = &'t Choice> {
    let at: Vec<usize> = point.iter().skip(1).copied().collect();
    traits.iter().zip(at).filter_map(|(one, at)| one.options.get(at))
}

/// Everybody was tried.
fn exactly(
    sizes: &[usize],
    outcomes: &[(Outcome, Outcome)],
    kind: Kind,
    variants: &[Variant],
    traits: &[Trait],
    cases: &mut Cases,
) {
    let mut known: Vec<(Direction, Outcome, Outcome)> = Vec::new();
    let classes: Vec<usize> = outcomes
        .iter()
        .map(|(old, new)| {
            let Some(direction) = old.direction(new) else { return 0 };
            let class = (direction, old.answer(), new.answer());
            let at = known.iter().position(|other| *other == class).unwrap_or_else(|| {
                known.push(class);
                known.len() - 1
            });
            cases.add(direction, old, new, None);
            at + 1
        })
        .collect();
    for (at, (direction, old, new)) in known.iter().enumerate() {
        if *direction == Direction::Reason {
            continue;
        }
        let (cubes, more) = cover::cover(sizes, &classes, at + 1, MAX_LINES);
        for cube in cubes {
            let labels = cube.options.iter().enumerate().filter_map(|(trait_at, options)| {
                let label = |option: usize| match trait_at.checked_sub(1) {
                    None => variants.get(option).map(|variant| variant.label.clone()),
                    Some(at) => Some(traits.get(at)?.options.get(option)?.label.clone()),
                };
                let pick = |covered: bool| -> Vec<String> {
                    let options = options.iter().enumerate().filter(|(_, option)| **option == covered);
                    options.filter_map(|(option, _)| label(option)).collect()
                };
                let (inside, outside) = (pick(true), pick(false));
                match (inside.len(), outside.len()) {
                    (_, 0) => None,
                    (many, few) if many > 2 && few < many => Some(format!("not {}", outside.join(" nor "))),
                    _ => Some(inside.join(" or ")),
                }
            });
            cases.add(*direction, old, new, Some((labels.collect(), vec![kind])));
        }
        cases.more(*direction, old, new, more);
    }
}

/// Too many to try: some at random, always the same ones, and of those who get in the neighbours, too.
fn some_points(
    sizes: &[usize],
    judged: &mut impl FnMut(&[usize]) -> (Outcome, Outcome),
) -> Vec<(Vec<usize>, (Outcome, Outcome))> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap_or(1)).unwrap_or_default()
    };
    let mut points = Vec::new();
    for _ in 0..MAX_POINTS {
        let point: Vec<usize> = sizes.iter().map(|size| next(*size)).collect();
        let outcome = judged(&point);
        points.push((point, outcome));
    }
    let is_in =
        |(old, new): &(Outcome, Outcome)| matches!(old, Outcome::Allow { .. }) || matches!(new, Outcome::Allow { .. });
    // Of those who do not get in by chance, whoever gets further than others is followed; the rest is said to be unknown.
    let inside: Vec<Vec<usize>> =
        points.iter().filter(|(_, outcome)| is_in(outcome)).take(32).map(|(point, _)| point.clone()).collect();
    for point in inside {
        for (at, size) in sizes.iter().enumerate() {
            for option in 0..*size {
                let mut neighbour = point.clone();
                if let Some(slot) = neighbour.get_mut(at) {
                    *slot = option;
                }
                let outcome = judged(&neighbour);
                points.push((neighbour, outcome));
            }
        }
    }
    points
}

impl Cases {
    fn add(&mut self, direction: Direction, old: &Outcome, new: &Outcome, line: Option<(Vec<String>, Vec<Kind>)>) {
        let (was, is) = (old.answer(), new.answer());
        let gathered = self.0.entry((direction, was.to_string(), is.to_string())).or_insert_with(|| Gathered {
            old: was,
            new: is,
            predicates: BTreeSet::new(),
            lines: BTreeMap::new(),
            more: 0,
        });
        gathered.predicates.extend([old, new].into_iter().filter_map(|outcome| match outcome {
            Outcome::Deny { .. } => outcome.predicate(),
            Outcome::Allow { .. } => None,
        }));
        if let Some((labels, kinds)) = line.filter(|_| direction != Direction::Reason) {
            if gathered.lines.len() >= MAX_LINES * 3 && !gathered.lines.contains_key(&labels) {
                gathered.more += 1;
                return;
            }
            let known = gathered.lines.entry(labels).or_default();
            known.extend(kinds);
            known.sort_unstable();
            known.dedup();
        }
    }

    fn more(&mut self, direction: Direction, old: &Outcome, new: &Outcome, more: usize) {
        if let Some(gathered) = self.0.get_mut(&(direction, old.answer().to_string(), new.answer().to_string())) {
            gathered.more += more;
        }
    }

    /// `all`: how many kinds there are; of all, none is named.
    fn told(self, all: usize) -> Vec<Case> {
        let told = self.0.into_iter().map(|((direction, ..), gathered)| {
            let Gathered { old, new, predicates, lines, more } = gathered;
            let who = lines.into_iter().map(|(traits, kinds)| {
                let kinds = if kinds.len() == all { Vec::new() } else { kinds };
                Who { kinds: kinds.into_iter().map(Kind::as_str).collect(), traits }
            });
            Case { direction, who: who.collect(), more, old, new, predicates }
        });
        told.collect()
    }
}

/// The request with every value that either rule compares, then without each of them.
fn variants(old: &Snapshot, new: &Snapshot, group: &Group, was: Option<&Route>, is: Option<&Route>) -> Vec<Variant> {
    let mut headers: Vec<HeaderName> = Vec::new();
    let mut query: Vec<String> = Vec::new();
    for (snapshot, route) in [(old, was), (new, is)] {
        let Some(policy) = route.and_then(|route| snapshot.policies.get(route.index)) else { continue };
        policy.rule().visit(&mut |rule| {
            for template in templates(rule) {
                headers.extend(template.header_names().cloned());
                query.extend(template.query_names().map(str::to_owned));
            }
        });
    }
    headers.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    headers.dedup();
    headers.retain(|name| !group.sample.headers.iter().any(|(known, _)| known == name));
    query.sort_unstable();
    query.dedup();
    query.retain(|name| !group.sample.query.iter().any(|(known, _)| known == name));
    let mut full = group.sample.clone();
    full.headers.extend(headers.iter().map(|name| (name.clone(), format!("of-{name}"))));
    full.query.extend(query.iter().map(|name| (name.clone(), format!("of-{name}"))));
    let variant = |label: String, sample: Sample| {
        let refused = |refusal| Outcome::refused(&crate::gate::decide::Refusal::Request(refusal));
        let (was, is) = (sample.read(old).map_err(refused), sample.read(new).map_err(refused));
        Variant { label, old: was, new: is, sample }
    };
    let names: Vec<String> = headers
        .iter()
        .map(|name| format!("header {name}"))
        .chain(query.iter().map(|name| format!("query {name}")))
        .collect();
    let mut variants = vec![variant(format!("with {}", names.join(" and ")), full.clone())];
    for name in &headers {
        let mut sample = full.clone();
        sample.headers.retain(|(known, _)| known != name);
        variants.push(variant(format!("without header {name}"), sample));
    }
    for name in &query {
        let mut sample = full.clone();
        sample.query.retain(|(known, _)| known != name);
        variants.push(variant(format!("without query {name}"), sample));
    }
    variants
}

fn templates(rule: &Rule) -> Vec<&Template> {
    match rule {
        Rule::Org(rules) => rules
            .iter()
            .filter_map(|rule| match rule {
                OrgRule::Any => None,
                OrgRule::Named { template, .. } => Some(template),
            })
            .collect(),
        Rule::Workspace(rules) => rules.iter().map(|rule| &rule.template).collect(),
        _ => Vec::new(),
    }
}
