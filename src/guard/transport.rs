//! What lies below the guarded stream: the socket, with TLS or without, behind one write buffer.
//!
//! The buffer joins a head and a short body into one system call, and under TLS into one record. Reads have none: the
//! parsers above bring their own, and ten thousand idle connections would each hold one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio_rustls::server::TlsStream;

/// Most answers of an API fit, head and body.
const WRITE_BUFFER: usize = 4096;

/// A buffered socket.
#[derive(Debug)]
pub(super) struct Plain(BufWriter<Stream>);

/// A buffered socket with TLS, after the handshake.
#[derive(Debug)]
pub(super) struct Secure {
    stream: BufWriter<TlsStream<Stream>>,
    digest: Arc<SslDigest>,
}

impl Plain {
    pub(super) fn new(stream: Stream) -> Self {
        Self(BufWriter::with_capacity(WRITE_BUFFER, stream))
    }
}

impl Secure {
    pub(super) fn new(stream: TlsStream<Stream>) -> Self {
        let (_, session) = stream.get_ref();
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
        // Of the client's certificate nothing more is asked than that it was signed by the configured CA.
        let digest = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
        Self { stream: BufWriter::with_capacity(WRITE_BUFFER, stream), digest }
    }

    fn socket(&self) -> &Stream {
        self.stream.get_ref().get_ref().0
    }

    pub(super) fn is_http2(&self) -> bool {
        self.stream.get_ref().get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

macro_rules! delegate_io {
    ($this:ident => $field:expr, $name:ty) => {
        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                Pin::new($field).poll_read(context, buffer)
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = &mut *self;
                Pin::new($field).poll_write(context, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = &mut *self;
                Pin::new($field).poll_write_vectored(context, bytes)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                Pin::new($field).poll_flush(context)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &mut *self;
                Pin::new($field).poll_shutdown(context)
            }
        }

        #[async_trait]
        impl Shutdown for $name {
            async fn shutdown(&mut self) {
                // The client may be gone.
                let _ = AsyncWriteExt::shutdown(self).await;
            }
        }

        /// The guard looks at the first bytes by itself.
        impl Peek for $name {}
    };
}

delegate_io!(this => &mut this.0, Plain);
delegate_io!(this => &mut this.stream, Secure);

impl UniqueID for Plain {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().id()
    }
}

impl UniqueID for Secure {
    fn id(&self) -> UniqueIDType {
        self.socket().id()
    }
}

impl Ssl for Plain {}

impl Ssl for Secure {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Plain {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_ref().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.0.get_ref().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.0.get_ref().get_write_pending_time()
    }
}

impl GetTimingDigest for Secure {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.socket().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.socket().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.socket().get_write_pending_time()
    }
}

impl GetProxyDigest for Plain {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.get_ref().get_proxy_digest()
    }
}

impl GetProxyDigest for Secure {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.socket().get_proxy_digest()
    }
}

impl GetSocketDigest for Plain {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.0.get_mut().set_socket_digest(digest);
    }
}

impl GetSocketDigest for Secure {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().get_mut().0.set_socket_digest(digest);
    }
}
