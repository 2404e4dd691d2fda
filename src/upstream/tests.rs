use std::sync::Arc;
use std::time::Duration;

use pingora::{Error, ErrorType};

use super::{Asks, Failure, Forward, Health, Place, Progress, Protocol, Spec, Timeouts, Upstream};
use crate::snapshot::Address;

fn spec(ports: &[u16]) -> Spec {
    Spec {
        name: "app".into(),
        endpoints: ports.iter().map(|port| Place::Address(Address::Tcp(([127, 0, 0, 1], *port).into()))).collect(),
        protocol: Protocol::Http1,
        tls: None,
        timeouts: Timeouts::default(),
        health: None,
        exact_paths: false,
        forward: Forward::default(),
        puts: crate::upstream::Puts::default(),
    }
}

fn upstream(spec: &Spec) -> Arc<Upstream> {
    Arc::new(Upstream::prepare(spec, None).unwrap())
}

fn rules() -> Health {
    Health {
        path: http::uri::PathAndQuery::from_static("/healthz"),
        interval: Duration::from_secs(5),
        healthy: 1,
        unhealthy: 1,
    }
}

fn refused() -> Box<Error> {
    Error::explain(ErrorType::ConnectRefused, "").into_up()
}

/// Ports of the next `count` choices, each answered.
fn chosen(upstream: &Arc<Upstream>, count: usize) -> Vec<String> {
    let one = |_| match upstream.choose(None, Asks::Answer) {
        Ok((peer, mut attempt)) => {
            attempt.answered();
            peer._address.to_string().rsplit(':').next().unwrap_or_default().to_owned()
        }
        Err(_) => "none".to_owned(),
    };
    (0..count).map(one).collect()
}

#[test]
fn endpoints_take_turns() {
    assert_eq!(chosen(&upstream(&spec(&[1, 2, 3])), 6), ["1", "2", "3", "1", "2", "3"]);
    assert_eq!(chosen(&upstream(&spec(&[1])), 2), ["1", "1"]);
}

#[test]
fn a_second_attempt_goes_elsewhere() {
    let upstream = upstream(&spec(&[1, 2]));
    for _ in 0..6 {
        let (first, attempt) = upstream.choose(None, Asks::Answer).unwrap();
        let (second, _) = upstream.choose(Some(attempt), Asks::Answer).unwrap();
        assert_ne!(first._address.to_string(), second._address.to_string());
    }
}

#[test]
fn the_only_endpoint_is_tried_again() {
    let upstream = upstream(&spec(&[1]));
    let (_, mut attempt) = upstream.choose(None, Asks::Answer).unwrap();
    attempt.not_connected(&refused());
    assert!(upstream.choose(Some(attempt), Asks::Answer).is_ok());
}

#[test]
fn unhealthy_ones_are_left_out_and_none_is_503() {
    let mut spec = spec(&[1, 2]);
    spec.health = Some(rules());
    let upstream = upstream(&spec);
    let endpoints = upstream.endpoints.load_full();
    assert_eq!(endpoints[0].vitals.checked(false, &rules()), Some(false));
    assert_eq!(chosen(&upstream, 3), ["2", "2", "2"]);
    assert_eq!(endpoints[1].vitals.checked(false, &rules()), Some(false));
    assert_eq!(chosen(&upstream, 1), ["none"]);
    assert_eq!(upstream.stats().unhealthy, 2);
    spec.health = None;
    let reloaded = Arc::new(Upstream::prepare(&spec, Some(&upstream)).unwrap());
    assert_eq!(chosen(&reloaded, 2), ["1", "2"], "nobody checks any more, so nothing is known");
}

#[test]
fn a_failing_endpoint_is_put_out_but_never_more_than_half() {
    let upstream = upstream(&spec(&[1, 2, 3]));
    let fail = |port: &str| {
        let (peer, mut attempt) = upstream.choose(None, Asks::Answer).unwrap();
        if peer._address.to_string().ends_with(port) { attempt.not_connected(&refused()) } else { attempt.answered() }
    };
    (0..15).for_each(|_| fail(":1"));
    assert_eq!((upstream.stats().healthy, upstream.stats().out), (2, 1));
    assert_eq!(chosen(&upstream, 4).iter().filter(|port| *port == "1").count(), 0);
    (0..15).for_each(|_| fail(":2"));
    assert_eq!(upstream.stats().out, 1, "one of three is out, two would be more than half");
    let reloaded = Upstream::prepare(&spec(&[3, 1]), Some(&upstream)).unwrap();
    assert_eq!(reloaded.stats().out, 1, "a reload keeps how endpoints fare");
}

#[test]
fn the_breaker_opens_and_a_reload_does_not_close_it() {
    let spec = spec(&[1]);
    let upstream = upstream(&spec);
    for _ in 0..20 {
        let (_, mut attempt) = upstream.choose(None, Asks::Answer).unwrap();
        attempt.not_connected(&refused());
    }
    assert!(upstream.choose(None, Asks::Answer).is_err());
    let stats = upstream.stats();
    assert!(stats.breaker_open && stats.failures.contains(&(Failure::Connect, 20)), "{stats:?}");
    assert!(Arc::new(Upstream::prepare(&spec, Some(&upstream)).unwrap()).choose(None, Asks::Answer).is_err());
    let mut elsewhere = self::spec(&[2]);
    assert!(Arc::new(Upstream::prepare(&elsewhere, Some(&upstream)).unwrap()).choose(None, Asks::Answer).is_ok());
    elsewhere.name = "other".into();
    assert_eq!(Upstream::prepare(&elsewhere, Some(&upstream)).unwrap().stats().failures[0].1, 0);
}

#[test]
fn strangers_do_not_open_the_breaker() {
    let upstream = upstream(&spec(&[1]));
    let half = Progress { request_done: false, reused: false };
    for round in 0..100 {
        let (_, mut attempt) = upstream.choose(None, Asks::Answer).unwrap();
        match round % 4 {
            // Gone before anything came.
            0 => {}
            // Uploads that are never finished.
            1 => attempt.broke_off(&Error::explain(ErrorType::ReadTimedout, "").into_up(), half),
            2 => attempt.broke_off(&Error::explain(ErrorType::WriteError, "").into_up(), half),
            _ => attempt.broke_off(&Error::explain(ErrorType::ConnectionClosed, "").into_down(), half),
        }
    }
    assert!(!upstream.stats().breaker_open);
    assert_eq!(upstream.stats().out, 0);
}

#[test]
fn pools_are_parted_by_what_a_connection_was_made_with() {
    let group = |spec: &Spec| upstream(spec).choose(None, Asks::Answer).unwrap().0.group_key;
    let plain = spec(&[1]);
    let mut h2c = plain.clone();
    h2c.protocol = Protocol::H2c;
    let mut other = plain.clone();
    other.name = "other".into();
    assert_eq!(group(&plain), group(&plain.clone()));
    assert_ne!(group(&plain), group(&h2c));
    assert_ne!(group(&plain), group(&other));
}
