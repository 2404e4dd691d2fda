//! What somebody else wrote, as it stands in a line: bounded, and ASCII.
//!
//! What is not ASCII is escaped as JSON does it, so that no byte of a client can begin a new line, move a cursor or end a
//! string, and every one of them can be had back. Owns both halves of that, as the bound counts what the escape writes.

use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

/// A value of somebody else's choosing, bounded: at most `N` bytes in the line, between its quotes. What is longer is cut
/// and ends in `…` and 16 hex digits of its SHA-256, so that two long values stay two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text<'a, const N: usize>(pub &'a str);

/// Bytes of what stands behind a cut: the escaped `…` and the digits.
const CUT: usize = 6 + 16;

impl<const N: usize> Serialize for Text<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = 0;
        let mut cut = None;
        for (at, letter) in self.0.char_indices() {
            written += escaped(letter);
            if written > N.saturating_sub(CUT) && cut.is_none() {
                cut = Some(at);
            }
            if written > N {
                let head = self.0.get(..cut.unwrap_or(at)).unwrap_or_default();
                let whole = digest(&SHA256, self.0.as_bytes());
                let mark: String = whole.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                return serializer.serialize_str(&format!("{head}\u{2026}{mark}"));
            }
        }
        serializer.serialize_str(self.0)
    }
}

/// Bytes of a letter in the line.
fn escaped(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' | '\u{7f}' => 6,
        ' '..='~' => 1,
        other => other.len_utf16() * 6,
    }
}

/// Compact JSON of ASCII alone.
pub(super) struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|letter: char| !(' '..='~').contains(&letter)) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut letters = from.chars();
            if let Some(letter) = letters.next() {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = letters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        // The default's own; named here because a shorter one would break the count in `escaped`.
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}
