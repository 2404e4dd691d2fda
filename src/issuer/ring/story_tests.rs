//! Rotations at any time, by the clock and by command, in replicas that start and stop: whoever keeps the published set
//! for ten minutes can verify whatever is signed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::{Ring, Schedule};
use crate::clock::Now;
use crate::issuer::Algorithm;

/// The defaults of the config.
const OVERLAP: u64 = 900;
/// What a verifier keeps a set for; before that, a cache on the way may have kept it for a minute.
const CACHE: u64 = 600 + 60;
/// The longest wait between two looks into the folder.
const LOOK: u64 = 30;

fn at(seconds: u64) -> Now {
    wrong(seconds, 0)
}

/// Of a replica whose wall clock is ahead.
fn wrong(seconds: u64, ahead: u64) -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let unix_ms = 1_700_000_000_000 + i64::try_from(seconds + ahead).unwrap() * 1000;
    Now { ahead_ms: 0, unix_ms, mono: *START.get_or_init(Instant::now) + Duration::from_secs(seconds) }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// `crossgate keys rotate`.
    Command,
    /// Of one of the replicas.
    Stop(usize),
    Start(usize),
    /// A reload with another `overlap`, never one that is shorter than caches.
    Overlap(u64),
    Nothing,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let event = prop_oneof![
        4 => Just(Event::Command),
        1 => (0..2_usize).prop_map(Event::Stop),
        2 => (0..2_usize).prop_map(Event::Start),
        1 => (OVERLAP..4 * OVERLAP).prop_map(Event::Overlap),
        1 => Just(Event::Nothing),
    ];
    (0..1500_u64, event)
}

struct World<'a> {
    folder: &'a Path,
    replicas: [Option<Ring>; 2],
    schedule: Schedule,
    /// (fetched at, what was published)
    sets: Vec<(u64, BTreeSet<Arc<str>>)>,
    /// (signed at, by)
    signed: Vec<(u64, Arc<str>)>,
}

impl World<'_> {
    /// One second of the world's: replicas look in turn, sign, and publish.
    fn second(&mut self, time: u64) {
        for (index, ring) in self.replicas.iter().enumerate() {
            let Some(ring) = ring else { continue };
            // Not in step with each other.
            if (time + 17 * index as u64).is_multiple_of(LOOK) {
                ring.tend(self.schedule, at(time)).unwrap();
            }
            let key = ring.signer(self.schedule, at(time).unix_ms).unwrap();
            if self.signed.last().is_none_or(|(_, last)| last != key.kid()) || time.is_multiple_of(7) {
                self.signed.push((time, Arc::clone(key.kid())));
            }
            let set = ring.published(self.schedule, at(time)).into_iter().map(|key| Arc::clone(key.kid())).collect();
            if self.sets.last().is_none_or(|(_, last)| *last != set) || time.is_multiple_of(11) {
                self.sets.push((time, set));
            }
        }
    }

    fn take(&mut self, event: Event, time: u64) {
        match event {
            // Refused while another key waits.
            Event::Command => drop(Ring::new(self.folder.to_owned()).rotate(self.schedule, at(time))),
            Event::Stop(index) => self.replicas[index] = None,
            Event::Start(index) if self.replicas[index].is_none() => {
                let ring = Ring::new(self.folder.to_owned());
                ring.tend(self.schedule, at(time)).unwrap();
                self.replicas[index] = Some(ring);
            }
            Event::Overlap(seconds) => self.schedule.overlap = Duration::from_secs(seconds),
            Event::Start(_) | Event::Nothing => {}
        }
    }

    /// Every token, as long as it lives, by every set that somebody may hold at that time.
    fn check(&self) {
        let ttl = self.schedule.ttl.as_secs();
        for (signed, kid) in &self.signed {
            let held = self.sets.iter().filter(|(fetched, _)| fetched + CACHE >= *signed && *fetched <= signed + ttl);
            for (fetched, set) in held {
                assert!(set.contains(kid), "{kid} signed at {signed} and is not in the set of {fetched}");
            }
        }
    }
}

#[test]
fn no_verifier_that_keeps_the_set_meets_an_unknown_key() {
    // `PROPTEST_CASES=500` looks longer, the same way each time.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let stories = (proptest::collection::vec(event(), 1..20), 5..300_u64, 3 * OVERLAP..6 * OVERLAP);
    let told = TestRunner::new_with_rng(config, random).run(&stories, |(events, ttl, rotate)| {
        run(&events, ttl, rotate);
        Ok(())
    });
    told.unwrap();
}

fn run(events: &[(u64, Event)], ttl: u64, rotate: u64) {
    let folder = tempfile::tempdir().unwrap();
    let schedule = Schedule {
        algorithm: Algorithm::Es256,
        rotate: Some(Duration::from_secs(rotate)),
        overlap: Duration::from_secs(OVERLAP),
        ttl: Duration::from_secs(ttl),
    };
    let mut world =
        World { folder: folder.path(), replicas: [None, None], schedule, sets: Vec::new(), signed: Vec::new() };
    world.take(Event::Start(0), 0);
    world.take(Event::Start(1), 1);
    let mut time = 1;
    for (wait, event) in events {
        for _ in 0..*wait {
            time += 1;
            world.second(time);
        }
        world.take(*event, time);
    }
    world.check();
}

