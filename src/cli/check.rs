//! `crossgate check`: the whole config and all policies, every problem at once.

use std::process::ExitCode;

use clap::Args;

use super::problems::{self, counted};
use super::screen::Screen;
use super::{ConfigPath, Failure, Format, say};
use crate::config::{self, Loaded, Problem};
use crate::route::{Access, Routes};
use crate::suite;
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    path: ConfigPath,
}

/// How many problems of each kind.
struct Counts {
    errors: usize,
    warnings: usize,
    waived: usize,
}

impl Check {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let tests = config::Tests { answers: &suite::answers(), files: &[] };
        let loaded = config::load_tested(&self.path.config, &|name| std::env::var(name).ok(), &metrics, tests);
        let count = |wanted: fn(&Problem) -> bool| loaded.problems.iter().filter(|problem| wanted(problem)).count();
        let counts = Counts {
            errors: count(Problem::is_error),
            warnings: count(|problem| !problem.is_error() && problem.waived.is_none()),
            waived: count(|problem| problem.waived.is_some()),
        };
        if format == Some(Format::Json) {
            say(&format!("{}\n", to_json(&loaded, &counts)));
        } else {
            self.tell(&loaded, &counts, Screen::of_stdout(format));
        }
        Ok(ExitCode::from(u8::from(counts.errors > 0)))
    }

    fn tell(&self, loaded: &Loaded, counts: &Counts, screen: Screen) {
        let told = || loaded.problems.iter().filter(|problem| problem.waived.is_none());
        for problem in told() {
            say(&problems::show(problem, screen));
        }
        let waived = if counts.waived > 0 { format!(", {} waived", counts.waived) } else { String::new() };
        let warnings = format!("{}{waived}", counted(counts.warnings, "warning"));
        match &loaded.compiled {
            Some(compiled) => {
                say(&format!("{}: ok, {warnings}\n", self.path.config.display()));
                say(&problems::routes(&compiled.snapshot.routes, screen));
            }
            None => say(&format!("{}, {warnings}\n", counted(counts.errors, "error"))),
        }
        if let Some(first) = told().next() {
            say(&format!("more on a code: crossgate help {}\n", first.code));
        }
    }
}

fn to_json(loaded: &Loaded, counts: &Counts) -> serde_json::Value {
    let Counts { errors, warnings, waived } = counts;
    let problems: Vec<_> = loaded.problems.iter().map(Problem::to_json).collect();
    let routes = loaded.compiled.as_ref().map(|compiled| &compiled.snapshot.routes);
    serde_json::json!({
        "ok": *errors == 0,
        "errors": errors,
        "warnings": warnings,
        "waived": waived,
        "routes": routes.map(Routes::len),
        "access": routes.map(by_access),
        "problems": problems,
    })
}

/// The ids of routes by who may pass.
fn by_access(routes: &Routes) -> serde_json::Value {
    let ids = |access: Access| -> Vec<&str> {
        routes.iter().filter(|route| route.access == access).map(|route| &*route.id).collect()
    };
    serde_json::json!({
        "public": ids(Access::Public),
        "login": ids(Access::Login),
        "protected": ids(Access::Protected),
        "privileged": ids(Access::Privileged),
    })
}
