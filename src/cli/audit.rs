//! `crossgate audit`: the trail, proved and read. Beside a running service or on a copied folder; never writes.

mod filter;
mod show;
mod table;
mod tail;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, Format, first_problem};
use crate::audit::names::Names;
use crate::audit::read::Place;
use crate::audit::regular;
use crate::config;
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prove that the trail is whole, or say where it is not.
    #[command(
        after_help = "Examples:\n  crossgate audit verify\n  crossgate audit verify /mnt/copy/audit --key audit.pub \\\n    --checkpoint last.checkpoint\n\nExit codes: 0 it holds, 1 it does not."
    )]
    Verify(verify::Verify),
    /// Show entries, by who, where, what and when.
    #[command(
        after_help = "Examples:\n  crossgate audit show --actor user_1 --since 24h\n  crossgate audit show audit/ --event denied --format json | jq .reason\n  pbpaste | crossgate audit show --token -"
    )]
    Show(Box<show::Show>),
    /// Show the last entries, and with -f those that follow.
    #[command(after_help = "Example:\n  crossgate audit tail -f --decision deny")]
    Tail(Box<tail::Tail>),
}

impl Audit {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Verify(verify) => verify.run(format),
            Action::Show(show) => show.run(format),
            Action::Tail(tail) => tail.run(format),
        }
    }
}

/// Where the trail is.
#[derive(Debug, Args)]
struct Source {
    /// The trail's folder or its file; without it, `audit.file` of the config.
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The config file; read when there is no PATH, or when it is named.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The trail, and the folder that keeps its keys where a config names one.
struct Found {
    place: Place,
    state_dir: Option<PathBuf>,
    /// The last checkpoint that this installation kept of its own trail.
    witness: Option<PathBuf>,
}

impl Source {
    /// Whether a config is read; a copy elsewhere is not held against this installation unless that is asked for.
    fn configured(&self) -> Option<PathBuf> {
        let usual = || std::env::var_os("CROSSGATE_CONFIG").map_or_else(|| "conf/crossgate.yaml".into(), PathBuf::from);
        self.config.clone().or_else(|| self.path.is_none().then(usual))
    }

    fn find(&self) -> Result<Found, Failure> {
        let settings = match self.configured() {
            None => None,
            Some(path) => {
                let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
                let loaded = config::load(&path, &|name| std::env::var(name).ok(), &metrics, None);
                let Some(compiled) = loaded.compiled else {
                    return Err(first_problem(&loaded.problems, &path).into());
                };
                Some(compiled.settings)
            }
        };
        let place = match (&self.path, &settings) {
            (Some(path), _) => Place::find(path).map_err(|problem| problem.to_string())?,
            (None, Some(settings)) => Place::of_file(&settings.audit.file)
                .ok_or_else(|| format!("{}: no name of a file", settings.audit.file.display()))?,
            (None, None) => return Err(Failure::Usage("name the trail or a config".to_owned())),
        };
        let witness = settings.as_ref().and_then(|settings| {
            let names = Names::of(&settings.audit.file).ok()?;
            Some(names.witness(&settings.state_dir))
        });
        Ok(Found { place, state_dir: settings.map(|settings| settings.state_dir), witness })
    }
}

/// Bytes of a file of checkpoints that was kept elsewhere, at most: one each minute for months.
const CHECKPOINTS: u64 = 64 << 20;

/// What a file of checkpoints holds, or which one cannot be read and why.
fn contents(path: &Path) -> Result<Vec<u8>, String> {
    regular::read(path, CHECKPOINTS).map_err(|problem| format!("{} cannot be read: {problem}", path.display()))
}
