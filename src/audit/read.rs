//! Reading the trail: its files in the order of their entries, and their lines.
//!
//! Owns where a trail is ([`Place`]), the order in which files are opened so that a rotation or a retention in between
//! loses nothing, and which lines count ([`each`]). Works on a folder that a service writes and on a copy alike. Never
//! writes, takes no lock, judges nothing: whether lines hold is `verify`'s question.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::chain::{Line, MAX_LINE};
pub use super::lines::{Lines, Next};
use super::names::Names;
use super::regular;

/// Digits of a segment's first `seq` in its name.
const DIGITS: usize = 20;
/// How often and how long a file that a rotation is just moving is waited for: 2 s.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is nothing to read.
#[derive(Debug)]
pub enum Unreadable {
    /// No trail there.
    Absent(PathBuf),
    /// More than one trail in a folder.
    Several(PathBuf),
    Failed(PathBuf, io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(path) => write!(
                f,
                "{}: no audit trail here; name the folder or the file of `audit.file`, or take both from a config with -c",
                path.display()
            ),
            Self::Several(path) => {
                write!(f, "{}: more than one trail in this folder; name the file of one", path.display())
            }
            Self::Failed(path, problem) => write!(f, "{} cannot be read: {problem}", path.display()),
        }
    }
}

/// A trail on disk: a folder and the name of the file that is written.
#[derive(Debug, Clone)]
pub struct Place {
    names: Names,
}

