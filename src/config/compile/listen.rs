//! What is read once, at start: listeners, admin, server, logs; and the limits of requests.

use std::path::PathBuf;
use std::time::Duration;

use super::{address, at_most, missing, pem};
use crate::certificate::Certified;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::request::Limits;
use crate::snapshot::{AccessLog, Address, Admin, DrainTimes, Listener, LogLevel, ReadyRules, Socket};
use crate::tls::{Clients, Material};

const MAX_LISTENERS: usize = 64;
const MAX_CERTIFICATES: usize = 1024;

/// All listeners, in the order of the file, and beside each what its TLS is made of.
pub(super) fn listeners(
    raw: Option<Vec<raw::Listener>>,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Vec<(Listener, Option<Material>)> {
    let at = root.key("listeners");
    let mut raw = raw.unwrap_or_default();
    at_most(MAX_LISTENERS, &mut raw, at, problems);
    if raw.is_empty() && !at.has_gaps() {
        missing(root, "listeners", "say where to listen: listeners: [{ address: 127.0.0.1:8080 }]", problems);
    }
    let mut listeners: Vec<(Listener, Option<Material>)> = Vec::new();
    for (index, raw::Listener { address, tls, h2c }) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let h2c = h2c.unwrap_or(false);
        if h2c && tls.is_some() {
            let message = "h2c is HTTP/2 without TLS, and this listener has TLS";
            let help = "leave h2c out: with TLS clients agree on HTTP/2 in the handshake";
            problems.push(Problem::at(codes::BAD_TLS, at.key("h2c"), message).help(help));
        }
        let is_tls = tls.is_some();
        let material = tls.and_then(|tls| listener_tls(tls, at.key("tls"), files, problems));
        let Some(text) = address else {
            missing(at, "address", "write an IP address and a port, or unix:/path", problems);
            continue;
        };
        let at = at.key("address");
        let Some(socket) = address::listen(&text, at, problems) else { continue };
        if !is_any_port(&socket) && listeners.iter().any(|(other, _)| other.socket == socket) {
            problems.push(Problem::at(codes::ADDRESS_TWICE, at, "another listener has this address"));
            continue;
        }
        listeners.push((Listener { socket, tls: is_tls, h2c }, material));
    }
    listeners
}

