//! What a decision costs: `cargo bench --bench decide`.
//!
//! `cached` is every request after the first of a token, `fresh` the first one; `bare_rs256` is the signature check alone,
//! in the same run, so that `fresh` can be stated as a ratio. Allocations have a bench of their own: counting costs time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot set up its world has nothing to measure")]

mod world;

use crossgate::identity::cache::TokenCache;
use divan::{Bencher, black_box};
use world::World;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 200)]
fn cached(bencher: Bencher<'_, '_>) {
    let world = World::new();
    world.decide();
    bencher.bench_local(|| black_box(world.decide()));
}

#[divan::bench(sample_count = 200)]
fn fresh(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    // Nothing fits in, so that every decision is the first one of its token.
    world.snapshot.cache = TokenCache::new(0, 0);
    bencher.bench_local(|| black_box(world.decide()));
}

#[divan::bench(sample_count = 200)]
fn bare_rs256(bencher: Bencher<'_, '_>) {
    let world = World::new();
    assert!(world.bare_rs256());
    bencher.bench_local(|| black_box(world.bare_rs256()));
}

#[divan::bench(sample_count = 200)]
fn sanitize(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| black_box(world.sanitize()));
}
