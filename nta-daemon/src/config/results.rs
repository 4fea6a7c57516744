//! `[results]`: files that jobs make for download.

use std::path::{Path, PathBuf};

use nta_core::Bounds;

use super::problem::Refused;
use super::section::section;

/// A hundred years.
const DAYS: Bounds = Bounds::new(0.0, 36_500.0);

section! {
    /// Files that jobs make for download: connections, scores, predictions.
    ResultsConfig in "results" {
        /// Folder for them; empty: beside the database file, for PostgreSQL nta-results. With a database in memory it is a temporary
        /// folder that goes with the process.
        folder: String = String::new(),
        /// Most bytes of all of them; a job that would exceed it fails (507), and leaves nothing.
        quota_bytes: u64 = 5_368_709_120 => Bounds::BYTES,
        /// Bytes that they leave free on the disk.
        keep_free_bytes: u64 = 268_435_456 => Bounds::BYTES,
        /// Files that are so many days old are deleted; 0 keeps them.
        keep_days: u64 = 30 => DAYS,
    }
}

impl ResultsConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        let is_blocked = |path: &Path| path.exists() && !path.is_dir();
        if self.folder.contains('\0') || Path::new(&self.folder).ancestors().any(is_blocked) {
            refused.push(Refused::new("results.folder", self.folder.escape_debug(), "the path of a folder"));
        }
    }

    /// The folder, for this database file; `None` where the database is in memory and no folder is named.
    pub fn folder(&self, database: Option<&Path>, is_memory: bool) -> Option<PathBuf> {
        match (self.folder.as_str(), database) {
            ("", Some(file)) => {
                let mut name = file.as_os_str().to_owned();
                name.push(".results");
                Some(PathBuf::from(name))
            }
            ("", None) if is_memory => None,
            ("", None) => Some(PathBuf::from("nta-results")),
            (folder, _) => Some(PathBuf::from(folder)),
        }
    }
}
