//! The journal: the chain as it goes to the disk, segment by segment.
//!
//! Owns the open segment, the last link, and the book of attempts without an outcome. A line counts from the moment that
//! it is durable, and only then moves the link. After any error of a write or a sync the segment is given up for good:
//! what the system dropped then, a second sync would call written. Knows nobody who waits.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::time::Instant;

use super::chain::{Line, Link, MAX_LINE};
use super::disk::{Append, Lock, Undone, put, remove_if_there};
use super::entry::{Id, Seal};
use super::keys::Keys;
use super::queue::{Item, Kind};
use super::regular;
use super::site::Site;
use super::status::Failure;
use super::system::{self, Reason};
use super::witness::Witness;

/// Bytes that a batch may grow to before it is written.
const BATCH: usize = 4 << 20;
/// Bytes kept free in a segment for its seal.
const SEAL_ROOM: u64 = 640;
/// Free bytes without which a segment is not begun: one that fills up at once would only be the next to fail.
const LEAST_SPACE: u64 = 64 << 10;

/// Why something is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// Names the file and the cause.
    pub(super) sentence: String,
}

impl Fault {
    pub(super) fn new(failure: Failure, site: &Site, what: &str, error: &io::Error) -> Self {
        let failure = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Space,
            _ => failure,
        };
        Self { failure, sentence: format!("{}: {what}: {error}", site.options.file.display()) }
    }
}

impl From<(&Site, Undone)> for Fault {
    fn from((site, undone): (&Site, Undone)) -> Self {
        match undone {
            Undone::Write(error) => Self::new(Failure::Write, site, "cannot be written", &error),
            Undone::Sync(error) => Self::new(Failure::Sync, site, "cannot be made durable", &error),
        }
    }
}

pub(super) struct Journal {
    pub(super) lock: Lock,
    pub(super) keys: Keys,
    pub(super) witness: Witness,
    /// None after a fault, until a fresh segment is begun.
    pub(super) segment: Option<Segment>,
    /// The last durable entry.
    pub(super) link: Link,
    /// `seq` of the first line of the segment that is, or was last, written to.
    pub(super) first: Option<u64>,
    /// Of the file that lies under the active name: another one when a fresh segment was put there and failed then.
    pub(super) placed: Option<u64>,
    /// The segment ends with its seal: only another one may follow.
    pub(super) sealed: bool,
    /// Attempts that have no outcome yet.
    pub(super) pending: BTreeSet<Id>,
    pub(super) buffer: Vec<u8>,
}

/// A segment that is written to.
pub(super) struct Segment {
    pub(super) file: Box<dyn Append>,
    /// Durable ones.
    pub(super) bytes: u64,
}

impl Journal {
    /// Whether lines can be written now.
    pub(super) const fn is_open(&self) -> bool {
        self.segment.is_some() && !self.sealed
    }

    /// Makes as many lines durable as fit into one batch and the segment, and seals that when it is full. Items leave
    /// `backlog` from its front; those whose caller has given up are left out.
    ///
    /// # Errors
    /// What went wrong, with the items that were tried: none of them is durable.
    pub(super) fn write(&mut self, site: &Site, backlog: &mut VecDeque<Item>) -> Result<Vec<Item>, (Fault, Vec<Item>)> {
        let bytes = match &self.segment {
            Some(segment) if !self.sealed => segment.bytes,
            _ => {
                let sentence = format!("{}: no segment is open", site.options.file.display());
                return Err((Fault { failure: Failure::Open, sentence }, Vec::new()));
            }
        };
        let (mut taken, mut link, mut seal) = (Vec::new(), self.link, None);
        self.buffer.clear();
        while let Some(item) = backlog.pop_front() {
            if item.abandoned() {
                continue;
            }
            link = link.append(&item.body, &mut self.buffer);
            taken.push(item);
            if bytes + self.buffer.len() as u64 + SEAL_ROOM >= site.options.rotate_size {
                seal = Some(system::seal(Seal { first: self.first.unwrap_or(1), last: link.seq }));
                break;
            }
            if self.buffer.len() >= BATCH {
                break;
            }
        }
        if taken.is_empty() {
            return Ok(taken);
        }
        if let Some(seal) = &seal {
            link = link.append(&seal.body, &mut self.buffer);
        }
        let begun = Instant::now();
        site.shared.meter.busy();
        if let Err(fault) = self.put(site) {
            self.give_up();
            return Err((fault, taken));
        }
        self.link = link;
        self.sealed = seal.is_some();
        self.durable(site, taken.iter().chain(&seal), begun);
        Ok(taken)
    }

