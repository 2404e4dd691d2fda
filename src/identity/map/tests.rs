//! Whole maps: what is refused with its lines, what is found, and that a map comes back as it was written.

use std::collections::BTreeSet;
use std::io::BufReader;

use proptest::prelude::*;

use super::{IdentityMap, MAX_LINE, Problem, Side, State, read, twins, write_jsonl};

fn load(text: impl AsRef<[u8]>) -> Result<IdentityMap, Vec<Problem>> {
    // A small buffer, so that lines cross its edge.
    read(BufReader::with_capacity(64, text.as_ref())).map(|loaded| loaded.map)
}

fn problems(text: impl AsRef<[u8]>) -> Vec<String> {
    load(text).map(|_| ()).unwrap_err().iter().map(Problem::to_string).collect()
}

fn jsonl(map: &IdentityMap) -> String {
    let mut bytes = Vec::new();
    write_jsonl(map, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

const CONTRACT: &str = r#"{"kind":"user","legacy":"42","clerk":"user_2abc","state":"linked"}
{"kind":"org","legacy":"acme","clerk":"org_2xyz"}
{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w1","w2"]}
"#;

#[test]
fn the_example_of_the_contract() {
    let map = load(CONTRACT).unwrap();
    let user = map.user_by_legacy("42").unwrap();
    assert_eq!((user.legacy(), user.clerk(), user.state()), (Some("42"), Some("user_2abc"), State::Linked));
    assert_eq!(map.user_by_clerk("user_2abc").unwrap().legacy(), Some("42"));
    assert!(map.is_same_user("42", "user_2abc") && !map.is_same_user("user_2abc", "42"));
    assert!(map.is_same_org("acme", "org_2xyz") && !map.is_same_org("acme", "acme"));
    for stranger in ["", "4", "422", "user_2abc", "USER_2ABC"] {
        assert!(map.user_by_legacy(stranger).is_none());
    }
    assert_eq!(map.org_by_clerk("org_2xyz").unwrap().partner().unwrap().id(), "acme");
    for org in [map.org_by_legacy("acme").unwrap(), map.org_by_clerk("org_2xyz").unwrap()] {
        let grants: Vec<_> = map.grants(user, org).collect();
        assert_eq!(grants.len(), 1);
        assert_eq!(grants[0].role(), Some("admin"));
        assert_eq!(grants[0].workspaces().collect::<Vec<_>>(), ["w1", "w2"]);
    }
    assert_eq!(map.digest().len(), 16);
    assert_eq!(map.counts().users, [1, 0, 0, 0, 0]);
    assert_eq!((map.counts().orgs, map.counts().memberships), (1, 1));
}

#[test]
fn order_and_blank_lines_do_not_matter() {
    let mut lines: Vec<&str> = CONTRACT.lines().collect();
    let expected = jsonl(&load(CONTRACT).unwrap());
    lines.reverse();
    assert_eq!(jsonl(&load(lines.join("\n\n \r\n")).unwrap()), expected);
    assert_eq!(jsonl(&load(format!("\u{feff}{}", lines.join("\r\n"))).unwrap()), expected);
    assert_eq!(jsonl(&load("").unwrap()), "");
}

#[test]
fn what_is_refused_with_its_line() {
    let user = |legacy: &str, clerk: &str| {
        format!("{{\"kind\":\"user\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\",\"state\":\"linked\"}}\n")
    };
    let org = |legacy: &str, clerk: &str, merge: bool| {
        format!("{{\"kind\":\"org\",\"legacy\":\"{legacy}\",\"clerk\":\"{clerk}\",\"merge\":{merge}}}\n")
    };
    let member = |user: &str, org: &str| format!("{{\"kind\":\"membership\",\"user\":\"{user}\",\"org\":\"{org}\"}}\n");
    let merge = |side: &str, name: &str, line: usize, first: usize| {
        format!(
            "line {line}: {side} org `{name}` would be two orgs of the other side, with line {first}: a merge widens \
             access; say \"merge\":true on this line if it is meant"
        )
    };
    let table: Vec<(String, Vec<String>)> = vec![
        (user("1", "u1") + &user("1", "u2"), vec!["line 2: legacy id `1` is a user's already, on line 1".into()]),
        (
            user("1", "u1") + "\n" + &user("2", "u1"),
            vec!["line 3: clerk id `u1` is a user's already, on line 1".into()],
        ),
        (
            user("1", "u1") + &user("1", "u1"),
            vec![
                "line 2: legacy id `1` is a user's already, on line 1".into(),
                "line 2: clerk id `u1` is a user's already, on line 1".into(),
            ],
        ),
        (org("a", "o1", false) + &org("b", "o1", false), vec![merge("clerk", "o1", 2, 1)]),
        (org("a", "o1", false) + &org("a", "o2", false), vec![merge("legacy", "a", 2, 1)]),
        (org("a", "o1", false) + &org("b", "o1", true) + &org("c", "o1", false), vec![merge("clerk", "o1", 3, 1)]),
        (
            org("a", "o1", true) + &org("a", "o1", true),
            vec!["line 2: legacy id `a` is an org's already, on line 1".into()],
        ),
        (
            "{\"kind\":\"org\",\"legacy\":\"a\"}\n".to_owned() + &org("a", "o1", true),
            vec!["line 2: legacy id `a` is an org's already, on line 1".into()],
        ),
        (
            org("a", "o1", true) + "{\"kind\":\"org\",\"clerk\":\"o1\"}\n",
            vec!["line 2: clerk id `o1` is an org's already, on line 1".into()],
        ),
        (
            member("2", "b") + &user("1", "u1") + &org("a", "o1", false) + &member("1", "b") + &member("2", "a"),
            vec![
                "line 1: no line has the user `2` of this membership".into(),
                "line 1: no line has the org `b` of this membership".into(),
                "line 4: no line has the org `b` of this membership".into(),
                "line 5: no line has the user `2` of this membership".into(),
            ],
        ),
        (
            member("u1", "o1") + &user("1", "u1") + &org("a", "o1", false) + &member("1", "a"),
            vec!["line 4: this membership stands already, on line 1".into()],
        ),
        (
            // A stranger has chosen somebody's Clerk id as legacy id.
            user("1", "u1") + &user("u1", "u2") + &org("a", "o1", false) + &member("u1", "a") + &member("1", "a"),
            vec!["line 4: user `u1` is a legacy id of one user and a clerk id of another: name the other id".into()],
        ),
        (
            member("1", "o1") + &user("1", "u1") + &org("a", "o1", false) + &org("o1", "o2", false),
            vec!["line 1: org `o1` is a legacy id of one org and a clerk id of another: name the other id".into()],
        ),
        (
            "x\n".to_owned() + &user("1", "u1") + "{\"kind\":\"us",
            vec![
                "line 1: expected a JSON object, such as {\"kind\":\"user\",…}".into(),
                "line 3: the object does not end on its line: the line is broken or the file cut off".into(),
            ],
        ),
        (
            format!("{{\"kind\":\"{}\"}}\n", "x".repeat(3 * MAX_LINE)) + &user("1", "u1") + &user("1", "u3"),
            vec![
                "line 1: the line is longer than 64 KiB".into(),
                "line 3: legacy id `1` is a user's already, on line 1".replace("line 1", "line 2"),
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(&text), expected, "{text:.300}");
    }
}

#[test]
fn a_line_may_fill_its_64_kib() {
    let line = CONTRACT.lines().next().unwrap();
    let padded =
        |length: usize| format!("{line}{}\n{}", " ".repeat(length - line.len()), CONTRACT.lines().nth(1).unwrap());
    assert!(load(padded(MAX_LINE)).is_ok());
    assert_eq!(problems(padded(MAX_LINE + 1)), ["line 1: the line is longer than 64 KiB"]);
    assert_eq!(problems(padded(MAX_LINE + 2)), ["line 1: the line is longer than 64 KiB"]);
}

#[test]
fn a_hundred_problems_are_enough() {
    assert_eq!(problems("x\n".repeat(1000)).len(), 100);
    let members = "{\"kind\":\"membership\",\"user\":\"1\",\"org\":\"a\"}\n".repeat(1000);
    assert_eq!(problems(members).len(), 100);
    let merges: String =
        (0..1000).map(|n| format!("{{\"kind\":\"org\",\"legacy\":\"{n}\",\"clerk\":\"o\"}}\n")).collect();
    assert_eq!(problems(merges).len(), 100);
}

#[test]
fn merged_orgs_add_up_and_are_not_transitive() {
    let map = load(
        r#"{"kind":"user","legacy":"1","clerk":"u1","state":"linked"}
{"kind":"org","legacy":"b","clerk":"o1","merge":true}
{"kind":"org","legacy":"c","clerk":"o1"}
{"kind":"org","legacy":"a","clerk":"o1","merge":true}
{"kind":"org","legacy":"d","clerk":"o2"}
{"kind":"membership","user":"1","org":"a","role":"owner"}
{"kind":"membership","user":"u1","org":"b","workspaces":["w"]}
{"kind":"membership","user":"1","org":"d"}
"#,
    )
    .unwrap();
    let user = map.user_by_clerk("u1").unwrap();
    let clerk = map.org_by_clerk("o1").unwrap();
    // The line without `merge` is the main name.
    assert_eq!(clerk.partners().map(super::Org::id).collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(clerk.partner().unwrap().id(), "c");
    assert_eq!(map.grants(user, clerk).map(super::Grant::role).collect::<Vec<_>>(), [Some("owner"), None]);
    // Each legacy org stays itself.
    let only: Vec<_> = map.grants(user, map.org_by_legacy("b").unwrap()).collect();
    assert_eq!((only.len(), only[0].role()), (1, None));
    assert_eq!(map.grants(user, map.org_by_legacy("c").unwrap()).count(), 0);
    assert_eq!(map.memberships(user).count(), 3);
    assert!(map.is_same_org("a", "o1") && map.is_same_org("b", "o1") && !map.is_same_org("d", "o1"));
    assert_eq!(map.counts().orgs, 4);
}

#[test]
fn an_org_of_two_clerk_orgs() {
    let map = load(
        r#"{"kind":"user","clerk":"u1","state":"clerk_native"}
{"kind":"org","legacy":"a","clerk":"o2","merge":true}
{"kind":"org","legacy":"a","clerk":"o1","merge":true}
{"kind":"membership","user":"u1","org":"o2","role":"admin"}
"#,
    )
    .unwrap();
    let user = map.user_by_clerk("u1").unwrap();
    assert_eq!(user.legacy(), None);
    // Neither line is the main one: the smaller id is, whatever the order of the lines.
    assert_eq!(map.org_by_legacy("a").unwrap().partner().unwrap().id(), "o1");
    assert_eq!(map.grants(user, map.org_by_legacy("a").unwrap()).count(), 1);
    // Written for o2: it reaches the legacy org, and not the Clerk org that was merged with o2.
    assert_eq!(map.grants(user, map.org_by_clerk("o2").unwrap()).count(), 1);
    assert_eq!(map.grants(user, map.org_by_clerk("o1").unwrap()).count(), 0);
}

#[test]
fn twins_are_told_and_stay_two() {
    let map = load(
        r#"{"kind":"user","legacy":"Bob","clerk":"user_1aB","state":"linked"}
{"kind":"user","legacy":"bob","clerk":"user_1ab","state":"linked"}
{"kind":"org","legacy":"café"}
{"kind":"org","legacy":"cafe\u0301"}
"#,
    )
    .unwrap();
    let found: Vec<_> = twins(&map).iter().map(|twin| (twin.kind, twin.side)).collect();
    assert_eq!(found, [("user", Side::Legacy), ("org", Side::Legacy), ("user", Side::Clerk)]);
    assert_eq!(map.user_by_legacy("Bob").unwrap().clerk(), Some("user_1aB"));
}

/// Two rows of 100,000 ids that look random and are not: the same in every run.
fn id(number: u64, salt: u64) -> String {
    let mut mixed = number.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 29;
    format!("{:x}", mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

#[test]
fn a_hundred_thousand_are_found_from_both_sides() {
    use std::fmt::Write as _;
    let mut text = String::from("{\"kind\":\"org\",\"legacy\":\"acme\",\"clerk\":\"org_1\"}\n");
    for n in 0..100_000 {
        let (legacy, clerk) = (id(n, 1), id(n, 2));
        writeln!(text, "{{\"kind\":\"user\",\"legacy\":\"{legacy}\",\"clerk\":\"user_{clerk}\",\"state\":\"linked\"}}")
            .unwrap();
        writeln!(text, "{{\"kind\":\"membership\",\"user\":\"{legacy}\",\"org\":\"acme\",\"workspaces\":[\"{n}\"]}}")
            .unwrap();
    }
    let map = load(text).unwrap();
    let org = map.org_by_clerk("org_1").unwrap();
    for n in 0..100_000 {
        let (legacy, clerk) = (id(n, 1), format!("user_{}", id(n, 2)));
        assert_eq!(map.user_by_legacy(&legacy).unwrap().clerk(), Some(clerk.as_str()));
        let user = map.user_by_clerk(&clerk).unwrap();
        assert_eq!(user.legacy(), Some(legacy.as_str()));
        let workspaces: Vec<_> = map.grants(user, org).flat_map(super::Grant::workspaces).collect();
        assert_eq!(workspaces, [n.to_string()]);
        assert!(map.user_by_legacy(&id(n, 3_000_000)).is_none());
    }
}

/// Lines of a valid map, in any order: users with every state, orgs with merges, memberships by either id.
fn valid() -> impl Strategy<Value = Vec<String>> {
    let user = (0_u8..5, "[a-zA-Z0-9 é\"\\\\]{0,6}");
    let users = prop::collection::vec(user, 0..8);
    let orgs = prop::collection::btree_set((0_u8..4, 0_u8..4), 0..6);
    let members = prop::collection::btree_map((0_usize..8, 0_usize..6), (any::<bool>(), 0_u8..4), 0..12);
    (users, orgs, members).prop_map(|(users, orgs, members)| {
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for (n, (state, suffix)) in users.iter().enumerate() {
            let (legacy, clerk) = (format!("{n}{suffix}_"), format!("user_{n}{suffix}_"));
            let state = State::ALL[usize::from(*state)];
            let mut line = serde_json::json!({ "kind": "user", "state": state.as_str() });
            if state != State::ClerkNative {
                line["legacy"] = legacy.as_str().into();
            }
            if state != State::LegacyOnly {
                line["clerk"] = clerk.as_str().into();
            }
            names.push(if state == State::ClerkNative { clerk } else { legacy });
            lines.push(line.to_string());
        }
        for (legacy, clerk) in &orgs {
            lines.push(format!(
                "{{\"kind\":\"org\",\"legacy\":\"o{legacy}\",\"clerk\":\"org_{clerk}\",\"merge\":true}}"
            ));
        }
        let legacy_orgs: Vec<u8> =
            orgs.iter().map(|(legacy, _)| *legacy).collect::<BTreeSet<_>>().into_iter().collect();
        for ((user, org), (with_role, workspaces)) in &members {
            let (Some(user), Some(org)) = (names.get(*user), legacy_orgs.get(*org)) else { continue };
            let workspaces: Vec<String> = (0..*workspaces).map(|n| format!("w{n}")).collect();
            let mut line = serde_json::json!({ "kind": "membership", "user": user, "org": format!("o{org}") });
            line["workspaces"] = workspaces.into();
            if *with_role {
                line["role"] = "admin".into();
            }
            lines.push(line.to_string());
        }
        lines
    })
}

proptest! {
    #[test]
    fn a_map_comes_back_as_it_was_written(lines in valid().prop_shuffle()) {
        let map = load(lines.join("\n")).unwrap();
        let written = jsonl(&map);
        let again = load(&written).unwrap();
        prop_assert_eq!(&jsonl(&again), &written);
        prop_assert_eq!(again.counts(), map.counts());
        prop_assert_eq!(written.lines().count(), lines.len());
        for user in map.users() {
            if let Some(legacy) = user.legacy() {
                prop_assert_eq!(again.user_by_legacy(legacy).unwrap().clerk(), user.clerk());
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = load(&bytes);
    }

    /// Bytes of a good map changed at a few places: nearly a map, and never a panic.
    #[test]
    fn no_change_makes_it_panic(
        lines in valid(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = lines.join("\n").into_bytes();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Ok(map) = load(&bytes) {
            let written = jsonl(&map);
            prop_assert_eq!(jsonl(&load(&written).unwrap()), written);
        }
    }
}
