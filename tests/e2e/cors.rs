//! Pages of other origins: their preflights reach the API, and they may read what crossgate itself answers.

use super::bed::{Bed, Running};
use super::origin::Answer;
use super::wire::Response;

const APP: &str = "https://app.example.com";

fn preflight(bed: &Running, path: &str, origin: &str, method: &str) -> Response {
    bed.call("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization")
        .send()
}

#[test]
fn a_preflight_goes_to_the_api_as_its_route() {
    let bed = Bed::new().clerk_option(&format!("authorized_parties: [\"{APP}\"]")).start();
    bed.origin().answers(|request| {
        let answer = Answer::text(204, "");
        if request.request_line().starts_with("OPTIONS ") {
            answer.with("access-control-allow-origin", "*")
        } else {
            answer
        }
    });
    let invoices = "/api/orgs/org_acme/invoices";
    let answer = preflight(&bed, invoices, "https://anybody.example", "POST");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "the API's own answer");
    let got = bed.origin().last();
    assert_eq!(got.request_line(), format!("OPTIONS {invoices} HTTP/1.1"));
    assert_eq!(got.values("x-crossgate-route"), ["invoice.write"], "the route of the method asked for");
    assert_eq!(got.values("x-crossgate-method"), ["none"]);
    assert!(got.values("x-crossgate-subject").is_empty());
    assert_eq!(preflight(&bed, invoices, APP, "GET").status, 204);
    assert_eq!(bed.origin().last().values("x-crossgate-route"), ["invoice.read"]);

    let before = bed.origin().count();
    assert_eq!(preflight(&bed, invoices, APP, "DELETE").outcome(), "403 no_route");
    assert_eq!(preflight(&bed, "/nowhere", APP, "GET").outcome(), "403 no_route");
    assert_eq!(preflight(&bed, "/me", APP, "BREW").outcome(), "405 bad_method");
    assert_eq!(bed.origin().count(), before);
}

/// Anybody can write the two headers of a preflight; only what a browser sends opens the door for one.
#[test]
fn what_no_browser_sends_is_no_preflight() {
    let policy = r#"
routes:
  - { id: me, match: { path: /me } }
  - { id: own, match: { path: /own, method: [OPTIONS] } }
  - { id: own.read, match: { path: /own, method: [GET] }, access: public }
"#;
    let bed = Bed::new().policy(policy).start();
    let asked = |path| bed.call("OPTIONS", path).header("access-control-request-method", "GET");
    assert_eq!(asked("/me").header("origin", APP).send().status, 200, "as a browser sends it");
    let before = bed.origin().count();
    for (name, call) in [
        ("no origin", asked("/me").header("origin", "")),
        ("half an origin", asked("/me").header("origin", "x")),
        ("a cookie", asked("/me").header("origin", APP).header("cookie", "a=1")),
        ("a route with a rule for OPTIONS", asked("/own").header("origin", APP)),
    ] {
        assert_eq!(call.send().outcome(), "401 no_credential", "{name}");
    }
    assert_eq!(bed.origin().count(), before);
}

#[test]
fn other_options_are_ordinary_requests() {
    let bed = Bed::new().start();
    assert_eq!(bed.call("OPTIONS", "/me").send().outcome(), "401 no_credential");
    assert_eq!(bed.call("OPTIONS", "/me").header("origin", APP).send().outcome(), "401 no_credential");
    assert_eq!(bed.call("OPTIONS", "/public/x").send().outcome(), "200 ok");
}

#[test]
fn crossgate_can_answer_preflights() {
    let bed = Bed::new().section(&format!("cors: {{ origins: [\"{APP}\"], preflight: answer }}")).start();
    let answer = preflight(&bed, "/me", APP, "PUT");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    assert!(answer.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("origin")));

    let stranger = preflight(&bed, "/me", "https://evil.example", "PUT");
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    assert_eq!(preflight(&bed, "/nowhere", APP, "GET").outcome(), "403 no_route");
    assert_eq!(bed.origin().count(), 0);
}

#[test]
fn own_answers_can_be_read_by_listed_pages_only() {
    let refused = |bed: &Running, origin: &str| bed.get("/me").header("origin", origin).send();
    let parties = Bed::new().clerk_option(&format!("authorized_parties: [\"{APP}\"]")).start();
    let listed = Bed::new()
        .clerk_option("authorized_parties: [\"https://other.example\"]")
        .section(&format!("cors: {{ origins: [\"{APP}\"], credentials: false }}"))
        .start();
    for (name, bed, credentials) in
        [("from authorized_parties", &parties, Some("true")), ("from cors.origins", &listed, None)]
    {
        let answer = refused(bed, APP);
        assert_eq!(answer.status, 401, "{name}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "{name}");
        assert_eq!(answer.header("access-control-allow-credentials"), credentials, "{name}");
        assert!(answer.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("origin")), "{name}");
        for stranger in ["https://evil.example", "null", "https://app.example.com.evil.test", "http://app.example.com"]
        {
            let answer = refused(bed, stranger);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{name}: {stranger}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{name}: {stranger}");
        }
    }
    let answer = refused(&listed, "https://other.example");
    assert_eq!(answer.header("access-control-allow-origin"), None, "a list of its own replaces the parties");
    let passed = parties.get("/public/x").header("origin", APP).send();
    assert_eq!(passed.header("access-control-allow-origin"), None, "the API's answers are the API's");
}