    fn put(&mut self, site: &Site) -> Result<(), Fault> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        put(&mut *segment.file, &self.buffer).map_err(|undone| Fault::from((site, undone)))?;
        if !segment.file.is_at(site.names.active()) {
            let sentence = format!("{}: was removed or replaced while it was written", site.options.file.display());
            return Err(Fault { failure: Failure::Open, sentence });
        }
        segment.bytes += self.buffer.len() as u64;
        Ok(())
    }

    fn durable<'a>(&mut self, site: &Site, items: impl Iterator<Item = &'a Item> + Clone, begun: Instant) {
        for item in items.clone() {
            match item.kind {
                Kind::Attempt(id) => drop(self.pending.insert(id)),
                Kind::Outcome(id) => drop(self.pending.remove(&id)),
                Kind::Other => {}
            }
        }
        site.shared.meter.durable(items.map(|item| item.event));
        if let Some(committed) = &site.options.committed {
            committed(begun.elapsed());
        }
        if let Some(copy) = &site.options.copy {
            copy(&self.buffer);
        }
        // One crowd must not hold its memory for ever.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
    }

    /// Never trusts the segment again. What was not acknowledged is cut off if that can be done; if not, the next segment
    /// says that it does not count.
    fn give_up(&mut self) {
        if let Some(mut segment) = self.segment.take() {
            let _ = segment.file.truncate(segment.bytes);
        }
    }

    /// Seals off what was written so far and goes on in a new segment, after the old one is full or has failed.
    ///
    /// # Errors
    /// What went wrong; nothing new lies under a name that counts, and the journal stays closed.
    pub(super) fn go_on(&mut self, site: &Site) -> Result<(), Fault> {
        self.begin(site, if self.sealed { Reason::Rotated } else { Reason::Recovered })
    }

    /// Begins a segment behind the last durable entry.
    ///
    /// # Errors
    /// As [`Self::go_on`].
    pub(super) fn begin(&mut self, site: &Site, reason: Reason) -> Result<(), Fault> {
        self.segment = None;
        site.shared.meter.busy();
        let at = |error: &io::Error| Fault::new(Failure::Open, site, "cannot begin a segment", error);
        site.disk.create_folder(site.names.folder()).map_err(|error| at(&error))?;
        let held = self.lock.renew(site.names.folder(), &site.names.lock());
        let held = held.and_then(|()| self.keys.publish_again(&*site.disk, &site.names));
        held.map_err(|sentence| Fault { failure: Failure::Open, sentence })?;
        if site.disk.space(site.names.folder()).is_ok_and(|space| space.bytes < LEAST_SPACE) {
            let sentence = format!("{}: less than {LEAST_SPACE} bytes are free", site.names.folder().display());
            return Err(Fault { failure: Failure::Space, sentence });
        }
        let fresh = site.names.fresh();
        remove_if_there(&*site.disk, &fresh).map_err(|error| at(&error))?;
        let done = self.lay(site, reason);
        if done.is_err() {
            let _ = site.disk.remove(&fresh);
        }
        done
    }

    fn lay(&mut self, site: &Site, reason: Reason) -> Result<(), Fault> {
        let at = |error: &io::Error| Fault::new(Failure::Open, site, "cannot begin a segment", error);
        let (names, disk) = (&site.names, &site.disk);
        let before = self.first.map(|first| names.older_name(first));
        let mut items = vec![system::open(reason, before.as_deref())];
        items.extend(system::pending(&self.pending.iter().copied().collect::<Vec<_>>()));
        let begun = Instant::now();
        self.buffer.clear();
        let link = items.iter().fold(self.link, |link, item| link.append(&item.body, &mut self.buffer));
        let mut file = disk.create(&names.fresh()).map_err(|error| at(&error))?;
        put(&mut *file, &self.buffer).map_err(|undone| Fault::from((site, undone)))?;

        let first = self.link.seq.saturating_add(1);
        // A fresh segment that failed before anything in it counted is written over.
        if let Some(placed) = self.placed.filter(|placed| *placed != first) {
            self.put_aside(site, placed)?;
        }
        disk.rename(&names.fresh(), names.active()).map_err(|error| at(&error))?;
        self.placed = Some(first);
        disk.sync_folder(names.folder()).map_err(|error| at(&error))?;

        self.segment = Some(Segment { file, bytes: self.buffer.len() as u64 });
        self.link = link;
        (self.first, self.sealed) = (Some(first), false);
        self.witness.follow(first);
        self.durable(site, items.iter(), begun);
        Ok(())
    }

    /// Gives the file under the active name that of its segment.
    fn put_aside(&self, site: &Site, first: u64) -> Result<(), Fault> {
        let older = site.names.older(first);
        if older.exists() && site.names.active().exists() {
            let sentence = format!("{}: is there already: move it out of the trail's way", older.display());
            return Err(Fault { failure: Failure::Open, sentence });
        }
        match site.disk.rename(site.names.active(), &older) {
            // The folder was emptied or moved away: its segments are missing, and `verify` says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Fault::new(Failure::Open, site, "cannot be given the name of its segment", &error)),
            Ok(()) => Ok(()),
        }
    }

    /// Deletes the oldest segments until no more than the wanted ones are left, each only when it is written down.
    /// Segments that failed early are small and would push out the history: they do not count, and go with their elders.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn retire(&mut self, site: &Site) -> Result<(), Fault> {
        let Ok(mut older) = site.names.older_ones() else { return Ok(()) };
        // A file that somebody gave such a name is no segment: it must push none out, nor be written down as one.
        older.retain(|(first, path)| *first < self.first.unwrap_or(1) && begins_with(path, *first));
        let counts = |path: &std::path::Path| {
            std::fs::metadata(path).is_ok_and(|found| found.len().saturating_mul(2) >= site.options.rotate_size)
        };
        let mut left = older.iter().filter(|(_, path)| counts(path)).count();
        let next = older.iter().skip(1).map(|(first, _)| *first).chain(self.first);
        let (mut items, mut doomed) = (VecDeque::new(), Vec::new());
        for ((first, path), next) in older.iter().zip(next) {
            if left <= site.options.rotate_keep {
                break;
            }
            left -= usize::from(counts(path));
            let seal = Seal { first: *first, last: next.saturating_sub(1) };
            items.push_back(system::retire(&site.names.older_name(*first), seal));
            doomed.push((*first, path));
        }
        while !items.is_empty() {
            self.write(site, &mut items).map_err(|(fault, _)| fault)?;
            if self.sealed {
                // Absurdly small segments: what is not yet written down is retired after the next rotation.
                doomed.truncate(doomed.len().saturating_sub(items.len()));
                break;
            }
        }
        for (first, path) in doomed {
            // The segment goes first: checkpoints without one would look like entries gone missing.
            let gone = remove_if_there(&*site.disk, path)
                .and_then(|()| remove_if_there(&*site.disk, &site.names.checkpoints(first)));
            if let Err(error) = gone {
                tracing::warn!("{}: cannot delete a retired segment of the audit trail: {error}", path.display());
            }
        }
        Ok(())
    }
}

/// Whether the file's first line is that entry.
fn begins_with(path: &std::path::Path, seq: u64) -> bool {
    let Ok(file) = regular::open(path) else { return false };
    let mut line = Vec::new();
    let read = BufReader::new(file.take(MAX_LINE as u64)).read_until(b'\n', &mut line);
    let line = line.strip_suffix(b"\n").and_then(Line::read);
    read.is_ok() && line.is_some_and(|line| line.seq == seq && line.check().is_ok())
}
