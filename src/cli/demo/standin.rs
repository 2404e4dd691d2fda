//! The stand-ins: a Clerk instance with a key set and token minting, and an API that echoes what reached it.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use crate::cli::token::key::SigningKey;
use crate::cli::token::mint::Session;
use crate::clock;
use crate::request::{QueryValue, query_value};

/// Serves both on a thread of their own until the process ends.
pub(super) fn start(clerk: TcpListener, api: TcpListener, key: SigningKey, issuer: SocketAddr) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|problem| format!("the stand-ins cannot run: {problem}"))?;
    let issuer = Arc::new(Issuer { key, name: format!("http://{issuer}") });
    std::thread::Builder::new()
        .name("stand-ins".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let clerk = serve(clerk, move |request| answer_clerk(&issuer, &request));
                let api = serve_echo(api);
                tokio::join!(clerk, api);
            });
        })
        .map(drop)
        .map_err(|problem| format!("the stand-ins cannot run: {problem}"))
}

#[derive(Debug)]
struct Issuer {
    key: SigningKey,
    name: String,
}

async fn accept(listener: TcpListener) -> Option<tokio::net::TcpListener> {
    listener.set_nonblocking(true).ok()?;
    tokio::net::TcpListener::from_std(listener).ok()
}

async fn serve(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
) {
    let Some(listener) = accept(listener).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away mid-request is its own affair.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer_clerk(issuer: &Issuer, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/.well-known/jwks.json" => respond(StatusCode::OK, &issuer.key.jwks()),
        "/mint" => match mint(issuer, request.uri().query()) {
            Ok(token) => respond(StatusCode::OK, &json!({ "jwt": token })),
            Err(problem) => respond(StatusCode::BAD_REQUEST, &json!({ "problem": problem })),
        },
        _ => respond(StatusCode::NOT_FOUND, &json!({ "problem": "there is /.well-known/jwks.json and /mint" })),
    }
}

/// `/mint?sub=user_1&org=org_1&role=org:admin&ttl=60`
fn mint(issuer: &Issuer, query: Option<&str>) -> Result<String, String> {
    let value = |name: &str| match query_value(query, name) {
        QueryValue::One(text) => Some(text),
        QueryValue::Absent | QueryValue::Unreadable => None,
    };
    let mut session = Session::new(&issuer.name, &value("sub").unwrap_or_else(|| "user_dev".to_owned()));
    session.azp = value("azp").or_else(|| Some(super::PARTY.to_owned()));
    session.org = value("org");
    session.role = value("role");
    session.slug = value("slug");
    if let Some(ttl) = value("ttl") {
        session.ttl = ttl.parse().map_err(|_| "ttl is a number of seconds".to_owned())?;
    }
    issuer.key.sign(&session.claims(clock::now()))
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{body:#}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The API: knows nothing of Clerk, and says what it was told.
async fn serve_echo(listener: TcpListener) {
    let Some(listener) = accept(listener).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let service = service_fn(echo);
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
    let headers: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    Ok(respond(
        StatusCode::OK,
        &json!({
            "the_api_got": format!("{} {}", head.method, head.uri),
            "headers": headers,
            "body_bytes": bytes,
        }),
    ))
}
