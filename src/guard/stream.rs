//! A connection's stream with its deadlines.
//!
//! The stream itself sees the first byte of a head, and follows its form; that a request is being served, and that its
//! answer is complete, it is told by the gate ([`Guarded::enter`]), which knows for certain.

mod farewell;
mod http2;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::chunks::{self, Chunks};
use super::grammar::{Head, Progress};
use super::opening::{self, Opened};
use super::pace::{Pace, Slow};
use super::refusal;
use super::young::Mark;
use super::{Deadlines, Watch};
use http2::Start;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing has come at all.
    Fresh = 0,
    /// Nothing of the next request has come.
    Idle = 1,
    /// Its head is coming.
    Head = 2,
    /// Its head is complete; bodies have their own timeouts.
    Request = 3,
}

/// A stream whose reads end when a deadline passes.
#[derive(Debug)]
pub(super) struct Guarded {
    inner: Stream,
    /// Bytes that the opening has read and nobody above has seen.
    ahead: Bytes,
    http2: bool,
    /// Of HTTP/2.
    start: Start,
    deadlines: Deadlines,
    phase: AtomicU8,
    /// The phase that `due` was set for.
    timed: Option<Phase>,
    /// When the phase has to be over.
    due: Instant,
    /// Rings at `due` or before it.
    timer: Pin<Box<Sleep>>,
    /// Runs while the client leaves unread what is sent to it.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The head that is coming, until it has ended.
    head: Option<Head>,
    /// The chunked body that is coming, until it has ended.
    chunks: Option<Chunks>,
    /// The gate's word on whether a body is being waited for, how it goes, and why it was given up.
    awaits_body: AtomicBool,
    pace: Option<Pace>,
    slow: Option<Slow>,
    /// The body was none: nothing more of it is read.
    broken: bool,
    /// What is left of the answer to a head that cannot be read.
    refusal: Option<Bytes>,
    /// Nothing more is read: when the refusal is written, the stream has ended.
    closing: bool,
    watch: Arc<dyn Watch>,
    mark: Mark,
}

impl Guarded {
    pub(super) fn new(opened: Opened, deadlines: Deadlines, watch: Arc<dyn Watch>, mark: Mark) -> Self {
        let Opened { stream, read, http2 } = opened;
        let due = Instant::now() + deadlines.first_byte;
        Self {
            inner: stream,
            ahead: Bytes::from(read),
            http2,
            start: Start::default(),
            deadlines,
            phase: AtomicU8::new(Phase::Fresh as u8),
            timed: None,
            due,
            timer: Box::pin(sleep_until(due)),
            stalled: None,
            head: None,
            chunks: None,
            awaits_body: AtomicBool::new(false),
            pace: None,
            slow: None,
            broken: false,
            refusal: None,
            closing: false,
            watch,
            mark,
        }
    }

    /// The gate's word on where the request stands. `Relaxed` is enough: one task owns the connection.
    pub(super) fn enter(&self, phase: Phase) {
        // Over HTTP/2 a request may come at any time, until the client has been told to go and the connection ends.
        self.mark.set(phase == Phase::Head || self.http2);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Idle,
            2 => Phase::Head,
            _ => Phase::Request,
        }
    }

    /// Whether the deadline of the present phase has passed; arms the timer when the phase is new.
    fn expired(&mut self, context: &mut Context<'_>) -> bool {
        let phase = self.phase();
        let allowed: Duration = match phase {
            Phase::Fresh => self.deadlines.first_byte,
            Phase::Idle => self.deadlines.idle,
            Phase::Head => self.deadlines.head,
            Phase::Request => {
                self.timed = None;
                return false;
            }
        };
        if self.timed != Some(phase) {
            self.timed = Some(phase);
            self.due = Instant::now() + allowed;
        }
        // Set back only when it would ring too late; one that rings too early is set anew. On a busy connection that is
        // once in a while instead of twice a request.
        if self.due < self.timer.deadline() {
            self.timer.as_mut().reset(self.due);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if self.timer.deadline() >= self.due {
                return true;
            }
            self.timer.as_mut().reset(self.due);
        }
        false
    }

    /// Reads what the opening left, then the socket.
    fn poll_inner(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let before = buffer.filled().len();
            let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
            return self.paced(context, outcome, buffer.filled().len() - before);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }

    /// What a read came to, unless the client lets its body be waited for too long.
    fn paced(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<()>>, read: usize) -> Poll<io::Result<()>> {
        if !self.awaits_body.load(Ordering::Relaxed) || self.http2 {
            self.pace = None;
            return outcome;
        }
        let limits = || self.watch.pace_limits();
        let pace = self.pace.get_or_insert_with(|| Pace::new(limits()));
        if outcome.is_ready() {
            pace.took(read);
            return outcome;
        }
        self.slow = pace.waits(context);
        if self.slow.is_some() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    /// What a write or a flush came to, unless the client has read nothing for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let allowed = self.deadlines.write;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + allowed)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
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

    pub(super) fn awaits_body(&self, awaits: bool) {
        self.awaits_body.store(awaits, Ordering::Relaxed);
    }

    /// Why the body that was coming was given up.
    pub(super) fn slow(&self) -> Option<Slow> {
        self.slow
    }

    /// Whether the body that was coming is no chunked body.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.http2 {
            return self.poll_http2(context, buffer);
        }
        if self.closing {
            return self.poll_farewell(context);
        }
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        match self.poll_inner(context, buffer) {
            Poll::Ready(outcome) => {
                // A drip-fed head must not outrun its deadline by always having a byte ready.
                if self.phase() == Phase::Head && self.expired(context) {
                    buffer.set_filled(before);
                    return self.poll_too_late(context);
                }
                if matches!(self.phase(), Phase::Fresh | Phase::Idle) && buffer.filled().len() > before {
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
            Poll::Pending if !self.expired(context) => Poll::Pending,
            Poll::Pending if self.phase() == Phase::Head => self.poll_too_late(context),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_none()
            && self.phase() != Phase::Request
            && !self.http2
            && let Some(answer) = refusal::instead_of(bytes)
        {
            self.refuse(answer);
        }
        if self.refusal.is_some() {
            std::task::ready!(self.poll_refusal(context))?;
            // All of Pingora's own answer counts as written.
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bounded(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase() != Phase::Request && !self.http2 {
            let first = bytes.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
            return self.poll_write(context, first);
        }
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.bounded(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.bounded(context, outcome)
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

/// What a connection speaks is settled when it comes here.
impl Peek for Guarded {}

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
        Some(opening::alpn(self.http2))
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
