//! The admin listener: health, readiness, metrics, the snapshot; and the rollout, which can be moved here.
//!
//! On its own address, loopback unless configured. A browser on the same machine must not be able to read or steer it:
//! requests with an Origin are refused, and so is a foreign Host on a loopback address (DNS rebinding).

mod access;
mod body;
mod explain;
pub mod health;
mod refusals;
mod reload;
mod report;
mod rollouts;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use crate::audit::{Ledger, Status};
use crate::clock;
use crate::gate::passage::InFlight;
use crate::identity::clerk::Issuance;
use crate::identity::link::Conflict;
use crate::reload::Reloads;
use crate::rollout::Rollout;
use crate::snapshot::{Address, Live, Scope, Socket};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::{Metrics, UpstreamState};
use crate::telemetry::trail::TrailState;
use crate::upstream::Stats;
use access::Refused;
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
    /// There is none without `rollout` in the config.
    pub rollout: Option<Arc<Rollout>>,
    pub reloads: Reloads,
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
        let is_head = head.method == Method::HEAD;
        let method = if is_head { Method::GET } else { head.method.clone() };
        let path = head.uri.path().to_owned();
        let asked = rollouts::Asked::parse(&path);
        let (is_reload, explains) = (path == reload::PATH, path == explain::PATH);
        let allowed = match asked {
            _ if is_reload || explains => Method::POST,
            Some((asked, _)) => asked.method(),
            None => Method::GET,
        };
        if method != allowed {
            let (title, names) = match allowed {
                Method::PUT => ("the weight is PUT", "PUT"),
                Method::POST => ("this is an action: POST it", "POST"),
                _ => ("this can only be read", "GET, HEAD"),
            };
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, title);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(names));
            return refused;
        }
        let scope = if is_reload { Scope::Reload } else { asked.map_or(Scope::Read, |(asked, _)| asked.scope()) };
        let actor = match self.admit(&path, &head.headers, scope) {
            Ok(actor) => actor,
            Err(refused) => {
                let action =
                    if is_reload { "config.reload" } else { asked.map_or("admin.read", |(asked, _)| asked.action()) };
                refusals::record(self, session, &told(&refused, action)).await;
                return turned_away(&refused);
            }
        };
        let mut answer = match (asked, &self.rollout) {
            _ if explains => explain::serve(self, session).await,
            _ if is_reload => reload::serve(actor, &self.reloads, session).await,
            (None, _) => self.answer(&path),
            (Some((rollouts::Asked::All, _)), None) => json(StatusCode::OK, &serde_json::json!({ "rollouts": [] })),
            (Some((asked, name)), Some(rollout))
                if asked == rollouts::Asked::All || *rollout.current().record.rollout == *name =>
            {
                rollouts::serve(self, asked, actor, rollout, session).await
            }
            (Some(_), _) => problem(StatusCode::NOT_FOUND, "there is no rollout of this name"),
        };
        if is_head {
            answer.body_mut().clear();
        }
        answer
    }
}

impl Admin {
    /// Under which name the caller may do this.
    fn admit(&self, path: &str, headers: &HeaderMap, scope: Scope) -> Result<Arc<str>, Refused> {
        let snapshot = self.live.load();
        let [healthz, readyz, metrics] = snapshot.admin.open;
        let is_open = match path {
            "/healthz" => healthz,
            "/readyz" => readyz,
            "/metrics" => metrics,
            _ => false,
        };
        if is_open {
            return Ok(Arc::from("anybody"));
        }
        access::admit(headers, &self.socket, &snapshot.admin, scope)
    }

