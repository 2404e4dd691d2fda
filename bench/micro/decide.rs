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
    let key = jsonwebtoken::DecodingKey::from_rsa_components(&world.modulus, "AQAB").unwrap();
    let (input, signature) = world.token.rsplit_once('.').unwrap();
    bencher.bench_local(|| {
        let good =
            jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, jsonwebtoken::Algorithm::RS256).unwrap();
        assert!(black_box(good));
    });
}

#[divan::bench(sample_count = 200)]
fn sanitize(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| black_box(world.sanitize()));
}
