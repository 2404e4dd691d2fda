//! A new config while requests are served: compiled whole and swapped whole, or the last good one kept and said so.
//!
//! Never half: no request is judged by two policies. What can only be read at start (listeners, threads, logs) is
//! named when it changed, and stays as it is.

mod keeper;
mod outcome;
mod restart;
mod settle;
mod stir;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::admin::health::{Readiness, Stale};
use crate::audit::{Actor, Entry, Event, EventClass, Events, Id, Ledger, Policy, Text};
use crate::clock;
use crate::config::{self, Problem, Watched};
use crate::rollout::Rollout;
use crate::snapshot::{Live, Settings, Snapshot};
use crate::telemetry::metrics::Metrics;

/// What a config was read from.
pub use crate::config::Watched as Read;
pub use keeper::{QUIET, Reloads, start};
pub use outcome::{By, Outcome, Verdict};

use outcome::{Gone, MOST_TOLD};

/// How often files that change while they are read are read again for somebody who waits.
const TRIES: usize = 5;

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Loads the config again; called by one thread only.
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
}

impl Reloader {
    /// As [`Self::read`]; who asks for a reload asks for fresh key sets, too, whatever the files say.
    fn reload(&self, by: &By) -> (Outcome, Watched) {
        let (outcome, watched) = self.read(by);
        if *by != By::Files {
            outcome.snapshot.keys().for_each(|keys| keys.wake());
        }
        (outcome, watched)
    }

    /// Reads all files and swaps the snapshot, or keeps the last good one and says so. Blocks on files and computes for up
    /// to a second: call it off the async threads.
    fn read(&self, by: &By) -> (Outcome, Watched) {
        let previous = self.live.load_full();
        let mut loaded = self.load(&previous);
        // Half of one state and half of another is neither.
        let rests = |watched: &Watched| watched.look() == *watched.seen();
        let mut settled = rests(&loaded.watched);
        if *by == By::Files {
            if !settled {
                return (Outcome::new(Verdict::Unsettled, previous, &[]), loaded.watched);
            }
        } else {
            // Somebody waits, and perhaps sent the signal while an editor still wrote: a list that is cut off is a list, and the
            // routes that it lacks are open by whatever stands below them. Files that were just written are given time to rest.
            let mut rested = false;
            for _ in 1..TRIES {
                let young = loaded.watched.is_younger(clock::now().unix_ms - millis(QUIET));
                if young {
                    std::thread::sleep(QUIET);
                    settled = rests(&loaded.watched);
                }
                if settled {
                    rested = true;
                    break;
                }
                loaded = self.load(&previous);
                settled = rests(&loaded.watched);
            }
            // Also what was whole in the last look: its writer has not ended.
            if !rested {
                tracing::error!("config files change faster than they can be read: the last good one serves");
                return (Outcome::new(Verdict::Unsettled, previous, &[]), loaded.watched);
            }
        }
        let config::Loaded { problems, compiled, watched, .. } = loaded;
        let Some(compiled) = compiled else {
            return (self.refuse(by, previous, &problems), watched);
        };
        let warnings = problems.len();
        let restart_needed = self.tell_restart(restart::changed(&self.settings, &compiled.settings));
        let mut outcome = if *by == By::Files && compiled.snapshot.id == previous.id {
            // Touched, or written back: what serves is what the files say.
            self.serves(&previous);
            self.metrics.count_reload(Verdict::Unchanged.as_str());
            tracing::info!(snapshot = &*previous.id, "config files changed, and say what they said");
            Outcome::new(Verdict::Unchanged, previous, &problems)
        } else {
            match self.take_up(by, &previous, compiled, warnings) {
                Ok(snapshot) => {
                    let gone = Gone::between(&previous.routes, &snapshot.routes);
                    tell_gone(&gone, &snapshot.id);
                    Outcome { gone, ..Outcome::new(Verdict::Loaded, snapshot, &problems) }
                }
                Err(unusable) => self.refuse_folder(by, previous, &unusable),
            }
        };
        outcome.restart_needed = restart_needed;
        (outcome, watched)
    }

    fn load(&self, previous: &Snapshot) -> config::Loaded {
        config::load(&self.path, &|name| std::env::var(name).ok(), &self.metrics, Some(previous))
    }

    /// Makes a compiled config the one that serves.
    ///
    /// # Errors
    /// A folder of keys without which it would sign nothing.
    fn take_up(
        &self,
        by: &By,
        previous: &Snapshot,
        compiled: config::Compiled,
        warnings: usize,
    ) -> Result<Arc<Snapshot>, Unusable> {
        let config::Compiled { settings, mut snapshot } = compiled;
        // A folder that cannot be used goes on with the keys that are known; without any, the config would sign nothing.
        for folder in snapshot.key_folders() {
            let Err(problem) = folder.tend(clock::now()) else { continue };
            tracing::error!(%problem, "{} cannot be used", folder.key);
            if folder.ring.is_empty() {
                return Err(Unusable { key: folder.key, problem: problem.to_string() });
            }
        }
        snapshot.keep_tls_of(&self.settings.listeners, &settings.listeners, previous);
        let snapshot = Arc::new(snapshot);
        // Before it serves: a crash in between must not leave a map in use whose loss nobody would notice.
        snapshot.linking.keep_extent(&self.settings.state_dir);
        self.live.store(Arc::clone(&snapshot));
        // A rollout that only one side has was told as a problem.
        if let (Some(rollout), Some(plan)) = (&self.rollout, &snapshot.rollout) {
            rollout.configure(plan, clock::now().unix_ms);
        }
        self.serves(&snapshot);
        self.metrics.count_reload(Verdict::Loaded.as_str());
        let (id, by_name) = (&*snapshot.id, by.as_str());
        tracing::info!(
            snapshot = id,
            previous = &*previous.id,
            routes = snapshot.routes.len(),
            warnings,
            by = by_name,
            "config loaded"
        );
        let (before, now) = (previous.audit.events, snapshot.audit.events);
        let changed = (before != now).then(|| format!("audit.events: {now} (before: {before})"));
        // By the events of before, too: the change that switches the writing off is the last that must be missing.
        self.record(&snapshot, before.or(now), "config.reload", Some(by), changed.as_deref());
        Ok(snapshot)
    }

