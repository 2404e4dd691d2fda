//! TLS of a listener: which certificate is shown to whom, and whether clients must have one.
//!
//! Made whole when a config is compiled and swapped with the snapshot, so that a renewed certificate serves without a
//! restart. Handshakes are the guard's; files are config's.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::{CryptoProvider, aws_lc_rs as crypto};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore, ServerConfig};

use crate::certificate::Certified;

/// What a listener's TLS is made of.
#[derive(Debug)]
pub struct Material {
    /// At least one; the first is shown to clients that name no host, or one that no certificate covers.
    pub certificates: Vec<Certified>,
    pub clients: Option<Clients>,
}

/// Who must show a certificate of their own.
#[derive(Debug)]
pub struct Clients {
    /// Authorities that sign clients' certificates.
    pub authorities: Vec<CertificateDer<'static>>,
    /// A client without a certificate is let in; one with a bad certificate never is.
    pub optional: bool,
}

/// TLS that is ready to serve.
#[derive(Debug, Clone)]
pub struct Tls {
    pub config: Arc<ServerConfig>,
    /// Of all that it was made of.
    fingerprint: [u8; 32],
}

impl Tls {
    /// Makes the server side. `previous` is used again when nothing changed: its tickets stay good then.
    ///
    /// # Errors
    /// What the library says of material that `config` has not checked: a key of an unknown kind, no authority.
    pub fn new(material: Material, previous: Option<&Self>) -> Result<Self, Error> {
        let fingerprint = fingerprint(&material);
        if let Some(previous) = previous.filter(|previous| previous.fingerprint == fingerprint) {
            return Ok(previous.clone());
        }
        let provider = Arc::new(crypto::default_provider());
        let resolver = BySni::new(material.certificates, &provider)?;
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let is_mutual = material.clients.is_some();
        let builder = match material.clients {
            None => builder.with_no_client_auth(),
            Some(Clients { authorities, optional }) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|problem| Error::General(problem.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Without memory per session, and good at any worker. A resumed session shows no certificate again: where
        // clients need one, none is resumed, so that a withdrawn authority is withdrawn at once.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if is_mutual {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = crypto::Ticketer::new()?;
        }
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}

fn fingerprint(material: &Material) -> [u8; 32] {
    let mut all = digest::Context::new(&digest::SHA256);
    let mut add = |bytes: &[u8]| {
        // With its length, so that no two lists read the same.
        all.update(&bytes.len().to_be_bytes());
        all.update(bytes);
    };
    for certified in &material.certificates {
        add(b"certified");
        certified.chain.iter().for_each(|certificate| add(certificate));
        add(certified.key.secret_der());
    }
    if let Some(Clients { authorities, optional }) = &material.clients {
        add(if *optional { b"optional" } else { b"required" });
        authorities.iter().for_each(|authority| add(authority));
    }
    let mut fingerprint = [0; 32];
    let bytes = all.finish();
    for (to, from) in fingerprint.iter_mut().zip(bytes.as_ref()) {
        *to = *from;
    }
    fingerprint
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
struct BySni {
    first: Arc<CertifiedKey>,
    /// Those after the first.
    others: Vec<Arc<CertifiedKey>>,
}

impl BySni {
    fn new(certificates: Vec<Certified>, provider: &CryptoProvider) -> Result<Self, Error> {
        let mut keys = certificates
            .into_iter()
            .map(|Certified { chain, key }| CertifiedKey::from_der(chain, key, provider).map(Arc::new));
        let first = keys.next().unwrap_or(Err(Error::NoCertificatesPresented))?;
        Ok(Self { first, others: keys.collect::<Result<_, _>>()? })
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| {
            let mut all = std::iter::once(&self.first).chain(&self.others);
            all.find(|key| covers(key, &name))
        });
        Some(Arc::clone(named.unwrap_or(&self.first)))
    }
}

/// As a client would decide it, wildcards included.
fn covers(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Some(certificate) = key.cert.first() else { return false };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|certificate| rustls::client::verify_server_name(&certificate, name).is_ok())
}
