use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use std::collections::HashSet;

use super::{Edits, Head, ReadHeaders, Refusal, Rules, Sanitized, is_host, sanitize, without_port};
use crate::request::client::Peer;
use crate::request::path::PathRefusal;
use crate::request::{Limits, Request};

struct Sent {
    method: &'static str,
    target: &'static str,
    version: Version,
    headers: Vec<(&'static str, &'static str)>,
}

impl Sent {
    fn new(method: &'static str, target: &'static str) -> Self {
        Self { method, target, version: Version::HTTP_11, headers: vec![("host", "api.example.com")] }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn only(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        self.headers = headers.to_vec();
        self
    }

    fn run_with(&self, rules: &Rules) -> Result<Sanitized, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        let head = Head {
            method: &Method::from_bytes(self.method.as_bytes()).unwrap(),
            target: self.target.as_bytes(),
            authority: None,
            version: self.version,
            headers: &map,
            peer: Peer::Ip("203.0.113.9".parse().unwrap()),
            tls: false,
        };
        sanitize(&head, rules, &|| [1; 16])
    }

    fn run(&self) -> Result<Sanitized, Refusal> {
        self.run_with(&Rules::default())
    }

    fn accepted(&self) -> (Box<Request>, Edits) {
        match self.run() {
            Ok(Sanitized::Request(request, edits)) => (request, edits),
            other => panic!("{} {}: {other:?}", self.method, self.target),
        }
    }

    fn refused(&self) -> Refusal {
        self.run().expect_err(self.target)
    }
}

fn get(target: &'static str) -> Sent {
    Sent::new("GET", target)
}

fn post(target: &'static str) -> Sent {
    Sent::new("POST", target)
}

#[test]
fn methods() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        Sent::new(method, "/a").accepted();
    }
    for method in ["get", "TRACE", "CONNECT", "TRACK", "PROPFIND", "PRI", "AAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(Sent::new(method, "/a").refused(), Refusal::Method, "{method}");
    }
    let mut rules = Rules::default();
    rules.extra_methods.insert(Method::from_bytes(b"PROPFIND").unwrap());
    assert!(Sent::new("PROPFIND", "/a").run_with(&rules).is_ok(), "a route names it");
}

#[test]
fn targets() {
    let not_absolute = Refusal::Path(PathRefusal::NotAbsolute);
    for target in ["admin/x", "?admin", "@evil/admin", ":80/admin", "*", "ftp://h/x", "http:/x", "http://h", ""] {
        assert_eq!(get(target).refused(), not_absolute, "{target}");
    }
    assert!(matches!(Sent::new("OPTIONS", "*").run(), Ok(Sanitized::Server(_))));
    let (request, edits) = get("HTTP://API.example.com/a?b").accepted();
    assert_eq!(request.path.as_str(), "/a");
    assert_eq!(edits.target.as_deref(), Some("/a?b"), "absolute-form leaves as origin-form");
    assert_eq!(get("http://other/a").refused(), Refusal::Header("Host and target name two hosts"));
}

#[test]
fn the_target_that_was_checked_is_the_one_that_is_sent() {
    let table = [
        ("canonical", "/a/b?x=%2f&y=1", None),
        ("unreserved decoded", "/%61/b", Some("/a/b")),
        ("upper-cased", "/a%c3%a9?q=%c3", Some("/a%C3%A9?q=%c3")),
        ("empty query kept", "/a?", None),
    ];
    for (name, target, expected) in table {
        assert_eq!(get(target).accepted().1.target.as_deref(), expected, "{name}");
    }
    for target in ["/a?b#c", "/a?b c", "/a?\u{7f}", "/a#b"] {
        assert!(matches!(get(target).refused(), Refusal::Path(_)), "{target}");
    }
}

