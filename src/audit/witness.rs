//! The checkpoints as the writer makes them: when one is due, and where it goes.
//!
//! Owns the checkpoint file of the open segment and the copy in `state_dir`. A checkpoint that cannot be written is tried
//! again at the next turn and holds up no entry: the chain itself does not need it. Of two it does: the first of a trail,
//! and the one with which a start goes on behind an end that was signed, without which its lines would be a stranger's.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::chain::Link;
use super::checkpoint::Checkpoint;
use super::disk::{Append, Undone, put, replace};
use super::keys::Keys;
use super::regular;
use super::site::Site;
use crate::clock::unix_micros;

/// A checkpoint is made this often, if there is something new.
const PERIOD: Duration = Duration::from_secs(60);
/// And after so many entries.
const ENTRIES: u64 = 10_000;
/// Bytes of a checkpoint file that are looked at from its end: thousands of lines.
const TAIL: u64 = 1 << 20;
/// Older segments that are asked whether the trail went on behind an end.
const OLDER: usize = 32;

pub(super) struct Witness {
    /// `seq` that the last one covers.
    covered: u64,
    due: Instant,
    /// First `seq` of the open segment.
    first: u64,
    file: Option<Box<dyn Append>>,
    failing: bool,
}

impl Witness {
    pub(super) fn new(now: Instant) -> Self {
        Self { covered: 0, due: now + PERIOD, first: 1, file: None, failing: false }
    }

    /// From now on of the segment that begins with `first`.
    pub(super) fn follow(&mut self, first: u64) {
        self.first = first;
        self.file = None;
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self, link: Link, now: Instant) -> bool {
        link.seq >= self.covered.saturating_add(ENTRIES) || now >= self.due
    }

    /// Makes one, unless the last one covers this already. `link` is durable.
    pub(super) fn sign(&mut self, site: &Site, keys: &Keys, link: Link, now: Instant) {
        self.make(site, keys, link, false, now);
    }

    /// Makes the last one of a process that ends in order: nothing may stand behind `link` before [`Self::take_over`].
    pub(super) fn end(&mut self, site: &Site, keys: &Keys, link: Link, now: Instant) {
        self.make(site, keys, link, true, now);
    }

    fn make(&mut self, site: &Site, keys: &Keys, link: Link, end: bool, now: Instant) {
        self.due = now + PERIOD;
        if link.seq == self.covered {
            return;
        }
        site.shared.meter.busy();
        // Tried again at the next turn, not with each entry.
        self.covered = link.seq;
        match self.write(site, &Checkpoint::sign(keys, &site.node, link, end, unix_micros()).line()) {
            Ok(()) => self.failing = false,
            Err((path, error)) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("{}: cannot write a checkpoint of the audit trail: {error}", path.display());
                }
            }
        }
    }

    /// Signs, before anything is written behind it, that a process goes on behind `link`, in the segment that begins with
    /// `first`. A crash before the next checkpoint then leaves no lines that look like a stranger's.
    ///
    /// # Errors
    /// A sentence: it is not durable, and nothing may be written.
    pub(super) fn take_over(&mut self, site: &Site, keys: &Keys, first: u64, link: Link) -> Result<(), String> {
        self.follow(first);
        let made = Checkpoint::sign(keys, &site.node, link, false, unix_micros()).line();
        let undone = |(path, error): (PathBuf, io::Error)| {
            format!("{}: a checkpoint of the audit trail cannot be written: {error}", path.display())
        };
        self.write(site, &made).map_err(undone)
    }

    /// Beside the segment and in `state_dir`.
    fn write(&mut self, site: &Site, made: &[u8]) -> Result<(), (PathBuf, io::Error)> {
        let beside = self.append(site, made).map_err(|error| (site.names.checkpoints(self.first), error));
        if beside.is_err() {
            self.file = None;
        }
        // Whatever became of the first: who can make that one fail must not keep the other from going on.
        let path = site.names.witness(&site.options.state_dir);
        let apart = replace(&*site.disk, &path, made).map_err(|error| (path, error));
        beside.and(apart)
    }

    fn append(&mut self, site: &Site, line: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self::open(site, self.first)?),
        };
        put(&mut **file, line).map_err(|(Undone::Write(error) | Undone::Sync(error))| error)
    }
}

/// Opens the checkpoint file of a segment, without what a crash or a fault left half written.
fn open(site: &Site, first: u64) -> io::Result<Box<dyn Append>> {
    let path = site.names.checkpoints(first);
    let (from, text) = match regular::read_end(&path, TAIL) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = site.disk.create(&path)?;
            site.disk.sync_folder(site.names.folder())?;
            return Ok(file);
        }
        Err(error) => return Err(error),
    };
    let mut file = site.disk.append(&path)?;
    let whole = whole(&text);
    if whole == 0 && from > 0 {
        let what = format!("its last {TAIL} bytes hold no checkpoint");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    if whole < text.len() {
        file.truncate(from + whole as u64)?;
    }
    Ok(file)
}

