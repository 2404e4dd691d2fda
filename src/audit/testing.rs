//! What tests of the trail share: a folder of its own, entries, a reader that is not the writer's, and a disk that fails.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::chain::{Line, Link, MAX_LINE};
use super::disk::{Append, Disk, Real, Space};
use super::entry::{Entry, Event, Id, Text};
use super::journal::Journal;
use super::queue::{Ack, Durable, Item, Kind};
use super::site::Site;
use super::trail::{Options, Shared};
use super::writer::Writer;

/// A trail's folder and state, gone with it.
pub(super) struct Bed(tempfile::TempDir);

impl Bed {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.path("audit")
    }

    pub(super) fn active(&self) -> PathBuf {
        self.path("audit/audit.jsonl")
    }

    pub(super) fn options(&self, rotate_size: u64, rotate_keep: usize) -> Options {
        Options {
            file: self.active(),
            rotate_size,
            rotate_keep,
            state_dir: self.path("state"),
            copy: None,
            committed: None,
        }
    }

    pub(super) fn disk(&self) -> Faulty {
        Faulty::default()
    }

    pub(super) fn files(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// First `seq` of each segment that is not written to.
    pub(super) fn older(&self) -> Vec<u64> {
        let digits = |name: &String| name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok();
        self.files().iter().filter_map(digits).collect()
    }

    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let older = self.older().into_iter().map(|first| self.folder().join(format!("audit-{first:020}.jsonl")));
        older.chain([self.active()].into_iter().filter(|path| path.exists())).collect()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.segments().iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Reads all of it, and panics where it does not hold.
    pub(super) fn chain(&self) -> Chain {
        Chain::read(&self.segments()).unwrap()
    }
}

/// What a trail says.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// `seq` of the last entry.
    pub(super) last: u64,
    pub(super) segments: usize,
    /// Each attempt with its `seq`.
    pub(super) attempts: HashMap<Id, u64>,
    pub(super) outcomes: HashMap<Id, usize>,
    /// How often each `reason` of an outcome.
    pub(super) reasons: BTreeMap<String, usize>,
    /// The last entry that a `trail.retire` names.
    pub(super) retired: u64,
    lines: Vec<serde_json::Value>,
}

impl Chain {
    pub(super) fn read(segments: &[PathBuf]) -> Result<Self, String> {
        let texts: Vec<Vec<u8>> = segments.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let mut chain = Self { segments: segments.len(), ..Self::default() };
        let mut link: Option<Link> = None;
        for (number, (path, text)) in segments.iter().zip(&texts).enumerate() {
            // What stands behind the predecessor of a segment that followed a fault does not count.
            let next = texts.get(number + 1).and_then(|text| text.split(|byte| *byte == b'\n').next());
            let recovered = next.filter(|line| line.windows(9).any(|word| word == b"recovered"));
            let end = recovered.and_then(Line::read).map_or(u64::MAX, |line| line.seq);
            let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let rest = lines.pop().unwrap();
            if !rest.is_empty() && end == u64::MAX {
                return Err(format!("{}: unfinished", path.display()));
            }
            for (row, bytes) in lines.into_iter().enumerate() {
                let at = |what: &dyn std::fmt::Display| format!("{}:{}: {what}", path.display(), row + 1);
                if link.is_some_and(|link| link.seq + 1 >= end) {
                    break;
                }
                assert!(bytes.len() < MAX_LINE);
                let line = Line::read(bytes).ok_or_else(|| at(&"no line"))?;
                let before = link.unwrap_or(Link { seq: line.seq - 1, hash: line.prev });
                link = Some(before.follow(&line).map_err(|broken| at(&broken))?);
                chain.take(line.seq, serde_json::from_slice(bytes).map_err(|error| at(&error))?);
            }
        }
        chain.last = link.map_or(0, |link| link.seq);
        Ok(chain)
    }

