use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::super::fetch::{FetchProblem, Prober};
use super::super::testing::ISSUER;
use super::{ASK, CONFIRM, Heard, Issuance, Probe, ProbeSpec, run};

type Answer = Result<StatusCode, FetchProblem>;

fn spec(url: &str) -> ProbeSpec {
    ProbeSpec { url: url.to_owned(), interval: Duration::from_secs(15), allow_private: true }
}

fn probe() -> Arc<Probe> {
    Probe::new(ISSUER.into(), spec("https://clerk.example.com/v1/client"))
}

fn status(code: u16) -> Answer {
    Ok(StatusCode::from_u16(code).unwrap())
}

#[test]
fn somebody_answers_or_nobody_does() {
    let failed = |heard: &Heard| matches!(heard, Heard::Failure(_));
    for code in [200, 204, 301, 302, 307, 400, 401, 403, 404, 405, 410, 418, 422, 431] {
        assert_eq!(Heard::of(status(code)), Heard::Answer, "{code}");
    }
    for code in [429, 500, 501, 502, 503, 504, 522, 599] {
        assert!(failed(&Heard::of(status(code))), "{code}");
    }
    for problem in [FetchProblem::Timeout, FetchProblem::Network("connection refused".to_owned())] {
        assert!(failed(&Heard::of(Err(problem))));
    }
    for problem in [FetchProblem::Url, FetchProblem::PrivateAddress, FetchProblem::Client("no roots".to_owned())] {
        let heard = Heard::of(Err(problem));
        assert!(matches!(heard, Heard::NotAsked(_)), "{heard:?}: the question never left");
    }
}

#[test]
fn three_failures_in_a_row_are_an_outage_and_one_answer_ends_it() {
    let probe = probe();
    let hear = |answer: Answer| {
        probe.conclude(Heard::of(answer));
        probe.issuance()
    };
    assert_eq!(probe.issuance(), Issuance::Up, "until the contrary is known");
    for _ in 1..CONFIRM {
        assert_eq!(hear(status(429)), Issuance::Up);
    }
    assert_eq!(hear(status(401)), Issuance::Up);
    for _ in 1..CONFIRM {
        assert_eq!(hear(status(500)), Issuance::Up, "not in a row");
    }
    assert_eq!(hear(Err(FetchProblem::PrivateAddress)), Issuance::Up, "not asked is no failure");
    assert_eq!(hear(Err(FetchProblem::Timeout)), Issuance::Down);
    assert_eq!(probe.last_failure().unwrap().as_str(), "no answer within 2 s");
    for _ in 0..10 {
        assert_eq!(hear(status(503)), Issuance::Down);
    }
    assert_eq!(hear(Err(FetchProblem::PrivateAddress)), Issuance::Down, "nor is it an answer");
    assert_eq!(hear(status(404)), Issuance::Up);
    assert!(probe.last_failure().is_none());
}

/// Runs the task against these answers, the last one again and again; gives the times of the questions.
fn start(probe: &Arc<Probe>, answers: &[Answer]) -> Arc<Mutex<Vec<u64>>> {
    let times: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (seen, mut answers) = (Arc::clone(&times), answers.to_vec());
    let (weak, gone) = (Arc::downgrade(probe), Arc::clone(&probe.gone));
    let started = Instant::now();
    answers.reverse();
    let answers = Mutex::new(answers);
    tokio::spawn(async move {
        let ask = || {
            seen.lock().unwrap().push(started.elapsed().as_secs());
            let mut answers = answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            std::future::ready(answer)
        };
        run(weak, &gone, ask, || 0.5).await;
        seen.lock().unwrap().push(u64::MAX);
    });
    times
}

#[tokio::test(start_paused = true)]
async fn asks_sooner_while_an_outage_is_suspected_and_not_while_there_is_one() {
    let probe = probe();
    let mut answers = vec![status(200), status(429), status(429), status(429), status(429)];
    answers.push(status(200));
    let times = start(&probe, &answers);
    tokio::time::sleep(Duration::from_secs(72)).await;
    assert_eq!(*times.lock().unwrap(), [0, 15, 20, 25, 40, 55, 70]);
    assert_eq!(probe.issuance(), Issuance::Up);
}

#[tokio::test(start_paused = true)]
async fn ends_with_its_instance() {
    let probe = probe();
    let times = start(&probe, &[status(200)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(probe);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*times.lock().unwrap(), [0, u64::MAX], "and asks no more");
}

#[test]
fn a_reload_forgets_no_outage_of_the_same_address() {
    let old = probe();
    (0..CONFIRM).for_each(|_| old.conclude(Heard::Failure("status 503".to_owned())));
    let same = Probe::adopt(ISSUER.into(), old.spec().clone(), Some(&old));
    assert_eq!(same.issuance(), Issuance::Down);
    let elsewhere = Probe::adopt(ISSUER.into(), spec("https://other.example.com/"), Some(&old));
    assert_eq!(elsewhere.issuance(), Issuance::Up);
    let of_another = Probe::adopt("https://clerk.other.example".into(), old.spec().clone(), Some(&old));
    assert_eq!(of_another.issuance(), Issuance::Up);
}

/// A server that answers one connection with these bytes, and keeps it open.
async fn serve(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.unwrap();
        let head = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
        assert!(head.starts_with("get /v1/client http/1.1\r\n"), "{head}");
        assert!(!head.contains("authorization") && !head.contains("cookie"), "{head}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.read(&mut request).await;
    });
    format!("http://{address}/v1/client")
}

async fn ask(url: &str, allow_private: bool) -> Answer {
    Prober::new(&ProbeSpec { allow_private, ..spec(url) })?.ask().await
}

#[tokio::test]
async fn a_status_is_enough_and_a_redirect_is_one() {
    let endless = serve("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{").await;
    assert_eq!(ask(&endless, true).await, status(200), "the body is not waited for");
    let moved = serve("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(ask(&moved, true).await, status(302));
    let limited = serve("HTTP/1.1 429 Too Many\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(ask(&limited, true).await, status(429));
}

#[tokio::test]
async fn silence_is_bounded_and_the_inside_is_not_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let started = Instant::now();
    assert_eq!(ask(&url, true).await, Err(FetchProblem::Timeout));
    assert!(started.elapsed() >= ASK && started.elapsed() < ASK * 5);
    assert_eq!(ask("https://127.0.0.1:1/", false).await, Err(FetchProblem::PrivateAddress));
    assert_eq!(ask("https://localhost:1/", false).await, Err(FetchProblem::PrivateAddress));
    assert_eq!(ask("http://clerk.example.com/", false).await, Err(FetchProblem::Url));
}
