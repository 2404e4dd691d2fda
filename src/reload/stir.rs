//! Being woken when something happens in the folders of a configuration.
//!
//! A hint and no more: what changed is found out by looking, and looking goes on by itself where the system tells nothing
//! (no watches left, a file system of the network). Never reads a file.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::config::Watched;

/// Most folders that are watched; the system's own bound is shared by all processes of a user.
const MOST: usize = 1024;

/// The system's watches.
#[derive(Debug)]
pub(super) struct Stir {
    /// There is none where the system gives none.
    watcher: Option<RecommendedWatcher>,
    /// Which folder each watch is on: one that was swapped is another under the same name.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    places: Arc<Mutex<Places>>,
}

/// Where something that happens may matter.
#[derive(Debug, Default)]
struct Places {
    files: BTreeSet<PathBuf>,
    homes: BTreeSet<PathBuf>,
}

impl Stir {
    /// `wake` is called on a thread of the watcher, possibly often.
    pub(super) fn new(wake: impl Fn() + Send + 'static) -> Self {
        let places: Arc<Mutex<Places>> = Arc::default();
        let ours = Arc::clone(&places);
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
        Self { watcher, watched: BTreeMap::new(), places }
    }

    /// Watches the folders of this load and no others; how many of them.
    pub(super) fn follow(&mut self, read: &Watched) -> usize {
        let files = read.files();
        let homes = read.homes(&files);
        // A folder is swapped in the one above it.
        let above = homes.iter().filter_map(|home| home.parent()).filter(|above| !above.as_os_str().is_empty());
        let folders: BTreeSet<PathBuf> = above.map(Path::to_path_buf).chain(homes.iter().cloned()).collect();
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
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Places { files, homes };
        self.watched.len()
    }
}

/// Which folder is there.
fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Reading is no change: looking would wake itself for ever. Bytes matter in the files of the config only: a log may be
/// written in the same folder. Of a folder that is watched because one below it may be swapped, only that one counts.
fn tells(event: &Event, places: &Places) -> bool {
    let Places { files, homes } = places;
    let is_file = |path: &PathBuf| files.contains(path);
    let is_near = |path: &PathBuf| homes.contains(path) || path.parent().is_some_and(|home| homes.contains(home));
    let counts = |path: &PathBuf| match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(ModifyKind::Data(_)) => {
            is_file(path)
        }
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
            is_near(path)
        }
    };
    event.need_rescan() || event.paths.iter().any(counts)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use notify::event::{
        AccessKind, AccessMode, CreateKind, DataChange, MetadataKind, ModifyKind, RemoveKind, RenameMode,
    };
    use notify::{Event, EventKind};

    use super::{Places, tells};

    #[test]
    fn what_wakes() {
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        let places = Places { files: set(&["/c/conf/main.yaml"]), homes: set(&["/c/conf"]) };
        let (written, read) = (AccessKind::Close(AccessMode::Write), AccessKind::Open(AccessMode::Any));
        let bytes = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (name, kind, path, want) in [
            ("the file", bytes, "/c/conf/main.yaml", true),
            ("written", EventKind::Access(written), "/c/conf/main.yaml", true),
            ("read by ourselves", EventKind::Access(read), "/c/conf/main.yaml", false),
            ("its mode", EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/c/conf/main.yaml", true),
            ("a log beside it", bytes, "/c/conf/access.log", false),
            ("a new one", EventKind::Create(CreateKind::File), "/c/conf/new.yaml", true),
            ("one less", EventKind::Remove(RemoveKind::File), "/c/conf/old.yaml", true),
            ("a link that was turned", EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/c/conf/..data", true),
            ("the folder that was swapped", EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/c/conf", true),
            ("beside the folder", EventKind::Create(CreateKind::File), "/c/other", false),
            ("elsewhere", EventKind::Create(CreateKind::File), "/d/main.yaml", false),
        ] {
            assert_eq!(tells(&Event::new(kind).add_path(path.into()), &places), want, "{name}");
        }
    }
}
