//! Connections that are about to make a request, counted, so that a drain does not end between the two. Those that speak
//! HTTP/2 count as long as they live: told to go, they end by themselves, with all that was written for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many connections may have a request under way that no gate has seen yet, or an answer that has not left.
#[derive(Debug, Default)]
pub struct Young(AtomicUsize);

impl Young {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection's part of the count.
#[derive(Debug)]
pub struct Mark {
    all: Arc<Young>,
    set: AtomicBool,
}

impl Mark {
    /// A new connection: what it was made for is still to come.
    pub fn new(all: Arc<Young>) -> Self {
        all.0.fetch_add(1, Ordering::Relaxed);
        Self { all, set: AtomicBool::new(true) }
    }

    pub(super) fn set(&self, young: bool) {
        if self.set.swap(young, Ordering::Relaxed) == young {
            return;
        }
        if young {
            self.all.0.fetch_add(1, Ordering::Relaxed);
        } else {
            self.all.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.set(false);
    }
}
