//! The API behind crossgate: records every request byte for byte, and answers as the test says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::wire::{Wire, headers};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    pub(crate) fn request_line(&self) -> String {
        self.text().split("\r\n").next().unwrap_or_default().to_owned()
    }

    pub(crate) fn target(&self) -> String {
        self.request_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The values of all lines under `name` in any spelling: lower-cased, everything but letters and digits as `-`.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let wanted = folded(name);
        headers(&self.text()).into_iter().filter(|(key, _)| folded(key) == wanted).map(|(_, value)| value).collect()
    }
}

pub(crate) fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// How the API answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    After(Duration, Box<Answer>),
    /// These bytes, then the connection ends.
    Raw(Vec<u8>),
    /// The connection ends.
    Close,
    /// Nothing, until the other end gives up.
    Hang,
    /// These bytes one after the other, each after its wait; then nothing, until the other end gives up.
    Pieces(Vec<(Duration, Vec<u8>)>),
    /// Accepts a WebSocket and sends back every byte.
    Tunnel,
}

impl Answer {
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Reply { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Reply { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Reply { status, headers, body }
            }
            other => other,
        }
    }
}

type Script = Box<dyn Fn(&Recorded) -> Answer + Send + Sync>;

struct Shared {
    recorded: Mutex<Vec<Recorded>>,
    script: Mutex<Arc<Script>>,
    connections: AtomicUsize,
}

/// The API. Listens as long as the test's process lives.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            recorded: Mutex::default(),
            script: Mutex::new(Arc::new(Box::new(echo))),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(socket, &shared));
            }
        });
        Self { address, shared }
    }

    /// From now on, this answers.
    pub(crate) fn answers(&self, script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(Box::new(script));
    }

    /// Requests whose head and body arrived.
    pub(crate) fn count(&self) -> usize {
        self.shared.recorded.lock().unwrap().len()
    }

    /// Connections so far: a request that was refused opens none.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn last(&self) -> Recorded {
        self.shared.recorded.lock().unwrap().last().cloned().expect("nothing reached the API")
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.shared.recorded.lock().unwrap().clone()
    }
}

/// Says what it got.
fn echo(request: &Recorded) -> Answer {
    let text = request.text();
    let body = json!({
        "line": request.request_line(),
        "headers": headers(&text),
        "body": String::from_utf8_lossy(&request.body),
    });
    Answer::text(200, &body.to_string()).with("content-type", "application/json")
}

fn serve(socket: TcpStream, shared: &Shared) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut wire = Wire::tcp(socket);
    while let Some(head) = wire.head() {
        if headers(&String::from_utf8_lossy(&head)).iter().any(|(name, _)| name == "expect") {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Some(body) = wire.body(&head, false) else {
            // Cut short: what came is recorded, so that no test can take it for nothing.
            shared.recorded.lock().unwrap().push(Recorded { head, body: b"(cut short)".to_vec() });
            return;
        };
        let request = Recorded { head, body };
        shared.recorded.lock().unwrap().push(request.clone());
        let script = Arc::clone(&*shared.script.lock().unwrap());
        if !answer(&mut wire, script(&request), &request) {
            return;
        }
    }
}

/// Whether the connection goes on.
fn answer(wire: &mut Wire, answer: Answer, request: &Recorded) -> bool {
    match answer {
        Answer::Reply { status, headers, body } => {
            let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
            for (name, value) in &headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            let head = request.head.starts_with(b"HEAD ");
            if !matches!(status, 204 | 304) {
                text.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            text.push_str("\r\n");
            let mut bytes = text.into_bytes();
            if !head {
                bytes.extend_from_slice(&body);
            }
            wire.write(&bytes)
        }
        Answer::After(wait, then) => {
            std::thread::sleep(wait);
            self::answer(wire, *then, request)
        }
        Answer::Raw(bytes) => {
            wire.write(&bytes);
            false
        }
        Answer::Close => false,
        Answer::Hang => {
            wire.rest();
            false
        }
        Answer::Pieces(pieces) => {
            for (wait, bytes) in pieces {
                std::thread::sleep(wait);
                wire.write(&bytes);
            }
            wire.rest();
            false
        }
        Answer::Tunnel => {
            wire.write(&accepting(request));
            while let Some(bytes) = wire.some() {
                wire.write(&bytes);
            }
            false
        }
    }
}

/// The answer that opens a WebSocket.
pub(crate) fn accepting(request: &Recorded) -> Vec<u8> {
    let key = request.values("sec-websocket-key").join("");
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    switching(&STANDARD.encode(sum))
}

pub(crate) fn switching(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}