fn listener_tls(raw: raw::ListenerTls, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Material> {
    let raw::ListenerTls { certificate, key, certificates, client_ca, client_auth } = raw;
    let mut certified = Vec::new();
    certified.extend(pair(raw::Certificate { certificate, key }, at, files, problems));
    let mut others = certificates.unwrap_or_default();
    at_most(MAX_CERTIFICATES, &mut others, at.key("certificates"), problems);
    for (index, other) in others.into_iter().enumerate() {
        certified.extend(pair(other, at.key("certificates").item(index), files, problems));
    }
    if client_auth.is_some() && client_ca.is_none() && !at.was_dropped("client_ca") {
        missing(at, "client_ca", "client_auth needs the authority that signs clients' certificates", problems);
    }
    let clients = match client_ca {
        None => None,
        Some(path) => {
            let written = pem::Written { path: &path, at: at.key("client_ca") };
            let authorities = pem::authorities(written, files, problems)?;
            Some(Clients { authorities, optional: matches!(client_auth, Some(raw::ClientAuth::Optional)) })
        }
    };
    (!certified.is_empty()).then_some(Material { certificates: certified, clients })
}

fn pair(
    raw::Certificate { certificate, key }: raw::Certificate,
    at: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Certified> {
    for (name, path) in [("certificate", &certificate), ("key", &key)] {
        if path.is_none() {
            missing(at, name, "TLS needs certificate and key: { certificate: tls.crt, key: tls.key }", problems);
        }
    }
    let (certificate, key) = (certificate?, key?);
    let certificate = pem::Written { path: &certificate, at: at.key("certificate") };
    pem::certified(certificate, pem::Written { path: &key, at: at.key("key") }, files, problems)
}

/// Port 0 is another port each time.
fn is_any_port(socket: &Socket) -> bool {
    matches!(socket, Socket::Bind(Address::Tcp(tcp)) if tcp.port() == 0)
}

/// Nobody else may listen where the admin listener does.
pub(super) fn admin_apart(
    admin: &Admin,
    root: At<'_>,
    listeners: &[(Listener, Option<Material>)],
    problems: &mut Vec<Problem>,
) {
    let socket = &admin.socket;
    if !is_any_port(socket) && listeners.iter().any(|(listener, _)| listener.socket == *socket) {
        let at = root.key("admin").key("address");
        problems.push(Problem::at(codes::ADDRESS_TWICE, at, format!("a listener has the admin's address {socket}")));
    }
}

/// The settings under `server`.
pub(super) struct Server {
    pub(super) threads: Option<usize>,
    pub(super) drain: DrainTimes,
    pub(super) ready: ReadyRules,
}

pub(super) fn server(raw: Option<raw::Server>, root: At<'_>, problems: &mut Vec<Problem>) -> Server {
    let at = root.key("server");
    let raw::Server { threads, drain, ready } = raw.unwrap_or_default();
    let raw::Drain { delay, limit } = drain.unwrap_or_default();
    let raw::Ready { wait, strict } = ready.unwrap_or_default();
    let threads = match threads.unwrap_or(raw::Threads::Auto) {
        raw::Threads::Auto => None,
        raw::Threads::Number(number @ 1..=1024) => Some(number),
        raw::Threads::Number(_) => {
            let message = "threads is auto, or a number from 1 to 1024";
            problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("threads"), message));
            None
        }
    };
    Server {
        threads,
        drain: DrainTimes { delay: time(delay, 5_000), limit: time(limit, 20_000) },
        ready: ReadyRules { wait: time(wait, 30_000), strict: strict.unwrap_or(false) },
    }
}

/// What `limits` says about requests, and about connections between them.
pub(super) struct RequestLimits {
    pub(super) request: Limits,
    pub(super) keepalive: Duration,
    pub(super) first_byte: Duration,
    pub(super) header_read: Duration,
}

pub(super) fn limits(raw: Option<raw::Limits>, root: At<'_>, problems: &mut Vec<Problem>) -> RequestLimits {
    let at = root.key("limits");
    let raw::Limits {
        headers,
        header_count,
        uri,
        body,
        keepalive,
        first_byte,
        header_read,
        body_read,
        body_min_rate,
        websocket_lifetime,
        in_flight,
        connections,
        connections_per_peer,
    } = raw.unwrap_or_default();
    let mut count = |given: Option<usize>, default: usize, key: &str| {
        if given == Some(0) {
            let message = format!("limits.{key} must be at least 1");
            problems.push(Problem::at(codes::OUT_OF_RANGE, at.key(key), message));
        }
        given.unwrap_or(default)
    };
    let in_flight = count(in_flight, 10_000, "in_flight");
    let connections = count(connections, 20_000, "connections");
    let per_peer =
        connections_per_peer.and_then(|raw::Bound(number)| number).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let connections_per_peer = per_peer.map(|number| count(Some(number), number, "connections_per_peer"));
    let body_min_rate = body_min_rate.and_then(|raw::Bound(rate)| rate);
    if body_min_rate == Some(0) {
        let message = "limits.body_min_rate must be at least 1 byte per second, or none";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("body_min_rate"), message));
    }
    let size = |given: Option<raw::Size>, default: usize, key: &str, problems: &mut Vec<Problem>| {
        let Some(raw::Size(bytes)) = given else { return default };
        // Above, the HTTP parser below us refuses first, with a worse answer.
        match usize::try_from(bytes) {
            Ok(bytes @ 256..=1_000_000) => bytes,
            _ => {
                let message = format!("limits.{key} must be 256 to 1,000,000 bytes");
                problems.push(Problem::at(codes::OUT_OF_RANGE, at.key(key), message));
                default
            }
        }
    };
    let headers = size(headers, 64 * 1024, "headers", problems);
    let uri = size(uri, 16 * 1024, "uri", problems);
    let header_count = header_count.unwrap_or(100);
    if !(1..=250).contains(&header_count) {
        let message = "limits.header_count must be 1 to 250";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("header_count"), message));
    }
    RequestLimits {
        request: Limits {
            headers,
            header_count,
            uri,
            body: body.and_then(|raw::Bound(bytes)| bytes),
            body_read: above_zero(body_read, 60_000, at.key("body_read"), problems),
            body_min_rate,
            websocket_lifetime: lasting(websocket_lifetime, at.key("websocket_lifetime"), problems),
            in_flight,
            connections,
            connections_per_peer,
        },
        // Pingora counts keep-alive in whole seconds.
        keepalive: whole_seconds(keepalive, 75_000, at.key("keepalive"), problems),
        first_byte: above_zero(first_byte, 10_000, at.key("first_byte"), problems),
        header_read: above_zero(header_read, 10_000, at.key("header_read"), problems),
    }
}

