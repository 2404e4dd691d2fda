//! What a decision allocates: `cargo bench --bench allocations`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot set up its world has nothing to measure")]

mod world;

use divan::{AllocProfiler, Bencher, black_box};
use world::{Sent, World};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn cached(bencher: Bencher<'_, '_>) {
    let world = World::new();
    world.decide();
    bencher.bench_local(|| black_box(world.decide()));
}

/// With both logins, a map and a rollout.
#[divan::bench(args = [Sent::Clerk, Sent::Legacy, Sent::Both])]
fn logins(bencher: Bencher<'_, '_>, sent: Sent) {
    let world = World::logins(sent);
    world.decide();
    bencher.bench_local(|| black_box(world.decide()));
}

#[divan::bench]
fn bare_rs256(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| black_box(world.bare_rs256()));
}

#[divan::bench]
fn sanitize(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| black_box(world.sanitize()));
}
