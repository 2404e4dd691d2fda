//! The keys of assertions or of runner tokens: a folder, one [file](mod@file) a [key](mod@key), and what each of them is good for at
//! a [time](stage).
//!
//! A key is published as soon as it is there and signs only after its time, so that no verifier that keeps the set for
//! less meets a signature by a key that it has not seen; it stays published until what it signed is long over. All of
//! this follows from the files and the clock, so that replicas that share the folder agree. Private keys are never shown.

mod file;
mod key;
mod stage;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

pub use file::RingProblem;
pub use key::RingKey;
pub use stage::{Schedule, Stage};

use super::SigningKey;
use crate::clock::Now;
use file::KeyFile;
use stage::{millis, signing};

/// Files of keys that are gone stay for a day at least, longer where no process runs that long: far more than that.
const MAX_KEYS: usize = 1024;
/// A key that is gone keeps its file for this long: the longest `ttl`, and a day for replicas that have another `overlap`
/// while a change rolls over them, and for a clock that is wrong.
const KEPT: Duration = Duration::from_secs(25 * 3600);
/// What a look into the folder found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Keys, or none yet.
    Keys,
    /// None any more; those that were there go on.
    Emptied,
}

/// The keys of one folder, as they were last read.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    /// By age, the oldest first.
    keys: ArcSwap<Vec<Arc<RingKey>>>,
    /// The command that begins again.
    command: &'static str,
    /// One reader of the folder at a time, so that an older look never replaces a newer one.
    turn: Mutex<()>,
    /// Why the last look came to nothing.
    problem: ArcSwapOption<RingProblem>,
}

impl Ring {
    /// Of assertions. Nothing is read yet.
    pub fn new(folder: PathBuf) -> Self {
        let (keys, turn, problem) = (ArcSwap::default(), Mutex::new(()), ArcSwapOption::empty());
        Self { folder, keys, command: "crossgate keys rotate", turn, problem }
    }

    /// Of runner tokens.
    pub fn of_runner(folder: PathBuf) -> Self {
        Self { command: "crossgate keys rotate --of runner", ..Self::new(folder) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is any key.
    pub fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    /// Reads the folder; one that is not there has no keys. Blocks on the disk.
    ///
    /// # Errors
    /// [`RingProblem`]; what was read before stays.
    pub fn read(&self, now: Now) -> Result<(), RingProblem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.noted(self.look(now)).map(drop)
    }

    /// Why the folder could not be used when it was last looked at.
    pub fn problem(&self) -> Option<Arc<RingProblem>> {
        self.problem.load_full()
    }

    fn noted(&self, looked: Result<Found, RingProblem>) -> Result<Found, RingProblem> {
        let problem = match &looked {
            Ok(Found::Keys) => None,
            Ok(Found::Emptied) => Some(self.emptied()),
            Err(problem) => Some(problem.clone()),
        };
        self.problem.store(problem.map(Arc::new));
        looked
    }

    /// A key that is dated in the future: it was made while a clock was wrong, and would wait until then. The keys beside
    /// it rotate without it.
    pub fn ahead(&self, schedule: Schedule, now: Now) -> Option<RingProblem> {
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.is_ahead(schedule, now))?;
        let what = "is dated in the future, as made while a clock was wrong, and is passed over: when all clocks are \
                    right and another key signs, remove it";
        Some(RingProblem::new(&key.path, what))
    }

