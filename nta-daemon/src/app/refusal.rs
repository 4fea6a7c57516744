//! Why a database cannot be opened: SQLite says no more than that it is so, the system says why.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::AppError;
use crate::store::StoreError;

/// What to say of a database that could not be opened.
pub(super) fn unusable(url: &str, error: StoreError) -> AppError {
    let file =
        url.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches("//")).and_then(|rest| rest.split('?').next());
    match (&error, file.map(Path::new).and_then(|path| Some((path, writable(path).err()?)))) {
        (StoreError::Open { .. } | StoreError::Folder { .. }, Some((path, source))) => {
            AppError::DatabaseFile { path: path.to_owned(), source, user: user() }
        }
        _ => AppError::Store(error),
    }
}

/// Whether this file can be written, or made; leaves no file behind that was not there.
fn writable(path: &Path) -> io::Result<()> {
    if path.exists() {
        return OpenOptions::new().append(true).open(path).map(drop);
    }
    OpenOptions::new().write(true).create_new(true).open(path)?;
    std::fs::remove_file(path)
}

/// The number of the user that this process runs as.
fn user() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid())
}
