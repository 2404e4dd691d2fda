use std::sync::Arc;

use super::{MAX_PRINCIPALS, MAX_SUBJECT, MIN_PRINCIPALS, Tallies, Told};
use crate::gate::reply::Code;

fn tallies(routes: &[(&str, u64)], previous: Option<&Tallies>, now: i64) -> Tallies {
    let ids: Vec<Arc<str>> = routes.iter().map(|(id, _)| (*id).into()).collect();
    let routes = ids.iter().zip(routes).map(|(id, (_, rule))| (*rule != 0).then_some((id, *rule)));
    Tallies::new(routes, previous, now)
}

fn refuse(tallies: &Tallies, route: usize, predicate: &'static str, subject: Option<&str>, now: i64) {
    tallies.see(route).unwrap().would_be_refused(Code::Forbidden, Some(predicate), subject, now);
}

fn told(tallies: &Tallies, route: usize) -> Told {
    tallies.iter().find(|(index, _)| *index == route).unwrap().1.told(MAX_PRINCIPALS + 1)
}

#[test]
fn a_route_in_report_mode_says_how_many_why_and_whose() {
    let tallies = tallies(&[("enforced", 0), ("reported", 1)], None, 10);
    assert!(tallies.see(0).is_none() && tallies.see(7).is_none());
    for _ in 0..5 {
        assert!(tallies.see(1).is_some());
    }
    for (predicate, subject, now) in [("role", "ada", 20), ("role", "bob", 30), ("role", "ada", 40), ("org", "bob", 50)]
    {
        refuse(&tallies, 1, predicate, Some(subject), now);
    }
    tallies.see(1).unwrap().would_be_refused(Code::NoCredential, None, None, 60);
    let told = told(&tallies, 1);
    assert_eq!((told.since, told.seen, told.would_refuse(), told.last()), (10, 10, 5, Some(60)));
    let [role, org, nobody] = &told.reasons[..] else { panic!("{told:?}") };
    assert_eq!((role.predicate, role.count, role.first, role.last), (Some("role"), 3, 20, 40));
    let people =
        |at: usize| told.reasons[at].principals.iter().map(|one| (one.subject.as_deref(), one.count, one.last));
    assert_eq!(people(0).collect::<Vec<_>>(), [(Some("ada"), 2, 40), (Some("bob"), 1, 30)]);
    assert_eq!((nobody.code, nobody.predicate), (Code::NoCredential, None));
    assert_eq!(people(2).collect::<Vec<_>>(), [(None, 1, 60)]);
    assert_eq!((org.predicate, org.more), (Some("org"), super::More::default()));
}

#[test]
fn what_a_reload_keeps_is_the_same_route_with_the_same_rule() {
    let before = tallies(&[("a", 1), ("b", 1), ("c", 1)], None, 10);
    for route in 0..3 {
        refuse(&before, route, "role", Some("ada"), 20);
    }
    // In another order; with another rule; enforced in between.
    let after = tallies(&[("c", 1), ("b", 2), ("a", 0)], Some(&before), 30);
    assert_eq!((told(&after, 0).since, told(&after, 0).would_refuse()), (10, 1), "the same");
    assert_eq!((told(&after, 1).since, told(&after, 1).seen), (30, 0), "another rule");
    assert_eq!(after.iter().count(), 2, "enforced");
    // A request of the old snapshot that ends late still counts.
    refuse(&before, 2, "role", Some("ada"), 40);
    assert_eq!(told(&after, 0).would_refuse(), 2);
    let again = tallies(&[("a", 1)], Some(&after), 50);
    assert_eq!((told(&again, 0).since, told(&again, 0).seen), (50, 0), "in report mode again");
}

#[test]
fn neither_an_early_nor_a_late_crowd_hides_the_others() {
    let crowd = |tallies: &Tallies| {
        for number in 0..10_000 {
            refuse(tallies, 0, "role", Some(&format!("stranger-{number}")), 20);
        }
    };
    let regular = |tallies: &Tallies| {
        for _ in 0..300 {
            refuse(tallies, 0, "role", Some("ada"), 30);
        }
    };
    for is_early in [true, false] {
        let tallies = tallies(&[("a", 1)], None, 10);
        if is_early {
            crowd(&tallies);
            regular(&tallies);
        } else {
            refuse(&tallies, 0, "role", Some("ada"), 15);
            crowd(&tallies);
        }
        let told = told(&tallies, 0);
        let [reason] = &told.reasons[..] else { panic!("{told:?}") };
        assert_eq!(reason.principals.len(), MAX_PRINCIPALS);
        let ada = reason.principals.iter().find(|one| one.subject.as_deref() == Some("ada")).unwrap();
        assert_eq!(ada.count, if is_early { 300 } else { 1 });
        let listed: u64 = reason.principals.iter().map(|one| one.count).sum();
        assert_eq!(listed + reason.more.requests, reason.count);
        assert!(reason.more.others && reason.more.principals == 0);
    }
}

#[test]
fn memory_is_bounded_whatever_is_sent() {
    let many: Vec<(String, u64)> = (0..20_000).map(|number| (format!("r{number}"), 1)).collect();
    let routes: Vec<(&str, u64)> = many.iter().map(|(id, rule)| (id.as_str(), *rule)).collect();
    let crowded = tallies(&routes, None, 10);
    assert_eq!(crowded.principals, MIN_PRINCIPALS);
    // A long subject is cut between characters; two that begin alike are one.
    let long = "é".repeat(100_000);
    refuse(&crowded, 0, "role", Some(&long), 20);
    refuse(&crowded, 0, "role", Some(&format!("{long}x")), 20);
    let [reason] = &told(&crowded, 0).reasons[..] else { panic!() };
    let [one] = &reason.principals[..] else { panic!("{reason:?}") };
    assert_eq!((one.subject.as_deref().map(str::len), one.count), (Some(MAX_SUBJECT), 2));
    // Fewer places after a reload: what was held goes down to them.
    let few = tallies(&routes[..1], None, 10);
    for number in 0..200 {
        refuse(&few, 0, "role", Some(&number.to_string()), 20);
    }
    let crowded = tallies(&routes, Some(&few), 30);
    refuse(&crowded, 0, "role", Some("one more"), 40);
    assert_eq!(told(&crowded, 0).reasons[0].principals.len(), MIN_PRINCIPALS);
}

#[test]
fn threads_lose_no_count() {
    let tallies = tallies(&[("a", 1)], None, 10);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let tallies = &tallies;
            scope.spawn(move || {
                for number in 0..2_000 {
                    let subject = format!("{}", (thread * 31 + number) % 40);
                    refuse(tallies, 0, if number % 2 == 0 { "role" } else { "org" }, Some(&subject), 20);
                    let told = told(tallies, 0);
                    assert!(told.seen >= told.would_refuse(), "{told:?}");
                }
            });
        }
    });
    let told = told(&tallies, 0);
    assert_eq!((told.seen, told.would_refuse()), (16_000, 16_000));
    let counted = |reason: &super::ToldReason| reason.principals.iter().map(|one| one.count).sum::<u64>();
    assert_eq!(told.reasons.iter().map(counted).sum::<u64>(), 16_000);
}
