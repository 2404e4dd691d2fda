//! The first step: refuses what can be read in two ways, and edits the rest so that it cannot.
//!
//! Called once per request, before anything looks at it; afterwards what policies see is byte for byte what the
//! API gets. Nothing ambiguous is repaired (the one repair is the canonical path). Never decides who may pass.

use std::collections::HashSet;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::client::{Client, Peer, TrustedProxies};
use super::credential::{Ambiguous, CredentialLine, Credentials};
use super::fold::{Reserved, fold};
use super::framing::check_framing;
use super::host::{canonical_host, host, is_host, without_port};
use super::path::{CanonicalPath, PathRefusal};
use super::tolerance::Oddities;
use super::websocket::handshake;
use super::{Request, View};

/// `limits`, as far as one request is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the header block, names and values with their separators. 431 above.
    pub headers: usize,
    /// Number of header lines. 431 above.
    pub header_count: usize,
    /// Bytes of the request target. 414 above.
    pub uri: usize,
    /// Bytes of a request body; `None` is no limit. 413 above.
    pub body: Option<u64>,
    /// Longest time without progress while a body is read.
    pub body_read: Duration,
    /// Bytes per second that a body must bring on average; above zero; `None` is no limit.
    pub body_min_rate: Option<u64>,
    /// Longest life of a WebSocket; `None` is no limit.
    pub websocket_lifetime: Option<Duration>,
    /// Requests being served at once. 503 `overloaded` above.
    pub in_flight: usize,
    /// Open connections of clients; further ones are closed at once.
    pub connections: usize,
    /// The same, of one address.
    pub connections_per_peer: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: 64 * 1024,
            header_count: 100,
            uri: 16 * 1024,
            body: None,
            body_read: Duration::from_secs(60),
            body_min_rate: None,
            websocket_lifetime: None,
            in_flight: 10_000,
            connections: 20_000,
            connections_per_peer: None,
        }
    }
}

/// What sanitizing needs to know of the config.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub limits: Limits,
    pub reserved: Reserved,
    pub trusted: TrustedProxies,
    /// Methods beyond the usual ones that some route names (`PROPFIND` …).
    pub extra_methods: HashSet<Method>,
    /// Names that a policy reads: they must not be repeated, nor nominated in `Connection`.
    pub read_headers: ReadHeaders,
    /// Whether some route names a host, so that a request without one could get around it.
    pub hosts_named: bool,
    /// What some route tolerates; the others refuse it once they are found.
    pub tolerated: Oddities,
    /// Where credentials travel beside `Authorization: Bearer` and cookies; a header of its own is among `read_headers`.
    pub credential_line: Option<CredentialLine>,
}

/// Header names that decisions read. Their twins (`X_Env` for `x-env`) are removed, since an API may take them for the
/// header itself, of which the policy saw another value or none.
#[derive(Debug, Clone)]
pub struct ReadHeaders {
    exact: HashSet<HeaderName>,
    folded: HashSet<Box<str>>,
}

impl ReadHeaders {
    pub fn new(exact: HashSet<HeaderName>) -> Self {
        let own = [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE, ACCESS_CONTROL_REQUEST_METHOD, SEC_FETCH_SITE];
        let folded = own.iter().chain(&exact).map(|name| fold(name.as_str())).collect();
        Self { exact, folded }
    }

    fn is_twin(&self, name: &HeaderName) -> bool {
        // Only another separator makes a twin: names are in lower case already.
        name.as_str().bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
            && self.folded.contains(&fold(name.as_str()))
    }
}

impl Default for ReadHeaders {
    fn default() -> Self {
        Self::new(HashSet::new())
    }
}

