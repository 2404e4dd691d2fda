use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{Context, OrgName, OrgRule, Rule, WorkspaceRule};
use crate::identity::{Facts, Method, Org, Workspace, Workspaces};
use crate::policy::claim::{ClaimPath, ClaimRule, ClaimValue};
use crate::policy::template::{Sources, Template};
use crate::policy::tests::{Asked, member, named};
use crate::policy::{Cause, Tri};

fn evaluate(rule: &Rule, facts: &Facts, asked: &Asked) -> Tri {
    asked.with_source(|source| {
        let context = Context { facts, source: *source, assumed: &[] };
        rule.evaluate(&context, &mut ()).value
    })
}

fn in_org(id: &str, slug: Option<&str>) -> Facts {
    let org = Org { id: id.to_owned(), slug: slug.map(str::to_owned), ..Org::default() };
    Facts { org: Some(org), ..Facts::default() }
}

#[test]
fn the_active_org_is_compared_by_one_name() {
    use OrgName::{ClerkId, Slug};
    let missing = Tri::Unknown(Cause::MissingValue);
    let table = [
        ("same id", "/o/org_1", ClerkId, in_org("org_1", Some("acme")), Tri::True),
        ("escaped id", "/o/%6frg_1", ClerkId, in_org("org_1", None), Tri::True),
        ("other id", "/o/org_2", ClerkId, in_org("org_1", Some("acme")), Tri::False),
        ("other case", "/o/ORG_1", ClerkId, in_org("org_1", None), Tri::False),
        ("longer", "/o/org_11", ClerkId, in_org("org_1", None), Tri::False),
        ("a slug is no id", "/o/org_1", ClerkId, in_org("org_9", Some("org_1")), Tri::False),
        ("same slug", "/o/acme", Slug, in_org("org_1", Some("acme")), Tri::True),
        ("an id is no slug", "/o/org_1", Slug, in_org("org_1", Some("acme")), Tri::False),
        ("no slug equals nothing", "/o/acme", Slug, in_org("org_1", None), Tri::False),
        ("no org equals nothing", "/o/org_1", ClerkId, Facts::default(), Tri::False),
    ];
    for (name, target, namespace, facts, expected) in table {
        let asked = Asked::new("/o/{org}", target, &[]);
        let rule = Rule::Org(vec![named(namespace, "{org}", &asked.pattern())]);
        assert_eq!(evaluate(&rule, &facts, &asked), expected, "{name}");
    }
    let asked = Asked::new("/{*all}", "/?empty=", &[]);
    let query = |text| Rule::Org(vec![named(ClerkId, text, &asked.pattern())]);
    assert_eq!(evaluate(&query("{query.org}"), &in_org("org_1", None), &asked), missing);
    assert_eq!(evaluate(&query("{query.empty}"), &in_org("", None), &asked), Tri::False, "empty equals nothing");
    assert_eq!(evaluate(&query("{all}"), &in_org("", None), &asked), Tri::False, "empty equals nothing");
    let any = Rule::Org(vec![OrgRule::Any]);
    assert_eq!(evaluate(&any, &in_org("org_1", None), &asked), Tri::True);
    assert_eq!(evaluate(&any, &Facts::default(), &asked), Tri::False);
    let either = Rule::Org(vec![named(ClerkId, "org_1", &asked.pattern()), named(ClerkId, "org_2", &asked.pattern())]);
    assert_eq!(evaluate(&either, &in_org("org_2", None), &asked), Tri::True);
}

#[test]
fn an_org_has_a_name_on_each_side_and_both_logins_compare_alike() {
    use OrgName::{ClerkId, LegacyId, Slug};
    let merged = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let clerk = |id: &str, legacy: Option<&str>| Facts {
        legacy_org: legacy.map(str::to_owned),
        merged_orgs: merged(legacy.map_or(&[], |_| &["older"])),
        ..in_org(id, Some("acme"))
    };
    let legacy = |id: &str, clerk: Option<&str>| Facts {
        method: Method::Legacy,
        legacy_org: Some(id.to_owned()),
        org: clerk.map(|id| Org { id: id.to_owned(), ..Org::default() }),
        merged_orgs: merged(clerk.map_or(&[], |_| &["org_older"])),
        ..Facts::default()
    };
    let unmapped = Tri::Unknown(Cause::Unmapped);
    let table = [
        ("mapped", "/o/acme", LegacyId, clerk("org_1", Some("acme")), Tri::True),
        ("another org", "/o/globex", LegacyId, clerk("org_1", Some("acme")), Tri::False),
        ("merged", "/o/older", LegacyId, clerk("org_1", Some("acme")), Tri::True),
        ("a stranger's org with the slug of a legacy org", "/o/acme", LegacyId, clerk("org_9", None), unmapped),
        ("a stranger's org with its id", "/o/acme", LegacyId, clerk("acme", None), unmapped),
        ("a Clerk id is no legacy id", "/o/org_1", LegacyId, clerk("org_1", Some("acme")), Tri::False),
        ("a merged name is no Clerk id", "/o/older", ClerkId, clerk("org_1", Some("acme")), Tri::False),
        ("Clerk's own", "/o/org_1", ClerkId, clerk("org_1", Some("acme")), Tri::True),
        ("legacy, own", "/o/acme", LegacyId, legacy("acme", None), Tri::True),
        ("legacy, own and mapped", "/o/acme", LegacyId, legacy("acme", Some("org_1")), Tri::True),
        ("legacy, of another", "/o/globex", LegacyId, legacy("acme", Some("org_1")), Tri::False),
        ("legacy, by Clerk id", "/o/org_1", ClerkId, legacy("acme", Some("org_1")), Tri::True),
        ("legacy, merged", "/o/org_older", ClerkId, legacy("acme", Some("org_1")), Tri::True),
        ("merges are not passed on", "/o/org_older", LegacyId, legacy("acme", Some("org_1")), Tri::False),
        ("legacy, unmapped", "/o/org_1", ClerkId, legacy("org_1", None), unmapped),
        ("legacy people have no slugs", "/o/acme", Slug, legacy("acme", Some("org_1")), Tri::False),
        ("no org at all", "/o/acme", LegacyId, Facts::default(), Tri::False),
    ];
    for (name, target, namespace, facts, expected) in table {
        let asked = Asked::new("/o/{org}", target, &[]);
        let rule = Rule::Org(vec![named(namespace, "{org}", &asked.pattern())]);
        assert_eq!(evaluate(&rule, &facts, &asked), expected, "{name}");
        let not = Rule::Not(Box::new(rule));
        assert_eq!(evaluate(&not, &facts, &asked), !expected, "not: {name}");
    }
    let asked = Asked::new("/", "/", &[]);
    let any = Rule::Org(vec![OrgRule::Any]);
    assert_eq!(evaluate(&any, &legacy("acme", None), &asked), Tri::True);
    assert_eq!(evaluate(&any, &Facts { method: Method::Legacy, ..Facts::default() }, &asked), Tri::False);
}

