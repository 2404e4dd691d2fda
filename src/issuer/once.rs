//! Which legacy credentials have been exchanged: each of them once.
//!
//! A file of one line a credential, its SHA-256 and until when it has to be remembered: appended and synced before the token
//! leaves, so that no restart gives a second go. Where it cannot be read or written, nothing is exchanged. A credential that
//! is being exchanged is reserved in memory, so that of two requests at once one wins; processes that share the file (an old
//! and a new one during a restart, replicas with one `state_dir`) lock it and see each other's lines. Blocks on the disk:
//! never called on a thread that serves, but for giving a reservation back.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

/// Credentials that are remembered; 64 bytes each in memory, 80 on disk.
const MOST: usize = 100_000;
/// What the file may hold until it is written anew.
const MAX_BYTES: u64 = 16 << 20;
/// A clock that is set back must not make anybody forget too early.
const GRACE_MS: i64 = 3_600_000;

type Digest = [u8; 32];

/// Why a credential cannot be exchanged.
#[derive(Debug)]
pub enum Unreserved {
    /// It has been, or is just being exchanged.
    Used,
    /// No more can be remembered now.
    Full,
    Disk(io::Error),
}

impl From<io::Error> for Unreserved {
    fn from(problem: io::Error) -> Self {
        Self::Disk(problem)
    }
}

/// What has been exchanged. One for a file.
#[derive(Debug)]
pub struct Once {
    path: PathBuf,
    kept: Mutex<Option<Kept>>,
    /// Apart, so that nobody who gives one back waits for a disk.
    reserved: Mutex<HashSet<Digest>>,
}

/// What is in the file.
#[derive(Debug)]
struct Kept {
    file: File,
    /// Until when each is remembered, in milliseconds since the epoch.
    used: HashMap<Digest, i64>,
    /// How much of the file has been read.
    bytes: u64,
}

/// The right to exchange a credential, given back unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Reservation {
    once: Arc<Once>,
    digest: Digest,
    until_ms: i64,
}

impl Once {
    /// Touches no disk yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: Mutex::new(None), reserved: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what was kept. Done at start, so that a file that cannot be used is told then.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(&self, now_ms: i64) -> io::Result<()> {
        self.with(|kept| {
            let before = kept.used.len();
            kept.forget(now_ms);
            if kept.used.len() < before { kept.rewrite(&self.path) } else { Ok(()) }
        })
    }

    /// Reserves a credential that has to be remembered until `until_ms`.
    ///
    /// # Errors
    /// [`Unreserved`].
    pub fn reserve(self: &Arc<Self>, digest: Digest, until_ms: i64, now_ms: i64) -> Result<Reservation, Unreserved> {
        self.with(|kept| {
            if kept.used.contains_key(&digest) {
                return Err(Unreserved::Used);
            }
            let mut reserved = self.reserved();
            if kept.used.len() + reserved.len() >= MOST {
                kept.forget(now_ms);
                if kept.used.len() + reserved.len() >= MOST {
                    return Err(Unreserved::Full);
                }
            }
            if reserved.insert(digest) { Ok(()) } else { Err(Unreserved::Used) }
        })?;
        Ok(Reservation { once: Arc::clone(self), digest, until_ms })
    }

    fn reserved(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the file locked and read to its end.
    fn with<T, E: From<io::Error>>(&self, act: impl FnOnce(&mut Kept) -> Result<T, E>) -> Result<T, E> {
        let mut slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match &mut *slot {
            Some(kept) => kept,
            None => slot.insert(Kept::new(&self.path)?),
        };
        let done = kept.lock(&self.path).map_err(E::from).and_then(|()| act(kept));
        // Closing the file would give it up as well.
        let _ = flock(&kept.file, FlockOperation::Unlock);
        done
    }
}

impl Reservation {
    /// Writes down that the credential is used up. With `Ok` that survives a power cut.
    ///
    /// # Errors
    /// [`Unreserved`]: another process was faster, or the disk fails, and then the credential may be used up or not.
    pub fn keep(self, now_ms: i64) -> Result<(), Unreserved> {
        self.once.with(|kept| {
            if kept.used.contains_key(&self.digest) {
                return Err(Unreserved::Used);
            }
            if kept.bytes > MAX_BYTES {
                kept.forget(now_ms);
                kept.rewrite(&self.once.path)?;
            }
            let line = line(&self.digest, self.until_ms);
            kept.file.write_all(line.as_bytes())?;
            kept.file.sync_data()?;
            kept.bytes += line.len() as u64;
            kept.used.insert(self.digest, self.until_ms);
            Ok(())
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.once.reserved().remove(&self.digest);
    }
}

impl Kept {
    fn new(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self { file: open(path)?, used: HashMap::new(), bytes: 0 })
    }

    /// Waits until no other process writes, and reads what others wrote.
    fn lock(&mut self, path: &Path) -> io::Result<()> {
        loop {
            flock(&self.file, FlockOperation::LockExclusive)?;
            let own = self.file.metadata()?;
            match fs::metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => break,
                Ok(_) => {}
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
                Err(problem) => return Err(problem),
            }
            // Another process has written it anew, or somebody took it away: what is known stays known.
            self.file = open(path)?;
            self.bytes = 0;
        }
        self.catch_up()
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == self.bytes {
            return Ok(());
        }
        // Somebody cut it: read it all again.
        self.bytes = if length < self.bytes { 0 } else { self.bytes };
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let mut text = Vec::new();
        (&self.file).take(MAX_BYTES * 8).read_to_end(&mut text)?;
        // What a power cut left of the last line was never acknowledged.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (digest, until_ms) = parse(line).ok_or_else(|| {
                let why = "a line is not `<sha-256> <milliseconds>`: move the file away";
                io::Error::new(io::ErrorKind::InvalidData, why)
            })?;
            self.used.insert(digest, until_ms);
        }
        self.bytes += whole as u64;
        self.file.set_len(self.bytes)
    }

    fn forget(&mut self, now_ms: i64) {
        self.used.retain(|_, until_ms| until_ms.saturating_add(GRACE_MS) > now_ms);
    }

    /// What is remembered in a new file, which takes the place of the old one and is locked as that was.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let half = path.with_extension("half");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        let text: String = self.used.iter().map(|(digest, until_ms)| line(digest, *until_ms)).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.lock(path)
    }
}

/// Written at its end only, wherever that is by then.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn line(digest: &Digest, until_ms: i64) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} {until_ms}\n")
}

fn parse(line: &[u8]) -> Option<(Digest, i64)> {
    let (hex, until) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some((digest, until.parse().ok()?))
}

#[cfg(test)]
#[path = "once_tests.rs"]
mod tests;
