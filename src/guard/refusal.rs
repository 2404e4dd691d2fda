//! The guard's own answers: to heads that no parser should see, and in place of those that Pingora gives by itself.
//!
//! Pingora answers what it cannot read before any hook runs: an empty body under a header that says what crossgate is
//! built on. No setting changes that, so the guard, through whose hands the bytes go, sends the answer of the contract
//! instead. The bodies are those of `gate::reply`; a test keeps them equal.

use super::grammar::Malformed;

/// An answer, ready to be written, and its code for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: &'static str,
    pub(super) bytes: &'static str,
}

const BAD_REQUEST: Answer = Answer {
    code: "bad_request",
    bytes: concat!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 107\r\n",
        "cache-control: no-store\r\nconnection: close\r\n\r\n",
        r#"{"type":"about:blank","title":"the request is malformed","status":400,"code":"bad_request","request_id":""}"#,
    ),
};

const BAD_PATH: Answer = Answer {
    code: "bad_path",
    bytes: concat!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 121\r\n",
        "cache-control: no-store\r\nconnection: close\r\n\r\n",
        r#"{"type":"about:blank","title":"the path can be read in more than one way","status":400,"code":"bad_path","request_id":""}"#,
    ),
};

const BAD_HEADER: Answer = Answer {
    code: "bad_header",
    bytes: concat!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 116\r\n",
        "cache-control: no-store\r\nconnection: close\r\n\r\n",
        r#"{"type":"about:blank","title":"a header is malformed or ambiguous","status":400,"code":"bad_header","request_id":""}"#,
    ),
};

const BAD_METHOD: Answer = Answer {
    code: "bad_method",
    bytes: concat!(
        "HTTP/1.1 405 Method Not Allowed\r\ncontent-type: application/problem+json\r\ncontent-length: 107\r\n",
        "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
        r#"{"type":"about:blank","title":"the method is not allowed","status":405,"code":"bad_method","request_id":""}"#,
    ),
};

const TOO_LARGE: Answer = Answer {
    code: "headers_too_large",
    bytes: concat!(
        "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\ncontent-length: 122\r\n",
        "cache-control: no-store\r\nconnection: close\r\n\r\n",
        r#"{"type":"about:blank","title":"the request headers are too large","status":431,"code":"headers_too_large","request_id":""}"#,
    ),
};

/// The answer to a head that is not well formed.
pub(super) const fn to(malformed: Malformed) -> Answer {
    match malformed {
        Malformed::RequestLine | Malformed::Version | Malformed::LineEnd => BAD_REQUEST,
        Malformed::Target => BAD_PATH,
        Malformed::Folded | Malformed::Name | Malformed::Value => BAD_HEADER,
        Malformed::TooLarge => TOO_LARGE,
    }
}

/// What to send instead of `written`, if that is Pingora's own refusal. (`CONNECT` is refused by itself.)
pub(super) fn instead_of(written: &[u8]) -> Option<Answer> {
    if written.starts_with(b"HTTP/1.1 405 ") {
        Some(BAD_METHOD)
    } else if written.starts_with(b"HTTP/1.1 4") {
        Some(BAD_REQUEST)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{BAD_HEADER, BAD_METHOD, BAD_PATH, BAD_REQUEST, TOO_LARGE};
    use crate::gate::reply::{Code, problem};

    #[test]
    fn they_say_what_the_gate_would_say() {
        let table = [
            (BAD_REQUEST, Code::BadRequest),
            (BAD_PATH, Code::BadPath),
            (BAD_HEADER, Code::BadHeader),
            (BAD_METHOD, Code::BadMethod),
            (TOO_LARGE, Code::HeadersTooLarge),
        ];
        for (answer, code) in table {
            let (head, body) = answer.bytes.split_once("\r\n\r\n").unwrap();
            assert_eq!(answer.code, code.as_str());
            assert_eq!(body.as_bytes(), problem(code, "", None).body, "{}", answer.code);
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", code.status())));
        }
    }
}
