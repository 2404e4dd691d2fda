//! The stand-ins' common ground: one thread that serves them, and the API, which echoes what reached it and reads the
//! tokens of its own login, as it did before there was anything in front of it.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use super::clerk::Clerk;
use super::login::Login;
use crate::request::{QueryValue, query_value};

/// The body of their answers.
pub(super) type Answer = Full<Bytes>;

/// What is served, and where.
#[derive(Debug)]
pub(super) struct StandIns {
    pub(super) clerk: (TcpListener, Clerk),
    pub(super) login: (TcpListener, Login),
    pub(super) api: TcpListener,
}

impl StandIns {
    /// Serves all of them on a thread of their own until the process ends.
    pub(super) fn start(self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|problem| format!("the stand-ins cannot run: {problem}"))?;
        let Self { clerk: (clerk_listener, clerk), login: (login_listener, login), api } = self;
        let (clerk, login) = (Arc::new(clerk), Arc::new(login));
        std::thread::Builder::new()
            .name("stand-ins".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let clerk = serve(clerk_listener, move |request| {
                        let clerk = Arc::clone(&clerk);
                        let (asked, _) = request.into_parts();
                        async move { clerk.answer(&asked).await }
                    });
                    let api_login = Arc::clone(&login);
                    let api = serve(api, move |request| echo(request, Arc::clone(&api_login)));
                    let login = serve(login_listener, move |request| {
                        let (asked, _) = request.into_parts();
                        std::future::ready(login.answer(&asked))
                    });
                    tokio::join!(clerk, login, api);
                });
            })
            .map(drop)
            .map_err(|problem| format!("the stand-ins cannot run: {problem}"))
    }
}

async fn serve<A>(listener: TcpListener, answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static)
where
    A: Future<Output = Response<Answer>> + Send + 'static,
{
    let Some(listener) = accept(listener).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            // A client that goes away mid-request is its own affair.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn accept(listener: TcpListener) -> Option<tokio::net::TcpListener> {
    listener.set_nonblocking(true).ok()?;
    tokio::net::TcpListener::from_std(listener).ok()
}

pub(super) fn respond(status: StatusCode, body: &Value) -> Response<Answer> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{body:#}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A value of the request's query.
pub(super) fn value(asked: &Parts, name: &str) -> Option<String> {
    match query_value(asked.uri.query(), name) {
        QueryValue::One(text) => Some(text),
        QueryValue::Absent | QueryValue::Unreadable => None,
    }
}

/// The API: knows nothing of Clerk, and says what it was told, and what a token of its own login says.
async fn echo(request: Request<Incoming>, login: Arc<Login>) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
    let headers: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let says: Vec<String> = match bearer.and_then(|token| login.read(token)) {
        Some(Value::Object(claims)) => {
            claims.iter().map(|(name, value)| format!("token-{name}: {}", plain(value))).collect()
        }
        _ => Vec::new(),
    };
    respond(
        StatusCode::OK,
        &json!({
            "the_api_got": format!("{} {}", head.method, head.uri),
            "headers": headers,
            "its_own_token_says": says,
            "body_bytes": bytes,
        }),
    )
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
