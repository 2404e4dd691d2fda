//! `rollout` as people write it.

use serde::Deserialize;

use super::scalar::Time;
use crate::rollout::Percent;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { source: file, percent: 10 }")]
pub(crate) struct Rollout {
    pub(crate) name: Option<String>,
    pub(crate) source: Option<Source>,
    pub(crate) percent: Option<Percent>,
    pub(crate) unit: Option<Unit>,
    pub(crate) salt: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) include: Option<Listed>,
    pub(crate) exclude: Option<Listed>,
    pub(crate) arms: Option<Arms>,
    pub(crate) limits: Option<RolloutLimits>,
    pub(crate) shadow: Option<Shadow>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    File,
    Api,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Org,
    User,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "crossgate-1")]
    Crossgate1,
    #[serde(rename = "unleash")]
    Unleash,
    #[serde(rename = "flagd-2")]
    Flagd2,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { users: [], orgs: [] }")]
pub(crate) struct Listed {
    pub(crate) users: Option<Vec<String>>,
    pub(crate) orgs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { legacy: { upstream: app } }")]
pub(crate) struct Arms {
    pub(crate) legacy: Option<ArmTo>,
    pub(crate) clerk: Option<ArmTo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { upstream: app }")]
pub(crate) struct ArmTo {
    pub(crate) upstream: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { max_percent: 100, max_step: 25, min_dwell: 0s }")]
pub(crate) struct RolloutLimits {
    pub(crate) max_percent: Option<Percent>,
    pub(crate) max_step: Option<Percent>,
    pub(crate) min_dwell: Option<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { enabled: true }")]
pub(crate) struct Shadow {
    pub(crate) enabled: Option<bool>,
}
