//! The thread that reloads: it is asked (SIGHUP, `POST /v1/reload`), or it sees that the files changed.
//!
//! The only one that reads files, compiles and frees old snapshots while requests are served, so that no thread of the
//! proxy ever does. One reload at a time; whoever asks while one runs gets the next one, all of them the same.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Reloader;
use super::outcome::{By, Outcome, Verdict};
use super::settle::{Settle, Step};
use super::stir::Stir;
use crate::config::{Seen, Watched};
use crate::snapshot::Snapshot;

/// How long files must look the same before they are read: longer than an editor takes to put a file in another's place,
/// shorter than a person takes to wonder.
pub const QUIET: Duration = Duration::from_millis(500);
/// Between two looks that nothing asked for. A look at many files may cost more: it rests a hundred times as long.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks at the least, however often the system wakes us.
const SOONEST: Duration = Duration::from_millis(50);
/// How far the thread steps back behind those that serve (nice(1)): compiling a large config takes a core for a moment. Not
/// further, or a busy machine would take seconds for it.
const BACK: i32 = 3;
/// How long files may go on changing before somebody is told that nothing is read.
const RESTLESS: Duration = Duration::from_secs(30);

/// Asks for reloads; cheap to clone. The thread goes on until the process ends.
#[derive(Debug, Clone)]
pub struct Reloads(Sender<Wake>);

#[derive(Debug)]
enum Wake {
    Asked(By, Option<oneshot::Sender<Outcome>>),
    Stirred,
}

impl Reloads {
    /// Asks, and waits for nothing.
    pub fn ask(&self, by: By) {
        // The thread is there until the process ends.
        let _ = self.0.send(Wake::Asked(by, None));
    }

    /// Asks, and waits for the end; `None` when there is nobody any more who could.
    pub async fn reload(&self, by: By) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Wake::Asked(by, Some(answer))).ok()?;
        outcome.await.ok()
    }
}

/// Starts the thread. `read` is what the config that serves was read from.
///
/// # Errors
/// The system gives no thread.
pub fn start(reloader: Arc<Reloader>, read: Watched) -> std::io::Result<Reloads> {
    let (asking, inbox) = channel();
    let stirred = Arc::new(AtomicBool::new(false));
    let stir = {
        let (asking, stirred) = (asking.clone(), Arc::clone(&stirred));
        // One wake-up is as good as a thousand.
        Stir::new(move || {
            if !stirred.swap(true, Ordering::AcqRel) {
                let _ = asking.send(Wake::Stirred);
            }
        })
    };
    let keeper = Keeper {
        settle: Settle::new(read.seen().clone(), QUIET),
        reloader,
        inbox,
        stirred,
        stir,
        read,
        old: Vec::new(),
        looked: None,
        is_restless: false,
        has_loaded: false,
    };
    std::thread::Builder::new().name("reload".to_owned()).spawn(move || keeper.keep())?;
    Ok(Reloads(asking))
}

/// What the thread knows.
struct Keeper {
    reloader: Arc<Reloader>,
    inbox: Receiver<Wake>,
    stirred: Arc<AtomicBool>,
    stir: Stir,
    /// What the last load, good or bad, was read from.
    read: Watched,
    settle: Settle<Seen>,
    /// Snapshots that serve no new request, until nobody holds them.
    old: Vec<Arc<Snapshot>>,
    looked: Option<Instant>,
    is_restless: bool,
    /// Series may have come of a load that others no longer need, or that did not come to serve.
    has_loaded: bool,
}

impl Keeper {
    fn keep(mut self) {
        // Of this thread alone (setpriority(2)). One that cannot step back works all the same.
        let _ = rustix::process::setpriority_process(None, BACK);
        let folders = self.stir.follow(&self.read);
        tracing::info!(files = self.read.seen().len(), folders, look_s = LOOK.as_secs(), "config files are watched");
        let mut wait = SOONEST;
        loop {
            // A bug in a load must not be the end of all loads.
            match catch_unwind(AssertUnwindSafe(|| self.turn(wait))) {
                Ok(Some(rest)) => wait = rest,
                Ok(None) => return,
                Err(_) => {
                    // Not again before something changes.
                    self.settle.give_up();
                    self.reloader.lost();
                    wait = SOONEST;
                }
            }
        }
    }