/// Why a request is not even looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Framing or request line: 400 `bad_request`.
    Malformed(&'static str),
    /// 400 `bad_path`.
    Path(PathRefusal),
    /// A field: 400 `bad_header`.
    Header(&'static str),
    /// 405 `bad_method`.
    Method,
    /// 413 `too_large`.
    BodyTooLarge,
    /// 414 `uri_too_long`.
    TargetTooLong,
    /// 417 `bad_expect`.
    Expect,
    /// 431 `headers_too_large`.
    HeadersTooLarge,
}

impl Refusal {
    /// The exact reason, for logs and `explain`; no byte of the client in it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Header(reason) => reason,
            Self::Path(refusal) => refusal.as_str(),
            Self::Method => "method is not allowed",
            Self::BodyTooLarge => "body is larger than limits.body, or than a form may be",
            Self::TargetTooLong => "request target is longer than limits.uri",
            Self::Expect => "only `Expect: 100-continue` on a request with a body is understood",
            Self::HeadersTooLarge => "header block is larger than limits.headers or limits.header_count",
        }
    }
}

/// What has to change in the request's head so that it says what was checked.
#[derive(Debug, Default)]
pub struct Edits {
    /// The new request target, where it differs from the one that came.
    pub target: Option<String>,
    pub remove: Vec<HeaderName>,
    /// Set after removing, one line each.
    pub insert: Vec<(HeaderName, HeaderValue)>,
}

/// A sanitized request, or the one request that is about the server itself.
#[derive(Debug)]
pub enum Sanitized {
    Request(Box<Request>, Edits),
    /// `OPTIONS *`: crossgate answers it.
    Server(Box<Client>),
}

/// What came in, as the HTTP layer below read it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// The target exactly as sent; never `Uri::path()`, which says `/` for much that is not.
    pub target: &'a [u8],
    /// Host of an HTTP/2 `:authority`.
    pub authority: Option<&'a str>,
    pub version: Version,
    pub headers: &'a HeaderMap,
    pub peer: Peer,
    /// Whether the client's connection is TLS.
    pub tls: bool,
}

/// Checks and reads one request. `random` gives 16 fresh bytes (request and trace ids).
///
/// # Errors
/// The first [`Refusal`] in the order: method, sizes, target, framing, Host, fields, credentials.
pub fn sanitize(head: &Head<'_>, rules: &Rules, random: &dyn Fn() -> [u8; 16]) -> Result<Sanitized, Refusal> {
    check_method(head.method, rules)?;
    check_sizes(head, &rules.limits)?;
    let (target_authority, origin_form) = origin_form(head.target, head.method)?;
    let odd_body = check_framing(head, &rules.limits, rules.tolerated)?;
    let authority = host(head, target_authority, rules.hosts_named)?;
    check_repeats(head.headers, rules)?;

    let client = Client::read(head.headers, authority.as_deref(), head.peer, head.tls, &rules.trusted, random);
    let Some(origin_form) = origin_form else { return Ok(Sanitized::Server(Box::new(client))) };
    let (raw_path, query) = split_query(origin_form);
    let (path, odd_path) = CanonicalPath::parse_odd(raw_path, rules.tolerated).map_err(Refusal::Path)?;
    let query = match query {
        None => None,
        Some(query) => Some(check_query(query)?),
    };

    let mut edits = Edits::default();
    let handshake = handshake(head)?;
    apply_nominations(head.headers, rules, handshake.is_some(), &mut edits)?;
    for name in head.headers.keys() {
        if rules.reserved.holds(name) || rules.read_headers.is_twin(name) {
            edits.remove.push(name.clone());
        }
    }
    if handshake.is_none() && head.headers.contains_key(UPGRADE) {
        // Pingora takes any Upgrade for one, on any method; without a handshake that was checked it is a plain request.
        edits.remove.push(UPGRADE);
    }
    join_cookies(head.headers, &mut edits);
    client.headers(&mut edits.insert);
    let target = match query {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    if target.as_bytes() != head.target {
        edits.target = Some(target);
    }

    let credentials = Credentials::read_with(head.headers, rules.credential_line.as_ref()).map_err(ambiguous)?;
    let host = authority.as_deref().map(|authority| canonical_host(without_port(authority)));
    Ok(Sanitized::Request(
        Box::new(Request {
            preflight: preflight(head, rules)?,
            method: head.method.clone(),
            host,
            authority: authority.map(Into::into),
            path,
            query: query.map(Into::into),
            client,
            credentials,
            handshake,
            oddities: odd_path.and(odd_body),
        }),
        edits,
    ))
}

/// The methods that a route without `method` takes.
pub fn is_usual(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS
    )
}

