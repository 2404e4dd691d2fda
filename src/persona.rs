//! A person written down by hand: who a policy question is asked about, in `explain --as`, in policy tests and in `diff`.
//!
//! Owns the shape that people write and what becomes of it: an [`Identity`] as a verified credential would have given, or
//! a [`Misfit`] that names the field. Linked as written: the identity map is not asked. Never verifies anything, and nothing
//! that serves requests makes one.

use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::identity::{
    Canonical, Facts, HeaderNames, Identity, Link, Login, Method, Org, Scoped, TokenKind, Workspace, Workspaces,
    headers,
};
use crate::policy::OrgName;
use crate::rollout::Side;
use crate::snapshot::Snapshot;

/// `{ user: u1, org: acme, role: org:member, workspaces: [w1] }`; everything but `user` may be left out. With
/// `token: legacy` they came with the other login, and `role` (or `roles`) is as that one names it; with `token: runner`
/// by a runner token that is narrowed to `scope`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a person: a mapping like { user: u1, org: acme, role: org:member }")]
pub struct Persona {
    /// The canonical id (`identity.canonical`), which the subject header says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"u1")]
    user: Option<String>,
    /// Their id at Clerk; the same as `user` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"user_2a")]
    clerk_user: Option<String>,
    /// Their id on the legacy side; the same as `user` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"42")]
    legacy_user: Option<String>,
    /// How far their move has come: linked (default), legacy_only, clerk_native or sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"linked")]
    link: Option<LinkName>,
    /// The name of the active org that stands in paths (`identity.names.org`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"acme")]
    org: Option<String>,
    /// Clerk's id of the org; the same as `org` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"org_2b")]
    clerk_org: Option<String>,
    /// The legacy side's id of the org; the same as `org` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"7")]
    legacy_org: Option<String>,
    /// The org's slug at Clerk; none without it, unless slugs stand in paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"acme")]
    slug: Option<String>,
    /// Their role in the org, with or without `org:`; of a legacy person as the legacy side names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"org:member")]
    role: Option<String>,
    /// The roles of a legacy person, who may have several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["admin"])]
    roles: Vec<String>,
    /// Clerk's permissions in the org, as in `org:invoices:write`; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["org:invoices:write"])]
    permissions: Option<Vec<String>>,
    /// Features that are on, of the person and of their org.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["invoicing"])]
    features: Vec<String>,
    /// Plans that are paid for, of the person and of their org.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["pro"])]
    plans: Vec<String>,
    /// The workspaces that they may enter: ids, or `{ id: w1, role: editor }`; unknown without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["w1", { "id": "w2", "role": "editor" }]]))]
    workspaces: Option<Vec<Place>>,
    /// Minutes since the first and second factor, -1 for never; unknown without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [5, -1])]
    factor_ages: Option<[f64; 2]>,
    /// The impersonator who acts in their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"user_support")]
    actor: Option<String>,
    /// The id of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"sess_1")]
    session: Option<String>,
    /// Further claims of the token, by name; `sub` is there in any case.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(extend("examples" = [{ "department": "eng" }]))]
    claims: Map<String, Value>,
    /// The kind of credential: session (default), legacy or runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"session")]
    token: Option<TokenName>,
    /// The login that a runner token was made by: clerk (default) or legacy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"clerk")]
    login: Option<ArmName>,
    /// What a runner token is narrowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["executions:write"])]
    scope: Option<Vec<String>>,
    /// The arm to be judged in, legacy or clerk; the one that the rollout gives without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"clerk")]
    arm: Option<ArmName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ArmName {
    Legacy,
    Clerk,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TokenName {
    #[default]
    Session,
    Legacy,
    Runner,
}

/// Nobody deleted has a credential that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LinkName {
    Linked,
    LegacyOnly,
    ClerkNative,
    Sealed,
}

/// An id, or an id with a role.
#[derive(Debug, Clone, PartialEq)]
struct Place(Workspace);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a workspace: an id, or a mapping like { id: w1, role: editor }")]
        struct WithRole {
            id: String,
            role: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a mapping like { id: w1, role: editor }")
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<Place, E> {
                Ok(Place(Workspace { id: id.to_owned(), role: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                let WithRole { id, role } = WithRole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Place(Workspace { id, role }))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Place {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object"],
            "properties": {
                "id": { "type": "string", "description": "The id.", "examples": ["w1"] },
                "role": { "type": "string", "description": "The role in it.", "examples": ["editor"] },
            },
            "required": ["id"],
            "additionalProperties": false,
        })
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.role {
            None => serializer.serialize_str(&self.0.id),
            Some(role) => serde_json::json!({ "id": self.0.id, "role": role }).serialize(serializer),
        }
    }
}

/// What the config around a person says about what they can be.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    pub headers: &'a HeaderNames,
    pub has_clerk: bool,
    pub has_legacy: bool,
    pub has_runner: bool,
    /// `identity.names.org`.
    pub org_name: OrgName,
    /// `identity.canonical`.
    pub canonical: Canonical,
}

impl<'a> Beside<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            headers: &snapshot.headers,
            has_clerk: !snapshot.instances.is_empty(),
            has_legacy: snapshot.legacy.is_some(),
            has_runner: snapshot.runner.is_some(),
            org_name: snapshot.org_name,
            canonical: snapshot.linking.canonical,
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

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.problem)
    }
}

