//! One GET of a key set, from where the config says and nowhere else; and one that only asks whether anybody answers.
//!
//! Called by `refresh` and `probe` only. What comes back decides who is believed, so everything that could bring a set from
//! another place is a failure: redirects, plain text (`allow_private` excepted), addresses of the inside. A server
//! that hangs, floods or drips costs five seconds and 256 KiB. Trust roots are the system's, so that an operator's
//! own CA works; `HTTPS_PROXY` is honoured, and then the proxy resolves the name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::instance::KeyUrl;
use super::jwks::{KeySetProblem, MAX_SET_BYTES};
use super::probe::ProbeSpec;

const TOTAL: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the head of an answer that nobody reads.
pub(super) const ASK: Duration = Duration::from_secs(2);

/// Why there is no new key set. Carries nothing of the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchProblem {
    /// Not an absolute `https` URL without user name (or `http` with `allow_private`).
    Url,
    /// The address, or every address that the name resolves to, is not public.
    PrivateAddress,
    /// No TLS roots, or the like.
    Client(String),
    /// DNS, connection, TLS, or a broken answer.
    Network(String),
    Timeout,
    Status(StatusCode),
    /// Neither `application/json` nor `application/jwk-set+json`.
    ContentType,
    /// Compressed, though nobody asked.
    ContentEncoding,
    TooLarge,
    Set(KeySetProblem),
}

impl std::fmt::Display for FetchProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url => write!(f, "the address is no https URL"),
            Self::PrivateAddress => write!(f, "the address is not public (jwks.allow_private permits it)"),
            Self::Client(problem) => write!(f, "no client: {problem}"),
            Self::Network(problem) => write!(f, "{problem}"),
            Self::Timeout => write!(f, "no complete answer within {} s", TOTAL.as_secs()),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::ContentType => write!(f, "the answer is not application/json"),
            Self::ContentEncoding => write!(f, "the answer is compressed"),
            Self::TooLarge => write!(f, "the answer is larger than {} KiB", MAX_SET_BYTES / 1024),
            Self::Set(problem) => write!(f, "the set is refused: {problem}"),
        }
    }
}

impl std::error::Error for FetchProblem {}

/// Whether a key set may be fetched from this address, as far as its text tells; for the config.
///
/// # Errors
/// [`FetchProblem::Url`] or [`FetchProblem::PrivateAddress`].
pub fn check_url(text: &str, allow_private: bool) -> Result<(), FetchProblem> {
    parse(text, allow_private).map(|_| ())
}

fn parse(text: &str, allow_private: bool) -> Result<Url, FetchProblem> {
    let url = Url::parse(text).map_err(|_| FetchProblem::Url)?;
    let scheme = url.scheme() == "https" || (allow_private && url.scheme() == "http");
    if !scheme || !url.username().is_empty() || url.password().is_some() {
        return Err(FetchProblem::Url);
    }
    let host = url.host_str().ok_or(FetchProblem::Url)?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if !allow_private && literal.is_ok_and(|address| !is_public(address)) {
        return Err(FetchProblem::PrivateAddress);
    }
    Ok(url)
}

/// A client for one address.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    pub(super) fn new(source: &KeyUrl) -> Result<Self, FetchProblem> {
        let url = parse(&source.url, source.allow_private)?;
        let client = client(&url, source.allow_private, TOTAL)?;
        Ok(Self { client, url })
    }

    /// The bytes of the set, unread.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, FetchProblem> {
        match tokio::time::timeout(TOTAL, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err(FetchProblem::Timeout),
        }
    }

    async fn exchange(&self) -> Result<Vec<u8>, FetchProblem> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| problem(&error))?;
        check_head(&response)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| problem(&error))? {
            if body.len() + chunk.len() > MAX_SET_BYTES {
                return Err(FetchProblem::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// As [`Fetcher`], for the status alone.
#[derive(Debug)]
pub(super) struct Prober {
    client: Client,
    url: Url,
}

impl Prober {
    pub(super) fn new(spec: &ProbeSpec) -> Result<Self, FetchProblem> {
        let url = parse(&spec.url, spec.allow_private)?;
        let client = client(&url, spec.allow_private, ASK)?;
        Ok(Self { client, url })
    }

    /// The status; the body is not read, the connection closed.
    pub(super) async fn ask(&self) -> Result<StatusCode, FetchProblem> {
        let asked = self.client.get(self.url.clone()).send();
        match tokio::time::timeout(ASK, asked).await {
            Ok(answer) => answer.map(|answer| answer.status()).map_err(|error| problem(&error)),
            Err(_) => Err(FetchProblem::Timeout),
        }
    }
}

fn client(url: &Url, allow_private: bool, total: Duration) -> Result<Client, FetchProblem> {
    // The client takes the process's provider and panics without one; that another one is there already is fine.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut client = Client::builder()
        .redirect(Policy::none())
        .timeout(total)
        .connect_timeout(CONNECT)
        // Minutes lie between two fetches: a connection kept is a connection that breaks in the next one.
        .pool_max_idle_per_host(0)
        .referer(false)
        .user_agent(concat!("crossgate/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "http" {
        // Stand-ins and mirrors of the inside, which no proxy knows.
        client = client.no_proxy();
    }
    if !allow_private {
        let target = url.host_str().unwrap_or_default().into();
        client = client.dns_resolver(Arc::new(PublicOnly { target }));
    }
    client.build().map_err(|error| FetchProblem::Client(innermost(&error)))
}

fn check_head(response: &Response) -> Result<(), FetchProblem> {
    if response.status() != StatusCode::OK {
        return Err(FetchProblem::Status(response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !["application/json", "application/jwk-set+json"].iter().any(|known| media.eq_ignore_ascii_case(known)) {
        return Err(FetchProblem::ContentType);
    }
    if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(FetchProblem::ContentEncoding);
    }
    if response.content_length().is_some_and(|length| length > MAX_SET_BYTES as u64) {
        return Err(FetchProblem::TooLarge);
    }
    Ok(())
}

fn problem(error: &reqwest::Error) -> FetchProblem {
    if error.is_timeout() {
        return FetchProblem::Timeout;
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return FetchProblem::PrivateAddress;
        }
        cause = error.source();
    }
    FetchProblem::Network(innermost(error))
}

/// The last cause says what happened; those above it say that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// Resolves the target's name to public addresses only, at the moment of connecting: a check made earlier could be
/// answered differently later (DNS rebinding). Other names are the proxy's, which the operator chose.
struct PublicOnly {
    target: Box<str>,
}

#[derive(Debug)]
struct NotPublic;

impl std::fmt::Display for NotPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no public address")
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_target = name.as_str() == &*self.target;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| !is_target || is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address can belong to a server of the open internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, .., g, h] = address.segments();
    // Addresses that carry an IPv4 one lead where that one leads.
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some((g, h)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // 2000::/3 is all that is handed out; within it, Teredo and documentation lead nowhere good.
    (0x2000..0x4000).contains(&a) && !(a == 0x2001 && (b == 0 || b == 0xdb8))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
