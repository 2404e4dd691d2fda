//! Keeps the upstreams of the snapshot that serves resolved and checked, across reloads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::snapshot::Live;
use crate::upstream::Upstream;

/// How soon a reload's upstreams are looked after.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for names before the gate opens all the same: requests to what has no address are 503 until it has.
const FIRST: Duration = Duration::from_secs(3);

/// One task for each upstream that serves.
#[derive(Debug)]
pub(super) struct UpstreamService {
    pub(super) live: Live,
}

#[async_trait]
impl BackgroundService for UpstreamService {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let mut tended = Tended::default();
        tended.follow(&self.live.load().upstreams);
        let first = async {
            while !self.live.load().upstreams.iter().all(|upstream| upstream.is_resolved()) {
                sleep(LOOK / 10).await;
            }
        };
        if timeout(FIRST, first).await.is_err() {
            tracing::warn!("an endpoint's name has no address yet: requests to it answer 503");
        }
        ready.notify_ready();
        loop {
            tokio::select! {
                () = sleep(LOOK) => tended.follow(&self.live.load().upstreams),
                // The tasks go on as long as this runtime: requests in flight may need an endpoint that comes back.
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// The upstreams that have a task. One that a reload took away is not asked after any more.
#[derive(Default)]
struct Tended(Vec<(Arc<Upstream>, JoinHandle<()>)>);

impl Tended {
    fn follow(&mut self, upstreams: &[Arc<Upstream>]) {
        self.0.retain(|(known, task)| {
            let stays = upstreams.iter().any(|upstream| Arc::ptr_eq(upstream, known));
            if !stays {
                task.abort();
            }
            stays
        });
        for upstream in upstreams {
            if !self.0.iter().any(|(known, _)| Arc::ptr_eq(upstream, known)) {
                self.0.push((Arc::clone(upstream), tokio::spawn(Arc::clone(upstream).tend())));
            }
        }
    }
}
