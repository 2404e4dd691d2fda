//! The series of upstreams: endpoints by state, breakers, failures.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::forget::keep;
use super::metrics::registered;

#[derive(Debug)]
pub(super) struct UpstreamSeries {
    endpoints: IntGaugeVec,
    breaker_open: IntGaugeVec,
    breaker_opened: IntCounterVec,
    failures: IntCounterVec,
    put_out: IntCounterVec,
    unresolved: IntCounterVec,
}

/// What the series of one upstream show.
#[derive(Debug)]
pub struct UpstreamState {
    pub endpoints: [(&'static str, usize); 3],
    pub failures: Vec<(&'static str, u64)>,
    pub breaker_open: bool,
    pub breaker_opened: u64,
    pub put_out: u64,
    pub unresolved: u64,
}

impl UpstreamSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        Ok(Self {
            endpoints: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_upstream_endpoints", "addresses of an upstream by state"),
                    &["upstream", "state"],
                )?,
            )?,
            breaker_open: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_upstream_breaker_open", "1 while requests are turned away unsent"),
                    &["upstream"],
                )?,
            )?,
            breaker_opened: counters(
                "crossgate_upstream_breaker_opened_total",
                "times that the breaker opened, or stayed so after a trial",
                &["upstream"],
            )?,
            failures: counters(
                "crossgate_upstream_failures_total",
                "attempts that failed by the API's fault",
                &["upstream", "kind"],
            )?,
            put_out: counters(
                "crossgate_upstream_ejections_total",
                "endpoints put out for a while because they kept failing",
                &["upstream"],
            )?,
            unresolved: counters(
                "crossgate_upstream_resolve_failures_total",
                "questions for an endpoint's name that got no address",
                &["upstream"],
            )?,
        })
    }

    /// Brings the series of all upstreams up to date; those of upstreams that are gone go too.
    pub(super) fn show<'a>(&self, upstreams: impl Iterator<Item = (&'a str, UpstreamState)>) {
        let series = self;
        series.endpoints.reset();
        series.breaker_open.reset();
        let raise = |counter: IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        for (name, state) in upstreams {
            for (word, count) in state.endpoints {
                series.endpoints.with_label_values(&[name, word]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            for (word, count) in state.failures {
                raise(series.failures.with_label_values(&[name, word]), count);
            }
            series.breaker_open.with_label_values(&[name]).set(i64::from(state.breaker_open));
            raise(series.breaker_opened.with_label_values(&[name]), state.breaker_opened);
            raise(series.put_out.with_label_values(&[name]), state.put_out);
            raise(series.unresolved.with_label_values(&[name]), state.unresolved);
        }
    }

    /// Takes away the counters of upstreams that nobody knows any more.
    pub(super) fn keep(&self, is_known: &dyn Fn(&str) -> bool) {
        for counters in [&self.breaker_opened, &self.failures, &self.put_out, &self.unresolved] {
            keep(counters, "upstream", is_known);
        }
    }
}
