//! Whether this process should get traffic, and why not.
//!
//! A config that was refused on reload, or keys that are old, leave it ready: the last good ones serve. Without any
//! keys it waits for `server.ready.wait` and is then ready but degraded, since public traffic must not die with Clerk
//! (`strict: true` never is).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use serde_json::Value;

use crate::clock::Now;
use crate::identity::clerk::{Health, Issuance, KeyStats};
use crate::identity::legacy::AskStats;
use crate::snapshot::{ReadyRules, Snapshot};

/// State that outlives snapshots.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    rules: ReadyRules,
    listening: AtomicBool,
    draining: AtomicBool,
    stale_config: ArcSwapOption<Stale>,
    restart_needed: ArcSwap<Vec<&'static str>>,
}

/// A config that was refused.
#[derive(Debug)]
pub struct Stale {
    /// The first problem, in one line.
    pub first: String,
    pub errors: usize,
    /// The first few, as `check --format json` lists them.
    pub problems: Vec<Value>,
}

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ready: bool,
    pub degraded: bool,
    pub reasons: Vec<Why>,
    pub snapshot: String,
}

/// One reason.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct Why {
    /// `draining`, `starting`, `no_keys`, `stale_keys`, `issuance_down`, `legacy_unreachable`, `signing_keys`, `stale_config`,
    /// `restart_needed`, `audit_unavailable`, `rollout_state`, `rollout_pending`.
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    pub detail: String,
    /// Of `restart_needed`: the keys of the config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<&'static str>,
    /// Of `stale_config`: the first few problems, each with code, file, line, column, message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Value>,
}

impl Why {
    pub(super) fn new(code: &'static str, detail: String) -> Self {
        Self { code, detail, ..Self::default() }
    }
}

impl Readiness {
    pub fn new(rules: ReadyRules, now: Now) -> Self {
        Self {
            started: now.mono,
            rules,
            listening: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stale_config: ArcSwapOption::empty(),
            restart_needed: ArcSwap::default(),
        }
    }

    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What a reload refused, or that the config is good again.
    pub fn set_stale_config(&self, refused: Option<Stale>) {
        self.stale_config.store(refused.map(Arc::new));
    }

    /// Keys whose values are not those that the process was started with; whether that is news.
    pub fn set_restart_needed(&self, keys: &[&'static str]) -> bool {
        **self.restart_needed.swap(Arc::new(keys.to_vec())) != *keys
    }

    /// Judges the process at this moment.
    /// `trail` says what is wrong with the audit trail, if anything is.
    pub fn report(&self, snapshot: &Snapshot, trail: Option<&str>, now: Now) -> Report {
        let mut reasons = Vec::new();
        let mut ready = true;
        let mut say = |code, issuer: Option<&Arc<str>>, detail: String| {
            reasons.push(Why { issuer: issuer.map(|issuer| issuer.to_string()), ..Why::new(code, detail) });
        };
        if self.draining.load(Ordering::Relaxed) {
            ready = false;
            say("draining", None, "the process is shutting down".to_owned());
        }
        if !self.listening.load(Ordering::Relaxed) {
            ready = false;
            say("starting", None, "the listeners do not answer yet".to_owned());
        }
        let waiting = now.mono.saturating_duration_since(self.started) < self.rules.wait;
        for keys in snapshot.keys() {
            match keys.health(now) {
                Health::Ok => {}
                Health::Stale => say("stale_keys", Some(keys.issuer()), describe(&keys.stats(now))),
                Health::Outage => {
                    ready &= !(self.rules.strict || waiting);
                    say("no_keys", Some(keys.issuer()), describe(&keys.stats(now)));
                }
            }
        }
        // Both are other people's servers: a process that left the balancer for them would take everybody else along.
        for instance in snapshot.instances.iter().filter(|instance| instance.issuance() == Issuance::Down) {
            let cause = instance.probe.as_ref().and_then(|probe| probe.last_failure());
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            let detail = format!("sessions that run out are 503 until clerk renews them{cause}");
            say("issuance_down", Some(&instance.issuer), detail);
        }
        if let Some(stats) = snapshot.legacy.as_ref().and_then(|legacy| legacy.ask_stats(now))
            && stats.broken
        {
            say("legacy_unreachable", None, describe_asked(&stats));
        }
        for problem in snapshot.key_folders().iter().filter_map(|folder| folder.ring.problem()) {
            say("signing_keys", None, format!("the keys that are known sign on, and none is made: {problem}"));
        }
        for problem in snapshot.key_folders().iter().filter_map(|folder| folder.ring.ahead(folder.schedule, now)) {
            say("signing_keys", None, format!("a key is of no use: {problem}"));
        }
        // Public and protected traffic goes on, so that the process stays in the balancer.
        if let Some(problem) = trail {
            say(
                "audit_unavailable",
                None,
                format!(
                    "privileged requests are 503, but for `best_effort` routes where `audit.on_failure` allows: {problem}"
                ),
            );
        }
        reasons.extend(self.config_reasons());
        let degraded = !reasons.is_empty();
        Report { ready, degraded, reasons, snapshot: snapshot.id.to_string() }
    }
}

impl Readiness {
    /// What the files say is not what serves.
    fn config_reasons(&self) -> impl Iterator<Item = Why> {
        let stale = self.stale_config.load_full().map(|stale| {
            let Stale { first, errors, problems } = &*stale;
            let more = if *errors > 1 { format!(" (and {} more)", errors - 1) } else { String::new() };
            let detail = format!("the last good config serves; the new one was refused: {first}{more}");
            Why { problems: problems.clone(), ..Why::new("stale_config", detail) }
        });
        let keys = self.restart_needed.load();
        let restart = (!keys.is_empty()).then(|| {
            let detail = format!("changed, and read at start only: {}", keys.join(", "));
            Why { keys: keys.to_vec(), ..Why::new("restart_needed", detail) }
        });
        stale.into_iter().chain(restart)
    }
}

fn describe_asked(stats: &AskStats) -> String {
    let cause = stats.last_failure.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let AskStats { answered, failed, .. } = stats;
    format!(
        "legacy credentials that are not remembered are 503; {failed} questions failed, {answered} were answered{cause}"
    )
}

fn describe(stats: &KeyStats) -> String {
    let cause = stats.last_failure.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let fetches = format!("{} fetches failed, {} succeeded{cause}", stats.fetches_failed, stats.fetches_succeeded);
    match stats.age {
        Some(age) => format!("the keys in use are {} s old; {fetches}", age.as_secs()),
        None => format!("no key set could be had yet; {fetches}"),
    }
}
