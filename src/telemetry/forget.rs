//! Takes away the series of what no configuration has any more: routes, upstreams, issuers.
//!
//! A series lives in the registry until somebody removes it; a service that renames a route with every deploy would grow by
//! one each time. What still runs under an old configuration counts on, into counters that nobody shows.

use std::collections::HashMap;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};

/// Keeps the series whose label has a value that `is_known`. Looks at every series: not for a thread that serves.
pub(super) fn keep<T: MetricVecBuilder>(series: &MetricVec<T>, label: &str, is_known: &dyn Fn(&str) -> bool) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get(label).is_some_and(|value| !is_known(value)) {
                // Gone already is as good.
                let _ = series.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gate::reply::{Code, Fault};
    use crate::rollout::Side;
    use crate::telemetry::metrics::{Metrics, RouteMetrics};

    #[test]
    fn series_of_routes_that_are_gone_go_and_the_others_count_on() {
        let metrics = Metrics::new().unwrap();
        let rollout = "auth".into();
        let [old, stays] = ["old", "stays"].map(|id| RouteMetrics::new(&metrics, &rollout, id, "protected"));
        let unrouted = RouteMetrics::new(&metrics, &rollout, "", "none");
        for route in [&old, &stays, &unrouted] {
            route.deny(Some(Side::Clerk), Code::Forbidden, Fault::Client);
            route.report(Code::Forbidden);
        }
        metrics.jwks_refresh("https://gone", "ok").inc();
        let is_known = |id: &str| id == "stays";
        metrics.keep(&is_known, &|_| true, &|_| false);
        // A request that began before.
        old.allow(Some(Side::Clerk));
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(!text.contains("route=\"old\"") && !text.contains("https://gone"), "{text}");
        assert!(text.contains("crossgate_report_total{reason=\"forbidden\",route=\"stays\"} 1"), "{text}");
        assert!(text.contains("route=\"\""), "what found no route is always known");
    }
}
