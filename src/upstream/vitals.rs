//! How one endpoint fares: what health checks say, and what requests met.
//!
//! Beside the peers and across reloads: an address that stays keeps its state. Never decides whether there are enough
//! others to do without it; that is `Upstream`'s. Times are milliseconds of [`super::stamp`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::spec::Health;
use crate::snapshot::Address;

/// Failures in a row that put an endpoint out, as in Envoy.
const IN_A_ROW: u32 = 5;
/// First time out; the n-th in a row is n times as long.
const OUT_MS: u64 = 10_000;
const LONGEST_OUT_MS: u64 = 300_000;
/// After this long without a further time out, the next one is a first again.
const FORGIVEN_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) address: Address,
    /// Health checks say so; the only writer is the task that checks.
    unhealthy: AtomicBool,
    /// Checks in a row that speak against the state that holds.
    against: AtomicU32,
    /// Attempts in a row that failed.
    failures: AtomicU32,
    out_until: AtomicU64,
    times_out: AtomicU32,
}

impl Vitals {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            unhealthy: AtomicBool::new(false),
            against: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            times_out: AtomicU32::new(0),
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Put out by failures of requests.
    pub(super) fn is_out(&self, now: u64) -> bool {
        now < self.out_until.load(Ordering::Relaxed)
    }

    /// One health check came to its end; the new state when it changed.
    pub(super) fn checked(&self, good: bool, rules: &Health) -> Option<bool> {
        let healthy = self.is_healthy();
        if good == healthy {
            self.against.store(0, Ordering::Relaxed);
            return None;
        }
        let needed = if healthy { rules.unhealthy } else { rules.healthy };
        if self.against.fetch_add(1, Ordering::Relaxed) + 1 < needed {
            return None;
        }
        self.against.store(0, Ordering::Relaxed);
        self.unhealthy.store(healthy, Ordering::Relaxed);
        if good {
            // Checked and found well: what requests met before is over.
            self.failures.store(0, Ordering::Relaxed);
            self.out_until.store(0, Ordering::Relaxed);
        }
        Some(good)
    }

    pub(super) fn answered(&self, now: u64) {
        self.failures.store(0, Ordering::Relaxed);
        if self.times_out.load(Ordering::Relaxed) > 0 && now > self.out_until.load(Ordering::Relaxed) + FORGIVEN_MS {
            self.times_out.store(0, Ordering::Relaxed);
        }
    }

    /// An attempt failed; whether there were enough in a row to put it out.
    pub(super) fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= IN_A_ROW
    }

    /// Puts it out, each time for longer.
    pub(super) fn put_out(&self, now: u64) {
        let times = self.times_out.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let out = (OUT_MS * u64::from(times)).min(LONGEST_OUT_MS);
        self.out_until.store(now + out, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Vitals;
    use crate::snapshot::Address;
    use crate::upstream::spec::Health;

    fn vitals() -> Vitals {
        Vitals::new(Address::Tcp(([127, 0, 0, 1], 1).into()))
    }

    #[test]
    fn a_mind_is_changed_by_checks_in_a_row() {
        let rules = Health {
            path: http::uri::PathAndQuery::from_static("/healthz"),
            interval: Duration::from_secs(5),
            healthy: 2,
            unhealthy: 3,
        };
        let vitals = vitals();
        let told: Vec<_> = [false, false, true, false, false, false, true, false, true, true]
            .into_iter()
            .map(|good| vitals.checked(good, &rules))
            .collect();
        let none = None;
        assert_eq!(told, [none, none, none, none, none, Some(false), none, none, none, Some(true)]);
    }

    #[test]
    fn five_failures_in_a_row_and_longer_each_time() {
        let vitals = vitals();
        let failed: Vec<_> = (0..5).map(|_| vitals.failed()).collect();
        assert_eq!(failed, [false, false, false, false, true]);
        vitals.put_out(1_000);
        assert!(vitals.is_out(10_999) && !vitals.is_out(11_000));
        (0..4).for_each(|_| assert!(!vitals.failed()));
        vitals.answered(12_000);
        assert!(!vitals.failed(), "an answer in between");
        vitals.put_out(20_000);
        assert!(vitals.is_out(39_999) && !vitals.is_out(40_000), "the second time is twice as long");
        vitals.answered(101_000);
        vitals.put_out(200_000);
        assert!(!vitals.is_out(210_000), "forgiven");
    }
}
