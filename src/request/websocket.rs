//! The WebSocket handshake (RFC 6455 4.2.1): complete and valid, or no upgrade at all.
//!
//! Whatever says `Upgrade: websocket` turns the connection into a tunnel that nobody looks into, so a handshake that two
//! servers could read in two ways is refused: one of them would take what follows for requests. Other upgrades (`h2c`)
//! are dropped, and the request is a plain one. Called by `sanitize`; never decides who may open a tunnel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Version};

use super::sanitize::{Head, Refusal};

/// A handshake that may be answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// `Sec-WebSocket-Key`, from which the answer's `Sec-WebSocket-Accept` is made.
    pub key: Box<str>,
}

/// The handshake, if the request is one.
pub(super) fn handshake(head: &Head<'_>) -> Result<Option<Handshake>, Refusal> {
    let mut upgrades = head.headers.get_all(UPGRADE).iter();
    let Some(first) = upgrades.next() else { return Ok(None) };
    let names_websocket = |value: &HeaderValue| {
        let token = |token: &[u8]| {
            let name = token.split(|byte| *byte == b'/').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(b"websocket")
        };
        value.as_bytes().split(|byte| *byte == b',').any(token)
    };
    if !head.headers.get_all(UPGRADE).iter().any(names_websocket) {
        return Ok(None);
    }
    let refused = |reason| Err(Refusal::Malformed(reason));
    if upgrades.next().is_some() || !first.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return refused("a WebSocket handshake offers another upgrade beside");
    }
    if *head.method != Method::GET || head.version != Version::HTTP_11 {
        return refused("a WebSocket handshake is a GET of HTTP/1.1");
    }
    if head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING) {
        return refused("a WebSocket handshake has no body");
    }
    let nominated = head.headers.get_all(CONNECTION).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    if !nominated {
        return refused("a WebSocket handshake without `Connection: upgrade`");
    }
    if one(head, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return refused("a WebSocket handshake without `Sec-WebSocket-Version: 13`");
    }
    match one(head, &SEC_WEBSOCKET_KEY) {
        Some(key) if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => {
            Ok(Some(Handshake { key: key.into() }))
        }
        _ => refused("a WebSocket handshake without one key of 16 bytes"),
    }
}

/// The value of a header that stands once.
fn one<'a>(head: &Head<'a>, name: &HeaderName) -> Option<&'a str> {
    let mut lines = head.headers.get_all(name).iter();
    let value = lines.next()?.to_str().ok()?;
    lines.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method, Version};

    use super::handshake;
    use crate::request::client::Peer;
    use crate::request::sanitize::Head;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn read(method: &Method, version: Version, lines: &[(&str, &str)]) -> Result<bool, ()> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let head =
            Head { method, target: b"/", authority: None, version, headers: &headers, peer: Peer::Unix, tls: false };
        handshake(&head).map(|found| found.is_some()).map_err(|_| ())
    }

    #[test]
    fn a_handshake_is_complete_or_refused() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        assert_eq!(read(&Method::GET, Version::HTTP_11, &good), Ok(true));
        let without = |name: &str| good.iter().copied().filter(|(key, _)| *key != name).collect::<Vec<_>>();
        let with = |name, value| [without(name), vec![(name, value)]].concat();
        let and = |name, value| [good.to_vec(), vec![(name, value)]].concat();
        let table = [
            ("no connection", without("connection")),
            ("another connection", with("connection", "keep-alive")),
            ("no version", without("sec-websocket-version")),
            ("an old version", with("sec-websocket-version", "8")),
            ("two versions", and("sec-websocket-version", "13")),
            ("no key", without("sec-websocket-key")),
            ("a short key", with("sec-websocket-key", "dGhl")),
            ("no base64", with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=!")),
            ("two keys", and("sec-websocket-key", KEY)),
            ("two upgrades", and("upgrade", "websocket")),
            ("another beside", and("upgrade", "h2c")),
            ("a list", with("upgrade", "h2c, websocket")),
            ("a version of it", with("upgrade", "websocket/13")),
            ("a length", and("content-length", "0")),
            ("chunks", and("transfer-encoding", "chunked")),
        ];
        for (name, lines) in table {
            assert_eq!(read(&Method::GET, Version::HTTP_11, &lines), Err(()), "{name}");
        }
        assert_eq!(read(&Method::POST, Version::HTTP_11, &good), Err(()));
        assert_eq!(read(&Method::GET, Version::HTTP_10, &good), Err(()));
        assert_eq!(read(&Method::GET, Version::HTTP_11, &with("upgrade", "h2c")), Ok(false), "a plain request");
        assert_eq!(read(&Method::GET, Version::HTTP_11, &without("upgrade")), Ok(false));
    }
}
