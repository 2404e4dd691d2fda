//! The commands, as people and programs call them.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::bed::crossgate;
use super::issuer::{first, key_set, tampered, token};

fn run(arguments: &[&str]) -> Output {
    crossgate().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a config whose keys are in a file.
fn folder(config: &str, policies: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("crossgate.yaml"), config).unwrap();
    std::fs::write(folder.path().join("policies/main.yaml"), policies).unwrap();
    std::fs::write(folder.path().join("keys.json"), key_set(&[first()])).unwrap();
    folder
}

const CONFIG: &str = "listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk:
  - issuer: https://clerk.example.com
    jwks: { file: keys.json }
    authorized_parties: [\"https://app.example.com\"]
    missing_azp: allow
policies: [policies/*.yaml]
";

fn path(folder: &TempDir) -> String {
    folder.path().join("crossgate.yaml").display().to_string()
}

#[test]
fn check_names_every_mistake_at_its_place() {
    let config = CONFIG
        .replace("upstreams: { app: {", "upstreams: { app: { protocl: http1,")
        .replace("missing_azp: allow", "missing_azp: perhaps\n    clock_skew: 5");
    let policies = "routes:
  - id: a
    match: { path: /a/{x }
  - id: b
    match: { path: \"/b/{org}\" }
    require: { org: \"{tenant}\" }
  - id: b
    match: { path: /c }
    access: secret
";
    let policies = policies.replace("/a/{x }", "\"/a/{x\" }");
    let folder = folder(&config, &policies);
    let json = run(&["check", "-c", &path(&folder), "--format", "json"]);
    assert_eq!(json.status.code(), Some(1), "{}", text(&json.stderr));
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let problems = report["problems"].as_array().unwrap();
    let at = |file: &str, line: u64, column: u64| {
        problems.iter().any(|problem| {
            problem["file"].as_str().is_some_and(|name| name.ends_with(file))
                && problem["line"] == line
                && problem["column"] == column
                && problem["code"].as_str().is_some_and(|code| code.starts_with("CG"))
        })
    };
    let files = [("crossgate.yaml", config.as_str()), ("main.yaml", policies.as_str())];
    for (file, wanted) in [
        ("crossgate.yaml", "protocl"),
        ("crossgate.yaml", "perhaps"),
        ("crossgate.yaml", "5\n"),
        ("main.yaml", "{tenant}"),
        ("main.yaml", "secret"),
    ] {
        let content = files.iter().find(|(name, _)| *name == file).unwrap().1;
        let start = match wanted {
            "5\n" => content.find("clock_skew: 5").unwrap() + "clock_skew: ".len(),
            _ => content.find(wanted).unwrap(),
        };
        let line = content[..start].matches('\n').count() as u64 + 1;
        let column = (start - content[..start].rfind('\n').map_or(0, |at| at + 1)) as u64 + 1;
        // From the quote before it to its last character.
        let end = column + wanted.len() as u64;
        assert!(
            (column - 1..end).any(|column| at(file, line, column)),
            "{wanted} at {file}:{line}:{column}: {}",
            text(&json.stdout)
        );
    }
    let human = run(&["check", "-c", &path(&folder)]);
    assert_eq!(human.status.code(), Some(1));
    let said = text(&human.stdout);
    assert!(said.contains("protocol"), "the near word: {said}");
    assert!(said.contains('^'), "a caret: {said}");
    assert!(!said.contains('\u{1b}'), "no colour without a terminal");
    assert!(human.stderr.is_empty(), "problems are what check is for: its data");
}

#[test]
fn what_makes_no_sense_is_usage() {
    for wrong in [
        &["explain", "GET", "/x", "--at", "tomorrow"][..],
        &["explain", "GET", "/x", "-H", "nocolon"],
        &["explain", "GET", "x/y"],
        &["explain", "G T", "/x"],
    ] {
        let folder = folder(CONFIG, POLICIES);
        let mut arguments = wrong.to_vec();
        let config = path(&folder);
        arguments.extend(["-c", &config]);
        assert_eq!(run(&arguments).status.code(), Some(2), "{wrong:?}");
    }
}

const POLICIES: &str = "routes:
  - { id: open, match: { path: \"/open/{*rest}\" }, access: public }
  - { id: read, match: { method: GET, path: \"/orgs/{org}\" }, require: { org: \"{org}\" } }
  - { id: write, match: { method: POST, path: \"/orgs/{org}\" }, require: { org: \"{org}\", role: org:admin } }
";

#[test]
fn check_exit_codes() {
    let good = folder(CONFIG, POLICIES);
    let ok = run(&["check", "-c", &path(&good)]);
    assert_eq!(ok.status.code(), Some(0), "{}", text(&ok.stderr));
    assert!(text(&ok.stdout).contains("3 routes"), "{}", text(&ok.stdout));
    let json = run(&["check", "-c", &path(&good), "--format", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["ok"], true);
    assert_eq!(run(&["check", "-c", "/nowhere.yaml"]).status.code(), Some(1));
    for usage in [&["check", "--frmat", "json"][..], &["check", "--format", "xml"], &["chekc"], &[]] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
    let from_environment = crossgate().arg("check").env("CROSSGATE_CONFIG", path(&good)).output().unwrap();
    assert_eq!(from_environment.status.code(), Some(0));
}

fn explain(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, Value) {
    let path = path(folder);
    let output = run(&[&["explain", "-c", &path, "--format", "json"], arguments].concat());
    let shown = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|problem| panic!("{problem}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code(), shown)
}

#[test]
fn explain_decides_as_the_gate_does() {
    let folder = folder(CONFIG, POLICIES);
    let member = token("user_ada").org("org_1", "acme", "member").sign();
    let header = format!("authorization: Bearer {member}");
    let table = [
        ("allow", vec!["GET", "/orgs/org_1", "-H", &header], 0, 200, "ok", json!("read")),
        ("wrong role", vec!["POST", "/orgs/org_1", "-H", &header], 3, 403, "forbidden", json!("write")),
        ("other tenant", vec!["GET", "/orgs/org_2", "-H", &header], 3, 403, "forbidden", json!("read")),
        ("nobody", vec!["GET", "/orgs/org_1"], 3, 401, "no_credential", json!("read")),
        ("nobody on public", vec!["GET", "/open/x"], 0, 200, "ok", json!("open")),
        ("no route", vec!["GET", "/nowhere"], 3, 403, "no_route", Value::Null),
        ("bad path", vec!["GET", "/open/../orgs/org_1"], 3, 400, "bad_path", Value::Null),
        ("a whole URL", vec!["GET", "https://api.example.com/open/x?y=1"], 0, 200, "ok", json!("open")),
        (
            "at another time",
            vec!["GET", "/orgs/org_1", "-H", &header, "--at", "2099-01-01T00:00:00Z"],
            3,
            401,
            "clerk_expired",
            json!("read"),
        ),
    ];
    for (name, arguments, exit, status, code, route) in table {
        let (exited, shown) = explain(&folder, &arguments);
        assert_eq!(exited, Some(exit), "{name}: {shown}");
        assert_eq!(shown["decision"], if exit == 0 { "allow" } else { "deny" }, "{name}");
        assert_eq!(
            (&shown["status"], &shown["code"], &shown["route"]),
            (&json!(status), &json!(code), &route),
            "{name}: {shown}"
        );
        for key in ["reason", "access", "arm", "identity", "headers", "path", "steps"] {
            assert!(shown.get(key).is_some(), "{name}: {key} is missing");
        }
        for step in shown["steps"].as_array().unwrap() {
            assert!(step["step"].is_string() && step["outcome"].is_string() && step["detail"].is_string(), "{step}");
        }
        assert!(!shown.to_string().contains(&member[60..100]), "{name}: a token in the explanation");
    }
    let (_, shown) = explain(&folder, &["GET", "/orgs/org_1", "-H", &header]);
    assert_eq!(shown["headers"]["x-crossgate-subject"], "user_ada");
    assert_eq!(shown["headers"]["x-crossgate-role"], "org:member");
    assert_eq!(shown["identity"]["subject"], "user_ada");
    assert_eq!(shown["path"], "/orgs/org_1");
    let (_, shown) =
        explain(&folder, &["GET", "/orgs/org_1", "-H", &format!("authorization: Bearer {}", tampered(&member, 2))]);
    assert_eq!((&shown["code"], &shown["reason"]), (&json!("clerk_invalid"), &json!("token-invalid-signature")));
}

#[test]
fn explain_as_somebody() {
    let folder = folder(CONFIG, POLICIES);
    let person = folder.path().join("person.yaml");
    std::fs::write(&person, "{ user: u1, org: org_1, role: org:admin }").unwrap();
    let person = person.display().to_string();
    let (exit, shown) = explain(&folder, &["POST", "/orgs/org_1", "--as", &person]);
    assert_eq!((exit, &shown["headers"]["x-crossgate-subject"]), (Some(0), &json!("u1")), "{shown}");
    let (exit, shown) = explain(&folder, &["POST", "/orgs/org_2", "--as", &person]);
    assert_eq!((exit, &shown["code"]), (Some(3), &json!("forbidden")));
    let human = run(&["explain", "-c", &path(&folder), "POST", "/orgs/org_1", "--as", &person]);
    assert_eq!(human.status.code(), Some(0));
    assert!(text(&human.stdout).starts_with("ALLOW"), "{}", text(&human.stdout));
    assert_eq!(run(&["explain", "-c", &path(&folder), "GET"]).status.code(), Some(2));
    assert_eq!(run(&["explain", "-c", "/nowhere.yaml", "GET", "/"]).status.code(), Some(1));
}

/// As the config's problems are told, and for programs as an object.
#[test]
fn a_misspelt_person_is_told_in_words() {
    let folder = folder(CONFIG, POLICIES);
    let arguments = ["explain", "-c", &path(&folder), "GET", "/orgs/org_1", "--as", "{ usr: u }"];
    let output = run(&arguments);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = text(&output.stderr);
    assert!(said.contains("unknown key `usr`: did you mean `user`? known keys: user, clerk_user,"), "{said}");
    assert!(!said.contains("expected one of"), "{said}");
    let output = run(&[&arguments[..], &["--format", "json"]].concat());
    let told: Value = serde_json::from_slice(&output.stdout).expect("an object in every case");
    assert_eq!(told["ok"], false);
    assert!(told["problem"].as_str().unwrap().contains("did you mean `user`?"), "{told}");
}

#[test]
fn every_command_states_its_exit_codes() {
    for command in
        ["run", "demo", "check", "explain", "test", "diff", "audit", "map", "report", "rollout", "keys", "token"]
    {
        let help = run(&[command, "--help"]);
        assert!(text(&help.stdout).contains("Exit codes: 0 "), "{command}");
    }
}

/// The other login, and the arm, can be assumed as well.
#[test]
fn explain_as_somebody_of_the_other_login() {
    let config = format!("{CONFIG}\nlegacy: {{ verify: {{ jwt: {{ secret_file: legacy.secret }} }} }}\n");
    let policies = "routes:\n  - { id: vault, match: { path: /vault }, access: privileged }\n";
    let folder = folder(&config, policies);
    std::fs::write(folder.path().join("legacy.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let person = folder.path().join("person.yaml");
    let table = [
        ("{ user: \"42\" }", "clerk", "ok"),
        ("{ user: \"42\", arm: legacy }", "legacy", "ok"),
        ("{ user: \"42\", token: legacy }", "legacy", "ok"),
        ("{ user: \"42\", token: legacy, arm: clerk }", "clerk", "step_up_clerk"),
    ];
    for (text, arm, code) in table {
        std::fs::write(&person, text).unwrap();
        let (exit, shown) = explain(&folder, &["GET", "/vault", "--as", &person.display().to_string()]);
        // Without a map nobody is known to both sides, and no arm moves.
        assert_eq!(shown["code"], code, "{text}: {shown}");
        assert_eq!(exit, Some(if code == "ok" { 0 } else { 3 }), "{text}");
        if text.contains("arm") || text.contains("legacy") {
            assert_eq!(shown["arm"], arm, "{text}");
        }
    }
}

#[test]
fn development_tokens() {
    let folder = folder(CONFIG, POLICIES);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mint = |extra: &[&str]| {
        let (key, keys) = (at("dev.pem"), at("keys.json"));
        let arguments =
            [&["token", "mint", "--key", &key, "--jwks", &keys, "--issuer", "https://clerk.example.com"], extra]
                .concat();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let token = mint(&["--sub", "user_1", "--org", "org_1", "--role", "org:admin", "--claim", "level=3"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(at("dev.pem")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a private key is nobody else's");
    let (exit, shown) = explain(&folder, &["POST", "/orgs/org_1", "-H", &format!("authorization: Bearer {token}")]);
    assert_eq!(exit, Some(0), "{shown}");
    let expired = mint(&["--ttl", "-1m"]);
    let (_, shown) = explain(&folder, &["GET", "/orgs/org_1", "-H", &format!("authorization: Bearer {expired}")]);
    assert_eq!(shown["code"], "clerk_expired");

    let decoded = run(&["token", "decode", &token]);
    assert_eq!(decoded.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&decoded.stdout).unwrap();
    assert_eq!(shown["claims"]["sub"], "user_1");
    assert_eq!(shown["claims"]["level"], 3);
    assert_eq!(shown["header"]["alg"], "RS256");
    let signature = token.rsplit('.').next().unwrap();
    for output in [&decoded.stdout, &decoded.stderr] {
        assert!(!text(output).contains(signature) && !text(output).contains(&signature[..20]));
    }
    let junk = run(&["token", "decode", "not-a-token"]);
    assert_eq!(junk.status.code(), Some(1));
    assert!(!text(&junk.stderr).contains("not-a-token"));
}

#[test]
fn version_and_help() {
    let version = run(&["version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("crossgate {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["run", "check", "explain", "demo", "map", "report", "token", "version"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(text(&help.stdout).contains("Example"), "{command}: {}", text(&help.stdout));
        assert!(help.stderr.is_empty(), "{command}");
    }
    let json = run(&["version", "--format", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["version"], env!("CARGO_PKG_VERSION"));
    for nested in [
        &["--help"][..],
        &["token", "mint", "--help"],
        &["token", "decode", "--help"],
        &["map", "verify", "--help"],
        &["map", "import", "--help"],
        &["map", "export", "--help"],
        &["rollout", "set", "--help"],
    ] {
        assert!(text(&run(nested).stdout).contains("Example"), "{nested:?}");
    }
}

/// The list of contract §1; what `help` names is what there is.
#[test]
fn the_commands_are_those_of_the_contract() {
    let help = text(&run(&["--help"]).stdout);
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for command in [
        "run",
        "demo",
        "check",
        "explain",
        "test",
        "diff",
        "schema",
        "rollout",
        "audit",
        "map",
        "token",
        "completions",
        "version",
    ] {
        assert!(listed.contains(&command), "{command} is missing: {listed:?}");
        assert_eq!(run(&[command, "--help"]).status.code(), Some(0), "{command}");
    }
}

#[test]
fn bash_completes_commands_and_their_words() {
    let binary = std::path::PathBuf::from(env!("CARGO_BIN_EXE_crossgate"));
    let path = std::env::join_paths(
        std::iter::once(binary.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let table = [
        (&["crossgate", "ch"][..], "check"),
        (&["crossgate", "schema", "po"], "policy"),
        (&["crossgate", "rollout", "roll"], "rollback"),
        (&["crossgate", "check", "--form"], "--format"),
        (&["crossgate", "check", "--format", "js"], "json"),
    ];
    for (words, expected) in table {
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source <(crossgate completions bash) && complete -p crossgate >&2 && COMP_WORDS=({}) COMP_CWORD={} && \
             _crossgate crossgate '{last}' '{before}' && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let output = std::process::Command::new("bash")
            .args(["--norc", "--noprofile", "-c", &script])
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout).trim(), expected, "{words:?}");
    }
}

/// Each script is read by its shell, where there is one.
#[test]
fn completions_of_every_shell() {
    let folder = TempDir::new().unwrap();
    for (shell, parse) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
        ("elvish", &["-compileonly"]),
        ("powershell", &[]),
    ] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}: {}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{shell}");
        let script = text(&output.stdout);
        for word in ["crossgate", "check", "explain", "completions"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let file = folder.path().join(shell);
        std::fs::write(&file, script).unwrap();
        let parsed = std::process::Command::new(shell).args(parse).arg(&file).stdin(Stdio::null()).output();
        if let (Ok(parsed), false) = (parsed, parse.is_empty()) {
            assert!(parsed.status.success(), "{shell}: {}", text(&parsed.stderr));
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
    assert_eq!(run(&["completions"]).status.code(), Some(2));
}

#[test]
fn schemas_are_for_two_kinds_of_file() {
    for kind in ["config", "policy"] {
        let schema: Value = serde_json::from_slice(&run(&["schema", kind]).stdout).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{kind}");
        assert_eq!(schema["additionalProperties"], false, "{kind}");
    }
    assert_eq!(run(&["schema"]).status.code(), Some(2));
    assert_eq!(run(&["schema", "polcy"]).status.code(), Some(2));
}
