//! The start: what a stop, a crash or a stranger left behind, and where the chain goes on.
//!
//! Owns the difference between a torn tail and a broken trail. What no checkpoint covers was at most never acknowledged,
//! or is the loss of a disk that lied: it is put aside and the trail goes on. What a checkpoint covers must be there, bit
//! by bit; if not, nothing is touched and the trail says so for ever. Behind an end that was signed as one no crash leaves
//! anything: what stands there was put there, and is put aside and told, never built upon. Reads one segment, by position.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::chain::{Line, Link, MAX_LINE};
use super::disk::{Lock, Undone, put, remove_if_there, sync};
use super::entry::Id;
use super::journal::{Fault, Journal, Segment};
use super::keys::Keys;
use super::queue::Item;
use super::regular;
use super::site::Site;
use super::system::{self, Reason};
use super::witness::{Signed, Witness};

/// Files of foreign lines that are told of at a start, at most; all are kept.
const MOST_FOREIGN: u64 = 16;

impl Journal {
    /// Takes the trail over: locks it, finds its end, and makes durable that a process started.
    ///
    /// # Errors
    /// A sentence that names the file and the cause.
    pub(super) fn open(site: &Site) -> Result<Self, String> {
        let (disk, names) = (&*site.disk, &site.names);
        let failed = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
        may_be_taken(site)?;
        disk.create_folder(names.folder()).map_err(|error| failed(names.folder(), &error))?;
        let lock = Lock::take(names.folder(), &names.lock())?;
        let keys = Keys::load(disk, &site.options.state_dir, names)?;
        remove_if_there(disk, &names.fresh()).map_err(|error| failed(&names.fresh(), &error))?;
        let mut older = names.older_ones().map_err(|error| failed(names.folder(), &error))?;
        let mut journal = Self {
            lock,
            keys,
            witness: Witness::new(Instant::now()),
            segment: None,
            link: Link::START,
            first: None,
            placed: None,
            sealed: false,
            pending: BTreeSet::new(),
            buffer: Vec::new(),
        };
        if journal.keys.made && (!older.is_empty() || names.active().exists()) {
            tracing::warn!(
                "{}: the key of the audit trail is gone: a new one signs from now on",
                site.options.state_dir.join("audit.key").display()
            );
        }
        let said = journal.find_end(site, &mut older)?;
        journal.say(site, said).map_err(|fault| fault.sentence)?;
        if let Some(key) = site.shared.token.get().is_none().then(|| journal.keys.token()) {
            let _ = site.shared.token.set(key);
        }
        Ok(journal)
    }

    /// Puts the journal behind the last entry that holds, and gives what is to be said about it.
    fn find_end(&mut self, site: &Site, older: &mut Vec<(u64, PathBuf)>) -> Result<Vec<Item>, String> {
        let active = site.names.active();
        let mut found = Found::read(active, site, &self.keys)?;
        // All of a file behind the signed end: put there, whatever it is called.
        if found.as_ref().is_some_and(Found::is_foreign) {
            put_aside(site, active, found.take())?;
        }
        // A file in which nothing can be read does not say where the trail was: the one before does.
        let unreadable = found.take_if(|found| found.first.is_none());
        let in_place = found.is_some();
        let mut path = active.to_owned();
        while found.is_none() {
            let Some((_, newest)) = older.pop() else { break };
            found = Found::read(&newest, site, &self.keys)?;
            if found.as_ref().is_some_and(Found::is_foreign) {
                put_aside(site, &newest, found.take())?;
            }
            // Named like a segment and none: it must not make the trail begin anew.
            found.take_if(|found| found.first.is_none());
            path = newest;
        }
        let path = path.as_path();
        let signed = match &found {
            Some(found) => found.signed.clone(),
            None => Signed::read(site, None, &self.keys),
        };
        let mut end = found.unwrap_or(Found::NOTHING);
        let problem = end.problem(&signed);
        self.link = end.link;
        self.first = end.first;
        self.placed = in_place.then_some(end.first).flatten();
        self.sealed = end.sealed;
        self.pending = std::mem::take(&mut end.pending);
        let fault = |fault: Fault| fault.sentence;
        let next = self.link.seq.saturating_add(1);

        if let Some(problem) = problem {
            let evidence = match (unreadable, end.first) {
                (Some(_), _) => {
                    let aside = site.names.torn(next);
                    let moved = site.disk.rename(active, &aside);
                    moved.map_err(|error| format!("{}: cannot be put aside: {error}", active.display()))?;
                    Some(site.names.torn_name(next))
                }
                (None, first) => first.map(|first| site.names.older_name(first)),
            };
            tracing::error!("{}: the audit trail is broken: {problem}", path.display());
            if signed.end() == Some(self.link) {
                // Here, too: what is written behind the end from now on is no stranger's.
                self.witness.take_over(site, &self.keys, end.first.unwrap_or(1), self.link)?;
            }
            self.begin(site, Reason::Broken).map_err(fault)?;
            return Ok(vec![system::broken(evidence.as_deref(), &problem)]);
        }
        let mut said = Vec::new();
        if let Some(unreadable) = &unreadable {
            if unreadable.size > 0 {
                said.extend(cut(site, active, 0, unreadable.size, next, end.closed)?);
            }
            remove_if_there(&*site.disk, active).map_err(|error| format!("{}: {error}", active.display()))?;
        }
        if end.good < end.size {
            said.extend(cut(site, path, end.good, end.size, next, end.closed)?);
        }
        // Also what a start put aside that did not come as far as to say so.
        said.extend(foreign(site, signed.last().unwrap_or(self.link.seq))?);
        if end.closed || end.first.is_none() {
            // After the cut: from here on lines behind the end are this process's.
            self.witness.take_over(site, &self.keys, end.first.unwrap_or(1), self.link)?;
        }
        if in_place && !end.sealed {
            let file = site.disk.append(active).map_err(|error| format!("{}: {error}", active.display()))?;
            self.segment = Some(Segment { file, bytes: end.good });
            if let Some(first) = end.first {
                self.witness.follow(first);
            }
        } else {
            let reason = match (in_place, end.first) {
                (true, _) => Reason::Rotated,
                (false, Some(_)) => Reason::Restarted,
                (false, None) => Reason::First,
            };
            self.begin(site, reason).map_err(fault)?;
        }
        Ok(said)
    }

