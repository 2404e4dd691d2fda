//! The last good key set on disk, so that a restart during an outage of Clerk does not lock everybody out.
//!
//! Used by `refresh`, on the blocking pool. A file is believed as far as a fetched set would be: same strict
//! parser, for this issuer and address only, bounded in age. Failing to read or write it is said once and changes
//! nothing else. A set that shows a private key is not written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::jwks::{KeySet, KeySetProblem, MAX_SET_BYTES, SetKind};
use crate::clock::Now;
use crate::identity::json;

/// Of the file's form; another one is not read.
const VERSION: u64 = 1;
/// A set with every byte escaped, and the rest.
const MAX_FILE_BYTES: u64 = 8 * MAX_SET_BYTES as u64;
/// How far in the future a file's time may lie: clocks differ, files do not come from tomorrow.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// Where one issuer's set is kept.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
    name: String,
    issuer: Arc<str>,
    url: Arc<str>,
    kind: SetKind,
}

/// Why a persisted set is not used or not written.
#[derive(Debug)]
pub(super) enum StoreProblem {
    File(io::Error),
    /// Others may write the file, so others may choose the keys.
    Writable,
    /// Not this version's form.
    Form,
    /// For another issuer or address.
    Foreign,
    TooOld,
    FromTheFuture,
    Set(KeySetProblem),
}

impl std::fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(problem) => write!(f, "{problem}"),
            Self::Writable => write!(f, "the file can be written by everyone"),
            Self::Form => write!(f, "not a key set file of this version"),
            Self::Foreign => write!(f, "the file is for another issuer or address"),
            Self::TooOld => write!(f, "older than jwks.max_stale"),
            Self::FromTheFuture => write!(f, "its time lies in the future"),
            Self::Set(problem) => write!(f, "{problem}"),
        }
    }
}

impl From<io::Error> for StoreProblem {
    fn from(problem: io::Error) -> Self {
        Self::File(problem)
    }
}

/// A set and when it was fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) set: KeySet,
    pub(super) fetched_unix_ms: i64,
}

impl Store {
    pub(super) fn new(state_dir: &Path, issuer: &Arc<str>, url: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, format!("{issuer}\n{url}").as_bytes());
        let name: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            folder: state_dir.join("keys"),
            name: format!("{name}.json"),
            issuer: Arc::clone(issuer),
            url: url.into(),
            kind: SetKind::Clerk,
        }
    }

    /// For a set that is read in another way than Clerk's.
    pub(super) fn of_kind(self, kind: SetKind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// What was saved, if it may still be used; `None` when nothing was.
    pub(super) fn load(&self, max_stale: Duration, now: Now) -> Result<Option<Stored>, StoreProblem> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(problem.into()),
        };
        if file.metadata()?.permissions().mode() & 0o002 != 0 {
            return Err(StoreProblem::Writable);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        self.read(&bytes, max_stale, now).map(Some)
    }

    fn read(&self, bytes: &[u8], max_stale: Duration, now: Now) -> Result<Stored, StoreProblem> {
        let members = json::parse_object(bytes).map_err(|_| StoreProblem::Form)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or(StoreProblem::Form);
        if members.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err(StoreProblem::Form);
        }
        if text("issuer")? != &*self.issuer || text("url")? != &*self.url {
            return Err(StoreProblem::Foreign);
        }
        let fetched_unix_ms = members.get("fetched_at").and_then(Value::as_i64).ok_or(StoreProblem::Form)?;
        let age_ms = i128::from(now.unix_ms) - i128::from(fetched_unix_ms);
        if age_ms > max_stale.as_millis() as i128 {
            return Err(StoreProblem::TooOld);
        }
        if age_ms < -(MAX_AHEAD.as_millis() as i128) {
            return Err(StoreProblem::FromTheFuture);
        }
        let set = KeySet::parse_jwks_of(text("set")?.as_bytes(), &self.kind).map_err(StoreProblem::Set)?;
        Ok(Stored { set, fetched_unix_ms })
    }

    /// Replaces what was saved: whole or not at all, readable by nobody else.
    pub(super) fn save(&self, set: &str, fetched_unix_ms: i64) -> Result<(), StoreProblem> {
        let members = json!({
            "version": VERSION, "issuer": &*self.issuer, "url": &*self.url, "fetched_at": fetched_unix_ms, "set": set,
        });
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // In the same folder, since a rename is atomic only within one file system.
        let temporary = self.folder.join(format!(".{}.{}.tmp", self.name, std::process::id()));
        let written = self.write(&temporary, members.to_string().as_bytes());
        if written.is_err() {
            // What is left of a failed attempt helps nobody; that it cannot be removed changes nothing.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn write(&self, temporary: &Path, bytes: &[u8]) -> Result<(), StoreProblem> {
        drop(fs::remove_file(temporary));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(temporary, self.path())?;
        // The rename itself is durable only once the folder is.
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
