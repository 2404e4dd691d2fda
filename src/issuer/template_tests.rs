//! What templates make of people.

use serde_json::{Value, json};

use super::{Claims, Person, TemplateProblem};
use crate::identity::{Facts, Org, Workspace, Workspaces};
use crate::issuer::Roles;
use crate::issuer::fresh::fill;
use crate::issuer::tokens::Life;

fn claims(value: Value) -> Result<Claims, TemplateProblem> {
    let Value::Object(members) = value else { panic!("an object") };
    let mut told = None;
    let claims = Claims::compile(members.into_iter().collect(), |_, problem| told = Some(problem));
    told.map_or(Ok(claims), Err)
}

fn roles() -> Roles {
    [("org:admin".into(), vec!["admin".into(), "owner".into()])].into()
}

fn person() -> Facts {
    Facts {
        subject: "42".to_owned(),
        clerk_user: Some("user_1".to_owned()),
        legacy_user: Some("42".to_owned()),
        legacy_org: Some("a\"c\\me".to_owned()),
        session: Some("sess_1".to_owned()),
        org: Some(Org { id: "org_1".to_owned(), role: Some("org:admin".to_owned()), ..Org::default() }),
        workspaces: Workspaces::Known(vec![Workspace { id: "w1".to_owned(), role: None }]),
        claims: match json!({ "email": "a@\"b", "meta": { "n": 7, "tags": ["x"], "gone": null, "empty": "" } }) {
            Value::Object(claims) => claims,
            _ => unreachable!(),
        },
        ..Facts::default()
    }
}

fn rendered(template: Value, facts: &Facts) -> Result<Value, &'static str> {
    let (claims, roles) = (claims(template).unwrap(), roles());
    let person = Person { facts, roles: &roles };
    let text = claims.render(person);
    assert_eq!(text.as_ref().err().copied(), claims.lacks(person), "the gate knows before it signs");
    let life = Life { issued: 1_700_000_000, expires: 1_700_000_060 };
    text.map(|text| serde_json::from_str(&fill(&text, life, "00ff")).unwrap())
}

#[test]
fn claims_of_a_person() {
    let facts = person();
    let table = [
        ("fields", json!({"sub": "{legacy_user}", "org": "{legacy_org}"}), json!({"sub": "42", "org": "a\"c\\me"})),
        ("a role in the legacy words", json!({"role": "{role}"}), json!({"role": "admin"})),
        ("Clerk's word", json!({"role": "{clerk_role}"}), json!({"role": "org:admin"})),
        ("in the middle", json!({"sub": "u:{legacy_user}/{session}!"}), json!({"sub": "u:42/sess_1!"})),
        ("a number", json!({"id": "{legacy_user:int}"}), json!({"id": 42})),
        ("a list", json!({"ws": "{workspaces}"}), json!({"ws": ["w1"]})),
        ("an array", json!({"roles": ["{role}", "{org_slug?}", 1]}), json!({"roles": ["admin", 1]})),
        ("a mapping", json!({"ctx": {"org": "{org}", "x": null}}), json!({"ctx": {"org": "org_1", "x": null}})),
        ("literals", json!({"a": true, "b": 1.5, "c": "x"}), json!({"a": true, "b": 1.5, "c": "x"})),
        ("braces", json!({"a": "{{x}}"}), json!({"a": "{x}"})),
        ("what may be left out", json!({"a": "{actor?}", "b": "x{actor?}", "p": "{permissions?}"}), json!({})),
        ("what is there", json!({"a": "{org?}", "n": "{legacy_user:int?}"}), json!({"a": "org_1", "n": 42})),
        ("none", json!({}), json!({})),
        (
            "what is anew in each token",
            json!({"a": "{issued_at}", "b": "{issued_at:int}", "c": ["{issued_at:ms}"], "id": "{jti}", "of": "{org}/{jti}@{expires_at}"}),
            json!({
                "a": "2023-11-14T22:13:20Z", "b": 1_700_000_000, "c": [1_700_000_000_000_i64], "id": "00ff",
                "of": "org_1/00ff@2023-11-14T22:14:20Z",
            }),
        ),
        (
            "the end in every form",
            json!({"a": "{expires_at:int}", "b": "{expires_at:ms}", "c": {"d": "{jti?}"}}),
            json!({"a": 1_700_000_060, "b": 1_700_000_060_000_i64, "c": {"d": "00ff"}}),
        ),
        (
            "what the credential says",
            json!({"e": "{claims.email}", "to": "<{claims.email}>", "n": "{claims.meta.n}", "t": "{claims.meta.tags}"}),
            json!({"e": "a@\"b", "to": "<a@\"b>", "n": 7, "t": ["x"]}),
        ),
        (
            "what it does not say",
            json!({"a": "{claims.meta.gone?}", "b": "{claims.meta.empty?}", "c": "x{claims.meta.n?}", "d": "{claims.email.x?}"}),
            json!({}),
        ),
    ];
    for (name, template, expected) in table {
        assert_eq!(rendered(template, &facts), Ok(expected), "{name}");
    }
}

