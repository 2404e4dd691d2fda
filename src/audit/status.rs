//! How the trail fares, for metrics and readiness.
//!
//! Owns the counters that writer and callers bump; reading them waits for neither.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Event;

/// What went wrong, as `kind` of the failures names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Write,
    Sync,
    /// A segment could not be begun, or the active one is no longer where it was.
    Open,
    /// No room on the disk.
    Space,
    /// No room in the queue.
    Full,
    /// Not durable in time.
    Timeout,
}

impl Failure {
    pub const ALL: [Self; 6] = [Self::Write, Self::Sync, Self::Open, Self::Space, Self::Full, Self::Timeout];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Open => "open",
            Self::Space => "space",
            Self::Full => "full",
            Self::Timeout => "timeout",
        }
    }
}

/// A reading of the trail.
#[derive(Debug, Clone)]
pub struct Status {
    /// A trail is kept at all.
    pub on: bool,
    /// An attempt would be taken now.
    pub available: bool,
    /// Why not, in one sentence.
    pub problem: Option<String>,
    pub queue_entries: usize,
    pub queue_bytes: usize,
    /// Since the last durable write.
    pub durable_age: Option<Duration>,
    /// Durable entries since the start.
    pub entries: [(Event, u64); 7],
    pub failures: [(Failure, u64); 6],
    /// Entries of nobody who waited that found no room.
    pub dropped: u64,
    /// Of the trail's file system, for who is not root.
    pub free_permille: Option<u16>,
}

/// What both sides count.
#[derive(Debug)]
pub(super) struct Meter {
    /// Instants are kept as microseconds since this one, plus one; zero is never.
    born: Instant,
    busy_since: AtomicU64,
    durable_at: AtomicU64,
    entries: [AtomicU64; 7],
    failures: [AtomicU64; 6],
    dropped: AtomicU64,
    /// Plus one; zero is unknown.
    free_permille: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            busy_since: AtomicU64::new(0),
            durable_at: AtomicU64::new(0),
            entries: Default::default(),
            failures: Default::default(),
            dropped: AtomicU64::new(0),
            free_permille: AtomicU64::new(0),
            problem: Mutex::new(None),
        }
    }
}

impl Meter {
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    fn since(&self, mark: &AtomicU64) -> Option<Duration> {
        match mark.load(Relaxed) {
            0 => None,
            mark => Some(Duration::from_micros(self.now().saturating_sub(mark))),
        }
    }

    /// The writer begins a step that may hang.
    pub(super) fn busy(&self) {
        self.busy_since.store(self.now(), Relaxed);
    }

    /// The writer goes to wait for work.
    pub(super) fn idle(&self) {
        self.busy_since.store(0, Relaxed);
    }

    /// How long the writer's current step takes already.
    pub(super) fn step(&self) -> Duration {
        self.since(&self.busy_since).unwrap_or_default()
    }

    pub(super) fn durable(&self, events: impl Iterator<Item = Event>) {
        self.durable_at.store(self.now(), Relaxed);
        for event in events {
            for (known, count) in Event::ALL.iter().zip(&self.entries) {
                if *known == event {
                    count.fetch_add(1, Relaxed);
                }
            }
        }
    }

    pub(super) fn failed(&self, failure: Failure) {
        for (known, count) in Failure::ALL.iter().zip(&self.failures) {
            if *known == failure {
                count.fetch_add(1, Relaxed);
            }
        }
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn free(&self, permille: u16) {
        self.free_permille.store(u64::from(permille) + 1, Relaxed);
    }

    pub(super) fn problem(&self, sentence: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = sentence;
    }

    /// `hung` is how long a step may take before the trail counts as failing.
    pub(super) fn read(&self, open: bool, depth: (usize, usize), hung: Duration) -> Status {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let step = self.step();
        if open && step > hung {
            problem = Some(format!("the disk has not answered for {} ms", step.as_millis()));
        }
        let mut counts = self.entries.iter().map(|count| count.load(Relaxed));
        let mut faults = self.failures.iter().map(|count| count.load(Relaxed));
        Status {
            on: true,
            available: open && step <= hung,
            problem,
            queue_entries: depth.0,
            queue_bytes: depth.1,
            durable_age: self.since(&self.durable_at),
            entries: Event::ALL.map(|event| (event, counts.next().unwrap_or(0))),
            failures: Failure::ALL.map(|failure| (failure, faults.next().unwrap_or(0))),
            dropped: self.dropped.load(Relaxed),
            free_permille: match self.free_permille.load(Relaxed) {
                0 => None,
                permille => u16::try_from(permille - 1).ok(),
            },
        }
    }
}
