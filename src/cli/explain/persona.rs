//! A person written down by hand: who a policy question is asked about.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::identity::{Facts, HeaderNames, Identity, Org, Scoped, Workspace, Workspaces, headers};

/// `{ user: u1, org: acme, role: org:member, workspaces: [w1] }`; everything but `user` may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Persona {
    user: String,
    /// The name of the org that stands in paths.
    org: Option<String>,
    slug: Option<String>,
    role: Option<String>,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenName {
    #[default]
    Session,
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

/// Reads a person; JSON is YAML.
pub(super) fn read(path: &Path, names: &HeaderNames) -> Result<Arc<Identity>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|problem| format!("{} cannot be read: {problem}", path.display()))?;
    let persona: Persona = serde_yaml::from_str(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
    let facts = facts(persona);
    let headers =
        headers::render(names, &facts).map_err(|_| format!("{}: a value is too long for a header", path.display()))?;
    Ok(Arc::new(Identity::new(facts, headers)))
}

fn facts(persona: Persona) -> Facts {
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
        token: TokenName::Session,
    } = persona;
    let org = org.map(|id| Org {
        id,
        slug,
        role: role.map(|role| format!("org:{}", role.trim_start_matches("org:"))),
        permissions: Some(permissions.unwrap_or_default()),
    });
    let scoped = |names: Vec<String>| Some(Scoped { org: names.clone(), user: names });
    Facts {
        subject: user.clone(),
        clerk_user: Some(user),
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
