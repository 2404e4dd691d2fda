//! Questions about unknown credentials that one address may have under way at once.
//!
//! A server that judges credentials answers a bounded number at a time, all clients together. Without this, whoever comes
//! with thousands of invented ones at once would stand before everybody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Half of what `identity::legacy` asks at once: no address has it all.
const EACH: usize = 32;
/// Longest wait for a turn. About what an answer may take.
const WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Option<IpAddr>, Arc<Semaphore>>>);

/// A turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    address: Option<IpAddr>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Turns {
    fn by_address(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of this address; `None`: it took too long.
    pub(super) async fn take(&self, address: Option<IpAddr>) -> Option<Turn<'_>> {
        let turns = Arc::clone(self.by_address().entry(address).or_insert_with(|| Arc::new(Semaphore::new(EACH))));
        // Made before the wait: whoever gives up, or whose client goes away, leaves nothing behind.
        let mut turn = Turn { turns: self, address, turn: None };
        turn.turn = tokio::time::timeout(WAIT, turns.acquire_owned()).await.ok()?.ok();
        turn.turn.is_some().then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut by_address = self.turns.by_address();
        // Those who wait or hold a turn hold the semaphore, too; under the lock nobody comes in between.
        if by_address.get(&self.address).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            by_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{EACH, Turns};

    #[tokio::test(start_paused = true)]
    async fn an_address_waits_for_itself_alone_and_nothing_stays_behind() {
        let turns = Arc::new(Turns::default());
        let (one, other) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let mut held = Vec::new();
        for _ in 0..EACH {
            held.push(turns.take(one).await.unwrap());
        }
        assert!(turns.take(one).await.is_none(), "after a while it gives up");
        assert!(turns.take(other).await.is_some());
        assert_eq!(turns.by_address().len(), 1);

        let waits = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(one).await.is_some() }
        });
        tokio::task::yield_now().await;
        held.pop();
        assert!(waits.await.unwrap(), "the next in the row");
        drop(held);
        assert!(turns.by_address().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_away_leaves_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let mut held = Vec::new();
        for _ in 0..EACH {
            held.push(turns.take(None).await.unwrap());
        }
        let gone = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(None).await.is_some() }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err());
        drop(held);
        assert!(turns.by_address().is_empty());
    }
}
