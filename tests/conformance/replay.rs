//! Runs a case and compares: the verdict class and, where crossgate has the same one, the reason.

use std::sync::Arc;
use std::time::Duration;

use crossgate::clock::Now;
use crossgate::identity::cache::TokenCache;
use crossgate::identity::clerk::{
    Attempt, Checks, CookieRules, InstanceSpec, Instances, KeySet, KeySource, KeyUrl, PublishableKey, SetKind,
    Verifier, cookie_suffix,
};
use crossgate::identity::{HeaderNames, Identity, Linking, Verdict};
use crossgate::request::Credentials;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::authorization;
use crate::case::Case;
use crate::mint::{Mint, expand};
use crate::paths;

/// `Err` says how the answers differ.
pub(crate) fn replay(case: &Case, mint: &Mint) -> Result<(), String> {
    match case.function.as_str() {
        "verifyToken" | "verifyJwt" => verify_token(case, mint),
        "authenticateRequest" => authenticate_request(case, mint),
        "claimsToAuth" => claims_to_auth(case, mint),
        "has" | "checkAuthorization" => authorization::replay(case, mint),
        "pathMatch" => paths::matches(case),
        "normalizePath" => paths::normalize(case),
        "parsePublishableKey" => publishable_key(case),
        "cookieSuffix" => {
            same("value", &case.expect["value"], &json!(cookie_suffix(case.key.as_deref().unwrap_or(""))))
        }
        other => panic!("{other} is not replayed"),
    }
}

fn same(what: &str, expected: &Value, got: &Value) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected}, got {got}")) }
}

fn publishable_key(case: &Case) -> Result<(), String> {
    let parsed = PublishableKey::parse(case.key.as_deref().unwrap_or(""));
    if case.expect.get("throws").is_some() {
        return parsed.map_or(Ok(()), |key| Err(format!("expected an error, got {key:?}")));
    }
    let value = parsed.map_or(
        Value::Null,
        |key| json!({"instanceType": format!("{:?}", key.kind).to_lowercase(), "frontendApi": &*key.frontend_api}),
    );
    same("value", &case.expect["value"], &value)
}

fn verify_token(case: &Case, mint: &Mint) -> Result<(), String> {
    let tokens = mint.tokens(case, &Map::new());
    let token = expand(case.token.as_deref().unwrap_or(""), &tokens);
    let verdict = World::new(case, mint).verify(&[("authorization", format!("Bearer {token}"))], case.now);
    if case.expect["ok"] == true {
        return match verdict {
            Verdict::Valid { .. } => Ok(()),
            other => Err(format!("expected a good token, got {}", word(&other))),
        };
    }
    let reason = case.expect["error"]["reason"].as_str().unwrap_or("");
    match verdict {
        Verdict::Invalid { reason: got, .. } if got.as_str() == reason => Ok(()),
        Verdict::Invalid { reason: got, .. } if also(case, got.as_str(), reason) => Ok(()),
        Verdict::Expired { .. } if reason == "token-expired" => Ok(()),
        other => Err(format!("expected {reason}, got {}", word(&other))),
    }
}

/// Two names of one refusal: of another class, the SDK's lower level only says that it is invalid.
fn also(case: &Case, got: &str, expected: &str) -> bool {
    match (got, expected) {
        ("token-type-mismatch", "token-invalid") => case.function == "verifyToken",
        ("token-not-active-yet", "session-token-nbf") => true,
        ("token-iat-in-the-future", "session-token-iat-in-the-future") => true,
        _ => false,
    }
}

/// The end-to-end suite's tokens lack what crossgate always asks for; no other expectation rests on it.
fn missing_claims(case: &Case) -> Map<String, Value> {
    let mut missing = Map::new();
    if case.id.starts_with("int-handshake#") {
        missing.insert("iss".to_owned(), json!("https://clerk.example-ins.com"));
        missing.insert("sid".to_owned(), json!("sess_1"));
    }
    missing
}

fn authenticate_request(case: &Case, mint: &Mint) -> Result<(), String> {
    let tokens = mint.tokens(case, &missing_claims(case));
    let lines: Vec<(&'static str, String)> = ["authorization", "cookie"]
        .into_iter()
        .filter_map(|name| Some((name, expand(case.header(name)?, &tokens))))
        .collect();
    let verdict = World::new(case, mint).verify(&lines, case.now);
    let status = case.expect["status"].as_str().unwrap_or("");
    if status == "signed-in" {
        return match verdict {
            Verdict::Valid { .. } => Ok(()),
            other => Err(format!("expected signed-in, got {}", word(&other))),
        };
    }
    // A handshake sends a page to Clerk; to an API it says: not signed in, for this reason.
    let reason = case.expect["reason"].as_str().unwrap_or("");
    let fits = match (&verdict, class(reason)) {
        (Verdict::Valid { .. } | Verdict::Conflict, _) => false,
        (_, Class::OfPages) => true,
        (Verdict::Absent, class) => class == Class::Absent,
        (Verdict::Expired { .. }, class) => class == Class::Expired,
        (Verdict::Unverifiable { .. }, class) => class == Class::Unverifiable,
        (Verdict::Invalid { reason: got, .. }, Class::Invalid) => {
            got.as_str() == reason || also(case, got.as_str(), reason)
        }
        (Verdict::Invalid { .. }, _) => false,
    };
    if fits { Ok(()) } else { Err(format!("expected {status} ({reason}), got {}", word(&verdict))) }
}

/// What a reason of the SDK's says about the credential.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Absent,
    Expired,
    Invalid,
    Unverifiable,
    /// Where the browser should go next; nothing about the credential.
    OfPages,
}

