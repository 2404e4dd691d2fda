//! `crossgate test`: the policy tests of a config, and what they leave open.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::screen::Screen;
use super::{ConfigPath, Failure, Format, complain, say, tell};
use crate::config::{self, Case};
use crate::suite::coverage::Coverage;
use crate::suite::{self, Judged, Suite};
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Test {
    #[command(flatten)]
    path: ConfigPath,
    /// Only the tests of these files; without them those of all policy files and of the `*_test.yaml` files beside them.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Only tests whose name has this text, in any case.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// List the tests that passed, too.
    #[arg(short, long)]
    verbose: bool,
    /// The time (RFC 3339) of tests that name none, instead of 2026-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Show what no test has allowed or refused: routes, conditions, alternatives.
    #[arg(long)]
    coverage: bool,
    /// Exit with 1 where less of the routes is covered, 0 to 100; shows the coverage, too.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_under: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number.filter(|number| (0.0..=100.0).contains(number)).ok_or_else(|| "expected 0 to 100".to_owned())
}

/// A case and what it came to.
struct Ran {
    case: Case,
    judged: Result<Judged, String>,
}

impl Ran {
    fn passed(&self) -> bool {
        self.judged.as_ref().is_ok_and(Judged::passed)
    }
}

impl Test {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let now = match &self.at {
            None => suite::DEFAULT_TIME,
            Some(text) => {
                let time: Result<jiff::Timestamp, _> = text.parse();
                let expected = || Failure::Usage(format!("--at {text}: expected a time such as 2026-01-31T12:00:00Z"));
                time.map_err(|_| expected())?.as_millisecond()
            }
        };
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let answers = suite::answers();
        let tests = config::Tests { answers: &answers, files: &self.files };
        let loaded = config::load_tested(&self.path.config, &|name| std::env::var(name).ok(), &metrics, tests);
        let Some(compiled) = loaded.compiled else {
            return Ok(unusable(&loaded.problems, format));
        };
        let mut cases = loaded.cases;
        let mut nothing = cases.is_empty().then(|| self.nothing_to_run());
        if let Some(text) = &self.filter {
            let wanted = text.to_lowercase();
            cases.retain(|case| case.name.to_lowercase().contains(&wanted));
            if cases.is_empty() {
                nothing.get_or_insert_with(|| format!("no test has `{text}` in its name"));
            }
        }
        if let Some(nothing) = nothing {
            if format == Some(Format::Json) {
                // The members that programs ask for.
                let report = json!({
                    "ok": false, "passed": 0, "failed": 0, "tests": [], "coverage": null, "problem": nothing,
                });
                say(&format!("{report}\n"));
            } else {
                tell(&format!("crossgate: {nothing}\n"), format);
            }
            return Ok(ExitCode::from(1));
        }
        let suite =
            Suite::new(&compiled.snapshot, now).map_err(|problem| format!("the tests cannot be run: {problem}"))?;
        let ran: Vec<Ran> = cases.into_iter().map(|case| Ran { judged: suite.judge(&case), case }).collect();
        let failed = ran.iter().filter(|ran| !ran.passed()).count();
        let coverage = (self.coverage || self.fail_under.is_some())
            .then(|| Coverage::of(&compiled.snapshot, ran.iter().filter_map(|ran| ran.judged.as_ref().ok())));
        let is_short =
            coverage.as_ref().zip(self.fail_under).is_some_and(|(coverage, least)| coverage.percent() < least);
        if format == Some(Format::Json) {
            let report = json!({
                "ok": failed == 0 && !is_short,
                "passed": ran.len() - failed,
                "failed": failed,
                "tests": ran.iter().map(show::to_json).collect::<Vec<_>>(),
                "coverage": coverage.as_ref().map(Coverage::to_json),
            });
            say(&format!("{report}\n"));
        } else {
            let screen = Screen::of_stdout(format);
            let page = show::Page { screen, config: &self.path.config, verbose: self.verbose };
            say(&page.results(&ran));
            if let Some(coverage) = &coverage {
                say(&page.coverage(coverage, self.fail_under));
            }
        }
        Ok(ExitCode::from(u8::from(failed > 0 || is_short)))
    }

    fn nothing_to_run(&self) -> String {
        match self.files.as_slice() {
            [] => format!(
                "{} has no tests: write `tests:` in a policy file, or a file such as invoices_test.yaml beside it",
                self.path.config.display()
            ),
            [file] => format!("there are no tests in {}", file.display()),
            _ => "there are no tests in these files".to_owned(),
        }
    }
}

/// Tells what is wrong with the config or with the tests themselves.
fn unusable(problems: &[config::Problem], format: Option<Format>) -> ExitCode {
    if format == Some(Format::Json) {
        let problems: Vec<_> = problems.iter().map(config::Problem::to_json).collect();
        say(&format!(
            "{}\n",
            json!({ "ok": false, "passed": 0, "failed": 0, "tests": [], "coverage": null, "problems": problems })
        ));
    } else {
        let screen = Screen::of_stderr(format);
        for problem in problems.iter().filter(|problem| problem.is_error()) {
            complain(&super::problems::show(problem, screen));
        }
        tell("no test was run\n", format);
    }
    ExitCode::from(1)
}
