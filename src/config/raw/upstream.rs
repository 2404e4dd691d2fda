//! `upstreams.<name>` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::Time;

/// An API.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { endpoints: [127.0.0.1:3000] }")]
#[schemars(extend("required" = ["endpoints"]))]
pub(crate) struct Upstream {
    /// Its addresses, taken in turn: `ip:port`, `host:port` or `unix:/path`.
    #[schemars(extend("minItems" = 1, "examples" = [["127.0.0.1:3000"]]))]
    pub(crate) endpoints: Option<Vec<String>>,
    /// What it speaks: HTTP/1.1, HTTP/2 over `tls`, or HTTP/2 in plain text.
    #[schemars(extend("default" = "http1"))]
    pub(crate) protocol: Option<Protocol>,
    /// TLS to the API, always verified; without it the API is spoken to in plain text.
    #[schemars(extend("examples" = [{ "sni": "api.internal", "ca": "ca.pem" }]))]
    pub(crate) tls: Option<UpstreamTls>,
    /// How every endpoint is asked whether it is well; without it only requests tell.
    #[schemars(extend("examples" = [{ "path": "/healthz" }]))]
    pub(crate) health: Option<Health>,
    /// How long the API may take.
    #[schemars(extend("examples" = [{ "connect": "1s", "read": "60s" }]))]
    pub(crate) timeouts: Option<Timeouts>,
    /// Whether this API tells case and trailing slash of paths apart (`exact`).
    #[schemars(extend("default" = "loose"))]
    pub(crate) paths: Option<Paths>,
    /// Which credentials the API gets.
    #[schemars(extend("examples" = [{ "forward": ["legacy"], "authorization": "none" }]))]
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Http1,
    Http2,
    H2c,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { sni: api.internal, ca: ca.pem }")]
#[schemars(extend("required" = ["sni"], "dependencies" = { "certificate": ["key"], "key": ["certificate"] }))]
pub(crate) struct UpstreamTls {
    /// The name or IP address that the API's certificate is for.
    #[schemars(example = &"api.internal")]
    pub(crate) sni: Option<String>,
    /// A PEM file with whom to trust; by default the platform's authorities.
    #[schemars(example = &"ca.pem")]
    pub(crate) ca: Option<String>,
    /// A PEM file with the certificate that is shown to an API that demands one; needs `key`.
    #[schemars(example = &"client.pem")]
    pub(crate) certificate: Option<String>,
    /// A PEM file with the private key of `certificate`.
    #[schemars(example = &"client.key")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { path: /healthz }")]
#[schemars(extend("required" = ["path"]))]
pub(crate) struct Health {
    /// The path that is asked for; 2xx and 3xx are good answers.
    #[schemars(example = &"/healthz")]
    pub(crate) path: Option<String>,
    /// How often, from 100ms; also the longest time for an answer (at most 5s).
    #[schemars(extend("default" = "5s"))]
    pub(crate) interval: Option<Time>,
    /// How many good answers in a row bring an endpoint back.
    #[schemars(extend("default" = 2))]
    pub(crate) healthy: Option<u32>,
    /// How many bad ones in a row take it out.
    #[schemars(extend("default" = 3))]
    pub(crate) unhealthy: Option<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { connect: 1s, read: 60s }")]
pub(crate) struct Timeouts {
    /// The longest time to connect.
    #[schemars(extend("default" = "1s"))]
    pub(crate) connect: Option<Time>,
    /// The longest silence of the API, counted from the request's end.
    #[schemars(extend("default" = "60s"))]
    pub(crate) read: Option<Time>,
    /// The longest time in which the API takes nothing of what is sent.
    #[schemars(extend("default" = "30s"))]
    pub(crate) write: Option<Time>,
    /// How long an idle connection is kept; below the API's own keep-alive.
    #[schemars(extend("default" = "4s"))]
    pub(crate) idle: Option<Time>,
    /// The longest silence of an event stream, gRPC stream or WebSocket.
    #[schemars(extend("default" = "1h"))]
    pub(crate) stream_idle: Option<Time>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paths {
    Loose,
    Exact,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { forward: [legacy] }")]
pub(crate) struct Credentials {
    /// Which of a person's own credentials the API still gets as they came.
    #[schemars(extend("default" = ["legacy"]))]
    pub(crate) forward: Option<Vec<Forward>>,
    /// What crossgate itself puts into Authorization for a person.
    #[schemars(extend("default" = "none"))]
    pub(crate) authorization: Option<InAuthorization>,
    /// Where else this API looks for the minted token.
    #[schemars(extend("examples" = [{ "header": "x-api-token" }]))]
    pub(crate) legacy_token: Option<TokenPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InAuthorization {
    None,
    Assertion,
    LegacyToken,
}

/// A header or a cookie.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { header: x-api-token } or { cookie: session }")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct TokenPlace {
    /// The header.
    #[schemars(example = &"x-api-token")]
    pub(crate) header: Option<String>,
    /// The cookie.
    #[schemars(example = &"session")]
    pub(crate) cookie: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forward {
    Legacy,
    Clerk,
}
