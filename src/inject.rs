//! Tells the API who is calling: removes every identity header, then inserts what was verified.
//!
//! Runs on the head that leaves, after Pingora's own clean-up and on every attempt, so that nothing a client nominates
//! in `Connection` can delete it. Asks for a [`Permit`]: without one there is nothing to write. Never reads a request.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::{Carrier, HeaderNames, headers::Fact};
use crate::policy::Permit;
use crate::request::ARM_COOKIE;
use crate::request::loose::{self, Mention};

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
    pub own: Own<'a>,
    pub issued: &'a Issued,
}

/// Tokens of crossgate's own, made for the person who goes upstream.
#[derive(Debug, Default, Clone)]
pub struct Issued {
    /// The value of Authorization, instead of whatever is there.
    pub authorization: Option<HeaderValue>,
    /// Of the identity header.
    pub assertion: Option<HeaderValue>,
    /// A header of the API's own.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// A cookie of the API's own.
    pub cookie: Option<(Box<str>, HeaderValue)>,
}

/// Which credentials of a request were proven to be those of the person who goes upstream. All others go nowhere: the
/// API might believe them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proven {
    pub clerk: Option<Carrier>,
    pub legacy_header: bool,
    pub legacy_cookie: bool,
}

/// The credentials of ours that the request carries, and which of them stay.
#[derive(Debug)]
pub struct Own<'a> {
    /// A bearer token, good or bad; a foreign scheme is none of ours.
    pub bearer: Stays,
    /// A header of the legacy side's own.
    pub line: Option<(&'a HeaderName, Stays)>,
    pub clerk_cookies: Stays,
    pub legacy_cookie: Option<LegacyCookie<'a>>,
    /// `None` where there is neither a legacy side nor a runner.
    pub ours: Option<&'a dyn Ours>,
    /// A cookie in which this API looks for a token of crossgate's: nobody else writes it.
    pub token_cookie: Option<&'a str>,
}

/// The legacy side's cookie.
#[derive(Debug, Clone, Copy)]
pub struct LegacyCookie<'a> {
    pub name: &'a str,
    pub stays: Stays,
}

/// Tells the two sides' credentials from other products', which use any name.
pub trait Ours: std::fmt::Debug {
    /// Whether a value under the legacy cookie's name is the legacy side's.
    fn is_legacy_cookie(&self, value: &str) -> bool;

    /// Whether a text that looks like a token is one of either side.
    fn is_token(&self, text: &str) -> bool;

    /// Whether a text holds a runner token, in any reading: those are no API's to see, proven or not.
    fn is_runner_in(&self, text: &[u8]) -> bool;
}

impl LegacyCookie<'_> {
    /// Whether a pair has to go: it is the legacy side's and does not stay, or an API might read it as such although
    /// crossgate does not, so that nobody has proven it.
    fn leaves(&self, pair: &[u8], ours: &dyn Ours) -> bool {
        let holds_token = || loose::tokens(pair).any(|text| ours.is_token(&text));
        match value(pair, self.name) {
            Some(value) if ours.is_legacy_cookie(value) => self.stays != Stays::Kept,
            Some(_) => holds_token(),
            None => match loose::mentions(pair, self.name) {
                Mention::No => false,
                // To most another cookie, but not to all.
                Mention::OtherCase => {
                    holds_token() || any_value(pair).is_some_and(|value| ours.is_legacy_cookie(value))
                }
                Mention::Hidden => true,
            },
        }
    }

    fn is_kept(&self, pair: &[u8], ours: &dyn Ours) -> bool {
        self.stays == Stays::Kept && value(pair, self.name).is_some_and(|value| ours.is_legacy_cookie(value))
    }
}

/// Whether the API gets a credential as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// There is none, or it is not ours to take away.
    Untouched,
    Kept,
    Removed,
}

impl Own<'_> {
    /// Of somebody who sent none, or whose bearer token is not shown to anybody.
    pub const NONE: Own<'static> = Own {
        bearer: Stays::Removed,
        line: None,
        clerk_cookies: Stays::Removed,
        legacy_cookie: None,
        ours: None,
        token_cookie: None,
    };
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
    strip(&context.own, head);
    // They speak of somebody; of nobody there is nothing to say.
    if permit.identity().is_some() {
        put(context.issued, context.names, head);
    }
}

