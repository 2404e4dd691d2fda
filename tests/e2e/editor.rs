//! An editor with the shipped schemas: the YAML language server completes, explains, and flags what is wrong.
//!
//! `tests/samples/language-server/editor.mjs` is the editor; `tests/samples/prepare.sh` sets up the server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::samples::prepared;

const FIRST_LINE: &str = "# yaml-language-server: $schema=../../schema/policy.schema.json\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the server says of each request, in order.
fn ask(requests: &[Value]) -> Vec<Value> {
    let mut editor = Command::new("node")
        .arg(prepared().join("language-server/editor.mjs"))
        .arg(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    editor.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    // It ends by itself, also where the server says nothing.
    let output = editor.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(answers.len(), requests.len(), "{}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// A policy file that nobody has saved yet; `|` is where the cursor is.
fn typed(name: &str, policy: &str) -> Value {
    let path = format!("conf/policies/{name}.yaml");
    let text = format!("{FIRST_LINE}{policy}");
    let Some((before, after)) = text.split_once('|') else { return json!({ "path": path, "text": text }) };
    let line = before.matches('\n').count();
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    json!({ "path": path, "text": format!("{before}{after}"), "line": line, "column": column })
}

fn labels(answer: &Value) -> Vec<&str> {
    answer["completions"].as_array().unwrap().iter().filter_map(|one| one["label"].as_str()).collect()
}

/// Line and column from 0, and what is said.
fn flagged(answer: &Value) -> Vec<(u64, u64, &str)> {
    let mut flagged: Vec<_> = answer["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let start = &one["range"]["start"];
            (start["line"].as_u64().unwrap(), start["character"].as_u64().unwrap(), one["message"].as_str().unwrap())
        })
        .collect();
    flagged.sort_unstable();
    flagged
}

#[test]
fn an_editor_completes_explains_and_flags() {
    let route = "routes:\n  - id: a\n    match: { path: /a }\n";
    let answers = ask(&[
        typed("key", &format!("{route}    acc|\n")),
        typed("word", &format!("{route}    access: |\n")),
        typed("hover", &format!("{route}    ac|cess: public\n")),
        typed("typo", &format!("{route}    acess: public\n")),
        typed("bad-word", &format!("{route}    access: publik\n")),
        typed("bad-types", &format!("{route}    timeout: 5\n    response: {{ private: yess }}\n")),
        typed("in-a-rule", &format!("{route}    require:\n      not:\n        rol|\n")),
        typed("substituted", &format!("{route}    timeout: ${{T}}\n    response: {{ private: \"${{P:-true}}\" }}\n")),
        typed("lacking", "routes:\n  - match: { method: GET }\n"),
        typed("test", "tests:\n  - name: a\n    request: GET /\n    as: { user: u1 }\n    expect: |\n"),
    ]);
    let [key, word, hover, typo, bad_word, bad_types, in_rule, substituted, lacking, test] = answers.as_slice() else {
        panic!("{answers:?}")
    };

    let completed = key["completions"].as_array().unwrap().iter().find(|one| one["label"] == "access").unwrap();
    let told = completed["documentation"]["value"].as_str().or_else(|| completed["documentation"].as_str()).unwrap();
    assert!(told.starts_with("Who may: everyone (`public`)"), "{told}");

    let mut words = labels(word);
    words.sort_unstable();
    assert_eq!(words, ["login", "privileged", "protected", "public"]);

    let shown = hover["hover"].as_str().unwrap();
    assert!(shown.contains("Who may: everyone (`public`)") && shown.contains("protected"), "{shown}");
    assert_eq!(flagged(hover), []);

    assert_eq!(flagged(typo), [(4, 4, "Property acess is not allowed.")]);
    let [(4, 12, said)] = flagged(bad_word)[..] else { panic!("{bad_word}") };
    assert!(said.contains(r#""public", "login", "protected", "privileged""#), "{said}");
    assert_eq!(
        flagged(bad_types),
        [(4, 13, "write a duration like 250ms, 5s, 5m or 24h"), (5, 25, "write true or false")],
        "a unit is missing, and a word is no boolean"
    );
    assert!(labels(in_rule).contains(&"role"), "rules within rules: {:?}", labels(in_rule));
    assert_eq!(flagged(substituted), []);
    let missing: Vec<&str> = flagged(lacking).into_iter().map(|(_, _, said)| said).collect();
    assert_eq!(missing, ["Missing property \"id\".", "Missing property \"path\"."]);
    assert!(labels(test).contains(&"allow") && labels(test).contains(&"deny"), "{:?}", labels(test));
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn an_editor_flags_nothing_in_what_is_shipped() {
    let mut samples = Vec::new();
    below(&root().join("conf"), &mut samples);
    assert!(samples.len() > 8, "{samples:?}");
    let requests: Vec<Value> = samples.iter().map(|path| json!({ "path": path })).collect();
    for answer in ask(&requests) {
        assert_eq!(answer["diagnostics"], json!([]), "{}", answer["path"]);
    }
}
