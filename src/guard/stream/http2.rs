//! How HTTP/2 begins: until the client has said its preface and begun a frame, it has the time of a head; then its frames
//! are the business of the layer above, which closes idle connections.

use std::io;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::{Guarded, Phase};

/// What is still to come of it, in bytes: the client's preface and the head of its first frame.
#[derive(Debug)]
pub(super) struct Start(usize);

impl Default for Start {
    fn default() -> Self {
        Self(24 + 9)
    }
}

impl Guarded {
    pub(super) fn poll_http2(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = self.poll_inner(context, buffer);
        let Start(left) = &mut self.start;
        if *left == 0 {
            return outcome;
        }
        *left = left.saturating_sub(buffer.filled().len() - before);
        if *left == 0 {
            self.enter(Phase::Request);
            return outcome;
        }
        if self.phase() == Phase::Fresh && buffer.filled().len() > before {
            self.enter(Phase::Head);
        }
        match outcome {
            Poll::Ready(_) if !self.expired(context) => outcome,
            Poll::Pending if !self.expired(context) => Poll::Pending,
            _ => {
                buffer.set_filled(before);
                Poll::Ready(Ok(()))
            }
        }
    }
}