    /// The first entries of a process.
    fn say(&mut self, site: &Site, said: Vec<Item>) -> Result<(), Fault> {
        let mut backlog = VecDeque::from(said);
        backlog.push_front(system::start(self.keys.id()));
        backlog.extend(self.pending.iter().map(|id| system::unknown(*id)));
        while !backlog.is_empty() {
            self.write(site, &mut backlog).map_err(|(fault, _)| fault)?;
            self.turn(site)?;
        }
        self.witness.sign(site, &self.keys, self.link, Instant::now());
        Ok(())
    }

    /// Goes on in the next segment if this one is sealed.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(super) fn turn(&mut self, site: &Site) -> Result<(), Fault> {
        let mut retired = false;
        while self.sealed {
            self.witness.sign(site, &self.keys, self.link, Instant::now());
            self.go_on(site)?;
            // Once: what it writes may, with absurdly small segments, fill the next one.
            if !std::mem::replace(&mut retired, true) {
                self.retire(site)?;
            }
        }
        Ok(())
    }
}

/// Nothing of a trail is laid beside, or over, what somebody named by mistake: a device, a pipe, a file of something else.
fn may_be_taken(site: &Site) -> Result<(), String> {
    let (names, active) = (&site.names, site.names.active());
    let Ok(found) = std::fs::metadata(active) else { return Ok(()) };
    if !found.is_file() {
        return Err(format!(
            "{}: is no regular file: let `audit.file` name one, or none that is there",
            active.display()
        ));
    }
    let begins = || {
        let mut line = Vec::new();
        let file = regular::open(active)?;
        BufReader::new(file.take(MAX_LINE as u64)).read_until(b'\n', &mut line)?;
        Ok::<_, io::Error>(line)
    };
    let is_entry = |line: &[u8]| line.strip_suffix(b"\n").and_then(Line::read).is_some_and(|line| line.check().is_ok());
    let is_known = [names.public_key(), names.checkpoints(1), names.witness(&site.options.state_dir)];
    if found.len() == 0
        || is_known.iter().any(|path| path.exists())
        || names.older_ones().is_ok_and(|older| !older.is_empty())
        || begins().is_ok_and(|line| is_entry(&line))
    {
        return Ok(());
    }
    Err(format!("{}: holds something that is no audit trail: let `audit.file` name another file", active.display()))
}