impl Persona {
    /// # Errors
    /// The first field that does not go together with the others or with the config.
    pub fn assume(self, beside: Beside<'_>) -> Result<Assumed, Misfit> {
        if let Some((field, problem)) = self.misfit(beside) {
            return Err(Misfit { field, problem });
        }
        let arm = self.arm.filter(|_| !self.link().is_pinned()).map(|arm| match arm {
            ArmName::Legacy => Side::Legacy,
            ArmName::Clerk => Side::Clerk,
        });
        let Some(facts) = self.facts(beside) else {
            return Err(Misfit { field: "user", problem: "it is missing: who is it?" });
        };
        let Ok(headers) = headers::render(beside.headers, &facts) else {
            return Err(Misfit { field: "user", problem: "a value of this person is too long for a header" });
        };
        Ok(Assumed { identity: Arc::new(Identity::new(facts, headers)), arm })
    }

    /// The same person in this arm.
    #[must_use]
    pub fn in_arm(self, side: Side) -> Self {
        let arm = match side {
            Side::Legacy => ArmName::Legacy,
            Side::Clerk => ArmName::Clerk,
        };
        Self { arm: Some(arm), ..self }
    }

    /// One JSON object, which is YAML, too: what `explain --as` takes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn login(&self) -> Login {
        match (self.token.unwrap_or_default(), self.login) {
            (TokenName::Legacy, _) | (TokenName::Runner, Some(ArmName::Legacy)) => Login::Legacy,
            (TokenName::Session | TokenName::Runner, _) => Login::Clerk,
        }
    }

    fn link(&self) -> Link {
        match self.link {
            None | Some(LinkName::Linked) => Link::Linked,
            Some(LinkName::LegacyOnly) => Link::LegacyOnly,
            Some(LinkName::ClerkNative) => Link::ClerkNative,
            Some(LinkName::Sealed) => Link::Sealed,
        }
    }

    /// What of this person cannot be.
    fn misfit(&self, beside: Beside<'_>) -> Option<(&'static str, &'static str)> {
        let Beside { has_clerk, has_legacy, has_runner, canonical, org_name, headers: _ } = beside;
        let token = self.token.unwrap_or_default();
        let (login, link) = (self.login(), self.link());
        let own = match canonical {
            Canonical::Clerk => &self.clerk_user,
            Canonical::Legacy => &self.legacy_user,
        };
        let is_empty = |text: &Option<String>| text.as_deref().is_some_and(str::is_empty);
        let twice = |name: &Option<String>| self.org.is_some() && name.is_some() && self.org != *name;
        let has_org = self.org.is_some() || self.clerk_org.is_some() || self.legacy_org.is_some();
        let table = [
            (self.user.is_none() && own.is_none(), "user", "it is missing: who is it?"),
            (is_empty(&self.user), "user", "nobody has an empty id"),
            (is_empty(&self.clerk_user), "clerk_user", "nobody has an empty id"),
            (is_empty(&self.legacy_user), "legacy_user", "nobody has an empty id"),
            (
                canonical == Canonical::Clerk && self.user.is_some() && own.is_some() && self.user != *own,
                "clerk_user",
                "`user` is their id at Clerk already (identity.canonical)",
            ),
            (
                canonical == Canonical::Legacy && self.user.is_some() && own.is_some() && self.user != *own,
                "legacy_user",
                "`user` is their id on the legacy side already (identity.canonical)",
            ),
            (
                token == TokenName::Legacy && !has_legacy,
                "token",
                "a legacy credential needs a legacy side in the config",
            ),
            (
                token == TokenName::Session && !has_clerk,
                "token",
                "a session needs `clerk` in the config: write token: legacy",
            ),
            (token == TokenName::Runner && !has_runner, "token", "runner tokens need runner.enabled in the config"),
            (
                self.login.is_some() && token != TokenName::Runner,
                "login",
                "only a runner token was made by another login",
            ),
            (
                token == TokenName::Runner && login == Login::Legacy && !has_legacy,
                "login",
                "the legacy login needs a legacy side in the config",
            ),
            (
                token == TokenName::Runner && login == Login::Clerk && !has_clerk,
                "login",
                "there is no `clerk` in the config",
            ),
            (self.scope.is_some() && token != TokenName::Runner, "scope", "only runner tokens have one"),
            (
                self.legacy_user.is_some() && !has_legacy,
                "legacy_user",
                "an id of the legacy side needs a legacy side in the config",
            ),
            (
                self.legacy_user.is_some() && link == Link::ClerkNative,
                "legacy_user",
                "who is clerk_native has no id on the legacy side",
            ),
            (
                self.clerk_user.is_some() && link == Link::LegacyOnly,
                "clerk_user",
                "who is legacy_only has no id at Clerk",
            ),
            (
                self.link.is_some() && !has_legacy,
                "link",
                "people are linked where there is a legacy side in the config",
            ),
            (
                link == Link::LegacyOnly && login == Login::Clerk,
                "link",
                "who is legacy_only has no credential of Clerk's: write token: legacy",
            ),
            (
                link == Link::ClerkNative && login == Login::Legacy,
                "link",
                "who is clerk_native has no credential of the legacy side",
            ),
            (!has_legacy && self.arm.is_some(), "arm", "arms need a legacy side in the config"),
            (!has_clerk && self.arm == Some(ArmName::Clerk), "arm", "there is no `clerk` in the config"),
            (
                link.is_pinned() && self.arm == Some(ArmName::Legacy),
                "arm",
                "who is clerk_native or sealed has no legacy side to be moved to",
            ),
            (is_empty(&self.org), "org", "no org has an empty name"),
            (
                org_name == OrgName::ClerkId && twice(&self.clerk_org),
                "clerk_org",
                "`org` is Clerk's id already (identity.names.org)",
            ),
            (
                org_name == OrgName::LegacyId && twice(&self.legacy_org),
                "legacy_org",
                "`org` is the legacy side's id already (identity.names.org)",
            ),
            (org_name == OrgName::Slug && twice(&self.slug), "slug", "`org` is the slug already (identity.names.org)"),
            (self.legacy_org.is_some() && !has_legacy, "legacy_org", "it needs a legacy side in the config"),
            (self.slug.is_some() && !has_org, "slug", "it is that of the active org: write `org`, too"),
            (self.role.is_some() && !has_org, "role", "a role counts within an org: write `org`, too"),
            (!self.roles.is_empty() && !has_org, "roles", "roles count within an org: write `org`, too"),
            (self.permissions.is_some() && !has_org, "permissions", "they count within an org: write `org`, too"),
            (
                !self.roles.is_empty() && login == Login::Clerk,
                "roles",
                "Clerk gives one role in an org: write role: org:member",
            ),
            (
                self.permissions.is_some() && login == Login::Legacy,
                "permissions",
                "they follow from Clerk's roles: a legacy person has none",
            ),
        ];
        table.into_iter().find(|(is, ..)| *is).map(|(_, field, problem)| (field, problem))
    }

    /// `None` without a user.
    fn facts(self, beside: Beside<'_>) -> Option<Facts> {
        let (login, link) = (self.login(), self.link());
        let token = self.token.unwrap_or_default();
        let is_legacy = login == Login::Legacy;
        let own = match beside.canonical {
            Canonical::Clerk => &self.clerk_user,
            Canonical::Legacy => &self.legacy_user,
        };
        let user = self.user.clone().or_else(|| own.clone())?;
        let clerk_user = self.clerk_user.or_else(|| Some(user.clone()).filter(|_| !is_legacy));
        let legacy_user = self.legacy_user.or_else(|| Some(user.clone()).filter(|_| beside.has_legacy));
        // The name that stands in paths is that of its namespace; the others are the same where nothing else is written.
        let (clerk_org, legacy_org, slug) = (self.clerk_org, self.legacy_org, self.slug);
        let name = self.org.or_else(|| clerk_org.clone()).or_else(|| legacy_org.clone());
        let (clerk_org, legacy_org, slug) = match beside.org_name {
            OrgName::ClerkId => (name.clone(), legacy_org.or(name), slug),
            OrgName::LegacyId => (clerk_org.or_else(|| name.clone()), name, slug),
            OrgName::Slug => (clerk_org.or_else(|| name.clone()), legacy_org.or_else(|| name.clone()), slug.or(name)),
        };
        let legacy_org = legacy_org.filter(|_| beside.has_legacy);
        let canonical_org = match beside.canonical {
            Canonical::Clerk => clerk_org.clone(),
            Canonical::Legacy => legacy_org.clone().or_else(|| clerk_org.clone()),
        };
        let role = self.role;
        let legacy_roles = if is_legacy { role.iter().cloned().chain(self.roles).collect() } else { Vec::new() };
        let permissions = self.permissions;
        let org = clerk_org.map(|id| Org {
            id,
            slug: slug.filter(|_| !is_legacy),
            role: role.filter(|_| !is_legacy).map(|role| format!("org:{}", role.trim_start_matches("org:"))),
            permissions: if is_legacy { None } else { Some(permissions.unwrap_or_default()) },
        });
        let scoped = |names: Vec<String>| {
            // Clerk's to grant, and no claim of a legacy person.
            if is_legacy { None } else { Some(Scoped { org: names.clone(), user: names }) }
        };
        let (method, kind) = match token {
            TokenName::Session => (Method::Clerk, TokenKind::Session),
            TokenName::Legacy => (Method::Legacy, TokenKind::Legacy),
            TokenName::Runner => (Method::Runner(login), TokenKind::Runner),
        };
        let mut claims = self.claims;
        let sub = if is_legacy { &legacy_user } else { &clerk_user };
        if let Some(sub) = sub.as_deref().filter(|_| token != TokenName::Runner) {
            claims.entry("sub").or_insert_with(|| sub.into());
        }
        Some(Facts {
            method,
            token: kind,
            scopes: (token == TokenName::Runner).then(|| self.scope.unwrap_or_default()),
            subject: user,
            clerk_user: clerk_user.filter(|_| link != Link::LegacyOnly),
            legacy_user: legacy_user.filter(|_| link != Link::ClerkNative),
            canonical_org,
            legacy_org,
            legacy_roles,
            link,
            session: self.session,
            org,
            features: scoped(self.features),
            plans: scoped(self.plans),
            factor_ages: self.factor_ages,
            actor: self.actor,
            workspaces: match self.workspaces {
                None => Workspaces::Missing,
                Some(list) => Workspaces::Known(list.into_iter().map(|place| place.0).collect()),
            },
            claims,
            ..Facts::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Beside, Persona};
    use crate::identity::{Canonical, Facts, HeaderNames, TokenKind};
    use crate::policy::OrgName;
    use crate::rollout::Side;

    fn facts(written: serde_json::Value, org_name: OrgName, canonical: Canonical) -> Result<Facts, &'static str> {
        let headers = HeaderNames::default();
        let beside =
            Beside { headers: &headers, has_clerk: true, has_legacy: true, has_runner: true, org_name, canonical };
        let persona: Persona = serde_json::from_value(written).unwrap();
        let assumed = persona.assume(beside).map_err(|misfit| misfit.field)?;
        Ok(assumed.identity.facts.clone())
    }

    #[test]
    fn org_is_the_name_that_stands_in_paths() {
        let table = [
            (OrgName::ClerkId, json!({ "user": "u", "org": "a" }), ["a", "a", ""]),
            (OrgName::ClerkId, json!({ "user": "u", "org": "a", "legacy_org": "l", "slug": "s" }), ["a", "l", "s"]),
            (OrgName::LegacyId, json!({ "user": "u", "org": "a" }), ["a", "a", ""]),
            (OrgName::LegacyId, json!({ "user": "u", "org": "a", "clerk_org": "c" }), ["c", "a", ""]),
            (OrgName::Slug, json!({ "user": "u", "org": "a" }), ["a", "a", "a"]),
            (OrgName::Slug, json!({ "user": "u", "org": "a", "clerk_org": "c", "legacy_org": "l" }), ["c", "l", "a"]),
            // Legacy people have no slug of Clerk's.
            (OrgName::Slug, json!({ "user": "u", "org": "a", "token": "legacy" }), ["a", "a", ""]),
        ];
        for (org_name, written, expected) in table {
            let facts = facts(written.clone(), org_name, Canonical::Clerk).unwrap();
            let org = facts.org.clone().unwrap();
            let names = [org.id, facts.legacy_org.unwrap(), org.slug.unwrap_or_default()];
            assert_eq!(names, expected, "{org_name:?} {written}");
        }
    }

    #[test]
    fn ids_are_as_written_and_the_canonical_one_is_the_subject() {
        let linked = json!({ "user": "42", "clerk_user": "user_2a" });
        let facts_of = |written, canonical| facts(written, OrgName::ClerkId, canonical).unwrap();
        let person = facts_of(linked, Canonical::Legacy);
        assert_eq!(
            (person.subject.as_str(), person.clerk_user.as_deref(), person.legacy_user.as_deref()),
            ("42", Some("user_2a"), Some("42"))
        );
        let own = facts_of(json!({ "legacy_user": "42" }), Canonical::Legacy);
        assert_eq!(own.subject, "42");
        let native = facts_of(json!({ "user": "u", "link": "clerk_native" }), Canonical::Clerk);
        assert_eq!((native.clerk_user.as_deref(), native.legacy_user.as_deref()), (Some("u"), None));
        let old = facts_of(json!({ "user": "u", "link": "legacy_only", "token": "legacy" }), Canonical::Clerk);
        assert_eq!((old.clerk_user.as_deref(), old.legacy_user.as_deref()), (None, Some("u")));
    }

    #[test]
    fn roles_are_those_of_the_login() {
        let of = |written| facts(written, OrgName::ClerkId, Canonical::Clerk).unwrap();
        for role in ["admin", "org:admin"] {
            let clerk = of(json!({ "user": "u", "org": "a", "role": role }));
            assert_eq!(clerk.org.unwrap().role.as_deref(), Some("org:admin"));
            assert!(clerk.legacy_roles.is_empty());
        }
        let legacy = of(json!({ "user": "u", "org": "a", "role": "x", "roles": ["y"], "token": "legacy" }));
        assert_eq!((legacy.legacy_roles, legacy.org.unwrap().role), (vec!["x".to_owned(), "y".to_owned()], None));
        let runner = of(json!({ "user": "u", "org": "a", "role": "x", "token": "runner", "login": "legacy" }));
        assert_eq!((runner.token, runner.legacy_roles), (TokenKind::Runner, vec!["x".to_owned()]));
    }

    #[test]
    fn a_person_is_written_as_they_were_read() {
        let written = json!({
            "user": "u", "org": "a", "role": "x", "workspaces": ["w1", { "id": "w2", "role": "editor" }],
            "claims": { "n": null }, "factor_ages": [1.0, -1.0], "token": "session",
        });
        let persona: Persona = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&persona.to_json()).unwrap(), written);
        let moved = persona.clone().in_arm(Side::Legacy);
        assert_eq!(serde_json::from_str::<Persona>(&moved.to_json()).unwrap(), moved);
        assert_ne!(persona, moved);
    }
}
