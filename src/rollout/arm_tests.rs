use super::{Arm, Assignment, Lists, Person, Side, Unit, Why};
use crate::identity::Link;
use crate::rollout::{Bucketing, Guard, Percent};
use crate::route::Access;

const LINKS: [Link; 5] = [Link::Linked, Link::LegacyOnly, Link::ClerkNative, Link::Sealed, Link::Deleted];

fn assignment(unit: Unit) -> Assignment {
    let mut lists = Lists::default();
    for (unit, id, side) in [
        (Unit::User, "in", Side::Clerk),
        (Unit::User, "out", Side::Legacy),
        (Unit::Org, "org_in", Side::Clerk),
        (Unit::Org, "org_out", Side::Legacy),
    ] {
        assert!(lists.put(unit, id, side));
    }
    Assignment { unit, lists, bucketing: Bucketing::crossgate("auth-clerk", &[7; 32]) }
}

fn person<'a>(user: &'a str, org: Option<&'a str>, link: Link) -> Person<'a> {
    Person { user, org, link }
}

#[test]
fn link_state_then_lists_then_hash() {
    let pinned = |link| (Arm::Pinned, Arm::Pinned, format!("the identity map says {link}"));
    let listed = |arm, list: &str, unit: &str| (arm, arm, format!("rollout.{list} names the {unit}"));
    let hashed = (Arm::Legacy, Arm::Clerk, "hash".to_owned());
    let table = [
        // user, org, state: arm at 0 %, arm at 100 %, why
        ("u", None, Link::Linked, hashed.clone()),
        ("u", Some("org_1"), Link::Linked, hashed),
        ("u", None, Link::LegacyOnly, (Arm::Legacy, Arm::Legacy, "the identity map says legacy_only".to_owned())),
        ("u", None, Link::ClerkNative, pinned("clerk_native")),
        ("u", None, Link::Sealed, pinned("sealed")),
        ("u", None, Link::Deleted, pinned("deleted")),
        // Lists hold at any percentage.
        ("in", None, Link::Linked, listed(Arm::Clerk, "include", "user")),
        ("out", None, Link::Linked, listed(Arm::Legacy, "exclude", "user")),
        ("u", Some("org_in"), Link::Linked, listed(Arm::Clerk, "include", "org")),
        ("u", Some("org_out"), Link::Linked, listed(Arm::Legacy, "exclude", "org")),
        ("in", None, Link::LegacyOnly, listed(Arm::Clerk, "include", "user")),
        ("out", None, Link::LegacyOnly, listed(Arm::Legacy, "exclude", "user")),
        // The entry of a person is the exception to that of their org.
        ("in", Some("org_out"), Link::Linked, listed(Arm::Clerk, "include", "user")),
        ("out", Some("org_in"), Link::Linked, listed(Arm::Legacy, "exclude", "user")),
        // Users and orgs are two namespaces.
        ("org_in", Some("in"), Link::Linked, (Arm::Legacy, Arm::Clerk, "hash".to_owned())),
        // No list brings a legacy side back.
        ("out", Some("org_out"), Link::Sealed, pinned("sealed")),
        ("out", Some("org_out"), Link::ClerkNative, pinned("clerk_native")),
        ("in", Some("org_in"), Link::Deleted, pinned("deleted")),
        // Nothing to hash: legacy, also at 100 %.
        ("", None, Link::Linked, (Arm::Legacy, Arm::Legacy, "there is no id to hash".to_owned())),
    ];
    for (user, org, link, (at_none, at_all, why)) in table {
        for unit in [Unit::User, Unit::Org] {
            let assignment = assignment(unit);
            let person = person(user, org, link);
            let (none, all) = (assignment.choose(&person, Percent::ZERO), assignment.choose(&person, Percent::ALL));
            assert_eq!((none.arm, all.arm), (at_none, at_all), "{person:?} {unit:?}");
            match all.why {
                Why::Bucket { .. } => assert_eq!(why, "hash", "{person:?}"),
                other => assert_eq!(other.to_string(), why, "{person:?}"),
            }
        }
    }
}

