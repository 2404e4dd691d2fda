//! `endpoints.status` as people write it: a path, a mapping, or null.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Where the status is asked for, if anywhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatusAt {
    Off,
    Path(String),
    Full(Status),
}

/// Where the status is, and what it says.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { path: /auth/status, body: { … } }")]
#[schemars(extend("anyOf" = [{ "required": ["path"] }, { "required": ["body"] }]))]
pub(crate) struct Status {
    /// The path.
    #[schemars(extend("default" = "/auth/status"))]
    pub(crate) path: Option<String>,
    /// The answer, with `{facts}` put in.
    #[schemars(extend("examples" = [{ "loggedIn": "{authenticated}" }]))]
    pub(crate) body: Option<serde_json::Value>,
}

impl<'de> Deserialize<'de> for StatusAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = StatusAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a mapping, or null")
            }

            fn visit_unit<E: Error>(self) -> Result<StatusAt, E> {
                Ok(StatusAt::Off)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StatusAt, E> {
                Ok(StatusAt::Path(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StatusAt, A::Error> {
                Status::deserialize(MapAccessDeserializer::new(map)).map(StatusAt::Full)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Null is a value here, and not the same as nothing.
pub(super) fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StatusAt>, D::Error> {
    StatusAt::deserialize(deserializer).map(Some)
}
