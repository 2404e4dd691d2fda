//! Paths that stand for all paths which two patterns share: how two route tables are compared without asking about every
//! path there is.
//!
//! Used by `diff`. A path with names of its own in the free segments is matched by exactly those patterns that match every
//! path of its shape, so that no other path of the shape can fall under another route. Tails are tried in every length that
//! some pattern could tell apart, and literals also in the other case and with the other ending, as looser APIs read them.

use std::collections::BTreeSet;

use super::pattern::{Part, Pattern};

/// Makes sample paths for the patterns that it was made of.
#[derive(Debug)]
pub struct Sampler {
    /// What free segments begin with: no literal does.
    fresh: String,
    /// Segments of the longest pattern.
    depth: usize,
}

/// What stands at one place of a path that both patterns match.
#[derive(Debug, Clone)]
enum Cell<'p> {
    Free,
    /// Asked for by one of them, or by both in one spelling.
    Literal(&'p [u8], Whose),
    /// The same but for its case.
    Spelt(&'p [u8], &'p [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    One,
    Other,
    Both,
}

impl Sampler {
    /// For these patterns, all of both tables.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let (mut fresh, mut depth, mut literals) = ("x".to_owned(), 0, BTreeSet::new());
        for pattern in patterns {
            depth = depth.max(pattern.parts().len());
            literals.extend(pattern.parts().iter().filter_map(|part| match part {
                Part::Literal(bytes) => Some(bytes.to_ascii_lowercase()),
                Part::Segment | Part::Tail => None,
            }));
        }
        while literals.iter().any(|literal| literal.starts_with(fresh.as_bytes())) {
            fresh.push('x');
        }
        Self { fresh, depth }
    }

    /// Canonical paths that stand for all which both patterns match, in any reading; none where there is no such path.
    pub fn paths(&self, one: &Pattern, other: &Pattern) -> Vec<String> {
        let Some(cells) = meet(one, other) else { return Vec::new() };
        let mut found = BTreeSet::new();
        let longest = if has_tail(one) && has_tail(other) { (self.depth + 1).saturating_sub(cells.len()) } else { 0 };
        for spelling in Spelling::ALL {
            let Some(segments) = self.segments(&cells, spelling) else { continue };
            for more in 0..=longest {
                let tail = (0..more).map(|at| self.free(cells.len() + at));
                let path: String = segments.iter().cloned().chain(tail).map(|segment| format!("/{segment}")).collect();
                if path.is_empty() {
                    found.insert("/".to_owned());
                    continue;
                }
                found.insert(format!("{path}/"));
                found.insert(path);
            }
        }
        found.into_iter().collect()
    }

    fn free(&self, at: usize) -> String {
        format!("{}{}", self.fresh, at + 1)
    }

    /// `None` where the spelling would be that of another one.
    fn segments(&self, cells: &[Cell<'_>], spelling: Spelling) -> Option<Vec<String>> {
        let mut differs = spelling == Spelling::One;
        let mut segments = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            segments.push(match cell {
                Cell::Free => self.free(at),
                Cell::Spelt(one, other) => {
                    differs |= spelling == Spelling::Other;
                    encoded(if spelling == Spelling::Other { other } else { one })
                }
                Cell::Literal(literal, whose) => match (spelling, whose) {
                    (Spelling::OneSwapped, Whose::One)
                    | (Spelling::OtherSwapped, Whose::Other)
                    | (Spelling::AllSwapped, _) => {
                        let swapped = swapped(literal);
                        differs |= swapped != *literal;
                        encoded(&swapped)
                    }
                    _ => encoded(literal),
                },
            });
        }
        differs.then_some(segments)
    }
}

/// In which case literals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// As the first pattern has them.
    One,
    /// As the second has them.
    Other,
    /// Those that only one of them asks for, in the other case: the rest of the path falls under the other pattern then.
    OneSwapped,
    OtherSwapped,
    AllSwapped,
}

impl Spelling {
    const ALL: [Self; 5] = [Self::One, Self::Other, Self::OneSwapped, Self::OtherSwapped, Self::AllSwapped];
}

/// The shape of the paths that both match, as people write patterns; the names are the second one's where it has any.
pub fn shared(one: &Pattern, other: &Pattern) -> Option<String> {
    let cells = meet(one, other)?;
    let (names, other_names) = (names(one), names(other));
    let mut text = String::new();
    for (at, cell) in cells.iter().enumerate() {
        text.push('/');
        match cell {
            Cell::Free => {
                let name = other_names.get(at).or_else(|| names.get(at)).copied().unwrap_or("name");
                text.push_str(&format!("{{{name}}}"));
            }
            Cell::Literal(literal, _) | Cell::Spelt(_, literal) => text.push_str(&encoded(literal)),
        }
    }
    if has_tail(one) && has_tail(other) {
        let name = other.names().last().unwrap_or("rest");
        text.push_str(&format!("/{{*{name}}}"));
    } else if text.is_empty() || one.trailing_slash() || other.trailing_slash() {
        text.push('/');
    }
    Some(text)
}

