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
mod shape;
mod status;
mod test;
mod upstream;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use audit::{Audit, AuditEvent, CopyTo, Rotate, RouteAudit};
pub(crate) use clerk::{Clerk, Cookies, Csrf, DenyOrAllow, Jwks, Probe};
pub(crate) use legacy::{
    ForwardAuth, ForwardHeaders, Introspection, Legacy, LegacyAlgorithm, LegacyClaims, LegacyCredential, LegacyJwt,
    Mint, MintAlgorithm, NamedSecret, Passthrough, Verify,
};
pub(crate) use policy::{
    Access, Match, Mode, OrgBy, Policies, Response, Reverified, Route, Rule, Tolerate, Until, WebSocket, WorkspaceBy,
};
pub(crate) use rollout::{Algorithm, ArmTo, Arms, Listed, Rollout, RolloutLimits, Shadow, Source, Unit};
pub(crate) use runner::Runner;
pub(crate) use scalar::{Bound, Lasting, Named, OneOrMany, Scalars, Several, Size, TextOr, Threads, Time, parse_time};
pub(crate) use status::{Status, StatusAt};
pub(crate) use test::{ArmWord, Details, Expect, FlagOr, Test, TestFile};
pub(crate) use upstream::{
    Credentials, Forward, Health, InAuthorization, Paths, Protocol, Timeouts, TokenPlace, Upstream, UpstreamTls,
};

/// What crossgate listens on, what is behind it, who may log in and where its policies are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
#[schemars(extend("required" = ["listeners", "upstreams", "policies"], "anyOf" = [{ "required": ["clerk"] }, { "required": ["legacy"] }]))]
pub(crate) struct Config {
    /// Where clients connect; at least one.
    #[schemars(extend("minItems" = 1, "examples" = [[{ "address": "127.0.0.1:8080" }]]))]
    pub(crate) listeners: Option<Vec<Listener>>,
    /// Where health, readiness, metrics and the snapshot in use are asked for.
    #[schemars(extend("examples" = [{ "address": "127.0.0.1:9902" }]))]
    pub(crate) admin: Option<Admin>,
    /// Whose X-Forwarded-*, Forwarded, x-request-id and traceparent are believed: networks, or `unix` for unix
    /// sockets; nobody by default.
    #[schemars(extend("default" = [], "examples" = [["10.0.0.0/8", "unix"]]))]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// Threads, and how the process starts and stops.
    #[schemars(extend("examples" = [{ "threads": "auto" }]))]
    pub(crate) server: Option<Server>,
    /// Whose pages may read crossgate's own answers.
    #[schemars(extend("examples" = [{ "origins": ["https://app.example.com"] }]))]
    pub(crate) cors: Option<Cors>,
    /// What a client may send and how long it may take.
    #[schemars(extend("examples" = [{ "headers": "64KiB", "in_flight": 10000 }]))]
    pub(crate) limits: Option<Limits>,
    /// The folder for what outlives a restart, such as the last good key sets.
    #[schemars(extend("default" = "state"))]
    pub(crate) state_dir: Option<String>,
    /// The APIs behind, each under a name; a route that names none goes to the only one, or to `app`.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "app": { "endpoints": ["127.0.0.1:3000"] } }]))]
    pub(crate) upstreams: Option<Named<Upstream>>,
    /// Instances of Clerk, told apart by issuer; at least one of `clerk` and `legacy` must be there.
    #[schemars(extend("minItems" = 1, "examples" = [[{ "publishable_key": "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k" }]]))]
    pub(crate) clerk: Option<Vec<Clerk>>,
    /// The API's other login.
    #[schemars(extend("examples" = [{ "verify": { "jwt": { "secret_file": "legacy.secret" } } }]))]
    pub(crate) legacy: Option<Legacy>,
    /// Who is one person, what they are called, and how the API is told.
    #[schemars(extend("examples" = [{ "headers": { "subject": "x-user-id" } }]))]
    pub(crate) identity: Option<Identity>,
    /// How many people the Clerk side is authoritative for; without it there is no rollout.
    #[schemars(extend("examples" = [{ "source": "file", "percent": 10 }]))]
    pub(crate) rollout: Option<Rollout>,
    /// Tokens for local runners, given in exchange for a session.
    #[schemars(extend("examples" = [{ "enabled": true, "scopes": ["executions:write"] }]))]
    pub(crate) runner: Option<Runner>,
    /// The audit trail: where it is written and what goes into it.
    #[schemars(extend("examples" = [{ "file": "audit/audit.jsonl" }]))]
    pub(crate) audit: Option<Audit>,
    /// The policy files, by path or pattern, from the folder of this file; at least one.
    #[schemars(extend("minItems" = 1, "examples" = [["policies/*.yaml"]]))]
    pub(crate) policies: Option<Vec<String>>,
    /// crossgate's own paths on the listeners.
    #[schemars(extend("examples" = [{ "prefix": "/.crossgate" }]))]
    pub(crate) endpoints: Option<Endpoints>,
    /// Access lines and logs.
    #[schemars(extend("examples" = [{ "access_log": "stdout", "log": "info" }]))]
    pub(crate) telemetry: Option<Telemetry>,
    /// Warnings that are meant wherever they are told: codes, each with the reason. By default none.
    #[schemars(extend("examples" = [{ "CG0701": "the API compares tenants itself" }]))]
    pub(crate) waive: Option<Named<String>>,
}

