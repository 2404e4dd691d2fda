//! The task that keeps one issuer's keys fresh: the only place that fetches, hence one flight at a time.
//!
//! Started once per [`Keys`] by the server (and by `explain`), ends when nobody holds the keys any more. Restores
//! the last good set, fetches at once, then every `jwks.refresh`, sooner when a request meets an unknown key or an
//! operator asks, and with growing pauses while it fails. Says each change of state once, not each failure.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::fetch::{FetchProblem, Fetcher};
use super::instance::KeyUrl;
use super::jwks::{KeySet, SetKind};
use super::keys::Keys;
use super::store::Store;
use crate::clock::{self, Now};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Starts the task of these keys in the current runtime; `None` when it runs already or nothing is fetched.
pub fn spawn(keys: Arc<Keys>, state_dir: &Path) -> Option<JoinHandle<()>> {
    let source = keys.url()?.clone();
    if !keys.claim_task() {
        return None;
    }
    let store = Store::new(state_dir, keys.issuer(), &source.url).of_kind(source.kind.clone());
    let wake = keys.wake_handle();
    let weak = Arc::downgrade(&keys);
    drop(keys);
    Some(tokio::spawn(async move {
        let client = Network::new(&source);
        let task = Task { store: Some(store), failing: None, failures: 0, leak_told: false, store_failing: false };
        run(weak, &wake, task, || client.fetch(), random, clock::now).await;
    }))
}

/// The client, made at the first fetch and again as long as that fails (a container without TLS roots yet).
struct Network {
    source: KeyUrl,
    fetcher: tokio::sync::OnceCell<Fetcher>,
}

impl Network {
    fn new(source: &KeyUrl) -> Self {
        Self { source: source.clone(), fetcher: tokio::sync::OnceCell::new() }
    }

    async fn fetch(&self) -> Result<Vec<u8>, FetchProblem> {
        let fetcher = self.fetcher.get_or_try_init(|| std::future::ready(Fetcher::new(&self.source))).await?;
        fetcher.fetch().await
    }
}

/// Evenly spread over 0..1. Pauses are not secrets: the standard library's hash seeds are random enough.
pub(super) fn random() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

/// What the task remembers between two fetches.
#[derive(Debug)]
struct Task {
    store: Option<Store>,
    /// The failure that was last told.
    failing: Option<FetchProblem>,
    failures: u32,
    leak_told: bool,
    store_failing: bool,
}

async fn run<F, A>(
    keys: Weak<Keys>,
    wake: &tokio::sync::Notify,
    mut task: Task,
    fetch: F,
    mut random: impl FnMut() -> f64,
    clock: fn() -> Now,
) where
    F: Fn() -> A,
    A: Future<Output = Result<Vec<u8>, FetchProblem>>,
{
    if let Some(keys) = keys.upgrade() {
        task.restore(&keys, clock()).await;
    }
    loop {
        let pause = {
            let Some(keys) = keys.upgrade() else { return };
            let Some(source) = keys.url() else { return };
            // Whoever asked before this flight is answered by it.
            keys.take_again();
            let fetched = fetch().await;
            task.conclude(&keys, fetched, clock()).await;
            // Requests that asked during the flight were answered by it, too. Whoever asked since, or an operator,
            // wants another one. The wake-up is taken first: one that comes after the questions stays for below.
            tokio::select! { biased; () = wake.notified() => {}, () = std::future::ready(()) => {} }
            if keys.take_again() || keys.is_asked() {
                continue;
            }
            pause(task.failures, source.refresh, random())
        };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The time until the next fetch, a tenth shorter or longer by chance, so that replicas do not ask in step.
fn pause(failures: u32, refresh: Duration, random: f64) -> Duration {
    let pause = match failures {
        0 => refresh,
        n => FIRST_PAUSE.saturating_mul(1 << (n - 1).min(6)).min(LONGEST_PAUSE).min(refresh.max(FIRST_PAUSE)),
    };
    jitter(pause, random)
}

/// A tenth shorter or longer; `random` is 0 to 1.
pub(super) fn jitter(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

impl Task {
    async fn restore(&self, keys: &Arc<Keys>, now: Now) {
        let (Some(store), Some(source)) = (self.store.clone(), keys.url()) else { return };
        let max_stale = source.max_stale;
        let path = store.path();
        match spawn_blocking(move || store.load(max_stale, now)).await {
            Ok(Ok(Some(stored))) => {
                tracing::info!(issuer = %keys.issuer(), "key set restored from {}", path.display());
                keys.restored(stored.set, stored.fetched_unix_ms, now);
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(problem)) => {
                tracing::warn!(issuer = %keys.issuer(), "persisted key set {} is not used: {problem}", path.display());
            }
        }
    }

    async fn conclude(&mut self, keys: &Arc<Keys>, fetched: Result<Vec<u8>, FetchProblem>, now: Now) {
        let kind = keys.url().map_or(&SetKind::Clerk, |source| &source.kind);
        let read = fetched.and_then(|bytes| match KeySet::parse_jwks_of(&bytes, kind) {
            Ok(set) => Ok((set, bytes)),
            Err(problem) => Err(FetchProblem::Set(problem)),
        });
        match read {
            Ok((set, bytes)) => {
                let leaked = set.leaked;
                keys.fetched(set, now);
                self.tell_good(keys, leaked);
                if !leaked {
                    self.persist(keys, bytes, now).await;
                }
            }
            Err(problem) => {
                keys.fetch_failed(&problem.to_string());
                self.tell_bad(keys, problem, now);
            }
        }
    }

    fn tell_good(&mut self, keys: &Keys, leaked: bool) {
        if self.failing.take().is_some() {
            tracing::info!(issuer = %keys.issuer(), "key set fetched again");
        }
        self.failures = 0;
        if leaked && !self.leak_told {
            tracing::error!(
                issuer = %keys.issuer(),
                "the key server publishes a PRIVATE key: whoever reads it can sign tokens; rotate it"
            );
        }
        self.leak_told = leaked;
    }

    fn tell_bad(&mut self, keys: &Keys, problem: FetchProblem, now: Now) {
        self.failures = self.failures.saturating_add(1);
        if self.failing.as_ref() != Some(&problem) {
            let health = keys.health(now).as_str();
            tracing::warn!(issuer = %keys.issuer(), health, "key set cannot be fetched: {problem}");
            self.failing = Some(problem);
        }
    }

    async fn persist(&mut self, keys: &Keys, bytes: Vec<u8>, now: Now) {
        let Some(store) = self.store.clone() else { return };
        let path = store.path();
        let saved = spawn_blocking(move || {
            // INVARIANT: strict JSON is UTF-8.
            store.save(&String::from_utf8_lossy(&bytes), now.unix_ms)
        });
        if let Ok(Err(problem)) = saved.await {
            if !self.store_failing {
                tracing::warn!(issuer = %keys.issuer(), "key set is not persisted to {}: {problem}", path.display());
            }
            self.store_failing = true;
        } else {
            self.store_failing = false;
        }
    }
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
