//! What the README and the book show is what the binary takes: every YAML block is compiled, every `crossgate …` line run.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own files should say where")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crossgate::config;
use crossgate::suite;
use crossgate::telemetry::metrics::Metrics;

/// A policy for config blocks, a config for policy blocks.
const POLICY: &str = "routes: [{ id: all, match: { path: '/{*rest}' }, access: public }]\n";
const CONFIG: &str = "listeners: [{ address: 127.0.0.1:8080 }]\n\
    upstreams: { app: { endpoints: [127.0.0.1:3000] } }\n\
    clerk: [{ name: main, publishable_key: pk_test_Y2xlcmsuZXhhbXBsZS5jb20k, authorized_parties: [https://app.example.com] }]\n\
    identity: { workspaces: { claim: workspaces } }\n\
    policies: [policies/*.yaml]\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    pages.extend(std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    assert!(pages.len() > 5, "the book is where it was");
    pages
}

/// Fenced blocks of one language.
fn blocks(page: &Path, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == format!("```{language}") {
            blocks
                .push(lines.by_ref().take_while(|line| line.trim() != "```").map(|line| format!("{line}\n")).collect());
        }
    }
    blocks
}

/// Errors of a config, and its policy tests that fail.
fn problems(folder: &Path) -> String {
    let tests = config::Tests { answers: &suite::answers(), files: &[] };
    let loaded = config::load_tested(&folder.join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), tests);
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).map(config::Problem::render);
    let mut text: String = errors.collect();
    if let Some(compiled) = &loaded.compiled {
        let suite = suite::Suite::new(&compiled.snapshot, suite::DEFAULT_TIME).unwrap();
        for case in &loaded.cases {
            let judged = suite.judge(case).unwrap();
            if !judged.passed() {
                text.push_str(&format!("{}: {:?}\n", case.name, judged.told()));
            }
        }
    }
    text
}

#[test]
fn every_yaml_block_compiles() {
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&page, "yaml") {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("policies")).unwrap();
            let is_policy = block.starts_with("routes:") || block.contains("\nroutes:");
            let (config, policy) = if is_policy { (CONFIG, &*block) } else { (&*block, POLICY) };
            std::fs::write(folder.path().join("crossgate.yaml"), config).unwrap();
            std::fs::write(folder.path().join("legacy.secret"), "0123456789abcdef".repeat(4)).unwrap();
            std::fs::copy(root().join("conf/identity/map.jsonl"), folder.path().join("map.jsonl")).unwrap();
            // Whatever name the config asks for.
            for name in ["all.yaml", "invoices.yaml"] {
                std::fs::write(folder.path().join("policies").join(name), policy).unwrap();
                if config.contains("policies/*.yaml") {
                    break;
                }
            }
            let problems = problems(folder.path());
            assert!(problems.is_empty(), "{}:\n{block}\n{problems}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} blocks");
}

#[test]
fn the_files_in_conf_are_those_of_the_readme() {
    let blocks = blocks(&root().join("README.md"), "yaml");
    for (block, file) in blocks.iter().zip(["conf/crossgate.yaml", "conf/policies/invoices.yaml"]) {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(text.ends_with(block.as_str()), "{file} is not what the README shows");
    }
}

#[test]
fn every_crossgate_line_runs() {
    let mut seen = 0;
    for page in pages() {
        for line in blocks(&page, "sh").iter().flat_map(|block| block.lines()) {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let Some(arguments) = line.strip_prefix("crossgate ") else { continue };
            // `run` and `demo` do not end by themselves; they are run end to end.
            if arguments.starts_with("run") || arguments.starts_with("demo") {
                continue;
            }
            // By a shell, as whoever pastes it; its own words are quoted in the page.
            let binary = Path::new(env!("CARGO_BIN_EXE_crossgate")).parent().unwrap();
            let path = std::env::var("PATH").unwrap_or_default();
            let output = Command::new("bash")
                .args(["-c", line])
                .env("PATH", format!("{}:{path}", binary.display()))
                .env("TOKEN", "a.b.c")
                .current_dir(root())
                .env_remove("CROSSGATE_CONFIG")
                .output()
                .unwrap();
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 3)),
                "{}: {line}: {code:?}\n{}",
                page.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} lines");
}

#[test]
fn every_link_of_the_book_leads_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn every_code_and_metric_in_the_book_exists() {
    let answers = std::fs::read_to_string(root().join("docs/answers.md")).unwrap();
    let table = std::fs::read_to_string(root().join("src/gate/reply.rs")).unwrap();
    for word in answers.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('|').nth(2)) {
        for code in word.split('`').skip(1).step_by(2) {
            assert!(table.contains(&format!("\"{code}\"")), "docs/answers.md names {code}");
        }
    }
    let operations = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let metrics: String = ["metrics", "trail", "config", "rollout", "upstreams"]
        .map(|name| std::fs::read_to_string(root().join(format!("src/telemetry/{name}.rs"))).unwrap())
        .concat();
    for name in operations.split('`').filter(|word| word.starts_with("crossgate_") && !word.contains(' ')) {
        assert!(metrics.contains(&format!("\"{name}\"")), "docs/operations.md names {name}");
    }
}
