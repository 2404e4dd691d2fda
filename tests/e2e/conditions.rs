//! `when` through the binary: claims, caller and request; what cannot be told; and what of it is written down.

use serde_json::json;

use super::bed::Bed;
use super::issuer::token;

const RULES: &str = r#"
routes:
  - { id: both, match: { path: /both }, require: { when: 'claims.level >= 3 && request.headers["x-env"] == "prod"' } }
  - { id: suspended, match: { path: /suspended }, require: { not: { when: 'claims.suspended == true' } } }
  - { id: either, match: { path: /either }, require: { any: [ { when: 'claims.level >= 3' }, { claim: { staff: true } } ] } }
  - { id: caller, match: { path: /caller }, require: { when: 'identity.org == "org_1" && identity.role == "admin" && identity.token == "session"' } }
  - { id: query, match: { path: /query }, require: { when: 'int(request.query.limit) <= 100 && !("debug" in request.query)' } }
  - { id: path, match: { path: "/path/{*rest}" }, require: { when: 'request.segments[1] == identity.subject && request.client == "127.0.0.1"' } }
  - { id: list, match: { path: /list }, require: { when: 'claims.teams.exists(t, t.name == "red" && t.lead)' } }
  - { id: report, match: { path: /report }, mode: report, require: { when: 'claims.level >= 3' } }
  - { id: tenant, match: { path: "/orgs/{org}" }, require: { org: "{org}", when: "request.method == 'GET'" } }
"#;

#[test]
fn a_condition_lets_in_whom_it_says() {
    let bed = Bed::new().policy(RULES).start();
    let ada = || token("user_ada");
    let level = |level: serde_json::Value| ada().claim("level", level);
    let member = ada().claim("o", json!({ "id": "org_1", "slg": "acme", "rol": "admin" }));
    let teams = |list: serde_json::Value| ada().claim("teams", list);
    let many = vec![json!({ "name": "blue" }); 300];
    let table = [
        ("/both", level(json!(3)), "prod", "200 ok"),
        ("/both", level(json!(3.5)), "prod", "200 ok"),
        ("/both", level(json!(2)), "prod", "403 forbidden"),
        ("/both", level(json!("3")), "prod", "403 forbidden"),
        ("/both", ada(), "prod", "403 forbidden"),
        ("/both", level(json!(3)), "test", "403 forbidden"),
        ("/both", level(json!(3)), "", "403 forbidden"),
        // Nobody can tell: `not` makes no yes of it.
        ("/suspended", ada().claim("suspended", json!(false)), "", "200 ok"),
        ("/suspended", ada().claim("suspended", json!(true)), "", "403 forbidden"),
        ("/suspended", ada().claim("suspended", json!("yes")), "", "403 forbidden"),
        ("/suspended", ada(), "", "403 forbidden"),
        ("/either", ada().claim("staff", json!(true)), "", "200 ok"),
        ("/either", level(json!(4)), "", "200 ok"),
        ("/either", level(json!(1)), "", "403 forbidden"),
        ("/caller", member, "", "200 ok"),
        ("/caller", ada(), "", "403 forbidden"),
        ("/query?limit=100", ada(), "", "200 ok"),
        ("/query?limit=101", ada(), "", "403 forbidden"),
        ("/query?limit=1&limit=1", ada(), "", "403 forbidden"),
        ("/query?limit=+1", ada(), "", "403 forbidden"),
        ("/query?limit=99999999999999999999", ada(), "", "403 forbidden"),
        ("/query?limit=1&debug=1", ada(), "", "403 forbidden"),
        ("/query", ada(), "", "403 forbidden"),
        ("/path/user_ada", ada(), "", "200 ok"),
        ("/path/user%5Fada/x", ada(), "", "200 ok"),
        ("/path/user_bob", ada(), "", "403 forbidden"),
        ("/list", teams(json!([{ "name": "blue" }, { "name": "red", "lead": true }])), "", "200 ok"),
        ("/list", teams(json!([{ "name": "red", "lead": false }])), "", "403 forbidden"),
        ("/list", teams(json!(many)), "", "403 forbidden"),
        ("/list", teams(json!("red")), "", "403 forbidden"),
        ("/report", level(json!(1)), "", "200 ok"),
    ];
    for (target, token, env, expected) in table {
        let shown = format!("{target} {env}");
        let mut call = bed.get(target).bearer(&token.sign());
        if !env.is_empty() {
            call = call.header("x-env", env);
        }
        assert_eq!(call.send().outcome(), expected, "{shown}");
    }
    let lines = bed.access_lines(31);
    let reasons: Vec<&str> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert!(reasons.contains(&"when cannot be told: missing-claim"), "{reasons:?}");
    assert!(reasons.contains(&"when cannot be told: type-mismatch"), "{reasons:?}");
    assert!(reasons.contains(&"when does not hold"), "{reasons:?}");
}

#[test]
fn a_header_that_a_condition_reads_cannot_be_doubled_or_nominated_away() {
    let bed = Bed::new().policy(RULES).start();
    let token = token("user_ada").claim("level", json!(3)).sign();
    let call = || bed.get("/both").bearer(&token);
    assert_eq!(call().header("x-env", "prod").header("x-env", "test").send().outcome(), "400 bad_header");
    assert_eq!(call().header("x-env", "prod").header("connection", "x-env").send().outcome(), "400 bad_header");
    // The API must not see a twin that the condition did not.
    assert_eq!(call().header("x-env", "prod").header("x_env", "test").send().outcome(), "200 ok");
    assert_eq!(bed.origin().last().values("x-env"), ["prod"], "in any spelling");
}

#[test]
fn no_value_of_a_claim_stands_in_logs() {
    let bed = Bed::new().policy(RULES).start();
    let token = token("user_ada").claim("level", json!("canary-4711")).sign();
    let answer = bed.get("/both").bearer(&token).header("x-env", "canary-0815").send();
    assert_eq!(answer.outcome(), "403 forbidden");
    assert!(!answer.text().contains("canary"), "{}", answer.text());
    bed.access_lines(1);
    let ended = bed.stop();
    for canary in ["canary-4711", "canary-0815"] {
        assert!(!ended.stdout.contains(canary) && !ended.stderr.contains(canary), "{canary} was written down");
    }
}
