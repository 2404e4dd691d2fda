//! Several endpoints, health checks, names, TLS to the API, HTTP/2 to the API.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::bed::{Bed, Running, until};
use super::origin::{Answer, Origin};

const OPEN: &str = "routes: [{ id: all, match: { path: \"/{*rest}\" }, access: public }]";

fn bed(app: &str) -> Bed {
    Bed::new().policy(OPEN).section(&format!("upstreams: {{ app: {{ {app} }} }}"))
}

fn named(name: &'static str) -> Origin {
    let origin = Origin::start();
    origin.answers(move |_| Answer::text(200, name));
    origin
}

#[test]
fn endpoints_take_turns() {
    let (one, two) = (named("one"), named("two"));
    let bed = bed(&format!("endpoints: [\"{}\", \"{}\"]", one.address, two.address)).start();
    for _ in 0..10 {
        assert_eq!(bed.get("/x").send().status, 200);
    }
    assert_eq!((one.count(), two.count()), (5, 5));
}

#[test]
fn unhealthy_endpoints_are_left_out_until_they_are_well() {
    let (one, two) = (named("one"), named("two"));
    let bed = bed(&format!(
        "endpoints: [\"{}\", \"{}\"], health: {{ path: \"/healthz?deep=1\", interval: 100ms, healthy: 2, unhealthy: 2 }}",
        one.address, two.address
    ))
    .start();
    let state =
        |state: &str| bed.metric(&format!("crossgate_upstream_endpoints{{state=\"{state}\",upstream=\"app\"}}"));
    let sick = |request: &super::origin::Recorded| match request.target().as_str() {
        "/healthz?deep=1" => Answer::text(500, "ill"),
        _ => Answer::text(200, "two"),
    };
    two.answers(sick);
    until("one left", || (state("healthy") == 1.0 && state("unhealthy") == 1.0).then_some(()));
    for _ in 0..6 {
        assert_eq!(bed.get("/x").send().text(), "one");
    }
    one.answers(sick);
    until("none left", || (state("unhealthy") == 2.0).then_some(()));
    let answer = bed.get("/x").send();
    assert_eq!(answer.outcome(), "503 upstream_unavailable");
    assert!(answer.header("retry-after").is_some());
    two.answers(|_| Answer::text(200, "two"));
    until("two is back", || (state("healthy") == 1.0).then_some(()));
    assert_eq!(bed.get("/x").send().text(), "two");
    let check = two.all().into_iter().find(|request| request.target() == "/healthz?deep=1").unwrap();
    assert!(check.values("x-crossgate-request-id").is_empty(), "a check is nobody's request");
}

