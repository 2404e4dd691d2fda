//! An API with both logins: legacy tokens, a map of who is who, a rollout, and the people who come.

mod cells;
mod credentials;
mod login;
mod outage;
mod ramp;
mod shadow;
mod status;
mod strangers;
mod unproven;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::bed::{Bed, Running, until};
use super::issuer::{self, now, token};
use super::wire::{Call, Response};

const LEGACY_ISSUER: &str = "https://login.example.com";
const SECRET: &str = "the-api-signed-with-this-for-years-and-years";

const RULES: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: vault, match: { path: "/vault/{*rest}" }, access: privileged }
"#;

/// The legacy side by tokens of [`SECRET`]; [`LEGACY_JWT`] with its secret is a bed of [`two`].
const LEGACY_JWT: &str = r#"legacy:
  credential: { header: authorization, scheme: Bearer, cookie: session }
  verify: { jwt: { algorithms: [HS256], secret_file: legacy.secret, issuer: "https://login.example.com" } }"#;

/// Both logins, this map, this mapping for `rollout`; on unix sockets, whose admin may do everything.
fn two(map: &str, rollout: &str) -> Bed {
    let bed = Bed::new()
        .policy(RULES)
        .section("server: { threads: 2, drain: { delay: 0s, limit: 5s }, ready: { wait: 200ms } }")
        .section("telemetry: { access_log: off, log: info }")
        .section("identity: { map: { file: map.jsonl } }")
        .section(&format!("rollout: {rollout}"))
        .section(LEGACY_JWT);
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), map).unwrap();
    bed
}

/// A line of the map; `state` as the map writes it.
fn user(legacy: &str, clerk: &str, state: &str) -> String {
    let mut line = Map::from_iter([("kind".to_owned(), json!("user")), ("state".to_owned(), json!(state))]);
    for (side, id) in [("legacy", legacy), ("clerk", clerk)] {
        if !id.is_empty() {
            line.insert(side.to_owned(), json!(id));
        }
    }
    format!("{}\n", Value::Object(line))
}

fn linked(legacy: &str, clerk: &str) -> String {
    user(legacy, clerk, "linked")
}

/// A legacy token in the making.
#[derive(Clone)]
struct LegacyToken {
    header: Value,
    claims: Value,
}

fn legacy(user: &str) -> LegacyToken {
    let now = now();
    LegacyToken {
        header: json!({ "alg": "HS256", "typ": "JWT" }),
        claims: json!({ "iss": LEGACY_ISSUER, "sub": user, "iat": now - 20, "exp": now + 3600 }),
    }
}

impl LegacyToken {
    fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    fn in_header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    /// Bad for good: a legacy token cannot be renewed.
    fn expired(self) -> Self {
        let now = now();
        self.claim("iat", json!(now - 700)).claim("exp", json!(now - 60))
    }

    fn sign(&self) -> String {
        self.sign_with(SECRET.as_bytes())
    }

    fn sign_with(&self, secret: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&self.header), part(&self.claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

/// A Clerk session as a cookie jar brings it.
fn session(token: &str) -> String {
    format!("__session={token}; __client_uat={}", now() - 100_000)
}

/// A session with a key that nobody has seen, made since the keys were fetched.
fn unknown_key(user: &str) -> issuer::Token {
    token(user).issued(-2).in_header("kid", json!("ins_never_seen"))
}

/// Where a credential travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Header,
    Cookie,
}

/// The call with these credentials.
fn with(call: Call, legacy: Option<(&str, By)>, clerk: Option<(&str, By)>) -> Call {
    let mut jar = Vec::new();
    let mut call = call;
    match legacy {
        Some((token, By::Header)) => call = call.bearer(token),
        Some((token, By::Cookie)) => jar.push(format!("session={token}")),
        None => {}
    }
    match clerk {
        Some((token, By::Header)) => call = call.bearer(token),
        Some((token, By::Cookie)) => jar.push(session(token)),
        None => {}
    }
    if jar.is_empty() { call } else { call.cookie(&jar.join("; ")) }
}

/// The answer, once the disk is not too slow for what is recorded: the machine may be busy with other tests.
fn answer_to(call: &Call) -> Response {
    until("a record in time", || Some(call.send()).filter(|answer| answer.outcome() != "503 audit_unavailable"))
}

/// What the API saw, out of its echo.
fn seen(answer: &Response, name: &str) -> Vec<String> {
    let echoed = answer.json();
    let lines = echoed["headers"].as_array().unwrap_or_else(|| panic!("the API's echo: {}", answer.text()));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.iter().filter(|line| line[0] == name).map(|line| text(&line[1])).collect()
}

/// The one value of a header that the API saw, empty when there was none.
fn saw(answer: &Response, name: &str) -> String {
    seen(answer, name).join("|")
}

/// Moves the rollout by its admin listener, which must take it.
fn order(bed: &Running, action: &str) {
    let done = Call::new(&bed.admin, "POST", &format!("/v1/rollouts/auth/{action}")).send();
    assert_eq!(done.status, 200, "{action}: {}", done.text());
}

fn set_percent(bed: &Running, percent: &str) {
    let call = Call::new(&bed.admin, "PUT", "/v1/rollouts/auth/weight").header("content-type", "application/json");
    let done = call.body(format!("{{\"percent\":{percent}}}")).send();
    assert_eq!(done.status, 200, "{percent}: {}", done.text());
}

/// Waits until a privileged request with this Clerk token meets old keys.
fn until_keys_are_stale(bed: &Running, known: &str) {
    until("old keys", || {
        let answer = bed.get("/vault/1").bearer(known).send();
        (answer.outcome() == "503 jwks_stale_privileged").then_some(())
    });
}
