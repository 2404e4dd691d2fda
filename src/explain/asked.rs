//! The request that a question is about, as a client would send it.
//!
//! Takes what was typed or posted and repairs nothing: what a real client's bytes would be refused for is refused here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

/// Method, target and headers; there is always a Host.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
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
    ) -> Result<Self, String> {
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method}: expected a method such as GET"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let parsed =
                HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
            let value = HeaderValue::from_bytes(value.trim().as_bytes())
                .map_err(|_| format!("no header has such a value: `{name}`"))?;
            headers.append(parsed, value);
        }
        let (host, target) = split(url)?;
        if !headers.contains_key(header::HOST) {
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|_| "the host is malformed".to_owned())?);
        }
        Ok(Self { method, target, headers })
    }
}

/// Host and target.
fn split(url: &str) -> Result<(Option<String>, String), String> {
    if url.starts_with('/') {
        return Ok((None, url.to_owned()));
    }
    let expected = || format!("{url}: expected a path or a URL");
    let uri: Uri = url.parse().map_err(|_| expected())?;
    let authority = uri.authority().ok_or_else(expected)?.to_string();
    // Cut by hand: parsing a URL would already repair what a client sends as it is.
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    Ok((Some(authority), path.to_owned()))
}