    fn answer(&self, path: &str) -> Response<Vec<u8>> {
        if let Some(asked) = report::asked(path) {
            return report::answer(asked, &self.live.load());
        }
        match path {
            "/healthz" => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            "/readyz" => {
                let problem = self.ledger.trail().status().problem;
                let mut report = self.readiness.report(&self.live.load(), problem.as_deref(), clock::now());
                if let Some(rollout) = &self.rollout {
                    report.reasons.extend(rollouts::reasons(&rollout.current()));
                    report.degraded = !report.reasons.is_empty();
                }
                json(if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &report)
            }
            "/metrics" => {
                self.refresh_gauges();
                answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            "/v1/snapshot" => json(StatusCode::OK, &view::snapshot(&self.live.load(), clock::now())),
            _ => problem(
                StatusCode::NOT_FOUND,
                "there is /healthz, /readyz, /metrics, /v1/snapshot, /v1/reload, /v1/report, /v1/explain and /v1/rollouts",
            ),
        }
    }

    /// Values that are read rather than counted are brought up to date when somebody looks.
    fn refresh_gauges(&self) {
        let snapshot = self.live.load();
        let now = clock::now();
        for keys in snapshot.keys() {
            let stats = keys.stats(now);
            if let Some(age) = stats.age {
                self.metrics.jwks_age(keys.issuer()).set(age.as_secs_f64());
            }
            for (result, count) in [("ok", stats.fetches_succeeded), ("error", stats.fetches_failed)] {
                let counter = self.metrics.jwks_refresh(keys.issuer(), result);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
        let probed = snapshot.instances.iter().filter(|instance| instance.probe.is_some());
        self.metrics.show_issuance(probed.map(|instance| (&*instance.issuer, instance.issuance() == Issuance::Up)));
        let asked = snapshot.legacy.as_ref().and_then(|legacy| legacy.ask_stats(now));
        self.metrics.legacy_breaker_open().set(i64::from(asked.as_ref().is_some_and(|stats| stats.broken)));
        if let Some(stats) = asked {
            for (result, count) in [("ok", stats.answered), ("error", stats.failed)] {
                let counter = self.metrics.legacy_lookups(result);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
        for instance in snapshot.instances.iter() {
            let counter = self.metrics.missing_azp(&instance.issuer);
            counter.inc_by(instance.missing_azp_count().saturating_sub(counter.get()));
        }
        self.metrics
            .show_upstreams(snapshot.upstreams.iter().map(|upstream| (&*upstream.name, state(&upstream.stats()))));
        let linking = &snapshot.linking;
        let conflicts = Conflict::ALL.map(|conflict| (conflict.as_str(), linking.conflicts.get(conflict)));
        self.metrics.show_linking(linking.counts.by_kind(), conflicts.into_iter());
        self.metrics.show_trail(&trail(&self.ledger.trail().status()));
        if let Some(rollout) = &self.rollout {
            let current = rollout.current();
            let record = &current.record;
            let state = record.guard.as_str();
            let (ppm, shares) = (record.effective().ppm(), current.shares());
            self.metrics.show_rollout(&record.rollout, ppm, shares, state, current.problem.is_some());
        }
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

/// As the trail tells it, in the codes of the data listeners.
fn told<'a>(refused: &'a Refused, action: &'static str) -> refusals::Refusal<'a> {
    let (who, code, reason) = match refused {
        Refused::BadToken => (None, "invalid", "not a token of admin.tokens".to_owned()),
        Refused::NoToken => (None, "no_credential", "no token".to_owned()),
        Refused::NoScope(name, scope) => {
            (Some(&**name), "forbidden", format!("the token has no scope {}", scope.as_str()))
        }
        Refused::ReadOnly => (None, "forbidden", "without admin.tokens this address is read-only".to_owned()),
    };
    refusals::Refusal { who, action, resource: None, code, reason }
}

fn turned_away(refused: &Refused) -> Response<Vec<u8>> {
    match refused {
        Refused::NoToken | Refused::BadToken => {
            let mut refused = problem(StatusCode::UNAUTHORIZED, "this needs a token of admin.tokens");
            let scheme = HeaderValue::from_static("Bearer realm=\"crossgate admin\"");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            refused
        }
        Refused::NoScope(_, scope) => {
            problem(StatusCode::FORBIDDEN, &format!("this token is not for it: {} is needed", scope.as_str()))
        }
        Refused::ReadOnly => problem(
            StatusCode::FORBIDDEN,
            "without admin.tokens this address is read-only: name a token in the config, or use a unix socket",
        ),
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
