//! Writes down every step of a decision. Decides nothing.

use serde::Serialize;

use crate::gate::decide::Steps;
use crate::policy::{Trace, Tri};

#[derive(Debug, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub outcome: &'static str,
    pub detail: String,
}

#[derive(Debug, Default)]
pub struct Recorder {
    pub steps: Vec<Step>,
}

impl Recorder {
    pub fn add(&mut self, step: &'static str, outcome: &'static str, detail: String) {
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
