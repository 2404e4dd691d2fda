//! Where a request comes from: the socket's peer, and what a trusted proxy in front says about its client.
//!
//! Owns `X-Forwarded-*`, `Forwarded`, `x-request-id`, `traceparent`: believed only from `trusted_proxies`, rebuilt
//! always. Nothing here is an input to a role, an org or an arm; it is what logs and the API are told.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// Names that [`Client::headers`] writes.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `trusted_proxies`.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    pub networks: Vec<IpNet>,
    /// Whether whoever connects by a unix socket is trusted.
    pub unix: bool,
}

impl TrustedProxies {
    fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trusts_address(address),
            Peer::Unix => self.unix,
        }
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// The other end of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ip(IpAddr),
    Unix,
}

impl Peer {
    /// Who is counted as one while nobody is proven: of IPv6 a network of 64 bits, of which everybody has a whole one.
    /// `None` on a unix socket.
    pub fn neighbourhood(self) -> Option<IpAddr> {
        match self {
            Self::Ip(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
                Some(IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)))
            }
            Self::Ip(address) => Some(address.to_canonical()),
            Self::Unix => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Origin of the request's connection and identity of the request itself.
#[derive(Debug)]
pub struct Client {
    pub peer: Peer,
    /// The address that is nearest to the person: the peer, or what a trusted proxy saw.
    pub address: Peer,
    /// `https` when crossgate or a trusted proxy in front terminates TLS.
    pub scheme: &'static str,
    /// Host that the person asked for, with port: a trusted proxy's, else the request's own.
    pub host: Option<Box<str>>,
    /// 1 to 128 of `[A-Za-z0-9._-]`, or 32 hex digits made here.
    pub request_id: Box<str>,
    /// `version-trace-span-flags` of W3C Trace Context.
    pub traceparent: Box<str>,
    chain: Option<Box<str>>,
    forwarded: Option<Box<str>>,
    tracestate: Option<HeaderValue>,
    port: Option<Box<str>>,
    /// Whether a peer that is not trusted sent forwarding headers; they are dropped and counted.
    pub dropped: bool,
}

impl Client {
    /// Reads the connection and, from a trusted peer only, the forwarding headers. `random` gives 16 fresh bytes.
    pub fn read(
        headers: &HeaderMap,
        authority: Option<&str>,
        peer: Peer,
        tls: bool,
        trusted: &TrustedProxies,
        random: &dyn Fn() -> [u8; 16],
    ) -> Self {
        let believed = trusted.trusts(peer);
        let field = |name: &HeaderName| if believed { text(headers, name) } else { None };
        let chain = field(&X_FORWARDED_FOR);
        let scheme = match field(&X_FORWARDED_PROTO) {
            Some("https") => "https",
            Some("http") => "http",
            _ if tls => "https",
            _ => "http",
        };
        let host = field(&X_FORWARDED_HOST).filter(|host| super::host::is_host(host)).or(authority);
        let request_id = match field(&X_REQUEST_ID).filter(|id| is_request_id(id)) {
            Some(id) => id.into(),
            None => hex(&random()),
        };
        let trace = field(&TRACEPARENT).filter(|value| is_traceparent(value));
        Self {
            peer,
            address: chain.map_or(peer, |chain| nearest(chain, peer, trusted)),
            scheme,
            host: host.map(Into::into),
            traceparent: match trace {
                Some(value) => value.into(),
                None => {
                    let (trace, span) = (hex(&random()), hex(&random()));
                    ["00-", &trace, "-", span.get(..16).unwrap_or_default(), "-00"].concat().into_boxed_str()
                }
            },
            tracestate: trace.and_then(|_| headers.get(&TRACESTATE).cloned()),
            forwarded: field(&FORWARDED).map(Into::into),
            port: field(&X_FORWARDED_PORT).filter(|port| port.parse::<u16>().is_ok()).map(Into::into),
            chain: chain.map(Into::into),
            request_id,
            dropped: !believed && (headers.contains_key(&X_FORWARDED_FOR) || headers.contains_key(&FORWARDED)),
        }
    }

