//! Hosts of routes: one name, or everything below a domain.
//!
//! Parsed at load by `config::compile`. Compared with the request's host, which `sanitize` leaves in lower case and
//! without its port. Never resolves a name.

use std::fmt;

/// `api.example.com`, or `*.example.com` for one or more labels in front of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(Box<str>),
    /// The part from the dot on: `.example.com`.
    Below(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostProblem {
    Empty,
    /// `:8080`: routes do not tell ports apart.
    Port,
    /// `*` anywhere but as the first label.
    Wildcard,
    /// Anything that no host name has.
    Character {
        at: usize,
    },
    /// An empty label.
    Label,
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a host is missing",
            Self::Port => "a host has no port here",
            Self::Wildcard => "`*` stands for the first labels only, as in `*.example.com`",
            Self::Character { .. } => "a host name has letters, digits, `-`, `_` and dots",
            Self::Label => "a host name has no empty label",
        })
    }
}

impl HostPattern {
    /// Reads a host in any case; it is kept in lower case.
    ///
    /// # Errors
    /// [`HostProblem`] for what no request can name.
    pub fn parse(text: &str) -> Result<Self, HostProblem> {
        let text = text.to_ascii_lowercase();
        if let Some(address) = text.strip_prefix('[') {
            let Some(inner) = address.strip_suffix(']') else { return Err(HostProblem::Port) };
            // An address has many spellings; a name that is one is kept, and asked, in its canonical one.
            return match inner.parse::<std::net::Ipv6Addr>() {
                Ok(address) => Ok(Self::Exact(format!("[{address}]").into_boxed_str())),
                Err(_) => Err(HostProblem::Character { at: 1 }),
            };
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text.as_str(), false),
        };
        check_name(name, text.len() - name.len())?;
        Ok(if below { Self::Below(format!(".{name}").into_boxed_str()) } else { Self::Exact(name.into()) })
    }

    /// The root's dot (`api.example.com.`) names the same host to DNS and to most servers, so that it must not lead
    /// past the rule of a host.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Exact(name) => **name == *host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }

    /// A name beats a domain, a longer domain a shorter one.
    pub(super) fn specificity(&self) -> usize {
        match self {
            Self::Exact(_) => usize::MAX,
            Self::Below(suffix) => suffix.len(),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

fn check_name(name: &str, offset: usize) -> Result<(), HostProblem> {
    if name.is_empty() {
        return Err(HostProblem::Empty);
    }
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {}
            b':' => return Err(HostProblem::Port),
            b'*' => return Err(HostProblem::Wildcard),
            _ => return Err(HostProblem::Character { at: at + offset }),
        }
    }
    if name.split('.').any(str::is_empty) {
        return Err(HostProblem::Label);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HostPattern, HostProblem};

    #[test]
    fn hosts_match_names_and_domains() {
        let table = [
            ("api.example.com", "api.example.com", true),
            ("API.Example.com", "api.example.com", true),
            ("api.example.com", "api.example.com.", true),
            ("api.example.com", "api.example.com..", false),
            ("*.example.com", "a.example.com.", true),
            ("api.example.com", "api.example.com.evil.net", false),
            ("api.example.com", "x.api.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "[::1]", true),
        ];
        for (pattern, host, expected) in table {
            assert_eq!(HostPattern::parse(pattern).unwrap().matches(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn hosts_that_no_request_can_name_are_problems() {
        let table = [
            ("", HostProblem::Empty),
            ("*.", HostProblem::Empty),
            ("*", HostProblem::Wildcard),
            ("a.*.com", HostProblem::Wildcard),
            ("*a.com", HostProblem::Wildcard),
            ("a.com:80", HostProblem::Port),
            ("[::1]:80", HostProblem::Port),
            ("a..com", HostProblem::Label),
            ("a.com.", HostProblem::Label),
            ("a/b", HostProblem::Character { at: 1 }),
            ("*.a b", HostProblem::Character { at: 3 }),
            ("[x]", HostProblem::Character { at: 1 }),
        ];
        for (pattern, expected) in table {
            assert_eq!(HostPattern::parse(pattern), Err(expected), "{pattern}");
        }
    }
}
