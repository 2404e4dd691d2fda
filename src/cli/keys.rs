//! `crossgate keys`: the keys that assertions and runner tokens are signed with.
//!
//! Works on the folder; a running crossgate looks into it at least twice a minute, so that a key made here is published
//! soon and signs when it has been for long enough. Never shows a private key.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{ConfigPath, Failure, Format, first_problem, say};
use crate::clock::{self, Now};
use crate::config;
use crate::issuer::{KeyFolder, Ring, RingKey, RingProblem, Schedule, Stage};
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, the oldest first, and say what each does.
    #[command(after_help = "Example:\n  crossgate keys show -c conf/crossgate.yaml")]
    Show {
        #[command(flatten)]
        path: ConfigPath,
        #[command(flatten)]
        which: Which,
    },
    /// Make the next key now; it signs after `identity.assertion.overlap`, of runner tokens after 15 minutes.
    #[command(
        after_help = "Example:\n  crossgate keys rotate -c conf/crossgate.yaml\n\nA key leaked:\n  crossgate keys rotate --now"
    )]
    Rotate {
        /// For a key that leaked: the new key signs at once and all others are removed.
        ///
        /// Running processes follow within 30 s. Nobody is signed out: assertions are made anew for each person. But APIs that
        /// keep the published set refuse them until they fetch it again (the samples: at the first unknown key id, at
        /// most every 30 s; others after their cache's time). Runner tokens by the old keys are 401: runners exchange again.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        path: ConfigPath,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Which {
    /// Whose keys: those of assertions, or those of runner tokens.
    #[arg(long, value_enum, default_value = "assertion")]
    of: Of,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    Assertion,
    Runner,
}

/// How the next key is made.
type Make = fn(&Ring, Schedule, Now) -> Result<Arc<RingKey>, RingProblem>;

impl Of {
    /// The config key of the folder, and what has to be enabled.
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Assertion => ("identity.assertion.keys_dir", "identity.assertion"),
            Self::Runner => ("runner.keys_dir", "runner"),
        }
    }
}

impl Keys {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let (path, which, makes): (_, _, Option<Make>) = match self.action {
            Action::Show { path, which } => (path, which, None),
            Action::Rotate { path, which, now: false } => (path, which, Some(Ring::rotate)),
            Action::Rotate { path, which, now: true } => (path, which, Some(Ring::replace)),
        };
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let loaded = config::load(&path.config, &|name| std::env::var(name).ok(), &metrics, None);
        let Some(compiled) = loaded.compiled else {
            return Err(first_problem(&loaded.problems, &path.config).into());
        };
        let (key, part) = which.of.keys();
        let Some(folder) = compiled.snapshot.key_folders().into_iter().find(|folder| folder.key == key) else {
            let config = path.config.display();
            return Err(format!("{config} has no {part} that is enabled: there are no keys").into());
        };
        let now = clock::now();
        // What the config only warns about is an error here.
        folder.ring.read(now).map_err(|problem| problem.to_string())?;
        if let Some(make) = makes {
            make(&folder.ring, folder.schedule, now).map_err(|problem| problem.to_string())?;
        }
        say(&list(&folder, format));
        Ok(ExitCode::SUCCESS)
    }
}

fn list(folder: &KeyFolder, format: Option<Format>) -> String {
    let now = clock::now();
    let stages = folder.ring.stages(folder.schedule, now);
    let ahead = folder.ring.ahead(folder.schedule, now).map(|problem| problem.to_string());
    let created = |key: &RingKey| {
        jiff::Timestamp::from_second(key.created()).map_or_else(|_| "?".to_owned(), |time| time.to_string())
    };
    if format == Some(Format::Json) {
        let keys: Vec<_> = stages.iter().map(|(key, stage)| {
            json!({ "kid": &**key.kid(), "algorithm": key.algorithm().as_str(), "created": created(key), "stage": stage.as_str() })
        }).collect();
        let listed = ahead.map_or_else(|| json!({ "keys": keys }), |ahead| json!({ "keys": keys, "problem": ahead }));
        return format!("{listed}\n");
    }
    if stages.is_empty() {
        return format!("no keys in {}: the first one is made when crossgate starts\n", folder.ring.folder().display());
    }
    let line = |(key, stage): &(Arc<RingKey>, Stage)| {
        format!("{}  {}  {}  {}\n", key.kid(), key.algorithm().as_str(), created(key), stage.as_str())
    };
    stages.iter().map(line).chain(ahead.map(|problem| format!("problem: {problem}\n"))).collect()
}