/// What a segment holds.
#[derive(Debug)]
struct Found {
    /// `seq` of the first line; none when not even that can be read.
    first: Option<u64>,
    /// Before the first line.
    before: Link,
    /// The last line that holds.
    link: Link,
    /// Bytes up to and with it.
    good: u64,
    size: u64,
    /// Why the next one does not.
    broken: Option<String>,
    /// Whole entries stand behind what does not hold, and no disk that lost its power left that gap: they may have been
    /// acknowledged.
    cut_off: bool,
    sealed: bool,
    pending: BTreeSet<Id>,
    /// What checkpoints say.
    signed: Signed,
    /// The trail was ended at `link`, and signed so: no byte behind it is a crash's.
    closed: bool,
    /// Of the entries that checkpoints cover, those here.
    seen: Vec<Link>,
}

impl Found {
    const NOTHING: Self = Self {
        first: None,
        before: Link::START,
        link: Link::START,
        good: 0,
        size: 0,
        broken: None,
        cut_off: false,
        sealed: false,
        pending: BTreeSet::new(),
        signed: Signed::NOTHING,
        closed: false,
        seen: Vec::new(),
    };

    /// None when there is no such file.
    fn read(path: &Path, site: &Site, keys: &Keys) -> Result<Option<Self>, String> {
        match regular::open(path) {
            Ok(file) => Self::scan(file, site, keys).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|error| format!("{}: cannot be read: {error}", path.display()))
    }

