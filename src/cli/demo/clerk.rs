//! The stand-in for a Clerk instance: a key set, what the probe asks, token minting; and a switch that takes all of it
//! away.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::standin::{Answer, respond, value};
use crate::cli::token::key::SigningKey;
use crate::cli::token::mint::Session;
use crate::clock;

/// What the gate's `/readyz` says once it has noticed an outage.
const NOTICED: [&str; 2] = ["stale_keys", "issuance_down"];
/// Far beyond what the demo's config needs to notice.
const PATIENCE: Duration = Duration::from_secs(25);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Clerk {
    key: SigningKey,
    issuer: String,
    /// The gate's admin socket.
    admin: PathBuf,
    is_down: AtomicBool,
}

impl Clerk {
    pub(super) const fn new(key: SigningKey, issuer: String, admin: PathBuf) -> Self {
        Self { key, issuer, admin, is_down: AtomicBool::new(false) }
    }

    pub(super) async fn answer(&self, asked: &Parts) -> Response<Answer> {
        match (&asked.method, asked.uri.path()) {
            (&Method::POST, "/outage/begin") => return self.switch(true).await,
            (&Method::POST, "/outage/end") => return self.switch(false).await,
            _ if self.is_down.load(Ordering::Relaxed) => {
                return respond(StatusCode::SERVICE_UNAVAILABLE, &json!({ "problem": "an outage" }));
            }
            _ => {}
        }
        match asked.uri.path() {
            "/.well-known/jwks.json" => respond(StatusCode::OK, &self.key.jwks()),
            "/v1/client" => respond(StatusCode::OK, &json!({ "response": null })),
            "/mint" => match self.mint(asked) {
                Ok(token) => respond(StatusCode::OK, &json!({ "jwt": token })),
                Err(problem) => respond(StatusCode::BAD_REQUEST, &json!({ "problem": problem })),
            },
            _ => {
                let problem =
                    "there is /.well-known/jwks.json, /v1/client, /mint, and POST /outage/begin and /outage/end";
                respond(StatusCode::NOT_FOUND, &json!({ "problem": problem }))
            }
        }
    }

    /// `/mint?sub=user_1&org=org_1&role=org:admin&ttl=60`
    fn mint(&self, asked: &Parts) -> Result<String, String> {
        let said = |name: &str| value(asked, name);
        let mut session = Session::new(&self.issuer, &said("sub").unwrap_or_else(|| "user_dev".to_owned()));
        session.azp = said("azp").or_else(|| Some(super::PARTY.to_owned()));
        session.org = said("org");
        session.role = said("role");
        session.slug = said("slug");
        if let Some(ttl) = said("ttl") {
            session.ttl = ttl.parse().map_err(|_| "ttl is a number of seconds".to_owned())?;
        }
        self.key.sign(&session.claims(clock::now()))
    }

    /// Answers once the gate has noticed, so that the next line that is pasted meets it.
    async fn switch(&self, is_down: bool) -> Response<Answer> {
        self.is_down.store(is_down, Ordering::Relaxed);
        let noticed = async {
            while !self.is_noticed(is_down).await {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        let has_noticed = tokio::time::timeout(PATIENCE, noticed).await.is_ok();
        let status = if has_noticed { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
        respond(status, &json!({ "clerk": if is_down { "down" } else { "up" }, "crossgate_has_noticed": has_noticed }))
    }

    async fn is_noticed(&self, is_down: bool) -> bool {
        let Some(report) = readiness(&self.admin).await else { return false };
        let reasons = report.get("reasons").and_then(Value::as_array);
        let has = |code: &str| {
            reasons.is_some_and(|all| all.iter().any(|reason| reason.get("code").and_then(Value::as_str) == Some(code)))
        };
        NOTICED.into_iter().all(|code| has(code) == is_down)
    }
}

/// The gate's `/readyz`; `None` when it does not answer.
async fn readiness(admin: &std::path::Path) -> Option<Value> {
    let stream = tokio::net::UnixStream::connect(admin).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/readyz").header(HOST, "localhost").body(Full::<Bytes>::default()).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let body = answer.into_body().collect().await.ok();
    driver.abort();
    serde_json::from_slice(&body?.to_bytes()).ok()
}
