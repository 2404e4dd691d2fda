use crate::identity::{Facts, Login, Method, Org, TokenKind, Workspace, Workspaces};
use crate::policy::{
    ClaimPath, ClaimRule, ClaimValue, OrgName, OrgRule, PermissionName, Policy, Preset, Reverified, RoleName, Rule,
    Sources, Template, WorkspaceRule,
};
use crate::route::Pattern;

fn template(text: &str) -> Template {
    Template::parse(text, &Pattern::parse("/orgs/{org}/{workspace}").unwrap(), Sources::Request).unwrap()
}

fn org(text: &str) -> Rule {
    Rule::Org(vec![OrgRule::Named { namespace: OrgName::ClerkId, template: template(text) }])
}

fn workspace(text: &str, roles: &[&str]) -> Rule {
    let roles = roles.iter().map(|role| (*role).into()).collect();
    Rule::Workspace(vec![WorkspaceRule { template: template(text), roles }])
}

fn claim(name: &str) -> Rule {
    let any_of = vec![ClaimValue::Text("yes".into())];
    Rule::Claim(ClaimRule { path: ClaimPath::parse(name).unwrap(), any_of })
}

/// An admin of an org with one workspace, by a runner token of one scope.
fn ada() -> Facts {
    Facts {
        method: Method::Runner(Login::Clerk),
        token: TokenKind::Runner,
        scopes: Some(vec!["a".to_owned()]),
        org: Some(Org {
            id: "org_1".to_owned(),
            role: Some("org:admin".to_owned()),
            permissions: Some(vec!["org:x:y".to_owned()]),
            ..Org::default()
        }),
        workspaces: Workspaces::Known(vec![Workspace { id: "w1".to_owned(), role: Some("editor".to_owned()) }]),
        ..Facts::default()
    }
}

#[test]
fn what_could_hold_on_some_path() {
    let not = |rule: Rule| Rule::Not(Box::new(rule));
    let role = |name: &str| Rule::Role(vec![RoleName::new(name)]);
    let table = [
        ("the org of the path", org("{org}"), true),
        ("another one than it", not(org("{org}")), true),
        ("its own org by name", org("org_1"), true),
        ("another org by name", org("org_2"), false),
        ("not another org", not(org("org_2")), true),
        ("any org", Rule::Org(vec![OrgRule::Any]), true),
        ("the workspace of the path", workspace("{workspace}", &[]), true),
        ("as what they are there", workspace("{workspace}", &["editor"]), true),
        ("as what they are not", workspace("{workspace}", &["owner"]), false),
        ("their own by name", workspace("w1", &[]), true),
        ("another one by name", workspace("w2", &[]), false),
        ("their role", role("admin"), true),
        ("another role", role("owner"), false),
        ("not their role", not(role("admin")), false),
        ("their permission", Rule::Permission(vec![PermissionName::new("x:y")]), true),
        ("another permission", Rule::Permission(vec![PermissionName::new("x:z")]), false),
        ("their scope", Rule::Scope(vec!["b".into(), "a".into()]), true),
        ("another scope", Rule::Scope(vec!["b".into()]), false),
        ("a claim that nobody knows", claim("x"), false),
        ("the opposite of what nobody knows", not(claim("x")), false),
        ("a factor", Rule::Reverified(Reverified::from(Preset::Lax)), false),
        ("one of two", Rule::Any(vec![role("owner"), org("{org}")]), true),
        ("both", Rule::All(vec![role("owner"), org("{org}")]), false),
        ("neither", not(Rule::Any(vec![role("owner"), org("org_2")])), true),
        ("another kind of token", Rule::Token(vec![TokenKind::Session]), false),
    ];
    for (name, rule, expected) in table {
        let policy = Policy::new(vec![Rule::Token(vec![TokenKind::Session, TokenKind::Runner]), rule]);
        assert_eq!(policy.could_permit(&ada()), expected, "{name}");
    }
    assert!(!Policy::new(Vec::new()).could_permit(&ada()), "a route that lists no kinds takes no runner");
    let homeless = Facts { org: None, workspaces: Workspaces::Missing, ..ada() };
    for (name, rule) in [
        ("org", org("{org}")),
        ("any", Rule::Org(vec![OrgRule::Any])),
        ("workspace", workspace("{workspace}", &[])),
        ("not a workspace", not(workspace("{workspace}", &[]))),
    ] {
        let policy = Policy::new(vec![Rule::Token(vec![TokenKind::Runner]), rule]);
        assert!(!policy.could_permit(&homeless), "{name}");
    }
}