    /// The config of the files serves.
    pub fn serves(&self, snapshot: &Snapshot) {
        self.metrics.config_serves(&snapshot.id, clock::now().unix_ms);
        self.readiness.set_stale_config(None);
    }

    fn refuse(&self, by: &By, previous: Arc<Snapshot>, problems: &[Problem]) -> Outcome {
        let errors = || problems.iter().filter(|problem| problem.is_error());
        for problem in errors().take(MOST_TOLD) {
            let Problem { code, file, line, column, message, help, .. } = problem;
            let help = help.as_deref();
            tracing::error!(code, file = &**file, line, column, help, "{message}");
        }
        let outcome = Outcome::new(Verdict::Refused, previous, problems);
        let first = errors().next();
        let place = first.map(|error| format!("{} at {}:{}", error.code, error.file, error.line));
        let told = outcome.problems.iter().zip(problems).filter(|(_, problem)| problem.is_error());
        let told = told.take(MOST_TOLD).map(|(told, _)| told.clone()).collect();
        self.refused(by, &outcome, first.map(ToString::to_string).unwrap_or_default(), place.as_deref(), told);
        outcome
    }

    fn refuse_folder(&self, by: &By, previous: Arc<Snapshot>, unusable: &Unusable) -> Outcome {
        let message = format!("{}: {}", unusable.key, unusable.problem);
        let problem = serde_json::json!({
            "code": null, "severity": "error", "file": self.path.display().to_string(), "line": 0, "column": 0,
            "message": message, "help": null,
        });
        let outcome = Outcome {
            problems: vec![problem.clone()],
            errors: 1,
            warnings: 0,
            ..Outcome::new(Verdict::Refused, previous, &[])
        };
        self.refused(by, &outcome, message, None, vec![problem]);
        outcome
    }

    fn refused(&self, by: &By, outcome: &Outcome, first: String, place: Option<&str>, problems: Vec<Value>) {
        let (by_name, problems_count) = (by.as_str(), outcome.errors);
        tracing::error!(
            problems = problems_count,
            first,
            by = by_name,
            snapshot = &*outcome.snapshot.id,
            "reload refused, the last good config serves; `crossgate check` shows every problem"
        );
        self.metrics.config_stale().set(1);
        self.metrics.count_reload(Verdict::Refused.as_str());
        let snapshot = &outcome.snapshot;
        self.record(snapshot, snapshot.audit.events, "config.refused", Some(by), place);
        self.readiness.set_stale_config(Some(Stale { first, errors: problems_count, problems }));
    }

    /// A load ended in a bug. What serves goes on.
    fn lost(&self) {
        let first = "a bug ended the reload; the place is in the log".to_owned();
        self.metrics.config_stale().set(1);
        self.metrics.count_reload(Verdict::Refused.as_str());
        self.readiness.set_stale_config(Some(Stale { first, errors: 1, problems: Vec::new() }));
    }

    fn tell_restart(&self, keys: Vec<&'static str>) -> Vec<&'static str> {
        if self.readiness.set_restart_needed(&keys) && !keys.is_empty() {
            tracing::warn!(keys = keys.join(", "), "settings changed that are read at start only: restart to use them");
        }
        keys
    }

    /// The start's own entry: which config serves.
    pub fn record_start(&self) {
        let snapshot = self.live.load();
        self.record(&snapshot, snapshot.audit.events, "config.load", None, None);
    }

    /// Writes down which config serves from now on: `config.load` at start, `config.reload`, with what becomes of the
    /// trail's own events, or `config.refused` with the first problem's code and place, never its text, which may
    /// quote a value.
    fn record(&self, snapshot: &Snapshot, events: Events, action: &'static str, by: Option<&By>, reason: Option<&str>) {
        if !events.has(EventClass::Config) {
            return;
        }
        let path = self.path.display().to_string();
        let mut entry = Entry::new(Id::random(), clock::unix_micros(), Event::Config);
        entry.decision = Some(if action == "config.refused" { "deny" } else { "allow" });
        entry.reason = reason.map(Text);
        entry.action = Some(Text(action));
        entry.resource = Some(Text(&path));
        if let Some(by) = by {
            entry.actor =
                Some(Actor { subject: Some(Text(by.as_str())), method: Some(by.method()), ..Actor::default() });
        }
        entry.policy = Some(Policy { snapshot: Text(&snapshot.id), file: None, line: None });
        self.ledger.post(&entry);
    }
}

/// What a deleted file guarded may be open now by a rule that stands below it: whoever meant it can pass this over.
fn tell_gone(gone: &Gone, snapshot: &str) {
    let Gone { count, guarded, ids } = gone;
    if *count > 0 {
        let more = count.saturating_sub(ids.len());
        let ids = ids.join(", ");
        tracing::warn!(
            routes = count,
            guarded,
            ids,
            more,
            snapshot,
            "routes are gone with this reload: their requests fall under what is left"
        );
    }
}

/// A folder of keys that cannot be used, and without which nothing can be signed.
#[derive(Debug)]
struct Unusable {
    key: &'static str,
    problem: String,
}
