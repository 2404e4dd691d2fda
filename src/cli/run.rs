//! `crossgate run`: load, open the logs, serve.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use clap::{Args, ValueEnum};

use super::{ConfigPath, complain};
use crate::admin::health::Readiness;
use crate::clock;
use crate::config;
use crate::reload::Reloader;
use crate::server::{self, Start};
use crate::telemetry::access::Log;
use crate::telemetry::log::{self, Format};
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    path: ConfigPath,
    /// How logs and access lines are written; without it, JSON unless stderr is a terminal.
    #[arg(long, value_enum)]
    format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Human,
    Plain,
    Json,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode, String> {
        let format = match self.format {
            Some(LogFormat::Json) => Format::Json,
            Some(LogFormat::Human | LogFormat::Plain) => Format::Human,
            None => Format::of_stderr(),
        };
        serve(self.path.config, format, &|name| std::env::var(name).ok())
    }
}

/// Starts the product on a config file; also what `demo` does.
pub(super) fn serve(
    path: PathBuf,
    format: Format,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ExitCode, String> {
    let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
    let loaded = config::load(&path, environment, &metrics, None);
    let Some(compiled) = loaded.compiled else {
        for problem in loaded.problems.iter().skip(1) {
            complain(&problem.render());
        }
        // The reason in one line, last, where it is seen.
        let first = loaded.problems.first().map(ToString::to_string).unwrap_or_default();
        return Err(first);
    };
    let settings = compiled.settings;
    log::install(format, settings.log);
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    std::fs::create_dir_all(&settings.state_dir)
        .map_err(|problem| format!("state_dir {} cannot be made: {problem}", settings.state_dir.display()))?;
    let log = Log::open(&settings.access_log, format)
        .map_err(|problem| format!("telemetry.access_log cannot be opened: {problem}"))?;
    let snapshot = Arc::new(compiled.snapshot);
    tracing::info!(snapshot = &*snapshot.id, routes = snapshot.routes.len(), "config loaded");
    let readiness = Arc::new(Readiness::new(settings.ready, clock::now()));
    let reloader = Reloader {
        path,
        settings,
        live: Arc::new(ArcSwap::new(snapshot)),
        metrics,
        readiness: Arc::clone(&readiness),
        turn: Mutex::new(()),
    };
    server::run(Start { reloader: Arc::new(reloader), log, readiness })
}