    fn scan(file: File, site: &Site, keys: &Keys) -> io::Result<Self> {
        let mut found = Self { size: file.metadata()?.len(), ..Self::NOTHING };
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut bytes = Vec::with_capacity(MAX_LINE);
        let mut end = None;
        loop {
            found.closed = end == Some(found.link);
            if found.closed {
                return Ok(found);
            }
            bytes.clear();
            let read = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(found);
            }
            let Some((b'\n', line)) = bytes.split_last() else {
                found.broken = Some("the line is not finished".to_owned());
                found.look_behind(&bytes, &mut reader)?;
                return Ok(found);
            };
            let Some(line) = Line::read(line) else {
                found.broken = Some("this is no line of the trail".to_owned());
                found.look_behind(&bytes, &mut reader)?;
                return Ok(found);
            };
            if found.first.is_none() {
                // Whether it follows the segment before is for `verify`: there the first line of each is looked at.
                found.before = Link { seq: line.seq.saturating_sub(1), hash: line.prev };
                found.link = found.before;
                found.signed = Signed::read(site, Some(line.seq), keys);
                end = found.signed.end();
                if end.is_some_and(|end| end.seq < line.seq) {
                    found.first = Some(line.seq);
                    found.closed = true;
                    return Ok(found);
                }
            }
            if let Err(broken) = found.link.follow(&line) {
                found.broken = Some(broken.to_string());
                found.look_behind(&bytes, &mut reader)?;
                return Ok(found);
            }
            if found.first.is_none() {
                found.first = Some(line.seq);
                found.note(found.before);
            }
            found.link = Link { seq: line.seq, hash: line.hash };
            found.note(found.link);
            found.good += read as u64;
            found.book(&line);
        }
    }

    /// What stands behind `bad`, the bytes that do not hold. Blocks that never reached the disk are zeros; anything else in
    /// front of a whole later entry was put there.
    fn look_behind(&mut self, bad: &[u8], reader: &mut impl BufRead) -> io::Result<()> {
        if bad.contains(&0) {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(MAX_LINE);
        while reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut bytes)? > 0 {
            if bytes.contains(&0) {
                return Ok(());
            }
            let line = bytes.strip_suffix(b"\n").and_then(Line::read);
            if line.is_some_and(|line| line.seq > self.link.seq && line.check().is_ok()) {
                self.cut_off = true;
                return Ok(());
            }
            bytes.clear();
        }
        Ok(())
    }

    /// Whether all of it stands behind the signed end.
    fn is_foreign(&self) -> bool {
        self.closed && self.good == 0
    }

    fn note(&mut self, link: Link) {
        if self.signed.covered().any(|covered| covered.seq == link.seq) {
            self.seen.push(link);
        }
    }

    /// Keeps the book of attempts and outcomes.
    fn book(&mut self, line: &Line<'_>) {
        self.sealed = false;
        match line.event() {
            b"privileged.attempt" => {
                if let Some(id) = Id::parse(line.id()) {
                    self.pending.insert(id);
                }
            }
            b"privileged.outcome" => {
                if let Some(id) = line.reference().and_then(Id::parse) {
                    self.pending.remove(&id);
                }
            }
            b"system" => {
                // The few lines that are read as JSON; a body lacks the object's first brace.
                let text = [b"{", line.body].concat();
                let Ok(read) = serde_json::from_slice::<serde_json::Value>(&text) else { return };
                match read.get("action").and_then(|action| action.as_str()) {
                    Some("trail.seal") => self.sealed = true,
                    Some("trail.pending") => {
                        let ids = read.get("refs").and_then(|refs| refs.as_array()).into_iter().flatten();
                        self.pending.extend(ids.filter_map(|id| Id::parse(id.as_str()?.as_bytes())));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// What does not agree with the checkpoints, if anything.
    fn problem(&self, signed: &Signed) -> Option<String> {
        for link in signed.covered() {
            if link.seq > self.link.seq {
                let why = self.broken.as_deref().unwrap_or("the file ends there");
                return Some(format!(
                    "a checkpoint covers entry {}, but they hold only to {}: {why}",
                    link.seq, self.link.seq
                ));
            }
            if self.seen.iter().any(|seen| seen.seq == link.seq && seen.hash != link.hash) {
                return Some(format!("entry {} is not the one that its checkpoint covers", link.seq));
            }
        }
        let why = self.broken.as_ref().filter(|_| self.cut_off)?;
        Some(format!("whole entries stand behind entry {}, but not in the chain: {why}", self.link.seq))
    }
}

/// Puts the bytes from `good` on aside, durably, and only then cuts them off. Gives what is to be said of a torn tail; of
/// bytes behind a signed end, which are nobody's torn tail, [`foreign`] does.
fn cut(site: &Site, path: &Path, good: u64, size: u64, seq: u64, closed: bool) -> Result<Option<Item>, String> {
    let torn = if closed { unused(site, seq) } else { site.names.torn(seq) };
    let done = aside(site, path, good, &torn).and_then(|()| {
        let mut file = site.disk.append(path)?;
        file.truncate(good)?;
        sync(&mut *file)
    });
    done.map_err(|error| format!("{}: its last bytes cannot be cut off: {error}", path.display()))?;
    if closed {
        return Ok(None);
    }
    let bytes = size.saturating_sub(good);
    tracing::warn!(
        seq,
        bytes,
        "{}: the last lines were torn, and are put aside as {}: nobody was told that they are durable",
        path.display(),
        torn.display()
    );
    Ok(Some(system::torn(&site.names.torn_name(seq), bytes)))
}

/// Gives a file whose every line stands behind the signed end a name under which none of them counts.
fn put_aside(site: &Site, path: &Path, found: Option<Found>) -> Result<(), String> {
    let end = found.and_then(|found| found.signed.end()).map_or(0, |end| end.seq);
    let moved = site.disk.rename(path, &unused(site, end.saturating_add(1)));
    let moved = moved.and_then(|()| site.disk.sync_folder(site.names.folder()));
    moved.map_err(|error| format!("{}: cannot be put aside: {error}", path.display()))
}

/// A name for evidence that no other has: the first from `seq` on, whatever the foreign lines call themselves.
fn unused(site: &Site, seq: u64) -> PathBuf {
    let mut names = (seq..u64::MAX).map(|seq| site.names.foreign(seq));
    // There are not as many files.
    names.find(|path| !path.exists()).unwrap_or_else(|| site.names.foreign(seq))
}

/// What is to be said of lines that were put aside because they stood behind the signed end at `signed`, and of which no
/// entry tells yet. A start signs once it has told all, and goes on past their names then: what is not signed may have
/// been cut short before it told.
fn foreign(site: &Site, signed: u64) -> Result<Vec<Item>, String> {
    let found = site.names.foreign_ones().map_err(|error| format!("{}: {error}", site.names.folder().display()))?;
    let untold = signed.saturating_add(1)..=signed.saturating_add(MOST_FOREIGN);
    let untold = found.into_iter().filter(|(seq, _)| untold.contains(seq));
    let say = |(seq, path): (u64, PathBuf)| {
        let problem = format!("bytes stood behind entry {signed}, where the trail had been ended and signed");
        tracing::error!("{}: the audit trail was added to while nobody wrote it: {problem}", path.display());
        system::broken(Some(&site.names.foreign_name(seq)), &problem)
    };
    Ok(untold.map(say).collect())
}

fn aside(site: &Site, path: &Path, good: u64, torn: &Path) -> io::Result<()> {
    // From a start that did not come this far.
    remove_if_there(&*site.disk, torn)?;
    let mut from = File::open(path)?;
    from.seek(io::SeekFrom::Start(good))?;
    let mut to = site.disk.create(torn)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return site.disk.sync_folder(site.names.folder());
        }
        put(&mut *to, piece.get(..read).unwrap_or_default())
            .map_err(|(Undone::Write(error) | Undone::Sync(error))| error)?;
    }
}
