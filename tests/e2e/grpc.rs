//! gRPC with a client and a server of its own (tonic): every kind of call, statuses in trailers, refusals, deadlines,
//! streams that rest and streams that are given up.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::{self, Stream, StreamExt};
use tonic::codegen::{BoxFuture, BoxStream, Service};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use super::bed::{Bed, DEADLINE, Running, reserve, until};
use super::issuer::token;
use super::tls;
use super::upstreams::{authority, signed};
use super::wire::Address;

const POLICY: &str = r#"
routes:
  - id: echo
    match: { method: [POST], path: "/test.Echo/{method}" }
  - id: admin
    match: { method: [POST], path: "/test.Admin/{method}" }
    require: { org: any, role: [org:admin] }
"#;

/// Messages are bytes.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A function as a service.
struct Handler<F>(F);

impl<F, A, B, T> Service<Request<A>> for Handler<F>
where
    F: FnMut(Request<A>) -> T,
    T: Future<Output = Result<Response<B>, Status>>,
{
    type Response = Response<B>;
    type Error = Status;
    type Future = T;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> T {
        (self.0)(request)
    }
}

/// What the server knows.
#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<MetadataMap>>,
    given_up: AtomicUsize,
    /// Told to drop every connection.
    death: Notify,
}

/// A stream that counts when it is let go of.
struct Watched(Arc<Seen>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

/// A gRPC server without TLS.
struct Api {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Api {
    fn start() -> Self {
        let (sent, address) = std::sync::mpsc::channel();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sent.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    socket.set_nodelay(true).unwrap();
                    let seen = Arc::clone(&shared);
                    let serving = Arc::clone(&seen);
                    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&serving)));
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let connection = builder.serve_connection(TokioIo::new(socket), service);
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = connection => {}
                            () = seen.death.notified() => {}
                        }
                    });
                }
            });
        });
        Self { address: address.recv().unwrap(), seen }
    }

    /// A value of the last call's metadata, in all its lines.
    fn last(&self, name: &str) -> Vec<String> {
        let calls = self.seen.calls.lock().unwrap();
        let last = calls.last().expect("no call came through");
        last.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    fn calls(&self) -> usize {
        self.seen.calls.lock().unwrap().len()
    }
}

async fn answer(
    request: http::Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    seen.calls.lock().unwrap().push(MetadataMap::from_headers(request.headers().clone()));
    let mut grpc = tonic::server::Grpc::new(Plain);
    Ok(match method.as_str() {
        "Unary" => grpc.unary(Handler(unary), request).await,
        "Refuse" => {
            grpc.unary(Handler(|_: Request<Bytes>| async { Err::<Response<Bytes>, _>(refusal()) }), request).await
        }
        "Count" => grpc.server_streaming(Handler(count), request).await,
        "Join" => grpc.client_streaming(Handler(join), request).await,
        "Chat" => grpc.streaming(Handler(chat), request).await,
        "Rest" => {
            let rest = move |_: Request<Bytes>| {
                let watched = Watched(Arc::clone(&seen));
                async move { Ok(Response::new(rest(watched))) }
            };
            grpc.server_streaming(Handler(rest), request).await
        }
        "Hang" => std::future::pending().await,
        other => panic!("no such method: {other}"),
    })
}

/// Gives the message back; metadata ahead of it.
async fn unary(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let mut response = Response::new(request.into_inner());
    response.metadata_mut().insert("x-answer", "head".parse().unwrap());
    Ok(response)
}

/// As many messages as it is told, then a status with everything that one may hold.
async fn count(request: Request<Bytes>) -> Result<Response<BoxStream<Bytes>>, Status> {
    let upto: u8 = std::str::from_utf8(&request.into_inner()).unwrap().parse().unwrap();
    let numbers = (1..=upto).map(|n| Ok(Bytes::from(n.to_string())));
    let all: Vec<_> = numbers.chain([Err(refusal())]).collect();
    Ok(Response::new(Box::pin(tokio_stream::iter(all))))
}

async fn join(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let mut messages = request.into_inner();
    let mut joined = Vec::new();
    while let Some(message) = messages.message().await? {
        joined.extend_from_slice(&message);
    }
    Ok(Response::new(joined.into()))
}

async fn chat(request: Request<Streaming<Bytes>>) -> Result<Response<BoxStream<Bytes>>, Status> {
    Ok(Response::new(Box::pin(request.into_inner())))
}

/// One message, and silence.
fn rest(watched: Watched) -> BoxStream<Bytes> {
    let first = tokio_stream::once(Ok(Bytes::from_static(b"first")));
    Box::pin(first.chain(tokio_stream::pending()).map(move |message| {
        let _kept = &watched;
        message
    }))
}

