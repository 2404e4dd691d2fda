//! Being woken when something happens in the folders of a configuration.
//!
//! A hint and no more: what changed is found out by looking, and looking goes on by itself where the system tells nothing
//! (no watches left, a file system of the network). Never reads a file.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Most folders that are watched; the system's own bound is shared by all processes of a user.
const MOST: usize = 1024;

/// The system's watches.
#[derive(Debug)]
pub(super) struct Stir {
    /// There is none where the system gives none.
    watcher: Option<RecommendedWatcher>,
    /// Which folder each watch is on: one that was swapped is another under the same name.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    folders: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Stir {
    /// `wake` is called on a thread of the watcher, possibly often.
    pub(super) fn new(wake: impl Fn() + Send + 'static) -> Self {
        let folders: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let ours = Arc::clone(&folders);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let counts = event.is_ok_and(|event| {
                let ours = ours.lock().unwrap_or_else(PoisonError::into_inner);
                tells(&event, &ours)
            });
            if counts {
                wake();
            }
        });
        let watcher = watcher
            .inspect_err(|problem| {
                tracing::warn!(%problem, "the system gives no file watches: changes are found by looking, every few seconds");
            })
            .ok();
        Self { watcher, watched: BTreeMap::new(), folders }
    }

    /// Watches these folders and no others; how many of them.
    pub(super) fn follow(&mut self, folders: BTreeSet<PathBuf>) -> usize {
        let Some(watcher) = &mut self.watcher else { return 0 };
        self.watched.retain(|path, place| {
            let stays = folders.contains(path) && self::place(path) == Some(*place);
            if !stays {
                // The system drops it by itself when the folder is gone.
                let _ = watcher.unwatch(path);
            }
            stays
        });
        let mut refused = None;
        for path in folders.iter().take(MOST) {
            let Some(place) = place(path).filter(|_| !self.watched.contains_key(path)) else { continue };
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path.clone(), place)),
                Err(problem) => refused = Some((path, problem)),
            }
        }
        if let Some((path, problem)) = refused {
            let folder = path.display();
            tracing::warn!(%problem, %folder, "a folder cannot be watched: changes there are found by looking, every few seconds");
        }
        *self.folders.lock().unwrap_or_else(PoisonError::into_inner) = folders;
        self.watched.len()
    }
}

/// Which folder is there.
fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Reading is no change: looking would wake itself for ever. In a folder that is watched because one below it may be
/// swapped, only that one counts.
fn tells(event: &Event, folders: &BTreeSet<PathBuf>) -> bool {
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    };
    let is_ours = |path: &PathBuf| folders.contains(path) || path.parent().is_some_and(|home| folders.contains(home));
    is_change && (event.need_rescan() || event.paths.iter().any(is_ours))
}
