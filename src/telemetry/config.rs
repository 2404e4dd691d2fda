//! What operators see of the configuration: which one serves, since when, and what became of reloads.

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::metrics::registered;

/// The series of the configuration.
#[derive(Debug)]
pub(super) struct ConfigSeries {
    pub(super) stale: IntGauge,
    info: IntGaugeVec,
    reloads: IntCounterVec,
    good_at: Gauge,
}

impl ConfigSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            stale: registered(
                registry,
                IntGauge::new("crossgate_config_stale", "1 while a refused reload leaves an older config serving")?,
            )?,
            info: registered(
                registry,
                IntGaugeVec::new(Opts::new("crossgate_config_info", "the snapshot that serves"), &["snapshot"])?,
            )?,
            reloads: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("crossgate_config_reloads_total", "reloads by what came of them"),
                    &["result"],
                )?,
            )?,
            good_at: registered(
                registry,
                Gauge::new(
                    "crossgate_config_last_success_timestamp_seconds",
                    "when the files last were what serves, in seconds since 1970",
                )?,
            )?,
        })
    }

    /// This snapshot serves, and is what the files say; no other has a series.
    pub(super) fn serves(&self, snapshot: &str, unix_ms: i64) {
        self.info.reset();
        self.info.with_label_values(&[snapshot]).set(1);
        // Whole milliseconds since 1970 are exact in a float for ages.
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds has 41 bits")]
        self.good_at.set(unix_ms as f64 / 1000.0);
        self.stale.set(0);
    }

    pub(super) fn count(&self, result: &'static str) {
        self.reloads.with_label_values(&[result]).inc();
    }
}
