//! WebSockets: which handshakes open a tunnel, for whom, and how tunnels end.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use serde_json::json;

use super::bed::{Bed, Running, until};
use super::issuer::{now, token};
use super::origin::{Answer, Recorded, accepting, switching};
use super::upstreams::{authority, server_config, signed};
use super::wire::{Call, Wire};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) fn handshake(bed: &Running, target: &str) -> Call {
    bed.get(target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

pub(crate) fn opened(bed: &Running, call: &Call) -> Wire {
    let mut wire = bed.connect();
    let answer = wire.exchange(call);
    assert_eq!(answer.status, 101, "{}", answer.text());
    wire
}

/// A masked frame, as clients send them.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

#[test]
fn a_tunnel_carries_every_byte_both_ways_and_is_told_whole() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| Answer::Tunnel);
    let mut wire = opened(&bed, &handshake(&bed, "/me/socket").bearer(&token("user_ada").sign()));
    let reached = bed.origin().last();
    assert_eq!(reached.values("upgrade"), ["websocket"]);
    assert_eq!(reached.values("x-crossgate-subject"), ["user_ada"], "the API knows who opened it");
    assert!(reached.values("authorization").is_empty());
    let payload: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let message = frame(2, &payload);
    assert!(wire.write(&frame(1, b"hello")));
    assert_eq!(wire.exactly(frame(1, b"hello").len()).unwrap(), frame(1, b"hello"));
    // Both ways at once: neither end may have to wait for the other.
    for part in message.chunks(100_000) {
        assert!(wire.write(part));
        assert_eq!(wire.exactly(part.len()).as_deref(), Some(part));
    }
    wire.close_write();
    wire.rest();
    let line = bed.access_lines(1).remove(0);
    assert_eq!(line["status"], 101, "{line}");
    assert_eq!(line["code"], "ok", "{line}");
    let through = u64::try_from(message.len() + frame(1, b"hello").len()).unwrap();
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(through), Some(through)), "{line}");
}

#[test]
fn tunnels_end_at_their_deadlines_and_say_which() {
    let policy = r#"
routes:
  - id: socket
    match: { path: "/me/{*rest}" }
  - id: short
    match: { path: "/short/{*rest}" }
    websocket: { until: token_exp }
"#;
    let start = |upstream: &str, limits: &str| {
        let bed = Bed::new().policy(policy).upstream_option(upstream).section(limits).start();
        bed.origin().answers(|_| Answer::Tunnel);
        bed
    };
    let ended = |bed: &Running, wire: &mut Wire| {
        wire.rest();
        {
            let line = bed.access_lines(1).pop().unwrap();
            line["ended"].as_str().map_or_else(|| line.to_string(), str::to_owned)
        }
    };

    let bed = start("timeouts: { read: 200ms, stream_idle: 3s }", "limits: { body_read: 200ms }");
    let ada = token("user_ada").sign();
    let mut wire = opened(&bed, &handshake(&bed, "/me/socket").bearer(&ada));
    // Longer than `read` and `body_read` together, each rest shorter than `stream_idle`.
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        assert!(wire.write(b"still here"));
        assert_eq!(wire.exactly(10).unwrap(), b"still here");
    }
    assert_eq!(ended(&bed, &mut wire), "stream_idle");

    let bed = start("timeouts: { read: 60s }", "limits: { websocket_lifetime: 1s }");
    let mut wire = opened(&bed, &handshake(&bed, "/me/socket").bearer(&ada));
    while wire.write(b"x") && wire.some().is_some() {}
    assert_eq!(ended(&bed, &mut wire), "websocket_lifetime");

    let short = token("user_ada").claim("exp", json!(now() + 2)).sign();
    let bed = start("timeouts: { read: 60s }", "limits: { websocket_lifetime: 1h }");
    let mut wire = opened(&bed, &handshake(&bed, "/short/socket").bearer(&short));
    while wire.write(b"x") && wire.some().is_some() {}
    assert_eq!(ended(&bed, &mut wire), "token_exp");
}

