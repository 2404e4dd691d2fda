//! `upstreams`: endpoints and times of the APIs behind.

use std::sync::Arc;

use super::listen::above_zero;
use super::pem::{self, Written};
use super::{address, at_most, missing};
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::upstream::{Forward, Health, Protocol, Spec, Timeouts, Tls};

/// The upstream of a route that names none, where several exist.
const DEFAULT: &str = "app";
/// More is a file made by a program that went wrong.
const MAX: usize = 4096;

/// All upstreams, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    pub(super) specs: Vec<Spec>,
    /// Some could not be read: a route that names none of the others may mean one of those.
    incomplete: bool,
}

pub(super) fn compile(
    raw: Option<raw::Named<raw::Upstream>>,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Upstreams {
    let at = root.key("upstreams");
    let raw::Named(mut raw) = raw.unwrap_or_default();
    at_most(MAX, &mut raw, at, problems);
    if raw.is_empty() && !at.lost_keys() {
        let help = "say where the API is: upstreams: { app: { endpoints: [127.0.0.1:3000] } }";
        missing(root, "upstreams", help, problems);
    }
    let incomplete = raw.is_empty() || at.lost_keys();
    let specs = raw
        .into_iter()
        .enumerate()
        .map(|(index, (name, upstream))| spec(&name, upstream, at.nth(index), files, problems))
        .collect();
    Upstreams { specs, incomplete }
}

fn spec(name: &str, raw: raw::Upstream, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Spec {
    let raw::Upstream { endpoints, protocol, tls, health, timeouts, paths, credentials } = raw;
    let protocol = match protocol.unwrap_or(raw::Protocol::Http1) {
        raw::Protocol::Http1 => Protocol::Http1,
        raw::Protocol::Http2 => Protocol::Http2,
        raw::Protocol::H2c => Protocol::H2c,
    };
    go_together(protocol, tls.is_some(), at, problems);
    let raw::Timeouts { connect, read, write, idle, stream_idle } = timeouts.unwrap_or_default();
    let raw::Credentials { forward, authorization, legacy_token } = credentials.unwrap_or_default();
    // An API that stays unchanged goes on reading the credential that it always read.
    let forward = forward.unwrap_or_else(|| vec![raw::Forward::Legacy]);
    let list = endpoints.unwrap_or_default();
    if list.is_empty() && !at.key("endpoints").has_gaps() {
        missing(at, "endpoints", "write at least one address, as in endpoints: [127.0.0.1:3000]", problems);
    }
    let mut endpoints = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        endpoints.extend(address::reach(text, at.key("endpoints").item(index), problems));
    }
    let times = at.key("timeouts");
    Spec {
        name: Arc::from(name),
        endpoints,
        protocol,
        tls: tls.and_then(|tls| compile_tls(tls, at.key("tls"), files, problems)),
        health: health.and_then(|health| compile_health(health, at.key("health"), problems)),
        timeouts: Timeouts {
            connect: above_zero(connect, 1_000, times.key("connect"), problems),
            read: above_zero(read, 60_000, times.key("read"), problems),
            write: above_zero(write, 30_000, times.key("write"), problems),
            // Zero is meant: no connection is kept.
            idle: super::listen::time(idle, 4_000),
            stream_idle: above_zero(stream_idle, 3_600_000, times.key("stream_idle"), problems),
        },
        exact_paths: matches!(paths, Some(raw::Paths::Exact)),
        forward: Forward {
            clerk: forward.contains(&raw::Forward::Clerk),
            legacy: forward.contains(&raw::Forward::Legacy),
        },
        puts: super::issued::puts(authorization, legacy_token, at.key("credentials"), problems),
    }
}

/// HTTP/2 without TLS has a name of its own, so that nobody sends in plain text what was meant to be encrypted.
fn go_together(protocol: Protocol, tls: bool, at: At<'_>, problems: &mut Vec<Problem>) {
    let place = at.key("protocol");
    match protocol {
        Protocol::Http2 if !tls && !at.was_dropped("tls") => problems.push(
            Problem::at(codes::TLS_UPSTREAM, place, "http2 needs `tls`, in which it is chosen")
                .help("add tls: { sni: … }, or write h2c for HTTP/2 in plain text"),
        ),
        Protocol::H2c if tls => problems.push(
            Problem::at(codes::TLS_UPSTREAM, place, "h2c is HTTP/2 in plain text: it has no `tls`")
                .help("write http2 for HTTP/2 over TLS"),
        ),
        Protocol::Http1 | Protocol::Http2 | Protocol::H2c => {}
    }
}

fn compile_tls(raw: raw::UpstreamTls, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Tls> {
    let raw::UpstreamTls { sni, ca, certificate, key } = raw;
    let bad = |place: At<'_>, message: &str| Problem::at(codes::TLS_UPSTREAM, place, message);
    let sni = match sni {
        Some(name) if address::is_host(&name) || name.parse::<std::net::IpAddr>().is_ok() => Some(name),
        Some(_) => {
            let help = "write the name that the API's certificate is for, without a port";
            problems.push(bad(at.key("sni"), "this is no host name and no IP address").help(help));
            None
        }
        None => {
            let help = "write the name that the API's certificate is for: without it nothing could be verified";
            missing(at, "sni", help, problems);
            None
        }
    };
    let ca = ca.map(|path| pem::authorities(Written { path: &path, at: at.key("ca") }, files, problems));
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let certificate = Written { path: &certificate, at: at.key("certificate") };
            Some(pem::certified(certificate, Written { path: &key, at: at.key("key") }, files, problems))
        }
        (None, None) => None,
        (Some(_), None) => {
            missing(at, "key", "a certificate is of no use without its private key", problems);
            None
        }
        (None, Some(_)) => {
            missing(at, "certificate", "a private key is of no use without its certificate", problems);
            None
        }
    };
    // What is named and cannot be read is an error, told by now; never a connection that trusts somebody else.
    let (ca, client) = (ca.map_or(Some(None), |ca| ca.map(Some))?, client.map_or(Some(None), |one| one.map(Some))?);
    Some(Tls { sni: sni?.into(), ca, client })
}