impl Place {
    /// The trail whose active file is `path`, or in the folder `path`: `audit.jsonl`, else the only one.
    ///
    /// # Errors
    /// [`Unreadable`] when there is none, or more than one.
    pub fn find(path: &Path) -> Result<Self, Unreadable> {
        if !path.is_dir() {
            return Self::of_file(path).ok_or_else(|| Unreadable::Absent(path.to_owned()));
        }
        let failed = |problem| Unreadable::Failed(path.to_owned(), problem);
        let mut names = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(".jsonl")) else { continue };
            // A sealed segment stands for its trail, whose active file may be the one that is missing.
            names.extend(Self::of_file(Path::new(name)).map(|place| place.name()));
        }
        let name = match names.len() {
            0 => return Err(Unreadable::Absent(path.to_owned())),
            _ if names.contains("audit.jsonl") => "audit.jsonl".to_owned(),
            1 => names.pop_first().unwrap_or_default(),
            _ => return Err(Unreadable::Several(path.to_owned())),
        };
        Self::of_file(&path.join(name)).ok_or_else(|| Unreadable::Absent(path.to_owned()))
    }

    /// The trail that a file belongs to, by the file's name: also by that of a sealed segment.
    pub fn of_file(path: &Path) -> Option<Self> {
        let sealed = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.rsplit_once('-'));
        let stem = sealed.filter(|(_, digits)| number(digits).is_some()).map(|(stem, _)| stem);
        let active = match (stem, path.extension()) {
            (None, _) => path.to_owned(),
            (Some(stem), None) => path.with_file_name(stem),
            (Some(stem), Some(ending)) => path.with_file_name(stem).with_extension(ending),
        };
        Names::of(&active).ok().map(|names| Self { names })
    }

    pub fn folder(&self) -> &Path {
        self.names.folder()
    }

    /// Name of the active file.
    pub fn name(&self) -> String {
        last(self.names.active())
    }

    pub fn active(&self) -> PathBuf {
        self.names.active().to_owned()
    }

    /// A segment that is just being begun.
    pub(super) fn fresh(&self) -> PathBuf {
        self.names.fresh()
    }

    /// Name of the segment that begins with `first`, once it is not the active one any more.
    pub fn segment(&self, first: u64) -> String {
        self.names.older_name(first)
    }

    /// Name of the checkpoints of the segment that begins with `first`.
    pub(super) fn checkpoints(&self, first: u64) -> String {
        last(&self.names.checkpoints(first))
    }

    /// The keys that the folder carries for its checkpoints.
    pub(super) fn public_key(&self) -> PathBuf {
        self.names.public_key()
    }

    /// First entries of the files with such names, in order.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(super) fn listed(&self, name: impl Fn(&Self, u64) -> String) -> Result<Vec<u64>, Unreadable> {
        let failed = |problem| Unreadable::Failed(self.folder().to_owned(), problem);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.folder()).map_err(failed)? {
            let entry = entry.map_err(failed)?.file_name();
            let Some(text) = entry.to_str() else { continue };
            let digits = text.rsplit_once('-').and_then(|(_, rest)| rest.get(..DIGITS));
            found.extend(digits.and_then(number).filter(|first| name(self, *first) == text));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Opens the trail as it stands. The active file comes first and the list of the others after it: a rotation in
    /// between then shows as the open file under its new name, and never as a segment that nobody saw.
    ///
    /// # Errors
    /// [`Unreadable`]; no file at all is [`Unreadable::Absent`].
    pub fn open(&self) -> Result<Opened, Unreadable> {
        let path = self.active();
        for attempt in 0.. {
            let active = match regular::open(&path) {
                Ok(file) => Some(file),
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => None,
                Err(problem) => return Err(Unreadable::Failed(path, problem)),
            };
            let mut older = match self.listed(Self::segment) {
                Ok(older) => older,
                Err(Unreadable::Failed(_, problem)) if problem.kind() == io::ErrorKind::NotFound => {
                    return Err(Unreadable::Absent(path));
                }
                Err(problem) => return Err(problem),
            };
            let last = attempt >= TRIES;
            match active {
                None if older.is_empty() => return Err(Unreadable::Absent(path)),
                None if last => return Ok(Opened { older, active: None, rotated: None }),
                None => {}
                Some(file) => {
                    let inode = inode(file.metadata());
                    let same = |path: &Path| inode.is_some() && self::inode(std::fs::metadata(path)) == inode;
                    let rotated = older.iter().copied().find(|first| same(&self.folder().join(self.segment(*first))));
                    if let Some(first) = rotated {
                        older.retain(|other| *other < first);
                    }
                    // Neither: it was rotated and retired again already, and what follows it is not known.
                    if rotated.is_some() || same(&path) || last {
                        return Ok(Opened { older, active: Some(file), rotated });
                    }
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err(Unreadable::Absent(path))
    }

    /// Opens an older segment; nothing when it is gone.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn open_segment(&self, first: u64) -> Result<Option<File>, Unreadable> {
        let path = self.folder().join(self.segment(first));
        match regular::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(Unreadable::Failed(path, problem)),
        }
    }

    /// What follows `done`, the file that was read last under this number: rotated segments, and the active file.
    /// Nothing while `done` is still the active one.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn next(&self, done: &File) -> Result<Option<Opened>, Unreadable> {
        let inode = inode(done.metadata());
        if self::inode(std::fs::metadata(self.active())) == inode {
            return Ok(None);
        }
        let mut opened = self.open()?;
        if opened.active.as_ref().is_some_and(|file| self::inode(file.metadata()) == inode) {
            return Ok(None);
        }
        // Under the name that it has now; gone, everything that is there comes after it.
        let known = |first: &u64| self::inode(std::fs::metadata(self.folder().join(self.segment(*first)))) == inode;
        if let Some(first) = opened.older.iter().copied().find(known) {
            opened.older.retain(|other| *other > first);
        }
        Ok(Some(opened))
    }
}

fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn number(digits: &str) -> Option<u64> {
    (digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn inode(of: io::Result<std::fs::Metadata>) -> Option<(u64, u64)> {
    of.ok().map(|file| (file.dev(), file.ino()))
}

/// A trail whose files are known, in order.
#[derive(Debug)]
pub struct Opened {
    /// First entries of the segments before the active one.
    pub older: Vec<u64>,
    /// The file that was active when it was opened.
    pub active: Option<File>,
    /// Its number, where it has been rotated since.
    pub rotated: Option<u64>,
}

impl Opened {
    /// How the file after the `index`-th of the older ones begins.
    pub fn opening_after(&mut self, place: &Place, index: usize) -> Option<Opening> {
        match self.older.get(index + 1) {
            Some(first) => Opening::read(&mut place.open_segment(*first).ok()??),
            None => match &mut self.active {
                Some(active) => Opening::read(active),
                // A rotation that stopped half way had begun it.
                None => Opening::read(&mut regular::open(&place.fresh()).ok()?),
            },
        }
    }
}

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub first: u64,
    pub reason: String,
}

impl Opening {
    /// Reads it and goes back to the file's beginning.
    pub fn read(file: &mut File) -> Option<Self> {
        let mut line = Vec::new();
        let read = BufReader::new(&mut *file).take(MAX_LINE as u64).read_until(b'\n', &mut line);
        file.rewind().ok()?;
        read.ok()?;
        let line = Line::read(line.strip_suffix(b"\n")?)?;
        line.check().ok()?;
        let about = About::read(&line)?;
        (about.action == "trail.open").then_some(Self { first: line.seq, reason: about.reason })
    }

    /// Whether lines of the file before it, from this one's first entry on, were never acknowledged and do not count.
    pub fn leaves_a_rest(&self) -> bool {
        self.reason == "recovered"
    }
}

/// What an entry about the trail itself says.
#[derive(Debug, Deserialize)]
pub struct About {
    #[serde(default)]
    pub action: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub resource: String,
    pub count: Option<u64>,
    pub seal: Option<Span>,
}

/// Entries from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl About {
    /// Nothing for entries about anything else.
    pub fn read(line: &Line<'_>) -> Option<Self> {
        if line.event() != b"system" {
            return None;
        }
        let mut json = Vec::with_capacity(line.body.len() + 1);
        json.push(b'{');
        json.extend_from_slice(line.body);
        serde_json::from_slice(&json).ok()
    }
}

/// The value of `time`, which stands second in every body.
pub fn time<'a>(line: &Line<'a>) -> Option<&'a str> {
    const BEFORE: usize = r#""id":"00112233445566778899aabbccddeeff","#.len();
    let rest = line.body.get(BEFORE..)?.strip_prefix(b"\"time\":\"")?;
    std::str::from_utf8(rest.split(|byte| *byte == b'"').next()?).ok()
}

/// Gets the name of a file, the number of a line, and the line; nothing where it is too long to be one.
pub type Visit<'a> = dyn FnMut(&str, u64, Option<&[u8]>) -> ControlFlow<()> + 'a;

/// Hands on the lines of one file: its name, the line's number, and the line, or nothing where it is too long to be one.
/// What a failed disk left behind, as `after` tells, does not count. Gives the reader back, unless it was told to break.
///
/// # Errors
/// The file cannot be read.
pub fn each(
    place: &Place,
    file: File,
    name: &str,
    after: Option<&Opening>,
    each: &mut Visit<'_>,
) -> Result<Option<Lines>, Unreadable> {
    let failed = |problem| Unreadable::Failed(place.folder().join(name), problem);
    let rest = after.filter(|after| after.leaves_a_rest()).map(|after| after.first);
    let mut lines = Lines::of(file);
    let mut seq = 0;
    loop {
        let number = lines.count + 1;
        let line = match lines.read().map_err(failed)? {
            Next::Line(line) => Some(line),
            Next::TooLong => None,
            Next::Unfinished(_) | Next::End => return Ok(Some(lines)),
        };
        if let Some(rest) = rest {
            seq = line.and_then(Line::read).map_or(seq, |line| line.seq);
            if seq >= rest || (seq + 1 == rest && line.and_then(Line::read).is_none()) {
                continue;
            }
        }
        if each(name, number, line).is_break() {
            return Ok(None);
        }
    }
}
