//! `crossgate demo`: the first minute. A stand-in Clerk, an API that says what it was told, crossgate between them.
//!
//! The gate is the real one with the real config of `conf/demo/`; only Clerk and the API are stand-ins. Everything is on
//! loopback, in a folder of its own that goes when the demo ends.

mod lines;
mod standin;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::token::key::SigningKey;
use super::{Failure, run, say};

const CONFIG: &str = include_str!("../../conf/demo/crossgate.yaml");
/// As in the config's `authorized_parties`.
const PARTY: &str = "http://localhost:5173";
const POLICY: &str = include_str!("../../conf/demo/policies/demo.yaml");

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Port of the gate; the stand-ins and the admin listener take free ones.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Where everything listens.
#[derive(Debug)]
struct Addresses {
    gate: SocketAddr,
    admin: SocketAddr,
    clerk: SocketAddr,
    api: SocketAddr,
}

impl Demo {
    pub(super) fn run(self, format: Option<super::Format>) -> Result<ExitCode, Failure> {
        let folder = Folder::make()?;
        let key = SigningKey::make("ins_demo")?;
        // Held until everything is bound, so that no two of them are the same.
        let gate = bind(self.port)?;
        let (clerk, api, admin) = (bind(0)?, bind(0)?, bind(0)?);
        let local = |listener: &TcpListener| listener.local_addr().map_err(|problem| problem.to_string());
        let addresses =
            Addresses { gate: local(&gate)?, admin: local(&admin)?, clerk: local(&clerk)?, api: local(&api)? };
        let text = lines::story(&addresses, &key, &folder.0.join("audit"))?;
        standin::start(clerk, api, key, addresses.clerk)?;
        folder.write("crossgate.yaml", CONFIG)?;
        folder.write("policies/demo.yaml", POLICY)?;
        drop((gate, admin));
        say(&text);
        let state = folder.0.join("state").display().to_string();
        let environment = |name: &str| match name {
            "DEMO_GATE" => Some(addresses.gate.to_string()),
            "DEMO_ADMIN" => Some(addresses.admin.to_string()),
            "DEMO_CLERK" => Some(addresses.clerk.to_string()),
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
        std::fs::create_dir_all(path.join("policies"))
            .map_err(|problem| format!("{} cannot be made: {problem}", path.display()))?;
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
