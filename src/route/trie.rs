//! The tree of patterns: depth first, literal before `{name}` before `{*rest}`, falling through to the next.
//!
//! Built by `table`, which also says which routes at a place hold. There are two: one for paths as sent, and one
//! with ASCII case folded on both sides, for the question what an API that ignores case would serve. A search
//! allocates nothing and meets each node at most once, however a path is made.

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
    literals: Literals,
    segment: Option<Box<Node>>,
    /// Routes whose pattern ends here, by index.
    ends: Vec<usize>,
    /// Routes whose pattern ends here with a slash.
    slash_ends: Vec<usize>,
    /// Routes whose tail begins here.
    tails: Vec<usize>,
}

/// Children by literal, found by hash: with a thousand routes below one node, comparing names would mean a cache miss
/// for each of ten steps. The keys come from the config, so nobody can choose them to collide.
#[derive(Debug, Default)]
struct Literals {
    /// Sorted, and in step with `children`.
    hashes: Vec<u64>,
    /// Decoded (and perhaps folded) bytes.
    children: Vec<(Box<[u8]>, Node)>,
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
                Part::Literal(bytes) => node.literals.child(match self.case {
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
    /// one or two lists of routes; `values` then holds what was captured on the way to it.
    pub(super) fn search<'v, B>(
        &self,
        path: &'v str,
        slash: Slash,
        values: &mut Values<'v>,
        visit: &mut impl FnMut([&[usize]; 2]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let tail = path.strip_prefix('/').unwrap_or(path);
        let rest = tail.strip_suffix('/').unwrap_or(tail);
        let search =
            Search { case: self.case, slash, ends_with_slash: rest.len() != tail.len(), escaped: rest.contains('%') };
        let rest = if rest.is_empty() { None } else { Some(rest) };
        search.walk(&self.root, rest, tail, values, visit)
    }
}

struct Search {
    case: Case,
    slash: Slash,
    ends_with_slash: bool,
    /// Whether any segment has to be decoded before it is compared.
    escaped: bool,
}

impl Search {
    /// `rest` is what is left of the path without its trailing slash, `tail` the same with it.
    fn walk<'v, B>(
        &self,
        node: &Node,
        rest: Option<&'v str>,
        tail: &'v str,
        values: &mut Values<'v>,
        visit: &mut impl FnMut([&[usize]; 2]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(rest) = rest else {
            let ends: [&[usize]; 2] = match self.slash {
                Slash::AsSent if self.ends_with_slash => [&node.slash_ends, &[]],
                Slash::AsSent => [&node.ends, &[]],
                Slash::Dropped => [&node.ends, &node.slash_ends],
            };
            if ends.iter().any(|routes| !routes.is_empty()) {
                visit(ends)?;
            }
            return self.tail(node, tail, values, visit);
        };
        // Segments are short: a plain loop finds their end sooner than a vectorised search starts.
        let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let (segment, next) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..));
        let next_tail = tail.get(segment.len() + 1..).unwrap_or_default();
        if let Some(child) = self.literal(node, segment) {
            self.walk(child, next, next_tail, values, visit)?;
        }
        // An empty segment, where it is tolerated, is nobody's id: only a tail takes it.
        if let Some(child) = &node.segment
            && !segment.is_empty()
        {
            values.push(segment);
            self.walk(child, next, next_tail, values, visit)?;
            values.pop();
        }
        self.tail(node, tail, values, visit)
    }

    fn tail<'v, B>(
        &self,
        node: &Node,
        tail: &'v str,
        values: &mut Values<'v>,
        visit: &mut impl FnMut([&[usize]; 2]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if node.tails.is_empty() {
            return ControlFlow::Continue(());
        }
        values.push(tail);
        visit([&node.tails, &[]])?;
        values.pop();
        ControlFlow::Continue(())
    }

    fn literal<'n>(&self, node: &'n Node, segment: &str) -> Option<&'n Node> {
        let (raw, decoded) = (segment.bytes(), Segment::new(segment).bytes());
        match (self.case, self.escaped) {
            (Case::Exact, false) => node.literals.find(&raw),
            (Case::Exact, true) => node.literals.find(&decoded),
            (Case::Folded, false) => node.literals.find(&raw.map(|b| b.to_ascii_lowercase())),
            (Case::Folded, true) => node.literals.find(&decoded.map(|b| b.to_ascii_lowercase())),
        }
    }
}

impl Literals {
    /// The child for a literal; made when there is none yet.
    fn child(&mut self, bytes: Box<[u8]>) -> &mut Node {
        let hash = hash(bytes.iter().copied());
        let at = match self.position(hash, &bytes.iter().copied()) {
            Some(at) => at,
            None => {
                let at = self.hashes.partition_point(|other| *other < hash);
                self.hashes.insert(at, hash);
                self.children.insert(at, (bytes, Node::default()));
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the place was found or filled just above")]
        &mut self.children[at].1
    }

    fn find(&self, bytes: &(impl Iterator<Item = u8> + Clone)) -> Option<&Node> {
        if self.hashes.is_empty() {
            return None;
        }
        let at = self.position(hash(bytes.clone()), bytes)?;
        self.children.get(at).map(|(_, child)| child)
    }

    fn position(&self, hash: u64, bytes: &(impl Iterator<Item = u8> + Clone)) -> Option<usize> {
        let first = self.hashes.partition_point(|other| *other < hash);
        let mut same_hash =
            self.hashes.iter().zip(&self.children).enumerate().skip(first).take_while(|(_, (h, _))| **h == hash);
        same_hash.find(|(_, (_, (key, _)))| key.iter().copied().eq(bytes.clone())).map(|(at, _)| at)
    }
}

/// FNV-1a.
pub(super) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
