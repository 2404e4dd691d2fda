//! The handle that everybody else has: give an entry, and wait until it is durable or do not.
//!
//! Owns how long somebody waits and what becomes of an entry whose caller left. The disk is the writer's.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::disk::{Disk, Real};
use super::entry::Event;
use super::journal::Journal;
use super::keys::TokenKey;
use super::queue::{Ack, Durable, Item, Kind, Queue, Refused};
use super::site::Site;
use super::status::{Failure, Meter, Status};
use super::writer::{Ended, Writer};

/// Longest that somebody waits for an entry to be durable.
pub const PATIENCE: Duration = Duration::from_millis(250);

/// Who gets a copy of lines.
pub type CopyTo = Box<dyn Fn(&[u8]) + Send>;

/// Where a trail is kept, and how much of it.
pub struct Options {
    /// The active segment; older ones and their checkpoints lie beside it.
    pub file: PathBuf,
    /// Bytes after which a segment is sealed.
    pub rotate_size: u64,
    /// Sealed segments that are kept.
    pub rotate_keep: usize,
    /// Where keys and the last checkpoint lie.
    pub state_dir: PathBuf,
    /// Gets the lines of each batch once they are durable; must not block.
    pub copy: Option<CopyTo>,
    /// Gets how long each durable write took.
    pub committed: Option<Box<dyn Fn(Duration) + Send>>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Why an entry is not durable: nothing may go on that needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The queue has no room.
    Full,
    /// The trail cannot be written.
    Failing,
    /// It took longer than somebody waits.
    Late,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the queue of the trail is full",
            Self::Failing => "the trail cannot be written",
            Self::Late => "the trail's disk did not answer in time",
        })
    }
}

/// The trail. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Trail(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    /// None: no trail is kept.
    shared: Option<Arc<Shared>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the writer's thread have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) meter: Meter,
    pub(super) token: OnceLock<TokenKey>,
}

