//! `audit show`: all entries that are asked for, oldest first.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;

use super::super::{Failure, Format};
use super::filter::Filters;
use super::table::{Rows, Stop};
use super::{Found, Source};
use crate::audit::read::{Unreadable, each};

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filters: Filters,
    /// Stop after so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Show {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let found = self.source.find()?;
        let mut rows = Rows::new(self.filters.compile(found.state_dir.as_deref())?, format);
        let shown = self.show(&found, &mut rows)?;
        ended(shown.and_then(|()| rows.end()))
    }

    fn show(&self, found: &Found, rows: &mut Rows) -> Result<Result<(), Stop>, Failure> {
        let Found { place, .. } = found;
        let mut opened = place.open().map_err(|problem| problem.to_string())?;
        if let Err(stop) = rows.header() {
            return Ok(Err(stop));
        }
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut outcome = Ok(());
        let mut show = |file: &str, number: u64, line: Option<&[u8]>| {
            let Some(line) = line else {
                rows.skip(file, number);
                return ControlFlow::Continue(());
            };
            if left == 0 {
                return ControlFlow::Break(());
            }
            if rows.wants(file, number, line) {
                left -= 1;
                outcome = rows.write(line);
            }
            if outcome.is_err() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let failed = |problem: Unreadable| Failure::Failed(problem.to_string());
        for (index, first) in opened.older.clone().into_iter().enumerate() {
            let after = opened.opening_after(place, index);
            let Some(file) = place.open_segment(first).map_err(failed)? else { continue };
            let name = place.segment(first);
            if each(place, file, &name, after.as_ref(), &mut show).map_err(failed)?.is_none() {
                return Ok(outcome);
            }
        }
        if let Some(file) = opened.active.take() {
            each(place, file, &place.name(), None, &mut show).map_err(failed)?;
        }
        Ok(outcome)
    }
}

/// A reader that went away ended it, and that is no failure.
pub(super) fn ended(outcome: Result<(), Stop>) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(()) | Err(Stop::Gone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(problem)) => Err(format!("stdout cannot be written: {problem}").into()),
    }
}
