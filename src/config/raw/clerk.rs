//! `clerk[]` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{TextOr, Time};
use super::shape;

/// An instance of Clerk.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { publishable_key: pk_live_… }")]
#[schemars(extend("anyOf" = [{ "required": ["publishable_key"] }, { "required": ["issuer"] }]))]
pub(crate) struct Clerk {
    /// The instance's name in logs and metrics; by default the issuer's host.
    #[schemars(extend("minLength" = 1), example = &"production")]
    pub(crate) name: Option<String>,
    /// The key in Clerk's dashboard under API keys; gives issuer and address of the key set.
    #[schemars(example = &"pk_live_Y2xlcmsuZXhhbXBsZS5jb20k")]
    pub(crate) publishable_key: Option<String>,
    /// Exactly `iss` of the tokens; by default from the publishable key.
    #[schemars(example = &"https://clerk.example.com")]
    pub(crate) issuer: Option<String>,
    /// Where the keys come from; by default the instance's own address.
    #[schemars(extend("examples" = [{ "url": "https://clerk.example.com/.well-known/jwks.json" }]))]
    pub(crate) jwks: Option<Jwks>,
    /// How it is asked whether Clerk renews tokens: `off`, or a mapping such as `{ interval: 15s }`.
    #[schemars(with = "shape::WordOr<shape::Off, Probe>", example = &"off")]
    pub(crate) probe: Option<TextOr<Probe>>,
    /// The origins of your pages (`azp`); without it any page will do.
    #[schemars(extend("examples" = [["https://app.example.com"]]))]
    pub(crate) authorized_parties: Option<Vec<String>>,
    /// Whether tokens without `azp` count.
    #[schemars(extend("default" = "deny"))]
    pub(crate) missing_azp: Option<DenyOrAllow>,
    /// One of these in `aud`, where a token has one.
    #[schemars(extend("default" = [], "items" = { "type": "string", "minLength": 1 }, "examples" = [["https://api.example.com"]]))]
    pub(crate) audiences: Option<Vec<String>>,
    /// How far the clocks may be apart.
    #[schemars(extend("default" = "5s"))]
    pub(crate) clock_skew: Option<Time>,
    /// Whether people who still have a sign-in task count as signed in.
    #[schemars(extend("default" = "deny"))]
    pub(crate) pending_sessions: Option<DenyOrAllow>,
    /// Clerk's session cookie, beside Authorization: Bearer.
    #[schemars(extend("examples" = [{ "enabled": true, "csrf": "enforce" }]))]
    pub(crate) cookies: Option<Cookies>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: https://… }")]
pub(crate) struct Jwks {
    /// The address of a key set.
    #[schemars(example = &"https://clerk.example.com/.well-known/jwks.json")]
    pub(crate) url: Option<String>,
    /// A file with a key set or a PEM, instead of `url`.
    #[schemars(example = &"keys.json")]
    pub(crate) file: Option<String>,
    /// A public key as it stands, instead of `url`.
    #[schemars(example = &"-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n")]
    pub(crate) pem: Option<String>,
    /// How often the key set is fetched, 1s to `max_stale`.
    #[schemars(extend("default" = "5m"))]
    pub(crate) refresh: Option<Time>,
    /// How long the last good key set serves while the address fails.
    #[schemars(extend("default" = "24h"))]
    pub(crate) max_stale: Option<Time>,
    /// The same for privileged routes.
    #[schemars(extend("default" = "1h"))]
    pub(crate) privileged_max_stale: Option<Time>,
    /// Whether http:// and private addresses are allowed, for stand-ins and internal mirrors.
    #[schemars(extend("default" = false))]
    pub(crate) allow_private: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "off, or a mapping like { interval: 15s }")]
pub(crate) struct Probe {
    /// What is asked; by default where the keys come from Clerk itself.
    #[schemars(example = &"https://clerk.example.com/v1/client")]
    pub(crate) url: Option<String>,
    /// How often it is asked, 1s to 5m.
    #[schemars(extend("default" = "15s"))]
    pub(crate) interval: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DenyOrAllow {
    Deny,
    Allow,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, csrf: enforce }")]
pub(crate) struct Cookies {
    /// Whether the session cookie counts.
    #[schemars(extend("default" = true))]
    pub(crate) enabled: Option<bool>,
    /// Whether unsafe methods with a cookie need proof that they come from an authorized page.
    #[schemars(extend("default" = "enforce"))]
    pub(crate) csrf: Option<Csrf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Csrf {
    Enforce,
    Off,
}
