//! What the `{name}` and `{*rest}` of a pattern stand for in one path.
//!
//! Filled by the trie's search, read by policy templates. Holds slices of the canonical path, never copies, and
//! leaves decoding to whoever compares.

use super::pattern::{MAX_CAPTURES, Pattern};
use crate::request::path::Segment;

/// Values by position, kept on the stack: looking a route up allocates nothing.
#[derive(Debug, Clone, Copy)]
pub struct Captures<'r, 'v> {
    pattern: &'r Pattern,
    values: Values<'v>,
}

/// The values alone, while the search does not know yet whose names they get.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values<'v> {
    slots: [Segment<'v>; MAX_CAPTURES],
    len: usize,
}

impl<'v> Values<'v> {
    /// The pattern's limit keeps it within the array.
    pub(super) fn push(&mut self, raw: &'v str) {
        if let Some(slot) = self.slots.get_mut(self.len) {
            *slot = Segment::new(raw);
            self.len += 1;
        }
    }

    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}

impl<'r, 'v> Captures<'r, 'v> {
    pub(super) const fn new(pattern: &'r Pattern, values: Values<'v>) -> Self {
        Self { pattern, values }
    }

    /// The pattern that captured them.
    pub const fn pattern(&self) -> &'r Pattern {
        self.pattern
    }

    /// The segment under a name, or the tail without its leading slash.
    pub fn value(&self, name: &str) -> Option<Segment<'v>> {
        self.at(self.pattern.position(name)?)
    }

    /// The value at a position among the pattern's names.
    pub fn at(&self, position: usize) -> Option<Segment<'v>> {
        self.values.slots.get(..self.values.len)?.get(position).copied()
    }

    /// Names and values, from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&'r str, Segment<'v>)> {
        self.pattern.names().zip(self.values.slots.into_iter().take(self.values.len))
    }
}
