//! The chain: what makes a line of the trail the only one that can stand behind the line before it.
//!
//! Owns the fixed head of a line (`seq`, `prev`, `hash`), how the hash is made, and how a line is read back by position
//! rather than as JSON, so that a verifier keeps up with the disk. Never opens a file.

use std::fmt;
use std::io::Write;

use aws_lc_rs::digest::{Context, SHA256};

/// Most bytes of a line, its line feed included.
pub const MAX_LINE: usize = 4096;

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first line.
    pub const GENESIS: Self = Self([0; 32]);

    /// Reads 64 lower-case hex digits; nothing else, so that there is one way to write a hash.
    pub fn parse(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        (hex.len() == 64).then_some(())?;
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            *byte = nibble(high)? << 4 | nibble(low)?;
        }
        Some(Self(bytes))
    }

    fn hex(self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [b'0'; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        hex
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The last line of a chain: where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub hash: Hash,
}

impl Link {
    /// Before the first line.
    pub const START: Self = Self { seq: 0, hash: Hash::GENESIS };

    /// Writes the next line, with its line feed, behind what is in `out`. `body` is the line from `"id"` on, up to and
    /// with its closing brace.
    #[must_use]
    pub fn append(self, body: &[u8], out: &mut Vec<u8>) -> Self {
        let seq = self.seq.saturating_add(1);
        let start = out.len();
        // Writing into memory does not fail.
        let _ = write!(out, "{{\"seq\":{seq},\"prev\":\"{}\",", self.hash);
        let hash = hash(self.hash, out.get(start..).unwrap_or_default(), body);
        let _ = write!(out, "\"hash\":\"{hash}\",");
        out.extend_from_slice(body);
        out.push(b'\n');
        Self { seq, hash }
    }

    /// Whether `line` stands behind this one.
    ///
    /// # Errors
    /// [`Broken`], the first thing that does not hold.
    pub fn follow(self, line: &Line<'_>) -> Result<Self, Broken> {
        line.check()?;
        if line.seq != self.seq.saturating_add(1) {
            return Err(Broken::Sequence { expected: self.seq.saturating_add(1), found: line.seq });
        }
        if line.prev != self.hash {
            return Err(Broken::Previous);
        }
        Ok(Self { seq: line.seq, hash: line.hash })
    }
}

fn hash(prev: Hash, head: &[u8], body: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&prev.0);
    context.update(head);
    context.update(body);
    let digest = context.finish();
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(byte, made)| *byte = *made);
    Hash(bytes)
}

/// A line read back, without its line feed.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub seq: u64,
    pub prev: Hash,
    pub hash: Hash,
    /// From the brace up to where the hash stands.
    head: &'a [u8],
    /// From `"id"` on.
    pub body: &'a [u8],
}

/// Why a line is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It does not begin as a line of the trail does.
    Malformed,
    /// Its hash is not that of its bytes: something in it was changed.
    Hash,
    /// Lines are missing, doubled or in another order.
    Sequence { expected: u64, found: u64 },
    /// It stands behind another line than the one before it.
    Previous,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("this is no line of the trail"),
            Self::Hash => f.write_str("the line was changed: its hash is not that of its bytes"),
            Self::Sequence { expected, found } => write!(f, "entry {expected} should stand here, not {found}"),
            Self::Previous => f.write_str("the line belongs behind another one: `prev` is not the hash before it"),
        }
    }
}

impl<'a> Line<'a> {
    /// Takes the head of a line apart. The hash is not checked yet.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"seq\":")?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (number, rest) = rest.split_at_checked(digits)?;
        // One way to write a number.
        (number.first() != Some(&b'0')).then_some(())?;
        let seq = std::str::from_utf8(number).ok()?.parse().ok()?;
        let (prev, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(64)?;
        let rest = rest.strip_prefix(b"\",")?;
        let head = line.get(..line.len() - rest.len())?;
        let (hash, rest) = rest.strip_prefix(b"\"hash\":\"")?.split_at_checked(64)?;
        let body = rest.strip_prefix(b"\",")?;
        body.ends_with(b"}").then_some(())?;
        Some(Self { seq, prev: Hash::parse(prev)?, hash: Hash::parse(hash)?, head, body })
    }

    /// Whether the line's hash is that of its bytes.
    ///
    /// # Errors
    /// [`Broken::Hash`].
    pub fn check(&self) -> Result<(), Broken> {
        if hash(self.prev, self.head, self.body) == self.hash { Ok(()) } else { Err(Broken::Hash) }
    }

