//! What people see at 80 columns, kept beside this file, each with colour and without.
//!
//! After a change of wording: `UPDATE=1 cargo test --test e2e explained::screens`, then read the difference.

use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;

use super::super::bed::crossgate;
use super::super::issuer::{Token, first, key_set, token};

const CONFIG: &str = "listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] }, next: { endpoints: [127.0.0.1:3001] } }
clerk:
  - name: production
    issuer: https://clerk.example.com
    jwks: { file: keys.json }
    authorized_parties: [\"https://app.example.com\"]
policies: [policies/*.yaml]
";

const LEGACY: &str = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }
identity: { map: { file: map.jsonl } }
rollout: { percent: 25, unit: user, algorithm: unleash, salt: auth, arms: { clerk: { upstream: next } } }
";

const POLICIES: &str = r#"routes:
  - { id: open, match: { path: "/open/{*rest}" }, access: public }
  - { id: sign_in, match: { method: POST, path: /login }, access: login }
  - { id: invoice.read, match: { method: GET, path: "/api/orgs/{org}/invoices" }, require: { org: "{org}" } }
  - { id: invoice.write, match: { method: POST, path: "/api/orgs/{org}/invoices" },
      require: { org: "{org}", role: [org:admin, org:billing] } }
  - { id: api, match: { path: "/api/{*rest}" } }
  - { id: admin, match: { path: "/api/admin/{*rest}" }, require: { org: any, role: org:owner } }
  - { id: run, match: { method: POST, path: "/api/orgs/{org}/runs" }, access: privileged, require: { org: "{org}" },
      audit: { action: run.start, resource: "org:{org}" }, timeout: 30s }
  - { id: beta, match: { path: "/api/beta" }, mode: report,
      require: { org: any, any: [ { role: org:owner }, { all: [ { permission: org:beta:use }, { not: { claim: { suspended: true } } } ] } ] } }
"#;

/// 2026-01-31T12:00:00Z.
const AT: i64 = 1_769_860_800;

fn folder(more: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    write("crossgate.yaml", &format!("{CONFIG}{more}"));
    write("policies/main.yaml", POLICIES);
    write("keys.json", &key_set(&[first()]));
    write("legacy.secret", "0123456789abcdef0123456789abcdef");
    let linked = |legacy: &str| {
        format!("{{\"kind\":\"user\",\"legacy\":\"{legacy}\",\"clerk\":\"user_{legacy}\",\"state\":\"linked\"}}\n")
    };
    write("map.jsonl", &format!("{}{}", linked("42"), linked("43")));
    folder
}

/// As it was made half a minute before [`AT`].
fn ada() -> Token {
    token("user_ada")
        .claim("iat", json!(AT - 30))
        .claim("nbf", json!(AT - 40))
        .claim("exp", json!(AT + 30))
        .claim("azp", json!("https://app.example.com"))
        .org("org_1", "acme", "member")
}

fn screen(name: &str, folder: &TempDir, arguments: &[&str]) {
    for (ending, colour) in [("txt", false), ("colour.txt", true)] {
        let mut command = crossgate();
        // Places of routes are shown as they are typed: relative to where the command is called.
        command.current_dir(folder.path()).args(["explain", "-c", "crossgate.yaml", "--at", "2026-01-31T12:00:00Z"]);
        command.args(arguments).env("COLUMNS", "80").stdin(Stdio::null());
        if colour {
            command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
        }
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let is_allowed = plain(&text).starts_with("ALLOW");
        assert_eq!(output.status.code(), Some(if is_allowed { 0 } else { 3 }), "{name}");
        for line in plain(&text).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let path = format!("{}/tests/e2e/explained/{name}.{ending}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, text, "{name}.{ending}");
        assert_eq!(text.contains('\u{1b}'), colour, "{name}");
    }
}

/// Without what only decorates.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}

#[test]
fn screens() {
    let one = folder("");
    let two = folder(LEGACY);
    let good = format!("authorization: Bearer {}", ada().sign());
    let expired = format!("authorization: Bearer {}", ada().claim("exp", json!(AT - 6)).sign());
    let invoices = "/api/orgs/org_1/invoices";
    screen("allow", &one, &["GET", invoices, "-H", &good, "-H", "cookie: theme=dark", "-H", "x-crossgate-role: admin"]);
    screen("other_org", &one, &["GET", "/api/orgs/org_2/invoices?page=2", "-H", &good]);
    screen("wrong_role", &one, &["POST", invoices, "--as", "{ user: u1, org: org_1, role: org:member }"]);
    screen("expired", &one, &["GET", invoices, "-H", &expired]);
    screen("no_route", &one, &["GET", "/opened/x"]);
    screen("bad_path", &one, &["GET", "/api/orgs/org_1/../org_2/invoices"]);
    screen("other_reading", &one, &["GET", "/api/Admin/users"]);
    screen("report", &one, &["GET", "/api/beta", "-H", &good]);
    screen(
        "preflight",
        &one,
        &["OPTIONS", invoices, "-H", "origin: https://app.example.com", "-H", "access-control-request-method: POST"],
    );
    screen(
        "wrong_arm",
        &two,
        &["POST", "/api/orgs/acme/runs", "--as", "{ user: \"42\", org: acme, token: legacy, arm: clerk }"],
    );
    screen("bucket", &two, &["POST", "/api/orgs/acme/runs", "--as", "{ user: \"43\", org: acme }"]);
    screen("login", &two, &["POST", "/login"]);
}
