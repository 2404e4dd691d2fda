//! Certificates and private keys as they were read: checked DER, shared by listeners and upstreams.
//!
//! Made by `config::compile` alone, which has parsed every one of them and compared key and certificate. Knows neither
//! files nor the proxy library, and never shows a key.

use std::hash::{Hash, Hasher};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain with the private key of its first certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Certified {
    /// At least one: its own certificate first, then those that signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Belongs to the first certificate of the chain.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Certified {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Hash for Certified {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.chain.iter().for_each(|certificate| certificate.as_ref().hash(state));
        self.key.secret_der().hash(state);
    }
}
