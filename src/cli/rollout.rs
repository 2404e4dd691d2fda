//! `crossgate rollout`: talks to the admin listener of a running crossgate, and decides nothing itself.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::admin::Listener;
use super::screen::printable;
use super::{Failure, Format, say};
use crate::rollout::Percent;

#[derive(Debug, Args)]
pub(super) struct Rollout {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    listener: Listener,
    /// The rollout's name; without it the config's, or auth.
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// Why, for the audit trail.
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show where the rollout stands.
    #[command(after_help = "Example:\n  crossgate rollout status --format json")]
    Status,
    /// Move the percentage (needs `rollout.source: api`).
    #[command(
        after_help = "Examples:\n  crossgate rollout set 25 --reason 'week 2'\n  crossgate rollout set 25 --reshuffle"
    )]
    Set {
        /// 0 to 100, at most four decimals.
        percent: Percent,
        /// Take up the config's algorithm, unit and salt: deals everybody anew. The rollout must be frozen.
        #[arg(long)]
        reshuffle: bool,
    },
    /// Let nothing rise; nobody's arm changes.
    #[command(after_help = "Example:\n  crossgate rollout freeze --reason 'support is busy'")]
    Freeze,
    /// End a freeze or a rollback.
    #[command(after_help = "Example:\n  crossgate rollout resume 5")]
    Resume {
        /// Where to begin; without it as before a freeze, or with the first step after a rollback.
        percent: Option<Percent>,
    },
    /// Take everybody who can be moved back to the legacy side; privileged routes keep their bar.
    #[command(after_help = "Example:\n  crossgate rollout rollback --reason 'roles are wrong'")]
    Rollback,
    /// Confirm a rollback: the legacy side counts on privileged routes too.
    #[command(after_help = "Example:\n  crossgate rollout confirm")]
    Confirm,
}

impl Action {
    fn method(&self) -> Method {
        match self {
            Self::Status => Method::GET,
            Self::Set { .. } => Method::PUT,
            Self::Freeze | Self::Resume { .. } | Self::Rollback | Self::Confirm => Method::POST,
        }
    }

    const fn path(&self) -> &'static str {
        match self {
            Self::Status => "",
            Self::Set { .. } => "/weight",
            Self::Freeze => "/freeze",
            Self::Resume { .. } => "/resume",
            Self::Rollback => "/rollback",
            Self::Confirm => "/confirm",
        }
    }

    fn body(&self, reason: Option<&str>) -> Option<String> {
        let mut body = Map::new();
        match self {
            Self::Status => return None,
            Self::Set { percent, reshuffle } => {
                body.insert("percent".to_owned(), json!(percent));
                body.insert("reshuffle".to_owned(), json!(reshuffle));
            }
            Self::Resume { percent: Some(percent) } => {
                body.insert("percent".to_owned(), json!(percent));
            }
            Self::Freeze | Self::Resume { percent: None } | Self::Rollback | Self::Confirm => {}
        }
        if let Some(reason) = reason {
            body.insert("reason".to_owned(), json!(reason));
        }
        Some(Value::Object(body).to_string())
    }
}

impl Rollout {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let (target, compiled) = self.listener.find()?;
        let name = match (&self.name, compiled) {
            (Some(name), _) => name.clone(),
            (None, None) => "auth".to_owned(),
            (None, Some(compiled)) => match &compiled.snapshot.rollout {
                Some(plan) => plan.name.to_string(),
                None => return Err(format!("{} has no `rollout`", self.listener.config().display()).into()),
            },
        };
        let path = format!("/v1/rollouts/{name}{}", self.action.path());
        let body = self.action.body(self.reason.as_deref());
        let answer = self.listener.ask(&target, self.action.method(), &path, body)?;
        say(&match format {
            Some(Format::Json) => format!("{answer}\n"),
            Some(Format::Human | Format::Plain) | None => describe(&answer),
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// One line for people, and one for each thing that they should know.
fn describe(answer: &Value) -> String {
    let text = |member: &str| match answer.get(member) {
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let limit = |member: &str| match answer.pointer(&format!("/limits/{member}")) {
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let mut lines = format!(
        "{}: {}, {} % of movable people in the clerk arm\n",
        text("rollout"),
        text("state"),
        text("effective_percent")
    );
    if answer.get("desired_percent") != answer.get("effective_percent") {
        lines.push_str(&format!("  wanted      {} %\n", text("desired_percent")));
    }
    lines.push_str(&format!(
        "  generation  {}, dealt by {} and {}\n",
        text("generation"),
        text("algorithm"),
        text("unit")
    ));
    lines.push_str(&format!("  source      {}, {}\n", text("source"), bounds(&limit)));
    lines.push_str(&format!("  changed     {} by {}\n", text("changed_at"), text("changed_by")));
    for next in next_steps(answer) {
        lines.push_str(&format!("  next        {next}\n"));
    }
    for member in ["problem", "pending"] {
        if answer.get(member).is_some() {
            lines.push_str(&format!("  {member:<11} {}\n", text(member)));
        }
    }
    lines
}

fn bounds(limit: &dyn Fn(&str) -> String) -> String {
    let dwell = limit("min_dwell_seconds");
    let (max, step) = (limit("max_percent"), limit("max_step"));
    let pause = if dwell == "0.0" { String::new() } else { format!(", {dwell} s apart") };
    format!("up to {max} %, {step} % a step{pause}")
}

/// What there is to do from a state in which nothing rises.
fn next_steps(answer: &Value) -> &'static [&'static str] {
    match answer.get("state").and_then(Value::as_str) {
        Some("frozen") => &["nothing rises: `crossgate rollout resume`, or `rollback`"],
        Some("rolled_auto") => &[
            "`crossgate rollout resume` begins again with the first step",
            "`crossgate rollout confirm` lets the legacy side count on privileged routes too",
        ],
        Some("rolled_op") => &["`crossgate rollout resume` begins again with the first step"],
        _ => &[],
    }
}