impl Trail {
    /// Opens the trail. When this returns, the start is durable.
    ///
    /// # Errors
    /// A sentence that names the file and the cause, such as that another process writes this trail.
    pub fn open(options: Options) -> Result<Self, String> {
        Self::open_on(Arc::new(Real), options)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, String> {
        let site = Site::new(disk, options, Arc::default())?;
        let journal = Journal::open(&site)?;
        site.shared.queue.open();
        Self::spawn(Writer::new(site, Some(journal)))
    }

    /// Opens the trail as soon as that works: tried on the writer's thread each second. Until then it is unavailable.
    pub fn open_when_possible(options: Options) -> Self {
        Self::open_when_possible_on(Arc::new(Real), options)
    }

    pub(super) fn open_when_possible_on(disk: Arc<dyn Disk>, options: Options) -> Self {
        let shared = Arc::<Shared>::default();
        shared.meter.problem(Some("the trail is being opened".to_owned()));
        let site = Site::new(disk, options, Arc::clone(&shared));
        site.and_then(|site| Self::spawn(Writer::new(site, None))).unwrap_or_else(|error| {
            tracing::error!("no audit trail: {error}");
            shared.meter.problem(Some(error));
            Self(Arc::new(Handle { shared: Some(shared), thread: Mutex::new(None) }))
        })
    }

    /// Keeps nothing: every entry counts as durable.
    pub fn off() -> Self {
        Self(Arc::new(Handle { shared: None, thread: Mutex::new(None) }))
    }

    fn spawn(writer: Writer) -> Result<Self, String> {
        let shared = writer.shared();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                // Outlives the writer, so that the lock is free when the end is told.
                let _ended = Ended(writer.shared());
                writer.run();
            })
            .map_err(|error| format!("cannot start the thread of the trail: {error}"))?;
        Ok(Self(Arc::new(Handle { shared: Some(shared), thread: Mutex::new(Some(thread)) })))
    }

    /// Writes an entry; when this is `Ok`, it is durable. Given up after [`PATIENCE`], and at once when it is known that
    /// waiting is of no use. `body` is [`super::Entry::body`].
    ///
    /// A caller that gets an error, or drops the future, has not acted: the entry is then never written, or, if it is an
    /// attempt, an outcome `not_sent` follows it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn commit(&self, kind: Kind, event: Event, body: Vec<u8>) -> Result<(), Unavailable> {
        self.commit_within(PATIENCE, kind, event, body).await
    }

    /// [`Trail::commit`] for somebody who waits as long as this.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn commit_within(
        &self,
        patience: Duration,
        kind: Kind,
        event: Event,
        body: Vec<u8>,
    ) -> Result<(), Unavailable> {
        self.wait(patience, kind, event, body, false).await.map(drop)
    }

    /// [`Trail::commit`] for somebody who acts also when it takes too long: then the entry stands, however late it becomes
    /// durable, and [`Late`] tells whether it still can.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not written.
    pub async fn commit_or_late(&self, kind: Kind, event: Event, body: Vec<u8>) -> Result<Option<Late>, Unavailable> {
        self.wait(PATIENCE, kind, event, body, true).await
    }

    async fn wait(
        &self,
        patience: Duration,
        kind: Kind,
        event: Event,
        body: Vec<u8>,
        acts: bool,
    ) -> Result<Option<Late>, Unavailable> {
        let Some(shared) = &self.0.shared else { return Ok(None) };
        if shared.meter.step() > patience {
            shared.meter.failed(Failure::Timeout);
            return Err(Unavailable::Late);
        }
        let (ack, durable) = Ack::new();
        match shared.queue.push(Item { kind, event, body, ack: Some(ack) }) {
            Ok(()) => {}
            Err(Refused::Closed) => return Err(Unavailable::Failing),
            Err(Refused::Full) => {
                shared.meter.failed(Failure::Full);
                return Err(Unavailable::Full);
            }
        }
        let mut waiting = Waiting { shared, kind, durable: Some(durable) };
        let answer = match &mut waiting.durable {
            Some(durable) => tokio::time::timeout(patience, &mut durable.told).await,
            None => return Err(Unavailable::Failing),
        };
        if let Ok(answer) = answer {
            waiting.durable = None;
            return answer.map(|()| None).map_err(|_| Unavailable::Failing);
        }
        shared.meter.failed(Failure::Timeout);
        if acts {
            return Ok(waiting.durable.take().map(Late::of));
        }
        // The answer may have come in this moment: then it counts, and otherwise the writer learns of it.
        if waiting.give_up() { Ok(None) } else { Err(Unavailable::Late) }
    }

    /// Writes an entry without waiting. Without room it is dropped and counted; of a dropped outcome at least an
    /// `unknown` one is written later.
    pub fn post(&self, kind: Kind, event: Event, body: Vec<u8>) {
        let Some(shared) = &self.0.shared else { return };
        if shared.queue.push(Item { kind, event, body, ack: None }).is_err() {
            shared.meter.dropped();
        }
    }

    /// Writes what is queued, and that it ends here; waits for that at most `limit`. Entries that come later are refused.
    pub fn finish(&self, limit: Duration) {
        let Some(shared) = &self.0.shared else { return };
        shared.queue.end();
        let Some(thread) = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if shared.queue.wait_for_end(Instant::now() + limit) {
            let _ = thread.join();
        } else {
            tracing::error!("the audit trail could not be ended in time: what was queued may be missing");
        }
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        match &self.0.shared {
            Some(shared) => shared.meter.read(shared.queue.is_open(), shared.queue.depth(), PATIENCE),
            None => Status { on: false, ..Meter::default().read(true, (0, 0), PATIENCE) },
        }
    }

    /// What may be written down of a token with this SHA-256: 32 hex digits, keyed. None before the trail was opened.
    pub fn token_hash(&self, digest: &[u8; 32]) -> Option<String> {
        Some(self.0.shared.as_ref()?.token.get()?.hash_digest(digest))
    }
}

impl Drop for Handle {
    /// Without `finish` the thread ends by itself, and nobody waits for it.
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.queue.end();
        }
    }
}

/// An entry that was not durable in time and stands all the same.
#[derive(Debug)]
pub struct Late(Durable);

impl Late {
    fn of(durable: Durable) -> Self {
        durable.act();
        Self(durable)
    }

    /// Whether it never will be durable: the trail failed while it waited.
    pub fn is_lost(&mut self) -> bool {
        matches!(self.0.told.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }
}

/// Somebody who waits. Dropped without having been told, as when the client left, it makes sure that an attempt that did
/// get durable is followed by the word that nothing was sent.
struct Waiting<'a> {
    shared: &'a Shared,
    kind: Kind,
    /// None once it is told.
    durable: Option<Durable>,
}

impl Waiting<'_> {
    /// Whether the entry is durable. If not, the writer's acknowledgement fails from now on.
    fn give_up(&mut self) -> bool {
        let Some(mut durable) = self.durable.take() else { return false };
        durable.told.close();
        durable.told.try_recv().is_ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.give_up()
            && let Kind::Attempt(id) = self.kind
        {
            self.shared.queue.unsent(id);
        }
    }
}
