//! What each login costs where both are configured, with an identity map and a rollout in force:
//! `cargo bench --bench logins`.
//!
//! Every token is one that was seen before. `legacy` may cost at most 1.1 times `clerk`, and `both` (Clerk's in the header,
//! the legacy one in a cookie, of one person, both compared by shadow) at most 1.3 times. `both_unshadowed` is without shadow, `only_clerk` a config without a legacy side.
//! The `pairs` print those ratios, each the median over rounds of one run with the sides in turn: on a busy machine two
//! benches that ran one after the other cannot be compared. What they allocate: `cargo bench --bench allocations`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot set up its world has nothing to measure")]

mod world;

use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use world::{Sent, World};

/// Decisions of one side in one round.
const TURN: u32 = 2_000;
const ROUNDS: usize = 301;

fn main() {
    divan::main();
    pairs();
}

fn measure(bencher: Bencher<'_, '_>, world: &World) {
    world.decide();
    bencher.bench_local(|| black_box(world.decide()));
}

#[divan::bench(sample_count = 200)]
fn only_clerk(bencher: Bencher<'_, '_>) {
    measure(bencher, &World::new());
}

#[divan::bench(sample_count = 200)]
fn clerk(bencher: Bencher<'_, '_>) {
    measure(bencher, &World::logins(Sent::Clerk));
}

#[divan::bench(sample_count = 200)]
fn legacy(bencher: Bencher<'_, '_>) {
    measure(bencher, &World::logins(Sent::Legacy));
}

#[divan::bench(sample_count = 200)]
fn both(bencher: Bencher<'_, '_>) {
    measure(bencher, &World::logins(Sent::Both));
}

#[divan::bench(sample_count = 200)]
fn both_unshadowed(bencher: Bencher<'_, '_>) {
    measure(bencher, &World::logins(Sent::BothUnshadowed));
}

fn pairs() {
    let all = [Sent::Clerk, Sent::Legacy, Sent::Both, Sent::BothUnshadowed];
    let [clerk, legacy, both, unshadowed] = all.map(World::logins);
    let only_clerk = World::new();
    for (name, world, beside) in [
        ("legacy / clerk", &legacy, &clerk),
        ("both / clerk", &both, &clerk),
        ("unshadowed / clerk", &unshadowed, &clerk),
        ("both / unshadowed", &both, &unshadowed),
        ("clerk / only_clerk", &clerk, &only_clerk),
    ] {
        println!("{name:<20} {:.2}", ratio(world, beside));
    }
}

fn ratio(world: &World, beside: &World) -> f64 {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let (one, other) = if round % 2 == 0 {
                let one = turn(world);
                (one, turn(beside))
            } else {
                let other = turn(beside);
                (turn(world), other)
            };
            one.as_secs_f64() / other.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ROUNDS / 2).copied().unwrap()
}

fn turn(world: &World) -> Duration {
    let begun = Instant::now();
    for _ in 0..TURN {
        black_box(world.decide());
    }
    begun.elapsed()
}
