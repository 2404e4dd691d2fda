//! Roles, permissions, features and plans as Clerk's own `has()` reads them.
//!
//! Used by rules, and replayed against Clerk's test cases. A legacy person has roles by `identity.roles` alone, and nothing
//! of what only Clerk grants. The names that a policy asks for are normalised once,
//! at load; of the token's side only roles are, since Clerk looks permissions up as they stand.

use super::tri::{Cause, Tri};
use crate::identity::{Facts, Login, Scoped};

/// A role that a policy asks for, with exactly one `org:` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName {
    name: Box<str>,
    /// The legacy roles that mean the same; `None` where nothing says which.
    legacy: Option<Box<[Box<str>]>>,
}

/// A permission that a policy asks for, with exactly one `org:` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionName(Box<str>);

/// A feature or plan that a policy asks for, in one scope or in any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedName {
    scope: Scope,
    name: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Org,
    User,
}

/// Clerk writes roles with and without the prefix, depending on the token's version.
fn bare(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("org:") {
        name = rest;
    }
    name
}

impl RoleName {
    pub fn new(name: &str) -> Self {
        Self { name: format!("org:{}", bare(name)).into_boxed_str(), legacy: None }
    }

    /// The same role with the legacy ones that mean it (`identity.roles`).
    #[must_use]
    pub fn meant_by(self, legacy: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { legacy: Some(legacy.into_iter().collect()), ..self }
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The legacy roles that mean the same; `None` where nothing says which.
    pub fn legacy(&self) -> Option<&[Box<str>]> {
        self.legacy.as_deref()
    }
}

impl PermissionName {
    pub fn new(name: &str) -> Self {
        Self(format!("org:{}", bare(name)).into_boxed_str())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ScopedName {
    /// `name`, `org:name` or `user:name`, with `o`, `organization` and `u` for short and long; what follows a
    /// second colon is not read, as Clerk does not. `None` for another scope, which Clerk never grants.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (first, second) = (parts.next()?, parts.next());
        let scope = match (first, second) {
            (_, None) => Scope::Any,
            ("o" | "org" | "organization", Some(_)) => Scope::Org,
            ("u" | "user", Some(_)) => Scope::User,
            (_, Some(_)) => return None,
        };
        let name = second.filter(|name| !name.is_empty()).unwrap_or(first);
        Some(Self { scope, name: name.into() })
    }

    /// Without its scope.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it counts in one scope only.
    pub fn is_scoped(&self) -> bool {
        self.scope != Scope::Any
    }

    fn holds(&self, granted: Option<&Scoped>) -> Tri {
        let Some(granted) = granted else { return Tri::Unknown(Cause::UnreadableClaim) };
        let among = |names: &[String]| names.iter().any(|name| **name == *self.name);
        Tri::from(match self.scope {
            Scope::Any => among(&granted.org) || among(&granted.user),
            Scope::Org => among(&granted.org),
            Scope::User => among(&granted.user),
        })
    }
}

impl std::fmt::Display for ScopedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scope {
            Scope::Any => f.write_str(&self.name),
            Scope::Org => write!(f, "org:{}", self.name),
            Scope::User => write!(f, "user:{}", self.name),
        }
    }
}

/// Without an active organisation a role is not absent but undefined: were it false, `not: { role: org:guest }`
/// would let in everyone who belongs nowhere.
pub fn role_holds(facts: &Facts, asked: &RoleName) -> Tri {
    if facts.method.login() == Login::Legacy {
        return legacy_role_holds(facts, asked);
    }
    match facts.org.as_ref().map(|org| &org.role) {
        None => Tri::Unknown(Cause::NoOrg),
        Some(None) => Tri::Unknown(Cause::MissingClaim),
        Some(Some(role)) => Tri::from(bare(role) == bare(asked.as_str())),
    }
}

/// Legacy roles count within the active org, as Clerk's do, and only where `identity.roles` lists them: whatever the two
/// sides call `admin` need not be the same. Where it says nothing about the role that is asked for, `not` must not turn
/// that into a yes.
fn legacy_role_holds(facts: &Facts, asked: &RoleName) -> Tri {
    match (&facts.legacy_org, &asked.legacy) {
        (None, _) => Tri::Unknown(Cause::NoOrg),
        (Some(_), None) => Tri::Unknown(Cause::UnmappedRole),
        (Some(_), Some(_)) if facts.legacy_roles.is_empty() => Tri::Unknown(Cause::MissingClaim),
        (Some(_), Some(legacy)) => {
            Tri::from(facts.legacy_roles.iter().any(|role| legacy.iter().any(|listed| **listed == **role)))
        }
    }
}

/// As with roles, a permission outside any organisation is undefined.
///
/// Of a legacy person none is known: Clerk's permissions follow from Clerk's roles.
pub fn permission_holds(facts: &Facts, asked: &PermissionName) -> Tri {
    if facts.method.login() == Login::Legacy && facts.legacy_org.is_some() {
        return Tri::Unknown(Cause::MissingClaim);
    }
    match facts.org.as_ref().map(|org| &org.permissions) {
        None => Tri::Unknown(Cause::NoOrg),
        Some(None) => Tri::Unknown(Cause::UnreadableClaim),
        Some(Some(permissions)) => Tri::from(permissions.iter().any(|permission| permission == asked.as_str())),
    }
}

pub fn feature_holds(facts: &Facts, asked: &ScopedName) -> Tri {
    asked.holds(facts.features.as_ref())
}

pub fn plan_holds(facts: &Facts, asked: &ScopedName) -> Tri {
    asked.holds(facts.plans.as_ref())
}

#[cfg(test)]
#[path = "has_tests.rs"]
mod tests;
