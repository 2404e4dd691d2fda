//! What the trail says became of a privileged action, in a word, over everything that carries one: HTTP/1, HTTP/2 and
//! tunnels.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::audit::{attempt_on, bed, outcome};
use super::bed::{Bed, Running, until};
use super::issuer::token;
use super::origin::Answer;
use super::streams::{field, frame};
use super::websocket::{handshake, opened};
use super::wire::{Address, Call, Wire};

/// Serves both; `limits.body` and the APIs that hang are met in a moment.
fn mixed() -> Bed {
    bed().section("listeners: [{ address: \"{gate}\", h2c: true }]").section("limits: { body: 1KiB, body_read: 1s }")
}

/// What became of the action at this path: reason and code.
fn told(bed: &Running, path: &str) -> String {
    let outcome = outcome(bed, &attempt_on(bed, path));
    format!("{} {}", outcome["reason"].as_str().unwrap(), outcome["code"].as_str().unwrap_or("-"))
}

fn reached(bed: &Running, path: &str) {
    until("the API to have it", || bed.origin().all().iter().any(|hit| hit.target() == path).then_some(()));
}

/// A connection that ends with a reset.
fn broken(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

fn ada() -> String {
    token("user_ada").sign()
}

/// Whatever the path asks for.
fn script(bed: &Running) {
    bed.origin().answers(|request| match request.target().rsplit('/').next().unwrap_or_default() {
        "hang" => Answer::Hang,
        "half" => {
            let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
            Answer::Pieces(vec![(Duration::ZERO, begun)])
        }
        "close" => Answer::Close,
        "cut" => Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec()),
        _ => Answer::text(200, "done"),
    });
}

#[test]
fn over_http1_only_the_api_resets() {
    let bed = mixed().start();
    script(&bed);
    let call = |path: &str| bed.post(path).bearer(&ada());
    let send = |call: &Call| {
        let mut wire = bed.connect();
        assert!(wire.write(&call.bytes()));
        wire
    };

    send(&call("/approve/fine").body("{}")).response("POST").unwrap();
    send(&call("/approve/close").body("{}")).rest();
    send(&call("/approve/cut").body("{}")).rest();

    let wire = send(&call("/approve/1/hang").body("{}"));
    reached(&bed, "/approve/1/hang");
    drop(wire);

    let mut wire = send(&call("/approve/1/half").body("{}"));
    wire.head().unwrap();
    drop(wire);

    let length = call("/approve/unfinished").header("Content-Length", "100");
    let mut wire = send(&length);
    wire.write(b"x");
    attempt_on(&bed, "/approve/unfinished");
    drop(wire);

    send(&call("/approve/large").chunked(&[b'x'; 2048])).rest();
    send(&call("/approve/slow").header("Content-Length", "100")).rest();
    let mut wire = send(&call("/approve/garbled").header("Transfer-Encoding", "chunked"));
    attempt_on(&bed, "/approve/garbled");
    wire.write(b"no chunk\r\n");
    wire.rest();

    for (path, expected) in [
        ("/approve/fine", "ok ok"),
        ("/approve/close", "reset upstream_unavailable"),
        ("/approve/cut", "reset upstream_unavailable"),
        ("/approve/1/hang", "client_gone ok"),
        ("/approve/1/half", "client_gone ok"),
        ("/approve/unfinished", "client_gone ok"),
        ("/approve/large", "cut_off too_large"),
        ("/approve/slow", "timeout request_timeout"),
        ("/approve/garbled", "cut_off bad_request"),
    ] {
        assert_eq!(told(&bed, path), expected, "{path}");
    }
}

