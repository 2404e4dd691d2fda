//! The sanitizer on heads of any kind: it never panics, leaves no reserved name in any spelling, and changes nothing in
//! what it has edited already.
#![no_main]

use crossgate::request::{Edits, Head, Peer, Rules, Sanitized, sanitize};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut lines);
    if !matches!(request.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return;
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut headers = HeaderMap::new();
    for line in request.headers.iter() {
        let Ok(name) = HeaderName::from_bytes(line.name.as_bytes()) else { return };
        let Ok(value) = HeaderValue::from_bytes(line.value) else { return };
        headers.append(name, value);
    }
    let mut rules = Rules::default();
    let Some((edits, path)) = run(&method, target.as_bytes(), version, &headers, &rules) else { return };
    let before = headers.clone();
    apply(&edits, &mut headers);
    let target = edits.target.clone().unwrap_or_else(|| target.to_owned());
    assert!(target.starts_with(&path), "what is sent is what was checked");

    let written: Vec<&HeaderName> = edits.insert.iter().map(|(name, _)| name).collect();
    for name in headers.keys() {
        assert!(!rules.reserved.holds(name) || written.contains(&name), "{name} is left of {before:?}");
    }
    // The lines that crossgate adds do not count against the client.
    (rules.limits.headers, rules.limits.header_count) = (usize::MAX, usize::MAX);
    let (second, again) = run(&method, target.as_bytes(), version, &headers, &rules)
        .unwrap_or_else(|| panic!("refused when edited: {headers:?}"));
    assert_eq!(again, path);
    assert_eq!(second.target, None, "the target is settled at once");
    let mut twice = headers.clone();
    apply(&second, &mut twice);
    // Forwarding lines are written anew each time.
    let settled = |map: &HeaderMap| {
        let mut left: Vec<(HeaderName, HeaderValue)> = map
            .iter()
            .filter(|(name, _)| !rules.reserved.holds(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        left.sort_by(|one, other| (one.0.as_str(), one.1.as_bytes()).cmp(&(other.0.as_str(), other.1.as_bytes())));
        left
    };
    assert_eq!(settled(&twice), settled(&headers), "{before:?}");
});

fn run(
    method: &Method,
    target: &[u8],
    version: Version,
    headers: &HeaderMap,
    rules: &Rules,
) -> Option<(Edits, String)> {
    let peer = Peer::Ip("192.0.2.1".parse().unwrap_or_else(|_| unreachable!()));
    let head = Head { method, target, authority: None, version, headers, peer, tls: false };
    match sanitize(&head, rules, &|| [7; 16]).ok()? {
        Sanitized::Request(request, edits) => Some((edits, request.path.as_str().to_owned())),
        Sanitized::Server(_) => None,
    }
}

/// As the gate does it.
fn apply(edits: &Edits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.insert {
        headers.insert(name.clone(), value.clone());
    }
}
