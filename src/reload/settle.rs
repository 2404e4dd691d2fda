//! When a change counts: once the files looked the same for a while.
//!
//! Editors write in pieces, or remove a file and put another in its place; configuration maps turn a link after the files
//! are there. Who reads in the middle reads half. Knows neither files nor the clock: both are arguments.

use std::time::{Duration, Instant};

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All is as it was read.
    Rest,
    /// Something changed; look again after this time.
    Wait(Duration),
    /// It changed and stays so.
    Load,
}

/// Tells one change from the next.
#[derive(Debug)]
pub(super) struct Settle<S> {
    quiet: Duration,
    /// As it was read the last time, whatever came of it.
    known: S,
    /// What was seen instead, and since when.
    seen: Option<(S, Instant)>,
    /// Since when something differs, however often it changed meanwhile.
    unsettled: Option<Instant>,
}

impl<S: PartialEq> Settle<S> {
    pub(super) fn new(known: S, quiet: Duration) -> Self {
        Self { quiet, known, seen: None, unsettled: None }
    }

    /// What is there at this moment.
    pub(super) fn see(&mut self, seen: S, now: Instant) -> Step {
        if seen == self.known {
            self.seen = None;
            self.unsettled = None;
            return Step::Rest;
        }
        self.unsettled.get_or_insert(now);
        match &self.seen {
            Some((before, since)) if *before == seen => {
                let left = self.quiet.saturating_sub(now.saturating_duration_since(*since));
                if left.is_zero() { Step::Load } else { Step::Wait(left) }
            }
            _ => {
                self.seen = Some((seen, now));
                Step::Wait(self.quiet)
            }
        }
    }

    /// It was read, and looked like this: the same is not read again, good or bad.
    pub(super) fn read(&mut self, known: S) {
        self.known = known;
        self.seen = None;
        self.unsettled = None;
    }

    /// It could not be read at all: not before it changes again.
    pub(super) fn give_up(&mut self) {
        self.unsettled = None;
        if let Some((seen, _)) = self.seen.take() {
            self.known = seen;
        }
    }

    /// How long it has not come to rest.
    pub(super) fn restless(&self, now: Instant) -> Duration {
        self.unsettled.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Settle, Step};

    /// Moments in milliseconds, what is seen then, and what follows; after `Load` it is read as seen.
    fn play(story: &[(u64, &str, Step)]) {
        let begun = Instant::now();
        let mut settle = Settle::new("good", Duration::from_millis(500));
        for (at, seen, want) in story {
            let step = settle.see(*seen, begun + Duration::from_millis(*at));
            assert_eq!(step, *want, "at {at} ms, seeing {seen}");
            if step == Step::Load {
                settle.read(*seen);
            }
        }
    }

    const fn wait(ms: u64) -> Step {
        Step::Wait(Duration::from_millis(ms))
    }

    #[test]
    fn a_change_counts_when_it_stayed() {
        play(&[
            (0, "good", Step::Rest),
            (1_000, "new", wait(500)),
            (1_200, "new", wait(300)),
            (1_499, "new", wait(1)),
            (1_500, "new", Step::Load),
            (1_600, "new", Step::Rest),
        ]);
    }

    #[test]
    fn a_file_that_is_written_in_pieces_is_read_once() {
        play(&[
            (0, "n", wait(500)),
            (400, "ne", wait(500)),
            (800, "new", wait(500)),
            (1_299, "new", wait(1)),
            (1_300, "new", Step::Load),
            (9_000, "new", Step::Rest),
        ]);
    }

    #[test]
    fn a_file_that_comes_back_in_time_was_never_gone() {
        play(&[(0, "gone", wait(500)), (300, "good", Step::Rest), (900, "good", Step::Rest)]);
        // As another file: the time begins anew.
        play(&[(0, "gone", wait(500)), (499, "new", wait(500)), (999, "new", Step::Load)]);
    }

    #[test]
    fn what_was_refused_is_not_tried_again_until_it_changes() {
        play(&[
            (0, "bad", wait(500)),
            (500, "bad", Step::Load),
            (2_000, "bad", Step::Rest),
            (60_000, "bad", Step::Rest),
            (61_000, "good", wait(500)),
            (61_500, "good", Step::Load),
        ]);
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let now = Instant::now();
        let mut settle = Settle::new("good", Duration::from_millis(500));
        settle.read("torn");
        assert_eq!(settle.see("new", now), wait(500));
        assert_eq!(settle.see("new", now + Duration::from_millis(500)), Step::Load);
    }

    #[test]
    fn what_could_not_be_read_waits_for_a_change() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut settle = Settle::new("good", Duration::from_millis(500));
        assert_eq!(settle.see("worse", at(0)), wait(500));
        assert_eq!(settle.see("worse", at(500)), Step::Load);
        settle.give_up();
        assert_eq!(settle.see("worse", at(2_000)), Step::Rest);
        assert_eq!(settle.see("good", at(3_000)), wait(500));
    }

    #[test]
    fn restlessness_counts_from_the_first_change() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut settle = Settle::new(0, Duration::from_millis(500));
        for step in 1..100_u64 {
            assert_eq!(settle.see(step, at(step * 400)), wait(500));
        }
        assert_eq!(settle.restless(at(40_000)), Duration::from_millis(39_600));
        assert_eq!(settle.see(0, at(41_000)), Step::Rest);
        assert_eq!(settle.restless(at(42_000)), Duration::ZERO);
    }
}
