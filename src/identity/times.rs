//! `exp`, `nbf` and `iat` of a token: read strictly, compared to the millisecond.
//!
//! Shared by Clerk's and the legacy side's claims, so that both mean the same by "over". Knows no other claim.

use serde_json::{Map, Value};

use crate::clock::Now;

/// Nobody signs in for longer; a larger `exp` is a mistake or an attack on arithmetic.
const MAX_LIFETIME_MS: f64 = 366.0 * 86_400_000.0;
/// End of the year 9999: nothing beyond it is a time.
const MAX_SECONDS: f64 = 253_402_300_800.0;

/// In seconds, as the token has them: integers or finite fractions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    expires: Option<f64>,
    not_before: Option<f64>,
    issued: Option<f64>,
}

/// Why the times do not hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeProblem {
    NotYet,
    IssuedInTheFuture,
    Over,
}

/// Milliseconds since the epoch, leeway included; without an end where the credential has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) from_ms: i64,
    pub(super) until_ms: Option<i64>,
}

/// A time that is no number of this era, an `exp` too far ahead or before `iat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Times {
    pub(super) fn read(claims: &Map<String, Value>, now: Now) -> Result<Self, Malformed> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(seconds) if (0.0..MAX_SECONDS).contains(&seconds) => Ok(Some(seconds)),
                _ => Err(Malformed),
            },
            Some(_) => Err(Malformed),
        };
        let times = Self { expires: time("exp")?, not_before: time("nbf")?, issued: time("iat")? };
        let Some(expires) = times.expires else { return Ok(times) };
        let too_far = expires * 1000.0 > float_ms(now) + MAX_LIFETIME_MS;
        // Zero is a forgotten value, not a time.
        if expires == 0.0 || too_far || times.issued.is_some_and(|issued| issued > expires) {
            return Err(Malformed);
        }
        Ok(times)
    }

    /// What the claims say and when it is now, for whoever explains.
    pub(super) fn told(claims: &Map<String, Value>, skew: std::time::Duration, now: Now) -> String {
        let time = |name: &str| match claims.get(name) {
            Some(Value::Number(seconds)) => {
                let at = seconds.as_f64().map(to_ms).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
                at.map_or_else(|| format!("{name} {seconds}"), |at| format!("{name} {at}"))
            }
            Some(_) => format!("{name} is no number"),
            None => format!("no {name}"),
        };
        let at = jiff::Timestamp::from_millisecond(now.unix_ms).map_or_else(|_| "?".to_owned(), |at| at.to_string());
        format!("{}; now {at}, skew {} s", ["iat", "nbf", "exp"].map(time).join(", "), skew.as_secs_f64())
    }

    pub(super) const fn has_end(&self) -> bool {
        self.expires.is_some()
    }

    pub(super) fn expires_ms(&self) -> Option<i64> {
        self.expires.map(to_ms)
    }

    pub(super) fn issued_ms(&self) -> Option<i64> {
        self.issued.map(to_ms)
    }

    /// Clerk's comparisons to the millisecond: at `exp` plus skew a token is over, at `nbf` minus skew it is good.
    pub(super) fn judge(&self, skew: std::time::Duration, now: Now) -> Result<Validity, TimeProblem> {
        let skew = skew.as_secs_f64() * 1000.0;
        let now = float_ms(now);
        if self.not_before.is_some_and(|seconds| seconds * 1000.0 > now + skew) {
            return Err(TimeProblem::NotYet);
        }
        if self.issued.is_some_and(|seconds| seconds * 1000.0 > now + skew) {
            return Err(TimeProblem::IssuedInTheFuture);
        }
        if self.expires.is_some_and(|seconds| seconds * 1000.0 <= now - skew) {
            return Err(TimeProblem::Over);
        }
        let from = self.not_before.unwrap_or(0.0).max(self.issued.unwrap_or(0.0)) * 1000.0 - skew;
        Ok(Validity {
            from_ms: from.ceil() as i64,
            until_ms: self.expires.map(|seconds| (seconds * 1000.0 + skew).floor() as i64),
        })
    }
}

fn to_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).floor() as i64
}

/// Exact: milliseconds of this era are far below 2^53.
fn float_ms(now: Now) -> f64 {
    now.unix_ms as f64
}
