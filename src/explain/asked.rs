//! The request that a question is about, as a client would send it.
//!
//! Takes what was typed or posted and repairs nothing: what a real client's bytes would be refused for is refused here.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

/// Method, target and headers; there is always a Host.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
}

/// What is no request. Shows no value: a header's may be a credential, and a URL has a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRequest {
    /// `method`, `url` or `headers`.
    pub field: &'static str,
    pub problem: String,
}

impl fmt::Display for NoRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl From<NoRequest> for String {
    fn from(problem: NoRequest) -> Self {
        problem.to_string()
    }
}

fn none<T>(field: &'static str, problem: impl Into<String>) -> Result<T, NoRequest> {
    Err(NoRequest { field, problem: problem.into() })
}

impl Asked {
    /// `url`: a path (`/v1/x?y=z`), or a whole URL, whose host becomes the Host header.
    ///
    /// # Errors
    /// What is no method, URL or header, in words for whoever typed it.
    pub fn new<'a>(
        method: &str,
        url: &str,
        lines: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, NoRequest> {
        let method =
            Method::from_bytes(method.as_bytes()).or_else(|_| none("method", "expected a method such as GET"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let parsed = HeaderName::from_bytes(name.trim().as_bytes())
                .or_else(|_| none("headers", format!("`{}` is no header name", name.escape_debug())))?;
            let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
                .or_else(|_| none("headers", format!("no header has such a value: `{parsed}`")))?;
            headers.try_append(parsed, value).or_else(|_| none("headers", "there are more than any request has"))?;
        }
        let (host, target) = split(url)?;
        if !headers.contains_key(header::HOST) {
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            let host = HeaderValue::from_str(&host).or_else(|_| none("url", "the host is malformed"))?;
            headers.insert(header::HOST, host);
        }
        Ok(Self { method, target, headers })
    }
}

/// Host and target.
fn split(url: &str) -> Result<(Option<String>, String), NoRequest> {
    if url.starts_with('/') {
        return Ok((None, url.to_owned()));
    }
    const EXPECTED: &str = "expected a path such as /v1/x, or a whole URL";
    let uri: Uri = url.parse().or_else(|_| none("url", EXPECTED))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()) else { return none("url", EXPECTED) };
    // Cut by hand: parsing a URL would already repair what a client sends as it is.
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    Ok((Some(authority.to_string()), path.to_owned()))
}
