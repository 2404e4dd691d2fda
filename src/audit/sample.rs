//! Who has signed in: each principal's session once an hour, not once a request.
//!
//! A session token lives for a minute and is sent with every request; a line for each would bury the trail. Bounded: when
//! more sessions are about than it can hold, some are written down more often, none less.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a session is not news.
const HOUR: Duration = Duration::from_secs(3600);
/// Sessions that are remembered.
const MAX_SESSIONS: usize = 65_536;

/// The sessions of the last hour, by a number that the caller makes of principal and session.
#[derive(Debug, Default)]
pub(super) struct Sample(Mutex<HashMap<u64, Instant>>);

impl Sample {
    /// Whether this session is news.
    pub(super) fn is_news(&self, session: u64, now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.get(&session).is_some_and(|since| now.saturating_duration_since(*since) < HOUR) {
            return false;
        }
        if seen.len() >= MAX_SESSIONS {
            seen.retain(|_, since| now.saturating_duration_since(*since) < HOUR);
        }
        if seen.len() >= MAX_SESSIONS {
            seen.clear();
        }
        seen.insert(session, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{HOUR, MAX_SESSIONS, Sample};

    #[test]
    fn a_session_is_news_once_an_hour() {
        let (sample, now) = (Sample::default(), Instant::now());
        assert!(sample.is_news(1, now));
        assert!(!sample.is_news(1, now));
        assert!(sample.is_news(2, now));
        assert!(!sample.is_news(1, now + HOUR / 2));
        assert!(sample.is_news(1, now + HOUR));
    }

    #[test]
    fn it_is_bounded_and_forgets_rather_than_hides() {
        let (sample, now) = (Sample::default(), Instant::now());
        for session in 0..=MAX_SESSIONS as u64 {
            assert!(sample.is_news(session, now));
        }
        assert!(sample.0.lock().unwrap().len() <= MAX_SESSIONS);
    }
}
