//! Keeps the key sets of all issuers fresh, those of the legacy side too, across reloads, and lets the gate open once they
//! had their first chance. Starts the probes of Clerk's issuance, too, which nobody waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::time::{sleep, timeout};

use crate::identity::clerk::{probe, refresh};
use crate::snapshot::Live;

/// How soon a reload's new issuers get their task.
const LOOK: Duration = Duration::from_millis(250);

/// One task per issuer whose keys are fetched.
#[derive(Debug)]
pub(super) struct KeyService {
    pub(super) live: Live,
    /// Longest wait for the first attempts before the gate opens anyway, degraded.
    pub(super) wait: Duration,
    pub(super) state_dir: PathBuf,
}

#[async_trait]
impl BackgroundService for KeyService {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        self.start_tasks();
        let first = async {
            for keys in self.live.load_full().keys() {
                keys.first_attempt().await;
            }
        };
        if timeout(self.wait, first).await.is_err() {
            tracing::warn!("no key set after server.ready.wait: serving without, protected routes answer 503");
        }
        ready.notify_ready();
        loop {
            tokio::select! {
                () = sleep(LOOK) => self.start_tasks(),
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl KeyService {
    /// Tasks hold what they work for weakly: those of an issuer that a reload took away end by themselves.
    fn start_tasks(&self) {
        let live = self.live.load();
        for keys in live.keys() {
            drop(refresh::spawn(Arc::clone(keys), &self.state_dir));
        }
        for probe in live.instances.iter().filter_map(|instance| instance.probe.as_ref()) {
            drop(probe::spawn(probe));
        }
    }
}
