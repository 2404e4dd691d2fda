//! Names that only the people who write policies know, and that are probably misspelt: used once, and a letter away from
//! one that is used more often.
//!
//! Roles, permissions, features and plans are open vocabularies, so that this is advice. Few alarms matter more than all
//! misspellings: plurals, numbers, and words of four letters are taken as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::codes;
use crate::config::places::{At, Span};
use crate::config::report::Problem;
use crate::config::source::Source;

/// More were made by a program, which does not misspell.
const MAX_NAMES: usize = 1_000;
/// Shorter words are near too many others.
const MIN_LETTERS: usize = 5;

/// A name that a rule asks for, and where.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// `role`, `permission`, `feature` or `plan`.
    kind: &'static str,
    text: String,
    source: Arc<Source>,
    span: Span,
    /// Out of the environment: neither counted nor shown.
    is_hidden: bool,
}

impl Name {
    pub(crate) fn new(kind: &'static str, text: &str, at: At<'_>) -> Self {
        Self {
            kind,
            text: text.to_owned(),
            source: Arc::clone(at.source),
            span: at.span(),
            is_hidden: at.is_substituted(),
        }
    }
}

/// `roles`: those that `identity.roles` names, of either side.
pub(crate) fn tell<'r>(names: &[Name], roles: impl Iterator<Item = &'r str>, problems: &mut Vec<Problem>) {
    let mut used: BTreeMap<&str, BTreeMap<&str, Vec<&Name>>> = BTreeMap::new();
    for name in names.iter().filter(|name| !name.is_hidden) {
        used.entry(name.kind).or_default().entry(bare(&name.text)).or_default().push(name);
    }
    let known: Vec<&str> = roles.map(bare).collect();
    for (kind, of_kind) in used {
        if of_kind.len() > MAX_NAMES {
            continue;
        }
        let known: &[&str] = if kind == "role" { &known } else { &[] };
        for (text, places) in &of_kind {
            let [once] = places.as_slice() else { continue };
            if known.contains(text) {
                continue;
            }
            let often = of_kind.iter().filter(|(_, places)| places.len() > 1).map(|(other, _)| *other);
            let Some(other) = known.iter().copied().chain(often).find(|other| is_misspelt(text, other)) else {
                continue;
            };
            let written = of_kind.get(other).and_then(|places| places.first()).map_or(other, |name| &*name.text);
            let elsewhere = if known.contains(&other) { "in identity.roles" } else { "elsewhere" };
            let message = format!("{kind} `{}` is asked for here only, and {elsewhere} it is `{written}`", once.text);
            problems.push(
                Problem::at_span(codes::NEAR_NAME, &once.source, once.span, message)
                    .help(format!("did you mean `{written}`? where both are meant, waive {}", codes::NEAR_NAME.id))
                    .warning(),
            );
        }
    }
}

/// Clerk writes names with and without the prefix.
fn bare(name: &str) -> &str {
    name.strip_prefix("org:").unwrap_or(name)
}

/// Whether one word of a name is probably a slip of the other's.
fn is_misspelt(name: &str, other: &str) -> bool {
    let is_sign = |c: char| !c.is_alphanumeric();
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (name.split(is_sign).collect(), other.split(is_sign).collect());
    if ours.len() != theirs.len() {
        return false;
    }
    let mut differing = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
    let (Some((ours, theirs)), None) = (differing.next(), differing.next()) else { return false };
    let letters = ours.chars().count().min(theirs.chars().count());
    if letters < MIN_LETTERS || ours.len().abs_diff(theirs.len()) > 2 || is_plural(ours, theirs) {
        return false;
    }
    let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
    let allowed = if letters < 9 { 1 } else { 2 };
    !has_digit(ours) && !has_digit(theirs) && strsim::damerau_levenshtein(ours, theirs) <= allowed
}

fn is_plural(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let ending = long.strip_prefix(short.strip_suffix('y').unwrap_or(short)).unwrap_or_default();
    matches!(ending, "s" | "es" | "ies")
}

#[cfg(test)]
mod tests {
    use super::is_misspelt;

    #[test]
    fn slips_are_told_from_words() {
        let table = [
            ("biling", "billing", true),
            ("blling", "billing", true),
            ("bililng", "billing", true),
            ("invoices:raed", "invoices:read", false),
            ("invocies:read", "invoices:read", true),
            ("administartor", "administrator", true),
            ("admin", "admins", false),
            ("policy", "policies", false),
            ("invoice:read", "invoices:read", false),
            ("plan1", "plan2", false),
            ("viewer", "reviewer", false),
            ("read", "lead", false),
            ("member", "owner", false),
            ("billing", "billing", false),
            ("billing:read", "billing", false),
        ];
        for (name, other, expected) in table {
            assert_eq!(is_misspelt(name, other), expected, "{name} {other}");
            assert_eq!(is_misspelt(other, name), expected, "{other} {name}");
        }
    }
}
