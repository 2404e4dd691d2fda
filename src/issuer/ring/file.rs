//! A key as a file: what it is called, what it says, and how it is written.
//!
//! `<seconds since 1970>-<algorithm>.pem`, mode 0600, a private key in PEM. A line before the key says for how long it is
//! published before it signs, so that all processes agree on that, whatever their `overlap` is by then. PEM has room for such
//! lines (RFC 7468 2); keys without one are of before, or an operator's own. Never shows what else is in a file.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::issuer::{Algorithm, SigningKey};

/// Seconds: the end of the year 9999. What is later is no time.
const LAST: i64 = 253_402_300_799;
/// A key is less than 4 KiB.
const MAX_BYTES: u64 = 64 << 10;
/// Begins the line that says how long a key waits.
const WAITS: &str = "signs-after-seconds: ";

/// Why the folder cannot be used. Names a file, never what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingProblem {
    pub path: PathBuf,
    pub what: String,
    /// Of somebody else, as far as whoever looks may tell.
    pub is_denied: bool,
}

impl RingProblem {
    pub(super) fn new(path: &Path, what: impl Into<String>) -> Self {
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

/// A file that is a key, by its name.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// Seconds since the epoch.
    pub(super) created: i64,
    algorithm: Algorithm,
}

/// What is in it.
pub(super) struct Content {
    pub(super) key: SigningKey,
    /// How long it is published before it signs; `None` where it does not say.
    pub(super) waits: Option<Duration>,
}

impl KeyFile {
    /// All of a folder; one that is not there has none.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>, RingProblem> {
        let unreadable = |why: &io::Error| RingProblem::unreadable(folder, why);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(problem) => return Err(unreadable(&problem)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|problem| unreadable(&problem))?.path();
            // Half-written ones have another ending.
            if path.extension().is_none_or(|ending| ending != "pem") {
                continue;
            }
            let Some((created, algorithm)) = path.file_stem().and_then(|name| parse_name(name.to_str()?)) else {
                let what = "its name is not <seconds since 1970>-es256.pem or -rs256.pem";
                return Err(RingProblem::new(&path, what));
            };
            files.push(Self { path, created, algorithm });
        }
        Ok(files)
    }

    /// Where the key of this second is kept.
    pub(super) fn path(folder: &Path, created: i64, algorithm: Algorithm) -> PathBuf {
        folder.join(format!("{created}-{}.pem", algorithm.as_str().to_ascii_lowercase()))
    }

    pub(super) fn read(&self) -> Result<Content, RingProblem> {
        let problem = |what: String| RingProblem::new(&self.path, what);
        let unreadable = |why: io::Error| RingProblem::unreadable(&self.path, &why);
        // Asked first: opening a pipe waits for its writer.
        if !fs::metadata(&self.path).map_err(unreadable)?.is_file() {
            return Err(problem("is no regular file".to_owned()));
        }
        let mut pem = Vec::new();
        let file = fs::File::open(&self.path).map_err(unreadable)?;
        file.take(MAX_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
        let key = SigningKey::from_pem(self.algorithm, &pem).map_err(|why| problem(why.to_string()))?;
        let waits = waits(&pem).map_err(|()| problem(format!("`{}` is not followed by seconds", WAITS.trim_end())))?;
        Ok(Content { key, waits })
    }
}

/// Keeps a key under a path that is not taken. Whole or not at all.
pub(super) fn keep(folder: &Path, path: &Path, pem: &str, waits: Duration) -> io::Result<()> {
    // A part of a second is a whole one: never earlier than was meant.
    let seconds = waits.as_secs() + u64::from(waits.subsec_nanos() > 0);
    write(folder, path, format!("{WAITS}{seconds}\n{pem}").as_bytes())
}

fn waits(pem: &[u8]) -> Result<Option<Duration>, ()> {
    let before = pem.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"-----"));
    let Some(said) = before.filter_map(|line| line.strip_prefix(WAITS.as_bytes())).next() else { return Ok(None) };
    let seconds = std::str::from_utf8(said.trim_ascii()).ok().and_then(|text| text.parse::<u32>().ok());
    seconds.map(|seconds| Some(Duration::from_secs(seconds.into()))).ok_or(())
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

/// Never over another.
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
