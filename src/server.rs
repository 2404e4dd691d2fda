//! Puts everything that runs together: services, listeners, signals; and ends the process in an orderly way.
//!
//! Addresses are tried before Pingora gets them: it panics inside a service's task when it cannot bind and leaves a
//! process that lives and serves nobody. Whatever cannot start is one line and exit code 1.

mod keys;
mod probe;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::admin::Admin;
use crate::admin::health::Readiness;
use crate::drain::Drain;
use crate::gate::Gate;
use crate::gate::passage::InFlight;
use crate::guard::{CapLimits, Deadlines, Guard, Watch};
use crate::reload::Reloader;
use crate::snapshot::{Address, Live, Settings};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;

/// Requests on one client connection before it is asked to come again: a balance between load balancers that never
/// move and the cost of connecting.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// What a process is started with.
#[derive(Debug)]
pub struct Start {
    pub reloader: Arc<Reloader>,
    pub log: Log,
    pub readiness: Arc<Readiness>,
    /// What `check` would advise, to be said once it is clear that the process starts.
    pub advice: Vec<String>,
}

/// Serves until a signal.
///
/// # Errors
/// A sentence for the operator when an address cannot be listened on.
pub fn run(start: Start) -> Result<ExitCode, String> {
    let settings = start.reloader.settings.clone();
    for address in addresses(&settings) {
        probe::claim(address)?;
    }
    for advice in &start.advice {
        tracing::warn!("{advice}");
    }
    let loaded = start.reloader.live.load();
    tracing::info!(snapshot = &*loaded.id, routes = loaded.routes.len(), "config loaded");
    drop(loaded);
    let in_flight = Arc::new(InFlight::default());
    let draining = Arc::new(AtomicBool::new(false));
    let fatal = Arc::new(Notify::new());
    let metrics = start.reloader.metrics.clone();
    let live = Arc::clone(&start.reloader.live);
    count_panics(&metrics);

    let conf = configuration(&settings)?;
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let keys = server.add_service(background_service(
        "keys",
        keys::KeyService { live: Arc::clone(&live), wait: settings.ready.wait, state_dir: settings.state_dir.clone() },
    ));

    let gate = Gate {
        live: Arc::clone(&live),
        metrics: metrics.clone(),
        log: start.log.clone(),
        in_flight: Arc::clone(&in_flight),
        draining: Arc::clone(&draining),
        keepalive: settings.keepalive,
    };
    let mut proxy = http_proxy(&server.configuration, gate);
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(settings.keepalive);
    proxy.server_options = Some(options);
    let deadlines = Deadlines { idle: settings.keepalive, head: settings.header_read };
    let watch = Arc::new(GuardWatch { live: Arc::clone(&live), metrics: metrics.clone() });
    let mut gate = Service::new("gate".to_owned(), Guard::new(proxy, deadlines, watch));
    for listener in &settings.listeners {
        listen(&mut gate, &listener.address, 0o660);
    }
    let gate = server.add_service(gate);
    gate.add_dependency(&keys);

    let admin = Admin {
        live,
        metrics,
        readiness: Arc::clone(&start.readiness),
        in_flight: Arc::clone(&in_flight),
        log: start.log.clone(),
        address: settings.admin.address.clone(),
    };
    let mut admin = Service::new("admin".to_owned(), admin);
    admin.threads = Some(1);
    listen(&mut admin, &settings.admin.address, 0o600);
    server.add_service(admin);

    server.add_service(background_service("reload", ReloadOnHangup(Arc::clone(&start.reloader))));
    let watch = probe::ListenWatch {
        addresses: settings.listeners.iter().map(|listener| listener.address.clone()).collect(),
        readiness: Arc::clone(&start.readiness),
        fatal: Arc::clone(&fatal),
        patience: settings.ready.wait + probe::PATIENCE,
        failed: Arc::new(AtomicBool::new(false)),
    };
    let unreachable = Arc::clone(&watch.failed);
    server.add_service(background_service("listening", watch));

    let drain = Drain { times: settings.drain, readiness: start.readiness, in_flight, draining, fatal };
    server.run(RunArgs { shutdown_signal: Box::new(drain) });

    for address in addresses(&settings) {
        probe::release(address);
    }
    if unreachable.load(std::sync::atomic::Ordering::Relaxed) {
        return Err("a listener cannot be reached although its address was free; see the log above".to_owned());
    }
    tracing::info!("stopped");
    drop(start.log);
    Ok(ExitCode::SUCCESS)
}

fn addresses(settings: &Settings) -> impl Iterator<Item = &Address> {
    settings.listeners.iter().map(|listener| &listener.address).chain(std::iter::once(&settings.admin.address))
}

/// Pingora's own configuration: everything that its defaults get wrong for a sidecar.
fn configuration(settings: &Settings) -> Result<ServerConf, String> {
    let threads = settings.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    // Below `state_dir`: the defaults are well-known names in /tmp, and the upgrade socket is open to everybody.
    let private = |name: &str| settings.state_dir.join(name).display().to_string();
    let (pid_file, upgrade_sock) = (private("pingora.pid"), private("pingora-upgrade.sock"));
    let mut conf = ServerConf::new().ok_or("the proxy's own defaults cannot be read")?;
    conf.threads = threads;
    conf.max_retries = 2;
    conf.max_blocking_threads = Some(16);
    conf.grace_period_seconds = Some(0); // `drain` has waited already
    conf.graceful_shutdown_timeout_seconds = Some(1);
    conf.pid_file = pid_file;
    conf.upgrade_sock = upgrade_sock;
    Ok(conf)
}

/// `mode` is that of a unix socket's file.
fn listen<A>(service: &mut Service<A>, address: &Address, mode: u32) {
    match address {
        Address::Tcp(address) => service.add_tcp(&address.to_string()),
        Address::Unix(path) => {
            // Pingora's default mode is 0666.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            service.add_uds(&path.display().to_string(), Some(mode));
        }
    }
}

/// A panic loses one request, not the process; it must not go unseen.
fn count_panics(metrics: &Metrics) {
    let panics = metrics.panics().clone();
    std::panic::set_hook(Box::new(move |info| {
        panics.inc();
        // The place only: a panic's text may quote what a client sent.
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug ended a request");
    }));
}

/// What the guard asks and tells.
#[derive(Debug)]
struct GuardWatch {
    live: Live,
    metrics: Metrics,
}

impl Watch for GuardWatch {
    /// With room above both limits, so that the exact answers (414, 431) are the gate's.
    fn head_limit(&self) -> usize {
        let limits = self.live.load().request.limits;
        limits.headers + limits.uri + 4096
    }

    fn cap_limits(&self) -> CapLimits {
        let limits = self.live.load().request.limits;
        CapLimits { all: limits.connections, per_peer: limits.connections_per_peer }
    }

    fn turned_away(&self) {
        self.metrics.turned_away().inc();
    }

    fn refused(&self, code: &'static str) -> String {
        self.metrics.guard_refused(code).inc();
        let mut id = [0_u8; 16];
        // Without randomness an id of zeros is still an id.
        let _ = aws_lc_rs::rand::fill(&mut id);
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        tracing::debug!(code, request_id = id, "a head was refused before any parser saw it");
        id
    }
}

/// SIGHUP reloads.
struct ReloadOnHangup(Arc<Reloader>);

#[async_trait]
impl BackgroundService for ReloadOnHangup {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = shutdown.changed() => return,
            }
            let reloader = Arc::clone(&self.0);
            // Outcome and problems are in the log, on /readyz and in a metric.
            let _ = tokio::task::spawn_blocking(move || reloader.reload().is_ok()).await;
        }
    }
}
