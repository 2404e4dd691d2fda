//! The process: how it starts or does not, reloads, drains, ends, and what the admin listener tells.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bed::{Bed, Process, STORY, crossgate, reserve, until};
use super::issuer::token;
use super::origin::Answer;
use super::wire::{Address, Call, Wire};

fn address(listener: &TcpListener) -> Address {
    Address::Tcp(listener.local_addr().unwrap())
}

#[test]
fn a_state_folder_that_cannot_be_written_is_no_start() {
    let bed = Bed::new();
    let file = bed.folder().join("a-file");
    std::fs::write(&file, "").unwrap();
    let bed = bed.section(&format!("state_dir: {}/state", file.display()));
    let sockets = tempfile::tempdir().unwrap();
    let at = |name: &str| Address::Unix(sockets.path().join(name));
    let ended = bed.fail_at(&at("gate"), &at("admin"));
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("state_dir") && ended.stderr.trim_end().lines().count() == 1, "{}", ended.stderr);
}

/// A start that takes long (a map of millions, a slow disk) is no reason to die of the signal that asks for a reload, nor to
/// forget it. Held here where the log is opened, by a pipe that nobody reads.
#[test]
fn a_hangup_during_the_start_is_a_reload_after_it() {
    let bed = Bed::new();
    let pipe = bed.folder().join("access.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let bed = bed.section(&format!("telemetry: {{ access_log: {} }}", pipe.display()));
    let at = |name: &str| Address::Unix(bed.folder().join(name));
    let (gate, admin) = (at("gate.sock"), at("admin.sock"));
    let running = bed.start_while(gate, admin.clone(), |process, _| {
        until("a process that hears SIGHUP", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            (u64::from_str_radix(caught.trim(), 16).ok()? & 1 == 1).then_some(())
        });
        assert!(Wire::try_connect(&admin).is_err(), "it serves already");
        process.signal("HUP");
        let mut reader = std::fs::File::open(&pipe).unwrap();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    });
    until("the reload", || running.process.stderr.text().contains("config loaded").then_some(()));
}

#[test]
fn a_taken_port_ends_the_start() {
    let (taken, free) = (reserve(), reserve());
    let other = address(&free);
    drop(free);
    for (name, gate, admin) in [("gate", address(&taken), other.clone()), ("admin", other, address(&taken))] {
        let ended = Bed::new().fail_at(&gate, &admin);
        assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
        assert!(ended.took < Duration::from_secs(2), "{name}: {:?}", ended.took);
        let reasons: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("crossgate: ")).collect();
        assert_eq!(reasons.len(), 1, "{name}: {}", ended.stderr);
        assert!(reasons[0].contains("in use") && reasons[0].contains("127.0.0.1:"), "{name}: {}", reasons[0]);
    }
}

