//! `runner` as people write it.

use serde::Deserialize;

use super::scalar::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true, scopes: [executions:write] }")]
pub(crate) struct Runner {
    pub(crate) enabled: Option<bool>,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) ttl: Option<Time>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) keys_dir: Option<String>,
}