fn names(pattern: &Pattern) -> Vec<&str> {
    let mut names = pattern.names();
    let fixed = pattern.parts().iter().filter(|part| **part != Part::Tail);
    fixed.map(|part| if *part == Part::Segment { names.next().unwrap_or("name") } else { "name" }).collect()
}

fn has_tail(pattern: &Pattern) -> bool {
    pattern.parts().last() == Some(&Part::Tail)
}

/// Place by place, as loosely as an API may read it; `None` where no path is matched by both.
fn meet<'p>(one: &'p Pattern, other: &'p Pattern) -> Option<Vec<Cell<'p>>> {
    let fixed = |pattern: &'p Pattern| {
        let parts = pattern.parts();
        if has_tail(pattern) { parts.split_last().map_or(parts, |(_, fixed)| fixed) } else { parts }
    };
    let (one_fixed, other_fixed) = (fixed(one), fixed(other));
    let length = one_fixed.len().max(other_fixed.len());
    if (one_fixed.len() < length && !has_tail(one)) || (other_fixed.len() < length && !has_tail(other)) {
        return None;
    }
    let literal = |parts: &'p [Part], at: usize| match parts.get(at) {
        Some(Part::Literal(bytes)) => Some(&**bytes),
        Some(Part::Segment | Part::Tail) | None => None,
    };
    (0..length)
        .map(|at| match (literal(one_fixed, at), literal(other_fixed, at)) {
            (None, None) => Some(Cell::Free),
            (Some(one), None) => Some(Cell::Literal(one, Whose::One)),
            (None, Some(other)) => Some(Cell::Literal(other, Whose::Other)),
            (Some(one), Some(other)) if one == other => Some(Cell::Literal(one, Whose::Both)),
            (Some(one), Some(other)) if one.eq_ignore_ascii_case(other) => Some(Cell::Spelt(one, other)),
            (Some(_), Some(_)) => None,
        })
        .collect()
}

fn swapped(literal: &[u8]) -> Vec<u8> {
    let swap =
        |byte: &u8| if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
    literal.iter().map(swap).collect()
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'$' | b'+' | b',')
        {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Sampler, shared};

    #[test]
    fn two_patterns_share_a_shape_or_nothing() {
        let table = [
            ("/a/{x}", "/a/{y}", Some("/a/{y}")),
            ("/a/{x}", "/{y}/b", Some("/a/b")),
            ("/a/{*rest}", "/a/{y}/b", Some("/a/{y}/b")),
            ("/{*rest}", "/a/{*tail}", Some("/a/{*tail}")),
            ("/{*rest}", "/", Some("/")),
            ("/{*rest}", "/{*all}", Some("/{*all}")),
            ("/A/{x}", "/a/{y}", Some("/a/{y}")),
            ("/a/{x}/", "/a/{*r}", Some("/a/{x}/")),
            ("/a", "/b", None),
            ("/a", "/a/b", None),
            ("/{x}", "/a/{*r}", Some("/a")),
        ];
        for (one, other, expected) in table {
            let (one, other) = (Pattern::parse(one).unwrap(), Pattern::parse(other).unwrap());
            assert_eq!(shared(&one, &other).as_deref(), expected, "{} {}", one.as_str(), other.as_str());
        }
    }

    #[test]
    fn samples_have_names_of_their_own_and_every_length() {
        let patterns = ["/x1/{a}", "/{*rest}", "/x1/{b}/c"].map(|text| Pattern::parse(text).unwrap());
        let sampler = Sampler::new(&patterns);
        let paths = sampler.paths(&patterns[1], &patterns[1]);
        assert_eq!(paths.len(), 9, "0 to 4 segments, each with and without its slash: {paths:?}");
        let paths = sampler.paths(&patterns[0], &patterns[1]);
        assert!(paths.contains(&"/x1/xx2".to_owned()) && paths.contains(&"/X1/xx2/".to_owned()), "{paths:?}");
        let escaped = Pattern::parse("/a%20b/{c}").unwrap();
        assert!(Sampler::new([&escaped]).paths(&escaped, &escaped).contains(&"/a%20b/x2".to_owned()));
    }
}
