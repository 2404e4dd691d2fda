//! A file replaced whole or not at all, and durable once it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Writes a new file beside the old one and puts it in its place. A reader sees the old text or the new one; after a
/// power cut, too.
///
/// # Errors
/// Those of the file system; the old file is untouched then.
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    // A link keeps pointing where it points.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    // In the same folder, since a rename is atomic only within one file system.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let outcome = fill(&temporary, &path, write).and_then(|()| {
        fs::rename(&temporary, &path)?;
        // The rename itself is durable only once the folder is.
        File::open(folder)?.sync_all()
    });
    if outcome.is_err() {
        // What is left of a failed attempt helps nobody; that it cannot be removed changes nothing.
        drop(fs::remove_file(&temporary));
    }
    outcome
}

fn fill(
    temporary: &PathBuf,
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    drop(fs::remove_file(temporary));
    let file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    // The gate may run as another user than the one who imports.
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
