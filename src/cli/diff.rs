//! `crossgate diff OLD NEW`: which decisions change between two configs, and for whom.
//!
//! 0: nothing changes, or nothing of what `--fail-on` asks about; 1: something does; 2: one of the two cannot be loaded,
//! with its problems on stderr.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::screen::{Screen, Style};
use super::{Failure, Format, complain, problems, say, tell};
use crate::clock;
use crate::config::{self, Problem};
use crate::diff::{self, Also, Case, Change, Difference, Direction, Effect, Landing, Outcome, Version, Who, Written};
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The config that serves now.
    old: PathBuf,
    /// The config that is to serve.
    new: PathBuf,
    /// What makes the exit code 1.
    #[arg(long, value_enum, default_value = "any")]
    fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Any decision changes, or could.
    Any,
    /// Somebody gets in who did not before, or could.
    Widening,
    /// Somebody gets in no more, or could not.
    Narrowing,
}

impl From<FailOn> for diff::FailOn {
    fn from(fail_on: FailOn) -> Self {
        match fail_on {
            FailOn::Any => Self::Any,
            FailOn::Widening => Self::Widening,
            FailOn::Narrowing => Self::Narrowing,
        }
    }
}

impl Diff {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        // Both are read, so that all problems of both are told at once.
        let (mut old, mut new) = match (version(&self.old)?, version(&self.new)?) {
            (Ok(old), Ok(new)) => (old, new),
            (old, new) => {
                let broken = [(&self.old, old.err()), (&self.new, new.err())];
                let broken = broken.into_iter().filter_map(|(path, problems)| Some((path.as_path(), problems?)));
                unusable(&broken.collect::<Vec<_>>(), format);
                return Ok(ExitCode::from(2));
            }
        };
        let difference = diff::compare(&mut old, &mut new, clock::now());
        if format == Some(Format::Json) {
            say(&format!("{}\n", diff::show::to_json(&difference)));
        } else {
            say(&text(&difference, Screen::of_stdout(format)));
        }
        Ok(ExitCode::from(u8::from(difference.has(self.fail_on.into()))))
    }
}

/// Or the errors that it has.
fn version(path: &Path) -> Result<Result<Version, Vec<Problem>>, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
    let loaded = config::load(path, &env, &metrics, None);
    let written = config::written(path, &env);
    let (Some(compiled), Some(written)) = (loaded.compiled, written) else {
        return Ok(Err(loaded.problems.into_iter().filter(Problem::is_error).collect()));
    };
    let config::WrittenConfig { document, files } = written;
    Ok(Ok(Version { snapshot: compiled.snapshot, written: Written { document, files } }))
}

/// Tells why there is nothing to compare: programs get an object with the members that they ask for, of which none is known.
fn unusable(broken: &[(&Path, Vec<Problem>)], format: Option<Format>) {
    if format == Some(Format::Json) {
        let configs = broken.iter().map(|(path, problems)| {
            let problems: Vec<_> = problems.iter().map(Problem::to_json).collect();
            json!({ "config": path.display().to_string(), "problems": problems })
        });
        let told = json!({
            "ok": false,
            "changed": null,
            "widening": null,
            "narrowing": null,
            "unusable": configs.collect::<Vec<_>>(),
        });
        say(&format!("{told}\n"));
        return;
    }
    let screen = Screen::of_stderr(format);
    for (path, problems) in broken {
        problems.iter().for_each(|problem| complain(&problems::show(problem, screen)));
        tell(&format!("crossgate: {} cannot be compared: mend it first\n", path.display()), format);
    }
}

fn text(difference: &Difference, screen: Screen) -> String {
    let mut out = String::new();
    for change in &difference.changes {
        out.push_str(&change_text(change, screen));
        out.push('\n');
    }
    let (also, quiet): (Vec<&Also>, Vec<&Also>) = difference.also.iter().partition(|also| also.effect != Effect::None);
    for (title, list) in [("also changed", also), ("also changed; what it does to decisions stands above", quiet)] {
        if list.is_empty() {
            continue;
        }
        out.push_str(&format!("{}\n", screen.paint(Style::Strong, title)));
        for also in list {
            out.push_str(&also_text(also, screen));
        }
        out.push('\n');
    }
    for gap in &difference.gaps {
        let line = screen.wrap(0, 2, &format!("not exhaustively compared: {gap}"));
        out.push_str(&format!("{}\n", screen.paint(Style::Doubtful, &line)));
    }
    if !difference.gaps.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("{}\n", screen.wrap(0, 0, &summary(difference))));
    out
}

