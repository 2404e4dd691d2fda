//! `crossgate test`, as people and CI call it. What it shows is kept in `policy_tests/`; after a change of wording:
//! `UPDATE=1 cargo test --test e2e policy_tests`, then read the difference.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::bed::crossgate;

const CONFIG: &str = "listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] }, new: { endpoints: [127.0.0.1:3001] } }
clerk: [{ name: main, publishable_key: pk_test_Y2xlcmsuZXhhbXBsZS5jb20k, authorized_parties: [https://app.example.com] }]
policies: [policies/*.yaml]
";

const ROUTES: &str = "routes:
  - { id: health, match: { path: /health }, access: public }
  - { id: invoice.read, match: { method: GET, path: \"/orgs/{org}/invoices/{*rest}\" }, require: { org: \"{org}\" } }
  - id: invoice.write
    match: { method: POST, path: \"/orgs/{org}/invoices/{*rest}\" }
    require:
      org: \"{org}\"
      any: [{ role: org:admin }, { claim: { staff: true } }]
      not: { claim: { suspended: true } }
";

const GOOD: &str = "tests:
  - { name: health is for everyone, request: GET /health, expect: allow }
  - name: a member reads
    request: GET /orgs/acme/invoices/7?page=2
    as: { user: u1, org: acme, role: org:member }
    expect: { allow: { route: invoice.read, headers: { x-crossgate-subject: u1, x-crossgate-actor: null } } }
  - { name: nobody reads, request: GET /orgs/acme/invoices/7, expect: { deny: no_credential, status: 401 } }
  - name: members of other orgs do not read
    request: GET /orgs/acme/invoices/7
    as: { user: u1, org: other }
    expect: { deny: org }
";

/// An API's folder with these tests beside its policies.
fn folder(config: &str, tests: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("crossgate.yaml"), config).unwrap();
    std::fs::write(folder.path().join("policies/invoices.yaml"), ROUTES).unwrap();
    if !tests.is_empty() {
        std::fs::write(folder.path().join("policies/invoices_test.yaml"), tests).unwrap();
    }
    folder
}

/// In a terminal of 80 columns.
fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = crossgate();
    command.arg("test").args(["-c", "crossgate.yaml"]).args(arguments).env("COLUMNS", "80");
    command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(folder, &[arguments, &["--format", "json"]].concat());
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|problem| panic!("{problem}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code(), report)
}

/// Compares with what was kept, and holds each line to the screen.
fn screen(name: &str, shown: &str) {
    let path = format!("{}/tests/e2e/policy_tests/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, kept, "{name}");
    // What is to be pasted is not broken within a word.
    let is_whole = |line: &&str| !line.contains("--as '");
    for line in shown.lines().filter(is_whole) {
        let mut width = 0;
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            if letter == '\u{1b}' {
                letters.by_ref().find(|letter| *letter == 'm');
            } else {
                width += 1;
            }
        }
        assert!(width <= 80, "{name}: {line}");
    }
}

#[test]
fn all_pass() {
    let folder = folder(CONFIG, GOOD);
    let output = run(&folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout), "4 tests: 4 passed, 0 failed\n");
    assert!(output.stderr.is_empty());
    screen("verbose", &text(&run(&folder, &["-v"]).stdout));
    let (exit, report) = json(&folder, &[]);
    assert_eq!(
        (exit, &report["ok"], &report["passed"], &report["failed"]),
        (Some(0), &true.into(), &4.into(), &0.into())
    );
    assert_eq!(report["coverage"], Value::Null, "nobody asked");
    let member = &report["tests"][1];
    assert_eq!((&member["name"], &member["line"]), (&"a member reads".into(), &3.into()));
    assert_eq!(member["file"], "policies/invoices_test.yaml");
    assert_eq!((&member["passed"], &member["got"]["route"]), (&true.into(), &"invoice.read".into()));
    assert_eq!(report["tests"][2]["got"]["code"], "no_credential");
}

const BAD: &str = "tests:
  - { name: health is for everyone, request: GET /health, expect: allow }
  - name: a member writes, and this is said in a sentence that does not fit into one line
    request: POST /orgs/acme/invoices/7?draft=1
    headers: { x-it: it's }
    at: 2026-02-03T04:05:06Z
    as: { user: u1, org: acme, role: member, workspaces: [w1, { id: w2, role: editor }] }
    expect: allow
  - name: an admin does not write
    request: POST /orgs/acme/invoices/7
    as: { user: u1, org: acme, role: admin }
    expect: { deny: any }
  - name: reading asks for a role
    request: GET /orgs/acme/invoices/7
    as: { user: u1, org: acme, role: member }
    expect: { deny: role, status: 403 }
  - name: the other route, upstream and person
    request: GET /orgs/acme/invoices/7
    as: { user: u1, org: acme }
    expect: { allow: { route: invoice.write, upstream: new, headers: { x-crossgate-subject: u2, x-crossgate-org: null } } }
  - name: the tenant is not the reason
    request: POST /orgs/acme/invoices/7
    as: { user: u1, org: acme, role: admin, claims: { suspended: true } }
    expect: { deny: org, route: invoice.write }
  - name: nobody is let in
    request: GET /orgs/acme/invoices/7
    expect: allow
  - name: nothing is there
    request: GET /nowhere
    as: { user: u1 }
    expect: { deny: org }
  - name: a path with two readings
    request: GET /orgs/acme/../health
    expect: allow
";

#[test]
fn failures_say_what_and_where() {
    let folder = folder(CONFIG, BAD);
    let output = run(&folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    screen("failures", &text(&output.stdout));
    let (exit, report) = json(&folder, &[]);
    assert_eq!((exit, &report["ok"], &report["failed"]), (Some(1), &false.into(), &8.into()));
    let first = &report["tests"][1];
    assert_eq!(first["expected"], serde_json::json!({ "decision": "allow" }));
    assert_eq!((&first["got"]["decision"], &first["got"]["predicate"]), (&"deny".into(), &"any".into()));
    assert_eq!(first["differences"][0]["got"], "deny: any");
    // Colour says nothing that the words do not.
    let mut coloured = crossgate();
    coloured
        .args(["test", "-c", "crossgate.yaml"])
        .env("COLUMNS", "80")
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1");
    let coloured = text(&coloured.current_dir(folder.path()).output().unwrap().stdout);
    assert!(coloured.contains('\u{1b}'));
    screen("failures-in-colour", &coloured);
}

/// The command that a failure shows, in a shell.
#[test]
fn what_is_to_be_pasted_runs() {
    let folder = folder(CONFIG, BAD);
    let shown = text(&run(&folder, &[]).stdout);
    let mut commands = Vec::new();
    let mut lines = shown.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("crossgate explain") {
            continue;
        }
        let mut command = line.trim().to_owned();
        while command.ends_with('\\') {
            command = format!("{}\n{}", command, lines.next().unwrap());
        }
        commands.push(command);
    }
    assert_eq!(commands.len(), 8, "{shown}");
    let program = Path::new(env!("CARGO_BIN_EXE_crossgate")).display().to_string();
    let (_, report) = json(&folder, &[]);
    let failed = report["tests"].as_array().unwrap().iter().filter(|test| test["passed"] == false);
    for (command, test) in commands.iter().zip(failed) {
        let command = format!("{} --format json", command.replacen("crossgate", &program, 1));
        let output =
            std::process::Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
        let explained: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|problem| panic!("{problem}: {command}: {}", text(&output.stderr)));
        for key in ["decision", "code", "reason", "route"] {
            assert_eq!(explained[key], test["got"][key], "{key} of {command}");
        }
    }
}

#[test]
fn problems_are_told_with_their_places_and_nothing_is_run() {
    let folder = folder(CONFIG, &GOOD.replace("deny: org", "deny: rog"));
    let output = run(&folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("invoices_test.yaml:11:21: CG1403") && said.contains("did you mean `org`?"), "{said}");
    let (exit, report) = json(&folder, &[]);
    assert_eq!((exit, &report["ok"], &report["problems"][0]["code"]), (Some(1), &false.into(), &"CG1403".into()));
    // `check` says the same; `explain`, which needs no tests, goes on.
    let check = crossgate().args(["check", "-c", "crossgate.yaml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stdout).contains("CG1403"), "{}", text(&check.stdout));
    let explain = ["explain", "-c", "crossgate.yaml", "GET", "/health"];
    let explain = crossgate().args(explain).current_dir(folder.path()).output().unwrap();
    assert_eq!(explain.status.code(), Some(0));
}

#[test]
fn some_tests_only() {
    let folder = folder(CONFIG, BAD);
    for (arguments, exit, sum) in [
        (&["--filter", "HEALTH"][..], 0, "1 test: 1 passed, 0 failed\n"),
        (&["policies/invoices_test.yaml", "--filter", "health"], 0, "1 test: 1 passed, 0 failed\n"),
        (&["--filter", "write"], 1, "2 tests: 0 passed, 2 failed\n"),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).ends_with(sum), "{arguments:?}: {}", text(&output.stdout));
    }
    for (arguments, exit, said) in [
        (&["--filter", "no such name"][..], 1, "no test has `no such name` in its name"),
        (&["policies/invoices.yaml"], 1, "there are no tests in policies/invoices.yaml"),
        (&["policies/none_test.yaml"], 1, "CG0001"),
        (&["--at", "tomorrow"], 2, "expected a time"),
        (&["--fail-under", "101"], 2, "expected 0 to 100"),
        (&["--fitler", "x"], 2, "--filter"),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn no_test_at_all_is_no_success() {
    let output = run(&folder(CONFIG, ""), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has no tests: write `tests:`"), "{}", text(&output.stderr));
    let (exit, report) = json(&folder(CONFIG, ""), &[]);
    assert_eq!((exit, &report["ok"], &report["tests"]), (Some(1), &false.into(), &serde_json::json!([])));
    assert!(report["problem"].as_str().unwrap().contains("has no tests"), "{report}");
    let (exit, report) = json(&folder(CONFIG, GOOD), &["--filter", "no such name"]);
    assert_eq!((exit, &report["passed"]), (Some(1), &0.into()), "{report}");
}

/// One look is enough: the problems of the tests do not wait for those of the config.
#[test]
fn problems_of_tests_are_told_beside_those_of_the_config() {
    let tests = GOOD.replace("deny: org", "deny: rog").replace("GET /health", "get /health");
    let folder = folder(&CONFIG.replace("authorized_parties", "authorised_parties"), &tests);
    let check = crossgate()
        .args(["check", "-c", "crossgate.yaml", "--format", "json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&check.stdout).unwrap();
    let codes: Vec<&str> =
        report["problems"].as_array().unwrap().iter().filter_map(|problem| problem["code"].as_str()).collect();
    assert!(["CG0103", "CG1401", "CG1403"].iter().all(|code| codes.contains(code)), "{codes:?}");
    assert_eq!(report["errors"], 3, "nothing is told that follows from the config: {report}");
}

/// `deny` for any reason is content with a slip in the path.
#[test]
fn a_denial_that_meets_no_route_is_noted() {
    let tests = "tests:
  - { name: a slip, request: GET /orgz/acme/invoices/7, expect: deny }
  - { name: meant, request: GET /orgz/acme/invoices/7, expect: { deny: no_route } }
";
    let folder = folder(CONFIG, tests);
    let output = run(&folder, &[]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("note  a slip: refused before any route (no_route)") && !shown.contains("note  meant"),
        "{shown}"
    );
    let (_, report) = json(&folder, &[]);
    assert!(report["tests"][0]["note"].is_string() && report["tests"][1]["note"].is_null(), "{report}");
}

/// It passes as nobody, whatever the rule says: nobody got through by it.
#[test]
fn a_preflight_covers_nothing() {
    let tests = "tests:
  - name: a page asks first
    request: OPTIONS /orgs/acme/invoices/7
    headers: { origin: https://app.example.com, access-control-request-method: POST }
    expect: { allow: { route: invoice.write } }
";
    let (exit, report) = json(&folder(CONFIG, tests), &["--coverage"]);
    assert_eq!((exit, &report["passed"]), (Some(0), &1.into()), "{report}");
    assert_eq!(report["coverage"]["covered"], 0, "{report}");
}

const MORE: &str = "
  - { name: nobody writes, request: POST /orgs/acme/invoices/7, expect: deny }
  - { name: others do not write, request: POST /orgs/acme/invoices/7, as: { user: u1, org: x }, expect: { deny: org } }
  - { name: admins write, request: POST /orgs/acme/invoices/7, as: { user: u1, org: acme, role: admin, claims: { suspended: false, staff: false } }, expect: allow }
";

#[test]
fn coverage_is_what_passed_tests_show() {
    let some = folder(CONFIG, GOOD);
    let output = run(&some, &["--coverage"]);
    assert_eq!(output.status.code(), Some(0));
    screen("coverage", &text(&output.stdout));
    let points = |report: &Value| (report["coverage"]["covered"].clone(), report["coverage"]["points"].clone());
    let (_, report) = json(&some, &["--coverage"]);
    // health 1 of 1, reading 3 of 3, writing none of allow, nobody, org, any, two alternatives, not.
    assert_eq!(points(&report), (4.into(), 11.into()), "{report}");
    let write = &report["coverage"]["routes"][2];
    assert_eq!(write["route"], "invoice.write");
    assert_eq!(
        write["missing"],
        serde_json::json!([
            "allow",
            "nobody",
            "deny org",
            "deny any",
            "any 1: role",
            "any 2: claim staff",
            "deny not claim suspended"
        ])
    );
    let more = format!("{}{MORE}", GOOD.trim_end());
    let (_, report) = json(&folder(CONFIG, &more), &["--coverage"]);
    assert_eq!(points(&report), (8.into(), 11.into()), "{report}");
    // A test that fails shows nothing.
    let failing = more.replace(
        "claims: { suspended: false, staff: false } }, expect: allow",
        "claims: { suspended: false } }, expect: deny",
    );
    let (exit, report) = json(&folder(CONFIG, &failing), &["--coverage"]);
    assert_eq!((exit, points(&report)), (Some(1), (6.into(), 11.into())), "{report}");
    // 4 of 11 are 36.36 %.
    for (least, exit) in [("0", 0), ("36.3", 0), ("36.4", 1), ("100", 1)] {
        let output = run(&some, &["--fail-under", least]);
        assert_eq!(output.status.code(), Some(exit), "{least}: {}", text(&output.stdout));
        assert!(text(&output.stdout).contains("coverage: 36.3 %"), "{least}: {}", text(&output.stdout));
    }
}

const BOTH: &str = "legacy:
  credential: { header: authorization, scheme: Bearer }
  verify: { jwt: { algorithms: [HS256], secret_file: legacy.secret } }
identity:
  map: { claim: external_id }
  names: { org: clerk_id }
  roles: { \"org:admin\": [owner] }
rollout: { percent: 10, unit: user, include: { users: [vip] }, arms: { legacy: { upstream: app }, clerk: { upstream: new } } }
";

const ARMS: &str = "tests:
  - { name: a legacy owner reads, request: GET /orgs/acme/invoices/7, as: { user: u1, org: acme, token: legacy }, expect: allow }
  - name: a legacy owner writes
    request: POST /orgs/acme/invoices/7
    as: { user: u1, org: acme, token: legacy, roles: [owner], claims: { suspended: false, staff: false } }
    expect: allow
  - name: a legacy admin is none of Clerk's
    request: POST /orgs/acme/invoices/7
    as: { user: u1, org: acme, token: legacy, role: admin, claims: { suspended: false, staff: false } }
    expect: { deny: any }
  - { name: who is listed, request: GET /orgs/acme/invoices/7, as: { user: vip, org: acme }, expect: { allow: { arm: clerk, upstream: new } } }
  - { name: who is asked about there, request: GET /orgs/acme/invoices/7, as: { user: u1, org: acme, arm: legacy }, expect: { allow: { upstream: app } } }
  - { name: who has no other side, request: GET /orgs/acme/invoices/7, as: { user: u1, org: acme, link: clerk_native }, expect: { allow: { arm: clerk } } }
  - { name: who is sealed, request: GET /orgs/acme/invoices/7, as: { user: u1, org: acme, token: legacy, link: sealed }, expect: { deny: legacy_sealed, status: 401 } }
  - { name: whom the bucket deals, request: GET /orgs/acme/invoices/7, as: { user: u1, org: acme }, expect: { allow: { arm: legacy } } }
";

#[test]
fn both_arms_where_the_bucket_decides() {
    let folder = folder(&format!("{CONFIG}{BOTH}"), ARMS);
    std::fs::write(folder.path().join("legacy.secret"), "0123456789abcdef".repeat(4)).unwrap();
    let output = run(&folder, &["-v"]);
    screen("arms", &text(&output.stdout));
    let (exit, report) = json(&folder, &[]);
    assert_eq!((exit, &report["failed"]), (Some(1), &1.into()), "{report}");
    let last = &report["tests"][7];
    assert_eq!((&last["passed"], &last["depends_on_the_bucket"]), (&false.into(), &true.into()));
    // At 0 and at 100 % nobody is dealt.
    for (percent, failed) in [(0, 0), (100, 1)] {
        let config = format!("{CONFIG}{BOTH}").replace("percent: 10", &format!("percent: {percent}"));
        std::fs::write(folder.path().join("crossgate.yaml"), config).unwrap();
        let (_, report) = json(&folder, &[]);
        assert_eq!(report["failed"], failed, "{percent} %: {report}");
        assert_eq!(report["tests"][7]["depends_on_the_bucket"], false);
    }
}
