//! One attempt to get an answer from an endpoint, and what it says about the API.
//!
//! Only failures of the API count against it: no connection, silence, an answer that breaks off or is garbage. What a
//! client can bring about by itself never does, or a stranger could take the API away from everybody: a client that
//! leaves, a body that it did not send to its end (the API may well reset that, or wait for the rest), a single HTTP/2
//! stream that the API resets, and any status that the API itself answers. An attempt that is dropped says nothing.

use std::sync::Arc;
use std::time::Instant;

use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType};

use super::breaker::Pass;
use super::vitals::Vitals;
use super::{Upstream, stamp};

/// Largest head of an answer, in bytes of names and values. Pingora's own limit is four times that, and most clients
/// take much less.
const MOST_HEAD: usize = 256 * 1024;
/// Most informational answers before the final one. A minute of `102` once a second passes; an endless row does not.
const MOST_INFORMATIONAL: usize = 256;

#[derive(Debug)]
pub struct Attempt {
    pub(super) upstream: Arc<Upstream>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) pass: Pass,
    pub(super) answered: bool,
    pub(super) settled: bool,
    pub(super) informational: usize,
}

/// A failure of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, no time, no TLS.
    Connect,
    /// Silent for longer than a timeout.
    Timeout,
    /// Closed, reset or garbage.
    Broken,
}

impl Failure {
    pub(super) const ALL: [Self; 3] = [Self::Connect, Self::Timeout, Self::Broken];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

/// How far an exchange had come when it broke.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The client's request had arrived whole.
    pub request_done: bool,
    /// The connection came out of the pool: the API may have closed it before it saw the request.
    pub reused: bool,
}

impl Attempt {
    /// A head of the API arrived, informational or final.
    ///
    /// # Errors
    /// When it, or the row of heads before the final one, is beyond all bounds: nobody must have to take that.
    pub fn heard(&mut self, head: &ResponseHeader) -> Result<(), Box<Error>> {
        let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        // A 101 is the last head: behind it is a tunnel.
        let is_last = !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS;
        self.informational += usize::from(!is_last);
        if size > MOST_HEAD || self.informational > MOST_INFORMATIONAL {
            // `broke_off` is told, and counts it.
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an answer beyond all bounds").into_up());
        }
        if is_last {
            self.answered();
        }
        Ok(())
    }

    pub(super) fn answered(&mut self) {
        let now = stamp(Instant::now());
        if !self.answered {
            self.vitals.answered(now);
            self.upstream.breaker.answered(self.pass, now);
        }
        self.answered = true;
        self.settled = true;
    }

    /// No connection came about; nothing was sent.
    pub fn not_connected(&mut self, error: &Error) {
        // Out of sockets or of descriptors: our own trouble.
        if !matches!(error.etype(), ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError) {
            self.failed(Failure::Connect);
        }
    }

    /// The exchange broke off.
    pub fn broke_off(&mut self, error: &Error, progress: Progress) {
        if let Some(failure) = judge(error, progress, self.answered) {
            self.failed(failure);
        }
    }

    fn failed(&mut self, failure: Failure) {
        let now = stamp(Instant::now());
        self.upstream.note_failure(failure, &self.vitals, now);
        // An answer that broke off has closed the breaker already: from there on it counts like any other.
        let pass = if self.answered { Pass::Ordinary } else { self.pass };
        self.upstream.breaker.failed(pass, self.answered, now);
        self.settled = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.settled {
            self.upstream.breaker.release(self.pass);
        }
    }
}

fn judge(error: &Error, progress: Progress, answered: bool) -> Option<Failure> {
    if *error.esource() != ErrorSource::Upstream || !progress.request_done {
        return None;
    }
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Some(Failure::Timeout),
        ErrorType::HTTPStatus(_) | ErrorType::InternalError | ErrorType::H2Error | ErrorType::H2Downgrade => None,
        _ if progress.reused && !answered => None,
        _ => Some(Failure::Broken),
    }
}

#[cfg(test)]
mod tests {
    use pingora::{Error, ErrorType};

    use super::{Failure, Progress, judge};

    #[test]
    fn only_failures_of_the_api_count() {
        let done = Progress { request_done: true, reused: false };
        let half = Progress { request_done: false, reused: false };
        let reused = Progress { request_done: true, reused: true };
        let up = |kind: ErrorType| Error::explain(kind, "").into_up();
        let down = |kind: ErrorType| Error::explain(kind, "").into_down();
        let cases = [
            ("silent", up(ErrorType::ReadTimedout), done, false, Some(Failure::Timeout)),
            ("closed", up(ErrorType::ConnectionClosed), done, false, Some(Failure::Broken)),
            ("garbage", up(ErrorType::InvalidHTTPHeader), done, false, Some(Failure::Broken)),
            ("breaks off", up(ErrorType::ConnectionClosed), reused, true, Some(Failure::Broken)),
            ("stale", up(ErrorType::ConnectionClosed), reused, false, None),
            ("silent on a pooled one", up(ErrorType::ReadTimedout), reused, false, Some(Failure::Timeout)),
            ("the client is slow", up(ErrorType::ReadTimedout), half, false, None),
            ("an upload is cut off", up(ErrorType::WriteError), half, false, None),
            ("a stream is reset", up(ErrorType::H2Error), done, false, None),
            ("the client left", down(ErrorType::ConnectionClosed), done, false, None),
            ("the client is silent", down(ErrorType::ReadTimedout), half, false, None),
        ];
        for (name, error, progress, answered, expected) in cases {
            assert_eq!(judge(&error, progress, answered), expected, "{name}");
        }
    }
}
