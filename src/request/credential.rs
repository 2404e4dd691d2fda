//! Reads the credentials that a request carries: one Authorization line, the cookies, nothing else.
//!
//! The only reader of `Authorization` and `Cookie` for decisions (tests/architecture.rs keeps it so): two
//! helpers that disagree on where a credential is found were a hole in Clerk's own SDK (CVE-2024-22206).
//! Never verifies anything: whose credential it is, and whether it is good, is told by its content in
//! `identity`.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};

/// A cookie of crossgate's own (`rollout::cookie`): no credential, and never the API's.
pub const ARM_COOKIE: &str = "__Host-crossgate-arm";

/// The credentials as sent. Absent, unusable and present are three things.
#[derive(Debug, Default)]
pub struct Credentials {
    pub authorization: Authorization,
    pub cookies: Cookies,
    /// What a [`CredentialLine`] says, where one is configured.
    pub line: Line,
}

/// A header beside `Authorization: Bearer` that carries credentials: another scheme, or a header of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialLine {
    pub header: HeaderName,
    /// Without it, the whole value is the credential.
    pub scheme: Option<Box<str>>,
}

/// What a [`CredentialLine`] says.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// No line, an empty one, or another scheme.
    #[default]
    Absent,
    Token(Box<str>),
    /// Meant as a credential, and not one: explicit and bad.
    Malformed,
}

/// What the Authorization line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// No line, an empty line, or a scheme that is not ours (`Basic …`): it proves nothing here.
    #[default]
    Absent,
    /// `Bearer` with one well-formed token.
    Bearer(Box<str>),
    /// Meant as a bearer token, but not one: explicit and bad, hence final.
    Malformed,
}

/// The cookies of a request, crumbs joined (RFC 9113 8.2.3), each name with its raw value.
#[derive(Debug, Default)]
pub struct Cookies {
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl Cookies {
    /// Splits all `Cookie` lines by RFC 6265; bytes that are not ASCII make a pair unreadable and it is left out.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut pairs = Vec::new();
        for line in headers.get_all(COOKIE) {
            for pair in line.as_bytes().split(|b| *b == b';') {
                let Ok(pair) = std::str::from_utf8(pair) else { continue };
                let Some((name, value)) = pair.trim_matches([' ', '\t']).split_once('=') else { continue };
                pairs
                    .push((name.trim_end_matches([' ', '\t']).into(), unquote(value.trim_matches([' ', '\t'])).into()));
            }
        }
        Self { pairs }
    }

    /// All values under one name, in order; names are compared exactly, as browsers do.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| **key == *name).map(|(_, value)| &**value)
    }

    /// The first value under one name.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is any cookie at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Whether a header is one that credentials travel in, so that its value is shown to nobody.
pub fn carries(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION || *name == COOKIE
}

/// Why the credentials cannot be read in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// Two `Authorization` lines: the API may read the other one.
    Authorization,
    /// The same of a [`CredentialLine`].
    Line,
}

impl Credentials {
    /// Those of a request that brings this token in its Authorization line, and nothing else.
    pub fn bearer(token: &str) -> Self {
        let is_well_formed = !token.is_empty() && is_all_token68(token.as_bytes());
        let authorization = if is_well_formed { Authorization::Bearer(token.into()) } else { Authorization::Malformed };
        Self { authorization, ..Self::default() }
    }

    /// The same in a line of its own.
    pub fn in_line(token: &str) -> Self {
        Self { line: Line::Token(token.into()), ..Self::default() }
    }

    /// The same in a cookie.
    pub fn in_cookie(name: &str, token: &str) -> Self {
        Self { cookies: Cookies { pairs: vec![(name.into(), token.into())] }, ..Self::default() }
    }

    /// Reads both carriers.
    ///
    /// # Errors
    /// [`Ambiguous`] when two lines compete.
    pub fn read(headers: &HeaderMap) -> Result<Self, Ambiguous> {
        Self::read_with(headers, None)
    }

