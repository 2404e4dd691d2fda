//! The walk held against what was signed: checkpoints beside the segments, and those that were kept elsewhere.
//!
//! Owns which keys are believed, which ends must be signed, and what stands behind an end that nobody went on from.

use std::path::PathBuf;

use super::here::Here;
use super::marks::{Mark, Marks, Trusted, checked};
use super::report::{Broken, Moment};
use super::{PAUSE, TRIES, Walk};
use crate::audit::chain::{Line, Link};
use crate::audit::regular;

/// Seconds, by the entries' own clock, after which entries that nothing covers are worth a note. No more than that: a
/// clock that was set, or a disk that took no checkpoint, does the same.
const UNSIGNED_S: i64 = 300;

/// An end that must be signed.
pub(super) struct End {
    pub(super) checkpoints: PathBuf,
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) link: Link,
    /// The process may be about to sign it.
    pub(super) fresh: bool,
    /// Only deleted checkpoints leave it so, unless a later one was signed; else a crash may have come first.
    pub(super) bare: bool,
}

impl Walk<'_> {
    pub(super) fn choose_keys(&mut self) {
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

    pub(super) fn take_witnesses(&mut self, index: usize, from: &str, bytes: &[u8]) {
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

    pub(super) fn bad_marks(&mut self, here: &mut Here, signs: &str) {
        let bad = std::mem::take(&mut here.marks.bad);
        if self.keys.is_empty() {
            return;
        }
        here.bad_marks |= !bad.is_empty();
        for (line, broken) in bad {
            // A file that another key signed is one finding, not one per line.
            if matches!(broken, Broken::ForeignKey { .. }) && std::mem::replace(&mut here.foreign_key, true) {
                continue;
            }
            self.report.broken(signs, line, None, broken);
        }
    }

    /// Holds a line against what was signed.
    pub(super) fn compare(&mut self, here: &mut Here, line: &Line<'_>, signs: &str) {
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
    pub(super) fn heed(&mut self, mark: Mark, by: impl FnOnce() -> String) {
        if !mark.end {
            self.went_on = self.went_on.max(mark.seq);
        } else if self.closed.as_ref().is_none_or(|(end, _)| end.seq < mark.seq) {
            (self.closed, self.behind) = (Some((mark, by())), None);
        }
    }

    /// An end whose checkpoint was not there before its lines were read: perhaps it is now. What a later one covers is
    /// proved by that one, as a crash or a full disk can come between a seal and its checkpoint.
    pub(super) fn signed(&mut self, end: &End) {
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

    pub(super) fn raise(&mut self, link: Link) {
        if let Some(last) = self.report.last.as_ref().filter(|last| last.seq == link.seq) {
            self.report.signed = Some(last.clone());
        }
    }

    /// Behind an end that was signed nobody but the next start writes, and that signs before it does.
    pub(super) fn closed_and_added_to(&mut self) {
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
    pub(super) fn covered_at_all(&mut self) {
        if self.keys.is_empty() || self.report.entries == 0 {
            return;
        }
        // Beside a writer all that had one may have been retired since, and the newest segment not have its first yet.
        let has_one = self.base == Some(1) || self.report.segments.iter().any(|segment| segment.sealed);
        if has_one && self.report.checkpoints == 0 && !self.witnessed && self.report.ok() {
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
}
