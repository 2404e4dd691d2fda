//! How Pingora is to reach an endpoint: every timeout set, the protocol, TLS that is always verified.
//!
//! A [`Template`] is made when a snapshot is made and turns addresses into peers then, or when a name was resolved; a
//! request clones one. Never resolves a name: Pingora's own constructor would, in place, and panic.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use pingora::protocols::tls::{ALPN, CaType};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use super::socket;
use super::spec::{Protocol, Spec, Timeouts, Tls};
use crate::snapshot::Address;

/// Requests at once on one HTTP/2 connection to the API; Pingora's default is one, which would make HTTP/2 pointless.
const STREAMS: usize = 100;

#[derive(Debug)]
pub(super) struct Template {
    timeouts: Timeouts,
    protocol: Protocol,
    sni: Option<Arc<str>>,
    ca: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    group: u64,
}

impl Template {
    pub(super) fn new(spec: &Spec) -> Self {
        let Spec { name, protocol, tls, timeouts, .. } = spec;
        Self {
            timeouts: *timeouts,
            protocol: *protocol,
            sni: tls.as_ref().map(|tls| Arc::clone(&tls.sni)),
            ca: tls.as_ref().and_then(|tls| tls.ca.as_ref()).map(|ca| {
                let wrap = |der: &rustls::pki_types::CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
                ca.iter().map(wrap).collect::<Vec<_>>().into()
            }),
            client: tls.as_ref().and_then(|tls| tls.client.as_ref()).map(|client| {
                let chain = client.chain.iter().map(|der| der.to_vec()).collect();
                Arc::new(CertKey::new(chain, client.key.secret_der().to_vec()))
            }),
            group: group(name, *protocol, tls.as_ref()),
        }
    }

    /// `None` for a unix path that no socket address can hold (over 107 bytes, or with a NUL).
    pub(super) fn peer(&self, address: &Address) -> Option<HttpPeer> {
        let (tls, sni) = (self.sni.is_some(), self.sni.as_deref().unwrap_or_default().to_owned());
        let mut peer = match address {
            Address::Tcp(address) => from_address(*address, tls, sni),
            Address::Unix(path) => HttpPeer::new_uds(path.to_str()?, tls, sni).ok()?,
        };
        peer.client_cert_key.clone_from(&self.client);
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect * 2);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.timeouts.idle);
        options.ca.clone_from(&self.ca);
        options.alpn = match self.protocol {
            Protocol::Http1 => ALPN::H1,
            Protocol::Http2 | Protocol::H2c => ALPN::H2,
        };
        options.max_h2_streams = STREAMS;
        if self.protocol == Protocol::Http1 {
            // Silence is watched by the request itself, which knows what it waits for.
            options.read_timeout = None;
            socket::attach(&mut peer, self.timeouts.connect);
        }
        Some(peer)
    }
}

/// Parts the pools of connections: Pingora's own key holds neither authorities nor protocol, so that a connection made
/// under an old `ca` would serve a new one.
fn group(name: &str, protocol: Protocol, tls: Option<&Tls>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, protocol, tls).hash(&mut hasher);
    hasher.finish()
}

#[expect(
    clippy::disallowed_methods,
    reason = "given a SocketAddr: nothing to resolve, hence nothing to block or panic"
)]
fn from_address(address: SocketAddr, tls: bool, sni: String) -> HttpPeer {
    HttpPeer::new(address, tls, sni)
}
