//! Locks that end with their holder, so that no clock is asked: the lease, by which one daemon captures for a sensor and a
//! database, and a lock for each run, by which a start distinguishes runs that were killed from those that go on.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::db::{Conn, Query};
use super::{Store, StoreError};

/// Between two looks whether the lease is still held.
const CHECK_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// A server that does not answer for so long has lost the session.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The lease of a sensor, held until it is dropped.
#[derive(Debug)]
pub struct Lease(Lock);

/// A lock, held until it is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    /// A lock on the file; it may be one of those that are removed after use.
    File { file: File, path: PathBuf, is_temporary: bool },
    /// An advisory lock of this connection's session.
    Session(Box<Conn>),
    /// A database in memory has no other user.
    Memory,
}

impl Lock {
    /// Whether it is still held: a session may break off, a file may be removed and made again.
    async fn is_held(&mut self) -> bool {
        match self {
            Self::File { file, path, .. } => {
                let identity = |file: fs::Metadata| (file.dev(), file.ino());
                file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
            }
            Self::Memory => true,
            Self::Session(conn) => {
                let answer = conn.number(Query::new("SELECT CAST(1 AS BIGINT)"));
                tokio::time::timeout(ANSWER_WITHIN, answer).await.is_ok_and(|answer| answer.is_ok())
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Self::File { path, is_temporary: true, .. } = self {
            // Without it the next start finds a file that nobody holds.
            let _ = fs::remove_file(path);
        }
    }
}

impl Lease {
    /// Looks after the lease: one that is lost is taken again. Returns when another daemon has it.
    pub async fn keep(mut self, store: Store, sensor: String) -> StoreError {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            if self.0.is_held().await {
                continue;
            }
            match store.lease(&sensor).await {
                Ok(again) => {
                    tracing::warn!(sensor, "the lease was lost and is taken again");
                    self = again;
                }
                Err(error @ StoreError::Leased { .. }) => return error,
                Err(error) => tracing::error!(error = error.chain(), "the lease is lost, it is tried again"),
            }
        }
    }
}

impl Store {
    /// Takes the lease of a sensor, or says who has it.
    pub async fn lease(&self, sensor: &str) -> Result<Lease, StoreError> {
        match self.lock(sensor, false).await? {
            Some(lock) => Ok(Lease(lock)),
            None => {
                let file = self.lock_file(sensor).map(|path| path.display().to_string());
                let holder = file.unwrap_or_else(|| "PostgreSQL".to_owned());
                Err(StoreError::Leased { holder, sensor: sensor.to_owned() })
            }
        }
    }

    /// Takes a lock beside the database; `None` while somebody has it.
    pub(super) async fn lock(&self, name: &str, is_temporary: bool) -> Result<Option<Lock>, StoreError> {
        let Some(path) = self.lock_file(name) else {
            return if self.database.is_memory() { Ok(Some(Lock::Memory)) } else { self.session(name).await };
        };
        let failed = |source| StoreError::Lease { what: path.display().to_string(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock::File { file, path, is_temporary })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    fn lock_file(&self, name: &str) -> Option<PathBuf> {
        let mut path = self.database.path()?.as_os_str().to_owned();
        path.push(format!(".{name}.lock"));
        Some(PathBuf::from(path))
    }

    async fn session(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        let mut conn = self.database.connect().await?;
        let lock = Query::new(
            "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('nta ' || $1, 0)) THEN CAST(1 AS BIGINT) \
             ELSE CAST(0 AS BIGINT) END",
        );
        let taken = conn.number(lock.bind(name)).await.map_err(StoreError::query("runs"))?;
        Ok((taken == 1).then(|| Lock::Session(Box::new(conn))))
    }
}
