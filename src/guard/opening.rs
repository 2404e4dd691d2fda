//! The start of a connection: TLS, and which HTTP it speaks. Within the guard's caps and deadlines, since Pingora would
//! do both before anybody counts or times them.

use std::io;
use std::sync::Arc;

use pingora::protocols::l4::stream::Stream as L4;
use pingora::protocols::{ALPN, Stream};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::Deadlines;
use super::transport::{Plain, Secure};

/// RFC 9113 3.4. No HTTP/1 request starts like this: the method `PRI` is reserved for it.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener speaks.
#[derive(Debug, Clone)]
pub enum Speaks {
    /// HTTP/1, and HTTP/2 without TLS where `h2c`.
    Plain { h2c: bool },
    /// HTTP/1 or HTTP/2, as the handshake agrees.
    Tls(Arc<rustls::ServerConfig>),
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// Bytes that were read to see what it speaks.
    pub(super) read: Vec<u8>,
    pub(super) http2: bool,
}

/// Why a connection never came to HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// The client said nothing, or not all that a handshake needs, in time; or it left.
    Silent,
    /// The handshake failed: another protocol, no common version, no certificate that was asked for.
    Handshake,
}

/// Brings a connection to HTTP.
pub(super) async fn open(stream: Stream, speaks: Speaks, deadlines: Deadlines) -> Result<Opened, Unopened> {
    match speaks {
        Speaks::Plain { h2c: false } => {
            Ok(Opened { stream: Box::new(Plain::new(stream)), read: Vec::new(), http2: false })
        }
        Speaks::Plain { h2c: true } => {
            let mut stream: Stream = Box::new(Plain::new(stream));
            let (read, http2) = sniff(&mut stream, deadlines).await?;
            Ok(Opened { stream, read, http2 })
        }
        Speaks::Tls(config) => {
            let stream = await_first_byte(stream, Instant::now() + deadlines.first_byte).await?;
            let deadline = Instant::now() + deadlines.head;
            match timeout_at(deadline, TlsAcceptor::from(config).accept(stream)).await {
                Err(_) => Err(Unopened::Silent),
                Ok(Err(problem)) if problem.kind() == io::ErrorKind::UnexpectedEof => Err(Unopened::Silent),
                Ok(Err(_)) => Err(Unopened::Handshake),
                Ok(Ok(stream)) => {
                    let secure = Secure::new(stream);
                    let http2 = secure.is_http2();
                    Ok(Opened { stream: Box::new(secure), read: Vec::new(), http2 })
                }
            }
        }
    }
}

/// Waits until the client has begun, and puts back what came.
async fn await_first_byte(stream: Stream, deadline: Instant) -> Result<Stream, Unopened> {
    if !(*stream).as_any().is::<L4>() {
        // Not a socket: nothing can be put back, and nobody but a test waits there.
        return Ok(stream);
    }
    let mut socket = stream.into_any().downcast::<L4>().map_err(|_| Unopened::Silent)?;
    let mut first = [0; 5];
    match timeout_at(deadline, socket.read(&mut first)).await {
        Err(_) | Ok(Err(_) | Ok(0)) => Err(Unopened::Silent),
        Ok(Ok(length)) => {
            socket.rewind(first.get(..length).unwrap_or_default());
            Ok(socket)
        }
    }
}

/// Reads just enough to tell HTTP/2's preface from an HTTP/1 request.
async fn sniff(stream: &mut Stream, deadlines: Deadlines) -> Result<(Vec<u8>, bool), Unopened> {
    let mut deadline = Instant::now() + deadlines.first_byte;
    let mut read: Vec<u8> = Vec::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() {
        let mut rest = [0; PREFACE.len()];
        let rest = rest.get_mut(read.len()..).unwrap_or_default();
        match timeout_at(deadline, stream.read(rest)).await {
            Err(_) | Ok(Err(_) | Ok(0)) => return Err(Unopened::Silent),
            Ok(Ok(length)) => {
                if read.is_empty() {
                    deadline = Instant::now() + deadlines.head;
                }
                read.extend_from_slice(rest.get(..length).unwrap_or_default());
            }
        }
        if !PREFACE.starts_with(&read) {
            return Ok((read, false));
        }
    }
    Ok((read, true))
}

/// What Pingora is told that a connection speaks.
pub(super) const fn alpn(http2: bool) -> ALPN {
    if http2 { ALPN::H2 } else { ALPN::H1 }
}
