//! `audit verify`: the report, for people and for programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::{Failure, Format, say};
use super::{Found, Source, contents, table};
use crate::audit::Event;
use crate::audit::verify::{self, Moment, Report, Trust, Trusted};

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    source: Source,
    /// A checkpoint that was kept elsewhere, such as a copy of the one in `state_dir`; may be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A public key that was kept elsewhere, such as a copy of `audit.pub`; may be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let found = self.source.find()?;
        let (trust, notes) = self.trust(&found)?;
        let mut report = verify::verify(&found.place, &trust).map_err(|problem| problem.to_string())?;
        report.notes.splice(0..0, notes);
        let ok = report.ok() && report.entries > 0;
        let folder = found.place.active().display().to_string();
        say(&match format {
            Some(Format::Json) => format!("{}\n", to_json(&report, ok)),
            Some(Format::Human | Format::Plain) | None => to_text(&report, &folder),
        });
        Ok(ExitCode::from(u8::from(!ok)))
    }

    /// What was kept elsewhere. The witness is read here, before the trail is opened: what it covers was written by then.
    fn trust(&self, found: &Found) -> Result<(Trust, Vec<String>), Failure> {
        let (mut trust, mut notes) = (Trust::default(), Vec::new());
        for path in &self.key {
            trust.keys.extend(Trusted::read(path).map_err(|problem| format!("{}: {problem}", path.display()))?);
        }
        if let Some(state_dir) = &found.state_dir {
            match Trusted::of_private(&state_dir.join("audit.key")) {
                Ok(key) => trust.keys.push(key),
                Err(problem) => {
                    notes.push(format!("{} is not used ({problem})", state_dir.join("audit.key").display()))
                }
            }
        }
        if let Some(witness) = &found.witness {
            match contents(witness) {
                Ok(bytes) => trust.witnesses.push((witness.display().to_string(), bytes)),
                Err(problem) => notes.push(format!("not used: {problem}")),
            }
        }
        for path in &self.checkpoint {
            trust.witnesses.push((path.display().to_string(), contents(path)?));
        }
        Ok((trust, notes))
    }
}

fn to_json(report: &Report, ok: bool) -> Value {
    let moment = |moment: &Option<Moment>| moment.as_ref().map(|at| json!({ "seq": at.seq, "time": at.time }));
    let events: serde_json::Map<String, Value> =
        Event::ALL.iter().zip(report.events).map(|(event, count)| (event.as_str().to_owned(), count.into())).collect();
    let segments: Vec<Value> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.file, "first": segment.first, "last": segment.last, "entries": segment.entries,
                "sealed": segment.sealed, "checkpoints": segment.checkpoints,
            })
        })
        .collect();
    let problems: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.file, "line": problem.line, "seq": problem.seq,
                "problem": problem.broken.to_string(), "meaning": problem.broken.meaning(),
                "next": problem.broken.next(),
            })
        })
        .collect();
    let keys: Vec<Value> = report.keys.iter().map(|(id, from)| json!({ "id": id, "from": from })).collect();
    json!({
        "ok": ok, "entries": report.entries, "bytes": report.bytes, "first": moment(&report.first),
        "last": moment(&report.last), "events": events, "open": report.open, "checkpoints": report.checkpoints,
        "signed": moment(&report.signed), "keys": keys, "segments": segments, "problems": problems,
        "more_problems": report.more, "notes": report.notes,
    })
}

fn to_text(report: &Report, file: &str) -> String {
    let mut text = String::new();
    let counted = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    for segment in &report.segments {
        let state = if segment.sealed { "sealed" } else { "open" };
        let checkpoints = counted(segment.checkpoints, "checkpoint");
        let entries = counted(segment.entries, "entry").replace("entrys", "entries");
        let (first, last) = (segment.first, segment.last);
        text.push_str(&format!(
            "{}  {first} to {last}, {entries}, {state}, {checkpoints}\n",
            table::escape(&segment.file)
        ));
    }
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        let line = |name: &str, at: &Moment| format!("{name:12}{} at {}\n", at.seq, table::escape(&at.time));
        text.push_str(&format!("\n{}{}", line("first", first), line("last", last)));
        if let Some(signed) = &report.signed {
            text.push_str(&line("signed up to", signed).replace("signed up to", "signed to   "));
        }
    }
    let events = Event::ALL.iter().zip(report.events).filter(|(_, count)| *count > 0);
    let events: Vec<_> = events.map(|(event, count)| format!("{count} {}", event.as_str())).collect();
    text.push_str(&format!("{:12}{}\n", "entries", report.entries));
    if !events.is_empty() {
        text.push_str(&format!("{:12}{}\n", "of them", events.join(", ")));
        text.push_str(&format!("{:12}{} without an outcome\n", "attempts", report.open));
    }
    text.push_str(&format!("{:12}{} checked\n", "checkpoints", report.checkpoints));
    for (id, from) in &report.keys {
        text.push_str(&format!("{:12}{} from {}\n", "key", id, table::escape(from)));
    }
    for note in &report.notes {
        text.push_str(&format!("{:12}{}\n", "note", table::escape(note)));
    }
    for problem in &report.problems {
        text.push_str(&format!("\n{}", table::escape(&problem.file)));
        if let Some(line) = problem.line {
            text.push_str(&format!(":{line}"));
        }
        if let Some(seq) = problem.seq {
            text.push_str(&format!(": entry {seq}"));
        }
        text.push_str(&format!(": {}\n", table::escape(&problem.broken.to_string())));
        text.push_str(&format!("  means: {}\n  next: {}\n", problem.broken.meaning(), problem.broken.next()));
    }
    let file = table::escape(file);
    let problems = report.problems.len() as u64 + report.more;
    text.push('\n');
    text.push_str(&match (problems, report.more, report.entries) {
        (0, _, 0) => format!("{file}: nothing to prove, the trail has no entries\n"),
        (0, _, entries) => format!("{file}: ok, {}\n", counted(entries, "entry").replace("entrys", "entries")),
        (_, 0, _) => format!("{file}: broken, {}\n", counted(problems, "problem")),
        (_, more, _) => format!("{file}: broken, {}, {more} of them not shown\n", counted(problems, "problem")),
    });
    text
}
