//! The one form in which a path is checked and sent: [`CanonicalPath`], or a refusal.
//!
//! Called by `sanitize` on the bytes as they came, and by `route` for the literals of patterns, so that both
//! sides of a comparison were read by the same rules. A spelling that some server reads in a second way is
//! refused; what is left has one reading. The only repairs are decoding escapes of unreserved characters and
//! upper-casing the others (RFC 3986 6.2.2). Never resolves, merges or cuts anything.

use std::borrow::Cow;

use super::tolerance::{Oddities, Oddity};

/// An absolute path in canonical form: ASCII, one leading `/`, no empty or dot segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath(Box<str>);

/// Why a path has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathRefusal {
    NotAbsolute,
    DoubleSlash,
    DotSegment,
    EncodedSlash,
    Backslash,
    EncodedBackslash,
    /// `;` or its escape: path parameters, which servlet containers cut before they match.
    Semicolon,
    Fragment,
    /// A control character, escaped or not.
    Control,
    /// A byte above ASCII, or escapes of such bytes that are not UTF-8.
    NonAscii,
    BadEscape,
    /// `%25` before two hex digits: whoever decodes twice reads another path.
    DoubleEscape,
    /// A visible ASCII character that RFC 3986 does not allow in a path.
    NotPchar,
}

impl PathRefusal {
    /// Stable name for logs and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "not-absolute",
            Self::DoubleSlash => "double-slash",
            Self::DotSegment => "dot-segment",
            Self::EncodedSlash => "encoded-slash",
            Self::Backslash => "backslash",
            Self::EncodedBackslash => "encoded-backslash",
            Self::Semicolon => "semicolon",
            Self::Fragment => "fragment",
            Self::Control => "control-character",
            Self::NonAscii => "non-ascii",
            Self::BadEscape => "bad-escape",
            Self::DoubleEscape => "double-escape",
            Self::NotPchar => "not-a-path-character",
        }
    }
}

impl std::fmt::Display for PathRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not start with `/`",
            Self::DoubleSlash => "the path has an empty segment (`//`)",
            Self::DotSegment => "the path has a `.` or `..` segment",
            Self::EncodedSlash => "the path has an escaped slash (`%2F`)",
            Self::Backslash => "the path has a backslash",
            Self::EncodedBackslash => "the path has an escaped backslash (`%5C`)",
            Self::Semicolon => "the path has a semicolon",
            Self::Fragment => "the path has a `#`",
            Self::Control => "the path has a control character",
            Self::NonAscii => "the path has bytes that are neither ASCII nor escaped UTF-8",
            Self::BadEscape => "the path has a `%` without two hex digits",
            Self::DoubleEscape => "the path has a `%25` before two hex digits",
            Self::NotPchar => "the path has a character that must be escaped",
        })
    }
}

impl CanonicalPath {
    /// Reads the path as sent, without its query.
    ///
    /// # Errors
    /// [`PathRefusal`] when some server could read another path.
    pub fn parse(raw: &[u8]) -> Result<Self, PathRefusal> {
        Self::parse_odd(raw, Oddities::NONE).map(|(path, _)| path)
    }

