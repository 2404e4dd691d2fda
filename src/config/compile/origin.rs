//! Origins, as browsers write them: what `Origin` and `azp` are compared with, byte for byte.

use http::HeaderValue;

use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;

/// `scheme://host` or `scheme://host:port`, and nothing that a browser would write in another way.
pub(super) fn check(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<HeaderValue> {
    let problem = match fault(text) {
        None => return HeaderValue::from_str(text).ok(),
        Some((message, help)) => Problem::at(codes::BAD_ORIGIN, at, message).help(help),
    };
    problems.push(problem);
    None
}

fn fault(text: &str) -> Option<(&'static str, String)> {
    let write = || "write it as browsers do: https://app.example.com".to_owned();
    if text == "*" {
        return Some(("an origin must be named: `*` would let every page read answers", write()));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Some(("this is no origin", write()));
    };
    if let Some(bare) = text.strip_suffix('/').filter(|_| rest.matches('/').count() == 1) {
        return Some(("an origin has no slash at its end", format!("write {bare}")));
    }
    let host = rest.split_once(':').map_or(rest, |(host, _)| host);
    let is_scheme = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'+' | b'-' | b'.');
    let is_rest = |c: u8| c.is_ascii_graphic() && !matches!(c, b'/' | b'?' | b'#' | b'@' | b'*' | b',');
    if scheme.is_empty() || !scheme.bytes().all(is_scheme) || rest.is_empty() || !rest.bytes().all(is_rest) {
        return Some(("this is no origin", write()));
    }
    if host.bytes().any(|c| c.is_ascii_uppercase()) {
        return Some(("an origin is in lower case", format!("write {}", text.to_ascii_lowercase())));
    }
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let bare = text.strip_suffix(default_port)?;
    Some(("browsers leave out the default port", format!("write {bare}")))
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn origins() {
        let table = [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://[::1]:8443", true),
            ("chrome-extension://abcdefghijklmnop", true),
            ("capacitor://localhost", true),
            ("https://app.example.com/", false),
            ("https://app.example.com/path", false),
            ("https://App.example.com", false),
            ("https://app.example.com:443", false),
            ("http://app.example.com:80", false),
            ("app.example.com", false),
            ("https://", false),
            ("*", false),
            ("https://*.example.com", false),
            ("null", false),
            ("", false),
        ];
        for (origin, good) in table {
            assert_eq!(fault(origin).is_none(), good, "{origin:?}");
        }
    }
}
