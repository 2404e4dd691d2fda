//! The disk as the writer sees it: the few operations that change something, so that tests can make each of them fail.
//!
//! Owns what a file of the trail is created like (0600, never over another one) and what goes on after a short write or
//! an interruption. Never retries anything else: a failed sync may have dropped the data, and the next one would succeed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock, statvfs};

/// What is changed on a disk.
pub(super) trait Disk: Send + Sync {
    /// A new file, which must not be there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>>;
    /// To write behind what is there.
    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// With those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    fn space(&self, folder: &Path) -> io::Result<Space>;
}

/// A file that only grows.
pub(super) trait Append: Send {
    /// As `write(2)`: maybe less than all.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Contents and length are on the disk when it returns.
    fn sync(&mut self) -> io::Result<()>;
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Whether `path` still names this file: one that was removed takes writes as before and keeps none of them.
    fn is_at(&self, path: &Path) -> bool;
}

/// Room on a file system for who is not root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) bytes: u64,
    pub(super) permille: u16,
}

/// Which half of a durable write went wrong.
#[derive(Debug)]
pub(super) enum Undone {
    Write(io::Error),
    Sync(io::Error),
}

/// All of it, durable. A short write is continued, an interruption tried again.
pub(super) fn put(file: &mut dyn Append, bytes: &[u8]) -> Result<(), Undone> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(Undone::Write(io::ErrorKind::WriteZero.into())),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Undone::Write(error)),
        }
    }
    sync(file).map_err(Undone::Sync)
}

pub(super) fn sync(file: &mut dyn Append) -> io::Result<()> {
    loop {
        match file.sync() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Puts `bytes` in the place of what is at `path`: whoever reads it, after a crash too, sees the old or the new whole.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    remove_if_there(disk, fresh)?;
    let done = disk.create(fresh).and_then(|mut file| {
        put(&mut *file, bytes).map_err(|(Undone::Write(error) | Undone::Sync(error))| error)?;
        disk.rename(fresh, path)?;
        disk.sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
    });
    if done.is_err() {
        let _ = disk.remove(fresh);
    }
    done
}

pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct Real;

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let found = statvfs(folder)?;
        let permille = found.f_bavail.saturating_mul(1000) / found.f_blocks.max(1);
        Ok(Space {
            bytes: found.f_bavail.saturating_mul(found.f_frsize),
            permille: u16::try_from(permille).unwrap_or(1000),
        })
    }
}

impl Append for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn is_at(&self, path: &Path) -> bool {
        same(self, path)
    }
}

fn same(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

/// The right to write to a folder; given back when it is dropped, and by the system when the process dies.
///
/// Both the folder and a file in it are locked: the file can be removed, and then it would keep nobody out; the folder
/// cannot while a trail lies in it, but not every network file system locks folders.
#[derive(Debug)]
pub(super) struct Lock {
    folder: File,
    file: File,
}

impl Lock {
    /// # Errors
    /// A sentence, among others when another process has it.
    pub(super) fn take(folder: &Path, path: &Path) -> Result<Self, String> {
        // The file first: who has both is told by the file, as everywhere.
        let file = lock_file(path)?;
        Ok(Self { folder: lock_folder(folder)?, file })
    }

    /// Takes again what was removed or replaced.
    ///
    /// # Errors
    /// As [`Self::take`]; then it is held no less than before.
    pub(super) fn renew(&mut self, folder: &Path, path: &Path) -> Result<(), String> {
        if !same(&self.file, path) {
            self.file = lock_file(path)?;
        }
        if !same(&self.folder, folder) {
            self.folder = lock_folder(folder)?;
        }
        Ok(())
    }
}

fn lock_folder(path: &Path) -> Result<File, String> {
    let at = |error: io::Error| format!("{}: cannot lock the trail's folder: {error}", path.display());
    let folder = File::open(path).map_err(at)?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(format!("{}: another process writes a trail in this folder: each needs one of its own", path.display()))
        }
        // NFS wants a file that was opened for writing: there the file alone keeps others out.
        Err(error) if FOLDERS_NOT_LOCKED.contains(&error) => {
            tracing::warn!(
                "{}: this file system locks no folders: {error}; do not remove the lock file",
                path.display()
            );
            Ok(folder)
        }
        Err(error) => Err(at(error.into())),
    }
}

const FOLDERS_NOT_LOCKED: [rustix::io::Errno; 4] =
    [rustix::io::Errno::BADF, rustix::io::Errno::INVAL, rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NOSYS];

fn lock_file(path: &Path) -> Result<File, String> {
    let at = |error: io::Error| format!("{}: cannot lock the trail: {error}", path.display());
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(nonblock);
    let file = options.open(path).map_err(at)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(format!("{}: another process holds the lock: two may not write one trail", path.display()))
        }
        Err(error) => Err(at(error.into())),
    }
}
