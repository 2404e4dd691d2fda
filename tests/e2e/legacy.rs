//! Legacy credentials that a server judges: what it says counts, what it does never becomes acceptance.

use std::time::{Duration, Instant};

use super::bed::{Running, until};
use super::issuer::token;
use super::legacy_server::{Kind, LegacyServer, Mode};
use super::wire::Response;

const KINDS: [Kind; 2] = [Kind::Introspection, Kind::ForwardAuth];
const BREAKER: &str = "crossgate_legacy_breaker_open";

fn me(bed: &Running, credential: &str) -> Response {
    bed.get("/me/x").bearer(credential).send()
}

fn is_outage(answer: &Response) -> bool {
    let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
    answer.outcome() == "503 legacy_outage"
        && after.is_some_and(|after| (10..=60).contains(&after))
        && answer.header("www-authenticate").is_none()
}

#[test]
fn a_server_that_is_asked_says_who_it_is() {
    for kind in KINDS {
        let server = LegacyServer::start();
        let bed = server.bed(kind).start();
        assert_eq!(me(&bed, "good-ada").outcome(), "200 ok", "{kind:?}");
        let seen = bed.origin().last();
        assert_eq!(seen.values("x-crossgate-subject"), ["ada"], "{kind:?}");
        assert_eq!(seen.values("x-crossgate-method"), ["legacy"], "{kind:?}");
        let reached = bed.origin().count();
        assert_eq!(me(&bed, "bad-ada").outcome(), "401 legacy_invalid", "{kind:?}");
        assert_eq!(bed.origin().count(), reached, "{kind:?}");
        let asked = server.asked();
        assert_eq!(me(&bed, &token("user_ada").sign()).outcome(), "200 ok", "{kind:?}: Clerk's own");
        assert_eq!(server.asked(), asked, "{kind:?}: nobody asks about it");
        assert_eq!(bed.origin().last().values("x-crossgate-method"), ["clerk"], "{kind:?}");
    }
}

#[test]
fn whatever_the_server_does_is_never_acceptance() {
    let modes = [
        Mode::Hang,
        Mode::HangInside,
        Mode::Flood,
        Mode::Garbage,
        Mode::Almost,
        Mode::Status(500),
        Mode::Status(503),
        Mode::Status(404),
        Mode::Status(429),
        Mode::Redirect,
        Mode::Close,
    ];
    for kind in KINDS {
        for mode in modes {
            // An answer by status and headers needs no body to be right.
            if kind == Kind::ForwardAuth && matches!(mode, Mode::Garbage | Mode::Almost) {
                continue;
            }
            let server = LegacyServer::start();
            server.does(mode);
            let bed = server.bed(kind).start();
            let started = Instant::now();
            let answer = me(&bed, "good-ada");
            assert!(is_outage(&answer), "{kind:?} {mode:?}: {} {:?}", answer.outcome(), answer.headers);
            assert!(started.elapsed() < Duration::from_secs(20), "{kind:?} {mode:?}: {:?}", started.elapsed());
            assert_eq!(bed.origin().count(), 0, "{kind:?} {mode:?}: nothing reaches the API");
            assert_eq!(
                me(&bed, &token("user_ada").sign()).outcome(),
                "200 ok",
                "{kind:?} {mode:?}: Clerk's people go on"
            );
            assert_eq!(bed.get("/public/x").bearer("good-ada").send().outcome(), "200 ok", "{kind:?} {mode:?}");
            assert!(bed.origin().last().values("x-crossgate-subject").is_empty(), "{kind:?} {mode:?}: as nobody");
            server.does(Mode::Honest);
            until("recovery", || (me(&bed, "good-ada").outcome() == "200 ok").then_some(()));
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_alone_until_it_does() {
    let server = LegacyServer::start();
    let bed = server.bed(Kind::Introspection).start();
    assert_eq!(me(&bed, "good-ada").outcome(), "200 ok");
    server.does(Mode::Close);
    let mut number = 0;
    until("the breaker", || {
        number += 1;
        assert!(is_outage(&me(&bed, &format!("good-{number}"))));
        (bed.metric(BREAKER) == 1.0).then_some(())
    });
    let report = bed.ask_admin("/readyz");
    assert_eq!(report.status, 200);
    assert_eq!(report.json()["reasons"][0]["code"], "legacy_unreachable");
    assert!(bed.metric("crossgate_legacy_lookups_total{result=\"error\"}") >= 5.0);
    assert_eq!(bed.ask_admin("/v1/snapshot").json()["legacy"]["asked"]["broken"], true);
    assert_eq!(me(&bed, &token("user_ada").sign()).outcome(), "200 ok");
    server.does(Mode::Honest);
    // Of hers an answer may still be kept.
    until("the end", || (me(&bed, "good-bob").outcome() == "200 ok").then_some(()));
    assert_eq!(bed.metric(BREAKER), 0.0);
    assert!(bed.reasons().is_empty());
}

#[test]
fn invented_credentials_buy_few_questions_and_lock_nobody_out() {
    let server = LegacyServer::start();
    let bed = server.bed(Kind::Introspection).start();
    assert_eq!(me(&bed, "good-ada").outcome(), "200 ok");
    let started = Instant::now();
    let (mut refused, mut unasked) = (0, 0);
    for number in 0..600 {
        match me(&bed, &format!("invented-{number}")).outcome().as_str() {
            "401 legacy_invalid" => refused += 1,
            "503 overloaded" => unasked += 1,
            other => panic!("{number}: {other}"),
        }
    }
    // 200 at once and 20 a second.
    let allowed = 202 + 20 * (started.elapsed().as_secs() + 1);
    assert!(unasked > 0 && refused <= allowed, "{refused} asked, {unasked} not, in {:?}", started.elapsed());
    // Its answer is no longer kept, and its address is the flood's: who was good is asked about all the same.
    until("the end of what is kept", || {
        let asked = server.asked();
        assert_eq!(me(&bed, "good-ada").outcome(), "200 ok");
        (server.asked() > asked).then_some(())
    });
    assert_eq!(me(&bed, &token("user_bob").sign()).outcome(), "200 ok", "Clerk's new tokens are checked");
}
