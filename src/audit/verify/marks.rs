//! What is signed: checkpoints, and the keys that they are checked with.
//!
//! A checkpoint says that at its time the chain went at least up to its `seq`, with that hash. It is what makes a cut
//! tail and an older copy visible. Never holds a private key longer than it takes to see its public half.

use std::fs::File;
use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::report::Broken;
use crate::audit::chain::Hash;
use crate::audit::read::{Lines, Next};

/// An Ed25519 public key, and where it was taken from.
#[derive(Debug, Clone)]
pub struct PublicKey {
    bytes: Vec<u8>,
    /// First 16 hex digits of its SHA-256, as checkpoints name it.
    pub id: String,
    pub from: String,
}

impl PublicKey {
    pub fn new(bytes: &[u8], from: String) -> Option<Self> {
        let id = digest(&SHA256, bytes).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        (bytes.len() == 32).then(|| Self { bytes: bytes.to_owned(), id, from })
    }

    /// A file with one line of base64, such as `audit.pub`.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let key = STANDARD.decode(text.trim()).ok();
        key.and_then(|bytes| Self::new(&bytes, path.display().to_string()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not one line of base64 with 32 bytes behind it"))
    }

    /// The public half of `audit.key`.
    ///
    /// # Errors
    /// It cannot be read, or is no Ed25519 key in PKCS#8.
    pub fn of_private(path: &Path) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&std::fs::read(path)?).ok();
        pair.and_then(|pair| Self::new(pair.public_key().as_ref(), path.display().to_string()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Ed25519 key in PKCS#8"))
    }
}

/// A line of a checkpoint file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Checkpoint {
    node: String,
    pub seq: u64,
    hash: String,
    pub time: String,
    key: String,
    signature: String,
}

/// What a good checkpoint says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub seq: u64,
    pub hash: Hash,
    /// Of its file, from 1.
    pub line: u64,
}

impl Checkpoint {
    /// Reads a line and checks it with the trusted keys.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(line: &[u8], keys: &[PublicKey]) -> Result<(Self, Hash), Broken> {
        let read: Self = serde_json::from_slice(line).map_err(|_| Broken::NoCheckpoint)?;
        let hash = Hash::parse(read.hash.as_bytes()).ok_or(Broken::NoCheckpoint)?;
        let Some(key) = keys.iter().find(|key| key.id == read.key) else {
            return Err(Broken::ForeignKey { key: read.key });
        };
        let signed = format!("crossgate-checkpoint-1\n{}\n{}\n{}\n{}\n", read.node, read.seq, read.hash, read.time);
        let signature = STANDARD.decode(&read.signature).map_err(|_| Broken::Signature)?;
        UnparsedPublicKey::new(&ED25519, &key.bytes)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Broken::Signature)?;
        Ok((read, hash))
    }
}

/// The checkpoints of one file.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Good ones, by `seq`.
    pub good: Vec<Mark>,
    pub newest: Option<(u64, String)>,
    /// Lines that are no good, with what is wrong.
    pub bad: Vec<(u64, Broken)>,
    /// The file is there.
    pub present: bool,
}

impl Marks {
    /// Reads a checkpoint file; a missing one has none. A last line without its line feed is what a crash leaves, and
    /// is passed over.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn read(path: &Path, keys: &[PublicKey]) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(problem) => return Err(problem),
        };
        let mut marks = Self { present: true, ..Self::default() };
        let mut lines = Lines::of(file);
        loop {
            let read = match lines.read()? {
                Next::Line(line) => Checkpoint::read(line, keys),
                Next::TooLong => Err(Broken::NoCheckpoint),
                Next::Unfinished(_) | Next::End => break,
            };
            match read {
                Ok((checkpoint, hash)) => {
                    marks.good.push(Mark { seq: checkpoint.seq, hash, line: lines.count });
                    if marks.newest.as_ref().is_none_or(|(seq, _)| *seq < checkpoint.seq) {
                        marks.newest = Some((checkpoint.seq, checkpoint.time));
                    }
                }
                Err(broken) => marks.bad.push((lines.count, broken)),
            }
        }
        marks.good.sort_by_key(|mark| mark.seq);
        Ok(marks)
    }
}
