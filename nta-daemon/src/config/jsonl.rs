//! `[jsonl]`: windows and anomalies as files of JSON lines.

use std::path::PathBuf;

use nta_core::Bounds;

use super::Refused;
use super::section::section;

/// Smaller files than the longest line have would turn over with every line.
pub(super) const BYTES: Bounds = Bounds::new(1_048_576.0, 1e15);
/// Files that are kept beside the one that is written.
pub(super) const FILES: Bounds = Bounds::new(0.0, 1000.0);

section! {
    /// Windows and anomalies of `run` as files of JSON lines, beside the database.
    JsonlConfig in "jsonl" {
        /// Folder of metrics.jsonl and anomalies.jsonl; empty writes none. It is made, those above it are not.
        folder: PathBuf = PathBuf::new(),
        /// Bytes of a file; one that a line would make larger becomes metrics.jsonl.1, that one .2, and so on.
        max_bytes: u64 = 104_857_600 => BYTES,
        /// How many of those are kept, of each of both.
        keep: u32 = 4 => FILES,
    }
}

impl JsonlConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if self.folder.exists() && !self.folder.is_dir() {
            refused.push(Refused::new("jsonl.folder", self.folder.display(), "the path of a folder"));
        }
    }
}
