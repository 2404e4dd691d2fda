//! What editors are told of the values that people write in one word or in several ways.
//!
//! The counterpart of `scalar` in JSON Schema. Keywords there hold for one type of value each, so that a value which
//! may be text, a list or a mapping is one schema with several types: an editor then says what is wrong with it, and
//! not that none of three schemas fits. Never decides what is accepted: that is `scalar`, and a test holds the two
//! together. A `${…}` in place of a value is allowed by `config::schema`, for all of them alike.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::scalar::{Bound, Lasting, Named, OneOrMany, Scalars, Several, Size, TextOr, Threads, Time};
use super::status::{Status, StatusAt};
use super::test::FlagOr;
use crate::identity::TokenKind;
use crate::policy::{Level, Preset};

const NUMBER: &str = "[0-9]+";

/// `JsonSchema` of a type without parameters.
macro_rules! shape {
    ($($type:ty = $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

shape! {
    Time = {
        "type": "string",
        "pattern": format!("^{NUMBER}(ms|s|m|h)$"),
        "errorMessage": "write a duration like 250ms, 5s, 5m or 24h",
    };
    Lasting = {
        "type": "string",
        "pattern": format!("^({NUMBER}(ms|s|m|h)|none)$"),
        "errorMessage": "write a duration like 15m or 24h, or none",
    };
    Size = {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": format!("^{NUMBER}(B|KiB|MiB|GiB|TiB)?$"),
        "errorMessage": "write a size like 64KiB, 10MiB or 1GiB, or bytes",
    };
    Bound = {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": format!("^({NUMBER}(B|KiB|MiB|GiB|TiB)?|none)$"),
        "errorMessage": "write a size like 64KiB, 10MiB or 1GiB, bytes, or none",
    };
    Threads = {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": "^auto$",
        "errorMessage": "write auto or a whole number",
    };
    Percent = {
        "type": ["number", "string"],
        "minimum": 0,
        "maximum": 100,
        "pattern": r"^([0-9]{1,2}(\.[0-9]{1,4})?|100(\.0{1,4})?)$",
        "errorMessage": "write a percentage between 0 and 100 with at most four decimals",
    };
    OneOrMany = { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] };
    Scalars = {
        "type": ["string", "number", "boolean", "array"],
        "items": { "type": ["string", "number", "boolean"] },
    };
    Kind = { "type": "string", "enum": TokenKind::ALL.map(TokenKind::as_str) };
    Factor = { "type": "string", "enum": Vec::from([Level::First, Level::Second, Level::Multi].map(Level::as_str)) };
    Fresh = {
        "type": "string",
        "enum": Vec::from([Preset::StrictMfa, Preset::Strict, Preset::Moderate, Preset::Lax].map(Preset::as_str)),
    };
    Outcome = { "type": "string", "enum": ["allow", "deny"] };
    Off = { "type": "string", "enum": ["off"] };
}

/// A percentage.
pub(super) struct Percent;
/// A kind of credential.
pub(super) struct Kind;
/// The level of `reverified`.
pub(super) struct Factor;
/// `reverified` in one word.
pub(super) struct Fresh;
/// What comes of a tested request, in one word.
pub(super) struct Outcome;
/// `off`.
pub(super) struct Off;
/// One of these, or a list of them.
pub(super) struct Many<T>(PhantomData<T>);
/// Words, or a mapping that says it in full.
pub(super) struct WordOr<W, T>(PhantomData<(W, T)>);

/// The same schema, where its value may also be of another type.
fn or(mut schema: Schema, other: &str) -> Schema {
    use serde_json::Value;
    let types = match schema.remove("type") {
        Some(Value::Array(mut types)) => {
            types.push(other.into());
            types
        }
        Some(one) => vec![one, other.into()],
        None => return schema,
    };
    schema.insert("type".to_owned(), types.into());
    schema
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<W: JsonSchema, T: JsonSchema> JsonSchema for WordOr<W, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", W::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut full = generator.subschema_for::<T>();
        // Editors would show it instead of what the field says.
        full.remove("description");
        json_schema!({ "anyOf": [generator.subschema_for::<W>(), full] })
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("text_or_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        or(T::json_schema(generator), "string")
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Several_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = or(T::json_schema(generator), "array");
        schema.insert("items".to_owned(), T::json_schema(generator).to_value());
        schema
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

impl<T: JsonSchema> JsonSchema for FlagOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("flag_or_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        or(T::json_schema(generator), "boolean")
    }
}

impl JsonSchema for StatusAt {
    fn schema_name() -> Cow<'static, str> {
        "StatusAt".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        or(or(Status::json_schema(generator), "string"), "null")
    }
}