    /// The value of `event`, which stands third in every body.
    pub fn event(&self) -> &'a [u8] {
        self.text(b"\"event\":\"")
    }

    /// The value of `id`.
    pub fn id(&self) -> &'a [u8] {
        self.text(b"\"id\":\"")
    }

    /// The 32 digits behind the last `"ref":"`, with which only an outcome ends or nearly ends.
    pub fn reference(&self) -> Option<&'a [u8]> {
        const KEY: &[u8] = b"\"ref\":\"";
        // Inside a string every quote is escaped, so that this is a key.
        let at = self.body.windows(KEY.len()).rposition(|window| window == KEY)?;
        self.body.get(at + KEY.len()..at + KEY.len() + 32)
    }

    /// A value without escapes near the beginning of the body.
    fn text(&self, key: &[u8]) -> &'a [u8] {
        let near = self.body.get(..160).unwrap_or(self.body);
        let Some(at) = near.windows(key.len()).position(|window| window == key) else { return &[] };
        let value = self.body.get(at + key.len()..).unwrap_or_default();
        value.split(|byte| *byte == b'"').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, Hash, Line, Link};

    const BODY: &[u8] =
        br#""id":"00112233445566778899aabbccddeeff","time":"2026-01-02T03:04:05.000006Z","event":"denied"}"#;

    fn chain(count: usize) -> Vec<Vec<u8>> {
        let (mut link, mut lines) = (Link::START, Vec::new());
        for _ in 0..count {
            let mut out = Vec::new();
            link = link.append(BODY, &mut out);
            out.pop();
            lines.push(out);
        }
        lines
    }

    #[test]
    fn a_chain_reads_back() {
        let mut link = Link::START;
        for line in chain(3) {
            let line = Line::read(&line).unwrap();
            link = link.follow(&line).unwrap();
            assert_eq!((line.event(), line.body), (&b"denied"[..], BODY));
            assert_eq!(line.id(), b"00112233445566778899aabbccddeeff");
        }
        assert_eq!(link.seq, 3);
    }

    /// The recipe of the book, computed step by step: a reviewer must be able to repeat it without this crate.
    #[test]
    fn the_hash_is_what_the_book_says() {
        let line = chain(1).remove(0);
        let text = String::from_utf8(line).unwrap();
        let hash = text.split("\"hash\":\"").nth(1).unwrap()[..64].to_owned();
        let without = text.replace(&format!("\"hash\":\"{hash}\","), "");
        let bytes = [&[0; 32], without.as_bytes()].concat();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        assert_eq!(Hash::parse(hash.as_bytes()).unwrap().0, digest.as_ref());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let lines = chain(2);
        let before = Link::START.follow(&Line::read(&lines[0]).unwrap()).unwrap();
        for at in 0..lines[1].len() {
            for bit in 0..8 {
                let mut line = lines[1].clone();
                line[at] ^= 1 << bit;
                let found = Line::read(&line).ok_or(Broken::Malformed).and_then(|line| before.follow(&line));
                assert!(found.is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn order_matters() {
        let lines = chain(3);
        let line = |index: usize| Line::read(&lines[index]).unwrap();
        let first = Link::START.follow(&line(0)).unwrap();
        assert_eq!(first.follow(&line(2)), Err(Broken::Sequence { expected: 2, found: 3 }));
        assert_eq!(first.follow(&line(0)), Err(Broken::Sequence { expected: 2, found: 1 }));
        let other = Link { seq: 1, hash: Hash([7; 32]) };
        assert_eq!(other.follow(&line(1)), Err(Broken::Previous));
    }

    #[test]
    fn there_is_one_way_to_write_a_line() {
        let good = String::from_utf8(chain(1).remove(0)).unwrap();
        for (name, bad) in [
            ("a leading zero", good.replacen("\"seq\":1", "\"seq\":01", 1)),
            ("a space", good.replacen("\"seq\":1", "\"seq\": 1", 1)),
            (
                "upper-case hex",
                good.replacen(&good[80..84], &good[80..84].to_uppercase().replace(char::is_numeric, "A"), 1),
            ),
            ("another order", good.replacen("\"prev\"", "\"hash\"", 1)),
            ("nothing", String::new()),
        ] {
            assert!(Line::read(bad.as_bytes()).is_none_or(|line| line.check().is_err()), "{name}");
        }
    }
}
