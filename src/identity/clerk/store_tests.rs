use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::testing::{ISSUER, KID, NOW_S, OURS, now, seconds};
use super::Store;

const URL: &str = "https://clerk.example.com/.well-known/jwks.json";

fn store(folder: &std::path::Path) -> Store {
    Store::new(folder, &Arc::from(ISSUER), URL)
}

fn set() -> String {
    json!({"keys": [OURS.jwk(KID)]}).to_string()
}

#[test]
fn what_was_saved_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.load(seconds(60), now()).unwrap().is_none());
    for fetched in [NOW_S * 1000 - 5, NOW_S * 1000] {
        store.save(&set(), fetched).unwrap();
        let stored = store.load(seconds(60), now()).unwrap().unwrap();
        assert_eq!((stored.set, stored.fetched_unix_ms), (OURS.set(KID), fetched));
    }
    assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(folder.path().join("keys")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing temporary is left");
}

#[test]
fn what_is_not_believed() {
    let good = || json!({"version": 1, "issuer": ISSUER, "url": URL, "fetched_at": NOW_S * 1000, "set": set()});
    let with = |name: &str, value: Value| {
        let mut members = good();
        members[name] = value;
        members.to_string()
    };
    let twice = format!("{},\"set\":\"\"}}", good().to_string().strip_suffix('}').unwrap());
    let table = [
        ("as saved", good().to_string(), None),
        ("nothing", String::new(), Some("not a key set file of this version")),
        ("half of it", good().to_string()[..40].to_owned(), Some("not a key set file of this version")),
        ("member twice", twice, Some("not a key set file of this version")),
        ("another version", with("version", json!(2)), Some("not a key set file of this version")),
        ("another issuer", with("issuer", json!("x")), Some("the file is for another issuer or address")),
        ("another address", with("url", json!("x")), Some("the file is for another issuer or address")),
        ("too old", with("fetched_at", json!((NOW_S - 61) * 1000)), Some("older than jwks.max_stale")),
        ("from tomorrow", with("fetched_at", json!((NOW_S + 61) * 1000)), Some("its time lies in the future")),
        ("a little ahead", with("fetched_at", json!((NOW_S + 5) * 1000)), None),
        ("absurd time", with("fetched_at", json!(i64::MIN)), Some("older than jwks.max_stale")),
        ("hostile set", with("set", json!("{\"keys\":[]}")), Some("no key for signatures of an accepted algorithm")),
        ("set no text", with("set", json!({})), Some("not a key set file of this version")),
    ];
    for (name, text, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.save(&set(), 0).unwrap();
        fs::write(store.path(), text).unwrap();
        let problem = store.load(seconds(60), now()).err().map(|problem| problem.to_string());
        assert_eq!(problem.as_deref(), expected, "{name}");
    }
}

#[test]
fn a_file_that_everyone_may_write_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.save(&set(), NOW_S * 1000).unwrap();
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(store.load(seconds(60), now()).unwrap_err().to_string(), "the file can be written by everyone");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys"), "a file").unwrap();
    assert!(store(folder.path()).save(&set(), 0).is_err());
}