/// One address on which clients connect.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { address: 0.0.0.0:8080 }")]
#[schemars(extend("required" = ["address"]))]
pub(crate) struct Listener {
    /// `ip:port`, `unix:/path`, or `systemd` and `fd:NAME` for sockets that the service manager passes.
    #[schemars(example = &"127.0.0.1:8080")]
    pub(crate) address: Option<String>,
    /// Certificates to serve TLS with; without it the listener speaks plain text.
    #[schemars(extend("examples" = [{ "certificate": "tls.crt", "key": "tls.key" }]))]
    pub(crate) tls: Option<ListenerTls>,
    /// Whether HTTP/2 without TLS is spoken, beside HTTP/1.
    #[schemars(extend("default" = false))]
    pub(crate) h2c: Option<bool>,
}

/// What a listener serves TLS with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { certificate: tls.crt, key: tls.key }")]
#[schemars(extend("required" = ["certificate", "key"]))]
pub(crate) struct ListenerTls {
    /// A PEM file: its own certificate first, then those that signed it; read again on reload.
    #[schemars(example = &"tls.crt")]
    pub(crate) certificate: Option<String>,
    /// A PEM file with the private key, without a password.
    #[schemars(example = &"tls.key")]
    pub(crate) key: Option<String>,
    /// Further ones, chosen by the name that the client asks for.
    #[schemars(extend("examples" = [[{ "certificate": "other.crt", "key": "other.key" }]]))]
    pub(crate) certificates: Option<Vec<Certificate>>,
    /// A PEM file with the authorities one of which must have signed a client's certificate.
    #[schemars(example = &"clients.pem")]
    pub(crate) client_ca: Option<String>,
    /// Whether a client without a certificate is let in; one with a bad certificate never is.
    #[schemars(extend("default" = "required"))]
    pub(crate) client_auth: Option<ClientAuth>,
}

