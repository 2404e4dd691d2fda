//! Runner tokens: a person's credential becomes one, it does what its person and its scopes may do, and nothing else becomes
//! one or passes for one.

mod elsewhere;
mod places;
mod refused;
mod used;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::bed::{Bed, Running, until};
use super::issuer::{now, token};
use super::wire::Response;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const MAP: &str = r#"{"kind":"org","legacy":"acme","clerk":"org_1"}
{"kind":"org","legacy":"globex","clerk":"org_2"}
{"kind":"user","legacy":"42","clerk":"user_ada","state":"linked"}
{"kind":"user","legacy":"43","state":"legacy_only"}
{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w1","w2"]}
{"kind":"membership","user":"43","org":"acme","role":"admin","workspaces":["w1"]}
"#;

const RULES: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - id: execution.start
    match: { method: [POST], path: "/api/orgs/{org}/workspaces/{workspace}/executions" }
    access: privileged
    require: { token: [session, runner], scope: [executions:write], org: "{org}", role: [org:admin], workspace: "{workspace}" }
    audit: { action: execution.start, resource: "workspace:{workspace}" }
  - id: execution.read
    match: { method: [GET], path: "/api/orgs/{org}/executions" }
    require: { token: [runner], scope: [executions:read, executions:write], org: "{org}" }
  - id: billing
    match: { path: "/api/orgs/{org}/billing" }
    require: { token: [runner], scope: [billing:write], org: "{org}", role: [org:owner] }
  - id: reported
    match: { path: "/reported/{*rest}" }
    require: { token: [runner], scope: [executions:read] }
    mode: report
"#;

const START: &str = "/api/orgs/acme/workspaces/w1/executions";
const RUNNER: &str = "runner: { enabled: true, scopes: [executions:write, executions:read, billing:write] }";
const IDENTITY: &str =
    "identity: { canonical: legacy, map: { file: map.jsonl }, roles: { \"org:admin\": [admin, owner] } }";
const LEGACY: &str = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";

fn bed() -> Bed {
    let bed = Bed::new().policy(RULES).section(RUNNER).section(IDENTITY).section(LEGACY);
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    bed
}

fn ada() -> String {
    token("user_ada").org("org_1", "acme", "admin").sign()
}

/// A legacy token of this person, as the login of the API makes it.
fn legacy(user: &str, ends_in: i64) -> String {
    let claims = json!({ "sub": user, "org": "acme", "roles": ["admin"], "exp": now() + ends_in, "iat": now() + ends_in - 7200 });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A form in the making.
#[derive(Clone)]
struct Form(Vec<(String, String)>);

fn form(subject: &str) -> Form {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Form(vec![
        field("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        field("subject_token", subject),
        field("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ])
}

impl Form {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(other, _)| other != name);
        self
    }

    fn body(&self) -> String {
        let escape = |text: &str| text.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace(' ', "+");
        let each: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        each.join("&")
    }
}

fn post(bed: &Running, body: &str) -> Response {
    let call = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded").body(body);
    // The machine may be busy with other tests, and the disk slow.
    until("an answer of a trail that keeps up", || Some(call.send()).filter(|answer| answer.status != 503))
}

/// A token of these scopes.
fn exchange(bed: &Running, subject: &str, scope: &str) -> String {
    let form = if scope.is_empty() { form(subject) } else { form(subject).with("scope", scope) };
    let answer = post(bed, &form.body());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// `error` of a refusal, with its status.
fn refusal(answer: &Response) -> String {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", answer.text());
    assert_eq!(answer.header("pragma"), Some("no-cache"), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    let body = answer.json();
    assert!(body.get("access_token").is_none() && body["error_description"].is_string(), "{body}");
    format!("{} {}", answer.status, body["error"].as_str().unwrap_or_default())
}

fn reload(bed: &Running) {
    let loads = |text: &str| text.matches("config loaded").count();
    let before = loads(&bed.process.stderr.text());
    bed.process.signal("HUP");
    until("the reload", || (loads(&bed.process.stderr.text()) > before).then_some(()));
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn trail(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn entries(bed: &Running, event: &str, action: &str) -> Vec<Value> {
    trail(bed.folder()).into_iter().filter(|entry| entry["event"] == event && entry["action"] == action).collect()
}

#[test]
fn a_runner_starts_an_execution_in_its_own_workspace_and_the_trail_names_its_person() {
    let bed = bed().start();
    let session = ada();
    let answer = post(&bed, &form(&session).with("scope", "executions:write").body());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"], &body["issued_token_type"]),
        (
            &json!("Bearer"),
            &json!(600),
            &json!("executions:write"),
            &json!("urn:ietf:params:oauth:token-type:access_token")
        )
    );
    let runner = body["access_token"].as_str().unwrap();
    let (header, claims) = (part(runner, 0), part(runner, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    assert_eq!((&claims["iss"], &claims["aud"], &claims["sub"]), (&json!("crossgate"), &json!("runner"), &json!("42")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["act"], json!({ "sub": "runner" }));

    let before = bed.origin().count();
    let started =
        until("a record in time", || Some(bed.post(START).bearer(runner).send()).filter(|answer| answer.status != 503));
    assert_eq!(started.outcome(), "200 ok");
    let seen = bed.origin().last();
    let header = |name: &str| seen.values(name);
    assert!(header("authorization").is_empty(), "the token stays here");
    assert_eq!(header("x-crossgate-method"), ["runner"]);
    assert_eq!(header("x-crossgate-token"), ["runner"]);
    assert_eq!(header("x-crossgate-subject"), ["42"]);
    assert_eq!(header("x-crossgate-workspaces"), ["w1,w2"]);
    assert!(header("x-crossgate-actor").is_empty(), "only impersonators are actors");
    for elsewhere in ["/api/orgs/globex/workspaces/w1/executions", "/api/orgs/acme/workspaces/w9/executions"] {
        let refused = until("a record in time", || {
            Some(bed.post(elsewhere).bearer(runner).send()).filter(|answer| answer.status != 503)
        });
        assert_eq!(refused.outcome(), "403 forbidden", "{elsewhere}");
    }
    assert_eq!(bed.origin().count(), before + 1);

    let attempt = entries(&bed, "privileged.attempt", "execution.start").remove(0);
    let actor = &attempt["actor"];
    assert_eq!(
        (&actor["subject"], &actor["clerk_user"], &actor["method"], &actor["token"], &actor["session"]),
        (&json!("42"), &json!("user_ada"), &json!("runner"), &json!("runner"), &json!("sess_1")),
        "{attempt}"
    );
    let exchanged = entries(&bed, "privileged.attempt", "token.exchange").remove(0);
    assert_eq!(
        (&exchanged["resource"], &exchanged["actor"]["subject"], &exchanged["org"], &exchanged["code"]),
        (&json!("runner executions:write"), &json!("42"), &json!("org_1"), &json!("ok")),
        "{exchanged}"
    );
    let outcome = until("the outcome", || {
        entries(&bed, "privileged.outcome", "token.exchange").into_iter().find(|entry| entry["ref"] == exchanged["id"])
    });
    assert_eq!((&outcome["outcome"]["status"], &outcome["reason"]), (&json!(200), &json!("ok")), "{outcome}");
    let text = std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap();
    for secret in [&*session, runner] {
        assert!(!text.contains(secret.rsplit('.').next().unwrap()), "no token in the trail");
    }
    assert!((bed.metric("crossgate_token_exchanges_total{result=\"issued\"}") - 1.0).abs() < 0.1);
}
