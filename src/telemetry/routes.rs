//! The handles of routes, by arm and code: resolved when they are first used, after that a request only bumps them.
//!
//! What no label names is shared: ten thousand routes must not mean a million idle series.

use std::sync::{Arc, OnceLock, PoisonError};

use prometheus::{Histogram, IntCounter};

use super::metrics::Metrics;
use crate::gate::reply::{Code, Fault};
use crate::rollout::Side;

/// What routes of one rollout and access class share; there are few.
#[derive(Debug)]
pub(super) struct Class {
    rollout: Arc<str>,
    access: &'static str,
    arms: Arc<Arms>,
}

/// Legacy, Clerk, none.
type Arms = [ArmMetrics; 3];

impl Metrics {
    /// Handles that all routes of an access class share. Locks: for loading only.
    fn arms(&self, rollout: &Arc<str>, access: &'static str) -> Arc<Arms> {
        let mut known = self.0.classes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = known.iter().find(|class| class.rollout == *rollout && class.access == access) {
            return Arc::clone(&class.arms);
        }
        let arms = Arc::new([Side::Legacy.as_str(), Side::Clerk.as_str(), "none"].map(ArmMetrics::new));
        known.push(Class { rollout: Arc::clone(rollout), access, arms: Arc::clone(&arms) });
        arms
    }
}

/// The handles of one route: those of its own, and those that it shares with all routes of its access class, since their
/// series do not name it.
#[derive(Debug)]
pub struct RouteMetrics {
    metrics: Metrics,
    rollout: Arc<str>,
    route: Box<str>,
    access: &'static str,
    allowed_route: IntCounter,
    failed: Row,
    reported: Row,
    denied_route: Row,
    arms: Arc<Arms>,
}

/// Handles by code. Most routes never need one: ten thousand of them must not hold a million empty places.
#[derive(Debug, Default)]
struct Row(OnceLock<Box<[OnceLock<IntCounter>; Code::COUNT]>>);

impl Row {
    fn slot(&self, code: Code) -> Option<&OnceLock<IntCounter>> {
        self.0.get_or_init(|| Box::new([const { OnceLock::new() }; Code::COUNT])).get(code.index())
    }
}

/// The handles of one access class and arm, each resolved when it is first used: a thousand routes must not mean a hundred
/// thousand idle series.
#[derive(Debug)]
struct ArmMetrics {
    arm: &'static str,
    allowed: OnceLock<IntCounter>,
    duration: OnceLock<Histogram>,
    denied: [OnceLock<IntCounter>; Code::COUNT],
    denied_by_server: [OnceLock<IntCounter>; Code::COUNT],
    answers: [OnceLock<IntCounter>; 6],
}

impl ArmMetrics {
    const fn new(arm: &'static str) -> Self {
        Self {
            arm,
            allowed: OnceLock::new(),
            duration: OnceLock::new(),
            denied: [const { OnceLock::new() }; Code::COUNT],
            denied_by_server: [const { OnceLock::new() }; Code::COUNT],
            answers: [const { OnceLock::new() }; 6],
        }
    }
}

impl RouteMetrics {
    /// Handles for a route; `access` is its access class, or `none` where no route was found.
    pub fn new(metrics: &Metrics, rollout: &Arc<str>, route: &str, access: &'static str) -> Self {
        Self {
            allowed_route: metrics.0.requests.with_label_values(&[route, "allow", "ok"]),
            failed: Row::default(),
            reported: Row::default(),
            denied_route: Row::default(),
            arms: metrics.arms(rollout, access),
            metrics: metrics.clone(),
            rollout: Arc::clone(rollout),
            route: route.into(),
            access,
        }
    }

    /// `None` where nobody's arm was asked for.
    fn arm(&self, side: Option<Side>) -> &ArmMetrics {
        let [legacy, clerk, none] = &*self.arms;
        match side {
            Some(Side::Legacy) => legacy,
            Some(Side::Clerk) => clerk,
            None => none,
        }
    }

    fn decided(&self, arm: &ArmMetrics, decision: &str, reason: &str, fault: &str) -> IntCounter {
        let labels = [&*self.rollout, arm.arm, self.access, decision, reason, fault];
        self.metrics.0.decisions.with_label_values(&labels)
    }

    fn count_allowed(&self, side: Option<Side>) {
        let arm = self.arm(side);
        arm.allowed.get_or_init(|| self.decided(arm, "allow", "ok", "none")).inc();
    }

    pub fn allow(&self, side: Option<Side>) {
        self.count_allowed(side);
        self.allowed_route.inc();
    }

    pub fn deny(&self, side: Option<Side>, code: Code, fault: Fault) {
        let arm = self.arm(side);
        let row = match fault {
            Fault::Client => &arm.denied,
            Fault::Server => &arm.denied_by_server,
        };
        let (Some(slot), Some(route)) = (row.get(code.index()), self.denied_route.slot(code)) else { return };
        slot.get_or_init(|| self.decided(arm, "deny", code.as_str(), fault.as_str())).inc();
        let labels = [&*self.route, "deny", code.as_str()];
        route.get_or_init(|| self.metrics.0.requests.with_label_values(&labels)).inc();
    }

    /// Permitted, and then the API's side failed: not a denial.
    pub fn failed(&self, side: Option<Side>, code: Code) {
        self.count_allowed(side);
        if let Some(slot) = self.failed.slot(code) {
            let labels = [&*self.route, "allow", code.as_str()];
            slot.get_or_init(|| self.metrics.0.requests.with_label_values(&labels)).inc();
        }
    }

    /// A refusal that report mode let through.
    pub fn report(&self, code: Code) {
        if let Some(slot) = self.reported.slot(code) {
            slot.get_or_init(|| self.metrics.0.reported.with_label_values(&[&*self.route, code.as_str()])).inc();
        }
    }

    /// An answer of the API.
    pub fn answered(&self, side: Option<Side>, status: u16) {
        const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = usize::from(status / 100);
        let class = if (1..=5).contains(&class) { class } else { 0 };
        let arm = self.arm(side);
        if let (Some(slot), Some(name)) = (arm.answers.get(class), CLASSES.get(class)) {
            slot.get_or_init(|| self.metrics.0.upstream_responses.with_label_values(&[arm.arm, name])).inc();
        }
    }

    pub fn took(&self, side: Option<Side>, seconds: f64) {
        let arm = self.arm(side);
        let labels = [&*self.rollout, arm.arm, self.access];
        arm.duration.get_or_init(|| self.metrics.0.duration.with_label_values(&labels)).observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, RouteMetrics};
    use crate::gate::reply::{Code, Fault};
    use crate::rollout::Side;

    #[test]
    fn series_appear_when_they_are_first_used() {
        let metrics = Metrics::new().unwrap();
        let route = RouteMetrics::new(&metrics, &"auth".into(), "invoice.read", "protected");
        route.deny(Some(Side::Clerk), Code::Forbidden, Fault::Client);
        route.allow(Some(Side::Legacy));
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(text.contains(
            "crossgate_auth_decisions_total{access=\"protected\",arm=\"clerk\",decision=\"deny\",fault=\"client\",reason=\"forbidden\",rollout=\"auth\"} 1"
        ));
        assert!(text.contains("crossgate_requests_total{decision=\"allow\",reason=\"ok\",route=\"invoice.read\"} 1"));
        assert!(!text.contains("clerk_outage"));
        assert!(text.contains("crossgate_config_stale 0"));
    }
}