/// A further certificate of a listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { certificate: tls.crt, key: tls.key }")]
#[schemars(extend("required" = ["certificate", "key"]))]
pub(crate) struct Certificate {
    /// A PEM file: its own certificate first, then those that signed it.
    #[schemars(example = &"other.crt")]
    pub(crate) certificate: Option<String>,
    /// A PEM file with the private key, without a password.
    #[schemars(example = &"other.key")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuth {
    Required,
    Optional,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { address: 127.0.0.1:9902 }")]
pub(crate) struct Admin {
    /// `ip:port`, or `unix:/path` for a socket that only its owner may open.
    #[schemars(extend("default" = "127.0.0.1:9902"))]
    pub(crate) address: Option<String>,
    /// What needs no token where there are tokens; all three by default.
    #[schemars(extend("default" = ["healthz", "readyz", "metrics"]))]
    pub(crate) open: Option<Vec<OpenPath>>,
    /// Who may ask for more than `open`; without any, all can be read over TCP and nothing changed.
    #[schemars(extend("examples" = [[{ "name": "ci", "token_file": "ci.token", "scopes": ["read", "rollout:write"] }]]))]
    pub(crate) tokens: Option<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenPath {
    Healthz,
    Readyz,
    Metrics,
}

/// A token of the admin listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { name: ci, token_file: ci.token, scopes: [read] }")]
#[schemars(extend("required" = ["name", "token_file", "scopes"]))]
pub(crate) struct Token {
    /// The name that changes are recorded under.
    #[schemars(example = &"ci")]
    pub(crate) name: Option<String>,
    /// A file with the token: one line of 16 to 4,096 visible characters, mode 0600.
    #[schemars(example = &"ci.token")]
    pub(crate) token_file: Option<String>,
    /// What the token is for: `rollout:write` sets, freezes and rolls back, `rollout:resume` resumes and confirms.
    #[schemars(extend("minItems" = 1, "examples" = [["read", "rollout:write"]]))]
    pub(crate) scopes: Option<Vec<Scope>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum Scope {
    #[serde(rename = "read")]
    Read,
    #[serde(rename = "rollout:write")]
    RolloutWrite,
    #[serde(rename = "rollout:resume")]
    RolloutResume,
    #[serde(rename = "reload")]
    Reload,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Server {
    /// How many threads serve, or `auto` for one each core.
    #[schemars(extend("default" = "auto"))]
    pub(crate) threads: Option<Threads>,
    /// How the process stops.
    #[schemars(extend("examples" = [{ "delay": "5s", "limit": "20s" }]))]
    pub(crate) drain: Option<Drain>,
    /// When a process that starts says that it is ready.
    #[schemars(extend("examples" = [{ "wait": "30s", "strict": false }]))]
    pub(crate) ready: Option<Ready>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { delay: 5s, limit: 20s }")]
pub(crate) struct Drain {
    /// How long connections are still accepted after SIGTERM, while load balancers take the endpoint out.
    #[schemars(extend("default" = "5s"))]
    pub(crate) delay: Option<Time>,
    /// The longest wait for requests in flight after that.
    #[schemars(extend("default" = "20s"))]
    pub(crate) limit: Option<Time>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { wait: 30s, strict: false }")]
pub(crate) struct Ready {
    /// The longest wait for the first keys; after it the process is ready, but degraded.
    #[schemars(extend("default" = "30s"))]
    pub(crate) wait: Option<Time>,
    /// Whether the process is never ready without keys.
    #[schemars(extend("default" = false))]
    pub(crate) strict: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Cors {
    /// The origins whose pages may read them; by default all `authorized_parties`.
    #[schemars(extend("examples" = [["https://app.example.com"]]))]
    pub(crate) origins: Option<Vec<String>>,
    /// Whether those pages may send credentials.
    #[schemars(extend("default" = true))]
    pub(crate) credentials: Option<bool>,
    /// Whether preflights pass to the API without identity, or crossgate answers them.
    #[schemars(extend("default" = "pass"))]
    pub(crate) preflight: Option<Preflight>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preflight {
    Pass,
    Answer,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Limits {
    /// The largest block of headers; 431 above.
    #[schemars(extend("default" = "64KiB"))]
    pub(crate) headers: Option<Size>,
    /// The most header lines; 431 above.
    #[schemars(extend("default" = 100))]
    pub(crate) header_count: Option<usize>,
    /// The longest request target; 414 above.
    #[schemars(extend("default" = "16KiB"))]
    pub(crate) uri: Option<Size>,
    /// The largest body, or `none`; 413 above.
    #[schemars(extend("default" = "none"))]
    pub(crate) body: Option<Bound>,
    /// The longest silence between two requests of a connection.
    #[schemars(extend("default" = "75s"))]
    pub(crate) keepalive: Option<Time>,
    /// The longest wait for a new connection's first byte, and for a TLS handshake.
    #[schemars(extend("default" = "10s"))]
    pub(crate) first_byte: Option<Time>,
    /// The longest time for a request's head.
    #[schemars(extend("default" = "10s"))]
    pub(crate) header_read: Option<Time>,
    /// The longest silence within a request's body; 408 after it.
    #[schemars(extend("default" = "60s"))]
    pub(crate) body_read: Option<Time>,
    /// How many bytes a second a body must bring on average, or `none`; 408 below.
    #[schemars(extend("default" = "none"), example = &"1KiB")]
    pub(crate) body_min_rate: Option<Bound>,
    /// The longest life of a WebSocket, or `none`.
    #[schemars(extend("default" = "none"), example = &"24h")]
    pub(crate) websocket_lifetime: Option<Lasting>,
    /// The most requests that are served at once; 503 above.
    #[schemars(extend("default" = 10000))]
    pub(crate) in_flight: Option<usize>,
    /// The most open connections of clients; further ones are closed at once.
    #[schemars(extend("default" = 20000))]
    pub(crate) connections: Option<usize>,
    /// The most open connections of one address (IPv6: one /64), or `none`.
    #[schemars(extend("default" = "none"), example = 100)]
    pub(crate) connections_per_peer: Option<Bound>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Identity {
    /// The id that is the subject when a person has both; by default `legacy` where `legacy` is configured.
    #[schemars(example = &"legacy")]
    pub(crate) canonical: Option<Canonical>,
    /// Who is one person on both sides.
    #[schemars(extend("examples" = [{ "file": "identity/map.jsonl" }]))]
    pub(crate) map: Option<IdentityMap>,
    /// Names of the identity headers: a fact and its name, or null to drop it; by default x-crossgate- with the fact.
    #[schemars(extend("propertyNames" = { "enum": ["subject", "clerk_user", "legacy_user", "org", "org_slug", "legacy_org", "role", "permissions", "workspaces", "session", "method", "token", "arm", "route", "actor", "request_id", "assertion"] }, "examples" = [{ "subject": "x-user-id", "permissions": null }]))]
    pub(crate) headers: Option<Named<Option<String>>>,
    /// A role of Clerk's and the legacy roles that mean the same; others mean nothing here.
    #[schemars(extend("examples" = [{ "org:admin": ["admin", "owner"] }]))]
    pub(crate) roles: Option<Named<Vec<String>>>,
    /// Which names of things stand in paths.
    #[schemars(extend("examples" = [{ "org": "clerk_id" }]))]
    pub(crate) names: Option<Names>,
    /// Where it stands which workspaces a person may enter.
    #[schemars(extend("examples" = [{ "claim": "workspaces" }]))]
    pub(crate) workspaces: Option<Workspaces>,
    /// A signed statement of who is calling, in x-crossgate-assertion.
    #[schemars(extend("examples" = [{ "enabled": true, "issuer": "https://gate.internal", "audience": "app" }]))]
    pub(crate) assertion: Option<Assertion>,
}

/// The signed statement of who is calling.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, issuer: https://…, audience: app }")]
#[schemars(extend("if" = { "properties": { "enabled": { "const": true } }, "required": ["enabled"] }, "then" = { "required": ["issuer", "audience"] }))]
pub(crate) struct Assertion {
    /// Whether there is one.
    #[schemars(extend("default" = false))]
    pub(crate) enabled: Option<bool>,
    /// `iss`: the URL under which verifiers find crossgate; required where enabled.
    #[schemars(example = &"https://gate.internal")]
    pub(crate) issuer: Option<String>,
    /// `aud`: the API that is meant; required where enabled.
    #[schemars(example = &"app")]
    pub(crate) audience: Option<String>,
    /// The algorithm of new keys.
    #[schemars(extend("default" = "ES256"))]
    pub(crate) algorithm: Option<AssertionAlgorithm>,
    /// How long a statement holds, 5s to 1h.
    #[schemars(extend("default" = "60s"))]
    pub(crate) ttl: Option<Time>,
    /// The folder of the keys, which replicas share; by default keys in `state_dir`.
    #[schemars(example = &"state/keys")]
    pub(crate) keys_dir: Option<String>,
    /// How often there is a new key, or `none`; at least three times `overlap`.
    #[schemars(extend("default" = "720h"))]
    pub(crate) rotate: Option<Lasting>,
    /// How long a key is published before it signs, and after what it signed has expired.
    #[schemars(extend("default" = "15m"))]
    pub(crate) overlap: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum AssertionAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Canonical {
    Legacy,
    Clerk,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { file: map.jsonl }")]
#[schemars(extend("anyOf" = [{ "required": ["file"] }, { "required": ["claim"] }]))]
pub(crate) struct IdentityMap {
    /// A file of users, orgs and memberships as JSON lines; read again on a reload when it changed.
    #[schemars(example = &"identity/map.jsonl")]
    pub(crate) file: Option<String>,
    /// The claim of Clerk's tokens with the legacy id, for whom the file does not know.
    #[schemars(example = &"external_id")]
    pub(crate) claim: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { org: clerk_id }")]
pub(crate) struct Names {
    /// Which name of the active org stands in paths; by default `legacy_id` with a map or without `clerk`, else `clerk_id`.
    #[schemars(example = &"clerk_id")]
    pub(crate) org: Option<OrgNames>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrgNames {
    ClerkId,
    Slug,
    LegacyId,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { claim: workspaces }")]
pub(crate) struct Workspaces {
    /// The claim of Clerk's tokens that lists them: ids, or `{ id, role }`.
    #[schemars(example = &"workspaces")]
    pub(crate) claim: Option<String>,
    /// Whether the map's memberships say it; by default where there is a map with a file.
    #[schemars(example = true)]
    pub(crate) map: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Endpoints {
    /// The prefix of crossgate's own paths, which are never proxied.
    #[schemars(extend("default" = "/.crossgate"))]
    pub(crate) prefix: Option<String>,
    /// The path where frontends ask who is signed in; null for nowhere, or a mapping with path and body.
    #[serde(deserialize_with = "status::written")]
    #[schemars(extend("default" = "/auth/status"))]
    pub(crate) status: Option<StatusAt>,
    /// Whether error bodies show the exact reason; for development.
    #[schemars(extend("default" = false))]
    pub(crate) debug_reasons: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Telemetry {
    /// Where access lines go: `off`, `stdout`, `stderr`, or a file as in ./access.log.
    #[schemars(extend("default" = "stdout"))]
    pub(crate) access_log: Option<String>,
    /// The least severe log lines that are written.
    #[schemars(extend("default" = "info"))]
    pub(crate) log: Option<LogLevel>,
    /// Whether each answer names the snapshot that decided it, in `x-crossgate-policy`.
    #[schemars(extend("default" = false))]
    pub(crate) policy_version_header: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