    fn take(&mut self, seq: u64, line: serde_json::Value) {
        let id = |field: &str| line[field].as_str().and_then(|id| Id::parse(id.as_bytes()));
        match line["event"].as_str().unwrap() {
            "privileged.attempt" => drop(self.attempts.insert(id("id").unwrap(), seq)),
            "privileged.outcome" => {
                *self.outcomes.entry(id("ref").unwrap()).or_default() += 1;
                *self.reasons.entry(line["reason"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            "system" if line["action"] == "trail.retire" => self.retired = line["seal"]["last"].as_u64().unwrap(),
            "system" if line["action"] == "trail.seal" => {
                assert_eq!(line["seal"]["last"], seq - 1);
                let first = line["seal"]["first"].as_u64().unwrap();
                assert_eq!(line["count"], seq - first);
            }
            _ => {}
        }
        self.lines.push(line);
    }

    pub(super) fn events(&self, event: &str) -> usize {
        self.lines.iter().filter(|line| line["event"] == event).count()
    }

    /// Of the entries about the trail.
    pub(super) fn actions(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["action"].as_str()).collect()
    }

    /// Of each segment: why it was begun.
    pub(super) fn openings(&self) -> Vec<&str> {
        let opens = self.lines.iter().filter(|line| line["action"] == "trail.open");
        opens.map(|line| line["reason"].as_str().unwrap()).collect()
    }

    pub(super) fn find(&self, action: &str) -> Option<&serde_json::Value> {
        self.lines.iter().find(|line| line["action"] == action)
    }

    pub(super) fn open_attempts(&self) -> Vec<Id> {
        let mut open: Vec<Id> = self.attempts.keys().filter(|id| !self.outcomes.contains_key(*id)).copied().collect();
        open.sort_unstable();
        open
    }
}

pub(super) fn attempt(id: Id) -> Vec<u8> {
    let mut entry = Entry::new(id, 1, Event::Attempt);
    entry.route = Some(Text("route"));
    entry.body()
}

pub(super) fn outcome(id: Id) -> Vec<u8> {
    let mut entry = Entry::new(Id::random(), 1, Event::Outcome);
    entry.reason = Some(Text("ok"));
    entry.attempt = Some(id);
    entry.body()
}

pub(super) fn denied() -> Vec<u8> {
    Entry::new(Id::random(), 1, Event::Denied).body()
}

pub(super) fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be");
        std::thread::yield_now();
    }
}

/// The writer without its thread, on a clock of its own.
pub(super) struct Desk {
    writer: Writer,
    shared: Arc<Shared>,
    now: Instant,
    ids: u128,
}

impl Desk {
    pub(super) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, String> {
        let site = Site::new(disk, options, Arc::default())?;
        let journal = Journal::open(&site)?;
        let shared = Arc::clone(&site.shared);
        shared.queue.open();
        Ok(Self { writer: Writer::new(site, Some(journal)), shared, now: Instant::now(), ids: 0 })
    }

    /// One batch of so many attempts; gives those that were acknowledged. Every second one gets its outcome later.
    pub(super) fn commit(&mut self, count: usize) -> Vec<Id> {
        let mut waiting = Vec::new();
        for _ in 0..count {
            self.ids += 1;
            let id = Id(Id::random().0 << 20 | self.ids);
            let (ack, durable) = Ack::new();
            let item = Item { kind: Kind::Attempt(id), event: Event::Attempt, body: attempt(id), ack: Some(ack) };
            if self.shared.queue.push(item).is_ok() {
                waiting.push((id, durable));
            }
        }
        self.turn();
        let durable = |(id, mut durable): (Id, Durable)| durable.told.try_recv().ok().map(|()| id);
        let acknowledged: Vec<Id> = waiting.into_iter().filter_map(durable).collect();
        for id in acknowledged.iter().filter(|id| id.0 % 2 == 0) {
            let item = Item { kind: Kind::Outcome(*id), event: Event::Outcome, body: outcome(*id), ack: None };
            self.shared.queue.push(item).unwrap();
        }
        acknowledged
    }

    /// What the thread does once.
    pub(super) fn turn(&mut self) {
        // This clock may be ahead of the real one, which must not be waited for.
        let work = self.shared.queue.take(Instant::now(), self.is_open(), 4 << 20);
        self.writer.step(work, self.now);
    }

    pub(super) fn is_open(&self) -> bool {
        self.shared.queue.is_open()
    }