/// Names are compared exactly: `get` is another method than `GET`, and some servers run it.
fn check_method(method: &Method, rules: &Rules) -> Result<(), Refusal> {
    match *method {
        _ if is_usual(method) => Ok(()),
        // TRACE would echo credentials, CONNECT would tunnel past every check: no route can ask for them.
        Method::TRACE | Method::CONNECT => Err(Refusal::Method),
        _ if method.as_str().len() <= 16 && rules.extra_methods.contains(method) => Ok(()),
        _ => Err(Refusal::Method),
    }
}

fn check_sizes(head: &Head<'_>, limits: &Limits) -> Result<(), Refusal> {
    if head.target.len() > limits.uri {
        return Err(Refusal::TargetTooLong);
    }
    let mut bytes = 0;
    let mut lines = 0;
    for (name, value) in head.headers {
        lines += 1;
        bytes += name.as_str().len() + value.len() + 4; // ": " and CRLF
    }
    if bytes > limits.headers || lines > limits.header_count {
        return Err(Refusal::HeadersTooLarge);
    }
    Ok(())
}

/// The host of an absolute-form target and the origin-form in it; `None` for `OPTIONS *`.
type Target<'a> = (Option<&'a str>, Option<&'a [u8]>);

/// Origin-form as it is; absolute-form rewritten to it (RFC 9112 3.2.2); all else refused. Pingora would forward
/// `admin/x`, `@evil/x` or `:80/x` verbatim while its parsed path says `/`.
fn origin_form<'a>(target: &'a [u8], method: &Method) -> Result<Target<'a>, Refusal> {
    if target.first() == Some(&b'/') {
        return Ok((None, Some(target)));
    }
    if target == b"*" {
        return if *method == Method::OPTIONS {
            Ok((None, None))
        } else {
            Err(Refusal::Path(PathRefusal::NotAbsolute))
        };
    }
    let Some(rest) = strip_scheme(target) else { return Err(Refusal::Path(PathRefusal::NotAbsolute)) };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = std::str::from_utf8(authority).map_err(|_| Refusal::Malformed("target authority is not ASCII"))?;
    if path.first() != Some(&b'/') {
        // `http://host` and `http://host?x` have no path to compare; nobody but a scanner sends them.
        return Err(Refusal::Path(PathRefusal::NotAbsolute));
    }
    Ok((Some(authority), Some(path)))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn ambiguous(problem: Ambiguous) -> Refusal {
    Refusal::Header(match problem {
        Ambiguous::Authorization => "two Authorization lines",
        Ambiguous::Line => "two lines of the credential's header",
    })
}

/// A header that a decision reads must stand once: the API may read the other line.
fn check_repeats(headers: &HeaderMap, rules: &Rules) -> Result<(), Refusal> {
    if headers.len() == headers.keys_len() {
        return Ok(()); // as nearly always: no name has two lines
    }
    let own = [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, SEC_FETCH_SITE, CONTENT_TYPE];
    let repeated = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if own.iter().any(repeated) || rules.read_headers.exact.iter().any(repeated) {
        return Err(Refusal::Header("a header that a decision reads is repeated"));
    }
    Ok(())
}

pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    }
}

/// Forwarded byte-exact, so only what could end the line or the target early is refused.
fn check_query(query: &[u8]) -> Result<&str, Refusal> {
    if query.iter().any(|b| *b <= b' ' || *b == 0x7f || *b == b'#' || !b.is_ascii()) {
        return Err(Refusal::Path(PathRefusal::NotPchar));
    }
    std::str::from_utf8(query).map_err(|_| Refusal::Path(PathRefusal::NonAscii))
}

