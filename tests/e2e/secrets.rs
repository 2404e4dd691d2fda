//! What must never be written anywhere, and what clients write that must never break a line.

use serde_json::json;

use super::bed::Bed;
use super::issuer::{tampered, token};

#[test]
fn no_secret_is_told_to_anybody() {
    let bed = Bed::new().section("telemetry: { access_log: stdout, log: trace }").start();
    let mut canaries: Vec<String> = [
        "canary-query",
        "canary-body",
        "canary-cookie",
        "canary-claim",
        "canary-header",
        "canary-basic",
        "canary-agent",
    ]
    .map(str::to_owned)
    .to_vec();
    let good = token("user_ada").claim("secret", json!("canary-claim")).sign();
    let bad = tampered(&good, 2);
    let expired = token("user_ada").claim("secret", json!("canary-claim")).expired().sign();
    for token in [&good, &bad, &expired] {
        canaries.extend(token.split('.').skip(1).map(|part| part[..40].to_owned()));
    }
    let mut said = String::new();
    for target in
        ["/public/x?token=canary-query", "/me?token=canary-query", "/nowhere?canary-query", "/public/../x?canary-query"]
    {
        for token in [&good, &bad, &expired, &"canary-header".to_owned()] {
            let call = bed
                .post(target)
                .bearer(token)
                .cookie(&format!("__session={good}; __client_uat=1; sid=canary-cookie"))
                .header("x-crossgate-subject", "canary-header")
                .header("x-api-key", "canary-header")
                .header("user-agent", "canary-agent")
                .header("referer", "https://a.example/?canary-query")
                .body("canary-body");
            let answer = call.send();
            if answer.code() != "ok" {
                said.push_str(&format!("{:?} {}", answer.headers, answer.text()));
            }
        }
    }
    let basic = bed.get("/me").header("authorization", "Basic canary-basic").send();
    said.push_str(&basic.text());
    let two =
        bed.get("/me").header("authorization", "Bearer canary-header").header("authorization", "canary-header").send();
    said.push_str(&two.text());
    bed.raw(b"GET /canary-query HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary-header\r\nbad line canary-header\r\n\r\n");
    bed.raw(b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nx: canary-header\r\n\r\nzz canary-body\r\n");
    bed.access_lines(18);
    for target in ["/metrics", "/v1/snapshot", "/readyz"] {
        said.push_str(&bed.ask_admin(target).text());
    }
    let ended = bed.stop();
    said.push_str(&ended.stdout);
    said.push_str(&ended.stderr);
    for canary in canaries {
        let line = said.lines().find(|line| line.contains(&canary));
        assert!(line.is_none(), "{canary} in: {}", line.unwrap_or_default());
    }
}

#[test]
fn every_access_line_is_one_json_object() {
    let bed = Bed::new().start();
    let long = format!("/public/{}", "y".repeat(9000));
    let requests: Vec<Vec<u8>> = vec![
        b"GET /public/%1b%5b31m%22%0d%0a%e2%80%a8%7f HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /public/%22%2C%22decision%22:%22allow HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /public/x HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\xfe\x80\r\n\r\n".to_vec(),
        b"GET /public/x HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}\\u0000{\x1b[2J\r\n\r\n".to_vec(),
        b"GET /public/\xe2\x80\xa8 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /public/x?\"}\\{ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /public/x HTTP/1.1\r\nHost: \"}{\r\n\r\n".to_vec(),
        b"\"}{ /public/x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        format!("{} /public/x HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(200)).into_bytes(),
        format!("GET {long} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
    ];
    for request in &requests {
        let _ = bed.answer_to(request);
    }
    // The last one, so that everything before it has been written.
    assert_eq!(bed.get("/public/last").send().status, 200);
    let lines = super::bed::until("the last line", || {
        let lines = bed.access_lines(1);
        lines.iter().any(|line| line["path"] == "/public/last").then_some(lines)
    });
    for line in &lines {
        assert!(line.is_object(), "{line}");
        for key in ["time", "request_id", "method", "decision", "code", "status", "duration_us", "snapshot"] {
            assert!(line.get(key).is_some(), "{key} is missing in {line}");
        }
    }
    let raw = bed.process.stdout.text();
    assert!(raw.bytes().all(|byte| byte == b'\n' || byte >= b' '), "no control character gets out");
    assert!(raw.lines().all(|line| line.len() < 4096), "lines are capped");
    assert!(!raw.contains('\u{2028}'));
}

#[test]
fn access_lines_say_who_what_and_why() {
    let bed = Bed::new().start();
    let ada = token("user_ada").org("org_acme", "acme", "member").sign();
    assert_eq!(bed.get("/api/orgs/org_acme/invoices?page=2").bearer(&ada).send().status, 200);
    assert_eq!(bed.post("/api/orgs/org_acme/invoices").bearer(&ada).body("{}").send().status, 403);
    let lines = bed.access_lines(2);
    let (read, write) = (&lines[0], &lines[1]);
    assert_eq!(read["decision"], "allow");
    assert_eq!(read["code"], "ok");
    assert_eq!(read["route"], "invoice.read");
    assert_eq!(read["subject"], "user_ada");
    assert_eq!(read["org"], "org_acme");
    assert_eq!(read["path"], "/api/orgs/org_acme/invoices");
    assert_eq!(read["status"], 200);
    assert_eq!(read["upstream"], "app");
    assert_eq!(write["decision"], "deny");
    assert_eq!(write["code"], "forbidden");
    assert_eq!(write["status"], 403);
    assert!(write["reason"].as_str().is_some_and(|reason| reason.contains("role")), "{write}");
    let id = bed.get("/me").send();
    let line = bed.access_lines(3).pop().unwrap();
    assert_eq!(line["request_id"].as_str(), id.header("x-request-id"));
}

#[test]
fn the_log_may_go_to_a_file_or_nowhere() {
    let file = Bed::new().section("telemetry: { access_log: access.jsonl, log: warn }").start();
    assert_eq!(file.get("/public/x").send().status, 200);
    let path = file.folder().join("access.jsonl");
    let ended = file.stop_keeping_folder();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(ended.1.stdout.is_empty());

    let off = Bed::new().section("telemetry: { access_log: off, log: warn }").start();
    assert_eq!(off.get("/public/x").send().status, 200);
    assert!(off.stop().stdout.is_empty());
}
