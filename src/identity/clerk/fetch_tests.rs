use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::testing::{KID, OURS, url};
use super::{FetchProblem, Fetcher, KeyUrl, MAX_SET_BYTES, check_url, is_public};

/// A server that answers one connection with these bytes; after `drip`, one byte at a time for ever.
async fn serve(answer: Vec<u8>, drip: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        while drip && stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    format!("http://{address}/jwks.json")
}

async fn fetch(url_text: &str, allow_private: bool) -> Result<Vec<u8>, FetchProblem> {
    Fetcher::new(&KeyUrl { url: url_text.to_owned(), allow_private, ..url() })?.fetch().await
}

fn answer(status: &str, head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{head}\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn answers() {
    let set = json!({"keys": [OURS.jwk(KID)]}).to_string();
    let json = "content-type: application/json\r\n";
    let status = |n| Err(FetchProblem::Status(http::StatusCode::from_u16(n).unwrap()));
    let large = "x".repeat(MAX_SET_BYTES + 1);
    let mut chunked =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..300 {
        chunked.extend_from_slice(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes());
    }
    let redirect = "location: https://elsewhere.example.com/\r\ncontent-type: application/json\r\n";
    let table = [
        ("a set", answer("200 OK", json, &set), Ok(())),
        ("charset", answer("200 OK", "Content-Type: Application/JSON; charset=utf-8\r\n", &set), Ok(())),
        ("jwk-set", answer("200 OK", "content-type: application/jwk-set+json\r\n", &set), Ok(())),
        ("HTML", answer("200 OK", "content-type: text/html\r\n", &set), Err(FetchProblem::ContentType)),
        ("text", answer("200 OK", "content-type: text/plain\r\n", &set), Err(FetchProblem::ContentType)),
        ("no type", answer("200 OK", "", &set), Err(FetchProblem::ContentType)),
        (
            "gzip",
            answer("200 OK", &format!("{json}content-encoding: gzip\r\n"), &set),
            Err(FetchProblem::ContentEncoding),
        ),
        ("301", answer("301 Moved", redirect, &set), status(301)),
        ("302", answer("302 Found", redirect, &set), status(302)),
        ("307", answer("307 Temporary", redirect, &set), status(307)),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), status(204)),
        ("206", answer("206 Partial", json, &set), status(206)),
        ("500", answer("500 Oops", json, &set), status(500)),
        ("429", answer("429 Slow", json, &set), status(429)),
        ("large, announced", answer("200 OK", json, &large), Err(FetchProblem::TooLarge)),
        ("large, in chunks", chunked, Err(FetchProblem::TooLarge)),
    ];
    for (name, bytes, expected) in table {
        let url = serve(bytes, false).await;
        assert_eq!(fetch(&url, true).await.map(|_| ()), expected, "{name}");
    }
    let cut = answer("200 OK", json, &set);
    let url = serve(cut[..cut.len() - 10].to_vec(), false).await;
    assert!(matches!(fetch(&url, true).await, Err(FetchProblem::Network(_))), "cut short");
    assert!(matches!(fetch("http://127.0.0.1:1/", true).await, Err(FetchProblem::Network(_))), "nobody there");
}

/// A byte now and then keeps no fetch alive beyond its five seconds, which the paused clock jumps over.
#[tokio::test(start_paused = true)]
async fn a_server_that_drips_is_given_up() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    let url = serve(head.as_bytes().to_vec(), true).await;
    let started = tokio::time::Instant::now();
    assert_eq!(fetch(&url, true).await, Err(FetchProblem::Timeout));
    assert!(started.elapsed() <= Duration::from_millis(5001));
}

#[tokio::test]
async fn names_that_lead_inside() {
    assert_eq!(fetch("https://localhost/jwks.json", false).await, Err(FetchProblem::PrivateAddress));
}

#[test]
fn addresses_in_the_config() {
    let table = [
        ("https://clerk.example.com/.well-known/jwks.json", false, Ok(())),
        ("https://1.1.1.1/", false, Ok(())),
        ("http://clerk.example.com/", false, Err(FetchProblem::Url)),
        ("http://127.0.0.1:9/", true, Ok(())),
        ("https://user@clerk.example.com/", false, Err(FetchProblem::Url)),
        ("https://:pw@clerk.example.com/", false, Err(FetchProblem::Url)),
        ("file:///etc/passwd", true, Err(FetchProblem::Url)),
        ("clerk.example.com", false, Err(FetchProblem::Url)),
        ("https://127.0.0.1/", false, Err(FetchProblem::PrivateAddress)),
        ("https://2130706433/", false, Err(FetchProblem::PrivateAddress)),
        ("https://0x7f.1/", false, Err(FetchProblem::PrivateAddress)),
        ("https://169.254.169.254/", false, Err(FetchProblem::PrivateAddress)),
        ("https://[::1]/", false, Err(FetchProblem::PrivateAddress)),
        ("https://[::ffff:10.0.0.1]/", false, Err(FetchProblem::PrivateAddress)),
    ];
    for (text, allow_private, expected) in table {
        assert_eq!(check_url(text, allow_private), expected, "{text}");
    }
}

#[test]
fn public_addresses() {
    let table = [
        ("1.1.1.1", true),
        ("100.63.255.255", true),
        ("172.32.0.1", true),
        ("2606:4700::1111", true),
        ("64:ff9b::1.1.1.1", true),
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("10.0.0.1", false),
        ("100.64.0.1", false),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("172.16.0.1", false),
        ("192.0.0.1", false),
        ("192.168.1.1", false),
        ("198.18.0.1", false),
        ("203.0.113.1", false),
        ("224.0.0.1", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("::127.0.0.1", false),
        ("::ffff:127.0.0.1", false),
        ("64:ff9b::10.0.0.1", false),
        ("2002:7f00:1::", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("fc00::1", false),
        ("fd00:ec2::254", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ];
    for (text, expected) in table {
        assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
    }
}
