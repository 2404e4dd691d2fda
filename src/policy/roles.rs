//! What the roles of one person's two sides come to, compared as rules compare them (`identity.roles`, read both ways).
//!
//! Called by `gate::decide::shadow`. Grants nothing: whether a role opens a route is `rule`'s.

use super::has::{RoleName, role_holds};
use super::tri::Tri;
use crate::identity::Facts;

/// The Clerk roles of which `identity.roles` says what means the same on the legacy side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(Vec<RoleName>);

impl Roles {
    /// Each with the legacy roles that mean it ([`RoleName::meant_by`]).
    pub fn new(listed: impl IntoIterator<Item = RoleName>) -> Self {
        Self(listed.into_iter().collect())
    }

    /// Whether no rule on a role could tell the two sides apart, within one org. `None` where one side does not say, or
    /// `identity.roles` speaks of neither.
    pub fn agree(&self, legacy: &Facts, clerk: &Facts) -> Option<bool> {
        match (&legacy.legacy_org, &clerk.org) {
            // Outside any org there are no roles.
            (None, None) => return Some(true),
            (None, Some(_)) | (Some(_), None) => return None,
            (Some(_), Some(org)) => match (legacy.legacy_roles.is_empty(), &org.role) {
                (true, None) => return Some(true),
                (true, Some(_)) | (false, None) => return None,
                (false, Some(_)) => {}
            },
        }
        let mut is_listed = false;
        for role in &self.0 {
            let of_clerk = role_holds(clerk, role) == Tri::True;
            if of_clerk != (role_holds(legacy, role) == Tri::True) {
                return Some(false);
            }
            is_listed |= of_clerk;
        }
        is_listed.then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::Roles;
    use crate::identity::{Facts, Method, Org};
    use crate::policy::RoleName;

    /// What it is about, the legacy roles, Clerk's, and whether they agree.
    type Row = (&'static str, &'static [&'static str], Option<&'static str>, Option<bool>);

    fn roles() -> Roles {
        let listed = [("org:admin", &["admin", "owner"][..]), ("org:member", &["editor"])];
        Roles::new(listed.map(|(name, legacy)| RoleName::new(name).meant_by(legacy.iter().map(|role| (*role).into()))))
    }

    fn legacy(org: Option<&str>, roles: &[&str]) -> Facts {
        let legacy_roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Facts { method: Method::Legacy, legacy_org: org.map(str::to_owned), legacy_roles, ..Facts::default() }
    }

    fn clerk(org: Option<&str>, role: Option<&str>) -> Facts {
        let org = org.map(|id| Org { id: id.to_owned(), role: role.map(str::to_owned), ..Org::default() });
        Facts { org, ..Facts::default() }
    }

    #[test]
    fn roles_are_compared_as_rules_compare_them() {
        let table: [Row; 11] = [
            ("the one that means it", &["admin"], Some("org:admin"), Some(true)),
            ("another one that means it", &["owner"], Some("org:admin"), Some(true)),
            ("beside one that means nothing", &["admin", "auditor"], Some("org:admin"), Some(true)),
            ("one that means less", &["editor"], Some("org:admin"), Some(false)),
            ("one that means more", &["admin"], Some("org:member"), Some(false)),
            ("one more than Clerk gives", &["admin", "editor"], Some("org:admin"), Some(false)),
            ("one that means nothing", &["auditor"], Some("org:admin"), Some(false)),
            ("Clerk's is not listed, the legacy one is", &["admin"], Some("org:auditor"), Some(false)),
            ("neither is listed", &["auditor"], Some("org:auditor"), None),
            ("the legacy side says none", &[], Some("org:admin"), None),
            ("Clerk says none", &["admin"], None, None),
        ];
        for (name, old, new, expected) in table {
            assert_eq!(roles().agree(&legacy(Some("acme"), old), &clerk(Some("org_1"), new)), expected, "{name}");
        }
        let neither = (legacy(Some("acme"), &[]), clerk(Some("org_1"), None));
        assert_eq!(roles().agree(&neither.0, &neither.1), Some(true), "neither says one");
    }

    #[test]
    fn outside_any_org_there_are_no_roles() {
        assert_eq!(roles().agree(&legacy(None, &["admin"]), &clerk(None, None)), Some(true));
        assert_eq!(roles().agree(&legacy(None, &["admin"]), &clerk(Some("org_1"), Some("org:admin"))), None);
        assert_eq!(roles().agree(&legacy(Some("acme"), &["admin"]), &clerk(None, None)), None);
    }
}