/// A connection of HTTP/2, frame by frame.
fn http2(bed: &Running) -> Wire {
    let mut wire = bed.connect();
    assert!(wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert!(wire.write(&frame(4, 0, 0, b"")));
    wire
}

/// The head of a POST; `ends`: without a body.
fn post(path: &str, ends: bool) -> Vec<u8> {
    let bearer = format!("Bearer {}", ada());
    let fields = [vec![0x83, 0x86], field(4, path), field(1, "api.test"), field(23, &bearer)].concat();
    frame(1, 4 | u8::from(ends), 1, &fields)
}

const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[test]
fn over_http2_a_stream_that_its_client_cancels_is_no_reset() {
    let bed = mixed().start();
    script(&bed);
    let send = |path: &str, ends: bool| {
        let mut wire = http2(&bed);
        assert!(wire.write(&post(path, ends)));
        wire
    };
    let cancel = |mut wire: Wire| assert!(wire.write(&frame(3, 0, 1, &CANCEL)));
    let mut kept = Vec::new();

    for path in ["/approve/fine", "/approve/close", "/approve/cut"] {
        kept.push(send(path, true));
    }
    let wire = send("/approve/cancelled/hang", true);
    reached(&bed, "/approve/cancelled/hang");
    cancel(wire);

    let mut wire = send("/approve/cancelled/half", true);
    let mut seen = Vec::new();
    while !seen.windows(3).any(|bytes| bytes == b"abc") {
        seen.extend(wire.some().expect("part of the answer"));
    }
    cancel(wire);

    let mut wire = send("/approve/cancelled/body", false);
    wire.write(&frame(0, 0, 1, b"x"));
    attempt_on(&bed, "/approve/cancelled/body");
    cancel(wire);

    let wire = send("/approve/left/hang", true);
    reached(&bed, "/approve/left/hang");
    drop(wire);

    let mut wire = send("/approve/large", false);
    wire.write(&frame(0, 0, 1, &[b'x'; 2048]));
    kept.push(wire);
    let mut wire = send("/approve/slow", false);
    wire.write(&frame(0, 0, 1, b"x"));
    kept.push(wire);

    for (path, expected) in [
        ("/approve/fine", "ok ok"),
        ("/approve/close", "reset upstream_unavailable"),
        ("/approve/cut", "reset upstream_unavailable"),
        ("/approve/cancelled/hang", "client_gone ok"),
        ("/approve/cancelled/half", "client_gone ok"),
        ("/approve/cancelled/body", "client_gone ok"),
        ("/approve/left/hang", "client_gone ok"),
        ("/approve/large", "cut_off too_large"),
        ("/approve/slow", "timeout request_timeout"),
    ] {
        assert_eq!(told(&bed, path), expected, "{path}");
    }
    assert!(!bed.ask_admin("/metrics").text().contains("fault=\"server\""), "no client can cause it");
}

#[test]
fn an_api_that_hangs_or_is_not_there_is_told_over_http2_too() {
    let bed = mixed().upstream_option("timeouts: { read: 300ms }").start();
    script(&bed);
    let mut wire = http2(&bed);
    assert!(wire.write(&post("/approve/hang", true)));
    assert_eq!(told(&bed, "/approve/hang"), "timeout upstream_timeout");

    let nowhere = "upstreams: { app: { endpoints: [\"127.0.0.1:1\"], timeouts: { connect: 200ms } } }";
    let bed = mixed().section(nowhere).start();
    let mut wire = http2(&bed);
    assert!(wire.write(&post("/approve/nowhere", true)));
    assert_eq!(told(&bed, "/approve/nowhere"), "not_sent upstream_unavailable");
    let call = handshake(&bed, "/approve/tunnel").bearer(&ada());
    assert_eq!(call.send().status, 502);
    assert_eq!(told(&bed, "/approve/tunnel"), "not_sent upstream_unavailable");
}

#[test]
fn a_tunnel_that_is_closed_is_ok_and_one_that_breaks_says_by_whom() {
    let bed = mixed().start();
    bed.origin().answers(|_| Answer::Tunnel);
    let mut wire = opened(&bed, &handshake(&bed, "/approve/closed").bearer(&ada()));
    wire.close_write();
    wire.rest();
    assert_eq!(told(&bed, "/approve/closed"), "ok ok");

    let Address::Tcp(gate) = bed.gate else { panic!("not on TCP") };
    let mut socket = TcpStream::connect(gate).unwrap();
    socket.write_all(&handshake(&bed, "/approve/broken").bearer(&ada()).bytes()).unwrap();
    let (mut head, mut one) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut one).unwrap();
        head.push(one[0]);
    }
    broken(&socket);
    drop(socket);
    assert_eq!(told(&bed, "/approve/broken"), "client_gone ok");

    let mut wire = bed.connect();
    bed.origin().answers(|_| Answer::text(403, "no tunnel"));
    assert_eq!(wire.exchange(&handshake(&bed, "/approve/declined").bearer(&ada())).status, 403);
    assert_eq!(told(&bed, "/approve/declined"), "ok ok");
}

#[test]
fn a_tunnel_that_the_api_ends_or_breaks() {
    for (breaks, expected) in [(false, "ok ok"), (true, "reset upstream_unavailable")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            if breaks {
                broken(&socket);
            }
            let mut wire = Wire::tcp(socket);
            wire.head();
            wire.write(&super::origin::switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            // The client has its tunnel.
            wire.exactly(1);
        });
        let bed = mixed().section(&format!("upstreams: {{ app: {{ endpoints: [\"{address}\"] }} }}")).start();
        let mut wire = opened(&bed, &handshake(&bed, "/approve/x").bearer(&ada()));
        assert!(wire.write(b"x"));
        wire.rest();
        api.join().unwrap();
        assert_eq!(told(&bed, "/approve/x"), expected);
    }
}

#[test]
fn a_tunnel_ends_at_its_deadline_as_it_should() {
    for (limits, upstream) in [
        ("limits: { websocket_lifetime: 1s }", "timeouts: { read: 60s }"),
        ("limits: { websocket_lifetime: 1h }", "timeouts: { stream_idle: 500ms }"),
    ] {
        let bed = bed().section(limits).upstream_option(upstream).start();
        bed.origin().answers(|_| Answer::Tunnel);
        opened(&bed, &handshake(&bed, "/approve/x").bearer(&ada())).rest();
        assert_eq!(told(&bed, "/approve/x"), "ok ok", "{limits} {upstream}");
    }
}
