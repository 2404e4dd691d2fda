//! `tolerate`: what one route's API needs comes through as it was checked, and is refused on every route beside it.

use super::bed::{Bed, Running};
use super::issuer::token;

const POLICY: &str = r#"
routes:
  - { id: files, match: { path: "/files/{*key}" }, access: public, tolerate: [encoded_slash, double_slash, double_escape] }
  - { id: matrix, match: { path: "/matrix/{item}" }, access: public, tolerate: [semicolon] }
  - { id: packages, match: { path: "/packages/{name}/latest" }, access: public, tolerate: [encoded_slash] }
  - { id: search, match: { method: GET, path: /search }, access: public, tolerate: [get_body] }
  - { id: plain, match: { path: "/plain/{*rest}" }, access: public }
  - { id: secret, match: { path: "/files/admin/{*rest}" }, access: protected, require: { org: any } }
  - { id: hidden, match: { path: "/matrix/hidden" }, access: protected, require: { org: any } }
"#;

fn target(bed: &Running, target: &str) -> String {
    let answer = bed.answer_to(format!("GET {target} HTTP/1.1\r\nHost: api.test\r\n\r\n"));
    answer.unwrap_or_else(|| panic!("{target}: closed without an answer")).outcome()
}

#[test]
fn what_is_tolerated_goes_up_as_it_was_checked() {
    let bed = Bed::new().policy(POLICY).start();
    let table = [
        ("/files/a%2Fb", "/files/a%2Fb"),
        ("/files/a%2fb%41", "/files/a%2FbA"),
        ("/files//a//b/", "/files//a//b/"),
        ("/files/a//", "/files/a//"),
        ("/files/50%2541", "/files/50%2541"),
        ("/files/a%252Fb", "/files/a%252Fb"),
        ("/files/x//y%2Fz?q=//%2F", "/files/x//y%2Fz?q=//%2F"),
        ("/matrix/a;v=1", "/matrix/a;v=1"),
        ("/matrix/a%3bv", "/matrix/a%3Bv"),
        ("/packages/%40scope%2Fname/latest", "/packages/%40scope%2Fname/latest"),
    ];
    for (sent, received) in table {
        assert_eq!(target(&bed, sent), "200 ok", "{sent}");
        assert_eq!(bed.origin().last().target(), received, "{sent}");
    }
}

#[test]
fn every_other_route_refuses_it_as_before() {
    let bed = Bed::new().policy(POLICY).start();
    let strict =
        Bed::new().policy("routes:\n  - { id: plain, match: { path: \"/{*rest}\" }, access: public }\n").start();
    let table = [
        "/plain/a%2Fb",
        "/plain/a;v=1",
        "/plain/a%3B",
        "/plain//a",
        "/plain/%2541",
        "/matrix/a%2Fb",
        "/matrix/a//",
        "/packages/a;b/latest",
        "/packages/%2541/latest",
        "/files/a;b",
        "/nowhere/a%2Fb",
        "/nowhere//a",
        "//files/a",
        "/.crossgate//a",
        "/.crossgate/x%2Fy",
        "/files/..%2Fadmin",
        "/files/a/../b",
        "/files/%252e%252e/x",
        "/files/a%5Cb",
        "/files/a%00",
        "/files/a%25252525252525252Fb",
        "/matrix/..;/x",
    ];
    let before = bed.origin().count();
    for sent in table {
        assert_eq!(target(&bed, sent), "400 bad_path", "{sent}");
        if !sent.contains("..") || sent.contains(';') {
            assert_eq!(target(&strict, sent), "400 bad_path", "{sent}");
        }
    }
    assert_eq!(bed.origin().count(), before, "nothing of it reached the API");
}

#[test]
fn no_reading_of_it_reaches_another_rule() {
    let bed = Bed::new().policy(POLICY).start();
    let before = bed.origin().count();
    for sent in [
        "/files/admin%2Fusers",
        "/files//admin/users",
        "/files/%2561dmin/users",
        "/files/admin%252Fusers",
        "/files%2Fadmin/users",
        "/files/ADMIN%2Fusers",
        "/files//Admin//users",
        "/matrix/hidden;v=1",
        "/matrix/hidden%3Bv",
        "/matrix/HIDDEN;v=1",
    ] {
        assert_eq!(target(&bed, sent), "400 bad_path", "{sent}");
    }
    assert_eq!(bed.origin().count(), before, "nothing of it reached the API");
    assert_eq!(target(&bed, "/files/admin/users"), "401 no_credential");
}

