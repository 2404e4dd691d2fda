//! A policy file as people write it: routes, what they match and what they require.

use serde::Deserialize;

use super::audit::RouteAudit;
use super::scalar::{Named, OneOrMany, Scalars, Several, TextOr, Time};
use super::test::Test;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `routes`")]
pub(crate) struct Policies {
    pub(crate) routes: Option<Vec<Route>>,
    /// What `crossgate test` asks these routes; never read where they serve.
    pub(crate) tests: Option<Vec<Test>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a route: a mapping with `id` and `match`")]
pub(crate) struct Route {
    pub(crate) id: Option<String>,
    #[serde(rename = "match")]
    pub(crate) matches: Option<Match>,
    pub(crate) access: Option<Access>,
    pub(crate) require: Option<Rule>,
    pub(crate) audit: Option<RouteAudit>,
    pub(crate) upstream: Option<String>,
    pub(crate) timeout: Option<Time>,
    pub(crate) mode: Option<Mode>,
    pub(crate) websocket: Option<WebSocket>,
    pub(crate) response: Option<Response>,
    /// What this route's API really needs and every other route refuses; default: nothing.
    pub(crate) tolerate: Option<Vec<Tolerate>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { until: token_exp }")]
pub(crate) struct WebSocket {
    pub(crate) until: Option<Until>,
    pub(crate) origins: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    TokenExp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { private: true }")]
pub(crate) struct Response {
    pub(crate) private: Option<bool>,
}

/// One thing that `tolerate` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tolerate {
    /// `%2F` in a segment.
    EncodedSlash,
    /// `;` in a segment.
    Semicolon,
    /// Empty segments.
    DoubleSlash,
    /// `%25` before two hex digits.
    DoubleEscape,
    /// A GET with a body.
    GetBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { method: GET, path: /invoices }")]
pub(crate) struct Match {
    pub(crate) method: Option<OneOrMany>,
    pub(crate) path: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) header: Option<Named<String>>,
    pub(crate) query: Option<Named<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    Public,
    Login,
    Protected,
    Privileged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Enforce,
    Report,
}

/// All keys must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a rule: a mapping like { org: \"{org}\" }")]
pub(crate) struct Rule {
    pub(crate) token: Option<OneOrMany>,
    pub(crate) scope: Option<OneOrMany>,
    pub(crate) org: Option<Several<TextOr<OrgBy>>>,
    pub(crate) role: Option<OneOrMany>,
    pub(crate) permission: Option<OneOrMany>,
    pub(crate) workspace: Option<Several<TextOr<WorkspaceBy>>>,
    pub(crate) feature: Option<OneOrMany>,
    pub(crate) plan: Option<OneOrMany>,
    pub(crate) reverified: Option<TextOr<Reverified>>,
    pub(crate) claim: Option<Named<Scalars>>,
    /// A condition in CEL over `claims`, `identity` and `request`, of at most 4096 bytes.
    pub(crate) when: Option<String>,
    pub(crate) any: Option<Vec<Rule>>,
    pub(crate) all: Option<Vec<Rule>>,
    pub(crate) not: Option<Box<Rule>>,
}

/// `org` by a namespace other than `identity.names.org`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { slug: \"{org}\" }")]
pub(crate) struct OrgBy {
    pub(crate) slug: Option<String>,
    pub(crate) clerk_id: Option<String>,
    pub(crate) legacy_id: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { id: \"{workspace}\", role: editor }")]
pub(crate) struct WorkspaceBy {
    pub(crate) id: Option<String>,
    pub(crate) role: Option<OneOrMany>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { level: second_factor, after_minutes: 10 }")]
pub(crate) struct Reverified {
    pub(crate) level: Option<String>,
    pub(crate) after_minutes: Option<f64>,
}
