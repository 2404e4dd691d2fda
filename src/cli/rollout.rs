//! `crossgate rollout`: talks to the admin listener of a running crossgate, and decides nothing itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpStream, UnixStream};

use super::{Failure, Format, first_problem, say};
use crate::config;
use crate::rollout::Percent;
use crate::snapshot::{Address, Socket};
use crate::telemetry::metrics::Metrics;

/// Recording and syncing a change takes milliseconds; a listener that hangs is told.
const WAIT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Rollout {
    #[command(subcommand)]
    action: Action,
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
    /// The rollout's name; without it the config's, or auth.
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// A file with the operator's token; else CROSSGATE_ADMIN_TOKEN from the environment.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Why, for the audit trail.
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show where the rollout stands.
    #[command(after_help = "Example:\n  crossgate rollout status --format json")]
    Status,
    /// Move the percentage (needs `rollout.source: api`).
    #[command(
        after_help = "Example:\n  crossgate rollout set 25 --reason 'week 2'\n  crossgate rollout set 25 --reshuffle"
    )]
    Set {
        /// 0 to 100, at most four decimals.
        percent: Percent,
        /// Take up the config's algorithm, unit and salt: deals everybody anew. The rollout must be frozen.
        #[arg(long)]
        reshuffle: bool,
    },
    /// Let nothing rise; nobody's arm changes.
    #[command(after_help = "Example:\n  crossgate rollout freeze --reason 'support is busy'")]
    Freeze,
    /// End a freeze or a rollback.
    #[command(after_help = "Example:\n  crossgate rollout resume 5")]
    Resume {
        /// Where to begin; without it as before a freeze, or with the first step after a rollback.
        percent: Option<Percent>,
    },
    /// Take everybody who can be moved back to the legacy side; privileged routes keep their bar.
    #[command(after_help = "Example:\n  crossgate rollout rollback --reason 'roles are wrong'")]
    Rollback,
    /// Confirm a rollback: the legacy side counts on privileged routes too.
    #[command(after_help = "Example:\n  crossgate rollout confirm")]
    Confirm,
}

impl Action {
    fn method(&self) -> Method {
        match self {
            Self::Status => Method::GET,
            Self::Set { .. } => Method::PUT,
            Self::Freeze | Self::Resume { .. } | Self::Rollback | Self::Confirm => Method::POST,
        }
    }

    const fn path(&self) -> &'static str {
        match self {
            Self::Status => "",
            Self::Set { .. } => "/weight",
            Self::Freeze => "/freeze",
            Self::Resume { .. } => "/resume",
            Self::Rollback => "/rollback",
            Self::Confirm => "/confirm",
        }
    }

    fn body(&self, reason: Option<&str>) -> Option<String> {
        let mut body = Map::new();
        match self {
            Self::Status => return None,
            Self::Set { percent, reshuffle } => {
                body.insert("percent".to_owned(), json!(percent));
                body.insert("reshuffle".to_owned(), json!(reshuffle));
            }
            Self::Resume { percent: Some(percent) } => {
                body.insert("percent".to_owned(), json!(percent));
            }
            Self::Freeze | Self::Resume { percent: None } | Self::Rollback | Self::Confirm => {}
        }
        if let Some(reason) = reason {
            body.insert("reason".to_owned(), json!(reason));
        }
        Some(Value::Object(body).to_string())
    }
}