/// Whatever an upstream says about letters and its last slash.
#[test]
fn an_upstream_with_exact_paths_is_no_exception() {
    let bed = Bed::new().policy(POLICY).upstream_option("paths: exact").start();
    assert_eq!(target(&bed, "/files/admin%2Fusers"), "400 bad_path");
    assert_eq!(target(&bed, "/files/ADMIN%2Fusers"), "200 ok");
}

#[test]
fn a_get_with_a_body_ends_its_connection_to_the_api() {
    let bed = Bed::new().policy(POLICY).start();
    let send = |method: &str, path: &str| {
        bed.answer_to(format!(
            "{method} {path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 15\r\n\r\n{{\"query\":\"all\"}}"
        ))
        .unwrap()
        .outcome()
    };
    assert_eq!(send("GET", "/search").split(' ').next(), Some("200"));
    let seen = bed.origin().last();
    assert_eq!(seen.target(), "/search");
    assert_eq!(seen.values("content-length"), ["15"]);
    assert_eq!(seen.values("connection"), ["close"], "an API that skips the body has no next request to take it for");
    let connections = bed.origin().connections();
    assert_eq!(bed.get("/search").send().outcome(), "200 ok");
    assert_eq!(bed.origin().connections(), connections + 1, "it is a connection of its own");
    assert!(bed.origin().last().values("connection").is_empty());
    assert_eq!(bed.call("GET", "/search").chunked(b"everything").send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().body, b"everything");
    assert_eq!(bed.origin().last().values("connection"), ["close"]);
    let before = bed.origin().count();
    for (method, path) in [("GET", "/plain/x"), ("OPTIONS", "/search"), ("GET", "/.crossgate/x"), ("GET", "/none")] {
        let outcome = send(method, path);
        assert!(outcome.starts_with("400"), "{method} {path}: {outcome}");
    }
    assert_eq!(bed.origin().count(), before);
}

/// The API that decodes, cuts or collapses must come to the org, workspace or segment that was compared here.
#[test]
fn what_is_compared_is_the_same_in_every_reading() {
    let bed = Bed::new()
        .policy(
            r#"
routes:
  - { id: shift, match: { path: "/p/{a}/w/{org}/{*rest}" }, tolerate: [encoded_slash], require: { org: "{org}" } }
  - { id: twice, match: { path: "/q/{a}/{org}/{*rest}" }, tolerate: [double_escape], require: { org: "{org}" } }
  - id: seen
    match: { path: "/seen/{name}" }
    tolerate: [semicolon, double_escape]
    require: { when: 'request.segments[1] != "admin"' }
  - id: begins
    match: { path: "/begins/{*rest}" }
    tolerate: [double_escape]
    require: { when: '!request.path.startsWith("/begins/admin")' }
"#,
        )
        .start();
    let ada = token("user_ada").org("org_1", "acme", "admin").sign();
    let table = [
        ("/p/x/w/org_1/doc", 200),
        ("/p/x/w/org_2/doc", 403),
        ("/p/x/w/org_1/a%2Fb", 200),
        ("/p/a%2Fb/w/org_1/doc", 200),
        ("/p/x%2Fw%2Forg_2/w/org_1/doc", 400),
        ("/p/x%2FW%2Forg_2/w/org_1/doc", 400),
        ("/q/x/org_1/doc%2541", 200),
        ("/q/x%252Forg_2/org_1/doc", 400),
        ("/seen/other", 200),
        ("/seen/admin", 403),
        ("/seen/admin;x", 403),
        ("/seen/adm%2569n", 403),
        ("/begins/other", 200),
        ("/begins/%2561dmin", 403),
    ];
    for (path, expected) in table {
        assert_eq!(bed.get(path).bearer(&ada).send().status, expected, "{path}");
    }
}
