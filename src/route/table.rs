//! All routes of a snapshot: built once, asked once per request.
//!
//! `find` picks the most specific route that holds and then asks the same question for an API that reads paths
//! more loosely; the two answers must agree. The order in which routes were written plays no part.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::captures::{Captures, Values};
use super::pattern::{Part, Pattern};
use super::predicate::{Asked, Rank, WhyNot, cannot_be_told_apart};
use super::trie::{Case, Slash, Trie, hash};
use super::{Definition, Found, Reading, Refusal, Route};
use crate::request::path::Segment;
use crate::request::tolerance::readings;
use crate::request::{Oddities, View};

/// Two routes that some request would match alike; indices into what `compile` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clash {
    pub first: usize,
    pub second: usize,
}

/// The compiled routes.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    as_sent: Trie,
    folded: Trie,
    /// Whether some literal has an upper-case letter, so that folding can change the answer for any path.
    upper_case_literals: bool,
    /// Hashes of all literals, folded and sorted: a segment that is none of them, folded, matches as it did before.
    literals: Vec<u64>,
    /// Whether some pattern ends in a slash, so that dropping it can change the answer for any path.
    trailing_slashes: bool,
    /// Whether every route names a host, so that a host can be unknown at all.
    all_name_hosts: bool,
}

impl Routes {
    /// Builds the table. The index of a route is its place in `definitions`.
    ///
    /// # Errors
    /// All pairs of routes that cannot be told apart.
    pub fn compile(definitions: Vec<Definition>) -> Result<Self, Vec<Clash>> {
        let routes: Vec<Route> =
            definitions.into_iter().enumerate().map(|(index, definition)| Route { index, definition }).collect();
        let mut as_sent = Trie::new(Case::Exact);
        let mut folded = Trie::new(Case::Folded);
        let mut clashes = Vec::new();
        for route in &routes {
            let same_shape = as_sent.insert(&route.pattern, route.index);
            let clashing = same_shape.iter().filter_map(|index| routes.get(*index));
            clashes.extend(
                clashing
                    .filter(|other| cannot_be_told_apart(other, route))
                    .map(|other| Clash { first: other.index, second: route.index }),
            );
            folded.insert(&route.pattern, route.index);
        }
        if !clashes.is_empty() {
            return Err(clashes);
        }
        let mut literals: Vec<u64> = routes.iter().flat_map(|route| folded_literals(&route.pattern)).collect();
        literals.sort_unstable();
        literals.dedup();
        Ok(Self {
            literals,
            upper_case_literals: routes.iter().any(|route| has_upper_case(&route.pattern)),
            trailing_slashes: routes.iter().any(|route| route.pattern.trailing_slash()),
            all_name_hosts: !routes.is_empty() && routes.iter().all(|route| route.host.is_some()),
            routes,
            as_sent,
            folded,
        })
    }

    /// The route of a request.
    ///
    /// # Errors
    /// [`Refusal`] when there is none, or when a looser reading of the path would pick another one.
    pub fn find<'r, 'v>(&'r self, view: &View<'v>) -> Result<Found<'r, 'v>, Refusal> {
        self.find_asked(view.request.path.as_str(), &Asked::new(view))
    }

    pub(super) fn find_asked<'r, 'v>(&'r self, path: &'v str, asked: &Asked<'_>) -> Result<Found<'r, 'v>, Refusal> {
        let mut values = Values::default();
        let Some(route) = self.pick(&self.as_sent, path, Slash::AsSent, asked, &mut values)? else {
            return Err(match asked.oddities.beyond(Oddities::NONE) {
                Some(oddity) => Refusal::Untolerated(oddity),
                None => self.nothing_found(asked),
            });
        };
        if !asked.oddities.is_empty() {
            self.check_odd_readings(path, asked, route)?;
        }
        if !route.exact_paths {
            self.check_other_readings(path, asked, route)?;
        }
        Ok(Found { route, captures: Captures::new(&route.pattern, values) })
    }

    /// For a preflight: the route that names `OPTIONS` itself on this path. Then the method has a rule of its own, which a
    /// preflight, that anybody can make up, must not get around.
    pub fn find_own_options<'r, 'v>(&'r self, view: &View<'v>) -> Option<Found<'r, 'v>> {
        view.request.preflight.as_ref()?;
        let asked = Asked { method: &view.request.method, ..Asked::new(view) };
        let found = self.find_asked(view.request.path.as_str(), &asked).ok()?;
        found.route.methods.contains(asked.method).then_some(found)
    }

