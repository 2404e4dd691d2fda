use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Canonical, Conflict, Deleted, Linking};
use crate::identity::map;
use crate::identity::{Facts, Link, Method, Org, TokenKind, Workspace, Workspaces};

const MAP: &str = r#"{"kind":"user","legacy":"42","clerk":"user_a","state":"linked"}
{"kind":"user","legacy":"43","state":"legacy_only"}
{"kind":"user","clerk":"user_n","state":"clerk_native"}
{"kind":"user","legacy":"50","clerk":"user_k","state":"clerk_native"}
{"kind":"user","legacy":"44","clerk":"user_s","state":"sealed"}
{"kind":"user","legacy":"45","state":"sealed"}
{"kind":"user","legacy":"46","clerk":"user_d","state":"deleted"}
{"kind":"org","legacy":"acme","clerk":"org_a"}
{"kind":"org","legacy":"globex"}
{"kind":"org","legacy":"old","clerk":"org_m"}
{"kind":"org","legacy":"older","clerk":"org_m","merge":true}
{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w1","w2"]}
{"kind":"membership","user":"42","org":"old","role":"viewer","workspaces":["w3"]}
{"kind":"membership","user":"42","org":"older","role":"editor","workspaces":["w3","w4"]}
{"kind":"membership","user":"43","org":"globex","role":"member"}
"#;

fn linking(file: bool, claim: bool, canonical: Canonical) -> Linking {
    let map = file.then(|| Arc::new(map::read(MAP.as_bytes()).unwrap().map));
    let claim = claim.then(|| vec!["meta".to_owned(), "id".to_owned()]);
    Linking { map, claim, canonical, workspaces: true, ..Linking::default() }
}

fn claims(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}

/// As `clerk::claims` makes them.
fn clerk(user: &str, org: Option<Org>, payload: Value) -> Facts {
    Facts {
        instance: "production".into(),
        subject: user.to_owned(),
        clerk_user: Some(user.to_owned()),
        org,
        claims: claims(payload),
        ..Facts::default()
    }
}

fn legacy(user: &str, org: Option<&str>, roles: &[&str]) -> Facts {
    Facts {
        method: Method::Legacy,
        token: TokenKind::Legacy,
        subject: user.to_owned(),
        legacy_user: Some(user.to_owned()),
        legacy_org: org.map(str::to_owned),
        legacy_roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Facts::default()
    }
}

fn org(id: &str) -> Option<Org> {
    Some(Org { id: id.to_owned(), role: Some("org:member".to_owned()), ..Org::default() })
}

fn counted(linking: &Linking) -> Vec<&'static str> {
    let counted = Conflict::ALL.into_iter().filter(|conflict| linking.conflicts.get(*conflict) > 0);
    counted.map(Conflict::as_str).collect()
}

