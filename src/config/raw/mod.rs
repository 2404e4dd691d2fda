//! The configuration as people write it: serde shapes, nothing decided.
//!
//! Every field is optional, since a value that does not fit is told and taken out (see `decode`); `compile` knows
//! what is required and what the defaults are. Unknown keys are refused. Neither `untagged` nor `flatten`: both
//! lose the path of an error.

mod audit;
mod clerk;
mod legacy;
mod policy;
mod rollout;
mod runner;
mod scalar;
mod status;
mod test;
mod upstream;

use serde::Deserialize;

pub(crate) use audit::{Audit, AuditEvent, CopyTo, Rotate, RouteAudit};
pub(crate) use clerk::{Clerk, Cookies, Csrf, DenyOrAllow, Jwks, Probe};
pub(crate) use legacy::{
    ForwardAuth, ForwardHeaders, Introspection, Legacy, LegacyAlgorithm, LegacyClaims, LegacyCredential, LegacyJwt,
    Mint, MintAlgorithm, NamedSecret, Passthrough, Verify,
};
pub(crate) use policy::{
    Access, Match, Mode, OrgBy, Policies, Response, Reverified, Route, Rule, Until, WebSocket, WorkspaceBy,
};
pub(crate) use rollout::{Algorithm, ArmTo, Arms, Listed, Rollout, RolloutLimits, Shadow, Source, Unit};
pub(crate) use runner::Runner;
pub(crate) use scalar::{Bound, Lasting, Named, OneOrMany, Scalars, Several, Size, TextOr, Threads, Time};
pub(crate) use status::{Status, StatusAt};
pub(crate) use test::{ArmWord, Details, Expect, FlagOr, Test, TestFile};
pub(crate) use upstream::{
    Credentials, Forward, Health, InAuthorization, Paths, Protocol, Timeouts, TokenPlace, Upstream, UpstreamTls,
};

/// `crossgate.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Config {
    pub(crate) listeners: Option<Vec<Listener>>,
    pub(crate) admin: Option<Admin>,
    pub(crate) trusted_proxies: Option<Vec<String>>,
    pub(crate) server: Option<Server>,
    pub(crate) cors: Option<Cors>,
    pub(crate) limits: Option<Limits>,
    pub(crate) state_dir: Option<String>,
    pub(crate) upstreams: Option<Named<Upstream>>,
    pub(crate) clerk: Option<Vec<Clerk>>,
    pub(crate) legacy: Option<Legacy>,
    pub(crate) identity: Option<Identity>,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) runner: Option<Runner>,
    pub(crate) audit: Option<Audit>,
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) endpoints: Option<Endpoints>,
    pub(crate) telemetry: Option<Telemetry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { address: 0.0.0.0:8080 }")]
pub(crate) struct Listener {
    pub(crate) address: Option<String>,
    pub(crate) tls: Option<ListenerTls>,
    pub(crate) h2c: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { certificate: tls.crt, key: tls.key }")]
pub(crate) struct ListenerTls {
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
    /// Further ones, chosen by the name that the client asks for.
    pub(crate) certificates: Option<Vec<Certificate>>,
    pub(crate) client_ca: Option<String>,
    pub(crate) client_auth: Option<ClientAuth>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { certificate: tls.crt, key: tls.key }")]
pub(crate) struct Certificate {
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuth {
    Required,
    Optional,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { address: 127.0.0.1:9902 }")]
pub(crate) struct Admin {
    pub(crate) address: Option<String>,
    pub(crate) open: Option<Vec<OpenPath>>,
    pub(crate) tokens: Option<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenPath {
    Healthz,
    Readyz,
    Metrics,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { name: ci, token_file: ci.token, scopes: [read] }")]
pub(crate) struct Token {
    pub(crate) name: Option<String>,
    pub(crate) token_file: Option<String>,
    pub(crate) scopes: Option<Vec<Scope>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Scope {
    #[serde(rename = "read")]
    Read,
    #[serde(rename = "rollout:write")]
    RolloutWrite,
    #[serde(rename = "rollout:resume")]
    RolloutResume,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Server {
    pub(crate) threads: Option<Threads>,
    pub(crate) drain: Option<Drain>,
    pub(crate) ready: Option<Ready>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { delay: 5s, limit: 20s }")]
pub(crate) struct Drain {
    pub(crate) delay: Option<Time>,
    pub(crate) limit: Option<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { wait: 30s, strict: false }")]
pub(crate) struct Ready {
    pub(crate) wait: Option<Time>,
    pub(crate) strict: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Cors {
    pub(crate) origins: Option<Vec<String>>,
    pub(crate) credentials: Option<bool>,
    pub(crate) preflight: Option<Preflight>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preflight {
    Pass,
    Answer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Limits {
    pub(crate) headers: Option<Size>,
    pub(crate) header_count: Option<usize>,
    pub(crate) uri: Option<Size>,
    pub(crate) body: Option<Bound>,
    pub(crate) keepalive: Option<Time>,
    pub(crate) first_byte: Option<Time>,
    pub(crate) header_read: Option<Time>,
    pub(crate) body_read: Option<Time>,
    pub(crate) body_min_rate: Option<Bound>,
    pub(crate) websocket_lifetime: Option<Lasting>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) connections: Option<usize>,
    pub(crate) connections_per_peer: Option<Bound>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Identity {
    pub(crate) canonical: Option<Canonical>,
    pub(crate) map: Option<IdentityMap>,
    pub(crate) headers: Option<Named<Option<String>>>,
    pub(crate) roles: Option<Named<Vec<String>>>,
    pub(crate) names: Option<Names>,
    pub(crate) workspaces: Option<Workspaces>,
    pub(crate) assertion: Option<Assertion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, issuer: https://…, audience: app }")]
pub(crate) struct Assertion {
    pub(crate) enabled: Option<bool>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) algorithm: Option<AssertionAlgorithm>,
    pub(crate) ttl: Option<Time>,
    pub(crate) keys_dir: Option<String>,
    pub(crate) rotate: Option<Lasting>,
    pub(crate) overlap: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum AssertionAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Canonical {
    Legacy,
    Clerk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { file: map.jsonl }")]
pub(crate) struct IdentityMap {
    pub(crate) file: Option<String>,
    pub(crate) claim: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { org: clerk_id }")]
pub(crate) struct Names {
    pub(crate) org: Option<OrgNames>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrgNames {
    ClerkId,
    Slug,
    LegacyId,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { claim: workspaces }")]
pub(crate) struct Workspaces {
    pub(crate) claim: Option<String>,
    pub(crate) map: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Endpoints {
    pub(crate) prefix: Option<String>,
    #[serde(deserialize_with = "status::written")]
    pub(crate) status: Option<StatusAt>,
    pub(crate) debug_reasons: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Telemetry {
    /// off, stdout, stderr or a file.
    pub(crate) access_log: Option<String>,
    pub(crate) log: Option<LogLevel>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
