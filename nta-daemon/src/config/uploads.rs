//! `[uploads]`: captures that clients send.

use std::path::{Path, PathBuf};

use nta_core::Bounds;

use super::problem::Refused;
use super::section::section;

/// A capture has a header at least.
const CAPTURE: Bounds = Bounds::new(24.0, 1e15);
/// A hundred years.
const DAYS: Bounds = Bounds::new(0.0, 36_500.0);
/// Of each a thread, a buffer and a table of flows.
const AT_ONCE: Bounds = Bounds::new(1.0, 100.0);
/// Up to an hour.
const SECONDS: Bounds = Bounds::new(1.0, 3600.0);
const HOURS: Bounds = Bounds::new(1.0, 8760.0);

section! {
    /// Captures that clients send.
    UploadsConfig in "uploads" {
        /// Folder for the captures; empty: beside the database file, for PostgreSQL nta-uploads. What is analysed into a database in
        /// memory is kept in a temporary folder that goes with the process.
        folder: String = String::new(),
        /// Most bytes of a capture; beyond it the answer is 413.
        max_bytes: u64 = 1_073_741_824 => CAPTURE,
        /// Bytes that are unpacked of a compressed capture; what is more is not read, and the report says so.
        max_unpacked_bytes: u64 = 17_179_869_184 => CAPTURE,
        /// Most bytes of all captures that are kept; an upload that would exceed it is refused (507).
        quota_bytes: u64 = 10_737_418_240 => Bounds::BYTES,
        /// Bytes that uploads leave free on the disk; one that would not is refused (507).
        keep_free_bytes: u64 = 268_435_456 => Bounds::BYTES,
        /// Captures that are so many days old are deleted with what was found in them; 0 keeps them.
        keep_days: u64 = 30 => DAYS,
        /// Uploads that are received at a time; one more is told to try again later.
        at_once: u64 = 8 => AT_ONCE,
        /// Captures that are analysed at a time; the others wait.
        analyses: u64 = 2 => AT_ONCE,
        /// Seconds without a byte after which an upload is broken off.
        idle_s: u64 = 30 => SECONDS,
        /// Seconds after which packets that come as records of a log are a capture of their own, when no more come.
        packets_idle_s: u64 = 300 => SECONDS,
        /// Hours for which an upload that can go on waits for its next part.
        resume_hours: u64 = 24 => HOURS,
    }
}

impl UploadsConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        let is_blocked = |path: &Path| path.exists() && !path.is_dir();
        if self.folder.contains('\0') || Path::new(&self.folder).ancestors().any(is_blocked) {
            refused.push(Refused::new("uploads.folder", self.folder.escape_debug(), "the path of a folder"));
        }
    }

    /// The folder, for this database file; `None` where the database is in memory and no folder is named.
    pub fn folder(&self, database: Option<&Path>, is_memory: bool) -> Option<PathBuf> {
        match (self.folder.as_str(), database) {
            ("", Some(file)) => {
                let mut name = file.as_os_str().to_owned();
                name.push(".uploads");
                Some(PathBuf::from(name))
            }
            ("", None) if is_memory => None,
            ("", None) => Some(PathBuf::from("nta-uploads")),
            (folder, _) => Some(PathBuf::from(folder)),
        }
    }
}