/// Pingora took the end of the handshake for the end of the tunnel when the API's 101 was there first.
#[test]
fn a_tunnel_outlives_an_answer_that_comes_too_early() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut wire = Wire::tcp(socket);
                wire.write(&switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                wire.head();
                while let Some(bytes) = wire.some() {
                    wire.write(&bytes);
                }
            });
        }
    });
    let bed = Bed::new().section(&format!("upstreams: {{ app: {{ endpoints: [\"{address}\"] }} }}")).start();
    let call = handshake(&bed, "/me/x").bearer(&token("user_ada").sign());
    for round in 0..20 {
        let mut wire = opened(&bed, &call);
        assert!(wire.write(b"hello"));
        assert_eq!(wire.exactly(5).as_deref(), Some(&b"hello"[..]), "round {round}");
    }
}

#[test]
fn a_tunnel_to_an_api_over_tls() {
    let authority = authority();
    let config = Arc::new(server_config(&signed(&authority, "api.test", false), None));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
            std::thread::spawn(move || {
                let (mut head, mut one) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut one).is_ok_and(|read| read > 0) {
                    head.push(one[0]);
                }
                let _ = stream.write_all(&accepting(&Recorded { head, body: Vec::new() }));
                let mut chunk = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut chunk) {
                    let _ = stream.write_all(&chunk[..read]).and_then(|()| stream.flush());
                }
            });
        }
    });
    let bed = Bed::new().section(&format!(
        "upstreams: {{ app: {{ endpoints: [\"{address}\"], tls: {{ sni: api.test, ca: ca.pem }} }} }}"
    ));
    std::fs::write(bed.folder().join("ca.pem"), authority.pem()).unwrap();
    let bed = bed.start();
    let mut wire = opened(&bed, &handshake(&bed, "/me/x").bearer(&token("user_ada").sign()));
    for _ in 0..3 {
        assert!(wire.write(b"hello"));
        assert_eq!(wire.exactly(5).as_deref(), Some(&b"hello"[..]));
    }
}

#[test]
fn half_a_handshake_is_none() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| Answer::Tunnel);
    let ada = token("user_ada").sign();
    let call = |method: &str, without: &str, with: &[(&str, &str)]| {
        let lines = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let kept = lines.iter().filter(|(name, _)| *name != without).chain(with);
        kept.fold(bed.call(method, "/me/x").bearer(&ada), |call, (name, value)| call.header(name, value))
    };
    let table = [
        ("a POST", call("POST", "", &[])),
        ("without Connection", call("GET", "Connection", &[])),
        ("without version", call("GET", "Sec-WebSocket-Version", &[])),
        ("another version", call("GET", "Sec-WebSocket-Version", &[("Sec-WebSocket-Version", "8")])),
        ("without key", call("GET", "Sec-WebSocket-Key", &[])),
        ("a short key", call("GET", "Sec-WebSocket-Key", &[("Sec-WebSocket-Key", "dGhl")])),
        ("two keys", call("GET", "", &[("Sec-WebSocket-Key", KEY)])),
        ("a length", call("GET", "", &[("Content-Length", "0")])),
        ("two upgrades", call("GET", "Upgrade", &[("Upgrade", "h2c, websocket")])),
    ];
    for (name, call) in table {
        assert_eq!(call.send().outcome(), "400 bad_request", "{name}");
    }
    let nominated = call("GET", "Connection", &[("Connection", "Upgrade, Sec-WebSocket-Key")]).send();
    assert_eq!(nominated.outcome(), "400 bad_header");
    assert_eq!(bed.origin().count(), 0, "none of them reached the API");
    assert_eq!(handshake(&bed, "/me/x").send().outcome(), "401 no_credential", "a handshake is judged as a GET");
    assert_eq!(bed.origin().count(), 0);
}

