//! Answers that take their time: event streams rest, APIs that hang are ended, and a cut answer never looks whole.

use std::time::Duration;

use super::bed::{Bed, until};
use super::issuer::token;
use super::origin::Answer;

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn after(milliseconds: u64, text: &str) -> (Duration, Vec<u8>) {
    (Duration::from_millis(milliseconds), text.as_bytes().to_vec())
}

#[test]
fn an_event_stream_may_rest_longer_than_read_and_ends_by_stream_idle() {
    let bed = Bed::new().upstream_option("timeouts: { read: 300ms, stream_idle: 2s }").start();
    let pieces = vec![after(0, EVENTS), after(900, "data: 1\n\n"), after(900, "data: 2\n\n")];
    bed.origin().answers(move |_| Answer::Pieces(pieces.clone()));
    let mut wire = bed.connect();
    assert!(wire.write(&bed.get("/me/events").bearer(&token("user_ada").sign()).bytes()));
    let head = wire.head().expect("the head comes at once");
    assert!(wire.body(&head, true).is_none(), "the end is a deadline, not an end");
    let line = bed.access_lines(1).remove(0);
    assert_eq!((&line["ended"], &line["code"]), (&"stream_idle".into(), &"upstream_timeout".into()), "{line}");
    assert!(line["bytes_out"].as_u64().unwrap() >= 18, "{line}");
}

#[test]
fn a_silent_api_is_504_and_nothing_is_sent_twice() {
    let bed = Bed::new().upstream_option("timeouts: { read: 300ms }").start();
    let ada = token("user_ada").sign();
    bed.origin().answers(|request| match request.target().as_str() {
        "/me/warm" => Answer::text(200, "ok"),
        _ => Answer::Hang,
    });
    // Also on a pooled connection, where an ordinary failure would be tried again.
    for _ in 0..2 {
        assert_eq!(bed.get("/me/warm").bearer(&ada).send().status, 200);
        let before = bed.origin().count();
        let answer = bed.get("/me/hang").bearer(&ada).send();
        assert_eq!(answer.outcome(), "504 upstream_timeout");
        assert_eq!(bed.origin().count(), before + 1);
        let answer = bed.post("/me/hang").bearer(&ada).body(b"{}").send();
        assert_eq!(answer.outcome(), "504 upstream_timeout");
        assert_eq!(bed.origin().count(), before + 2);
    }
    let lines = bed.access_lines(6);
    assert_eq!(lines.iter().filter(|line| line["ended"] == "read").count(), 4, "{lines:?}");
}

#[test]
fn read_counts_from_the_end_of_the_upload() {
    let bed = Bed::new().upstream_option("timeouts: { read: 500ms }").start();
    let mut wire = bed.connect();
    let head = bed.post("/me/upload").bearer(&token("user_ada").sign()).header("content-length", "5").bytes();
    assert!(wire.write(&head));
    for byte in b"hello" {
        std::thread::sleep(Duration::from_millis(300));
        assert!(wire.write(&[*byte]));
    }
    assert_eq!(wire.response("POST").map(|answer| answer.status), Some(200));
}

#[test]
fn a_cut_answer_never_looks_whole() {
    let bed = Bed::new().upstream_option("timeouts: { read: 300ms }").start();
    let ada = token("user_ada").sign();
    let heads = [
        "HTTP/1.1 200 OK\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for head in heads {
        bed.origin().answers(move |_| Answer::Pieces(vec![after(0, head)]));
        let mut wire = bed.connect();
        assert!(wire.write(&bed.get("/me/x").bearer(&ada).bytes()));
        // A head that was still waiting for its body is not sent at all.
        let Some(got) = wire.head() else { continue };
        assert!(wire.body(&got, false).is_none(), "{head:?}");
    }
}

#[test]
fn every_answer_has_the_request_id_of_the_log() {
    let policy = "routes: [{ id: all, match: { path: \"/me/{*rest}\" } }]";
    let bed =
        Bed::new().policy(policy).section("cors: { origins: [\"https://a.example\"], preflight: answer }").start();
    bed.origin().answers(|_| Answer::text(200, "ok").with("X-Request-Id", "the-api-says"));
    let ada = token("user_ada").sign();
    let preflight = bed
        .call("OPTIONS", "/me/x")
        .header("Origin", "https://a.example")
        .header("Access-Control-Request-Method", "GET");
    let calls = [
        bed.get("/me/x").bearer(&ada),
        bed.get("/me/x"),
        bed.get("/nowhere"),
        bed.get("/me/../x"),
        bed.call("OPTIONS", "*"),
        preflight,
    ];
    for (index, call) in calls.iter().enumerate() {
        let answer = call.send();
        let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-request-id").collect();
        assert_eq!(ids.len(), 1, "{index}: {:?}", answer.headers);
        let line = bed.access_lines(index + 1).remove(index);
        assert_eq!(line["request_id"], ids[0].1.as_str(), "{index}");
    }
}

