//! Policy tests as people write them, in policy files and in files of their own.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor};

use super::scalar::{Named, TextOr};
use super::shape;
use crate::persona::Persona;

/// A `*_test.yaml` file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `tests`")]
pub(crate) struct TestFile {
    /// The tests, in the order in which they are told.
    pub(crate) tests: Option<Vec<Test>>,
    /// Refused: routes in a file that never serves would be routes that protect nothing.
    pub(crate) routes: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a test: a mapping with `name`, `request` and `expect`")]
#[schemars(extend("required" = ["name", "request", "expect"]))]
pub(crate) struct Test {
    /// What it shows, in a sentence.
    #[schemars(example = &"a member cannot write invoices")]
    pub(crate) name: Option<String>,
    /// Method and path or URL, as in `POST /api/orgs/acme/invoices?draft=1`.
    #[schemars(example = &"POST /orgs/acme/invoices")]
    pub(crate) request: Option<String>,
    /// Request headers beside `host`; never credentials, which `as` stands for.
    #[schemars(extend("examples" = [{ "x-api-version": "2" }]))]
    pub(crate) headers: Option<Named<String>>,
    /// The time of the request (RFC 3339); 2026-01-01T00:00:00Z without it.
    #[schemars(example = &"2026-01-01T00:00:00Z")]
    pub(crate) at: Option<String>,
    /// Who asks; nobody without it.
    #[serde(rename = "as")]
    #[schemars(extend("examples" = [{ "user": "u1", "org": "acme", "role": "org:member" }]))]
    pub(crate) person: Option<Persona>,
    /// `allow`, `deny`, or a mapping that says more, such as `{ deny: role }`.
    #[schemars(with = "shape::WordOr<shape::Outcome, Expect>", example = &"allow")]
    pub(crate) expect: Option<TextOr<Expect>>,
}

/// What has to come of it: `{ deny: role }` or `{ allow: { route: invoice.read } }`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "allow, deny, or a mapping like { deny: role }")]
pub(crate) struct Expect {
    /// `true`, or what else is expected of the request that passes.
    #[schemars(example = true)]
    pub(crate) allow: Option<FlagOr<Details>>,
    /// `true`, or the predicate or code that refuses.
    #[schemars(example = &"role")]
    pub(crate) deny: Option<FlagOr<String>>,
    /// In report mode: the predicate or code that would have refused.
    #[schemars(example = &"role")]
    pub(crate) reported: Option<String>,
    /// The status of crossgate's answer; 200 for a request that passes.
    #[schemars(example = 403)]
    pub(crate) status: Option<u16>,
    /// The id of the route.
    #[schemars(example = &"invoice.write")]
    pub(crate) route: Option<String>,
    /// `legacy` or `clerk`: the side that counts, after the guard.
    #[schemars(example = &"clerk")]
    pub(crate) arm: Option<ArmWord>,
    /// The name of the upstream that the request goes to.
    #[schemars(example = &"app")]
    pub(crate) upstream: Option<String>,
    /// Identity headers that the API gets, with their values; `null` for one that it must not get.
    #[schemars(extend("examples" = [{ "x-crossgate-subject": "u1", "x-crossgate-actor": null }]))]
    pub(crate) headers: Option<Named<Option<String>>>,
}

/// The same keys one level deeper, as in `{ allow: { route: invoice.read } }`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "true, or a mapping like { route: invoice.read }")]
pub(crate) struct Details {
    /// In report mode: the predicate or code that would have refused.
    #[schemars(example = &"role")]
    pub(crate) reported: Option<String>,
    /// The id of the route.
    #[schemars(example = &"invoice.write")]
    pub(crate) route: Option<String>,
    /// `legacy` or `clerk`: the side that counts, after the guard.
    #[schemars(example = &"clerk")]
    pub(crate) arm: Option<ArmWord>,
    /// The name of the upstream that the request goes to.
    #[schemars(example = &"app")]
    pub(crate) upstream: Option<String>,
    /// Identity headers that the API gets, with their values; `null` for one that it must not get.
    #[schemars(extend("examples" = [{ "x-crossgate-subject": "u1", "x-crossgate-actor": null }]))]
    pub(crate) headers: Option<Named<Option<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArmWord {
    Legacy,
    Clerk,
}

/// `true`, or something that says more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FlagOr<T> {
    Flag(bool),
    Full(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FlagOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = FlagOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, or what is expected in full")
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<FlagOr<T>, E> {
                Ok(FlagOr::Flag(flag))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FlagOr<T>, E> {
                T::deserialize(text.into_deserializer()).map(FlagOr::Full)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FlagOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(FlagOr::Full)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
