//! Writes down every step of a decision. Decides nothing.

use serde::Serialize;

use crate::gate::decide::Steps;
use crate::policy::{Trace, Tri};

/// One step; its name, what it came to, and why.
#[derive(Debug, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub outcome: &'static str,
    pub detail: String,
    /// How deep within `any`, `all` or `not` a condition stands.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(depth: &usize) -> bool {
    *depth == 0
}

/// What a step is about, in the order in which people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Request,
    Route,
    Credentials,
    Arm,
    Rule,
    Onward,
}

impl Section {
    pub const ALL: [Self; 6] = [Self::Request, Self::Route, Self::Credentials, Self::Arm, Self::Rule, Self::Onward];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Route => "route",
            Self::Credentials => "credentials",
            Self::Arm => "arm",
            Self::Rule => "rule",
            Self::Onward => "onward",
        }
    }
}

impl Step {
    /// Conditions are named by the policy language; every other step by what it is.
    pub fn section(&self) -> Section {
        match self.step {
            "request" | "path" | "header" => Section::Request,
            "candidate" | "route" => Section::Route,
            "credential" | "check" | "clerk" | "legacy" | "runner" | "identity" | "table" | "resolve" | "websocket"
            | "shadow" => Section::Credentials,
            "rollout" | "arm" | "arm_cookie" => Section::Arm,
            "upstream" | "timeout" | "audit" | "response" | "removed" | "added" | "legacy_token" | "preflight" => {
                Section::Onward
            }
            _ => Section::Rule,
        }
    }
}

/// Keeps them in order.
#[derive(Debug, Default)]
pub struct Recorder {
    pub steps: Vec<Step>,
    /// Where what is put together was opened.
    open: Vec<usize>,
}

impl Recorder {
    pub fn add(&mut self, step: &'static str, outcome: &'static str, detail: String) {
        self.steps.push(Step { step, outcome, detail, depth: self.open.len() });
    }
}

impl Steps for Recorder {
    fn step(&mut self, step: &'static str, outcome: &'static str, detail: impl FnOnce() -> String) {
        self.add(step, outcome, detail());
    }
}

impl Trace for Recorder {
    fn note(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String) {
        self.add(predicate, word(outcome), told(outcome, detail()));
    }

    fn open(&mut self, predicate: &'static str) {
        // Before its parts, as it is written.
        self.add(predicate, "", String::new());
        self.open.push(self.steps.len() - 1);
    }

    fn close(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String) {
        let opened = self.open.pop().and_then(|at| self.steps.get_mut(at));
        match opened.filter(|step| step.step == predicate) {
            Some(step) => (step.outcome, step.detail) = (word(outcome), detail()),
            None => self.note(predicate, outcome, detail),
        }
    }
}

const fn word(outcome: Tri) -> &'static str {
    match outcome {
        Tri::True => "holds",
        Tri::False => "fails",
        Tri::Unknown(_) => "unknown",
    }
}

/// What cannot be told says why.
fn told(outcome: Tri, detail: String) -> String {
    match outcome {
        Tri::Unknown(cause) if !detail.contains(cause.as_str()) => format!("{detail} ({})", cause.as_str()),
        Tri::Unknown(_) | Tri::True | Tri::False => detail,
    }
}
