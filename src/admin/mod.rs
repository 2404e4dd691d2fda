//! The admin listener: health, readiness, metrics, the snapshot. Read-only.
//!
//! On its own address, loopback unless configured. A browser on the same machine must not be able to read or steer it:
//! requests with an Origin are refused, and so is a foreign Host on a loopback address (DNS rebinding).

pub mod health;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use crate::audit::{Ledger, Status};
use crate::clock;
use crate::gate::passage::InFlight;
use crate::snapshot::{Address, Live, Socket};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::{Metrics, UpstreamState};
use crate::telemetry::trail::TrailState;
use crate::upstream::Stats;
use health::Readiness;

/// The admin application.
#[derive(Debug)]
pub struct Admin {
    pub live: Live,
    pub metrics: Metrics,
    pub readiness: Arc<Readiness>,
    pub in_flight: Arc<InFlight>,
    pub log: Log,
    pub ledger: Ledger,
    pub socket: Socket,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        if head.headers.contains_key(ORIGIN) {
            return problem(StatusCode::FORBIDDEN, "requests of web pages are refused here");
        }
        if !self.is_own_host(head.headers.get(HOST)) {
            return problem(StatusCode::FORBIDDEN, "this host is not served here");
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "this listener is read-only");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let mut answer = self.answer(head.uri.path());
        if head.method == Method::HEAD {
            answer.body_mut().clear();
        }
        answer
    }
}

impl Admin {
    fn answer(&self, path: &str) -> Response<Vec<u8>> {
        match path {
            "/healthz" => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            "/readyz" => {
                let problem = self.ledger.trail().status().problem;
                let report = self.readiness.report(&self.live.load(), problem.as_deref(), clock::now());
                json(if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &report)
            }
            "/metrics" => {
                self.refresh_gauges();
                answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            "/v1/snapshot" => json(StatusCode::OK, &view::snapshot(&self.live.load(), clock::now())),
            _ => problem(StatusCode::NOT_FOUND, "there is /healthz, /readyz, /metrics and /v1/snapshot"),
        }
    }

    /// Values that are read rather than counted are brought up to date when somebody looks.
    fn refresh_gauges(&self) {
        let snapshot = self.live.load();
        let now = clock::now();
        for instance in snapshot.instances.iter() {
            let stats = instance.keys.stats(now);
            if let Some(age) = stats.age {
                self.metrics.jwks_age(&instance.issuer).set(age.as_secs_f64());
            }
            for (result, count) in [("ok", stats.fetches_succeeded), ("error", stats.fetches_failed)] {
                let counter = self.metrics.jwks_refresh(&instance.issuer, result);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
            let counter = self.metrics.missing_azp(&instance.issuer);
            counter.inc_by(instance.missing_azp_count().saturating_sub(counter.get()));
        }
        self.metrics
            .show_upstreams(snapshot.upstreams.iter().map(|upstream| (&*upstream.name, state(&upstream.stats()))));
        self.metrics.show_trail(&trail(&self.ledger.trail().status()));
        let entries = i64::try_from(snapshot.cache.len()).unwrap_or(i64::MAX);
        self.metrics.cache_entries().set(entries);
        self.metrics.in_flight().set(i64::try_from(self.in_flight.count()).unwrap_or(i64::MAX));
        self.metrics.access_log_dropped().set(i64::try_from(self.log.dropped()).unwrap_or(i64::MAX));
    }

    /// On loopback only names of loopback; elsewhere names are the network's business.
    fn is_own_host(&self, host: Option<&HeaderValue>) -> bool {
        let Socket::Bind(Address::Tcp(address)) = &self.socket else { return true };
        if !address.ip().is_loopback() {
            return true;
        }
        let Some(host) = host.and_then(|host| host.to_str().ok()) else { return true };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }
}

fn state(stats: &Stats) -> UpstreamState {
    UpstreamState {
        endpoints: [("healthy", stats.healthy), ("unhealthy", stats.unhealthy), ("ejected", stats.out)],
        failures: stats.failures.iter().map(|(failure, count)| (failure.as_str(), *count)).collect(),
        breaker_open: stats.breaker_open,
        breaker_opened: stats.breaker_opened,
        put_out: stats.put_out,
        unresolved: stats.unresolved,
    }
}

fn trail(status: &Status) -> TrailState {
    TrailState {
        available: status.available,
        queue_entries: status.queue_entries,
        queue_bytes: status.queue_bytes,
        last_durable: status.durable_age.map(|age| age.as_secs_f64()),
        free_permille: status.free_permille.map(u32::from),
        dropped: status.dropped,
        entries: status.entries.iter().map(|(event, count)| (event.as_str(), *count)).collect(),
        failures: status.failures.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Vec<u8>> {
    answer(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

fn problem(status: StatusCode, title: &str) -> Response<Vec<u8>> {
    let body = serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16() });
    answer(status, "application/problem+json", serde_json::to_vec(&body).unwrap_or_default())
}

fn answer(status: StatusCode, content_type: &'static str, mut body: Vec<u8>) -> Response<Vec<u8>> {
    body.push(b'\n');
    let length = HeaderValue::from(body.len());
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
