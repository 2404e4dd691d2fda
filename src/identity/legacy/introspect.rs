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
use serde_json::{Value, json};

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

/// What an answer calls the credential, however that was spelled: by its `jti`, else by whose it is, since and until when.
pub(super) fn name_of(facts: &Facts) -> Option<String> {
    let user = facts.legacy_user.as_ref()?;
    let claim = |name: &str| facts.claims.get(name).filter(|value| !value.is_null());
    match (claim("jti"), claim("iat"), claim("exp")) {
        (Some(id @ (Value::String(_) | Value::Number(_))), _, _) => Some(json!([user, { "jti": id }]).to_string()),
        (_, None, None) => None,
        (_, since, until) => Some(json!([user, { "iat": since, "exp": until }]).to_string()),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::name_of;
    use crate::identity::legacy::Claims;

    #[test]
    fn what_an_answer_calls_the_credential() {
        let name = |answer: Value| {
            let Value::Object(claims) = answer else { panic!("an object") };
            name_of(&Claims::default().read(claims).unwrap())
        };
        let by_id = name(json!({ "sub": "a", "jti": "x", "exp": 2 }));
        let by_time = name(json!({ "sub": "a", "iat": 1, "exp": 2 }));
        let table = [
            ("the same, asked again", json!({ "sub": "a", "jti": "x", "exp": 3, "iat": 1 }), &by_id, true),
            ("another id", json!({ "sub": "a", "jti": "y", "exp": 2 }), &by_id, false),
            ("of somebody else", json!({ "sub": "b", "jti": "x", "exp": 2 }), &by_id, false),
            ("without an id", json!({ "sub": "a", "jti": null, "iat": 1, "exp": 2 }), &by_time, true),
            ("an id of no kind", json!({ "sub": "a", "jti": ["x"], "iat": 1, "exp": 2 }), &by_time, true),
            ("a later one", json!({ "sub": "a", "iat": 2, "exp": 2 }), &by_time, false),
            ("another end", json!({ "sub": "a", "iat": 1, "exp": 3 }), &by_time, false),
            ("no beginning", json!({ "sub": "a", "exp": 2 }), &by_time, false),
        ];
        assert!(by_id.is_some() && by_time.is_some());
        for (case, answer, other, expected) in table {
            assert_eq!(name(answer) == *other, expected, "{case}");
        }
        assert_eq!(name(json!({ "sub": "a", "org": "acme" })), None, "nothing but who it is: all of theirs are alike");
    }
}
