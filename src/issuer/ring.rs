//! The keys of assertions or of runner tokens: a folder, one file a key, and what each of them is good for at a time.
//!
//! A key is published as soon as it is there and signs only after `overlap`, so that no verifier that keeps the set for
//! less meets a signature by a key that it has not seen; it stays published until what it signed is long over. All of
//! this follows from the names of the files and the clock, so that replicas that share the folder agree. Private keys are
//! written with mode 0600 and never shown.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;

use super::{Algorithm, SigningKey};
use crate::clock::Now;
use crate::identity::runner;

/// Files of keys that are gone stay for a day at least, longer where no process runs that long: far more than that.
const MAX_KEYS: usize = 1024;
/// A key that is gone keeps its file for this long: the longest `ttl`, and a day for replicas that have another `overlap`
/// while a change rolls over them, and for a clock that is wrong.
const KEPT: Duration = Duration::from_secs(25 * 3600);
/// Seconds: the end of the year 9999. What is later is no time.
const LAST: i64 = 253_402_300_799;
/// A key is less than 4 KiB.
const MAX_BYTES: u64 = 64 << 10;

/// When keys come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Of new keys.
    pub algorithm: Algorithm,
    /// Age at which the newest key gets a successor; `None` is never.
    pub rotate: Option<Duration>,
    /// How long a key is published before it signs, and after the last thing that it signed has expired.
    pub overlap: Duration,
    /// Life of what is signed.
    pub ttl: Duration,
}

/// What a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Published, not yet signing.
    Waiting,
    Signing,
    /// Signs no more, still published.
    Leaving,
    /// Published no more.
    Gone,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Signing => "signing",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }
}

/// One key of the folder.
#[derive(Debug)]
pub struct RingKey {
    kid: Arc<str>,
    /// Seconds since the epoch, from the file's name.
    created: i64,
    /// Milliseconds: since when it has been published. Later than `created` when it came while this process ran.
    since_ms: i64,
    seen: Arc<Seen>,
    path: PathBuf,
    key: SigningKey,
    header: String,
    access_header: String,
    jwk: Value,
}

/// What this process saw of a key. Outlives each look.
#[derive(Debug)]
struct Seen {
    /// When it came; `None` is at the first look.
    came: Option<Instant>,
    /// Milliseconds at which it was last the one that signs, as far as is known here. What its successor's `overlap` says
    /// is not enough: a shorter one, by a reload, would put its end into the past.
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
}

impl RingKey {
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

    pub(super) const fn jwk(&self) -> &Value {
        &self.jwk
    }

    pub(super) fn token(&self, payload: &str) -> Option<String> {
        self.key.token(&self.header, payload)
    }

    /// A runner token of this payload.
    pub(super) fn access_token(&self, payload: &str) -> Option<String> {
        self.key.token(&self.access_header, payload)
    }

    /// How each runner token of this key begins.
    pub(super) fn access_header(&self) -> &str {
        &self.access_header
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }

    /// Milliseconds at which it begins to sign, as the successor of another.
    fn signs_at(&self, schedule: Schedule) -> i64 {
        self.since_ms.saturating_add(millis(schedule.overlap))
    }

    fn is_ahead(&self, schedule: Schedule, now: Now) -> bool {
        self.created.saturating_mul(1000) > now.unix_ms.saturating_add(millis(schedule.overlap))
    }

    /// By its name and by its file.
    fn is_older_than(&self, age: Duration, now: Now) -> bool {
        let written = fs::metadata(&self.path).and_then(|file| file.modified());
        let Some(written) = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else { return false };
        let since_ms = millis(written).max(self.since_ms);
        now.unix_ms.saturating_sub(since_ms) >= millis(age)
    }

    fn is_retired(&self, now_ms: i64) -> bool {
        self.seen.gone_ms.load(Ordering::Relaxed) <= now_ms
    }
}

/// What a look into the folder found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Keys, or none yet.
    Keys,
    /// None any more; those that were there go on.
    Emptied,
}

/// Why the folder cannot be used. Names a file, never what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingProblem {
    pub path: PathBuf,
    pub what: String,
    /// Of somebody else, as far as whoever looks may tell.
    pub is_denied: bool,
}