    /// The same where some route may tolerate these; says which of them the path has.
    ///
    /// # Errors
    /// [`PathRefusal`] when some server could read another path, in a way that is not among these.
    pub fn parse_odd(raw: &[u8], tolerated: Oddities) -> Result<(Self, Oddities), PathRefusal> {
        let mut odd = Odd { tolerated, found: Oddities::NONE };
        let Some(mut rest) = raw.strip_prefix(b"/") else { return Err(PathRefusal::NotAbsolute) };
        // Canonical text is never longer than what came, so this is the only allocation.
        let mut text = Vec::with_capacity(raw.len());
        text.push(b'/');
        let mut segment = text.len();
        let mut escaped = false;
        loop {
            let plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(plain);
            text.extend_from_slice(run);
            match after.split_first() {
                None => break,
                Some((b'/', tail)) => {
                    // A path that begins with `//` is taken for one with a host by whoever parses it as a reference.
                    let position = if segment == 1 { Position::First } else { Position::Inner };
                    check_segment(text.get(segment..).unwrap_or_default(), position, &mut odd)?;
                    text.push(b'/');
                    segment = text.len();
                    rest = tail;
                }
                Some((b'%', _)) => {
                    escaped = true;
                    rest = canonical_escape(after, &mut text, &mut odd)?;
                }
                Some((b';', tail)) => {
                    odd.note(Oddity::Semicolon, PathRefusal::Semicolon)?;
                    text.push(b';');
                    rest = tail;
                }
                Some((byte, _)) => return Err(refusal(*byte)),
            }
        }
        check_segment(text.get(segment..).unwrap_or_default(), Position::Last, &mut odd)?;
        if escaped && has_double_escape(&text) {
            odd.note(Oddity::DoubleEscape, PathRefusal::DoubleEscape)?;
        }
        // INVARIANT: only plain bytes, slashes and escapes were written, all of them ASCII.
        let text = String::from_utf8(text).map_err(|_| PathRefusal::NonAscii)?;
        Ok((Self(text.into_boxed_str()), odd.found))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments between slashes: none for `/`, a last empty one for a trailing slash.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let inner = self.0.get(1..).filter(|inner| !inner.is_empty());
        inner.into_iter().flat_map(|inner| inner.split('/')).map(Segment)
    }
}

impl std::fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a canonical path (a segment, or several with their slashes), compared by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment<'a>(&'a str);

impl<'a> Segment<'a> {
    /// `raw` must come out of a [`CanonicalPath`].
    pub(crate) const fn new(raw: &'a str) -> Self {
        Self(raw)
    }

    /// As it is sent upstream, escapes included.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// What it means; borrowed unless there is an escape.
    pub fn decoded(self) -> Cow<'a, [u8]> {
        if self.0.contains('%') { Cow::Owned(self.bytes().collect()) } else { Cow::Borrowed(self.0.as_bytes()) }
    }

    pub fn eq_decoded(self, expected: &[u8]) -> bool {
        self.bytes().eq(expected.iter().copied())
    }

    /// ASCII only, as the servers that ignore case do it.
    pub fn eq_decoded_ignore_case(self, expected: &[u8]) -> bool {
        self.bytes().map(|b| b.to_ascii_lowercase()).eq(expected.iter().map(u8::to_ascii_lowercase))
    }

    /// The decoded bytes, one by one, without allocating.
    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> + Clone + 'a {
        let mut rest = self.0.as_bytes();
        std::iter::from_fn(move || {
            if let [b'%', high, low, tail @ ..] = rest
                && let Some(byte) = hex_pair(*high, *low)
            {
                rest = tail;
                return Some(byte);
            }
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            Some(byte)
        })
    }
}

/// A byte that stands for itself in a segment: a pchar (RFC 3986 3.3) other than `;` and `%`.
const fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut table = [false; 256];
        let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@";
        while let [byte, tail @ ..] = rest {
            #[expect(clippy::indexing_slicing, reason = "a byte is within 256 entries; evaluated by the compiler")]
            {
                table[*byte as usize] = true;
            }
            rest = tail;
        }
        table
    };
    #[expect(clippy::indexing_slicing, reason = "a byte is within 256 entries")]
    PLAIN[byte as usize]
}

/// Why a byte that is neither plain nor part of an escape cannot stand in a path.
const fn refusal(byte: u8) -> PathRefusal {
    match byte {
        b';' => PathRefusal::Semicolon,
        b'\\' => PathRefusal::Backslash,
        b'#' => PathRefusal::Fragment,
        0..=0x1f | 0x7f => PathRefusal::Control,
        0x80.. => PathRefusal::NonAscii,
        // Space, quotes, brackets, `?` and the like: some servers repair them, each in its own way.
        _ => PathRefusal::NotPchar,
    }
}

