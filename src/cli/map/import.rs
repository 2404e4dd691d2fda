//! `crossgate map import`: a new map in place of the old one, once somebody has seen what changes.
//!
//! The input is the whole map, not an addition: what it does not name goes. Errors of the input are never forced; a
//! conflict is, by kind (`--allow`) or all at once (`--force`). What is written is sorted JSONL, whatever came in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::screen::printable;
use super::diff::{Changes, Diff, Kind};
use super::{Notation, counted, counts_json, counts_text, problems_json, read, replace, shown};
use crate::cli::{Failure, Format, say};
use crate::identity::map::{IdentityMap, Loaded, Problem, write_jsonl};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The new map: CSV with a header, or JSON lines.
    input: PathBuf,
    /// The map that is replaced; made when it is not there.
    #[arg(long, value_name = "FILE")]
    into: PathBuf,
    /// How the input is written; CSV when its name ends with .csv, else JSON lines.
    #[arg(long, value_enum, value_name = "NOTATION")]
    from: Option<Notation>,
    /// Show what would change; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Accept one kind of conflict; may be repeated.
    #[arg(long, value_enum, value_name = "KIND")]
    allow: Vec<Kind>,
    /// Accept every conflict, and replace a map that cannot be read.
    #[arg(long)]
    force: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Written,
    /// The map says the same already.
    Unchanged,
    WouldWrite,
    Refused,
}

impl Import {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let is_json = format == Some(Format::Json);
        let is_csv = self.input.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let notation = self.from.unwrap_or(if is_csv { Notation::Csv } else { Notation::Jsonl });
        let new = match read(&self.input, notation) {
            Ok(new) => new,
            Err(problems) => return Ok(unusable(&self.input, &problems, is_json, "")),
        };
        let is_new = matches!(self.into.try_exists(), Ok(false));
        let (old, is_broken) = match read(&self.into, Notation::Jsonl) {
            Ok(old) => (old.map, false),
            Err(_) if is_new => (IdentityMap::default(), false),
            Err(_) if self.force => (IdentityMap::default(), true),
            Err(problems) => {
                let help = "the map in place cannot be read, so nothing can be compared; --force replaces it\n";
                return Ok(unusable(&self.into, &problems, is_json, help));
            }
        };
        let diff = Diff::new(&old, &new);
        let refused = diff.counts.keys().any(|kind| !self.allows(*kind));
        let end = match (refused, self.dry_run) {
            (true, _) => End::Refused,
            (false, true) => End::WouldWrite,
            (false, false) if diff.is_empty() && !is_new && !is_broken => End::Unchanged,
            (false, false) => {
                replace::replace(&self.into, |out| write_jsonl(&new.map, out))
                    .map_err(|problem| format!("{} cannot be written: {problem}", self.into.display()))?;
                End::Written
            }
        };
        say(&if is_json { self.json(&diff, &new, end) } else { self.text(&diff, &new, end) });
        Ok(ExitCode::from(u8::from(end == End::Refused)))
    }

    /// A merge is allowed by its line already.
    fn allows(&self, kind: Kind) -> bool {
        self.force || kind == Kind::OrgMerge || self.allow.contains(&kind)
    }

    fn text(&self, diff: &Diff, new: &Loaded, end: End) -> String {
        let mut text = String::new();
        for conflict in &diff.conflicts {
            let place = match conflict.line {
                0 => self.input.display().to_string(),
                line => format!("{}:{line}", self.input.display()),
            };
            let verdict = if self.allows(conflict.kind) { "allowed" } else { "refused" };
            text.push_str(&format!(
                "{place}: {verdict}, {}: {}\n",
                conflict.kind.as_str(),
                printable(&conflict.message)
            ));
        }
        let all: usize = diff.counts.values().sum();
        if all > diff.conflicts.len() {
            text.push_str(&format!("and {} more\n", all - diff.conflicts.len()));
        }
        for (noun, Changes { added, changed, removed }) in
            [("users", diff.users), ("orgs", diff.orgs), ("memberships", diff.memberships)]
        {
            text.push_str(&format!("{noun}: {added} added, {changed} changed, {removed} removed\n"));
        }
        let (into, counts) = (self.into.display(), counts_text(&new.map.counts()));
        text + &match end {
            End::Written => format!("{into}: written, {counts}\n"),
            End::Unchanged => format!("{into}: says the same already, {counts}\n"),
            End::WouldWrite => format!("{into}: dry run, would be written, {counts}\n"),
            End::Refused => {
                let refused: Vec<&str> =
                    diff.counts.keys().filter(|kind| !self.allows(**kind)).map(|kind| kind.as_str()).collect();
                let allow: String = refused.iter().map(|kind| format!(" --allow {}", kind.replace('_', "-"))).collect();
                format!(
                    "{into}: not written, {} of {all}; when each is meant:{allow}\n",
                    counted(refused.len(), "kind of conflict").replace("conflicts", "conflict")
                )
            }
        }
    }

    fn json(&self, diff: &Diff, new: &Loaded, end: End) -> String {
        let changes = |changes: Changes| json!({ "added": changes.added, "changed": changes.changed, "removed": changes.removed });
        let conflicts: Vec<Value> = diff
            .conflicts
            .iter()
            .map(|conflict| {
                json!({
                    "kind": conflict.kind.as_str(),
                    "line": conflict.line,
                    "message": conflict.message,
                    "allowed": self.allows(conflict.kind),
                })
            })
            .collect();
        let totals: serde_json::Map<String, Value> =
            diff.counts.iter().map(|(kind, count)| (kind.as_str().to_owned(), (*count).into())).collect();
        let report = json!({
            "ok": end != End::Refused,
            "written": end == End::Written,
            "dry_run": self.dry_run,
            "users": changes(diff.users),
            "orgs": changes(diff.orgs),
            "memberships": changes(diff.memberships),
            "conflicts": conflicts,
            "conflict_counts": totals,
            "counts": counts_json(&new.map.counts()),
            "problems": [],
        });
        format!("{report}\n")
    }
}

/// A file with errors: nothing is compared and nothing written.
fn unusable(path: &Path, problems: &[Problem], is_json: bool, help: &str) -> ExitCode {
    say(&if is_json {
        format!("{}\n", json!({ "ok": false, "written": false, "problems": problems_json(problems) }))
    } else {
        problems.iter().map(|problem| shown(path, problem)).collect::<String>()
            + help
            + &format!("{}: not written, {}\n", path.display(), counted(problems.len(), "problem"))
    });
    ExitCode::FAILURE
}