fn compile_health(raw: raw::Health, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Health> {
    let raw::Health { path, interval, healthy, unhealthy } = raw;
    let path = match path {
        Some(text) => {
            let parsed = text.parse::<http::uri::PathAndQuery>().ok().filter(|_| text.starts_with('/'));
            if parsed.is_none() {
                let problem = Problem::at(codes::BAD_VALUE, at.key("path"), "this is no path");
                problems.push(problem.help("write a path with a slash in front, as in /healthz"));
            }
            parsed
        }
        None => {
            missing(at, "path", "write the path that tells whether the API is well, as in path: /healthz", problems);
            None
        }
    };
    let interval = above_zero(interval, 5_000, at.key("interval"), problems);
    if interval < std::time::Duration::from_millis(100) && !interval.is_zero() {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("interval"), "health.interval must be at least 100ms"));
    }
    let mut count = |given: Option<u32>, default: u32, key: &str| {
        let count = given.unwrap_or(default);
        if !(1..=100).contains(&count) {
            problems.push(Problem::at(codes::OUT_OF_RANGE, at.key(key), format!("health.{key} must be 1 to 100")));
        }
        count
    };
    let (healthy, unhealthy) = (count(healthy, 2, "healthy"), count(unhealthy, 3, "unhealthy"));
    Some(Health { path: path?, interval, healthy, unhealthy })
}

impl Upstreams {
    /// The upstream that a route means: the one it names, else the only one, else `app`.
    pub(super) fn choose(&self, named: Option<&str>, route: At<'_>, problems: &mut Vec<Problem>) -> Option<usize> {
        let position = |name: &str| self.specs.iter().position(|spec| *spec.name == *name);
        if let Some(name) = named {
            let found = position(name);
            if found.is_none() && !self.incomplete {
                let names: Vec<&str> = self.specs.iter().map(|spec| &*spec.name).collect();
                let help = match near(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known upstreams: {}", names.join(", ")),
                };
                let message = format!("no upstream is named `{name}`");
                problems.push(Problem::at(codes::NO_UPSTREAM, route.key("upstream"), message).help(help));
            }
            return found;
        }
        if self.specs.len() == 1 {
            return Some(0);
        }
        let found = position(DEFAULT);
        if found.is_none() && !self.incomplete && !route.was_dropped("upstream") {
            problems.push(
                Problem::at(codes::NO_UPSTREAM, route, "the route does not say which upstream it goes to")
                    .help("add `upstream`, or name one upstream `app`: it is the default"),
            );
        }
        found
    }
}