#[test]
fn who_a_clerk_user_is() {
    type Row = (
        &'static str,
        bool,
        bool,
        &'static str,
        Value,
        Result<(Option<&'static str>, Link), Deleted>,
        &'static [&'static str],
    );
    let own = |id: &str| json!({"meta": {"id": id}});
    let table: [Row; 27] = [
        ("nothing configured", false, false, "user_a", own("42"), Ok((None, Link::ClerkNative)), &[]),
        ("line", true, false, "user_a", json!({}), Ok((Some("42"), Link::Linked)), &[]),
        ("line beats no claim", true, true, "user_a", json!({}), Ok((Some("42"), Link::Linked)), &[]),
        ("both agree", true, true, "user_a", own("42"), Ok((Some("42"), Link::Linked)), &[]),
        ("claim names another", true, true, "user_a", own("43"), Ok((Some("42"), Link::Linked)), &["claim_differs"]),
        ("claim names a new id", true, true, "user_a", own("99"), Ok((Some("42"), Link::Linked)), &["claim_differs"]),
        ("claim is not asked", true, false, "user_x", own("99"), Ok((None, Link::ClerkNative)), &[]),
        ("native line", true, true, "user_n", json!({}), Ok((None, Link::ClerkNative)), &[]),
        ("native line, claim", true, true, "user_n", own("99"), Ok((None, Link::ClerkNative)), &["claim_differs"]),
        ("native with a legacy id", true, true, "user_k", json!({}), Ok((Some("50"), Link::ClerkNative)), &[]),
        ("sealed", true, true, "user_s", json!({}), Ok((Some("44"), Link::Sealed)), &[]),
        ("deleted", true, true, "user_d", json!({}), Err(Deleted), &[]),
        ("deleted, claims another", true, true, "user_d", own("99"), Err(Deleted), &["claim_differs"]),
        ("stranger", true, true, "user_x", json!({}), Ok((None, Link::ClerkNative)), &[]),
        ("claim only", true, true, "user_x", own("99"), Ok((Some("99"), Link::Linked)), &[]),
        ("claim only, no file", false, true, "user_x", own("42"), Ok((Some("42"), Link::Linked)), &[]),
        ("claims a linked person", true, true, "user_x", own("42"), Ok((None, Link::ClerkNative)), &["claim_taken"]),
        ("claims a legacy-only one", true, true, "user_x", own("43"), Ok((None, Link::ClerkNative)), &["claim_taken"]),
        ("claims a sealed one", true, true, "user_x", own("45"), Ok((None, Link::ClerkNative)), &["claim_taken"]),
        ("claims a deleted one", true, true, "user_x", own("46"), Ok((None, Link::ClerkNative)), &["claim_taken"]),
        ("own Clerk id", true, true, "user_x", own("user_x"), Ok((None, Link::ClerkNative)), &["claim_is_clerk_id"]),
        ("null", true, true, "user_x", json!({"meta": {"id": null}}), Ok((None, Link::ClerkNative)), &[]),
        ("empty", true, true, "user_x", own(""), Ok((None, Link::ClerkNative)), &[]),
        (
            "number",
            true,
            true,
            "user_x",
            json!({"meta": {"id": 42}}),
            Ok((None, Link::ClerkNative)),
            &["claim_unreadable"],
        ),
        (
            "list",
            true,
            true,
            "user_x",
            json!({"meta": {"id": ["42"]}}),
            Ok((None, Link::ClerkNative)),
            &["claim_unreadable"],
        ),
        (
            "the way is text",
            true,
            true,
            "user_x",
            json!({"meta": "42"}),
            Ok((None, Link::ClerkNative)),
            &["claim_unreadable"],
        ),
        ("line break", true, true, "user_x", own("4\n2"), Ok((None, Link::ClerkNative)), &["claim_unreadable"]),
    ];
    for (name, file, claim, user, payload, expected, conflicts) in table {
        let linking = linking(file, claim, Canonical::Legacy);
        let facts = clerk(user, None, payload);
        // Of what does not count only the id is told, and nothing is counted.
        let told = linking.legacy_user(&facts);
        assert_eq!(counted(&linking), Vec::<&str>::new(), "{name}");
        let found = linking.of_clerk(facts);
        if let Ok(facts) = &found {
            assert_eq!(told.as_deref(), facts.legacy_user.as_deref(), "{name}");
            assert_eq!(facts.subject, facts.legacy_user.clone().unwrap_or_else(|| user.to_owned()), "{name}");
            assert_eq!(facts.clerk_user.as_deref(), Some(user), "{name}");
        }
        let found = found.map(|facts| (facts.legacy_user, facts.link));
        assert_eq!(found, expected.map(|(id, link)| (id.map(str::to_owned), link)), "{name}");
        assert_eq!(counted(&linking), conflicts, "{name}");
    }
}

#[test]
fn who_a_legacy_person_is() {
    let table = [
        ("nothing configured", false, false, "42", None, Link::Linked),
        ("claim only", false, true, "42", None, Link::Linked),
        ("linked", true, false, "42", Some("user_a"), Link::Linked),
        ("legacy only", true, true, "43", None, Link::LegacyOnly),
        ("native", true, true, "50", Some("user_k"), Link::ClerkNative),
        ("sealed", true, true, "44", Some("user_s"), Link::Sealed),
        ("sealed without Clerk id", true, true, "45", None, Link::Sealed),
        ("deleted", true, true, "46", Some("user_d"), Link::Deleted),
        ("no line", true, false, "99", None, Link::LegacyOnly),
        ("no line, but perhaps a claim", true, true, "99", None, Link::Linked),
    ];
    for (name, file, claim, user, clerk_user, link) in table {
        for canonical in [Canonical::Legacy, Canonical::Clerk] {
            let facts = linking(file, claim, canonical).of_legacy(legacy(user, None, &[])).unwrap();
            assert_eq!((facts.clerk_user.as_deref(), facts.link), (clerk_user, link), "{name}");
            let subject = match canonical {
                Canonical::Legacy => user,
                Canonical::Clerk => clerk_user.unwrap_or(user),
            };
            assert_eq!((facts.subject.as_str(), facts.legacy_user.as_deref()), (subject, Some(user)), "{name}");
        }
    }
}

