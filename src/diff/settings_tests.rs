//! What each key is said to do, and that none is passed over.

use serde_json::json;

use super::super::Difference;
use super::{Also, Effect, Json, KEYS, Written, flat, known, one};

fn told(old: Json, new: Json) -> Vec<(Effect, String)> {
    let version = |document: Json| flat(&Written { document, ..Written::default() });
    let (was, is) = (version(old), version(new));
    let paths: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let all = paths.into_iter().filter(|path| was.get(*path) != is.get(*path));
    all.map(|path| one(path, was.get(path), is.get(path))).map(|Also { effect, what, .. }| (effect, what)).collect()
}

#[test]
fn each_key_says_which_way_it_goes() {
    let clerk = |key: &str, value: Json| json!({ "clerk": [{ "name": "main", key: value }] });
    let table = [
        (clerk("missing_azp", json!("deny")), clerk("missing_azp", json!("allow")), Effect::Widens),
        (clerk("missing_azp", json!("allow")), clerk("missing_azp", json!("deny")), Effect::Narrows),
        (clerk("audiences", json!(["a"])), clerk("audiences", json!(["a", "b"])), Effect::Widens),
        (clerk("audiences", json!(["a", "b"])), clerk("audiences", json!(["b"])), Effect::Narrows),
        (clerk("audiences", json!(["a"])), clerk("audiences", json!([])), Effect::Widens),
        (clerk("audiences", json!(["a"])), clerk("audiences", json!(["b"])), Effect::Either),
        (clerk("x", json!(1)), clerk("x", json!(2)), Effect::Either),
        (json!({ "rollout": { "percent": 10 } }), json!({ "rollout": { "percent": 25 } }), Effect::Changes),
        (json!({ "telemetry": { "log": "info" } }), json!({ "telemetry": { "log": "debug" } }), Effect::None),
        (json!({}), json!({ "a_new_section": { "x": 1 } }), Effect::Either),
    ];
    for (old, new, expected) in table {
        let told = told(old.clone(), new.clone());
        assert!(matches!(told.as_slice(), [(effect, _)] if *effect == expected), "{old} {new}: {told:?}");
    }
}

#[test]
fn values_are_shown_where_they_are_no_secret() {
    let told = told(
        json!({ "rollout": { "percent": 10, "salt": "old-salt" }, "legacy": { "verify": { "jwt": { "issuer": "one" } } } }),
        json!({ "rollout": { "percent": 25, "salt": "new-salt" }, "legacy": { "verify": { "jwt": { "issuer": "two" } } } }),
    );
    let told: Vec<String> = told.into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["legacy.verify.jwt.issuer changed", "rollout.percent: 10 → 25", "rollout.salt changed"]);
}

/// A section that nothing is said of would be told as not analysed whenever somebody touches it.
#[test]
fn every_section_of_the_config_is_known() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/raw/mod.rs")).unwrap();
    let config = text.split("pub(crate) struct Config {").nth(1).unwrap().split("\n}").next().unwrap();
    let sections: Vec<&str> =
        config.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.split(':').next()).collect();
    assert!(sections.len() > 10, "{sections:?}");
    for section in sections {
        let is_known = KEYS.iter().any(|key| key.path.split('.').next() == Some(section));
        assert!(is_known, "`{section}` has no line in KEYS: say what a change of it means");
    }
    assert!(KEYS.iter().all(|key| known(&key.path.replace('*', "x")).path == key.path), "a line that nothing reaches");
}

#[test]
fn what_was_not_compared_could_be_anything() {
    use super::super::FailOn;
    let mut difference = Difference::default();
    assert!(![FailOn::Any, FailOn::Widening, FailOn::Narrowing].into_iter().any(|what| difference.has(what)));
    difference.gap("too many".to_owned());
    assert!([FailOn::Any, FailOn::Widening, FailOn::Narrowing].into_iter().all(|what| difference.has(what)));
}
