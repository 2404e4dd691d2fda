//! What the config says about an upstream, as checked values.
//!
//! Made by `config::compile`, which has read every file and parsed every certificate; nothing here reaches anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::CertificateDer;

use crate::certificate::Certified;
use crate::snapshot::Address;

/// `upstreams.<name>` as the config gives it.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Place>,
    pub protocol: Protocol,
    pub tls: Option<Tls>,
    pub timeouts: Timeouts,
    pub health: Option<Health>,
    /// `paths: exact`: this API tells case and trailing slash apart.
    pub exact_paths: bool,
    pub forward: Forward,
    pub puts: Puts,
}

/// Where an API is: an address, or a name that stands for all its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Address(Address),
    Name(HostName),
}

/// A host to be resolved, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    pub host: Arc<str>,
    pub port: u16,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `upstreams.<name>.protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    #[default]
    Http1,
    /// Over TLS, chosen by ALPN.
    Http2,
    /// In plain text, without asking first.
    H2c,
}

/// `upstreams.<name>.tls`. There is no way to say that a certificate is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// A host name or an IP address that the certificate must be for. Never empty: the proxy library takes an empty one
    /// for a wish to verify nothing.
    pub sni: Arc<str>,
    /// Whom to trust, instead of the platform's authorities; never empty.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Shown to the API (mutual TLS).
    pub client: Option<Certified>,
}

/// `upstreams.<name>.timeouts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// Longest silence of the API, before or within its answer.
    pub read: Duration,
    pub write: Duration,
    /// How long a pooled connection is kept: below the API's own keep-alive, or a POST meets a closed one.
    pub idle: Duration,
    /// Longest silence of an event stream, a gRPC stream or a WebSocket.
    pub stream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(60),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(4),
            stream_idle: Duration::from_secs(3600),
        }
    }
}

/// `upstreams.<name>.health`: who is asked how often, and how many answers in a row change a mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Path and query, in origin form.
    pub path: http::uri::PathAndQuery,
    pub interval: Duration,
    /// Good answers in a row that bring an endpoint back; at least 1.
    pub healthy: u32,
    /// Bad answers in a row that take it out; at least 1.
    pub unhealthy: u32,
}

/// `upstreams.<name>.credentials.forward`: which of our credentials the API still gets as they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forward {
    pub clerk: bool,
    pub legacy: bool,
}

/// What crossgate itself puts among the credentials that the API gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Puts {
    /// `credentials.authorization`.
    pub authorization: InAuthorization,
    /// `credentials.legacy_token`: where the minted token travels besides.
    pub legacy_token: Option<TokenPlace>,
}

impl Puts {
    /// Whether this API gets minted tokens.
    pub fn legacy_tokens(&self) -> bool {
        self.authorization == InAuthorization::LegacyToken || self.legacy_token.is_some()
    }
}

/// `credentials.authorization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InAuthorization {
    #[default]
    None,
    Assertion,
    LegacyToken,
}

/// A place of the API's own for its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    Header(HeaderName),
    Cookie(Box<str>),
}