#[test]
fn both_credentials_of_a_person_have_one_subject_org_and_state() {
    for canonical in [Canonical::Legacy, Canonical::Clerk] {
        let linking = linking(true, true, canonical);
        for (legacy_org, clerk_org) in [("acme", "org_a"), ("old", "org_m"), ("older", "org_m")] {
            let one = linking.of_legacy(legacy("42", Some(legacy_org), &[])).unwrap();
            let other = linking.of_clerk(clerk("user_a", org(clerk_org), json!({}))).unwrap();
            let key = |facts: &Facts| (facts.subject.clone(), facts.canonical_org.clone(), facts.link);
            assert_eq!(key(&one), key(&other), "{canonical:?} {legacy_org}");
        }
    }
}

#[test]
fn orgs_have_both_names_and_merges_have_more() {
    let linking = linking(true, false, Canonical::Legacy);
    let names = |facts: &Facts| {
        let org = facts.org.as_ref().map(|org| org.id.clone());
        (org, facts.legacy_org.clone(), facts.merged_orgs.clone(), facts.canonical_org.clone())
    };
    let text = |text: &str| Some(text.to_owned());
    let table = [
        (clerk("user_a", org("org_a"), json!({})), (text("org_a"), text("acme"), vec![], text("acme"))),
        (clerk("user_a", org("org_x"), json!({})), (text("org_x"), None, vec![], text("org_x"))),
        (clerk("user_a", None, json!({})), (None, None, vec![], None)),
        // A slug that is somebody's legacy org changes nothing, nor does an id.
        (
            clerk("user_x", Some(Org { id: "org_x".into(), slug: text("acme"), ..Org::default() }), json!({})),
            (text("org_x"), None, vec![], text("org_x")),
        ),
        (clerk("user_x", org("acme"), json!({})), (text("acme"), None, vec![], text("acme"))),
        (clerk("user_a", org("org_m"), json!({})), (text("org_m"), text("old"), vec!["older".to_owned()], text("old"))),
    ];
    for (facts, expected) in table {
        let shown = format!("{:?}", facts.org);
        assert_eq!(names(&linking.of_clerk(facts).unwrap()), expected, "{shown}");
    }
    let table = [
        (legacy("42", Some("acme"), &[]), (text("org_a"), text("acme"), vec![], text("acme"))),
        (legacy("43", Some("globex"), &[]), (None, text("globex"), vec![], text("globex"))),
        (legacy("43", Some("nowhere"), &[]), (None, text("nowhere"), vec![], text("nowhere"))),
        (legacy("43", None, &[]), (None, None, vec![], None)),
        (legacy("43", Some("org_a"), &[]), (None, text("org_a"), vec![], text("org_a"))),
        // Merges are not passed on: two legacy orgs stay two for legacy people.
        (legacy("42", Some("older"), &[]), (text("org_m"), text("older"), vec![], text("old"))),
    ];
    for (facts, expected) in table {
        let shown = format!("{:?}", facts.legacy_org);
        assert_eq!(names(&linking.of_legacy(facts).unwrap()), expected, "{shown}");
    }
    let mapped = linking.of_legacy(legacy("42", Some("acme"), &["x"])).unwrap().org.unwrap();
    assert_eq!(mapped, Org { id: "org_a".to_owned(), ..Org::default() }, "nothing but the id");
}