#[test]
fn a_person_who_lacks_what_is_asked_for() {
    let bare = Facts { subject: "user_1".to_owned(), clerk_user: Some("user_1".to_owned()), ..Facts::default() };
    let mut member = person();
    member.org = Some(Org { id: "org_1".to_owned(), role: Some("org:member".to_owned()), ..Org::default() });
    let mut named = person();
    named.legacy_user = Some("4x2".to_owned());
    let table = [
        ("an id", json!({"sub": "{legacy_user}"}), &bare, "legacy_user"),
        ("an org", json!({"a": "x{legacy_org}"}), &bare, "legacy_org"),
        ("a list", json!({"w": "{workspaces}"}), &bare, "workspaces"),
        ("deep inside", json!({"a": [{"b": "{legacy_org}"}]}), &bare, "legacy_org"),
        ("a claim", json!({"e": "{claims.email}"}), &bare, "claim"),
        ("a claim beside text that is none", json!({"e": "n {claims.meta.n}"}), &member, "claim"),
        ("a role that means nothing to the legacy side", json!({"r": "{role}"}), &member, "role"),
        ("a number that is none", json!({"n": "{legacy_user:int}"}), &named, "legacy_user"),
        ("nor one that may be left out", json!({"n": "{legacy_user:int?}"}), &named, "legacy_user"),
    ];
    for (name, template, facts, lacks) in table {
        assert_eq!(rendered(template, facts), Err(lacks), "{name}");
    }
}

#[test]
fn templates_that_cannot_be_read() {
    use TemplateProblem as P;
    let mut deep = json!("x");
    for _ in 0..9 {
        deep = json!([deep]);
    }
    let table = [
        (json!("{legacy_usr}"), P::UnknownField("legacy_usr".to_owned())),
        (json!("{}"), P::UnknownField(String::new())),
        (json!("{claims.}"), P::UnknownField("claims.".to_owned())),
        (json!("{claims.a..b}"), P::UnknownField("claims.a..b".to_owned())),
        (json!("{claims.a:int}"), P::UnknownField("claims.a:int".to_owned())),
        (json!("{claims}"), P::UnknownField("claims".to_owned())),
        (json!("{org"), P::Unbalanced),
        (json!("org}"), P::Unbalanced),
        (json!("{org:text}"), P::UnknownKind("text".to_owned())),
        (json!("{org:ms}"), P::UnknownKind("ms".to_owned())),
        (json!("{jti:int}"), P::NoKinds("jti")),
        (json!("{issued_at:s}"), P::UnknownKind("s".to_owned())),
        (json!("x{workspaces}"), P::NotAlone("workspaces")),
        (json!("x{issued_at:int}"), P::NotAlone("issued_at")),
        (json!("x{legacy_user:int}"), P::NotAlone("legacy_user")),
        (json!("{workspaces:int}"), P::ListAsNumber("workspaces")),
        (deep, P::TooDeep),
    ];
    for (template, expected) in table {
        assert_eq!(claims(json!({ "a": template.clone() })), Err(expected), "{template}");
    }
}

/// Nobody's name is taken for a placeholder.
#[test]
fn a_fact_with_control_characters_is_only_a_fact() {
    let mut facts = person();
    facts.legacy_user = Some("\u{1}e\u{1}g\"".to_owned());
    let told = rendered(json!({"sub": "{legacy_user}", "x": "\u{1}g", "\u{1}a": "<{legacy_user}>"}), &facts).unwrap();
    assert_eq!(told, json!({"sub": "\u{1}e\u{1}g\"", "x": "\u{1}g", "\u{1}a": "<\u{1}e\u{1}g\">"}));
}

#[test]
fn the_same_facts_give_the_same_text() {
    let facts = person();
    let roles = roles();
    let text = |template| claims(template).unwrap().render(Person { facts: &facts, roles: &roles }).unwrap();
    assert_eq!(text(json!({"b": "{org}", "a": 1})), r#"{"a":1,"b":"org_1"}"#);
}
