//! The tree of patterns: depth first, literal before `{name}` before `{*rest}`, falling through to the next.
//!
//! Built by `table`, which also says which routes at a place hold. There are two: one for paths as sent, and one
//! with ASCII case folded on both sides, for the question what an API that ignores case would serve. A search
//! allocates nothing and meets each node at most once, however a path is made.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::captures::Values;
use super::pattern::{Part, Pattern};
use crate::request::path::Segment;

/// How literals are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    Folded,
}

/// How the trailing slash of paths and patterns is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slash {
    AsSent,
    /// `/a` and `/a/` are one, on both sides.
    Dropped,
}

/// All patterns under one way to compare literals.
#[derive(Debug)]
pub(super) struct Trie {
    case: Case,
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by their decoded (and perhaps folded) bytes.
    literals: Vec<(Box<[u8]>, Node)>,
    segment: Option<Box<Node>>,
    /// Routes whose pattern ends here, by index.
    ends: Vec<usize>,
    /// Routes whose pattern ends here with a slash.
    slash_ends: Vec<usize>,
    /// Routes whose tail begins here.
    tails: Vec<usize>,
}

impl Trie {
    pub(super) fn new(case: Case) -> Self {
        Self { case, root: Node::default() }
    }

    /// Adds a route; returns those that were there before with the same shape.
    pub(super) fn insert(&mut self, pattern: &Pattern, route: usize) -> &[usize] {
        let mut node = &mut self.root;
        let mut tail = false;
        for part in pattern.parts() {
            node = match part {
                Part::Literal(bytes) => node.literal(match self.case {
                    Case::Exact => bytes.clone(),
                    Case::Folded => bytes.to_ascii_lowercase().into_boxed_slice(),
                }),
                Part::Segment => node.segment.get_or_insert_default(),
                Part::Tail => {
                    tail = true;
                    break;
                }
            };
        }
        let place = if tail {
            &mut node.tails
        } else if pattern.trailing_slash() {
            &mut node.slash_ends
        } else {
            &mut node.ends
        };
        place.push(route);
        place.split_last().map(|(_, before)| before).unwrap_or_default()
    }

    /// Visits the places that the path reaches, the most specific first, until `visit` breaks. A place is given as
    /// one or two lists of routes, and what was captured on the way.
    pub(super) fn search<'v, B>(
        &self,
        path: &'v str,
        slash: Slash,
        visit: &mut impl FnMut([&[usize]; 2], &Values<'v>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let tail = path.strip_prefix('/').unwrap_or(path);
        let rest = tail.strip_suffix('/').unwrap_or(tail);
        let search = Search { case: self.case, slash, ends_with_slash: rest.len() != tail.len() };
        let rest = if rest.is_empty() { None } else { Some(rest) };
        search.walk(&self.root, rest, tail, &Values::default(), visit)
    }
}

struct Search {
    case: Case,
    slash: Slash,
    ends_with_slash: bool,
}

impl Search {
    /// `rest` is what is left of the path without its trailing slash, `tail` the same with it.
    fn walk<'v, B>(
        &self,
        node: &Node,
        rest: Option<&'v str>,
        tail: &'v str,
        values: &Values<'v>,
        visit: &mut impl FnMut([&[usize]; 2], &Values<'v>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(rest) = rest else {
            let ends: [&[usize]; 2] = match self.slash {
                Slash::AsSent if self.ends_with_slash => [&node.slash_ends, &[]],
                Slash::AsSent => [&node.ends, &[]],
                Slash::Dropped => [&node.ends, &node.slash_ends],
            };
            if ends.iter().any(|routes| !routes.is_empty()) {
                visit(ends, values)?;
            }
            return self.tail(node, tail, values, visit);
        };
        let (segment, next) = match rest.split_once('/') {
            Some((segment, next)) => (segment, Some(next)),
            None => (rest, None),
        };
        let next_tail = tail.get(segment.len() + 1..).unwrap_or_default();
        if let Some(child) = node.find(segment, self.case) {
            self.walk(child, next, next_tail, values, visit)?;
        }
        if let Some(child) = &node.segment {
            self.walk(child, next, next_tail, &values.with(segment), visit)?;
        }
        self.tail(node, tail, values, visit)
    }

    fn tail<'v, B>(
        &self,
        node: &Node,
        tail: &'v str,
        values: &Values<'v>,
        visit: &mut impl FnMut([&[usize]; 2], &Values<'v>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if node.tails.is_empty() {
            return ControlFlow::Continue(());
        }
        visit([&node.tails, &[]], &values.with(tail))
    }
}

impl Node {
    fn literal(&mut self, bytes: Box<[u8]>) -> &mut Self {
        let at = match self.literals.binary_search_by(|(key, _)| key.cmp(&bytes)) {
            Ok(at) => at,
            Err(at) => {
                self.literals.insert(at, (bytes, Self::default()));
                at
            }
        };
        // INVARIANT: `at` was found or inserted just now.
        #[expect(clippy::indexing_slicing, reason = "the index was found or inserted just above")]
        let (_, child) = &mut self.literals[at];
        child
    }

    fn find(&self, segment: &str, case: Case) -> Option<&Self> {
        if self.literals.is_empty() {
            return None;
        }
        let at = match case {
            Case::Exact if !segment.contains('%') => {
                self.literals.binary_search_by(|(key, _)| (**key).cmp(segment.as_bytes()))
            }
            Case::Exact => self.literals.binary_search_by(|(key, _)| compare(key, Segment::new(segment).bytes())),
            Case::Folded => self.literals.binary_search_by(|(key, _)| {
                compare(key, Segment::new(segment).bytes().map(|b| b.to_ascii_lowercase()))
            }),
        };
        self.literals.get(at.ok()?).map(|(_, child)| child)
    }
}

fn compare(key: &[u8], segment: impl Iterator<Item = u8>) -> Ordering {
    key.iter().copied().cmp(segment)
}
