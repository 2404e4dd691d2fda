//! People at work while the percentage goes up, stops, falls and comes back: nobody is logged out, and nobody swings.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::bed::{Bed, Running, until};
use super::super::issuer::token;
use super::super::wire::Response;
use super::{By, answer_to, legacy, linked, order, saw, set_percent, two, with};

const PEOPLE: usize = 60;
const WORKERS: usize = 4;

/// Which credentials somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Legacy,
    Clerk,
    Both,
}

struct Person {
    id: usize,
    has: Has,
    legacy: String,
    clerk: String,
}

impl Person {
    fn new(id: usize) -> Self {
        let has = [Has::Legacy, Has::Clerk, Has::Both][id % 3];
        Self { id, has, legacy: legacy(&id.to_string()).sign(), clerk: token(&format!("user_{id}")).sign() }
    }

    /// Some of those with both do what is privileged: they may, in either arm and under any guard.
    fn is_privileged(&self) -> bool {
        self.has == Has::Both && self.id.is_multiple_of(5)
    }

    /// Those with both send one of them on purpose, the other in a cookie.
    fn visits(&self, bed: &Running, path: &str) -> Response {
        let (old, new) = match (self.has, self.id % 2) {
            (Has::Legacy, 0) => (Some(By::Header), None),
            (Has::Legacy, _) => (Some(By::Cookie), None),
            (Has::Clerk, 0) => (None, Some(By::Header)),
            (Has::Clerk, _) => (None, Some(By::Cookie)),
            (Has::Both, 0) => (Some(By::Header), Some(By::Cookie)),
            (Has::Both, _) => (Some(By::Cookie), Some(By::Header)),
        };
        let old = old.map(|by| (self.legacy.as_str(), by));
        let new = new.map(|by| (self.clerk.as_str(), by));
        answer_to(&with(bed.get(path), old, new))
    }
}

/// One answer: between which steps it was asked for and given, and what the API was told.
#[derive(Debug, Clone)]
struct Seen {
    /// The last step that was done before the request was sent.
    done: usize,
    /// The last step that was begun before its answer was there.
    begun: usize,
    arm: String,
}

