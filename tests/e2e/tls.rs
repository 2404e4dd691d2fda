//! TLS of the listeners: which certificate is shown, who must have one, renewal, HTTP/2 by agreement, silence.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::bed::{Bed, Running, until};
use super::issuer::token;
use super::upstreams::{Authority, authority, signed};
use super::wire::Address;

pub(crate) type Pem = (String, String);

pub(crate) fn write(bed: &Bed, name: &str, (certificate, key): &Pem) {
    std::fs::write(bed.folder().join(format!("{name}.crt")), certificate).unwrap();
    std::fs::write(bed.folder().join(format!("{name}.key")), key).unwrap();
}

fn bed(tls: &str) -> Bed {
    Bed::new().section(&format!("listeners: [{{ address: \"{{gate}}\", tls: {{ {tls} }} }}]"))
}

const OWN: &str = "certificate: own.crt, key: own.key";

pub(crate) fn client(trusted: &Authority, own: Option<&Pem>, protocols: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn socket(bed: &Running) -> TcpStream {
    let Address::Tcp(address) = bed.gate else { panic!("not on TCP") };
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(super::bed::DEADLINE)).unwrap();
    socket
}

/// One GET as `name`; the answer, and the certificate that was shown.
fn ask(bed: &Running, config: ClientConfig, name: &str) -> std::io::Result<(String, CertificateDer<'static>)> {
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, socket(bed));
    stream.write_all(format!("GET /public/x HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(problem) if answer.is_empty() => return Err(problem),
        _ => {}
    }
    let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((answer, shown))
}

/// The certificate that `a.example` shows.
pub(crate) fn shown(bed: &Running, trusted: &Authority) -> CertificateDer<'static> {
    ask(bed, client(trusted, None, &[]), "a.example").unwrap().1
}

pub(crate) fn der((certificate, _): &Pem) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
}

#[test]
fn the_certificate_is_the_one_that_was_asked_for() {
    let authority = authority();
    let bed = bed(&format!(
        "{OWN}, certificates: [{{ certificate: b.crt, key: b.key }}, {{ certificate: c.crt, key: c.key }}]"
    ));
    let (own, b, c) = (
        signed(&authority, "a.example", false),
        signed(&authority, "b.example", false),
        signed(&authority, "*.c.example", false),
    );
    for (name, pem) in [("own", &own), ("b", &b), ("c", &c)] {
        write(&bed, name, pem);
    }
    let bed = bed.start();
    for (name, expected) in [("a.example", &own), ("b.example", &b), ("x.c.example", &c)] {
        let (answer, shown) = ask(&bed, client(&authority, None, &[]), name).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        assert_eq!(shown, der(expected), "{name}");
    }
    let stranger = ask(&bed, client(&authority, None, &[]), "other.example").unwrap_err();
    assert!(stranger.to_string().contains("not valid for name"), "{stranger}");
    assert_eq!(bed.origin().last().values("x-forwarded-proto"), ["https"]);
}

#[test]
fn clients_need_a_certificate_of_the_right_authority() {
    let (ours, theirs, other) = (authority(), authority(), authority());
    for (auth, without) in [("required", false), ("optional", true)] {
        let bed = bed(&format!("{OWN}, client_ca: clients.pem, client_auth: {auth}"));
        write(&bed, "own", &signed(&ours, "a.example", false));
        std::fs::write(bed.folder().join("clients.pem"), theirs.pem()).unwrap();
        let bed = bed.start();
        let come = |own: Option<&Pem>| ask(&bed, client(&ours, own, &[]), "a.example").is_ok();
        assert!(come(Some(&signed(&theirs, "client", false))), "{auth}");
        assert!(!come(Some(&signed(&other, "client", false))), "{auth}: another authority");
        assert!(!come(Some(&signed(&theirs, "client", true))), "{auth}: expired");
        assert_eq!(come(None), without, "{auth}: none");
        assert!(bed.metric("crossgate_connections_unopened_total{reason=\"handshake\"}") >= 2.0);
    }
}

