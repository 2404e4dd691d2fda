//! The series of the audit trail.
//!
//! The trail counts for itself; somebody who looks brings these up to date. Only the duration of a commit is told as it
//! happens.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// What the series show.
#[derive(Debug, Default)]
pub struct TrailState {
    pub available: bool,
    pub queue_entries: usize,
    pub queue_bytes: usize,
    /// Seconds since entries were last made durable.
    pub last_durable: Option<f64>,
    pub free_permille: Option<u32>,
    pub dropped: u64,
    pub entries: Vec<(&'static str, u64)>,
    pub failures: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct TrailSeries {
    available: IntGauge,
    queue_entries: IntGauge,
    queue_bytes: IntGauge,
    last_durable: Gauge,
    free_ratio: Gauge,
    dropped: IntCounter,
    entries: IntCounterVec,
    failures: IntCounterVec,
    pub(super) commit: Histogram,
    pub(super) unrecorded: IntCounter,
    pub(super) copies_dropped: IntCounter,
}

impl TrailSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            available: register(
                registry,
                IntGauge::new("crossgate_audit_available", "1 while privileged actions can be recorded")?,
            )?,
            queue_entries: register(
                registry,
                IntGauge::new("crossgate_audit_queue_entries", "entries that wait to be written")?,
            )?,
            queue_bytes: register(
                registry,
                IntGauge::new("crossgate_audit_queue_bytes", "bytes of entries that wait to be written")?,
            )?,
            last_durable: register(
                registry,
                Gauge::new("crossgate_audit_last_durable_seconds", "since entries were last made durable")?,
            )?,
            free_ratio: register(
                registry,
                Gauge::new("crossgate_audit_disk_free_ratio", "free share of the trail's file system")?,
            )?,
            dropped: register(
                registry,
                IntCounter::new(
                    "crossgate_audit_dropped_total",
                    "entries of the asynchronous kinds that found no room; of outcomes an `unknown` one is written later",
                )?,
            )?,
            entries: register(
                registry,
                IntCounterVec::new(Opts::new("crossgate_audit_entries_total", "durable entries"), &["event"])?,
            )?,
            failures: register(
                registry,
                IntCounterVec::new(
                    Opts::new("crossgate_audit_failures_total", "what went wrong with the trail"),
                    &["kind"],
                )?,
            )?,
            commit: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new("crossgate_audit_commit_seconds", "writing and syncing one batch of entries")
                        .buckets(vec![
                            0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
                        ]),
                )?,
            )?,
            copies_dropped: register(
                registry,
                IntCounter::new(
                    "crossgate_audit_copies_dropped_total",
                    "entries that audit.copy_to did not repeat, as nobody read fast enough; the files have them",
                )?,
            )?,
            unrecorded: register(
                registry,
                IntCounter::new(
                    "crossgate_audit_unrecorded_total",
                    "privileged requests that went on unrecorded: audit.on_failure allow, and best_effort on the route",
                )?,
            )?,
        })
    }

    pub(super) fn show(&self, state: &TrailState) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        self.available.set(i64::from(state.available));
        self.queue_entries.set(gauge(state.queue_entries));
        self.queue_bytes.set(gauge(state.queue_bytes));
        // NaN is Prometheus' word for "there is none".
        self.last_durable.set(state.last_durable.unwrap_or(f64::NAN));
        self.free_ratio.set(state.free_permille.map_or(f64::NAN, |permille| f64::from(permille) / 1000.0));
        raise(&self.dropped, state.dropped);
        for (event, count) in &state.entries {
            raise(&self.entries.with_label_values(&[event]), *count);
        }
        for (kind, count) in &state.failures {
            raise(&self.failures.with_label_values(&[kind]), *count);
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