#[test]
fn an_org_moves_as_one_and_people_without_one_by_themselves() {
    let by_org = assignment(Unit::Org);
    let why = |user, org| by_org.choose(&person(user, org, Link::Linked), Percent::ALL).why;
    assert_eq!(why("alice", Some("org_1")), why("bob", Some("org_1")));
    assert_ne!(why("alice", Some("org_1")), why("alice", Some("org_2")));
    assert_ne!(why("alice", None), why("bob", None));
    assert_eq!(why("alice", None), why("alice", Some("")), "an empty name is no org");
    assert!(matches!(why("alice", None), Why::Bucket { unit: Unit::User, .. }));

    let by_user = assignment(Unit::User);
    let why = |user, org| by_user.choose(&person(user, org, Link::Linked), Percent::ALL).why;
    assert_eq!(why("alice", Some("org_1")), why("alice", Some("org_2")));
    assert_ne!(why("alice", Some("org_1")), why("bob", Some("org_1")));
}

#[test]
fn each_person_changes_arm_once_while_the_percentage_rises() {
    let assignment = assignment(Unit::User);
    for n in 0..500 {
        let user = format!("user_{n}");
        let person = person(&user, None, Link::Linked);
        let arms: Vec<Arm> =
            (0..=100).map(|step| assignment.choose(&person, Percent::from_ppm(step * 10_000).unwrap()).arm).collect();
        assert_eq!(arms.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1, "{user}");
        assert_eq!((arms[0], arms[100]), (Arm::Legacy, Arm::Clerk), "{user}");
    }
}

#[test]
fn explain_names_unit_bucket_and_percentage() {
    let choice =
        assignment(Unit::User).choose(&person("alice", None, Link::Linked), Percent::from_ppm(125_000).unwrap());
    let Why::Bucket { bucket, .. } = choice.why else { panic!("{choice:?}") };
    assert_eq!(
        choice.why.to_string(),
        format!("user: crossgate-1 bucket {}, clerk from {} %; now 12.5 %", bucket.hash(), bucket.enrolled_from())
    );
}

#[test]
fn nobody_is_on_both_lists() {
    let mut lists = Lists::default();
    assert!(lists.put(Unit::User, "42", Side::Clerk));
    assert!(lists.put(Unit::User, "42", Side::Clerk), "twice on one list is only redundant");
    assert!(!lists.put(Unit::User, "42", Side::Legacy));
    assert!(lists.put(Unit::Org, "42", Side::Legacy), "another namespace");
}

#[test]
fn only_an_operator_takes_a_person_back_on_privileged_routes() {
    let guards = [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp];
    for (access, clerk_after) in [
        (Access::Public, [Arm::Clerk, Arm::Clerk, Arm::Legacy, Arm::Legacy]),
        (Access::Login, [Arm::Clerk, Arm::Clerk, Arm::Legacy, Arm::Legacy]),
        (Access::Protected, [Arm::Clerk, Arm::Clerk, Arm::Legacy, Arm::Legacy]),
        (Access::Privileged, [Arm::Clerk, Arm::Clerk, Arm::Clerk, Arm::Legacy]),
    ] {
        for (guard, expected) in guards.into_iter().zip(clerk_after) {
            assert_eq!(Arm::Clerk.after(guard, access), expected, "{guard:?} {access:?}");
            assert_eq!(Arm::Legacy.after(guard, access), Arm::Legacy, "{guard:?} {access:?}");
            assert_eq!(Arm::Pinned.after(guard, access), Arm::Pinned, "{guard:?} {access:?}");
        }
    }
    assert_eq!([Arm::Legacy, Arm::Clerk, Arm::Pinned].map(|arm| arm.side().as_str()), ["legacy", "clerk", "clerk"]);
}

#[test]
fn a_state_has_the_name_that_the_map_uses() {
    assert_eq!(LINKS.map(Link::as_str), ["linked", "legacy_only", "clerk_native", "sealed", "deleted"]);
}