#[test]
fn a_shorter_overlap_ends_no_key_that_just_signed() {
    let (long, short) = (Event::Overlap(3600), Event::Overlap(OVERLAP));
    run(&[(0, long), (100, Event::Command), (3000, short), (2000, Event::Nothing)], 60, 6 * OVERLAP);
    // The same by a start.
    let stops = [(0, Event::Stop(0)), (0, Event::Stop(1)), (0, short), (5, Event::Start(0)), (2000, Event::Nothing)];
    run(&[&[(0, long), (100, Event::Command), (3000, Event::Nothing)], &stops[..]].concat(), 60, 6 * OVERLAP);
}

/// Found by reading: the process that came back signed with a key that the other had published no more.
#[test]
fn a_longer_overlap_by_a_start_calls_no_key_back() {
    let longer = [(0, Event::Stop(0)), (0, Event::Overlap(4 * OVERLAP)), (5, Event::Start(0)), (2000, Event::Nothing)];
    for wait in [OVERLAP + 60, 2 * OVERLAP + 120, 3 * OVERLAP] {
        run(&[&[(2000, Event::Command), (wait, Event::Nothing)], &longer[..]].concat(), 60, 24 * OVERLAP);
    }
}

/// What befalls two replicas that share a folder and little else.
#[derive(Debug, Clone, Copy)]
enum Change {
    Command,
    /// A config of its own: overlap and life of tokens.
    Config(usize, u64, u64),
    Start(usize),
    /// The wall clock of one goes ahead for as many seconds.
    Jump(usize, u64),
}

fn change() -> impl Strategy<Value = (u64, Change)> {
    let overlap = prop_oneof![1..60_u64, OVERLAP..8 * OVERLAP];
    let change = prop_oneof![
        2 => Just(Change::Command),
        3 => (0..2_usize, overlap, 5..3600_u64).prop_map(|(index, overlap, ttl)| Change::Config(index, overlap, ttl)),
        1 => (0..2_usize).prop_map(Change::Start),
        1 => (0..2_usize, 10..3000_u64).prop_map(|(index, seconds)| Change::Jump(index, seconds)),
    ];
    (0..3000_u64, change)
}

#[test]
fn replicas_that_differ_and_clocks_that_jump_lose_no_key() {
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let told = TestRunner::new_with_rng(config, random).run(&proptest::collection::vec(change(), 1..20), |changes| {
        differ(&changes);
        Ok(())
    });
    told.unwrap();
}

fn differ(changes: &[(u64, Change)]) {
    let folder = tempfile::tempdir().unwrap();
    let schedule = Schedule {
        algorithm: Algorithm::Es256,
        rotate: Some(Duration::from_secs(24 * OVERLAP)),
        overlap: Duration::from_secs(OVERLAP),
        ttl: Duration::from_secs(60),
    };
    let mut schedules = [schedule; 2];
    let mut replicas = [Ring::new(folder.path().to_owned()), Ring::new(folder.path().to_owned())];
    let mut jumps = [0; 2];
    let mut files = BTreeSet::new();
    let mut time = 0;
    let events = std::iter::once((0, None)).chain(changes.iter().map(|(wait, change)| (*wait, Some(*change))));
    for (wait, change) in events {
        let end = time + wait;
        loop {
            for (index, ring) in replicas.iter().enumerate() {
                let ahead = if time < jumps[index] { 100_000_000 } else { 0 };
                let (schedule, now) = (schedules[index], wrong(time, ahead));
                ring.tend(schedule, now).unwrap();
                let signer = ring.signer(schedule, now.unix_ms).unwrap();
                let published = ring.published(schedule, now);
                assert!(published.iter().any(|key| key.kid() == signer.kid()), "{time}: signs and is not published");
            }
            let there: BTreeSet<_> =
                std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
            assert!(files.is_subset(&there), "{time}: a key was lost");
            files = there;
            if time >= end {
                break;
            }
            time = end.min(time + LOOK);
        }
        match change {
            Some(Change::Command) => drop(Ring::new(folder.path().to_owned()).rotate(schedules[0], at(time))),
            Some(Change::Config(index, overlap, ttl)) => {
                schedules[index].overlap = Duration::from_secs(overlap);
                schedules[index].ttl = Duration::from_secs(ttl);
            }
            Some(Change::Start(index)) => replicas[index] = Ring::new(folder.path().to_owned()),
            Some(Change::Jump(index, seconds)) => jumps[index] = time + seconds,
            None => {}
        }
    }
}

#[test]
fn a_key_that_signed_before_the_clock_jumped_is_published_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    let (ttl, overlap) = (Duration::from_secs(60), Duration::from_secs(OVERLAP));
    let schedule = Schedule { algorithm: Algorithm::Es256, rotate: None, overlap, ttl };
    ring.tend(schedule, at(0)).unwrap();
    ring.tend(schedule, at(5000)).unwrap();
    let signer = ring.signer(schedule, at(5000).unix_ms).unwrap();
    ring.rotate(schedule, at(5001)).unwrap();
    for time in [5030, 5060, 5090] {
        ring.tend(schedule, wrong(time, 100_000_000)).unwrap();
    }
    ring.tend(schedule, at(5120)).unwrap();
    let published = ring.published(schedule, at(5120));
    assert_eq!(published.len(), 2);
    assert!(published.iter().any(|key| key.kid() == signer.kid()));
    assert_eq!(ring.signer(schedule, at(5120).unix_ms).unwrap().kid(), signer.kid(), "as the other replicas sign");
}