#[test]
fn names_are_resolved_and_unknown_ones_are_503() {
    let origin = Origin::start();
    let named = bed(&format!("endpoints: [\"localhost:{}\"]", origin.address.port())).start();
    assert_eq!(named.get("/x").send().status, 200);
    assert_eq!(named.post("/x").body("x").send().status, 200, "also where ::1 comes first and refuses");
    let unknown = bed("endpoints: [\"api.invalid:80\"]").start();
    assert_eq!(unknown.get("/x").send().outcome(), "503 upstream_unavailable");
    until("a count", || {
        (unknown.metric("crossgate_upstream_resolve_failures_total{upstream=\"app\"}") > 0.0).then_some(())
    });
}

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for a name, as PEM.
pub(crate) fn signed(by: &Authority, name: &str, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

pub(crate) fn server_config((certificate, key): &(String, String), clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
}

/// An API over TLS that says `good`, once a connection.
fn tls_api(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
                let (mut head, mut one) = (Vec::new(), [0]);
                loop {
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read(&mut one) {
                            Ok(1..) => head.push(one[0]),
                            _ => return,
                        }
                    }
                    head.clear();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                    if stream.write_all(answer).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Writes these files into the bed's folder.
fn with(bed: Bed, files: &[(&str, &str)]) -> Bed {
    files.iter().for_each(|(name, text)| std::fs::write(bed.folder().join(name), text).unwrap());
    bed
}

fn outcome(bed: &Running) -> String {
    bed.get("/x").send().outcome()
}

#[test]
fn an_api_is_verified_in_every_case() {
    let (ours, other) = (authority(), authority());
    let good = tls_api(server_config(&signed(&ours, "api.internal", false), None));
    let expired = tls_api(server_config(&signed(&ours, "api.internal", true), None));
    let by_address = tls_api(server_config(&signed(&ours, "127.0.0.1", false), None));
    let (yes, no) = ("200 ok", "502 upstream_unavailable");
    let cases = [
        ("the right authority", good, "sni: api.internal, ca: ours.pem", yes),
        ("an address as its name", by_address, "sni: 127.0.0.1, ca: ours.pem", yes),
        ("another authority", good, "sni: api.internal, ca: other.pem", no),
        ("the platform's authorities", good, "sni: api.internal", no),
        ("another name", good, "sni: other.internal, ca: ours.pem", no),
        ("a name where it has an address", by_address, "sni: api.internal, ca: ours.pem", no),
        ("expired", expired, "sni: api.internal, ca: ours.pem", no),
    ];
    for (name, address, tls, expected) in cases {
        let bed = bed(&format!("endpoints: [\"{address}\"], tls: {{ {tls} }}"));
        let bed = with(bed, &[("ours.pem", &ours.pem()), ("other.pem", &other.pem())]);
        // Not what this machine happens to trust.
        let platform = bed.folder().join("other.pem").display().to_string();
        let bed = bed.env("SSL_CERT_FILE", &platform).start();
        assert_eq!(outcome(&bed), expected, "{name}");
        assert_eq!(outcome(&bed), expected, "{name}, again");
    }
}

#[test]
fn what_the_platform_trusts_is_trusted_without_ca() {
    let ours = authority();
    let address = tls_api(server_config(&signed(&ours, "api.internal", false), None));
    let bed =
        with(bed(&format!("endpoints: [\"{address}\"], tls: {{ sni: api.internal }}")), &[("ours.pem", &ours.pem())]);
    let platform = bed.folder().join("ours.pem").display().to_string();
    assert_eq!(outcome(&bed.env("SSL_CERT_FILE", &platform).start()), "200 ok");
}

#[test]
fn a_certificate_is_shown_where_the_api_demands_one() {
    let (ours, people) = (authority(), authority());
    let address = tls_api(server_config(&signed(&ours, "api.internal", false), Some(&people)));
    let (mine, strange) = (signed(&people, "crossgate", false), signed(&ours, "crossgate", false));
    let cases = [
        ("none", "", "502 upstream_unavailable"),
        ("mine", ", certificate: mine.pem, key: mine.key", "200 ok"),
        ("a stranger's", ", certificate: strange.pem, key: strange.key", "502 upstream_unavailable"),
    ];
    for (name, more, expected) in cases {
        let tls = format!(
            "tls: {{ sni: api.internal, ca: ours.pem{more} }}, health: {{ path: /, interval: 100ms, healthy: 1, unhealthy: 1 }}"
        );
        let bed = bed(&format!("endpoints: [\"{address}\"], {tls}"));
        let files: [(&str, &str); 5] = [
            ("ours.pem", &ours.pem()),
            ("mine.pem", &mine.0),
            ("mine.key", &mine.1),
            ("strange.pem", &strange.0),
            ("strange.key", &strange.1),
        ];
        let bed = with(bed, &files).start();
        // The health check is refused in the same way.
        let expected = if expected == "200 ok" { expected } else { "503 upstream_unavailable" };
        until(name, || (outcome(&bed) == expected).then_some(()));
    }
}

/// The pool must not hand out a connection that was verified against authorities that are trusted no more.
#[test]
fn a_changed_authority_is_a_changed_snapshot_and_parts_the_pools() {
    let (ours, other) = (authority(), authority());
    let address = tls_api(server_config(&signed(&ours, "api.internal", false), None));
    let bed = bed(&format!("endpoints: [\"{address}\"], tls: {{ sni: api.internal, ca: ca.pem }}"));
    let bed = with(bed, &[("ca.pem", &ours.pem())]).start();
    let id = |bed: &Running| bed.ask_admin("/v1/snapshot").json()["snapshot"].as_str().unwrap().to_owned();
    let before = id(&bed);
    assert_eq!(outcome(&bed), "200 ok");
    std::fs::write(bed.folder().join("ca.pem"), other.pem()).unwrap();
    bed.process.signal("HUP");
    until("the reload", || (id(&bed) != before).then_some(()));
    assert_eq!(outcome(&bed), "502 upstream_unavailable");
    std::fs::write(bed.folder().join("ca.pem"), ours.pem()).unwrap();
    bed.process.signal("HUP");
    until("the reload", || (id(&bed) == before).then_some(()));
    assert_eq!(outcome(&bed), "200 ok");
}

#[test]
fn what_tls_cannot_use_is_told_before_anything_starts() {
    let ours = authority();
    let (good, late) = (signed(&ours, "crossgate", false), signed(&ours, "crossgate", true));
    let cases = [
        ("ca: none.pem", "CG0001"),
        ("ca: text.pem", "CG0208"),
        ("ca: mine.key", "CG0208"),
        ("certificate: mine.pem, key: mine.pem", "CG0208"),
        ("certificate: mine.pem, key: late.key", "CG0210"),
        ("certificate: late.pem, key: late.key", "CG0209"),
        ("certificate: mine.pem", "CG0101"),
        ("key: mine.key", "CG0101"),
    ];
    for (tls, code) in cases {
        let bed = bed(&format!("endpoints: [\"127.0.0.1:1\"], tls: {{ sni: api.internal, {tls} }}"));
        let files: [(&str, &str); 5] = [
            ("text.pem", "not PEM"),
            ("mine.pem", &good.0),
            ("mine.key", &good.1),
            ("late.pem", &late.0),
            ("late.key", &late.1),
        ];
        let bed = with(bed, &files);
        let at = |name: &str| super::wire::Address::Unix(bed.folder().join(name));
        let ended = bed.fail_at(&at("gate.sock"), &at("admin.sock"));
        assert_eq!(ended.status.code(), Some(1), "{tls}: {}", ended.stderr);
        assert!(ended.stderr.contains(code), "{tls}: {}", ended.stderr);
        assert!(!ended.stderr.contains(good.1.lines().nth(1).unwrap()), "{tls}");
    }
}

/// An API that speaks HTTP/2 only: says version and authority, and gives bodies back as they come.
struct Http2Api {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn http2_api(tls: Option<ServerConfig>) -> Http2Api {
    let (sent, address) = std::sync::mpsc::channel();
    let (connections, seen): (Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) = Default::default();
    let (count, record) = (Arc::clone(&connections), Arc::clone(&seen));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sent.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = tls.map(|mut config| {
                config.alpn_protocols = vec![b"h2".to_vec()];
                pingora::tls::TlsAcceptor::from(Arc::new(config))
            });
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        record.lock().unwrap().push(format!("{:?} {}", request.version(), request.uri().path()));
                        async move {
                            if request.uri().path() == "/stream" {
                                let trailers = http::HeaderMap::from_iter([(
                                    http::HeaderName::from_static("grpc-status"),
                                    http::HeaderValue::from_static("0"),
                                )]);
                                let body = request.into_body().with_trailers(async { Some(Ok(trailers)) });
                                return Ok(http::Response::new(body.boxed()));
                            }
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let body = if body.is_empty() { Bytes::from_static(b"good") } else { body };
                            Ok::<_, std::convert::Infallible>(http::Response::new(
                                Full::new(body).map_err(|never| match never {}).boxed(),
                            ))
                        }
                    });
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = match acceptor {
                        Some(acceptor) => match acceptor.accept(socket).await {
                            Ok(socket) => builder.serve_connection(TokioIo::new(socket), service).await,
                            Err(_) => return,
                        },
                        None => builder.serve_connection(TokioIo::new(socket), service).await,
                    };
                });
            }
        });
    });
    Http2Api { address: address.recv().unwrap(), connections, seen }
}