fn change_text(change: &Change, screen: Screen) -> String {
    let Change { methods, paths, example, conditions, old, new, cases } = change;
    // `HEAD` follows `GET`, and the rest that no route names is asked once for all.
    let methods: Vec<&str> =
        methods.iter().map(String::as_str).filter(|method| *method != "HEAD" || !methods.contains("GET")).collect();
    let head = format!("{} {}", methods.join(","), paths.iter().take(MAX_PATHS).cloned().collect::<Vec<_>>().join(" "));
    let more = paths.len().saturating_sub(MAX_PATHS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut out = format!("{}\n", screen.paint(Style::Strong, &screen.wrap(0, 2, &format!("{head}{more}"))));
    for condition in conditions {
        out.push_str(&format!("  where {}\n", screen.wrap(8, 4, condition)));
    }
    let landing = match (old, new) {
        (Landing::Route { id, place: _ }, Landing::Route { id: other, place }) if id == other => {
            format!("route {id} at {place}")
        }
        (Landing::Route { .. } | Landing::Refused { .. }, _) => {
            format!("{} → {}", landing_text(old), landing_text(new))
        }
    };
    out.push_str(&format!("  {}\n", screen.wrap(2, 4, &landing)));
    for case in cases {
        out.push_str(&case_text(case, screen));
    }
    out.push_str(&format!("  {}\n", screen.paint(Style::Quiet, &screen.wrap(2, 4, &format!("such as {example}")))));
    out
}

/// Most paths in one line.
const MAX_PATHS: usize = 3;

fn landing_text(landing: &Landing) -> String {
    match landing {
        Landing::Route { id, place } => format!("route {id} at {place}"),
        Landing::Refused { status, code } => format!("no route ({status} {code})"),
    }
}

fn case_text(case: &Case, screen: Screen) -> String {
    let Case { direction, who, more, old, new, predicates } = case;
    let (style, sign) = match direction {
        Direction::Widening => (Style::Bad, '+'),
        Direction::Narrowing => (Style::Doubtful, '-'),
        Direction::Other => (Style::Strong, '~'),
        Direction::Reason => (Style::Quiet, '='),
    };
    let predicates: Vec<&str> = predicates.iter().copied().collect();
    if *direction == Direction::Reason {
        let told = match (old, predicates.is_empty()) {
            (Outcome::Deny { .. }, false) => {
                format!("others are refused for another reason ({})", predicates.join(", "))
            }
            (Outcome::Deny { .. }, true) => "others are refused for another reason".to_owned(),
            (Outcome::Allow { .. }, _) => "others are counted under another reason, and let through".to_owned(),
        };
        let text = screen.wrap(4, 6, &format!("reason: {told}"));
        return format!("  {} {}\n", screen.paint(style, &sign.to_string()), screen.paint(style, &text));
    }
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Deny { code: "forbidden", .. } if !predicates.is_empty() => {
            format!("deny ({})", predicates.join(" or "))
        }
        _ => outcome.to_string(),
    };
    let head = format!("{sign} {}:", direction.as_str());
    let change = format!("{} → {}", outcome(old), outcome(new));
    let mut out = format!("  {} {}\n", screen.paint(style, &head), screen.wrap(head.len() + 3, 6, &change));
    for who in who {
        out.push_str(&format!("      {}\n", screen.wrap(6, 8, &who_text(who))));
    }
    if *more > 0 {
        out.push_str(&format!("      and {more} more sorts of people\n"));
    }
    out
}

fn who_text(who: &Who) -> String {
    let kinds = if who.kinds.is_empty() { "anybody".to_owned() } else { who.kinds.join(" or ") };
    if who.traits.is_empty() { kinds } else { format!("{kinds}: {}", who.traits.join("; ")) }
}

fn also_text(also: &Also, screen: Screen) -> String {
    let Also { effect, what, meaning } = also;
    let (style, sign, word) = match effect {
        Effect::Widens => (Style::Bad, '+', "widens"),
        Effect::Either => (Style::Bad, '?', "may widen"),
        Effect::Narrows => (Style::Doubtful, '-', "narrows"),
        Effect::Changes => (Style::Strong, '~', ""),
        Effect::None => (Style::Quiet, ' ', ""),
    };
    let word = if word.is_empty() { String::new() } else { format!(" ({word})") };
    let text = screen.wrap(4, 6, &format!("{what}{word}"));
    let meaning = screen.wrap(6, 6, meaning);
    format!("  {} {text}\n      {}\n", screen.paint(style, &sign.to_string()), screen.paint(Style::Quiet, &meaning))
}

fn summary(difference: &Difference) -> String {
    let count = |direction| {
        let cases = difference.changes.iter().flat_map(|change| &change.cases);
        cases.filter(|case| case.direction == direction).count()
    };
    let counted = |n: usize, one: &str, many: &str| (n > 0).then(|| format!("{n} {}", if n == 1 { one } else { many }));
    let parts: Vec<String> = [
        counted(count(Direction::Widening), "widening", "widenings"),
        counted(count(Direction::Narrowing), "narrowing", "narrowings"),
        counted(count(Direction::Other), "other change", "other changes"),
        counted(count(Direction::Reason), "other reason", "other reasons"),
        counted(difference.gaps.len(), "comparison left open", "comparisons left open"),
        counted(
            difference.also.iter().filter(|also| also.effect != Effect::None).count(),
            "setting with an effect",
            "settings with an effect",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    let asked = difference.compared;
    let asked = match asked.requests {
        // Nothing that a request could meet differs.
        0 => "no route and no rule differs, so that nothing had to be asked".to_owned(),
        _ => format!("{} requests and {} decisions were compared", asked.requests, asked.decisions),
    };
    let nothing = if difference.also.is_empty() { "the two configs are the same" } else { "no decision changes" };
    match parts.is_empty() {
        true => format!("{nothing}; {asked}"),
        false => format!("{}; {asked}", parts.join(", ")),
    }
}
