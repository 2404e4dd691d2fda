//! The trail through its handle, on real files.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::testing::{Bed, attempt, denied, outcome, until};
use super::{Kind, Ledger, Options, Trail, Unavailable};
use crate::audit::entry::{Entry, Event, Id};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_acknowledged_is_in_the_file_and_holds() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(1 << 20, 3)).unwrap();
    trail.commit(Kind::Attempt(Id(7)), Event::Attempt, attempt(Id(7))).await.unwrap();
    assert_eq!(bed.chain().events("privileged.attempt"), 1);
    trail.post(Kind::Outcome(Id(7)), Event::Outcome, outcome(Id(7)));
    trail.finish(LIMIT);
    trail.finish(LIMIT);
    let chain = bed.chain();
    assert_eq!(chain.actions(), ["trail.open", "trail.start", "trail.stop"]);
    assert_eq!((chain.events("privileged.outcome"), chain.last), (1, 5));
    assert_eq!(trail.commit(Kind::Other, Event::Denied, denied()).await, Err(Unavailable::Failing));
    let status = trail.status();
    assert!(status.on && !status.available && status.problem.is_some());
    assert_eq!(status.entries.iter().map(|(_, count)| count).sum::<u64>(), 5);
}

#[tokio::test]
async fn a_trail_that_is_off_keeps_nothing_and_refuses_nothing() {
    let trail = Trail::off();
    trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    trail.post(Kind::Other, Event::Denied, denied());
    trail.finish(LIMIT);
    assert!(!trail.status().on && trail.status().available);
    assert_eq!(trail.token_hash(&[1; 32]), None);
}

#[tokio::test]
async fn two_may_not_write_one_trail() {
    let bed = Bed::new();
    let first = Trail::open(bed.options(1 << 20, 3)).unwrap();
    let error = Trail::open(bed.options(1 << 20, 3)).err().unwrap();
    assert!(error.contains("audit.lock") && error.contains("another process"), "{error}");
    let later = Trail::open_when_possible(bed.options(1 << 20, 3));
    assert!(!later.status().available);
    assert_eq!(later.commit(Kind::Other, Event::Denied, denied()).await, Err(Unavailable::Failing));
    first.finish(LIMIT);
    until(|| later.status().available);
    later.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    later.finish(LIMIT);
    assert_eq!(bed.chain().events("denied"), 1);
}

#[tokio::test]
async fn a_lock_file_that_was_removed_lets_nobody_in() {
    let bed = Bed::new();
    let first = Trail::open(bed.options(4 << 10, 100)).unwrap();
    std::fs::remove_file(bed.folder().join("audit.lock")).unwrap();
    let error = Trail::open(bed.options(4 << 10, 100)).err().unwrap();
    assert!(error.contains("another process writes a trail in this folder"), "{error}");
    // Past the next rotations, where the file is locked anew.
    for _ in 0..60 {
        first.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    }
    assert!(bed.older().len() > 2);
    let error = Trail::open(bed.options(4 << 10, 100)).err().unwrap();
    assert!(error.contains("audit.lock"), "{error}");
    first.finish(LIMIT);
    Trail::open(bed.options(4 << 10, 100)).unwrap().finish(LIMIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_loses_and_reorders_nothing() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(16 << 10, 1000)).unwrap();
    let mut tasks = Vec::new();
    for task in 0..64_u128 {
        let trail = trail.clone();
        tasks.push(tokio::spawn(async move {
            let mut durable = Vec::new();
            for turn in 0..30 {
                let id = Id(task << 32 | turn);
                if trail.commit(Kind::Attempt(id), Event::Attempt, attempt(id)).await.is_ok() {
                    durable.push(id);
                    trail.post(Kind::Outcome(id), Event::Outcome, outcome(id));
                }
            }
            durable
        }));
    }
    let mut durable = Vec::new();
    for task in tasks {
        let of_task = task.await.unwrap();
        durable.push(of_task);
    }
    trail.finish(LIMIT);
    let chain = bed.chain();
    assert!(chain.segments > 20, "{}", chain.segments);
    for of_task in durable {
        let places: Vec<u64> = of_task.iter().map(|id| chain.attempts[id]).collect();
        assert!(places.is_sorted(), "a caller's entries are in its order");
    }
    assert!(chain.open_attempts().is_empty());
}

#[tokio::test]
async fn old_segments_are_retired_and_said_to_be() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(8 << 10, 2)).unwrap();
    for _ in 0..200 {
        trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    }
    trail.finish(LIMIT);
    let kept = bed.older();
    assert_eq!(kept.len(), 2);
    let checkpoints = bed.files().iter().filter(|name| name.ends_with(".checkpoints")).count();
    assert!((2..=3).contains(&checkpoints), "{:?}", bed.files());
    let chain = bed.chain();
    // The last word about what went covers all up to the first that is kept.
    assert_eq!(chain.retired, kept[0] - 1);
}

