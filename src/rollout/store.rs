//! The record on disk: whole or not at all, provable, and there twice.
//!
//! `rollout.json` is replaced by a rename and `rollout.json.last` after it, each synced with its folder before anybody is
//! told that a change was made. Both carry an HMAC with a key of their own, so that what a broken disk or a careless
//! hand made of them is never believed. Blocks on the disk: never called on a thread that serves.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac, rand};
use serde::{Deserialize, Serialize};

use super::state::{Dealing, Record};
use super::{Algorithm, Guard, Percent, Unit};

/// Of the file's form; another one is not read.
const VERSION: u32 = 1;
/// A record is less than one KiB; more is none.
const MAX_BYTES: u64 = 64 << 10;
pub(super) const KEY_BYTES: usize = 32;
/// The secret under which records are proven.
pub(super) const KEY_FILE: &str = "rollout.key";

/// Where the record is kept.
pub(super) struct Store {
    folder: PathBuf,
    key: hmac::Key,
}

/// What was found at start.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing was ever kept.
    Nothing,
    /// The last one that was acknowledged.
    Good(Record),
    /// The state cannot be read; what its second copy proves, if it proves anything, and what is wrong.
    Broken(Option<Record>, String),
}

/// The moments at which a write can be cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Written,
    Synced,
    Renamed,
    FolderSynced,
}

/// How far a write that failed has come.
#[derive(Debug)]
pub(super) enum Unsaved {
    /// The record that was there is still there.
    Before(io::Error),
    /// The new one is in its place, but a power cut could still take it back.
    Uncertain(io::Error),
}

impl Store {
    /// Opens the folder, and makes the key at the first start.
    ///
    /// # Errors
    /// A sentence when nothing can be kept or proven here.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let key = secret(&folder.join(KEY_FILE))?;
        Ok(Self { folder: folder.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    fn path(&self) -> PathBuf {
        self.folder.join("rollout.json")
    }

    fn last(&self) -> PathBuf {
        self.folder.join("rollout.json.last")
    }

    /// There since the first record was acknowledged: without it, a state that got lost would look like a first start.
    fn marker(&self) -> PathBuf {
        self.folder.join("rollout.started")
    }

    /// Reads what was kept.
    pub(super) fn load(&self) -> Found {
        match (self.read(&self.path()), self.read(&self.last())) {
            (Ok(None), Ok(None)) if !self.marker().exists() => Found::Nothing,
            (Ok(None), Ok(None)) => Found::Broken(None, "rollout.json and its copy are missing".to_owned()),
            // Its copy was not yet written when the process was killed, or is of no use: the record itself is whole.
            (Ok(Some(record)), Ok(None) | Err(_)) => Found::Good(record),
            (Ok(Some(record)), Ok(Some(last))) if last.revision <= record.revision => Found::Good(record),
            (Ok(Some(_)), Ok(Some(last))) => {
                Found::Broken(Some(last), "rollout.json is older than its own copy".to_owned())
            }
            (Ok(None), Ok(Some(last))) => Found::Broken(Some(last), "rollout.json is missing".to_owned()),
            (Ok(None), Err(why)) => Found::Broken(None, format!("rollout.json is missing, and its copy: {why}")),
            (Err(why), last) => Found::Broken(last.ok().flatten(), format!("rollout.json: {why}")),
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Record>, String> {
        let file = match open(path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(problem.to_string()),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|problem| problem.to_string())?;
        self.parse(&bytes).map(Some)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Record, String> {
        let Kept { record, mac } =
            serde_json::from_slice(bytes).map_err(|_| "it is no state of a rollout, or is cut off".to_owned())?;
        let canonical = serde_json::to_vec(&record).map_err(|problem| problem.to_string())?;
        let mac = unhex(&mac).ok_or("its MAC cannot be read")?;
        hmac::verify(&self.key, &canonical, &mac).map_err(|_| "its MAC is wrong: it was changed by somebody else")?;
        record.open().ok_or_else(|| "it is of another version".to_owned())
    }

    fn bytes(&self, record: &Record) -> io::Result<Vec<u8>> {
        let record = Body::of(record);
        let canonical = serde_json::to_vec(&record)?;
        let mac = hex(hmac::sign(&self.key, &canonical).as_ref());
        let mut bytes = serde_json::to_vec(&Kept { record, mac })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Replaces what was kept. Durable once it returns without an error.
    pub(super) fn save(&self, record: &Record) -> Result<(), Unsaved> {
        self.save_until(record, &mut |_| Ok(()))
    }

    fn save_until(&self, record: &Record, at: &mut dyn FnMut(Step) -> io::Result<()>) -> Result<(), Unsaved> {
        let bytes = self.bytes(record).map_err(Unsaved::Before)?;
        let mut renamed = false;
        let mut on_the_way = |step| {
            renamed |= step == Step::Renamed;
            at(step)
        };
        if let Err(problem) = self.replace(&self.path(), &bytes, &mut on_the_way) {
            return Err(if renamed { Unsaved::Uncertain(problem) } else { Unsaved::Before(problem) });
        }
        self.replace(&self.last(), &bytes, at).map_err(Unsaved::Uncertain)?;
        self.mark().map_err(Unsaved::Uncertain)
    }

    fn mark(&self) -> io::Result<()> {
        if self.marker().exists() {
            return Ok(());
        }
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.marker())?.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn replace(&self, path: &Path, bytes: &[u8], at: &mut dyn FnMut(Step) -> io::Result<()>) -> io::Result<()> {
        // In the same folder, since a rename is atomic only within one file system.
        let temporary = path.with_extension("tmp");
        // What a killed process left behind.
        drop(fs::remove_file(&temporary));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        at(Step::Written)?;
        file.sync_all()?;
        at(Step::Synced)?;
        fs::rename(&temporary, path)?;
        at(Step::Renamed)?;
        // The rename itself is durable only once the folder is.
        File::open(&self.folder)?.sync_all()?;
        at(Step::FolderSynced)
    }

    /// Keeps what cannot be read for whoever wants to know what happened; the next save takes its place.
    pub(super) fn put_aside(&self) {
        // It may be what is missing.
        drop(fs::rename(self.path(), self.folder.join("rollout.json.broken")));
    }
}

/// Opens a file, and nothing else: a FIFO in its place would hold the start for ever, a device never end.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no regular file"));
    }
    File::open(path)
}

/// The secret in a file: made at the first start, for the owner's eyes only, and never made again.
///
/// # Errors
/// A sentence that names the file, when it cannot be read or made or is no secret.
pub(super) fn secret(path: &Path) -> Result<[u8; KEY_BYTES], String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    match open(path) {
        Ok(file) => {
            let mode = file.metadata().map_err(|problem| bad(problem.to_string()))?.permissions().mode();
            if mode & 0o022 != 0 {
                return Err(bad("others may write this file, so others may choose the key: chmod 600".to_owned()));
            }
            file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|problem| bad(problem.to_string()))?;
        }
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            bytes = make_secret(path).map_err(|problem| bad(format!("it cannot be made: {problem}")))?;
        }
        Err(problem) => return Err(bad(problem.to_string())),
    }
    let length = bytes.len();
    bytes.try_into().map_err(|_| bad(format!("a key has {KEY_BYTES} bytes, this file has {length}")))
}

fn make_secret(path: &Path) -> io::Result<Vec<u8>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = vec![0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| io::Error::other("there is no randomness"))?;
    let temporary = path.with_extension("new");
    drop(fs::remove_file(&temporary));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    // Not over one that another process has just made: two keys would be two dealings.
    fs::hard_link(&temporary, path)?;
    drop(fs::remove_file(&temporary));
    File::open(folder)?.sync_all()?;
    Ok(key)
}

