//! The API's connection for a WebSocket handshake: its answer is read only after the request has ended.
//!
//! Pingora tells its upstream half that a request has ended by a message, also when there is no body. An API that is
//! quick enough answers 101 before that message is taken, and Pingora then takes it for the end of the tunnel (seen
//! one time in fifty on a busy machine). Both halves flush: the head, then the end. So nothing is read until the second
//! flush. Such a stream has no descriptor that Pingora could pool by; nor is a tunnel ever used again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::socket::Socket;

/// A socket whose reads may have to wait.
#[derive(Debug)]
pub(super) struct Patient {
    stream: Either,
    socket: Arc<Socket>,
}

#[derive(Debug)]
pub(super) enum Either {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Patient {
    pub(super) fn new(stream: Either, socket: Arc<Socket>) -> Self {
        Self { stream, socket }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.socket.must_wait(context.waker()) {
            return Poll::Pending;
        }
        match &mut self.stream {
            Either::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Either::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Either::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Either::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Either::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Either::Unix(stream) => Pin::new(stream).poll_flush(context),
        };
        if flushed.is_ready() {
            self.socket.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Either::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Either::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl VirtualSocket for Patient {
    /// `TCP_NODELAY` was set when it was connected; there is nothing else to set.
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}
