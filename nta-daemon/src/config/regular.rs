//! Files that the configuration names. They are regular ones: a device has no end, a pipe lets the reader wait, and SQLite leaves
//! files of its own beside whatever it is given.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Bytes of a file with certificates.
const AUTHORITIES_BYTES: u64 = 1 << 20;

/// The length of a file; `None` where nothing is.
///
/// # Errors
/// When it is something else, or cannot be looked at.
pub fn regular_length(path: &Path) -> io::Result<Option<u64>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(Some(metadata.len())),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::other(format!("is no regular file, but {what}")))
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// When it is not there, is no regular file, or is larger.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("is larger than {most} bytes"));
    if regular_length(path)?.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    // What is not there is refused here, in the system's words.
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a file of text of at most so many bytes.
///
/// # Errors
/// As of [`read_regular`], and when it is no text.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_regular(path, most)?).map_err(|_wrong| io::Error::other("is no text in UTF-8"))
}

/// The certificates (PEM) of authorities in a file; none where no file is named.
///
/// # Errors
/// Names the file that cannot be read.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<u8>, String> {
    if path.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    read_regular(path, AUTHORITIES_BYTES).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_so_far() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, [7; 100]).expect("written");
        std::os::unix::fs::symlink(&file, folder.path().join("link")).expect("a link");
        assert_eq!(read_regular(&folder.path().join("link"), 100).expect("as large as it may be"), [7; 100]);
        assert_eq!(read_regular(&file, 99).expect_err("larger").kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(regular_length(&folder.path().join("none")).expect("may come"), None);
        let none = read_regular(&folder.path().join("none"), 100).expect_err("nothing to read");
        assert_eq!(none.to_string(), "No such file or directory (os error 2)");
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), 0o600.into()).expect("a pipe");
        for (path, what) in [
            (Path::new("/dev/zero"), "a device"),
            (Path::new("/dev/null"), "a device"),
            (folder.path(), "a directory"),
            (&folder.path().join("pipe"), "a pipe"),
        ] {
            for error in [read_regular(path, 100).expect_err("refused"), regular_length(path).expect_err("refused")] {
                assert!(error.to_string().ends_with(what), "{}: {error}", path.display());
            }
        }
    }
}
