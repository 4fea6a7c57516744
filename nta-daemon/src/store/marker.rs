//! That the database takes nothing, for the next start.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::private;
use nta_core::domain::Timestamp;

/// A file that says since when the database takes nothing. Its name says it: on a full disk there may be no room for its contents, which
/// are the first error.
#[derive(Debug)]
pub(super) struct Marker(PathBuf);

const MARKER: &str = "trouble-";

impl Marker {
    /// In the folder of a spool.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn all(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        fs::read_dir(&self.0).into_iter().flatten().flatten().filter_map(|entry| {
            let ns = entry.file_name().to_str()?.strip_prefix(MARKER)?.parse().ok()?;
            Some((entry.path(), ns))
        })
    }

    /// What an earlier run has left.
    pub(super) fn read(&self) -> Option<(Timestamp, String)> {
        let (path, from) = self.all().min_by_key(|(_, from)| *from)?;
        let error = fs::read_to_string(path).unwrap_or_default();
        let error = if error.is_empty() { "the daemon ended meanwhile".to_owned() } else { error };
        Some((Timestamp::from_nanos(from), error))
    }

    pub(super) fn set(&self, from: Timestamp, error: &str) {
        let made = private::make_file(&self.0.join(format!("{MARKER}{}", from.as_nanos())));
        let written = made.and_then(|mut file| file.write_all(error.as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%error, "store: not all of it is kept that the database takes nothing");
        }
    }

    pub(super) fn remove(&self) {
        for (path, _) in self.all() {
            let _gone = fs::remove_file(path);
        }
    }
}
