//! Requests that fall under other rules than before: sampled from both tables, gathered by the routes they fall under.
//!
//! Every pair of a route that changed and any route of either table is tried, in the shape of the paths that both match,
//! with each method, host, header and parameter that a route there names and one that none names. Two routes that did not
//! change keep their order between them, so that no other pair can differ.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use http::Method;

use super::Difference;
use super::judge::Outcome;
use super::request::{Sample, find};
use super::routes::{Matched, shape};
use crate::route::{HostPattern, Meeting, Pattern, Place, Route, Sampler, shared};
use crate::snapshot::Snapshot;

/// Most sample paths; beyond them the comparison says that it is not complete.
const MAX_PATHS: usize = 100_000;
/// Most combinations of host, headers and parameters on one path.
const MAX_COMBINATIONS: usize = 256;

/// Where requests end up in one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    Route {
        id: String,
        place: Place,
    },
    /// Before any route is asked: `no_route`, `bad_path` …
    Refused {
        status: u16,
        code: &'static str,
    },
}

/// A place to land, for comparing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum At {
    Route(usize),
    Refused(Outcome),
}

/// Requests that land in one pair of places.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) old: At,
    pub(super) new: At,
    pub(super) methods: BTreeSet<String>,
    pub(super) paths: BTreeSet<String>,
    /// The plainest of them, of those whose tails are not empty where there are such: an empty one is the name of no org.
    pub(super) sample: Sample,
    plain: (bool, Plainness),
}

/// The groups of requests that land in places that are not the same.
pub(super) fn differing(old: &Snapshot, new: &Snapshot, matched: &Matched, difference: &mut Difference) -> Vec<Group> {
    let mut groups: HashMap<(At, At), Group> = HashMap::new();
    let mut order: Vec<(At, At)> = Vec::new();
    let elsewhere = hosts_elsewhere(old, new);
    for path in paths(old, new, matched, difference) {
        let there: Vec<&Route> = old.routes.reached(&path).into_iter().chain(new.routes.reached(&path)).collect();
        for sample in samples(&path, &there, &elsewhere, difference) {
            difference.compared.requests += 1;
            let ((was, some_empty), (is, other_empty)) = (land(&sample, old), land(&sample, new));
            let same = match (&was, &is) {
                (At::Route(was), At::Route(is)) => matched.is_same(*was, *is),
                (At::Refused(was), At::Refused(is)) => was == is,
                (At::Route(_), At::Refused(_)) | (At::Refused(_), At::Route(_)) => false,
            };
            if same {
                continue;
            }
            let method = sample.method.as_str().to_owned();
            let shape = described(&path, old, &was, new, &is);
            let plain = (some_empty || other_empty, plainness(&sample));
            let key = (was, is);
            match groups.get_mut(&key) {
                Some(group) => {
                    group.methods.insert(method);
                    group.paths.insert(shape);
                    if plain < group.plain {
                        (group.sample, group.plain) = (sample, plain);
                    }
                }
                None => {
                    let group = Group {
                        old: key.0.clone(),
                        new: key.1.clone(),
                        methods: [method].into(),
                        paths: [shape].into(),
                        sample,
                        plain,
                    };
                    groups.insert(key.clone(), group);
                    order.push(key);
                }
            }
        }
    }
    order.iter().filter_map(|key| groups.remove(key)).collect()
}

type Plainness = (usize, bool, bool, usize);

fn plainness(sample: &Sample) -> Plainness {
    let follows = sample.method == Method::HEAD;
    (sample.conditions(), follows, sample.path.ends_with('/'), sample.path.len())
}

/// The place, and whether some part of the path that it captures is empty.
fn land(sample: &Sample, snapshot: &Snapshot) -> (At, bool) {
    let read = match sample.read(snapshot) {
        Ok(read) => read,
        Err(refusal) => {
            return (At::Refused(Outcome::refused(&crate::gate::decide::Refusal::Request(refusal))), false);
        }
    };
    match find(snapshot, &read.view()) {
        Ok(found) => {
            let some_empty = found.captures.iter().any(|(_, value)| value.raw().is_empty());
            (At::Route(found.route.index), some_empty)
        }
        Err(refusal) => (At::Refused(Outcome::refused(&refusal)), false),
    }
}

/// The paths of a group in the words of its patterns; the path itself where a looser reading makes the difference.
fn described(path: &str, old: &Snapshot, was: &At, new: &Snapshot, is: &At) -> String {
    let pattern = |snapshot: &'_ Snapshot, at: &At| match at {
        At::Route(index) => snapshot.routes.get(*index).map(|route| route.pattern.clone()),
        At::Refused(_) => None,
    };
    match (pattern(old, was), pattern(new, is), was, is) {
        (Some(was), Some(is), ..) => shared(&was, &is).unwrap_or_else(|| path.to_owned()),
        (Some(only), None, _, At::Refused(outcome)) | (None, Some(only), At::Refused(outcome), _)
            if matches!(outcome, Outcome::Deny { code: "no_route", .. }) =>
        {
            only.as_str().to_owned()
        }
        _ => path.to_owned(),
    }
}

