//! A person written down by hand: who a policy question is asked about.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::identity::{Facts, Identity, Login, Method, Org, Scoped, TokenKind, Workspace, Workspaces, headers};
use crate::rollout::Side;
use crate::snapshot::Snapshot;

/// `{ user: u1, org: acme, role: org:member, workspaces: [w1] }`; everything but `user` may be left out. With
/// `token: legacy` they came with the other login, and `role` (or `roles`) is as that one names it; with `token: runner`
/// by a runner token that is narrowed to `scope`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Persona {
    user: String,
    /// The name of the org that stands in paths.
    org: Option<String>,
    slug: Option<String>,
    role: Option<String>,
    /// Of a legacy person, who may have several.
    #[serde(default)]
    roles: Vec<String>,
    permissions: Option<Vec<String>>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    plans: Vec<String>,
    workspaces: Option<Vec<Place>>,
    /// Minutes since the first and second factor, -1 for never.
    factor_ages: Option<[f64; 2]>,
    actor: Option<String>,
    session: Option<String>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenName {
    #[default]
    Session,
    Legacy,
    Runner,
}

/// An id, or an id with a role.
#[derive(Debug)]
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

/// Reads a person and the arm that was asked for; JSON is YAML.
pub(super) fn read(path: &Path, snapshot: &Snapshot) -> Result<(Arc<Identity>, Option<Side>), String> {
    let text =
        std::fs::read_to_string(path).map_err(|problem| format!("{} cannot be read: {problem}", path.display()))?;
    let persona: Persona = serde_yaml::from_str(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
    let arm = persona.arm.map(|arm| match arm {
        ArmName::Legacy => Side::Legacy,
        ArmName::Clerk => Side::Clerk,
    });
    if snapshot.legacy.is_none() && (arm.is_some() || matches!(persona.token, TokenName::Legacy)) {
        return Err(format!("{}: `arm` and `token: legacy` need a legacy side in the config", path.display()));
    }
    let is_runner = matches!(persona.token, TokenName::Runner);
    if is_runner && snapshot.runner.is_none() {
        return Err(format!("{}: `token: runner` needs runner.enabled in the config", path.display()));
    }
    if persona.scope.is_some() && !is_runner {
        return Err(format!("{}: only runner tokens have a `scope`", path.display()));
    }
    let facts = facts(persona, snapshot.legacy.is_some());
    let headers = headers::render(&snapshot.headers, &facts)
        .map_err(|_| format!("{}: a value is too long for a header", path.display()))?;
    Ok((Arc::new(Identity::new(facts, headers)), arm))
}

fn facts(persona: Persona, has_legacy: bool) -> Facts {
    let Persona {
        user,
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
