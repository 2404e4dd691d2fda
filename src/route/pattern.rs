//! Patterns of paths: literal segments, `{name}` for one segment, `{*rest}` for the tail.
//!
//! Parsed once, at load, by `config::compile`. Literals are read by the same rules as request paths, so that a
//! pattern and a path that mean the same are equal. Never sees a request; matching is the trie's.

use std::fmt;

use crate::request::CanonicalPath;
use crate::request::path::{PathRefusal, Segment};

/// Captures of one pattern; they live in an array on the stack of a request.
pub const MAX_CAPTURES: usize = 16;
/// Bounds the depth of the trie, and with it the recursion of a search.
const MAX_SEGMENTS: usize = 64;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    parts: Vec<Part>,
    names: Vec<Box<str>>,
    trailing_slash: bool,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Decoded bytes.
    Literal(Box<[u8]>),
    /// `{name}`: one segment that is not empty.
    Segment,
    /// `{*rest}`: last, also empty, with or without its slash.
    Tail,
}

/// What is wrong, and at which byte of the pattern's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternProblem {
    pub at: usize,
    pub kind: PatternProblemKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternProblemKind {
    /// A literal that no request path can be equal to.
    Literal(PathRefusal),
    /// `{}` or `{*}`.
    NoName,
    /// A name with anything but letters, digits, `_` and `-`.
    BadName,
    RepeatedName(String),
    /// Text beside braces in one segment, or a brace alone.
    PartialSegment,
    /// `{*rest}` before the last segment.
    TailNotLast,
    TooManyCaptures,
    TooManySegments,
}

impl fmt::Display for PatternProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(refusal) => refusal.fmt(f),
            Self::NoName => f.write_str("a capture needs a name"),
            Self::BadName => f.write_str("a capture's name has letters, digits, `_` and `-` only"),
            Self::RepeatedName(name) => write!(f, "the capture `{name}` stands twice"),
            Self::PartialSegment => f.write_str("a capture takes a whole segment"),
            Self::TailNotLast => f.write_str("`{*…}` takes the tail, so nothing can follow it"),
            Self::TooManyCaptures => write!(f, "a pattern has at most {MAX_CAPTURES} captures"),
            Self::TooManySegments => write!(f, "a pattern has at most {MAX_SEGMENTS} segments"),
        }
    }
}

impl Pattern {
    /// Reads a pattern as people write it.
    ///
    /// # Errors
    /// [`PatternProblem`] with the place of the first mistake.
    pub fn parse(text: &str) -> Result<Self, PatternProblem> {
        let problem = |at, kind| PatternProblem { at, kind };
        let Some(inner) = text.strip_prefix('/') else {
            return Err(problem(0, PatternProblemKind::Literal(PathRefusal::NotAbsolute)));
        };
        let mut pattern =
            Self { text: text.into(), parts: Vec::new(), names: Vec::new(), trailing_slash: inner.ends_with('/') };
        let body = inner.strip_suffix('/').unwrap_or(inner);
        let mut at = 1;
        if inner.is_empty() {
            return Ok(pattern);
        }
        for segment in body.split('/') {
            if pattern.parts.last() == Some(&Part::Tail) {
                return Err(problem(at - 1, PatternProblemKind::TailNotLast));
            }
            if pattern.parts.len() == MAX_SEGMENTS {
                return Err(problem(at, PatternProblemKind::TooManySegments));
            }
            let part = pattern.part(segment).map_err(|(offset, kind)| problem(at + offset, kind))?;
            pattern.parts.push(part);
            at += segment.len() + 1;
        }
        if pattern.trailing_slash && pattern.parts.last() == Some(&Part::Tail) {
            return Err(problem(text.len() - 1, PatternProblemKind::TailNotLast));
        }
        Ok(pattern)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the captures, from left to right.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The place of a capture among [`Self::names`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) const fn trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    fn part(&mut self, segment: &str) -> Result<Part, (usize, PatternProblemKind)> {
        let Some(brace) = segment.find(['{', '}']) else {
            return literal(segment).map(Part::Literal);
        };
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return Err((brace, PatternProblemKind::PartialSegment));
        };
        let (part, name, at) = match name.strip_prefix('*') {
            Some(name) => (Part::Tail, name, 2),
            None => (Part::Segment, name, 1),
        };
        if name.is_empty() {
            return Err((0, PatternProblemKind::NoName));
        }
        if name.contains(['{', '}']) {
            return Err((0, PatternProblemKind::PartialSegment));
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Err((at, PatternProblemKind::BadName));
        }
        if self.position(name).is_some() {
            return Err((at, PatternProblemKind::RepeatedName(name.to_owned())));
        }
        if self.names.len() == MAX_CAPTURES {
            return Err((0, PatternProblemKind::TooManyCaptures));
        }
        self.names.push(name.into());
        Ok(part)
    }
}

fn literal(segment: &str) -> Result<Box<[u8]>, (usize, PatternProblemKind)> {
    if segment.is_empty() {
        return Err((0, PatternProblemKind::Literal(PathRefusal::DoubleSlash)));
    }
    match CanonicalPath::parse(format!("/{segment}").as_bytes()) {
        Ok(path) => {
            let decoded = path.segments().next().map(Segment::decoded).unwrap_or_default();
            Ok(decoded.into())
        }
        Err(refusal) => Err((0, PatternProblemKind::Literal(refusal))),
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