/// A status whose message needs escaping, with details and metadata.
fn refusal() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "of its own".parse().unwrap());
    metadata.insert_bin("x-raw-bin", MetadataValue::from_bytes(&[0, 255, 10]));
    let details = Bytes::from_static(&[8, 9, 0, 255]);
    Status::with_details_and_metadata(Code::FailedPrecondition, "100 % über\nall", details, metadata)
}

fn is_the_refusal(status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "100 % über\nall"), "{status:?}");
    assert_eq!(status.details(), [8, 9, 0, 255]);
    assert_eq!(status.metadata().get("x-reason").unwrap(), "of its own");
    assert_eq!(status.metadata().get_bin("x-raw-bin").unwrap().to_bytes().unwrap().as_ref(), [0, 255, 10]);
}

/// A client's connection.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Client(Grpc<Connection>);

impl Client {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, origin: &'static str) -> Self {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(Grpc::with_origin(Connection(sender), http::Uri::from_static(origin)))
    }

    async fn connect(bed: &Running) -> Self {
        let Address::Tcp(gate) = bed.gate else { panic!("not on TCP") };
        let socket = tokio::net::TcpStream::connect(gate).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket, "http://api.test").await
    }

    async fn unary(&mut self, path: &'static str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.0.ready().await.unwrap();
        self.0.unary(request, PathAndQuery::from_static(path), Plain).await
    }

    async fn get(&mut self, path: &'static str, request: Request<Bytes>) -> Result<Response<Streaming<Bytes>>, Status> {
        self.0.ready().await.unwrap();
        self.0.server_streaming(request, PathAndQuery::from_static(path), Plain).await
    }

    async fn put<S>(&mut self, path: &'static str, request: Request<S>) -> Result<Response<Bytes>, Status>
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        self.0.ready().await.unwrap();
        self.0.client_streaming(request, PathAndQuery::from_static(path), Plain).await
    }

    /// A stream that says one thing and rests.
    async fn resting(&mut self) -> Streaming<Bytes> {
        let mut stream = self.get("/test.Echo/Rest", ada(bytes("x"))).await.unwrap().into_inner();
        assert_eq!(stream.message().await.unwrap().unwrap(), "first");
        stream
    }

    /// Messages go up as they are handed in.
    async fn chat(&mut self, request: Request<()>) -> (mpsc::Sender<&'static str>, Streaming<Bytes>) {
        let (messages, handed) = mpsc::channel(1);
        messages.send("hello").await.unwrap();
        self.0.ready().await.unwrap();
        let request = request.map(|()| Handed(handed));
        let path = PathAndQuery::from_static("/test.Echo/Chat");
        let mut answers = self.0.streaming(request, path, Plain).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap(), "hello");
        (messages, answers)
    }
}

struct Handed(mpsc::Receiver<&'static str>);

impl Stream for Handed {
    type Item = Bytes;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(context).map(|message| message.map(|text| Bytes::from_static(text.as_bytes())))
    }
}

/// What a client of its own calls, through a gate with these options of its upstream; both as they are afterwards.
fn calling(options: &str, calls: impl AsyncFnOnce(&mut Client, &Api)) -> (Api, Running) {
    let api = Api::start();
    let bed = bed_to(api.address, options).start();
    run(async { calls(&mut Client::connect(&bed).await, &api).await });
    (api, bed)
}

fn bed_to(address: SocketAddr, options: &str) -> Bed {
    Bed::new()
        .policy(POLICY)
        .section("listeners: [{ address: \"{gate}\", h2c: true }]")
        .section(&format!("upstreams: {{ app: {{ endpoints: [\"{address}\"], protocol: h2c{options} }} }}"))
}

/// A request of `user_ada`, who is no admin.
fn ada<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", token("user_ada").org("org_1", "acme", "member").sign());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await.expect("not within the deadline") })
}

#[test]
fn every_kind_of_call_passes_with_the_callers_identity() {
    let (_api, bed) = calling("", async |client, api| {
        every_kind(client, api).await;
    });
    let lines = bed.access_lines(4);
    assert!(lines.iter().all(|line| line["status"] == 200 && line["code"] == "ok"), "{lines:?}");
}

