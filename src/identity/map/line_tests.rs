//! Lines that are refused, with the words; lines that are taken.

use std::borrow::Cow;

use super::{Line, MAX_ID};
use crate::identity::map::State;

#[test]
fn what_is_refused() {
    let long = format!(r#"{{"kind":"user","legacy":"{}","state":"legacy_only"}}"#, "x".repeat(MAX_ID + 1));
    let deep = format!(r#"{{"workspaces":{}"#, "[".repeat(2000));
    let keys = "expected kind, legacy, clerk, state, user, org, role, workspaces or merge";
    let states = "expected one of linked, legacy_only, clerk_native, sealed, deleted";
    let table: &[(&str, String)] = &[
        ("[]", "expected a JSON object, such as {\"kind\":\"user\",…}".into()),
        ("kind,legacy", "expected a JSON object, such as {\"kind\":\"user\",…}".into()),
        ("{}", "`kind` is missing: user, org or membership".into()),
        (r#"{"kind":"team","legacy":"1"}"#, "unknown kind `team`: expected user, org or membership".into()),
        (r#"{"kind":1}"#, "`kind` must be text in quotes".into()),
        (r#"{"kind":"user","legacy":42,"state":"legacy_only"}"#, "`legacy` must be text in quotes".into()),
        (r#"{"kind":"user","legacy":"42","clerk":null,"state":"linked"}"#, "`clerk` must be text in quotes".into()),
        (r#"{"kind":"user","legacy":["42"],"state":"linked"}"#, "`legacy` must be text in quotes".into()),
        (r#"{"kind":"user","email":"a@b.c"}"#, format!("unknown key `email`: {keys}")),
        (r#"{"kind":"user","Legacy":"1"}"#, format!("unknown key `Legacy`: {keys}")),
        (r#"{"kind":"user","legacy":"1","legacy":"2","state":"linked"}"#, "key `legacy` stands twice".into()),
        (r#"{"kind":"user","legacy":"1","l\u0065gacy":"2"}"#, "key `legacy` stands twice".into()),
        (r#"{"kind":"user","legacy":"1","clerk":"user_1"}"#, "a user needs `state`".into()),
        (
            r#"{"kind":"user","legacy":"1","clerk":"user_1","state":"Linked"}"#,
            format!("unknown state `Linked`: {states}"),
        ),
        (r#"{"kind":"user","legacy":"1","state":"linked"}"#, "a linked user needs `clerk` too".into()),
        (r#"{"kind":"user","clerk":"user_1","state":"linked"}"#, "a linked user needs `legacy` too".into()),
        (
            r#"{"kind":"user","legacy":"1","clerk":"user_1","state":"legacy_only"}"#,
            "a legacy_only user has no `clerk`: say linked, or leave the id out".into(),
        ),
        (r#"{"kind":"user","clerk":"user_1","state":"sealed"}"#, "a sealed user needs `legacy`".into()),
        (r#"{"kind":"user","legacy":"1","state":"clerk_native"}"#, "a clerk_native user needs `clerk`".into()),
        (r#"{"kind":"user","state":"deleted"}"#, "a deleted user needs `legacy`, `clerk` or both".into()),
        (r#"{"kind":"user","legacy":"1","state":"legacy_only","role":"a"}"#, "no `role` in a line of kind user".into()),
        (
            r#"{"kind":"user","legacy":"1","state":"legacy_only","merge":true}"#,
            "no `merge` in a line of kind user".into(),
        ),
        (r#"{"kind":"org","legacy":"a","state":"linked"}"#, "no `state` in a line of kind org".into()),
        (r#"{"kind":"org"}"#, "an org needs `legacy`, `clerk` or both".into()),
        (r#"{"kind":"org","legacy":"a","clerk":"org_1","merge":"true"}"#, "`merge` must be true or false".into()),
        (r#"{"kind":"membership","user":"1"}"#, "a membership needs `org`".into()),
        (r#"{"kind":"membership","org":"1"}"#, "a membership needs `user`".into()),
        (
            r#"{"kind":"membership","user":"1","org":"a","legacy":"1"}"#,
            "no `legacy` in a line of kind membership".into(),
        ),
        (
            r#"{"kind":"membership","user":"1","org":"a","workspaces":"w1"}"#,
            "`workspaces` must be a list of texts".into(),
        ),
        (
            r#"{"kind":"membership","user":"1","org":"a","workspaces":[1]}"#,
            "`workspaces` must be a list of texts".into(),
        ),
        (
            r#"{"kind":"membership","user":"1","org":"a","workspaces":["w","v","w"]}"#,
            "workspace `w` stands twice".into(),
        ),
        (
            r#"{"kind":"membership","user":"1","org":"a","workspaces":[""]}"#,
            "`workspaces` is empty: leave it out or give an id".into(),
        ),
        (
            r#"{"kind":"user","legacy":"","state":"legacy_only"}"#,
            "`legacy` is empty: leave it out or give an id".into(),
        ),
        (
            r#"{"kind":"user","legacy":"a\nb","state":"legacy_only"}"#,
            "`legacy` holds the hidden character U+000A".into(),
        ),
        (
            r#"{"kind":"user","legacy":"a\u0000","state":"legacy_only"}"#,
            "`legacy` holds the hidden character U+0000".into(),
        ),
        (
            "{\"kind\":\"user\",\"legacy\":\"a\u{202e}b\",\"state\":\"legacy_only\"}",
            "`legacy` holds the hidden character U+202E".into(),
        ),
        (r#"{"kind":"user","legacy":" 1","state":"legacy_only"}"#, "`legacy` begins or ends with a space".into()),
        (&long, "`legacy` is longer than 256 bytes".into()),
        (
            r#"{"kind":"user","legacy":"1","#,
            "the object does not end on its line: the line is broken or the file cut off".into(),
        ),
        (r#"{"kind":"us"#, "the object does not end on its line: the line is broken or the file cut off".into()),
        (r#"{"kind":"user",}"#, "no JSON from column 16 on".into()),
        (r#"{"kind":"org","legacy":"a"} {"kind":"org"}"#, "something follows the object on its line".into()),
        ("{\"kind\":\"org\",\"legacy\":\"a\tb\"}", "no JSON from column 26 on".into()),
        (&deep, "`workspaces` must be a list of texts".into()),
    ];
    for (line, expected) in table {
        assert_eq!(Line::parse(line.as_bytes()).unwrap_err(), *expected, "{line:.80}");
    }
    assert!(Line::parse(b"{\"kind\":\"org\",\"legacy\":\"\xff\"}").is_err());
    assert!(Line::parse(br#"{"kind":"org","legacy":"\ud800"}"#).is_err());
}

#[test]
fn what_is_taken() {
    fn text(text: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(text))
    }
    let table = [
        (
            r#"{"kind":"user","legacy":"42","clerk":"user_2abc","state":"linked"}"#,
            Line::User { legacy: text("42"), clerk: text("user_2abc"), state: State::Linked },
        ),
        (
            "  {\"state\":\"sealed\", \"legacy\":\"\\u0034\u{e9} 2\",\"kind\":\"user\"}\r",
            Line::User { legacy: text("4\u{e9} 2"), clerk: None, state: State::Sealed },
        ),
        (
            r#"{"kind":"user","legacy":"42","clerk":"user_2abc","state":"clerk_native"}"#,
            Line::User { legacy: text("42"), clerk: text("user_2abc"), state: State::ClerkNative },
        ),
        (
            r#"{"kind":"org","legacy":"acme","clerk":"org_2xyz"}"#,
            Line::Org { legacy: text("acme"), clerk: text("org_2xyz"), merge: false },
        ),
        (r#"{"kind":"org","legacy":"acme"}"#, Line::Org { legacy: text("acme"), clerk: None, merge: false }),
        (
            r#"{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w2","w1"]}"#,
            Line::Membership {
                user: "42".into(),
                org: "acme".into(),
                role: text("admin"),
                workspaces: vec!["w1".into(), "w2".into()],
            },
        ),
        (
            r#"{"kind":"membership","user":"42","org":"acme"}"#,
            Line::Membership { user: "42".into(), org: "acme".into(), role: None, workspaces: Vec::new() },
        ),
    ];
    for (line, expected) in table {
        assert_eq!(Line::parse(line.as_bytes()), Ok(expected), "{line}");
    }
}
