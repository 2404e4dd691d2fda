//! The audit trail as people write it, in the config and in a route.

use schemars::JsonSchema;
use serde::Deserialize;

use super::clerk::DenyOrAllow;
use super::scalar::Size;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { file: audit/audit.jsonl }")]
pub(crate) struct Audit {
    /// The file that entries are appended to; older segments and checkpoints lie beside it.
    #[schemars(extend("default" = "audit/audit.jsonl"))]
    pub(crate) file: Option<String>,
    /// When a new file is begun, and how many stay.
    #[schemars(extend("examples" = [{ "size": "256MiB", "keep": 30 }]))]
    pub(crate) rotate: Option<Rotate>,
    /// Whether routes with `best_effort` go on when nothing can be recorded.
    #[schemars(extend("default" = "deny"))]
    pub(crate) on_failure: Option<DenyOrAllow>,
    /// Which events are recorded; all by default.
    #[schemars(extend("minItems" = 1, "default" = ["privileged", "denied", "authentication", "rollout", "config"]))]
    pub(crate) events: Option<Vec<AuditEvent>>,
    /// Where each entry is repeated, for log shippers; nowhere by default.
    #[schemars(example = &"stdout")]
    pub(crate) copy_to: Option<CopyTo>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { size: 256MiB, keep: 30 }")]
pub(crate) struct Rotate {
    /// The size at which the file is sealed and a new one begun, 64KiB to 64GiB.
    #[schemars(extend("default" = "256MiB"))]
    pub(crate) size: Option<Size>,
    /// How many sealed files stay, 1 to 100,000; the oldest goes first.
    #[schemars(extend("default" = 30))]
    pub(crate) keep: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditEvent {
    Privileged,
    Denied,
    Authentication,
    Rollout,
    Config,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CopyTo {
    Stdout,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { action: execution.start }")]
pub(crate) struct RouteAudit {
    /// What the trail calls what is done; at most 128 bytes.
    #[schemars(example = &"execution.start")]
    pub(crate) action: Option<String>,
    /// What it is done to, from `{segment}`, `{query.name}`, `{header.name}` and `{claim.name}`; at most 256 bytes.
    #[schemars(example = &"workspace:{workspace}")]
    pub(crate) resource: Option<String>,
    /// Whether the route goes on unrecorded where `audit.on_failure` is `allow`.
    #[schemars(extend("default" = false))]
    pub(crate) best_effort: Option<bool>,
}
