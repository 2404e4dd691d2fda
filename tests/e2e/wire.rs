//! HTTP/1 by hand, on both ends: what is sent is exactly these bytes, and what came is kept as it came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for bytes; a test that meets it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where something listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// What an ordinary client would write into `Host`.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "api.test".to_owned(),
        }
    }
}

trait Socket: Read + Write + Send {
    fn close_write(&self);
}

impl Socket for TcpStream {
    fn close_write(&self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

impl Socket for UnixStream {
    fn close_write(&self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

/// One connection, with what was read and not yet taken.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap_or_else(|problem| panic!("{address} refuses: {problem}"))
    }

    pub(crate) fn try_connect(address: &Address) -> std::io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpStream::connect(address).map(Self::tcp),
            Address::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Ok(Self { socket: Box::new(socket), buffer: Vec::new() })
            }
        }
    }

    pub(crate) fn tcp(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket: Box::new(socket), buffer: Vec::new() }
    }

    /// Sends; whether the other end took it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).and_then(|()| self.socket.flush()).is_ok()
    }

    pub(crate) fn close_write(&self) {
        self.socket.close_write();
    }

    /// Reads more; `false` at the end, on a reset and after [`PATIENCE`].
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                true
            }
        }
    }

    /// Whatever has come, at least one byte; `None` at the end.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() && !self.fill() {
            return None;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// The next head with its empty line; `None` when the connection ends before.
    pub(crate) fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(self.buffer.drain(..at + 4).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Everything until the other end closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// The body that `head` announces; `None` when it is cut short. `until_close` is for answers without a length.
    pub(crate) fn body(&mut self, head: &[u8], until_close: bool) -> Option<Vec<u8>> {
        if value(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let size = usize::from_str_radix(self.line()?.split(';').next()?.trim(), 16).ok()?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    return Some(body);
                }
                body.extend(self.exactly(size)?);
                self.exactly(2)?;
            }
        }
        match value(head, "content-length") {
            Some(length) => self.exactly(length.trim().parse().ok()?),
            None if until_close => Some(self.rest()),
            None => Some(Vec::new()),
        }
    }

    /// The next final answer to a request with `method`; `None` when the connection ends before it is complete.
    pub(crate) fn response(&mut self, method: &str) -> Option<Response> {
        loop {
            let head = self.head()?;
            let text = String::from_utf8_lossy(&head).into_owned();
            let status: u16 = text.split(' ').nth(1)?.parse().ok()?;
            if status < 200 && status != 101 {
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let body = if bodiless { Vec::new() } else { self.body(&head, true)? };
            return Some(Response { status, headers: headers(&text), body });
        }
    }

    /// Sends one request and reads its answer.
    pub(crate) fn exchange(&mut self, call: &Call) -> Response {
        assert!(self.write(&call.bytes()), "the request could not be sent");
        self.response(&call.method).unwrap_or_else(|| panic!("no answer to {} {}", call.method, call.target))
    }
}

/// Name and value of each line of a head, names in lower case.
pub(crate) fn headers(head: &str) -> Vec<(String, String)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

fn value(head: &[u8], name: &str) -> Option<String> {
    headers(&String::from_utf8_lossy(head)).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|problem| panic!("{problem}: {}", self.text()))
    }

    /// The `code` of crossgate's own answers; `ok` for the API's.
    pub(crate) fn code(&self) -> String {
        match self.header("content-type") {
            Some("application/problem+json") => self.json()["code"].as_str().unwrap_or_default().to_owned(),
            _ => "ok".to_owned(),
        }
    }

    /// Status and code together, as in `403 forbidden`.
    pub(crate) fn outcome(&self) -> String {
        format!("{} {}", self.status, self.code())
    }
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    address: Address,
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(address: &Address, method: &str, target: &str) -> Self {
        Self {
            address: address.clone(),
            method: method.to_owned(),
            target: target.to_owned(),
            host: Some(address.host()),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, cookies: &str) -> Self {
        self.header("cookie", cookies)
    }

    /// A body with its length.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    /// A body in chunks of up to 1,000 bytes.
    pub(crate) fn chunked(mut self, body: &[u8]) -> Self {
        for chunk in body.chunks(1000) {
            self.body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            self.body.extend_from_slice(chunk);
            self.body.extend_from_slice(b"\r\n");
        }
        self.body.extend_from_slice(b"0\r\n\r\n");
        self.header("transfer-encoding", "chunked")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if let Some(host) = &self.host {
            text.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub(crate) fn send(&self) -> Response {
        let mut wire = Wire::connect(&self.address);
        // A refusal may come before the body was taken, so a failed write is no failed exchange.
        wire.write(&self.bytes());
        wire.response(&self.method).unwrap_or_else(|| panic!("no answer to {} {}", self.method, self.target))
    }
}
