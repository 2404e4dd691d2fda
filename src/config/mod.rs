//! The config world: text becomes a [`Snapshot`], or problems that say where and why.
//!
//! ```text
//! source ─ yaml ─ decode ─ compile ─ Snapshot
//!  bytes   places    raw     checked types
//! ```
//!
//! [`load`] is the one entry, for `run`, `check`, `explain` and reloads. It reads files and the environment it is
//! given, and touches nothing else. Never sees the gate, the server or a request.

pub mod codes;
mod compile;
mod decode;
mod env;
mod lint;
pub mod pages;
mod places;
mod raw;
mod report;
pub mod schema;
mod source;
mod suite;
mod waive;
mod watched;
mod written;
mod yaml;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;

pub(crate) use crate::misfit::near;
pub use compile::Compiled;
pub use compile::test::{Case, Expected, Outcome};
pub use env::Env;
pub use report::{Problem, Severity};
pub use source::MAX_BYTES;
pub use suite::Tests;
pub use watched::{Print, Seen, Watched};
pub use written::{WrittenConfig, written};

use compile::route::PolicyFile;
use compile::test::Around;
use places::At;
use source::{Files, Source};
use yaml::Document;

/// A length of time as configs write it: `250ms`, `5s`, `15m`, `24h`; `None` for anything else.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    raw::parse_time(text)
}

/// Most problems that are handed out.
const MAX_TOLD: usize = 500;

/// What came of a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// Errors first, then warnings, each in the order of the files.
    pub problems: Vec<Problem>,
    /// There unless a problem is an error.
    pub compiled: Option<Compiled>,
    /// Everything that was read, the configuration itself first.
    pub files: Vec<PathBuf>,
    /// The policy tests, where they were asked for.
    pub cases: Vec<Case>,
    /// What this came of, also where something could not be read.
    pub watched: Watched,
}

/// Reads and compiles a configuration with all files that it names. Instances that did not change keep the keys
/// that they have in `previous`.
pub fn load(path: &Path, env: Env<'_>, metrics: &Metrics, previous: Option<&Snapshot>) -> Loaded {
    load_with(path, env, metrics, previous, None)
}

/// The same with its policy tests, and with the problems of these: for `check` and `test`.
pub fn load_tested(path: &Path, env: Env<'_>, metrics: &Metrics, tests: Tests<'_>) -> Loaded {
    load_with(path, env, metrics, None, Some(tests))
}

fn load_with(
    path: &Path,
    env: Env<'_>,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
    tests: Option<Tests<'_>>,
) -> Loaded {
    let mut files = Files::new();
    // Apart: files of tests have no part in the snapshot's id.
    let mut of_tests = Files::new();
    let mut problems = Vec::new();
    let mut cases = Vec::new();
    let wanted = tests.map(|tests| Wanted { tests, files: &mut of_tests, cases: &mut cases });
    let compiled = read(path, env, metrics, previous, wanted, &mut files, &mut problems);
    let compiled = compiled.filter(|_| !problems.iter().any(Problem::is_error));
    let mut paths = files.paths;
    paths.append(&mut of_tests.paths);
    sort(&mut problems, &paths);
    Loaded { problems, compiled, files: paths, watched: files.watched, cases }
}

/// Policy tests that are asked for, and where they go.
struct Wanted<'a> {
    tests: Tests<'a>,
    files: &'a mut Files,
    cases: &'a mut Vec<Case>,
}

fn read(
    path: &Path,
    env: Env<'_>,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
    wanted: Option<Wanted<'_>>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Compiled> {
    let Some((source, mut document)) = open(path, env, files, problems) else {
        // Nobody named it: the one that is looked for by default is not there.
        if let [problem] = problems.as_mut_slice()
            && problem.code == codes::UNREADABLE.id
        {
            let help = "name another with -c FILE or CROSSGATE_CONFIG; docs/quickstart.md begins one";
            problem.help = Some(help.to_owned());
        }
        return None;
    };
    let mut raw: raw::Config = decode::decode(&mut document, &source, problems)?;
    let root = At::root(&source, &document.mark);
    let mut waivers = waive::Waivers::default();
    waivers.of_config(&mut raw, root, problems);
    let patterns = raw.policies.clone().unwrap_or_default();
    let paths = compile::policy_paths(&patterns, root, problems);
    files.watched.ask(patterns.iter().map(|pattern| source.resolve_glob(pattern)));
    let mut opened = Vec::new();
    for path in &paths {
        opened.extend(open(path, env, files, problems));
    }
    let mut decoded: Vec<(raw::Policies, Arc<Source>, Document)> = Vec::with_capacity(opened.len());
    for (source, mut document) in opened {
        if let Some(raw) = decode::decode(&mut document, &source, problems) {
            decoded.push((raw, source, document));
        }
    }
    let mut policies = Vec::with_capacity(decoded.len());
    let mut written = Vec::new();
    for (raw, source, document) in &mut decoded {
        let root = At::root(source, &document.mark);
        written.extend(raw.tests.take().map(|tests| (tests, root)));
        waivers.of_policies(raw, root, problems);
        policies.push(PolicyFile { raw: std::mem::take(raw), root });
    }
    let compiled = compile::compile(compile::Input { raw, root, policies, metrics, previous }, files, problems);
    if let Some(Wanted { tests, files, cases }) = wanted {
        let apart = tests.read(&patterns, root, &paths, env, files, problems);
        // Against a config with errors, only what is wrong with the tests themselves: the rest may follow from these.
        let snapshot = compiled.as_ref().map(|compiled| &compiled.snapshot);
        let around = Around { snapshot, answers: tests.answers };
        for (raw, root) in written.into_iter().filter(|(_, root)| tests.wants(Path::new(&*root.source.name))) {
            cases.append(&mut compile::test::compile(raw, root.key("tests"), around, problems));
        }
        for file in apart {
            cases.append(&mut suite::compile(file, around, problems));
        }
    }
    waivers.apply(problems);
    compiled
}

fn open(path: &Path, env: Env<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<(Arc<Source>, Document)> {
    let source = match files.read_text(path) {
        Ok(source) => Arc::new(source),
        Err(unreadable) => {
            problems.push(Problem::of_file(&unreadable, path));
            return None;
        }
    };
    let document = yaml::read(&source, env, problems)?;
    Some((source, document))
}

/// Errors first: whoever shows one problem only shows one that matters.
fn sort(problems: &mut Vec<Problem>, files: &[PathBuf]) {
    let order: HashMap<Arc<str>, usize> =
        files.iter().enumerate().map(|(index, path)| (path.display().to_string().into(), index)).collect();
    problems.sort_by_cached_key(|problem| {
        let file = order.get(&problem.file).copied().unwrap_or(usize::MAX);
        (!problem.is_error(), file, problem.line, problem.column, problem.code)
    });
    problems.dedup_by(|one, other| one.repeats(other));
    problems.truncate(MAX_TOLD);
    problems.iter_mut().for_each(Problem::settle);
}
