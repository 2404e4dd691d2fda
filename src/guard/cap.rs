//! How many connections there may be, in all and from one peer.
//!
//! Without a cap one client with many sockets takes the descriptors of all others. Counted by whoever holds a [`Slot`];
//! a lock is taken only at a connection's start and end. IPv6 peers are counted by /64, since one subscriber has at
//! least that many addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `limits.connections` and `limits.connections_per_peer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapLimits {
    pub all: usize,
    /// `None` is no limit: behind a balancer all clients share its address.
    pub per_peer: Option<usize>,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Cap {
    open: AtomicUsize,
    by_peer: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    cap: Arc<Cap>,
    peer: Option<IpAddr>,
}

impl Cap {
    /// A slot, unless a limit is reached. `peer` is `None` for a unix socket.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>, limits: CapLimits) -> Option<Slot> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.all {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let slot = Slot { cap: Arc::clone(self), peer: peer.filter(|_| limits.per_peer.is_some()).map(subscriber) };
        let (Some(peer), Some(limit)) = (slot.peer, limits.per_peer) else { return Some(slot) };
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_peer.entry(peer).or_insert(0);
        *count += 1;
        let over = *count > limit;
        drop(by_peer);
        // Dropping the slot takes the count back.
        (!over).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.cap.open.fetch_sub(1, Ordering::Relaxed);
        let Some(peer) = self.peer else { return };
        let mut by_peer = self.cap.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_peer.remove(&peer);
            }
        }
    }
}

/// Whom an address stands for: itself, or its /64.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Cap, CapLimits};

    #[test]
    fn slots_are_counted_and_given_back() {
        let cap = Arc::new(Cap::default());
        let limits = CapLimits { all: 3, per_peer: Some(2) };
        let from = |text: &str| cap.admit(Some(text.parse().unwrap()), limits);
        let first = from("192.0.2.1");
        let second = from("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(from("192.0.2.1").is_none(), "the third of one peer");
        let third = from("2001:db8::1");
        assert!(third.is_some());
        assert!(cap.admit(None, limits).is_none(), "the fourth of all");
        drop(first);
        let again = from("192.0.2.1");
        assert!(again.is_some(), "a place is free again");
        drop((second, third, again));
        assert!(cap.by_peer.lock().unwrap().is_empty(), "nothing is remembered of peers that left");
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_peer() {
        let cap = Arc::new(Cap::default());
        let limits = CapLimits { all: 9, per_peer: Some(1) };
        let _one = cap.admit(Some("2001:db8:0:1::1".parse().unwrap()), limits).unwrap();
        assert!(cap.admit(Some("2001:db8:0:1:ffff::2".parse().unwrap()), limits).is_none());
        assert!(cap.admit(Some("2001:db8:0:2::1".parse().unwrap()), limits).is_some());
    }
}
