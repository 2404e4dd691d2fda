//! What operators see of shadow: a counter for each dimension and outcome, and which disagreements become a line of the log.
//!
//! Handles are resolved at load. Bounded: the log gets the first disagreement of each route and dimension, and beyond that
//! at most one a second. Never holds who it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::metrics::Metrics;
use crate::gate::decide::shadow::{Comparison, Dimension, Outcome};

/// Between two lines about what is not new.
const GAP: Duration = Duration::from_secs(1);

/// `crossgate_shadow_comparisons_total` of one rollout, and the sample of one configuration.
#[derive(Debug)]
pub struct Comparisons {
    /// The label of the series.
    pub rollout: Arc<str>,
    /// By dimension, then by outcome.
    counters: [[IntCounter; Outcome::ALL.len()]; Dimension::ALL.len()],
    sample: Sample,
}

impl Comparisons {
    /// `routes` is how many there are.
    pub fn new(metrics: &Metrics, rollout: &Arc<str>, routes: usize) -> Self {
        let counters = Dimension::ALL.map(|dimension| {
            Outcome::ALL.map(|outcome| metrics.shadow_comparisons(rollout, outcome.as_str(), dimension.as_str()))
        });
        Self { rollout: Arc::clone(rollout), counters, sample: Sample::new(routes, Instant::now()) }
    }

    pub fn count(&self, comparison: &Comparison) {
        for ((_, outcome), row) in comparison.each().zip(&self.counters) {
            if let Some(counter) = row.get(outcome as usize) {
                counter.inc();
            }
        }
    }

    /// Whether this disagreement becomes a line, and how many did not since the last one.
    pub fn admits(&self, route: usize, dimensions: u8, now: Instant) -> Option<u64> {
        self.sample.admits(route, dimensions, now)
    }
}

/// Which of many disagreements are told. Two at one instant may both be.
#[derive(Debug)]
struct Sample {
    /// By route index: the dimensions that were told.
    told: Box<[AtomicU8]>,
    begun: Instant,
    /// Milliseconds since `begun` when the next that is not new may be told.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Sample {
    fn new(routes: usize, begun: Instant) -> Self {
        let told = std::iter::repeat_with(AtomicU8::default).take(routes).collect();
        Self { told, begun, next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    fn admits(&self, route: usize, dimensions: u8, now: Instant) -> Option<u64> {
        let is_new = self
            .told
            .get(route)
            .is_some_and(|told| told.fetch_or(dimensions, Ordering::Relaxed) & dimensions != dimensions);
        let at = u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX);
        let gap = u64::try_from(GAP.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let is_due = at >= next
            && self.next.compare_exchange(next, at.saturating_add(gap), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_new || is_due {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Sample;
    use crate::gate::decide::shadow::Dimension;

    #[test]
    fn what_is_new_is_told_at_once_and_the_rest_once_a_second() {
        let begun = Instant::now();
        let sample = Sample::new(2, begun);
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let (org, role) = (Dimension::Org.bit(), Dimension::Role.bit());
        assert_eq!(sample.admits(0, org, at(0)), Some(0));
        assert_eq!(sample.admits(0, org, at(1)), None);
        assert_eq!(sample.admits(0, org | role, at(2)), Some(1), "another dimension");
        assert_eq!(sample.admits(1, org, at(3)), Some(0), "another route");
        assert_eq!(sample.admits(1, org, at(4)), None);
        assert_eq!(sample.admits(0, role, at(999)), None);
        assert_eq!(sample.admits(0, role, at(1000)), Some(2), "a second later");
        assert_eq!(sample.admits(0, role, at(1001)), None);
        assert_eq!(sample.admits(7, role, at(1500)), None, "no such route");
    }
}
