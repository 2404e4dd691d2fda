//! `audit verify`: whether the trail is whole, and where it is not.
//!
//! Owns the walk over all segments: each line stands behind the one before it, each checkpoint covers the entry that it
//! was signed for, each seal says what its segment has, and nothing ends before the last thing that was signed. Reads
//! the checkpoints of a segment before its lines: what they cover was on disk then, so that a writer beside it causes
//! no false alarm. After a break it goes on with the next line that holds. Never repairs anything.

mod about;
mod here;
mod marks;
mod report;
mod signed;

use std::collections::HashSet;
use std::fs::File;

use super::chain::{self, Hash, Link};
use super::entry::Id;
use super::read::{Lines, Next, Opening, Place, Span, Unreadable};
use here::Here;
use marks::{Mark, Marks};
use signed::End;

pub use marks::Trusted;
pub use report::{Broken, Moment, Problem, Report, Segment};

/// Entries that may follow a checkpoint without another: twice what the writer allows, as a batch may pass the bound.
const UNCOVERED: u64 = 20_000;
/// Most attempts without an outcome that are held in memory; beyond it they are counted low.
const OPEN: usize = 1 << 20;
/// How long the checkpoint of a trail that was just closed is waited for: 2 s.
const TRIES: u32 = 40;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// What a trail is held against.
#[derive(Debug, Default)]
pub struct Trust {
    /// None: the key in the folder is believed.
    pub keys: Vec<Trusted>,
    /// Checkpoints that were kept elsewhere: where, and the bytes of the file. Read them before the trail is opened.
    pub witnesses: Vec<(String, Vec<u8>)>,
}

/// Walks the whole trail. Memory does not grow with it.
///
/// # Errors
/// [`Unreadable`]: there is no trail, or a file of it cannot be read. That something does not hold is in the report.
pub fn verify(place: &Place, trust: &Trust) -> Result<Report, Unreadable> {
    for _ in 0..TRIES {
        if let Some(report) = Walk::new(place, trust)?.all()? {
            return Ok(report);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Unreadable::Failed(place.active(), std::io::Error::other("the segment changes faster than it is read")))
}

/// Entries that were in no file when their turn came.
struct Gap {
    span: Span,
    file: String,
}

struct Walk<'a> {
    place: &'a Place,
    keys: Vec<Trusted>,
    /// Sorted: which of `trust` it is from, and what it says.
    witnesses: Vec<(usize, Mark)>,
    witness: usize,
    /// Names of them.
    from: Vec<String>,
    /// The last entry with which the trail was closed, as far as something signed says so, and who says it.
    closed: Option<(Mark, String)>,
    /// The last entry that something signed covers without closing the trail there.
    went_on: u64,
    /// Where the entry behind `closed` stands.
    behind: Option<(String, u64)>,
    /// Since when no entry is covered.
    bare: Option<Moment>,
    witnessed: bool,
    /// Checkpoint files that were there before anything was read.
    listed: Vec<u64>,
    report: Report,
    /// The last line that held.
    good: Option<Link>,
    /// The last entry that was accounted for, also by a line that did not hold.
    at: u64,
    /// The hash that the next line must stand behind, where it is known.
    hash: Option<Hash>,
    base: Option<u64>,
    number: Option<u64>,
    stopped: bool,
    retired: Vec<Span>,
    gaps: Vec<Gap>,
    ends: Vec<End>,
    open: HashSet<Id>,
    files: Vec<String>,
    last_line: u64,
}

impl<'a> Walk<'a> {
    fn new(place: &'a Place, trust: &Trust) -> Result<Self, Unreadable> {
        let mut walk = Self {
            place,
            keys: trust.keys.clone(),
            witnesses: Vec::new(),
            witness: 0,
            from: trust.witnesses.iter().map(|(from, _)| from.clone()).collect(),
            closed: None,
            went_on: 0,
            behind: None,
            bare: None,
            witnessed: false,
            listed: Vec::new(),
            report: Report::default(),
            good: None,
            at: 0,
            hash: None,
            base: None,
            number: None,
            stopped: false,
            retired: Vec::new(),
            gaps: Vec::new(),
            ends: Vec::new(),
            open: HashSet::new(),
            files: Vec::new(),
            last_line: 0,
        };
        walk.choose_keys();
        for (index, (from, bytes)) in trust.witnesses.iter().enumerate() {
            walk.take_witnesses(index, from, bytes);
        }
        walk.witnesses.sort_by_key(|(_, mark)| mark.seq);
        // A folder that is not there is told by whoever opens the trail.
        walk.listed = place.listed(Place::checkpoints).unwrap_or_default();
        Ok(walk)
    }

    /// Nothing: files were moved in a way that asks for another try.
    fn all(mut self) -> Result<Option<Report>, Unreadable> {
        let mut opened = self.place.open()?;
        loop {
            for (index, first) in opened.older.clone().into_iter().enumerate() {
                let after = opened.opening_after(self.place, index);
                // One that went since the list was made shows as a gap, which its `trail.retire` explains.
                if let Some(file) = self.place.open_segment(first)? {
                    self.segment(file, Some(first), after, false)?;
                }
            }
            let Some(file) = opened.active.take() else {
                let name = self.place.name();
                self.files.push(name.clone());
                if self.place.fresh().exists() {
                    // The next start removes it and goes on; what was signed of entries that are gone shows below.
                    self.report.note(format!("{name} is not there: the service stopped in the middle of a rotation"));
                } else {
                    self.report.broken(&name, None, self.at.saturating_add(1), Broken::NoActive);
                }
                break;
            };
            let (lines, sealed) = self.segment(file, opened.rotated, None, true)?;
            match self.place.next(lines.file())? {
                None => break,
                // What was read as the newest is not; whether its end counts is said by what came after it.
                Some(_) if !sealed => return Ok(None),
                Some(next) => opened = next,
            }
        }
        self.finish();
        Ok(Some(self.report))
    }

