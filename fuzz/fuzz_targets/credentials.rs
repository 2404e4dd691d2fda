//! The one reader of `Authorization` and `Cookie`: no panic, and what it hands on has the form that the next step rests on.
#![no_main]

use arbitrary::Arbitrary;
use crossgate::request::{Authorization, Credentials};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Lines<'a> {
    authorization: Option<&'a [u8]>,
    cookies: Vec<&'a [u8]>,
}

fuzz_target!(|lines: Lines<'_>| {
    let mut headers = HeaderMap::new();
    if let Some(Ok(value)) = lines.authorization.map(HeaderValue::from_bytes) {
        headers.append(AUTHORIZATION, value);
    }
    for line in lines.cookies {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let Ok(read) = Credentials::read(&headers) else { panic!("one line is not ambiguous") };
    if let Authorization::Bearer(token) = &read.authorization {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','), "{token}");
    }
    // Crumbs or one line: the same cookies.
    let joined: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let Ok(joined) = HeaderValue::from_bytes(&joined.join(&b"; "[..])) else { return };
    let mut one = HeaderMap::new();
    one.append(COOKIE, joined);
    let Ok(same) = Credentials::read(&one) else { return };
    for name in ["__session", "a", "", "__client_uat"] {
        assert!(read.cookies.all(name).eq(same.cookies.all(name)), "{name}");
    }
});
