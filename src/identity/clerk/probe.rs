//! Whether Clerk renews tokens, asked of its Frontend API now and then: an outage of issuance does not show in the keys,
//! which go on being served (10 March 2026: token requests were 429 for a quarter of an hour).
//!
//! One task an instance, which alone asks, at its own pace: no request can make it ask, so that no stranger can have
//! crossgate hammer Clerk or call an outage. Asked is whether anybody answers, never what: 4xx is an answer. What it finds
//! makes nobody's token good or bad; it only says what one that has run out is told.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::fetch::{ASK, FetchProblem, Prober};
use super::refresh::{jitter, random};

/// Failures in a row that make an outage. One may be a router on the way.
const CONFIRM: u32 = 3;
/// Between two questions while an outage is suspected and not yet confirmed.
const SUSPICION: Duration = Duration::from_secs(5);

/// Whether Clerk renews tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuance {
    Up,
    Down,
}

/// `clerk[].probe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Asked by GET, without any credential.
    pub url: String,
    /// Between two questions; 1 s to 5 min.
    pub interval: Duration,
    /// As that of the keys.
    pub allow_private: bool,
}

/// What one instance's issuance is known to be. Lives across reloads while its address and pace stay the same.
#[derive(Debug)]
pub struct Probe {
    issuer: Arc<str>,
    spec: ProbeSpec,
    /// In a row, up to [`CONFIRM`].
    failures: AtomicU32,
    /// Why the latest question had no answer, if it had none.
    last_failure: ArcSwapOption<String>,
    has_task: AtomicBool,
    /// Outlives this struct in the task that waits on it.
    gone: Arc<Notify>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Answer,
    Failure(String),
    /// The question could not be asked, which says nothing about Clerk.
    NotAsked(String),
}

impl Heard {
    fn of(asked: Result<StatusCode, FetchProblem>) -> Self {
        match asked {
            Ok(status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Self::Failure(format!("status {}", status.as_u16()))
            }
            Ok(_) => Self::Answer,
            Err(FetchProblem::Timeout) => Self::Failure(format!("no answer within {} s", ASK.as_secs())),
            Err(problem @ FetchProblem::Network(_)) => Self::Failure(problem.to_string()),
            Err(problem) => Self::NotAsked(problem.to_string()),
        }
    }
}

impl Probe {
    pub fn new(issuer: Arc<str>, spec: ProbeSpec) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            spec,
            failures: AtomicU32::new(0),
            last_failure: ArcSwapOption::empty(),
            has_task: AtomicBool::new(false),
            gone: Arc::default(),
        })
    }

    /// `old` itself where nothing changed, so that a reload forgets no outage.
    pub(super) fn adopt(issuer: Arc<str>, spec: ProbeSpec, old: Option<&Arc<Self>>) -> Arc<Self> {
        match old.filter(|old| old.issuer == issuer && old.spec == spec) {
            Some(old) => Arc::clone(old),
            None => Self::new(issuer, spec),
        }
    }

    /// Up until the contrary is confirmed. No lock.
    pub fn issuance(&self) -> Issuance {
        if self.failures.load(Ordering::Relaxed) >= CONFIRM { Issuance::Down } else { Issuance::Up }
    }

    /// Why the latest question had no answer, if it had none.
    pub fn last_failure(&self) -> Option<Arc<String>> {
        self.last_failure.load_full()
    }

    pub fn spec(&self) -> &ProbeSpec {
        &self.spec
    }

    fn conclude(&self, heard: Heard) {
        let was = self.issuance();
        match heard {
            Heard::Answer => {
                self.failures.store(0, Ordering::Relaxed);
                self.last_failure.store(None);
            }
            Heard::Failure(why) => {
                // The task alone writes.
                let failures = (self.failures.load(Ordering::Relaxed) + 1).min(CONFIRM);
                self.failures.store(failures, Ordering::Relaxed);
                self.last_failure.store(Some(Arc::new(why)));
            }
            Heard::NotAsked(why) => {
                let told = self.last_failure.swap(Some(Arc::new(why.clone())));
                if told.is_none_or(|told| *told != why) {
                    tracing::warn!(issuer = %self.issuer, "the probe of clerk's issuance cannot ask: {why}");
                }
            }
        }
        match (was, self.issuance()) {
            (Issuance::Up, Issuance::Down) => {
                let why = self.last_failure().map(|why| why.to_string()).unwrap_or_default();
                tracing::warn!(issuer = %self.issuer, "clerk issues no tokens, as the probe sees it: {why}");
            }
            (Issuance::Down, Issuance::Up) => tracing::info!(issuer = %self.issuer, "clerk issues tokens again"),
            (Issuance::Up, Issuance::Up) | (Issuance::Down, Issuance::Down) => {}
        }
    }

    /// The time until the next question. Never shorter in an outage than without one: many ask then.
    fn pause(&self, random: f64) -> Duration {
        let failures = self.failures.load(Ordering::Relaxed);
        let is_suspected = failures > 0 && failures < CONFIRM;
        let pause = if is_suspected { self.spec.interval.min(SUSPICION) } else { self.spec.interval };
        jitter(pause, random)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // The task sleeps on this; when it wakes, there is nothing left to ask for and it ends.
        self.gone.notify_one();
    }
}

/// Starts the task of this probe in the current runtime; `None` when it runs already.
pub fn spawn(probe: &Arc<Probe>) -> Option<JoinHandle<()>> {
    if probe.has_task.swap(true, Ordering::AcqRel) {
        return None;
    }
    let (weak, gone, spec) = (Arc::downgrade(probe), Arc::clone(&probe.gone), probe.spec.clone());
    Some(tokio::spawn(async move {
        // Made at the first question and again as long as that fails (a container without TLS roots yet).
        let client = tokio::sync::OnceCell::new();
        let ask = || async {
            let prober: &Prober = client.get_or_try_init(|| std::future::ready(Prober::new(&spec))).await?;
            prober.ask().await
        };
        run(weak, &gone, ask, random).await;
    }))
}

async fn run<F, A>(probe: Weak<Probe>, gone: &Notify, ask: F, mut random: impl FnMut() -> f64)
where
    F: Fn() -> A,
    A: Future<Output = Result<StatusCode, FetchProblem>>,
{
    loop {
        let asked = ask().await;
        let pause = {
            let Some(probe) = probe.upgrade() else { return };
            probe.conclude(Heard::of(asked));
            probe.pause(random())
        };
        tokio::select! {
            () = gone.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        if probe.strong_count() == 0 {
            return;
        }
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
