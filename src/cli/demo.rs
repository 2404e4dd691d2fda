//! `crossgate demo`: the first minute. A stand-in Clerk, the API's own login, an API that says what it was told, crossgate
//! in front.
//!
//! The gate is the real one with the real config of `conf/demo/`; the others are stand-ins. Everything is on loopback, in
//! a folder of its own that is made anew for each run and goes when the demo ends.

mod clerk;
mod lines;
mod login;
mod standin;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::token::key::SigningKey;
use super::{Failure, run, say};

const CONFIG: &str = include_str!("../../conf/demo/crossgate.yaml");
const POLICY: &str = include_str!("../../conf/demo/policies/demo.yaml");
const MAP: &str = include_str!("../../conf/demo/map.jsonl");
const SECRET: &str = include_str!("../../conf/demo/legacy.secret");
/// As in the config's `authorized_parties`.
const PARTY: &str = "http://localhost:5173";
/// Long enough to play, in seconds; Clerk's own session tokens live for a minute.
const TTL: i64 = 3600;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Port of the gate; the stand-ins take free ones.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Where everything is.
#[derive(Debug)]
struct Addresses {
    gate: SocketAddr,
    clerk: SocketAddr,
    login: SocketAddr,
    api: SocketAddr,
    /// The admin listener's socket: whoever may open it may move the rollout.
    admin: PathBuf,
    audit: PathBuf,
}

impl Demo {
    pub(super) fn run(self, format: Option<super::Format>) -> Result<ExitCode, Failure> {
        let folder = Folder::make()?;
        let key = SigningKey::make("ins_demo")?;
        // Held until everything is bound, so that no two of them are the same.
        let gate = bind(self.port)?;
        let (clerk, login, api) = (bind(0)?, bind(0)?, bind(0)?);
        let local = |listener: &TcpListener| listener.local_addr().map_err(|problem| problem.to_string());
        let addresses = Addresses {
            gate: local(&gate)?,
            clerk: local(&clerk)?,
            login: local(&login)?,
            api: local(&api)?,
            admin: folder.0.join("admin.sock"),
            audit: folder.0.join("audit"),
        };
        let issuer = login::Login::new(SECRET, format!("http://{}", addresses.login));
        let text = lines::story(&addresses, &key, &issuer)?;
        let instance = clerk::Clerk::new(key, format!("http://{}", addresses.clerk), addresses.admin.clone());
        standin::StandIns { clerk: (clerk, instance), login: (login, issuer), api }.start()?;
        for (name, text) in
            [("crossgate.yaml", CONFIG), ("policies/demo.yaml", POLICY), ("map.jsonl", MAP), ("legacy.secret", SECRET)]
        {
            folder.write(name, text)?;
        }
        drop(gate);
        say(&text);
        let state = folder.0.join("state").display().to_string();
        let environment = |name: &str| match name {
            "DEMO_GATE" => Some(addresses.gate.to_string()),
            "DEMO_ADMIN" => Some(format!("unix:{}", addresses.admin.display())),
            "DEMO_CLERK" => Some(addresses.clerk.to_string()),
            "DEMO_LOGIN" => Some(addresses.login.to_string()),
            "DEMO_API" => Some(addresses.api.to_string()),
            "DEMO_STATE" => Some(state.clone()),
            _ => std::env::var(name).ok(),
        };
        run::serve(folder.0.join("crossgate.yaml"), run::log_format(format), &environment)
    }
}

fn bind(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|problem| format!("cannot listen on 127.0.0.1:{port}: {}; choose another with --port", problem.kind()))
}

/// A folder that goes with the demo.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("crossgate-demo-{}", std::process::id()));
        // Of a demo that was killed: its rollout and its trail are not this one's.
        let _ = std::fs::remove_dir_all(&path);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        let made = made.and_then(|()| std::fs::create_dir(path.join("policies")));
        made.map_err(|problem| format!("{} cannot be made: {problem}", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, name: impl AsRef<Path>, text: &str) -> Result<(), String> {
        let path = self.0.join(name);
        std::fs::write(&path, text).map_err(|problem| format!("{} cannot be written: {problem}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder in the temporary directory that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
