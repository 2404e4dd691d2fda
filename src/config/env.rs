//! `${NAME}` and `${NAME:-default}` in one scalar, `$${` for a literal `${`.
//!
//! Called by `yaml` on scalar values after the document was taken apart, so nothing that an environment holds
//! can become a key, a list or a second line of the document. Never reads the process environment itself.

use std::borrow::Cow;

/// The environment, as an argument.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a substitution failed, with the text of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Unset { name: String },
    Malformed { text: String },
}

/// Replaces every reference. Borrowed when there is none.
///
/// # Errors
/// The first reference that cannot be replaced.
pub(crate) fn expand<'a>(text: &'a str, env: Env<'_>) -> Result<Cow<'a, str>, Failure> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((reference, tail)) = after.split_once('}') else {
            return Err(malformed(after));
        };
        out.push_str(&value(reference, env)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// As in a shell, the default also stands in for an empty value.
fn value(reference: &str, env: Env<'_>) -> Result<String, Failure> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    // A `$` in a default would be a reference in a reference: closing braces could not be told apart.
    if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
        return Err(malformed(reference));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Failure::Unset { name: name.to_owned() }),
    }
}

fn malformed(text: &str) -> Failure {
    Failure::Malformed { text: text.chars().take(40).collect() }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Failure, expand};

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            "YAML" => Some("a\nb: [c]".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once_and_only_well_formed_ones() {
        let unset = |name: &str| Err(Failure::Unset { name: name.to_owned() });
        let malformed = |text: &str| Err(Failure::Malformed { text: text.to_owned() });
        let table = [
            ("none", "plain $ {x}", Ok("plain $ {x}")),
            ("one", "${HOST}", Ok("10.0.0.1")),
            ("within text", "http://${HOST}:80/", Ok("http://10.0.0.1:80/")),
            ("two", "${HOST}${HOST}", Ok("10.0.0.110.0.0.1")),
            ("default unused", "${HOST:-x}", Ok("10.0.0.1")),
            ("default used", "${NONE:-x y}", Ok("x y")),
            ("default for an empty value", "${EMPTY:-x}", Ok("x")),
            ("empty default", "${NONE:-}", Ok("")),
            ("empty value", "a${EMPTY}b", Ok("ab")),
            ("literal", "$${HOST}", Ok("${HOST}")),
            ("literal twice", "$${A}$${B}", Ok("${A}${B}")),
            ("a value is not read again", "${NESTED}", Ok("${HOST}")),
            ("structure stays text", "${YAML}", Ok("a\nb: [c]")),
            ("default with a colon", "${NONE:-a:-b}", Ok("a:-b")),
            ("unset", "x${NONE}", unset("NONE")),
            ("no end", "x${HOST", malformed("HOST")),
            ("no name", "${}", malformed("")),
            ("bad name", "${1A}", malformed("1A")),
            ("dash alone", "${HOST-x}", malformed("HOST-x")),
            ("nested", "${NONE:-${HOST}}", malformed("NONE:-${HOST")),
        ];
        for (name, text, expected) in table {
            assert_eq!(expand(text, &env).map(|t| t.into_owned()), expected.map(str::to_owned), "{name}");
        }
    }
}
