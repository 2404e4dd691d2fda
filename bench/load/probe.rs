//! Requests at a fixed rate, whatever the answers take: latencies from the moment a request was due.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Connections that share the rate; a request whose connection is busy waits, and that wait counts.
const CONNECTIONS: u32 = 16;

pub(crate) async fn run(address: &str, rate: u32, length: Duration, token: Option<&str>, target: &str) {
    let request: Arc<str> = super::request(token, target).into();
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let gap = Duration::from_secs(1) * CONNECTIONS / rate;
    let start = Instant::now() + Duration::from_millis(50);
    let mut tasks = Vec::new();
    for at in 0..CONNECTIONS {
        let (address, request, latencies) = (address.to_owned(), Arc::clone(&request), Arc::clone(&latencies));
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(&*address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut due = start + gap * at / CONNECTIONS;
            let mut buffer = Vec::with_capacity(8192);
            let mut failed = 0_u32;
            while due < start + length {
                sleep_until(due).await;
                if exchange(&mut stream, &request, &mut buffer).await.is_some() {
                    latencies.lock().await.push(due.elapsed());
                } else {
                    failed += 1;
                    stream = TcpStream::connect(&*address).await.unwrap();
                }
                due += gap;
            }
            failed
        }));
    }
    let mut failed = 0;
    for task in tasks {
        failed += task.await.unwrap();
    }
    let mut latencies = std::mem::take(&mut *latencies.lock().await);
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).map_or(0, |took| took.as_micros());
    let longest = latencies.last().map_or(0, Duration::as_micros);
    println!("requests {} failed {failed} p50_us {} p99_us {} max_us {longest}", latencies.len(), at(50), at(99));
}

/// One request and its whole answer; `None` unless it is a 200.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &str, buffer: &mut Vec<u8>) -> Option<()> {
    stream.write_all(request.as_bytes()).await.ok()?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        if buffer.len() >= end + 4 + length.trim().parse::<usize>().ok()? {
            return head.starts_with("http/1.1 200").then_some(());
        }
    }
}
