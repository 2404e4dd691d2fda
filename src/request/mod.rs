//! The request as crossgate reads it: sanitized once, then never looked at in any other form.
//!
//! Owns what a client may send and how it is read: limits, Host, the canonical path, the reserved names,
//! the forwarding headers, the credentials. What is checked here is byte for byte what is sent upstream.
//! Never decides who may do what, and knows neither routes nor Pingora.

pub mod client;
pub mod credential;
pub mod fold;
mod framing;
mod host;
pub mod loose;
pub mod path;
pub mod sanitize;
pub mod tolerance;
mod websocket;

use http::{HeaderMap, Method};

pub use client::{Client, Peer, TrustedProxies};
pub use credential::{ARM_COOKIE, Authorization, CredentialLine, Credentials};
pub use path::CanonicalPath;
pub(crate) use sanitize::SEC_FETCH_SITE;
pub use sanitize::{Edits, Head, Limits, ReadHeaders, Refusal, Rules, Sanitized, is_usual, sanitize};
pub use tolerance::{Oddities, Oddity};
pub use websocket::Handshake;

/// What is known about a request after [`sanitize()`]; owned, so that it can outlive a borrow of the headers.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Host name in lower case, without port; absent only for HTTP/1.0 without Host.
    pub host: Option<Box<str>>,
    /// Host as sent (lower case), with its port if there is one: what an `Origin` is compared with.
    pub authority: Option<Box<str>>,
    pub path: CanonicalPath,
    /// As sent, without `?`; byte-exact, since nothing repairs a query.
    pub query: Option<Box<str>>,
    pub client: Client,
    pub credentials: Credentials,
    /// The method a CORS preflight asks for. Such a request belongs to the route of that method.
    pub preflight: Option<Method>,
    /// The request asks for a WebSocket.
    pub handshake: Option<Handshake>,
    /// What it has that its route must tolerate.
    pub oddities: Oddities,
}

/// What a step reads: the sanitized request and the headers it was sanitized from (already edited).
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub request: &'a Request,
    pub headers: &'a HeaderMap,
}

impl View<'_> {
    /// The method that routes are matched by: of a preflight, the one it asks for.
    pub fn routed_method(&self) -> &Method {
        self.request.preflight.as_ref().unwrap_or(&self.request.method)
    }
}

/// The first value of a query parameter, percent-decoded (`+` is a space); `Repeated` when it stands twice,
/// since the API may read the other one.
pub fn query_value(query: Option<&str>, name: &str) -> QueryValue {
    let mut found = QueryValue::Absent;
    for pair in query.unwrap_or("").split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode_query(key).as_deref() != Some(name) {
            if pair.split(';').any(|piece| is_loosely(piece.split('=').next().unwrap_or_default(), name)) {
                return QueryValue::Unreadable;
            }
            continue;
        }
        if value.split(';').skip(1).any(|piece| is_loosely(piece.split('=').next().unwrap_or_default(), name)) {
            return QueryValue::Unreadable;
        }
        if !matches!(found, QueryValue::Absent) {
            return QueryValue::Unreadable;
        }
        found = match decode_query(value) {
            Some(text) => QueryValue::One(text),
            None => QueryValue::Unreadable,
        };
    }
    found
}

/// All that some API may take for the value of a parameter that can be read in several ways, as it was written: for who
/// writes down what was asked. No decision reads it. Of each pair at most one text, in which all of its readings are: what
/// follows a `;` is another parameter to some and the rest of the value to others. Together no longer than the query.
pub fn query_readings<'a>(query: Option<&'a str>, name: &str) -> Vec<&'a str> {
    let reading = |pair: &'a str| {
        let starts = std::iter::once(0).chain(pair.match_indices(';').map(|(at, _)| at + 1));
        let mut rests = starts.filter_map(|start| pair.get(start..));
        let rest = rests.find(|rest| is_loosely(rest.split(['=', ';']).next().unwrap_or_default(), name))?;
        Some(rest.split_once('=').map_or("", |(_, value)| value))
    };
    query.unwrap_or("").split('&').filter_map(reading).collect()
}

/// A query parameter as a decision may read it.
#[derive(Debug, PartialEq, Eq)]
pub enum QueryValue {
    Absent,
    One(String),
    /// Repeated, or not valid UTF-8: an API may read it in another way, so no decision reads it at all.
    Unreadable,
}