    /// The route of a request as it was sent, whatever a looser reading of its path would pick.
    pub fn as_sent(&self, view: &View<'_>) -> Option<&Route> {
        let asked = Asked::new(view);
        self.pick(&self.as_sent, view.request.path.as_str(), Slash::AsSent, &asked, &mut Values::default()).ok()?
    }

    /// Reports each route whose pattern matches the path and that was not found, with the reason.
    pub fn candidates<'r>(&'r self, view: &View<'_>, report: &mut impl FnMut(&'r Route, WhyNot<'r>)) {
        self.candidates_asked(view.request.path.as_str(), &Asked::new(view), report);
    }

    pub(super) fn candidates_asked<'r>(
        &'r self,
        path: &str,
        asked: &Asked<'_>,
        report: &mut impl FnMut(&'r Route, WhyNot<'r>),
    ) {
        let found = self.pick(&self.as_sent, path, Slash::AsSent, asked, &mut Values::default());
        let found = found.ok().flatten().map(|route| route.index);
        let _: ControlFlow<()> = self.as_sent.search(path, Slash::AsSent, &mut Values::default(), &mut |places| {
            for route in self.at(places) {
                match asked.rank(route) {
                    Ok(_) if found == Some(route.index) => {}
                    Ok(_) => report(route, WhyNot::LessSpecific),
                    Err(why) => report(route, why),
                }
            }
            ControlFlow::Continue(())
        });
    }

    /// Every route whose pattern matches the path, in any of the readings that `find` considers.
    pub fn reached(&self, path: &str) -> Vec<&Route> {
        let mut found: Vec<usize> = Vec::new();
        for trie in [&self.as_sent, &self.folded] {
            for slash in [Slash::AsSent, Slash::Dropped] {
                let _: ControlFlow<()> = trie.search(path, slash, &mut Values::default(), &mut |places| {
                    found.extend(places.into_iter().flatten());
                    ControlFlow::Continue(())
                });
            }
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|index| self.routes.get(index)).collect()
    }

    pub fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    /// All routes, by index.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.routes.iter()
    }

    pub fn len(&self) -> usize {
        self.routes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// An API that ignores case or a trailing slash would serve the same handler for the looser reading, so the
    /// route of that reading must be the same: `/api/ADMIN/x` must not pass as `/api/{*rest}` beside
    /// `/api/admin/{*rest}`. Patterns are read as loosely as the path, since such an API does so with its own.
    fn check_other_readings(&self, path: &str, asked: &Asked<'_>, route: &Route) -> Result<(), Refusal> {
        let fold = self.upper_case_literals || self.folding_meets_a_literal(path);
        let drop = self.trailing_slashes || (path.len() > 1 && path.ends_with('/'));
        let readings = [
            (fold, Reading::CaseFolded, &self.folded, Slash::AsSent),
            (drop, Reading::NoTrailingSlash, &self.as_sent, Slash::Dropped),
            (fold && drop, Reading::Both, &self.folded, Slash::Dropped),
        ];
        for (can_differ, reading, trie, slash) in readings {
            if !can_differ {
                continue;
            }
            match self.pick(trie, path, slash, asked, &mut Values::default())? {
                Some(other) if other.index != route.index => {
                    return Err(Refusal::AnotherReading { route: other.id.clone(), reading });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What one route tolerates must not be a way around another: whoever decodes, cuts or collapses the path must come to
    /// the same route. Whatever the upstream says about its paths: `exact` is about letters and one slash.
    fn check_odd_readings(&self, path: &str, asked: &Asked<'_>, route: &Route) -> Result<(), Refusal> {
        if let Some(oddity) = asked.oddities.beyond(route.tolerates) {
            return Err(Refusal::Untolerated(oddity));
        }
        for reading in readings(path).map_err(Refusal::Untolerated)? {
            let reading = reading.as_str();
            match self.pick(&self.as_sent, reading, Slash::AsSent, asked, &mut Values::default())? {
                Some(other) if other.index != route.index => {
                    return Err(Refusal::AnotherReading { route: other.id.clone(), reading: Reading::Odd });
                }
                _ => {}
            }
            if !route.exact_paths {
                self.check_other_readings(reading, asked, route)?;
            }
        }
        Ok(())
    }

    /// Whether another reading of an odd path comes to the same route with another value at one of these places of its
    /// pattern: `/a/x%2Fw%2Fother/w/mine` is about `mine` here, and about `other` for an API that decodes it.
    pub fn reads_otherwise(&self, view: &View<'_>, found: &Found<'_, '_>, positions: &[usize]) -> bool {
        if positions.is_empty() {
            return false;
        }
        let Ok(readings) = readings(view.request.path.as_str()) else { return true };
        let asked = Asked::new(view);
        let route = found.route;
        let differs = |trie: &Trie, slash, reading: &str| {
            let mut values = Values::default();
            match self.pick(trie, reading, slash, &asked, &mut values) {
                Ok(Some(other)) if other.index == route.index => {
                    let read = Captures::new(&route.pattern, values);
                    let value = |captures: &Captures<'_, '_>, at: usize| -> Option<Vec<u8>> {
                        captures.at(at).map(|segment| segment.decoded().into_owned())
                    };
                    positions.iter().any(|at| value(&read, *at) != value(&found.captures, *at))
                }
                // Another route was refused when this one was found.
                Ok(_) => false,
                Err(_) => true,
            }
        };
        readings.iter().any(|reading| {
            let tries = [&self.as_sent, &self.folded]
                .into_iter()
                .flat_map(|trie| [(trie, Slash::AsSent), (trie, Slash::Dropped)]);
            tries.into_iter().any(|(trie, slash)| differs(trie, slash, reading.as_str()))
        })
    }

    /// Ids with upper-case letters are in most paths, and literals they could be taken for in few: asking this
    /// first spares nearly all requests the second search. A collision of hashes only costs that search.
    fn folding_meets_a_literal(&self, path: &str) -> bool {
        let has_upper_case = |text: &str| text.bytes().any(|b| b.is_ascii_uppercase());
        has_upper_case(path)
            && path.split('/').filter(|segment| has_upper_case(segment)).any(|segment| {
                let folded = hash(Segment::new(segment).bytes().map(|b| b.to_ascii_lowercase()));
                self.literals.binary_search(&folded).is_ok()
            })
    }

    fn pick<'v>(
        &self,
        trie: &Trie,
        path: &'v str,
        slash: Slash,
        asked: &Asked<'_>,
        values: &mut Values<'v>,
    ) -> Result<Option<&Route>, Refusal> {
        let outcome = trie.search(path, slash, values, &mut |places| match self.best(places, asked) {
            Ok(Some(route)) => ControlFlow::Break(Ok(route)),
            Ok(None) => ControlFlow::Continue(()),
            Err(ambiguous) => ControlFlow::Break(Err(ambiguous)),
        });
        outcome.break_value().transpose()
    }

    fn best(&self, places: [&[usize]; 2], asked: &Asked<'_>) -> Result<Option<&Route>, Refusal> {
        let mut best: Option<(Rank, &Route)> = None;
        for route in self.at(places) {
            let one = match asked.rank(route) {
                Ok(rank) => (rank, route),
                Err(WhyNot::Ambiguous(_)) => return Err(Refusal::AmbiguousQuery),
                Err(_) => continue,
            };
            if best.as_ref().is_none_or(|best| compare(&one, best) == Ordering::Greater) {
                best = Some(one);
            }
        }
        Ok(best.map(|(_, route)| route))
    }

    fn at<'r>(&'r self, places: [&[usize]; 2]) -> impl Iterator<Item = &'r Route> {
        places.into_iter().flatten().filter_map(|index| self.routes.get(*index))
    }

    fn nothing_found(&self, asked: &Asked<'_>) -> Refusal {
        let fits = |route: &Route| match (&route.host, asked.host) {
            (Some(pattern), Some(host)) => pattern.matches(host),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if self.all_name_hosts && !self.routes.iter().any(fits) { Refusal::UnknownHost } else { Refusal::NoRoute }
    }
}

/// As sent, ranks of routes that hold never tie (`compile` refuses such pairs). Under a looser reading `/Admin`
/// and `/admin` may: then the spelling that the reading itself gives is the one meant, and the other is refused.
fn compare(one: &(Rank, &Route), other: &(Rank, &Route)) -> Ordering {
    let plainness = |route: &Route| (!has_upper_case(&route.pattern), !route.pattern.trailing_slash());
    one.0
        .cmp(&other.0)
        .then_with(|| plainness(one.1).cmp(&plainness(other.1)))
        .then_with(|| one.1.pattern.as_str().cmp(other.1.pattern.as_str()))
}

fn has_upper_case(pattern: &Pattern) -> bool {
    pattern.parts().iter().any(|part| match part {
        Part::Literal(bytes) => bytes.iter().any(u8::is_ascii_uppercase),
        Part::Segment | Part::Tail => false,
    })
}

fn folded_literals(pattern: &Pattern) -> impl Iterator<Item = u64> {
    pattern.parts().iter().filter_map(|part| match part {
        Part::Literal(bytes) => Some(hash(bytes.iter().map(u8::to_ascii_lowercase))),
        Part::Segment | Part::Tail => None,
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