/// What may be tolerated, and what of it there is.
struct Odd {
    tolerated: Oddities,
    found: Oddities,
}

impl Odd {
    fn note(&mut self, oddity: Oddity, refusal: PathRefusal) -> Result<(), PathRefusal> {
        if !self.tolerated.has(oddity) {
            return Err(refusal);
        }
        self.found = self.found.with(oddity);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    First,
    Inner,
    Last,
}

/// On the canonical bytes, where `%2e` is a dot like any other.
fn check_segment(segment: &[u8], position: Position, odd: &mut Odd) -> Result<(), PathRefusal> {
    match (segment, position) {
        (b"." | b"..", _) => Err(PathRefusal::DotSegment),
        (b"", Position::First) => Err(PathRefusal::DoubleSlash),
        (b"", Position::Inner) => odd.note(Oddity::DoubleSlash, PathRefusal::DoubleSlash),
        _ => Ok(()),
    }
}

/// Reads the escape, or the escapes of one character, that `rest` starts with; returns what follows.
fn canonical_escape<'a>(rest: &'a [u8], text: &mut Vec<u8>, odd: &mut Odd) -> Result<&'a [u8], PathRefusal> {
    let (byte, tail) = escape(rest).ok_or(PathRefusal::BadEscape)?;
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte),
        // Decoded before splitting by WSGI, ASGI and servlet servers: a second segment to them, none to others.
        b'/' => {
            odd.note(Oddity::EncodedSlash, PathRefusal::EncodedSlash)?;
            push_escape(byte, text);
        }
        // IIS and WHATWG URL parsers take a backslash for a slash.
        b'\\' => return Err(PathRefusal::EncodedBackslash),
        // A server that decodes first and cuts `;params` second would drop the rest of the segment.
        b';' => {
            odd.note(Oddity::Semicolon, PathRefusal::Semicolon)?;
            push_escape(byte, text);
        }
        // NUL ends a string for C, CR and LF end a line for everyone; none is anybody's data.
        0..=0x1f | 0x7f => return Err(PathRefusal::Control),
        0x80.. => return utf8_escapes(rest, text),
        // `%23` and `%3F` stay: query and fragment are split off before decoding (RFC 3986 2.4), and none of the
        // measured servers does it the other way; file names and search words with `?` and `#` are real.
        _ => push_escape(byte, text),
    }
    Ok(tail)
}

/// One escaped character above ASCII. Only well-formed UTF-8 passes: overlong forms (`%C0%AF`) are slashes to
/// lenient decoders, and single bytes mean what the reader's code page says.
fn utf8_escapes<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], PathRefusal> {
    let (lead, mut tail) = escape(rest).ok_or(PathRefusal::BadEscape)?;
    let len = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(PathRefusal::NonAscii),
    };
    let mut character = [lead, 0, 0, 0];
    for slot in character.iter_mut().take(len).skip(1) {
        (*slot, tail) = escape(tail).ok_or(PathRefusal::NonAscii)?;
    }
    let character = character.get(..len).unwrap_or_default();
    if std::str::from_utf8(character).is_err() {
        return Err(PathRefusal::NonAscii);
    }
    character.iter().for_each(|byte| push_escape(*byte, text));
    Ok(tail)
}

/// On the canonical text, since the digits behind `%25` may have been escaped themselves (`%25%32%66`).
fn has_double_escape(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if let [b'2', b'5', high, low, ..] = rest
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            return true;
        }
    }
    false
}

/// The escape at the start, and what follows.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, tail @ ..] = text else { return None };
    Some((hex_pair(*high, *low)?, tail))
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn push_escape(byte: u8, text: &mut Vec<u8>) {
    text.extend([b'%', upper_hex(byte >> 4), upper_hex(byte & 15)]);
}

const fn upper_hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }
}

#[cfg(test)]
#[path = "path_tests.rs"]
pub(crate) mod tests;
