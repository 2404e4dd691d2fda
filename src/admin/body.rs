//! The body of a request to the admin listener: bounded in size and in time. Knows no endpoint.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use pingora::protocols::http::ServerSession;

/// Largest body.
const MAX_BODY: usize = 64 << 10;
/// Longest wait for a body to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// What came.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) bytes: Vec<u8>,
    /// What Content-Type says, if it says anything.
    pub(super) is_json: Option<bool>,
}

/// Reads all of it.
///
/// # Errors
/// The status and a sentence about it.
pub(super) async fn read(session: &mut ServerSession) -> Result<Posted, (StatusCode, String)> {
    let is_json = session.req_header().headers.get(CONTENT_TYPE).map(|value| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    });
    let read = async {
        let mut body = Vec::new();
        while let Some(piece) = session.read_request_body().await.map_err(|_| StatusCode::BAD_REQUEST)? {
            if body.len() + piece.len() > MAX_BODY {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    };
    match tokio::time::timeout(BODY_WAIT, read).await {
        Ok(Ok(bytes)) => Ok(Posted { bytes, is_json }),
        Ok(Err(status @ StatusCode::PAYLOAD_TOO_LARGE)) => Err((status, "a body has at most 64 KiB".to_owned())),
        Ok(Err(status)) => Err((status, "the body cannot be read".to_owned())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive".to_owned())),
    }
}
