//! Opening files that anybody may have put there: a trail is read from copies and from folders that others can write to.
//!
//! Owns that an open never waits and that what is read is a regular file: a pipe would hang whoever opens it, a device
//! has no end. Owns how much of a small file is read. Follows links; what they lead to is held to the same.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of a file of keys, at most: a line of 44 bytes for each.
pub(super) const KEYS: u64 = 64 << 10;

/// Opens a regular file for reading.
///
/// # Errors
/// That of the system; [`io::ErrorKind::InvalidInput`] for anything that is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Asked first: opening alone does something to some devices. Asked again, as another one may be there by then.
    check(&std::fs::metadata(path)?)?;
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(found: &std::fs::Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file: take it out of the trail's folder"))
}

/// All of a file that has at most so many bytes.
///
/// # Errors
/// As [`open`]; [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let sentence = format!("it has more than the {most} bytes that such a file may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
    }
    Ok(bytes)
}

/// The last bytes of a file, at most so many, and where in it they begin.
///
/// # Errors
/// As [`open`].
pub(super) fn read_end(path: &Path, most: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut file = open(path)?;
    let from = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((from, bytes))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::{open, read, read_end};

    /// A test that hangs here has found that an open waits.
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for path in [&pipe, &link, folder.path(), Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
        let round = folder.path().join("round");
        std::os::unix::fs::symlink(&round, &round).unwrap();
        assert!(open(&round).is_err());
    }

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read(&path, 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_end(&path, 4).unwrap(), (6, b"6789".to_vec()));
        assert_eq!(read_end(&path, 40).unwrap(), (0, b"0123456789".to_vec()));
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 10).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_end(&path, 4).unwrap().1, [0; 4]);
    }
}
