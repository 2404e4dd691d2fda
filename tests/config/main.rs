//! Configurations, good and bad, through the library as `check` uses it.
//!
//! Each file in `bad/` and `bad-policies/` is named by its mistake and paired with the report that people see.
//! After a change of wording: `UPDATE=1 cargo test --test config`, then read the difference.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what cannot be set up is a failure of the test"
)]

mod audit;
mod full;
mod hostile;
mod pages;
mod policy_tests;
mod recipes;
mod reload;
mod schema;
mod screens;

use std::path::{Path, PathBuf};

use crossgate::config::{self, Loaded};
use crossgate::telemetry::metrics::Metrics;

fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    config::load(path, env, &Metrics::new().unwrap(), None)
}

fn env(name: &str) -> Option<String> {
    match name {
        "NUMBER" => Some("12".to_owned()),
        "EMPTY" => Some(String::new()),
        "NULL" => Some("null".to_owned()),
        "STRUCTURE" => Some("{ threads: 2 }\nadmin: { address: 0.0.0.0:1 }".to_owned()),
        _ => None,
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

/// All problems, with paths that do not depend on where the test runs.
fn report(loaded: &Loaded) -> String {
    let told = loaded.problems.iter().filter(|problem| problem.waived.is_none());
    let text: String = told.map(|problem| format!("{}\n", problem.render())).collect();
    text.replace("tests/config/", "")
}

fn compare(path: &Path, told: &str) -> Option<String> {
    let expected_path = path.with_extension("expected");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected_path, told).unwrap();
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
    (expected != told).then(|| format!("{}:\n--- expected\n{expected}--- told\n{told}", path.display()))
}

#[test]
fn bad_configs_are_told_as_expected() {
    let mut failures = Vec::new();
    for path in files("tests/config/bad") {
        let loaded = load(&path, &env);
        let has_error = loaded.problems.iter().any(|problem| problem.is_error());
        assert!(has_error && loaded.compiled.is_none(), "{} is bad", path.display());
        failures.extend(compare(&path, &report(&loaded)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn doubtful_configs_are_warned_about() {
    let mut failures = Vec::new();
    for path in files("tests/config/warned") {
        let loaded = load(&path, &env);
        assert!(
            loaded.compiled.is_some() && !loaded.problems.is_empty(),
            "{} is good, and worth a word",
            path.display()
        );
        failures.extend(compare(&path, &report(&loaded)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn bad_policies_are_told_as_expected() {
    let mut failures = Vec::new();
    for path in files("tests/config/bad-policies") {
        let name = format!("bad-policies/{}", path.file_name().unwrap().to_string_lossy());
        let env = |asked: &str| if asked == "POLICY" { Some(name.clone()) } else { env(asked) };
        let loaded = load(Path::new("tests/config/bed.yaml"), &env);
        assert!(!loaded.problems.is_empty(), "{name} is worth a word");
        failures.extend(compare(&path, &report(&loaded)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn good_configs_compile_without_a_word() {
    for path in files("tests/config/good") {
        let loaded = load(&path, &env);
        assert_eq!(report(&loaded), "", "{}", path.display());
        assert!(loaded.compiled.is_some(), "{}", path.display());
    }
}

#[test]
fn samples_compile_without_a_word() {
    for path in ["conf/minimal.yaml", "conf/full.yaml"] {
        let loaded = load(Path::new(path), &|_| None);
        assert_eq!(report(&loaded), "", "{path} is an example in all");
        assert!(loaded.compiled.is_some(), "{path}");
    }
}

#[test]
fn problems_have_a_form_for_programs() {
    let loaded = load(Path::new("tests/config/bad/five-mistakes.yaml"), &env);
    let first = loaded.problems.first().unwrap().to_json();
    assert_eq!(
        first,
        serde_json::json!({
            "code": "CG0103",
            "severity": "error",
            "file": "tests/config/bad/five-mistakes.yaml",
            "line": 3,
            "column": 5,
            "end_column": 11,
            "message": "unknown key `adress` in `listeners`",
            "help": "did you mean `address`?",
            "waived": null,
        })
    );
}

#[test]
fn the_environment_types_plain_scalars_only() {
    let loaded = load(Path::new("tests/config/good/environment.yaml"), &env);
    let compiled = loaded.compiled.unwrap();
    assert_eq!(compiled.settings.threads, Some(12));
    let names: Vec<_> = compiled.snapshot.instances.iter().map(|instance| instance.name.to_string()).collect();
    assert_eq!(names, ["${literal}"]);
}

#[test]
fn the_probe_is_on_where_keys_come_from_clerk_or_where_it_is_written() {
    let loaded = load(Path::new("tests/config/good/probe.yaml"), &env);
    let compiled = loaded.compiled.unwrap();
    let probes: Vec<_> = compiled
        .snapshot
        .instances
        .iter()
        .map(|instance| {
            let spec = instance.probe.as_ref().map(|probe| probe.spec());
            (&*instance.name, spec.map(|spec| (&*spec.url, spec.interval.as_secs(), spec.allow_private)))
        })
        .collect();
    assert_eq!(
        probes,
        [
            ("by its key", Some(("https://clerk.example.com/v1/client", 15, false))),
            ("by its issuer", Some(("https://a.example.com/__clerk/v1/client", 60, false))),
            ("same origin", Some(("https://b.example.com/v1/client", 15, false))),
            ("mirror", None),
            ("stand-in", None),
            ("stand-in that is asked", Some(("http://127.0.0.1:4001/v1/client", 15, true))),
            ("file", None),
            ("file and probe", Some(("https://e.example.com/v1/environment", 15, false))),
            ("off", None),
        ]
    );
}
