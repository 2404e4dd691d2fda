//! Which legacy credentials have been exchanged: each of them once.
//!
//! A file of a line for each name that a credential is known by (one to three), its SHA-256, until when it has to be remembered, and a hash of whose it is: appended and
//! synced before the token leaves, so that no restart gives a second go. Each person has a share of it, so that nobody
//! fills it for all others. Where it cannot be read or written, nothing is exchanged. A credential that
//! is being exchanged is reserved in memory, so that of two requests at once one wins; processes that share the file (an old
//! and a new one during a restart, replicas with one `state_dir`) lock it and see each other's lines. Blocks on the disk:
//! never called on a thread that serves, but for giving a reservation back.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::mint::{ESCAPES, unescaped};

/// Names that are remembered; 100 bytes each in memory, 112 on disk.
const MOST: usize = 100_000;
/// Credentials of one person: a runner that signs in anew every ten minutes, with tokens that live for almost a week.
const MOST_OF_ONE: usize = MOST / 100;
/// What the file may hold until it is written anew.
const MAX_BYTES: u64 = 16 << 20;
/// A clock that is set back must not make anybody forget too early.
const GRACE_MS: i64 = 3_600_000;

type Digest = [u8; 32];
type Person = [u8; 16];

/// A credential that is to be used up.
#[derive(Debug, Clone)]
pub struct Spent {
    /// SHA-256 of what it is known by: all of these are used up together.
    pub names: Vec<[u8; 32]>,
    /// The first half of a SHA-256 of whose it is.
    pub person: [u8; 16],
    /// Until when it has to be remembered, in milliseconds since the epoch.
    pub until_ms: i64,
}

/// Why a credential cannot be exchanged.
#[derive(Debug)]
pub enum Unreserved {
    /// It has been, or is just being exchanged.
    Used,
    /// The person has as many that are remembered as anybody may have.
    TooMany,
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
    reserved: Mutex<HashMap<Digest, Option<Person>>>,
}

/// What is in the file.
#[derive(Debug)]
struct Kept {
    file: File,
    used: HashMap<Digest, Entry>,
    /// How many are whose.
    shares: HashMap<Person, usize>,
    /// How much of the file has been read.
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Until when it is remembered, in milliseconds since the epoch.
    until_ms: i64,
    /// None of a further name of the same credential, and of lines of before.
    person: Option<Person>,
}

/// The right to exchange a credential, given back unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Reservation {
    once: Arc<Once>,
    spent: Spent,
}

/// Shorter ones may be two people's that differ by case alone.
const FOLDED_FROM: usize = 20;

/// A credential without what only carries it: escapes, quotes and blanks around it.
pub fn plain(credential: &str) -> String {
    let mut text = credential.to_owned();
    for _ in 0..ESCAPES {
        if !text.contains('%') {
            break;
        }
        text = unescaped(&text);
    }
    text.trim_matches(|letter: char| letter.is_whitespace() || letter == '"').to_owned()
}

/// One for all spellings of a [`plain`] credential that a server may take for the same: of the other alphabet of base64,
/// padded or not, and, if it is long, in another case. Two that are not the same have one only by a chance that nobody
/// meets, and then the second is not exchanged.
pub fn folded(plain: &str) -> String {
    let folded = plain.trim_matches('=').replace('+', "-").replace('/', "_");
    if folded.len() < FOLDED_FROM { folded } else { folded.to_ascii_lowercase() }
}

impl Spent {
    /// What is remembered of each of its names: it counts once.
    fn entries(&self) -> impl Iterator<Item = (Digest, Entry)> {
        let entry = |at| Entry { until_ms: self.until_ms, person: (at == 0).then_some(self.person) };
        self.names.iter().enumerate().map(move |(at, name)| (*name, entry(at)))
    }
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

