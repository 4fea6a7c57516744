//! `[recordings]`: captures that are recorded by request.

use std::path::{Path, PathBuf};

use nta_core::Bounds;

use super::problem::Refused;
use super::section::section;

/// A recording is at least two files, and none of them is smaller than the longest frames.
const BYTES: Bounds = Bounds::new(1_048_576.0, 1e15);

/// A hundred years.
const DAYS: Bounds = Bounds::new(0.0, 36_500.0);

section! {
    /// Captures that are recorded by request.
    RecordingsConfig in "recordings" {
        /// Folder for them; empty: beside the database file, else nta-recordings.
        folder: String = String::new(),
        /// Most bytes of a recording, and what it may take unless its request says less; its oldest file goes when it would take more.
        max_bytes: u64 = 1_073_741_824 => BYTES,
        /// Most bytes of all recordings together; one that could exceed it is refused.
        quota_bytes: u64 = 10_737_418_240 => Bounds::BYTES,
        /// Recordings that are so many days old are deleted with what was found in them; 0 keeps them.
        keep_days: u64 = 30 => DAYS,
    }
}

impl RecordingsConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        let is_blocked = |path: &Path| path.exists() && !path.is_dir();
        if self.folder.contains('\0') || Path::new(&self.folder).ancestors().any(is_blocked) {
            refused.push(Refused::new("recordings.folder", self.folder.escape_debug(), "the path of a folder"));
        }
    }

    /// The folder, for this database file.
    pub fn folder(&self, database: Option<&Path>) -> PathBuf {
        match (self.folder.as_str(), database) {
            ("", Some(file)) => {
                let mut name = file.as_os_str().to_owned();
                name.push(".recordings");
                PathBuf::from(name)
            }
            ("", None) => PathBuf::from("nta-recordings"),
            (folder, _) => PathBuf::from(folder),
        }
    }
}
