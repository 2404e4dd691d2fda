//! Active health checks: a small request to each endpoint, in the protocol and under the TLS of the traffic.
//!
//! `GET` of `health.path`; 2xx and 3xx in time is a good answer, whatever else a bad one. With `http2` and `h2c` the check
//! speaks HTTP/2, so that an endpoint counts as well only when it can do what the traffic needs (for gRPC, serve a plain
//! path for it). A check has a connection of its own, reads a bounded head and no body, and carries no identity.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::tls::{TlsConnector, load_platform_certs_incl_env_into_store};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::resolve::jittered;
use super::spec::{Health, Protocol, Spec, Tls};
use super::{Unusable, Upstream};
use crate::snapshot::Address;

/// A check takes at most its interval, and never longer than this.
const LONGEST: Duration = Duration::from_secs(5);
/// Largest head of an answer.
const HEAD: usize = 16 * 1024;
/// Checks of one upstream at a time.
const AT_ONCE: usize = 32;

/// Everything that a check needs.
#[derive(Debug)]
pub(super) struct Checker {
    rules: Health,
    request: Request<Empty<Bytes>>,
    protocol: Protocol,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

impl Checker {
    /// `None` without `health`. TLS is looked at all the same: what cannot be used for a check is none for the traffic.
    pub(super) fn new(spec: &Spec) -> Result<Option<Arc<Self>>, Unusable> {
        let tls = spec.tls.as_ref().map(|tls| client(tls, spec.protocol)).transpose()?;
        let Some(rules) = &spec.health else { return Ok(None) };
        let bad = |problem: http::Error| Unusable::Tls(problem.to_string());
        let host = spec.tls.as_ref().map_or(&*spec.name, |tls| &*tls.sni);
        let scheme = if tls.is_some() { "https" } else { "http" };
        // The name of an upstream is free text; a host is not.
        let host = if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
            host
        } else {
            "app"
        };
        let uri =
            Uri::builder().scheme(scheme).authority(host).path_and_query(rules.path.clone()).build().map_err(bad)?;
        let request = Request::get(uri).header("user-agent", "crossgate-health").body(Empty::new()).map_err(bad)?;
        Ok(Some(Arc::new(Self { rules: rules.clone(), request, protocol: spec.protocol, tls })))
    }

    async fn check(&self, address: &Address) -> Result<(), String> {
        let limit = self.rules.interval.min(LONGEST);
        let status = timeout(limit, self.ask(address)).await.map_err(|_| "no answer in time".to_owned())??;
        if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
    }

    async fn ask(&self, address: &Address) -> Result<StatusCode, String> {
        let kind = |problem: std::io::Error| problem.kind().to_string();
        let socket: Box<dyn Socket> = match address {
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(kind)?),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(kind)?),
        };
        let Some((name, config)) = &self.tls else {
            return self.exchange(socket, self.protocol == Protocol::H2c).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let socket = connector.connect(name.clone(), socket).await.map_err(|problem| problem.to_string())?;
        let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
        self.exchange(Box::new(socket), http2).await
    }

    async fn exchange(&self, socket: Box<dyn Socket>, http2: bool) -> Result<StatusCode, String> {
        let text = |problem: hyper::Error| problem.to_string();
        let io = TokioIo::new(socket);
        if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_header_list_size(16 * 1024);
            let (mut sender, connection) = builder.handshake(io).await.map_err(text)?;
            tokio::select! {
                answer = sender.send_request(self.request.clone()) => Ok(answer.map_err(text)?.status()),
                ended = connection => Err(ended.err().map_or_else(|| "closed".to_owned(), text)),
            }
        } else {
            let mut request = self.request.clone();
            // HTTP/1 has the host in a header, and a target in origin form.
            if let Some(host) = request.uri().authority().and_then(|host| host.as_str().parse().ok()) {
                request.headers_mut().insert(http::header::HOST, host);
            }
            request.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            *request.uri_mut() = Uri::from(self.rules.path.clone());
            let mut builder = http1::Builder::new();
            builder.max_buf_size(HEAD).max_headers(100);
            let (mut sender, connection) = builder.handshake(io).await.map_err(text)?;
            // Polled beside the exchange and not instead of it: its end may bring the answer.
            tokio::pin!(connection);
            let exchange = sender.send_request(request);
            tokio::pin!(exchange);
            let mut open = true;
            loop {
                tokio::select! {
                    biased;
                    answer = &mut exchange => return Ok(answer.map_err(text)?.status()),
                    _ = &mut connection, if open => open = false,
                }
            }
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Verifies as the traffic does: the same authorities, the same name, the same certificate shown.
fn client(tls: &Tls, protocol: Protocol) -> Result<(ServerName<'static>, Arc<ClientConfig>), Unusable> {
    let text = |problem: rustls::Error| Unusable::Tls(problem.to_string());
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(ca) => ca.iter().try_for_each(|one| roots.add(one.clone())).map_err(text)?,
        // What Pingora takes for peers without `ca`.
        None => drop(load_platform_certs_incl_env_into_store(&mut roots)),
    }
    if roots.is_empty() {
        return Err(Unusable::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(text)?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match &tls.client {
        Some(client) => builder.with_client_auth_cert(client.chain.clone(), client.key.clone_key()).map_err(text)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 | Protocol::H2c => vec![b"h2".to_vec()],
    };
    let name = ServerName::try_from(tls.sni.to_string())
        .map_err(|_| Unusable::Tls("sni is neither a host name nor an IP address".to_owned()))?;
    Ok((name, Arc::new(config)))
}

/// Round after round; each endpoint once a round.
pub(super) async fn run(upstream: &Upstream) {
    let Some(checker) = &upstream.checker else { return };
    loop {
        round(upstream, checker).await;
        sleep(jittered(checker.rules.interval)).await;
    }
}

async fn round(upstream: &Upstream, checker: &Arc<Checker>) {
    // Dropped with this future, and with it every check that runs.
    let mut checks = JoinSet::new();
    for endpoint in upstream.endpoints.load_full().iter() {
        if checks.len() >= AT_ONCE {
            checks.join_next().await;
        }
        let (checker, vitals, name) = (Arc::clone(checker), Arc::clone(&endpoint.vitals), Arc::clone(&upstream.name));
        checks.spawn(async move {
            let outcome = checker.check(&vitals.address).await;
            match vitals.checked(outcome.is_ok(), &checker.rules) {
                Some(true) => {
                    tracing::info!(upstream = &*name, endpoint = %vitals.address, "an endpoint is healthy again")
                }
                Some(false) => {
                    let why = outcome.err().unwrap_or_default();
                    tracing::warn!(upstream = &*name, endpoint = %vitals.address, why, "an endpoint is unhealthy");
                }
                None => {}
            }
        });
    }
    while checks.join_next().await.is_some() {}
}
