//! Where a request's body ends: one length, or exactly `chunked`, or none.
//!
//! What two servers could read in two ways is refused; Pingora alone forwards two equal lengths and bodies of GET.
//! Called by `sanitize`; never reads a body.

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{Method, Version};

use super::sanitize::{Head, Limits, Refusal};
use super::tolerance::{Oddities, Oddity};

/// Request framing that every server reads in the same way, and no body where half of them ignore it: an API that
/// skips the body of a GET runs it as the next request, with whatever identity headers the client wrote into it.
pub(super) fn check_framing(head: &Head<'_>, limits: &Limits, tolerated: Oddities) -> Result<Oddities, Refusal> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = match lengths.next() {
        None => None,
        Some(_) if lengths.next().is_some() => return Err(Refusal::Malformed("two Content-Length lines")),
        Some(value) => Some(content_length(value.as_bytes())?),
    };
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match codings.next() {
        None => false,
        Some(_) if codings.next().is_some() => return Err(Refusal::Malformed("two Transfer-Encoding lines")),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        Some(_) => return Err(Refusal::Malformed("Transfer-Encoding is not exactly chunked")),
    };
    if chunked && length.is_some() {
        return Err(Refusal::Malformed("Content-Length and Transfer-Encoding together"));
    }
    if chunked && head.version == Version::HTTP_10 {
        return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0"));
    }
    let has_body = chunked || length.is_some_and(|length| length > 0);
    let bodiless = matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let mut odd = Oddities::NONE;
    if has_body && bodiless {
        if *head.method != Method::GET || !tolerated.has(Oddity::GetBody) {
            return Err(Oddity::GetBody.refusal());
        }
        odd = odd.with(Oddity::GetBody);
    }
    if let (Some(length), Some(limit)) = (length, limits.body)
        && length > limit
    {
        return Err(Refusal::BodyTooLarge);
    }
    let mut expectations = head.headers.get_all(EXPECT).iter();
    match expectations.next() {
        None => Ok(odd),
        Some(value)
            if expectations.next().is_none() && has_body && value.as_bytes().eq_ignore_ascii_case(b"100-continue") =>
        {
            Ok(odd)
        }
        Some(_) => Err(Refusal::Expect),
    }
}

/// Digits only (RFC 9112 6.3). What no body can reach is too large, not malformed.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed("Content-Length is not a number"));
    }
    let digits = std::str::from_utf8(value).map_err(|_| Refusal::Malformed("Content-Length is not a number"))?;
    match digits.parse::<u64>() {
        Ok(length) if length < 1 << 62 => Ok(length),
        _ => Err(Refusal::BodyTooLarge),
    }
}
