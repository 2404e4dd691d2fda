//! One question to a server and its answer: the network of introspection and `forward_auth`.
//!
//! Called by `lookup` only, which bounds the time. A server that floods costs 256 KiB; a redirect is an answer like any
//! other and is never followed. Unlike key sets, these servers may be of the inside. `HTTPS_PROXY` is honoured for
//! `https`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method};
use reqwest::redirect::Policy;
use tokio::sync::OnceCell;

/// Largest body of an answer.
pub(super) const MAX_ANSWER: usize = 256 * 1024;
/// Longest time from the question to the last byte of its answer.
pub(super) const TOTAL: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: Arc<str>,
    pub headers: HeaderMap,
    pub body: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Incoming {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer. Carries nothing of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeProblem {
    /// No TLS roots, or the like.
    Client(String),
    /// DNS, connection, TLS, or a broken answer.
    Network(String),
    Timeout,
    TooLarge,
}

impl std::fmt::Display for ExchangeProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(problem) => write!(f, "no client: {problem}"),
            Self::Network(problem) => write!(f, "{problem}"),
            Self::Timeout => write!(f, "no complete answer within {} s", TOTAL.as_secs()),
            Self::TooLarge => write!(f, "the answer is larger than {} KiB", MAX_ANSWER / 1024),
        }
    }
}

impl std::error::Error for ExchangeProblem {}

/// The network, as an argument.
#[async_trait]
pub trait Exchange: Send + Sync + std::fmt::Debug {
    /// Asks once, follows nothing.
    async fn exchange(&self, question: Outgoing) -> Result<Incoming, ExchangeProblem>;
}

/// The real one. Its clients are made at the first question and again as long as that fails.
#[derive(Debug, Default)]
pub struct Client {
    plain: OnceCell<reqwest::Client>,
    tls: OnceCell<reqwest::Client>,
}

#[async_trait]
impl Exchange for Client {
    async fn exchange(&self, question: Outgoing) -> Result<Incoming, ExchangeProblem> {
        let Outgoing { method, url, headers, body } = question;
        // Servers of the inside are what no proxy knows.
        let cell = if url.starts_with("https:") { &self.tls } else { &self.plain };
        let is_inside = !url.starts_with("https:");
        let client = cell.get_or_try_init(|| std::future::ready(build(is_inside))).await?;
        let mut request = client.request(method, &*url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| problem(&error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| problem(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ExchangeProblem::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status, headers, body })
    }
}

fn build(is_inside: bool) -> Result<reqwest::Client, ExchangeProblem> {
    // The client takes the process's provider and panics without one; that another one is there already is fine.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut client = reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(TOTAL)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .referer(false)
        .user_agent(concat!("crossgate/", env!("CARGO_PKG_VERSION")));
    if is_inside {
        client = client.no_proxy();
    }
    client.build().map_err(|error| ExchangeProblem::Client(innermost(&error)))
}

fn problem(error: &reqwest::Error) -> ExchangeProblem {
    if error.is_timeout() { ExchangeProblem::Timeout } else { ExchangeProblem::Network(innermost(error)) }
}

/// The last cause says what happened; those above it say that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
