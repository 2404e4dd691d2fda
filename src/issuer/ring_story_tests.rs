//! Rotations at any time, by the clock and by command, in replicas that start and stop: whoever keeps the published set
//! for ten minutes can verify whatever is signed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    Now::at_unix_ms(1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000)
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