    /// Reads both carriers, and a further one.
    ///
    /// # Errors
    /// [`Ambiguous`] when two lines compete.
    pub fn read_with(headers: &HeaderMap, further: Option<&CredentialLine>) -> Result<Self, Ambiguous> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let line = lines.next();
        if lines.next().is_some() {
            return Err(Ambiguous::Authorization);
        }
        Ok(Self {
            authorization: line.map_or(Authorization::Absent, |line| authorization(line.as_bytes())),
            cookies: if headers.contains_key(COOKIE) { Cookies::read(headers) } else { Cookies::default() },
            line: further.map_or(Ok(Line::Absent), |line| line.read(headers))?,
        })
    }
}

impl CredentialLine {
    fn read(&self, headers: &HeaderMap) -> Result<Line, Ambiguous> {
        let mut lines = headers.get_all(&self.header).iter();
        let Some(line) = lines.next() else { return Ok(Line::Absent) };
        if lines.next().is_some() {
            return Err(Ambiguous::Line);
        }
        let line = line.as_bytes().trim_ascii();
        let (token, is_allowed): (&[u8], fn(&u8) -> bool) = match &self.scheme {
            None => (line, |byte| byte.is_ascii_graphic() && *byte != b','),
            Some(scheme) => {
                let end = line.iter().position(|b| matches!(b, b' ' | b'\t' | b',')).unwrap_or(line.len());
                let (found, rest) = line.split_at(end);
                if !found.eq_ignore_ascii_case(scheme.as_bytes()) {
                    return Ok(Line::Absent);
                }
                match rest.strip_prefix(b" ") {
                    Some(token) if !token.is_empty() => (token, |byte| is_token68(*byte)),
                    _ => return Ok(Line::Malformed),
                }
            }
        };
        Ok(match std::str::from_utf8(token) {
            Ok("") => Line::Absent,
            Ok(text) if token.iter().all(is_allowed) => Line::Token(text.into()),
            _ => Line::Malformed,
        })
    }
}

/// One line. The scheme is compared in any case (RFC 9110 11.1; Clerk's SDK takes exactly `Bearer`), followed by
/// one space and a token68 without anything behind it.
fn authorization(line: &[u8]) -> Authorization {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Authorization::Absent;
    }
    let scheme_end = line.iter().position(|b| matches!(b, b' ' | b'\t' | b',')).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        // A bare token without a scheme is meant as a credential; `Basic …` and the like are none of ours.
        let bare_token = rest.is_empty() && scheme.iter().filter(|b| **b == b'.').count() == 2;
        // A byte that somebody trims, or takes for a blank, makes `Bearer` of what is none here; and some read lists.
        let is_no_word = !rest.is_empty() && !scheme.iter().all(|byte| is_tchar(*byte));
        let is_hidden = is_no_word
            || scheme.iter().any(|byte| !byte.is_ascii_graphic())
            || scheme.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer"))
                && !scheme.iter().all(|byte| is_tchar(*byte))
            || rest.split(|byte| *byte == b',').skip(1).any(begins_with_bearer);
        return if bare_token || is_hidden { Authorization::Malformed } else { Authorization::Absent };
    }
    let Some(token) = rest.strip_prefix(b" ") else { return Authorization::Malformed };
    match std::str::from_utf8(token) {
        Ok(token) if !token.is_empty() && is_all_token68(token.as_bytes()) => Authorization::Bearer(token.into()),
        _ => Authorization::Malformed,
    }
}

fn begins_with_bearer(item: &[u8]) -> bool {
    let word = item.trim_ascii().split(|byte| !byte.is_ascii_alphanumeric()).next().unwrap_or_default();
    word.eq_ignore_ascii_case(b"bearer")
}

