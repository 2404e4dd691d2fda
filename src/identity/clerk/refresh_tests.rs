use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::super::testing::{ISSUER, KID, OTHER, OURS, now, seconds, url};
use super::super::{Health, KeySource, Keys, Refetch};
use super::{FetchProblem, Store, Task, pause, run};

fn task() -> Task {
    Task { store: None, failing: None, failures: 0, leak_told: false, store_failing: false }
}

fn keys() -> Arc<Keys> {
    Keys::new(ISSUER.into(), KeySource::Url(url()))
}

fn set(key: &super::super::testing::Signer, kid: &str) -> Vec<u8> {
    json!({"keys": [key.jwk(kid)]}).to_string().into_bytes()
}

type Answers = Arc<Mutex<Vec<Result<Vec<u8>, FetchProblem>>>>;

/// Runs the task of `keys` against these answers, the last one again and again; gives the times of the fetches.
fn start(keys: &Arc<Keys>, task: Task, answers: Vec<Result<Vec<u8>, FetchProblem>>) -> Arc<Mutex<Vec<Duration>>> {
    let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let seen = Arc::clone(&times);
    let answers: Answers = Arc::new(Mutex::new(answers));
    let (weak, wake) = (Arc::downgrade(keys), keys.wake_handle());
    let started = Instant::now();
    tokio::spawn(async move {
        let fetch = || {
            seen.lock().unwrap().push(started.elapsed());
            let mut answers = answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            std::future::ready(answer)
        };
        run(weak, &wake, task, fetch, || 0.5, now).await;
    });
    times
}

fn whole_seconds(times: &Arc<Mutex<Vec<Duration>>>) -> Vec<u64> {
    times.lock().unwrap().iter().map(Duration::as_secs).collect()
}

#[test]
fn pauses() {
    let refresh = seconds(300);
    for (failures, random, expected) in [
        (0, 0.5, 300_000),
        (0, 0.0, 270_000),
        (0, 1.0, 330_000),
        (1, 0.5, 1000),
        (2, 0.5, 2000),
        (6, 0.5, 32_000),
        (7, 0.5, 60_000),
        (u32::MAX, 0.5, 60_000),
        (u32::MAX, 1.0, 66_000),
    ] {
        assert_eq!(pause(failures, refresh, random).as_millis(), expected, "{failures} failures, {random}");
    }
    assert_eq!(pause(9, seconds(10), 0.5), seconds(10), "never longer than between good fetches");
}

#[tokio::test(start_paused = true)]
async fn fetches_at_once_and_then_at_intervals() {
    let keys = keys();
    let times = start(&keys, task(), vec![Ok(set(&OURS, KID))]);
    keys.first_attempt().await;
    assert_eq!(keys.health(now()), Health::Ok);
    tokio::time::sleep(seconds(650)).await;
    assert_eq!(whole_seconds(&times), [0, 300, 600]);
    assert_eq!(keys.stats(now()).fetches_succeeded, 3);
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_and_longer_and_keep_the_last_good_set() {
    let keys = keys();
    let bad = Err(FetchProblem::Timeout);
    let hostile = Ok(b"{\"keys\":[]}".to_vec());
    let times = start(&keys, task(), vec![Ok(set(&OURS, KID)), bad.clone(), hostile, bad.clone(), bad]);
    tokio::time::sleep(seconds(300 + 1 + 2 + 4 + 8 + 1)).await;
    assert_eq!(whole_seconds(&times), [0, 300, 301, 303, 307, 315]);
    let stats = keys.stats(now());
    assert_eq!((stats.fetches_succeeded, stats.fetches_failed, stats.kids), (1, 5, vec![KID.to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_fail() {
    let keys = keys();
    start(&keys, task(), vec![Err(FetchProblem::Timeout)]);
    keys.first_attempt().await;
    assert_eq!(keys.health(now()), Health::Outage);
}

#[tokio::test(start_paused = true)]
async fn a_request_wakes_it() {
    let keys = keys();
    let times = start(&keys, task(), vec![Ok(set(&OURS, KID)), Ok(set(&OTHER, "new"))]);
    keys.first_attempt().await;
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(keys.refetch(Some("new"), now()).await, Refetch::Fetched);
    assert_eq!(keys.stats(now()).kids, ["new"], "a refresh replaces the set");
    assert_eq!(keys.refetch(Some("x"), now()).await, Refetch::Fetched);
    assert_eq!(whole_seconds(&times), [0, 10], "one fetch within the gap");
    keys.wake();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(whole_seconds(&times), [0, 10, 10], "an operator may ask at any time");
}

#[tokio::test(start_paused = true)]
async fn ends_with_its_keys() {
    let keys = keys();
    let (weak, wake) = (Arc::downgrade(&keys), keys.wake_handle());
    let fetches = AtomicUsize::new(0);
    let fetch = || {
        fetches.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(set(&OURS, KID)))
    };
    let owner = async {
        keys.first_attempt().await;
        drop(keys);
    };
    tokio::join!(run(weak, &wake, task(), fetch, || 0.5, now), owner);
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_restart_during_an_outage_has_the_last_good_set() {
    let folder = tempfile::tempdir().unwrap();
    let store = || Some(Store::new(folder.path(), &Arc::from(ISSUER), &url().url));
    let before = keys();
    let mut first = Task { store: store(), ..task() };
    first.conclude(&before, Ok(set(&OURS, KID)), now()).await;
    let after = keys();
    let mut second = Task { store: store(), ..task() };
    second.restore(&after, now().plus(seconds(100))).await;
    second.conclude(&after, Err(FetchProblem::Timeout), now()).await;
    assert_eq!(after.stats(now()).kids, [KID]);
    assert_eq!(after.stats(now().plus(seconds(200))).age, Some(seconds(200)));
}

#[tokio::test]
async fn a_leaked_private_key_is_used_but_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys();
    let mut key = OURS.jwk(KID);
    key["d"] = json!("AQAB");
    let mut task = Task { store: Some(Store::new(folder.path(), keys.issuer(), &url().url)), ..task() };
    task.conclude(&keys, Ok(json!({"keys": [key]}).to_string().into_bytes()), now()).await;
    assert!(keys.stats(now()).leaked);
    assert!(!folder.path().join("keys").exists());
}
