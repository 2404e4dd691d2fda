//! The one place that reads the clock; everything else is handed a [`Now`].
//!
//! Claims are judged by wall time, the age of what is cached or held by monotonic time: a wall clock that is
//! stepped back must not bring an expired token back to life.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the Unix epoch; negative before 1970 rather than a panic.
    pub unix_ms: i64,
    /// Monotonic, for ages and deadlines.
    pub mono: Instant,
    /// By how much `unix_ms` is another time than the real one (`explain --at`): what was fetched is no older for it.
    pub ahead_ms: i64,
}

impl Now {
    /// A reading for tests: this wall time, at the current monotonic instant.
    pub fn at_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms, mono: Instant::now(), ahead_ms: 0 }
    }

    /// As if it were this wall time, for `explain --at`.
    pub fn as_if(unix_ms: i64) -> Self {
        let real = now();
        Self { unix_ms, ahead_ms: unix_ms.saturating_sub(real.unix_ms), ..real }
    }

    /// Milliseconds since the Unix epoch by the real clock.
    pub fn real_unix_ms(self) -> i64 {
        self.unix_ms.saturating_sub(self.ahead_ms)
    }

    /// Both clocks moved forward together.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self { unix_ms: self.unix_ms.saturating_add(ms), mono: self.mono + by, ..self }
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// Reads the system's clocks.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Now {
    let unix_ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    };
    Now { unix_ms, mono: Instant::now(), ahead_ms: 0 }
}

/// Microseconds since the epoch, for what is written down rather than judged.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