    /// Waits for somebody who asks, at most this long, and looks; how long to rest, or that nobody can ask any more.
    fn turn(&mut self, wait: Duration) -> Option<Duration> {
        let asked = match self.inbox.recv_timeout(wait) {
            Ok(Wake::Asked(by, answer)) => Some((by, answer)),
            Ok(Wake::Stirred) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        if let Some((by, answer)) = asked {
            self.asked(&by, answer);
        }
        self.reclaim();
        Some(self.look())
    }

    /// One reload for all who have asked by now.
    fn asked(&mut self, by: &By, answer: Option<oneshot::Sender<Outcome>>) {
        let mut answers = vec![answer];
        while let Ok(wake) = self.inbox.try_recv() {
            if let Wake::Asked(_, answer) = wake {
                answers.push(answer);
            }
        }
        let outcome = self.reload(by);
        for answer in answers.into_iter().flatten() {
            // Who asked may have gone.
            let _ = answer.send(outcome.clone());
        }
    }

    fn reload(&mut self, by: &By) -> Outcome {
        let before = self.reloader.live.load_full();
        let (outcome, read) = self.reloader.reload(by);
        self.has_loaded = true;
        self.settle.read(read.seen().clone());
        self.read = read;
        self.stir.follow(&self.read);
        if !Arc::ptr_eq(&before, &outcome.snapshot) {
            self.old.push(before);
        }
        outcome
    }

    /// Looks at the files, and loads them when they changed and stay so; how long to rest.
    fn look(&mut self) -> Duration {
        let now = Instant::now();
        if let Some(since) =
            self.looked.map(|looked| now.saturating_duration_since(looked)).filter(|since| *since < SOONEST)
        {
            return SOONEST - since;
        }
        // Before the look: what happens during it wakes us again.
        self.stirred.store(false, Ordering::Release);
        let seen = self.read.look();
        let after = Instant::now();
        self.looked = Some(after);
        let rest = LOOK.max(after.saturating_duration_since(now) * 100);
        match self.settle.see(seen, now) {
            Step::Rest => {
                self.is_restless = false;
                rest
            }
            Step::Wait(left) => {
                if !self.is_restless && self.settle.restless(now) > RESTLESS {
                    self.is_restless = true;
                    tracing::warn!("config files go on changing: they are read once they rest for half a second");
                }
                left
            }
            Step::Load => {
                self.is_restless = false;
                let outcome = self.reload(&By::Files);
                if outcome.verdict == Verdict::Unsettled { SOONEST } else { rest }
            }
        }
    }

    /// Frees what nobody holds any more. Requests that still run under an old snapshot hold it; the last one must not
    /// pay for freeing it.
    fn reclaim(&mut self) {
        let before = self.old.len();
        self.old.retain(|old| Arc::strong_count(old) > 1);
        if self.old.len() == before && !std::mem::take(&mut self.has_loaded) {
            return;
        }
        self.has_loaded = false;
        let live = self.reloader.live.load();
        let all = || std::iter::once(&*live).chain(&self.old);
        let routes: HashSet<&str> = all().flat_map(|one| one.routes.iter()).map(|route| &*route.id).collect();
        let upstreams: HashSet<&str> = all().flat_map(|one| &one.upstreams).map(|upstream| &*upstream.name).collect();
        let issuers: HashSet<&str> = all().flat_map(|one| one.issuers()).collect();
        let metrics = &self.reloader.metrics;
        metrics.keep(&|id| routes.contains(id), &|name| upstreams.contains(name), &|issuer| issuers.contains(issuer));
    }
}