#[test]
fn private_answers_stay_out_of_shared_caches() {
    let policy = r#"
routes:
  - id: private
    match: { path: "/private/{*rest}" }
    response: { private: true }
  - id: open
    match: { path: "/open/{*rest}" }
    access: public
    response: { private: true }
  - id: other
    match: { path: "/other/{*rest}" }
"#;
    let bed = Bed::new().policy(policy).start();
    bed.origin().answers(|_| {
        Answer::text(200, "ok").with("Cache-Control", "public, s-maxage=60, max-age=5").with("Vary", "Accept")
    });
    let ada = token("user_ada").sign();
    let both = |target: &str, signed_in: bool| {
        let call = bed.get(target);
        let answer = if signed_in { call.bearer(&ada) } else { call }.send();
        (answer.header("cache-control").unwrap().to_owned(), answer.header("vary").unwrap().to_owned())
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(both("/private/x", true), pair("private, max-age=5", "Accept, Authorization, Cookie"));
    assert_eq!(both("/open/x", true), pair("private, max-age=5", "Accept, Authorization, Cookie"));
    assert_eq!(both("/open/x", false), pair("public, s-maxage=60, max-age=5", "Accept, Authorization, Cookie"));
    assert_eq!(both("/other/x", true), pair("public, s-maxage=60, max-age=5", "Accept"));
    // CDNs go by these instead.
    bed.origin().answers(|_| {
        let answer =
            Answer::text(200, "ok").with("CDN-Cache-Control", "max-age=60").with("Surrogate-Control", "max-age=60");
        answer.with("Vercel-CDN-Cache-Control", "max-age=60").with("X-Other", "1")
    });
    let targeted = |target: &str, signed_in: bool| {
        let call = bed.get(target);
        let answer = if signed_in { call.bearer(&ada) } else { call }.send();
        assert_eq!(answer.header("x-other"), Some("1"));
        let names = ["cdn-cache-control", "surrogate-control", "vercel-cdn-cache-control"];
        names.iter().filter(|name| answer.header(name).is_some()).count()
    };
    for (target, signed_in, expected) in
        [("/private/x", true, 0), ("/open/x", true, 0), ("/open/x", false, 3), ("/other/x", true, 3)]
    {
        assert_eq!(targeted(target, signed_in), expected, "{target}");
    }
}

#[test]
fn a_connection_is_given_back_after_its_deadline_was_set() {
    let bed = Bed::new().upstream_option("timeouts: { read: 300ms, idle: 10s }").start();
    let ada = token("user_ada").sign();
    assert_eq!(bed.get("/me/x").bearer(&ada).send().status, 200);
    let connections = bed.origin().connections();
    // Longer than `read`: the pooled connection is not the ended request's any more.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(bed.get("/me/x").bearer(&ada).send().status, 200);
    assert_eq!(bed.origin().connections(), connections);
}

#[test]
fn grpc_clients_are_refused_in_their_own_form() {
    let bed = Bed::new().start();
    let call = |kind: &str| bed.post("/me/pkg.Service/Method").header("content-type", kind).body([0, 0, 0, 0, 0]);
    let refused = call("application/grpc+proto").send();
    assert_eq!((refused.status, refused.body.len()), (200, 0));
    assert_eq!(refused.header("content-type"), Some("application/grpc"));
    assert_eq!(refused.header("grpc-status"), Some("16"));
    assert_eq!(refused.header("grpc-message"), Some("no_credential"));
    assert!(refused.header("x-request-id").is_some());
    assert_eq!(call("application/grpc-web").send().outcome(), "401 no_credential", "reads HTTP");
    bed.origin().answers(|_| Answer::Close);
    let failed = call("application/grpc").bearer(&token("user_ada").sign()).send();
    assert_eq!(failed.header("grpc-status"), Some("14"));
    let lines = bed.access_lines(3);
    assert!(lines.iter().any(|line| line["status"] == 200 && line["code"] == "no_credential"), "{lines:?}");
}

#[test]
fn a_body_that_stops_or_drips_is_408() {
    let bed = Bed::new().section("limits: { body_read: 3s, body_min_rate: 1KiB }").start();
    let ada = token("user_ada").sign();
    let head = || bed.post("/me/upload").bearer(&ada).header("content-length", "100000").bytes();
    let mut silent = bed.connect();
    assert!(silent.write(&head()));
    assert_eq!(silent.response("POST").map(|answer| answer.outcome()).as_deref(), Some("408 request_timeout"));
    let (mut dripping, mut quick) = (bed.connect(), bed.connect());
    assert!(dripping.write(&head()) && quick.write(&head()));
    // Each piece well within `body_read`; all together far below the rate.
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                std::thread::sleep(Duration::from_millis(700));
                assert!(quick.write(&[b'x'; 10_000]));
            }
        });
        until("the end of the drip", || {
            std::thread::sleep(Duration::from_millis(200));
            (!dripping.write(b"x")).then_some(())
        });
        dripping.response("POST")
    });
    // A reset may overtake the answer; the log knows.
    assert!(answer.is_none_or(|answer| answer.outcome() == "408 request_timeout"));
    assert_eq!(quick.response("POST").map(|answer| answer.status), Some(200), "good clients beside them");
    let lines = bed.access_lines(3);
    let ended: Vec<_> = lines.iter().map(|line| line["ended"].as_str().unwrap_or("-")).collect();
    assert_eq!(ended.iter().filter(|ended| **ended == "body_read").count(), 1, "{lines:?}");
    assert_eq!(ended.iter().filter(|ended| **ended == "body_min_rate").count(), 1, "{lines:?}");
}

