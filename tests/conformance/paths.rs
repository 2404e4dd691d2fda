//! The SDK's path matcher stands behind crossgate in many APIs: what crossgate lets through, both read alike.
//!
//! A spelling that crossgate refuses reaches no matcher, so it agrees with any answer but a match of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crossgate::request::{CanonicalPath, Head, Peer, Rules, Sanitized, View, sanitize};
use crossgate::route::{Access, Definition, Mode, Pattern, Place, Routes, WebSocket};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::Value;

use crate::case::Case;

pub(crate) fn normalize(case: &Case) -> Result<(), String> {
    let path = case.path.as_deref().ok_or("no path")?;
    let Ok(canonical) = CanonicalPath::parse(path.as_bytes()) else { return Ok(()) };
    match case.expect["value"].as_str() {
        Some(expected) if expected == canonical.as_str() => Ok(()),
        expected => Err(format!("expected {expected:?}, got {}", canonical.as_str())),
    }
}

pub(crate) fn matches(case: &Case) -> Result<(), String> {
    let path = case.path.as_deref().ok_or("no path")?;
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("host"), HeaderValue::from_static("example.com"));
    let head = Head {
        method: &Method::GET,
        target: path.as_bytes(),
        authority: None,
        version: Version::HTTP_11,
        headers: &headers,
        peer: Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        tls: false,
    };
    let request = match sanitize(&head, &Rules::default(), &|| [0; 16]) {
        Ok(Sanitized::Request(request, _)) => request,
        Ok(Sanitized::Server(_)) | Err(_) => return Ok(()),
    };
    let found = routes(case)?.find(&View { request: &request, headers: &headers }).is_ok();
    match case.expect["value"].as_bool() {
        Some(expected) if expected == found => Ok(()),
        expected => Err(format!("expected {expected:?}, got {found}")),
    }
}

/// `/x(.*)` of the SDK is `/x/{*rest}` here, which also matches `/x`; no case ends its pattern within a segment.
fn routes(case: &Case) -> Result<Routes, String> {
    let patterns: Vec<&str> = match &case.pattern {
        Value::String(one) => vec![one],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        other => return Err(format!("no pattern: {other}")),
    };
    let define = |pattern: &&str| {
        let text = match pattern.strip_suffix("(.*)") {
            Some(prefix) => format!("{prefix}/{{*rest}}"),
            None => (*pattern).to_owned(),
        };
        Ok(Definition {
            id: Arc::from(*pattern),
            place: Place { file: "case".into(), line: 1 },
            pattern: Pattern::parse(&text).map_err(|problem| format!("{text}: {problem:?}"))?,
            methods: Vec::new(),
            host: None,
            headers: Vec::new(),
            query: Vec::new(),
            access: Access::Public,
            mode: Mode::Enforce,
            timeout: None,
            websocket: WebSocket::default(),
            private: false,
            upstream: 0,
            names_upstream: false,
            exact_paths: true,
            tolerates: crossgate::request::Oddities::NONE,
        })
    };
    let definitions =
        patterns.iter().filter(|pattern| !pattern.is_empty()).map(define).collect::<Result<_, String>>()?;
    Routes::compile(definitions).map_err(|clashes| format!("{clashes:?}"))
}
