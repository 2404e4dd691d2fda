//! Stops asking a server that does not answer, and tries again with growing pauses.
//!
//! Only what no credential can cause counts: silence, no connection, and a gateway that says that nobody is behind it.
//! A stranger who finds a token that the server chokes on with a 500 closes nothing for anybody else.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Now;

const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A trial that never reports back holds the breaker no longer than that.
const TRIAL: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self, now: Now) -> bool {
        self.state().open_until.is_some_and(|until| now.mono < until)
    }

    /// Whether to ask now. After a pause one question is let through; the others wait for how it fares.
    pub(super) fn lets_ask(&self, now: Now) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(until) if now.mono < until => false,
            Some(_) => {
                state.open_until = Some(now.mono + TRIAL);
                true
            }
        }
    }

    pub(super) fn answered(&self) {
        *self.state() = State::default();
    }

    pub(super) fn failed(&self, now: Now) {
        let mut state = self.state();
        // Many may fail together; they are one failure of the server once it is known.
        state.failures = state.failures.saturating_add(1).min(FAILURES + 6);
        if state.failures >= FAILURES {
            let pause = FIRST_PAUSE.saturating_mul(1 << (state.failures - FAILURES).min(5)).min(LONGEST_PAUSE);
            state.open_until = Some(now.mono + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Breaker, FAILURES};
    use crate::clock::Now;

    #[test]
    fn opens_tries_and_closes() {
        let breaker = Breaker::default();
        let start = Now::at_unix_ms(0);
        for _ in 1..FAILURES {
            breaker.failed(start);
        }
        assert!(!breaker.is_open(start) && breaker.lets_ask(start));
        breaker.failed(start);
        assert!(breaker.is_open(start) && !breaker.lets_ask(start));
        let later = start.plus(Duration::from_secs(1));
        assert!(!breaker.is_open(later));
        assert!(breaker.lets_ask(later), "one trial");
        assert!(!breaker.lets_ask(later) && breaker.is_open(later), "and only one");
        breaker.failed(later);
        assert!(breaker.is_open(later.plus(Duration::from_millis(1999))), "a longer pause");
        assert!(!breaker.is_open(later.plus(Duration::from_secs(2))));
        breaker.answered();
        assert!(breaker.lets_ask(later));
        for _ in 0..100 {
            breaker.failed(later);
        }
        assert!(!breaker.is_open(later.plus(Duration::from_secs(30))), "never longer than half a minute");
    }
}
