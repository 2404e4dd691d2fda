//! Shutdown: out of the load balancer first, then the requests in flight, then the process.
//!
//! Pingora's own watch closes listeners at once and then sleeps a fixed time, whatever is in flight; so this one
//! answers its question late. SIGTERM drains (readiness off, `delay`, wait for requests, at most `limit`); SIGINT and
//! any second signal end at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::health::Readiness;
use crate::gate::passage::InFlight;
use crate::snapshot::DrainTimes;

/// The process's shutdown watch.
#[derive(Debug)]
pub struct Drain {
    pub times: DrainTimes,
    pub readiness: Arc<Readiness>,
    pub in_flight: Arc<InFlight>,
    /// Read by the gate: answers then close their connections.
    pub draining: Arc<AtomicBool>,
    /// Something else may end the process too: a listener that cannot be reached.
    pub fatal: Arc<tokio::sync::Notify>,
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
            () = self.fatal.notified() => return ShutdownSignal::FastShutdown,
        }
        self.readiness.set_draining();
        self.draining.store(true, Ordering::Relaxed);
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
        tokio::time::sleep(self.times.delay).await;
        self.in_flight.wait_idle(self.times.limit).await
    }
}
