//! What the pages of the codes show: each example marked as wrong gives that code, each marked as right compiles.

use std::fs;
use std::path::Path;

use crossgate::config::Loaded;

use super::policy_tests::load_tested;
use super::report;

/// What an example does not say itself, by its first word.
const CONFIG: [&str; 5] = [
    "listeners: [{ address: 127.0.0.1:8080 }]\n",
    "upstreams: { app: { endpoints: [127.0.0.1:3000] } }\n",
    "clerk: [{ publishable_key: pk_test_Y2xlcmsuZXhhbXBsZS5jb20k, authorized_parties: [https://app.example.com] }]\n",
    "identity: { workspaces: { claim: workspaces } }\n",
    "policies: [policies/*.yaml]\n",
];
const POLICY: &str = "routes: [{ id: all, match: { path: '/{*rest}' }, require: { org: any } }]\n";

#[derive(Debug)]
struct Example {
    code: String,
    right: bool,
    text: String,
}

fn examples(book: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let (mut code, mut open) = (String::new(), None);
    for line in book.lines() {
        match (line, &mut open) {
            ("```", _) => examples.extend(open.take()),
            (_, Some(Example { text, .. })) => text.push_str(&format!("{line}\n")),
            ("```yaml wrong" | "```yaml right", None) => {
                let right = line.ends_with("right");
                open = Some(Example { code: code.clone(), right, text: String::new() });
            }
            (_, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    heading.clone_into(&mut code);
                }
            }
        }
    }
    examples
}

/// An example is a config, a policy file, or a config and behind it, from `routes:` on, a policy file.
fn compile(folder: &Path, example: &Example) -> Loaded {
    let text = &example.text;
    let at = if text.starts_with("routes:") { Some(0) } else { text.find("\nroutes:").map(|at| at + 1) };
    let (config, policy) = at.map_or((&**text, POLICY), |at| text.split_at(at));
    let mut whole = String::new();
    for line in CONFIG {
        let key = line.split(' ').next().unwrap();
        if !config.lines().any(|line| line.starts_with(key)) {
            whole.push_str(line);
        }
    }
    // The example last: what is broken in it must not swallow the rest.
    whole.push_str(config);
    fs::write(folder.join("crossgate.yaml"), whole).unwrap();
    fs::write(folder.join("policies/main.yaml"), policy).unwrap();
    load_tested(&folder.join("crossgate.yaml"), &[])
}

#[test]
fn examples_of_the_pages_are_what_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("policies")).unwrap();
    for (from, to) in [
        ("keys/legacy.secret", "legacy.secret"),
        ("keys/short.secret", "short.secret"),
        ("keys/public.pem", "public.pem"),
        ("keys/set.json", "keys.json"),
        ("maps/good.jsonl", "map.jsonl"),
        ("maps/broken.jsonl", "broken.jsonl"),
    ] {
        fs::copy(format!("tests/config/{from}"), path.join(to)).unwrap();
    }
    fs::write(path.join("ci.token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(path.join("ci.token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let book = fs::read_to_string("docs/reference/errors.md").unwrap();
    let examples = examples(&book);
    let mut failures = Vec::new();
    for example in &examples {
        let loaded = compile(path, example);
        let told: Vec<_> = loaded.problems.iter().filter(|problem| problem.waived.is_none()).collect();
        let has_code = told.iter().any(|problem| problem.code == example.code);
        let as_called = match example.right {
            true => loaded.compiled.is_some() && !has_code,
            false => has_code,
        };
        if !as_called {
            failures.push(format!("{example:?}\n{}", report(&loaded)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(examples.len() > 150, "{} examples", examples.len());
}
