//! Where a request comes from: the socket's peer, and what a trusted proxy in front says about its client.
//!
//! Owns `X-Forwarded-*`, `Forwarded`, `x-request-id` and `traceparent`: believed only from `trusted_proxies`,
//! rebuilt always. Nothing here is ever an input to authorization; it is what logs and the API are told.

use std::net::IpAddr;

use ipnet::IpNet;

/// `trusted_proxies`.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    pub networks: Vec<IpNet>,
    /// Whether whoever connects by a unix socket is trusted.
    pub unix: bool,
}
