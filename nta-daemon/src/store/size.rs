//! How large the database is and how much room its disk has. The writer asks, so that no request has to.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Store;
use super::db::Dialect;

/// A size that is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;
/// Between two looks at the files of a database.
const FILE_PAUSE: Duration = Duration::from_secs(1);
/// Between two questions to a server, which reads a folder for the answer.
const SERVER_PAUSE: Duration = Duration::from_secs(60);

/// Bytes of the database, of its write-ahead log, and free on its disk.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) database: AtomicU64,
    pub(super) wal: AtomicU64,
    pub(super) free: AtomicU64,
}

impl Default for Sizes {
    fn default() -> Self {
        let [database, wal, free] = [UNKNOWN; 3].map(AtomicU64::new);
        Self { database, wal, free }
    }
}

/// Measures where it is time; `last` is when that was done.
pub(super) async fn measure_at_times(store: &Store, last: &mut Option<Instant>, now: Instant) {
    if last.is_none_or(|last| now.duration_since(last) >= pause(store)) {
        *last = Some(now);
        measure(store).await;
    }
}

/// How long to wait between two measurements.
fn pause(store: &Store) -> Duration {
    if store.database.dialect() == Dialect::Postgres { SERVER_PAUSE } else { FILE_PAUSE }
}

/// Measures anew. What cannot be found out is unknown.
async fn measure(store: &Store) {
    let sizes = &store.counters.sizes;
    if let Some(path) = store.path() {
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        sizes.database.store(length(path), Relaxed);
        sizes.wal.store(length(Path::new(&wal)), Relaxed);
        sizes.free.store(free(path), Relaxed);
    } else if store.database.dialect() == Dialect::Postgres {
        sizes.database.store(store.used_bytes().await.unwrap_or(UNKNOWN), Relaxed);
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(UNKNOWN, |file| file.len())
}

/// Bytes that an ordinary user may still write.
pub(super) fn free(path: &Path) -> u64 {
    disk(path).map_or(UNKNOWN, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes of the disk on which a file lies or is to lie; `None` where that is not known.
pub(super) fn of_disk(path: &Path) -> Option<u64> {
    disk(path).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)).filter(|bytes| *bytes > 0)
}

fn disk(path: &Path) -> Option<rustix::fs::StatVfs> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).ok()
}
