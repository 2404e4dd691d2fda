//! The claims of a development session token, as Clerk's second version writes them.

use serde_json::{Map, Value, json};

use crate::clock::Now;

/// What a token is to say.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) issuer: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
    pub(crate) azp: Option<String>,
    pub(crate) org: Option<String>,
    pub(crate) slug: Option<String>,
    pub(crate) role: Option<String>,
    /// Seconds; negative for the past.
    pub(crate) ttl: i64,
    /// Claims beside the usual ones; they win.
    pub(crate) claims: Map<String, Value>,
}

impl Session {
    pub(crate) fn new(issuer: &str, sub: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            sub: sub.to_owned(),
            sid: "sess_dev".to_owned(),
            azp: None,
            org: None,
            slug: None,
            role: None,
            ttl: 60,
            claims: Map::new(),
        }
    }

    pub(crate) fn claims(&self, now: Now) -> Map<String, Value> {
        let now = now.unix_seconds();
        let expires = now + self.ttl;
        // A token that has expired was issued before that, or it would be malformed rather than expired.
        let issued = now.min(expires - 60);
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.issuer));
        claims.insert("sub".to_owned(), json!(self.sub));
        claims.insert("sid".to_owned(), json!(self.sid));
        claims.insert("iat".to_owned(), json!(issued));
        claims.insert("nbf".to_owned(), json!(issued - 10));
        claims.insert("exp".to_owned(), json!(expires));
        claims.insert("v".to_owned(), json!(2));
        claims.insert("sts".to_owned(), json!("active"));
        claims.insert("fva".to_owned(), json!([0, -1]));
        if let Some(azp) = &self.azp {
            claims.insert("azp".to_owned(), json!(azp));
        }
        if let Some(org) = &self.org {
            let mut active = Map::new();
            active.insert("id".to_owned(), json!(org));
            if let Some(slug) = &self.slug {
                active.insert("slg".to_owned(), json!(slug));
            }
            if let Some(role) = &self.role {
                active.insert("rol".to_owned(), json!(role.trim_start_matches("org:")));
            }
            claims.insert("o".to_owned(), Value::Object(active));
        }
        claims.extend(self.claims.clone());
        claims
    }
}
