//! `clerk[].probe`: whether, where and how often it is asked if Clerk renews tokens.
//!
//! Asked unasked only where the keys come from Clerk itself: an issuer that is a mere name, behind a mirror or a stand-in,
//! answers nobody, and its silence is no outage.

use std::time::Duration;

use http::Uri;

use super::clerk::url;
use super::listen::time;
use super::missing;
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::clerk::ProbeSpec;

/// Who am I, asked by nobody: needs no credential, is about one browser and hence no answer of a cache on the way, and is
/// served by what serves the tokens.
const PATH: &str = "/v1/client";
const INTERVAL_MS: u64 = 15_000;
const SHORTEST: Duration = Duration::from_secs(1);
/// Longer, and most outages are over before they are confirmed.
const LONGEST: Duration = Duration::from_secs(300);

/// What an instance says of its addresses.
pub(super) struct Addresses<'a> {
    /// The Frontend API as the publishable key, then as the issuer names it.
    pub(super) frontends: [Option<String>; 2],
    /// Where keys are fetched from; `None` for a file or PEM.
    pub(super) keys: Option<&'a str>,
    pub(super) allow_private: bool,
}

impl Addresses<'_> {
    /// The Frontend API, unless keys come from elsewhere.
    fn frontend(&self) -> Option<&str> {
        let mut known = self.frontends.iter().flatten();
        let found = match self.keys {
            None => known.next(),
            Some(keys) => known.find(|frontend| is_same_origin(frontend, keys)),
        };
        found.map(|frontend| frontend.trim_end_matches('/'))
    }
}

pub(super) fn compile(
    raw: Option<raw::TextOr<raw::Probe>>,
    addresses: &Addresses<'_>,
    instance: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ProbeSpec> {
    let at = instance.key("probe");
    let from = |frontend: &str| format!("{frontend}{PATH}");
    let spec = |url, interval| ProbeSpec { url, interval, allow_private: addresses.allow_private };
    let raw::Probe { url, interval } = match raw {
        None => {
            let is_clerks = addresses.keys.is_some() && !addresses.allow_private && !instance.was_dropped("probe");
            let frontend = addresses.frontend().filter(|_| is_clerks)?;
            return Some(spec(from(frontend), Duration::from_millis(INTERVAL_MS)));
        }
        Some(raw::TextOr::Text(word)) if word == "off" => return None,
        Some(raw::TextOr::Text(_)) => {
            let help = "write off, or a mapping like { interval: 15s }";
            problems.push(Problem::at(codes::UNKNOWN_WORD, at, "unknown value for `probe`").help(help));
            return None;
        }
        Some(raw::TextOr::Full(probe)) => probe,
    };
    let interval = every(interval, at.key("interval"), problems);
    let url = match url {
        Some(url) => {
            checked(&url, addresses.allow_private, at.key("url"), problems)?;
            url
        }
        None if at.was_dropped("url") => return None,
        None => match addresses.frontend() {
            Some(frontend) => from(frontend),
            None => {
                let help =
                    "keys come from elsewhere than the issuer, so say where to ask: { url: https://…/v1/client }";
                missing(at, "url", help, problems);
                return None;
            }
        },
    };
    Some(spec(url, interval))
}

fn every(given: Option<raw::Time>, at: At<'_>, problems: &mut Vec<Problem>) -> Duration {
    let interval = time(given, INTERVAL_MS);
    if !(SHORTEST..=LONGEST).contains(&interval) {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at, "interval must be from 1s to 5m"));
    }
    interval
}

fn checked(text: &str, allow_private: bool, at: At<'_>, problems: &mut Vec<Problem>) -> Option<()> {
    let bad = |message: &str| Problem::at(codes::KEY_URL, at, message);
    let help = "jwks.allow_private: true permits it, for stand-ins";
    match url(text) {
        None => problems.push(bad("this is no URL").help("write https://host/path")),
        Some(url) if !allow_private && !url.https => problems.push(bad("a probe must ask over https").help(help)),
        Some(url) if !allow_private && url.private => {
            problems.push(bad("a probe must not ask a private address").help(help));
        }
        Some(_) => return Some(()),
    }
    None
}

/// Scheme, host and port, with the scheme's own port where none is written.
fn is_same_origin(one: &str, other: &str) -> bool {
    let origin = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        let (scheme, host) = (uri.scheme_str()?.to_owned(), uri.host()?.to_ascii_lowercase());
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, host, port))
    };
    let one = origin(one);
    one.is_some() && one == origin(other)
}

#[cfg(test)]
mod tests {
    use super::{Addresses, is_same_origin};

    #[test]
    fn origins() {
        for (one, other, same) in [
            ("https://clerk.example.com", "https://clerk.example.com/.well-known/jwks.json", true),
            ("https://clerk.example.com", "https://CLERK.example.com:443/x", true),
            ("https://clerk.example.com", "http://clerk.example.com/x", false),
            ("https://clerk.example.com", "https://clerk.example.com:8443/x", false),
            ("https://clerk.example.com", "https://example.com/x", false),
            ("clerk", "clerk", false),
        ] {
            assert_eq!(is_same_origin(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn keys_from_elsewhere_say_nothing_of_the_issuer() {
        let frontends = || [None, Some("https://clerk.example.com/".to_owned())];
        let frontend = |keys| {
            let addresses = Addresses { frontends: frontends(), keys, allow_private: false };
            addresses.frontend().map(str::to_owned)
        };
        let clerks = Some("https://clerk.example.com".to_owned());
        assert_eq!(frontend(Some("https://clerk.example.com/.well-known/jwks.json")), clerks);
        assert_eq!(frontend(Some("https://mirror.example.com/jwks.json")), None);
        assert_eq!(frontend(None), clerks, "only where it is asked for");
    }
}
