//! Which of many patterns share a path with one: a comparison of two large tables must not lay each beside each.
//!
//! Used by `diff`, beside [`super::Sampler`]. Literals meet in any case, as looser APIs read them; the sampler looks closer.

use std::collections::HashMap;

use super::pattern::{Part, Pattern};

/// Patterns by their places.
#[derive(Debug, Default)]
pub struct Meeting {
    /// In lower case.
    literals: HashMap<Box<[u8]>, Self>,
    free: Option<Box<Self>>,
    /// Patterns whose tail begins here.
    tails: Vec<usize>,
    /// Patterns that end here.
    ends: Vec<usize>,
}

impl Meeting {
    /// Each is known by its place in the list.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let mut root = Self::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            root.insert(pattern.parts(), index);
        }
        root
    }

    /// Those that may share a path with this one, in their order.
    pub fn of(&self, pattern: &Pattern) -> Vec<usize> {
        let mut found = Vec::new();
        self.gather(pattern.parts(), &mut found);
        found.sort_unstable();
        found
    }

    fn insert(&mut self, parts: &[Part], index: usize) {
        match parts.split_first() {
            None => self.ends.push(index),
            Some((Part::Tail, _)) => self.tails.push(index),
            Some((Part::Segment, rest)) => self.free.get_or_insert_default().insert(rest, index),
            Some((Part::Literal(bytes), rest)) => {
                self.literals.entry(bytes.to_ascii_lowercase().into()).or_default().insert(rest, index);
            }
        }
    }

    fn gather(&self, parts: &[Part], found: &mut Vec<usize>) {
        found.extend(&self.tails);
        match parts.split_first() {
            None => found.extend(&self.ends),
            Some((Part::Tail, _)) => {
                found.extend(&self.ends);
                self.below().for_each(|node| node.gather(parts, found));
            }
            Some((Part::Segment, rest)) => self.below().for_each(|node| node.gather(rest, found)),
            Some((Part::Literal(bytes), rest)) => {
                let named = self.literals.get(&*bytes.to_ascii_lowercase());
                named.into_iter().chain(self.free.as_deref()).for_each(|node| node.gather(rest, found));
            }
        }
    }

    fn below(&self) -> impl Iterator<Item = &Self> {
        self.literals.values().chain(self.free.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::{Meeting, Pattern};
    use crate::route::shared;

    #[test]
    fn finds_all_that_share_a_path() {
        let texts = [
            "/",
            "/{*all}",
            "/a",
            "/A/{x}",
            "/a/{x}",
            "/a/b",
            "/{x}/b",
            "/a/{*rest}",
            "/a/b/c",
            "/{x}/{y}/c",
            "/b/{*r}",
            "/a/b/",
            "/{x}/b/{*r}",
        ];
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let meeting = Meeting::new(&patterns);
        for pattern in &patterns {
            let one_by_one: Vec<usize> =
                (0..patterns.len()).filter(|at| shared(pattern, &patterns[*at]).is_some()).collect();
            assert_eq!(meeting.of(pattern), one_by_one, "{}", pattern.as_str());
        }
    }
}
