//! Repeats: what happens over and over is written down once and then counted.
//!
//! A stranger decides how often to be refused, so that a line for each refusal would let strangers buy disk writes. The
//! first of a kind is always an entry of its own; what repeats it within a minute becomes one more entry with a count.
//! The table is bounded: beyond it, callers are counted together. Never decides what is of one kind: that is a number
//! that the caller makes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, Crowds, Who};
use super::entry::{Id, timestamp};

/// How long repeats are gathered, from the first on.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Kinds that are told apart at a time. A kind holds a line at most, so that this is 16 MiB at the very worst.
const MAX_KINDS: usize = 4096;

/// Kinds of one caller at a time: whoever tries every route must not take the places of others.
const MAX_OF_ONE: u32 = 128;

/// How many firsts may be written: `burst` at once, and one more each `gap`. A first is a line and later perhaps a second
/// one; without a bound on them strangers could write so much that retention takes the history away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) burst: u32,
    pub(super) gap: Duration,
}

/// What to do with one more of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// Write it down now.
    First,
    /// Counted. Nothing shows yet what such a repeat looks like: [`Rollup::keep`] it.
    Second,
    /// Counted.
    Repeat,
    /// More kinds at a time than can be told apart: count it with [`Rollup::crowd`].
    Crowded,
    /// The same, and all of one caller: count it with [`Rollup::crowd_of`].
    Swarm,
}

/// The repeats of the last minute.
#[derive(Debug)]
pub(super) struct Rollup {
    budget: Budget,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    kinds: HashMap<u64, Kind>,
    /// How many kinds each caller has.
    callers: HashMap<u64, u32>,
    crowds: Crowds,
    /// Firsts spent, and since when they come back.
    spent: u32,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Kind {
    caller: u64,
    ends: Instant,
    repeats: u64,
    /// No entry of its own tells of it yet.
    unwritten: bool,
    sample: Option<Vec<u8>>,
}

/// What a minute's repeats came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A line's body, ready for the trail.
    Repeats(Vec<u8>),
    /// So many that they cannot be told apart.
    Crowd(Crowd),
}