async fn every_kind(client: &mut Client, api: &Api) {
    let mut request = ada(bytes("one"));
    request.metadata_mut().insert("x-crossgate-subject", "user_eve".parse().unwrap());
    request.metadata_mut().insert("x-own", "kept".parse().unwrap());
    request.metadata_mut().insert_bin("x-own-bin", MetadataValue::from_bytes(&[1, 255]));
    let answer = client.unary("/test.Echo/Unary", request).await.unwrap();
    assert_eq!(answer.metadata().get("x-answer").unwrap(), "head");
    assert_eq!(answer.metadata().get("grpc-status").unwrap(), "0", "from the trailers");
    assert_eq!(answer.into_inner(), "one");
    assert_eq!(api.last("x-crossgate-subject"), ["user_ada"]);
    assert_eq!(api.last("x-own"), ["kept"]);
    assert_eq!(api.last("te"), ["trailers"], "gRPC servers may insist on it");
    assert_eq!(api.last("content-type"), ["application/grpc"]);
    let sent = api.seen.calls.lock().unwrap().last().unwrap().get_bin("x-own-bin").unwrap().to_bytes().unwrap();
    assert_eq!(sent.as_ref(), [1, 255]);

    let mut numbers = client.get("/test.Echo/Count", ada(bytes("3"))).await.unwrap().into_inner();
    for expected in ["1", "2", "3"] {
        assert_eq!(numbers.message().await.unwrap().unwrap(), expected);
    }
    is_the_refusal(&numbers.message().await.unwrap_err());
    assert_eq!(api.last("x-crossgate-subject"), ["user_ada"]);

    let parts = tokio_stream::iter(["a", "b", "c"].map(bytes));
    assert_eq!(client.put("/test.Echo/Join", ada(parts)).await.unwrap().into_inner(), "abc");
    assert_eq!(api.last("x-crossgate-subject"), ["user_ada"]);

    let (messages, mut answers) = client.chat(ada(())).await;
    for message in ["one", "two"] {
        messages.send(message).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), message, "before the next is sent");
    }
    drop(messages);
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(answers.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    assert_eq!(api.last("x-crossgate-subject"), ["user_ada"]);
}

#[test]
fn the_same_over_tls() {
    let (api, ours) = (Api::start(), authority());
    let bed = bed_to(api.address, "")
        .section("listeners: [{ address: \"{gate}\", tls: { certificate: own.crt, key: own.key } }]");
    tls::write(&bed, "own", &signed(&ours, "a.example", false));
    let bed = bed.start();
    run(async {
        let Address::Tcp(gate) = bed.gate else { panic!("not on TCP") };
        let config = Arc::new(tls::client(&ours, None, &[b"h2"]));
        let socket = tokio::net::TcpStream::connect(gate).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
        let mut client = Client::over(stream, "https://a.example").await;
        every_kind(&mut client, &api).await;
    });
    assert_eq!(api.last("x-forwarded-proto"), ["https"]);
}

#[test]
fn the_servers_status_passes_also_without_a_message() {
    calling("", async |client, _| {
        is_the_refusal(&client.unary("/test.Echo/Refuse", ada(bytes("x"))).await.unwrap_err());
        let mut none = client.get("/test.Echo/Count", ada(bytes("0"))).await.unwrap().into_inner();
        is_the_refusal(&none.message().await.unwrap_err());
    });
}

#[test]
fn the_clients_deadline_reaches_the_server() {
    calling("", async |client, api| {
        let mut request = ada(bytes("x"));
        request.set_timeout(Duration::from_secs(5));
        let sent = request.metadata().get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
        client.unary("/test.Echo/Unary", request).await.unwrap();
        assert_eq!(api.last("grpc-timeout"), [sent]);
    });
}

#[test]
fn refusals_are_statuses_and_the_connection_goes_on() {
    calling("", async |client, api| {
        let told = |status: Status| (status.code(), status.message().to_owned());
        let stranger = client.unary("/test.Echo/Unary", Request::new(bytes("x"))).await.unwrap_err();
        assert!(stranger.metadata().contains_key("x-request-id"));
        assert_eq!(told(stranger), (Code::Unauthenticated, "no_credential".to_owned()));
        let member = client.unary("/test.Admin/Unary", ada(bytes("x"))).await.unwrap_err();
        assert_eq!(told(member), (Code::PermissionDenied, "forbidden".to_owned()));
        let unrouted = client.unary("/test.Other/Unary", ada(bytes("x"))).await.unwrap_err();
        assert_eq!(told(unrouted), (Code::PermissionDenied, "no_route".to_owned()));
        let stream = client.get("/test.Echo/Count", Request::new(bytes("3"))).await.unwrap_err();
        assert_eq!(told(stream), (Code::Unauthenticated, "no_credential".to_owned()));
        // Refused while the client still has something to say.
        let endless = tokio_stream::once(bytes("x")).chain(tokio_stream::pending());
        let upload = client.put("/test.Echo/Join", Request::new(endless)).await.unwrap_err();
        assert_eq!(told(upload), (Code::Unauthenticated, "no_credential".to_owned()));
        assert_eq!(api.calls(), 0);
        client.unary("/test.Echo/Unary", ada(bytes("x"))).await.unwrap();
    });
}

