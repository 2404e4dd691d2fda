//! Policy tests as `check` and `test` read them: what is wrong with them, which files they stand in, and that nothing that
//! serves reads them.

use std::path::{Path, PathBuf};

use crossgate::config::{self, Loaded, Tests};
use crossgate::suite;
use crossgate::telemetry::metrics::Metrics;

use super::{compare, files, report};

fn load_tested(path: &Path, files: &[PathBuf]) -> Loaded {
    let tests = Tests { answers: &suite::answers(), files };
    config::load_tested(path, &|_| None, &Metrics::new().unwrap(), tests)
}

#[test]
fn bad_tests_are_told_as_expected() {
    let mut failures = Vec::new();
    for path in files("tests/config/bad-tests") {
        let loaded = load_tested(Path::new("tests/config/test-bed.yaml"), std::slice::from_ref(&path));
        let has_error = loaded.problems.iter().any(|problem| problem.is_error());
        assert!(has_error && loaded.compiled.is_none(), "{} is bad", path.display());
        failures.extend(compare(&path, &report(&loaded)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const CONFIG: &str = "listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk: [{ name: main, publishable_key: pk_test_Y2xlcmsuZXhhbXBsZS5jb20k, authorized_parties: [https://app.example.com] }]
";
const ROUTES: &str = "routes: [{ id: all, match: { path: '/{*rest}' } }]\n";
const TESTS: &str = "tests: [{ name: apart, request: GET /x, expect: deny }]\n";

/// A config with these `policies` and files.
fn folder(policies: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crossgate.yaml"), format!("{CONFIG}policies: {policies}\n")).unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Names of the cases, and the codes of the errors.
fn found(folder: &Path, files: &[&str]) -> (Vec<String>, Vec<&'static str>) {
    let files: Vec<PathBuf> = files.iter().map(|name| folder.join(name)).collect();
    let loaded = load_tested(&folder.join("crossgate.yaml"), &files);
    let errors = loaded.problems.iter().filter(|problem| problem.is_error());
    (loaded.cases.iter().map(|case| case.name.clone()).collect(), errors.map(|problem| problem.code).collect())
}

#[test]
fn tests_are_found_beside_the_policies() {
    let within = format!("{ROUTES}tests: [{{ name: within, request: GET /x, expect: deny }}]\n");
    let other = TESTS.replace("apart", "other");
    let all = [("p/a.yaml", &*within), ("p/a_test.yaml", TESTS), ("p/b_test.yml", &*other), ("q/c_test.yaml", TESTS)];
    for policies in ["[p/*.yaml]", "[p/a.yaml]", "[p/a.yaml, p/*.yaml]", "['?/a.yaml']"] {
        let folder = folder(policies, &all);
        let expected: &[&str] =
            if policies.contains('?') { &["within", "apart", "apart", "other"] } else { &["within", "apart", "other"] };
        assert_eq!(found(folder.path(), &[]).0, expected, "{policies}");
    }
    // Two configs may share a folder: tests of a file that another one serves are its own.
    let shared = folder("[p/a.yaml]", &[&all[..], &[("p/b.yaml", ROUTES)]].concat());
    assert_eq!(found(shared.path(), &[]).0, ["within", "apart"]);
    let folder = folder("[p/*.yaml]", &all);
    assert_eq!(found(folder.path(), &["p/a.yaml"]).0, ["within"], "a policy file by its name");
    assert_eq!(found(folder.path(), &["q/c_test.yaml"]).0, ["apart"], "a file that no pattern is near");
    assert_eq!(found(folder.path(), &["p/b_test.yml", "p/a.yaml"]).0, ["within", "other"], "several");
    assert_eq!(found(folder.path(), &["p/none_test.yaml"]).1, ["CG0001"]);
}

#[test]
fn nothing_that_serves_reads_a_file_of_tests() {
    let load = |folder: &Path| {
        config::load(&folder.join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), None).compiled.unwrap()
    };
    let without = folder("[p/*.yaml]", &[("p/a.yaml", ROUTES)]);
    let id = load(without.path()).snapshot.id;
    for text in [TESTS, "tests: [", "routes: 7"] {
        std::fs::write(without.path().join("p/a_test.yaml"), text).unwrap();
        let compiled = load(without.path());
        assert_eq!(compiled.snapshot.id, id, "{text}");
        assert_eq!(compiled.snapshot.routes.len(), 1, "{text}");
    }
    // Beside routes, a test that cannot be run stops nothing either; one that cannot be read does, with the file.
    let text = format!("{ROUTES}tests: [{{ name: x, request: nonsense, as: {{ role: x }}, expect: {{ deny: x }} }}]\n");
    std::fs::write(without.path().join("p/a.yaml"), &text).unwrap();
    load(without.path());
    std::fs::write(without.path().join("p/a.yaml"), text.replace("expect", "expct")).unwrap();
    let loaded = config::load(&without.path().join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), None);
    assert_eq!(loaded.problems.first().unwrap().code, "CG0103");
}

#[test]
fn policies_are_more_than_files_of_tests() {
    let only = folder("[p/*.yaml]", &[("p/a_test.yaml", TESTS)]);
    assert_eq!(found(only.path(), &[]).1, ["CG1404"]);
    let loaded = config::load(&only.path().join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), None);
    assert!(loaded.compiled.is_none(), "nothing would be served, also where nobody asks for tests");
}