    /// The rebuilt headers for the API; the caller has removed every spelling of these names before.
    pub fn headers(&self, into: &mut Vec<(HeaderName, HeaderValue)>) {
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                into.push((name, value));
            }
        };
        let hop = match self.peer {
            Peer::Ip(address) => Some(address.to_string()),
            Peer::Unix => None,
        };
        match (&self.chain, &hop) {
            (Some(chain), Some(hop)) => put(X_FORWARDED_FOR, &[chain, ", ", hop].concat()),
            (Some(only), None) => put(X_FORWARDED_FOR, only),
            (None, Some(only)) => put(X_FORWARDED_FOR, only),
            (None, None) => {}
        }
        put(X_FORWARDED_PROTO, self.scheme);
        if let Some(host) = &self.host {
            put(X_FORWARDED_HOST, host);
        }
        if let Some(port) = &self.port {
            put(X_FORWARDED_PORT, port);
        }
        let peer = match self.peer {
            Peer::Ip(address) => Cow::Owned(node(address, hop.unwrap_or_default())),
            Peer::Unix => Cow::Borrowed("_unix"),
        };
        let host = self.host.as_deref().map_or(["", "", ""], |host| [";host=\"", host, "\""]).concat();
        let element = ["for=", &peer, &host, ";proto=", self.scheme].concat();
        match (&self.forwarded, &self.chain) {
            (None, None) => put(FORWARDED, &element),
            (Some(before), _) => put(FORWARDED, &[before, ", ", &element].concat()),
            // A proxy that speaks only X-Forwarded-For: both headers must name the same client.
            (None, Some(chain)) => {
                let hops = chain.split(',').map(|hop| hop.trim().parse::<IpAddr>());
                let named = |hop: IpAddr| ["for=", &node(hop, hop.to_string()), ", "].concat();
                let before: String = hops.map_while(Result::ok).map(named).collect();
                put(FORWARDED, &format!("{before}{element}"));
            }
        }
        put(X_REQUEST_ID, &self.request_id);
        put(TRACEPARENT, &self.traceparent);
        if let Some(state) = &self.tracestate {
            into.push((TRACESTATE, state.clone()));
        }
    }
}

/// One line, visible ASCII; two lines of a forwarding header are joined by nobody here, hence not read.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    line.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// RFC 7239 6: an IPv6 address is bracketed, and quoted for its colons. `text` is the address as it is written.
fn node(address: IpAddr, text: String) -> String {
    match address {
        IpAddr::V4(_) => text,
        IpAddr::V6(_) => ["\"[", &text, "]\""].concat(),
    }
}

/// The rightmost address that is no trusted proxy: everything left of it could be made up by a stranger.
fn nearest(chain: &str, peer: Peer, trusted: &TrustedProxies) -> Peer {
    let mut nearest = peer;
    for hop in chain.rsplit(',') {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = Peer::Ip(address);
        if !trusted.trusts_address(address) {
            break;
        }
    }
    nearest
}

fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// W3C Trace Context, version 00: lower-case hex, ids not all zero.
fn is_traceparent(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut part = |len: usize, zero_allowed: bool| {
        parts.next().is_some_and(|part| {
            part.len() == len
                && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                && (zero_allowed || part.bytes().any(|b| b != b'0'))
        })
    };
    part(2, true) && part(32, false) && part(16, false) && part(2, true) && parts.next().is_none()
}

fn hex(bytes: &[u8; 16]) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |d| char::from(*d));
    let mut text = String::with_capacity(32);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Client, Peer, TrustedProxies};

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    fn trusted() -> TrustedProxies {
        TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: false }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn written(client: &Client, name: &str) -> Option<String> {
        let mut list = Vec::new();
        client.headers(&mut list);
        list.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_str().unwrap().to_owned())
    }

    fn read(lines: &[(&'static str, &'static str)], from: &str) -> Client {
        Client::read(&headers(lines), Some("api.example.com"), peer(from), false, &trusted(), &|| [7; 16])
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let client = read(
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil.example"),
                ("x-request-id", "mine"),
                ("forwarded", "for=1.2.3.4"),
            ],
            "203.0.113.9",
        );
        assert_eq!(client.address, peer("203.0.113.9"));
        assert!(client.dropped);
        assert_eq!(written(&client, "x-forwarded-for").as_deref(), Some("203.0.113.9"));
        assert_eq!(written(&client, "x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(written(&client, "x-forwarded-host").as_deref(), Some("api.example.com"));
        assert_eq!(written(&client, "x-request-id").as_deref(), Some("07070707070707070707070707070707"));
        assert_eq!(
            written(&client, "forwarded").as_deref(),
            Some("for=203.0.113.9;host=\"api.example.com\";proto=http")
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_extended() {
        let client = read(
            &[
                ("x-forwarded-for", "9.9.9.9, 198.51.100.7, 10.2.2.2"),
                ("x-forwarded-proto", "https"),
                ("x-request-id", "req-1"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ],
            "10.1.1.1",
        );
        assert_eq!(client.address, peer("198.51.100.7"), "what stands left of the first stranger is hearsay");
        assert_eq!(client.scheme, "https");
        assert_eq!(&*client.request_id, "req-1");
        assert_eq!(written(&client, "x-forwarded-for").as_deref(), Some("9.9.9.9, 198.51.100.7, 10.2.2.2, 10.1.1.1"));
        assert_eq!(
            written(&client, "forwarded").as_deref(),
            Some("for=9.9.9.9, for=198.51.100.7, for=10.2.2.2, for=10.1.1.1;host=\"api.example.com\";proto=https"),
            "both headers name one client"
        );
        assert_eq!(&*client.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    }

    #[test]
    fn junk_from_a_trusted_proxy_is_replaced() {
        let client =
            read(&[("x-forwarded-for", "junk"), ("x-request-id", "a b"), ("traceparent", "00-00-00-00")], "10.1.1.1");
        assert_eq!(client.address, peer("10.1.1.1"));
        assert_eq!(client.request_id.len(), 32);
        assert!(client.traceparent.starts_with("00-0707"));
    }
}
