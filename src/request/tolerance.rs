//! What a route may tolerate that no request has by default, and how else such a path may be read.
//!
//! `sanitize` notes what a request needs, `route` refuses it unless the route that was found tolerates each of them, with the
//! answer that sanitizing gives where no route tolerates anything. Nothing here decides who may do what; the readings are
//! those that no other rule must lie under, whatever the API behind says about itself.

use super::path::{CanonicalPath, PathRefusal};
use super::sanitize::Refusal;

/// One thing that is refused unless the route says `tolerate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// `%2F`: stays escaped, and is a byte of its segment.
    EncodedSlash,
    /// `;` or `%3B` in a segment.
    Semicolon,
    /// An empty segment within the path.
    DoubleSlash,
    /// `%25` before two hex digits.
    DoubleEscape,
    /// A GET with a body.
    GetBody,
}

/// Any of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities(u8);

impl Oddity {
    pub const ALL: [Self; 5] =
        [Self::EncodedSlash, Self::Semicolon, Self::DoubleSlash, Self::DoubleEscape, Self::GetBody];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Why a request is refused that has it where it is not tolerated.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::EncodedSlash => Refusal::Path(PathRefusal::EncodedSlash),
            Self::Semicolon => Refusal::Path(PathRefusal::Semicolon),
            Self::DoubleSlash => Refusal::Path(PathRefusal::DoubleSlash),
            Self::DoubleEscape => Refusal::Path(PathRefusal::DoubleEscape),
            Self::GetBody => Refusal::Malformed("a body on GET, HEAD or OPTIONS"),
        }
    }
}

impl Oddities {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(0b1_1111);

    #[must_use]
    pub const fn with(self, oddity: Oddity) -> Self {
        Self(self.0 | oddity.bit())
    }

    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub const fn has(self, oddity: Oddity) -> bool {
        self.0 & oddity.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first one that is not among `tolerated`.
    pub fn beyond(self, tolerated: Self) -> Option<Oddity> {
        Oddity::ALL.into_iter().find(|oddity| self.has(*oddity) && !tolerated.has(*oddity))
    }
}

/// Most readings of one path; what can be read in more ways is tolerated by nobody.
const MAX_READINGS: usize = 16;

/// One reading of a path, where it differs, and whose fault it is when that is no path.
type Step = (Oddity, fn(&str) -> Option<String>);

/// All other ways in which an API may read an odd path: decoded once more, with its escaped slashes as slashes, with
/// parameters cut off, with doubled slashes as one, and each of these upon each other.
///
/// # Errors
/// One of them is no path at all, or leads somewhere else by dots: tolerated by nobody.
pub fn readings(path: &str) -> Result<Vec<CanonicalPath>, Oddity> {
    if is_endless(path) {
        return Err(Oddity::DoubleEscape);
    }
    let mut found = Vec::new();
    let decodings: [Step; DECODINGS] = [(Oddity::DoubleEscape, decoded_twice); DECODINGS];
    let others: [Step; 4] = [
        (Oddity::EncodedSlash, slashes_decoded),
        (Oddity::Semicolon, without_parameters),
        (Oddity::Semicolon, cut_at_parameters),
        (Oddity::DoubleSlash, collapsed),
    ];
    for (oddity, step) in decodings.into_iter().chain(others) {
        for at in 0..=found.len() {
            let from = match at.checked_sub(1) {
                None => path,
                Some(at) => found.get(at).map_or(path, CanonicalPath::as_str),
            };
            let Some(text) = step(from) else { continue };
            let (read, _) = CanonicalPath::parse_odd(text.as_bytes(), Oddities::ALL).map_err(|_| oddity)?;
            if read.as_str() != path && !found.contains(&read) {
                // Each is a search of the routes that a stranger pays nothing for.
                if found.len() == MAX_READINGS {
                    return Err(oddity);
                }
                found.push(read);
            }
        }
    }
    Ok(found)
}

/// Readings of escapes of escapes that are looked at: the API that decodes once more, and two behind it.
const DECODINGS: usize = 3;

/// What is still an escape of an escape after those is nobody's data, and has no end.
fn is_endless(path: &str) -> bool {
    let mut text = path.to_owned();
    for _ in 0..=DECODINGS {
        match decoded_twice(&text) {
            Some(next) => text = next,
            None => return false,
        }
    }
    true
}

/// As whoever decodes twice reads it: each `%25` before two hex digits is the `%` of an escape.
fn decoded_twice(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    let mut changed = false;
    while let Some(at) = rest.find("%25") {
        let (before, after) = (rest.get(..at)?, rest.get(at + 3..)?);
        out.push_str(before);
        let is_escape = after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        out.push_str(if is_escape { "%" } else { "%25" });
        changed |= is_escape;
        rest = after;
    }
    out.push_str(rest);
    changed.then_some(out)
}

fn slashes_decoded(path: &str) -> Option<String> {
    path.contains("%2F").then(|| path.replace("%2F", "/"))
}

/// As servlet containers read it: each segment up to its `;`.
fn without_parameters(path: &str) -> Option<String> {
    let cut = |segment: &str| {
        let end = [segment.find(';'), segment.find("%3B")].into_iter().flatten().min().unwrap_or(segment.len());
        segment.get(..end).unwrap_or_default().to_owned()
    };
    has_parameters(path).then(|| path.split('/').map(cut).collect::<Vec<_>>().join("/"))
}

/// As those read it that end the path there.
fn cut_at_parameters(path: &str) -> Option<String> {
    let end = [path.find(';'), path.find("%3B")].into_iter().flatten().min()?;
    path.get(..end).map(str::to_owned)
}

fn has_parameters(path: &str) -> bool {
    path.contains(';') || path.contains("%3B")
}

fn collapsed(path: &str) -> Option<String> {
    if !path.contains("//") {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    Some(out)
}

#[cfg(test)]
#[path = "tolerance_tests.rs"]
mod tests;
