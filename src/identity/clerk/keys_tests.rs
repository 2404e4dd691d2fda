use std::sync::Arc;

use super::super::testing::{ISSUER, KID, NOW_S, OTHER, OURS, now, seconds, url};
use super::{Health, KeySource, Keys, MAX_BAD_KIDS, Refetch, Unknown};
use crate::clock::Now;

fn at(n: u64) -> Now {
    now().plus(seconds(n))
}

fn keys() -> Arc<Keys> {
    Keys::new(ISSUER.into(), KeySource::Url(url()))
}

/// A fetch that a request asked for, and that brought `good` or failed.
async fn refetched(keys: &Arc<Keys>, kid: &str, now: Now, good: bool) -> Refetch {
    let flight = async {
        tokio::task::yield_now().await;
        if good { keys.fetched(OURS.set(KID), now) } else { keys.fetch_failed("refused") }
    };
    tokio::join!(keys.refetch(Some(kid), now), flight).0
}

#[test]
fn health_is_a_matter_of_age() {
    let keys = keys();
    assert_eq!(keys.health(at(0)), Health::Outage);
    keys.fetched(OURS.set(KID), at(0));
    for (after, expected) in
        [(0, Health::Ok), (3600, Health::Ok), (3601, Health::Stale), (86_400, Health::Stale), (86_401, Health::Outage)]
    {
        assert_eq!(keys.health(at(after)), expected, "after {after} s");
        assert_eq!(keys.read(at(after), |held| held.is_some()), expected != Health::Outage, "after {after} s");
    }
    keys.fetched(OURS.set(KID), at(90_000));
    assert_eq!(keys.health(at(90_001)), Health::Ok);
    assert_eq!(keys.stats(at(90_007)).age, Some(seconds(7)));
}

#[test]
fn no_clock_makes_keys_young() {
    let keys = keys();
    keys.fetched(OURS.set(KID), at(0));
    let mut set_back = at(90_000);
    set_back.unix_ms = NOW_S * 1000 - 1;
    assert_eq!(keys.health(set_back), Health::Outage, "wall clock set back");
    let mut slept = at(1);
    slept.unix_ms = NOW_S * 1000 + 90_000_000;
    assert_eq!(keys.health(slept), Health::Outage, "a machine that slept");
}

#[test]
fn files_never_go_stale() {
    let keys = Keys::new(ISSUER.into(), KeySource::Set(OURS.set(KID)));
    assert_eq!(keys.health(at(10_000_000)), Health::Ok);
    assert_eq!(keys.unknown("ins_2", Some(i64::MAX), at(0)), Unknown::Refuse);
    assert_eq!(keys.stats(at(0)).age, None);
    assert!(!keys.claim_task());
}

#[test]
fn a_restored_set_is_as_old_as_it_is() {
    let keys = keys();
    keys.restored(OURS.set(KID), (NOW_S - 3000) * 1000, at(0));
    assert_eq!(keys.health(at(600)), Health::Ok);
    assert_eq!(keys.health(at(601)), Health::Stale);
    keys.fetched(OTHER.set("new"), at(700));
    keys.restored(OURS.set(KID), NOW_S * 1000, at(701));
    assert_eq!(keys.stats(at(701)).kids, ["new"], "never in place of a fetched one");
}

#[test]
fn generations_follow_the_content() {
    let keys = keys();
    let generation = |keys: &Keys| keys.read(at(0), |held| held.unwrap().generation);
    keys.fetched(OURS.set(KID), at(0));
    let first = generation(&keys);
    keys.fetched(OURS.set(KID), at(0));
    assert_eq!(generation(&keys), first);
    keys.fetched(OTHER.set(KID), at(0));
    assert_ne!(generation(&keys), first);
}

#[tokio::test]
async fn unknown_names() {
    let keys = keys();
    let issued = |n: i64| Some((NOW_S + n) * 1000);
    assert_eq!(keys.missing(at(0)), Unknown::Ask, "no keys yet");
    assert_eq!(refetched(&keys, "x", at(0), false).await, Refetch::Failed);
    assert_eq!(keys.missing(at(29)), Unknown::CannotTell, "no second try within the gap");
    assert_eq!(keys.unknown("x", issued(0), at(29)), Unknown::CannotTell);
    assert_eq!(keys.missing(at(30)), Unknown::Ask);

    keys.fetched(OURS.set(KID), at(40));
    assert_eq!(keys.unknown("x", issued(41), at(41)), Unknown::Ask);
    assert_eq!(refetched(&keys, "x", at(41), true).await, Refetch::Fetched);
    assert_eq!(keys.unknown("x", issued(41), at(41)), Unknown::Refuse, "not in a fresh set");
    assert_eq!(keys.unknown("x", issued(41), at(100)), Unknown::Refuse, "remembered beyond the gap");
    assert_eq!(keys.unknown("y", issued(41), at(42)), Unknown::Refuse, "older than the set that lacks it");
    assert_eq!(keys.unknown("y", issued(42), at(42)), Unknown::CannotTell, "newer than the set");
    assert_eq!(keys.unknown("y", None, at(42)), Unknown::Refuse);
    assert_eq!(keys.unknown("y", issued(71), at(71)), Unknown::Ask, "after the gap");
    assert_eq!(refetched(&keys, "y", at(71), false).await, Refetch::Failed);
    assert_eq!(keys.unknown("y", issued(71), at(72)), Unknown::CannotTell, "the fetch failed");
    assert_eq!(keys.unknown("y", issued(40), at(72)), Unknown::Refuse, "but an old token is bad whatever it does");
    assert_eq!(keys.unknown("x", issued(102), at(102)), Unknown::Ask, "forgotten, in case it was published since");

    keys.fetched(OTHER.set("new"), at(73));
    assert_eq!(keys.unknown("x", issued(0), at(73)), Unknown::Refuse);
}

