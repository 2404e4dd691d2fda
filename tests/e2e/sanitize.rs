//! What may be sent at all: whatever could be read in two ways is refused, and nothing of it reaches the API.

use super::bed::{Bed, Running};
use super::issuer::token;
use super::wire::Wire;

/// Refused by the parser or by crossgate's own rules: which of them saw it first is no promise.
const MALFORMED: &str = "bad_request|bad_header";

/// Sends each and expects a refusal with this status (and code, where crossgate had a request to answer), and an API
/// that saw nothing.
fn refused(bed: &Running, table: &[(&str, Vec<u8>, u16, &str)]) {
    for (name, bytes, status, code) in table {
        let before = (bed.origin().count(), bed.origin().connections());
        let answer = bed.answer_to(bytes).unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(answer.status, *status, "{name}: {}", answer.text());
        assert!(code.split('|').any(|code| code == answer.code()), "{name}: {code}: {}", answer.text());
        assert!(answer.header("server").is_none(), "{name}: crossgate does not advertise what it is built on");
        assert_eq!((bed.origin().count(), bed.origin().connections()), before, "{name}: something reached the API");
    }
}

fn head(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

const HOST: &str = "Host: api.test";

#[test]
fn methods() {
    let bed = Bed::new().start();
    let table: Vec<(&str, Vec<u8>, u16, &str)> = [
        ("TRACE", "TRACE /public/x"),
        ("lower case", "get /public/x"),
        ("unknown", "BREW /public/x"),
        ("WebDAV, named by no route", "PROPFIND /public/x"),
        ("CONNECT in origin form", "CONNECT /public/x"),
    ]
    .iter()
    .map(|(name, line)| (*name, head(line, &[HOST]), 405, "bad_method"))
    .collect();
    refused(&bed, &table);
    let answer = bed.answer_to(head("BREW /public/x", &[HOST])).unwrap();
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")));
}

#[test]
fn a_route_may_name_another_method() {
    let policy = "routes:\n  - { id: dav, match: { method: [PROPFIND], path: /dav }, access: public }\n  - { id: open, match: { path: /open }, access: public }\n";
    let bed = Bed::new().policy(policy).start();
    assert_eq!(bed.call("PROPFIND", "/dav").send().outcome(), "200 ok");
    assert_eq!(bed.call("MKCOL", "/dav").send().outcome(), "405 bad_method");
    let before = bed.origin().count();
    assert_eq!(
        bed.call("PROPFIND", "/open").send().outcome(),
        "403 no_route",
        "it opens no route that does not name it"
    );
    assert_eq!(bed.origin().count(), before);
}

#[test]
fn sizes() {
    let bed = Bed::new().section("limits: { headers: 4KiB, header_count: 20, uri: 1KiB, body: 10KiB }").start();
    let long = "x".repeat(5000);
    let many: Vec<String> = (0..25).map(|n| format!("x-{n}: 1")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push(HOST);
    refused(
        &bed,
        &[
            ("target", head(&format!("GET /public/{}", "x".repeat(1100)), &[HOST]), 414, "uri_too_long"),
            ("query", head(&format!("GET /public/x?{}", "x".repeat(1100)), &[HOST]), 414, "uri_too_long"),
            ("one header", head("GET /public/x", &[HOST, &format!("x-long: {long}")]), 431, "headers_too_large"),
            ("many headers", head("GET /public/x", &many), 431, "headers_too_large"),
            (
                "a length that is no number of bytes",
                head("POST /public/x", &[HOST, &format!("Content-Length: {}", "9".repeat(20))]),
                400,
                "bad_request",
            ),
            ("declared body", head("POST /public/x", &[HOST, "Content-Length: 10241"]), 413, "too_large"),
            ("absurd body", head("POST /public/x", &[HOST, "Content-Length: 4000000000000000000"]), 413, "too_large"),
        ],
    );
    let at_the_limit = vec![b'x'; 10 * 1024];
    let answer = bed.post("/public/x").body(&at_the_limit).send();
    assert_eq!(answer.outcome(), "200 ok");
    assert_eq!(bed.origin().last().body, at_the_limit);
    assert_eq!(bed.post("/public/x").chunked(&at_the_limit).send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().body, at_the_limit);

    let over = vec![b'x'; 40 * 1024];
    assert_eq!(bed.post("/public/x").chunked(&over).send().outcome(), "413 too_large");
    assert!(!bed.origin().all().iter().any(|request| request.body.len() > 10 * 1024));
}

#[test]
fn hosts() {
    let bed = Bed::new().start();
    let get = |headers: &[&str]| head("GET /public/x", headers);
    refused(
        &bed,
        &[
            ("none", get(&[]), 400, MALFORMED),
            ("two", get(&[HOST, HOST]), 400, MALFORMED),
            ("two different", get(&[HOST, "Host: other.test"]), 400, MALFORMED),
            ("empty", get(&["Host:"]), 400, MALFORMED),
            ("userinfo", get(&["Host: a@api.test"]), 400, MALFORMED),
            ("path", get(&["Host: api.test/x"]), 400, MALFORMED),
            ("two ports", get(&["Host: api.test:1:2"]), 400, MALFORMED),
            ("a port that is none", get(&["Host: api.test:x"]), 400, MALFORMED),
            ("port too large", get(&["Host: api.test:65536"]), 400, MALFORMED),
            ("escape", get(&["Host: api%2etest"]), 400, MALFORMED),
            ("bad v6", get(&["Host: [::g]"]), 400, MALFORMED),
            ("comma", get(&["Host: a.test, b.test"]), 400, MALFORMED),
        ],
    );
    for good in ["api.test", "API.test:8080", "[::1]:80", "127.0.0.1", "a_b.test"] {
        assert_eq!(bed.get("/public/x").host(good).send().outcome(), "200 ok", "{good}");
    }
    let old = bed.answer_to(b"GET /public/x HTTP/1.0\r\n\r\n").map(|answer| answer.status);
    assert_eq!(old, Some(200), "HTTP/1.0 needs no Host");
}

#[test]
fn an_unknown_host_is_misdirected_only_where_every_route_names_one() {
    let policy = "routes:\n  - { id: a, match: { path: /x, host: a.test }, access: public }\n  - { id: b, match: { path: /x, host: \"*.b.test\" }, access: public }\n";
    let bed = Bed::new().policy(policy).start();
    assert_eq!(bed.get("/x").host("a.test:80").send().outcome(), "200 ok");
    assert_eq!(bed.get("/x").host("c.b.test").send().outcome(), "200 ok");
    assert_eq!(bed.get("/x").host("c.test").send().outcome(), "421 bad_authority");
    assert_eq!(bed.get("/y").host("a.test").send().outcome(), "403 no_route");
}

/// A request to the API that a server sees which takes the first one's body for the next request.
const SMUGGLED: &str =
    "GET /api/orgs/org_acme/invoices HTTP/1.1\r\nHost: api.test\r\nx-crossgate-subject: evil\r\n\r\n";

#[test]
fn framing_that_two_servers_read_in_two_ways() {
    let bed = Bed::new().section("limits: { keepalive: 2s }").start();
    let length = SMUGGLED.len();
    let with = |line: &str, headers: &[&str]| {
        let mut all = vec![HOST];
        all.extend_from_slice(headers);
        let mut bytes = head(line, &all);
        bytes.extend_from_slice(SMUGGLED.as_bytes());
        bytes
    };
    let declared = format!("Content-Length: {length}");
    let chunk = |line: &str, coding: &str| {
        let mut bytes = head(line, &[HOST, coding]);
        bytes.extend_from_slice(format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n").as_bytes());
        bytes
    };
    let table = [
        ("two lengths, equal", with("POST /public/x", &[&declared, &declared])),
        ("two lengths, different", with("POST /public/x", &["Content-Length: 0", &declared])),
        ("a list of lengths", with("POST /public/x", &[&format!("{declared}, {length}")])),
        ("length with a sign", with("POST /public/x", &["Content-Length: +0"])),
        ("length in hex", with("POST /public/x", &["Content-Length: 0x0"])),
        ("negative length", with("POST /public/x", &["Content-Length: -1"])),
        ("empty length", with("POST /public/x", &["Content-Length:"])),
        ("length and chunked", with("POST /public/x", &["Content-Length: 0", "Transfer-Encoding: chunked"])),
        ("chunked and length", with("POST /public/x", &["Transfer-Encoding: chunked", &declared])),
        ("gzip, chunked", chunk("POST /public/x", "Transfer-Encoding: gzip, chunked")),
        ("chunked, gzip", chunk("POST /public/x", "Transfer-Encoding: chunked, gzip")),
        ("identity", with("POST /public/x", &["Transfer-Encoding: identity", &declared])),
        ("a name that ends alike", with("POST /public/x", &["Transfer-Encoding: xchunked"])),
        ("chunked twice", chunk("POST /public/x", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("chunked, quoted", with("POST /public/x", &["Transfer-Encoding: \"chunked\""])),
        ("a body on GET", with("GET /public/x", &[&declared])),
        ("a body on HEAD", with("HEAD /public/x", &[&declared])),
        ("a body on OPTIONS", with("OPTIONS /public/x", &[&declared])),
        ("chunks on GET", chunk("GET /public/x", "Transfer-Encoding: chunked")),
        ("chunked in HTTP/1.0", {
            let mut bytes = b"POST /public/x HTTP/1.0\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            bytes.extend_from_slice(format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n").as_bytes());
            bytes
        }),
        ("a space before the colon", with("POST /public/x", &["Content-Length : 0"])),
        ("a folded line", with("POST /public/x", &["x-a: 1\r\n Transfer-Encoding: chunked"])),
        ("a bare CR", with("POST /public/x", &["x-a: 1\rTransfer-Encoding: chunked"])),
        ("a NUL", with("POST /public/x", &["x-a: \0"])),
    ];
    for (name, bytes) in table {
        let before = (bed.origin().count(), bed.origin().connections());
        let mut wire = bed.connect();
        wire.write(&bytes);
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        let answer = wire.response(method).unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        // One refusal and the end of the connection: what stands behind it is nobody's request.
        let behind = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(behind.is_empty(), "{name}: {behind}");
        assert_eq!((bed.origin().count(), bed.origin().connections()), before, "{name}: something reached the API");
    }
    assert_eq!(bed.get("/public/x").header("content-length", "0").send().outcome(), "200 ok", "0 is no body");
}

#[test]
fn a_body_is_forwarded_as_one_body() {
    let bed = Bed::new().start();
    for call in [bed.post("/public/x").body(SMUGGLED), bed.post("/public/x").chunked(SMUGGLED.as_bytes())] {
        assert_eq!(call.send().outcome(), "200 ok");
        assert_eq!(bed.origin().last().body, SMUGGLED.as_bytes());
    }
    assert_eq!(bed.origin().count(), 2);
}

#[test]
fn targets() {
    let bed = Bed::new().start();
    refused(
        &bed,
        &[
            ("no slash", head("GET public/x", &[HOST]), 400, "bad_path"),
            ("userinfo form", head("GET @evil.test/public/x", &[HOST]), 400, "bad_path"),
            ("port form", head("GET :80/public/x", &[HOST]), 400, "bad_path"),
            ("asterisk", head("GET *", &[HOST]), 400, "bad_path"),
            ("absolute without a path", head("GET http://api.test", &[HOST]), 400, "bad_path"),
            ("absolute, another host", head("GET http://evil.test/public/x", &[HOST]), 400, MALFORMED),
            ("absolute, another scheme", head("GET ftp://api.test/public/x", &[HOST]), 400, "bad_path"),
            ("fragment", head("GET /public/x#y", &[HOST]), 400, "bad_path"),
            ("semicolon", head("GET /public/x;a=b", &[HOST]), 400, "bad_path"),
            ("backslash", head("GET /public\\x", &[HOST]), 400, "bad_path"),
            ("encoded backslash", head("GET /public/%5cx", &[HOST]), 400, "bad_path"),
            ("encoded NUL", head("GET /public/%00", &[HOST]), 400, "bad_path"),
            ("bad escape", head("GET /public/%zz", &[HOST]), 400, "bad_path"),
            ("double escape", head("GET /public/%252e%252e/x", &[HOST]), 400, "bad_path"),
            ("hash in the query", head("GET /public/x?a#b", &[HOST]), 400, "bad_path"),
        ],
    );
    let answer = bed.call("GET", "http://api.test/public/x?y=1").host("api.test").send();
    assert_eq!(answer.outcome(), "200 ok");
    assert_eq!(bed.origin().last().target(), "/public/x?y=1", "the API gets origin form");

    let before = bed.origin().count();
    let answer = bed.call("OPTIONS", "*").send();
    assert_eq!((answer.status, bed.origin().count()), (204, before), "crossgate answers for the server");
    assert!(answer.header("allow").is_some());
}

#[test]
fn what_was_checked_is_what_is_sent() {
    let bed = Bed::new().start();
    let table = [
        ("/public/x", "/public/x"),
        ("/public/%78", "/public/x"),
        ("/public/a%20b%c3%a9", "/public/a%20b%C3%A9"),
        ("/public/x?a=%41&b=+&c='[]{}|\\^`&&=%zz", "/public/x?a=%41&b=+&c='[]{}|\\^`&&=%zz"),
        ("/public/x?next=/../admin//;x", "/public/x?next=/../admin//;x"),
        ("/public/x?", "/public/x?"),
        ("/public/", "/public/"),
        ("/public", "/public"),
    ];
    for (sent, expected) in table {
        assert_eq!(bed.get(sent).send().outcome(), "200 ok", "{sent}");
        assert_eq!(bed.origin().last().target(), expected, "{sent}");
    }
}

const READINGS: &str = "
routes:
  - { id: open, match: { path: \"/files/{*rest}\" }, access: public }
  - { id: admin, match: { path: /files/Admin } }
";

#[test]
fn another_reading_does_not_reach_another_rule() {
    let bed = Bed::new().policy(READINGS).start();
    for (path, expected) in [
        ("/files/readme", "200 ok"),
        ("/files/README", "200 ok"),
        ("/files/readme/", "200 ok"),
        ("/files/Admin", "401 no_credential"),
        ("/files/admin", "400 bad_path"),
        ("/files/ADMIN", "400 bad_path"),
        ("/files/Admin/", "400 bad_path"),
        ("/files/admin/", "400 bad_path"),
        ("/FILES/readme", "403 no_route"),
    ] {
        assert_eq!(bed.get(path).send().outcome(), expected, "{path}");
    }
}

#[test]
fn an_exact_api_tells_readings_apart() {
    let bed = Bed::new().policy(READINGS).upstream_option("paths: exact").start();
    for (path, expected) in [
        ("/files/admin", "200 ok"),
        ("/files/Admin/", "200 ok"),
        ("/files/Admin", "401 no_credential"),
        ("/files//x", "400 bad_path"),
    ] {
        assert_eq!(bed.get(path).send().outcome(), expected, "{path}");
    }
}

#[test]
fn expectations() {
    let bed = Bed::new().start();
    refused(
        &bed,
        &[
            ("unknown", head("POST /public/x", &[HOST, "Content-Length: 1", "Expect: 200-ok"]), 417, "bad_expect"),
            ("without a body", head("GET /public/x", &[HOST, "Expect: 100-continue"]), 417, "bad_expect"),
        ],
    );
    let mut wire = bed.connect();
    wire.write(&head("POST /public/x", &[HOST, "Content-Length: 5", "Expect: 100-continue"]));
    let first = String::from_utf8(wire.head().expect("100 Continue")).unwrap();
    assert!(first.starts_with("HTTP/1.1 100 "), "{first}");
    wire.write(b"hello");
    assert_eq!(wire.response("POST").unwrap().outcome(), "200 ok");
    assert_eq!(bed.origin().last().body, b"hello");

    let answer = bed.answer_to(head("POST /me", &[HOST, "Content-Length: 5", "Expect: 100-continue"])).unwrap();
    assert_eq!(answer.outcome(), "401 no_credential", "nobody is asked for a body that will not be taken");
}

#[test]
fn a_refusal_without_a_body_keeps_the_connection() {
    let bed = Bed::new().start();
    let good = token("user_ada").sign();
    let mut wire = bed.connect();
    for (call, expected) in [
        (bed.get("/me"), "401 no_credential"),
        (bed.get("/me").bearer("junk"), "401 clerk_invalid"),
        (bed.get("/nowhere"), "403 no_route"),
        (bed.get("/public/%2e%2e/"), "400 bad_path"),
        (bed.call("HEAD", "/me"), "401 ok"),
        (bed.post("/me").body(""), "401 no_credential"),
        (bed.get("/me").bearer(&good), "200 ok"),
        (bed.call("OPTIONS", "*"), "204 ok"),
        (bed.post("/me").bearer(&good).body("x"), "200 ok"),
        (bed.get("/me"), "401 no_credential"),
    ] {
        let answer = wire.exchange(&call);
        let outcome = if answer.body.is_empty() { format!("{} ok", answer.status) } else { answer.outcome() };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn a_refusal_of_a_request_with_a_body_does_not_run_the_body() {
    let bed = Bed::new().section("limits: { keepalive: 2s }").start();
    let mut bytes = bed.post("/me").body(SMUGGLED).bytes();
    bytes.extend_from_slice(&bed.get("/public/behind").bytes());
    let mut wire = bed.connect();
    wire.write(&bytes);
    assert_eq!(wire.response("POST").map(|answer| answer.outcome()).as_deref(), Some("401 no_credential"));
    let behind = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(behind.is_empty() || behind.starts_with("HTTP/1.1 200 "), "{behind}");
    assert!(!bed.origin().all().iter().any(|request| request.text().contains("evil")));
}

#[test]
fn a_chunked_request_ends_its_connection() {
    let bed = Bed::new().start();
    let mut wire = bed.connect();
    let answer = wire.exchange(&bed.post("/public/x").chunked(b"hello"));
    assert_eq!(answer.outcome(), "200 ok");
    assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
    assert!(wire.rest().is_empty(), "closed, nothing behind it");
}

#[test]
fn pipelined_requests_are_answered_in_order_each_as_itself() {
    let bed = Bed::new().start();
    let good = token("user_ada").sign();
    let mut wire = bed.connect();
    let mut bytes = bed.get("/me/1").bearer(&good).bytes();
    bytes.extend(bed.get("/me/2").bytes());
    bytes.extend(bed.get("/public/3").bytes());
    wire.write(&bytes);
    // Pipelining may be cut short, but never mixed up.
    let outcomes: Vec<String> = std::iter::from_fn(|| read(&mut wire)).take(3).collect();
    assert!(
        ["200 ok", "401 no_credential", "200 ok"].starts_with(&outcomes.iter().map(String::as_str).collect::<Vec<_>>()),
        "{outcomes:?}"
    );
    assert!(bed.origin().all().iter().all(|request| request.target() != "/me/2"));
}

fn read(wire: &mut Wire) -> Option<String> {
    wire.response("GET").map(|answer| answer.outcome())
}

#[test]
fn an_upgrade_to_anything_else_is_a_plain_request() {
    let bed = Bed::new().start();
    for upgrade in ["h2c", "foo", "TLS/1.0, IRC/6.9"] {
        let answer = bed.get("/public/x").header("connection", "Upgrade").header("upgrade", upgrade).send();
        assert_eq!(answer.outcome(), "200 ok", "{upgrade}");
        assert!(bed.origin().last().values("upgrade").is_empty(), "{upgrade}");
    }
}

/// What the parser below would take or mend; the guard answers before it.
#[test]
fn a_head_is_read_in_one_way_or_not_at_all() {
    let bed = Bed::new().start();
    let table: [(&str, &[u8], u16, &str); 14] = [
        ("bare line feeds", b"GET /public/x HTTP/1.1\nHost: api.test\n\n", 400, "bad_request"),
        ("one bare line feed", b"GET /public/x HTTP/1.1\r\nHost: api.test\n\r\n", 400, "bad_request"),
        (
            "a request behind two line feeds",
            b"GET /public/x HTTP/1.1\r\nHost: api.test\r\nX: a\n\nGET /admin HTTP/1.1\r\nHost: api.test\r\n\r\n",
            400,
            "bad_request",
        ),
        ("a bare carriage return", b"GET /public/x HTTP/1.1\r\nHost: api.test\r\nX: a\rb\r\n\r\n", 400, "bad_request"),
        ("a folded line", b"GET /public/x HTTP/1.1\r\nHost: api.test\r\nX: a\r\n b\r\n\r\n", 400, "bad_header"),
        ("a space before the colon", b"GET /public/x HTTP/1.1\r\nHost : api.test\r\n\r\n", 400, "bad_header"),
        ("no name", b"GET /public/x HTTP/1.1\r\nHost: api.test\r\n: a\r\n\r\n", 400, "bad_header"),
        ("NUL in a value", b"GET /public/x HTTP/1.1\r\nHost: api.test\r\nX: a\0b\r\n\r\n", 400, "bad_header"),
        ("a space in the target", b"GET /public/x y HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_request"),
        ("a quote in the target", b"GET /public/\"x HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_path"),
        ("bytes beyond ASCII", b"GET /public/\xc3\xa9 HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_path"),
        ("two spaces", b"GET  /public/x HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_request"),
        ("tabs", b"GET\t/public/x\tHTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_request"),
        ("another version", b"GET /public/x HTTP/1.2\r\nHost: api.test\r\n\r\n", 400, "bad_request"),
    ];
    let table: Vec<_> =
        table.iter().map(|(name, bytes, status, code)| (*name, bytes.to_vec(), *status, *code)).collect();
    refused(&bed, &table);
    let huge = format!("GET /public/x HTTP/1.1\r\nHost: api.test\r\nX: {}\r\n\r\n", "a".repeat(300_000));
    refused(&bed, &[("a head beyond all limits", huge.into_bytes(), 431, "headers_too_large")]);
    let metrics = bed.ask_admin("/metrics").text();
    assert!(metrics.contains("crossgate_guard_refused_total{code=\"bad_path\"} 2"), "{metrics}");
}

/// Behind a refusal with an unread body nothing is taken for a head, and nothing is answered twice.
#[test]
fn an_unread_body_is_no_head() {
    let bed = Bed::new().start();
    let body = "GET /public/x HTTP/1.1\nHost: api.test\n\n";
    let sent = format!("POST /me HTTP/1.1\r\n{HOST}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let all = bed.raw(sent);
    assert!(all.starts_with("HTTP/1.1 401 "), "{all}");
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
}

/// The message at the API is never completed, and nothing behind a bad chunk line is taken for a request.
#[test]
fn a_chunked_body_is_read_in_one_way_or_not_at_all() {
    let bed = Bed::new().start();
    let post = |body: &[u8]| {
        let head = format!("POST /public/x HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    assert_eq!(bed.call("POST", "/public/x").chunked(b"abc").send().outcome(), "200 ok", "the good neighbour");
    let long = [b"3;".as_slice(), &[b'a'; 9000], b"\r\nabc\r\n0\r\n\r\n"].concat();
    let table: Vec<(&str, Vec<u8>, u16, &str)> = [
        ("an empty size", b"\r\nGET /public/x HTTP/1.1\r\n\r\n".as_slice()),
        ("an extension without size", b";\r\n\r\n"),
        ("a line feed in an extension", b"3;a\nabc\r\n0\r\n\r\n"),
        ("a long extension", &long),
        ("a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
        ("a prefix", b"0x3\r\nabc\r\n0\r\n\r\n"),
        ("more data than size", b"3\r\nabcd\r\n0\r\n\r\n"),
        ("a bare line feed behind data", b"3\r\nabc\n0\r\n\r\n"),
        ("a size beyond all bodies", b"ffffffffffffffff\r\n"),
    ]
    .iter()
    .map(|(name, body)| (*name, post(body), 400, "bad_request"))
    .collect();
    refused(&bed, &table);
}

/// The head has gone to the API when the chunk comes: the client is told, and the API never sees the end of a message.
#[test]
fn a_bad_chunk_behind_the_head_ends_the_request() {
    let bed = Bed::new().policy("routes: [{ id: all, match: { path: '/{*rest}' }, access: public }]").start();
    let mut wire = bed.connect();
    wire.write(format!("POST /x HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").as_bytes());
    super::bed::until("the connection to the API", || (bed.origin().connections() > 0).then_some(()));
    wire.write(b"\r\nGET /admin HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let answer = wire.response("POST").expect("an answer");
    assert_eq!((answer.status, &*answer.code()), (400, "bad_request"));
    assert!(bed.origin().all().iter().all(|request| !request.request_line().contains("admin")));
    assert_eq!(bed.post("/x").body("fine").send().status, 200, "others are served");
}

/// A client that does not wait got 400 for a request that the API had executed.
#[test]
fn a_request_that_was_executed_is_not_called_malformed() {
    let bed = Bed::new().start();
    let go = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gone = std::sync::Arc::clone(&go);
    bed.origin().answers(move |_| {
        super::bed::until("the word to go on", || gone.load(std::sync::atomic::Ordering::SeqCst).then_some(()));
        super::origin::Answer::text(200, "done")
    });
    let mut wire = bed.connect();
    wire.write(&bed.post("/public/x").body("abc").bytes());
    super::bed::until("the request at the API", || (bed.origin().count() == 1).then_some(()));
    wire.write(&bed.get("/public/two").bytes());
    assert!(wire.response("POST").is_none_or(|answer| answer.status == 200));
    go.store(true, std::sync::atomic::Ordering::SeqCst);
}
