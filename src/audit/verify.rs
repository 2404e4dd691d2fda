//! `audit verify`: whether the trail is whole, and where it is not.
//!
//! Owns the walk over all segments: each line stands behind the one before it, each checkpoint covers the entry that it
//! was signed for, each seal says what its segment has, and nothing ends before the last thing that was signed. Reads
//! the checkpoints of a segment before its lines: what they cover was on disk then, so that a writer beside it causes
//! no false alarm. After a break it goes on with the next line that holds. Never repairs anything.

mod marks;
mod report;

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;

use super::chain::{self, Hash, Line, Link};
use super::entry::{Event, Id};
use super::read::{About, Lines, Next, Opening, Place, Span, Unreadable, time};
use super::regular;
use marks::{Mark, Marks, checked};

pub use marks::Trusted;
pub use report::{Broken, Moment, Problem, Report, Segment};

/// Entries that may follow a checkpoint without another: twice what the writer allows, as a batch may pass the bound.
const UNCOVERED: u64 = 20_000;
/// Seconds, by the entries' own clock, after which entries that nothing covers are worth a note. No more than that: a
/// clock that was set, or a disk that took no checkpoint, does the same.
const UNSIGNED_S: i64 = 300;
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

/// The file that is being read.
struct Here {
    name: String,
    /// The first entry that it must have.
    named: Option<u64>,
    /// How the file after it begins.
    after: Option<Opening>,
    active: bool,
    /// Lines so far, also bad ones.
    line: u64,
    first: u64,
    entries: u64,
    checkpoints: u64,
    seal: Option<u64>,
    broken: bool,
    declared: bool,
    leftovers: u64,
    marks: Marks,
    /// That another key signed is told already.
    foreign_key: bool,
}

impl Here {
    /// Whether an entry of this seq is what a failed disk left behind.
    fn is_rest(&self, seq: u64) -> bool {
        self.after.as_ref().is_some_and(|after| after.leaves_a_rest() && seq >= after.first)
    }
}

/// Entries that were in no file when their turn came.
struct Gap {
    span: Span,
    file: String,
}

/// An end that must be signed.
struct End {
    checkpoints: PathBuf,
    file: String,
    line: u64,
    link: Link,
    /// The process may be about to sign it.
    fresh: bool,
    /// Only deleted checkpoints leave it so, unless a later one was signed; else a crash may have come first.
    bare: bool,
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

