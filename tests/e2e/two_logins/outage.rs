//! Clerk's key server is dead from before the start: whoever has a legacy credential does not notice.

use super::super::bed::{Bed, Running};
use super::super::issuer::{Keys, token};
use super::super::wire::Response;
use super::{By, answer_to, legacy, linked, order, saw, set_percent, two, user, with};

fn map() -> String {
    let people: String = (0..8).map(|id| linked(&id.to_string(), &format!("user_{id}"))).collect();
    people + &user("old", "", "legacy_only") + &user("sealed", "user_sealed", "sealed")
}

fn bed() -> Bed {
    two(&map(), "{ source: api, percent: 0, unit: user, limits: { max_step: 100 } }")
}

/// With the legacy credential, with or without a Clerk session that nobody can check.
fn visits(bed: &Running, path: &str, id: &str, new: Option<By>) -> Response {
    let old = legacy(id).sign();
    let session = token(&format!("user_{id}")).sign();
    let by = if new == Some(By::Header) { By::Cookie } else { By::Header };
    answer_to(&with(bed.get(path), Some((&old, by)), new.map(|by| (session.as_str(), by))))
}

const WAYS: [Option<By>; 3] = [None, Some(By::Cookie), Some(By::Header)];

fn everybody_goes_on(bed: &Running, what: &str) {
    for id in (0..8).map(|id| id.to_string()).chain(["old".to_owned()]) {
        for new in WAYS {
            if id == "old" && new.is_some() {
                continue;
            }
            for path in ["/me/1", "/public/1"] {
                let answer = visits(bed, path, &id, new);
                assert_eq!(answer.outcome(), "200 ok", "{what}: {id} with {new:?} at {path}");
                assert_eq!(saw(&answer, "x-crossgate-method"), "legacy", "{what}: {id} with {new:?} at {path}");
                assert_eq!(saw(&answer, "x-crossgate-subject"), id, "{what}: {id} with {new:?} at {path}");
            }
        }
    }
}

fn vault(bed: &Running, expected: &str, what: &str) {
    for id in ["0", "5"] {
        for new in WAYS {
            let answer = visits(bed, "/vault/1", id, new);
            assert_eq!(answer.outcome(), expected, "{what}: {id} with {new:?}");
            assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{what}");
        }
    }
}

fn through_a_rollout(bed: &Running) {
    everybody_goes_on(bed, "at 0 %");
    vault(bed, "200 ok", "the legacy arm");
    set_percent(bed, "50");
    everybody_goes_on(bed, "at 50 %");
    set_percent(bed, "100");
    everybody_goes_on(bed, "at 100 %");
    vault(bed, "503 clerk_outage", "the Clerk arm");
    assert_eq!(visits(bed, "/vault/1", "old", None).outcome(), "200 ok", "who has no Clerk side needs none");
    order(bed, "freeze");
    everybody_goes_on(bed, "frozen");
    vault(bed, "503 clerk_outage", "frozen");
    order(bed, "rollback");
    everybody_goes_on(bed, "rolled back");
    vault(bed, "503 clerk_outage", "rolled back: the bar stays");
    order(bed, "confirm");
    everybody_goes_on(bed, "confirmed");
    vault(bed, "200 ok", "an operator took the bar away");
}

#[test]
fn who_has_a_legacy_credential_does_not_notice() {
    let bed = bed();
    bed.issuer().kill();
    through_a_rollout(&bed.start_on_sockets());
}

#[test]
fn nor_while_the_key_server_only_hangs() {
    let bed = bed();
    bed.issuer().serves(Keys::Hang);
    let bed = bed.start_on_sockets();
    everybody_goes_on(&bed, "at 0 %");
    set_percent(&bed, "100");
    everybody_goes_on(&bed, "at 100 %");
}

#[test]
fn who_has_not_is_told_to_come_back_and_is_never_logged_out() {
    let bed = bed();
    bed.issuer().kill();
    let bed = bed.start_on_sockets();
    let session = token("user_1").sign();
    for path in ["/me/1", "/vault/1"] {
        for by in [By::Header, By::Cookie] {
            let answer = with(bed.get(path), None, Some((&session, by))).send();
            assert_eq!(answer.outcome(), "503 clerk_outage", "{path} by {by:?}");
        }
        // Neither does a legacy credential that is bad, or proves nothing any more, beside it.
        let answer =
            with(bed.get(path), Some((&legacy("1").expired().sign(), By::Cookie)), Some((&session, By::Header)));
        assert_eq!(answer.send().outcome(), "503 clerk_outage", "{path}");
        let sealed = with(bed.get(path), Some((&legacy("sealed").sign(), By::Cookie)), Some((&session, By::Header)));
        assert_eq!(sealed.send().outcome(), "503 clerk_outage", "{path}");
        // Two people stay two people: what is not verified may only tighten.
        let two = with(bed.get(path), Some((&legacy("2").sign(), By::Header)), Some((&session, By::Cookie)));
        assert_eq!(two.send().outcome(), "400 identity_conflict", "{path}");
    }
    let public = with(bed.get("/public/1"), None, Some((&session, By::Header))).send();
    assert_eq!((public.outcome(), saw(&public, "x-crossgate-subject")), ("200 ok".to_owned(), String::new()));
}

/// A restart in the outage logs nobody out and moves nobody.
#[test]
fn a_restart_changes_nothing() {
    let bed = bed().start_on_sockets();
    set_percent(&bed, "100");
    assert_eq!(visits(&bed, "/vault/1", "1", Some(By::Header)).outcome(), "200 ok");
    bed.issuer().kill();
    let bed = bed.restart();
    for id in 0..8 {
        let id = id.to_string();
        for new in WAYS {
            let answer = visits(&bed, "/me/1", &id, new);
            assert_eq!(answer.outcome(), "200 ok", "{id} with {new:?}");
            assert_eq!(saw(&answer, "x-crossgate-subject"), id, "{id} with {new:?}");
            assert_eq!(saw(&answer, "x-crossgate-arm"), "clerk", "{id} with {new:?}");
        }
    }
}
