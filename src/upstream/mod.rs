//! The API's endpoints: which one a request goes to, how it is reached, how it fares.
//!
//! ```text
//! Spec ─ prepare ─> Upstream ─ choose ─> peer + Attempt ─ answered | failed ─> vitals, breaker
//!                      ^── tend (background): names resolved, health checked
//! ```
//!
//! Peers are made ready when a snapshot is made or a name was resolved, and cloned per request; nothing on the request
//! path waits, resolves or locks. A reload keeps what is known of endpoints that stay. Never decides who may pass.

mod attempt;
mod breaker;
mod health;
mod patient;
mod peer;
mod resolve;
mod socket;
mod spec;
mod vitals;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::Notify;

use crate::snapshot::Address;

pub use attempt::{Attempt, Failure, Progress};
use breaker::Breaker;
pub use socket::{Ended, Hold, watch};
pub use spec::{Forward, Health, HostName, InAuthorization, Place, Protocol, Puts, Spec, Timeouts, Tls, TokenPlace};
use vitals::Vitals;

/// An upstream ready to be used.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub forward: Forward,
    pub puts: Puts,
    pub exact_paths: bool,
    pub timeouts: Timeouts,
    spec: Spec,
    template: peer::Template,
    checker: Option<Arc<health::Checker>>,
    /// In the order of the config; a name stands for its addresses.
    targets: Box<[Target]>,
    /// All that the targets stand for now; written by `tend` alone.
    endpoints: ArcSwap<Box<[Endpoint]>>,
    next: AtomicUsize,
    breaker: Arc<Breaker>,
    counters: Arc<Counters>,
    /// A connection failed: names may stand for other addresses by now.
    doubt: Notify,
}

/// What a request wants a connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Answer,
    WebSocket,
}

/// One item of `endpoints`.
#[derive(Debug)]
enum Target {
    Fixed(Address),
    /// Its last good addresses; none until it was resolved for the first time.
    Named(HostName, ArcSwap<Vec<SocketAddr>>),
}

/// One address.
#[derive(Debug, Clone)]
struct Endpoint {
    peer: Arc<HttpPeer>,
    vitals: Arc<Vitals>,
}

/// What is counted of an upstream, across reloads.
#[derive(Debug, Default)]
struct Counters {
    failures: [AtomicU64; Failure::ALL.len()],
    put_out: AtomicU64,
    unresolved: AtomicU64,
}

/// An upstream that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// An address that no socket address can hold.
    Endpoint(Address),
    /// TLS without `ca`, on a machine without authorities.
    NoAuthorities,
    /// The certificates are of no use for a handshake.
    Tls(String),
}

/// Nothing to send a request to: every endpoint is down or unresolved, or the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEndpoint;

/// What an upstream looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub healthy: usize,
    pub unhealthy: usize,
    /// Put out by failures of requests, for a while.
    pub out: usize,
    pub breaker_open: bool,
    pub breaker_opened: u64,
    pub failures: Vec<(Failure, u64)>,
    pub put_out: u64,
    pub unresolved: u64,
}

