//! Keeps the key sets of all issuers fresh, across reloads, and lets the gate open once they had their first chance.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::time::{sleep, timeout};

use crate::identity::clerk::refresh;
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
            for instance in self.live.load_full().instances.iter() {
                instance.keys.first_attempt().await;
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
    /// Tasks hold their keys weakly: those of an issuer that a reload took away end by themselves.
    fn start_tasks(&self) {
        for instance in self.live.load().instances.iter() {
            drop(refresh::spawn(Arc::clone(&instance.keys), &self.state_dir));
        }
    }
}
