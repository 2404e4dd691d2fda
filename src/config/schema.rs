//! JSON Schema of both kinds of file, for editors.
//!
//! Made from the very types that are decoded, so that an editor knows the keys and the loader no others. What serde
//! cannot say (what is required, words, units) stands at the types, beside what it is about. The loader decides; a
//! schema only helps while writing, so where it cannot know (a `${…}`, a file that is missing) it is silent.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw;

/// What stands in place of a value that comes from the environment.
const SUBSTITUTED: &str = r"\$\{";

/// Of `crossgate.yaml`.
pub fn config() -> Value {
    schema::<raw::Config>()
}

/// Of policy files.
pub fn policy() -> Value {
    schema::<raw::Policies>()
}

/// Draft 7: what the YAML language server, and with it most editors, knows best. Types stand where they are used and
/// not behind references, whose neighbours (descriptions, examples) draft 7 ignores.
fn schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Value::Object(root) = &mut schema {
        // Editors would show the name of the type above every sentence.
        root.remove("title");
        if let Some(Value::Object(definitions)) = root.get_mut("definitions") {
            definitions.values_mut().for_each(finish);
        }
    }
    finish(&mut schema);
    schema
}

/// Makes of what the types say what the loader takes.
fn finish(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(never_null);
    }
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(members)) = schema.get_mut(key) {
            members.values_mut().for_each(finish);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(key) {
            finish(inner);
        }
    }
    // Alternatives that only say what is required have no types, and stay as they are.
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(inner)) = schema.get_mut(key) {
            inner.iter_mut().for_each(finish);
        }
    }
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let (None, Some(default)) = (schema.get("examples"), schema.get("default")) {
        let examples = json!([default]);
        schema.insert("examples".to_owned(), examples);
    }
    or_substituted(schema);
    text_first(schema);
}

/// Every field of a raw type may be left out, for serde that is: it may be null. A key without a value is refused.
fn never_null(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        // Whose own types have null in them had it twice; schemars does not add a second one.
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(one)] = choices.as_slice() {
            let inner = one.clone();
            schema.remove("anyOf");
            for (key, value) in inner {
                schema.entry(key).or_insert(value);
            }
        }
    }
}

/// A scalar may come from the environment, whatever its type.
fn or_substituted(schema: &mut Map<String, Value>) {
    if let Some(words) = schema.remove("enum") {
        schema.remove("type");
        let written = json!({ "type": "string", "pattern": SUBSTITUTED });
        schema.insert("anyOf".to_owned(), json!([{ "enum": words }, written]));
        return;
    }
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = format!("{pattern}|{SUBSTITUTED}");
        return;
    }
    let Some(kind) = schema.get("type").and_then(Value::as_str) else { return };
    let hint = match kind {
        "boolean" => "write true or false",
        "integer" => "write a whole number",
        "number" => "write a number",
        _ => return,
    };
    let types = json!([kind, "string"]);
    schema.insert("type".to_owned(), types);
    schema.insert("pattern".to_owned(), SUBSTITUTED.into());
    schema.insert("errorMessage".to_owned(), hint.into());
}

/// The language server puts quotes around text where text is the first type: `"{org}"` without them is a mapping.
fn text_first(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.sort_by_key(|kind| kind != "string");
    }
}
