//! Many connections, held until stdin ends: idle ones that have been served once, readers that take a large answer a
//! few bytes at a time, writers that send a body a few bytes at a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::probe::exchange;

/// One sip or drop of a slow client.
const PAUSE: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(4);

pub(crate) async fn hold(address: &str, kind: &str, count: usize, token: Option<&str>) {
    let mut ready = 0;
    let mut slow = JoinSet::new();
    let mut idle = Vec::with_capacity(count);
    let request = super::request(token, super::TARGET);
    let mut buffer = Vec::new();
    while ready < count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match kind {
            "idle" => {
                assert!(exchange(&mut stream, &request, &mut buffer).await.is_some(), "connection {ready}: no 200");
                idle.push(stream);
            }
            "readers" => {
                stream.write_all(super::request(token, "/large").as_bytes()).await.unwrap();
                slow.spawn(async move {
                    let mut sip = [0; 1024];
                    while stream.read(&mut sip).await.is_ok_and(|read| read > 0) {
                        sleep(PAUSE).await;
                    }
                });
            }
            "writers" => {
                let head = super::request(token, super::TARGET).replace("GET ", "POST ");
                let head = head.replace("\r\n\r\n", "\r\ncontent-length: 1000000\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                slow.spawn(async move {
                    while stream.write_all(&[b'x'; 100]).await.is_ok() {
                        sleep(PAUSE).await;
                    }
                });
            }
            other => panic!("{other}: idle, readers or writers"),
        }
        if kind != "idle" {
            // Not all at once: what an API that is flooded makes of it is another question.
            sleep(PACE).await;
        }
        ready += 1;
    }
    println!("ready {ready}");
    let stdin = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ = tokio::task::spawn_blocking(stdin).await;
    // A slow client that was cut off while it was waited for is one that did not count.
    let mut cut = 0;
    while slow.try_join_next().is_some() {
        cut += 1;
    }
    println!("cut {cut}");
}