#[tokio::test]
async fn a_new_set_clears_what_was_remembered() {
    let keys = keys();
    keys.fetched(OURS.set(KID), at(0));
    refetched(&keys, "x", at(0), true).await;
    let issued = Some(NOW_S * 1000);
    assert_eq!(keys.unknown("x", issued, at(31)), Unknown::Refuse);
    keys.fetched(OTHER.set("new"), at(31));
    assert_eq!(keys.unknown("x", issued, at(31)), Unknown::Ask);
}

/// Somebody names a key before it is published; tokens that come after its publication are not refused for that.
#[tokio::test]
async fn an_early_name_signs_nobody_out() {
    let keys = keys();
    keys.fetched(OURS.set(KID), at(0));
    refetched(&keys, "ins_2", at(1), true).await;
    let issued = |n: i64| Some((NOW_S + n) * 1000);
    assert_eq!(keys.unknown("ins_2", issued(0), at(2)), Unknown::Refuse, "the set that lacks it is newer");
    assert_eq!(keys.unknown("ins_2", issued(5), at(5)), Unknown::CannotTell, "503 until the next fetch");
    assert_eq!(keys.unknown("ins_2", issued(31), at(31)), Unknown::Ask);
}

#[tokio::test]
async fn one_flight_for_all_who_ask() {
    let keys = keys();
    let wake = keys.wake_handle();
    let waiting: Vec<_> = (0..50)
        .map(|n| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { keys.refetch(Some(&format!("k{n}")), at(0)).await })
        })
        .collect();
    wake.notified().await;
    tokio::task::yield_now().await;
    assert_eq!(keys.missing(at(0)), Unknown::Ask, "later ones join the flight");
    keys.fetched(OURS.set(KID), at(0));
    for task in waiting {
        assert_eq!(task.await.unwrap(), Refetch::Fetched);
    }
    let again = tokio::select! { biased; () = wake.notified() => true, () = std::future::ready(()) => false };
    assert!(!again, "nobody asked twice");
    assert_eq!(keys.refetch(Some("late"), at(1)).await, Refetch::Fetched, "within the gap nobody waits");
}

#[tokio::test]
async fn a_request_that_asks_after_the_flight_is_not_overlooked() {
    let keys = keys();
    keys.fetched(OURS.set(KID), at(0));
    assert!(!keys.is_asked());
    let waiting = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.refetch(Some("x"), at(1)).await }
    });
    tokio::task::yield_now().await;
    assert!(keys.is_asked(), "while the task still writes the last set to disk");
    keys.fetched(OURS.set(KID), at(1));
    assert!(!keys.is_asked());
    assert_eq!(waiting.await.unwrap(), Refetch::Fetched);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_never_ends_fails() {
    let keys = keys();
    assert_eq!(keys.refetch(Some("x"), at(0)).await, Refetch::Failed);
    assert_eq!(keys.missing(at(7)), Unknown::CannotTell, "and is not waited for again");
}

#[tokio::test]
async fn bad_names_are_bounded() {
    let keys = keys();
    for n in 0..2 * MAX_BAD_KIDS as u64 {
        refetched(&keys, &format!("k{n}"), at(31 * n), true).await;
    }
    assert!(keys.bad_kids.lock().unwrap().len() <= MAX_BAD_KIDS);
}

#[test]
fn adoption() {
    let old = keys();
    old.fetched(OURS.set(KID), at(0));
    let same = Keys::adopt(ISSUER.into(), KeySource::Url(url()), Some(&old));
    assert!(Arc::ptr_eq(&old, &same));
    let mut times = url();
    times.refresh = seconds(60);
    let times = Keys::adopt(ISSUER.into(), KeySource::Url(times), Some(&old));
    assert!(!Arc::ptr_eq(&old, &times) && times.health(at(0)) == Health::Ok);
    let mut elsewhere = url();
    elsewhere.url = "https://elsewhere.example.com/jwks.json".to_owned();
    let elsewhere = Keys::adopt(ISSUER.into(), KeySource::Url(elsewhere), Some(&old));
    assert_eq!(elsewhere.health(at(0)), Health::Outage, "keys of another address are not believed");
    let other = Keys::adopt("https://other.example.com".into(), KeySource::Url(url()), Some(&old));
    assert_eq!(other.health(at(0)), Health::Outage, "nor another issuer's");
    assert!(old.claim_task() && !old.claim_task());
}