/// Bytes up to the end of the last line that is a checkpoint.
fn whole(text: &[u8]) -> usize {
    let mut end = text.len();
    while let Some(feed) = text.get(..end).and_then(|text| text.iter().rposition(|byte| *byte == b'\n')) {
        let begin =
            text.get(..feed).and_then(|text| text.iter().rposition(|byte| *byte == b'\n')).map_or(0, |at| at + 1);
        if text.get(begin..feed).is_some_and(|line| Checkpoint::parse(line).is_some()) {
            return feed + 1;
        }
        end = feed;
    }
    0
}

/// The last checkpoints that one of the trail's keys signed.
#[derive(Debug, Clone)]
pub(super) struct Signed(Vec<Word>);

#[derive(Debug, Clone)]
struct Word {
    link: Link,
    end: bool,
    /// It lies in `state_dir`, or is signed with the key there: who can write to the trail's folder alone made neither.
    ours: bool,
    /// It lies in `state_dir`.
    apart: bool,
    /// It is an older segment's: all that it can tell is that the trail went on.
    older: bool,
}

impl Signed {
    pub(super) const NOTHING: Self = Self(Vec::new());

    /// Of the segment that begins with `first`, and of `state_dir`.
    pub(super) fn read(site: &Site, first: Option<u64>, keys: &Keys) -> Self {
        let word = |path: PathBuf, apart: bool, older: bool| {
            let (_, text) = regular::read_end(&path, TAIL).ok()?;
            let mut lines = text.rsplit(|byte| *byte == b'\n').filter_map(Checkpoint::parse);
            let found = lines.find(|checkpoint| checkpoint.is_signed_by(&keys.public))?;
            Some(Word { link: found.link()?, end: found.end, ours: apart || found.key == keys.id(), apart, older })
        };
        let beside = first.and_then(|first| word(site.names.checkpoints(first), false, false));
        let apart = word(site.names.witness(&site.options.state_dir), true, false);
        let mut signed = Self(beside.into_iter().chain(apart).collect());
        // Rarely: a copy of `state_dir` of before, or a trail that was moved away and back. What was acknowledged since is
        // no stranger's, and the sealed segments say so.
        let (Some(first), Some(end)) = (first, signed.end()) else { return signed };
        if end.seq < first {
            let older = site.names.older_ones().unwrap_or_default();
            let before = older.into_iter().rev().filter(|(older, _)| *older < first).take(OLDER);
            signed.0.extend(before.filter_map(|(older, _)| word(site.names.checkpoints(older), false, true)));
        }
        signed
    }

    /// The entries that must be there.
    pub(super) fn covered(&self) -> impl Iterator<Item = Link> {
        self.0.iter().filter(|word| !word.older).map(|word| word.link)
    }

    /// The last entry that is signed for sure by who writes this trail.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.iter().filter(|word| word.ours).map(|word| word.link.seq).max()
    }

    /// Where the trail was ended in order, and nobody who may sign went on since.
    pub(super) fn end(&self) -> Option<Link> {
        // Keys in the folder are believed only where `state_dir` has nothing to say: others can put theirs there.
        let apart = self.0.iter().any(|word| word.apart);
        let words = || self.0.iter().filter(|word| word.ours || !apart);
        let ends = words().filter(|word| word.end && !word.older);
        let end = ends.map(|word| word.link).max_by_key(|link| link.seq)?;
        let goes_on = words().any(|word| !word.end && word.link.seq >= end.seq);
        (!goes_on).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Signed, Word};
    use crate::audit::chain::{Hash, Link};

    #[test]
    fn an_end_holds_until_somebody_who_may_sign_goes_on() {
        let word = |seq: u64, end: bool, ours: bool, apart: bool| {
            let link = Link { seq, hash: Hash([7; 32]) };
            Word { link, end, ours, apart, older: false }
        };
        let older = |seq, ours| Word { older: true, ..word(seq, false, ours, false) };
        let (kept, stranger) = (word(9, true, true, true), word(12, false, false, false));
        for (what, words, end) in [
            ("nothing", vec![], None),
            ("running", vec![word(9, false, true, true)], None),
            ("ended", vec![word(9, true, true, false), kept.clone()], Some(9)),
            ("a key that somebody put into the folder", vec![stranger.clone(), kept.clone()], Some(9)),
            ("an end that somebody signed", vec![word(3, true, false, false), word(9, false, true, true)], None),
            ("taken over", vec![word(9, false, true, false), word(9, false, true, true)], None),
            ("killed between the two", vec![word(9, false, true, false), kept.clone()], None),
            ("an older state", vec![word(40, false, true, false), kept.clone()], None),
            ("an older state, and a sealed segment of since", vec![kept.clone(), older(40, true)], None),
            ("an older state, and what a stranger put there", vec![kept.clone(), older(40, false)], Some(9)),
            ("a sealed segment of before", vec![kept, older(8, true)], Some(9)),
            ("no state", vec![word(12, true, false, false)], Some(12)),
            ("no state, and it went on", vec![stranger], None),
            ("killed while it ended", vec![word(9, true, true, false), word(4, false, true, true)], Some(9)),
        ] {
            assert_eq!(Signed(words).end().map(|link| link.seq), end, "{what}");
        }
    }
}
