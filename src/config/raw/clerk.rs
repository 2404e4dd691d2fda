//! `clerk[]` as people write it.

use serde::Deserialize;

use super::scalar::{TextOr, Time};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { publishable_key: pk_live_… }")]
pub(crate) struct Clerk {
    pub(crate) name: Option<String>,
    pub(crate) publishable_key: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) jwks: Option<Jwks>,
    pub(crate) probe: Option<TextOr<Probe>>,
    pub(crate) authorized_parties: Option<Vec<String>>,
    pub(crate) missing_azp: Option<DenyOrAllow>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) clock_skew: Option<Time>,
    pub(crate) pending_sessions: Option<DenyOrAllow>,
    pub(crate) cookies: Option<Cookies>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: https://… }")]
pub(crate) struct Jwks {
    pub(crate) url: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) pem: Option<String>,
    pub(crate) refresh: Option<Time>,
    pub(crate) max_stale: Option<Time>,
    pub(crate) privileged_max_stale: Option<Time>,
    pub(crate) allow_private: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "off, or a mapping like { interval: 15s }")]
pub(crate) struct Probe {
    pub(crate) url: Option<String>,
    pub(crate) interval: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DenyOrAllow {
    Deny,
    Allow,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, csrf: enforce }")]
pub(crate) struct Cookies {
    pub(crate) enabled: Option<bool>,
    pub(crate) csrf: Option<Csrf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Csrf {
    Enforce,
    Off,
}
