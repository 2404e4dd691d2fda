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
mod source;
mod waive;
mod yaml;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;

pub use compile::Compiled;
pub(crate) use decode::near;
pub use env::Env;
pub use report::{Problem, Severity};
pub use source::MAX_BYTES;

use compile::route::PolicyFile;
use places::At;
use source::{Files, Source};
use yaml::Document;

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
}

/// Reads and compiles a configuration with all files that it names. Instances that did not change keep the keys
/// that they have in `previous`.
pub fn load(path: &Path, env: Env<'_>, metrics: &Metrics, previous: Option<&Snapshot>) -> Loaded {
    let mut files = Files::new();
    let mut problems = Vec::new();
    let compiled = read(path, env, metrics, previous, &mut files, &mut problems);
    sort(&mut problems, &files.paths);
    Loaded { problems, compiled, files: files.paths }
}

fn read(
    path: &Path,
    env: Env<'_>,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Compiled> {
    let (source, mut document) = open(path, env, files, problems)?;
    let mut raw: raw::Config = decode::decode(&mut document, &source, problems)?;
    let root = At::root(&source, &document.mark);
    let mut waivers = waive::Waivers::default();
    waivers.of_config(&mut raw, root, problems);
    let patterns = raw.policies.as_deref().unwrap_or_default();
    let mut opened = Vec::new();
    for path in compile::policy_paths(patterns, root, problems) {
        opened.extend(open(&path, env, files, problems));
    }
    let mut decoded: Vec<(raw::Policies, Arc<Source>, Document)> = Vec::with_capacity(opened.len());
    for (source, mut document) in opened {
        if let Some(raw) = decode::decode(&mut document, &source, problems) {
            decoded.push((raw, source, document));
        }
    }
    let mut policies = Vec::with_capacity(decoded.len());
    for (raw, source, document) in &mut decoded {
        let root = At::root(source, &document.mark);
        waivers.of_policies(raw, root, problems);
        policies.push(PolicyFile { raw: std::mem::take(raw), root });
    }
    let compiled = compile::compile(compile::Input { raw, root, policies, metrics, previous }, files, problems);
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