#[tokio::test]
async fn attempts_without_an_outcome_get_one_at_the_next_start_over_rotations() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(8 << 10, 100)).unwrap();
    for id in [Id(1), Id(2), Id(3)] {
        trail.commit(Kind::Attempt(id), Event::Attempt, attempt(id)).await.unwrap();
    }
    trail.post(Kind::Outcome(Id(2)), Event::Outcome, outcome(Id(2)));
    for _ in 0..60 {
        trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    }
    trail.finish(LIMIT);
    assert_eq!(bed.chain().open_attempts(), [Id(1), Id(3)]);
    Trail::open(bed.options(8 << 10, 100)).unwrap().finish(LIMIT);
    let chain = bed.chain();
    assert!(chain.segments > 2 && chain.open_attempts().is_empty());
    assert_eq!(chain.reasons["unknown"], 2);
    Trail::open(bed.options(8 << 10, 100)).unwrap().finish(LIMIT);
    assert_eq!(bed.chain().reasons["unknown"], 2, "once is enough");
}

#[tokio::test]
async fn a_token_has_one_hash_over_restarts() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(1 << 20, 3)).unwrap();
    let hash = trail.token_hash(&[7; 32]).unwrap();
    assert_eq!(hash.len(), 32);
    trail.finish(LIMIT);
    let again = Trail::open(bed.options(1 << 20, 3)).unwrap();
    assert_eq!(again.token_hash(&[7; 32]), Some(hash));
    again.finish(LIMIT);
}

#[tokio::test]
async fn a_folder_that_is_taken_away_comes_back() {
    let bed = Bed::new();
    let trail = Trail::open(bed.options(1 << 20, 3)).unwrap();
    trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    std::fs::rename(bed.folder(), bed.path("moved")).unwrap();
    assert_eq!(
        trail.commit(Kind::Other, Event::Denied, denied()).await,
        Err(Unavailable::Failing),
        "what is written to a file that nobody finds is not durable"
    );
    assert!(trail.status().problem.unwrap().contains("audit.jsonl"));
    until(|| trail.status().available);
    trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    assert!(Trail::open(bed.options(1 << 20, 3)).is_err(), "the lock is back too");
    trail.finish(LIMIT);
    // Both halves make one chain.
    let moved = bed.path("moved/audit.jsonl");
    std::fs::copy(&moved, bed.folder().join("audit-00000000000000000001.jsonl")).unwrap();
    let chain = bed.chain();
    assert_eq!((chain.events("denied"), chain.segments), (2, 2));
}

#[tokio::test]
async fn lines_are_copied_once_they_are_durable() {
    let bed = Bed::new();
    let (sender, copied) = std::sync::mpsc::channel();
    let file = bed.folder().join("audit.jsonl");
    let mut options = bed.options(4 << 10, 100);
    options.copy = Some(Box::new(move |lines| {
        let durable = bed_bytes(&file);
        let _ = sender.send((lines.to_vec(), durable));
    }));
    let trail = Trail::open(options).unwrap();
    for _ in 0..20 {
        trail.commit(Kind::Other, Event::Denied, denied()).await.unwrap();
    }
    trail.finish(LIMIT);
    drop(trail);
    let mut all = Vec::new();
    for (lines, file) in copied.try_iter() {
        assert!(file.ends_with(&lines));
        all.extend(lines);
    }
    assert_eq!(all, bed.bytes());
}

