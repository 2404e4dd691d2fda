//! Talking to the admin listener of a running crossgate: where it is, with which token, and what it answered.
//!
//! Prints nothing and decides nothing; what somebody else's listener sends is only ever text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use super::screen::printable;
use super::{Failure, first_problem};
use crate::config::{self, Compiled};
use crate::snapshot::{Address, Socket};
use crate::telemetry::metrics::Metrics;

/// Recording and syncing a change takes milliseconds; a listener that hangs is told.
const WAIT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 16 << 20;

/// Which crossgate is talked to.
#[derive(Debug, Args)]
pub(super) struct Listener {
    /// The config file: it says where the admin listener is.
    #[arg(
        short,
        long,
        global = true,
        env = "CROSSGATE_CONFIG",
        default_value = "conf/crossgate.yaml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// The admin listener, host:port or unix:/path, instead of what the config says.
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<String>,
    /// A file with the operator's token; else CROSSGATE_ADMIN_TOKEN from the environment.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Listener {
    /// The config file, for messages.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// The config, where it had to be read to know where the listener is.
    pub(super) fn find(&self) -> Result<(Target, Option<Box<Compiled>>), Failure> {
        if let Some(address) = &self.admin {
            return Ok((Target::parse(address), None));
        }
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let loaded = config::load(&self.config, &|name| std::env::var(name).ok(), &metrics, None);
        let compiled = loaded.compiled.ok_or_else(|| first_problem(&loaded.problems, &self.config))?;
        let target = match &compiled.settings.admin.socket {
            Socket::Bind(Address::Unix(path)) => Target::Unix(path.clone()),
            Socket::Bind(Address::Tcp(address)) => {
                let mut address = *address;
                // Listening everywhere, it is also here.
                if address.ip().is_unspecified() {
                    address.set_ip(match address {
                        std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                        std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                    });
                }
                Target::Tcp(address.to_string())
            }
            Socket::Passed(_) => {
                let reason = "the service manager chooses the admin's address: name it with --admin";
                return Err(Failure::Usage(reason.to_owned()));
            }
        };
        Ok((target, Some(Box::new(compiled))))
    }

    /// Its answer, where that is 200.
    ///
    /// # Errors
    /// It cannot be reached, it refused, with its reason, or it is no crossgate.
    pub(super) fn ask(
        &self,
        target: &Target,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Value, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|problem| format!("{} cannot be read: {problem}", path.display()))?,
            ),
            None => std::env::var("CROSSGATE_ADMIN_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| Failure::Usage("the name or the token holds what no request can carry".to_owned()))?;
        let (status, text) = send(target, request)?;
        let answer: Value = serde_json::from_slice(&text)
            .map_err(|_| format!("{target} answered {status}, and not as crossgate's admin listener does"))?;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let told = ["detail", "title"].iter().find_map(|member| answer.get(member)?.as_str());
        let told = printable(told.unwrap_or("no reason given"));
        let code = answer.get("code").and_then(Value::as_str).map(|code| format!(" {}", printable(code)));
        let help = match (status, token.is_some()) {
            (StatusCode::UNAUTHORIZED, false) => ": name its file with --token-file, or set CROSSGATE_ADMIN_TOKEN",
            (StatusCode::UNAUTHORIZED, true) => ": the one that was sent is none of them",
            _ => "",
        };
        Err(format!("{target}: {told}{help} ({}{})", status.as_u16(), code.unwrap_or_default()).into())
    }
}

/// Where to connect.
#[derive(Debug)]
pub(super) enum Target {
    Tcp(String),
    Unix(PathBuf),
}

impl Target {
    fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn send(target: &Target, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|problem| format!("no runtime: {problem}"))?;
    let unreachable = |problem: std::io::Error| format!("no crossgate answers on {target}: {problem}");
    let talk = async {
        match target {
            Target::Tcp(address) => exchange(TcpStream::connect(address).await.map_err(unreachable)?, request).await,
            Target::Unix(path) => exchange(UnixStream::connect(path).await.map_err(unreachable)?, request).await,
        }
    };
    let timed = runtime.block_on(async { tokio::time::timeout(WAIT, talk).await });
    let answer = timed.map_err(|_| {
        format!("{target} did not answer within {} s; ask again to see what became of it", WAIT.as_secs())
    })?;
    Ok(answer?)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let text = |problem: hyper::Error| format!("the exchange was cut short: {problem}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(text)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    driver.abort();
    let body = body.map_err(|problem| format!("the answer was cut short: {problem}"))?;
    Ok((status, body.to_bytes()))
}