fn speaks_http2(bed: &Running, api: &Http2Api) {
    assert_eq!(bed.get("/first").send().text(), "good");
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(bed.post("/echo").body(&large).send().body, large);
    assert_eq!(bed.post("/chunks").chunked(&large).send().body, large);
    let before = api.connections.load(Ordering::SeqCst);
    for n in 0..20 {
        assert_eq!(bed.post(&format!("/{n}")).body("x").send().text(), "x");
    }
    assert!(api.connections.load(Ordering::SeqCst) <= before + 1, "connections are shared");
    let seen = api.seen.lock().unwrap();
    assert_eq!(seen.len(), 23, "each once");
    assert!(seen.iter().all(|line| line.starts_with("HTTP/2.0 ")), "{seen:?}");
}

#[test]
fn h2c_to_the_api() {
    let api = http2_api(None);
    speaks_http2(&bed(&format!("endpoints: [\"{}\"], protocol: h2c", api.address)).start(), &api);
}

#[test]
fn http2_over_tls_to_the_api() {
    let ours = authority();
    let api = http2_api(Some(server_config(&signed(&ours, "api.internal", false), None)));
    let bed =
        bed(&format!("endpoints: [\"{}\"], protocol: http2, tls: {{ sni: api.internal, ca: ours.pem }}", api.address));
    speaks_http2(&with(bed, &[("ours.pem", &ours.pem())]).start(), &api);
}

