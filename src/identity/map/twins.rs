//! Ids that people take for one: equal but for case or for how accents are composed.
//!
//! The map compares bytes, as both logins do, so twins are two people. Often they are one person who was entered twice,
//! and sometimes somebody who wants to be taken for another; `map verify` and `map import` tell them. Never changes an id.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use icu_normalizer::ComposingNormalizerBorrowed;

use super::{IdentityMap, Side};

/// Most twins that are told.
const MAX: usize = 100;

/// Two ids of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin<'m> {
    /// `user` or `org`.
    pub kind: &'static str,
    pub side: Side,
    pub one: &'m str,
    pub other: &'m str,
}

/// Up to 100 pairs.
pub fn twins(map: &IdentityMap) -> Vec<Twin<'_>> {
    let mut found = Vec::new();
    for side in [Side::Legacy, Side::Clerk] {
        let users = map.users().filter_map(|user| match side {
            Side::Legacy => user.legacy(),
            Side::Clerk => user.clerk(),
        });
        pairs(users.collect(), "user", side, &mut found);
        pairs(map.orgs().filter(|org| org.side() == side).map(super::Org::id).collect(), "org", side, &mut found);
    }
    found
}

fn pairs<'m>(ids: Vec<&'m str>, kind: &'static str, side: Side, found: &mut Vec<Twin<'m>>) {
    let key = RandomState::new();
    // Only hashes are kept of a million ids; what meets is compared.
    let mut hashed: Vec<(u64, &str)> = ids.into_iter().map(|id| (key.hash_one(folded(id)), id)).collect();
    hashed.sort_unstable();
    for (one, other) in hashed.iter().zip(hashed.iter().skip(1)) {
        if found.len() >= MAX {
            return;
        }
        if one.0 == other.0 && folded(one.1) == folded(other.1) {
            found.push(Twin { kind, side, one: one.1, other: other.1 });
        }
    }
}

/// Lower case, composed.
fn folded(id: &str) -> Cow<'_, str> {
    if id.is_ascii() {
        return if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(id.to_ascii_lowercase())
        } else {
            Cow::Borrowed(id)
        };
    }
    let composer = ComposingNormalizerBorrowed::new_nfc();
    // Composed again: lower case of some letters is decomposed.
    Cow::Owned(composer.normalize(&composer.normalize(id).to_lowercase()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn what_looks_alike() {
        for (one, other) in [("Alice", "alice"), ("caf\u{e9}", "CAFE\u{301}"), ("\u{212b}", "\u{e5}")] {
            assert_eq!(folded(one), folded(other));
        }
        for (one, other) in [("alice", "alicf"), ("a", "\u{430}"), ("stra\u{df}e", "strasse")] {
            assert_ne!(folded(one), folded(other));
        }
    }
}
