//! An API that takes the body of a GET, HEAD, OPTIONS or DELETE for the next request, and records all of them.
//!
//! Half of all servers do so (CL.0): whatever is hidden in such a body would run. What is cut short is recorded apart.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::origin::folded;
use super::wire::Wire;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Its body never ended.
    pub(crate) cut: bool,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        let end = self.head.windows(2).position(|two| two == b"\r\n").unwrap_or(self.head.len());
        self.head[..end].escape_ascii().to_string().replace("\\\\", "\\").replace("\\'", "'").replace("\\\"", "\"")
    }

    fn fields(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let head = self.head.strip_suffix(b"\r\n\r\n").unwrap_or(&self.head).to_vec();
        let lines: Vec<Vec<u8>> = head.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::to_vec).collect();
        lines.into_iter().map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
            (String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), value)
        })
    }

    /// Values of all lines under exactly this name.
    pub(crate) fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.fields().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// A line of this name in any spelling.
    pub(crate) fn twin(&self, name: &str) -> Option<String> {
        let wanted = folded(name);
        self.fields()
            .find(|(key, _)| folded(key) == wanted)
            .map(|(key, value)| format!("{key}: {}", value.escape_ascii()))
    }
}

/// The API. Listens as long as the test's process lives.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let into = Arc::clone(&into);
                std::thread::spawn(move || serve(socket, &into));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Takes what was seen since `from`, an index into [`Recorder::all`].
    pub(crate) fn since(&self, from: usize) -> Vec<Seen> {
        self.seen.lock().unwrap().get(from..).unwrap_or_default().to_vec()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn serve(socket: TcpStream, seen: &Mutex<Vec<Seen>>) {
    let mut wire = Wire::tcp(socket);
    while let Some(head) = wire.head() {
        let bodiless = [&b"GET "[..], b"HEAD ", b"OPTIONS ", b"DELETE "].iter().any(|method| head.starts_with(method));
        if head.to_ascii_lowercase().windows(9).any(|nine| nine == b"\r\nexpect:") {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = if bodiless { Some(Vec::new()) } else { wire.body(&head, false) };
        let cut = body.is_none();
        let is_head = head.starts_with(b"HEAD ");
        seen.lock().unwrap().push(Seen { head, body: body.unwrap_or_default(), cut });
        let answer: &[u8] = if is_head {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        };
        if cut || !wire.write(answer) {
            return;
        }
    }
}
