//! `introspection`: asks the issuer's server about a token (RFC 7662).
//!
//! Only the boolean `active: true` is a yes and only `active: false` is a no; everything else leaves the question open.
//! What the claims say of a person is read by the same rules as a signed token's.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::ask::{Said, Useless};
use super::claims::Claims;
use super::exchange::{Incoming, Outgoing};
use super::jwt::CLOCK_SKEW;
use super::reason::Reason;
use super::secret::Secret;
use crate::clock::Now;
use crate::identity::times::Times;
use crate::identity::{Facts, json};

/// `legacy.verify.introspection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionSpec {
    pub url: Arc<str>,
    pub client: Option<ClientCredentials>,
    /// How long a good answer is believed, at most; zero: not at all.
    pub cache: Duration,
    pub claims: Claims,
}

/// What crossgate identifies itself with (HTTP Basic).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    pub id: Box<str>,
    pub secret: Secret,
}

impl IntrospectionSpec {
    pub(super) fn question(&self, token: &str) -> Outgoing {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(basic) = self.client.as_ref().and_then(ClientCredentials::basic) {
            headers.insert(AUTHORIZATION, basic);
        }
        let mut body = String::from("token=");
        form_encode(token.as_bytes(), &mut body);
        Outgoing { method: Method::POST, url: Arc::clone(&self.url), headers, body: Some(body) }
    }

    pub(super) fn read(&self, answer: &Incoming, now: Now) -> Result<Said, Useless> {
        match answer.status {
            200 => {}
            status @ (401 | 403) => return Err(Useless::OwnCredentials(status)),
            status => return Err(Useless::Status(status)),
        }
        let claims = json::parse_object(&answer.body).map_err(|_| Useless::Form)?;
        match claims.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(Said::Bad(Reason::Inactive)),
            _ => return Err(Useless::Form),
        }
        let times = Times::read(&claims, now).map_err(|_| Useless::Form)?;
        let validity = match times.judge(CLOCK_SKEW, now) {
            Ok(validity) => validity,
            Err(problem) => return Ok(Said::Bad(problem.into())),
        };
        let facts = self.claims.read(claims).map_err(|_| Useless::Nobody)?;
        let facts = Facts { issued_at_ms: times.issued_ms(), expires_at_ms: times.expires_ms(), ..facts };
        Ok(Said::Good(Box::new(facts), validity))
    }
}

impl ClientCredentials {
    /// Both halves are form-encoded before they are joined (RFC 6749 2.3.1): an id may hold a colon.
    fn basic(&self) -> Option<HeaderValue> {
        let mut joined = String::new();
        form_encode(self.id.as_bytes(), &mut joined);
        joined.push(':');
        form_encode(self.secret.bytes(), &mut joined);
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(joined))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// application/x-www-form-urlencoded.
fn form_encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    out.extend(char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()));
                }
            }
        }
    }
}
