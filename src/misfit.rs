//! What serde says of a value that does not fit, in words for people: the unknown name, the near one, the known ones; what was
//! expected and what stands there.
//!
//! For config files, and for whatever else people write down in their shape. Repeats names, never a value: one may be a secret.

use serde::{Deserialize, Deserializer};

/// Something small that is no config file, such as a person in `explain --as`, read as strictly; the misfit in the words of
/// a file's problems, with all names that are known.
///
/// # Errors
/// A sentence without any value of what was read.
pub(crate) fn strictly<'de, T: Deserialize<'de>>(value: impl Deserializer<'de>) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = match error.path().to_string() {
            path if path == "." => String::new(),
            path => format!("`{path}`: "),
        };
        let inner = error.inner().to_string();
        // What the parser adds of places in a text: the path says it better.
        let inner = inner.rsplit_once(" at line ").map_or(inner.as_str(), |(sentence, _)| sentence);
        for (opening, what, all) in
            [("unknown field `", "key", "known keys"), ("unknown variant `", "value", "known values")]
        {
            let Some((name, known)) = unknown(inner, opening) else { continue };
            let near = near(&name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            // A path that ends in the unknown key itself names it twice.
            let place = if what == "key" { String::new() } else { place };
            return format!("{place}unknown {what} `{name}`: {near}{all}: {}", known.join(", "));
        }
        let (message, help) = mismatch(inner);
        let help = help.map(|help| format!(": {help}")).unwrap_or_default();
        format!("{place}{message}{help}")
    })
}

/// Serde's "unknown field `a`, expected `b` or `c`", taken apart.
pub(crate) fn unknown(error: &str, opening: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = error.strip_prefix(opening)?.split_once("`, expected ").or_else(|| {
        // "there are no fields"
        error.strip_prefix(opening)?.rsplit_once("`, ")
    })?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), known))
}

/// Serde's "invalid type: string \"x\", expected a map" without the value, which may be a secret.
pub(crate) fn mismatch(error: &str) -> (String, Option<String>) {
    let Some((found, expected)) = error.rsplit_once(", expected ") else {
        return (error.to_owned(), None);
    };
    let found = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: ")).unwrap_or(found);
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f64" => "a number",
        // What serde_yaml says of our enumerations.
        "a Value::Tagged enum" => "a word",
        other => other,
    };
    let (kind, text_wanted) = match found.split(' ').next().unwrap_or_default() {
        "string" => ("text", false),
        "integer" => ("a number", true),
        "floating" => ("a number", true),
        "boolean" => ("true or false", true),
        "map" => ("a mapping", false),
        "sequence" => ("a list", false),
        "unit" | "Option" => ("nothing", false),
        _ => ("something else", false),
    };
    let quote = text_wanted && (expected.contains("text") || expected == "a string");
    let expected = if expected == "a string" { "text" } else { expected };
    (format!("expected {expected}, found {kind}"), quote.then(|| "put the value in quotes".to_owned()))
}

/// The word that was probably meant.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances over long strings cost their product; nobody mistypes a key of a hundred letters.
    if word.len() > 100 {
        return None;
    }
    let folded = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{mismatch, near, strictly, unknown};
    use crate::persona::Persona;

    #[test]
    fn the_word_that_was_meant() {
        let known = ["access", "require", "timeout", "mode", "id", "missing_azp"];
        let table = [
            ("acess", Some("access")),
            ("Access", Some("access")),
            ("timeuot", Some("timeout")),
            ("missing-azp", Some("missing_azp")),
            ("mod", Some("mode")),
            ("ix", Some("id")),
            ("privileged", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(near(word, known), expected, "{word:?}");
        }
    }

    #[test]
    fn serdes_sentences_are_taken_apart() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let table = [
            ("unknown field `a`, expected `b`", "a", words(&["b"])),
            ("unknown field `a`, expected `b` or `c`", "a", words(&["b", "c"])),
            ("unknown field `a`, expected one of `b`, `c`, `d`", "a", words(&["b", "c", "d"])),
            ("unknown field `a`b`, expected `c`", "a`b", words(&["c"])),
            ("unknown field `a`, there are no fields", "a", words(&[])),
        ];
        for (sentence, name, known) in table {
            assert_eq!(unknown(sentence, "unknown field `"), Some((name.to_owned(), known)), "{sentence}");
        }
        let (message, help) = mismatch("invalid type: string \"hunter2, expected x\", expected a map");
        assert_eq!((message.as_str(), help), ("expected a mapping, found text", None));
    }

    #[test]
    fn a_person_with_a_misspelt_field_is_told_the_near_one_and_all() {
        let table = [
            (
                serde_json::json!({ "usr": "u" }),
                "unknown key `usr`: did you mean `user`? known keys: user, clerk_user, ",
            ),
            (serde_json::json!({ "zzzzz": "u" }), "unknown key `zzzzz`: known keys: user, clerk_user, "),
            (
                serde_json::json!({ "link": "linkd" }),
                "`link`: unknown value `linkd`: did you mean `linked`? known values: ",
            ),
            (serde_json::json!({ "org": ["secret"] }), "`org`: expected text, found a list"),
            (
                serde_json::json!({ "workspaces": [{ "id": "w", "rol": "x" }] }),
                "unknown key `rol`: did you mean `role`? known keys: id, role",
            ),
        ];
        for (written, expected) in table {
            let told = strictly::<Persona>(&written).unwrap_err();
            assert!(told.starts_with(expected), "{written}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
