//! `upstreams.<name>` as people write it.

use serde::Deserialize;

use super::scalar::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { endpoints: [127.0.0.1:3000] }")]
pub(crate) struct Upstream {
    pub(crate) endpoints: Option<Vec<String>>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) tls: Option<UpstreamTls>,
    pub(crate) health: Option<Health>,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) paths: Option<Paths>,
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Http1,
    Http2,
    H2c,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { sni: api.internal, ca: ca.pem }")]
pub(crate) struct UpstreamTls {
    pub(crate) sni: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { path: /healthz }")]
pub(crate) struct Health {
    pub(crate) path: Option<String>,
    pub(crate) interval: Option<Time>,
    pub(crate) healthy: Option<u32>,
    pub(crate) unhealthy: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { connect: 1s, read: 60s }")]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<Time>,
    pub(crate) read: Option<Time>,
    pub(crate) write: Option<Time>,
    pub(crate) idle: Option<Time>,
    pub(crate) stream_idle: Option<Time>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paths {
    Loose,
    Exact,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { forward: [legacy] }")]
pub(crate) struct Credentials {
    pub(crate) forward: Option<Vec<Forward>>,
    pub(crate) authorization: Option<InAuthorization>,
    pub(crate) legacy_token: Option<TokenPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InAuthorization {
    None,
    Assertion,
    LegacyToken,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { header: x-api-token } or { cookie: session }")]
pub(crate) struct TokenPlace {
    pub(crate) header: Option<String>,
    pub(crate) cookie: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forward {
    Legacy,
    Clerk,
}
