//! Shutdown: out of the load balancer first, then the requests in flight, then the process.
//!
//! Pingora's own watch closes listeners at once and then sleeps a fixed time, whatever is in flight; so this one
//! answers its question late. SIGTERM drains: readiness off, still accepting for `delay`, then no more connections,
//! then waiting for what is under way, at most `limit`. SIGINT and any second signal end at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::admin::health::Readiness;
use crate::gate::passage::InFlight;
use crate::guard::Young;
use crate::snapshot::DrainTimes;

/// How long a connection that was just made has for its request, once nothing more is accepted. A balancer may hold
/// connections open that it never uses: these must not hold up the end.
const YOUTH: Duration = Duration::from_millis(500);

/// How long the connections that are left have for bytes of answers that were given already.
const LAST_BYTES: Duration = Duration::from_millis(200);

/// The process's shutdown watch.
#[derive(Debug)]
pub struct Drain {
    pub times: DrainTimes,
    pub readiness: Arc<Readiness>,
    pub in_flight: Arc<InFlight>,
    pub young: Arc<Young>,
    /// Read by the gate: answers then close their connections.
    pub draining: Arc<AtomicBool>,
    /// HTTP/2 clients are told.
    pub goaway: watch::Sender<bool>,
    /// No more connections.
    pub close: watch::Sender<bool>,
}

#[async_trait]
impl ShutdownSignalWatch for Drain {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be watched");
            return ShutdownSignal::FastShutdown;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
        }
        self.readiness.set_draining();
        self.draining.store(true, Ordering::Relaxed);
        self.goaway.send_replace(true);
        // There may be no service manager.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!(in_flight = self.in_flight.count(), "draining");
        tokio::select! {
            finished = self.requests_end() => {
                if !finished {
                    tracing::warn!(in_flight = self.in_flight.count(), "server.drain.limit reached, requests are cut");
                }
                ShutdownSignal::GracefulTerminate
            }
            _ = terminate.recv() => ShutdownSignal::FastShutdown,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
        }
    }
}

impl Drain {
    /// Still accepting for `delay`, while load balancers take this endpoint out; then until nothing is in flight.
    async fn requests_end(&self) -> bool {
        sleep(self.times.delay).await;
        self.close.send_replace(true);
        // Until the last loop has let go: what it accepted at the last moment is counted then.
        let _ = timeout(YOUTH, self.close.closed()).await;
        let end = Instant::now() + self.times.limit;
        let patience = end.min(Instant::now() + YOUTH);
        // A loop: a young connection becomes a request in flight, and only when both are gone is nothing under way.
        loop {
            if !self.in_flight.wait_idle(end.saturating_duration_since(Instant::now())).await {
                return false;
            }
            let patience = patience.max(Instant::now() + LAST_BYTES).min(end);
            while self.in_flight.count() == 0 {
                if self.young.count() == 0 || Instant::now() >= patience {
                    return true;
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
