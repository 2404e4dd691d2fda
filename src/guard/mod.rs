//! The bytes before Pingora's HTTP: deadlines that do not restart with each byte, one grammar, and a cap.
//!
//! Pingora keeps an idle keep-alive connection for ever and restarts its header timer on every read, so that one
//! byte a minute holds a connection open (measured; see docs/threat-model.md). [`Guard`] wraps each connection's
//! stream: first byte and keep-alive idle by `limits.keepalive`, the whole head by `limits.header_read`. An expired
//! deadline reads as end of stream, and Pingora drops the connection. A head that two parsers could read in two ways
//! ([`grammar`]) is answered here and reaches no parser, nor does a chunked body with such lines ([`chunks`]).
//! Connections beyond `limits.connections` are closed at their start. Never looks at what a client's bytes mean.

mod cap;
pub mod chunks;
pub mod grammar;
mod refusal;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use cap::Cap;

pub use cap::CapLimits;
pub use stream::{Guarded, Phase};

/// Deadlines of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the connection's start, or the end of an answer, to the next request's first byte.
    pub idle: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
}

/// What the guard asks of the process, and tells it.
pub trait Watch: Send + Sync + std::fmt::Debug {
    /// Bytes that a head may have, as the config that serves now says.
    fn head_limit(&self) -> usize;

    /// How many connections there may be, as the config that serves now says.
    fn cap_limits(&self) -> CapLimits;

    /// A connection was closed at its start: a limit was reached.
    fn turned_away(&self);

    /// The guard answers by itself, with this code: no hook sees that request. Gives the id that the answer carries.
    fn refused(&self, code: &'static str) -> String;
}

/// An application behind the guard.
#[derive(Debug)]
pub struct Guard<A> {
    inner: Arc<A>,
    deadlines: Deadlines,
    watch: Arc<dyn Watch>,
    cap: Arc<Cap>,
}

impl<A> Guard<A> {
    pub fn new(inner: A, deadlines: Deadlines, watch: Arc<dyn Watch>) -> Self {
        Self { inner: Arc::new(inner), deadlines, watch, cap: Arc::default() }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let peer =
            stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().map(|address| address.ip()));
        // Held to the end of the connection, keep-alive requests included.
        let Some(_slot) = self.cap.admit(peer, self.watch.cap_limits()) else {
            self.watch.turned_away();
            return None;
        };
        let guarded = Guarded::new(stream, self.deadlines, Arc::clone(&self.watch));
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

/// Tells the connection below a request where it stands, if there is a guard below.
pub fn enter(stream: Option<&Stream>, phase: Phase) {
    if let Some(guarded) = stream.and_then(|stream| (**stream).as_any().downcast_ref::<Guarded>()) {
        guarded.enter(phase);
    }
}