/// RFC 9110 5.6.2: what a scheme is made of.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 11.2, and nothing else: no space, comma, quote or control can hide a second credential.
pub(super) fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Without a branch for each byte: a token has a thousand of them.
fn is_all_token68(token: &[u8]) -> bool {
    token.iter().fold(true, |good, byte| good & is_token68(*byte))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Ambiguous, Authorization, CredentialLine, Credentials, Line};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn the_authorization_line() {
        let token = || Authorization::Bearer("a.b.c".into());
        let table = [
            ("bearer", "Bearer a.b.c", token()),
            ("lower case", "bearer a.b.c", token()),
            ("upper case", "BEARER a.b.c", token()),
            ("padded line", "  Bearer a.b.c  ", token()),
            ("two spaces", "Bearer  a.b.c", Authorization::Malformed),
            ("tab", "Bearer\ta.b.c", Authorization::Malformed),
            ("scheme alone", "Bearer", Authorization::Malformed),
            ("extra part", "Bearer a.b.c d", Authorization::Malformed),
            ("comma-joined", "Bearer a.b.c, Bearer d.e.f", Authorization::Malformed),
            ("quoted", "Bearer \"a.b.c\"", Authorization::Malformed),
            ("bare token", "a.b.c", Authorization::Malformed),
            ("empty", "", Authorization::Absent),
            ("a colon", "Bearer: a.b.c", Authorization::Malformed),
            ("a no-break space", "Bearer\u{a0}a.b.c", Authorization::Malformed),
            ("behind another scheme", "Basic x, Bearer a.b.c", Authorization::Malformed),
            ("behind another scheme, in any case", "Basic x,bearer a.b.c", Authorization::Malformed),
            ("no scheme", "Bearer;abc", Authorization::Malformed),
            ("another scheme", "Bearer-Custom abc", Authorization::Absent),
            ("text in a parameter", "Digest username=\"j\u{fc}rgen, the bearer\"", Authorization::Absent),
            ("basic", "Basic dXNlcjpwYXNz", Authorization::Absent),
            ("a word", "null", Authorization::Absent),
        ];
        for (name, line, expected) in table {
            let read = Credentials::read(&headers(&[("authorization", line)])).unwrap();
            assert_eq!(read.authorization, expected, "{name}");
        }
    }

    #[test]
    fn two_authorization_lines_are_ambiguous_even_when_equal() {
        let map = headers(&[("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")]);
        assert_eq!(Credentials::read(&map).unwrap_err(), Ambiguous::Authorization);
    }

    #[test]
    fn a_line_of_its_own() {
        let token = |text: &str| Ok(Line::Token(text.into()));
        let table = [
            ("own header", "x-api-token", None, vec![("x-api-token", "  abc!{}  ")], token("abc!{}")),
            ("own header, absent", "x-api-token", None, vec![("x-token", "abc")], Ok(Line::Absent)),
            ("own header, empty", "x-api-token", None, vec![("x-api-token", " ")], Ok(Line::Absent)),
            ("own header, two words", "x-api-token", None, vec![("x-api-token", "a b")], Ok(Line::Malformed)),
            ("own header, a list", "x-api-token", None, vec![("x-api-token", "a,b")], Ok(Line::Malformed)),
            (
                "own header, twice",
                "x-api-token",
                None,
                vec![("x-api-token", "a"), ("x-api-token", "a")],
                Err(Ambiguous::Line),
            ),
            ("own scheme", "authorization", Some("Token"), vec![("authorization", "token abc")], token("abc")),
            ("foreign scheme", "authorization", Some("Token"), vec![("authorization", "Bearer abc")], Ok(Line::Absent)),
            ("longer scheme", "authorization", Some("Token"), vec![("authorization", "Tokens abc")], Ok(Line::Absent)),
            ("scheme alone", "authorization", Some("Token"), vec![("authorization", "Token")], Ok(Line::Malformed)),
            ("two spaces", "authorization", Some("Token"), vec![("authorization", "Token  abc")], Ok(Line::Malformed)),
            ("no token68", "authorization", Some("Token"), vec![("authorization", "Token a\"b")], Ok(Line::Malformed)),
        ];
        for (name, header, scheme, lines, expected) in table {
            let further = CredentialLine { header: header.parse().unwrap(), scheme: scheme.map(Into::into) };
            let read = Credentials::read_with(&headers(&lines), Some(&further)).map(|read| read.line);
            assert_eq!(read, expected, "{name}");
        }
    }

    #[test]
    fn cookies_are_split_joined_and_compared_exactly() {
        let map = headers(&[("cookie", "a=1; b=\"2\";c = 3; junk; x__session=n"), ("cookie", "a=4")]);
        let cookies = Credentials::read(&map).unwrap().cookies;
        assert_eq!(cookies.all("a").collect::<Vec<_>>(), ["1", "4"]);
        assert_eq!(cookies.first("b"), Some("2"));
        assert_eq!(cookies.first("c"), Some("3"));
        assert_eq!(cookies.first("__session"), None);
        assert_eq!(cookies.first("A"), None);
    }
}
