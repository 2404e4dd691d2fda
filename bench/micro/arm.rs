//! What choosing an arm costs: `cargo bench --bench arm`. At most 300 ns with `crossgate-1` and lists that are not empty.
//! Nothing is allocated.

use crossgate::identity::Link;
use crossgate::rollout::{Assignment, Bucketing, Lists, Percent, Person, Side, Unit};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn crossgate() -> Bucketing {
    Bucketing::crossgate("auth-clerk", &[7; 32])
}

fn choose(bencher: Bencher<'_, '_>, bucketing: Bucketing) {
    let mut lists = Lists::default();
    for n in 0..1_000 {
        let id = format!("listed_{n}");
        assert!(lists.put(Unit::User, &id, Side::Clerk) && lists.put(Unit::Org, &id, Side::Legacy));
    }
    let assignment = Assignment { unit: Unit::Org, lists, bucketing };
    let person = Person { user: "user_2abcDEFghiJKLmnoPQRstuVWXyz", org: Some("org_2ZZtop"), link: Link::Linked };
    bencher.bench_local(|| black_box(assignment.choose(black_box(&person), black_box(Percent::ALL))));
}

#[divan::bench]
fn choose_crossgate(bencher: Bencher<'_, '_>) {
    choose(bencher, crossgate());
}

#[divan::bench]
fn choose_unleash(bencher: Bencher<'_, '_>) {
    choose(bencher, Bucketing::unleash("auth-clerk"));
}

#[divan::bench]
fn choose_flagd(bencher: Bencher<'_, '_>) {
    choose(bencher, Bucketing::flagd("auth-clerk"));
}

/// The hash alone; 64 bytes and more of salt and id take one round of SHA-256 more.
#[divan::bench(args = ["org_2ZZtop", "legacy-7f3e9a10-6b1c-4a52-9f6e-2f0d6f3b1c55-and-some-more-of-it"])]
fn bucket_crossgate(bencher: Bencher<'_, '_>, id: &str) {
    let bucketing = crossgate();
    bencher.bench_local(|| black_box(bucketing.bucket(black_box(id))));
}