    fn choose_keys(&mut self) {
        let path = self.place.public_key();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let found = regular::read(&path, regular::KEYS);
        if let Err(problem) = found.as_ref()
            && problem.kind() != std::io::ErrorKind::NotFound
        {
            self.report.note(format!("{name} cannot be read: {problem}"));
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let found = found.map(|bytes| Trusted::all(&text(bytes), &path.display().to_string())).unwrap_or_default();
        if self.keys.is_empty() {
            if found.is_empty() {
                self.report.broken(&name, None, None, Broken::NoKey);
            }
            self.keys = found;
        } else {
            let is_known = |key: &&Trusted| self.keys.iter().any(|known| known.id == key.id);
            let strangers: Vec<_> = found.iter().filter(|key| !is_known(key)).map(|key| key.id.clone()).collect();
            if !found.is_empty() && strangers.len() == found.len() {
                self.report.broken(&name, None, None, Broken::OtherKey { key: strangers.join(", ") });
            } else if !strangers.is_empty() {
                self.report.note(format!("{name} also has {}, which is not trusted", strangers.join(", ")));
            }
        }
        self.report.keys = self.keys.iter().map(|key| (key.id.clone(), key.from.clone())).collect();
    }

    fn take_witnesses(&mut self, index: usize, from: &str, bytes: &[u8]) {
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            if line.iter().all(u8::is_ascii_whitespace) || self.keys.is_empty() {
                continue;
            }
            match checked(line, number, &self.keys) {
                Ok(mark) => self.witnesses.push((index, mark)),
                Err(broken) => self.report.broken(from, number, None, broken),
            }
        }
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

    fn bad_marks(&mut self, here: &mut Here, signs: &str) {
        let bad = std::mem::take(&mut here.marks.bad);
        if self.keys.is_empty() {
            return;
        }
        for (line, broken) in bad {
            // A file that another key signed is one finding, not one per line.
            if matches!(broken, Broken::ForeignKey { .. }) && std::mem::replace(&mut here.foreign_key, true) {
                continue;
            }
            self.report.broken(signs, line, None, broken);
        }
    }

    /// Before the first line of a file: what must stand in front of it.
    fn enter(&mut self, here: &Here) {
        let Some(first) = here.named else { return };
        if self.base.is_none() {
            self.begin(first);
        } else if first > self.at.saturating_add(1) {
            let span = Span { first: self.at.saturating_add(1), last: first - 1 };
            self.gaps.push(Gap { span, file: here.name.clone() });
            self.at = first - 1;
            self.hash = None;
        }
    }

    fn begin(&mut self, first: u64) {
        self.base = Some(first);
        self.at = first.saturating_sub(1);
        self.hash = (first <= 1).then_some(Hash::GENESIS);
    }

    fn line(&mut self, here: &mut Here, bytes: &[u8], signs: &str) {
        let Some(line) = Line::read(bytes) else { return self.bad(here, chain::Broken::Malformed) };
        if let Err(broken) = line.check() {
            return self.bad(here, broken);
        }
        if here.is_rest(line.seq) {
            here.leftovers += 1;
            return;
        }
        if let Some(seal) = here.seal
            && here.line == seal + 1
        {
            self.report.broken(&here.name, here.line, line.seq, Broken::AfterSeal);
            here.broken = true;
        }
        let about = About::read(&line);
        let opens = here.line == 1 && about.as_ref().is_some_and(|about| about.action == "trail.open");
        if self.base.is_none() {
            self.begin(line.seq);
        }
        if !self.stands(here, &line, opens) {
            return;
        }
        if here.line == 1 && !opens {
            self.report.broken(&here.name, here.line, line.seq, Broken::NoOpening);
        }
        self.stopped = false;
        if let Some(about) = about {
            self.about(here, &line, about);
        }
        self.count(here, &line);
        self.compare(here, &line, signs);
    }

    /// Whether a line that holds in itself stands where it should; also one that only follows lines that do not.
    fn stands(&mut self, here: &mut Here, line: &Line<'_>, opens: bool) -> bool {
        let expected = self.at.saturating_add(1);
        let before = self.good.map_or(0, |good| good.seq);
        let sequence = chain::Broken::Sequence { expected, found: line.seq };
        let broken = if line.seq == expected {
            self.hash.is_some_and(|hash| hash != line.prev).then_some(chain::Broken::Previous)
        } else if opens && here.named == Some(line.seq) && line.seq <= self.at {
            // The files before it go on past its beginning: told there, or by the reason that it gives.
            let declared = About::read(line).is_some_and(|about| about.reason == "broken");
            (!declared).then_some(sequence)
        } else if self.at > before && line.seq > before && line.seq < expected {
            // Bad lines were inserted, or one was made two.
            let follows = self.good.is_none_or(|good| line.seq != good.seq + 1 || line.prev == good.hash);
            (!follows).then_some(chain::Broken::Previous)
        } else if line.seq > expected {
            Some(sequence)
        } else {
            self.report.broken(&here.name, here.line, line.seq, Broken::Chain(sequence));
            here.broken = true;
            return false;
        };
        if let Some(broken) = broken {
            let named = here.named.filter(|named| opens && *named != line.seq);
            let broken = named.map_or(Broken::Chain(broken), |named| Broken::Name { named });
            self.report.broken(&here.name, here.line, line.seq, broken);
            here.broken = true;
        }
        self.at = line.seq;
        self.hash = Some(line.hash);
        self.good = Some(Link { seq: line.seq, hash: line.hash });
        true
    }

    /// A line that holds nothing: it stands for the entry that should be there.
    fn bad(&mut self, here: &mut Here, broken: chain::Broken) {
        if here.is_rest(self.at.saturating_add(1)) {
            here.leftovers += 1;
            return;
        }
        if self.base.is_none() {
            self.begin(here.named.unwrap_or(1));
        }
        self.at = self.at.saturating_add(1);
        self.hash = None;
        self.report.broken(&here.name, here.line, self.at, Broken::Chain(broken));
        here.broken = true;
    }

    fn about(&mut self, here: &mut Here, line: &Line<'_>, about: About) {
        match about.action.as_str() {
            "trail.open" if about.reason == "broken" => self.declare(here, line.seq, about.reason),
            "trail.open" if about.reason == "recovered" => {
                let file = &here.name;
                self.report.note(format!("{file}: begun at entry {} because the disk failed before it", line.seq));
            }
            "trail.broken" => {
                let (file, number, reason) = (&here.name, here.line, &about.reason);
                self.report.note(format!("{file}:{number}: the service found that {reason}"));
                self.declare(here, line.seq, about.reason);
            }
            // Only what stands before it can have been taken away.
            "trail.retire" => {
                self.retired.extend(about.seal.filter(|span| span.first <= span.last && span.last < line.seq))
            }
            "trail.torn" => self.report.note(format!(
                "{}:{}: {} bytes that were never acknowledged were cut at the start of entry {}; they are in {:?}",
                here.name,
                here.line,
                about.count.unwrap_or_default(),
                line.seq,
                about.resource,
            )),
            "trail.stop" => self.stopped = true,
            "trail.seal" => self.seal(here, line.seq, &about),
            _ => {}
        }
    }

    fn declare(&mut self, here: &mut Here, seq: u64, reason: String) {
        // The opening and the entry that explains it are one finding.
        if !std::mem::replace(&mut here.declared, true) {
            self.report.broken(&here.name, here.line, seq, Broken::Declared { reason });
        }
    }

    fn seal(&mut self, here: &mut Here, seq: u64, about: &About) {
        here.seal = Some(here.line);
        // In a segment with a break the figures differ because of it.
        if here.broken {
            return;
        }
        let said = about.seal.unwrap_or(Span { first: 0, last: 0 });
        let facts = [
            ("count", about.count.unwrap_or_default(), here.line - 1),
            ("first", said.first, here.first),
            ("last", said.last, seq - 1),
        ];
        for (field, said, found) in facts.into_iter().filter(|(_, said, found)| said != found) {
            self.report.broken(&here.name, here.line, seq, Broken::Seal { field, said, found });
        }
    }

    fn count(&mut self, here: &mut Here, line: &Line<'_>) {
        here.entries += 1;
        if here.first == 0 {
            here.first = line.seq;
        }
        let report = &mut self.report;
        report.entries += 1;
        let moment = |time: &str| Moment { seq: line.seq, time: time.to_owned() };
        if report.first.is_none() {
            report.first = Some(moment(time(line).unwrap_or_default()));
        }
        match &mut report.last {
            Some(last) => {
                last.seq = line.seq;
                last.time.clear();
                last.time.push_str(time(line).unwrap_or_default());
            }
            None => report.last = Some(moment(time(line).unwrap_or_default())),
        }
        let event = line.event();
        for (event, count) in
            Event::ALL.iter().zip(&mut report.events).filter(|(known, _)| known.as_str().as_bytes() == event)
        {
            *count += 1;
            match event {
                Event::Attempt if self.open.len() < OPEN => self.open.extend(Id::parse(line.id())),
                Event::Outcome => {
                    if let Some(attempt) = line.reference().and_then(Id::parse) {
                        self.open.remove(&attempt);
                    }
                }
                _ => {}
            }
        }
    }

    /// Holds a line against what was signed.
    fn compare(&mut self, here: &mut Here, line: &Line<'_>, signs: &str) {
        if self.behind.is_none() && self.closed.as_ref().is_some_and(|(end, _)| end.seq < line.seq) {
            self.behind = Some((here.name.clone(), here.line));
        }
        let mut covered = false;
        while let Some(mark) = here.marks.next_to(line.seq, &self.keys) {
            // The first of a trail, made before its first entry.
            let first = mark.seq == 0 && line.seq == 1;
            let hash = if first { line.prev } else { line.hash };
            if (first || mark.seq == line.seq) && mark.hash == hash {
                here.checkpoints += 1;
                self.report.checkpoints += 1;
                if !first {
                    covered = true;
                    self.report.signed.clone_from(&self.report.last);
                }
            } else if mark.seq == line.seq {
                let by = format!("{signs}:{}", mark.line);
                self.report.broken(&here.name, here.line, line.seq, Broken::Rewritten { by });
            } else if here.named.is_some_and(|named| mark.seq < named) {
                self.report.broken(signs, mark.line, None, Broken::Misplaced { seq: mark.seq });
            }
            self.heed(mark, || format!("{signs}:{}", mark.line));
        }
        if !here.marks.bad.is_empty() {
            self.bad_marks(here, signs);
        }
        while let Some((from, mark)) = self.witnesses.get(self.witness).filter(|(_, mark)| mark.seq <= line.seq) {
            let (mark, from) = (*mark, self.from.get(*from).cloned().unwrap_or_default());
            let seq = mark.seq;
            self.witness += 1;
            if seq == line.seq && mark.hash != line.hash {
                self.report.broken(&here.name, here.line, line.seq, Broken::Rewritten { by: from.clone() });
            } else if seq == line.seq {
                (covered, self.witnessed) = (true, true);
                self.report.note(format!("{from} covers entry {seq}, which is there as it was signed"));
            } else if seq > 0 && self.base.is_some_and(|base| seq < base) {
                self.report.note(format!("{from} covers entry {seq}, which is older than what is kept"));
            }
            self.heed(mark, || from);
        }
        if covered {
            self.bare = None;
        } else if self.bare.is_none() {
            self.bare.clone_from(&self.report.last);
        }
    }

    /// What a checkpoint says of where the trail was closed.
    fn heed(&mut self, mark: Mark, by: impl FnOnce() -> String) {
        if !mark.end {
            self.went_on = self.went_on.max(mark.seq);
        } else if self.closed.as_ref().is_none_or(|(end, _)| end.seq < mark.seq) {
            (self.closed, self.behind) = (Some((mark, by())), None);
        }
    }

    /// The end of a file.
    fn close(&mut self, here: &mut Here, unfinished: u64, signs: &str, checkpoints: PathBuf) {
        let next = self.at.saturating_add(1);
        if unfinished > 0 {
            if here.is_rest(next) {
                here.leftovers += 1;
            } else if here.active {
                self.report.note(format!(
                    "{}:{}: an unfinished line of {unfinished} bytes: being written, or what a crash left",
                    here.name,
                    here.line + 1
                ));
            } else {
                self.report.broken(&here.name, here.line + 1, next, Broken::Unfinished);
                here.broken = true;
            }
        }
        if here.leftovers > 0 {
            self.report.note(format!(
                "{}: {} lines at its end were never acknowledged, the disk failed; they do not count",
                here.name, here.leftovers
            ));
        }
        if let Some(beyond) = here.marks.last.filter(|mark| mark.seq > self.at) {
            let by = format!("{signs}:{}", beyond.line);
            let broken = Broken::Cut { covered: beyond.seq, by };
            self.report.broken(&here.name, here.line + 1, next, broken);
            here.broken = true;
        }
        let rotated = here.after.as_ref().is_some_and(|after| after.reason == "rotated");
        if rotated && here.seal.is_none() && !here.broken {
            self.report.broken(&here.name, here.line + 1, next, Broken::NoSeal);
        }
        let Some(link) = self.good.filter(|_| !self.keys.is_empty()) else { return };
        let stopped = here.active && self.stopped;
        if (here.seal.is_some() || stopped) && here.marks.last.is_none_or(|mark| mark.seq < link.seq) {
            let (file, line) = (here.name.clone(), here.line);
            // A process that ends signs before and after it says so. One that is killed may come between a seal, or its
            // last word, and the checkpoint.
            let bare = here.marks.last.is_none() && (stopped || !here.active);
            self.ends.push(End { checkpoints, file, line, link, fresh: here.active, bare });
        }
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

    /// Behind an end that was signed nobody but the next start writes, and that signs before it does.
    fn closed_and_added_to(&mut self) {
        let Some((end, by)) = self.closed.take().filter(|(end, _)| end.seq > self.went_on) else {
            return;
        };
        let Some((file, line)) = self.behind.take() else { return };
        // Read before the lines were, and a service may have started in between.
        let before = self.report.segments.iter().map(|segment| segment.first).filter(|first| *first <= end.seq).max();
        let path = self.place.folder().join(self.place.checkpoints(before.unwrap_or(1)));
        let mut marks = Marks::open(&path).unwrap_or_default();
        while let Some(mark) = marks.next_to(u64::MAX, &self.keys) {
            if !mark.end && mark.seq >= end.seq {
                return;
            }
        }
        self.report.broken(&file, line, end.seq.saturating_add(1), Broken::BehindEnd { end: end.seq, by });
    }

    /// The first checkpoint is older than the first entry.
    fn covered_at_all(&mut self) {
        if self.keys.is_empty() || self.report.entries == 0 {
            return;
        }
        if self.report.checkpoints == 0 && !self.witnessed && self.report.ok() {
            let (file, line) = (self.report.segments.last().map(|last| last.file.clone()), self.last_line);
            let file = file.unwrap_or_else(|| self.place.name());
            self.report.broken(&file, line, self.at, Broken::NothingSigned);
        } else if let (Some(from), Some(to)) = (&self.bare, &self.report.last) {
            let at = |moment: &Moment| moment.time.parse::<jiff::Timestamp>().ok();
            let took = at(from).zip(at(to)).map_or(0, |(from, to)| to.duration_since(from).as_secs());
            if took > UNSIGNED_S {
                let note = format!(
                    "no checkpoint covers entries {} to {}, of {} minutes; while entries come one is signed each minute",
                    from.seq,
                    to.seq,
                    took / 60
                );
                self.report.note(note);
            }
        }
    }

    /// Whether retention says that it took everything up to there. It begins with the oldest: what stands before a segment
    /// that it took is gone as well, also when the entry that says so went with a segment after it.
    fn explained(&self, last: u64) -> bool {
        self.retired.iter().any(|span| span.last >= last)
    }

    /// An end whose checkpoint was not there before its lines were read: perhaps it is now. What a later one covers is
    /// proved by that one, as a crash or a full disk can come between a seal and its checkpoint.
    fn signed(&mut self, end: &End) {
        let later = self.report.signed.as_ref().is_some_and(|signed| signed.seq >= end.link.seq);
        let tries = if end.fresh && !later { TRIES } else { 1 };
        for attempt in 0..tries {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let mut marks = Marks::open(&end.checkpoints).unwrap_or_default();
            let mut other = false;
            while let Some(mark) = marks.next_to(u64::MAX, &self.keys) {
                other |= mark.seq == end.link.seq && mark.hash != end.link.hash;
                self.heed(mark, || format!("{}:{}", end.checkpoints.display(), mark.line));
            }
            if other {
                let by = end.checkpoints.display().to_string();
                self.report.broken(&end.file, end.line, end.link.seq, Broken::Rewritten { by });
                return;
            }
            if marks.last.is_some_and(|mark| mark.seq >= end.link.seq) {
                self.raise(end.link);
                return;
            }
            // Retired in the meantime, with its checkpoints.
            if !marks.present && self.retired.iter().any(|span| span.last >= end.link.seq) {
                return;
            }
        }
        if later || !end.bare {
            let (file, seq) = (&end.file, end.link.seq);
            let by = if later { "; a later one covers it" } else { ": what a crash leaves, or it was deleted" };
            self.report.note(format!("{file}: no checkpoint at its end, entry {seq}{by}"));
        } else {
            self.report.broken(&end.file, end.line, end.link.seq, Broken::Unsigned { seq: end.link.seq });
        }
    }

    fn raise(&mut self, link: Link) {
        if let Some(last) = self.report.last.as_ref().filter(|last| last.seq == link.seq) {
            self.report.signed = Some(last.clone());
        }
    }
}
