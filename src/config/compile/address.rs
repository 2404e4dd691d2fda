//! Addresses: where crossgate listens, and where it reaches an API. Never resolves a name: that is done in the background, for as long as the process runs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::snapshot::{Address, Socket};
use crate::upstream::{HostName, Place};

/// Longest path that a socket address holds.
const MAX_UNIX_PATH: usize = 107;

/// `ip:port` or `unix:/path` to listen on, where port 0 takes any free one; or `systemd` or `fd:NAME`.
pub(super) fn listen(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Socket> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, at, problems).map(Socket::Bind);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Socket::Bind(Address::Tcp(address)));
    }
    if text == "systemd" {
        return Some(Socket::Passed(None));
    }
    if let Some(name) = text.strip_prefix("fd:") {
        // As systemd.socket(5) allows it in FileDescriptorName.
        let fits = !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if !fits {
            let help = "write the FileDescriptorName of the socket unit, as in fd:web";
            problems.push(Problem::at(codes::BAD_ADDRESS, at, "this is no name of a passed socket").help(help));
            return None;
        }
        return Some(Socket::Passed(Some(name.to_owned())));
    }
    let help = match text.rsplit_once(':') {
        Some(("" | "*", port)) => format!("write 0.0.0.0:{port} for all addresses of this machine"),
        Some(("localhost", port)) => format!("write 127.0.0.1:{port}"),
        None if text.parse::<IpAddr>().is_ok() => "add a port".to_owned(),
        _ => "write an IP address and a port, as in 0.0.0.0:8080 or [::1]:8080, or unix:/path, or systemd".to_owned(),
    };
    problems.push(Problem::at(codes::BAD_ADDRESS, at, "this is no address to listen on").help(help));
    None
}

/// `ip:port`, `host:port` or `unix:/path` of an API.
pub(super) fn reach(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Place> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, at, problems).map(Place::Address);
    }
    let bad = |message: &str, help: &str| Problem::at(codes::BAD_ADDRESS, at, message).help(help);
    let write = "write an address or a name and a port, as in 127.0.0.1:3000 or api.internal:3000, or unix:/path";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => problems.push(bad("nothing can be reached at port 0", write)),
        Ok(address) if address.ip().is_unspecified() => {
            problems.push(bad("0.0.0.0 and [::] are addresses to listen on, not to reach", "write 127.0.0.1 instead"));
        }
        Ok(address) => return Some(Place::Address(Address::Tcp(address))),
        Err(_) if text.contains("://") => problems.push(bad("an endpoint is an address, not a URL", write)),
        Err(_) => match host_and_port(text) {
            Some(name) => return Some(Place::Name(name)),
            None => problems.push(bad("this is no address of an API", write)),
        },
    }
    None
}

fn host_and_port(text: &str) -> Option<HostName> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    is_host(host).then(|| HostName { host: host.to_ascii_lowercase().into(), port })
}

/// A host name that a resolver can be asked for. Never one that looks like a number: resolvers read those as addresses,
/// each in its own way.
pub(super) fn is_host(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host).split('.');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = labels.clone().next_back().unwrap_or_default();
    host.len() <= 253 && labels.clone().all(label) && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn unix(path: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Address> {
    let resolved: PathBuf = at.source.resolve(path);
    let bytes = resolved.as_os_str().as_encoded_bytes();
    let wrong = if path.is_empty() {
        "a path is missing after unix:"
    } else if bytes.contains(&0) {
        "a path cannot hold a NUL"
    } else if bytes.len() > MAX_UNIX_PATH {
        "a socket path has at most 107 bytes"
    } else if resolved.to_str().is_none() {
        "a socket path must be UTF-8"
    } else {
        return Some(Address::Unix(resolved));
    };
    problems.push(Problem::at(codes::BAD_ADDRESS, at, wrong));
    None
}
