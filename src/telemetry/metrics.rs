//! Metrics, declared once. Labels are route ids, codes and class names: nothing that a client can choose.
//!
//! Owned by the process, not by a snapshot: a reload must not reset a counter. What belongs together has a file of its own
//! (`routes`, `upstreams`, `rollout`, `trail`, `config`); this one declares the rest and holds them all.

use std::sync::{Arc, Mutex};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::config::ConfigSeries;
use super::forget::keep;
use super::rollout::RolloutSeries;
use super::routes::Class;
use super::tokens::{TokenKind, TokenSeries};
use super::trail::{TrailSeries, TrailState};
use super::upstreams::UpstreamSeries;

pub use super::routes::RouteMetrics;
pub use super::upstreams::UpstreamState;

/// All series of the process.
#[derive(Debug, Clone)]
pub struct Metrics(pub(super) Arc<Series>);

#[derive(Debug)]
pub(super) struct Series {
    registry: Registry,
    pub(super) decisions: IntCounterVec,
    pub(super) requests: IntCounterVec,
    pub(super) reported: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) upstream_responses: IntCounterVec,
    upstream: UpstreamSeries,
    jwks_age: GaugeVec,
    jwks_refresh: IntCounterVec,
    issuance_up: IntGaugeVec,
    legacy_lookups: IntCounterVec,
    legacy_breaker_open: IntGauge,
    missing_azp: IntCounterVec,
    config: ConfigSeries,
    in_flight: IntGauge,
    cache_entries: IntGauge,
    forwarded_dropped: IntCounter,
    access_log_dropped: IntGauge,
    panics: IntCounter,
    rollout: RolloutSeries,
    identity_map_entries: IntGaugeVec,
    identity_conflicts: IntCounterVec,
    shadow_comparisons: IntCounterVec,
    guard_refused: IntCounterVec,
    turned_away: IntCounter,
    unopened: IntCounterVec,
    token_exchanges: IntCounterVec,
    tokens: TokenSeries,
    trail: TrailSeries,
    pub(super) classes: Mutex<Vec<Class>>,
}

