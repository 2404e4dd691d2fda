//! Where policy tests stand: beside the routes of policy files, and in `*_test.yaml` files next to them.
//!
//! Finds and decodes them for `check` and `test`. Never called where a config is to serve: files of tests are not read
//! there, take no part in the snapshot's id, and a broken one stops nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile::test::{self, Around, Case};
use super::places::At;
use super::report::Problem;
use super::source::{Files, Source};
use super::yaml::Document;
use super::{Env, codes, decode, open, raw};

/// Which tests are wanted, and what they may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Tests<'a> {
    /// The codes of answers that a decision can end in.
    pub answers: &'a [&'static str],
    /// Only the tests of these files; all when empty.
    pub files: &'a [PathBuf],
}

/// A decoded file of tests.
pub(super) struct TestFile {
    tests: Vec<raw::Test>,
    source: Arc<Source>,
    document: Document,
}

/// Whether a file is one of tests by its name.
pub(super) fn is_test_file(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.ends_with("_test.yaml") || name.ends_with("_test.yml")
    })
}

impl Tests<'_> {
    /// Whether the tests of a file are wanted.
    pub(super) fn wants(&self, path: &Path) -> bool {
        self.files.is_empty() || self.files.iter().any(|file| is_same(file, path))
    }

    /// Reads the files of tests: those that are named and are no policy file, else those next to the policy files.
    pub(super) fn read(
        &self,
        patterns: &[String],
        root: At<'_>,
        policies: &[PathBuf],
        env: Env<'_>,
        files: &mut Files,
        problems: &mut Vec<Problem>,
    ) -> Vec<TestFile> {
        let paths = if self.files.is_empty() {
            let mut found = beside(patterns, root);
            found.retain(|file| !is_of_another(file, policies));
            found
        } else {
            let is_policy = |file: &PathBuf| policies.iter().any(|policy| is_same(policy, file));
            self.files.iter().filter(|file| !is_policy(file)).cloned().collect()
        };
        let mut read = Vec::new();
        for path in paths {
            let Some((source, mut document)) = open(&path, env, files, problems) else { continue };
            let Some(raw) = decode::decode::<raw::TestFile>(&mut document, &source, problems) else { continue };
            let at = At::root(&source, &document.mark);
            if raw.routes.is_some() {
                let span = at.key("routes").key_span();
                let message = "a file of tests holds no routes: nothing serves them";
                let help = "move them to a file that `policies` names and that does not end in _test.yaml; \
                            a policy file may hold both";
                problems.push(Problem::at_span(codes::TEST_FILE, &source, span, message).help(help));
            }
            if raw.tests.is_none() && !at.was_dropped("tests") && raw.routes.is_none() {
                let problem = Problem::at(codes::TEST_FILE, at, "there are no tests in this file").without_excerpt();
                problems
                    .push(problem.help("write tests: [{ name: …, request: GET /…, as: { user: … }, expect: allow }]"));
            }
            read.push(TestFile { tests: raw.tests.unwrap_or_default(), source, document });
        }
        read
    }
}

/// The cases of a file of tests.
pub(super) fn compile(file: TestFile, around: Around<'_>, problems: &mut Vec<Problem>) -> Vec<Case> {
    let at = At::root(&file.source, &file.document.mark).key("tests");
    test::compile(file.tests, at, around, problems)
}

/// The files of tests in the folders that the patterns of policy files name.
fn beside(patterns: &[String], root: At<'_>) -> Vec<PathBuf> {
    let at = root.key("policies");
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let full = at.item(index).source.resolve_glob(pattern);
        let folder = full.rfind('/').and_then(|at| full.get(..=at)).unwrap_or_default();
        for ending in ["yaml", "yml"] {
            // What cannot be looked at was told with the policy files.
            let Ok(found) = glob::glob(&format!("{folder}*_test.{ending}")) else { continue };
            let mut found: Vec<PathBuf> = found.flatten().filter(|path| !paths.contains(path)).collect();
            found.sort();
            paths.append(&mut found);
        }
    }
    paths
}

/// Whether `invoices_test.yaml` stands beside an `invoices.yaml` that this config does not serve: two configs may share a folder.
fn is_of_another(file: &Path, policies: &[PathBuf]) -> bool {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let Some(name) = stem.len().checked_sub("_test".len()).and_then(|at| stem.get(..at)) else { return false };
    let mut twins = ["yaml", "yml"].map(|ending| file.with_file_name(format!("{name}.{ending}"))).into_iter();
    let is_theirs = |twin: &PathBuf| policies.iter().any(|policy| is_same(policy, twin));
    twins.clone().any(|twin| twin.exists()) && !twins.any(|twin| is_theirs(&twin))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    one == other || real(one) == real(other)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_test_file;

    #[test]
    fn files_of_tests_are_told_by_their_names() {
        let table = [
            ("policies/invoices_test.yaml", true),
            ("policies/invoices_test.yml", true),
            ("policies/_test.yaml", true),
            ("policies/Invoices_Test.YAML", true),
            ("policies/invoices.yaml", false),
            ("policies/contest.yaml", false),
            ("policies/test.yaml", false),
            ("x_test.yaml/invoices.yaml", false),
            ("invoices_test.json", false),
        ];
        for (path, expected) in table {
            assert_eq!(is_test_file(Path::new(path)), expected, "{path}");
        }
    }
}
