//! One line of the map: its keys, and what may stand in them.
//!
//! Used by the loader for JSONL and by `map import` for CSV, so that both know the same rules. Strict, because whoever
//! writes the map decides who is whom: an unknown key, a key that stands twice or an id with a hidden character is an
//! error, never a guess. Knows nothing of other lines.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer as _, MapAccess, Visitor};

use super::state::State;

/// Longest id, role or workspace, in bytes.
pub const MAX_ID: usize = 256;

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    User { legacy: Option<Cow<'a, str>>, clerk: Option<Cow<'a, str>>, state: State },
    Org { legacy: Option<Cow<'a, str>>, clerk: Option<Cow<'a, str>>, merge: bool },
    Membership { user: Cow<'a, str>, org: Cow<'a, str>, role: Option<Cow<'a, str>>, workspaces: Vec<Cow<'a, str>> },
}

/// The keys of a line as they are written, before anybody knows its kind.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    pub kind: Option<Cow<'a, str>>,
    pub legacy: Option<Cow<'a, str>>,
    pub clerk: Option<Cow<'a, str>>,
    pub state: Option<Cow<'a, str>>,
    pub user: Option<Cow<'a, str>>,
    pub org: Option<Cow<'a, str>>,
    pub role: Option<Cow<'a, str>>,
    pub workspaces: Option<Vec<Cow<'a, str>>>,
    pub merge: Option<bool>,
}

impl<'a> Line<'a> {
    /// Reads one JSON object that fills the whole line.
    ///
    /// # Errors
    /// What is wrong, in words for the one who wrote the line.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("expected a JSON object, such as {\"kind\":\"user\",…}".to_owned());
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let fields = json.deserialize_map(FieldsVisitor).map_err(|error| reason(&error))?;
        json.end().map_err(|_| "something follows the object on its line".to_owned())?;
        fields.into_line()
    }
}

impl<'a> Fields<'a> {
    /// # Errors
    /// As [`Line::parse`].
    pub fn into_line(self) -> Result<Line<'a>, String> {
        let Self { kind, legacy, clerk, state, user, org, role, workspaces, merge } = self;
        let kind = kind.ok_or("`kind` is missing: user, org or membership")?;
        let foreign = |keys: &[(&str, bool)]| match keys.iter().find(|(_, there)| *there) {
            Some((key, _)) => Err(format!("no `{key}` in a line of kind {kind}")),
            None => Ok(()),
        };
        for (key, text) in [("legacy", &legacy), ("clerk", &clerk), ("user", &user), ("org", &org), ("role", &role)] {
            text.as_deref().map_or(Ok(()), |text| check(key, text))?;
        }
        let needed = |key: &str| format!("a {kind} needs `{key}`");
        match &*kind {
            "user" => {
                foreign(&[
                    ("user", user.is_some()),
                    ("org", org.is_some()),
                    ("role", role.is_some()),
                    ("workspaces", workspaces.is_some()),
                    ("merge", merge.is_some()),
                ])?;
                let word = state.ok_or_else(|| needed("state"))?;
                let state = State::parse(&word).ok_or_else(|| {
                    let known = State::ALL.map(State::as_str).join(", ");
                    format!("unknown state `{}`: expected one of {known}", shown(&word))
                })?;
                user_ids(state, legacy.is_some(), clerk.is_some())?;
                Ok(Line::User { legacy, clerk, state })
            }
            "org" => {
                foreign(&[
                    ("state", state.is_some()),
                    ("user", user.is_some()),
                    ("org", org.is_some()),
                    ("role", role.is_some()),
                    ("workspaces", workspaces.is_some()),
                ])?;
                if legacy.is_none() && clerk.is_none() {
                    return Err("an org needs `legacy`, `clerk` or both".to_owned());
                }
                Ok(Line::Org { legacy, clerk, merge: merge.unwrap_or(false) })
            }
            "membership" => {
                foreign(&[
                    ("legacy", legacy.is_some()),
                    ("clerk", clerk.is_some()),
                    ("state", state.is_some()),
                    ("merge", merge.is_some()),
                ])?;
                let mut workspaces = workspaces.unwrap_or_default();
                workspaces.iter().try_for_each(|workspace| check("workspaces", workspace))?;
                // One order, so that equal sets are kept once.
                workspaces.sort_unstable();
                if let Some(twice) = twice(&workspaces) {
                    return Err(format!("workspace `{}` stands twice", shown(twice)));
                }
                Ok(Line::Membership {
                    user: user.ok_or_else(|| needed("user"))?,
                    org: org.ok_or_else(|| needed("org"))?,
                    role,
                    workspaces,
                })
            }
            other => Err(format!("unknown kind `{}`: expected user, org or membership", shown(other))),
        }
    }
}

