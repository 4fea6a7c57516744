//! The room that files of one kind may take: a quota over all of them, and what has to stay free on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The disk is asked once for so many bytes.
const ASKED_EVERY: u64 = 16 << 20;

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// All files together would take too much.
    #[error("what is kept takes {used} bytes, and `[{section}] quota_bytes` allows {quota}")]
    Quota {
        /// Section of the configuration that says so.
        section: &'static str,
        /// What is allowed.
        quota: u64,
        /// What is taken.
        used: u64,
    },
    /// The disk is full.
    #[error("the disk has {free} bytes left, and `[{section}] keep_free_bytes` leaves {keep_free} free")]
    Disk {
        /// Section of the configuration that says so.
        section: &'static str,
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
pub struct Room {
    section: &'static str,
    folder: PathBuf,
    quota: u64,
    keep_free: u64,
    used: AtomicU64,
    refused: AtomicU64,
    /// Bytes until the disk is asked again.
    unasked: AtomicU64,
}

impl Room {
    /// With what the folder holds, within what a section of the configuration allows.
    pub fn of(folder: &Path, section: &'static str, quota: u64, keep_free: u64) -> Self {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let used = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        // The first byte asks.
        let [used, refused, unasked] = [used, 0, ASKED_EVERY].map(AtomicU64::new);
        Self { section, folder: folder.to_owned(), quota, keep_free, used, refused, unasked }
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// How often there was none, since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Refuses what is known to be too much before it comes.
    ///
    /// # Errors
    /// Why there is no room.
    pub fn expect(&self, bytes: u64) -> Result<(), NoRoom> {
        let used = self.used();
        let expected = if used.saturating_add(bytes) > self.quota {
            Err(NoRoom::Quota { section: self.section, quota: self.quota, used })
        } else {
            self.ask_disk(bytes)
        };
        expected.inspect_err(|_| {
            self.refused.fetch_add(1, Relaxed);
        })
    }

    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// Why there is no room.
    pub fn take(&self, bytes: u64) -> Result<(), NoRoom> {
        let used = self.used.fetch_add(bytes, Relaxed);
        let taken = if used.saturating_add(bytes) > self.quota {
            Err(NoRoom::Quota { section: self.section, quota: self.quota, used })
        } else if self.unasked.fetch_add(bytes, Relaxed) >= ASKED_EVERY || used == 0 {
            self.unasked.store(0, Relaxed);
            self.ask_disk(bytes)
        } else {
            Ok(())
        };
        taken.inspect_err(|_| {
            self.give_back(bytes);
            self.refused.fetch_add(1, Relaxed);
        })
    }

    /// So many bytes are gone.
    pub fn give_back(&self, bytes: u64) {
        let _ = self.used.fetch_update(Relaxed, Relaxed, |used| Some(used.saturating_sub(bytes)));
    }

    /// Whether the disk has room. One that does not say is tried.
    fn ask_disk(&self, bytes: u64) -> Result<(), NoRoom> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.keep_free.saturating_add(bytes) {
            return Err(NoRoom::Disk { section: self.section, free, keep_free: self.keep_free });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_holds_counts_and_what_is_too_much_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("a"), [0; 60]).expect("written");
        let room = Room::of(folder.path(), "uploads", 100, 0);
        assert_eq!((room.used(), room.expect(40), room.take(30)), (60, Ok(()), Ok(())));
        let refused = Err(NoRoom::Quota { section: "uploads", quota: 100, used: 90 });
        assert_eq!((room.expect(11), room.take(11), room.used(), room.refused()), (refused, refused, 90, 2));
        assert!(
            NoRoom::Quota { section: "uploads", quota: 1, used: 2 }.to_string().contains("`[uploads] quota_bytes`")
        );
        room.give_back(50);
        assert_eq!(room.take(11), Ok(()));
        let full = Room::of(folder.path(), "results", u64::MAX, u64::MAX).take(1).expect_err("no disk has that");
        assert!(matches!(full, NoRoom::Disk { section: "results", keep_free: u64::MAX, .. }), "{full}");
        assert_eq!(NoRoom::of(&full.into()), Some(full));
    }
}