#[test]
fn a_workspace_is_one_of_those_that_may_be_entered() {
    let known = |list: &[(&str, Option<&str>)]| {
        let one = |(id, role): &(&str, Option<&str>)| Workspace { id: (*id).to_owned(), role: role.map(str::to_owned) };
        Workspaces::Known(list.iter().map(one).collect())
    };
    let unknown = |cause| Tri::Unknown(cause);
    let table = [
        ("no claim", Workspaces::Missing, &[][..], unknown(Cause::MissingClaim)),
        ("unreadable", Workspaces::Unreadable, &[], unknown(Cause::UnreadableClaim)),
        ("none", known(&[]), &[], Tri::False),
        ("this one", known(&[("w0", None), ("w1", None)]), &[], Tri::True),
        ("another case", known(&[("W1", None)]), &[], Tri::False),
        ("a prefix", known(&[("w", None), ("w11", None)]), &[], Tri::False),
        ("with a role", known(&[("w1", Some("editor"))]), &["viewer", "editor"], Tri::True),
        ("with another role", known(&[("w1", Some("viewer"))]), &["editor"], Tri::False),
        ("the role elsewhere", known(&[("w1", Some("viewer")), ("w2", Some("editor"))]), &["editor"], Tri::False),
        ("without a role", known(&[("w1", None)]), &["editor"], unknown(Cause::MissingClaim)),
        ("twice", known(&[("w1", None), ("w1", Some("editor"))]), &["editor"], Tri::True),
    ];
    let asked = Asked::new("/w/{workspace}", "/w/w1", &[]);
    for (name, workspaces, roles, expected) in table {
        let template = Template::parse("{workspace}", &asked.pattern(), Sources::Request).unwrap();
        let roles = roles.iter().map(|role| Box::from(*role)).collect();
        let rule = Rule::Workspace(vec![WorkspaceRule { template, roles }]);
        assert_eq!(evaluate(&rule, &Facts { workspaces, ..member() }, &asked), expected, "{name}");
    }
}

/// A rule over the claims `c0` to `c3`: true, false, or absent and hence unknown.
fn rules() -> impl Strategy<Value = Rule> {
    let leaf = (0..4_u8).prop_map(|n| {
        let path = ClaimPath::parse(&format!("c{n}")).unwrap();
        Rule::Claim(ClaimRule { path, any_of: vec![ClaimValue::Bool(true)] })
    });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::Any),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

fn claims(values: [Option<bool>; 4]) -> Facts {
    let present = values.into_iter().enumerate().filter_map(|(n, value)| Some((format!("c{n}"), Value::Bool(value?))));
    Facts { claims: present.collect::<Map<_, _>>(), ..Facts::default() }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: crate::request::path::tests::cases(1_000),
        ..ProptestConfig::default()
    })]

    /// What was decided despite something unknown stays decided, whatever that something turns out to be: an
    /// attacker who withholds a claim gains nothing that the claim's every value would not also give.
    #[test]
    fn learning_a_claim_only_refines_the_outcome(
        rule in rules(),
        known in any::<[Option<bool>; 4]>(),
        learnt in any::<[bool; 4]>(),
    ) {
        let asked = Asked::new("/", "/", &[]);
        let before = evaluate(&rule, &claims(known), &asked);
        let mut after = known;
        after.iter_mut().zip(learnt).for_each(|(value, learnt)| *value = value.or(Some(learnt)));
        let after = evaluate(&rule, &claims(after), &asked);
        match before {
            Tri::Unknown(_) => prop_assert!(!matches!(after, Tri::Unknown(_))),
            decided => prop_assert_eq!(after, decided),
        }
    }

    /// `not` undoes itself, and sorting changes which predicate is named, never the outcome.
    #[test]
    fn the_outcome_depends_on_logic_alone(rule in rules(), known in any::<[Option<bool>; 4]>()) {
        let asked = Asked::new("/", "/", &[]);
        let facts = claims(known);
        let outcome = evaluate(&rule, &facts, &asked);
        let twice = Rule::Not(Box::new(Rule::Not(Box::new(rule.clone()))));
        prop_assert_eq!(evaluate(&twice, &facts, &asked), outcome);
        let mut sorted = rule;
        sorted.sort();
        prop_assert_eq!(evaluate(&sorted, &facts, &asked), outcome);
    }
}
