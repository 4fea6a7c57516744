//! The room that all files may take.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// All files together would take too much.
    #[error("the results that are kept take {used} bytes, and `[results] quota_bytes` allows {quota}")]
    Quota {
        /// What is allowed.
        quota: u64,
        /// What is taken.
        used: u64,
    },
    /// The disk is full.
    #[error("the disk has {free} bytes left, and `[results] keep_free_bytes` leaves {keep_free} free")]
    Disk {
        /// What is left.
        free: u64,
        /// What stays free.
        keep_free: u64,
    },
}

impl NoRoom {
    /// What an error of writing says about it, if that is the reason.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<NoRoom> for io::Error {
    fn from(reason: NoRoom) -> Self {
        Self::new(io::ErrorKind::StorageFull, reason)
    }
}

/// Counts the bytes of all files.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    quota: u64,
    keep_free: u64,
    used: AtomicU64,
    refused: AtomicU64,
}

impl Room {
    /// With what the folder holds.
    pub(super) fn of(folder: &Path, quota: u64, keep_free: u64) -> Self {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let used = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        Self { folder: folder.to_owned(), quota, keep_free, used: AtomicU64::new(used), refused: AtomicU64::new(0) }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Takes room for so many bytes.
    pub(super) fn take(&self, bytes: u64) -> Result<(), NoRoom> {
        let used = self.used.fetch_add(bytes, Relaxed);
        let taken = if used.saturating_add(bytes) > self.quota {
            Err(NoRoom::Quota { quota: self.quota, used })
        } else {
            self.ask_disk(bytes)
        };
        taken.inspect_err(|_| {
            self.give_back(bytes);
            self.refused.fetch_add(1, Relaxed);
        })
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let _ = self.used.fetch_update(Relaxed, Relaxed, |used| Some(used.saturating_sub(bytes)));
    }

    /// Whether the disk has room. One that does not say is tried.
    fn ask_disk(&self, bytes: u64) -> Result<(), NoRoom> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.keep_free.saturating_add(bytes) {
            return Err(NoRoom::Disk { free, keep_free: self.keep_free });
        }
        Ok(())
    }
}
