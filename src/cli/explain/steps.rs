//! Writes down every step of a decision.

use serde::Serialize;

use crate::gate::decide::Steps;
use crate::policy::{Trace, Tri};

#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) outcome: &'static str,
    pub(super) detail: String,
}

#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) steps: Vec<Step>,
}

impl Recorder {
    pub(super) fn add(&mut self, step: &'static str, outcome: &'static str, detail: String) {
        self.steps.push(Step { step, outcome, detail });
    }
}

impl Steps for Recorder {
    fn step(&mut self, step: &'static str, outcome: &'static str, detail: impl FnOnce() -> String) {
        self.add(step, outcome, detail());
    }
}

impl Trace for Recorder {
    fn note(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String) {
        let outcome = match outcome {
            Tri::True => "holds",
            Tri::False => "fails",
            Tri::Unknown(_) => "unknown",
        };
        self.add(predicate, outcome, detail());
    }
}