#[test]
fn memberships_give_roles_and_workspaces_within_the_active_org() {
    let roles = |facts: &Facts| facts.legacy_roles.join(" ");
    let places = |facts: &Facts| match &facts.workspaces {
        Workspaces::Missing => "missing".to_owned(),
        Workspaces::Unreadable => "unreadable".to_owned(),
        Workspaces::Known(known) => known.iter().map(|workspace| workspace.id.as_str()).collect::<Vec<_>>().join(" "),
    };
    let with_claim = |facts: Facts| Facts {
        workspaces: Workspaces::Known(vec![Workspace { id: "own".to_owned(), role: Some("editor".to_owned()) }]),
        ..facts
    };
    let map = linking(true, false, Canonical::Legacy);
    let table = [
        ("membership", legacy("42", Some("acme"), &[]), "admin", "w1 w2"),
        ("the token's roles count", legacy("42", Some("acme"), &["user"]), "user", "w1 w2"),
        ("the map's workspaces do", with_claim(legacy("42", Some("acme"), &[])), "admin", "w1 w2"),
        ("no membership, no claim", legacy("42", Some("globex"), &[]), "", "missing"),
        ("no membership, a claim", with_claim(legacy("42", Some("globex"), &["user"])), "user", "own"),
        ("a membership without workspaces", with_claim(legacy("43", Some("globex"), &[])), "member", ""),
        ("no org", legacy("42", None, &[]), "", "missing"),
        ("stranger", legacy("99", Some("acme"), &[]), "", "missing"),
        ("written for either of two", legacy("42", Some("older"), &[]), "editor", "w3 w4"),
    ];
    for (name, facts, role, workspaces) in table {
        let facts = map.of_legacy(facts).unwrap();
        assert_eq!((roles(&facts).as_str(), places(&facts).as_str()), (role, workspaces), "{name}");
    }
    let table = [
        ("membership", clerk("user_a", org("org_a"), json!({})), "w1 w2"),
        ("merged orgs add up", clerk("user_a", org("org_m"), json!({})), "w3 w4"),
        ("stranger in the org", with_claim(clerk("user_x", org("org_a"), json!({}))), "own"),
        ("own org of a linked person", clerk("user_a", org("org_x"), json!({})), "missing"),
    ];
    for (name, facts, workspaces) in table {
        let facts = map.of_clerk(facts).unwrap();
        assert_eq!((roles(&facts).as_str(), places(&facts).as_str()), ("", workspaces), "{name}");
        // Clerk's roles are Clerk's to say.
        assert_eq!(facts.org.and_then(|org| org.role).as_deref(), Some("org:member"), "{name}");
    }
    let off = Linking { workspaces: false, ..linking(true, false, Canonical::Legacy) };
    assert_eq!(places(&off.of_legacy(with_claim(legacy("42", Some("acme"), &[]))).unwrap()), "own");
}

#[test]
fn what_was_remembered_by_another_map_is_not_the_same() {
    let usual = || linking(true, true, Canonical::Legacy);
    let changed = MAP.replace("\"legacy_only\"", "\"sealed\"");
    let other = Linking { map: Some(Arc::new(map::read(changed.as_bytes()).unwrap().map)), ..usual() };
    assert!(usual().is_same(&usual()), "read again");
    for (name, other) in [
        ("another map", other),
        ("no map", Linking { map: None, ..usual() }),
        ("no claim", Linking { claim: None, ..usual() }),
        ("canonical", linking(true, true, Canonical::Clerk)),
        ("workspaces", Linking { workspaces: false, ..usual() }),
    ] {
        assert!(!usual().is_same(&other), "{name}");
    }
}

/// Where people choose their legacy ids, or a claim falls back on Clerk's: nobody gets somebody else's subject.
#[test]
fn the_two_namespaces_never_meet() {
    const FORM: &str = "user_2abcdefghijklmnopqrstuvwxyz";
    let table = [
        ("somebody's by the map", "user_a", true, true),
        ("of Clerk's form", FORM, true, true),
        ("of Clerk's form, without Clerk", FORM, false, false),
        ("only alike", "user_42", true, false),
        ("longer, with another sign", "user_aaaaaaaaaaaaaaaaaaaa-1", true, false),
    ];
    for (name, id, has_clerk, is_clerks) in table {
        for canonical in [Canonical::Legacy, Canonical::Clerk] {
            let linking = Linking { has_clerk, ..linking(true, true, canonical) };
            assert_eq!(linking.of_legacy(legacy(id, None, &[])).is_err(), is_clerks, "{name}");
            let claimed = linking.of_clerk(clerk("user_z", None, json!({ "meta": { "id": id } }))).unwrap();
            assert_eq!(claimed.legacy_user.is_none(), is_clerks, "{name}, claimed");
            assert!(!is_clerks || claimed.subject == "user_z", "{name}: {}", claimed.subject);
        }
    }
    let own = r#"{"kind":"user","legacy":"user_2abcdefghijklmnopqrstuvwxyz","clerk":"user_b","state":"linked"}"#;
    let map = Some(Arc::new(map::read(own.as_bytes()).unwrap().map));
    let linking = Linking { map, has_clerk: true, ..Linking::default() };
    assert!(linking.of_legacy(legacy(FORM, None, &[])).is_ok(), "the operator wrote it");
}
