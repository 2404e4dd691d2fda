//! The names of the trail's files: what lies where in its folder.
//!
//! Owns how a name says what a file holds. Never opens one of them; only [`Names::older_ones`] and
//! [`Names::foreign_ones`] look into the folder.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

/// The files of one trail, all beside `audit.file`.
#[derive(Debug, Clone)]
pub struct Names {
    folder: PathBuf,
    active: PathBuf,
    stem: String,
    /// With its dot.
    ending: String,
}

impl Names {
    /// Those of the trail whose active segment is `file`.
    ///
    /// # Errors
    /// A sentence, when `file` names no file.
    pub fn of(file: &Path) -> Result<Self, String> {
        let text = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
        let Some(stem) = text(file.file_stem()) else {
            return Err(format!("{}: this is no name for a file of the trail", file.display()));
        };
        let ending = text(file.extension()).map_or_else(String::new, |ending| format!(".{ending}"));
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { active: folder.join(format!("{stem}{ending}")), folder, stem, ending })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The segment that is written to.
    pub fn active(&self) -> &Path {
        &self.active
    }

    /// A segment that is not yet proven durable.
    pub fn fresh(&self) -> PathBuf {
        self.folder.join(format!("{}{}.new", self.stem, self.ending))
    }

    /// Of a segment that is no longer written to; `first` is the `seq` of its first line.
    pub fn older(&self, first: u64) -> PathBuf {
        self.folder.join(self.older_name(first))
    }

    pub fn older_name(&self, first: u64) -> String {
        format!("{}-{first:020}{}", self.stem, self.ending)
    }

    /// The last checkpoint, kept in `state_dir`: named after where the trail lies, so that two trails, or one whose
    /// `audit.file` was changed, do not speak for one another.
    pub fn witness(&self, state_dir: &Path) -> PathBuf {
        let place = std::path::absolute(&self.active).unwrap_or_else(|_| self.active.clone());
        let place = digest(&SHA256, place.as_os_str().as_encoded_bytes());
        let place: String = place.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        state_dir.join(format!("{}-{place}.checkpoint", self.stem))
    }

    /// Of the segment that begins with `first`, written to or not.
    pub fn checkpoints(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{}-{first:020}.checkpoints", self.stem))
    }

    /// Bytes that were cut off at a start; `seq` is the entry that they would have held first.
    pub fn torn(&self, seq: u64) -> PathBuf {
        self.folder.join(self.torn_name(seq))
    }

    pub fn torn_name(&self, seq: u64) -> String {
        format!("{}-{seq:020}.torn", self.stem)
    }

    /// Lines that somebody put behind the signed end of a trail; `seq` is the entry behind it, or a later one.
    pub fn foreign(&self, seq: u64) -> PathBuf {
        self.folder.join(self.foreign_name(seq))
    }

    pub fn foreign_name(&self, seq: u64) -> String {
        format!("{}-{seq:020}.foreign", self.stem)
    }

    pub fn lock(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.stem))
    }

    pub fn public_key(&self) -> PathBuf {
        self.folder.join(format!("{}.pub", self.stem))
    }

    /// The segments that are no longer written to, oldest first, each with the `seq` of its first line. None when the
    /// folder is not there.
    ///
    /// # Errors
    /// That of reading the folder.
    pub fn older_ones(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        self.numbered(&self.ending)
    }

    /// What [`Self::foreign`] names, in order.
    ///
    /// # Errors
    /// That of reading the folder.
    pub fn foreign_ones(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        self.numbered(".foreign")
    }

    fn numbered(&self, ending: &str) -> io::Result<Vec<(u64, PathBuf)>> {
        let listing = match std::fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry?;
            if let Some(first) = entry.file_name().to_str().and_then(|name| self.number_of(name, ending)) {
                found.push((first, entry.path()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn number_of(&self, name: &str, ending: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(ending)?;
        (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(())?;
        digits.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::Names;

    #[test]
    fn names_stand_beside_the_active_file() {
        let names = Names::of(Path::new("a/audit.jsonl")).unwrap();
        let names = [
            names.active().to_owned(),
            names.fresh(),
            names.older(7),
            names.checkpoints(7),
            names.torn(8),
            names.foreign(8),
            names.lock(),
            names.public_key(),
        ];
        let expected = [
            "a/audit.jsonl",
            "a/audit.jsonl.new",
            "a/audit-00000000000000000007.jsonl",
            "a/audit-00000000000000000007.checkpoints",
            "a/audit-00000000000000000008.torn",
            "a/audit-00000000000000000008.foreign",
            "a/audit.lock",
            "a/audit.pub",
        ];
        assert_eq!(names, expected.map(PathBuf::from));
        assert_eq!(Names::of(Path::new("bare")).unwrap().folder(), Path::new("."));
        assert!(Names::of(Path::new("..")).is_err());
    }

    #[test]
    fn only_segments_are_listed_and_by_age() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "audit-00000000000000000020.jsonl",
            "audit-00000000000000000003.jsonl",
            "audit-00000000000000000003.checkpoints",
            "audit-00000000000000000004.torn",
            "audit-3.jsonl",
            "audit-0000000000000000000x.jsonl",
            "other-00000000000000000001.jsonl",
            "audit.jsonl",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = Names::of(&folder.path().join("audit.jsonl")).unwrap();
        let firsts: Vec<u64> = names.older_ones().unwrap().into_iter().map(|(first, _)| first).collect();
        assert_eq!(firsts, [3, 20]);
        assert!(Names::of(&folder.path().join("gone/audit.jsonl")).unwrap().older_ones().unwrap().is_empty());
    }
}
