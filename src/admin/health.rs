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
use crate::identity::clerk::{Health, KeyStats};
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
    /// `draining`, `starting`, `no_keys`, `stale_keys`, `stale_config`, `audit_unavailable`, `rollout_state`,
    /// `rollout_pending`.
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
        for instance in snapshot.instances.iter() {
            match instance.keys.health(now) {
                Health::Ok => {}
                Health::Stale => {
                    say("stale_keys", Some(&instance.issuer), describe(&instance.keys.stats(now)));
                }
                Health::Outage => {
                    ready &= !(self.rules.strict || waiting);
                    say("no_keys", Some(&instance.issuer), describe(&instance.keys.stats(now)));
                }
            }
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

fn describe(stats: &KeyStats) -> String {
    let cause = stats.last_failure.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let fetches = format!("{} fetches failed, {} succeeded{cause}", stats.fetches_failed, stats.fetches_succeeded);
    match stats.age {
        Some(age) => format!("the keys in use are {} s old; {fetches}", age.as_secs()),
        None => format!("no key set could be had yet; {fetches}"),
    }
}
