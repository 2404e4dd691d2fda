//! Restarts: what waits in a passed socket is served by the next process, and what waits in an own one by the last.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::bed::{Bed, until};
use super::origin::Answer;
use super::wire::{Address, Call, Wire};

fn on_passed(name: &str) -> Bed {
    Bed::new().section(&format!("listeners: [{{ address: \"{name}\" }}]"))
}

#[test]
fn what_comes_between_two_processes_waits_in_a_passed_socket() {
    for name in ["fd:web", "systemd"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let bed = on_passed(name).start_passed(&socket);
        assert_eq!(bed.get("/public/x").send().status, 200, "{name}");
        let gate = bed.gate.clone();
        let (bed, ended) = bed.stop_keeping_folder();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        // Nobody runs now.
        let mut between = Wire::try_connect(&gate).unwrap();
        between.write(&Call::new(&gate, "GET", "/public/between").bytes());
        let bed = bed.start_passed(&socket);
        assert_eq!(between.response("GET").unwrap().status, 200, "{name}");
        assert_eq!(bed.get("/public/x").send().status, 200, "{name}");
    }
}

#[test]
fn without_a_passed_socket_it_does_not_start() {
    for (name, expected) in [("systemd", "no socket was passed"), ("fd:web", "no socket of this name was passed")] {
        let bed = on_passed(name);
        let (gate, admin) = (bed.folder().join("gate.sock"), bed.folder().join("admin.sock"));
        let ended = bed.fail_at(&Address::Unix(gate), &Address::Unix(admin));
        assert_eq!(ended.status.code(), Some(1), "{name}");
        assert!(ended.stderr.contains(expected), "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_drain_serves_whoever_is_connected_already() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::text(200, "late"))));
    let mut slow = bed.connect();
    slow.write(&bed.get("/public/slow").bytes());
    until("the slow one is with the API", || (bed.origin().count() == 1).then_some(()));
    // Made before the signal, speaks after it.
    let mut young = bed.connect();
    bed.process.signal("TERM");
    until("the drain", || (bed.ask_admin("/readyz").status == 503).then_some(()));
    young.write(&bed.get("/public/young").bytes());
    let answer = young.response("GET").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(slow.response("GET").unwrap().status, 200);
    let ended = bed.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_drain_tells_http2_clients_to_go_and_takes_what_they_have_begun() {
    let bed = Bed::new().section("listeners: [{ address: \"{gate}\", h2c: true }]").start();
    let Address::Tcp(gate) = bed.gate else { panic!("not on TCP") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(gate).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let ended = tokio::spawn(connection);
        let request = |target: &str| {
            http::Request::get(format!("http://api.test{target}")).body(Full::<Bytes>::default()).unwrap()
        };
        let slow = {
            bed.origin().answers(|_| Answer::After(Duration::from_secs(1), Box::new(Answer::text(200, "late"))));
            tokio::spawn(sender.send_request(request("/public/slow")))
        };
        while bed.origin().count() == 0 {
            tokio::task::yield_now().await;
        }
        bed.process.signal("TERM");
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "late");
        ended.await.unwrap().unwrap();
    });
    assert_eq!(bed.process.wait().status.code(), Some(0));
}
