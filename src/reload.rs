//! A new config while requests are served: compiled whole and swapped whole, or the last good one kept and said so.
//!
//! Never half: no request is judged by two policies. What can only be read at start (listeners, threads, logs) is
//! named when it changed, and stays as it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::admin::health::Readiness;
use crate::audit::{Entry, Event, EventClass, Id, Ledger, Policy, Text};
use crate::clock;
use crate::config::{self, Problem};
use crate::rollout::Rollout;
use crate::snapshot::{Live, Settings, Snapshot};
use crate::telemetry::metrics::Metrics;

/// Loads the config again, on demand.
#[derive(Debug)]
pub struct Reloader {
    pub path: PathBuf,
    pub settings: Settings,
    pub live: Live,
    pub metrics: Metrics,
    pub ledger: Ledger,
    pub readiness: Arc<Readiness>,
    /// There is none without `rollout` in the config.
    pub rollout: Option<Arc<Rollout>>,
    /// One reload at a time; two signals in a row must not swap in the older of two files.
    pub turn: Mutex<()>,
}

impl Reloader {
    /// Reads all files and swaps the snapshot. Blocks on files: call it off the async threads.
    ///
    /// # Errors
    /// All problems of the new config, which is then not used.
    pub fn reload(&self) -> Result<Arc<Snapshot>, Vec<Problem>> {
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let previous = self.live.load_full();
        let loaded = config::load(&self.path, &|name| std::env::var(name).ok(), &self.metrics, Some(&previous));
        let Some(compiled) = loaded.compiled else {
            let first = loaded.problems.iter().find(|problem| problem.is_error()).map(ToString::to_string);
            tracing::error!(
                problems = loaded.problems.len(),
                first = first.as_deref().unwrap_or_default(),
                "reload refused, the last good config serves; `crossgate check` shows every problem"
            );
            self.metrics.config_stale().set(1);
            let error = loaded.problems.iter().find(|problem| problem.is_error());
            let place = error.map(|error| format!("{} at {}:{}", error.code, error.file, error.line));
            self.record(&previous, "config.refused", place.as_deref());
            self.readiness.set_stale_config(Some(first.unwrap_or_default()));
            return Err(loaded.problems);
        };
        // A folder that cannot be used goes on with the keys that are known; without any, the config would sign nothing.
        for folder in compiled.snapshot.key_folders() {
            let Err(problem) = folder.tend(clock::now()) else { continue };
            tracing::error!(%problem, "{} cannot be used", folder.key);
            if folder.ring.is_empty() {
                self.metrics.config_stale().set(1);
                self.record(&previous, "config.refused", None);
                self.readiness.set_stale_config(Some(format!("{}: {problem}", folder.key)));
                return Err(loaded.problems);
            }
        }
        if compiled.settings != self.settings {
            tracing::warn!(
                "listeners, admin, server, telemetry, state_dir, limits.first_byte, keepalive or header_read, audit.file, rotate or copy_to changed: they are read at start only"
            );
        }
        let snapshot = Arc::new(compiled.snapshot);
        // Before it serves: a crash in between must not leave a map in use whose loss nobody would notice.
        snapshot.linking.keep_extent(&self.settings.state_dir);
        self.live.store(Arc::clone(&snapshot));
        // A rollout that only one side has was told as a problem.
        if let (Some(rollout), Some(plan)) = (&self.rollout, &snapshot.rollout) {
            rollout.configure(plan, clock::now().unix_ms);
        }
        self.metrics.config_stale().set(0);
        self.readiness.set_stale_config(None);
        for keys in snapshot.keys() {
            keys.wake();
        }
        tracing::info!(snapshot = &*snapshot.id, routes = snapshot.routes.len(), "config loaded");
        self.record(&snapshot, "config.reload", None);
        Ok(snapshot)
    }

    /// Writes down which config serves from now on: `config.load` at start, `config.reload`, or `config.refused` with
    /// the first problem's code and place, never its text, which may quote a value.
    pub fn record(&self, snapshot: &Snapshot, action: &'static str, refused: Option<&str>) {
        if !snapshot.audit.events.has(EventClass::Config) {
            return;
        }
        let path = self.path.display().to_string();
        let mut entry = Entry::new(Id::random(), clock::unix_micros(), Event::Config);
        entry.decision = Some(if action == "config.refused" { "deny" } else { "allow" });
        entry.reason = refused.map(Text);
        entry.action = Some(Text(action));
        entry.resource = Some(Text(&path));
        entry.policy = Some(Policy { snapshot: Text(&snapshot.id), file: None, line: None });
        self.ledger.post(&entry);
    }
}
