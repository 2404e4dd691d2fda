//! `rollout` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::Time;
use super::shape;
use crate::rollout::Percent;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { source: file, percent: 10 }")]
#[schemars(extend("if" = { "properties": { "source": { "const": "file" } } }, "then" = { "required": ["percent"] }))]
pub(crate) struct Rollout {
    /// Its name in paths of the admin listener, in metrics and in the trail.
    #[schemars(extend("default" = "auth"))]
    pub(crate) name: Option<String>,
    /// Who moves the percentage: this key on reload (`file`), or the command line and the admin listener (`api`).
    #[schemars(extend("default" = "file"))]
    pub(crate) source: Option<Source>,
    /// How many people of a hundred, with at most four decimals; with `api` only the first start's value.
    #[schemars(with = "shape::Percent", example = 10)]
    pub(crate) percent: Option<Percent>,
    /// What moves as one; without an org the user.
    #[schemars(extend("default" = "org"))]
    pub(crate) unit: Option<Unit>,
    /// What people are dealt by; with unleash the groupId, with flagd-2 the flag's key.
    #[schemars(extend("default" = "auth-clerk"))]
    pub(crate) salt: Option<String>,
    /// The secret of crossgate-1 and of arm cookies, made at the first start; by default bucket.key in `state_dir`.
    #[schemars(example = &"state/bucket.key")]
    pub(crate) key_file: Option<String>,
    /// How people are dealt.
    #[schemars(extend("default" = "crossgate-1"))]
    pub(crate) algorithm: Option<Algorithm>,
    /// Who is always Clerk, by canonical id.
    #[schemars(extend("examples" = [{ "users": ["42"], "orgs": ["acme"] }]))]
    pub(crate) include: Option<Listed>,
    /// Who is always legacy, by canonical id.
    #[schemars(extend("examples" = [{ "users": ["42"], "orgs": ["acme"] }]))]
    pub(crate) exclude: Option<Listed>,
    /// Where each arm goes, on routes that name no upstream.
    #[schemars(extend("examples" = [{ "legacy": { "upstream": "app" }, "clerk": { "upstream": "app" } }]))]
    pub(crate) arms: Option<Arms>,
    /// How far, in which steps and how often the percentage may rise; lowering is never limited.
    #[schemars(extend("examples" = [{ "max_percent": 100, "max_step": 25, "min_dwell": "0s" }]))]
    pub(crate) limits: Option<RolloutLimits>,
    /// The comparison of the two logins where a request carries both; decides nothing.
    #[schemars(extend("examples" = [{ "enabled": true }]))]
    pub(crate) shadow: Option<Shadow>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    File,
    Api,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Org,
    User,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum Algorithm {
    #[serde(rename = "crossgate-1")]
    Crossgate1,
    #[serde(rename = "unleash")]
    Unleash,
    #[serde(rename = "flagd-2")]
    Flagd2,
}

/// People and orgs by canonical id.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { users: [], orgs: [] }")]
pub(crate) struct Listed {
    /// Ids of people.
    #[schemars(extend("default" = [], "examples" = [["42"]]))]
    pub(crate) users: Option<Vec<String>>,
    /// Ids of orgs.
    #[schemars(extend("default" = [], "examples" = [["acme"]]))]
    pub(crate) orgs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { legacy: { upstream: app } }")]
pub(crate) struct Arms {
    /// Where people of the legacy arm go.
    #[schemars(extend("examples" = [{ "upstream": "app" }]))]
    pub(crate) legacy: Option<ArmTo>,
    /// Where people of the Clerk arm go.
    #[schemars(extend("examples" = [{ "upstream": "app" }]))]
    pub(crate) clerk: Option<ArmTo>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { upstream: app }")]
pub(crate) struct ArmTo {
    /// A name under `upstreams`.
    #[schemars(example = &"app")]
    pub(crate) upstream: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { max_percent: 100, max_step: 25, min_dwell: 0s }")]
pub(crate) struct RolloutLimits {
    /// How far the percentage may rise.
    #[schemars(with = "shape::Percent", extend("default" = 100))]
    pub(crate) max_percent: Option<Percent>,
    /// The largest step up: an API call beyond it is refused, a file's jump is approached in such steps.
    #[schemars(with = "shape::Percent", extend("default" = 25))]
    pub(crate) max_step: Option<Percent>,
    /// The shortest time between two steps up.
    #[schemars(extend("default" = "0s"))]
    pub(crate) min_dwell: Option<Time>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true }")]
pub(crate) struct Shadow {
    /// Whether the two logins are compared.
    #[schemars(extend("default" = true))]
    pub(crate) enabled: Option<bool>,
}