pub(super) fn time(given: Option<raw::Time>, default_ms: u64) -> Duration {
    given.map_or(Duration::from_millis(default_ms), |raw::Time(time)| time)
}

/// A duration above zero, or none.
fn lasting(given: Option<raw::Lasting>, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Duration> {
    let raw::Lasting(time) = given?;
    time.map(|time| above_zero(Some(raw::Time(time)), 0, at, problems))
}

pub(super) fn above_zero(
    given: Option<raw::Time>,
    default_ms: u64,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> Duration {
    let time = time(given, default_ms);
    if time.is_zero() {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at, "this duration must be above zero"));
    }
    time
}

fn whole_seconds(given: Option<raw::Time>, default_ms: u64, at: At<'_>, problems: &mut Vec<Problem>) -> Duration {
    let time = above_zero(given, default_ms, at, problems);
    if time.subsec_millis() != 0 {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at, "this duration must be in whole seconds"));
    }
    time
}

/// The settings under `telemetry`.
pub(super) struct Telemetry {
    pub(super) access_log: AccessLog,
    pub(super) log: LogLevel,
    pub(super) policy_version_header: bool,
}

pub(super) fn telemetry(raw: Option<raw::Telemetry>, root: At<'_>, problems: &mut Vec<Problem>) -> Telemetry {
    let at = root.key("telemetry");
    let raw::Telemetry { access_log, log, policy_version_header } = raw.unwrap_or_default();
    let access_log = match access_log.as_deref() {
        None | Some("stdout") => AccessLog::Stdout,
        Some("stderr") => AccessLog::Stderr,
        Some("off") => AccessLog::Off,
        // A bare word is a mistyped word, not a file in the config's folder.
        Some(path) if path.contains(['/', '.']) => AccessLog::File(at.source.resolve(path)),
        Some(word) => {
            let near = near(word, ["off", "stdout", "stderr"]).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| "write off, stdout, stderr, or a path as in ./access.log".to_owned());
            let at = at.key("access_log");
            problems.push(Problem::at(codes::UNKNOWN_WORD, at, "unknown value for `access_log`").help(help));
            AccessLog::Stdout
        }
    };
    let log = match log.unwrap_or(raw::LogLevel::Info) {
        raw::LogLevel::Off => LogLevel::Off,
        raw::LogLevel::Error => LogLevel::Error,
        raw::LogLevel::Warn => LogLevel::Warn,
        raw::LogLevel::Info => LogLevel::Info,
        raw::LogLevel::Debug => LogLevel::Debug,
        raw::LogLevel::Trace => LogLevel::Trace,
    };
    Telemetry { access_log, log, policy_version_header: policy_version_header.unwrap_or(false) }
}

pub(super) fn state_dir(raw: Option<&str>, root: At<'_>, problems: &mut Vec<Problem>) -> PathBuf {
    let at = root.key("state_dir");
    let written = raw.unwrap_or("state");
    if written.is_empty() || written.contains('\0') {
        problems.push(Problem::at(codes::BAD_VALUE, at, "expected a folder"));
    }
    root.source.resolve(written)
}
