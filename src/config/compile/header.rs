//! Header names: which ones can carry an identity, and which ones a route or a rule can read.
//!
//! Called for `identity.headers`, `match.header` and `{header.name}`. Names are compared folded, as the servers
//! behind compare them. Only looks at names, never at a request.

use http::HeaderName;

use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::identity::headers::Fact;
use crate::request::fold::{Reserved, fold};

/// A name that means nothing else to any server between crossgate and the API's code, nor to a browser: identity
/// headers are taken out of answers.
pub(super) fn to_carry(text: &str, fact: Fact, at: At<'_>, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let Ok(name) = text.parse::<HeaderName>() else {
        let help = "a header name has letters, digits and dashes, as in x-user-id";
        problems.push(Problem::at(codes::BAD_HEADER_NAME, at, "this is no header name").help(help));
        return None;
    };
    let folded = fold(name.as_str());
    if let Some(other) = fact_of(&folded).filter(|other| *other != fact) {
        // Also while that fact is dropped: who reads the name expects what it says.
        let message = format!("`{name}` is the name of `{}`", other.key());
        problems.push(Problem::at(codes::BAD_HEADER_NAME, at, message).help("choose a name of your own"));
        return None;
    }
    let is_own = folded.starts_with(OWN);
    if is_taken(&folded) || (Reserved::default().holds(&name) && !is_own) {
        let message = format!("`{name}` already has a meaning, so that it cannot carry an identity");
        problems
            .push(Problem::at(codes::BAD_HEADER_NAME, at, message).help("choose a name of your own, as in x-user-id"));
        return None;
    }
    Some(name)
}

/// A name of the API's own, in which it looks for a token.
pub(super) fn to_put(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let Ok(name) = text.parse::<HeaderName>() else {
        let help = "a header name has letters, digits and dashes, as in x-api-token";
        problems.push(Problem::at(codes::BAD_HEADER_NAME, at, "this is no header name").help(help));
        return None;
    };
    let help = match name.as_str() {
        "authorization" => "write authorization: legacy_token",
        "cookie" => "name the cookie: legacy_token: { cookie: session }",
        _ => "write the name in which the API looks for its token, as in x-api-token",
    };
    if is_taken(&fold(name.as_str())) || Reserved::default().holds(&name) {
        let message = format!("`{name}` already has a meaning, so that it cannot carry a token");
        problems.push(Problem::at(codes::BAD_HEADER_NAME, at, message).help(help));
        return None;
    }
    Some(name)
}

const OWN: &str = "x-crossgate-";

/// The fact whose default name this is.
fn fact_of(folded: &str) -> Option<Fact> {
    let key = folded.strip_prefix(OWN)?.replace('-', "_");
    Fact::ALL.into_iter().find(|fact| fact.key() == key)
}

/// Why no route or rule can read the header, and what to do instead.
pub(super) fn unreadable(name: &HeaderName, reserved: &Reserved) -> Option<(&'static str, String)> {
    const HOP: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let folded = fold(name.as_str());
    if matches!(&*folded, "authorization" | "cookie" | "host") {
        return Some(("credentials and the host cannot be read as headers", "use `require` and `host`".to_owned()));
    }
    if reserved.holds(name) {
        return Some((
            "clients cannot send this header, so that no request would match",
            "choose a header of the client's own".to_owned(),
        ));
    }
    if HOP.contains(&&*folded) {
        let help = "choose a header that reaches the API as it came";
        return Some(("this header is about the connection, not about the request", help.to_owned()));
    }
    if *folded != *name.as_str() {
        // Servers behind fold such names into one: two headers to us, one to them.
        let help = format!("write {folded}, and let clients send that");
        return Some(("a header name that is compared has letters, digits and `-` only", help));
    }
    None
}

/// Folded names that carry credentials, frame a message, say where a request came from, or tell clients what to
/// do with an answer.
fn is_taken(folded: &str) -> bool {
    const TAKEN: &[&str] = &[
        "accept",
        "age",
        "allow",
        "alt-svc",
        "authorization",
        "cache-control",
        "cdn-cache-control",
        "clear-site-data",
        "connection",
        "cookie",
        "cookie2",
        "date",
        "deprecation",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "last-modified",
        "link",
        "location",
        "max-forwards",
        "origin",
        "permissions-policy",
        "pragma",
        "prefer",
        "priority",
        "range",
        "referer",
        "referrer-policy",
        "refresh",
        "retry-after",
        "server",
        "server-timing",
        "set-cookie",
        "set-cookie2",
        "sourcemap",
        "strict-transport-security",
        "sunset",
        "surrogate-control",
        "te",
        "timing-allow-origin",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
        "x-requested-with",
        "x-robots-tag",
    ];
    const PREFIXES: &[&str] =
        &["accept-", "access-control-", "content-", "cross-origin-", "grpc-", "if-", "proxy-", "sec-"];
    TAKEN.contains(&folded) || PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::{is_taken, unreadable};
    use crate::request::fold::Reserved;

    #[test]
    fn names_that_cannot_be_read() {
        let reserved = Reserved::new([HeaderName::from_static("x-user-id")]);
        let table = [
            ("x-env", true),
            ("accept", true),
            ("content-type", true),
            ("x-api-version", true),
            ("x_env", false),
            ("x.env", false),
            ("authorization", false),
            ("cookie", false),
            ("host", false),
            ("connection", false),
            ("upgrade", false),
            ("te", false),
            ("keep-alive", false),
            ("transfer-encoding", false),
            ("content-length", false),
            ("content_length", false),
            ("x-user-id", false),
            ("X_User_Id", false),
            ("x-crossgate-org", false),
            ("x-forwarded-for", false),
            ("x-real-ip", false),
        ];
        for (name, readable) in table {
            let parsed: HeaderName = name.parse().unwrap();
            assert_eq!(unreadable(&parsed, &reserved).is_none(), readable, "{name}");
        }
    }

    #[test]
    fn names_with_a_meaning_of_their_own() {
        for name in ["etag", "content-security-policy", "access-control-allow-origin", "if-match", "sec-fetch-site"] {
            assert!(is_taken(name), "{name}");
        }
        for name in ["x-user-id", "remote-user", "user-id", "x-org"] {
            assert!(!is_taken(name), "{name}");
        }
    }
}
