//! Puts everything that runs together: services, listeners, signals; and ends the process in an orderly way.
//!
//! Sockets are opened before Pingora runs: it would open them inside a service's task, panic there when it cannot, and
//! leave a process that lives and serves nobody. Whatever cannot start is one line and exit code 1.

mod accept;
mod keys;
mod signing;
mod socket;
mod upstreams;

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora_proxy::http_proxy;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::admin::health::Readiness;
use crate::audit::Ledger;
use crate::clock;
use crate::drain::Drain;
use crate::gate::Gate;
use crate::gate::fairness::Fairness;
use crate::gate::passage::InFlight;
use crate::guard::{self, CapLimits, Deadlines, Guard, PaceLimits, Speaks, Unopened, Watch, Young};
use crate::reload::{self, By, Read, Reloader, Reloads};
use crate::rollout::Rollout;
use crate::snapshot::{Listener, Live, Settings};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;
use crate::upstream;
use accept::Accept;
use socket::{Listening, Passed};

/// Requests on one client connection before it is asked to come again: a balance between load balancers that never
/// move and the cost of connecting.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// How long the trail has for its last entries. A disk that hangs must not hold the process for ever.
const LAST_ENTRIES: Duration = Duration::from_secs(5);

/// How often it is asked whether the rollout's next step is due.
const STEP: Duration = Duration::from_secs(1);

/// What a process is started with.
#[derive(Debug)]
pub struct Start {
    pub reloader: Arc<Reloader>,
    /// What the config that serves was read from.
    pub read: Read,
    pub log: Log,
    pub ledger: Ledger,
    pub readiness: Arc<Readiness>,
    pub rollout: Option<Arc<Rollout>>,
    pub hangups: Hangups,
    /// What `check` would advise, to be said once it is clear that the process starts.
    pub advice: Vec<String>,
}

/// Serves until a signal.
///
/// # Errors
/// A sentence for the operator when an address cannot be listened on.
pub fn run(start: Start) -> Result<ExitCode, String> {
    let settings = start.reloader.settings.clone();
    let mut passed = Passed::from_environment();
    let doors = open_listeners(&settings, &mut passed)?;
    let admin_doors = socket::open(&settings.admin.socket, 0o600, &mut passed)?;
    let files: Vec<_> =
        doors.iter().map(|(_, door)| door).chain(&admin_doors).filter_map(|door| door.file.clone()).collect();
    for advice in &start.advice {
        tracing::warn!("{advice}");
    }
    let loaded = start.reloader.live.load();
    tracing::info!(snapshot = &*loaded.id, routes = loaded.routes.len(), "config loaded");
    start.reloader.serves(&loaded);
    drop(loaded);
    let reloads = reload::start(Arc::clone(&start.reloader), start.read)
        .map_err(|problem| format!("no thread for reloads: {problem}"))?;
    let in_flight = Arc::new(InFlight::default());
    let young = Arc::new(Young::default());
    let draining = Arc::new(AtomicBool::new(false));
    let (goaway, is_draining) = watch::channel(false);
    let (close, closing) = watch::channel(false);
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

    let upstreams =
        server.add_service(background_service("upstreams", upstreams::UpstreamService { live: Arc::clone(&live) }));

    let gate = Gate {
        live: Arc::clone(&live),
        metrics: metrics.clone(),
        log: start.log.clone(),
        ledger: start.ledger.clone(),
        rollout: start.rollout.clone(),
        in_flight: Arc::clone(&in_flight),
        fairness: Fairness::default(),
        draining: Arc::clone(&draining),
        keepalive: settings.keepalive,
    };
    let mut proxy = http_proxy(&server.configuration, gate);
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(settings.keepalive);
    proxy.server_options = Some(options);
    let limits = live.load().request.limits;
    proxy.h2_options = Some(http2(limits.headers));
    let deadlines = Deadlines {
        first_byte: settings.first_byte,
        idle: settings.keepalive,
        head: settings.header_read,
        write: limits.body_read,
    };
    let listeners = settings.listeners.clone();
    let watch = Arc::new(GuardWatch { live: Arc::clone(&live), metrics: metrics.clone(), listeners });
    let shared = guard::Shared::new(deadlines, watch, Arc::clone(&young), is_draining);
    let proxy = Arc::new(proxy);
    let guards: Vec<_> = (0..settings.listeners.len())
        .map(|listener| Arc::new(Guard::new(Arc::clone(&proxy), listener, shared.clone())))
        .collect();
    let readiness = Arc::clone(&start.readiness);
    let gate = server.add_service(Accept {
        name: "gate",
        threads: None,
        doors: doors
            .into_iter()
            .filter_map(|(listener, door)| Some((door, Arc::clone(guards.get(listener)?))))
            .collect(),
        closing: Some(closing),
        young: Arc::clone(&young),
        started: Box::new(move || {
            readiness.set_listening();
            tell_manager(sd_notify::NotifyState::Ready);
        }),
    });
    gate.add_dependency(&keys);
    gate.add_dependency(&upstreams);

    let admin = Admin {
        live,
        metrics,
        readiness: Arc::clone(&start.readiness),
        in_flight: Arc::clone(&in_flight),
        log: start.log.clone(),
        ledger: start.ledger.clone(),
        rollout: start.rollout.clone(),
        reloads: reloads.clone(),
        socket: settings.admin.socket.clone(),
    };
    let admin = Arc::new(admin);
    // The admin listener answers to the last: "draining" is an answer.
    let (_open, never) = watch::channel(false);
    server.add_service(Accept {
        name: "admin",
        threads: Some(1),
        doors: admin_doors.into_iter().map(|door| (door, Arc::clone(&admin))).collect(),
        closing: Some(never),
        young: Arc::default(),
        started: Box::new(|| {}),
    });

    let signing = signing::SigningService { live: Arc::clone(&start.reloader.live) };
    server.add_service(background_service("signing", signing));
    server.add_service(background_service("deadlines", Watching));
    server.add_service(background_service("ledger", RollUp(start.ledger.clone())));
    if let Some(rollout) = start.rollout {
        server.add_service(background_service("rollout", Steps(rollout)));
    }
    server.add_service(background_service(
        "reload",
        ReloadOnHangup { reloads, hangups: Mutex::new(Some(start.hangups)) },
    ));

    let drain = Drain { times: settings.drain, readiness: start.readiness, in_flight, young, draining, goaway, close };
    server.run(RunArgs { shutdown_signal: Box::new(drain) });

    // After the last request: what became of it is written, and the trail says that it ends here.
    start.ledger.finish(LAST_ENTRIES);
    for file in files {
        // Gone already is as good.
        let _ = std::fs::remove_file(file);
    }
    tracing::info!("stopped");
    drop(start.log);
    Ok(ExitCode::SUCCESS)
}

