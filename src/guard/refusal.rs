//! The answer to a head that cannot be read as HTTP at all.
//!
//! Pingora gives it before any hook runs: an empty body under a header that says what crossgate is built on. No setting
//! changes that, so the guard, through whose hands the bytes go, sends the answer of the contract instead. It is told
//! by the phase that a head is still being read, hence that these bytes are no answer of the gate's.

const BAD_REQUEST: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 107\r\n",
    "cache-control: no-store\r\nconnection: close\r\n\r\n",
    r#"{"type":"about:blank","title":"the request is malformed","status":400,"code":"bad_request","request_id":""}"#,
);

const BAD_METHOD: &str = concat!(
    "HTTP/1.1 405 Method Not Allowed\r\ncontent-type: application/problem+json\r\ncontent-length: 107\r\n",
    "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
    r#"{"type":"about:blank","title":"the method is not allowed","status":405,"code":"bad_method","request_id":""}"#,
);

/// What to send instead of `written`, if that is Pingora's own refusal. (`CONNECT` is refused by itself.)
pub(super) fn instead_of(written: &[u8]) -> Option<&'static [u8]> {
    if written.starts_with(b"HTTP/1.1 405 ") {
        Some(BAD_METHOD.as_bytes())
    } else if written.starts_with(b"HTTP/1.1 4") {
        Some(BAD_REQUEST.as_bytes())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{BAD_METHOD, BAD_REQUEST};
    use crate::gate::reply::{Code, problem};

    #[test]
    fn they_say_what_the_gate_would_say() {
        for (sent, code) in [(BAD_REQUEST, Code::BadRequest), (BAD_METHOD, Code::BadMethod)] {
            let (head, body) = sent.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.as_bytes(), problem(code, "", None).body);
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", code.status())));
        }
    }
}
