//! What report mode lets through, kept in memory until somebody asks: how many requests of a route would have been refused,
//! why, and whose.
//!
//! Lives as long as the route keeps its id and its rule, over reloads too. Bounded whatever is sent: reasons are words of
//! crossgate's own, and of each only so many principals are held, each of so many bytes. Holds subjects as the audit trail
//! names them; never a token, a path, a query or a body. A route that is enforced has none.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::gate::reply::Code;

/// Principals that are held of one reason, where few routes are in report mode.
const MAX_PRINCIPALS: usize = 100;

/// Where many are, each gets its share of these.
const MAX_TOGETHER: usize = 100_000;

/// The least, so that the most frequent ones are told in any case.
const MIN_PRINCIPALS: usize = 8;

/// Bytes of a subject; what is longer is cut.
const MAX_SUBJECT: usize = 128;

/// The routes of a snapshot that are in report mode.
#[derive(Debug, Default)]
pub struct Tallies {
    by_route: Vec<Option<Arc<Tally>>>,
    /// Principals that are held of one reason.
    principals: usize,
}

impl Tallies {
    /// By route: its id and a digest of its rule, where it is in report mode. What `previous` counted under the same two goes
    /// on; all else begins at `now`, in milliseconds since the epoch.
    pub fn new<'a>(
        routes: impl Iterator<Item = Option<(&'a Arc<str>, u64)>>,
        previous: Option<&Self>,
        now: i64,
    ) -> Self {
        let before: HashMap<&str, &Arc<Tally>> =
            previous.into_iter().flat_map(Self::iter).map(|(_, tally)| (&*tally.route, tally)).collect();
        let carried = |route: &Arc<str>, rule| {
            let before = before.get(&**route).filter(|tally| tally.rule == rule);
            before.map_or_else(|| Arc::new(Tally::new(route, rule, now)), |tally| Arc::clone(tally))
        };
        let by_route: Vec<_> = routes.map(|route| route.map(|(id, rule)| carried(id, rule))).collect();
        let reporting = by_route.iter().flatten().count().max(1);
        Self { by_route, principals: (MAX_TOGETHER / reporting).clamp(MIN_PRINCIPALS, MAX_PRINCIPALS) }
    }

    /// A request came on this route and was decided; `None` where the route is not in report mode.
    pub fn see(&self, route: usize) -> Option<Seen<'_>> {
        let tally = self.by_route.get(route)?.as_ref()?;
        tally.seen.fetch_add(1, Ordering::Relaxed);
        Some(Seen { tally, principals: self.principals })
    }

    /// With their route indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<Tally>)> {
        self.by_route.iter().enumerate().filter_map(|(route, tally)| Some((route, tally.as_ref()?)))
    }
}

/// A request that was counted.
#[derive(Debug)]
pub struct Seen<'a> {
    tally: &'a Tally,
    principals: usize,
}

impl Seen<'_> {
    /// It would have been refused, so; `subject` is whose it was, if anybody's. `now` is in milliseconds since the epoch.
    pub fn would_be_refused(self, code: Code, predicate: Option<&'static str>, subject: Option<&str>, now: i64) {
        let subject = subject.map(capped);
        let hash = self.tally.hasher.hash_one(subject);
        let mut reasons = self.tally.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let at = reasons.iter().position(|reason| (reason.code, reason.predicate) == (code, predicate));
        let at = at.unwrap_or_else(|| {
            reasons.push(Reason { code, predicate, count: 0, first: now, last: now, nobody: None, known: Vec::new() });
            reasons.len() - 1
        });
        if let Some(reason) = reasons.get_mut(at) {
            reason.count(subject, hash, now, self.principals);
        }
    }
}

/// What was counted on one route.
#[derive(Debug)]
pub struct Tally {
    route: Arc<str>,
    /// A digest of the rule that it was counted under.
    rule: u64,
    since: i64,
    seen: AtomicU64,
    /// Keyed anew for each route: nobody can choose subjects that all look alike.
    hasher: RandomState,
    reasons: Mutex<Vec<Reason>>,
}

impl Tally {
    fn new(route: &Arc<str>, rule: u64, now: i64) -> Self {
        Self {
            route: Arc::clone(route),
            rule,
            since: now,
            seen: AtomicU64::new(0),
            hasher: RandomState::new(),
            reasons: Mutex::new(Vec::new()),
        }
    }

