//! Whether this process should get traffic, and why not.
//!
//! A config that was refused on reload, or keys that are old, leave it ready: the last good ones serve. Without any
//! keys it waits for `server.ready.wait` and is then ready but degraded, since public traffic must not die with Clerk
//! (`strict: true` never is).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use serde::Serialize;

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
    stale_config: ArcSwapOption<String>,
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
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Why {
    /// `draining`, `starting`, `no_keys`, `stale_keys`, `issuance_down`, `legacy_unreachable`, `signing_keys`, `stale_config`,
    /// `audit_unavailable`, `rollout_state`, `rollout_pending`.
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    pub detail: String,
}

impl Readiness {
    pub fn new(rules: ReadyRules, now: Now) -> Self {
        Self {
            started: now.mono,
            rules,
            listening: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stale_config: ArcSwapOption::empty(),
        }
    }

    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The first problem of a refused reload, or that the config is good again.
    pub fn set_stale_config(&self, problem: Option<String>) {
        self.stale_config.store(problem.map(Arc::new));
    }

    /// Judges the process at this moment.
    /// `trail` says what is wrong with the audit trail, if anything is.
    pub fn report(&self, snapshot: &Snapshot, trail: Option<&str>, now: Now) -> Report {
        let mut reasons = Vec::new();
        let mut ready = true;
        let mut say = |code, issuer: Option<&Arc<str>>, detail: String| {
            reasons.push(Why { code, issuer: issuer.map(|issuer| issuer.to_string()), detail });
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
        if let Some(problem) = self.stale_config.load_full() {
            say("stale_config", None, format!("the last good config serves; the new one was refused: {problem}"));
        }
        // Public and protected traffic goes on, so that the process stays in the balancer.
        if let Some(problem) = trail {
            say("audit_unavailable", None, format!("privileged requests are 503: {problem}"));
        }
        let degraded = !reasons.is_empty();
        Report { ready, degraded, reasons, snapshot: snapshot.id.to_string() }
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
