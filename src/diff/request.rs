//! A request that is asked of both configs, and where it lands in each.
//!
//! Reads it as the data listener does. Never decides about anybody: that is `judge`.

use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::request::{self, Head, Peer, Request, Sanitized, View};
use crate::route::Found;
use crate::snapshot::Snapshot;

/// What a client would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) method: Method,
    /// `None` is a host that no route names.
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) query: Vec<(String, String)>,
}

/// A host below a domain that is nobody's (RFC 6761).
const NOBODYS_HOST: &str = "crossgate.invalid";

/// A request as one config reads it.
#[derive(Debug)]
pub(super) struct Readable {
    request: Box<Request>,
    headers: HeaderMap,
}

impl Readable {
    pub(super) fn view(&self) -> View<'_> {
        View { request: &self.request, headers: &self.headers }
    }
}

impl Sample {
    /// As a client would send it, for people.
    pub(super) fn shown(&self) -> String {
        let host = self.host.as_ref().map(|host| format!("http://{host}")).unwrap_or_default();
        let headers: String = self.headers.iter().map(|(name, value)| format!(" -H '{name}: {value}'")).collect();
        format!("{} {host}{}{headers}", self.method, self.target())
    }

    fn target(&self) -> String {
        let query: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    /// # Errors
    /// Why it is refused before any route is looked for.
    pub(super) fn read(&self, snapshot: &Snapshot) -> Result<Readable, request::Refusal> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(self.host.as_deref().unwrap_or(NOBODYS_HOST));
        headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static(NOBODYS_HOST)));
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name.clone(), value);
            }
        }
        let target = self.target();
        let head = Head {
            method: &self.method,
            target: target.as_bytes(),
            authority: None,
            version: Version::HTTP_11,
            headers: &headers,
            peer: Peer::Ip(Ipv4Addr::LOCALHOST.into()),
            tls: false,
        };
        match request::sanitize(&head, &snapshot.request, &|| [0; 16])? {
            Sanitized::Request(request, edits) => {
                for name in &edits.remove {
                    headers.remove(name);
                }
                for (name, value) in edits.insert {
                    headers.insert(name, value);
                }
                Ok(Readable { request, headers })
            }
            // Only `OPTIONS *`, which is no path.
            Sanitized::Server(_) => Err(request::Refusal::Method),
        }
    }

    /// How far it is from a plain one: the plainest of several is shown.
    pub(super) fn conditions(&self) -> usize {
        usize::from(self.host.is_some()) + self.headers.len() + self.query.len()
    }
}

/// The route of a request, as `decide` looks for it.
pub(super) fn find<'r, 'v>(
    snapshot: &'r Snapshot,
    view: &View<'v>,
) -> Result<Found<'r, 'v>, crate::gate::decide::Refusal> {
    let own = snapshot.routes.find_own_options(view);
    own.map_or_else(|| snapshot.routes.find(view), Ok).map_err(crate::gate::decide::Refusal::Route)
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
