//! How long a map of a million linked users takes to load, and what it holds: `bench/map.sh`.
//!
//! `write FILE [members]` makes the file; `load FILE` reads it in a process of its own, so that nothing else has
//! touched its memory, and prints seconds and the growth of resident memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crossgate::identity::map;

// As the binary that is shipped.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USERS: u64 = 1_000_000;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", file] => write(Path::new(file), false).map_err(|problem| problem.to_string()),
        ["write", file, "members"] => write(Path::new(file), true).map_err(|problem| problem.to_string()),
        ["load", file] => load(Path::new(file)),
        _ => Err("expected write FILE [members] or load FILE".to_owned()),
    }
}

fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn legacy(n: u64) -> String {
    let (high, low) = (mixed(n), mixed(n + USERS));
    let (a, b, c, d, e) = (high >> 32, high >> 16 & 0xffff, high & 0xfff, low >> 52, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-8{d:03x}-{e:012x}")
}

fn clerk(n: u64) -> String {
    format!("user_2{:013x}{:013x}", mixed(n + 2 * USERS) >> 12, mixed(n + 3 * USERS) >> 12)
}

/// A uuid and a Clerk id of 32 bytes for each, in no order; with members, a membership each in one of 10,000 orgs.
fn write(path: &Path, with_members: bool) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for org in 0..10_000 {
        writeln!(out, "{{\"kind\":\"org\",\"legacy\":\"org-{org}\",\"clerk\":\"org_2{:026x}\"}}", mixed(org))?;
    }
    for n in 0..USERS {
        let (legacy, clerk) = (legacy(n), clerk(n));
        writeln!(out, "{{\"kind\":\"user\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\",\"state\":\"linked\"}}")?;
        if with_members {
            let org = n % 10_000;
            writeln!(
                out,
                "{{\"kind\":\"membership\",\"user\":\"{legacy}\",\"org\":\"org-{org}\",\"role\":\"admin\",\"workspaces\":[\"w1-{org}\",\"w2-{org}\"]}}"
            )?;
        }
    }
    out.flush()
}

fn load(path: &Path) -> Result<(), String> {
    let before = resident()?;
    let begin = Instant::now();
    let loaded = map::load(path).map_err(|problems| format!("{problems:?}"))?;
    let seconds = begin.elapsed().as_secs_f64();
    let at_end = resident()?;
    drop(loaded.places);
    // What the loading itself needed goes back within a second.
    std::thread::sleep(Duration::from_secs(3));
    let counts = loaded.map.counts();
    println!(
        "{} users, {} memberships: {seconds:.2} s; resident memory grew by {} MB, {} MB at the end of loading, {} MB at most",
        counts.users.iter().sum::<usize>(),
        counts.memberships,
        megabytes(resident()?.0.saturating_sub(before.0)),
        megabytes(at_end.0.saturating_sub(before.0)),
        megabytes(at_end.1.saturating_sub(before.0)),
    );
    let asked: Vec<_> = (0..200_000).map(|n| mixed(n) % USERS).map(|n| (legacy(n), clerk(n))).collect();
    let begin = Instant::now();
    let found = asked.iter().filter(|(legacy, clerk)| {
        let other = |user: map::User<'_>| user.clerk() == Some(clerk);
        loaded.map.user_by_legacy(legacy).is_some_and(other) && loaded.map.user_by_clerk(clerk).is_some()
    });
    let found = found.count();
    let nanoseconds = begin.elapsed().as_nanos() / (2 * asked.len() as u128);
    println!("{found} of {} found from both sides, {nanoseconds} ns a question", asked.len());
    Ok(())
}

fn megabytes(kib: u64) -> u64 {
    kib * 1024 / 1_000_000
}

/// Resident memory now and at its highest, in KiB.
fn resident() -> Result<(u64, u64), String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|problem| problem.to_string())?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    field("VmRSS:").zip(field("VmHWM:")).ok_or_else(|| "no VmRSS in /proc/self/status".to_owned())
}