/// Names a key without telling it.
pub(super) fn key_id(key: &[u8; KEY_BYTES]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"crossgate bucket key\n");
    context.update(key);
    hex(context.finish().as_ref().get(..8).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    record: Body,
    /// HMAC-SHA256 over the record, serialised without blanks in the order below.
    mac: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    version: u32,
    rollout: String,
    generation: u64,
    revision: u64,
    state: String,
    desired_ppm: u32,
    effective_ppm: u32,
    algorithm: String,
    unit: String,
    salt: String,
    key_id: String,
    changed_at: i64,
    changed_by: String,
    dwell_since: i64,
}

impl Body {
    fn of(record: &Record) -> Self {
        Self {
            version: VERSION,
            rollout: record.rollout.to_string(),
            generation: record.generation,
            revision: record.revision,
            state: record.guard.as_str().to_owned(),
            desired_ppm: record.desired.ppm(),
            effective_ppm: record.assigned.ppm(),
            algorithm: record.dealing.algorithm.as_str().to_owned(),
            unit: record.dealing.unit.as_str().to_owned(),
            salt: record.dealing.salt.to_string(),
            key_id: record.dealing.key_id.to_string(),
            changed_at: record.changed_at,
            changed_by: record.changed_by.to_string(),
            dwell_since: record.dwell_since,
        }
    }

    fn open(self) -> Option<Record> {
        let guards = [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp];
        let dealing = Dealing {
            algorithm: Algorithm::named(&self.algorithm)?,
            unit: [Unit::User, Unit::Org].into_iter().find(|unit| unit.as_str() == self.unit)?,
            salt: self.salt.into(),
            key_id: self.key_id.into(),
        };
        (self.version == VERSION).then_some(())?;
        Some(Record {
            rollout: self.rollout.into(),
            generation: self.generation,
            revision: self.revision,
            guard: guards.into_iter().find(|guard| guard.as_str() == self.state)?,
            desired: Percent::from_ppm(self.desired_ppm)?,
            assigned: Percent::from_ppm(self.effective_ppm)?,
            dealing,
            changed_at: self.changed_at,
            changed_by: self.changed_by.into(),
            dwell_since: self.dwell_since,
        })
    }
}

/// Without the key.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.folder).finish()
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
