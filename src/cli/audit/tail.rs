//! `audit tail`: the last entries that are asked for, and with `-f` those that follow, over rotations and restarts.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::super::{Failure, Format, complain};
use super::filter::Filters;
use super::show::ended;
use super::table::{Rows, Stop};
use super::{Found, Source};
use crate::audit::chain::Line;
use crate::audit::read::{Lines, Next, Place, Unreadable, each};

/// How often a file that has ended is looked at again.
const PAUSE: Duration = Duration::from_millis(100);
/// Most entries that are shown at first: they are held in memory, at 4 KiB each at worst.
const MOST: u16 = 10_000;

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filters: Filters,
    /// Go on with what follows, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last ones, at most 10,000.
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=i64::from(MOST)))]
    count: u16,
}

impl Tail {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let Found { place, state_dir, .. } = self.source.find()?;
        let mut rows = Rows::new(self.filters.compile(state_dir.as_deref())?, format);
        let (last, rest) = last(&place, &mut rows, usize::from(self.count)).map_err(|problem| problem.to_string())?;
        let shown = rows.header().and_then(|()| last.iter().try_for_each(|line| rows.write(line)));
        let shown = shown.and_then(|()| rows.flush());
        match rest.filter(|_| self.follow && shown.is_ok()) {
            Some(rest) => ended(Follow { place: &place, seq: 0, queue: VecDeque::new() }.run(rest, &mut rows)),
            None => ended(shown.and_then(|()| rows.end())),
        }
    }
}

/// The last entries that are wanted, and where the active file was left.
fn last(place: &Place, rows: &mut Rows, count: usize) -> Result<(VecDeque<Vec<u8>>, Option<Lines>), Unreadable> {
    let mut opened = place.open()?;
    let mut found = VecDeque::new();
    let mut rest = None;
    if let Some(file) = opened.active.as_ref().and_then(|file| file.try_clone().ok()) {
        rest = each(place, file, &place.name(), None, &mut keep(&mut found, rows, count))?;
    }
    for index in (0..opened.older.len()).rev() {
        let Some(first) = opened.older.get(index).copied().filter(|_| found.len() < count) else { break };
        let after = opened.opening_after(place, index);
        let Some(file) = place.open_segment(first)? else { continue };
        let mut earlier = VecDeque::new();
        let room = count - found.len();
        each(place, file, &place.segment(first), after.as_ref(), &mut keep(&mut earlier, rows, room))?;
        earlier.append(&mut found);
        found = earlier;
    }
    Ok((found, rest))
}

fn keep(
    found: &mut VecDeque<Vec<u8>>,
    rows: &mut Rows,
    count: usize,
) -> impl FnMut(&str, u64, Option<&[u8]>) -> ControlFlow<()> {
    move |file, number, line| {
        match line {
            Some(line) if count > 0 && rows.wants(file, number, line) => {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(line.to_owned());
            }
            Some(_) => {}
            None => rows.skip(file, number),
        }
        ControlFlow::Continue(())
    }
}

struct Follow<'a> {
    place: &'a Place,
    /// The last one that was read: a file that is met again under another name shows nothing twice.
    seq: u64,
    queue: VecDeque<File>,
}

impl Follow<'_> {
    fn run(&mut self, mut lines: Lines, rows: &mut Rows) -> Result<(), Stop> {
        let name = self.place.name();
        loop {
            self.drain(&mut lines, rows, &name)?;
            rows.flush()?;
            if self.queue.is_empty() {
                self.look_on(&lines);
                // Whatever was written before the file lost its place.
                self.drain(&mut lines, rows, &name)?;
            }
            match self.queue.pop_front() {
                Some(file) => lines = Lines::of(file),
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    fn drain(&mut self, lines: &mut Lines, rows: &mut Rows, name: &str) -> Result<(), Stop> {
        loop {
            let number = lines.count + 1;
            match lines.read().map_err(Stop::Failed)? {
                Next::Line(line) => {
                    let seq = Line::read(line).map(|line| line.seq);
                    if seq.is_some_and(|seq| seq <= self.seq) {
                        continue;
                    }
                    let next = self.seq.saturating_add(1);
                    if let Some(seq) = seq.filter(|seq| self.seq > 0 && *seq > next) {
                        complain(&format!("entries {next} to {} went before they were read\n", seq - 1));
                    }
                    self.seq = seq.unwrap_or(self.seq);
                    if rows.wants(name, number, line) {
                        rows.write(line)?;
                        rows.flush()?;
                    }
                }
                Next::TooLong => rows.skip(name, number),
                Next::Unfinished(_) | Next::End => return Ok(()),
            }
        }
    }

    /// Files that came after this one. A folder that is away for a moment is waited for.
    fn look_on(&mut self, lines: &Lines) {
        let Ok(Some(opened)) = self.place.next(lines.file()) else { return };
        for first in &opened.older {
            match self.place.open_segment(*first) {
                Ok(Some(file)) => self.queue.push_back(file),
                Ok(None) | Err(_) => complain(&format!("{} went before it was read\n", self.place.segment(*first))),
            }
        }
        self.queue.extend(opened.active);
    }
}
