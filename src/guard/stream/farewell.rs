//! The guard's own answer to a head that is none or too late, and the end of the stream behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::Guarded;
use crate::guard::refusal::{self, Answer};

impl Guarded {
    /// A head that did not end in time.
    pub(super) fn poll_too_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refuse(refusal::REQUEST_TIMEOUT);
        self.closing = true;
        self.poll_farewell(context)
    }

    pub(super) fn refuse(&mut self, answer: Answer) {
        let id = self.watch.refused(answer.code);
        self.refusal = Some(Bytes::from(answer.render(&id)));
    }

    /// Writes what is left of the refusal.
    pub(super) fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(mut left) = self.refusal.take() {
            let sent = match Pin::new(&mut self.inner).poll_write(context, &left) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => {
                    self.refusal = Some(left);
                    return Poll::Pending;
                }
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.advance(sent.min(left.len()));
            self.refusal = Some(left).filter(|left| !left.is_empty());
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the refusal and ends the stream. A client that is gone needs no answer.
    pub(super) fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::task::ready!(self.poll_refusal(context)).is_ok() {
            let _ = std::task::ready!(Pin::new(&mut self.inner).poll_flush(context));
        }
        self.refusal = None;
        Poll::Ready(Ok(()))
    }
}
