//! What durability costs: `cargo bench --bench audit`, in the folder that `TMPDIR` names: the disk there is what is measured.
//!
//! `one` is the latency that a lone privileged request pays; `crowd` is 64 at once, as entries a second; `start` is a start
//! on a segment of 256 MiB.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up its world has nothing to measure")]

use std::path::Path;
use std::time::Duration;

use crossgate::audit::entry::{Actor, Request, Text};
use crossgate::audit::{Entry, Event, Id, Kind, Options, Trail};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Callers at once.
const CROWD: usize = 64;
/// Entries of each in one sample.
const TURNS: usize = 50;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn one(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(options(folder.path(), 256 << 20)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    bencher.bench_local(|| runtime.block_on(trail.commit(Kind::Other, Event::Denied, body())).unwrap());
    trail.finish(Duration::from_secs(10));
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn crowd(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(options(folder.path(), 256 << 20)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    bencher.counter(ItemsCount::new(CROWD * TURNS)).bench_local(|| {
        runtime.block_on(async {
            let callers: Vec<_> = (0..CROWD).map(|_| tokio::spawn(caller(trail.clone()))).collect();
            for caller in callers {
                caller.await.unwrap();
            }
        });
    });
    trail.finish(Duration::from_secs(10));
}

async fn caller(trail: Trail) {
    for _ in 0..TURNS {
        trail.commit(Kind::Other, Event::Denied, body()).await.unwrap();
    }
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn start(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(options(folder.path(), 1 << 30)).unwrap();
    let file = folder.path().join("audit/audit.jsonl");
    while std::fs::metadata(&file).unwrap().len() < 256 << 20 {
        let mut before = trail.status();
        while before.queue_entries > 3000 {
            std::thread::yield_now();
            before = trail.status();
        }
        (0..1000).for_each(|_| trail.post(Kind::Other, Event::Denied, body()));
    }
    trail.finish(Duration::from_secs(60));
    bencher.bench_local(|| {
        Trail::open(options(folder.path(), 1 << 30)).unwrap().finish(Duration::from_secs(10));
    });
}

fn options(folder: &Path, rotate_size: u64) -> Options {
    Options {
        file: folder.join("audit/audit.jsonl"),
        rotate_size,
        rotate_keep: 3,
        state_dir: folder.join("state"),
        copy: None,
        committed: None,
    }
}

/// An entry as a request makes one.
fn body() -> Vec<u8> {
    let mut entry = Entry::new(Id::random(), 1_700_000_000_000_000, Event::Denied);
    entry.decision = Some("deny");
    entry.route = Some(Text("executions"));
    entry.access = Some("privileged");
    entry.actor = Some(Actor { subject: Some(Text("user_2abcdefghijklmnopqrstuvwx")), ..Actor::default() });
    entry.org = Some(Text("org_2abcdefghijklmnopqrstuvwx"));
    entry.request = Some(Request {
        id: Text("0123456789abcdef0123456789abcdef"),
        trace: None,
        method: Text("POST"),
        host: Some(Text("api.example.com")),
        path: Text("/v1/workspaces/12/executions/34/start"),
        client: Text("192.0.2.10"),
        peer: Text("192.0.2.1"),
    });
    entry.body()
}
