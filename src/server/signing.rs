//! Looks after the keys of assertions: takes up those that somebody added, makes the next one in time.

use std::sync::Arc;
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
        let mut told = None;
        loop {
            let assertion = self.live.load().assertion.clone();
            let overlap = assertion.as_ref().map(|assertion| assertion.schedule().overlap);
            tokio::select! {
                // Without any, a reload may bring one.
                () = sleep(overlap.map_or(LOOK, |overlap| (overlap / 20).clamp(SOONEST, LOOK))) => {}
                _ = shutdown.changed() => return,
            }
            let Some(assertion) = assertion else { continue };
            // A task that panicked has changed nothing, and the next look tries again.
            let looked = tokio::task::spawn_blocking(move || Arc::clone(&assertion).tend(clock::now())).await;
            let problem = looked.ok().and_then(Result::err).map(|problem| problem.to_string());
            if problem.is_some() && problem != told {
                let problem = problem.as_deref().unwrap_or_default();
                tracing::error!(problem, "identity.assertion.keys_dir cannot be used; the keys that are known go on");
            }
            told = problem;
        }
    }
}
