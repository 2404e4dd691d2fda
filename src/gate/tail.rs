//! The end of an HTTP/2 body, held back until it is certain.
//!
//! `content-length` and DATA are two words for one thing, and Pingora sends the head on when it has the first. An API
//! over HTTP/1 executes a request when its body is complete; so the last byte that was announced goes up only with the
//! end of the stream, and a client that sends more than it said has nothing executed (H2.CL smuggling).

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// What is held back of one attempt's body.
#[derive(Debug, Default)]
pub struct Tail(Option<Bytes>);

impl Tail {
    /// Takes the last byte out of `body` when it completes what was announced and the stream goes on; gives it back
    /// with whatever follows. `seen` counts the bytes that have come, these included.
    pub(super) fn hold(&mut self, headers: &HeaderMap, body: &mut Option<Bytes>, seen: u64, end: bool) {
        if let Some(held) = self.0.take() {
            *body = Some(match body.take() {
                Some(more) if !more.is_empty() => [held, more].concat().into(),
                _ => held,
            });
        }
        if end {
            return;
        }
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let Some(chunk) = body.as_mut().filter(|chunk| !chunk.is_empty()) else { return };
        if announced.is_some_and(|announced| seen >= announced) {
            self.0 = Some(chunk.split_off(chunk.len() - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::Tail;

    #[test]
    fn the_last_byte_goes_up_with_the_end() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("6"));
        let mut tail = Tail::default();
        let mut pass = |piece: Option<&'static str>, seen: u64, end: bool| {
            let mut body = piece.map(|piece| Bytes::from_static(piece.as_bytes()));
            tail.hold(&headers, &mut body, seen, end);
            body.map(|body| String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(pass(Some("abc"), 3, false).as_deref(), Some("abc"));
        assert_eq!(pass(Some("def"), 6, false).as_deref(), Some("de"), "complete, and the stream goes on");
        assert_eq!(pass(Some(""), 6, false).as_deref(), Some(""), "still not ended");
        assert_eq!(pass(None, 6, true).as_deref(), Some("f"));
        assert_eq!(pass(Some("abcdef"), 6, true).as_deref(), Some("abcdef"), "ended at once");
    }

    #[test]
    fn without_a_length_nothing_is_held() {
        let mut tail = Tail::default();
        let mut body = Some(Bytes::from_static(b"abc"));
        tail.hold(&HeaderMap::new(), &mut body, 3, false);
        assert_eq!(body.as_deref(), Some(&b"abc"[..]));
    }
}