/// The first of two equal neighbours.
fn twice<'l>(sorted: &'l [Cow<'_, str>]) -> Option<&'l str> {
    sorted.iter().zip(sorted.iter().skip(1)).find(|(one, next)| one == next).map(|(one, _)| &**one)
}

/// Which ids each state has. A state that contradicts its ids would be read in two ways.
fn user_ids(state: State, legacy: bool, clerk: bool) -> Result<(), String> {
    let word = state.as_str();
    let problem = match state {
        State::Linked if !legacy => "a linked user needs `legacy` too",
        State::Linked if !clerk => "a linked user needs `clerk` too",
        State::LegacyOnly if clerk => "a legacy_only user has no `clerk`: say linked, or leave the id out",
        State::LegacyOnly | State::Sealed if !legacy => return Err(format!("a {word} user needs `legacy`")),
        State::ClerkNative if !clerk => "a clerk_native user needs `clerk`",
        State::Deleted if !legacy && !clerk => "a deleted user needs `legacy`, `clerk` or both",
        State::Linked | State::LegacyOnly | State::ClerkNative | State::Sealed | State::Deleted => return Ok(()),
    };
    Err(problem.to_owned())
}

/// An id becomes a header value, a line of the audit trail and a word on a screen: nothing in it may hide.
fn check(key: &str, text: &str) -> Result<(), String> {
    // All but a few of a million.
    if !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.is_empty() {
        return Err(format!("`{key}` is empty: leave it out or give an id"));
    }
    if text.len() > MAX_ID {
        return Err(format!("`{key}` is longer than {MAX_ID} bytes"));
    }
    if let Some(found) = text.chars().find(|c| hidden(*c)) {
        return Err(format!("`{key}` holds the hidden character U+{:04X}", u32::from(found)));
    }
    if text.trim() != text {
        return Err(format!("`{key}` begins or ends with a space"));
    }
    Ok(())
}

/// A piece of the file for a message: short, and without what could move a cursor.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(64).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    shown
}

/// serde's reason without the place that it appends: it counts lines of one line.
fn reason(error: &serde_json::Error) -> String {
    if error.is_data() {
        let text = error.to_string();
        return text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned());
    }
    if error.is_eof() {
        return "the object does not end on its line: the line is broken or the file cut off".to_owned();
    }
    format!("no JSON from column {} on", error.column())
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Text(key)) = members.next_key()? {
            match &*key {
                "kind" => text(&mut members, &key, &mut fields.kind)?,
                "legacy" => text(&mut members, &key, &mut fields.legacy)?,
                "clerk" => text(&mut members, &key, &mut fields.clerk)?,
                "state" => text(&mut members, &key, &mut fields.state)?,
                "user" => text(&mut members, &key, &mut fields.user)?,
                "org" => text(&mut members, &key, &mut fields.org)?,
                "role" => text(&mut members, &key, &mut fields.role)?,
                "workspaces" => {
                    let List(list) = members.next_value().map_err(|error| typed(error, &key, "a list of texts"))?;
                    put(&mut fields.workspaces, list, &key)?;
                }
                "merge" => {
                    let merge = members.next_value().map_err(|error| typed(error, &key, "true or false"))?;
                    put(&mut fields.merge, merge, &key)?;
                }
                other => {
                    return Err(de::Error::custom(format_args!(
                        "unknown key `{}`: expected kind, legacy, clerk, state, user, org, role, workspaces or merge",
                        shown(other)
                    )));
                }
            }
        }
        Ok(fields)
    }
}

fn text<'de, A: MapAccess<'de>>(members: &mut A, key: &str, field: &mut Option<Cow<'de, str>>) -> Result<(), A::Error> {
    let Text(value) = members.next_value().map_err(|error| typed(error, key, "text in quotes"))?;
    put(field, value, key)
}

fn put<T, E: de::Error>(field: &mut Option<T>, value: T, key: &str) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("key `{key}` stands twice"))),
    }
}

/// A value of another type is told by its key; broken JSON stays what it is.
fn typed<E: de::Error + fmt::Display>(error: E, key: &str, expected: &str) -> E {
    if error.to_string().starts_with(WRONG_TYPE) {
        E::custom(format_args!("`{key}` must be {expected}"))
    } else {
        error
    }
}

/// How serde begins when a value is of another type.
const WRONG_TYPE: &str = "invalid type";

/// Borrowed from the line unless something in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> de::Deserialize<'de> for Text<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

struct List<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> de::Deserialize<'de> for List<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<Text<'de>>::deserialize(deserializer)?;
        Ok(List(texts.into_iter().map(|Text(text)| text).collect()))
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
