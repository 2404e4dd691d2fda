//! The stand-in for the API's own login: HS256 tokens, as the API has taken them for years.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::standin::{Answer, respond, value};
use crate::clock;

/// Signs with the secret of the config.
#[derive(Debug)]
pub(super) struct Login {
    key: hmac::Key,
    issuer: String,
}

/// What a token says.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) user: &'a str,
    pub(super) org: Option<&'a str>,
    pub(super) role: Option<&'a str>,
    /// Seconds; negative for the past.
    pub(super) ttl: i64,
}

impl Login {
    /// `secret` is the file's text.
    pub(super) fn new(secret: &str, issuer: String) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.trim_end().as_bytes()), issuer }
    }

    pub(super) fn sign(&self, claims: &Claims<'_>) -> String {
        let &Claims { user, org, role, ttl } = claims;
        let now = clock::now().unix_seconds();
        let expires = now + ttl;
        let roles: Vec<&str> = role.into_iter().collect();
        let claims = json!({
            "iss": self.issuer, "sub": user, "org": org, "roles": roles, "iat": now.min(expires - 60), "exp": expires,
        });
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let input =
            format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" }).to_string()), part(claims.to_string()));
        let tag = hmac::sign(&self.key, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a token of this login says, as the API would read it: its signature and its time hold. Knows nothing of
    /// crossgate, and takes what crossgate mints for people of Clerk's for its own.
    pub(super) fn read(&self, token: &str) -> Option<Value> {
        let (input, tag) = token.rsplit_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        hmac::verify(&self.key, input.as_bytes(), &decode(tag)?).ok()?;
        let (head, body) = input.split_once('.')?;
        let head: Value = serde_json::from_slice(&decode(head)?).ok()?;
        let said: Value = serde_json::from_slice(&decode(body)?).ok()?;
        let is_ours = head.get("alg")?.as_str()? == "HS256" && said.get("iss")?.as_str()? == self.issuer;
        let lives = said.get("exp")?.as_i64()? > clock::now().unix_seconds();
        (is_ours && lives).then_some(said)
    }

    /// `/mint?sub=41&org=acme&role=admin&ttl=3600`
    pub(super) fn answer(&self, asked: &Parts) -> Response<Answer> {
        if asked.uri.path() != "/mint" {
            return respond(StatusCode::NOT_FOUND, &json!({ "problem": "there is /mint" }));
        }
        let said = |name: &str| value(asked, name);
        let Ok(ttl) = said("ttl").map_or(Ok(super::TTL), |ttl| ttl.parse()) else {
            return respond(StatusCode::BAD_REQUEST, &json!({ "problem": "ttl is a number of seconds" }));
        };
        let (user, org, role) = (said("sub").unwrap_or_else(|| "42".to_owned()), said("org"), said("role"));
        let token = self.sign(&Claims { user: &user, org: org.as_deref(), role: role.as_deref(), ttl });
        respond(StatusCode::OK, &json!({ "token": token }))
    }
}
