//! What is signed: checkpoints, and the keys that they are checked with.
//!
//! A checkpoint says that at its time the chain went at least up to its `seq`, with that hash. It is what makes a cut
//! tail and an older copy visible. Never holds a private key longer than it takes to see its public half.

use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::report::{Broken, MOST};
use crate::audit::chain::Hash;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::keys::PublicKey;
use crate::audit::read::{Lines, Next};
use crate::audit::regular;

/// A public key that is trusted, and where it was taken from.
#[derive(Debug, Clone)]
pub struct Trusted {
    key: PublicKey,
    /// As checkpoints name it.
    pub id: String,
    pub from: String,
}

impl Trusted {
    fn new(key: PublicKey, from: &str) -> Self {
        Self { id: key.id(), key, from: from.to_owned() }
    }

    /// The keys in the text of a file such as `audit.pub`: a line of base64 each.
    pub(super) fn all(text: &str, from: &str) -> Vec<Self> {
        PublicKey::all(text).into_iter().map(|key| Self::new(key, from)).collect()
    }

    /// The keys of a file such as `audit.pub`.
    ///
    /// # Errors
    /// It cannot be read, or has none.
    pub fn read(path: &Path) -> io::Result<Vec<Self>> {
        let text = regular::read(path, regular::KEYS)?;
        let keys = Self::all(&String::from_utf8_lossy(&text), &path.display().to_string());
        if keys.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no line of base64 with the 32 bytes of a key"));
        }
        Ok(keys)
    }

    /// The public half of `audit.key`.
    ///
    /// # Errors
    /// It cannot be read, or is no Ed25519 key in PKCS#8.
    pub fn of_private(path: &Path) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&regular::read(path, regular::KEYS)?).ok();
        pair.and_then(|pair| PublicKey::parse(&STANDARD.encode(pair.public_key())))
            .map(|key| Self::new(key, &path.display().to_string()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Ed25519 key in PKCS#8"))
    }
}

/// What a good checkpoint says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// The trail was ended there.
    pub(super) end: bool,
    /// Of its file, from 1.
    pub(super) line: u64,
}

/// Reads a checkpoint and checks it with the trusted keys. `line` is its number.
pub(super) fn checked(bytes: &[u8], line: u64, keys: &[Trusted]) -> Result<Mark, Broken> {
    let read = Checkpoint::parse(bytes).ok_or(Broken::NoCheckpoint)?;
    let link = read.link().ok_or(Broken::NoCheckpoint)?;
    let Some(trusted) = keys.iter().find(|trusted| trusted.id == read.key) else {
        return Err(Broken::ForeignKey { key: read.key });
    };
    if !read.is_signed_by(std::slice::from_ref(&trusted.key)) {
        return Err(Broken::Signature);
    }
    Ok(Mark { seq: link.seq, hash: link.hash, end: read.end, line })
}

/// The checkpoints of one file, one at a time: those that were there when it was opened, in the order of their entries.
/// A last line without its line feed is what a crash leaves, and is passed over.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// None where nothing is left, or there is no such file.
    lines: Option<Lines>,
    next: Option<Mark>,
    /// The greatest `seq` so far, with its line.
    pub(super) last: Option<Mark>,
    /// Lines that are no good, with what is wrong; whoever looks takes them.
    pub(super) bad: Vec<(u64, Broken)>,
    /// The file is there.
    pub(super) present: bool,
    failed: Option<io::Error>,
}

impl Marks {
    /// Opens a checkpoint file; a missing one has none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = match regular::open(path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(problem) => return Err(problem),
        };
        let bytes = file.metadata()?.len();
        Ok(Self { lines: Some(Lines::up_to(file, bytes)), present: true, ..Self::default() })
    }

    /// The next good one with a `seq` of at most `seq`.
    pub(super) fn next_to(&mut self, seq: u64, keys: &[Trusted]) -> Option<Mark> {
        if self.next.is_none() {
            self.advance(keys);
        }
        self.next.take_if(|mark| mark.seq <= seq)
    }

    fn advance(&mut self, keys: &[Trusted]) {
        while let Some(lines) = &mut self.lines {
            let line = lines.count + 1;
            let read = match lines.read() {
                Ok(Next::Line(bytes)) => checked(bytes, line, keys),
                Ok(Next::TooLong) => Err(Broken::NoCheckpoint),
                Ok(Next::Unfinished(_) | Next::End) => break,
                Err(problem) => {
                    self.failed = Some(problem);
                    break;
                }
            };
            match (read, self.last) {
                (Ok(mark), Some(last)) if mark.seq < last.seq => {
                    self.bad.push((line, Broken::Disorder { seq: mark.seq, before: last.seq }));
                }
                (Ok(mark), _) => {
                    self.last = Some(mark);
                    self.next = Some(mark);
                    return;
                }
                // A file of nothing else must not fill the memory: beyond what is told it says nothing new.
                (Err(broken), _) if self.bad.len() <= MOST => self.bad.push((line, broken)),
                (Err(_), _) => {}
            }
        }
        self.lines = None;
    }

    /// Reads what is left.
    ///
    /// # Errors
    /// The file could not be read to its end.
    pub(super) fn finish(&mut self, keys: &[Trusted]) -> io::Result<()> {
        while self.next_to(u64::MAX, keys).is_some() {}
        self.failed.take().map_or(Ok(()), Err)
    }
}
