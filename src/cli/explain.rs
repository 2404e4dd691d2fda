//! `crossgate explain`: one request, decided by the same code that serves, with every step's reason.

mod text;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::screen::Screen;
use super::{ConfigPath, Failure, Format, first_problem, say};
use crate::clock::{self, Now};
use crate::config;
use crate::explain::{self, Asked, Explained, Question, Read, show};
use crate::gate::decide::World;
use crate::identity::clerk;
use crate::misfit;
use crate::persona::{Assumed, Beside, Persona};
use crate::rollout;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;

/// Longest person on stdin.
const MAX_PERSON: u64 = 1 << 20;
/// How long key sets may take to come.
const KEYS_WAIT: Duration = Duration::from_secs(6);

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    path: ConfigPath,
    /// `GET`, `POST` …
    method: String,
    /// A path (`/v1/x?y=z`) or a whole URL, whose host becomes the Host header.
    url: String,
    /// A request header as `name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Decide as this person instead of by credentials: a YAML or JSON file such as `{ user: u1, org: acme, role: org:member }`,
    /// `-` for stdin, or that text itself.
    #[arg(long = "as", value_name = "FILE")]
    persona: Option<String>,
    /// Decide at this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Explain {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let loaded = config::load(&self.path.config, &|name| std::env::var(name).ok(), &metrics, None);
        let Some(compiled) = loaded.compiled else {
            return Err(first_problem(&loaded.problems, &self.path.config).into());
        };
        let snapshot = compiled.snapshot;
        let now = match &self.at {
            None => clock::now(),
            Some(text) => {
                explain::instant(text).map_err(|problem| Failure::Usage(format!("--at {text}: {problem}")))?
            }
        };
        let lines = self.headers.iter().map(|line| {
            // Without a colon it may be a credential alone, which is nobody's to see.
            line.split_once(':').ok_or_else(|| Failure::Usage("-H: expected 'name: value'".to_owned()))
        });
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let asked =
            Asked::new(&self.method, &self.url, lines).map_err(|problem| Failure::Usage(problem.to_string()))?;
        let method = asked.method.clone();
        let explained = match explain::read(asked, &snapshot) {
            Read::Question(question) => self.decide(question, &snapshot, now, &compiled.settings.state_dir)?,
            Read::Refused(explained) => explained,
            Read::OfTheServer => {
                return Err(Failure::Usage(format!(
                    "{}: crossgate answers this itself, and no route decides about it",
                    self.url
                )));
            }
        };
        if format == Some(Format::Json) {
            say(&format!("{}\n", show::to_json(&explained, &snapshot)));
        } else {
            say(&text::of(&explained, &snapshot, &method, Screen::of_stdout(format)));
        }
        Ok(ExitCode::from(if explained.decision.outcome.is_ok() { 0 } else { 3 }))
    }

    fn decide(
        &self,
        question: Question,
        snapshot: &Snapshot,
        now: Now,
        state_dir: &Path,
    ) -> Result<Explained, Failure> {
        let rollout = snapshot.rollout.as_ref().map(|plan| rollout::control::peek(plan, state_dir, now.unix_ms));
        let world = World { snapshot, rollout: rollout.as_ref() };
        if let Some(persona) = &self.persona {
            return Ok(question.assume(world, &person(persona, snapshot)?, now)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|problem| format!("key sets cannot be fetched: {problem}"))?;
        Ok(runtime.block_on(async {
            if question.needs_keys(snapshot) {
                fetch_keys(snapshot, state_dir).await;
            }
            question.ask(world, now).await
        }))
    }
}

/// Reads a person, from a file, from stdin or as typed; JSON is YAML.
fn person(typed: &str, snapshot: &Snapshot) -> Result<Assumed, String> {
    let (whence, text) = if typed.trim_start().starts_with('{') {
        ("--as", typed.to_owned())
    } else if typed == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_PERSON)
            .read_to_string(&mut text)
            .map_err(|problem| format!("stdin cannot be read: {problem}"))?;
        ("stdin", text)
    } else {
        (typed, std::fs::read_to_string(typed).map_err(|problem| format!("{typed} cannot be read: {problem}"))?)
    };
    let value: serde_yaml::Value =
        serde_yaml::from_str(&text).map_err(|problem| format!("{whence} is neither YAML nor JSON: {problem}"))?;
    let persona: Persona = misfit::strictly(value).map_err(|problem| format!("{whence}: {problem}"))?;
    persona.assume(Beside::of(snapshot)).map_err(|misfit| format!("{whence}: {misfit}"))
}

/// Brings the key sets that are not in a file: the last good ones of `state_dir`, else fetched.
async fn fetch_keys(snapshot: &Snapshot, state_dir: &std::path::Path) {
    let of_clerk = snapshot.instances.iter().map(|instance| &instance.keys);
    let of_legacy = snapshot.legacy.iter().filter_map(|legacy| legacy.keys());
    for keys in of_clerk.chain(of_legacy) {
        let task = clerk::refresh::spawn(Arc::clone(keys), state_dir);
        // Without keys the decision says so.
        let _ = tokio::time::timeout(KEYS_WAIT, keys.first_attempt()).await;
        if let Some(task) = task {
            task.abort();
        }
    }
}