    /// What there is to tell, with at most this many principals of each reason; the most frequent first.
    pub fn told(&self, principals: usize) -> Told {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told: Vec<_> = reasons.iter().map(|reason| reason.told(principals)).collect();
        drop(reasons);
        told.sort_by(|one, other| (other.count, one.code.as_str()).cmp(&(one.count, other.code.as_str())));
        // Read after the reasons: a request is seen before it is refused, and never the other way round.
        Told { since: self.since, seen: self.seen.load(Ordering::Relaxed), reasons: told }
    }
}

/// What somebody who asks is told of a route. Times are milliseconds since the epoch.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub since: i64,
    /// Requests that were decided, whatever came of them.
    pub seen: u64,
    pub reasons: Vec<ToldReason>,
}

impl Told {
    pub fn would_refuse(&self) -> u64 {
        self.reasons.iter().map(|reason| reason.count).sum()
    }

    /// When the last one was let through.
    pub fn last(&self) -> Option<i64> {
        self.reasons.iter().map(|reason| reason.last).max()
    }
}

/// One reason, with those whom it met most.
#[derive(Debug, PartialEq, Eq)]
pub struct ToldReason {
    pub code: Code,
    pub predicate: Option<&'static str>,
    pub count: u64,
    pub first: i64,
    pub last: i64,
    pub principals: Vec<Principal>,
    pub more: More,
}

/// Somebody who would have been refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `None` is whoever could not be named.
    pub subject: Option<Box<str>>,
    /// Their requests since they are held: at least so many.
    pub count: u64,
    pub last: i64,
}

/// Those who are not told by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct More {
    /// As far as they are held.
    pub principals: usize,
    /// Their requests, and those of whoever is no longer held.
    pub requests: u64,
    /// Whether there were more than could be held.
    pub others: bool,
}

#[derive(Debug)]
struct Reason {
    code: Code,
    predicate: Option<&'static str>,
    count: u64,
    first: i64,
    last: i64,
    /// Whoever could not be named: one entry of its own, so that strangers take nobody's place.
    nobody: Option<(u64, i64)>,
    /// The first half keeps whoever came first, the second half whoever comes most often ("space saving"): neither a crowd
    /// that comes early nor one that comes late can hide all the others.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    hash: u64,
    subject: Box<str>,
    count: u64,
    /// What whoever had this place before was worth: the next one must earn as much to be held for longer.
    inherited: u64,
    last: i64,
}

impl Known {
    const fn worth(&self) -> u64 {
        self.inherited.saturating_add(self.count)
    }
}

impl Reason {
    fn count(&mut self, subject: Option<&str>, hash: u64, now: i64, places: usize) {
        self.count += 1;
        self.last = now;
        let Some(subject) = subject else {
            let (count, last) = self.nobody.get_or_insert((0, now));
            (*count, *last) = (*count + 1, now);
            return;
        };
        if let Some(known) = self.known.iter_mut().find(|known| known.hash == hash && *known.subject == *subject) {
            (known.count, known.last) = (known.count + 1, now);
            return;
        }
        let mut known = Known { hash, subject: subject.into(), count: 1, inherited: 0, last: now };
        // A reload may have left fewer places than there were.
        while self.known.len() >= places.max(2) {
            let rotating = self.known.iter().enumerate().skip(places / 2);
            let Some((least, _)) = rotating.min_by_key(|(_, known)| (known.worth(), known.last)) else { break };
            known.inherited = self.known.remove(least).worth();
        }
        self.known.push(known);
    }

    fn told(&self, principals: usize) -> ToldReason {
        let nobody = self.nobody.map(|(count, last)| Principal { subject: None, count, last });
        let known = self.known.iter().map(|known| Principal {
            subject: Some(known.subject.clone()),
            count: known.count,
            last: known.last,
        });
        let mut held: Vec<_> = nobody.into_iter().chain(known).collect();
        held.sort_by(|one, other| (other.count, &one.subject).cmp(&(one.count, &other.subject)));
        let requests_held: u64 = held.iter().map(|principal| principal.count).sum();
        let left = held.split_off(principals.min(held.len()));
        let requests_told: u64 = held.iter().map(|principal| principal.count).sum();
        let more = More {
            principals: left.len(),
            requests: self.count.saturating_sub(requests_told),
            others: self.count > requests_held,
        };
        let Self { code, predicate, count, first, last, .. } = *self;
        ToldReason { code, predicate, count, first, last, principals: held, more }
    }
}

/// At most [`MAX_SUBJECT`] bytes, cut between characters.
fn capped(subject: &str) -> &str {
    let end = (0..=MAX_SUBJECT).rev().find(|end| subject.is_char_boundary(*end));
    end.and_then(|end| subject.get(..end)).filter(|_| subject.len() > MAX_SUBJECT).unwrap_or(subject)
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
