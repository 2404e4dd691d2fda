//! Accepts connections on open sockets and gives each to its application.
//!
//! An own loop instead of Pingora's, for what a restart without a lost request needs: it takes sockets that the service
//! manager passed, and at the end of a drain it accepts what already waits in a socket that dies with this process,
//! while what waits in a passed socket is left for the next process. Never reads a byte.

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as L4;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::socket::{Listening, Open};
use crate::guard::{Mark, Young};

/// How long to leave a socket alone when the system is out of descriptors: others must end first.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// A service that listens.
pub(super) struct Accept<A> {
    pub(super) name: &'static str,
    pub(super) threads: Option<usize>,
    /// Each socket with its application; taken when the service starts.
    pub(super) doors: Vec<(Listening, Arc<A>)>,
    /// Becomes true when nothing more is to be accepted; let go of when nothing more is. Taken when the service starts.
    pub(super) closing: Option<watch::Receiver<bool>>,
    pub(super) young: Arc<Young>,
    pub(super) started: Box<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Accept<A> {
    async fn start_service(&mut self, _fds: Option<ListenFds>, shutdown: ShutdownWatch, _listeners_per_fd: usize) {
        let Some(closing) = self.closing.take() else { return };
        let mut loops = Vec::with_capacity(self.doors.len());
        for (listening, app) in std::mem::take(&mut self.doors) {
            let Listening { socket, name, passed, .. } = listening;
            let socket = match Socket::new(socket) {
                Ok(socket) => socket,
                Err(problem) => {
                    tracing::error!(address = name, %problem, "the listener cannot be used");
                    continue;
                }
            };
            tracing::info!(address = name, "listening");
            let door = Door { socket, passed, app, shutdown: shutdown.clone(), young: Arc::clone(&self.young) };
            loops.push(tokio::spawn(door.serve(closing.clone(), shutdown.clone())));
        }
        drop(closing);
        (self.started)();
        for one in loops {
            // A loop that panicked has accepted its last; the others go on.
            let _ = one.await;
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn new(open: Open) -> std::io::Result<Self> {
        match open {
            Open::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Self::Tcp)
            }
            Open::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Self::Unix)
            }
        }
    }

    async fn accept(&self) -> std::io::Result<Stream> {
        let (mut stream, peer) = match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Small answers must not wait for the client's acknowledgement; a client that is gone already will do.
                let _ = stream.set_nodelay(true);
                (L4::from(stream), Some(peer.into()))
            }
            Self::Unix(socket) => {
                let (stream, peer) = socket.accept().await?;
                (L4::from(stream), peer.try_into().ok())
            }
        };
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // New, hence empty.
        let _ = digest.peer_addr.set(peer);
        stream.set_socket_digest(digest);
        Ok(Box::new(stream))
    }
}

struct Door<A> {
    socket: Socket,
    passed: bool,
    app: Arc<A>,
    shutdown: ShutdownWatch,
    young: Arc<Young>,
}

impl<A: ServerApp + Send + Sync + 'static> Door<A> {
    async fn serve(self, mut closing: watch::Receiver<bool>, mut shutdown: ShutdownWatch) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => break,
                _ = shutdown.wait_for(|shutdown| *shutdown) => break,
            };
            match accepted {
                Ok(stream) => self.handle(stream),
                Err(problem) => rest(&problem).await,
            }
        }
        if self.passed {
            return;
        }
        // Whoever waits here already would see a reset when the socket closes.
        let waiting = async {
            while let Ok(stream) = self.socket.accept().await {
                self.handle(stream);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(10), waiting).await;
    }

    fn handle(&self, stream: Stream) {
        let app = Arc::clone(&self.app);
        let shutdown = self.shutdown.clone();
        // From here on, not from when its task first runs: a drain that ends in between would lose it.
        let mut mark = Some(Mark::new(Arc::clone(&self.young)));
        tokio::spawn(async move {
            let mut first = pin!(app.process_new(stream, &shutdown));
            let mut next = poll_fn(|context| {
                let outcome = first.as_mut().poll(context);
                // The application counts it by itself now.
                mark = None;
                outcome
            })
            .await;
            while let Some(stream) = next {
                next = app.process_new(stream, &shutdown).await;
            }
        });
    }
}

/// A client that left before it was accepted is no reason to wait; being out of descriptors or memory is.
async fn rest(problem: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(problem.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    tracing::debug!(%problem, "a connection cannot be accepted");
    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
}
