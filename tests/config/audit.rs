//! What the keys of the audit trail become.

use std::path::Path;

use crossgate::audit::{EventClass, Events, OnFailure};
use crossgate::config::Compiled;
use crossgate::route::Access;

fn load(file: &str) -> Compiled {
    super::load(Path::new(file), &super::env).compiled.unwrap()
}

#[test]
fn without_the_key_a_trail_is_kept_where_it_can_be() {
    let Compiled { settings, snapshot } = load("tests/config/good/minimal.yaml");
    assert!(!settings.audit.required);
    assert_eq!(snapshot.audit.events, Events::default());
    assert_eq!(snapshot.audit.routes.len(), snapshot.routes.len());
}

#[test]
fn a_privileged_route_asks_for_a_trail_with_its_defaults() {
    let Compiled { settings, snapshot } = load("tests/config/good/privileged.yaml");
    let audit = settings.audit;
    assert!(audit.required && !audit.copy_to_stdout);
    assert_eq!(audit.file, Path::new("tests/config/good/audit/audit.jsonl"), "relative to the config");
    assert_eq!((audit.rotate_size, audit.rotate_keep), (256 * 1024 * 1024, 30));
    assert_eq!(snapshot.audit.on_failure, OnFailure::Deny);
    assert_eq!(snapshot.audit.events, Events::default());
    for (route, rules) in snapshot.routes.iter().zip(&snapshot.audit.routes) {
        let privileged = route.access == Access::Privileged;
        assert_eq!(&*route.id == "execution.start", privileged);
        assert_eq!(rules.action.is_some() && rules.resource.is_some(), privileged, "{}", route.id);
        assert_eq!(rules.workspace.is_some(), privileged, "one of several workspaces names none: {}", route.id);
        assert!(!rules.best_effort);
    }
}

#[test]
fn every_key_is_read() {
    let Compiled { settings, snapshot } = load("tests/config/good/audit.yaml");
    let audit = settings.audit;
    assert!(audit.required && audit.copy_to_stdout);
    assert_eq!(audit.file, Path::new("tests/config/good/trail/gate.jsonl"));
    assert_eq!((audit.rotate_size, audit.rotate_keep), (64 * 1024, 1));
    assert_eq!(snapshot.audit.on_failure, OnFailure::Allow);
    assert_eq!(snapshot.audit.events, Events::NONE.with(EventClass::Privileged).with(EventClass::Denied));
}