impl Rollout {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|problem| format!("{} cannot be read: {problem}", path.display()))?,
            ),
            None => std::env::var("CROSSGATE_ADMIN_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let (socket, name) = self.target()?;
        let name = self.name.clone().or(name).unwrap_or_else(|| "auth".to_owned());
        let mut request = Request::builder()
            .method(self.action.method())
            .uri(format!("/v1/rollouts/{name}{}", self.action.path()))
            .header(HOST, "localhost");
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let body = self.action.body(self.reason.as_deref());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| Failure::Usage("the name or the token holds what no request can carry".to_owned()))?;
        let (status, text) = send(&socket, request)?;
        let answer: Value = serde_json::from_slice(&text)
            .map_err(|_| format!("{socket} answered {status}, and not as crossgate's admin listener does"))?;
        if status != StatusCode::OK {
            let told = ["detail", "title"].iter().find_map(|member| answer.get(member)?.as_str());
            let told = printable(told.unwrap_or("no reason given"));
            let code = answer.get("code").and_then(Value::as_str).map(|code| format!(" {}", printable(code)));
            let help = match (status, token.is_some()) {
                (StatusCode::UNAUTHORIZED, false) => ": name its file with --token-file, or set CROSSGATE_ADMIN_TOKEN",
                (StatusCode::UNAUTHORIZED, true) => ": the one that was sent is none of them",
                _ => "",
            };
            return Err(format!("{socket}: {told}{help} ({}{})", status.as_u16(), code.unwrap_or_default()).into());
        }
        say(&match format {
            Some(Format::Json) => format!("{answer}\n"),
            Some(Format::Human | Format::Plain) | None => describe(&answer),
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Where the admin listener is, and the rollout's name where the config was asked.
    fn target(&self) -> Result<(Target, Option<String>), Failure> {
        if let Some(address) = &self.admin {
            return Ok((Target::parse(address), None));
        }
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let loaded = config::load(&self.config, &|name| std::env::var(name).ok(), &metrics, None);
        let compiled = loaded.compiled.ok_or_else(|| first_problem(&loaded.problems, &self.config))?;
        let target = match compiled.settings.admin.socket {
            Socket::Bind(Address::Unix(path)) => Target::Unix(path),
            Socket::Bind(Address::Tcp(mut address)) => {
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
        let name = compiled.snapshot.rollout.map(|plan| plan.name.to_string());
        if name.is_none() {
            return Err(format!("{} has no `rollout`", self.config.display()).into());
        }
        Ok((target, name))
    }
}

/// Where to connect.
#[derive(Debug)]
enum Target {
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
        format!(
            "{target} did not answer within {} s: `crossgate rollout status` shows what became of it",
            WAIT.as_secs()
        )
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

/// One line for people, and one for each thing that they should know.
fn describe(answer: &Value) -> String {
    let text = |member: &str| match answer.get(member) {
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let limit = |member: &str| match answer.pointer(&format!("/limits/{member}")) {
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let mut lines = format!(
        "{}: {}, {} % of movable people in the clerk arm\n",
        text("rollout"),
        text("state"),
        text("effective_percent")
    );
    if answer.get("desired_percent") != answer.get("effective_percent") {
        lines.push_str(&format!("  wanted      {} %\n", text("desired_percent")));
    }
    lines.push_str(&format!(
        "  generation  {}, dealt by {} and {}\n",
        text("generation"),
        text("algorithm"),
        text("unit")
    ));
    lines.push_str(&format!("  source      {}, {}\n", text("source"), bounds(&limit)));
    lines.push_str(&format!("  changed     {} by {}\n", text("changed_at"), text("changed_by")));
    for next in next_steps(answer) {
        lines.push_str(&format!("  next        {next}\n"));
    }
    for member in ["problem", "pending"] {
        if answer.get(member).is_some() {
            lines.push_str(&format!("  {member:<11} {}\n", text(member)));
        }
    }
    lines
}

fn bounds(limit: &dyn Fn(&str) -> String) -> String {
    let dwell = limit("min_dwell_seconds");
    let (max, step) = (limit("max_percent"), limit("max_step"));
    let pause = if dwell == "0.0" { String::new() } else { format!(", {dwell} s apart") };
    format!("up to {max} %, {step} % a step{pause}")
}

/// What there is to do from a state in which nothing rises.
fn next_steps(answer: &Value) -> &'static [&'static str] {
    match answer.get("state").and_then(Value::as_str) {
        Some("frozen") => &["nothing rises: `crossgate rollout resume`, or `rollback`"],
        Some("rolled_auto") => &[
            "`crossgate rollout resume` begins again with the first step",
            "`crossgate rollout confirm` lets the legacy side count on privileged routes too",
        ],
        Some("rolled_op") => &["`crossgate rollout resume` begins again with the first step"],
        _ => &[],
    }
}

/// A terminal must not obey what some listener sent.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
