//! The compiled world: everything that a request reads, made whole by `config::compile` and swapped whole.
//!
//! Gathers, decides nothing. A request takes one `Arc<Snapshot>` and keeps it to its end, so that a reload in
//! mid-request cannot mix two policies. [`Settings`] is what is read once, at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;

use crate::audit;
use crate::identity::clerk::{Instances, Keys};
use crate::identity::legacy::LegacyVerifier;
use crate::identity::{HeaderNames, Linking, cache::TokenCache};
use crate::issuer::{Assertion, KeyFolder, Mint, Runner};
use crate::policy::{OrgName, Policy, Roles};
use crate::request;
use crate::rollout::Plan;
use crate::route::Routes;
use crate::status::Body;
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::shadow::Comparisons;
use crate::telemetry::tally::Tallies;
use crate::tls::Tls;
use crate::upstream::Upstream;

/// The snapshot that serves now. Readers load it; only a reload stores.
pub type Live = Arc<ArcSwap<Snapshot>>;

/// One compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// First 16 hex digits of the SHA-256 over all files that made it, names and contents.
    pub id: Arc<str>,
    /// The same where `telemetry.policy_version_header` shows it in answers.
    pub shown_id: Option<HeaderValue>,
    pub request: request::Rules,
    pub routes: Routes,
    /// By route index.
    pub policies: Vec<Policy>,
    /// By route index.
    pub metrics: Vec<RouteMetrics>,
    /// What the routes in report mode let through.
    pub tallies: Tallies,
    /// What is counted when no route was found.
    pub unrouted: RouteMetrics,
    pub instances: Instances,
    /// The other login, if the API has one.
    pub legacy: Option<Arc<LegacyVerifier>>,
    pub cache: TokenCache,
    pub headers: HeaderNames,
    /// `identity.names.org`: the name of the active org that stands in paths.
    pub org_name: OrgName,
    /// Who is one person on both sides.
    pub linking: Arc<Linking>,
    /// `identity.workspaces.claim`, split at dots.
    pub workspaces_claim: Option<Vec<String>>,
    /// Tokens in the API's own legacy format.
    pub mint: Option<Mint>,
    /// Signed statements of who is calling.
    pub assertion: Option<Arc<Assertion>>,
    /// Tokens for local runners.
    pub runner: Option<Arc<Runner>>,
    /// What the config says of the rollout. What is in force is `rollout::Rollout::current`.
    pub rollout: Option<Plan>,
    /// Both logins are compared where both speak; `None` where nobody wants that, or there are no two.
    pub shadow: Option<Shadow>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// By listener; `None` where it speaks without TLS.
    pub tls: Vec<Option<Tls>>,
    pub cors: Cors,
    pub endpoints: Endpoints,
    pub admin: Access,
    pub audit: audit::Rules,
    pub files: Vec<PathBuf>,
}

impl Snapshot {
    /// The keys of all issuers of both sides.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Keys>> {
        let legacy = self.legacy.as_ref().and_then(|legacy| legacy.keys());
        self.instances.iter().map(|instance| &instance.keys).chain(legacy)
    }

    /// The names that the series of issuers have.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        let ours = self.instances.iter().map(|instance| &*instance.issuer);
        self.keys().map(|keys| &**keys.issuer()).chain(ours)
    }

    /// Sockets stay those of the start, whatever a later config lists: each goes on with the TLS of its own address. By its
    /// number in the list, a listener that moved would show another one's certificate, or ask nobody for theirs.
    pub fn keep_tls_of(&mut self, running: &[Listener], listed: &[Listener], previous: &Self) {
        let of = |(index, running): (usize, &Listener)| {
            let found = listed.iter().position(|listener| listener.socket == running.socket);
            let found = found.and_then(|found| self.tls.get(found)?.clone());
            found.or_else(|| previous.tls.get(index)?.clone())
        };
        self.tls = running.iter().enumerate().map(of).collect();
    }

    /// The folders of the keys that crossgate signs with.
    pub fn key_folders(&self) -> Vec<KeyFolder> {
        let assertion = self.assertion.as_ref().map(|assertion| KeyFolder {
            key: "identity.assertion.keys_dir",
            ring: Arc::clone(assertion.ring()),
            schedule: assertion.schedule(),
        });
        let runner = self.runner.as_ref().map(|runner| KeyFolder {
            key: "runner.keys_dir",
            ring: Arc::clone(runner.ring()),
            schedule: runner.schedule(),
        });
        assertion.into_iter().chain(runner).collect()
    }
}

