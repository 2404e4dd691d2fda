//! The checkpoints as the writer makes them: when one is due, and where it goes.
//!
//! Owns the checkpoint file of the open segment and the copy in `state_dir`. A checkpoint that cannot be written is tried
//! again at the next turn and holds up no entry: the chain itself does not need it.

use std::io;
use std::time::{Duration, Instant};

use super::chain::Link;
use super::checkpoint::Checkpoint;
use super::disk::{Append, Undone, put, replace};
use super::keys::{Keys, PublicKey};
use super::site::Site;
use crate::clock::unix_micros;

/// A checkpoint is made this often, if there is something new.
const PERIOD: Duration = Duration::from_secs(60);
/// And after so many entries.
const ENTRIES: u64 = 10_000;

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
        self.due = now + PERIOD;
        if link.seq == self.covered {
            return;
        }
        site.shared.meter.busy();
        // Tried again at the next turn, not with each entry.
        self.covered = link.seq;
        let made = Checkpoint::sign(keys, &site.node, link, unix_micros()).line();
        let beside = self.append(site, &made).map_err(|error| (site.names.checkpoints(self.first), error));
        let apart = site.names.witness(&site.options.state_dir);
        let done = beside.and_then(|()| replace(&*site.disk, &apart, &made).map_err(|error| (apart, error)));
        match done {
            Ok(()) => self.failing = false,
            Err((path, error)) => {
                self.file = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("{}: cannot write a checkpoint of the audit trail: {error}", path.display());
                }
            }
        }
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
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = site.disk.create(&path)?;
            site.disk.sync_folder(site.names.folder())?;
            return Ok(file);
        }
        Err(error) => return Err(error),
    };
    let mut file = site.disk.append(&path)?;
    let whole = whole(&text);
    if whole < text.len() {
        file.truncate(whole as u64)?;
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

/// The last checkpoints that one of `keys` signed: of the segment that begins with `first`, and of `state_dir`.
pub(super) fn last(site: &Site, first: Option<u64>, keys: &[PublicKey]) -> Vec<Link> {
    let apart = site.names.witness(&site.options.state_dir);
    let beside = first.map(|first| site.names.checkpoints(first));
    let files = beside.into_iter().chain([apart]);
    let signed = |path: std::path::PathBuf| {
        let text = std::fs::read(path).ok()?;
        let mut lines = text.rsplit(|byte| *byte == b'\n').filter_map(Checkpoint::parse);
        lines.find(|checkpoint| checkpoint.is_signed_by(keys))?.link()
    };
    files.filter_map(signed).collect()
}