fn put(issued: &Issued, names: &HeaderNames, head: &mut impl Head) {
    if let (Some(name), Some(assertion)) = (names.name(Fact::Assertion), &issued.assertion) {
        head.set(name.clone(), assertion.clone());
    }
    if let Some(value) = &issued.authorization {
        head.set(AUTHORIZATION, value.clone());
    }
    if let Some((name, value)) = &issued.header {
        head.set(name.clone(), value.clone());
    }
    if let Some((name, token)) = &issued.cookie {
        strip_cookies(head, |pair| speaks_of(pair, name));
        let mut line = head.value(&COOKIE).map(|line| line.as_bytes().to_vec()).unwrap_or_default();
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(name.as_bytes());
        line.push(b'=');
        line.extend_from_slice(token.as_bytes());
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            head.set(COOKIE, line);
        }
    }
}

fn strip(own: &Own<'_>, head: &mut impl Head) {
    if own.bearer == Stays::Removed {
        head.remove(&AUTHORIZATION);
    }
    if let Some((name, Stays::Removed)) = &own.line {
        head.remove(name);
    }
    let is_own_line = own.line.is_some_and(|(name, stays)| *name == AUTHORIZATION && stays != Stays::Untouched);
    // A foreign scheme is the API's matter. Some read whatever stands behind the first blank, though.
    if let Some(ours) = own.ours.filter(|_| own.bearer == Stays::Untouched && !is_own_line)
        && head
            .value(&AUTHORIZATION)
            .is_some_and(|line| loose::tokens(line.as_bytes()).any(|text| ours.is_token(&text)))
    {
        head.remove(&AUTHORIZATION);
    }
    strip_arm(head);
    strip_runners(own, head);
    let clerks_leave = own.clerk_cookies == Stays::Removed;
    let legacy = own.legacy_cookie.zip(own.ours);
    if clerks_leave || legacy.is_some() || own.token_cookie.is_some() {
        strip_cookies(head, |pair| {
            // By content first: the legacy side may use one of Clerk's names.
            legacy.is_some_and(|(cookie, ours)| cookie.leaves(pair, ours))
                || own.token_cookie.is_some_and(|name| speaks_of(pair, name))
                || clerks_leave
                    && is_clerk_cookie(pair)
                    && !legacy.is_some_and(|(cookie, ours)| cookie.is_kept(pair, ours))
        });
    }
}

/// A runner token may travel where a legacy credential does, or in any cookie: whoever finds it there could use it.
fn strip_runners(own: &Own<'_>, head: &mut impl Head) {
    let Some(ours) = own.ours else { return };
    for name in [Some(&AUTHORIZATION), own.line.map(|(name, _)| name)].into_iter().flatten() {
        if head.value(name).is_some_and(|line| ours.is_runner_in(line.as_bytes())) {
            head.remove(name);
        }
    }
    if head.value(&COOKIE).is_some_and(|line| ours.is_runner_in(line.as_bytes())) {
        strip_cookies(head, |pair| ours.is_runner_in(pair));
    }
}

/// crossgate's own cookie leaves on every route: it is of no use to an API, and whoever reads it there could copy it.
fn strip_arm(head: &mut impl Head) {
    // Without its letters and without escapes, as nearly always, no reading finds the name.
    const BEFORE: &[u8] = b"crossgate";
    let could_hold = |line: &HeaderValue| {
        let line = line.as_bytes();
        line.iter().enumerate().any(|(at, byte)| match byte {
            b'%' | b'\\' => true,
            b'-' => line
                .get(..at)
                .and_then(|head| head.last_chunk::<9>())
                .is_some_and(|head| head.eq_ignore_ascii_case(BEFORE)),
            _ => false,
        })
    };
    if head.value(&COOKIE).is_some_and(could_hold) {
        strip_cookies(head, |pair| speaks_of(pair, ARM_COOKIE));
    }
}

/// The value of a pair with this name, as `request::credential` reads it.
fn value<'p>(pair: &'p [u8], name: &str) -> Option<&'p str> {
    let (key, _) = std::str::from_utf8(pair).ok()?.split_once('=')?;
    any_value(pair).filter(|_| key.trim_matches([' ', '\t']) == name)
}

