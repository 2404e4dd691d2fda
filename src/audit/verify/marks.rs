//! What is signed: checkpoints, and the keys that they are checked with.
//!
//! A checkpoint says that at its time the chain went at least up to its `seq`, with that hash. It is what makes a cut
//! tail and an older copy visible. Never holds a private key longer than it takes to see its public half.

use std::fs::File;
use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::report::Broken;
use crate::audit::chain::Hash;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::keys::PublicKey;
use crate::audit::read::{Lines, Next};

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
        let keys = Self::all(&std::fs::read_to_string(path)?, &path.display().to_string());
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
        let pair = Ed25519KeyPair::from_pkcs8(&std::fs::read(path)?).ok();
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
    /// Of its file, from 1.
    pub(super) line: u64,
}

/// Reads a checkpoint and checks it with the trusted keys.
pub(super) fn checked(line: &[u8], keys: &[Trusted]) -> Result<(Checkpoint, Hash), Broken> {
    let read = Checkpoint::parse(line).ok_or(Broken::NoCheckpoint)?;
    let link = read.link().ok_or(Broken::NoCheckpoint)?;
    let Some(trusted) = keys.iter().find(|trusted| trusted.id == read.key) else {
        return Err(Broken::ForeignKey { key: read.key });
    };
    if !read.is_signed_by(std::slice::from_ref(&trusted.key)) {
        return Err(Broken::Signature);
    }
    Ok((read, link.hash))
}

/// The checkpoints of one file.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Good ones, by `seq`.
    pub(super) good: Vec<Mark>,
    /// Lines that are no good, with what is wrong.
    pub(super) bad: Vec<(u64, Broken)>,
    /// The file is there.
    pub(super) present: bool,
}

impl Marks {
    /// Reads a checkpoint file; a missing one has none. A last line without its line feed is what a crash leaves, and
    /// is passed over.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn read(path: &Path, keys: &[Trusted]) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(problem) => return Err(problem),
        };
        let mut marks = Self { present: true, ..Self::default() };
        let mut lines = Lines::of(file);
        loop {
            let read = match lines.read()? {
                Next::Line(line) => checked(line, keys),
                Next::TooLong => Err(Broken::NoCheckpoint),
                Next::Unfinished(_) | Next::End => break,
            };
            match read {
                Ok((checkpoint, hash)) => marks.good.push(Mark { seq: checkpoint.seq, hash, line: lines.count }),
                Err(broken) => marks.bad.push((lines.count, broken)),
            }
        }
        marks.good.sort_by_key(|mark| mark.seq);
        Ok(marks)
    }
}