impl RingProblem {
    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into(), is_denied: false }
    }

    fn unreadable(path: &Path, why: &io::Error) -> Self {
        let is_denied = why.kind() == io::ErrorKind::PermissionDenied;
        Self { path: path.to_owned(), what: format!("cannot be read: {why}"), is_denied }
    }
}

impl std::fmt::Display for RingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for RingProblem {}

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

    fn emptied(&self) -> RingProblem {
        let command = self.command;
        let what = format!("holds no key any more: put the files back, or `{command}` begins again with a new key");
        RingProblem::new(&self.folder, what)
    }

    fn look(&self, now: Now) -> Result<Found, RingProblem> {
        let before = self.keys.load_full();
        let known: HashMap<&str, &Arc<RingKey>> = before.iter().map(|key| (&*key.kid, key)).collect();
        let mut keys = Vec::new();
        for (created, algorithm, path) in self.files()? {
            let key = open(&path, created, algorithm)?;
            // What was there at the start had been published by whoever ran before; what comes later is seen by
            // verifiers from now on only.
            let (since_ms, seen) = match known.get(&*key.kid) {
                Some(known) => (known.since_ms, Arc::clone(&known.seen)),
                None if before.is_empty() => (key.since_ms, key.seen),
                None => (key.since_ms.max(now.unix_ms), Seen::since(Some(now.mono))),
            };
            keys.push(Arc::new(RingKey { since_ms, seen, ..key }));
        }
        if keys.len() > MAX_KEYS {
            let what = format!("{} keys are too many, at most {MAX_KEYS}: remove old ones", keys.len());
            return Err(RingProblem::new(&self.folder, what));
        }
        keys.sort_by(|one, other| (one.since_ms, &one.kid).cmp(&(other.since_ms, &other.kid)));
        if before.is_empty() {
            let recent = now.unix_ms.saturating_sub(millis(KEPT));
            for (at, key) in keys.iter().enumerate() {
                // Whoever ran before may have signed with it until now, unless its successor has been there for long.
                if keys.get(at + 1).is_none_or(|next| next.since_ms >= recent) {
                    key.seen.signed_ms.fetch_max(now.unix_ms, Ordering::Relaxed);
                }
            }
        }
        // A folder that is gone, or was emptied, says nothing about the keys that verifiers hold.
        if keys.is_empty() && !before.is_empty() {
            return Ok(Found::Emptied);
        }
        self.keys.store(Arc::new(keys));
        Ok(Found::Keys)
    }

    /// The files that are keys: `<seconds>-<algorithm>.pem`.
    fn files(&self) -> Result<Vec<(i64, Algorithm, PathBuf)>, RingProblem> {
        let folder = |why: &io::Error| RingProblem::unreadable(&self.folder, why);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(problem) => return Err(folder(&problem)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|problem| folder(&problem))?.path();
            // Half-written ones have another ending.
            if path.extension().is_none_or(|ending| ending != "pem") {
                continue;
            }
            let Some((created, algorithm)) = path.file_stem().and_then(|name| parse_name(name.to_str()?)) else {
                let what = "its name is not <seconds since 1970>-es256.pem or -rs256.pem";
                return Err(RingProblem::new(&path, what));
            };
            files.push((created, algorithm, path));
        }
        Ok(files)
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
        self.note_gone(schedule, now);
        if matches!(tended, Ok(Found::Keys)) {
            self.remove_gone(now);
        }
        match self.noted(tended)? {
            Found::Keys => Ok(()),
            Found::Emptied => Err(self.emptied()),
        }
    }

    /// A key that is published no more signs no more, also when a longer `overlap` would call it back: nobody holds it by
    /// then.
    fn note_gone(&self, schedule: Schedule, now: Now) {
        for (key, stage) in self.stages(schedule, now) {
            let mut gone = key.seen.gone.lock().unwrap_or_else(PoisonError::into_inner);
            if stage == Stage::Gone {
                key.seen.gone_ms.fetch_min(now.unix_ms, Ordering::Relaxed);
                gone.get_or_insert(now.mono);
            } else {
                *gone = None;
            }
        }
    }

    /// What signs nothing needs no private key. Not at once, and not by the wall clock alone: another replica, with
    /// another `overlap` or a better clock, may still sign with it.
    fn remove_gone(&self, now: Now) {
        let keys = self.keys.load_full();
        for (key, next) in keys.iter().zip(keys.iter().skip(1)) {
            let since = *key.seen.gone.lock().unwrap_or_else(PoisonError::into_inner);
            let is_long = since.is_some_and(|since| now.mono.saturating_duration_since(since) >= KEPT);
            if is_long && next.is_older_than(KEPT, now) {
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
                    newest.created.saturating_mul(1000).saturating_add(millis(rotate)) <= now.unix_ms
                });
                is_old || newest.algorithm() != schedule.algorithm
            }
        };
        if is_due { self.make(schedule, now).map(drop) } else { Ok(()) }
    }

    /// Makes the next key now. Refused while another one waits to sign: keys that nobody needs would pile up.
    ///
    /// # Errors
    /// [`RingProblem`].
    pub fn rotate(&self, schedule: Schedule, now: Now) -> Result<Arc<RingKey>, RingProblem> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(now)?;
        let keys = self.keys.load_full();
        let is_waiting = |at: &usize| stage(&keys, *at, schedule, now.unix_ms) == Stage::Waiting;
        let waits = keys.iter().enumerate().find(|(at, key)| is_waiting(at) && !key.is_ahead(schedule, now));
        if let Some((_, key)) = waits {
            let left = key.signs_at(schedule).saturating_sub(now.unix_ms).div_euclid(1000) + 1;
            let what = format!("a new key is there already and signs in {left} seconds");
            return Err(RingProblem::new(&key.path, what));
        }
        self.make(schedule, now)
    }

    fn make(&self, schedule: Schedule, now: Now) -> Result<Arc<RingKey>, RingProblem> {
        let problem = |path: &Path, what: String| RingProblem::new(path, what);
        let old = self.keys.load_full();
        let pem = SigningKey::make(schedule.algorithm).map_err(|why| problem(&self.folder, why.to_string()))?;
        // Never the name of one that is there: a key may be made in the second of another.
        let known = old.iter().filter(|key| !key.is_ahead(schedule, now));
        let created = known.map(|key| key.created.saturating_add(1)).fold(now.unix_seconds(), i64::max);
        let name = format!("{created}-{}.pem", schedule.algorithm.as_str().to_ascii_lowercase());
        let path = self.folder.join(name);
        match write(&self.folder, &path, pem.as_bytes()) {
            // Another replica made one in this very second.
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|why| problem(&path, format!("a key cannot be kept: {why}")))?,
        }
        self.look(now)?;
        let keys = self.keys.load_full();
        let made = keys.iter().find(|key| key.path == path);
        let made = made.ok_or_else(|| problem(&path, "the key that was made is not there".to_owned()))?;
        tracing::info!(kid = &*made.kid, algorithm = schedule.algorithm.as_str(), "a signing key was made");
        Ok(Arc::clone(made))
    }

    /// The key that signs now.
    pub(super) fn signer(&self, schedule: Schedule, now_ms: i64) -> Option<Arc<RingKey>> {
        let keys = self.keys.load();
        let signer = signing(&keys, schedule, now_ms).and_then(|at| keys.get(at)).map(Arc::clone);
        if let Some(signer) = &signer {
            signer.seen.signed_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
        signer
    }

    /// The key of this name, unless it is gone: its file alone makes nothing valid.
    pub(super) fn find(&self, kid: &str, schedule: Schedule, now: Now) -> Option<Arc<RingKey>> {
        let keys = self.keys.load();
        let at = keys.iter().position(|key| *key.kid == *kid)?;
        keys.get(at).filter(|_| stage(&keys, at, schedule, now.unix_ms) != Stage::Gone).map(Arc::clone)
    }

    /// Whether a token begins as runner tokens of one of the keys do.
    pub(super) fn begins(&self, token: &str) -> bool {
        let is_rest =
            |key: &Arc<RingKey>| token.strip_prefix(key.access_header()).is_some_and(|rest| rest.starts_with('.'));
        self.keys.load().iter().any(is_rest)
    }

    /// Whether a token begins as anything that one of the keys signs.
    pub fn made(&self, token: &str) -> bool {
        let Some((header, _)) = token.split_once('.') else { return false };
        self.keys.load().iter().any(|key| key.header == header || key.access_header == header)
    }

    /// Whether a key is still in the folder.
    pub(super) fn holds(&self, kid: &str) -> bool {
        self.keys.load().iter().any(|key| *key.kid == *kid)
    }

    /// All keys by which something may have been signed that has not expired, and the next one.
    pub(super) fn published(&self, schedule: Schedule, now: Now) -> Vec<Arc<RingKey>> {
        self.stages(schedule, now).into_iter().filter(|(_, stage)| *stage != Stage::Gone).map(|(key, _)| key).collect()
    }

    /// All keys, the oldest first, and what each does.
    pub fn stages(&self, schedule: Schedule, now: Now) -> Vec<(Arc<RingKey>, Stage)> {
        let keys = self.keys.load();
        keys.iter().enumerate().map(|(at, key)| (Arc::clone(key), stage(&keys, at, schedule, now.unix_ms))).collect()
    }
}

