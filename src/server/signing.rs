//! Looks after the keys of assertions and runner tokens: takes up those that somebody added, makes the next one in time.

use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::sleep;

use crate::clock;
use crate::snapshot::Live;

/// Longest wait between two looks: a key that another replica made must be published long before it signs there.
const LOOK: Duration = Duration::from_secs(30);
const SOONEST: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct SigningService {
    pub(super) live: Live,
}

#[async_trait]
impl BackgroundService for SigningService {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut told: Vec<String> = Vec::new();
        loop {
            let folders = self.live.load().key_folders();
            let overlap = folders.iter().map(|folder| folder.schedule.overlap).min();
            tokio::select! {
                // Without any, a reload may bring one.
                () = sleep(overlap.map_or(LOOK, |overlap| (overlap / 20).clamp(SOONEST, LOOK))) => {}
                _ = shutdown.changed() => return,
            }
            // A task that panicked has changed nothing, and the next look tries again.
            let looked = tokio::task::spawn_blocking(move || {
                let tended = folders.iter().map(|folder| (folder.key, folder.tend(clock::now())));
                tended.filter_map(|(key, tended)| Some(format!("{key}: {}", tended.err()?))).collect::<Vec<_>>()
            });
            let problems = looked.await.unwrap_or_default();
            for problem in problems.iter().filter(|problem| !told.contains(problem)) {
                tracing::error!(problem, "keys to sign with cannot be looked after; the keys that are known go on");
            }
            told = problems;
        }
    }
}
