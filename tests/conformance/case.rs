//! One case as it stands in the files.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// What a case gives, and what it expects. Fields that no replayed function reads are left in the file.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) test: String,
    #[serde(rename = "fn")]
    pub(crate) function: String,
    /// The clock, in milliseconds.
    #[serde(default)]
    pub(crate) now: i64,
    /// In the order of the file, since a token may contain earlier ones.
    #[serde(default)]
    pub(crate) tokens: Map<String, Value>,
    pub(crate) token: Option<String>,
    pub(crate) request: Option<Request>,
    #[serde(default)]
    pub(crate) options: Map<String, Value>,
    #[serde(default)]
    pub(crate) net: Vec<Value>,
    pub(crate) claims: Option<Map<String, Value>>,
    pub(crate) auth: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) has: Vec<Value>,
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) pattern: Value,
    pub(crate) path: Option<String>,
    pub(crate) expect: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

impl Case {
    /// An option, unless it is absent or the empty text, which both mean "not set".
    pub(crate) fn option(&self, name: &str) -> Option<&Value> {
        self.options.get(name).filter(|value| !value.is_null() && *value != "")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.as_ref()?.headers.get(name).map(String::as_str)
    }

    /// An option that is a text or a list; what is empty in JavaScript's sense is no member of it.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        match self.option(name) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}
