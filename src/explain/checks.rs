//! Hears the checks of each credential and sets them before the verdict that they led to.

use std::sync::{Mutex, PoisonError};

use super::steps::Step;
use crate::identity::checks::{About, Check, FORM, Listener};

/// Shared with the verifiers for the time of one decision.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Vec<Check>>);

impl Listener for Heard {
    fn hear(&self, check: Check) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }
}

/// The first check of a cookie's credential, before its form.
const IN_COOKIE: &str = "cookie";

impl Heard {
    /// The steps of a decision with the checks among them.
    pub(super) fn among(self, mut steps: Vec<Step>) -> Vec<Step> {
        let heard = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for about in [About::Runner, About::Legacy, About::Clerk] {
            let of_side: Vec<&Check> = heard.iter().filter(|check| check.about == about).collect();
            if of_side.is_empty() {
                continue;
            }
            // Where there is one login only, its verdict is the identity's. Without a verdict: before what was made of it.
            let names: &[&str] = match about {
                About::Clerk => &["clerk", "identity", "resolve", "arm", "policy"],
                About::Legacy => &["legacy", "identity", "resolve", "arm", "policy"],
                About::Runner => &["runner", "resolve", "arm", "policy"],
            };
            let at = names.iter().find_map(|name| steps.iter().position(|step| step.step == *name));
            let at = at.unwrap_or(steps.len());
            steps.splice(at..at, told(about, &of_side));
        }
        steps
    }
}

fn told(about: About, checks: &[&Check]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run: Vec<&Check> = Vec::new();
    for check in checks {
        let begins =
            check.name == IN_COOKIE || check.name == FORM && run.last().is_some_and(|last| last.name != IN_COOKIE);
        if begins {
            end(about, &run, &mut steps);
            run.clear();
        }
        steps.push(Step {
            step: "check",
            outcome: if check.passed { "pass" } else { "fail" },
            detail: format!("{} {}: {}", about.as_str(), check.name, check.detail),
            depth: 0,
        });
        run.push(check);
    }
    end(about, &run, &mut steps);
    steps
}

/// Says which checks of a signed token were never made, since one before them failed.
fn end(about: About, run: &[&Check], steps: &mut Vec<Step>) {
    let order = about.order();
    let Some(failed) = run.iter().find(|check| !check.passed) else { return };
    if failed.name != IN_COOKIE && !order.contains(&failed.name) {
        return;
    }
    let made = |name: &&&str| run.iter().any(|check| check.name == **name);
    let missing: Vec<&str> = order.iter().filter(|name| !made(name)).copied().collect();
    // A kid is checked of tokens that are verified by key sets, and secrets have none.
    let before = order.iter().position(|name| *name == failed.name).unwrap_or_default();
    let missing: Vec<&str> = missing
        .into_iter()
        .filter(|name| failed.name == IN_COOKIE || order.iter().position(|other| other == name) > Some(before))
        .collect();
    if !missing.is_empty() {
        let detail = format!("{} {}", about.as_str(), missing.join(", "));
        steps.push(Step { step: "check", outcome: "not reached", detail, depth: 0 });
    }
}
