//! The lines of a file, one at a time: of bounded length, however long somebody made them.
//!
//! Owns where a line ends, and when a file has gone on without an end for too long. Knows nothing of what a line says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::chain::MAX_LINE;

const BUFFER: usize = 256 * 1024;

/// What a file has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// Without its line feed.
    Line(&'a [u8]),
    /// More bytes than a line may have; passed over up to its line feed.
    TooLong,
    /// The end, in the middle of a line. Asked again, the line goes on where the writer went on.
    Unfinished(&'a [u8]),
    End,
}

/// The lines of a file, one at a time and never more than [`MAX_LINE`] bytes of one.
#[derive(Debug)]
pub struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// How many lines were had, the unfinished one not counted.
    pub count: u64,
    /// Bytes so far of a line that is too long and is being passed over; zero: none is.
    passed: u64,
    /// Bytes that are still to be read.
    left: u64,
}

/// Bytes of a line that is too long after which nothing more of the file is read: no crash leaves so many, and a file
/// without end would hold whoever reads it for ever.
const MOST_PASSED: u64 = 16 << 20;

impl Lines {
    pub fn of(file: File) -> Self {
        Self::up_to(file, u64::MAX)
    }

    /// Those in the file's first so many bytes.
    pub fn up_to(file: File, bytes: u64) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER, file),
            line: Vec::with_capacity(MAX_LINE),
            count: 0,
            passed: 0,
            left: bytes,
        }
    }

    /// Bytes of the line that [`Next::Unfinished`] is of, also where it is too long.
    pub fn unfinished(&self) -> u64 {
        self.passed + self.line.len() as u64
    }

    /// The next line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self) -> io::Result<Next<'_>> {
        if self.line.ends_with(b"\n") {
            self.line.clear();
        }
        loop {
            let room = ((MAX_LINE + 1).saturating_sub(self.line.len()) as u64).min(self.left);
            let read = self.reader.by_ref().take(room).read_until(b'\n', &mut self.line)?;
            self.left = self.left.saturating_sub(read as u64);
            let whole = self.line.ends_with(b"\n");
            if self.line.len() > MAX_LINE || (self.passed > 0 && read > 0) {
                self.passed += self.line.len() as u64;
                self.line.clear();
                if whole || self.passed > MOST_PASSED {
                    self.left = if whole { self.left } else { 0 };
                    self.passed = 0;
                    self.count += 1;
                    return Ok(Next::TooLong);
                }
                continue;
            }
            if whole {
                self.count += 1;
                return Ok(Next::Line(self.line.strip_suffix(b"\n").unwrap_or_default()));
            }
            return Ok(if self.unfinished() == 0 { Next::End } else { Next::Unfinished(&self.line) });
        }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        self.reader.get_ref()
    }
}
