//! The audit trail as people write it, in the config and in a route.

use serde::Deserialize;

use super::clerk::DenyOrAllow;
use super::scalar::Size;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { file: audit/audit.jsonl }")]
pub(crate) struct Audit {
    pub(crate) file: Option<String>,
    pub(crate) rotate: Option<Rotate>,
    pub(crate) on_failure: Option<DenyOrAllow>,
    pub(crate) events: Option<Vec<AuditEvent>>,
    pub(crate) copy_to: Option<CopyTo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { size: 256MiB, keep: 30 }")]
pub(crate) struct Rotate {
    pub(crate) size: Option<Size>,
    pub(crate) keep: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditEvent {
    Privileged,
    Denied,
    Authentication,
    Rollout,
    Config,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CopyTo {
    Stdout,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { action: execution.start }")]
pub(crate) struct RouteAudit {
    pub(crate) action: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) best_effort: Option<bool>,
}