fn class(reason: &str) -> Class {
    match reason {
        "session-token-and-uat-missing" | "client-uat-but-no-session-token" | "session-token-missing" => Class::Absent,
        "jwk-remote-failed-to-load" | "jwk-failed-to-resolve" | "unexpected-error" => Class::Unverifiable,
        // Some cases look at the redirect only and give no reason.
        ""
        | "satellite-needs-syncing"
        | "primary-responds-to-syncing"
        | "primary-domain-cross-origin-sync"
        | "dev-browser-missing"
        | "dev-browser-sync"
        | "active-organization-mismatch" => Class::OfPages,
        reason if reason.starts_with("session-token-expired-refresh-") => Class::Expired,
        _ => Class::Invalid,
    }
}

fn claims_to_auth(case: &Case, mint: &Mint) -> Result<(), String> {
    let claims = case.claims.as_ref().ok_or("no claims")?;
    let identity = authorization::identity(claims, mint)?;
    let org = identity.facts.org.as_ref();
    let facts = &identity.facts;
    let got = json!({
        "userId": facts.subject.strip_prefix("user_"),
        "sessionId": facts.session.as_deref().and_then(|session| session.strip_prefix("sess_")),
        "sessionStatus": facts.claims.get("sts"),
        "orgId": org.map(|org| &org.id),
        "orgRole": org.and_then(|org| org.role.as_ref()),
        "orgSlug": org.and_then(|org| org.slug.as_ref()),
        "orgPermissions": org.and_then(|org| org.permissions.as_ref()),
        "factorVerificationAge": facts.factor_ages,
    });
    authorization::subset(&case.expect, &got)
}

/// One instance as the case configures it.
pub(crate) struct World {
    instances: Instances,
    cache: TokenCache,
    headers: HeaderNames,
}

impl World {
    fn new(case: &Case, mint: &Mint) -> Self {
        let key = case.option("publishableKey").and_then(Value::as_str);
        let key = key.and_then(|key| PublishableKey::parse(key).ok());
        let named = |spec: &Value| spec["payload"]["iss"].as_str().map(str::to_owned);
        let issuer = case
            .option("issuer")
            .and_then(Value::as_str)
            .map(str::to_owned)
            // Other classes than sessions have issuers of their own in these cases.
            .or_else(|| case.tokens.values().find_map(|spec| named(spec).filter(|iss| iss.ends_with(".example.test"))))
            .or_else(|| key.as_ref().map(PublishableKey::issuer))
            .or_else(|| case.tokens.values().find_map(named))
            .unwrap_or_else(|| "https://clerk.example.com".to_owned());
        let parties = match case.option("authorizedParties") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let skew = case.option("clockSkewInMs").and_then(Value::as_u64).unwrap_or(5000);
        let checks = Checks {
            authorized_parties: parties,
            audiences: case.texts("audience"),
            clock_skew: Duration::from_millis(skew),
            ..Checks::default()
        };
        Self::of(&issuer, key, key_source(case, mint), checks)
    }

    pub(crate) fn of(issuer: &str, publishable_key: Option<PublishableKey>, keys: KeySource, checks: Checks) -> Self {
        let spec = InstanceSpec {
            name: "clerk".into(),
            issuer: issuer.into(),
            publishable_key,
            keys,
            checks,
            cookies: CookieRules::default(),
            probe: None,
        };
        Self {
            instances: Instances::new(vec![spec], None).unwrap(),
            cache: TokenCache::default(),
            headers: HeaderNames::default(),
        }
    }

    pub(crate) fn verify(&self, lines: &[(&'static str, String)], unix_ms: i64) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let credentials = Credentials::read(&headers).unwrap();
        let verifier = Verifier {
            instances: &self.instances,
            cache: &self.cache,
            headers: &self.headers,
            linking: &Linking::default(),
            workspaces_claim: None,
            checks: Default::default(),
        };
        verifier.verify(&credentials, Now::at_unix_ms(unix_ms), Attempt::Last).unwrap()
    }
}

/// The SDK's key option, or what the case's network would bring.
fn key_source(case: &Case, mint: &Mint) -> KeySource {
    let lower_level = (case.function == "verifyJwt").then_some("$PEM");
    match case.option("jwtKey").and_then(Value::as_str).or(lower_level) {
        Some("$PEM") => return KeySource::Set(KeySet::from_pem(&mint.pem(false)).unwrap()),
        Some("$PEM_OTHER") => return KeySource::Set(KeySet::from_pem(&mint.pem(true)).unwrap()),
        _ => {}
    }
    match case.net.iter().find_map(|answer| answer["body"]["$jwks"].as_str()) {
        Some(kid) => KeySource::Set(mint.set(kid)),
        None => KeySource::Url(KeyUrl {
            url: "https://clerk.example.com/.well-known/jwks.json".to_owned(),
            refresh: Duration::from_secs(300),
            max_stale: Duration::from_secs(86_400),
            privileged_max_stale: Duration::from_secs(3600),
            allow_private: false,
            kind: SetKind::Clerk,
        }),
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid { identity, .. } => format!("valid {}", identity.facts.subject),
        other => format!("{other:?}"),
    }
}

/// The identity behind a verdict.
pub(crate) fn identity_of(verdict: Verdict) -> Result<Arc<Identity>, String> {
    match verdict {
        Verdict::Valid { identity, .. } => Ok(identity),
        other => Err(format!("the token is not accepted: {}", word(&other))),
    }
}