/// `rollout.shadow`: what two logins are compared by, and where it is counted.
#[derive(Debug)]
pub struct Shadow {
    /// `identity.roles`.
    pub roles: Roles,
    pub comparisons: Comparisons,
}

/// `cors`: whose pages may read crossgate's own answers, and who answers preflights.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Exact origins; without any in the config, all `authorized_parties`.
    pub origins: Vec<HeaderValue>,
    pub credentials: bool,
    pub preflight: Preflight,
}

/// `cors.preflight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preflight {
    /// To the API, as the route of the method asked for, without identity.
    #[default]
    Pass,
    /// Answered by crossgate.
    Answer,
}

/// `endpoints`.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Never proxied: crossgate's own paths on the data listener. Starts with `/`, no trailing slash.
    pub prefix: String,
    /// Where frontends ask who they are; `None` where they cannot.
    pub status: Option<Status>,
    /// Development only: the exact reason in error bodies.
    pub debug_reasons: bool,
}

/// `endpoints.status`.
#[derive(Debug, Clone)]
pub struct Status {
    /// A canonical path.
    pub path: String,
    /// Instead of the documented body.
    pub body: Option<Body>,
    /// `identity.names.org`: the name of the active org that is told.
    pub org_name: OrgName,
    /// The API has a route at this path for some requests: what it takes is the API's.
    pub gives_way: bool,
}

/// `admin`, but for its address: what is open, and whose tokens do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether `/healthz`, `/readyz` and `/metrics` need no token where there are any.
    pub open: [bool; 3],
    pub tokens: Vec<Token>,
}

/// A token of the admin listener.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Changes are recorded under it.
    pub name: Arc<str>,
    /// SHA-256 of the token, which is not kept.
    pub digest: [u8; 32],
    pub scopes: Vec<Scope>,
}

/// Without the digest.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Read,
    RolloutWrite,
    RolloutResume,
    Reload,
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::RolloutWrite => "rollout:write",
            Self::RolloutResume => "rollout:resume",
            Self::Reload => "reload",
        }
    }
}

/// What is read once at start; a reload that changes any of it says so and goes on with the old values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    pub admin: Admin,
    /// Worker threads of the gate; `None` is as many as the machine has cores.
    pub threads: Option<usize>,
    pub drain: DrainTimes,
    pub ready: ReadyRules,
    pub keepalive: Duration,
    pub first_byte: Duration,
    pub header_read: Duration,
    pub access_log: AccessLog,
    pub log: LogLevel,
    pub state_dir: PathBuf,
    pub audit: AuditSettings,
}

/// `audit`, as far as the writer of the trail reads it at start; the rest is [`Snapshot::audit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Where entries are appended; older segments and checkpoints lie beside it.
    pub file: PathBuf,
    /// Bytes, 64 KiB to 64 GiB: a segment that has reached them is sealed.
    pub rotate_size: u64,
    /// Sealed segments that are kept, 1 to 100,000.
    pub rotate_keep: usize,
    /// Each entry is repeated there, for log shippers.
    pub copy_to_stdout: bool,
    /// No start without it: `audit` is written, or a route is privileged.
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub socket: Socket,
    /// TLS; what it shows and asks for is [`Snapshot::tls`].
    pub tls: bool,
    /// HTTP/2 without TLS, beside HTTP/1.
    pub h2c: bool,
}

/// Where a listening socket comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Made here.
    Bind(Address),
    /// Made by the service manager and passed on (`LISTEN_FDS`): those of this name, or all that no listener names.
    Passed(Option<String>),
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(address) => write!(f, "{address}"),
            Self::Passed(None) => f.write_str("systemd"),
            Self::Passed(Some(name)) => write!(f, "fd:{name}"),
        }
    }
}

/// Where something listens or is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub socket: Socket,
}

/// `server.drain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// Still accepting, while load balancers take the endpoint out.
    pub delay: Duration,
    /// Longest wait for requests in flight after that.
    pub limit: Duration,
}

/// `server.ready`: what to do while there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyRules {
    pub wait: Duration,
    pub strict: bool,
}

/// `telemetry.access_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Stdout,
    Stderr,
    File(PathBuf),
}

/// `telemetry.log`: off, error, warn, info, debug or trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
