//! The circuit breaker of an upstream: an API that fails mostly is left alone for a while, then tried with one request.
//!
//! ```text
//! closed ── 20 or more in 10 s, half of them failed ──> open (5 s) ──> one trial ── answered ──> closed
//!                                                         ^────────────── failed ──────┘
//! ```
//!
//! Counts what it is told; what is a failure of the API, and what is not, is told in `attempt`. Atomics only: two requests
//! in the same instant may miscount by one, and nothing waits. Times are milliseconds of [`super::stamp`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Seconds that are looked back on.
const WINDOW: usize = 10;
/// Fewer attempts than this prove nothing.
const ENOUGH: u32 = 20;
/// How long it stays open before a trial.
const OPEN_MS: u64 = 5_000;
/// A trial that nobody has heard of for this long is given up, and another is let through.
const TRIAL_MS: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    window: [Second; WINDOW],
    /// 0 while closed.
    open_until: AtomicU64,
    /// 0 while nobody tries.
    trial_until: AtomicU64,
    opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Second {
    number: AtomicU64,
    total: AtomicU32,
    failed: AtomicU32,
}

/// How a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Ordinary,
    /// The one request that decides whether it closes again.
    Trial,
}

impl Breaker {
    /// `None` while open.
    pub(super) fn admit(&self, now: u64) -> Option<Pass> {
        let until = self.open_until.load(Ordering::Acquire);
        if until == 0 {
            return Some(Pass::Ordinary);
        }
        if now < until {
            return None;
        }
        let trial = self.trial_until.load(Ordering::Acquire);
        if now < trial {
            return None;
        }
        let taken = self.trial_until.compare_exchange(trial, now + TRIAL_MS, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok().then_some(Pass::Trial)
    }

    /// The API answered.
    pub(super) fn answered(&self, pass: Pass, now: u64) {
        if pass == Pass::Trial {
            self.window.iter().for_each(|second| second.begin(0));
            self.open_until.store(0, Ordering::Release);
            self.trial_until.store(0, Ordering::Release);
        }
        if let Some(second) = self.second(now) {
            second.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The API failed. `counted`: this attempt was counted when its answer began.
    pub(super) fn failed(&self, pass: Pass, counted: bool, now: u64) {
        if let Some(second) = self.second(now) {
            second.total.fetch_add(u32::from(!counted), Ordering::Relaxed);
            second.failed.fetch_add(1, Ordering::Relaxed);
        }
        match pass {
            Pass::Trial => self.open(now),
            Pass::Ordinary if self.open_until.load(Ordering::Acquire) == 0 => {
                let (total, failed) = self.sums(now);
                if total >= ENOUGH && failed.saturating_mul(2) >= total {
                    self.open(now);
                }
            }
            Pass::Ordinary => {}
        }
    }

    /// A trial ended without telling anything about the API: the next request may try.
    pub(super) fn release(&self, pass: Pass) {
        if pass == Pass::Trial {
            self.trial_until.store(0, Ordering::Release);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != 0
    }

    /// Times that it opened, trials that failed included.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn open(&self, now: u64) {
        self.open_until.store(now + OPEN_MS, Ordering::Release);
        self.trial_until.store(0, Ordering::Release);
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    fn second(&self, now: u64) -> Option<&Second> {
        let number = now / 1000;
        let second = self.window.get(usize::try_from(number).ok()? % WINDOW)?;
        let seen = second.number.load(Ordering::Relaxed);
        if seen != number && second.number.compare_exchange(seen, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            second.total.store(0, Ordering::Relaxed);
            second.failed.store(0, Ordering::Relaxed);
        }
        Some(second)
    }

    fn sums(&self, now: u64) -> (u32, u32) {
        let oldest = (now / 1000).saturating_sub(WINDOW as u64 - 1);
        let recent = self.window.iter().filter(|second| second.number.load(Ordering::Relaxed) >= oldest);
        recent.fold((0, 0), |(total, failed), second| {
            (total + second.total.load(Ordering::Relaxed), failed + second.failed.load(Ordering::Relaxed))
        })
    }
}

impl Second {
    fn begin(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Pass};

    /// Good and bad attempts, and when.
    type Step = (u32, u32, u64);

    fn fill(breaker: &Breaker, good: u32, bad: u32, now: u64) {
        (0..good).for_each(|_| breaker.answered(Pass::Ordinary, now));
        (0..bad).for_each(|_| breaker.failed(Pass::Ordinary, false, now));
    }

    #[test]
    fn opens_at_half_of_twenty_within_ten_seconds() {
        // Name, steps, whether it is open then.
        let cases: [(&str, &[Step], bool); 6] = [
            ("nineteen are too few", &[(0, 19, 5_000)], false),
            ("twenty failures", &[(0, 20, 5_000)], true),
            ("half", &[(10, 10, 5_000)], true),
            ("less than half", &[(11, 10, 5_000)], false),
            ("spread over ten seconds", &[(0, 10, 1_000), (0, 10, 10_900)], true),
            ("the first ones are forgotten", &[(0, 10, 1_000), (0, 10, 11_000)], false),
        ];
        for (name, steps, open) in cases {
            let breaker = Breaker::default();
            steps.iter().for_each(|(good, bad, at)| fill(&breaker, *good, *bad, *at));
            assert_eq!(breaker.is_open(), open, "{name}");
        }
    }

    #[test]
    fn an_answer_that_broke_off_is_one_attempt() {
        let breaker = Breaker::default();
        (0..19).for_each(|_| {
            breaker.answered(Pass::Ordinary, 1);
            breaker.failed(Pass::Ordinary, true, 1);
        });
        assert!(!breaker.is_open());
        breaker.failed(Pass::Ordinary, false, 1);
        assert!(breaker.is_open());
    }

    #[test]
    fn one_trial_at_a_time_decides() {
        let breaker = Breaker::default();
        fill(&breaker, 0, 20, 1_000);
        assert_eq!(breaker.admit(5_999), None);
        assert_eq!(breaker.admit(6_000), Some(Pass::Trial));
        assert_eq!(breaker.admit(6_001), None, "only one");
        breaker.failed(Pass::Trial, false, 7_000);
        assert_eq!(breaker.admit(11_999), None, "open again");
        assert_eq!(breaker.admit(12_000), Some(Pass::Trial));
        breaker.release(Pass::Trial);
        assert_eq!(breaker.admit(12_001), Some(Pass::Trial), "a client that went away decided nothing");
        breaker.answered(Pass::Trial, 12_100);
        assert_eq!(breaker.admit(12_101), Some(Pass::Ordinary));
        breaker.failed(Pass::Ordinary, false, 12_102);
        assert!(!breaker.is_open(), "what was before is forgotten");
    }

    #[test]
    fn a_lost_trial_does_not_close_the_door_for_good() {
        let breaker = Breaker::default();
        fill(&breaker, 0, 20, 1_000);
        assert_eq!(breaker.admit(6_000), Some(Pass::Trial));
        assert_eq!(breaker.admit(35_999), None);
        assert_eq!(breaker.admit(36_000), Some(Pass::Trial));
    }
}