    fn segment(
        &mut self,
        mut file: File,
        number: Option<u64>,
        after: Option<Opening>,
        active: bool,
    ) -> Result<(Lines, bool), Unreadable> {
        let named = number.or_else(|| self.number_of_active(&mut file));
        let name = number.map_or_else(|| self.place.name(), |first| self.place.segment(first));
        let signs = self.place.checkpoints(named.unwrap_or(self.at.saturating_add(1)));
        let checkpoints = self.place.folder().join(&signs);
        let marks = Marks::open(&checkpoints).map_err(|problem| Unreadable::Failed(checkpoints.clone(), problem))?;
        self.files.push(name.clone());
        self.files.push(signs.clone());
        let mut here = Here {
            name,
            named,
            after,
            active,
            line: 0,
            first: 0,
            entries: 0,
            checkpoints: 0,
            seal: None,
            broken: false,
            declared: false,
            leftovers: 0,
            marks,
            foreign_key: false,
            bad_marks: false,
        };
        self.enter(&here);
        let mut lines = Lines::of(file);
        let path = self.place.folder().join(&here.name);
        let mut unfinished = 0;
        loop {
            match lines.read().map_err(|problem| Unreadable::Failed(path.clone(), problem))? {
                Next::Line(line) => {
                    self.report.bytes += line.len() as u64 + 1;
                    here.line += 1;
                    self.line(&mut here, line, &signs);
                }
                Next::TooLong => {
                    here.line += 1;
                    self.bad(&mut here, chain::Broken::Malformed);
                }
                Next::Unfinished(_) => {
                    unfinished = lines.unfinished();
                    break;
                }
                Next::End => break,
            }
        }
        let read = here.marks.finish(&self.keys);
        self.bad_marks(&mut here, &signs);
        read.map_err(|problem| Unreadable::Failed(checkpoints.clone(), problem))?;
        self.close(&mut here, unfinished, &signs, checkpoints);
        self.number = named.or(self.number);
        self.last_line = here.line;
        self.report.segments.push(Segment {
            file: here.name,
            first: here.first,
            last: self.at,
            entries: here.entries,
            sealed: here.seal.is_some(),
            checkpoints: here.checkpoints,
        });
        Ok((lines, here.seal.is_some()))
    }

    /// The active file has no number in its name; its checkpoints have, also when its first line is gone.
    fn number_of_active(&self, file: &mut File) -> Option<u64> {
        let begins = Opening::read(file).map(|opening| opening.first);
        let known = self.place.listed(Place::checkpoints).unwrap_or_default().into_iter().rev();
        let mut known = known.filter(|first| self.number.is_none_or(|before| *first > before));
        begins.or_else(|| known.find(|first| *first <= self.at.saturating_add(1) || self.good.is_none()))
    }

    /// What only the whole trail can tell.
    fn finish(&mut self) {
        for gap in std::mem::take(&mut self.gaps) {
            if !self.explained(gap.span.last) {
                let broken = Broken::Missing { from: gap.span.first, to: gap.span.last };
                self.report.broken(&gap.file, 1, gap.span.first, broken);
            }
        }
        if let Some(base) = self.base.filter(|base| *base > 1)
            && !self.explained(base - 1)
        {
            let file = self.files.first().cloned().unwrap_or_default();
            self.report.broken(&file, 1, base, Broken::Dropped { to: base - 1 });
        }
        let ends = std::mem::take(&mut self.ends);
        let unsigned = self.report.problems.len();
        for end in &ends {
            self.signed(end);
        }
        let signed = self
            .report
            .signed
            .as_ref()
            .map_or(0, |signed| signed.seq)
            .max(self.base.map_or(0, |base| base.saturating_sub(1)));
        let behind = self.at.saturating_sub(signed);
        if behind > UNCOVERED && !self.keys.is_empty() && self.report.problems.len() == unsigned {
            let file = self.report.segments.last().map(|last| last.file.clone()).unwrap_or_default();
            self.report.broken(&file, self.last_line, self.at, Broken::Uncovered { entries: behind });
        }
        let file = self.report.segments.last().map_or_else(|| self.place.name(), |last| last.file.clone());
        let (line, next) = (self.last_line + 1, self.at.saturating_add(1));
        for first in self.listed.iter().filter(|first| **first > self.at.max(1)) {
            let by = self.place.checkpoints(*first);
            self.report.broken(&file, line, next, Broken::Cut { covered: *first, by });
        }
        for (from, mark) in self.witnesses.iter().skip(self.witness).filter(|(_, mark)| mark.seq > self.at) {
            let by = self.from.get(*from).cloned().unwrap_or_default();
            self.report.broken(&file, line, next, Broken::Cut { covered: mark.seq, by });
        }
        self.closed_and_added_to();
        self.covered_at_all();
        if self.report.entries == 0 {
            self.report.note(format!("{} has no entries", self.place.name()));
        }
        self.report.open = self.open.len() as u64;
        let files = &self.files;
        let rank = |problem: &Problem| files.iter().position(|file| *file == problem.file).unwrap_or(usize::MAX);
        self.report.problems.sort_by_key(|problem| (rank(problem), problem.line));
    }

    /// Whether retention says that it took everything up to there. It begins with the oldest: what stands before a segment
    /// that it took is gone as well, also when the entry that says so went with a segment after it.
    fn explained(&self, last: u64) -> bool {
        self.retired.iter().any(|span| span.last >= last)
    }
}
