//! The organisations of a map: names of both sides, and which of them mean the same organisation.
//!
//! A name of one side normally has one partner on the other. Only a merge, said by the line itself, gives it several;
//! the partner whose line does not say `merge` is its main one. Merges are not transitive: two legacy orgs that share a
//! Clerk org stay two orgs for legacy people. Owned by the map, filled by its builder.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::arena::Arena;
use super::line::MAX_ID;

/// Which login knows an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Legacy,
    Clerk,
}

/// No partner.
const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Orgs {
    nodes: Vec<Node>,
    by_legacy: HashTable<u32>,
    by_clerk: HashTable<u32>,
    /// All partners of a name that has more than one, the main one first.
    merged: HashMap<u32, Box<[u32]>>,
    /// Links (legacy, Clerk) whose line says `merge`.
    said: HashSet<(u32, u32)>,
    key: RandomState,
}

/// One name of one side.
#[derive(Debug, Clone, Copy)]
struct Node {
    at: u32,
    length: u16,
    side: Side,
    partner: u32,
}

impl Orgs {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn find(&self, arena: &Arena, side: Side, id: &str) -> Option<u32> {
        if id.is_empty() || id.len() > MAX_ID {
            return None;
        }
        let table = match side {
            Side::Legacy => &self.by_legacy,
            Side::Clerk => &self.by_clerk,
        };
        table.find(self.key.hash_one(id), |index| self.id(arena, *index) == id).copied()
    }

    /// The node of a name, made when it is new. `None` when there is no room.
    pub(super) fn node(&mut self, arena: &mut Arena, side: Side, id: &str) -> Option<u32> {
        if let Some(known) = self.find(arena, side, id) {
            return Some(known);
        }
        let index = u32::try_from(self.nodes.len()).ok().filter(|index| *index < super::INDEX_END)?;
        let at = arena.push(&[id])?;
        self.nodes.push(Node { at, length: u16::try_from(id.len()).ok()?, side, partner: NONE });
        let Self { nodes, by_legacy, by_clerk, key, .. } = self;
        let table = match side {
            Side::Legacy => by_legacy,
            Side::Clerk => by_clerk,
        };
        let text = |index: &u32| nodes.get(*index as usize).map_or("", |node| node.text(arena));
        table.insert_unique(key.hash_one(id), index, |index| key.hash_one(text(index)));
        Some(index)
    }

    /// Says who the partners of a node are, the main one first.
    pub(super) fn link(&mut self, index: u32, partners: &[u32]) {
        if let (Some(node), Some(main)) = (self.nodes.get_mut(index as usize), partners.first()) {
            node.partner = *main;
        }
        if partners.len() > 1 {
            self.merged.insert(index, partners.into());
        }
    }

    pub(super) fn say_merge(&mut self, legacy: u32, clerk: u32) {
        self.said.insert((legacy, clerk));
    }

    pub(super) fn says_merge(&self, legacy: u32, clerk: u32) -> bool {
        self.said.contains(&(legacy, clerk))
    }

    pub(super) fn id<'a>(&self, arena: &'a Arena, index: u32) -> &'a str {
        self.nodes.get(index as usize).map_or("", |node| node.text(arena))
    }

    pub(super) fn side(&self, index: u32) -> Side {
        self.nodes.get(index as usize).map_or(Side::Legacy, |node| node.side)
    }

    /// The partners of a node, the main one first.
    pub(super) fn partners(&self, index: u32) -> &[u32] {
        match self.merged.get(&index) {
            Some(several) => several,
            None => {
                let partner = self.nodes.get(index as usize).map(|node| &node.partner);
                partner.filter(|partner| **partner != NONE).map_or(&[], std::slice::from_ref)
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.nodes.shrink_to_fit();
    }
}

impl Node {
    fn text(self, arena: &Arena) -> &str {
        arena.text(self.at, usize::from(self.length))
    }
}
