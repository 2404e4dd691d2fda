//! `upstreams`: endpoints and times of the APIs behind.

use std::sync::Arc;

use super::listen::above_zero;
use super::{address, at_most, missing};
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::upstream::{Forward, Spec, Timeouts};

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

pub(super) fn compile(raw: Option<raw::Named<raw::Upstream>>, root: At<'_>, problems: &mut Vec<Problem>) -> Upstreams {
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
        .map(|(index, (name, upstream))| spec(&name, upstream, at.nth(index), problems))
        .collect();
    Upstreams { specs, incomplete }
}

fn spec(name: &str, raw: raw::Upstream, at: At<'_>, problems: &mut Vec<Problem>) -> Spec {
    let raw::Upstream { endpoints, protocol, timeouts, paths, credentials } = raw;
    // Said for completeness; there is only one so far.
    let (None | Some(raw::Protocol::Http1)) = protocol;
    let raw::Timeouts { connect, read, write, idle } = timeouts.unwrap_or_default();
    let raw::Credentials { forward } = credentials.unwrap_or_default();
    let forward = forward.unwrap_or_default();
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
        timeouts: Timeouts {
            connect: above_zero(connect, 1_000, times.key("connect"), problems),
            read: above_zero(read, 60_000, times.key("read"), problems),
            write: above_zero(write, 30_000, times.key("write"), problems),
            // Zero is meant: no connection is kept.
            idle: super::listen::time(idle, 4_000),
        },
        exact_paths: matches!(paths, Some(raw::Paths::Exact)),
        forward: Forward {
            clerk: forward.contains(&raw::Forward::Clerk),
            legacy: forward.contains(&raw::Forward::Legacy),
        },
    }
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
