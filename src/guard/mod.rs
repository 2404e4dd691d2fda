//! The bytes before Pingora's HTTP: deadlines that do not restart with each byte, one grammar, and a cap.
//!
//! Pingora keeps an idle keep-alive connection for ever and restarts its header timer on every read, so that one
//! byte a minute holds a connection open (measured; see docs/threat-model.md). [`Guard`] wraps each connection's
//! stream: first byte by `limits.first_byte`, keep-alive idle by `limits.keepalive`, the whole head by
//! `limits.header_read`; TLS handshakes happen in here, under the same deadlines (`opening`). A head that two parsers
//! could read in two ways ([`grammar`]) is answered here and reaches no parser, nor does a chunked body with such lines
//! ([`chunks`]). Of HTTP/2 it watches only that the client keeps reading and writing. Connections beyond
//! `limits.connections` are closed at their start. Never looks at what a client's bytes mean.

mod cap;
pub mod chunks;
pub mod grammar;
mod opening;
mod pace;
mod refusal;
mod stream;
mod transport;
mod young;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use cap::Cap;
use stream::Guarded;

pub use cap::{CapLimits, subscriber};
pub use opening::{Speaks, Unopened};
pub use pace::{GRACE, PaceLimits, Slow};
pub use stream::Phase;
pub use young::{Mark, Young};

/// Deadlines of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the connection's start to the first byte.
    pub first_byte: Duration,
    /// From the end of an answer to the next request's first byte.
    pub idle: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// How long the client may leave what is sent to it unread.
    pub write: Duration,
}

/// What the guard asks of the process, and tells it.
pub trait Watch: Send + Sync + std::fmt::Debug {
    /// Bytes that a head may have, as the config that serves now says.
    fn head_limit(&self) -> usize;

    /// How many connections there may be, as the config that serves now says.
    fn cap_limits(&self) -> CapLimits;

    /// How quickly a body has to come, as the config that serves now says.
    fn pace_limits(&self) -> PaceLimits;

    /// What the listener of this index speaks, as the config that serves now says; `None` closes the connection.
    fn speaks(&self, listener: usize) -> Option<Speaks>;

    /// A connection was closed at its start: a limit was reached.
    fn turned_away(&self);

    /// A connection ended before it came to HTTP.
    fn unopened(&self, why: Unopened);

    /// The guard answers by itself, with this code: no hook sees that request. Gives the id that the answer carries.
    fn refused(&self, code: &'static str) -> String;
}

/// An application behind the guard, as one listener serves it.
#[derive(Debug)]
pub struct Guard<A> {
    inner: Arc<A>,
    listener: usize,
    shared: Shared,
}

/// What all listeners have in common.
#[derive(Debug, Clone)]
pub struct Shared {
    deadlines: Deadlines,
    watch: Arc<dyn Watch>,
    cap: Arc<Cap>,
    young: Arc<Young>,
    /// Becomes true when a drain begins: HTTP/2 clients are told to go elsewhere.
    draining: ShutdownWatch,
}

impl Shared {
    pub fn new(deadlines: Deadlines, watch: Arc<dyn Watch>, young: Arc<Young>, draining: ShutdownWatch) -> Self {
        Self { deadlines, watch, cap: Arc::default(), young, draining }
    }
}

impl<A> Guard<A> {
    /// `listener` is the index of the listener in the config.
    pub fn new(inner: Arc<A>, listener: usize, shared: Shared) -> Self {
        Self { inner, listener, shared }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Shared { deadlines, watch, cap, young, draining } = &self.shared;
        let peer =
            stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().map(|address| address.ip()));
        // Held to the end of the connection, keep-alive requests included.
        let Some(_slot) = cap.admit(peer, watch.cap_limits()) else {
            watch.turned_away();
            return None;
        };
        let mark = Mark::new(Arc::clone(young));
        let opened = match opening::open(stream, watch.speaks(self.listener)?, *deadlines).await {
            Ok(opened) => opened,
            Err(why) => {
                watch.unopened(why);
                return None;
            }
        };
        // An HTTP/1 connection that is idle when a drain begins may be about to send: it is left alone.
        let shutdown = if opened.http2 { draining } else { shutdown };
        let guarded = Guarded::new(opened, *deadlines, Arc::clone(watch), mark);
        self.inner.process_new(Box::new(guarded), shutdown).await
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}

/// Whether the body that was coming is no chunked body; what had come of it reached no parser.
pub fn is_broken(stream: Option<&Stream>) -> bool {
    stream.and_then(|stream| (**stream).as_any().downcast_ref::<Guarded>()).is_some_and(Guarded::is_broken)
}

/// Whether the body that was coming came too slowly.
pub fn slow(stream: Option<&Stream>) -> Option<Slow> {
    stream.and_then(|stream| (**stream).as_any().downcast_ref::<Guarded>()).and_then(Guarded::slow)
}

/// Tells the connection below a request whether its body is being waited for.
pub fn awaits_body(stream: Option<&Stream>, awaits: bool) {
    if let Some(guarded) = stream.and_then(|stream| (**stream).as_any().downcast_ref::<Guarded>()) {
        guarded.awaits_body(awaits);
    }
}

/// Tells the connection below a request where it stands, if there is a guard below.
pub fn enter(stream: Option<&Stream>, phase: Phase) {
    if let Some(guarded) = stream.and_then(|stream| (**stream).as_any().downcast_ref::<Guarded>()) {
        guarded.enter(phase);
    }
}
