//! `crossgate check`: the whole config and all policies, every problem at once.

use std::process::ExitCode;

use clap::Args;

use super::screen::{Screen, Style};
use super::{ConfigPath, Failure, Format, say};
use crate::config;
use crate::suite;
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    path: ConfigPath,
}

impl Check {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let tests = config::Tests { answers: &suite::answers(), files: &[] };
        let loaded = config::load_tested(&self.path.config, &|name| std::env::var(name).ok(), &metrics, tests);
        let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
        let warnings = loaded.problems.len() - errors;
        if format == Some(Format::Json) {
            let problems: Vec<_> = loaded.problems.iter().map(config::Problem::to_json).collect();
            let routes = loaded.compiled.as_ref().map(|compiled| compiled.snapshot.routes.len());
            let report = serde_json::json!({
                "ok": errors == 0,
                "errors": errors,
                "warnings": warnings,
                "routes": routes,
                "problems": problems,
            });
            say(&format!("{report}\n"));
        } else {
            let screen = Screen::of_stdout(format);
            for problem in &loaded.problems {
                let text = problem.render();
                say(&highlight(&text, screen, if problem.is_error() { Style::Bad } else { Style::Doubtful }));
                say("\n");
            }
            let counted = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
            match &loaded.compiled {
                Some(compiled) => say(&format!(
                    "{}: ok, {}, {}\n",
                    self.path.config.display(),
                    counted(compiled.snapshot.routes.len(), "route"),
                    counted(warnings, "warning"),
                )),
                None => say(&format!("{}, {}\n", counted(errors, "error"), counted(warnings, "warning"))),
            }
        }
        Ok(ExitCode::from(u8::from(errors > 0)))
    }
}

/// The first line in colour.
fn highlight(text: &str, screen: Screen, style: Style) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    format!("{}\n{rest}", screen.paint(style, first))
}
