//! Names become addresses, in the background: every few seconds, and at once when a connection failed.
//!
//! The system's resolver is asked, one question at a time for each name; what it last said holds until it says something
//! else. A failure keeps the last good addresses: a resolver that is down must not take the API down with it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::{HostName, Target, Upstream};

/// How long an answer is believed; the system's resolver tells no time to live.
const AGAIN: Duration = Duration::from_secs(5);
/// While there is no address at all, and the least pause between two questions.
const SOON: Duration = Duration::from_secs(1);
/// Addresses of one name. More is an answer made to hurt.
const MOST: usize = 64;

pub(super) async fn run(upstream: &Upstream) {
    if !upstream.targets.iter().any(|target| matches!(target, Target::Named(..))) {
        return;
    }
    let mut told = false;
    loop {
        let failed = once(upstream, |name| lookup(name.host.to_string(), name.port)).await;
        if let (Some((name, why)), false) = (&failed, told) {
            tracing::warn!(upstream = &*upstream.name, %name, why, "an endpoint's name cannot be resolved");
        }
        if failed.is_none() && told {
            tracing::info!(upstream = &*upstream.name, "endpoint names are resolved again");
        }
        told = failed.is_some();
        sleep(SOON).await;
        let rest = if upstream.is_resolved() { jittered(AGAIN) - SOON } else { Duration::ZERO };
        tokio::select! {
            () = sleep(rest) => {}
            () = upstream.doubt.notified() => {}
        }
    }
}

/// Asks for every name once; the first that failed.
async fn once<A>(upstream: &Upstream, mut ask: impl FnMut(&HostName) -> A) -> Option<(HostName, String)>
where
    A: Future<Output = Result<Vec<SocketAddr>, String>>,
{
    let mut failed = None;
    let mut changed = false;
    for target in &upstream.targets {
        let Target::Named(name, known) = target else { continue };
        match ask(name).await {
            Ok(addresses) => {
                if **known.load() != addresses {
                    tracing::info!(upstream = &*upstream.name, %name, addresses = addresses.len(), "an endpoint's name has new addresses");
                    known.store(std::sync::Arc::new(addresses));
                    changed = true;
                }
            }
            Err(why) => {
                upstream.counters.unresolved.fetch_add(1, Ordering::Relaxed);
                failed.get_or_insert_with(|| (name.clone(), why));
            }
        }
    }
    if changed {
        let known = upstream.endpoints.load_full();
        // IP addresses always fit into a peer.
        let _ = upstream.gather(&known);
    }
    failed
}

/// Sorted, each once. No timeout: a question that is given up goes on all the same, on a thread of the pool.
async fn lookup(host: String, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|problem| problem.kind().to_string())?;
    let mut addresses: Vec<SocketAddr> = found.filter(|address| !address.ip().is_unspecified()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST);
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

/// Give or take a fifth, so that a fleet does not ask in step.
pub(super) fn jittered(time: Duration) -> Duration {
    let mut byte = [128_u8];
    // Without randomness, without jitter.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    time.mul_f64(0.8 + 0.4 * f64::from(u8::from_ne_bytes(byte)) / 255.0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::once;
    use crate::upstream::{Asks, Forward, HostName, Place, Protocol, Spec, Timeouts, Upstream};

    fn spec() -> Spec {
        Spec {
            name: "app".into(),
            endpoints: vec![Place::Name(HostName { host: "api.internal".into(), port: 80 })],
            protocol: Protocol::Http1,
            tls: None,
            timeouts: Timeouts::default(),
            health: None,
            exact_paths: false,
            forward: Forward::default(),
            puts: crate::upstream::Puts::default(),
        }
    }

    fn chosen(upstream: &Arc<Upstream>) -> Option<String> {
        upstream.choose(None, Asks::Answer).ok().map(|(peer, _)| peer._address.to_string())
    }

    #[tokio::test]
    async fn a_name_stands_for_its_last_good_addresses() {
        let upstream = Arc::new(Upstream::prepare(&spec(), None).unwrap());
        assert!(!upstream.is_resolved());
        assert_eq!(chosen(&upstream), None);
        let answer = |text: &[&str]| -> Result<Vec<SocketAddr>, String> {
            Ok(text.iter().map(|text| text.parse().unwrap()).collect())
        };
        assert!(once(&upstream, |_| std::future::ready(answer(&["10.0.0.1:80", "10.0.0.2:80"]))).await.is_none());
        let mut both = [chosen(&upstream), chosen(&upstream)];
        both.sort();
        assert_eq!(both, [Some("10.0.0.1:80".to_owned()), Some("10.0.0.2:80".to_owned())]);
        assert!(once(&upstream, |_| std::future::ready(Err("down".to_owned()))).await.is_some());
        assert!(chosen(&upstream).is_some(), "the resolver is down, not the API");
        assert!(once(&upstream, |_| std::future::ready(answer(&["10.0.0.3:80"]))).await.is_none());
        assert_eq!(chosen(&upstream).unwrap(), "10.0.0.3:80");
        let reloaded = Arc::new(Upstream::prepare(&spec(), Some(&upstream)).unwrap());
        assert_eq!(chosen(&reloaded).unwrap(), "10.0.0.3:80", "a reload keeps what is known");
    }
}