    /// Permille of the disk that are free, as operators see it.
    pub(super) fn free(&self) -> Option<u16> {
        self.shared.meter.read(true, (0, 0), Duration::ZERO).free_permille
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

/// What goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A part is written.
    Short,
    /// `EINTR`.
    Interrupted,
    /// `EIO`.
    Io,
    /// `ENOSPC`, after a part.
    Space,
}

/// A real disk that fails as told.
#[derive(Debug, Default, Clone)]
pub(super) struct Faulty(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    plan: Mutex<Plan>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    /// Calls to go, and what happens then.
    write: Option<(usize, Wrong)>,
    sync: Option<(usize, Wrong)>,
    hit: bool,
    hang: bool,
    hangs: bool,
    free: Option<Space>,
}

impl Faulty {
    /// At the n-th write from now, counted from 1.
    pub(super) fn at_write(&self, nth: usize, wrong: Wrong) {
        self.0.plan.lock().unwrap().write = Some((nth, wrong));
    }

    pub(super) fn at_sync(&self, nth: usize, wrong: Wrong) {
        self.0.plan.lock().unwrap().sync = Some((nth, wrong));
    }

    /// Whether it came to that.
    pub(super) fn was_hit(&self) -> bool {
        self.0.plan.lock().unwrap().hit
    }

    /// From now so much is free.
    pub(super) fn leave(&self, bytes: u64, permille: u16) {
        self.0.plan.lock().unwrap().free = Some(Space { bytes, permille });
    }

    /// From now each sync hangs.
    pub(super) fn hang(&self) {
        self.0.plan.lock().unwrap().hang = true;
    }

    /// Whether one does.
    pub(super) fn hangs(&self) -> bool {
        self.0.plan.lock().unwrap().hangs
    }

    pub(super) fn release(&self) {
        let mut plan = self.0.plan.lock().unwrap();
        (plan.hang, plan.hangs) = (false, false);
        self.0.released.notify_all();
    }

    fn write_fault(&self) -> Option<Wrong> {
        let mut plan = self.0.plan.lock().unwrap();
        let wrong = due(&mut plan.write);
        plan.hit |= wrong.is_some();
        wrong
    }

    fn sync_fault(&self) -> io::Result<()> {
        let mut plan = self.0.plan.lock().unwrap();
        while plan.hang {
            plan.hangs = true;
            plan = self.0.released.wait(plan).unwrap();
        }
        let wrong = due(&mut plan.sync);
        plan.hit |= wrong.is_some();
        wrong.map_or(Ok(()), |wrong| Err(wrong.error()))
    }
}

fn due(planned: &mut Option<(usize, Wrong)>) -> Option<Wrong> {
    let (left, wrong) = planned.as_mut()?;
    *left -= 1;
    let wrong = (*left == 0).then_some(*wrong)?;
    *planned = None;
    Some(wrong)
}

impl Wrong {
    fn error(self) -> io::Error {
        match self {
            Self::Short | Self::Interrupted => io::ErrorKind::Interrupted.into(),
            Self::Io => io::Error::from_raw_os_error(5),
            Self::Space => io::Error::from_raw_os_error(28),
        }
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(FaultyFile { file: Real.create(path)?, disk: self.clone() }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(FaultyFile { file: Real.append(path)?, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        self.sync_fault()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        Real.create_folder(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let free = self.0.plan.lock().unwrap().free;
        free.map_or_else(|| Real.space(folder), Ok)
    }
}

struct FaultyFile {
    file: Box<dyn Append>,
    disk: Faulty,
}

impl Append for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.disk.write_fault() {
            None => self.file.write(bytes),
            Some(Wrong::Short) => self.file.write(&bytes[..bytes.len().div_ceil(2)]),
            Some(Wrong::Space) => {
                self.file.write(&bytes[..bytes.len() / 2])?;
                Err(Wrong::Space.error())
            }
            Some(wrong) => Err(wrong.error()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        // Power stays on here: nothing is gained by waiting for the disk.
        self.disk.sync_fault()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }
}

/// Xorshift: the same numbers for the same seed, which is not zero.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Low bits of small seeds are alike.
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }
}
