//! `crossgate run`: load, open the logs, serve.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use prometheus::IntCounter;

use super::{ConfigPath, Failure, first_problem};
use crate::admin::health::Readiness;
use crate::audit::{EventClass, Ledger, Moves, Options, Trail, moves, trail};
use crate::clock;
use crate::config;
use crate::reload::Reloader;
use crate::rollout::Rollout;
use crate::route::{Access, Route};
use crate::server::{self, Hangups, Start};
use crate::snapshot::{AccessLog, Live, Settings};
use crate::telemetry::access::Log;
use crate::telemetry::copies::Copied;
use crate::telemetry::log::{self, Format};
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    path: ConfigPath,
}

impl Run {
    pub(super) fn run(self, format: Option<super::Format>) -> Result<ExitCode, Failure> {
        serve(self.path.config, log_format(format), &|name| std::env::var(name).ok())
    }
}

/// How logs and access lines are written; when nothing was said, JSON unless stderr is a terminal.
pub(super) fn log_format(asked: Option<super::Format>) -> Format {
    match asked {
        Some(super::Format::Json) => Format::Json,
        Some(super::Format::Human | super::Format::Plain) => Format::Human,
        None => Format::of_stderr(),
    }
}

/// Starts the product on a config file; also what `demo` does.
pub(super) fn serve(
    path: PathBuf,
    format: Format,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ExitCode, Failure> {
    let hangups = Hangups::listen().map_err(|problem| format!("SIGHUP cannot be heard: {problem}"))?;
    let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
    let loaded = config::load(&path, environment, &metrics, None);
    let Some(compiled) = loaded.compiled else {
        return Err(first_problem(&loaded.problems, &path).into());
    };
    let settings = compiled.settings;
    log::install(format, settings.log);
    let advice = loaded.problems.iter().filter(|problem| problem.waived.is_none()).map(ToString::to_string).collect();
    let snapshot = Arc::new(compiled.snapshot);
    if snapshot.keys().any(|keys| keys.url().is_some()) {
        claim_state(&settings.state_dir)
            .map_err(|problem| format!("state_dir {} cannot be written: {problem}", settings.state_dir.display()))?;
    }
    snapshot.linking.keep_extent(&settings.state_dir);
    for folder in snapshot.key_folders() {
        folder.tend(clock::now()).map_err(|problem| format!("{}: {problem}", folder.key))?;
    }
    if let Some(runner) = &snapshot.runner {
        let once = runner.once();
        let file = once.path().display();
        once.open(clock::now().unix_ms)
            .map_err(|problem| format!("{file} cannot be used for runner tokens: {problem}"))?;
    }
    let log = Log::open(&settings.access_log, format).map_err(|problem| {
        let target = match &settings.access_log {
            AccessLog::File(path) => path.display().to_string(),
            AccessLog::Off | AccessLog::Stdout | AccessLog::Stderr => String::new(),
        };
        format!("telemetry.access_log {target} cannot be opened: {problem}")
    })?;
    let ledger = Ledger::new(open_trail(&settings, &log, &metrics)?);
    let readiness = Arc::new(Readiness::new(settings.ready, clock::now()));
    let live = Arc::new(ArcSwap::new(snapshot));
    let rollout = live.load().rollout.as_ref().map(|plan| {
        let moves = in_the_trail(ledger.clone(), Arc::clone(&live), settings.audit.required);
        Arc::new(Rollout::open(plan, &settings.state_dir, Box::new(moves), clock::now().unix_ms))
    });
    let reloader = Reloader {
        path,
        settings,
        live,
        metrics,
        ledger: ledger.clone(),
        readiness: Arc::clone(&readiness),
        rollout: rollout.clone(),
    };
    reloader.record_start();
    let served = server::run(Start {
        reloader: Arc::new(reloader),
        read: loaded.watched,
        log,
        ledger: ledger.clone(),
        readiness,
        rollout,
        hangups,
        advice,
    });
    // Also when nothing was served: a start that failed leaves a trail that ends well.
    ledger.finish(Duration::from_secs(1));
    Ok(served?)
}

/// Opens the trail, or fails where something must not go on without it.
fn open_trail(settings: &Settings, log: &Log, metrics: &Metrics) -> Result<Trail, String> {
    let audit = &settings.audit;
    let copy = if !audit.copy_to_stdout {
        None
    } else if settings.access_log == AccessLog::Stdout {
        Some(log.clone())
    } else {
        let opened = Log::open(&AccessLog::Stdout, Format::Json);
        Some(opened.map_err(|problem| format!("stdout cannot be written: {problem}"))?)
    };
    let (commit, missing) = (metrics.audit_commit().clone(), metrics.audit_copies_dropped().clone());
    let options = Options {
        file: audit.file.clone(),
        rotate_size: audit.rotate_size,
        rotate_keep: audit.rotate_keep,
        state_dir: settings.state_dir.clone(),
        copy: copy.map(|log| Box::new(move |lines: &[u8]| copied(log.copy(lines), &missing)) as trail::CopyTo),
        committed: Some(Box::new(move |took: Duration| commit.observe(took.as_secs_f64()))),
    };
    if audit.required { Trail::open(options) } else { Ok(Trail::open_when_possible(options)) }
}

/// Counts what no reader of stdout took, and tells it once for each time that it stalls.
fn copied(copied: Copied, missing: &IntCounter) {
    match copied {
        Copied::Queued => {}
        Copied::Again { missing } => {
            tracing::info!("audit.copy_to: stdout is read again; {missing} entries are in the trail's files alone");
        }
        Copied::Dropped { lines, first } => {
            missing.inc_by(lines);
            if first {
                tracing::warn!(
                    "audit.copy_to: nobody reads stdout fast enough: entries are dropped there, and are in the trail's files alone"
                );
            }
        }
    }
}

/// Writes changes of the rollout down as the config of the moment says.
fn in_the_trail(ledger: Ledger, live: Live, required: bool) -> Moves {
    Moves::new(ledger, move || {
        let snapshot = live.load();
        let is_privileged = |route: &Route| route.access == Access::Privileged;
        moves::Terms {
            is_listed: snapshot.audit.events.has(EventClass::Rollout),
            // A reload may have brought what must not go on without a trail.
            is_required: required || snapshot.routes.iter().any(is_privileged),
            snapshot: Arc::clone(&snapshot.id),
        }
    })
}

/// Makes sure now that key sets can be kept: the day that they are needed is too late to learn that they were not.
fn claim_state(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".probe");
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}
