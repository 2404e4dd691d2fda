//! the power goes at any moment. What was synced is there; of what was not, any 4 KiB block may be there or not, in
//! any order, and a file may be as long as it was to become, full of zeros.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::{Append, Disk, Real, Space};
use super::testing::{Bed, Chain, Desk, Random};

const BLOCK: usize = 4096;

#[test]
fn after_a_power_cut_all_that_was_acknowledged_is_there() {
    let mut torn = 0;
    for seed in 1..=400 {
        let mut random = Random(seed);
        let mut bed = Bed::new();
        let mut acknowledged = HashSet::new();
        for life in 0..3 {
            let disk = Power::over(&bed, random.below(120));
            if let Ok(mut desk) = Desk::open(Arc::new(disk.clone()), bed.options(16 << 10, 1000)) {
                while !disk.is_dead() {
                    let count = 1 + random.below(40);
                    acknowledged.extend(desk.commit(count));
                    if !desk.is_open() {
                        desk.wait(Duration::from_millis(500));
                        desk.turn();
                    }
                }
            }
            bed = disk.cut(&mut random);
            let name = format!("seed {seed}, life {life}");
            let desk = Desk::open(Arc::new(bed.disk()), bed.options(16 << 10, 1000));
            drop(desk.unwrap_or_else(|sentence| panic!("{name}: {sentence}")));
            let chain = Chain::read(&bed.segments()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            let missing: Vec<_> = acknowledged.iter().filter(|id| !chain.attempts.contains_key(*id)).collect();
            assert!(missing.is_empty(), "{name}: {missing:?}");
            assert_eq!(chain.find("trail.broken"), None, "{name}");
            assert!(chain.open_attempts().is_empty(), "{name}");
            torn += usize::from(chain.find("trail.torn").is_some());
        }
    }
    assert!(torn > 50, "the model tore {torn} tails only: it proves nothing");
}

/// A real folder, with a shadow of what of it is on the disk.
#[derive(Clone)]
struct Power(Arc<Mutex<Shadow>>);

#[derive(Default)]
struct Shadow {
    root: PathBuf,
    /// Calls to go until the power does.
    left: usize,
    files: HashMap<usize, Content>,
    /// What each path names, on the disk and by now.
    durable: BTreeMap<PathBuf, usize>,
    named: BTreeMap<PathBuf, usize>,
    /// Changes of names since their folder was synced.
    changes: Vec<Change>,
}

#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    now: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn folder(&self) -> &Path {
        let (Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(from, to) => {
                let file = names.remove(from).unwrap();
                names.insert(to.clone(), file);
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

impl Power {
    /// What is there now is durable.
    fn over(bed: &Bed, left: usize) -> Self {
        let mut shadow = Shadow { root: bed.path(""), left, ..Shadow::default() };
        for folder in ["audit", "state"] {
            let Ok(listed) = std::fs::read_dir(bed.path(folder)) else { continue };
            for entry in listed {
                let path = entry.unwrap().path();
                let synced = std::fs::read(&path).unwrap();
                let file = shadow.files.len();
                shadow.files.insert(file, Content { now: synced.clone(), synced });
                shadow.durable.insert(path.clone(), file);
                shadow.named.insert(path, file);
            }
        }
        Self(Arc::new(Mutex::new(shadow)))
    }

    fn is_dead(&self) -> bool {
        self.0.lock().unwrap().left == 0
    }

    /// Counts a call; none works without power.
    fn call(&self) -> io::Result<std::sync::MutexGuard<'_, Shadow>> {
        let mut shadow = self.0.lock().unwrap();
        if shadow.left == 0 {
            return Err(io::Error::from_raw_os_error(5));
        }
        shadow.left -= 1;
        Ok(shadow)
    }

    fn change(&self, change: Change, real: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut shadow = self.call()?;
        real()?;
        change.apply(&mut shadow.named);
        shadow.changes.push(change);
        Ok(())
    }

    /// What the next start finds.
    fn cut(&self, random: &mut Random) -> Bed {
        let shadow = self.0.lock().unwrap();
        let mut names = shadow.durable.clone();
        // A file system orders what it does to names.
        let kept = random.below(shadow.changes.len() + 1);
        shadow.changes.iter().take(kept).for_each(|change| change.apply(&mut names));
        let bed = Bed::new();
        for folder in ["audit", "state"] {
            std::fs::create_dir(bed.path(folder)).unwrap();
        }
        for (path, file) in names {
            let content = &shadow.files[&file];
            let mut found = content.synced.clone();
            if content.now.len() < found.len() && random.below(2) == 0 {
                found.truncate(content.now.len());
            }
            for (number, block) in content.now.chunks(BLOCK).enumerate() {
                let at = number * BLOCK;
                let changed = content.synced.get(at..at + block.len()) != Some(block);
                if changed && random.below(2) == 0 {
                    found.resize(found.len().max(at + block.len()), 0);
                    found[at..at + block.len()].copy_from_slice(block);
                }
            }
            if random.below(2) == 0 {
                found.resize(found.len().max(content.now.len()), 0);
            }
            std::fs::write(bed.path("").join(path.strip_prefix(&shadow.root).unwrap()), found).unwrap();
        }
        bed
    }

    fn file(&self, path: &Path, real: Box<dyn Append>) -> Box<dyn Append> {
        let file = self.0.lock().unwrap().named[path];
        Box::new(PowerFile { power: self.clone(), file, real })
    }
}

impl Disk for Power {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let mut shadow = self.call()?;
        let real = Real.create(path)?;
        let file = shadow.files.len();
        shadow.files.insert(file, Content::default());
        let change = Change::Create(path.to_owned(), file);
        change.apply(&mut shadow.named);
        shadow.changes.push(change);
        drop(shadow);
        Ok(self.file(path, real))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        drop(self.call()?);
        Ok(self.file(path, Real.append(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Change::Rename(from.to_owned(), to.to_owned()), || Real.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Change::Remove(path.to_owned()), || Real.remove(path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut shadow = self.call()?;
        let (synced, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut shadow.changes).into_iter().partition(|change| change.folder() == folder);
        synced.iter().for_each(|change| change.apply(&mut shadow.durable));
        shadow.changes = left;
        Ok(())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        Real.create_folder(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        Real.space(folder)
    }
}

struct PowerFile {
    power: Power,
    file: usize,
    real: Box<dyn Append>,
}

impl PowerFile {
    fn change(&mut self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut shadow = self.power.call()?;
        change(shadow.files.get_mut(&self.file).unwrap());
        Ok(())
    }
}

impl Append for PowerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.change(|content| content.now.extend(bytes))?;
        assert_eq!(self.real.write(bytes)?, bytes.len());
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change(|content| content.synced.clone_from(&content.now))
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.change(|content| content.now.truncate(usize::try_from(bytes).unwrap()))?;
        self.real.truncate(bytes)
    }

    fn is_at(&self, path: &Path) -> bool {
        self.real.is_at(path)
    }
}