impl Upstream {
    /// Makes one peer per address. What `previous` knows of the same endpoints is kept: addresses of names, health, and
    /// how they fared.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn prepare(spec: &Spec, previous: Option<&Self>) -> Result<Self, Unusable> {
        let template = peer::Template::new(spec);
        let checker = health::Checker::new(spec)?;
        let previous = previous.filter(|previous| previous.name == spec.name);
        let target = |place: &Place| match place {
            Place::Address(address) => Target::Fixed(address.clone()),
            Place::Name(name) => {
                let known = previous.and_then(|previous| previous.addresses(name)).unwrap_or_default();
                Target::Named(name.clone(), ArcSwap::new(known))
            }
        };
        let upstream = Self {
            name: Arc::clone(&spec.name),
            forward: spec.forward,
            puts: spec.puts.clone(),
            exact_paths: spec.exact_paths,
            timeouts: spec.timeouts,
            targets: spec.endpoints.iter().map(target).collect(),
            endpoints: ArcSwap::default(),
            next: AtomicUsize::new(0),
            breaker: match previous
                .filter(|previous| previous.spec.endpoints == spec.endpoints && previous.is_reached_as(spec))
            {
                Some(previous) => Arc::clone(&previous.breaker),
                None => Arc::default(),
            },
            counters: previous.map(|previous| Arc::clone(&previous.counters)).unwrap_or_default(),
            doubt: Notify::new(),
            template,
            checker,
            spec: spec.clone(),
        };
        // What went wrong under other certificates says nothing about these.
        let known =
            previous.filter(|previous| previous.is_reached_as(spec)).map(|previous| previous.endpoints.load_full());
        upstream.gather(known.as_deref().map_or(&[], |known| known))?;
        Ok(upstream)
    }

    /// The next endpoint in turn, with what is to be told about it. `last` is the attempt that this one follows: another
    /// endpoint is taken if there is one.
    ///
    /// # Errors
    /// When there is none, or when the breaker is open.
    pub fn choose(self: &Arc<Self>, last: Option<Attempt>, asks: Asks) -> Result<(Box<HttpPeer>, Attempt), NoEndpoint> {
        let now = stamp(Instant::now());
        let failed = last.as_ref().map(|attempt| Arc::clone(&attempt.vitals));
        // Before the breaker is asked: a trial that says nothing lets the next one try.
        drop(last);
        let endpoints = self.endpoints.load();
        let endpoint = self.pick(&endpoints, failed.as_deref(), now).ok_or(NoEndpoint)?;
        let pass = self.breaker.admit(now).ok_or(NoEndpoint)?;
        let mut peer = Box::new(HttpPeer::clone(&endpoint.peer));
        if asks == Asks::WebSocket {
            socket::for_handshake(&mut peer, self.timeouts.connect);
        }
        let vitals = Arc::clone(&endpoint.vitals);
        Ok((
            peer,
            Attempt { upstream: Arc::clone(self), vitals, pass, answered: false, settled: false, informational: 0 },
        ))
    }

    /// In turn among the best that there are: well and another than `avoid`, else well, else put out for a while (which is
    /// a guess, and better than nothing). What a health check found down is never taken.
    fn pick<'a>(&self, endpoints: &'a [Endpoint], avoid: Option<&Vitals>, now: u64) -> Option<&'a Endpoint> {
        let up = |endpoint: &&Endpoint| self.checker.is_none() || endpoint.vitals.is_healthy();
        let within = |endpoint: &&Endpoint| up(endpoint) && !endpoint.vitals.is_out(now);
        let other = |endpoint: &&Endpoint| avoid.is_none_or(|avoid| avoid.address != endpoint.vitals.address);
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        in_turn(endpoints, turn, |endpoint| within(endpoint) && other(endpoint))
            .or_else(|| in_turn(endpoints, turn, within))
            .or_else(|| in_turn(endpoints, turn, |endpoint| up(endpoint) && other(endpoint)))
            .or_else(|| in_turn(endpoints, turn, up))
    }

    /// Resolves names and checks health until dropped. A plain future for a background runtime.
    pub async fn tend(self: Arc<Self>) {
        tokio::join!(resolve::run(&self), health::run(&self));
    }

    /// Whether each name has addresses.
    pub fn is_resolved(&self) -> bool {
        self.targets.iter().all(|target| match target {
            Target::Fixed(_) => true,
            Target::Named(_, addresses) => !addresses.load().is_empty(),
        })
    }

    pub fn stats(&self) -> Stats {
        let now = stamp(Instant::now());
        let mut stats = Stats {
            healthy: 0,
            unhealthy: 0,
            out: 0,
            breaker_open: self.breaker.is_open(),
            breaker_opened: self.breaker.opened(),
            failures: Failure::ALL
                .into_iter()
                .zip(&self.counters.failures)
                .map(|(failure, count)| (failure, count.load(Ordering::Relaxed)))
                .collect(),
            put_out: self.counters.put_out.load(Ordering::Relaxed),
            unresolved: self.counters.unresolved.load(Ordering::Relaxed),
        };
        for endpoint in self.endpoints.load().iter() {
            if self.checker.is_some() && !endpoint.vitals.is_healthy() {
                stats.unhealthy += 1;
            } else if endpoint.vitals.is_out(now) {
                stats.out += 1;
            } else {
                stats.healthy += 1;
            }
        }
        stats
    }

    fn is_reached_as(&self, spec: &Spec) -> bool {
        self.spec.protocol == spec.protocol && self.spec.tls == spec.tls
    }

    fn addresses(&self, name: &HostName) -> Option<Arc<Vec<SocketAddr>>> {
        self.targets.iter().find_map(|target| match target {
            Target::Named(other, addresses) if other == name => Some(addresses.load_full()),
            Target::Named(..) | Target::Fixed(_) => None,
        })
    }

    /// Makes the list of endpoints anew; those that are `known` keep how they fare.
    fn gather(&self, known: &[Endpoint]) -> Result<(), Unusable> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for target in &self.targets {
            let addresses = match target {
                Target::Fixed(address) => vec![address.clone()],
                Target::Named(_, addresses) => addresses.load().iter().copied().map(Address::Tcp).collect(),
            };
            for address in addresses {
                if endpoints.iter().any(|endpoint| endpoint.vitals.address == address) {
                    continue;
                }
                let peer = self.template.peer(&address).ok_or_else(|| Unusable::Endpoint(address.clone()))?;
                let same = known.iter().find(|endpoint| endpoint.vitals.address == address);
                let vitals = same.map_or_else(|| Arc::new(Vitals::new(address)), |same| Arc::clone(&same.vitals));
                endpoints.push(Endpoint { peer: Arc::new(peer), vitals });
            }
        }
        self.endpoints.store(Arc::new(endpoints.into_boxed_slice()));
        Ok(())
    }

    fn note_failure(&self, failure: Failure, vitals: &Vitals, now: u64) {
        if let Some(count) = self.counters.failures.get(failure as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if failure == Failure::Connect {
            self.doubt.notify_one();
        }
        if !vitals.failed() {
            return;
        }
        // Never more than half: what fails everywhere is no endpoint's own trouble, and the breaker's business.
        let endpoints = self.endpoints.load();
        let out = endpoints.iter().filter(|endpoint| endpoint.vitals.is_out(now)).count();
        if (out + 1) * 2 <= endpoints.len() && !vitals.is_out(now) {
            vitals.put_out(now);
            self.counters.put_out.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(upstream = &*self.name, endpoint = %vitals.address, "an endpoint keeps failing and is put out for a while");
        }
    }
}

/// The `turn`-th of those that fit, round and round: by rank, so that a gap does not double its neighbour's load.
fn in_turn<'a>(endpoints: &'a [Endpoint], turn: usize, fits: impl Fn(&&'a Endpoint) -> bool) -> Option<&'a Endpoint> {
    let count = endpoints.iter().filter(|endpoint| fits(endpoint)).count();
    endpoints.iter().filter(|endpoint| fits(endpoint)).nth(turn.checked_rem(count)?)
}

/// Milliseconds since the process first asked, from 1: instants that fit into an atomic, where 0 is never.
fn stamp(now: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests;