#[test]
fn framing() {
    let malformed = |sent: Sent, name: &str| match sent.refused() {
        Refusal::Malformed(_) => {}
        other => panic!("{name}: {other:?}"),
    };
    malformed(post("/").with("content-length", "3").with("content-length", "3"), "two equal lengths");
    malformed(post("/").with("content-length", "3, 3"), "a list");
    for length in ["+3", "-3", "0x3", "3.0", "", "3_0", " "] {
        malformed(post("/").with("content-length", length), length);
    }
    malformed(post("/").with("content-length", "3").with("transfer-encoding", "chunked"), "both");
    for coding in ["gzip, chunked", ", chunked", "identity", "xchunked", "\"chunked\""] {
        malformed(post("/").with("transfer-encoding", coding), coding);
    }
    malformed(post("/").with("transfer-encoding", "chunked").with("transfer-encoding", "chunked"), "two codings");
    for method in ["GET", "HEAD", "OPTIONS"] {
        malformed(Sent::new(method, "/").with("content-length", "1"), method);
        malformed(Sent::new(method, "/").with("transfer-encoding", "chunked"), method);
        Sent::new(method, "/").with("content-length", "0").accepted();
    }
    let mut old = post("/").with("transfer-encoding", "chunked");
    old.version = Version::HTTP_10;
    malformed(old, "chunked in HTTP/1.0");
    for huge in ["18446744073709551615", "9223372036854775808", "99999999999999999999"] {
        assert_eq!(post("/").with("content-length", huge).refused(), Refusal::BodyTooLarge, "{huge}");
    }
    post("/").with("content-length", "3").accepted();
    post("/").with("transfer-encoding", "Chunked").accepted();
    Sent::new("DELETE", "/").with("content-length", "3").accepted();
}

#[test]
fn expectations() {
    post("/").with("content-length", "3").with("expect", "100-continue").accepted();
    for sent in [
        post("/").with("content-length", "3").with("expect", "200-maybe"),
        post("/").with("content-length", "3").with("expect", "100-continue").with("expect", "100-continue"),
        get("/").with("expect", "100-continue"),
    ] {
        assert_eq!(sent.refused(), Refusal::Expect);
    }
}

#[test]
fn hosts() {
    for host in ["a", "a.example.com", "A.Example.com:8080", "127.0.0.1", "[::1]", "[::1]:80", "a_b"] {
        assert!(is_host(host), "{host}");
    }
    for host in
        ["", "a/b", "a,b", "a#b", "a?b", "a:1:2", "[::1", "::1", "a@b", "a b", ".a", "a..b", "a:", "a:99999", "a%41"]
    {
        assert!(!is_host(host), "{host}");
    }
    assert_eq!(without_port("[::1]:80"), "[::1]");
    assert_eq!(without_port("a:80"), "a");
    assert_eq!(get("/").only(&[]).refused(), Refusal::Header("no Host"));
    assert_eq!(get("/").with("host", "b").refused(), Refusal::Header("two Host lines"));
    let mut old = get("/").only(&[]);
    old.version = Version::HTTP_10;
    assert!(old.accepted().0.host.is_none());
    assert_eq!(get("/").only(&[("host", "API.Example.com:81")]).accepted().0.host.as_deref(), Some("api.example.com"));
}

#[test]
fn connection_nominations() {
    let (_, edits) = get("/").with("connection", "close, X-Hop").with("x-hop", "1").accepted();
    assert!(edits.remove.iter().any(|name| name == "x-hop"));
    assert!(edits.insert.iter().any(|(name, value)| name == "connection" && value == "close"));
    for nominated in ["cookie", "Authorization", "host", "x-crossgate-subject", "X_Crossgate_Org", "x-forwarded-for"] {
        let sent = get("/").with("connection", nominated);
        assert_eq!(
            sent.refused(),
            Refusal::Header("Connection nominates a header that crossgate reads or writes"),
            "{nominated}"
        );
    }
    assert!(matches!(get("/").with("connection", "\"quoted\"").refused(), Refusal::Header(_)));
    let (_, edits) = get("/").with("connection", "keep-alive").accepted();
    assert!(edits.remove.is_empty(), "the usual line stays as it is");
}

#[test]
fn reserved_names_and_forwarding_headers_are_replaced() {
    let (_, edits) = get("/")
        .with("x_crossgate_subject", "user_evil")
        .with("X-Forwarded-For", "1.1.1.1")
        .with("x-original-url", "/admin")
        .with("x-tenant", "mine")
        .accepted();
    for gone in ["x_crossgate_subject", "x-forwarded-for", "x-original-url"] {
        assert!(edits.remove.iter().any(|name| name == gone), "{gone}");
    }
    assert!(!edits.remove.iter().any(|name| name == "x-tenant"));
    let forwarded: Vec<_> = edits.insert.iter().filter(|(name, _)| name == "x-forwarded-for").collect();
    assert_eq!(forwarded.len(), 1);
    assert_eq!(forwarded[0].1, "203.0.113.9");
}