/// Whether some API reads this key as `name`: in another case, cut at a NUL or a bracket, with spaces in front, in an
/// escape that it repairs, or as PHP folds it, which makes `org_id` of `org.id`, `org id` and `org[id`. Parameters are
/// also split at `;` by some.
fn is_loosely(key: &str, name: &str) -> bool {
    let Some(key) = decode_query(key) else { return true };
    let whole = key.split('\0').next().unwrap_or_default().trim();
    let cut = whole.split('[').next().unwrap_or_default().trim();
    let fold = |letter: char| if matches!(letter, '.' | ' ' | '[') { '_' } else { letter.to_ascii_lowercase() };
    [whole, cut].iter().any(|read| read.chars().map(fold).eq(name.chars().map(fold)))
}

fn decode_query(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::{QueryValue, query_readings, query_value};

    #[test]
    fn a_query_value_is_read_once_or_not_at_all() {
        let one = |text: &str| QueryValue::One(text.to_owned());
        let table = [
            ("absent", None, QueryValue::Absent),
            ("other name", Some("b=1"), QueryValue::Absent),
            ("plain", Some("a=1&b=2"), one("1")),
            ("escaped name", Some("%61=x%20y+z"), one("x y z")),
            ("no value", Some("a"), one("")),
            ("repeated", Some("a=1&a=1"), QueryValue::Unreadable),
            ("repeated in another spelling", Some("a=1&%61=2"), QueryValue::Unreadable),
            ("in another case", Some("a=1&A=2"), QueryValue::Unreadable),
            ("as a list", Some("a=1&a[]=2"), QueryValue::Unreadable),
            ("cut at a NUL", Some("a=1&a%00x=2"), QueryValue::Unreadable),
            ("behind a space", Some("a=1&+a=2"), QueryValue::Unreadable),
            ("behind a semicolon", Some("x=1;a=2&a=1"), QueryValue::Unreadable),
            ("a folded neighbour", Some("a=1&.a=2&a.=3"), one("1")),
            ("behind a semicolon of its own", Some("a=1;a=2"), QueryValue::Unreadable),
            ("an odd escape", Some("a=1&%u0061=2"), QueryValue::Unreadable),
            ("a neighbour", Some("a=1&ab=2&b[a]=3;c"), one("1")),
            ("bad utf-8", Some("a=%ff"), QueryValue::Unreadable),
            ("bad escape", Some("a=%zz"), QueryValue::Unreadable),
        ];
        for (name, query, expected) in table {
            assert_eq!(query_value(query, "a"), expected, "{name}");
        }
    }

    /// Found by an attacker: PHP makes one name of all of these, and takes the last.
    #[test]
    fn names_that_php_folds_are_one() {
        for other in
            ["org.id", "org%20id", "org+id", "org[id", "%20org.id", "ORG.ID", "org_id[]", "org.id[x]", "org%2Eid"]
        {
            let query = format!("org_id=org_1&{other}=org_2");
            assert_eq!(query_value(Some(&query), "org_id"), QueryValue::Unreadable, "{query}");
            let query = format!("{other}=org_2");
            assert_eq!(query_value(Some(&query), "org_id"), QueryValue::Unreadable, "{query}");
            assert_eq!(query_readings(Some(&query), "org_id"), ["org_2"], "{query}");
        }
        assert_eq!(query_value(Some("org.id=org_1"), "org.id"), QueryValue::One("org_1".to_owned()));
        assert_eq!(query_value(Some("orgid=org_2&org-id=org_3"), "org_id"), QueryValue::Absent);
    }

    #[test]
    fn what_can_be_read_in_several_ways_is_told_in_all_of_them() {
        let table: [(&str, &str, &[&str]); 8] = [
            ("repeated", "a=1&b=9&a=2", &["1", "2"]),
            ("in another case", "a=1&A=2", &["1", "2"]),
            ("as a list", "a[]=1&a[]=2", &["1", "2"]),
            ("behind a semicolon", "a=1;a=2", &["1;a=2"]),
            ("behind another's", "x=9;a=2&a=1", &["2", "1"]),
            ("a bad escape", "a=%zz", &["%zz"]),
            ("an odd key, whose value may be meant", "a=1&%u0061=2", &["1", "2"]),
            ("none", "b=1&ab=2", &[]),
        ];
        for (name, query, expected) in table {
            assert_eq!(query_readings(Some(query), "a"), expected, "{name}");
        }
    }
}
