//! The API's answer to a WebSocket handshake: a 101 that was asked for and that answers this very key, or no tunnel.
//!
//! Behind a 101 nobody looks at bytes any more, so an API (or a cache before it) that switches without being asked must
//! not get that far. What the tunnel may last is `watch`'s.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::request::Handshake;

/// RFC 6455 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether this 101 is the answer to this handshake.
pub(super) fn is_answer(answer: &ResponseHeader, handshake: Option<&Handshake>) -> bool {
    let Some(handshake) = handshake else { return false };
    let one = |name: &HeaderName| {
        let mut lines = answer.headers.get_all(name).iter();
        let value = lines.next()?;
        lines.next().is_none().then_some(value.as_bytes())
    };
    let nominates = answer.headers.get_all(CONNECTION).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    answer.version == http::Version::HTTP_11
        && nominates
        && one(&UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
        && one(&SEC_WEBSOCKET_ACCEPT) == Some(accept(&handshake.key).as_bytes())
}

/// What the client is told: the tunnel's own words and no length.
pub(super) fn prepare(answer: &mut ResponseHeader) -> Result<()> {
    answer.remove_header(&CONTENT_LENGTH);
    answer.remove_header(&TRANSFER_ENCODING);
    answer.insert_header(CONNECTION, "Upgrade")?;
    answer.insert_header(UPGRADE, "websocket")
}

fn accept(key: &str) -> String {
    let text = [key.as_bytes(), MAGIC.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

#[cfg(test)]
mod tests {
    use super::accept;

    #[test]
    fn the_sample_of_rfc_6455() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
