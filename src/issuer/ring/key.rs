//! One key of a ring, and what this process saw of it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use super::file::{Content, KeyFile, RingProblem};
use super::stage::{Schedule, Stage, millis};
use crate::clock::Now;
use crate::identity::runner;
use crate::issuer::{Algorithm, SigningKey};

/// One key of the folder.
#[derive(Debug)]
pub struct RingKey {
    kid: Arc<str>,
    /// Seconds since the epoch, from the file's name.
    created: i64,
    /// Milliseconds: since when it has been published. Later than `created` when it came while this process ran.
    since_ms: i64,
    /// How long it is published before it signs; `None` of a file that does not say: then the schedule says it.
    waits: Option<Duration>,
    pub(super) seen: Arc<Seen>,
    pub(super) path: PathBuf,
    key: SigningKey,
    pub(super) header: String,
    access_header: String,
    jwk: Value,
}

/// What this process saw of a key. Outlives each look.
#[derive(Debug)]
pub(super) struct Seen {
    /// When it came; `None` is at the first look.
    pub(super) came: Option<Instant>,
    /// Milliseconds at which it was last the one that signs, as far as is known here. What its successor says is not
    /// enough: a clock that went back would put its end into the past.
    signed_ms: AtomicI64,
    /// Milliseconds from which on it was gone. It signs nothing any more then, unless the clock was wrong and goes back.
    gone_ms: AtomicI64,
    /// Since when it has been gone without a break.
    gone: Mutex<Option<Instant>>,
}

impl Seen {
    fn since(came: Option<Instant>) -> Arc<Self> {
        let (signed_ms, gone_ms) = (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MAX));
        Arc::new(Self { came, signed_ms, gone_ms, gone: Mutex::new(None) })
    }

    pub(super) fn note_signing(&self, now_ms: i64) {
        self.signed_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    pub(super) fn signed_ms(&self) -> i64 {
        self.signed_ms.load(Ordering::Relaxed)
    }

    /// A key that is published no more signs no more, also when a longer `overlap` would call it back: nobody holds it by
    /// then.
    pub(super) fn note_stage(&self, stage: Stage, now: Now) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if stage == Stage::Gone {
            self.gone_ms.fetch_min(now.unix_ms, Ordering::Relaxed);
            gone.get_or_insert(now.mono);
        } else {
            *gone = None;
        }
    }

    /// By a clock that nobody sets.
    pub(super) fn is_gone_for(&self, time: Duration, now: Now) -> bool {
        let since = *self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| now.mono.saturating_duration_since(since) >= time)
    }
}

impl RingKey {
    /// One that nobody has seen before.
    pub(super) fn open(file: KeyFile) -> Result<Self, RingProblem> {
        let Content { key, waits } = file.read()?;
        let KeyFile { path, created, .. } = file;
        let (kid, jwk) = key.jwk().ok_or_else(|| RingProblem::new(&path, "has no public half"))?;
        let (header, access_header) = (key.header(Some(&kid), "JWT", None), key.header(Some(&kid), runner::TYPE, None));
        let since_ms = created.saturating_mul(1000);
        let seen = Seen::since(None);
        Ok(Self { kid: kid.into(), created, since_ms, waits, seen, path, key, header, access_header, jwk })
    }

    /// The same as an earlier look found it.
    pub(super) fn known_as(self, before: &Self) -> Self {
        Self { since_ms: before.since_ms, seen: Arc::clone(&before.seen), ..self }
    }

    /// Come while this process ran: verifiers see it from now on only.
    pub(super) fn come(self, now: Now) -> Self {
        Self { since_ms: self.since_ms.max(now.unix_ms), seen: Seen::since(Some(now.mono)), ..self }
    }

    pub const fn kid(&self) -> &Arc<str> {
        &self.kid
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// Seconds since the epoch.
    pub const fn created(&self) -> i64 {
        self.created
    }

    pub(super) const fn since_ms(&self) -> i64 {
        self.since_ms
    }

    pub(in crate::issuer) const fn jwk(&self) -> &Value {
        &self.jwk
    }

    pub(in crate::issuer) fn token(&self, payload: &str) -> Option<String> {
        self.key.token(&self.header, payload)
    }

    /// A runner token of this payload.
    pub(in crate::issuer) fn access_token(&self, payload: &str) -> Option<String> {
        self.key.token(&self.access_header, payload)
    }

    /// How each runner token of this key begins.
    pub(in crate::issuer) fn access_header(&self) -> &str {
        &self.access_header
    }

    pub(in crate::issuer) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }

    /// Milliseconds at which it begins to sign, as the successor of another. What the file says comes first: processes whose
    /// `overlap` differs, or is longer after a start, would sign with a key that the others publish no more.
    pub(super) fn signs_at(&self, schedule: Schedule) -> i64 {
        self.since_ms.saturating_add(millis(self.waits.unwrap_or(schedule.overlap)))
    }

    pub(super) fn is_ahead(&self, schedule: Schedule, now: Now) -> bool {
        self.created.saturating_mul(1000) > now.unix_ms.saturating_add(millis(schedule.overlap))
    }

    /// By its name and by its file.
    pub(super) fn is_older_than(&self, age: Duration, now: Now) -> bool {
        let written = fs::metadata(&self.path).and_then(|file| file.modified());
        let Some(written) = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else { return false };
        let since_ms = millis(written).max(self.since_ms);
        now.unix_ms.saturating_sub(since_ms) >= millis(age)
    }

    pub(super) fn is_retired(&self, now_ms: i64) -> bool {
        self.seen.gone_ms.load(Ordering::Relaxed) <= now_ms
    }
}
