//! What a configuration was read from, so that somebody can tell whether the disk still says the same.
//!
//! Filled by [`super::source::Files`] while it reads: every path that was asked for, with what was there at that moment.
//! Compares places, sizes and times, never contents. Watches nothing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::suite::is_test_file;
use crate::identity::map::Stamp;

/// What was there, by path.
pub type Seen = BTreeMap<PathBuf, Print>;

/// What tells a file from what was there before. Links are followed, so that a link that was turned is another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Print {
    /// Nothing that could be looked at.
    Nothing,
    There(Stamp),
    /// It changed while it was read; equals nothing that is found later.
    Torn,
}

impl Print {
    pub fn of(path: &Path) -> Self {
        Stamp::of(path).map_or(Self::Nothing, Self::There)
    }
}

/// Files and patterns of one load.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    seen: Seen,
    /// Of policy files, from the working folder on.
    patterns: Vec<String>,
}

impl Watched {
    /// What was there when it was read.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What is there now, new files that a pattern matches included. Blocks on the disk.
    pub fn look(&self) -> Seen {
        let mut seen: Seen = self.seen.keys().map(|path| (path.clone(), Print::of(path))).collect();
        // What cannot be listed is told by its path, as in a load.
        let matched = self.patterns.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten();
        let matched = matched.map(|entry| entry.unwrap_or_else(|error| error.path().to_path_buf()));
        // As in a load, too: what is never read would look new for ever.
        for path in matched.filter(|path| !is_test_file(path)) {
            seen.entry(path).or_insert_with_key(|path| Print::of(path));
        }
        seen
    }

    /// Whether some file was written after this moment, in milliseconds since 1970: perhaps its writer has not ended.
    pub fn is_younger(&self, unix_ms: i64) -> bool {
        self.seen.keys().any(|path| Stamp::of(path).is_some_and(|stamp| stamp.modified_ms() > unix_ms))
    }

    /// The files, under their own names and under those that links lead to.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let real = self.seen.keys().filter_map(|path| std::fs::canonicalize(path).ok());
        self.seen.keys().cloned().chain(real).map(|path| placed(&path)).collect()
    }

    /// The folders of these files, and those in which patterns begin.
    pub fn homes(&self, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let begins = self.patterns.iter().map(|pattern| {
            let literal = Path::new(pattern).components().take_while(|part| {
                !part.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
            });
            place(&literal.collect::<PathBuf>())
        });
        files.iter().filter_map(|path| path.parent()).map(place).chain(begins).collect()
    }

    pub(super) fn ask(&mut self, patterns: impl Iterator<Item = String>) {
        self.patterns.extend(patterns);
    }

    /// A file was read, or could not be; `before` is what was there when that began.
    pub(super) fn saw(&mut self, path: &Path, before: Print) {
        let print = if before == Print::of(path) { before } else { Print::Torn };
        // One that is named twice is read twice.
        let known = self.seen.entry(path.to_path_buf()).or_insert_with(|| print.clone());
        if *known != print {
            *known = Print::Torn;
        }
    }
}

/// As a watch on its folder names it.
fn placed(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(home), Some(name)) => place(home).join(name),
        _ => path.to_path_buf(),
    }
}

/// The folder of a bare name is the working folder.
fn place(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{Print, Watched};

    fn watched(folder: &tempfile::TempDir, files: &[&str]) -> Watched {
        let mut watched = Watched::default();
        for name in files {
            let path = folder.path().join(name);
            watched.saw(&path, Print::of(&path));
        }
        watched.ask(std::iter::once(format!("{}/policies/*.yaml", folder.path().display())));
        watched
    }

    /// SIGHUP in the middle of a write took a policy up without its later routes.
    #[test]
    fn a_file_that_was_just_written_is_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("main.yaml"), "routes:").unwrap();
        let watched = watched(&folder, &["main.yaml", "gone"]);
        let written = fs::metadata(folder.path().join("main.yaml")).unwrap().modified().unwrap();
        let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let written = i64::try_from(written).unwrap();
        for (unix_ms, expected) in
            [(written - 500, true), (written - 1, true), (written, false), (written + 500, false)]
        {
            assert_eq!(watched.is_younger(unix_ms), expected, "{}", unix_ms - written);
        }
    }

    #[test]
    fn what_counts_as_a_change() {
        type Act = fn(&std::path::Path);
        let table: &[(&str, Act, bool)] = &[
            ("nothing", |_| {}, false),
            ("written", |at| fs::write(at.join("main.yaml"), "other").unwrap(), true),
            (
                "replaced by the same bytes",
                |at| {
                    fs::write(at.join("new"), "text").unwrap();
                    fs::rename(at.join("new"), at.join("main.yaml")).unwrap();
                },
                true,
            ),
            ("removed", |at| fs::remove_file(at.join("main.yaml")).unwrap(), true),
            ("what could not be read came to be", |at| fs::write(at.join("secret"), "x").unwrap(), true),
            ("a file that matches", |at| fs::write(at.join("policies/b.yaml"), "").unwrap(), true),
            ("a file of tests", |at| fs::write(at.join("policies/a_test.yaml"), "").unwrap(), false),
            ("a file that does not match", |at| fs::write(at.join("policies/b.txt"), "").unwrap(), false),
            (
                "a link that was turned",
                |at| {
                    std::os::unix::fs::symlink("two", at.join("data.new")).unwrap();
                    fs::rename(at.join("data.new"), at.join("data")).unwrap();
                },
                true,
            ),
        ];
        for (name, act, changes) in table {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path();
            fs::create_dir(at.join("policies")).unwrap();
            for file in ["main.yaml", "policies/a.yaml"] {
                fs::write(at.join(file), "text").unwrap();
            }
            for data in ["one", "two"] {
                fs::create_dir(at.join(data)).unwrap();
                fs::write(at.join(data).join("map"), "x").unwrap();
            }
            std::os::unix::fs::symlink("one", at.join("data")).unwrap();
            let watched = watched(&folder, &["main.yaml", "policies/a.yaml", "secret", "data/map"]);
            act(at);
            assert_eq!(watched.look() != *watched.seen(), *changes, "{name}");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_never_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.yaml");
        fs::write(&path, "a").unwrap();
        let before = Print::of(&path);
        fs::write(&path, "longer").unwrap();
        let mut watched = Watched::default();
        watched.saw(&path, before);
        assert_eq!(watched.seen()[&path], Print::Torn);
        assert_ne!(watched.look(), *watched.seen());
    }

    #[test]
    fn a_bare_name_is_in_the_working_folder() {
        let mut watched = Watched::default();
        watched.saw(Path::new("no-such.yaml"), Print::Nothing);
        let files = watched.files();
        assert_eq!(files.iter().map(|path| path.as_path()).collect::<Vec<_>>(), [Path::new("./no-such.yaml")]);
        assert!(watched.homes(&files).contains(Path::new(".")));
    }

    #[test]
    fn homes_are_those_where_a_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        fs::write(folder.path().join("real/main.yaml"), "").unwrap();
        std::os::unix::fs::symlink("real/main.yaml", folder.path().join("main.yaml")).unwrap();
        let watched = watched(&folder, &["main.yaml"]);
        let files = watched.files();
        assert!(files.contains(&folder.path().join("real/main.yaml")), "{files:?}");
        let homes = watched.homes(&files);
        for (name, want) in [("", true), ("real", true), ("policies", true), ("elsewhere", false)] {
            let path = folder.path().join(name).components().collect::<PathBuf>();
            assert_eq!(homes.contains(&path), want, "{name}: {homes:?}");
        }
    }
}
