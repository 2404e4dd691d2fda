//! `crossgate map`: check the identity map, replace it, write it out.
//!
//! Works on files; a running gate takes up the new map by itself. Rules of lines and of the whole map are those of
//! `identity::map`, the same as when it is loaded.

mod csv;
mod diff;
mod export;
mod import;
mod replace;
mod verify;

use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::screen::printable;
use super::{Failure, Format};
use crate::identity::map::{self, Builder, Counts, Loaded, Problem, State};

#[derive(Debug, Args)]
pub(super) struct Map {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a map: every problem with its line, counts, ids that look alike.
    #[command(after_help = "Example:\n  crossgate map verify map.jsonl")]
    Verify {
        /// The map.
        file: PathBuf,
    },
    /// Replace a map by a new one, after showing what changes and refusing what should not.
    #[command(
        after_help = "Examples:\n  crossgate map import people.csv --into map.jsonl --dry-run\n  crossgate map import people.csv --into map.jsonl --allow role-raise"
    )]
    Import(import::Import),
    /// Write a map to stdout, sorted.
    #[command(after_help = "Example:\n  crossgate map export map.jsonl --to csv > map.csv")]
    Export(export::Export),
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Notation {
    /// One JSON object a line, as the gate reads it.
    Jsonl,
    /// A header and one record a line.
    Csv,
}

impl Map {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Verify { file } => verify::run(&file, format),
            Action::Import(import) => import.run(format),
            Action::Export(export) => export.run(),
        }
    }
}

/// Reads a file in either notation.
fn read(path: &Path, notation: Notation) -> Result<Loaded, Vec<Problem>> {
    let file = map::open(path).map_err(|message| vec![Problem { line: 0, message }])?;
    let source = BufReader::with_capacity(map::MAX_LINE, file);
    match notation {
        Notation::Jsonl => map::read(source),
        Notation::Csv => read_csv(source),
    }
}

fn read_csv(source: BufReader<impl Read>) -> Result<Loaded, Vec<Problem>> {
    let mut builder = Builder::default();
    let mut table: Option<csv::Table> = None;
    map::lines(source, &mut builder, |number, bytes, builder| {
        let outcome = match &mut table {
            Some(table) => table.line(bytes).map(|line| builder.add(number, &line)),
            None => csv::Table::new(bytes).map(|header| table = Some(header)),
        };
        if let Err(message) = outcome {
            builder.problem(number, message);
        }
        // Without a header no record means anything.
        if table.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    builder.finish()
}

/// `map.jsonl:3: …`, as compilers write it.
fn shown(path: &Path, problem: &Problem) -> String {
    match problem.line {
        // Names the file by itself when it cannot be read.
        0 => format!("{}\n", printable(&problem.message)),
        line => format!("{}:{line}: {}\n", path.display(), printable(&problem.message)),
    }
}

fn problems_json(problems: &[Problem]) -> Value {
    problems.iter().map(|problem| json!({ "line": problem.line, "message": problem.message })).collect()
}

fn counts_json(counts: &Counts) -> Value {
    let users: serde_json::Map<String, Value> =
        State::ALL.iter().zip(counts.users).map(|(state, count)| (state.as_str().to_owned(), count.into())).collect();
    json!({ "users": users, "orgs": counts.orgs, "memberships": counts.memberships })
}

/// `3 users (2 linked, 1 sealed), 1 org, 0 memberships`
fn counts_text(counts: &Counts) -> String {
    let all: usize = counts.users.iter().sum();
    let by_state: Vec<String> = State::ALL
        .iter()
        .zip(counts.users)
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    let states = if by_state.is_empty() { String::new() } else { format!(" ({})", by_state.join(", ")) };
    format!(
        "{}{states}, {}, {}",
        counted(all, "user"),
        counted(counts.orgs, "org"),
        counted(counts.memberships, "membership")
    )
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
