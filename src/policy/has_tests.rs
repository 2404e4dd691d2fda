use super::{PermissionName, RoleName, ScopedName, feature_holds, permission_holds, plan_holds, role_holds};
use crate::identity::{Facts, Method, Org, Scoped};
use crate::policy::{Cause, Tri};

fn org(role: Option<&str>, permissions: Option<&[&str]>) -> Facts {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Facts {
        org: Some(Org {
            id: "org_1".to_owned(),
            slug: None,
            role: role.map(str::to_owned),
            permissions: permissions.map(own),
        }),
        ..Facts::default()
    }
}

#[test]
fn roles_are_equal_with_and_without_prefixes() {
    let table = [
        ("org:admin", "org:admin", true),
        ("org:admin", "admin", true),
        ("admin", "org:admin", true),
        ("org:org:admin", "org:admin", true),
        ("org:admin", "org:org:org:admin", true),
        ("org:admin", "org:Admin", false),
        ("org:admin", "ORG:admin", false),
        ("org:admin", "org:admins", false),
        ("org:admin", "org:", false),
    ];
    for (held, asked, expected) in table {
        assert_eq!(role_holds(&org(Some(held), None), &RoleName::new(asked)), Tri::from(expected), "{held} {asked}");
    }
}

#[test]
fn only_the_asked_side_of_a_permission_is_normalised() {
    let table = [
        (&["org:posts:read"][..], "org:posts:read", true),
        (&["org:posts:read"], "posts:read", true),
        (&["org:posts:read"], "org:org:posts:read", true),
        (&["posts:read"], "org:posts:read", false),
        (&["org:posts:read"], "org:posts:write", false),
        (&["org:posts:read"], "org:posts", false),
        (&[], "org:posts:read", false),
        (&["org:a:b", "org:posts:read"], "org:posts:read", true),
    ];
    for (held, asked, expected) in table {
        let outcome = permission_holds(&org(None, Some(held)), &PermissionName::new(asked));
        assert_eq!(outcome, Tri::from(expected), "{held:?} {asked}");
    }
}

#[test]
fn what_has_no_organisation_or_claim_is_unknown() {
    let stranger = Facts::default();
    assert_eq!(role_holds(&stranger, &RoleName::new("guest")), Tri::Unknown(Cause::NoOrg));
    assert_eq!(permission_holds(&stranger, &PermissionName::new("a:b")), Tri::Unknown(Cause::NoOrg));
    let bare = org(None, None);
    assert_eq!(role_holds(&bare, &RoleName::new("guest")), Tri::Unknown(Cause::MissingClaim));
    assert_eq!(permission_holds(&bare, &PermissionName::new("a:b")), Tri::Unknown(Cause::UnreadableClaim));
    let asked = ScopedName::parse("x").unwrap();
    assert_eq!(feature_holds(&stranger, &asked), Tri::Unknown(Cause::UnreadableClaim));
    assert_eq!(plan_holds(&stranger, &asked), Tri::Unknown(Cause::UnreadableClaim));
}

#[test]
fn features_and_plans_have_scopes() {
    let scoped = Scoped { org: vec!["reports".to_owned()], user: vec!["beta".to_owned(), "o".to_owned()] };
    let facts = Facts { features: Some(scoped.clone()), plans: Some(scoped), ..Facts::default() };
    let table = [
        ("reports", true),
        ("beta", true),
        ("o:reports", true),
        ("org:reports", true),
        ("organization:reports", true),
        ("u:beta", true),
        ("user:beta", true),
        ("u:reports", false),
        ("o:beta", false),
        ("Reports", false),
        // Only the first two parts are read.
        ("o:reports:more", true),
        ("o:report:s", false),
        ("", false),
    ];
    for (asked, expected) in table {
        let asked = ScopedName::parse(asked).unwrap();
        assert_eq!(feature_holds(&facts, &asked), Tri::from(expected), "{asked}");
        assert_eq!(plan_holds(&facts, &asked), Tri::from(expected), "{asked}");
    }
    for unknown in ["x:reports", ":reports", "O:reports", "orgs:reports"] {
        assert_eq!(ScopedName::parse(unknown), None, "{unknown}");
    }
}

#[test]
fn legacy_roles_count_by_the_role_map_and_within_an_org() {
    let person = |org: Option<&str>, roles: &[&str]| Facts {
        method: Method::Legacy,
        legacy_org: org.map(str::to_owned),
        legacy_roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        // The map knows the org; what Clerk grants in it is nobody's by that.
        org: org.map(|_| Org { id: "org_1".to_owned(), ..Org::default() }),
        ..Facts::default()
    };
    let admin = || RoleName::new("org:admin").meant_by(["admin".into(), "owner".into()]);
    let unknown = Tri::Unknown;
    let table = [
        ("listed", person(Some("acme"), &["admin"]), admin(), Tri::True),
        ("another that is listed", person(Some("acme"), &["viewer", "owner"]), admin(), Tri::True),
        ("not listed", person(Some("acme"), &["viewer"]), admin(), Tri::False),
        ("other case", person(Some("acme"), &["Admin"]), admin(), Tri::False),
        ("Clerk's name is no legacy role", person(Some("acme"), &["org:admin"]), admin(), Tri::False),
        ("no roles", person(Some("acme"), &[]), admin(), unknown(Cause::MissingClaim)),
        ("no org", person(None, &["admin"]), admin(), unknown(Cause::NoOrg)),
        (
            "the same word, and no map",
            person(Some("acme"), &["admin"]),
            RoleName::new("admin"),
            unknown(Cause::UnmappedRole),
        ),
    ];
    for (name, facts, asked, expected) in table {
        assert_eq!(role_holds(&facts, &asked), expected, "{name}");
        assert_ne!(permission_holds(&facts, &PermissionName::new("posts:read")), Tri::True, "{name}");
        assert_ne!(feature_holds(&facts, &ScopedName::parse("exports").unwrap()), Tri::True, "{name}");
    }
    // The legacy roles of a Clerk person, should there ever be any, are not Clerk's.
    let clerk =
        Facts { method: Method::Clerk, legacy_roles: vec!["admin".to_owned()], ..org(Some("org:member"), None) };
    assert_eq!(role_holds(&Facts { legacy_org: Some("acme".to_owned()), ..clerk }, &admin()), Tri::False);
}