#[test]
fn sizes() {
    let limits = Limits { headers: 200, header_count: 3, uri: 10, body: Some(5), ..Limits::default() };
    let rules = Rules { limits, ..Rules::default() };
    assert_eq!(get("/aaaaaaaaaa").run_with(&rules).unwrap_err(), Refusal::TargetTooLong);
    assert_eq!(
        get("/").with("a", "1").with("b", "2").with("c", "3").run_with(&rules).unwrap_err(),
        Refusal::HeadersTooLarge
    );
    let long: &'static str = Box::leak("x".repeat(300).into_boxed_str());
    assert_eq!(get("/").with("a", long).run_with(&rules).unwrap_err(), Refusal::HeadersTooLarge);
    assert_eq!(post("/").with("content-length", "6").run_with(&rules).unwrap_err(), Refusal::BodyTooLarge);
    assert!(post("/").with("content-length", "5").run_with(&rules).is_ok());
}

#[test]
fn what_decisions_read_stands_once() {
    let twice = |name: &'static str| get("/").with(name, "a").with(name, "a");
    for name in ["origin", "sec-fetch-site", "authorization", "access-control-request-method"] {
        assert!(matches!(twice(name).refused(), Refusal::Header(_)), "{name}");
    }
    twice("accept").accepted();
    let read_headers = ReadHeaders::new(HashSet::from([HeaderName::from_static("x-env")]));
    let rules = Rules { read_headers, ..Rules::default() };
    assert!(twice("x-env").run_with(&rules).is_err());
}

#[test]
fn twins_of_what_decisions_read_are_removed() {
    let read_headers = ReadHeaders::new(HashSet::from([HeaderName::from_static("x-env")]));
    let rules = Rules { read_headers, ..Rules::default() };
    let sent = get("/").with("x-env", "prod").with("x_env", "dev").with("x.env", "dev").with("x_other", "1");
    let Ok(Sanitized::Request(_, edits)) = sent.run_with(&rules) else { panic!("accepted") };
    let removed: Vec<_> = edits.remove.iter().map(HeaderName::as_str).collect();
    assert_eq!(removed, ["x_env", "x.env"]);
    let (_, edits) = post("/").with("content-length", "1").with("transfer_encoding", "chunked").accepted();
    assert!(edits.remove.iter().any(|name| name == "transfer_encoding"));
}

#[test]
fn an_address_has_one_spelling_and_a_named_host_needs_one() {
    let (request, _) = get("/").only(&[("host", "[0:0:0:0:0:0:0:1]:80")]).accepted();
    assert_eq!(request.host.as_deref(), Some("[::1]"));
    let mut old = get("/").only(&[]);
    old.version = Version::HTTP_10;
    assert!(old.run_with(&Rules { hosts_named: true, ..Rules::default() }).is_err());
}

#[test]
fn cookie_crumbs_are_joined() {
    let (_, edits) = get("/").with("cookie", "a=1").with("cookie", "b=2").accepted();
    assert!(edits.insert.iter().any(|(name, value)| name == "cookie" && value == "a=1; b=2"));
}

#[test]
fn preflights() {
    let asked = Sent::new("OPTIONS", "/a")
        .with("origin", "https://app.example.com")
        .with("access-control-request-method", "DELETE");
    assert_eq!(asked.accepted().0.preflight, Some(Method::DELETE));
    let plain = Sent::new("OPTIONS", "/a").with("origin", "https://app.example.com");
    assert_eq!(plain.accepted().0.preflight, None);
    let asked = || Sent::new("OPTIONS", "/a").with("access-control-request-method", "DELETE");
    for (name, sent) in [
        ("no origin at all", asked().with("origin", "")),
        ("half an origin", asked().with("origin", "x")),
        ("an origin with a path", asked().with("origin", "https://a.example/x")),
        ("with a cookie", asked().with("origin", "https://a.example").with("cookie", "a=1")),
        ("with a token", asked().with("origin", "https://a.example").with("authorization", "Bearer a.b.c")),
    ] {
        assert_eq!(sent.accepted().0.preflight, None, "{name}");
    }
    assert_eq!(asked().with("origin", "null").accepted().0.preflight, Some(Method::DELETE));
    let trace =
        Sent::new("OPTIONS", "/a").with("origin", "https://a.example").with("access-control-request-method", "TRACE");
    assert_eq!(trace.refused(), Refusal::Method);
}
