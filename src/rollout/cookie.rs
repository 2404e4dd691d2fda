//! The arm cookie: in which arm a login began, signed, for a quarter of an hour.
//!
//! Whoever signs in has no id yet that could be dealt, so that the two requests of one login (`init` and `complete`) need
//! something that both carry. Only routes with `access: login` read it, and it decides nothing but the arm there: what
//! somebody may do never hangs on it. A client may drop it and be dealt anew; it can neither make one up nor change one.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::arm::Side;
use super::state::Record;
pub use crate::request::ARM_COOKIE as NAME;

/// How long a login may take. A cookie is not renewed, so that no client stays in an arm for longer.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

const VERSION: &str = "v1";
/// Parts this use of `rollout.key_file` from the dealing of people, which is an HMAC with the same secret.
const LABEL: &[u8] = b"crossgate arm cookie v1";
/// Longer than the longest: names of rollouts are bounded.
const MAX_BYTES: usize = 256;
/// Seconds by which another replica's clock may be ahead.
const SKEW: u64 = 60;

/// Why a cookie is not believed. All are treated as if there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Two under one name: a neighbour of the domain may have planted one.
    Twice,
    Malformed,
    /// Signed with another key, or changed.
    Forged,
    OtherRollout,
    /// Of a generation that this rollout has not come to.
    LaterGeneration,
    Over,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Twice => "it stands twice",
            Self::Malformed => "it has not the form of one",
            Self::Forged => "its signature is wrong",
            Self::OtherRollout => "it is of another rollout",
            Self::LaterGeneration => "it is of a later generation",
            Self::Over => "its time is over",
        })
    }
}

/// Signs and reads arm cookies, with a key that all replicas derive from the same `key_file`.
pub struct ArmCookies(hmac::Key);

impl ArmCookies {
    pub fn new(secret: &[u8; 32]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The value of a cookie that says this arm. `now`: milliseconds since the epoch.
    pub fn seal(&self, record: &Record, arm: Side, now: i64) -> String {
        let until = seconds(now) + LIFETIME.as_secs();
        let text = format!("{VERSION}.{}.{}.{}.{until}", record.rollout, record.generation, arm.as_str());
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, text.as_bytes()));
        format!("{text}.{mac}")
    }

    /// The arm that a request's cookies of this name say; `None` without any. `now`: milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read<'a>(
        &self,
        mut values: impl Iterator<Item = &'a str>,
        record: &Record,
        now: i64,
    ) -> Result<Option<Side>, Unusable> {
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Unusable::Twice);
        }
        self.open(value, record, now).map(Some)
    }

    fn open(&self, value: &str, record: &Record, now: i64) -> Result<Side, Unusable> {
        let (text, mac) = value.rsplit_once('.').filter(|_| value.len() <= MAX_BYTES).ok_or(Unusable::Malformed)?;
        let mut parts = text.split('.');
        let all = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(VERSION), Some(rollout), Some(generation), Some(arm), Some(until), None) = all else {
            return Err(Unusable::Malformed);
        };
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Unusable::Malformed)?;
        // Before anything is made of what it says; in constant time.
        hmac::verify(&self.0, text.as_bytes(), &mac).map_err(|_| Unusable::Forged)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| Unusable::Malformed);
        let (generation, until, now) = (number(generation)?, number(until)?, seconds(now));
        let side = [Side::Legacy, Side::Clerk].into_iter().find(|side| side.as_str() == arm);
        let side = side.ok_or(Unusable::Malformed)?;
        if *rollout != *record.rollout {
            return Err(Unusable::OtherRollout);
        }
        // An earlier one holds: the login began before somebody resumed or reshuffled.
        if generation > record.generation {
            return Err(Unusable::LaterGeneration);
        }
        // Of a clock that was far ahead it would hold for years.
        if until <= now || until > now + LIFETIME.as_secs() + SKEW {
            return Err(Unusable::Over);
        }
        Ok(side)
    }
}

fn seconds(now: i64) -> u64 {
    u64::try_from(now).unwrap_or_default() / 1000
}

/// Without the key.
impl fmt::Debug for ArmCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArmCookies")
    }
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
