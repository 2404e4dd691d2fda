//! The guard's own answers: to heads that no parser should see, and in place of those that Pingora gives by itself.
//!
//! Pingora answers what it cannot read before any hook runs: an empty body under a header that says what crossgate is
//! built on. No setting changes that, so the guard, through whose hands the bytes go, sends the answer of the contract
//! instead. The bodies are those of `gate::reply`; a test keeps them equal.

use super::grammar::Malformed;

/// An answer of the guard's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    phrase: &'static str,
    pub(super) code: &'static str,
    title: &'static str,
    /// Further header lines.
    extra: &'static str,
}

impl Answer {
    /// Head and body, with the id under which the log knows it.
    pub(super) fn render(&self, id: &str) -> Vec<u8> {
        let Self { status, phrase, code, title, extra } = self;
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\"request_id\":\"{id}\"}}"
        );
        format!(
            "HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{extra}x-request-id: {id}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

const BAD_REQUEST: Answer =
    Answer { status: 400, phrase: "Bad Request", code: "bad_request", title: "the request is malformed", extra: "" };
const BAD_PATH: Answer = Answer { code: "bad_path", title: "the path can be read in more than one way", ..BAD_REQUEST };
const BAD_HEADER: Answer = Answer { code: "bad_header", title: "a header is malformed or ambiguous", ..BAD_REQUEST };
const BAD_METHOD: Answer = Answer {
    status: 405,
    phrase: "Method Not Allowed",
    code: "bad_method",
    title: "the method is not allowed",
    extra: "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
};
const TOO_LARGE: Answer = Answer {
    status: 431,
    phrase: "Request Header Fields Too Large",
    code: "headers_too_large",
    title: "the request headers are too large",
    extra: "",
};

/// The answer to a head that did not end in time.
pub(super) const REQUEST_TIMEOUT: Answer = Answer {
    status: 408,
    phrase: "Request Timeout",
    code: "request_timeout",
    title: "the request took too long to arrive",
    extra: "",
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
    use super::{BAD_HEADER, BAD_METHOD, BAD_PATH, BAD_REQUEST, REQUEST_TIMEOUT, TOO_LARGE};
    use crate::gate::reply::{Code, problem};

    #[test]
    fn they_say_what_the_gate_would_say() {
        let table = [
            (BAD_REQUEST, Code::BadRequest),
            (BAD_PATH, Code::BadPath),
            (BAD_HEADER, Code::BadHeader),
            (BAD_METHOD, Code::BadMethod),
            (TOO_LARGE, Code::HeadersTooLarge),
            (REQUEST_TIMEOUT, Code::RequestTimeout),
        ];
        for (answer, code) in table {
            let text = String::from_utf8(answer.render("id-1")).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(answer.code, code.as_str());
            assert_eq!(body.as_bytes(), problem(code, "id-1", None).body);
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", code.status())));
        }
    }
}
