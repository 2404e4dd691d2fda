//! Connections to HTTP/1 upstreams that can be ended from outside.
//!
//! Pingora gives a response one read timeout, fixed before the request is sent: it cannot tell a silent API from an
//! event stream that rests, nor end a tunnel at a time. So connections are made here, and each keeps a second handle on
//! its socket, with a deadline that the request which has the connection sets and moves. When it passes, the socket is
//! shut, and Pingora ends the request as it would after a reset. The handle travels in the connection's digest: it
//! lives as long as the connection, in use or pooled, and no longer, so that its FIN is sent.
//!
//! Owns no policy: which deadline a request has is `gate::watch`'s to say. Connections that requests share (HTTP/2)
//! have no such handle.

use std::io::ErrorKind;
use std::net::TcpStream as StdTcp;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, Digest, GetProxyDigest};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::net::{TcpStream, UnixStream};

use super::patient::{Either, Patient};

/// How often deadlines are looked at: what they are late by at most.
const TICK: Duration = Duration::from_millis(100);
/// A handshake's connection that became no tunnel is not kept.
const UNPOOLED: Duration = Duration::from_millis(1);
/// Sets connections of handshakes apart in the pool.
const HANDSHAKES: u64 = 1 << 63;

/// All connections that can be ended. Process-wide as Pingora's pool is: both outlive the snapshot that dialled.
static OPEN: Mutex<Vec<Weak<Socket>>> = Mutex::new(Vec::new());

/// Why a request was ended at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The API was silent for `timeouts.read` or the route's `timeout`.
    Silent,
    /// Nothing passed a stream or tunnel for `timeouts.stream_idle`.
    StreamIdle,
    /// A tunnel reached `limits.websocket_lifetime`.
    Lifetime,
    /// A tunnel outlived the token that opened it (`websocket.until: token_exp`).
    TokenExpired,
    /// The client sent nothing of its body for `limits.body_read`.
    BodyStalled,
}

impl Ended {
    /// As access lines say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "read",
            Self::StreamIdle => "stream_idle",
            Self::Lifetime => "websocket_lifetime",
            Self::TokenExpired => "token_exp",
            Self::BodyStalled => "body_read",
        }
    }
}

/// The second handle on a connection's socket.
#[derive(Debug)]
pub(super) struct Socket {
    handle: Handle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Which request has the connection: the first, the second …
    turn: u64,
    silence: Option<Silence>,
    end: Option<(Instant, Ended)>,
    ended: Option<Ended>,
    /// Nothing is read before so many flushes, and who waits for that.
    flushes: u8,
    waiting: Option<Waker>,
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    limit: Duration,
    reason: Ended,
}

#[derive(Debug)]
enum Handle {
    Tcp(StdTcp),
    Unix(StdUnix),
}

impl Handle {
    fn shut(&self) {
        let both = std::net::Shutdown::Both;
        // Fails when the other end has already gone, which is as good.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(both),
            Self::Unix(socket) => socket.shutdown(both),
        };
    }

    /// Whether the API has said something that nobody has taken yet: then it is the client who is slow.
    fn has_more(&self) -> bool {
        match self {
            // The socket does not block, so this only looks.
            Self::Tcp(socket) => !matches!(socket.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock),
            // Cannot be looked at; what is buffered in it is read all the same after it is shut.
            Self::Unix(_) => false,
        }
    }
}

impl Socket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, now: Instant) {
        let mut state = self.state();
        if state.ended.is_some() {
            return;
        }
        let over = state.end.filter(|(at, _)| *at <= now).map(|(_, reason)| reason);
        let silent = state.silence.filter(|silence| now.duration_since(silence.since) >= silence.limit);
        let Some(reason) = over.or(silent.map(|silence| silence.reason)) else { return };
        if over.is_none() && reason != Ended::BodyStalled && self.handle.has_more() {
            if let Some(silence) = &mut state.silence {
                silence.since = now;
            }
            return;
        }
        state.ended = Some(reason);
        self.handle.shut();
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    /// Whether a read has to wait; it is woken when it no longer has to.
    pub(super) fn must_wait(&self, reader: &Waker) -> bool {
        let mut state = self.state();
        let waits = state.flushes > 0 && state.ended.is_none();
        state.waiting = waits.then(|| reader.clone());
        waits
    }

    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.flushes = state.flushes.saturating_sub(1);
        if state.flushes == 0
            && let Some(waiting) = state.waiting.take()
        {
            waiting.wake();
        }
    }
}

/// One request's hold on its connection. Dropped, it leaves the connection to the next.
#[derive(Debug)]
pub struct Hold {
    socket: Arc<Socket>,
    turn: u64,
}

