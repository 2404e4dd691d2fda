//! crossgate's gate as the binary puts it together, with the guard below it or without: the one difference whose cost
//! is measured. The shipped binary has no such switch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossgate::audit::{Ledger, Trail};
use crossgate::config;
use crossgate::gate::Gate;
use crossgate::gate::fairness::Fairness;
use crossgate::gate::passage::InFlight;
use crossgate::guard::{CapLimits, Deadlines, Guard, PaceLimits, Shared, Speaks, Unopened, Watch, Young};
use crossgate::snapshot::{Address, Listener, Socket};
use crossgate::telemetry::access::Log;
use crossgate::telemetry::log::Format;
use crossgate::telemetry::metrics::Metrics;
use pingora::server::{RunArgs, Server};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;

/// What the binary's own watch says with default limits.
#[derive(Debug)]
struct Limits;

impl Watch for Limits {
    fn head_limit(&self) -> usize {
        84 << 10
    }

    fn cap_limits(&self) -> CapLimits {
        CapLimits { all: 20_000, per_peer: None }
    }

    fn pace_limits(&self) -> PaceLimits {
        PaceLimits { silence: Duration::from_secs(60), rate: None }
    }

    fn speaks(&self, _listener: usize) -> Option<Speaks> {
        Some(Speaks::Plain { h2c: false })
    }

    fn turned_away(&self) {}

    fn unopened(&self, _why: Unopened) {}

    fn refused(&self, _code: &'static str) -> String {
        String::new()
    }
}

pub(crate) fn serve(path: &str, guarded: bool) {
    let metrics = Metrics::new().unwrap();
    let loaded = config::load(Path::new(path), &|name| std::env::var(name).ok(), &metrics, None);
    let compiled = loaded.compiled.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let settings = compiled.settings;
    let [Listener { socket: Socket::Bind(Address::Tcp(listen)), .. }] = &settings.listeners[..] else {
        panic!("one listener on TCP");
    };
    let listen = listen.to_string();
    let gate = Gate {
        live: Arc::new(ArcSwap::from_pointee(compiled.snapshot)),
        metrics,
        log: Log::open(&settings.access_log, Format::Json).unwrap(),
        ledger: Ledger::new(Trail::off()),
        rollout: None,
        in_flight: Arc::new(InFlight::default()),
        draining: Arc::new(AtomicBool::new(false)),
        keepalive: settings.keepalive,
        fairness: Fairness::default(),
    };
    let mut server = Server::new_with_opt_and_conf(None, super::bare::configuration());
    server.bootstrap();
    let proxy = http_proxy(&server.configuration, gate);
    if guarded {
        let deadlines = Deadlines {
            first_byte: settings.first_byte,
            idle: settings.keepalive,
            head: settings.header_read,
            write: settings.keepalive,
        };
        let (_drain, never) = tokio::sync::watch::channel(false);
        let shared = Shared::new(deadlines, Arc::new(Limits), Arc::new(Young::default()), never);
        let mut service = Service::new("gate".to_owned(), Guard::new(Arc::new(proxy), 0, shared));
        service.add_tcp(&listen);
        server.add_service(service);
    } else {
        let mut service = Service::new("gate".to_owned(), proxy);
        service.add_tcp(&listen);
        server.add_service(service);
    }
    server.run(RunArgs::default());
}