/// The sockets of all listeners, each with its listener's index. Names first, so that `systemd` gets what is left.
fn open_listeners(settings: &Settings, passed: &mut Passed) -> Result<Vec<(usize, Listening)>, String> {
    let is_rest = |listener: &Listener| listener.socket == crate::snapshot::Socket::Passed(None);
    let (rest, named): (Vec<_>, Vec<_>) =
        settings.listeners.iter().enumerate().partition(|(_, listener)| is_rest(listener));
    let mut doors = Vec::new();
    for (index, listener) in named.into_iter().chain(rest) {
        doors.extend(socket::open(&listener.socket, 0o660, passed)?.into_iter().map(|door| (index, door)));
    }
    Ok(doors)
}

/// HTTP/2 as Pingora bounds it, with `limits.headers` for the list of fields.
fn http2(headers: usize) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX));
    // Of each stream, until the client takes it. The default would let a hundred streams hold 40 MB.
    options.max_send_buffer_size(128 << 10);
    options
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn tell_manager(state: sd_notify::NotifyState<'_>) {
    if let Err(problem) = sd_notify::notify(&[state]) {
        tracing::warn!(%problem, "the service manager cannot be told");
    }
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
    listeners: Vec<Listener>,
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

    fn speaks(&self, listener: usize) -> Option<Speaks> {
        let Listener { tls, h2c, .. } = self.listeners.get(listener)?;
        if !tls {
            return Some(Speaks::Plain { h2c: *h2c });
        }
        self.live.load().tls.get(listener)?.as_ref().map(|tls| Speaks::Tls(Arc::clone(&tls.config)))
    }

    fn unopened(&self, why: Unopened) {
        self.metrics.unopened(match why {
            Unopened::Silent => "silent",
            Unopened::Handshake => "handshake",
        });
    }

    fn pace_limits(&self) -> PaceLimits {
        let limits = self.live.load().request.limits;
        PaceLimits { silence: limits.body_read, rate: limits.body_min_rate }
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

/// Ends requests at their deadlines.
struct Watching;

#[async_trait]
impl BackgroundService for Watching {
    async fn start(&self, _shutdown: ShutdownWatch) {
        // Also while draining: until the process ends.
        upstream::watch().await;
    }
}

/// Writes down repeats when their minute is over.
struct RollUp(Ledger);

#[async_trait]
impl BackgroundService for RollUp {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => self.0.roll_up(false),
                // What is left is written with the trail's last entries.
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Goes towards the config's percentage, step by step.
struct Steps(Arc<Rollout>);

#[async_trait]
impl BackgroundService for Steps {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                _ = shutdown.changed() => return,
            }
            let rollout = Arc::clone(&self.0);
            // A step is written to the disk; one that panicked has moved nobody, and the next second tries again.
            let _ = tokio::task::spawn_blocking(move || rollout.advance(clock::now().unix_ms)).await;
        }
    }
}

/// SIGHUP, heard from the moment that this is made.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Before anything else of the start: a signal that nobody listens to ends the process, and operators' scripts send
    /// theirs as soon as a process is there. One that comes during the start waits until reloading is possible.
    ///
    /// # Errors
    /// The system gives no way to hear signals.
    pub fn listen() -> std::io::Result<Self> {
        // Signals belong to the process: any runtime that runs later passes on what this one began to listen to.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map(Self)
    }
}

/// SIGHUP reloads.
struct ReloadOnHangup {
    reloads: Reloads,
    /// Taken when the service starts, which is once.
    hangups: Mutex<Option<Hangups>>,
}

#[async_trait]
impl BackgroundService for ReloadOnHangup {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let taken = self.hangups.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Hangups(mut hangup)) = taken else { return };
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = shutdown.changed() => return,
            }
            // Outcome and problems are in the log, on /readyz and in metrics.
            self.reloads.ask(By::Signal);
        }
    }
}
