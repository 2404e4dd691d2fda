//! The writer: the one thread that touches the disk.
//!
//! Owns when what is written: all that queued while the last batch became durable is the next batch, without waiting for
//! more. Owns who is told. While the trail fails, those who wait are turned away at once, outcomes stay queued, and a
//! fresh segment is tried until one holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Id;
use super::journal::{Fault, Journal};
use super::queue::{Item, Kind, Work};
use super::site::Site;
use super::status::Failure;
use super::system;
use super::trail::Shared;

/// Between two tries of a fresh segment.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two tries to open a trail that never was.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How often free space is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes taken from the queue at once.
const HAUL: usize = 4 << 20;
/// Free permille at which operators are warned.
const LOW: [u16; 2] = [200, 50];

pub(super) struct Writer {
    site: Site,
    /// None until the trail could be opened.
    journal: Option<Journal>,
    backlog: VecDeque<Item>,
    /// When to try again what failed.
    again: Instant,
    look: Instant,
    /// Of [`LOW`], those that free space is below.
    low: usize,
    /// Why it could not be opened, as the log says already.
    told: Option<String>,
}

impl Writer {
    /// Without a journal the thread opens one as soon as it can.
    pub(super) fn new(site: Site, journal: Option<Journal>) -> Self {
        let now = Instant::now();
        let mut writer = Self { site, journal, backlog: VecDeque::new(), again: now, look: now, low: 0, told: None };
        writer.look_at_space(now);
        writer
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.site.shared)
    }

    /// Until the end is asked for.
    pub(super) fn run(mut self) {
        loop {
            let open = self.is_open();
            self.site.shared.meter.idle();
            let work = self.site.shared.queue.take(self.wake(open), open, HAUL);
            self.site.shared.meter.busy();
            let over = work.ending && (work.items.is_empty() || !open);
            self.step(work, Instant::now());
            if over {
                break;
            }
        }
        self.end();
    }

    fn is_open(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_open)
    }

    /// When there is something to do without new work.
    fn wake(&self, open: bool) -> Instant {
        match &self.journal {
            Some(journal) if open => self.look.min(journal.witness.due()),
            _ => self.again,
        }
    }

    /// One turn at `now`: writes `work` if that can be done, and does what is due.
    pub(super) fn step(&mut self, work: Work, now: Instant) {
        self.admit(work);
        if self.is_open() {
            self.drain(now);
        } else if now >= self.again {
            self.retry(now);
        }
        if let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_open())
            && journal.witness.is_due(journal.link, now)
        {
            journal.witness.sign(&self.site, &journal.keys, journal.link, now);
        }
        if now >= self.look {
            self.look_at_space(now);
        }
    }

    fn admit(&mut self, work: Work) {
        self.backlog.extend(work.items);
        let known = |id: &Id| self.journal.as_ref().is_some_and(|journal| journal.pending.contains(id));
        let unsent = work.unsent.into_iter().filter(known).map(system::not_sent);
        let lost = work.lost.into_iter().filter(known).map(system::unknown);
        self.backlog.extend(unsent.chain(lost));
    }

    /// Writes the backlog and tells those who wait.
    fn drain(&mut self, now: Instant) {
        let Some(journal) = &mut self.journal else { return };
        while !self.backlog.is_empty() {
            match journal.write(&self.site, &mut self.backlog) {
                Ok(durable) => {
                    for item in durable {
                        let gone = item.ack.is_some_and(|ack| !ack.tell());
                        if let (Kind::Attempt(id), true) = (item.kind, gone) {
                            self.backlog.push_back(system::not_sent(id));
                        }
                    }
                }
                Err((fault, tried)) => {
                    // Before what queued behind it.
                    tried.into_iter().rev().for_each(|item| self.backlog.push_front(item));
                    return self.fail(&fault, now);
                }
            }
            let full = journal.sealed;
            if let Err(fault) = journal.turn(&self.site) {
                return self.fail(&fault, now);
            }
            if full {
                // A rotation may have freed some.
                self.look = now;
            }
        }
    }

    /// Tells everybody who waits, and keeps what nobody waits for.
    fn fail(&mut self, fault: &Fault, now: Instant) {
        let shared = &self.site.shared;
        shared.meter.failed(fault.failure);
        shared.meter.problem(Some(fault.sentence.clone()));
        shared.queue.shut();
        self.backlog.retain(|item| item.ack.is_none());
        self.again = now + AGAIN;
        tracing::error!(
            "the audit trail fails, and what is privileged is refused, but for `best_effort` where `on_failure` allows: {}",
            fault.sentence
        );
    }

    fn retry(&mut self, now: Instant) {
        let is_first = self.journal.is_none() && self.told.is_none();
        let done = match &mut self.journal {
            Some(journal) => {
                self.again = now + AGAIN;
                journal.go_on(&self.site).map_err(|fault| (fault.failure, fault.sentence))
            }
            none => {
                self.again = now + OPEN_AGAIN;
                let opened = Journal::open(&self.site).map(|journal| *none = Some(journal));
                opened.map_err(|sentence| {
                    // Each reason once, not each try.
                    if self.told.as_ref() != Some(&sentence) {
                        tracing::error!("the audit trail cannot be opened, and what is privileged is refused, but for `best_effort` where `on_failure` allows: {sentence}");
                        self.told = Some(sentence.clone());
                    }
                    (Failure::Open, sentence)
                })
            }
        };
        let meter = &self.site.shared.meter;
        match done {
            Ok(()) => {
                let again = if is_first { "" } else { " again" };
                tracing::info!("{}: the audit trail is written{again}", self.site.options.file.display());
                meter.problem(None);
                self.site.shared.queue.open();
                self.drain(now);
            }
            // One line in the log told that it fails; the count tells that it still does.
            Err((failure, sentence)) => {
                meter.failed(failure);
                meter.problem(Some(sentence));
            }
        }
    }

    fn look_at_space(&mut self, now: Instant) {
        self.look = now + LOOK;
        let folder = self.site.names.folder();
        let Ok(space) = self.site.disk.space(folder) else { return };
        self.site.shared.meter.free(space.permille);
        let below = LOW.iter().filter(|mark| space.permille < **mark).count();
        if below > self.low {
            tracing::warn!(
                "{}: {} % of the disk is left: without any the audit trail stops, and with it what is privileged",
                folder.display(),
                space.permille / 10
            );
        }
        self.low = below;
    }

    /// Says that it ends here, if that can be written.
    fn end(mut self) {
        let now = Instant::now();
        if !self.is_open() && self.journal.is_some() {
            self.retry(now);
        }
        if self.is_open() {
            let rest = self.site.shared.queue.take(now, true, usize::MAX);
            self.admit(rest);
            self.drain(now);
            // Killed between the last entry and its checkpoint, the segment then has one all the same.
            if let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_open()) {
                journal.witness.sign(&self.site, &journal.keys, journal.link, now);
            }
            if self.is_open() {
                self.backlog.push_back(system::stop());
                self.drain(now);
            }
        }
        if let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_open()) {
            journal.witness.end(&self.site, &journal.keys, journal.link, now);
        }
    }
}

/// Tells everybody that the thread is gone, however it went.
pub(super) struct Ended(pub(super) Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.meter.idle();
        self.0.meter.problem(Some("the audit trail has ended".to_owned()));
        self.0.queue.ended();
    }
}
