//! Metrics, declared once. Labels are route ids, codes and class names: nothing that a client can choose.
//!
//! Handles are resolved when they are first used, by route, arm and code; after that a request only bumps them. Owned by the process, not by a snapshot: a reload must not reset a counter.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::config::ConfigSeries;
use super::forget::keep;
use super::tokens::{TokenKind, TokenSeries};
use super::trail::{TrailSeries, TrailState};
use crate::gate::reply::{Code, Fault};
use crate::rollout::Side;

/// All series of the process.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    registry: Registry,
    decisions: IntCounterVec,
    requests: IntCounterVec,
    reported: IntCounterVec,
    duration: HistogramVec,
    upstream_responses: IntCounterVec,
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
    rollout_weight: GaugeVec,
    guard_state: IntGaugeVec,
    rollout_effective: GaugeVec,
    guard_ok: IntGaugeVec,
    rollout_state_broken: IntGaugeVec,
    identity_map_entries: IntGaugeVec,
    identity_conflicts: IntCounterVec,
    shadow_comparisons: IntCounterVec,
    guard_refused: IntCounterVec,
    turned_away: IntCounter,
    unopened: IntCounterVec,
    token_exchanges: IntCounterVec,
    tokens: TokenSeries,
    trail: TrailSeries,
    classes: Mutex<Vec<Class>>,
}

/// What routes of one rollout and access class share; there are few.
#[derive(Debug)]
struct Class {
    rollout: Arc<str>,
    access: &'static str,
    arms: Arc<Arms>,
}

/// Legacy, Clerk, none.
type Arms = [ArmMetrics; 3];

#[derive(Debug)]
struct UpstreamSeries {
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
            upstream: UpstreamSeries {
                endpoints: registered(
                    &registry,
                    IntGaugeVec::new(
                        Opts::new("crossgate_upstream_endpoints", "addresses of an upstream by state"),
                        &["upstream", "state"],
                    )?,
                )?,
                breaker_open: registered(
                    &registry,
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
            },
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
            rollout_weight: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_weight_ratio",
                        "share of movable people that is meant to be in an arm",
                    ),
                    &["rollout", "arm"],
                )?,
            )?,
            guard_state: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_guard_state", "1 for the state that the rollout is in"),
                    &["rollout", "state"],
                )?,
            )?,
            rollout_effective: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_effective_ratio",
                        "share of the requests since the rollout's last change that were decided in an arm",
                    ),
                    &["rollout", "arm"],
                )?,
            )?,
            guard_ok: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new("crossgate_guard_ok", "0 while the rollout is rolled back, else 1"),
                    &["rollout"],
                )?,
            )?,
            rollout_state_broken: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "crossgate_rollout_state_broken",
                        "1 while the rollout is frozen because its state was unreadable",
                    ),
                    &["rollout"],
                )?,
            )?,
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
        for counters in [&of.breaker_opened, &of.failures, &of.put_out, &of.unresolved] {
            keep(counters, "upstream", upstream);
        }
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
        let series = &self.0.upstream;
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

    /// Brings the series of the rollout up to date; `ppm` is the effective percentage in parts per million, `shares` what
    /// legacy and Clerk had of the requests.
    pub fn show_rollout(&self, name: &str, ppm: u32, shares: Option<(f64, f64)>, state: &str, is_broken: bool) {
        for (arm, share) in [("legacy", shares.map(|(legacy, _)| legacy)), ("clerk", shares.map(|(_, clerk)| clerk))] {
            match share {
                Some(share) => self.0.rollout_effective.with_label_values(&[name, arm]).set(share),
                // Of nobody there is no share; a zero would look like a rollout that went wrong.
                None => drop(self.0.rollout_effective.remove_label_values(&[name, arm])),
            }
        }
        self.0.guard_ok.with_label_values(&[name]).set(i64::from(!state.starts_with("rolled")));
        let clerk = f64::from(ppm) / 1e6;
        self.0.rollout_weight.with_label_values(&[name, "clerk"]).set(clerk);
        self.0.rollout_weight.with_label_values(&[name, "legacy"]).set(1.0 - clerk);
        for word in ["normal", "frozen", "rolled_auto", "rolled_op"] {
            self.0.guard_state.with_label_values(&[name, word]).set(i64::from(word == state));
        }
        self.0.rollout_state_broken.with_label_values(&[name]).set(i64::from(is_broken));
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