#[test]
fn a_slow_api_is_not_held_against_its_client() {
    let bed = Bed::new().section("limits: { body_read: 500ms, body_min_rate: 100KiB }").start();
    bed.origin().answers(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::text(200, "done"))));
    let answer = bed.post("/me/upload").bearer(&token("user_ada").sign()).body(b"short").send();
    assert_eq!(answer.status, 200);
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header field with a name of the static table, unindexed (RFC 7541 6.2.2).
pub(crate) fn field(name: u8, value: &str) -> Vec<u8> {
    let name = if name < 15 { vec![name] } else { vec![15, name - 15] };
    let length = match value.len() {
        short @ 0..127 => vec![short as u8],
        long => vec![127, ((long - 127) % 128) as u8 | 128, ((long - 127) / 128) as u8],
    };
    [name, length, value.as_bytes().to_vec()].concat()
}

/// Frames by hand: no HTTP/2 client would stop in the middle of its body.
#[test]
fn a_body_that_stops_over_http2_is_408() {
    let bed = Bed::new()
        .section("listeners: [{ address: \"{gate}\", h2c: true }]")
        .section("limits: { body_read: 500ms }")
        .start();
    let bearer = format!("Bearer {}", token("user_ada").sign());
    let head = [vec![0x83, 0x86], field(4, "/me/upload"), field(1, "api.test"), field(23, &bearer)].concat();
    let mut wire = bed.connect();
    assert!(wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert!(wire.write(&frame(4, 0, 0, b"")));
    assert!(wire.write(&frame(1, 4, 1, &head)));
    assert!(wire.write(&frame(0, 0, 1, b"x")));
    let line = bed.access_lines(1).remove(0);
    assert_eq!((&line["status"], &line["code"]), (&408.into(), &"request_timeout".into()), "{line}");
    assert_eq!(line["ended"], "body_read", "{line}");
}

#[test]
fn what_a_client_does_to_its_body_is_no_fault_of_the_server() {
    let bed = Bed::new().section("listeners: [{ address: \"{gate}\", h2c: true }]").start();
    let head = [vec![0x83, 0x86], field(4, "/public/x"), field(1, "api.test"), field(28, "0")].concat();
    let lies = frame(0, 1, 1, b"x");
    let leaves = frame(3, 0, 1, &[0, 0, 0, 8]);
    for (name, next) in [("DATA behind `content-length: 0`", lies), ("a reset", leaves)] {
        let mut wire = bed.connect();
        assert!(wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(wire.write(&frame(4, 0, 0, b"")));
        assert!(wire.write(&frame(1, 4, 1, &head)));
        until("the request is there", || (bed.metric("crossgate_requests_in_flight") == 1.0).then_some(()));
        assert!(wire.write(&next), "{name}");
        until("it has ended", || (bed.metric("crossgate_requests_in_flight") == 0.0).then_some(()));
    }
    for line in bed.access_lines(2) {
        assert_ne!(line["code"], "internal", "{line}");
        assert_ne!(line["request_id"], "", "{line}");
    }
    assert!(!bed.ask_admin("/metrics").text().contains("fault=\"server\""), "no client can cause it");
    assert_eq!(bed.origin().count(), 0);
}
