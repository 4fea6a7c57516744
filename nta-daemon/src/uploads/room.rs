//! The room that uploads may take: a quota over all kept captures, and what has to stay free on the disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Refusal;

/// The disk is asked once for so many bytes.
const ASKED_EVERY: u64 = 16 << 20;

/// Counts the bytes of all captures.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    quota: u64,
    keep_free: u64,
    used: AtomicU64,
    /// Bytes until the disk is asked again.
    unasked: AtomicU64,
}

impl Room {
    /// In this folder, of which `used` bytes are taken.
    pub(super) fn new(folder: &Path, quota: u64, keep_free: u64) -> Self {
        let [used, unasked] = [0, 0].map(AtomicU64::new);
        Self { folder: folder.to_owned(), quota, keep_free, used, unasked }
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Counts what the folder holds.
    pub(super) fn count(&self) {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        self.used.store(bytes, Relaxed);
    }

    /// Refuses what is known to be too much before it comes.
    pub(super) fn expect(&self, bytes: u64) -> Result<(), Refusal> {
        if self.used().saturating_add(bytes) > self.quota {
            return Err(Refusal::Quota { quota: self.quota, used: self.used() });
        }
        self.ask_disk(bytes)
    }

    /// Takes room for so many bytes.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let used = self.used.fetch_add(bytes, Relaxed);
        let taken = if used.saturating_add(bytes) > self.quota {
            Err(Refusal::Quota { quota: self.quota, used })
        } else if self.unasked.fetch_add(bytes, Relaxed) >= ASKED_EVERY || used == 0 {
            self.unasked.store(0, Relaxed);
            self.ask_disk(bytes)
        } else {
            Ok(())
        };
        taken.inspect_err(|_| self.give_back(bytes))
    }

    /// A file of so many bytes is gone.
    pub(super) fn give_back(&self, bytes: u64) {
        let _ = self.used.fetch_update(Relaxed, Relaxed, |used| Some(used.saturating_sub(bytes)));
    }

    /// Whether the disk has room. One that does not say is tried.
    fn ask_disk(&self, bytes: u64) -> Result<(), Refusal> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.keep_free.saturating_add(bytes) {
            return Err(Refusal::Disk { free, keep_free: self.keep_free });
        }
        Ok(())
    }
}
