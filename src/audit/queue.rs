//! The queue between the threads that serve and the one that writes: bounded by entries and by bytes.
//!
//! Owns what happens when there is no room: who waits is told so at once, who does not wait loses the entry, and of a
//! lost outcome the attempt's id is kept, so that it is written as unknown later. Never waits for the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::chain::MAX_LINE;
use super::entry::{Event, Id};

/// Most entries in the queue.
pub(super) const MAX_ENTRIES: usize = 4096;
/// Most bytes in the queue.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Most ids kept of outcomes that found no room, and of attempts whose caller left.
const MAX_IDS: usize = 1 << 16;
/// Most bytes of what stands before a body in a line: `seq` of 20 digits, two hashes, their names, the line feed.
const HEAD: usize = 192;

/// What an entry means to the trail's own book of attempts without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Attempt(Id),
    /// Of the attempt with that id.
    Outcome(Id),
    Other,
}

/// An entry on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) event: Event,
    /// The line from `"id"` on.
    pub(super) body: Vec<u8>,
    /// Somebody waits for it to be durable.
    pub(super) ack: Option<Ack>,
}

/// Where somebody waits.
#[derive(Debug)]
pub(super) struct Ack {
    told: oneshot::Sender<()>,
    /// Who waited acts, durable or not: the entry is true however late it comes.
    acts: Arc<AtomicBool>,
}

/// The other end of an [`Ack`].
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) told: oneshot::Receiver<()>,
    acts: Arc<AtomicBool>,
}

impl Ack {
    pub(super) fn new() -> (Self, Durable) {
        let (ack, told) = oneshot::channel();
        let acts = Arc::<AtomicBool>::default();
        (Self { told: ack, acts: Arc::clone(&acts) }, Durable { told, acts })
    }

    fn is_void(&self) -> bool {
        self.told.is_closed() && !self.acts.load(Relaxed)
    }

    /// Whether somebody learned of it, or need not.
    pub(super) fn tell(self) -> bool {
        self.told.send(()).is_ok() || self.acts.load(Relaxed)
    }
}

impl Durable {
    /// From now on the entry stands, although nobody waits for it any more.
    pub(super) fn act(&self) {
        self.acts.store(true, Relaxed);
    }
}

impl Item {
    /// Who waited has given up: it need not be written.
    pub(super) fn abandoned(&self) -> bool {
        self.ack.as_ref().is_some_and(Ack::is_void)
    }

    /// Bytes of its line, at most.
    pub(super) fn size(&self) -> usize {
        self.body.len() + HEAD
    }
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    /// The trail cannot be written now, or ends.
    Closed,
}

/// What the writer has to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) items: Vec<Item>,
    /// Attempts whose outcome found no room.
    pub(super) lost: Vec<Id>,
    /// Attempts that are durable, but whose caller left without learning it.
    pub(super) unsent: Vec<Id>,
    pub(super) ending: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    lost: Vec<Id>,
    unsent: Vec<Id>,
    /// Who waits for durability is let in.
    open: bool,
    ending: bool,
    ended: bool,
    /// The writer sleeps; otherwise it looks here by itself before it does.
    asleep: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code runs under the lock that could leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry; one that somebody waits for only while the trail can be written.
    pub(super) fn push(&self, item: Item) -> Result<(), Refused> {
        let mut state = self.state();
        if state.ending || (item.ack.is_some() && !state.open) {
            return Err(Refused::Closed);
        }
        let bytes = item.size();
        let room = state.items.len() < MAX_ENTRIES && state.bytes + bytes <= MAX_BYTES;
        if !room || bytes > MAX_LINE {
            if let Kind::Outcome(attempt) = item.kind {
                keep(&mut state.lost, attempt);
            }
            return Err(Refused::Full);
        }
        state.bytes += bytes;
        state.items.push_back(item);
        self.nudge(&mut state);
        Ok(())
    }

    /// Notes that an attempt is durable and nobody knows.
    pub(super) fn unsent(&self, attempt: Id) {
        let mut state = self.state();
        keep(&mut state.unsent, attempt);
        self.nudge(&mut state);
    }

    fn nudge(&self, state: &mut State) {
        if std::mem::take(&mut state.asleep) {
            self.wake.notify_all();
        }
    }

    /// Waits for work until `deadline`. With `items` false for the end alone: what is queued stays queued.
    pub(super) fn take(&self, deadline: Instant, items: bool, most_bytes: usize) -> Work {
        let mut state = self.state();
        loop {
            let due = items && !(state.items.is_empty() && state.lost.is_empty() && state.unsent.is_empty());
            let left = deadline.saturating_duration_since(Instant::now());
            if due || state.ending || left.is_zero() {
                break;
            }
            state.asleep = true;
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.asleep = false;
        let mut work = Work { ending: state.ending, ..Work::default() };
        if items {
            let mut bytes = 0;
            while bytes < most_bytes {
                let Some(item) = state.items.pop_front() else { break };
                bytes += item.size();
                work.items.push(item);
            }
            state.bytes = state.bytes.saturating_sub(bytes);
            work.lost = std::mem::take(&mut state.lost);
            work.unsent = std::mem::take(&mut state.unsent);
        }
        work
    }

    /// Lets those in who wait.
    pub(super) fn open(&self) {
        self.state().open = true;
    }

    /// Lets nobody in who waits, and out who does: dropping an item tells its caller.
    pub(super) fn shut(&self) {
        let mut state = self.state();
        state.open = false;
        let (kept, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.items).into_iter().partition(|item| item.ack.is_none());
        state.bytes = kept.iter().map(Item::size).sum();
        state.items = kept;
        drop(state);
        drop(waiting);
    }

    /// Lets nothing in any more, and the writer end when it has written what is there.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ending = true;
        self.nudge(&mut state);
    }

    /// The writer is gone.
    pub(super) fn ended(&self) {
        self.shut();
        let mut state = self.state();
        (state.ending, state.ended) = (true, true);
        self.wake.notify_all();
    }

    /// Waits for the writer to be gone, until `deadline`; whether it is.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.state();
        state.open && !state.ending
    }

    /// Entries and bytes in it.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.state();
        (state.items.len(), state.bytes)
    }
}

fn keep(ids: &mut Vec<Id>, id: Id) {
    if ids.len() < MAX_IDS {
        ids.push(id);
    }
}