#[test]
fn a_bad_config_ends_the_start() {
    let (gate, admin) = (reserve(), reserve());
    let (gate, admin) = (address(&gate), address(&admin));
    for (name, bed) in [
        ("unknown key", Bed::new().section("listners: []")),
        ("bad policy", Bed::new().policy("routes:\n  - { id: a, match: { path: relative } }\n")),
        ("no such variable", Bed::new().section("state_dir: ${CROSSGATE_E2E_UNSET}")),
        ("no policies", Bed::new().section("policies: [nowhere/*.yaml]")),
        ("a key that does not work yet", Bed::new().section("store: { redis: redis://127.0.0.1 }")),
        ("an access class that there is not", Bed::new().policy(&STORY.replace("access: public", "access: secret"))),
    ] {
        let ended = bed.fail_at(&gate, &admin);
        assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
        assert!(ended.took < Duration::from_secs(2), "{name}: {:?}", ended.took);
        assert!(ended.stderr.contains("crossgate: "), "{name}: {}", ended.stderr);
    }
    let mut missing = crossgate();
    missing
        .args(["run", "-c", "/nowhere/crossgate.yaml"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = Process::spawn(missing).wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("/nowhere/crossgate.yaml"), "{}", ended.stderr);
}

#[test]
fn variables_come_from_the_environment() {
    let bed = Bed::new().env("E2E_STATE", "elsewhere").section("state_dir: ${E2E_STATE}").start();
    assert_eq!(bed.get("/public/x").send().status, 200);
    assert!(bed.folder().join("elsewhere").is_dir(), "relative to the file that names it");
}

#[test]
fn a_reload_swaps_whole_or_not_at_all() {
    let bed = Bed::new().start();
    let policies = bed.folder().join("policies/main.yaml");
    let snapshot = || bed.ask_admin("/v1/snapshot").json()["snapshot"].as_str().unwrap().to_owned();
    let stale = || bed.metric("crossgate_config_stale");
    let first = snapshot();
    assert_eq!(bed.get("/new").send().outcome(), "403 no_route");
    assert_eq!(stale(), 0.0);

    std::fs::write(&policies, format!("{STORY}  - {{ id: new, match: {{ path: /new }}, access: public }}\n")).unwrap();
    bed.process.signal("HUP");
    until("the new route", || (bed.get("/new").send().status == 200).then_some(()));
    let second = snapshot();
    assert_ne!(first, second);

    for (name, text) in [
        ("a typo", STORY.replace("access", "acess")),
        ("no YAML", "routes: [".to_owned()),
        ("an unknown role key", STORY.replace("role:", "rol:")),
        ("empty", String::new()),
    ] {
        std::fs::write(&policies, text).unwrap();
        bed.process.signal("HUP");
        until(name, || bed.reasons().contains(&"stale_config".to_owned()).then_some(()));
        assert_eq!(stale(), 1.0, "{name}");
        assert_eq!(snapshot(), second, "{name}");
        assert_eq!(bed.ask_admin("/readyz").status, 200, "{name}: the last good one serves");
        assert_eq!(bed.get("/new").send().status, 200, "{name}");
        assert_eq!(bed.get("/me").send().status, 401, "{name}");

        std::fs::write(&policies, format!("{STORY}  - {{ id: new, match: {{ path: /new }}, access: public }}\n"))
            .unwrap();
        bed.process.signal("HUP");
        until("the mended config", || bed.reasons().is_empty().then_some(()));
        assert_eq!(stale(), 0.0, "{name}");
    }
}

#[test]
fn a_reload_forgets_no_key_and_no_stricter_rule() {
    let bed = Bed::new().start();
    let ada = token("user_ada").sign();
    assert_eq!(bed.get("/me").bearer(&ada).send().status, 200);
    bed.issuer().kill();
    let config = bed.folder().join("crossgate.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("issuer: https", "authorized_parties: [\"https://app.example.com\"]\n    issuer: https"),
    )
    .unwrap();
    bed.process.signal("HUP");
    until("the stricter rule", || (bed.get("/me").bearer(&ada).send().status == 401).then_some(()));
    let good = token("user_ada").claim("azp", serde_json::json!("https://app.example.com")).sign();
    assert_eq!(bed.get("/me").bearer(&good).send().outcome(), "200 ok", "the keys are still there");
}

#[test]
fn draining_finishes_what_is_in_flight() {
    let bed = Bed::new().start();
    let go = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&go);
    bed.origin().answers(move |_| {
        until("the word to go on", || gone.load(Ordering::SeqCst).then_some(()));
        Answer::text(200, "done")
    });
    let mut wire = bed.connect();
    wire.write(&bed.get("/public/slow").bytes());
    until("the request at the API", || (bed.origin().count() == 1).then_some(()));
    bed.process.signal("TERM");
    until("draining", || bed.reasons().contains(&"draining".to_owned()).then_some(()));
    assert_eq!(bed.ask_admin("/readyz").status, 503);
    go.store(true, Ordering::SeqCst);
    let answer = wire.response("GET").expect("the answer of the request in flight");
    assert_eq!(answer.text(), "done");
    let ended = bed.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn an_idle_process_ends_soon() {
    let bed = Bed::new().start();
    // A connection that waits for its next request is no request.
    let mut idle = bed.connect();
    assert_eq!(idle.exchange(&bed.get("/public/x")).status, 200);
    let asked = Instant::now();
    let ended = bed.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| Answer::Hang);
    let mut wire = bed.connect();
    wire.write(&bed.get("/public/slow").bytes());
    until("the request at the API", || (bed.origin().count() == 1).then_some(()));
    bed.process.signal("TERM");
    until("draining", || bed.reasons().contains(&"draining".to_owned()).then_some(()));
    let asked = Instant::now();
    bed.process.signal("TERM");
    bed.process.wait();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn the_drain_has_a_limit() {
    let bed = Bed::new().section("server: { threads: 2, drain: { delay: 0s, limit: 500ms } }").start();
    bed.origin().answers(|_| Answer::Hang);
    let mut wire = bed.connect();
    wire.write(&bed.get("/public/slow").bytes());
    until("the request at the API", || (bed.origin().count() == 1).then_some(()));
    let asked = Instant::now();
    bed.stop();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn unix_sockets() {
    let bed = Bed::new().start_on_sockets();
    let ada = token("user_ada").sign();
    assert_eq!(bed.get("/me").bearer(&ada).send().outcome(), "200 ok");
    let got = bed.origin().last();
    assert!(got.values("x-forwarded-for").is_empty(), "a socket has no address");
    assert_eq!(bed.get("/me").header("x-forwarded-for", "1.2.3.4").send().outcome(), "401 no_credential");
    assert_eq!(bed.ask_admin("/healthz").status, 200);
    let mode = |name: &str| {
        let meta = std::fs::metadata(bed.folder().join(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777
    };
    assert_eq!(mode("admin.sock"), 0o600);
    assert_eq!(mode("gate.sock") & 0o007, 0, "not for everybody");
    let folder = bed.folder().to_owned();
    let (gate, admin) = (bed.gate.clone(), bed.admin.clone());

    let second = Bed::new().fail_at(&gate, &admin);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("another process listens there"), "{}", second.stderr);
    assert_eq!(bed.get("/public/x").send().status, 200, "the first one is unharmed");
    assert!(folder.join("gate.sock").exists());
}

#[test]
fn the_socket_of_a_dead_process_is_taken_over_and_a_file_is_not() {
    let bed = Bed::new();
    let (gate, admin) = (bed.folder().join("gate.sock"), bed.folder().join("admin.sock"));
    // Dropping a listener leaves its file, as a process that was killed does.
    drop(UnixListener::bind(&gate).unwrap());
    drop(UnixListener::bind(&admin).unwrap());
    let bed = bed.start_at(Address::Unix(gate), Address::Unix(admin));
    assert_eq!(bed.get("/public/x").send().status, 200);

    let precious = Bed::new();
    let file = precious.folder().join("precious");
    std::fs::write(&file, "data").unwrap();
    let ended = precious.fail_at(&Address::Unix(file.clone()), &Address::Unix(precious.folder().join("a.sock")));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
}

#[test]
fn what_the_admin_listener_tells() {
    let bed = Bed::new().start();
    let good = bed.get("/me").bearer(&token("user_ada").sign()).send();
    assert_eq!(good.status, 200);
    assert_eq!(bed.get("/me").send().status, 401);

    assert_eq!(bed.ask_admin("/healthz").json()["status"], "ok");
    let ready = bed.ask_admin("/readyz");
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
    assert_eq!(ready.json()["reasons"], serde_json::json!([]));
    let metrics = bed.ask_admin("/metrics");
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert_eq!(bed.metric("crossgate_requests_total{decision=\"allow\",reason=\"ok\",route=\"me\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_requests_total{decision=\"deny\",reason=\"no_credential\",route=\"me\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_jwks_refresh_total{issuer=\"https://clerk.example.com\",result=\"ok\"}"), 1.0);
    assert_eq!(bed.metric("crossgate_panics_total"), 0.0);
    let snapshot = bed.ask_admin("/v1/snapshot").json();
    let ids: Vec<_> = snapshot["routes"].as_array().unwrap().iter().map(|route| route["id"].clone()).collect();
    assert!(ids.contains(&"invoice.write".into()), "{snapshot}");
    assert_eq!(snapshot["issuers"][0]["kids"], serde_json::json!(["ins_first"]));

    assert_eq!(bed.ask_admin("/nothing").status, 404);
    let ask = |method: &str, target: &str| Call::new(&bed.admin, method, target);
    assert_eq!(ask("HEAD", "/healthz").send().status, 200);
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(ask(method, "/v1/snapshot").header("content-length", "0").send().status, 405, "{method}");
    }
    assert_eq!(ask("GET", "/healthz").header("origin", "https://evil.example").send().status, 403);
    assert_eq!(ask("GET", "/v1/snapshot").host("evil.example").send().status, 403, "DNS rebinding");
    assert_eq!(ask("GET", "/v1/snapshot").host("localhost:9902").send().status, 200);
    for target in ["/healthz", "/readyz", "/metrics", "/v1/snapshot", "/nothing"] {
        let answer = bed.ask_admin(target);
        assert!(answer.header("server").is_none(), "{target}");
    }
    assert_eq!(bed.get("/healthz").send().outcome(), "403 no_route", "none of it on the data listener");
}

#[test]
fn a_dripping_head_and_an_idle_connection_are_cut() {
    let bed = Bed::new().section("limits: { first_byte: 1s, header_read: 1s, keepalive: 1s }").start();
    let spans = |connect: &dyn Fn() -> Wire| {
        let mut wire = connect();
        let started = Instant::now();
        let said = wire.rest();
        (started.elapsed(), String::from_utf8_lossy(&said).into_owned())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (took, said) = spans(&|| bed.connect());
            assert!(took < Duration::from_secs(4), "never sent a byte: {took:?}");
            assert!(said.is_empty(), "{said}");
        });
        scope.spawn(|| {
            let (took, _) = spans(&|| {
                let mut wire = bed.connect();
                assert_eq!(wire.exchange(&bed.get("/public/x")).status, 200);
                wire
            });
            assert!(took > Duration::from_millis(500), "kept alive for a while: {took:?}");
            assert!(took < Duration::from_secs(4), "idle after an answer: {took:?}");
        });
        scope.spawn(|| {
            let Address::Tcp(gate) = bed.gate else { return };
            let mut socket = std::net::TcpStream::connect(gate).unwrap();
            let started = Instant::now();
            socket.write_all(b"GET /public/x HTTP/1.1\r\nHost: a\r\nx-drip: ").unwrap();
            // A byte now and then restarts no timer. Writing fails once the other end is gone.
            while socket.write_all(b"x").is_ok() {
                assert!(started.elapsed() < Duration::from_secs(5), "a dripping head is read for ever");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    });
    assert_eq!(bed.origin().count(), 1);
}

#[test]
fn connections_and_requests_are_capped() {
    let bed = Bed::new().section("limits: { connections: 8, connections_per_peer: 4, in_flight: 2 }").start();
    // The bed's own probes may still hold a connection or two.
    let opened = until("all four places to be taken", || {
        let wires: Vec<_> = (0..4).map(|_| bed.connect()).collect();
        let mut asked: Vec<_> = wires.into_iter().collect();
        let answers = asked.iter_mut().filter_map(|wire| {
            wire.write(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n");
            wire.response("GET")
        });
        (answers.count() == 4).then_some(asked)
    });
    let mut fifth = bed.connect();
    fifth.write(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(fifth.response("GET").is_none(), "the fifth connection of one address is closed");
    assert!(bed.ask_admin("/metrics").text().contains("crossgate_connections_refused_total "));
    drop(opened);
    until("a place to be free again", || {
        let mut wire = bed.connect();
        wire.write(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n");
        wire.response("GET").filter(|answer| answer.status == 200).map(drop)
    });
}

#[test]
fn requests_beyond_in_flight_are_told_to_come_back() {
    let bed = Bed::new().section("limits: { in_flight: 2 }").start();
    let go = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&go);
    bed.origin().answers(move |_| {
        until("the word to go on", || gone.load(Ordering::SeqCst).then_some(()));
        Answer::text(200, "done")
    });
    let mut held: Vec<_> = (0..2).map(|_| bed.connect()).collect();
    for wire in &mut held {
        wire.write(&bed.get("/public/slow").bytes());
    }
    until("two requests at the API", || (bed.origin().count() == 2).then_some(()));
    let third = bed.get("/public/x").send();
    assert_eq!(third.outcome(), "503 overloaded");
    assert!(third.header("retry-after").is_some());
    assert_eq!(bed.origin().count(), 2);
    go.store(true, Ordering::SeqCst);
    for wire in &mut held {
        assert_eq!(wire.response("GET").map(|answer| answer.status), Some(200));
    }
    until("a place to be free again", || {
        let mut wire = bed.connect();
        wire.write(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n");
        wire.response("GET").filter(|answer| answer.status == 200).map(drop)
    });
}
