//! Which legacy credentials have been exchanged: each of them once.
//!
//! A file of one line a credential, its SHA-256 and until when it has to be remembered: appended and synced before the token
//! leaves, so that no restart gives a second go. Where it cannot be read or written, nothing is exchanged. A credential that
//! is being exchanged is reserved in memory, so that of two requests at once one wins. Of one process: replicas that share
//! no `state_dir` each know their own. Blocks on the disk: never called on a thread that serves.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Credentials that are remembered; 64 bytes each in memory, 90 on disk.
const MOST: usize = 100_000;
/// What the file may hold until it is written anew.
const MAX_BYTES: u64 = 32 << 20;
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

/// What has been exchanged. One for a file.
#[derive(Debug)]
pub struct Once {
    path: PathBuf,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    /// Until when each is remembered, in milliseconds since the epoch.
    used: HashMap<Digest, i64>,
    reserved: HashMap<Digest, i64>,
    file: File,
    /// Of the file; a write that failed may have left a part of a line behind it.
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
        Self { path, state: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was kept. Done at start, so that a file that cannot be used is told then.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(&self, now_ms: i64) -> io::Result<()> {
        self.opened(&mut self.state(), now_ms).map(drop)
    }

    fn opened<'s>(&self, state: &'s mut Option<State>, now_ms: i64) -> io::Result<&'s mut State> {
        if state.is_none() {
            *state = Some(State::load(&self.path, now_ms)?);
        }
        state.as_mut().ok_or_else(|| io::Error::other("nothing was loaded"))
    }

    /// Reserves a credential that has to be remembered until `until_ms`.
    ///
    /// # Errors
    /// [`Unreserved`].
    pub fn reserve(self: &Arc<Self>, digest: Digest, until_ms: i64, now_ms: i64) -> Result<Reservation, Unreserved> {
        let mut state = self.state();
        let state = self.opened(&mut state, now_ms).map_err(Unreserved::Disk)?;
        if state.used.contains_key(&digest) || state.reserved.contains_key(&digest) {
            return Err(Unreserved::Used);
        }
        if state.used.len() + state.reserved.len() >= MOST {
            state.forget(now_ms);
            if state.used.len() + state.reserved.len() >= MOST {
                return Err(Unreserved::Full);
            }
        }
        state.reserved.insert(digest, until_ms);
        Ok(Reservation { once: Arc::clone(self), digest, until_ms })
    }
}

impl Reservation {
    /// Writes down that the credential is used up. With `Ok` that survives a power cut.
    ///
    /// # Errors
    /// What the disk says; the credential may then be used up or not.
    pub fn keep(self, now_ms: i64) -> io::Result<()> {
        let mut state = self.once.state();
        let Some(state) = state.as_mut() else { return Err(io::Error::other("nothing was loaded")) };
        if state.bytes > MAX_BYTES {
            state.forget(now_ms);
            *state = state.rewritten(&self.once.path)?;
        }
        state.append(&self.digest, self.until_ms)?;
        state.used.insert(self.digest, self.until_ms);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(state) = self.once.state().as_mut() {
            state.reserved.remove(&self.digest);
        }
    }
}

impl State {
    fn load(path: &Path, now_ms: i64) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut text = Vec::new();
        (&file).take(MAX_BYTES * 4).read_to_end(&mut text)?;
        let mut used = HashMap::new();
        // What a power cut left of the last line was never acknowledged.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (digest, until_ms) = parse(line).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is not `<sha-256> <milliseconds>`: move the file away",
                )
            })?;
            used.insert(digest, until_ms);
        }
        let bytes = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        let mut state = Self { used, reserved: HashMap::new(), file, bytes };
        let before = state.used.len();
        state.forget(now_ms);
        if state.used.len() < before {
            state = state.rewritten(path)?;
        }
        Ok(state)
    }

    fn forget(&mut self, now_ms: i64) {
        self.used.retain(|_, until_ms| until_ms.saturating_add(GRACE_MS) > now_ms);
    }

    fn append(&mut self, digest: &Digest, until_ms: i64) -> io::Result<()> {
        // Behind what is whole, whatever a write that failed left there.
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let line = line(digest, until_ms);
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// The same in a new file, which takes the place of the old one.
    fn rewritten(&mut self, path: &Path) -> io::Result<Self> {
        let half = path.with_extension("half");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        let text: String = self.used.iter().map(|(digest, until_ms)| line(digest, *until_ms)).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let (used, reserved) = (std::mem::take(&mut self.used), std::mem::take(&mut self.reserved));
        Ok(Self { used, reserved, file, bytes: text.len() as u64 })
    }
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
