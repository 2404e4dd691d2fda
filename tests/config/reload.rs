//! What two loads have to do with each other: ids, and keys that are carried over.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crossgate::config::{self, Compiled};
use crossgate::snapshot::Snapshot;
use crossgate::telemetry::metrics::Metrics;

const CONFIG: &str = "\
listeners: [{ address: 127.0.0.1:0 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk:
  - name: one
    issuer: https://one.example.com
    authorized_parties: [https://app.example.com]
  - name: two
    issuer: https://two.example.com
    authorized_parties: [https://app.example.com]
policies: [policy.yaml]
";
const POLICY: &str = "routes: [{ id: all, match: { path: '/{*rest}' } }]\n";

fn load(folder: &Path, previous: Option<&Snapshot>) -> Compiled {
    let loaded = config::load(&folder.join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), previous);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.compiled.unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crossgate.yaml"), CONFIG).unwrap();
    fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
    folder
}

#[test]
fn the_id_follows_every_file() {
    let folder = folder();
    let first = load(folder.path(), None).snapshot;
    assert_eq!(first.id.len(), 16);
    assert_eq!(first.id, load(folder.path(), None).snapshot.id);
    assert_eq!(first.files.len(), 2);
    fs::write(folder.path().join("policy.yaml"), format!("{POLICY}# a comment\n")).unwrap();
    assert_ne!(first.id, load(folder.path(), None).snapshot.id);
}

#[test]
fn unchanged_instances_keep_their_keys() {
    let folder = folder();
    let first = load(folder.path(), None).snapshot;
    let changed =
        CONFIG.replace("issuer: https://two", "jwks: { url: https://keys.example.com/ }\n    issuer: https://two");
    fs::write(folder.path().join("crossgate.yaml"), changed).unwrap();
    let second = load(folder.path(), Some(&first)).snapshot;
    let same = |name: &str| {
        Arc::ptr_eq(&first.instances.named(name).unwrap().keys, &second.instances.named(name).unwrap().keys)
    };
    assert!(same("one"));
    assert!(!same("two"));
}

#[test]
fn what_routes_read_is_known_before_a_request_comes() {
    let folder = folder();
    let rules = load(folder.path(), None).snapshot.request;
    assert!(!rules.hosts_named);
    let policy = "\
routes:
  - id: one
    match: { path: /a, host: api.example.com, header: { x-env: prod }, query: { page: '1' } }
  - id: two
    match: { path: /b }
    require: { any: [{ org: 'a-{query.tenant}' }, { not: { org: { slug: '{query.page}' } } }] }
";
    fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    let rules = load(folder.path(), None).snapshot.request;
    assert!(rules.hosts_named);
}

#[test]
fn the_order_of_upstreams_and_routes_is_the_files() {
    let folder = folder();
    let compiled = load(folder.path(), None);
    assert_eq!(compiled.settings.state_dir, folder.path().join("state"));
    let route = compiled.snapshot.routes.get(0).unwrap();
    assert_eq!((&*route.id, route.place.line), ("all", 1));
}

#[test]
fn a_map_that_did_not_change_is_not_read_again() {
    let folder = folder();
    fs::write(folder.path().join("crossgate.yaml"), format!("{CONFIG}identity: {{ map: {{ file: map.jsonl }} }}\n"))
        .unwrap();
    let line =
        |state: &str| format!("{{\"kind\":\"user\",\"legacy\":\"1\",\"clerk\":\"user_1\",\"state\":\"{state}\"}}\n");
    let file = folder.path().join("map.jsonl");
    fs::write(&file, line("linked")).unwrap();
    let first = load(folder.path(), None).snapshot;
    assert!(first.files.contains(&file), "a map is one of the files");
    let map = |snapshot: &Snapshot| Arc::clone(snapshot.linking.map.as_ref().unwrap());
    let second = load(folder.path(), Some(&first)).snapshot;
    assert!(Arc::ptr_eq(&map(&first), &map(&second)) && first.id == second.id);
    // Written again with the same bytes: another file, the same map.
    fs::remove_file(&file).unwrap();
    fs::write(&file, line("linked")).unwrap();
    let third = load(folder.path(), Some(&second)).snapshot;
    assert!(Arc::ptr_eq(&map(&first), &map(&third)) && first.id == third.id);
    // As many bytes, and other ones.
    fs::write(&file, line("sealed")).unwrap();
    let fourth = load(folder.path(), Some(&third)).snapshot;
    assert!(!Arc::ptr_eq(&map(&first), &map(&fourth)) && first.id != fourth.id);
    assert_eq!(map(&fourth).user_by_legacy("1").unwrap().state(), crossgate::identity::Link::Sealed);
    assert!(Arc::ptr_eq(&first.linking.conflicts, &fourth.linking.conflicts), "counters go on");
}
