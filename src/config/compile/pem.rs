//! Certificates, keys and bundles of authorities out of PEM files, for listeners and upstreams alike.
//!
//! Everything is parsed here, so that `check` tells what a handshake would trip over: the proxy library panics or stays
//! deaf on what it cannot read. Never shows a byte of a key, nor the text of an error about one.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::Certified;
use crate::clock;
use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::config::source::Files;

/// No chain and no bundle that anybody wrote on purpose is longer (the platform's whole store has some 150).
const MAX: usize = 1024;

/// A path with the place where it is written.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) path: &'a str,
    pub(super) at: At<'a>,
}

/// A chain with its key. Told: unreadable, no PEM, expired, and a key that belongs to another certificate.
pub(super) fn certified(
    certificate: Written<'_>,
    key: Written<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Certified> {
    let chain = certificates(certificate, files, problems);
    let key_der = private_key(key, files, problems);
    let (chain, key_der) = (chain?, key_der?);
    let own = chain.first()?;
    if !is_in_time(own, certificate.at, problems) {
        return None;
    }
    match CertifiedKey::from_der(chain.clone(), key_der.clone_key(), &aws_lc_rs::default_provider()) {
        Ok(_) => Some(Certified { chain, key: key_der }),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            problems.push(
                Problem::at(codes::KEY_MISMATCH, key.at, "this key belongs to another certificate")
                    .help("the first certificate of the file must be the key's own, those that signed it come after"),
            );
            None
        }
        Err(_) => {
            problems.push(
                Problem::at(
                    codes::BAD_CERTIFICATE,
                    key.at,
                    "this key or its certificate is of a kind that cannot be used",
                )
                .help("use an RSA key of 2048 bits or more, or an ECDSA (P-256, P-384, P-521) or Ed25519 key"),
            );
            None
        }
    }
}

/// The authorities of a bundle. Expired ones are left out with a warning; without any left it is an error.
pub(super) fn authorities(
    bundle: Written<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateDer<'static>>> {
    let all = certificates(bundle, files, problems)?;
    let count = all.len();
    let mut told = Vec::new();
    let mut kept: Vec<_> = all.into_iter().filter(|one| is_in_time(one, bundle.at, &mut told)).collect();
    kept.retain(|one| RootCertStore::empty().add(one.clone()).is_ok());
    if kept.is_empty() {
        if told.len() == count {
            problems.extend(told);
        } else {
            let message = "no certificate in this file can be trusted as an authority";
            problems.push(Problem::at(codes::BAD_CERTIFICATE, bundle.at, message));
        }
        return None;
    }
    problems.extend(told.into_iter().map(Problem::warning));
    Some(kept)
}

fn certificates(
    file: Written<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read(file, files, problems)?;
    let bad = |message: &str| Problem::at(codes::BAD_CERTIFICATE, file.at, message);
    let Ok(found) = CertificateDer::pem_slice_iter(&bytes).take(MAX + 1).collect::<Result<Vec<_>, _>>() else {
        problems.push(bad("a certificate in this file is not well-formed PEM"));
        return None;
    };
    if found.is_empty() {
        problems.push(
            bad("this file holds no certificate").help("PEM is needed: the text that begins with BEGIN CERTIFICATE"),
        );
        return None;
    }
    if found.len() > MAX {
        problems.push(bad("this file holds more than 1024 certificates"));
        return None;
    }
    // With nothing behind it: whoever reads strictly would not take it.
    if !found.iter().all(|der| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())) {
        problems.push(bad("a certificate in this file cannot be parsed"));
        return None;
    }
    Some(found)
}

fn private_key(file: Written<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<PrivateKeyDer<'static>> {
    let bytes = read(file, files, problems)?;
    // Read back from bare DER, as the proxy library does.
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    let key = key.and_then(|key| PrivateKeyDer::try_from(key.secret_der().to_vec()).ok());
    if key.is_none() {
        let encrypted = b"ENCRYPTED";
        let help = match bytes.windows(encrypted.len()).any(|piece| piece == encrypted) {
            true => "it is encrypted: nobody would be there to type the password, so write it without one",
            false => "PEM is needed: the text that begins with BEGIN PRIVATE KEY",
        };
        problems.push(Problem::at(codes::BAD_CERTIFICATE, file.at, "this file holds no usable private key").help(help));
    }
    key
}

fn read(file: Written<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    match files.read(&file.at.source.resolve(file.path)) {
        Ok(bytes) => Some(bytes),
        Err(unreadable) => {
            problems.push(Problem::at(unreadable.code, file.at, unreadable.message));
            None
        }
    }
}

/// One that begins later is only warned about: clocks differ, and it is seldom a mistake.
fn is_in_time(der: &CertificateDer<'_>, at: At<'_>, problems: &mut Vec<Problem>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let now = clock::now().unix_seconds();
    let day = |time: i64| jiff::Timestamp::from_second(time).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    if until < now {
        let message = format!("a certificate in this file has expired at {}", day(until));
        problems.push(Problem::at(codes::EXPIRED, at, message).help("renew it, then reload"));
        return false;
    }
    if from > now {
        let message = format!("a certificate in this file is not valid before {}", day(from));
        problems.push(Problem::at(codes::EXPIRED, at, message).warning());
    }
    true
}
