//! Tells the API who is calling: removes every identity header, then inserts what was verified.
//!
//! Runs on the head that leaves, after Pingora's own clean-up and on every attempt, so that nothing a client nominates
//! in `Connection` can delete it. Asks for a [`Permit`]: without one there is nothing to write. Never reads a request.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::{Carrier, HeaderNames, headers::Fact};
use crate::policy::Permit;

/// A head that can be written to; the proxy's request header implements it.
pub trait Head {
    fn value(&self, name: &HeaderName) -> Option<&HeaderValue>;
    fn remove(&mut self, name: &HeaderName);
    /// The names among its own of which this holds.
    fn names(&self, which: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName>;
    /// Replaces all lines of that name by one.
    fn set(&mut self, name: HeaderName, value: HeaderValue);
}

impl Head for HeaderMap {
    fn value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get(name)
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }

    fn names(&self, which: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
        self.keys().filter(|name| which(name)).cloned().collect()
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }
}

/// What is said besides the person.
#[derive(Debug)]
pub struct Context<'a> {
    pub names: &'a HeaderNames,
    pub route: &'a str,
    pub arm: &'static str,
    pub request_id: &'a str,
    /// The carrier of the credential that was verified, if the upstream is to get it as it came.
    pub forward: Option<Carrier>,
    /// Whether the Authorization line is one of ours (a bearer token, good or bad) rather than a foreign scheme.
    pub own_authorization: bool,
}

/// Writes the identity headers of `permit` and takes out the credentials that are not addressed to the upstream.
pub fn inject(permit: &Permit, context: &Context<'_>, head: &mut impl Head) {
    for name in head.names(|name| context.names.is_twin(name)) {
        head.remove(&name);
    }
    match permit.identity() {
        Some(identity) => {
            for (name, value) in &identity.headers {
                head.set(name.clone(), value.clone());
            }
        }
        None => set(head, context.names, Fact::Method, "none"),
    }
    set(head, context.names, Fact::Arm, context.arm);
    set(head, context.names, Fact::Route, context.route);
    set(head, context.names, Fact::RequestId, context.request_id);

    if context.own_authorization && context.forward != Some(Carrier::Header) {
        head.remove(&AUTHORIZATION);
    }
    if context.forward != Some(Carrier::Cookie) {
        strip_clerk_cookies(head);
    }
}

fn set(head: &mut impl Head, names: &HeaderNames, fact: Fact, value: &str) {
    if let (Some(name), Ok(value)) = (names.name(fact), HeaderValue::from_str(value)) {
        head.set(name.clone(), value);
    }
}

/// Leaves the API its own cookies, byte for byte, and takes Clerk's away.
fn strip_clerk_cookies(head: &mut impl Head) {
    let Some(line) = head.value(&COOKIE) else { return };
    let bytes = line.as_bytes();
    if !bytes.split(|b| *b == b';').any(is_clerk_cookie) {
        return;
    }
    let kept: Vec<&[u8]> =
        bytes.split(|b| *b == b';').filter(|pair| !is_clerk_cookie(pair)).map(<[u8]>::trim_ascii).collect();
    let kept = kept.join(&b"; "[..]);
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !kept.is_empty() => head.set(COOKIE, value),
        _ => head.remove(&COOKIE),
    }
}

fn is_clerk_cookie(pair: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 4] = [b"__session", b"__client_uat", b"__refresh_", b"__clerk_"];
    let pair = pair.trim_ascii_start();
    PREFIXES.iter().any(|prefix| pair.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};

    use super::strip_clerk_cookies;

    #[test]
    fn only_clerks_cookies_leave() {
        let table = [
            ("none of them", "a=1; b=2", Some("a=1; b=2")),
            ("all of them", "__session=x; __client_uat=1; __refresh_abc=y; __clerk_db_jwt=z", None),
            ("between others", "a=1; __session_MqCvchyS=x; b=\"2\"", Some("a=1; b=\"2\"")),
            ("first", "__session=x;a=1", Some("a=1")),
            ("a name that only ends alike", "my__session=x", Some("my__session=x")),
        ];
        for (name, sent, expected) in table {
            let mut head = HeaderMap::new();
            head.insert(COOKIE, HeaderValue::from_static(sent));
            strip_clerk_cookies(&mut head);
            assert_eq!(head.get(COOKIE).map(|v| v.to_str().unwrap()), expected, "{name}");
        }
    }
}