fn bed_bytes(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

#[tokio::test]
async fn a_disk_that_hangs_costs_nobody_more_than_their_patience() {
    let bed = Bed::new();
    let disk = Arc::new(bed.disk());
    let trail = Trail::open_on(disk.clone(), bed.options(1 << 20, 3)).unwrap();
    disk.hang();
    let begun = Instant::now();
    assert_eq!(trail.commit(Kind::Attempt(Id(1)), Event::Attempt, attempt(Id(1))).await, Err(Unavailable::Late));
    assert!(begun.elapsed() >= Duration::from_millis(250));
    until(|| !trail.status().available);
    let queued = trail.status().queue_entries;
    assert_eq!(trail.commit(Kind::Attempt(Id(2)), Event::Attempt, attempt(Id(2))).await, Err(Unavailable::Late));
    assert_eq!(trail.status().queue_entries, queued, "nobody queues behind a disk that hangs");
    assert!(trail.status().problem.unwrap().contains("has not answered"));
    disk.release();
    until(|| trail.status().available);
    trail.commit(Kind::Attempt(Id(3)), Event::Attempt, attempt(Id(3))).await.unwrap();
    trail.finish(LIMIT);
    let chain = bed.chain();
    assert_eq!(chain.reasons["not_sent"], 1);
    assert_eq!(chain.open_attempts(), [Id(3)]);
    assert!(!chain.attempts.contains_key(&Id(2)));
}

/// `audit.on_failure: allow` on a `best_effort` route: what was done is never called not sent.
#[tokio::test]
async fn an_action_that_went_on_while_the_disk_hung_has_its_own_outcome_and_not_that_it_was_not_sent() {
    let bed = Bed::new();
    let disk = Arc::new(bed.disk());
    let ledger = Ledger::new(Trail::open_on(disk.clone(), bed.options(1 << 20, 3)).unwrap());
    disk.hang();
    let (written, queued) = (Entry::new(Id(1), 1, Event::Attempt), Entry::new(Id(2), 1, Event::Attempt));
    // The first is in the write that hangs, the second waits behind it.
    let (written, queued) = tokio::join!(ledger.attempt_or_late(&written), async {
        until(|| disk.hangs());
        ledger.attempt_or_late(&queued).await
    });
    let (written, queued) = (written.unwrap(), queued.unwrap());
    assert!(written.is_late() && queued.is_late());
    let mut done = Entry::new(Id(3), 1, Event::Outcome);
    done.reason = Some(super::Text("ok"));
    // One ends during the stall, the other one after it.
    queued.close(done.clone());
    disk.release();
    until(|| ledger.trail().status().available);
    done.id = Id(4);
    written.close(done);
    ledger.finish(LIMIT);
    let chain = bed.chain();
    assert!(chain.attempts.contains_key(&Id(1)) && chain.attempts.contains_key(&Id(2)));
    assert!(chain.open_attempts().is_empty());
    assert_eq!((chain.reasons.get("ok"), chain.reasons.get("not_sent")), (Some(&2), None));
}

#[tokio::test]
async fn a_caller_who_leaves_is_like_one_who_gave_up() {
    let bed = Bed::new();
    let disk = Arc::new(bed.disk());
    let trail = Trail::open_on(disk.clone(), bed.options(1 << 20, 3)).unwrap();
    disk.hang();
    // Into the hanging write, and behind it into the queue.
    for id in [Id(1), Id(2)] {
        let mut commit = Box::pin(trail.commit(Kind::Attempt(id), Event::Attempt, attempt(id)));
        assert!(is_pending(commit.as_mut()).await);
        if id == Id(1) {
            until(|| disk.hangs());
        }
    }
    disk.release();
    until(|| trail.status().queue_entries == 0);
    // Durable, but dropped before it is told.
    disk.hang();
    {
        let mut commit = Box::pin(trail.commit(Kind::Attempt(Id(3)), Event::Attempt, attempt(Id(3))));
        assert!(is_pending(commit.as_mut()).await);
        disk.release();
        until(|| trail.status().entries.iter().any(|(event, count)| (*event, *count) == (Event::Attempt, 2)));
    }
    trail.finish(LIMIT);
    let chain = bed.chain();
    assert!(chain.open_attempts().is_empty(), "{:?}", chain.open_attempts());
    assert!(!chain.attempts.contains_key(&Id(2)), "given up before it was written");
    assert_eq!(chain.reasons["not_sent"], 2);
}

/// Polls once.
async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn without_room_who_waits_is_told_and_an_outcome_is_not_forgotten() {
    let bed = Bed::new();
    let disk = Arc::new(bed.disk());
    let trail = Trail::open_on(disk.clone(), bed.options(1 << 20, 3)).unwrap();
    trail.commit(Kind::Attempt(Id(1)), Event::Attempt, attempt(Id(1))).await.unwrap();
    disk.hang();
    trail.post(Kind::Other, Event::Denied, denied());
    until(|| disk.hangs());
    while trail.status().dropped == 0 {
        trail.post(Kind::Other, Event::Denied, denied());
    }
    let status = trail.status();
    assert!(status.queue_entries <= 4096 && status.queue_bytes <= 8 << 20);
    trail.post(Kind::Outcome(Id(1)), Event::Outcome, outcome(Id(1)));
    assert_eq!(trail.status().dropped, 2);
    assert!(trail.commit(Kind::Other, Event::Denied, denied()).await.is_err());
    disk.release();
    trail.finish(LIMIT);
    let chain = bed.chain();
    assert_eq!(chain.reasons["unknown"], 1);
    assert!(chain.open_attempts().is_empty());
}

#[test]
fn options_tell_nothing_but_their_file() {
    let options: Options = Bed::new().options(1, 1);
    assert!(format!("{options:?}").starts_with("Options { file: "));
}
