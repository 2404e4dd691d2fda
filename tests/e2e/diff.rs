//! `crossgate diff`: exit codes, what `--fail-on` asks, and the screens as people see them.
//!
//! The screens are in `diff/`; after a change of wording `UPDATE=1 cargo test --test e2e diff`, then read the difference.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::bed::crossgate;

const CONFIG: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] }, next: { endpoints: [127.0.0.1:3001] } }
clerk:
  - name: production
    issuer: https://clerk.example.com
    jwks: { file: jwks.json }
    authorized_parties: [https://app.example.com]
legacy:
  credential: { header: authorization, scheme: Bearer }
  verify: { jwt: { algorithms: [HS256], secret_file: legacy.secret } }
identity: { names: { org: clerk_id } }
rollout: { percent: 10, unit: user }
policies: [policies.yaml]
"#;

const POLICIES: &str = r#"routes:
  - id: invoice.read
    match: { method: [GET], path: "/v1/orgs/{org}/invoices" }
    require: { org: "{org}" }
  - id: invoice.approve
    match: { method: [POST], path: "/v1/orgs/{org}/invoices/{invoice}/approve" }
    require: { org: "{org}", role: [org:admin], token: [session] }
  - id: export
    match: { method: [POST], path: "/v1/orgs/{org}/exports" }
    access: privileged
    require: { org: "{org}", any: [{ role: org:admin }, { feature: exports }] }
  - id: everything.else
    match: { path: "/v1/{*rest}" }
  - id: health
    match: { method: [GET], path: /health }
    access: public
"#;

/// Two folders, each with a config of its own.
fn folder(old: (&str, &str), new: (&str, &str)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let keys = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/keys/set.json")).unwrap();
    for (name, (config, policies)) in [("old", old), ("new", new)] {
        let here = folder.path().join(name);
        std::fs::create_dir(&here).unwrap();
        std::fs::write(here.join("crossgate.yaml"), config).unwrap();
        std::fs::write(here.join("policies.yaml"), policies).unwrap();
        std::fs::write(here.join("jwks.json"), &keys).unwrap();
        std::fs::write(here.join("legacy.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    }
    folder
}

fn diff(folder: &Path, arguments: &[&str], colour: bool) -> Output {
    let mut command = crossgate();
    command.args(["diff", "old/crossgate.yaml", "new/crossgate.yaml"]).args(arguments).current_dir(folder);
    command.env("COLUMNS", "80").env_remove("CLICOLOR_FORCE");
    if colour {
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    }
    command.output().unwrap()
}

fn screen(name: &str, output: &Output) {
    let path = format!("{}/tests/e2e/diff/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
    for line in text.lines() {
        let mut width = 0;
        for (number, piece) in line.split('\u{1b}').enumerate() {
            let shown = if number == 0 { piece } else { piece.split_once('m').map_or(piece, |(_, rest)| rest) };
            width += shown.chars().count();
        }
        assert!(width <= 80, "{name}: {line}");
    }
}

/// Name, the new config, the new policies, and the exit codes of `--fail-on any`, `widening` and `narrowing`.
type Row = (&'static str, String, String, [i32; 3]);

#[test]
fn exit_codes_say_what_ci_asks_about() {
    let replaced = |from: &str, to: &str| {
        assert!(POLICIES.contains(from), "{from}");
        POLICIES.replace(from, to)
    };
    let config = |from: &str, to: &str| {
        assert!(CONFIG.contains(from), "{from}");
        CONFIG.replace(from, to)
    };
    let same = || (CONFIG.to_owned(), POLICIES.to_owned());
    let table: [Row; 9] = [
        ("the same", same().0, same().1, [0, 0, 0]),
        ("another id", same().0, replaced("id: health", "id: healthz"), [0, 0, 0]),
        ("a comment", same().0, format!("# nothing\n{POLICIES}"), [0, 0, 0]),
        ("a role more", same().0, replaced("[org:admin]", "[org:admin, org:billing]"), [1, 1, 0]),
        ("a role fewer", same().0, replaced("{ role: org:admin }, ", ""), [1, 0, 1]),
        (
            "a route gone",
            same().0,
            replaced("  - id: health\n    match: { method: [GET], path: /health }\n    access: public\n", ""),
            [1, 0, 1],
        ),
        ("more percent", config("percent: 10", "percent: 25"), same().1, [1, 0, 0]),
        (
            "more parties",
            config("[https://app.example.com]", "[https://app.example.com, https://b.example.com]"),
            same().1,
            [1, 1, 0],
        ),
        ("more logs", format!("{CONFIG}telemetry: {{ log: debug }}\n"), same().1, [0, 0, 0]),
    ];
    for (name, config, policies, expected) in table {
        let folder = folder((CONFIG, POLICIES), (&config, &policies));
        let codes = ["any", "widening", "narrowing"].map(|what| {
            let output = diff(folder.path(), &["--fail-on", what], false);
            assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            output.status.code().unwrap()
        });
        assert_eq!(codes, expected, "{name}");
        assert_eq!(diff(folder.path(), &[], false).status.code(), Some(expected[0]), "{name}: any is the default");
    }
}

#[test]
fn a_config_that_cannot_be_loaded_is_told_and_compared_with_nothing() {
    let broken = POLICIES.replace("access: public", "access: pubic");
    let folder = folder((CONFIG, POLICIES), (CONFIG, &broken));
    let output = diff(folder.path(), &[], false);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let told = String::from_utf8(output.stderr).unwrap();
    let line = 1 + broken.lines().position(|line| line.contains("pubic")).unwrap();
    assert!(told.contains(&format!("new/policies.yaml:{line}:")) && told.contains("public"), "{told}");
    assert!(told.contains("new/crossgate.yaml cannot be compared"), "{told}");
    let output = diff(folder.path(), &["--format", "json"], false);
    assert_eq!(output.status.code(), Some(2));
    let told: Value = serde_json::from_slice(&output.stdout).expect("programs get an object");
    assert_eq!((&told["ok"], &told["changed"], &told["widening"]), (&false.into(), &Value::Null, &Value::Null));
    let unusable = told["unusable"].as_array().unwrap();
    assert_eq!((unusable.len(), &unusable[0]["config"]), (1, &"new/crossgate.yaml".into()));
    assert_eq!(unusable[0]["problems"][0]["line"], line);
    let missing = crossgate().args(["diff", "no/such.yaml", "no/other.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("no/other.yaml"), "both are told");
}

/// What a review of a real change looks at.
fn reviewed() -> TempDir {
    let policies = POLICIES
        .replace("role: [org:admin], token", "role: [org:admin, org:billing], token")
        .replace("    match: { method: [GET], path: \"/v1/orgs/{org}/invoices\" }\n    require: { org: \"{org}\" }\n", "    match: { method: [GET], path: \"/v1/orgs/{org}/invoices\" }\n    upstream: next\n")
        .replace("{ role: org:admin }, { feature", "{ feature")
        .replace("  - id: health\n", "  - id: status\n    match: { method: [GET], path: \"/v1/{part}/status\" }\n    access: public\n  - id: health\n");
    let config =
        CONFIG.replace("percent: 10", "percent: 25").replace("[https://app", "[https://b.example.com, https://app");
    folder((CONFIG, POLICIES), (&config, &policies))
}

#[test]
fn the_screen_tells_what_changes_and_for_whom() {
    let folder = reviewed();
    let plain = diff(folder.path(), &[], false);
    assert_eq!(plain.status.code(), Some(1));
    screen("review", &plain);
    screen("review-in-colour", &diff(folder.path(), &[], true));
    let same = self::folder((CONFIG, POLICIES), (CONFIG, POLICIES));
    screen("nothing", &diff(same.path(), &[], false));
}

#[test]
fn programs_get_one_object() {
    let folder = reviewed();
    let output = diff(folder.path(), &["--format", "json", "--fail-on", "narrowing"], true);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["changed"], &told["widening"], &told["narrowing"]), (&true.into(), &true.into(), &true.into()));
    assert_eq!(told["ok"], true, "both could be loaded");
    let changes = told["changes"].as_array().unwrap();
    let approve = changes.iter().find(|change| change["new"]["route"] == "invoice.approve").unwrap();
    assert_eq!(approve["cases"][0]["direction"], "widening");
    assert_eq!(approve["cases"][0]["who"][0]["traits"][1], "role org:billing");
    assert_eq!(approve["cases"][0]["old"]["code"], "forbidden");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("0123456789abcdef") && !text.contains('\u{1b}'), "{text}");
}

/// The word of a secret stands in neither screen, whatever changes about it.
#[test]
fn secrets_are_never_shown() {
    let inline = |secret: &str| {
        CONFIG.replace(
            "rollout: { percent: 10, unit: user }",
            &format!("rollout: {{ percent: 10, unit: user, salt: {secret} }}"),
        )
    };
    let folder = folder((&inline("salt-of-old"), POLICIES), (&inline("salt-of-new"), POLICIES));
    std::fs::write(folder.path().join("new/legacy.secret"), "fedcba9876543210fedcba9876543210").unwrap();
    for format in ["human", "json"] {
        let output = diff(folder.path(), &["--format", format], false);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("rollout.salt changed") && told.contains("secret_file: another content"), "{told}");
        for secret in ["salt-of-old", "salt-of-new", "0123456789abcdef", "fedcba9876543210"] {
            assert!(!told.contains(secret), "{format}: {secret}");
        }
    }
}