/// The same, whatever its name.
fn any_value(pair: &[u8]) -> Option<&str> {
    let (_, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
    let value = value.trim_matches([' ', '\t']);
    Some(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// Whether some server could read a pair as one of this name.
fn speaks_of(pair: &[u8], name: &str) -> bool {
    value(pair, name).is_some() || loose::mentions(pair, name) != Mention::No
}

fn set(head: &mut impl Head, names: &HeaderNames, fact: Fact, value: &str) {
    if let (Some(name), Ok(value)) = (names.name(fact), HeaderValue::from_str(value)) {
        head.set(name.clone(), value);
    }
}

/// Leaves the API its own cookies, byte for byte, and takes these away.
fn strip_cookies(head: &mut impl Head, is_ours: impl Fn(&[u8]) -> bool) {
    let Some(line) = head.value(&COOKIE) else { return };
    let bytes = line.as_bytes();
    if !bytes.split(|b| *b == b';').any(&is_ours) {
        return;
    }
    let kept: Vec<&[u8]> = bytes.split(|b| *b == b';').filter(|pair| !is_ours(pair)).map(<[u8]>::trim_ascii).collect();
    let kept = kept.join(&b"; "[..]);
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !kept.is_empty() => head.set(COOKIE, value),
        _ => head.remove(&COOKIE),
    }
}

fn is_clerk_cookie(pair: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 4] = [b"__session", b"__client_uat", b"__refresh_", b"__clerk_"];
    loose::begins(pair, &PREFIXES)
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{LegacyCookie, Ours, Own, Stays, strip};

    fn stripped(sent: &str, own: &Own<'_>) -> Option<String> {
        // `?` stands for a byte that is no text.
        let sent: Vec<u8> = sent.bytes().map(|byte| if byte == b'?' { 0xa0 } else { byte }).collect();
        let mut head = HeaderMap::new();
        head.insert(COOKIE, HeaderValue::from_bytes(&sent).unwrap());
        strip(own, &mut head);
        head.get(COOKIE).map(|line| line.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_clerks_cookies_leave() {
        let table = [
            ("none of them", "a=1; b=2", Some("a=1; b=2")),
            ("all of them", "__session=x; __client_uat=1; __refresh_abc=y; __clerk_db_jwt=z", None),
            ("between others", "a=1; __session_MqCvchyS=x; b=\"2\"", Some("a=1; b=\"2\"")),
            ("first", "__session=x;a=1", Some("a=1")),
            ("hidden", "a=1; b=2 __session_x=x; \"__session\"=y; ?__clerk_db_jwt=z; %5f_session=w", Some("a=1")),
            ("a name that only ends alike", "my__session=x", Some("my__session=x")),
            ("crossgate's own", "a=1; __Host-crossgate-arm=v1.x; b=2", Some("a=1; b=2")),
            (
                "crossgate's own, behind no name",
                "a=1; =__Host-crossgate-arm=v1.x; =__session=x; =c=d",
                Some("a=1; =c=d"),
            ),
            (
                "crossgate's own, hidden",
                "%5f_Host-crossgate-arm=x; __host-CROSSGATE-arm=y; a=1 __Host-crossgate-arm=z; \"__Host-crossgate-arm\"=w; b=2",
                Some("b=2"),
            ),
        ];
        for (name, sent, expected) in table {
            assert_eq!(stripped(sent, &Own::NONE).as_deref(), expected, "{name}");
        }
    }

    #[derive(Debug)]
    struct Names;

    impl Ours for Names {
        fn is_legacy_cookie(&self, value: &str) -> bool {
            value == "leg.a.cy"
        }

        fn is_token(&self, text: &str) -> bool {
            ["leg.a.cy", "cl.er.k"].contains(&text)
        }

        fn is_runner_in(&self, text: &[u8]) -> bool {
            crate::request::loose::tokens(text).any(|text| text == "run.n.er")
        }
    }

    #[test]
    fn legacy_cookies_are_told_by_their_content() {
        let own = |name, clerk_cookies, stays| Own {
            bearer: Stays::Untouched,
            line: None,
            clerk_cookies,
            legacy_cookie: Some(LegacyCookie { name, stays }),
            ours: Some(&Names),
            token_cookie: None,
        };
        use Stays::{Kept, Removed};
        let table = [
            ("removed", "a=1; session=leg.a.cy", "session", Removed, Removed, Some("a=1")),
            ("quoted", "session=\"leg.a.cy\"; a=1", "session", Removed, Removed, Some("a=1")),
            ("spaced", "session = leg.a.cy ; a=1", "session", Removed, Removed, Some("a=1")),
            ("kept", "a=1;session=leg.a.cy", "session", Removed, Kept, Some("a=1;session=leg.a.cy")),
            ("another product's value", "session=theirs", "session", Removed, Removed, Some("session=theirs")),
            ("another product's cookie", "s=leg.a.cy", "session", Removed, Removed, Some("s=leg.a.cy")),
            ("Clerk's token in it", "session=cl.er.k", "session", Removed, Kept, None),
            (
                "Clerk's name, kept",
                "__session=leg.a.cy; __session=clerk",
                "__session",
                Removed,
                Kept,
                Some("__session=leg.a.cy"),
            ),
            (
                "Clerk's name, removed",
                "__session=leg.a.cy; __session=clerk",
                "__session",
                Kept,
                Removed,
                Some("__session=clerk"),
            ),
            ("both removed", "__session=leg.a.cy; __session=clerk", "__session", Removed, Removed, None),
            // What crossgate does not read as the credential, and common frameworks do.
            ("octal escapes", "session=\"\\154eg.a.cy\"; a=1", "session", Removed, Removed, Some("a=1")),
            ("percents", "session=%6Ceg.a.cy; a=1", "session", Removed, Kept, Some("a=1")),
            ("half quoted", "session=\"leg.a.cy x; a=1", "session", Removed, Kept, Some("a=1")),
            (
                "beside a byte that is no text",
                "a=1; session=leg.a.cy?; session=?x",
                "session",
                Removed,
                Kept,
                Some("a=1"),
            ),
            ("behind a blank", "b=1 session=leg.a.cy; a=1", "session", Removed, Kept, Some("a=1")),
            ("behind a comma", "b=1, session=x; a=1", "session", Removed, Kept, Some("a=1")),
            ("an escaped name", "%73ession=x; a=1", "session", Removed, Kept, Some("a=1")),
            ("another case", "Session=leg.a.cy; a=1", "session", Removed, Kept, Some("a=1")),
            ("another case, another product", "Session=x", "session", Removed, Removed, Some("Session=x")),
            (
                "beside the proven one",
                "session=leg.a.cy; session=\"leg.a.cy x",
                "session",
                Removed,
                Kept,
                Some("session=leg.a.cy"),
            ),
        ];
        for (name, sent, cookie, clerk, legacy, expected) in table {
            assert_eq!(stripped(sent, &own(cookie, clerk, legacy)).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_runner_token_leaves_wherever_it_travels() {
        let line = HeaderName::from_static("x-legacy-token");
        let own = Own {
            bearer: Stays::Kept,
            line: Some((&line, Stays::Kept)),
            clerk_cookies: Stays::Kept,
            legacy_cookie: Some(LegacyCookie { name: "session", stays: Stays::Kept }),
            ours: Some(&Names),
            token_cookie: None,
        };
        let table = [
            ("none", "leg.a.cy", "session=leg.a.cy; a=1", true, Some("session=leg.a.cy; a=1")),
            ("the legacy cookie", "x", "session=run.n.er; a=1", true, Some("a=1")),
            ("Clerk's", "x", "__session=run.n.er; __session_x=cl.er.k", true, Some("__session_x=cl.er.k")),
            ("any cookie", "x", "a=1; foo=run.n.er", true, Some("a=1")),
            ("behind a word", "x", "foo=Bearer run.n.er; a=1", true, Some("a=1")),
            ("escaped", "x", "foo=%72un.n.er; bar=\"run\\056n.er\"", true, None),
            ("without a name", "x", "run.n.er; =run.n.er; a=1", true, Some("a=1")),
            ("the header", "run.n.er", "a=1", false, Some("a=1")),
            ("the header, quoted", "\"run.n.er\"", "a=1", false, Some("a=1")),
        ];
        for (name, sent, jar, stays, expected) in table {
            let mut head = HeaderMap::new();
            for header in [&line, &AUTHORIZATION] {
                head.insert(header, HeaderValue::from_static(sent));
            }
            head.insert(COOKIE, HeaderValue::from_static(jar));
            strip(&own, &mut head);
            assert_eq!(head.contains_key(&line), stays, "{name}");
            assert_eq!(head.contains_key(AUTHORIZATION), stays, "{name}");
            assert_eq!(head.get(COOKIE).map(|line| line.to_str().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_token_behind_a_foreign_scheme_leaves() {
        let own = Own {
            bearer: Stays::Untouched,
            line: None,
            clerk_cookies: Stays::Removed,
            legacy_cookie: None,
            ours: Some(&Names),
            token_cookie: None,
        };
        let table = [
            ("Basic dXNlcjpwYXNz", true),
            ("Digest username=\"a\", uri=\"/a.b.c\"", true),
            ("Foo leg.a.cy", false),
            ("JWT cl.er.k", false),
            ("Foo th.ei.rs", true),
        ];
        for (line, stays) in table {
            let mut head = HeaderMap::new();
            head.insert(AUTHORIZATION, HeaderValue::from_static(line));
            strip(&own, &mut head);
            assert_eq!(head.contains_key(AUTHORIZATION), stays, "{line}");
        }
    }
}
