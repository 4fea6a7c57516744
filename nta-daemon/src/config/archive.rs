//! `[archive]`: windows and flows as Parquet files of an hour each.

use std::path::PathBuf;

use nta_core::Bounds;

use super::Refused;
use super::section::section;

section! {
    /// Windows and flows of `run` as Parquet files of an hour each, which stay when retention has deleted the rows.
    ArchiveConfig in "archive" {
        /// Folder of TABLE/date=YYYY-MM-DD/sensor=NAME/HH.parquet; empty writes none. It is made.
        folder: PathBuf = PathBuf::new(),
        /// Bytes of all files, beyond which the oldest go; 0 is no bound.
        max_bytes: u64 = 10_737_418_240 => Bounds::BYTES,
    }
}

impl ArchiveConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if self.folder.exists() && !self.folder.is_dir() {
            refused.push(Refused::new("archive.folder", self.folder.display(), "the path of a folder"));
        }
    }
}