#[test]
fn an_api_that_is_down_is_unavailable() {
    let nobody = reserve();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let bed = bed_to(address, "").start();
    run(async {
        let mut client = Client::connect(&bed).await;
        let status = client.unary("/test.Echo/Unary", ada(bytes("x"))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "upstream_unavailable"));
    });
}

#[test]
fn large_messages_pass_both_ways() {
    let large: Bytes = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<u8>>().into();
    calling("", async |client, _| {
        for _ in 0..2 {
            let answer = client.unary("/test.Echo/Unary", ada(large.clone())).await.unwrap();
            assert!(answer.into_inner() == large, "every byte in its place");
        }
    });
}

/// What a chat is while nobody has anything to say: its client's body is open and silent, too.
#[test]
fn a_stream_rests_longer_than_read_and_ends_by_stream_idle() {
    let api = Api::start();
    let bed = bed_to(api.address, ", timeouts: { read: 300ms, stream_idle: 3s }")
        .section("limits: { body_read: 300ms, body_min_rate: 1KiB }")
        .start();
    run(async {
        let mut client = Client::connect(&bed).await;
        let (messages, mut answers) = client.chat(ada(())).await;
        // Longer than the first seconds, which no rate counts.
        for message in ["one", "two", "three", "four", "five"] {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            messages.send(message).await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap(), message);
        }
        let mut resting = client.resting().await;
        // The clients wait for good.
        let ends = [answers.message().await.unwrap_err(), resting.message().await.unwrap_err()];
        assert!(ends.iter().all(|status| status.code() != Code::Ok), "{ends:?}");
        drop(messages);
        client.unary("/test.Echo/Unary", ada(bytes("x"))).await.unwrap();
    });
    let lines = bed.access_lines(3);
    for line in &lines[..2] {
        assert_eq!((&line["code"], &line["ended"]), (&"upstream_timeout".into(), &"stream_idle".into()), "{line}");
    }
    let failures = "crossgate_upstream_failures_total{kind=\"timeout\",upstream=\"app\"}";
    assert_eq!(bed.metric(failures), 0.0, "who rests for long enough has not failed");
}

#[test]
fn a_call_that_is_given_up_ends_at_the_server_too() {
    calling("", async |client, api| {
        let resting = client.resting().await;
        assert_eq!(api.seen.given_up.load(Ordering::SeqCst), 0);
        drop(resting);
        let seen = Arc::clone(&api.seen);
        let ended = tokio::task::spawn_blocking(move || {
            until("the end at the server", || (seen.given_up.load(Ordering::SeqCst) == 1).then_some(()));
        });
        ended.await.unwrap();
        client.unary("/test.Echo/Unary", ada(bytes("x"))).await.unwrap();
    });
}

#[test]
fn a_server_that_dies_never_looks_done() {
    let (_api, bed) = calling("", async |client, api| {
        let mut resting = client.resting().await;
        api.seen.death.notify_waiters();
        assert_ne!(resting.message().await.unwrap_err().code(), Code::Ok);
        client.unary("/test.Echo/Unary", ada(bytes("x"))).await.unwrap();
    });
    let line = bed.access_lines(1).remove(0);
    assert_eq!((&line["code"], &line["ended"]), (&"upstream_unavailable".into(), &serde_json::Value::Null), "{line}");
}

#[test]
fn an_http2_api_that_says_nothing_is_ended_by_the_deadline_of_its_kind() {
    let api = Api::start();
    let bed = bed_to(api.address, ", timeouts: { read: 300ms, stream_idle: 900ms }").start();
    let plain = bed.post("/test.Echo/Hang").bearer(&token("user_ada").sign()).body("{}").send();
    assert_eq!(plain.outcome(), "504 upstream_timeout");
    run(async {
        let status = Client::connect(&bed).await.unary("/test.Echo/Hang", ada(bytes("x"))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "upstream_timeout"));
    });
    let lines = bed.access_lines(2);
    let ended: Vec<_> = lines.iter().map(|line| line["ended"].as_str().unwrap_or("-")).collect();
    assert_eq!(ended, ["read", "stream_idle"], "{lines:?}");
    assert_eq!(api.calls(), 2, "each once");
}