impl Hold {
    /// Takes the connection that `digest` describes. `None` for one that cannot be ended from outside.
    ///
    /// # Errors
    /// The connection was ended in the moment in which it left the pool: nothing was sent, another may be tried.
    pub fn take(digest: &Digest) -> Result<Option<Self>> {
        let data = digest.proxy_digest.as_ref().and_then(|digest| digest.user_data.as_ref());
        let Some(socket) = data.and_then(|data| data.downcast_ref::<Arc<Socket>>()) else { return Ok(None) };
        let mut state = socket.state();
        if state.ended.is_some() {
            return Error::e_explain(ErrorType::ConnectionClosed, "the pooled connection has just been ended");
        }
        *state = State { turn: state.turn + 1, ..State::default() };
        Ok(Some(Self { socket: Arc::clone(socket), turn: state.turn }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.socket.state();
        (state.turn == self.turn).then(|| act(&mut state))
    }

    /// The request is a WebSocket handshake: its answer is read when all of it was sent, head and end.
    pub fn is_handshake(&self) {
        self.with(|state| state.flushes = 2);
    }

    /// From now on, silence of this length ends the request.
    pub fn watch(&self, limit: Duration, reason: Ended) {
        self.with(|state| state.silence = Some(Silence { since: Instant::now(), limit, reason }));
    }

    /// Nothing is waited for.
    pub fn rest(&self) {
        self.with(|state| state.silence = None);
    }

    /// Something passed: silence begins anew.
    pub fn moved(&self) {
        self.with(|state| {
            if let Some(silence) = &mut state.silence {
                silence.since = Instant::now();
            }
        });
    }

    /// The request ends at this time, whatever passes; the earliest of several times counts.
    pub fn end_at(&self, at: Instant, reason: Ended) {
        self.with(|state| {
            if state.end.is_none_or(|(other, _)| at < other) {
                state.end = Some((at, reason));
            }
        });
    }

    /// Why the request was ended, if it was.
    pub fn ended(&self) -> Option<Ended> {
        self.with(|state| state.ended).flatten()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.with(|state| (state.silence, state.end) = (None, None));
    }
}

/// Makes connections of `peer` such that they can be ended. Only for peers that speak HTTP/1.
pub(super) fn attach(peer: &mut HttpPeer, connect: Duration) {
    peer.options.custom_l4 = Some(Arc::new(Dialler { limit: connect, patient: false }));
}

/// Makes `peer` fit for a WebSocket handshake: HTTP/1, on a connection of its own.
pub(super) fn for_handshake(peer: &mut HttpPeer, connect: Duration) {
    peer.options.custom_l4 = Some(Arc::new(Dialler { limit: connect, patient: true }));
    peer.options.alpn = ALPN::H1;
    peer.options.read_timeout = None;
    peer.options.idle_timeout = Some(UNPOOLED);
    peer.group_key ^= HANDSHAKES;
}

/// Connects as Pingora would.
#[derive(Debug)]
struct Dialler {
    limit: Duration,
    patient: bool,
}

#[async_trait]
impl Connect for Dialler {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Ok(connected) = tokio::time::timeout(self.limit, dial(address)).await else {
            return Error::e_explain(ErrorType::ConnectTimedout, "timeouts.connect is over");
        };
        let (stream, handle) = connected?;
        let socket = Arc::new(Socket { handle, state: Mutex::default() });
        let mut stream: Stream = match stream {
            stream if self.patient => {
                VirtualSocketStream::new(Box::new(Patient::new(stream, Arc::clone(&socket)))).into()
            }
            Either::Tcp(stream) => stream.into(),
            Either::Unix(stream) => stream.into(),
        };
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(&socket));
        drop(open);
        // Meant for what a proxy in between says; nobody else uses it here, and it stays with the connection.
        let carrier = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(carrier, Some(Box::new(socket))));
        Ok(stream)
    }
}

async fn dial(address: &SocketAddr) -> Result<(Either, Handle)> {
    match address {
        SocketAddr::Inet(address) => {
            let socket = TcpStream::connect(address).await.map_err(refused)?;
            socket.set_nodelay(true).or_err(ErrorType::ConnectError, "setting TCP_NODELAY")?;
            let handle = Handle::Tcp(duplicate(socket.as_fd())?);
            Ok((Either::Tcp(socket), handle))
        }
        SocketAddr::Unix(address) => {
            let path = address.as_pathname().or_err(ErrorType::InternalError, "a unix socket without a path")?;
            let socket = UnixStream::connect(path).await.map_err(refused)?;
            let handle = Handle::Unix(duplicate(socket.as_fd())?);
            Ok((Either::Unix(socket), handle))
        }
    }
}

fn duplicate<T: From<std::os::fd::OwnedFd>>(socket: BorrowedFd<'_>) -> Result<T> {
    let duplicate = socket.try_clone_to_owned();
    Ok(duplicate.or_err(ErrorType::InternalError, "no second handle on a socket: out of descriptors?")?.into())
}

fn refused(error: std::io::Error) -> Box<Error> {
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "connecting to the API", error)
}

/// Looks at all deadlines, for ever. One task for the process: a timer or a task for each request would cost more than
/// the request's own deadline is worth.
pub async fn watch() {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let open: Vec<Arc<Socket>> = {
            let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|socket| socket.strong_count() > 0);
            open.iter().filter_map(Weak::upgrade).collect()
        };
        let now = Instant::now();
        for socket in open {
            socket.check(now);
        }
    }
}
