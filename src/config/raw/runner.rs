//! `runner` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::Time;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, scopes: [executions:write] }")]
#[schemars(extend("if" = { "properties": { "enabled": { "const": true } }, "required": ["enabled"] }, "then" = { "required": ["scopes"] }))]
pub(crate) struct Runner {
    /// Whether there are such tokens.
    #[schemars(extend("default" = false))]
    pub(crate) enabled: Option<bool>,
    /// `aud` of the tokens, and who acts.
    #[schemars(extend("default" = "runner"))]
    pub(crate) audience: Option<String>,
    /// `iss` of the tokens; by default the assertion's, else crossgate.
    #[schemars(example = &"crossgate")]
    pub(crate) issuer: Option<String>,
    /// How long a token holds, 5m to 15m.
    #[schemars(extend("default" = "10m"))]
    pub(crate) ttl: Option<Time>,
    /// All that tokens can be narrowed to; routes ask for them with `scope`.
    #[schemars(extend("minItems" = 1, "examples" = [["executions:write"]]))]
    pub(crate) scopes: Option<Vec<String>>,
    /// The folder of the keys, which is made; by default runner-keys in `state_dir`.
    #[schemars(example = &"state/runner-keys")]
    pub(crate) keys_dir: Option<String>,
}