#[test]
fn a_renewed_certificate_serves_after_a_reload_and_a_broken_one_does_not() {
    let authority = authority();
    let bed = bed(OWN);
    let (first, second) = (signed(&authority, "a.example", false), signed(&authority, "a.example", false));
    write(&bed, "own", &first);
    let bed = bed.start();
    let shown = || ask(&bed, client(&authority, None, &[]), "a.example").unwrap().1;
    assert_eq!(shown(), der(&first));
    std::fs::write(bed.folder().join("own.crt"), &second.0).unwrap();
    std::fs::write(bed.folder().join("own.key"), &second.1).unwrap();
    bed.process.signal("HUP");
    until("the new certificate", || (shown() == der(&second)).then_some(()));
    // The key is the second's: together they are nothing.
    std::fs::write(bed.folder().join("own.crt"), &first.0).unwrap();
    bed.process.signal("HUP");
    until("it is said", || (bed.metric("crossgate_config_stale") == 1.0).then_some(()));
    assert_eq!(shown(), der(&second));
}

#[test]
fn what_no_handshake_would_survive_does_not_start() {
    let authority = authority();
    let good = signed(&authority, "a.example", false);
    let table = [
        ("expired", signed(&authority, "a.example", true), "has expired"),
        ("mismatch", (good.0.clone(), signed(&authority, "a.example", false).1), "belongs to another certificate"),
        ("no key", (good.0.clone(), good.0.clone()), "holds no usable private key"),
        ("no certificate", (good.1.clone(), good.1), "holds no certificate"),
    ];
    for (name, pem, expected) in table {
        let bed = bed(OWN);
        write(&bed, "own", &pem);
        let (gate, admin) = (bed.folder().join("gate.sock"), bed.folder().join("admin.sock"));
        let ended = bed.fail_at(&Address::Unix(gate), &Address::Unix(admin));
        assert_eq!(ended.status.code(), Some(1), "{name}");
        assert!(ended.stderr.contains(expected), "{name}: {}", ended.stderr);
        assert!(!ended.stderr.contains("-----"), "{name}: {}", ended.stderr);
    }
}

#[test]
fn http2_is_agreed_on_in_the_handshake() {
    let authority = authority();
    let bed = bed(OWN);
    write(&bed, "own", &signed(&authority, "a.example", false));
    let bed = bed.start();
    let config = Arc::new(client(&authority, None, &[b"h2", b"http/1.1"]));
    let Address::Tcp(address) = bed.gate else { panic!("not on TCP") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = |method: &str, target: &str| {
            http::Request::builder()
                .method(method)
                .uri(format!("https://a.example{target}"))
                .header("authorization", format!("Bearer {}", token("user_ada").sign()))
        };
        for _ in 0..3 {
            let answer = sender.send_request(request("GET", "/me").body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(answer.headers().contains_key("x-request-id"));
        }
        let big = Bytes::from(vec![b'x'; 3_000_000]);
        let answer = sender.send_request(request("POST", "/public/x").body(Full::new(big)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        let refused = http::Request::get("https://a.example/me").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(sender.send_request(refused).await.unwrap().status(), 401);
    });
    assert_eq!(bed.origin().last().body.len(), 3_000_000);
    let signed_in = bed.origin().all().into_iter().find(|request| request.target() == "/me").unwrap();
    assert_eq!(signed_in.values("x-crossgate-subject"), ["user_ada"]);
    assert_eq!(signed_in.values("x-forwarded-proto"), ["https"]);
}

#[test]
fn who_starts_a_handshake_and_falls_silent_is_cut_and_delays_nobody() {
    let authority = authority();
    let bed = bed(OWN).section("limits: { first_byte: 1s, header_read: 2s }");
    write(&bed, "own", &signed(&authority, "a.example", false));
    let bed = bed.start();
    let cut = || bed.metric("crossgate_connections_unopened_total{reason=\"silent\"}");
    // Whoever waits for a bed to serve connects and says nothing.
    until("that one's end", || (cut() == 1.0).then_some(()));
    let silent: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut socket = socket(&bed);
            socket.write_all(&[0x16]).unwrap();
            socket
        })
        .collect();
    assert!(ask(&bed, client(&authority, None, &[]), "a.example").is_ok());
    for mut socket in silent {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.len() < 100, "no more than an alert");
    }
    until("the count", || (cut() == 201.0).then_some(()));
    // Plain HTTP is no handshake.
    let mut plain = socket(&bed);
    plain.write_all(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/"));
    assert_eq!(bed.origin().count(), 1, "the good one");
}