/// The newest that was published for long enough; where none was, the one that has been known here for longest, of those
/// the oldest: nobody holds a set without it.
fn signing(keys: &[Arc<RingKey>], schedule: Schedule, now_ms: i64) -> Option<usize> {
    let grown = keys.iter().rposition(|key| key.signs_at(schedule) <= now_ms && !key.is_retired(now_ms));
    let known = || {
        let kept = keys.iter().enumerate().filter(|(_, key)| !key.is_retired(now_ms));
        kept.min_by_key(|(_, key)| key.seen.came).map(|(at, _)| at)
    };
    grown.or_else(known).or_else(|| (!keys.is_empty()).then_some(0))
}

fn stage(keys: &[Arc<RingKey>], at: usize, schedule: Schedule, now_ms: i64) -> Stage {
    let signing = signing(keys, schedule, now_ms);
    match signing {
        Some(signing) if signing == at => Stage::Signing,
        Some(signing) if signing < at => Stage::Waiting,
        _ => {
            // The successor took over then; what was signed before lives for `ttl`.
            let taken = keys.get(at + 1).map_or(i64::MAX, |next| next.signs_at(schedule));
            let signed = keys.get(at).map_or(i64::MIN, |key| key.seen.signed_ms.load(Ordering::Relaxed));
            let end = taken.max(signed).saturating_add(millis(schedule.ttl)).saturating_add(millis(schedule.overlap));
            if now_ms < end { Stage::Leaving } else { Stage::Gone }
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn parse_name(name: &str) -> Option<(i64, Algorithm)> {
    let (created, algorithm) = name.split_once('-')?;
    let algorithm = match algorithm {
        "es256" => Algorithm::Es256,
        "rs256" => Algorithm::Rs256,
        _ => return None,
    };
    let is_number = !created.is_empty() && created.bytes().all(|byte| byte.is_ascii_digit());
    Some((created.parse().ok().filter(|created| is_number && *created <= LAST)?, algorithm))
}

fn open(path: &Path, created: i64, algorithm: Algorithm) -> Result<RingKey, RingProblem> {
    let problem = |what: String| RingProblem::new(path, what);
    let unreadable = |why: io::Error| RingProblem::unreadable(path, &why);
    // Asked first: opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(problem("is no regular file".to_owned()));
    }
    let mut pem = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
    let key = SigningKey::from_pem(algorithm, &pem).map_err(|why| problem(why.to_string()))?;
    let (kid, jwk) = key.jwk().ok_or_else(|| problem("has no public half".to_owned()))?;
    let (header, access_header) = (key.header(Some(&kid), "JWT", None), key.header(Some(&kid), runner::TYPE, None));
    let since_ms = created.saturating_mul(1000);
    let seen = Seen::since(None);
    let path = path.to_owned();
    Ok(RingKey { kid: kid.into(), created, since_ms, seen, path, key, header, access_header, jwk })
}

/// Whole or not at all, and never over another.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let half = path.with_extension(format!("half-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        // The command may be run by root, and the service by somebody else, who must read it.
        let owner = fs::metadata(folder)?;
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&half, path)?;
        fs::File::open(folder)?.sync_all()
    };
    let written = write();
    // Under its own name by now, or of no use.
    let _ = fs::remove_file(&half);
    written
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "ring_story_tests.rs"]
mod story_tests;
