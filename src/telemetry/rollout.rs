//! The series of the rollout: its percentage, its state, what came of it.

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::metrics::registered;

#[derive(Debug)]
pub(super) struct RolloutSeries {
    weight: GaugeVec,
    state: IntGaugeVec,
    effective: GaugeVec,
    ok: IntGaugeVec,
    broken: IntGaugeVec,
}

impl RolloutSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            weight: registered(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_weight_ratio",
                        "share of movable people that is meant to be in an arm",
                    ),
                    &["rollout", "arm"],
                )?,
            )?,
            state: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_guard_state", "1 for the state that the rollout is in"),
                    &["rollout", "state"],
                )?,
            )?,
            effective: registered(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_effective_ratio",
                        "share of the requests since the rollout's last change that were decided in an arm",
                    ),
                    &["rollout", "arm"],
                )?,
            )?,
            ok: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_guard_ok", "0 while the rollout is rolled back, else 1"),
                    &["rollout"],
                )?,
            )?,
            broken: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_state_broken",
                        "1 while the rollout is frozen because its state was unreadable",
                    ),
                    &["rollout"],
                )?,
            )?,
        })
    }

    /// Brings the series of the rollout up to date; `ppm` is the effective percentage in parts per million, `shares` what
    /// legacy and Clerk had of the requests.
    pub(super) fn show(&self, name: &str, ppm: u32, shares: Option<(f64, f64)>, state: &str, is_broken: bool) {
        for (arm, share) in [("legacy", shares.map(|(legacy, _)| legacy)), ("clerk", shares.map(|(_, clerk)| clerk))] {
            match share {
                Some(share) => self.effective.with_label_values(&[name, arm]).set(share),
                // Of nobody there is no share; a zero would look like a rollout that went wrong.
                None => drop(self.effective.remove_label_values(&[name, arm])),
            }
        }
        self.ok.with_label_values(&[name]).set(i64::from(!state.starts_with("rolled")));
        let clerk = f64::from(ppm) / 1e6;
        self.weight.with_label_values(&[name, "clerk"]).set(clerk);
        self.weight.with_label_values(&[name, "legacy"]).set(1.0 - clerk);
        for word in ["normal", "frozen", "rolled_auto", "rolled_op"] {
            self.state.with_label_values(&[name, word]).set(i64::from(word == state));
        }
        self.broken.with_label_values(&[name]).set(i64::from(is_broken));
    }
}
