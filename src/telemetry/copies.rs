//! Copies of lines that are whole already, on their way to the writer of a log: bounded by bytes.
//!
//! Whoever makes them must not wait for who reads them, and a batch may have megabytes, so that a bound on the number of
//! batches would be none. Owns what is dropped and how often that is told. Never writes: the log's own thread takes them,
//! between its lines, as two writers on one stdout would break each other's.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that wait, at most.
pub(super) const MOST: usize = 8 << 20;

/// What became of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// On their way.
    Queued,
    /// On their way, the first after so many lines that were not.
    Again { missing: u64 },
    /// No room: so many lines are dropped. `first` of this stall.
    Dropped { lines: u64, first: bool },
}

#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines dropped since there was room.
    missing: u64,
    /// The log's thread knows that something waits.
    awake: bool,
}

impl Copies {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues whole lines; true beside it: the log's thread is to be woken.
    pub(super) fn push(&self, lines: &[u8]) -> (Copied, bool) {
        let mut state = self.state();
        if state.bytes + lines.len() > MOST {
            let dropped = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            let first = state.missing == 0;
            state.missing += dropped;
            return (Copied::Dropped { lines: dropped, first }, false);
        }
        state.bytes += lines.len();
        state.waiting.push_back(lines.to_vec());
        let wake = !std::mem::replace(&mut state.awake, true);
        let copied = match std::mem::take(&mut state.missing) {
            0 => Copied::Queued,
            missing => Copied::Again { missing },
        };
        (copied, wake)
    }

    /// The next ones, in order. They count until [`Self::written`].
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.awake = !state.waiting.is_empty();
        state.waiting.pop_front()
    }

    /// So many bytes are out of the way.
    pub(super) fn written(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Copied, Copies, MOST};

    #[test]
    fn what_has_no_room_is_dropped_counted_and_told_once() {
        let copies = Copies::default();
        let half = [vec![b'x'; MOST / 2 - 1], b"\n".to_vec()].concat();
        assert_eq!(copies.push(&half), (Copied::Queued, true));
        assert_eq!(copies.push(&half), (Copied::Queued, false), "woken already");
        assert_eq!(copies.push(b"a\nb\n"), (Copied::Dropped { lines: 2, first: true }, false));
        assert_eq!(copies.push(b"c\n"), (Copied::Dropped { lines: 1, first: false }, false));
        // What is being written is not out of the memory yet.
        let taken = copies.next().unwrap();
        assert_eq!(copies.push(b"d\n"), (Copied::Dropped { lines: 1, first: false }, false));
        copies.written(taken.len());
        assert_eq!(copies.push(b"e\n"), (Copied::Again { missing: 4 }, false));
        assert_eq!(copies.push(&half).0, Copied::Dropped { lines: 1, first: true }, "the next stall");
        assert_eq!((copies.next().unwrap().len(), copies.next().unwrap()), (half.len(), b"e\n".to_vec()));
        assert_eq!(copies.next(), None);
        assert!(copies.push(b"f\n").1, "asleep again");
    }
}
