//! Reads the files of a configuration: bounded, regular, UTF-8, each remembered for the snapshot's id.
//!
//! Called by `load` for YAML and by `compile` for key files. Never follows what a file says: names in it are
//! resolved against its own folder by [`Source::resolve`], and read only when somebody asks.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;

use super::codes::{self, Code};
use super::watched::{Print, Watched};

/// Largest file of any kind that is read.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// A text file as it was read.
#[derive(Debug)]
pub(crate) struct Source {
    /// As people are told.
    pub(crate) name: Arc<str>,
    folder: PathBuf,
    pub(crate) text: String,
    /// Made when the first line is asked for.
    line_starts: OnceLock<Vec<usize>>,
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        // Editors do not count a byte order mark, nor do our columns.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Self { name: path.display().to_string().into(), folder, text, line_starts: OnceLock::new() }
    }

    /// A path written in this file, relative to the file's folder.
    pub(crate) fn resolve(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }

    /// The same for a pattern of files; the folder's own name is no pattern.
    pub(crate) fn resolve_glob(&self, written: &str) -> String {
        if Path::new(written).is_absolute() || self.folder.as_os_str().is_empty() {
            return written.to_owned();
        }
        format!("{}/{written}", glob::Pattern::escape(&self.folder.to_string_lossy()))
    }

    /// One line, counted from 1, without its end; lines end where YAML ends them.
    pub(crate) fn line(&self, number: usize) -> Option<&str> {
        let starts = self.line_starts.get_or_init(|| line_starts(&self.text));
        let start = *starts.get(number.checked_sub(1)?)?;
        self.text.get(start..)?.split(['\n', '\r']).next()
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\r' && bytes.peek().is_some_and(|(_, next)| *next == b'\n') {
            continue;
        }
        if matches!(byte, b'\n' | b'\r') {
            starts.push(at + 1);
        }
    }
    starts
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Line and column, where there is one to blame.
    pub(crate) place: Option<(usize, usize)>,
}

/// All files read so far.
pub(crate) struct Files {
    pub(crate) paths: Vec<PathBuf>,
    /// The same and what could not be read, by what was there.
    pub(crate) watched: Watched,
    digest: digest::Context,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { paths: Vec::new(), watched: Watched::default(), digest: digest::Context::new(&digest::SHA256) }
    }

    /// The bytes of a regular file of bounded size.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        let before = Print::of(path);
        let read = read_bounded(path);
        // A file that cannot be read may come to be.
        self.watched.saw(path, before);
        let bytes = read?;
        self.remember(path, &bytes);
        Ok(bytes)
    }

    pub(crate) fn read_text(&mut self, path: &Path) -> Result<Source, Unreadable> {
        let bytes = self.read(path)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source::new(path, text)),
            Err(error) => {
                let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                let begin = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let before = valid.get(begin..).map(String::from_utf8_lossy).unwrap_or_default();
                let place = Some((line, before.chars().count() + 1));
                let message = "the file is not UTF-8 from here on".to_owned();
                Err(Unreadable { code: codes::NOT_UTF8, message, place })
            }
        }
    }

    /// A file that is too large to be held, by the digest of its bytes; `before` is what was there when reading began.
    pub(crate) fn remember_digest(&mut self, path: &Path, digest: &str, before: Print) {
        self.watched.saw(path, before);
        self.remember(path, digest.as_bytes());
    }

    /// Lengths go in before texts, so that no two sets of files can look like one another.
    fn remember(&mut self, path: &Path, bytes: &[u8]) {
        let name = path.as_os_str().as_encoded_bytes();
        for part in [name, bytes] {
            self.digest.update(&part.len().to_le_bytes());
            self.digest.update(part);
        }
        self.paths.push(path.to_path_buf());
    }

    /// First 16 hex digits of the SHA-256 over names and contents.
    pub(crate) fn id(&self) -> Arc<str> {
        let digest = self.digest.clone().finish();
        digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let fail = |code: Code, message: String| Unreadable { code, message, place: None };
    let shown = path.display();
    let unreadable =
        |error: &std::io::Error| fail(codes::UNREADABLE, format!("cannot read {shown}: {}", reason(error)));
    // Asked before opening: opening a FIFO waits for its writer.
    let meta = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "a folder" } else { "not a regular file" };
        return Err(fail(codes::UNREADABLE, format!("cannot read {shown}: it is {what}")));
    }
    let too_large = || fail(codes::TOO_LARGE, format!("{shown} is larger than 8 MiB"));
    if meta.len() > MAX_BYTES {
        return Err(too_large());
    }
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    // The file may have grown since it was measured.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The system's reason without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Source;

    #[test]
    fn lines_end_where_yaml_ends_them() {
        let source = Source::new(Path::new("conf/x.yaml"), "\u{feff}a\r\nb\rc\n\nd".to_owned());
        let lines: Vec<_> = (0..=6).map(|number| source.line(number)).collect();
        assert_eq!(lines, [None, Some("a"), Some("b"), Some("c"), Some(""), Some("d"), None]);
    }

    #[test]
    fn paths_start_at_the_folder_of_their_file() {
        let source = Source::new(Path::new("conf/[a]/x.yaml"), String::new());
        assert_eq!(source.resolve("b/c"), Path::new("conf/[a]/b/c"));
        assert_eq!(source.resolve("/b"), Path::new("/b"));
        assert_eq!(source.resolve_glob("p/*.yaml"), "conf/[[]a[]]/p/*.yaml");
        assert_eq!(source.resolve_glob("/p/*.yaml"), "/p/*.yaml");
        assert_eq!(Source::new(Path::new("x.yaml"), String::new()).resolve_glob("*.yaml"), "*.yaml");
    }
}
