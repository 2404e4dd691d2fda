//! Routes that no request can get: another one takes them all, or the looser reading of their path does.
//!
//! Called by `config::compile` for advice. Each route is asked for with requests made for it, whose captures are words
//! that stand in no pattern. Who takes such a request takes every one of its kind, so that a route which gets none of
//! them gets none at all; where that is not certain, nothing is told. Never sees a real request.

use http::{HeaderMap, HeaderValue, Method};

use super::pattern::{Part, Pattern};
use super::predicate::Asked;
use super::{HostPattern, Reading, Refusal, Route, Routes};
use crate::request::{CanonicalPath, Oddities};

/// Who gets the requests of a route that gets none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// The index of the route that takes them.
    Route(usize),
    /// They are refused: read like this, their path is that route's.
    Nobody(usize, Reading),
}

/// Methods that a route without a list of its own lets in.
const USUAL: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl Routes {
    /// Each route that gets no request, by index, and who gets them instead.
    pub fn never_found(&self) -> Vec<(usize, Instead)> {
        let word = self.unused_word();
        let depth = self.iter().map(|route| route.pattern.parts().len()).max().unwrap_or(0);
        self.iter().filter_map(|route| Some((route.index, self.instead(route, &word, depth)?))).collect()
    }

    fn instead(&self, route: &Route, word: &str, depth: usize) -> Option<Instead> {
        let host = route.host.as_ref().map(|host| match host {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Below(suffix) => format!("{word}{suffix}"),
        });
        let mut headers = HeaderMap::new();
        for (name, value) in &route.headers {
            headers.insert(name, HeaderValue::from_str(value).ok()?);
        }
        let pairs: Vec<String> =
            route.query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        let query = (!pairs.is_empty()).then(|| pairs.join("&"));
        let methods: &[Method] = if route.methods.is_empty() { &USUAL } else { &route.methods };
        let mut first = None;
        for path in paths(&route.pattern, word, depth) {
            let path = CanonicalPath::parse(path.as_bytes()).ok()?;
            for method in methods {
                let (host, query) = (host.as_deref(), query.as_deref());
                let asked = Asked { method, host, query, headers: &headers, oddities: Oddities::NONE };
                let instead = match self.find_asked(path.as_str(), &asked) {
                    Ok(found) if found.route.index == route.index => return None,
                    Ok(found) => Instead::Route(found.route.index),
                    Err(Refusal::AnotherReading { route: other, reading }) => {
                        Instead::Nobody(self.iter().find(|route| route.id == other)?.index, reading)
                    }
                    Err(
                        Refusal::NoRoute | Refusal::UnknownHost | Refusal::AmbiguousQuery | Refusal::Untolerated(_),
                    ) => return None,
                };
                first.get_or_insert(instead);
            }
        }
        first
    }

    /// A word in lower case that is no part of any pattern.
    fn unused_word(&self) -> String {
        let mut word = "x".to_owned();
        while self.iter().any(|route| route.pattern.as_str().to_ascii_lowercase().contains(&word)) {
            word.push('q');
        }
        word
    }
}

/// Paths of one pattern. A tail is tried as nothing, as a slash, and longer than any pattern.
fn paths(pattern: &Pattern, word: &str, depth: usize) -> Vec<String> {
    let mut base = String::new();
    let written = pattern.as_str().split('/').skip(1);
    for (part, text) in pattern.parts().iter().zip(written) {
        match part {
            Part::Literal(_) => base.push_str(&format!("/{text}")),
            Part::Segment => base.push_str(&format!("/{word}")),
            Part::Tail => {
                let tails = (0..=depth + 1).map(|length| format!("/{word}").repeat(length));
                let whole =
                    |tail: String| if base.len() + tail.len() == 0 { "/".to_owned() } else { format!("{base}{tail}") };
                return tails.map(whole).chain([format!("{base}/")]).collect();
            }
        }
    }
    if base.is_empty() || pattern.trailing_slash() {
        base.push('/');
    }
    vec![base]
}

/// As a parameter of a query, each byte that is not plainly itself escaped.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
