//! What bodies make of a status.

use serde_json::{Value, json};

use super::{Body, BodyProblem, Step};
use crate::status::{Action, Migration, Org, Status, User};

fn ada() -> Status {
    Status {
        authenticated: true,
        method: "legacy",
        user: Some(User { id: "42".to_owned(), legacy_id: Some("42".to_owned()), clerk_id: None }),
        org: Some(Org { id: Some("a\"cme".to_owned()), role: None }),
        expires_at: Some("2026-11-27T10:00:00.000Z".to_owned()),
        arm: Some("clerk"),
        migration: Migration { state: "linked", action: Action::StepUp },
        degraded: true,
        retry_after: Some(17),
        server_time: "2026-11-27T09:00:00.000Z".to_owned(),
    }
}

fn nobody() -> Status {
    Status {
        authenticated: false,
        method: "none",
        user: None,
        org: None,
        expires_at: None,
        arm: None,
        migration: Migration { state: "anonymous", action: Action::SignIn },
        degraded: false,
        retry_after: None,
        server_time: "2026-11-27T09:00:00.000Z".to_owned(),
    }
}

fn compiled(raw: Value) -> Result<Body, (Vec<Step>, BodyProblem)> {
    let mut told = None;
    let body = Body::compile(raw, &mut |way, why| told = Some((way.to_vec(), why)));
    told.map_or(Ok(body), Err)
}

fn rendered(raw: Value, status: &Status) -> Value {
    serde_json::from_str(&status.render(Some(&compiled(raw).unwrap()))).unwrap()
}

#[test]
fn the_documented_body() {
    let text = ada().render(None);
    assert_eq!(
        text,
        r#"{"authenticated":true,"method":"legacy","user":{"id":"42","legacyId":"42","clerkId":null},"org":{"id":"a\"cme","role":null},"expiresAt":"2026-11-27T10:00:00.000Z","arm":"clerk","migration":{"state":"linked","action":"step_up"},"degraded":true,"retryAfter":17,"serverTime":"2026-11-27T09:00:00.000Z"}"#
    );
    let text = nobody().render(None);
    assert_eq!(
        text,
        r#"{"authenticated":false,"method":"none","user":null,"org":null,"expiresAt":null,"arm":null,"migration":{"state":"anonymous","action":"sign_in"},"degraded":false,"retryAfter":null,"serverTime":"2026-11-27T09:00:00.000Z"}"#
    );
}

#[test]
fn fields_keep_their_type_and_text_is_text() {
    let table = [
        ("a flag", json!("{authenticated}"), json!(true), json!(false)),
        ("a number", json!("{retryAfter}"), json!(17), json!(null)),
        ("text", json!("{user.id}"), json!("42"), json!(null)),
        ("in a list", json!(["{org.id}", 1, null]), json!(["a\"cme", 1, null]), json!([null, 1, null])),
        ("beside text", json!("u:{user.id}!"), json!("u:42!"), json!("u:!")),
        ("two", json!("{method}/{migration.action}"), json!("legacy/step_up"), json!("none/sign_in")),
        ("a number in text", json!("{retryAfter} s"), json!("17 s"), json!(" s")),
        ("a word for a flag", json!("{authenticated?yes:no}"), json!("yes"), json!("no")),
        ("a word or nothing", json!("{degraded?banner:}"), json!("banner"), json!("")),
        ("braces", json!("{{user.id}} {{"), json!("{user.id} {"), json!("{user.id} {")),
        ("braces alone", json!("{{"), json!("{"), json!("{")),
        ("nothing", json!(""), json!(""), json!("")),
        (
            "no text",
            json!({"a": {"b": 1.5, "c": true}}),
            json!({"a": {"b": 1.5, "c": true}}),
            json!({"a": {"b": 1.5, "c": true}}),
        ),
    ];
    for (name, raw, of_ada, of_nobody) in table {
        assert_eq!(rendered(raw.clone(), &ada()), of_ada, "{name}");
        assert_eq!(rendered(raw, &nobody()), of_nobody, "{name}");
    }
}

#[test]
fn every_field_is_where_the_documented_body_has_it() {
    for status in [ada(), nobody()] {
        let whole: Value = serde_json::from_str(&status.render(None)).unwrap();
        for field in BodyProblem::fields() {
            let expected = field.split('.').fold(&whole, |value, key| &value[key]);
            assert_eq!(&rendered(json!(format!("{{{field}}}")), &status), expected, "{field}");
        }
    }
}

#[test]
fn what_cannot_be_a_body() {
    let key = |name: &str| Step::Key(name.to_owned());
    let table = [
        (json!("{user}"), vec![], BodyProblem::UnknownField("user".to_owned())),
        (json!({"a": ["x", "{token}"]}), vec![key("a"), Step::Index(1)], BodyProblem::UnknownField("token".to_owned())),
        (json!({"a": "{"}), vec![key("a")], BodyProblem::Unbalanced),
        (json!("x}"), vec![], BodyProblem::Unbalanced),
        (json!("{method?a:b}"), vec![], BodyProblem::NoFlag("method")),
        (json!("{degraded?a}"), vec![], BodyProblem::OneWord("degraded")),
        (json!("{}"), vec![], BodyProblem::UnknownField(String::new())),
    ];
    for (raw, way, why) in table {
        assert_eq!(compiled(raw.clone()), Err((way, why)), "{raw}");
    }
    let deep = (0..8).fold(json!(1), |inner, _| json!([inner]));
    assert!(matches!(compiled(deep), Err((_, BodyProblem::TooDeep))));
    assert!(compiled((0..7).fold(json!(1), |inner, _| json!([inner]))).is_ok());
}