    /// Reserves a credential.
    ///
    /// # Errors
    /// [`Unreserved`].
    pub fn reserve(self: &Arc<Self>, spent: Spent, now_ms: i64) -> Result<Reservation, Unreserved> {
        self.with(|kept| {
            let mut reserved = self.reserved();
            if spent.names.iter().any(|name| kept.used.contains_key(name) || reserved.contains_key(name)) {
                return Err(Unreserved::Used);
            }
            let has_room = |kept: &Kept| {
                let own = reserved.values().filter(|person| **person == Some(spent.person)).count();
                if kept.shares.get(&spent.person).copied().unwrap_or(0) + own >= MOST_OF_ONE {
                    Err(Unreserved::TooMany)
                } else if kept.used.len() + reserved.len() + spent.names.len() > MOST {
                    Err(Unreserved::Full)
                } else {
                    Ok(())
                }
            };
            if has_room(kept).is_err() {
                kept.forget(now_ms);
                has_room(kept)?;
            }
            reserved.extend(spent.entries().map(|(name, entry)| (name, entry.person)));
            Ok(())
        })?;
        Ok(Reservation { once: Arc::clone(self), spent })
    }

    fn reserved(&self) -> MutexGuard<'_, HashMap<Digest, Option<Person>>> {
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
            if self.spent.names.iter().any(|name| kept.used.contains_key(name)) {
                return Err(Unreserved::Used);
            }
            if kept.bytes > MAX_BYTES {
                kept.forget(now_ms);
                kept.rewrite(&self.once.path)?;
            }
            let lines: String = self.spent.entries().map(|(name, entry)| line(&name, entry)).collect();
            kept.file.write_all(lines.as_bytes())?;
            kept.file.sync_data()?;
            kept.bytes += lines.len() as u64;
            for (name, entry) in self.spent.entries() {
                kept.remember(name, entry);
            }
            Ok(())
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.once.reserved();
        for name in &self.spent.names {
            reserved.remove(name);
        }
    }
}

impl Kept {
    fn new(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self { file: open(path)?, used: HashMap::new(), shares: HashMap::new(), bytes: 0 })
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
            let (digest, entry) = parse(line).ok_or_else(|| {
                let why = "a line is not `<sha-256> <milliseconds> <person>`: move the file away";
                io::Error::new(io::ErrorKind::InvalidData, why)
            })?;
            self.remember(digest, entry);
        }
        self.bytes += whole as u64;
        self.file.set_len(self.bytes)
    }

    /// A line may be read again.
    fn remember(&mut self, digest: Digest, entry: Entry) {
        if let Some(before) = self.used.insert(digest, entry) {
            leave(&mut self.shares, before);
        }
        if let Some(person) = entry.person {
            *self.shares.entry(person).or_default() += 1;
        }
    }

    fn forget(&mut self, now_ms: i64) {
        let Self { used, shares, .. } = self;
        used.retain(|_, entry| {
            let is_kept = entry.until_ms.saturating_add(GRACE_MS) > now_ms;
            if !is_kept {
                leave(shares, *entry);
            }
            is_kept
        });
    }

    /// What is remembered in a new file, which takes the place of the old one and is locked as that was.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let half = path.with_extension("half");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        let text: String = self.used.iter().map(|(digest, entry)| line(digest, *entry)).collect();
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

/// One less is theirs.
fn leave(shares: &mut HashMap<Person, usize>, entry: Entry) {
    let Some(person) = entry.person else { return };
    if let Some(share) = shares.get_mut(&person) {
        *share = share.saturating_sub(1);
        if *share == 0 {
            shares.remove(&person);
        }
    }
}

fn line(digest: &Digest, entry: Entry) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let person = entry.person.map(|person| format!(" {}", hex(&person))).unwrap_or_default();
    format!("{} {}{person}\n", hex(digest), entry.until_ms)
}

fn parse(line: &[u8]) -> Option<(Digest, Entry)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (digest, until_ms) = (unhex(words.next()?)?, words.next()?.parse().ok()?);
    let person = match words.next() {
        None => None,
        Some(person) => Some(unhex(person)?),
    };
    words.next().is_none().then_some((digest, Entry { until_ms, person }))
}

fn unhex<const LENGTH: usize>(hex: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    if hex.len() != LENGTH * 2 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "once_tests.rs"]
mod tests;