impl Rollup {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, table: Mutex::default() }
    }

    /// One more of `kind`, which is one of `caller`'s.
    pub(super) fn note(&self, caller: u64, kind: u64, now: Instant) -> Noted {
        let mut table = self.lock();
        let fresh = Kind { caller, ends: now + WINDOW, repeats: 0, unwritten: false, sample: None };
        if let Some(known) = table.kinds.get_mut(&kind) {
            if std::mem::take(&mut known.unwritten) {
                return Noted::First;
            }
            if now < known.ends || known.repeats > 0 {
                // A window that is over and was not collected yet goes on: its repeats must not be lost.
                known.repeats += 1;
                return if known.sample.is_none() { Noted::Second } else { Noted::Repeat };
            }
            if !table.spend(self.budget, now) {
                return Noted::Crowded;
            }
            table.kinds.insert(kind, fresh);
            return Noted::First;
        }
        let of_one = table.callers.get(&caller).copied().unwrap_or_default();
        if of_one >= MAX_OF_ONE {
            return Noted::Swarm;
        }
        if table.kinds.len() >= MAX_KINDS || !table.spend(self.budget, now) {
            return Noted::Crowded;
        }
        table.callers.insert(caller, of_one + 1);
        table.kinds.insert(kind, fresh);
        Noted::First
    }

    /// What a repeat looks like: the body of its line, without a count.
    pub(super) fn keep(&self, kind: u64, body: Vec<u8>) {
        if let Some(kind) = self.lock().kinds.get_mut(&kind) {
            kind.sample.get_or_insert(body);
        }
    }

    /// The first of a kind could not be written down: it is counted as a repeat, so that it shows once the trail can be
    /// written again, and the next one is tried as a first.
    pub(super) fn failed(&self, kind: u64, body: Vec<u8>) {
        if let Some(kind) = self.lock().kinds.get_mut(&kind) {
            kind.repeats += 1;
            kind.unwritten = true;
            kind.sample.get_or_insert(body);
        }
    }

    /// One more with this code, of nobody in particular.
    pub(super) fn crowd(&self, code: &'static str, now: Instant) {
        self.lock().crowds.count(None, code, now);
    }

    /// One more with this code, of a caller who has too many kinds; `body` is asked for once, to learn who that is.
    pub(super) fn crowd_of(&self, caller: u64, code: &'static str, now: Instant, body: impl FnOnce() -> Vec<u8>) {
        if self.lock().crowds.count(Some(caller), code, now) {
            let who = Who::of(&body());
            self.lock().crowds.name(caller, code, who);
        }
    }

    /// Takes out what is over; everything with `now` of `None`.
    pub(super) fn due(&self, now: Option<Instant>, time_us: i64) -> Vec<Due> {
        let is_over = |ends: Instant| now.is_none_or(|now| now >= ends);
        let (kinds, crowds) = {
            let mut table = self.lock();
            let kinds: Vec<Kind> = table.kinds.extract_if(|_, kind| is_over(kind.ends)).map(|(_, kind)| kind).collect();
            kinds.iter().for_each(|kind| table.leave(kind.caller));
            let crowds = table.crowds.due(is_over);
            (kinds, crowds)
        };
        let repeats = kinds.into_iter().filter_map(|kind| {
            let body = kind.sample.filter(|_| kind.repeats > 0)?;
            Some(Due::Repeats(counted(&body, kind.repeats, Id::random(), time_us)))
        });
        repeats.chain(crowds.into_iter().map(Due::Crowd)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Table {
    /// Takes one first out of the budget, if there is one.
    fn spend(&mut self, budget: Budget, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let back = now.saturating_duration_since(since).as_millis() / budget.gap.as_millis().max(1);
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back > 0 {
            self.spent = self.spent.saturating_sub(back);
            self.since = since.checked_add(budget.gap.saturating_mul(back)).or(Some(now));
        }
        let is_left = self.spent < budget.burst;
        self.spent += u32::from(is_left);
        is_left
    }

    fn leave(&mut self, caller: u64) {
        match self.callers.get_mut(&caller) {
            Some(kinds) if *kinds > 1 => *kinds -= 1,
            _ => drop(self.callers.remove(&caller)),
        }
    }
}

/// The same line with an id, a time and a count of its own. `id` and `time` stand first in a body, and an entry that can
/// repeat has nothing behind where `count` stands.
fn counted(body: &[u8], count: u64, id: Id, time_us: i64) -> Vec<u8> {
    const EVENT: &[u8] = b"\"event\":";
    let at = body.windows(EVENT.len()).position(|window| window == EVENT).unwrap_or_default();
    let rest = body.get(at..).unwrap_or_default();
    let rest = rest.strip_suffix(b"}").unwrap_or(rest);
    let mut line = format!("\"id\":\"{id}\",\"time\":\"{}\",", timestamp(time_us)).into_bytes();
    line.extend_from_slice(rest);
    line.extend_from_slice(format!(",\"count\":{count}}}").as_bytes());
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Budget, Crowd, Due, MAX_KINDS, MAX_OF_ONE, Noted, Rollup, WINDOW};
    use crate::audit::entry::{Entry, Event, Id};

    const PLENTY: Budget = Budget { burst: 10_000, gap: Duration::from_secs(1) };

    fn rollup() -> Rollup {
        Rollup::new(PLENTY)
    }

    fn body() -> Vec<u8> {
        let mut entry = Entry::new(Id(1), 0, Event::Denied);
        entry.code = Some("forbidden");
        entry.body()
    }

    #[test]
    fn the_first_is_written_and_repeats_are_counted() {
        let (rollup, now) = (rollup(), Instant::now());
        assert_eq!(rollup.note(1, 1, now), Noted::First);
        assert_eq!(rollup.note(1, 1, now), Noted::Second);
        rollup.keep(1, body());
        assert_eq!(rollup.note(1, 1, now), Noted::Repeat);
        assert_eq!(rollup.note(2, 2, now), Noted::First, "of another kind");
        assert_eq!(rollup.due(Some(now + WINDOW / 2), 0), [], "not over yet");
        let due = rollup.due(Some(now + WINDOW), 1_000_000);
        let [Due::Repeats(line)] = due.as_slice() else { panic!("{due:?}") };
        let line: serde_json::Value = serde_json::from_slice(&[b"{", line.as_slice()].concat()).unwrap();
        assert_eq!(line["count"], 2);
        assert_eq!(
            (line["code"].as_str(), line["time"].as_str()),
            (Some("forbidden"), Some("1970-01-01T00:00:01.000000Z"))
        );
        assert_ne!(line["id"], "00000000000000000000000000000001");
        assert_eq!(rollup.note(1, 1, now + WINDOW), Noted::First, "a minute later it is news again");
    }

    #[test]
    fn what_was_not_written_down_is_tried_again_and_not_forgotten() {
        let (rollup, now) = (rollup(), Instant::now());
        assert_eq!(rollup.note(1, 1, now), Noted::First);
        assert_eq!(rollup.note(1, 1, now), Noted::Second, "answered while the first waits");
        rollup.keep(1, body());
        rollup.failed(1, body());
        assert_eq!(rollup.note(1, 1, now), Noted::First);
        let due = rollup.due(Some(now + WINDOW), 0);
        let [Due::Repeats(line)] = due.as_slice() else { panic!("{due:?}") };
        assert!(line.ends_with(b"\"count\":2}"), "{}", line.escape_ascii());
    }

    #[test]
    fn repeats_outlive_a_window_that_nobody_collected() {
        let (rollup, now) = (rollup(), Instant::now());
        assert_eq!(rollup.note(1, 1, now), Noted::First);
        assert_eq!(rollup.note(1, 1, now), Noted::Second);
        rollup.keep(1, body());
        assert_eq!(rollup.note(1, 1, now + WINDOW + Duration::from_secs(1)), Noted::Repeat);
        assert_eq!(rollup.due(None, 0).len(), 1);
        assert_eq!(rollup.due(None, 0), []);
    }

    #[test]
    fn a_crowd_is_counted_by_code() {
        let (rollup, now) = (rollup(), Instant::now());
        for kind in 0..MAX_KINDS as u64 {
            assert_eq!(rollup.note(kind, kind, now), Noted::First);
        }
        assert_eq!(rollup.note(u64::MAX, u64::MAX, now), Noted::Crowded);
        assert_eq!(rollup.note(0, 0, now), Noted::Second, "those who are known stay known");
        rollup.crowd("no_route", now);
        rollup.crowd("no_route", now);
        let due = rollup.due(Some(now + WINDOW), 0);
        assert!(due.contains(&Due::Crowd(Crowd { code: "no_route", count: 2, who: None })), "{due:?}");
        assert_eq!(rollup.note(u64::MAX, u64::MAX, now + WINDOW), Noted::First);
    }

    #[test]
    fn one_caller_takes_nobody_elses_place() {
        let (rollup, now) = (rollup(), Instant::now());
        for kind in 0..u64::from(MAX_OF_ONE) {
            assert_eq!(rollup.note(1, kind, now), Noted::First);
        }
        assert_eq!(rollup.note(1, 1000, now), Noted::Swarm);
        assert_eq!(rollup.note(2, 2000, now), Noted::First);
        rollup.due(Some(now + WINDOW), 0);
        assert_eq!(rollup.note(1, 1000, now + WINDOW), Noted::First);
    }

    #[test]
    fn what_may_be_written_comes_back_with_time() {
        let rollup = Rollup::new(Budget { burst: 3, gap: Duration::from_secs(2) });
        let now = Instant::now();
        let first = |kind: u64, after: u64| rollup.note(kind, kind, now + Duration::from_secs(after)) == Noted::First;
        assert!(first(1, 0) && first(2, 0) && first(3, 0));
        assert!(!first(4, 0) && !first(4, 1));
        assert!(first(4, 2) && !first(5, 3) && first(5, 4));
        assert!(first(6, 3600) && first(7, 3600) && first(8, 3600) && !first(9, 3600));
    }
}
