//! A person written down by hand: who a policy question is asked about, in `explain --as`, in policy tests and in `diff`.
//!
//! Owns the shape that people write and what becomes of it: an [`Identity`] as a verified credential would have given, or
//! a [`Misfit`] that names the field. Never verifies anything, and nothing that serves requests makes one.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::identity::{
    Facts, HeaderNames, Identity, Login, Method, Org, Scoped, TokenKind, Workspace, Workspaces, headers,
};
use crate::rollout::Side;
use crate::snapshot::Snapshot;

/// `{ user: u1, org: acme, role: org:member, workspaces: [w1] }`; everything but `user` may be left out. With
/// `token: legacy` they came with the other login, and `role` (or `roles`) is as that one names it; with `token: runner`
/// by a runner token that is narrowed to `scope`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a person: a mapping like { user: u1, org: acme, role: org:member }")]
pub struct Persona {
    user: Option<String>,
    /// The name of the org that stands in paths.
    org: Option<String>,
    slug: Option<String>,
    role: Option<String>,
    /// Of a legacy person, who may have several.
    roles: Vec<String>,
    permissions: Option<Vec<String>>,
    features: Vec<String>,
    plans: Vec<String>,
    workspaces: Option<Vec<Place>>,
    /// Minutes since the first and second factor, -1 for never.
    factor_ages: Option<[f64; 2]>,
    actor: Option<String>,
    session: Option<String>,
    claims: Map<String, Value>,
    token: TokenName,
    /// Of a runner token.
    scope: Option<Vec<String>>,
    /// The arm to be judged in, whatever the rollout says.
    arm: Option<ArmName>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ArmName {
    Legacy,
    Clerk,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenName {
    #[default]
    Session,
    Legacy,
    Runner,
}

/// An id, or an id with a role.
#[derive(Debug, Clone)]
struct Place(Workspace);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct WithRole {
            id: String,
            role: Option<String>,
        }
        match Value::deserialize(deserializer)? {
            Value::String(id) => Ok(Self(Workspace { id, role: None })),
            other => {
                let WithRole { id, role } = WithRole::deserialize(other).map_err(serde::de::Error::custom)?;
                Ok(Self(Workspace { id, role }))
            }
        }
    }
}

/// What the config around a person says about what they can be.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    pub headers: &'a HeaderNames,
    pub has_legacy: bool,
    pub has_runner: bool,
}

impl<'a> Beside<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            headers: &snapshot.headers,
            has_legacy: snapshot.legacy.is_some(),
            has_runner: snapshot.runner.is_some(),
        }
    }
}

/// A person as `decide` takes them: who they are, and the arm to be judged in, `None` for the one that the rollout gives.
#[derive(Debug, Clone)]
pub struct Assumed {
    pub identity: Arc<Identity>,
    pub arm: Option<Side>,
}

/// A person who cannot be, and the field that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub field: &'static str,
    pub problem: &'static str,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.field, self.problem)
    }
}

impl Persona {
    /// # Errors
    /// The first field that does not go together with the others or with the config.
    pub fn assume(self, beside: Beside<'_>) -> Result<Assumed, Misfit> {
        let misfit = |field, problem| Err(Misfit { field, problem });
        let arm = self.arm.map(|arm| match arm {
            ArmName::Legacy => Side::Legacy,
            ArmName::Clerk => Side::Clerk,
        });
        if !beside.has_legacy && arm.is_some() {
            return misfit("arm", "arms need a legacy side in the config");
        }
        if !beside.has_legacy && matches!(self.token, TokenName::Legacy) {
            return misfit("token", "a legacy credential needs a legacy side in the config");
        }
        let is_runner = matches!(self.token, TokenName::Runner);
        if is_runner && !beside.has_runner {
            return misfit("token", "runner tokens need runner.enabled in the config");
        }
        if self.scope.is_some() && !is_runner {
            return misfit("scope", "only runner tokens have one");
        }
        let Some(user) = self.user.clone() else { return misfit("user", "it is missing: who is it?") };
        let facts = facts(self, user, beside.has_legacy);
        let Ok(headers) = headers::render(beside.headers, &facts) else {
            return misfit("user", "a value of this person is too long for a header");
        };
        Ok(Assumed { identity: Arc::new(Identity::new(facts, headers)), arm })
    }
}

fn facts(persona: Persona, user: String, has_legacy: bool) -> Facts {
    let Persona {
        user: _,
        org,
        slug,
        role,
        permissions,
        features,
        plans,
        workspaces,
        factor_ages,
        actor,
        session,
        claims,
        token,
        scope,
        roles,
        arm: _,
    } = persona;
    let is_legacy = matches!(token, TokenName::Legacy);
    // The name that stands in paths, whichever it is: which namespace that is, the rule that compares it says.
    let legacy_org = org.clone().filter(|_| has_legacy);
    let legacy_roles = if is_legacy { role.iter().cloned().chain(roles).collect() } else { Vec::new() };
    let role = role.filter(|_| !is_legacy);
    let org = org.map(|id| Org {
        id,
        slug,
        role: role.map(|role| format!("org:{}", role.trim_start_matches("org:"))),
        permissions: if is_legacy { permissions } else { Some(permissions.unwrap_or_default()) },
    });
    let scoped = |names: Vec<String>| Some(Scoped { org: names.clone(), user: names });
    Facts {
        method: match token {
            TokenName::Session => Method::Clerk,
            TokenName::Legacy => Method::Legacy,
            TokenName::Runner => Method::Runner(Login::Clerk),
        },
        token: match token {
            TokenName::Session => TokenKind::Session,
            TokenName::Legacy => TokenKind::Legacy,
            TokenName::Runner => TokenKind::Runner,
        },
        scopes: matches!(token, TokenName::Runner).then(|| scope.unwrap_or_default()),
        subject: user.clone(),
        clerk_user: Some(user.clone()).filter(|_| !is_legacy),
        legacy_user: Some(user).filter(|_| has_legacy),
        canonical_org: legacy_org.clone(),
        legacy_org,
        legacy_roles,
        session,
        org,
        features: scoped(features),
        plans: scoped(plans),
        factor_ages,
        actor,
        workspaces: match workspaces {
            None => Workspaces::Missing,
            Some(list) => Workspaces::Known(list.into_iter().map(|place| place.0).collect()),
        },
        claims,
        ..Facts::default()
    }
}
