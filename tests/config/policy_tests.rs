//! Policy tests as `check` and `test` read them: what is wrong with them, which files they stand in, and that nothing that
//! serves reads them.

use std::path::{Path, PathBuf};

use crossgate::config::{self, Loaded, Tests};
use crossgate::suite;
use crossgate::telemetry::metrics::Metrics;

use super::{compare, files, report};

pub(crate) fn load_tested(path: &Path, files: &[PathBuf]) -> Loaded {
    let tests = Tests { answers: &suite::answers(), files };
    config::load_tested(path, &super::env, &Metrics::new().unwrap(), tests)
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

/// What came of a question, written as a test, passes; the contrary does not.
#[test]
fn what_explain_says_passes_as_a_test() {
    let (mut allowed, mut refused) = (0, 0);
    for config in ["conf/full.yaml", "conf/demo/crossgate.yaml", "tests/config/test-bed.yaml"] {
        let persons = [
            "",
            "{ user: u1 }",
            "{ user: u1, org: acme, role: org:admin, workspaces: [w1] }",
            "{ user: u1, org: acme, role: member, claims: { staff: true, suspended: false, department: ops } }",
            "{ user: u2, org: acme, token: legacy, roles: [admin], workspaces: [w1] }",
            "{ user: u2, org: acme, token: legacy, role: admin, link: sealed }",
            "{ user: u3, org: acme, token: legacy, link: legacy_only, arm: clerk, role: admin, workspaces: [w1] }",
            "{ user: u4, org: globex, link: clerk_native, role: admin }",
        ];
        let paths = [
            "GET /health",
            "GET /me",
            "GET /catalogue/x",
            "GET /public/x",
            "GET /nowhere",
            "GET /a/../b",
            "GET /orgs/acme/invoices/7",
            "POST /orgs/acme/invoices/7",
            "GET /api/orgs/acme/invoices",
            "POST /api/orgs/acme/invoices",
            "POST /api/auth/handoff/x",
            "POST /api/orgs/acme/workspaces/w1/executions",
            "POST /orgs/acme/workspaces/w1/executions",
            "PUT /settings",
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("generated_test.yaml");
        let mut text = "tests:\n".to_owned();
        let write = |text: &mut String, request: &str, person: &str, expect: &str| {
            let person = if person.is_empty() { String::new() } else { format!("as: {person}, ") };
            text.push_str(&format!("  - {{ name: x, request: {request}, {person}expect: {expect} }}\n"));
        };
        for person in persons {
            paths.iter().for_each(|request| write(&mut text, request, person, "allow"));
        }
        let judge = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let loaded = load_tested(Path::new(config), std::slice::from_ref(&file));
            let compiled = loaded.compiled.unwrap_or_else(|| panic!("{config}: {:?}", loaded.problems));
            let suite = suite::Suite::new(&compiled.snapshot, suite::DEFAULT_TIME).unwrap();
            loaded.cases.iter().map(|case| suite.judge(case).unwrap()).collect::<Vec<_>>()
        };
        let (mut same, mut contrary) = ("tests:\n".to_owned(), "tests:\n".to_owned());
        let judged = judge(&text);
        let questions = persons.iter().flat_map(|person| paths.iter().map(move |request| (request, person)));
        for ((request, person), judged) in questions.zip(&judged) {
            // Where two arms come to two ends, there is no test that passes.
            if judged.runs.len() > 1 {
                continue;
            }
            let got = &judged.told().unwrap().got;
            let route = got.route.as_deref().map(|id| format!(", route: {id}")).unwrap_or_default();
            let arm = got.arm.as_str();
            let common = format!("status: {}, arm: {arm}{route}", got.status);
            let named = got.refusal.as_ref();
            let expect = match (got.is_allowed, named) {
                (true, reported) => {
                    allowed += 1;
                    let headers = got.headers.iter().filter(|(name, _)| !name.ends_with("request-id"));
                    let headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
                    let upstream = got.upstream.as_deref().unwrap();
                    let reported = reported.map(|named| format!(", reported: {}", named.code)).unwrap_or_default();
                    format!(
                        "{{ allow: true, upstream: {upstream}, headers: {{ {} }}, {common}{reported} }}",
                        headers.join(", ")
                    )
                }
                (false, Some(named)) => {
                    refused += 1;
                    format!("{{ deny: {}, {common} }}", named.predicate.unwrap_or(named.code))
                }
                (false, None) => panic!("refused by nothing: {got:?}"),
            };
            write(&mut same, request, person, &expect);
            write(&mut contrary, request, person, if got.is_allowed { "deny" } else { "allow" });
        }
        for judged in judge(&same) {
            assert!(judged.passed(), "{config}: {:?}", judged.told());
        }
        assert!(judge(&contrary).iter().all(|judged| !judged.passed()), "{config}");
    }
    assert!(allowed > 30 && refused > 100, "{allowed} and {refused}");
}
