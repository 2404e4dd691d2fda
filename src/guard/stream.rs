//! A connection's stream with its deadlines.
//!
//! The stream itself sees the first byte of a head, and follows its form; that a request is being served, and that its
//! answer is complete, it is told by the gate ([`Guarded::enter`]), which knows for certain.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::ALPN;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::chunks::{self, Chunks};
use super::grammar::{Head, Progress};
use super::refusal::{self, Answer};
use super::{Deadlines, Watch};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing of the next request has come.
    Idle = 0,
    /// Its head is coming.
    Head = 1,
    /// Its head is complete; bodies have their own timeouts.
    Request = 2,
}

/// A stream whose reads end when a deadline passes.
#[derive(Debug)]
pub struct Guarded {
    inner: Stream,
    deadlines: Deadlines,
    phase: AtomicU8,
    /// The phase that `timer` was set for.
    timed: Option<Phase>,
    timer: Pin<Box<Sleep>>,
    /// The head that is coming, until it has ended.
    head: Option<Head>,
    /// The chunked body that is coming, until it has ended.
    chunks: Option<Chunks>,
    /// The body was none: nothing more of it is read.
    broken: bool,
    /// What is left of the answer to a head that cannot be read.
    refusal: Option<Bytes>,
    /// Nothing more is read: when the refusal is written, the stream has ended.
    closing: bool,
    watch: Arc<dyn Watch>,
}

impl Guarded {
    pub fn new(inner: Stream, deadlines: Deadlines, watch: Arc<dyn Watch>) -> Self {
        Self {
            inner,
            deadlines,
            phase: AtomicU8::new(Phase::Idle as u8),
            timed: None,
            timer: Box::pin(sleep_until(Instant::now() + deadlines.idle)),
            head: None,
            chunks: None,
            broken: false,
            refusal: None,
            closing: false,
            watch,
        }
    }

    /// The gate's word on where the request stands. `Relaxed` is enough: one task owns the connection.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Request,
        }
    }

    /// Whether the deadline of the present phase has passed; arms the timer when the phase is new.
    fn expired(&mut self, context: &mut Context<'_>) -> bool {
        let phase = self.phase();
        let allowed: Duration = match phase {
            Phase::Idle => self.deadlines.idle,
            Phase::Head => self.deadlines.head,
            Phase::Request => {
                self.timed = None;
                return false;
            }
        };
        if self.timed != Some(phase) {
            self.timed = Some(phase);
            self.timer.as_mut().reset(Instant::now() + allowed);
        }
        self.timer.as_mut().poll(context).is_ready()
    }
}

impl Guarded {
    /// Follows the chunks from `from` on; of a body that is none, nothing from there on is handed on.
    fn follow_chunks(&mut self, buffer: &mut ReadBuf<'_>, from: usize) {
        let Some(chunks) = &mut self.chunks else { return };
        match chunks.feed(buffer.filled().get(from..).unwrap_or_default()) {
            chunks::Progress::More => {}
            chunks::Progress::Ended(_) => self.chunks = None,
            chunks::Progress::Refused => {
                self.chunks = None;
                self.broken = true;
                buffer.set_filled(from);
            }
        }
    }

    /// Whether the body that was coming is no chunked body.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    fn refuse(&mut self, answer: Answer) {
        let id = self.watch.refused(answer.code);
        self.refusal = Some(Bytes::from(answer.render(&id)));
    }

    /// Writes what is left of the refusal.
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::task::ready!(self.poll_refusal(context)).is_ok() {
            let _ = std::task::ready!(Pin::new(&mut self.inner).poll_flush(context));
        }
        self.refusal = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closing {
            return self.poll_farewell(context);
        }
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                // A drip-fed head must not outrun its deadline by always having a byte ready.
                if self.phase() == Phase::Head && self.expired(context) {
                    buffer.set_filled(before);
                    return Poll::Ready(Ok(()));
                }
                if self.phase() == Phase::Idle && buffer.filled().len() > before {
                    self.enter(Phase::Head);
                    self.timed = None;
                    // Arms the head's deadline now, at the first byte, not at the next wait.
                    let _ = self.expired(context);
                    self.head = Some(Head::new(self.watch.head_limit()));
                }
                let Some(head) = &mut self.head else {
                    self.follow_chunks(buffer, before);
                    return if self.broken {
                        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
                    } else {
                        Poll::Ready(outcome)
                    };
                };
                let is_coded = |head: &Head| head.is_transfer_coded();
                let progress = head.feed(buffer.filled().get(before..).unwrap_or_default());
                match progress {
                    Progress::More => Poll::Ready(outcome),
                    Progress::Ended(length) => {
                        if self.head.take().as_ref().is_some_and(is_coded) {
                            self.chunks = Some(Chunks::default());
                            self.follow_chunks(buffer, before + length);
                        }
                        Poll::Ready(outcome)
                    }
                    Progress::Refused(malformed) => {
                        // The parser never sees a byte of it.
                        buffer.set_filled(before);
                        self.refuse(refusal::to(malformed));
                        self.closing = true;
                        self.poll_farewell(context)
                    }
                }
            }
            Poll::Pending if self.expired(context) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_none()
            && self.phase() != Phase::Request
            && let Some(answer) = refusal::instead_of(bytes)
        {
            self.refuse(answer);
        }
        if self.refusal.is_some() {
            std::task::ready!(self.poll_refusal(context))?;
            // All of Pingora's own answer counts as written.
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase() != Phase::Request {
            let first = bytes.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
            return self.poll_write(context, first);
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl Peek for Guarded {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buffer).await
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}
