//! An API that misbehaves: each fault has its bounded answer, and the next request is served as if nothing had been.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bed::{Bed, Running, reserve, until};
use super::origin::{Answer, Origin};
use super::wire::{Wire, headers};

const OPEN: &str = "routes: [{ id: all, match: { path: \"/{*rest}\" }, access: public }]";
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";

/// An API that answers each request by hand; a connection ends when `answer` says so.
struct Api {
    address: SocketAddr,
    /// Targets as they arrived.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// `answer` gets the socket, the target, and how many requests the connection has had; whether it goes on.
    fn start(answer: impl Fn(&mut TcpStream, &str, usize) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, answer): (Arc<Mutex<Vec<String>>>, _) = (Arc::default(), Arc::new(answer));
        let record = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                std::thread::spawn(move || {
                    socket.set_nodelay(true).unwrap();
                    let mut nth = 0;
                    while let Some(target) = take(&mut socket) {
                        record.lock().unwrap().push(target.clone());
                        if !answer(&mut socket, &target, nth) {
                            return;
                        }
                        nth += 1;
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn count(&self, target: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == target).count()
    }
}

/// Reads one request with its body of a known length; its target.
fn take(socket: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut one) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if socket.read(&mut one).ok()? == 0 {
            return None;
        }
        bytes.push(one[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length =
        headers(&head).iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some(head.split(' ').nth(1)?.to_owned())
}

fn bed(endpoints: &[String], more: &str) -> Bed {
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
    let line = format!("upstreams: {{ app: {{ endpoints: [{}]{more} }} }}", endpoints.join(", "));
    Bed::new().policy(OPEN).section(&line)
}

fn before(api: &Api, more: &str) -> Running {
    bed(&[api.address.to_string()], more).start()
}

/// What a client makes of the answer: status and code, or how far it came.
fn outcome(bed: &Running, method: &str, target: &str) -> String {
    outcome_on(&mut bed.connect(), bed, method, target)
}

fn outcome_on(wire: &mut Wire, bed: &Running, method: &str, target: &str) -> String {
    let call = bed.call(method, target);
    let call = if method == "POST" { call.body("id") } else { call };
    wire.write(&call.bytes());
    match wire.response(method) {
        Some(answer) => answer.outcome(),
        None => "cut off".to_owned(),
    }
}

/// Says this, and the connection ends.
fn last_words(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    let _ = socket.write_all(bytes);
    false
}

fn hang(socket: &mut TcpStream) -> bool {
    // Until crossgate gives up.
    let _ = socket.read(&mut [0]);
    false
}

#[test]
fn every_fault_has_its_answer_and_the_next_request_is_served() {
    let api = Api::start(|socket, target, _| {
        let mut say = |bytes: &[u8]| socket.write_all(bytes).is_ok();
        match target {
            "/close" => false,
            "/garbage" => last_words(socket, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n"),
            "/odd-status" => last_words(socket, b"HTTP/1.1 2000 OK\r\ncontent-length: 4\r\n\r\ngood"),
            "/hang" => hang(socket),
            "/hang-in-head" => say(b"HTTP/1.1 200 OK\r\ncontent-le") && hang(socket),
            // Each byte in time, all of them never.
            "/drip" => GOOD.iter().all(|byte| {
                std::thread::sleep(Duration::from_millis(100));
                socket.write_all(&[*byte]).is_ok()
            }),
            "/hang-after-head" => say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n") && hang(socket),
            "/hang-in-body" => say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngo") && hang(socket),
            "/too-short" => last_words(socket, b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\ngood"),
            "/too-long" => say(
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ),
            "/two-lengths" => {
                last_words(socket, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\ngoodx")
            }
            "/bad-chunk" => last_words(socket, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\ngood\r\n"),
            "/huge-head" => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\ncontent-length: 4\r\n\r\ngood", "a".repeat(300_000));
                say(head.as_bytes())
            }
            "/many-hints" => {
                (0..1000).all(|_| say(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n")) && say(GOOD)
            }
            _ => say(GOOD),
        }
    });
    let bed = before(&api, ", timeouts: { read: 500ms }");
    let cases = [
        ("/close", "502 upstream_unavailable"),
        ("/garbage", "502 upstream_unavailable"),
        ("/odd-status", "502 upstream_unavailable"),
        ("/hang", "504 upstream_timeout"),
        ("/hang-in-head", "504 upstream_timeout"),
        ("/drip", "504 upstream_timeout"),
        ("/hang-after-head", "cut off"),
        ("/hang-in-body", "cut off"),
        ("/too-short", "cut off"),
        ("/too-long", "200 ok"),
        ("/two-lengths", "502 upstream_unavailable"),
        ("/bad-chunk", "cut off"),
        ("/huge-head", "502 upstream_unavailable"),
        ("/many-hints", "502 upstream_unavailable"),
    ];
    for (target, expected) in cases {
        for method in ["GET", "POST"] {
            assert_eq!(outcome(&bed, method, target), expected, "{method} {target}");
            // More good ones than bad ones, or the breaker would have its say.
            for n in 0..2 {
                let answer = bed.get(&format!("/good/{n}")).send();
                assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "after {method} {target}");
            }
        }
        assert_eq!(api.count(target), 2, "{target} is sent once and not again");
    }
    assert_eq!(bed.metric("crossgate_panics_total"), 0.0);
}

/// Closed after every single byte of a short answer.
#[test]
fn an_answer_cut_at_each_byte_is_never_taken_for_a_whole_one() {
    let api = Api::start(|socket, target, _| match target.strip_prefix("/cut/") {
        Some(at) => {
            socket.write_all(&GOOD[..at.parse::<usize>().unwrap()]).unwrap();
            false
        }
        None => socket.write_all(GOOD).is_ok(),
    });
    let bed = before(&api, "");
    let head = GOOD.len() - 4;
    for at in 0..GOOD.len() {
        let expected = if at < head { "502 upstream_unavailable" } else { "cut off" };
        assert_eq!(outcome(&bed, "POST", &format!("/cut/{at}")), expected, "after {at} bytes");
        let mut wire = bed.connect();
        for _ in 0..2 {
            assert_eq!(wire.exchange(&bed.get("/good")).text(), "good", "after {at} bytes");
        }
        assert_eq!(api.count(&format!("/cut/{at}")), 1, "sent once");
    }
}

/// Bytes behind an answer must not be taken for the next one. (What comes only after the next request was sent is in
/// HTTP/1 its answer, whoever looks at it.)
#[test]
fn bytes_behind_an_answer_reach_nobody() {
    let api = Api::start(|socket, target, _| {
        let tag = target.trim_start_matches('/');
        let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{tag}{poison}", tag.len());
        socket.write_all(answer.as_bytes()).is_ok()
    });
    let bed = before(&api, "");
    std::thread::scope(|scope| {
        for person in 0..8 {
            let bed = &bed;
            scope.spawn(move || {
                let mut wire = bed.connect();
                for n in 0..100 {
                    let tag = format!("p{person}n{n}");
                    wire.write(&bed.get(&format!("/{tag}")).bytes());
                    match wire.response("GET") {
                        Some(answer) if answer.status == 200 => assert_eq!(answer.text(), tag),
                        // Refused is not crossed.
                        _ => wire = bed.connect(),
                    }
                }
            });
        }
    });
}

#[test]
fn who_does_not_accept_is_given_up_in_time() {
    // A queue of one that is full: a further handshake gets no answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(socket);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let bed = bed(&[address.to_string()], ", timeouts: { connect: 200ms }").start();
    let started = Instant::now();
    assert_eq!(outcome(&bed, "POST", "/x"), "504 upstream_timeout");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(bed.metric("crossgate_upstream_failures_total{kind=\"connect\",upstream=\"app\"}"), 2.0);
}

/// The API takes a POST, does it, and closes without an answer: on a pooled connection nobody can tell that from a
/// connection that was stale, and a second time would do it twice.
///
/// What follows on one client's connection finds the API's connection back in the pool: the gate reads no further request
/// before. Another client might come sooner and get a fresh one.
#[test]
fn a_post_is_never_sent_twice() {
    let api = Api::start(|socket, target, nth| {
        let first = nth == 0 && !target.contains("fresh");
        first && socket.write_all(GOOD).is_ok()
    });
    let bed = before(&api, "");
    let expected = "502 upstream_unavailable";
    for n in 0..5 {
        assert_eq!(outcome(&bed, "POST", &format!("/fresh/{n}")), expected);
        assert_eq!(api.count(&format!("/fresh/{n}")), 1);

        let mut wire = bed.connect();
        assert_eq!(outcome_on(&mut wire, &bed, "POST", &format!("/warm/{n}")), "200 ok");
        assert_eq!(outcome_on(&mut wire, &bed, "POST", &format!("/pooled/{n}")), expected);
        assert_eq!(api.count(&format!("/pooled/{n}")), 1, "done once");

        let mut wire = bed.connect();
        assert_eq!(outcome_on(&mut wire, &bed, "GET", &format!("/warm/{n}/again")), "200 ok");
        assert_eq!(outcome_on(&mut wire, &bed, "GET", &format!("/get/{n}")), "200 ok", "may be done twice, and is");
        assert_eq!(api.count(&format!("/get/{n}")), 2);
        assert_eq!(outcome_on(&mut wire, &bed, "POST", &format!("/pooled/{n}/again")), expected);
        assert_eq!(api.count(&format!("/pooled/{n}/again")), 1);
    }
}

/// Closes idle connections at the very moment when the next request is on its way.
#[test]
fn posts_around_the_end_of_a_keep_alive_are_never_doubled_and_never_fail_below_it() {
    let start = || {
        Api::start(|socket, _, _| {
            socket.write_all(GOOD).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
            // What comes within 60 ms is the next request.
            socket.peek(&mut [0]).is_ok_and(|some| some > 0)
        })
    };
    let run = |bed: &Running, gaps: &[u64]| {
        let mut outcomes: HashMap<String, String> = HashMap::new();
        for round in 0..8 {
            for gap in gaps {
                let id = format!("/id/{round}/{gap}");
                outcomes.insert(id.clone(), outcome(bed, "POST", &id));
                std::thread::sleep(Duration::from_millis(*gap));
            }
        }
        outcomes
    };
    let gaps: Vec<u64> = (55..65).collect();
    let (api, wary) = (start(), start());
    let hasty = before(&api, ", timeouts: { idle: 4s }");
    for (id, outcome) in run(&hasty, &gaps) {
        let done = api.count(&id);
        assert!(done <= 1, "{id} was done {done} times");
        assert!(outcome != "200 ok" || done == 1, "{id}: {outcome}");
    }
    let careful = before(&wary, ", timeouts: { idle: 20ms }");
    for (id, outcome) in run(&careful, &gaps) {
        assert_eq!((outcome.as_str(), wary.count(&id)), ("200 ok", 1), "{id}");
    }
}

#[test]
fn a_refused_connection_is_tried_at_another_endpoint() {
    let refusing = reserve().local_addr().unwrap();
    let origin = Origin::start();
    let bed = bed(&[refusing.to_string(), origin.address.to_string()], "").start();
    for n in 0..30 {
        assert_eq!(outcome(&bed, "POST", &format!("/{n}")), "200 ok");
    }
    assert_eq!(origin.count(), 30, "each once");
    assert_eq!(
        bed.metric("crossgate_upstream_failures_total{kind=\"connect\",upstream=\"app\"}"),
        5.0,
        "then it is out"
    );
    assert_eq!(bed.metric("crossgate_upstream_endpoints{state=\"ejected\",upstream=\"app\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_upstream_ejections_total{upstream=\"app\"}"), 1.0);
}

#[test]
fn an_api_that_mostly_fails_is_left_alone_and_tried_again() {
    let bed = Bed::new().policy(OPEN).start();
    bed.origin().answers(|_| Answer::Close);
    for _ in 0..20 {
        assert_eq!(outcome(&bed, "GET", "/x"), "502 upstream_unavailable");
    }
    let (reached, answer) = (bed.origin().count(), bed.get("/x").send());
    assert_eq!(answer.outcome(), "503 upstream_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(bed.origin().count(), reached, "nothing was sent");
    assert_eq!(bed.metric("crossgate_upstream_breaker_open{upstream=\"app\"}"), 1.0);
    // One trial fails, and it stays open.
    until("a trial", || (outcome(&bed, "GET", "/x") == "502 upstream_unavailable").then_some(()));
    assert_eq!(outcome(&bed, "GET", "/x"), "503 upstream_unavailable");
    bed.origin().answers(|_| Answer::text(200, "good"));
    until("a trial", || (outcome(&bed, "GET", "/x") == "200 ok").then_some(()));
    assert_eq!(outcome(&bed, "GET", "/x"), "200 ok");
    assert_eq!(bed.metric("crossgate_upstream_breaker_open{upstream=\"app\"}"), 0.0);
    assert_eq!(bed.metric("crossgate_upstream_breaker_opened_total{upstream=\"app\"}"), 2.0);
}

/// Clients that leave, uploads that never end and statuses of the API itself are no failures of the API.
#[test]
fn strangers_do_not_open_the_breaker() {
    let api = Api::start(|socket, target, _| match target {
        "/slow" => {
            std::thread::sleep(Duration::from_millis(100));
            socket.write_all(GOOD).is_ok()
        }
        _ => socket.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_ok(),
    });
    let bed =
        bed(&[api.address.to_string()], ", timeouts: { read: 300ms }").section("limits: { body_read: 500ms }").start();
    for _ in 0..30 {
        let mut gone = bed.connect();
        gone.write(&bed.get("/slow").bytes());
        drop(gone);
        let mut unfinished = bed.connect();
        unfinished.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx");
        drop(unfinished);
        assert_eq!(bed.get("/status").send().outcome(), "503 ok");
    }
    let mut waiting: Vec<Wire> = (0..30)
        .map(|_| {
            let mut wire = bed.connect();
            wire.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx");
            wire
        })
        .collect();
    for wire in &mut waiting {
        assert_eq!(wire.response("POST").map(|answer| answer.status), Some(408), "the API waits for the rest");
    }
    assert_eq!(bed.get("/slow").send().outcome(), "200 ok");
    assert_eq!(bed.metric("crossgate_upstream_breaker_opened_total{upstream=\"app\"}"), 0.0);
}

/// Event streams rest by nature: their end is not held against the API, or a few of them would open its breaker.
#[test]
fn streams_that_rested_long_enough_are_no_failures() {
    let api = Api::start(|socket, target, _| match target {
        "/events" => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(head).is_ok() && hang(socket)
        }
        _ => hang(socket),
    });
    let bed = before(&api, ", timeouts: { stream_idle: 300ms, read: 300ms }");
    let mut streams: Vec<Wire> = (0..25).map(|_| bed.connect()).collect();
    streams.iter_mut().for_each(|wire| assert!(wire.write(&bed.get("/events").bytes())));
    streams.iter_mut().for_each(|wire| assert!(wire.response("GET").is_none(), "cut off, not ended"));
    let timeouts = || bed.metric("crossgate_upstream_failures_total{kind=\"timeout\",upstream=\"app\"}");
    assert_eq!(timeouts(), 0.0);
    assert_eq!(outcome(&bed, "GET", "/silent"), "504 upstream_timeout");
    assert_eq!(timeouts(), 1.0, "silence is one");
}
