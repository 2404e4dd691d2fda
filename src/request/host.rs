//! The Host of a request: there once, well formed, in one spelling, the same as in an absolute target.
//!
//! Routes and cross-site checks compare what is read here. Called by `sanitize`; never resolves a name.

use http::Version;
use http::header::HOST;

use super::sanitize::{Head, Refusal};

/// Host in lower case, with port. Required from HTTP/1.1 on; of an absolute-form target both must agree.
pub(super) fn host(
    head: &Head<'_>,
    target_authority: Option<&str>,
    hosts_named: bool,
) -> Result<Option<String>, Refusal> {
    let mut lines = head.headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Refusal::Header("two Host lines"));
    }
    let sent = match line {
        Some(value) => Some(value.to_str().map_err(|_| Refusal::Header("Host is not ASCII"))?),
        None => head.authority,
    };
    let Some(sent) = sent else {
        return if head.version == Version::HTTP_10 && target_authority.is_none() && !hosts_named {
            Ok(None)
        } else {
            Err(Refusal::Header("no Host"))
        };
    };
    if !is_host(sent) {
        return Err(Refusal::Header("Host is malformed"));
    }
    let sent = sent.to_ascii_lowercase();
    let agrees = |other: &str| other.eq_ignore_ascii_case(&sent);
    if target_authority.is_some_and(|other| !agrees(other)) || head.authority.is_some_and(|other| !agrees(other)) {
        return Err(Refusal::Header("Host and target name two hosts"));
    }
    Ok(Some(sent))
}

/// `host[:port]` with a registered name, an IPv4 address or a bracketed IPv6 address; no userinfo, no escapes.
pub(super) fn is_host(text: &str) -> bool {
    if text.is_empty() || text.len() > 260 {
        return false;
    }
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match port {
            "" => ("v6", None),
            port => match port.strip_prefix(':') {
                Some(port) => ("v6", Some(port)),
                None => return false,
            },
        }
    } else {
        match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        }
    };
    let name_holds = !name.is_empty()
        && !name.starts_with('.')
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    name_holds && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// One spelling of an address: `[0:0:0:0:0:0:0:1]` must not lead past the rule of `[::1]`.
pub(super) fn canonical_host(host: &str) -> Box<str> {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]").into_boxed_str(),
        None => host.into(),
    }
}

pub(super) fn without_port(authority: &str) -> &str {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after_bracket..).and_then(|rest| rest.find(':')) {
        Some(colon) => authority.get(..after_bracket + colon).unwrap_or(authority),
        None => authority,
    }
}