/// A body that is sent as it is handed in.
struct Handed(tokio::sync::mpsc::Receiver<&'static str>);

impl hyper::body::Body for Handed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|text| Ok(hyper::body::Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

/// What gRPC needs: both ways at once, piece by piece, and trailers at the end.
#[test]
fn http2_streams_both_ways_and_brings_trailers() {
    let api = http2_api(None);
    let bed = bed(&format!("endpoints: [\"{}\"], protocol: h2c", api.address))
        .section("listeners: [{ address: \"{gate}\", h2c: true }]")
        .start();
    let super::wire::Address::Tcp(gate) = bed.gate else { panic!("a TCP bed") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(gate).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let (pieces, handed) = tokio::sync::mpsc::channel(1);
        let request = http::Request::post(format!("http://{gate}/stream")).body(Handed(handed)).unwrap();
        pieces.send("one").await.unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        for (piece, next) in [("one", Some("two")), ("two", Some("three")), ("three", None)] {
            let frame = answer.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece, "before the next was sent");
            if let Some(next) = next {
                pieces.send(next).await.unwrap();
            }
        }
        drop(pieces);
        while let Some(frame) = answer.body_mut().frame().await {
            if let Ok(trailers) = frame.unwrap().into_trailers() {
                assert_eq!(trailers.get("grpc-status").unwrap(), "0");
                return;
            }
        }
        panic!("no trailers");
    };
    runtime.block_on(async { tokio::time::timeout(super::bed::DEADLINE, exchange).await.unwrap() });
}

#[test]
fn health_is_asked_in_the_protocol_of_the_traffic() {
    let api = http2_api(None);
    let health = "health: { path: /healthz, interval: 100ms, healthy: 1, unhealthy: 1 }";
    let bed = bed(&format!("endpoints: [\"{}\"], protocol: h2c, {health}", api.address)).start();
    until("a check", || api.seen.lock().unwrap().contains(&"HTTP/2.0 /healthz".to_owned()).then_some(()));
    assert_eq!(bed.get("/x").send().text(), "good");
    let old = Origin::start();
    let wrong = self::bed(&format!("endpoints: [\"{}\"], protocol: h2c, {health}", old.address)).start();
    until("a verdict", || (outcome(&wrong) == "503 upstream_unavailable").then_some(()));
}
