//! JSON with one reading only: what two parsers could take for two things is refused.
//!
//! Used for tokens, key sets and what is persisted of them. `serde_json` lets the last of two equal names win,
//! others let the first: a token must not name one person here and another in the API. Names are compared
//! after unescaping (`s\u0075b` is `sub`), at every level. Depth is bounded by `serde_json` (128), size by the
//! caller. Never repairs anything.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Why a text is not strict JSON. Says nothing of the text itself, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonProblem {
    /// Not JSON by RFC 8259, too deep, a number that no double holds, or bytes behind the end.
    Malformed,
    /// One object names one member twice.
    Duplicate,
    /// JSON, but no object where only an object makes sense.
    NotAnObject,
}

/// Parses one value that fills all of `bytes`.
///
/// # Errors
/// [`JsonProblem`], never a panic.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, JsonProblem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict::deserialize(&mut deserializer).map_err(|error| problem(&error))?;
    deserializer.end().map_err(|error| problem(&error))?;
    Ok(value.0)
}

/// As [`parse_strict`], for an object. A sequence is no object, though serde's derives would take one.
///
/// # Errors
/// [`JsonProblem`], never a panic.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonProblem> {
    match parse_strict(bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonProblem::NotAnObject)
        }
    }
}

/// The only custom message that this module raises; serde hands it back as text.
const DUPLICATE: &str = "duplicate member";

fn problem(error: &serde_json::Error) -> JsonProblem {
    if error.is_data() && error.to_string().starts_with(DUPLICATE) {
        JsonProblem::Duplicate
    } else {
        JsonProblem::Malformed
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match map.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(members.next_value_seed(self)?);
                }
                Entry::Occupied(_) => return Err(de::Error::custom(DUPLICATE)),
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{JsonProblem, parse_object, parse_strict};

    #[test]
    fn what_is_refused() {
        let deep = "[".repeat(2000);
        let table: &[(&str, &[u8], JsonProblem)] = &[
            ("same name twice", br#"{"sub":"a","sub":"b"}"#, JsonProblem::Duplicate),
            ("same value twice", br#"{"sub":"a","sub":"a"}"#, JsonProblem::Duplicate),
            ("escaped twin", br#"{"sub":"a","s\u0075b":"b"}"#, JsonProblem::Duplicate),
            ("nested twin", br#"{"o":{"rol":"a","rol":"b"}}"#, JsonProblem::Duplicate),
            ("twin in a list", br#"[{"a":1,"a":2}]"#, JsonProblem::Duplicate),
            ("array", b"[]", JsonProblem::NotAnObject),
            ("array in field order", br#"["RS256","JWT"]"#, JsonProblem::NotAnObject),
            ("string", b"\"a\"", JsonProblem::NotAnObject),
            ("number", b"1", JsonProblem::NotAnObject),
            ("null", b"null", JsonProblem::NotAnObject),
            ("empty", b"", JsonProblem::Malformed),
            ("trailing bytes", b"{}x", JsonProblem::Malformed),
            ("two values", b"{}{}", JsonProblem::Malformed),
            ("trailing NUL", b"{}\0", JsonProblem::Malformed),
            ("truncated", br#"{"a":1"#, JsonProblem::Malformed),
            ("BOM", b"\xef\xbb\xbf{}", JsonProblem::Malformed),
            ("single quotes", b"{'a':1}", JsonProblem::Malformed),
            ("comment", b"{/**/}", JsonProblem::Malformed),
            ("trailing comma", br#"{"a":1,}"#, JsonProblem::Malformed),
            ("bad UTF-8", b"{\"a\":\"\xff\"}", JsonProblem::Malformed),
            ("lone surrogate", br#"{"a":"\ud800"}"#, JsonProblem::Malformed),
            ("raw control", b"{\"a\":\"\x01\"}", JsonProblem::Malformed),
            ("too deep", deep.as_bytes(), JsonProblem::Malformed),
            ("1e400", br#"{"exp":1e400}"#, JsonProblem::Malformed),
            ("NaN", br#"{"exp":NaN}"#, JsonProblem::Malformed),
            ("Infinity", br#"{"exp":Infinity}"#, JsonProblem::Malformed),
            ("leading zero", br#"{"exp":01}"#, JsonProblem::Malformed),
            ("plus", br#"{"exp":+1}"#, JsonProblem::Malformed),
            ("hex", br#"{"exp":0x1}"#, JsonProblem::Malformed),
        ];
        for (name, bytes, expected) in table {
            assert_eq!(parse_object(bytes).unwrap_err(), *expected, "{name}");
        }
    }

    #[test]
    fn what_is_read() {
        let text = br#" {"a":[1,-2,1.5,18446744073709551615,true,null],"b":{"c":"\u00fc\n"},"d":{}} "#;
        let expected = json!({"a": [1, -2, 1.5, u64::MAX, true, null], "b": {"c": "\u{fc}\n"}, "d": {}});
        assert_eq!(parse_strict(text).unwrap(), expected);
    }

    #[test]
    fn a_value_cannot_pose_as_the_duplicate_message() {
        assert_eq!(parse_strict(br#"{"duplicate member":1,"a":}"#).unwrap_err(), JsonProblem::Malformed);
    }
}