/// Removes what `Connection` nominates, as the next hop would, before anybody reads it; refuses the nomination of
/// anything that crossgate reads or writes: it would delete a header after it was checked.
fn apply_nominations(headers: &HeaderMap, rules: &Rules, is_handshake: bool, edits: &mut Edits) -> Result<(), Refusal> {
    let mut close = false;
    let mut keep_alive = false;
    let mut others = false;
    let mut lines = 0;
    for line in headers.get_all(CONNECTION) {
        lines += 1;
        let line = line.to_str().map_err(|_| Refusal::Header("Connection is not ASCII"))?;
        for option in line.split(',').map(|option| option.trim_matches([' ', '\t'])).filter(|o| !o.is_empty()) {
            if option.eq_ignore_ascii_case("close") {
                close = true;
            } else if option.eq_ignore_ascii_case("keep-alive") {
                keep_alive = true;
            } else if is_handshake && option.eq_ignore_ascii_case("upgrade") {
                others = true;
            } else {
                let name = HeaderName::from_bytes(option.as_bytes())
                    .map_err(|_| Refusal::Header("Connection names what is no header"))?;
                if is_read_or_written(&name, rules) {
                    return Err(Refusal::Header("Connection nominates a header that crossgate reads or writes"));
                }
                others = true;
                edits.remove.push(name);
            }
        }
    }
    if others || lines > 1 {
        edits.remove.push(CONNECTION);
        if close {
            edits.insert.push((CONNECTION, HeaderValue::from_static("close")));
        } else if keep_alive {
            edits.insert.push((CONNECTION, HeaderValue::from_static("keep-alive")));
        }
    }
    Ok(())
}

fn is_read_or_written(name: &HeaderName, rules: &Rules) -> bool {
    let own = [
        AUTHORIZATION,
        COOKIE,
        HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONTENT_TYPE,
        CONNECTION,
        EXPECT,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        ORIGIN,
        ACCESS_CONTROL_REQUEST_METHOD,
        SEC_FETCH_SITE,
    ];
    own.contains(name) || rules.reserved.holds(name) || rules.read_headers.exact.contains(name)
}

/// HTTP/2 clients split cookies into crumbs; an API behind HTTP/1.1 would see one broken cookie (RFC 9113 8.2.3).
fn join_cookies(headers: &HeaderMap, edits: &mut Edits) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        edits.remove.push(COOKIE);
        edits.insert.push((COOKIE, value));
    }
}

/// A CORS preflight (Fetch 4.8): OPTIONS with an Origin and the method that the page wants to use.
fn preflight(head: &Head<'_>, rules: &Rules) -> Result<Option<Method>, Refusal> {
    // What a browser never sends with a preflight makes it a request of its own, to be judged like any other.
    let by_browser = head.headers.get(ORIGIN).is_some_and(is_origin)
        && !head.headers.contains_key(AUTHORIZATION)
        && !head.headers.contains_key(COOKIE);
    if *head.method != Method::OPTIONS || !by_browser {
        return Ok(None);
    }
    let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD) else { return Ok(None) };
    let asked = Method::from_bytes(asked.as_bytes())
        .map_err(|_| Refusal::Header("Access-Control-Request-Method is no method"))?;
    check_method(&asked, rules)?;
    Ok(Some(asked))
}

/// `null`, or a scheme, a host and nothing else (RFC 6454 7.1).
fn is_origin(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let is_scheme = |scheme: &str| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    text == "null" || text.split_once("://").is_some_and(|(scheme, host)| is_scheme(scheme) && is_host(host))
}

impl Sanitized {
    /// The view that the next steps read.
    pub fn view<'a>(&'a self, headers: &'a HeaderMap) -> Option<View<'a>> {
        match self {
            Self::Request(request, _) => Some(View { request, headers }),
            Self::Server(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "sanitize_tests.rs"]
mod tests;
