//! Reading a map's file: line by line, bounded, every problem with its line.
//!
//! The whole file is good or none of it is used: whoever loads keeps the last good map. Blank lines are allowed; the last
//! line may go without a line break, since an object that ends is whole. Never blocks on what is no regular file, and
//! holds one line of 64 KiB at most beside what it builds.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::digest;

use super::build::{Builder, Loaded};
use super::line::Line;

/// Longest line, in bytes, without its end.
pub const MAX_LINE: usize = 64 * 1024;
/// Largest file, in bytes: nine million linked users.
pub const MAX_FILE: u64 = 1 << 30;

/// What is wrong with a map: lower case, no period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when it is the file as a whole.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

/// What tells a file from what it was before: replaced, written to, or grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    place: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds of the last write, and of the last change of anything; the second cannot be set back.
    times: [(i64, i64); 2],
}

impl Stamp {
    /// The stamp of a path, links followed; `None` where there is nothing to be stamped.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|meta| Self::new(&meta))
    }

    /// Of the last write, in milliseconds since 1970.
    pub const fn modified_ms(&self) -> i64 {
        let [(seconds, nanoseconds), _] = self.times;
        seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
    }

    fn new(meta: &std::fs::Metadata) -> Self {
        let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Self { place: (meta.dev(), meta.ino()), length: meta.len(), times }
    }
}

/// As [`load`], with the stamp of the file; `None` when it changed while it was read.
///
/// # Errors
/// As [`load`].
pub fn load_stamped(path: &Path) -> Result<(Loaded, Option<Stamp>), Vec<Problem>> {
    let whole = |message| vec![Problem { line: 0, message }];
    let file = open(path).map_err(whole)?;
    let stamp = |file: &File| file.metadata().map(|meta| Stamp::new(&meta)).ok();
    let before = stamp(&file);
    let loaded = read(BufReader::with_capacity(MAX_LINE, &file))?;
    let after = stamp(&file);
    Ok((loaded, before.filter(|before| after.as_ref() == Some(before))))
}

/// Reads a map's file. Blocks for as long as the disk needs; a million users take about a second.
///
/// # Errors
/// Up to 100 problems, by line; or one, with line 0, when the file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let file = open(path).map_err(|message| vec![Problem { line: 0, message }])?;
    read(BufReader::with_capacity(MAX_LINE, file))
}

/// Opens a regular file.
///
/// # Errors
/// Why it cannot be read, with its name.
pub fn open(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let unreadable = |error: &io::Error| format!("cannot read {shown}: {}", reason(error));
    // Asked before opening: opening a FIFO waits for its writer.
    let meta = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        return Err(format!("cannot read {shown}: it is not a regular file"));
    }
    File::open(path).map_err(|error| unreadable(&error))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

/// As [`load`], from any source of bytes.
///
/// # Errors
/// As [`load`].
pub fn read(source: impl BufRead) -> Result<Loaded, Vec<Problem>> {
    let mut builder = Builder::default();
    lines(source, &mut builder, |number, bytes, builder| {
        match Line::parse(bytes) {
            Ok(line) => builder.add(number, &line),
            Err(message) => builder.problem(number, message),
        }
        ControlFlow::Continue(())
    });
    builder.finish()
}

/// Hands on each line that is not blank, with its number and without its end; stops when the builder has enough
/// problems. What cannot be read is told to the builder, as is the digest of all bytes.
pub fn lines(
    source: impl BufRead,
    builder: &mut Builder,
    mut each: impl FnMut(usize, &[u8], &mut Builder) -> ControlFlow<()>,
) {
    let mut source = source.take(MAX_FILE + 1);
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut line = Vec::new();
    let mut number = 0;
    while !builder.has_enough() {
        line.clear();
        number += 1;
        // The end of the line counts too, and one byte more tells a long line from one that just fits.
        match source.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => digest.update(&line),
            Err(error) => {
                builder.problem(number, format!("the file cannot be read on: {}", reason(&error)));
                return;
            }
        }
        if source.limit() == 0 {
            builder.problem(0, "the file is larger than 1 GiB");
            return;
        }
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let bytes = if number == 1 { bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes) } else { bytes };
        if bytes.len() > MAX_LINE {
            builder.problem(number, "the line is longer than 64 KiB");
            if !line.ends_with(b"\n") && skip_line(&mut source).is_err() {
                return;
            }
            continue;
        }
        if !bytes.trim_ascii().is_empty() && each(number, bytes, builder).is_break() {
            return;
        }
    }
    let digest = digest.finish();
    builder.digest(digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect());
}

/// To the end of a line that is not kept.
fn skip_line(source: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |at| at + 1);
        let is_last = buffer.is_empty();
        source.consume(length);
        if end.is_some() || is_last {
            return Ok(());
        }
    }
}
