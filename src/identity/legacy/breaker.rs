//! Stops asking a server that does not answer, and asks again once it does.
//!
//! Silence proves nothing of the server: a stranger may hold a credential that it chokes on, or that makes its gateway
//! say 504. So failures of questions open nothing by themselves. Many in a row, with no answer in between or shortly
//! before, are a suspicion, which a probe settles: a question about a credential that crossgate makes up, and that no
//! stranger can choose. Only a probe that fails too opens the breaker, and the first answer to anything closes it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Now;

/// Failures in a row that are a suspicion.
const FAILURES: u32 = 5;
/// A server that answered so lately is there, whatever fails beside.
const LATELY: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// While open, a question of anybody's is let through so often: a server may answer people and not the probe.
const TRIAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    failures: u32,
    answered_at: Option<Instant>,
    is_open: bool,
    /// Failures of the probe in a row, where one is under way.
    probed: Option<u32>,
    next_trial: Option<Instant>,
}

/// What comes after a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    ProbeAfter(Duration),
    Done,
}

impl State {
    fn answered_lately(&self, now: Now) -> bool {
        self.answered_at.is_some_and(|at| now.mono.saturating_duration_since(at) < LATELY)
    }
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().is_open
    }

    /// Whether a question of anybody's is let through, without taking the leave.
    pub(super) fn would_let_ask(&self, now: Now) -> bool {
        let state = self.state();
        !state.is_open || state.next_trial.is_none_or(|at| now.mono >= at)
    }

    /// Whether to ask now.
    pub(super) fn lets_ask(&self, now: Now) -> bool {
        let mut state = self.state();
        if !state.is_open {
            return true;
        }
        if state.next_trial.is_some_and(|at| now.mono < at) {
            return false;
        }
        state.next_trial = Some(now.mono + TRIAL);
        true
    }

    pub(super) fn answered(&self, now: Now) {
        let mut state = self.state();
        *state = State { answered_at: Some(now.mono), probed: state.probed, ..State::default() };
    }

    /// Whether the caller is to probe, and to tell how it went by [`Breaker::probed`]. One at a time.
    #[must_use]
    pub(super) fn failed(&self, now: Now) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let is_suspect = state.failures >= FAILURES && !state.answered_lately(now);
        if !is_suspect || state.probed.is_some() {
            return false;
        }
        state.probed = Some(0);
        true
    }

    pub(super) fn probed(&self, answered: bool, now: Now) -> Next {
        let mut state = self.state();
        if answered {
            *state = State { answered_at: Some(now.mono), ..State::default() };
            return Next::Done;
        }
        if state.answered_lately(now) {
            *state = State { answered_at: state.answered_at, ..State::default() };
            return Next::Done;
        }
        if !state.is_open {
            state.is_open = true;
            state.next_trial = Some(now.mono + TRIAL);
        }
        let failures = state.probed.unwrap_or(0);
        state.probed = Some(failures.saturating_add(1));
        Next::ProbeAfter(FIRST_PAUSE.saturating_mul(1 << failures.min(4)).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Breaker, FAILURES, Next};
    use crate::clock::Now;

    const fn after_s(seconds: u64) -> Next {
        Next::ProbeAfter(Duration::from_secs(seconds))
    }

    fn suspected(now: Now) -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert!(!breaker.failed(now));
        }
        assert!(breaker.failed(now), "time for a probe");
        assert!(!breaker.failed(now), "one at a time");
        assert!(!breaker.is_open() && breaker.lets_ask(now), "a suspicion shuts nobody out");
        breaker
    }

    #[test]
    fn a_probe_that_fails_opens_and_the_first_answer_closes() {
        let start = Now::at_unix_ms(0);
        for closes in [
            |breaker: &Breaker, now| breaker.answered(now),
            |breaker: &Breaker, now| {
                assert_eq!(breaker.probed(true, now), Next::Done);
            },
        ] {
            let breaker = suspected(start);
            assert_eq!(breaker.probed(false, start), after_s(1));
            assert!(breaker.is_open() && !breaker.would_let_ask(start) && !breaker.lets_ask(start));
            assert_eq!(breaker.probed(false, start), after_s(2));
            assert_eq!(breaker.probed(false, start), after_s(4));
            for _ in 0..100 {
                assert_eq!(breaker.probed(false, start), after_s(5), "never longer");
            }
            let later = start.plus(Duration::from_secs(1));
            assert!(breaker.would_let_ask(later) && breaker.lets_ask(later), "one of anybody's");
            assert!(!breaker.would_let_ask(later) && !breaker.lets_ask(later), "and only one");
            closes(&breaker, later);
            assert!(!breaker.is_open() && breaker.lets_ask(later));
        }
    }

    #[test]
    fn a_server_that_answered_lately_is_there() {
        let start = Now::at_unix_ms(0);
        let breaker = Breaker::default();
        breaker.answered(start);
        let soon = start.plus(Duration::from_millis(2999));
        for _ in 0..100 {
            assert!(!breaker.failed(soon));
        }
        assert!(breaker.failed(start.plus(Duration::from_secs(3))));
        breaker.answered(soon);
        assert_eq!(breaker.probed(false, soon), Next::Done, "people are answered, the probe alone is not");
        assert!(!breaker.is_open());
    }

    #[test]
    fn answers_while_a_probe_is_under_way_start_no_second_one() {
        let start = Now::at_unix_ms(0);
        let breaker = suspected(start);
        breaker.answered(start);
        let later = start.plus(Duration::from_secs(10));
        for _ in 0..100 {
            assert!(!breaker.failed(later));
        }
        assert_eq!(breaker.probed(true, later), Next::Done);
        let later = later.plus(Duration::from_secs(10));
        assert_eq!((0..FAILURES).filter(|_| breaker.failed(later)).count(), 1);
    }
}