    /// What anybody on the machine may take a key from, or put one into. Group rights are left to operators: mounted secrets
    /// often have them.
    pub fn exposed(&self) -> Option<RingProblem> {
        let may = |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|file| file.mode() & bits != 0);
        if may(&self.folder, 0o002) {
            return Some(RingProblem::new(&self.folder, "can be written by everybody"));
        }
        let keys = self.keys.load();
        let key = keys.iter().find(|key| may(&key.path, 0o006))?;
        Some(RingProblem::new(&key.path, "can be read or written by everybody"))
    }

    fn emptied(&self) -> RingProblem {
        let command = self.command;
        let what = format!("holds no key any more: put the files back, or `{command}` begins again with a new key");
        RingProblem::new(&self.folder, what)
    }

    fn look(&self, now: Now) -> Result<Found, RingProblem> {
        let before = self.keys.load_full();
        let known: HashMap<&str, &Arc<RingKey>> = before.iter().map(|key| (&**key.kid(), key)).collect();
        let mut keys = Vec::new();
        for file in KeyFile::all(&self.folder)? {
            let key = RingKey::open(file)?;
            // What was there at the start had been published by whoever ran before; what comes later is seen by
            // verifiers from now on only.
            keys.push(Arc::new(match known.get(&**key.kid()) {
                Some(known) => key.known_as(known),
                None if before.is_empty() => key,
                None => key.come(now),
            }));
        }
        if keys.len() > MAX_KEYS {
            let what = format!("{} keys are too many, at most {MAX_KEYS}: remove old ones", keys.len());
            return Err(RingProblem::new(&self.folder, what));
        }
        keys.sort_by(|one, other| (one.since_ms(), one.kid()).cmp(&(other.since_ms(), other.kid())));
        if before.is_empty() {
            let recent = now.unix_ms.saturating_sub(millis(KEPT));
            for (at, key) in keys.iter().enumerate() {
                // Whoever ran before may have signed with it until now, unless its successor has been there for long.
                if keys.get(at + 1).is_none_or(|next| next.since_ms() >= recent) {
                    key.seen.note_signing(now.unix_ms);
                }
            }
        }
        // A folder that is gone, or was emptied, says nothing about the keys that verifiers hold.
        if keys.is_empty() && !before.is_empty() {
            return Ok(Found::Emptied);
        }
        for key in before.iter().filter(|before| !keys.iter().any(|key| key.kid() == before.kid())) {
            tracing::info!(kid = &**key.kid(), "a signing key was removed: nothing is signed by it any more");
        }
        self.keys.store(Arc::new(keys));
        Ok(Found::Keys)
    }

    /// Reads the folder, makes the key that is missing or due, and removes what is gone. Blocks on the disk; RSA takes a
    /// second.
    ///
    /// # Errors
    /// [`RingProblem`], also when all files are gone. None is made then: beside nothing it would sign at once, while
    /// verifiers hold the ones before it.
    pub fn tend(&self, schedule: Schedule, now: Now) -> Result<(), RingProblem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let tended = self.look(now).and_then(|found| match found {
            Found::Keys => self.make_if_due(schedule, now).map(|()| Found::Keys),
            Found::Emptied => Ok(Found::Emptied),
        });
        // Noted also of who signs nothing: other replicas do.
        let _ = self.signer(schedule, now.unix_ms);
        for (key, stage) in self.stages(schedule, now) {
            key.seen.note_stage(stage, now);
        }
        if matches!(tended, Ok(Found::Keys)) {
            self.remove_gone(now);
        }
        match self.noted(tended)? {
            Found::Keys => Ok(()),
            Found::Emptied => Err(self.emptied()),
        }
    }

    /// What signs nothing needs no private key. Not at once, and not by the wall clock alone: another replica, with
    /// another `overlap` or a better clock, may still sign with it.
    fn remove_gone(&self, now: Now) {
        let keys = self.keys.load_full();
        for (key, next) in keys.iter().zip(keys.iter().skip(1)) {
            if key.seen.is_gone_for(KEPT, now) && next.is_older_than(KEPT, now) {
                // It stays then, and is published no more all the same.
                let _ = fs::remove_file(&key.path);
            }
        }
    }

    fn make_if_due(&self, schedule: Schedule, now: Now) -> Result<(), RingProblem> {
        let keys = self.keys.load_full();
        let is_due = match keys.iter().rfind(|key| !key.is_ahead(schedule, now)) {
            None => true,
            Some(newest) => {
                let is_old = schedule.rotate.is_some_and(|rotate| {
                    newest.created().saturating_mul(1000).saturating_add(millis(rotate)) <= now.unix_ms
                });
                is_old || newest.algorithm() != schedule.algorithm
            }
        };
        if is_due { self.make(schedule, schedule.overlap, now).map(drop) } else { Ok(()) }
    }

    /// Makes the next key now. Refused while another one waits to sign: keys that nobody needs would pile up.
    ///
    /// # Errors
    /// [`RingProblem`].
    pub fn rotate(&self, schedule: Schedule, now: Now) -> Result<Arc<RingKey>, RingProblem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(now)?;
        let keys = self.keys.load_full();
        let is_waiting = |at: &usize| Stage::of(&keys, *at, schedule, now.unix_ms) == Stage::Waiting;
        let waits = keys.iter().enumerate().find(|(at, key)| is_waiting(at) && !key.is_ahead(schedule, now));
        if let Some((_, key)) = waits {
            let left = key.signs_at(schedule).saturating_sub(now.unix_ms).div_euclid(1000) + 1;
            let what = format!("a new key is there already and signs in {left} seconds");
            return Err(RingProblem::new(&key.path, what));
        }
        self.make(schedule, schedule.overlap, now)
    }

    /// Makes a key that signs at once, and removes all others: one of them has leaked. Whoever keeps the published set
    /// refuses what is signed until they ask again. Blocks on the disk.
    ///
    /// # Errors
    /// [`RingProblem`]; after one the new key may be there, and others too: it is safe to do it again.
    pub fn replace(&self, schedule: Schedule, now: Now) -> Result<Arc<RingKey>, RingProblem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(now)?;
        let old = self.keys.load_full();
        // First of all: a folder without a key starts nothing.
        let made = self.make(schedule, Duration::ZERO, now)?;
        for key in old.iter().filter(|key| key.path != made.path) {
            match fs::remove_file(&key.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => {
                    return Err(RingProblem::new(
                        &key.path,
                        format!("is published still, and cannot be removed: {why}"),
                    ));
                }
                _ => {}
            }
        }
        let synced = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|why| RingProblem::new(&self.folder, format!("what was removed may come back: {why}")))?;
        self.look(now)?;
        Ok(made)
    }

    fn make(&self, schedule: Schedule, waits: Duration, now: Now) -> Result<Arc<RingKey>, RingProblem> {
        let problem = |path: &Path, what: String| RingProblem::new(path, what);
        let old = self.keys.load_full();
        let pem = SigningKey::make(schedule.algorithm).map_err(|why| problem(&self.folder, why.to_string()))?;
        // Never the name of one that is there: a key may be made in the second of another.
        let known = old.iter().filter(|key| !key.is_ahead(schedule, now));
        let created = known.map(|key| key.created().saturating_add(1)).fold(now.unix_seconds(), i64::max);
        let path = KeyFile::path(&self.folder, created, schedule.algorithm);
        match file::keep(&self.folder, &path, &pem, waits) {
            // Another replica made one in this very second.
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|why| problem(&path, format!("a key cannot be kept: {why}")))?,
        }
        self.look(now)?;
        let keys = self.keys.load_full();
        let made = keys.iter().find(|key| key.path == path);
        let made = made.ok_or_else(|| problem(&path, "the key that was made is not there".to_owned()))?;
        tracing::info!(kid = &**made.kid(), algorithm = schedule.algorithm.as_str(), "a signing key was made");
        Ok(Arc::clone(made))
    }

    /// The key that signs now.
    pub(in crate::issuer) fn signer(&self, schedule: Schedule, now_ms: i64) -> Option<Arc<RingKey>> {
        let keys = self.keys.load();
        let signer = signing(&keys, schedule, now_ms).and_then(|at| keys.get(at)).map(Arc::clone);
        if let Some(signer) = &signer {
            signer.seen.note_signing(now_ms);
        }
        signer
    }

    /// The key of this name, unless it is gone: its file alone makes nothing valid.
    pub(in crate::issuer) fn find(&self, kid: &str, schedule: Schedule, now: Now) -> Option<Arc<RingKey>> {
        let keys = self.keys.load();
        let at = keys.iter().position(|key| **key.kid() == *kid)?;
        keys.get(at).filter(|_| Stage::of(&keys, at, schedule, now.unix_ms) != Stage::Gone).map(Arc::clone)
    }

    /// Whether a token begins as runner tokens of one of the keys do.
    pub(in crate::issuer) fn begins(&self, token: &str) -> bool {
        let is_rest =
            |key: &Arc<RingKey>| token.strip_prefix(key.access_header()).is_some_and(|rest| rest.starts_with('.'));
        self.keys.load().iter().any(is_rest)
    }

    /// Whether a token begins as anything that one of the keys signs.
    pub fn made(&self, token: &str) -> bool {
        let Some((header, _)) = token.split_once('.') else { return false };
        self.keys.load().iter().any(|key| key.header == header || key.access_header() == header)
    }

    /// Whether a key is still in the folder.
    pub(in crate::issuer) fn holds(&self, kid: &str) -> bool {
        self.keys.load().iter().any(|key| **key.kid() == *kid)
    }

    /// All keys by which something may have been signed that has not expired, and the next one.
    pub(in crate::issuer) fn published(&self, schedule: Schedule, now: Now) -> Vec<Arc<RingKey>> {
        self.stages(schedule, now).into_iter().filter(|(_, stage)| *stage != Stage::Gone).map(|(key, _)| key).collect()
    }

    /// All keys, the oldest first, and what each does.
    pub fn stages(&self, schedule: Schedule, now: Now) -> Vec<(Arc<RingKey>, Stage)> {
        let keys = self.keys.load();
        keys.iter()
            .enumerate()
            .map(|(at, key)| (Arc::clone(key), Stage::of(&keys, at, schedule, now.unix_ms)))
            .collect()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod story_tests;