impl Metrics {
    /// Declares and registers all series.
    ///
    /// # Errors
    /// Only when a name or label above is malformed or declared twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            registered(&registry, IntGauge::new(name, help)?)
        };
        let series = Series {
            decisions: counters(
                "crossgate_auth_decisions_total",
                "decisions by outcome; fault says who could have avoided a denial",
                &["rollout", "arm", "access", "decision", "reason", "fault"],
            )?,
            requests: counters(
                "crossgate_requests_total",
                "requests by route and outcome",
                &["route", "decision", "reason"],
            )?,
            reported: counters(
                "crossgate_report_total",
                "requests that a route in report mode would have refused",
                &["route", "reason"],
            )?,
            duration: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("crossgate_request_duration_seconds", "from the head's arrival to the end")
                        .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
                    &["rollout", "arm", "access"],
                )?,
            )?,
            upstream_responses: counters(
                "crossgate_upstream_responses_total",
                "answers of the API by class",
                &["arm", "code_class"],
            )?,
            upstream: UpstreamSeries::new(&registry)?,
            jwks_age: registered(
                &registry,
                GaugeVec::new(Opts::new("crossgate_jwks_age_seconds", "age of the keys in use"), &["issuer"])?,
            )?,
            jwks_refresh: counters("crossgate_jwks_refresh_total", "key set fetches", &["issuer", "result"])?,
            issuance_up: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_clerk_issuance_up", "0 while the probe finds that Clerk renews no tokens"),
                    &["issuer"],
                )?,
            )?,
            legacy_lookups: counters(
                "crossgate_legacy_lookups_total",
                "questions to the server that judges legacy credentials",
                &["result"],
            )?,
            legacy_breaker_open: gauge(
                "crossgate_legacy_breaker_open",
                "1 while the server that judges legacy credentials is not asked, since it does not answer",
            )?,
            missing_azp: counters(
                "crossgate_missing_azp_total",
                "otherwise good tokens without azp, refused or let through by missing_azp",
                &["issuer"],
            )?,
            config: ConfigSeries::new(&registry)?,
            in_flight: gauge("crossgate_requests_in_flight", "requests being served now")?,
            cache_entries: gauge("crossgate_token_cache_entries", "verified tokens held")?,
            forwarded_dropped: registered(
                &registry,
                IntCounter::new(
                    "crossgate_forwarded_dropped_total",
                    "requests whose forwarding headers were dropped: the peer is no trusted proxy",
                )?,
            )?,
            access_log_dropped: gauge("crossgate_access_log_dropped", "access lines dropped because writing was slow")?,
            turned_away: registered(
                &registry,
                IntCounter::new(
                    "crossgate_connections_refused_total",
                    "connections closed at their start: limits.connections or limits.connections_per_peer",
                )?,
            )?,
            guard_refused: counters(
                "crossgate_guard_refused_total",
                "heads that were answered before any parser saw them",
                &["code"],
            )?,
            unopened: counters(
                "crossgate_connections_unopened_total",
                "connections that ended before their first request: no handshake, or nothing in time",
                &["reason"],
            )?,
            token_exchanges: counters(
                "crossgate_token_exchanges_total",
                "exchanges of a credential for a runner token",
                &["result"],
            )?,
            tokens: TokenSeries::new(&counters(
                "crossgate_tokens_total",
                "tokens for the API that went up with requests",
                &["kind", "result"],
            )?),
            trail: TrailSeries::new(&registry)?,
            rollout: RolloutSeries::new(&registry)?,
            identity_map_entries: registered(
                &registry,
                IntGaugeVec::new(Opts::new("crossgate_identity_map_entries", "lines of the identity map"), &["kind"])?,
            )?,
            identity_conflicts: counters(
                "crossgate_identity_conflicts_total",
                "Clerk credentials whose mapped claim was void, once a credential",
                &["kind"],
            )?,
            shadow_comparisons: counters(
                "crossgate_shadow_comparisons_total",
                "requests with both credentials, by whether the two logins mean the same",
                &["rollout", "result", "dimension"],
            )?,
            panics: registered(&registry, IntCounter::new("crossgate_panics_total", "requests lost to a bug")?)?,
            classes: Mutex::default(),
            registry,
        };
        let info = registered(
            &series.registry,
            IntGaugeVec::new(Opts::new("crossgate_build_info", "the build that runs"), &["version"])?,
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self(Arc::new(series)))
    }

    /// The text exposition format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(problem) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%problem, "metrics cannot be rendered");
        }
        text
    }

    pub fn config_stale(&self) -> &IntGauge {
        &self.0.config.stale
    }

    /// This snapshot serves, and the files say so at this moment.
    pub fn config_serves(&self, snapshot: &str, unix_ms: i64) {
        self.0.config.serves(snapshot, unix_ms);
    }

    /// Takes away the series of routes, upstreams and issuers that nobody knows any more. Looks at all of them: not for a
    /// thread that serves.
    pub fn keep(&self, route: &dyn Fn(&str) -> bool, upstream: &dyn Fn(&str) -> bool, issuer: &dyn Fn(&str) -> bool) {
        let Series { requests, reported, upstream: of, jwks_age, jwks_refresh, missing_azp, .. } = &*self.0;
        // Of what found no route there are series, too.
        let route = |id: &str| id.is_empty() || route(id);
        keep(requests, "route", &route);
        keep(reported, "route", &route);
        of.keep(upstream);
        keep(jwks_age, "issuer", issuer);
        keep(jwks_refresh, "issuer", issuer);
        keep(missing_azp, "issuer", issuer);
    }

    pub fn count_reload(&self, result: &'static str) {
        self.0.config.count(result);
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.0.in_flight
    }

    pub fn cache_entries(&self) -> &IntGauge {
        &self.0.cache_entries
    }

    pub fn forwarded_dropped(&self) -> &IntCounter {
        &self.0.forwarded_dropped
    }

    pub fn access_log_dropped(&self) -> &IntGauge {
        &self.0.access_log_dropped
    }

    /// How long making a batch of entries durable takes.
    pub fn audit_commit(&self) -> &Histogram {
        &self.0.trail.commit
    }

    /// Entries that nobody read from stdout.
    pub fn audit_copies_dropped(&self) -> &IntCounter {
        &self.0.trail.copies_dropped
    }

    pub fn audit_unrecorded(&self) -> &IntCounter {
        &self.0.trail.unrecorded
    }

    /// Brings the series of the audit trail up to date.
    pub fn show_trail(&self, state: &TrailState) {
        self.0.trail.show(state);
    }

    pub fn panics(&self) -> &IntCounter {
        &self.0.panics
    }

    pub fn turned_away(&self) -> &IntCounter {
        &self.0.turned_away
    }

    pub fn unopened(&self, reason: &'static str) {
        self.0.unopened.with_label_values(&[reason]).inc();
    }

    pub fn token_exchange(&self, result: &'static str) {
        self.0.token_exchanges.with_label_values(&[result]).inc();
    }

    /// A token for the API; `result` is one of the documented words.
    pub fn token(&self, kind: TokenKind, result: &'static str) {
        self.0.tokens.count(kind, result);
    }

    pub fn guard_refused(&self, code: &'static str) -> IntCounter {
        self.0.guard_refused.with_label_values(&[code])
    }

    pub fn jwks_age(&self, issuer: &str) -> Gauge {
        self.0.jwks_age.with_label_values(&[issuer])
    }

    pub fn jwks_refresh(&self, issuer: &str, result: &str) -> IntCounter {
        self.0.jwks_refresh.with_label_values(&[issuer, result])
    }

    /// Brings the series of the probes up to date; those of instances that are gone go too.
    pub fn show_issuance<'a>(&self, instances: impl Iterator<Item = (&'a str, bool)>) {
        self.0.issuance_up.reset();
        for (issuer, is_up) in instances {
            self.0.issuance_up.with_label_values(&[issuer]).set(i64::from(is_up));
        }
    }

    /// Questions to the legacy side's server.
    pub fn legacy_lookups(&self, result: &'static str) -> IntCounter {
        self.0.legacy_lookups.with_label_values(&[result])
    }

    pub fn legacy_breaker_open(&self) -> &IntGauge {
        &self.0.legacy_breaker_open
    }

    /// Brings the series of all upstreams up to date; those of upstreams that are gone go too.
    pub fn show_upstreams<'a>(&self, upstreams: impl Iterator<Item = (&'a str, UpstreamState)>) {
        self.0.upstream.show(upstreams);
    }

    /// Brings the series of the rollout up to date; `ppm` is the effective percentage in parts per million, `shares` what
    /// legacy and Clerk had of the requests.
    pub fn show_rollout(&self, name: &str, ppm: u32, shares: Option<(f64, f64)>, state: &str, is_broken: bool) {
        self.0.rollout.show(name, ppm, shares, state, is_broken);
    }

    /// Brings the series of linking up to date.
    pub fn show_linking(&self, entries: [(&str, usize); 3], conflicts: impl Iterator<Item = (&'static str, u64)>) {
        for (kind, count) in entries {
            let entries = self.0.identity_map_entries.with_label_values(&[kind]);
            entries.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (kind, count) in conflicts {
            let counter = self.0.identity_conflicts.with_label_values(&[kind]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    pub(super) fn shadow_comparisons(&self, rollout: &str, result: &str, dimension: &str) -> IntCounter {
        self.0.shadow_comparisons.with_label_values(&[rollout, result, dimension])
    }

    pub fn missing_azp(&self, issuer: &str) -> IntCounter {
        self.0.missing_azp.with_label_values(&[issuer])
    }
}

pub(super) fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
