//! `response.private`: answers that depend on who asks are kept out of shared caches.
//!
//! An API that was never asked who is calling may mark its answers as public; behind crossgate they no longer are. What
//! is stricter already stays as it is. Never touches answers of routes that do not ask for it.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName};
use pingora::Result;
use pingora::http::ResponseHeader;

/// `is_personal`: somebody's identity went upstream with the request.
pub(super) fn apply(answer: &mut ResponseHeader, is_personal: bool) -> Result<()> {
    if is_personal {
        let value = cache_control(&answer.headers);
        answer.insert_header(CACHE_CONTROL, value)?;
        for name in targeted(&answer.headers) {
            answer.remove_header(&name);
        }
    }
    // Also without an identity: a cache must not hand what strangers got to people who are known.
    if let Some(value) = vary(&answer.headers) {
        answer.insert_header(VARY, value)?;
    }
    Ok(())
}

/// The API's directives without those that open shared caches, and with one that closes them.
fn cache_control(headers: &HeaderMap) -> String {
    let mut kept: Vec<String> = Vec::new();
    for line in headers.get_all(CACHE_CONTROL) {
        // Bytes that are no text are no directive that a cache knows.
        for directive in directives(line.to_str().unwrap_or_default()) {
            let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
            // `private="field"` closes no more than that field.
            if !directive.is_empty() && !matches!(name.as_str(), "public" | "s-maxage" | "private" | "proxy-revalidate")
            {
                kept.push(directive.to_owned());
            }
        }
    }
    if !kept.iter().any(|directive| directive.eq_ignore_ascii_case("no-store")) {
        kept.insert(0, "private".to_owned());
    }
    kept.join(", ")
}

/// The headers that speak to some caches only, which heed them and not `Cache-Control` (RFC 9213 2.2).
fn targeted(headers: &HeaderMap) -> Vec<HeaderName> {
    // The names before the RFC: the Edge Architecture's, Akamai's, nginx's.
    let is_older = |name: &str| matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires");
    let is_targeted = |name: &&HeaderName| name.as_str().ends_with("-cache-control") || is_older(name.as_str());
    headers.keys().filter(is_targeted).cloned().collect()
}

/// Splits at commas outside of quotes.
fn directives(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(str::trim)
}

fn vary(headers: &HeaderMap) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for line in headers.get_all(VARY) {
        names.extend(line.to_str().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    if names.contains(&"*") {
        return None;
    }
    let before = names.len();
    for own in ["Authorization", "Cookie"] {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(own)) {
            names.push(own);
        }
    }
    (names.len() > before).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{CACHE_CONTROL, VARY};
    use pingora::http::ResponseHeader;

    use super::{apply, cache_control, vary};

    #[test]
    fn what_opens_shared_caches_goes_and_what_closes_them_stays() {
        let table: [(&[&str], &str); 9] = [
            (&[], "private"),
            (&["public, max-age=60"], "private, max-age=60"),
            (&["max-age=60, s-maxage=600"], "private, max-age=60"),
            (&["Public", "S-MaxAge=5"], "private"),
            (&["no-store"], "no-store"),
            (&["public, no-store"], "no-store"),
            (&["no-cache"], "private, no-cache"),
            (&["private, max-age=5"], "private, max-age=5"),
            (&["private=\"x, public\", no-cache=\"a, s-maxage\""], "private, no-cache=\"a, s-maxage\""),
        ];
        for (lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().unwrap());
            }
            assert_eq!(cache_control(&headers), expected, "{lines:?}");
        }
    }

    /// Found by attack: a CDN goes by these, whatever `Cache-Control` says.
    #[test]
    fn what_speaks_to_some_caches_only_goes_with_an_answer_to_somebody() {
        let names = [
            ("CDN-Cache-Control", false),
            ("Cloudflare-CDN-Cache-Control", false),
            ("vercel-cdn-cache-control", false),
            ("Surrogate-Control", false),
            ("Edge-Control", false),
            ("X-Accel-Expires", false),
            ("Surrogate-Key", true),
            ("x-cache-controls", true),
            ("expires", true),
        ];
        for is_personal in [true, false] {
            let mut answer = ResponseHeader::build(200, None).unwrap();
            for (name, _) in names {
                answer.append_header(name, "max-age=60").unwrap();
                answer.append_header(name, "max-age=61").unwrap();
            }
            apply(&mut answer, is_personal).unwrap();
            for (name, stays) in names {
                assert_eq!(answer.headers.contains_key(name), stays || !is_personal, "{name}");
            }
            assert_eq!(answer.headers.contains_key(CACHE_CONTROL), is_personal);
        }
    }

    #[test]
    fn vary_is_merged() {
        let table: [(&[&str], Option<&str>); 4] = [
            (&[], Some("Authorization, Cookie")),
            (&["Accept-Encoding", "cookie"], Some("Accept-Encoding, cookie, Authorization")),
            (&["Cookie, Authorization"], None),
            (&["*"], None),
        ];
        for (lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, line.parse().unwrap());
            }
            assert_eq!(vary(&headers).as_deref(), expected, "{lines:?}");
        }
    }
}
