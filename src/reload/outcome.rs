//! What came of a reload, for whoever asked: plain data, so that the admin listener need not know the config world.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Problem;
use crate::route::{Access, Route, Routes};
use crate::snapshot::Snapshot;

/// Most problems that are logged, and listed on `/readyz`.
pub(super) const MOST_TOLD: usize = 20;

/// Who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// SIGHUP.
    Signal,
    /// The files changed.
    Files,
    /// A token of the admin listener, by its name; or `unix`.
    Admin(Arc<str>),
}

impl By {
    /// As the trail names the way it came; no token has one of these names.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Files => "file",
            Self::Admin(name) if **name == *"unix" => "unix",
            Self::Admin(_) => "admin",
        }
    }

    /// As the log and the trail name it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Signal => "signal",
            Self::Files => "file",
            Self::Admin(name) => name,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The new config serves.
    Loaded,
    /// The files say what they said.
    Unchanged,
    /// The last good config goes on.
    Refused,
    /// The files changed while they were read; nothing was decided.
    Unsettled,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "ok",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Unsettled => "unsettled",
        }
    }
}

/// The end of a reload.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: Verdict,
    /// What serves from now on.
    pub snapshot: Arc<Snapshot>,
    /// As `check --format json` lists them; warnings where it was taken up.
    pub problems: Vec<Value>,
    pub errors: usize,
    pub warnings: usize,
    /// Keys that differ from what the process was started with.
    pub restart_needed: Vec<&'static str>,
    /// Routes that served before and are there no more.
    pub gone: Gone,
}

/// Routes that went with a reload: a file that was deleted is taken as meant, and what they guarded falls under what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    pub count: usize,
    /// Of these, how many asked who somebody is.
    pub guarded: usize,
    /// The ids, guarded ones first; at most 20.
    pub ids: Vec<Arc<str>>,
}

impl Gone {
    pub(super) fn between(old: &Routes, new: &Routes) -> Self {
        let known: HashSet<&str> = new.iter().map(|route| &*route.id).collect();
        let mut gone: Vec<_> = old.iter().filter(|route| !known.contains(&*route.id)).collect();
        let is_guarded = |route: &Route| matches!(route.access, Access::Protected | Access::Privileged);
        gone.sort_by_key(|route| !is_guarded(route));
        Self {
            count: gone.len(),
            guarded: gone.iter().filter(|route| is_guarded(route)).count(),
            ids: gone.iter().take(MOST_TOLD).map(|route| Arc::clone(&route.id)).collect(),
        }
    }
}

impl Outcome {
    pub(super) fn new(verdict: Verdict, snapshot: Arc<Snapshot>, problems: &[Problem]) -> Self {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        Self {
            verdict,
            snapshot,
            problems: problems.iter().map(Problem::to_json).collect(),
            errors,
            warnings: problems.len() - errors,
            restart_needed: Vec::new(),
            gone: Gone::default(),
        }
    }

    /// The object that `check --format json` prints.
    pub fn report(&self) -> Value {
        let routes = (self.verdict != Verdict::Refused).then(|| self.snapshot.routes.len());
        json!({
            "ok": self.verdict != Verdict::Refused,
            "errors": self.errors,
            "warnings": self.warnings,
            "routes": routes,
            "problems": self.problems,
        })
    }
}
