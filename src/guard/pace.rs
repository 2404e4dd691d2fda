//! How quickly a client sends its body: `limits.body_read` between two pieces, `limits.body_min_rate` on the whole.
//!
//! Only the time in which the client is waited for counts, so that an API which takes a body slowly is not held
//! against the client. The first seconds are free: a connection has to get going. HTTP/1 only; HTTP/2 connections carry
//! many bodies at once, and the gate watches each.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Waiting that `limits.body_min_rate` does not count.
pub const GRACE: Duration = Duration::from_secs(5);

/// What is asked of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceLimits {
    pub silence: Duration,
    /// Bytes per second; above zero.
    pub rate: Option<u64>,
}

/// Why a body was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    Silent,
    Rate,
}

impl Slow {
    /// As access lines say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "body_read",
            Self::Rate => "body_min_rate",
        }
    }
}

/// Follows one body.
#[derive(Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    taken: u64,
    /// All of the waiting that is over.
    waited: Duration,
    /// The present wait, with the time at which it is too long.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    pub(super) fn new(limits: PaceLimits) -> Self {
        Self { limits, taken: 0, waited: Duration::ZERO, waiting: None }
    }

    pub(super) fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing has come; `Some` when it is enough.
    pub(super) fn waits(&mut self, context: &mut Context<'_>) -> Option<Slow> {
        let left = self.left();
        let patience = left.unwrap_or(self.limits.silence).min(self.limits.silence);
        let (_, timer) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + patience)))
        });
        if timer.as_mut().poll(context).is_pending() {
            return None;
        }
        Some(if left.is_some_and(|left| left < self.limits.silence) { Slow::Rate } else { Slow::Silent })
    }

    /// Waiting that what has come so far pays for.
    fn left(&self) -> Option<Duration> {
        let rate = self.limits.rate?;
        let earned = Duration::from_millis(self.taken.saturating_mul(1000).checked_div(rate)?);
        Some(GRACE.saturating_add(earned).saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{GRACE, Pace, PaceLimits, Slow};

    async fn wait(pace: &mut Pace, seconds: u64) -> Option<Slow> {
        let mut context = Context::from_waker(Waker::noop());
        let before = pace.waits(&mut context);
        tokio::time::advance(Duration::from_secs(seconds)).await;
        before.or_else(|| pace.waits(&mut context))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_bounded_and_does_not_add_up() {
        let mut pace = Pace::new(PaceLimits { silence: Duration::from_secs(10), rate: None });
        for _ in 0..5 {
            assert_eq!(wait(&mut pace, 9).await, None);
            pace.took(1);
        }
        assert_eq!(wait(&mut pace, 11).await, Some(Slow::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_rate_ends_after_the_grace() {
        let mut pace = Pace::new(PaceLimits { silence: Duration::from_secs(60), rate: Some(1000) });
        let mut seconds = 0;
        let slow = loop {
            if let Some(slow) = wait(&mut pace, 1).await {
                break slow;
            }
            pace.took(500);
            seconds += 1;
            assert!(seconds < 60, "half the rate must not go on for ever");
        };
        assert_eq!(slow, Slow::Rate);
        // Half the rate earns half a second for each: the grace lasts twice as long.
        assert!(seconds >= GRACE.as_secs() && seconds <= 2 * GRACE.as_secs() + 1, "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_above_the_rate_goes_on_and_may_pause() {
        let mut pace = Pace::new(PaceLimits { silence: Duration::from_secs(60), rate: Some(1000) });
        for _ in 0..100 {
            assert_eq!(wait(&mut pace, 1).await, None);
            pace.took(1100);
        }
        pace.took(30_000);
        assert_eq!(wait(&mut pace, 40).await, None, "what came early pays for a pause");
    }
}