/// What was done to the rollout, and what it means for people on protected routes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Percent(&'static str),
    Order(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moves {
    Up,
    Down,
    Nobody,
}

const STEPS: [(Step, Moves); 22] = [
    (Step::Percent("1"), Moves::Up),
    (Step::Percent("5"), Moves::Up),
    (Step::Percent("25"), Moves::Up),
    (Step::Percent("50"), Moves::Up),
    (Step::Order("freeze"), Moves::Nobody),
    (Step::Order("resume"), Moves::Nobody),
    (Step::Order("rollback"), Moves::Down),
    (Step::Order("confirm"), Moves::Nobody),
    (Step::Order("resume"), Moves::Up),
    (Step::Percent("50"), Moves::Up),
    (Step::Percent("75"), Moves::Up),
    (Step::Percent("100"), Moves::Up),
    (Step::Order("rollback"), Moves::Down),
    (Step::Order("resume"), Moves::Up),
    (Step::Percent("50"), Moves::Up),
    (Step::Percent("75"), Moves::Up),
    (Step::Percent("100"), Moves::Up),
    (Step::Percent("50"), Moves::Down),
    (Step::Percent("25"), Moves::Down),
    (Step::Percent("5"), Moves::Down),
    (Step::Percent("1"), Moves::Down),
    (Step::Percent("0"), Moves::Down),
];

fn bed(unit: &str) -> Bed {
    let map: String = (0..PEOPLE).map(|id| linked(&id.to_string(), &format!("user_{id}"))).collect();
    two(&map, &format!("{{ source: api, percent: 0, unit: {unit}, limits: {{ max_step: 25 }} }}"))
}

#[test]
fn nobody_is_logged_out_and_nobody_swings() {
    let bed = bed("user").start_on_sockets();
    let people: Vec<Person> = (0..PEOPLE).map(Person::new).collect();
    let seen: Vec<Mutex<Vec<Seen>>> = people.iter().map(|_| Mutex::default()).collect();
    let problems = Mutex::new(Vec::new());
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    // By worker: how often each of its people was served since which step was done.
    let rounds: Vec<AtomicUsize> = (0..WORKERS).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (bed, people, seen, problems) = (&bed, &people, &seen, &problems);
            let (begun, done, is_over, rounds) = (&begun, &done, &is_over, &rounds);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    for person in people.iter().skip(worker).step_by(WORKERS) {
                        let before = done.load(Ordering::SeqCst);
                        let path = if person.is_privileged() { "/vault/1" } else { "/me/1" };
                        let answer = person.visits(bed, path);
                        let after = begun.load(Ordering::SeqCst);
                        if answer.outcome() != "200 ok" {
                            let what = format!("{} {:?} at {before}: {}", person.id, person.has, answer.outcome());
                            problems.lock().unwrap().push(what);
                            continue;
                        }
                        let arm = saw(&answer, "x-crossgate-arm");
                        seen[person.id].lock().unwrap().push(Seen { done: before, begun: after, arm });
                    }
                    rounds[worker].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let all_served_twice = || {
            let then: Vec<usize> = rounds.iter().map(|round| round.load(Ordering::SeqCst)).collect();
            until("everybody's turn", || {
                let now = rounds.iter().map(|round| round.load(Ordering::SeqCst));
                now.zip(&then).all(|(now, then)| now >= then + 2).then_some(())
            });
        };
        all_served_twice();
        for (index, (step, _)) in STEPS.iter().enumerate() {
            begun.store(index + 1, Ordering::SeqCst);
            match step {
                Step::Percent(percent) => set_percent(&bed, percent),
                Step::Order(action) => order(&bed, action),
            }
            done.store(index + 1, Ordering::SeqCst);
            all_served_twice();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} refusals: {:?}", problems.len(), &problems[..problems.len().min(10)]);
    let mut in_clerk = BTreeMap::<usize, usize>::new();
    for (person, seen) in people.iter().zip(seen).filter(|(person, _)| !person.is_privileged()) {
        for (step, arm) in arms(person, &seen.into_inner().unwrap()) {
            *in_clerk.entry(step).or_default() += usize::from(arm == "clerk");
        }
    }
    let movable = people.iter().filter(|person| !person.is_privileged()).count();
    assert_eq!(in_clerk[&0], 0, "nobody before the first step");
    assert_eq!(in_clerk[&STEPS.len()], 0, "nobody after the last");
    let full = STEPS.iter().position(|(step, _)| matches!(step, Step::Percent("100"))).unwrap() + 1;
    assert_eq!(in_clerk[&full], movable, "everybody at 100 %");
    let half = STEPS.iter().position(|(step, _)| matches!(step, Step::Percent("50"))).unwrap() + 1;
    assert!((1..movable).contains(&in_clerk[&half]), "some at 50 %: {in_clerk:?}");
    assert_eq!(in_clerk[&half], in_clerk[&(half + 1)], "a freeze moves nobody");
    assert_eq!(in_clerk[&(half + 3)], 0, "nobody after a rollback");
}

/// Somebody's arm after each step, once it was seen to change at most once a step, and only the way the step goes.
fn arms(person: &Person, seen: &[Seen]) -> BTreeMap<usize, String> {
    let mut settled = BTreeMap::<usize, String>::new();
    for Seen { done, arm, .. } in seen.iter().filter(|seen| seen.done == seen.begun) {
        let known = settled.entry(*done).or_insert_with(|| arm.clone());
        assert_eq!(known, arm, "{} {:?} has two arms after step {done}", person.id, person.has);
    }
    for (index, (step, moves)) in STEPS.iter().enumerate() {
        let (before, after) = (&settled[&index], &settled[&(index + 1)]);
        let expected = match moves {
            Moves::Nobody => before == after,
            Moves::Up => before == after || after == "clerk",
            Moves::Down => before == after || after == "legacy",
        };
        assert!(expected, "{} {:?} goes from {before} to {after} by {step:?}", person.id, person.has);
        // While it was being done: the old arm, then the new one.
        let meanwhile = seen.iter().filter(|seen| seen.done == index && seen.begun == index + 1);
        let has_new: Vec<bool> = meanwhile.map(|seen| seen.arm != *before).collect();
        assert!(has_new.is_sorted(), "{} {:?} swings during {step:?}: {has_new:?}", person.id, person.has);
    }
    settled
}

/// With `unit: org` the people of an org move as one, whichever credential they have.
#[test]
fn an_org_moves_as_one() {
    let orgs = 12;
    let mut map: String = (0..orgs)
        .map(|org| format!("{{\"kind\":\"org\",\"legacy\":\"team{org}\",\"clerk\":\"org_{org}\"}}\n"))
        .collect();
    map.extend((0..PEOPLE).map(|id| linked(&id.to_string(), &format!("user_{id}"))));
    let bed = two(&map, "{ source: api, percent: 0, unit: org, limits: { max_step: 100 } }").start_on_sockets();
    for percent in ["10", "50", "100"] {
        set_percent(&bed, percent);
        let mut arms = BTreeMap::<usize, Vec<String>>::new();
        for id in 0..PEOPLE {
            let org = id % orgs;
            let old = legacy(&id.to_string()).claim("org", format!("team{org}").into()).sign();
            let new = token(&format!("user_{id}")).org(&format!("org_{org}"), "slug", "member").sign();
            let answer = if id % 2 == 0 {
                with(bed.get("/me/1"), Some((&old, By::Header)), None).send()
            } else {
                with(bed.get("/me/1"), None, Some((&new, By::Header))).send()
            };
            assert_eq!(answer.outcome(), "200 ok", "{id}");
            arms.entry(org).or_default().push(saw(&answer, "x-crossgate-arm"));
        }
        for (org, arms) in &arms {
            assert!(arms.iter().all(|arm| *arm == arms[0]), "team{org} at {percent} %: {arms:?}");
        }
        let clerks = arms.values().filter(|arms| arms[0] == "clerk").count();
        assert!(percent != "100" || clerks == orgs, "{clerks} of {orgs} at 100 %");
    }
}

/// Killed without warning and started again: everybody is where they were.
#[test]
fn a_kill_moves_nobody() {
    let bed = bed("user").start_on_sockets();
    for percent in ["25", "40"] {
        set_percent(&bed, percent);
    }
    let people: Vec<Person> = (0..PEOPLE).map(Person::new).collect();
    let arms = |bed: &Running| -> Vec<String> {
        let arm = |person: &Person| {
            let answer = person.visits(bed, "/me/1");
            assert_eq!(answer.outcome(), "200 ok", "{} {:?}", person.id, person.has);
            assert_eq!(saw(&answer, "x-crossgate-subject"), person.id.to_string());
            saw(&answer, "x-crossgate-arm")
        };
        people.iter().map(arm).collect()
    };
    let before = arms(&bed);
    let count = |arm: &str| before.iter().filter(|found| *found == arm).count();
    assert!(count("legacy") > 0 && count("clerk") > 0 && count("legacy") + count("clerk") == PEOPLE, "{before:?}");
    bed.process.signal("KILL");
    let bed = bed.start_again();
    assert_eq!(arms(&bed), before, "after a kill");
}
