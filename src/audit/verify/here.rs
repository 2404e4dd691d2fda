//! The file that is being read, and each of its lines in its place.
//!
//! Owns whether a line stands behind the one before it, also after a break, and what an end of a file may look like.

use std::path::PathBuf;

use super::marks::Marks;
use super::report::{Broken, Moment};
use super::signed::End;
use super::{Gap, OPEN, Walk};
use crate::audit::chain::{self, Hash, Line, Link};
use crate::audit::entry::{Event, Id};
use crate::audit::read::{About, Opening, Span, time};

/// The file that is being read.
pub(super) struct Here {
    pub(super) name: String,
    /// The first entry that it must have.
    pub(super) named: Option<u64>,
    /// How the file after it begins.
    pub(super) after: Option<Opening>,
    pub(super) active: bool,
    /// Lines so far, also bad ones.
    pub(super) line: u64,
    pub(super) first: u64,
    pub(super) entries: u64,
    pub(super) checkpoints: u64,
    pub(super) seal: Option<u64>,
    pub(super) broken: bool,
    pub(super) declared: bool,
    pub(super) leftovers: u64,
    pub(super) marks: Marks,
    /// That another key signed is told already.
    pub(super) foreign_key: bool,
    /// It has checkpoints that are no good, as is told: that good ones are missing is no finding of its own then.
    pub(super) bad_marks: bool,
}

impl Here {
    /// Whether an entry of this seq is what a failed disk left behind.
    pub(super) fn is_rest(&self, seq: u64) -> bool {
        self.after.as_ref().is_some_and(|after| after.leaves_a_rest() && seq >= after.first)
    }
}

impl Walk<'_> {
    /// Before the first line of a file: what must stand in front of it.
    pub(super) fn enter(&mut self, here: &Here) {
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

    pub(super) fn begin(&mut self, first: u64) {
        self.base = Some(first);
        self.at = first.saturating_sub(1);
        self.hash = (first <= 1).then_some(Hash::GENESIS);
    }

    pub(super) fn line(&mut self, here: &mut Here, bytes: &[u8], signs: &str) {
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
    pub(super) fn stands(&mut self, here: &mut Here, line: &Line<'_>, opens: bool) -> bool {
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
    pub(super) fn bad(&mut self, here: &mut Here, broken: chain::Broken) {
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

    pub(super) fn count(&mut self, here: &mut Here, line: &Line<'_>) {
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

    /// The end of a file.
    pub(super) fn close(&mut self, here: &mut Here, unfinished: u64, signs: &str, checkpoints: PathBuf) {
        let next = self.at.saturating_add(1);
        if unfinished > 0 {
            if here.is_rest(next) {
                here.leftovers += 1;
            } else if here.active && self.closed.as_ref().is_some_and(|(end, _)| end.seq == self.at) {
                // Nobody writes behind an end that was signed, and so no crash leaves half a line there.
                let _ = self.behind.get_or_insert_with(|| (here.name.clone(), here.line + 1));
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
        if (here.seal.is_some() || stopped) && !here.bad_marks && here.marks.last.is_none_or(|mark| mark.seq < link.seq)
        {
            let (file, line) = (here.name.clone(), here.line);
            // A process that ends signs before and after it says so. One that is killed may come between a seal, or its
            // last word, and the checkpoint.
            let bare = here.marks.last.is_none() && (stopped || !here.active);
            self.ends.push(End { checkpoints, file, line, link, fresh: here.active, bare });
        }
    }
}
