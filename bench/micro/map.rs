//! What a question to the identity map costs at a million linked users: `cargo bench --bench map`.
//!
//! Each question is about another person, in an order without pattern, so that caches help as little as they do in life.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up its world has nothing to measure")]

use std::fmt::Write as _;
use std::hint::black_box;

use crossgate::identity::map::{IdentityMap, read};
use divan::Bencher;

const USERS: u64 = 1_000_000;

fn main() {
    divan::main();
}

fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn legacy(number: u64) -> String {
    let (high, low) = (mixed(number), mixed(number + USERS));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

fn clerk(number: u64) -> String {
    format!("user_2{:013x}{:013x}", mixed(number + 2 * USERS) >> 12, mixed(number + 3 * USERS) >> 12)
}

/// Both ids of a person, in one row with the others: who asks has just read the id, so that fetching it is not measured.
struct Asked {
    legacy: [u8; 36],
    clerk: [u8; 32],
}

impl Asked {
    fn new(legacy: &str, clerk: &str) -> Self {
        Self { legacy: legacy.as_bytes().try_into().unwrap(), clerk: clerk.as_bytes().try_into().unwrap() }
    }

    fn legacy(&self) -> &str {
        std::str::from_utf8(&self.legacy).unwrap()
    }

    fn clerk(&self) -> &str {
        std::str::from_utf8(&self.clerk).unwrap()
    }
}

fn world() -> (IdentityMap, Vec<Asked>) {
    let mut text = String::new();
    for org in 0..1000 {
        writeln!(text, "{{\"kind\":\"org\",\"legacy\":\"org{org}\",\"clerk\":\"org_{org}\"}}").unwrap();
    }
    for n in 0..USERS {
        let (legacy, clerk, org) = (legacy(n), clerk(n), n % 1000);
        writeln!(text, "{{\"kind\":\"user\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\",\"state\":\"linked\"}}")
            .unwrap();
        writeln!(text, "{{\"kind\":\"membership\",\"user\":\"{legacy}\",\"org\":\"org{org}\",\"role\":\"admin\"}}")
            .unwrap();
    }
    let map = read(text.as_bytes()).unwrap().map;
    let asked = (0..65_536).map(|n| mixed(n) % USERS).map(|n| Asked::new(&legacy(n), &clerk(n))).collect();
    (map, asked)
}

/// Divan's samples are of many calls each; the row is long enough that its records are not in a cache.
fn each(bencher: Bencher<'_, '_>, ask: impl Fn(&IdentityMap, &Asked) -> bool) {
    let (map, asked) = world();
    let mut next = asked.iter().cycle();
    bencher.bench_local(|| next.next().map(|ids| black_box(ask(&map, ids))));
}

#[divan::bench(sample_count = 200, sample_size = 500)]
fn by_legacy(bencher: Bencher<'_, '_>) {
    each(bencher, |map, asked| map.user_by_legacy(asked.legacy()).is_some_and(|user| user.clerk().is_some()));
}

#[divan::bench(sample_count = 200, sample_size = 500)]
fn by_clerk(bencher: Bencher<'_, '_>) {
    each(bencher, |map, asked| map.user_by_clerk(asked.clerk()).is_some_and(|user| user.legacy().is_some()));
}

#[divan::bench(sample_count = 200, sample_size = 500)]
fn unknown(bencher: Bencher<'_, '_>) {
    each(bencher, |map, asked| map.user_by_legacy(asked.clerk()).is_none());
}

/// The person, the org and what the membership grants.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn role_in_org(bencher: Bencher<'_, '_>) {
    each(bencher, |map, asked| {
        let grant = || {
            let (user, org) = (map.user_by_clerk(asked.clerk())?, map.org_by_clerk("org_7")?);
            map.grants(user, org).next()
        };
        grant().is_some()
    });
}
