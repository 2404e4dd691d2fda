//! `rollout` of the config, compiled: what the operator wants. What is, is the record.

use std::path::PathBuf;
use std::sync::Arc;

use super::state::{Limits, Source};
use super::{Algorithm, Lists, Percent, Side, Unit};

/// What the config says.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: Arc<str>,
    pub source: Source,
    /// With source api only the first start's value.
    pub percent: Percent,
    pub unit: Unit,
    pub salt: Arc<str>,
    pub algorithm: Algorithm,
    pub key_file: PathBuf,
    pub limits: Limits,
    pub lists: Lists,
    pub upstreams: ArmUpstreams,
    /// What both logins say of one request is compared (`shadow`).
    pub is_shadowed: bool,
}

/// Indexes of the arms' upstreams; `None` is the one that the route would have anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArmUpstreams {
    pub legacy: Option<usize>,
    pub clerk: Option<usize>,
}

impl ArmUpstreams {
    pub const fn of(self, side: Side) -> Option<usize> {
        match side {
            Side::Legacy => self.legacy,
            Side::Clerk => self.clerk,
        }
    }
}