#[test]
fn only_an_answer_to_this_handshake_opens_a_tunnel() {
    let bed = Bed::new().start();
    let ada = token("user_ada").sign();
    let smuggled = b"GET /me/hidden HTTP/1.1\r\nHost: api\r\n\r\n";
    let raw = |text: &str| Answer::Raw(text.as_bytes().to_vec());
    let good = String::from_utf8(switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")).unwrap();
    let table = [
        ("another key's", Answer::Raw(switching("AAAALMBiTxaQ9kYGzzhZRbK+xOo="))),
        ("no accept", raw(&good.replace("Sec-WebSocket-Accept", "X"))),
        ("another protocol", raw(&good.replace("Upgrade: websocket", "Upgrade: h2c"))),
        ("no connection", raw(&good.replace("Connection: Upgrade", "Connection: keep-alive"))),
        ("HTTP/1.0", raw(&good.replace("HTTP/1.1", "HTTP/1.0"))),
    ];
    for (name, answer) in table {
        bed.origin().answers(move |_| answer.clone());
        let reply = handshake(&bed, "/me/x").bearer(&ada).send();
        assert_eq!(reply.outcome(), "502 upstream_unavailable", "{name}");
    }
    bed.origin().answers(|_| Answer::Raw(switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_eq!(bed.get("/me/x").bearer(&ada).send().outcome(), "502 upstream_unavailable", "nobody asked");

    // An API that declines: what stands behind the handshake is no request, whatever it looks like.
    for status in [200, 403, 426] {
        let before = bed.origin().count();
        bed.origin().answers(move |_| Answer::text(status, "no"));
        let mut wire = bed.connect();
        let mut bytes = handshake(&bed, "/me/x").bearer(&ada).bytes();
        bytes.extend_from_slice(smuggled);
        assert!(wire.write(&bytes));
        let told = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(told.is_empty() || told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        assert!(bed.origin().count() <= before + 1, "{status}: only the handshake may have reached the API");
        assert!(bed.origin().all().iter().all(|request| request.target() != "/me/hidden"));
    }
}

#[test]
fn bytes_of_a_tunnel_are_never_requests() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| Answer::Tunnel);
    let ada = token("user_ada").sign();
    let mut wire = opened(&bed, &handshake(&bed, "/me/x").bearer(&ada));
    let request = b"GET /me/hidden HTTP/1.1\r\nHost: api\r\n\r\n\x00\xff\n\n";
    assert!(wire.write(request));
    assert_eq!(wire.exactly(request.len()).as_deref(), Some(&request[..]), "passed as it is");
    assert_eq!(bed.origin().count(), 1);
}

#[test]
fn a_page_of_another_site_opens_none_with_a_cookie() {
    let policy = r#"
routes:
  - id: socket
    match: { path: "/me/{*rest}" }
  - id: listed
    match: { path: "/listed/{*rest}" }
    websocket: { origins: ["https://listed.example"] }
"#;
    let bed = Bed::new().policy(policy).clerk_option("authorized_parties: [\"https://app.example.com\"]").start();
    bed.origin().answers(|_| Answer::Tunnel);
    let ada = token("user_ada").claim("azp", json!("https://app.example.com")).sign();
    let uat = now() - 1000;
    let cookie = format!("__session={ada}; __client_uat={uat}");
    let own = format!("http://{}", bed.gate);
    let status = |target: &str, by_cookie: bool, origin: Option<&str>| {
        let call = handshake(&bed, target);
        let call = if by_cookie { call.cookie(&cookie) } else { call.bearer(&ada) };
        let call = origin.map_or(call.clone(), |origin| call.header("Origin", origin));
        let mut wire = bed.connect();
        wire.exchange(&call).outcome()
    };
    let table = [
        ("/me/x", true, Some("https://app.example.com"), true),
        ("/me/x", true, Some(own.as_str()), true),
        ("/me/x", true, Some("https://evil.example"), false),
        ("/me/x", true, Some("null"), false),
        ("/me/x", true, None, false),
        ("/me/x", false, None, true),
        ("/me/x", false, Some("https://evil.example"), true),
        ("/listed/x", true, Some("https://listed.example"), true),
        ("/listed/x", true, Some("https://app.example.com"), true),
        ("/listed/x", true, Some("https://evil.example"), false),
        ("/listed/x", false, Some("https://evil.example"), false),
        ("/listed/x", false, Some("https://listed.example"), true),
        ("/listed/x", false, None, true),
    ];
    for (target, by_cookie, origin, opens) in table {
        let expected = if opens { "101 ok" } else { "403 csrf" };
        assert_eq!(status(target, by_cookie, origin), expected, "{target} {by_cookie} {origin:?}");
    }
}

#[test]
fn draining_waits_for_tunnels_no_longer_than_its_limit() {
    let bed = Bed::new().section("server: { threads: 2, drain: { delay: 0s, limit: 1s } }").start();
    bed.origin().answers(|_| Answer::Tunnel);
    let mut wire = opened(&bed, &handshake(&bed, "/me/x").bearer(&token("user_ada").sign()));
    bed.process.signal("TERM");
    until("draining", || bed.process.stderr.text().contains("draining").then_some(()));
    assert!(wire.write(b"x"), "still open");
    assert_eq!(wire.exactly(1).as_deref(), Some(&b"x"[..]));
    assert!(bed.stop().status.success());
}