/// Paths that stand for all on which a changed route has a say.
fn paths(old: &Snapshot, new: &Snapshot, matched: &Matched, difference: &mut Difference) -> Vec<String> {
    let all: Vec<&Pattern> = distinct(old.routes.iter().chain(new.routes.iter()));
    let (was, is) = matched.changed();
    let changed = was.iter().filter_map(|index| old.routes.get(*index));
    let changed = distinct(changed.chain(is.iter().filter_map(|index| new.routes.get(*index))));
    let sampler = Sampler::new(all.iter().copied());
    // A path on which there may be no route at all: whether every route names a host shows there.
    let Ok(everything) = Pattern::parse("/{*rest}") else { return Vec::new() };
    if changed.is_empty() {
        return Vec::new();
    }
    let mut paths = sampler.paths(&everything, &everything);
    let mut known: HashSet<String> = paths.iter().cloned().collect();
    let meeting = Meeting::new(all.iter().copied());
    for one in &changed {
        for other in meeting.of(one).into_iter().filter_map(|at| all.get(at)) {
            for path in sampler.paths(one, other) {
                if known.insert(path.clone()) {
                    paths.push(path);
                }
            }
            if paths.len() > MAX_PATHS {
                difference.gap(format!("more than {MAX_PATHS} shapes of paths: the rest was not compared"));
                return paths;
            }
        }
    }
    paths
}

fn distinct<'r>(routes: impl Iterator<Item = &'r Route>) -> Vec<&'r Pattern> {
    let mut known = HashSet::new();
    routes.filter(|route| known.insert(shape(route))).map(|route| &route.pattern).collect()
}

/// Requests on a path with every method, host, header and parameter that a route there names.
fn samples(path: &str, there: &[&Route], elsewhere: &[String], difference: &mut Difference) -> Vec<Sample> {
    let mut hosts: BTreeSet<Option<String>> = elsewhere.iter().cloned().map(Some).chain([None]).collect();
    let mut headers = BTreeMap::new();
    let mut query: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in there {
        hosts.extend(route.host.as_ref().map(|host| Some(instance(host))));
        for (name, value) in &route.headers {
            headers.entry(name.as_str()).or_insert_with(|| (name.clone(), BTreeSet::new())).1.insert(value.clone());
        }
        for (name, value) in &route.query {
            query.entry(name.clone()).or_default().insert(value.clone());
        }
    }
    let plain =
        Sample { method: Method::GET, host: None, path: path.to_owned(), headers: Vec::new(), query: Vec::new() };
    let mut all: Vec<Sample> = hosts.into_iter().map(|host| Sample { host, ..plain.clone() }).collect();
    for (name, values) in headers.into_values() {
        let other = other_than(&values);
        grow(&mut all, path, difference, |sample| {
            let with = |value: &String| {
                let mut sample = sample.clone();
                sample.headers.push((name.clone(), value.clone()));
                sample
            };
            values.iter().chain([&other]).map(with).collect()
        });
    }
    for (name, values) in query {
        let other = other_than(&values);
        grow(&mut all, path, difference, |sample| {
            let with = |values: &[&String]| {
                let mut sample = sample.clone();
                sample.query.extend(values.iter().map(|value| (name.clone(), (*value).clone())));
                sample
            };
            // Twice is a way of its own: such a request is refused where a route asks for the parameter.
            values.iter().chain([&other]).map(|value| with(&[value])).chain([with(&[&other, &other])]).collect()
        });
    }
    let methods = methods(there);
    all.iter()
        .flat_map(|sample| methods.iter().map(|method| Sample { method: method.clone(), ..sample.clone() }))
        .collect()
}

fn instance(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Below(suffix) => format!("www{suffix}"),
    }
}

/// Hosts that some route anywhere names: one that both configs know, and one that only either does. Where every route names
/// a host, an unknown one is 421 on each path, and a known one is 403 also where no route of that host is near.
fn hosts_elsewhere(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let names_all = |snapshot: &Snapshot| snapshot.routes.iter().all(|route| route.host.is_some());
    if !names_all(old) && !names_all(new) {
        return Vec::new();
    }
    let patterns = |snapshot: &'_ Snapshot| -> HashSet<HostPattern> {
        snapshot.routes.iter().filter_map(|route| route.host.clone()).collect()
    };
    let (was, is) = (patterns(old), patterns(new));
    let knows = |patterns: &HashSet<HostPattern>, host: &str| {
        patterns.contains(&HostPattern::Exact(host.into()))
            || host.match_indices('.').any(|(at, _)| {
                host.get(at..).is_some_and(|suffix| patterns.contains(&HostPattern::Below(suffix.into())))
            })
    };
    let all: BTreeSet<String> = was.iter().chain(&is).map(instance).collect();
    let mut seen = HashSet::new();
    all.into_iter().filter(|host| seen.insert((knows(&was, host), knows(&is, host)))).collect()
}

/// Adds what becomes of each by one more condition; beyond the limit, only to the plain ones.
fn grow(all: &mut Vec<Sample>, path: &str, difference: &mut Difference, more: impl Fn(&Sample) -> Vec<Sample>) {
    let mut added = Vec::new();
    for sample in all.iter() {
        if all.len() + added.len() > MAX_COMBINATIONS {
            difference.gap(format!("{path}: more combinations of hosts, headers and parameters than are tried"));
            break;
        }
        added.extend(more(sample));
    }
    all.extend(added);
}

fn other_than(values: &BTreeSet<String>) -> String {
    let mut other = "else".to_owned();
    while values.contains(&other) {
        other.push('e');
    }
    other
}

/// All that are named, `HEAD` where `GET` is, and one that is not.
fn methods(there: &[&Route]) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for method in there.iter().flat_map(|route| &route.methods) {
        if !methods.contains(method) {
            methods.push(method.clone());
        }
        if *method == Method::GET && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
    }
    let usual = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::HEAD];
    methods.extend(usual.into_iter().find(|method| !methods.contains(method)));
    methods
}
