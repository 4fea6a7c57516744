//! Whose turn it is to make the tables: one process at a time, the others wait and then find it done.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Conn, Query};

/// Between two looks whether it is our turn.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After so many looks the log says what is waited for (3 s).
const SAY_AFTER: u32 = 60;
/// After so many looks the wait is given up: ten minutes, for a migration may have to rewrite a large table.
const LOOKS: u32 = 12_000;

/// The turn at a SQLite file: a lock on a file beside it, which ends with its holder.
#[derive(Debug)]
pub(super) struct Turn {
    file: File,
    path: PathBuf,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Still locked: who waits sees that the file is gone, and makes another.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// Waits for the turn at the database file. `None` where no file can be made beside it: opening the database then says why.
pub(super) async fn at_file(database: &Path) -> io::Result<Option<Turn>> {
    let mut path = database.as_os_str().to_owned();
    path.push(".migration.lock");
    let path = PathBuf::from(path);
    for look in 0..LOOKS {
        let Ok(file) = OpenOptions::new().create(true).truncate(false).write(true).open(&path) else {
            return Ok(None);
        };
        match file.try_lock() {
            // The holder of before may have removed the file between our opening and our lock.
            Ok(()) if is_at(&file, &path) => return Ok(Some(Turn { file, path })),
            Ok(()) => continue,
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        pause(look).await;
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another process has prepared the database for ten minutes"))
}

/// Waits for the turn at the server, which holds it for this connection until `leave` or its end.
pub(super) async fn at_server(conn: &mut Conn) -> Result<(), sqlx::Error> {
    for look in 0..LOOKS {
        let lock = "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('nta: migration', 0)) \
                    THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END";
        if conn.number(Query::new(lock)).await? == 1 {
            return Ok(());
        }
        pause(look).await;
    }
    let text = "another process has prepared the database for ten minutes";
    Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
}

/// Gives the turn at the server to the next.
pub(super) async fn leave(conn: &mut Conn) -> Result<(), sqlx::Error> {
    let unlock = "SELECT CASE WHEN pg_advisory_unlock(hashtextextended('nta: migration', 0)) \
                  THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END";
    conn.number(Query::new(unlock)).await.map(|_| ())
}

async fn pause(look: u32) {
    if look == SAY_AFTER {
        tracing::info!("another process prepares the database; waiting for it");
    }
    tokio::time::sleep(LOOK_EVERY).await;
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |file: fs::Metadata| (file.dev(), file.ino());
    file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Barrier;

    use sqlx::Connection as _;

    use crate::store::Store;
    use crate::store::db::migrations;

    const AT_ONCE: usize = 6;

    fn open_at_once(url: &str) {
        let start = Barrier::new(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                    start.wait();
                    runtime.block_on(async { Store::open(url).await.expect("open").close().await });
                });
            }
        });
    }

    #[test]
    fn who_opens_one_new_or_older_file_at_once_waits_for_the_first() {
        let folder = tempfile::tempdir().expect("folder");
        for version in 0..=migrations::sqlite().migrations.len() {
            let path = folder.path().join(format!("{version}.db"));
            if version > 0 {
                let url = format!("sqlite:{}?mode=rwc", path.display());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                runtime.block_on(async {
                    let mut conn = sqlx::SqliteConnection::connect(&url).await.expect("connect");
                    let mut older = migrations::sqlite();
                    older.migrations = Cow::Owned(older.migrations[..version].to_vec());
                    older.run_direct(None, &mut conn, false).await.expect("migrate");
                    conn.close().await.expect("close");
                });
            }
            open_at_once(&format!("sqlite:{}", path.display()));
            assert!(!folder.path().join(format!("{version}.db.migration.lock")).exists());
        }
    }

    #[test]
    fn who_opens_one_new_database_at_once_waits_for_the_first_on_postgresql() {
        let name = "who_opens_one_new_database_at_once_waits_for_the_first_on_postgresql";
        let Some(server) = crate::store::server_tests::Server::start(name) else { return };
        let start = Barrier::new(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                    start.wait();
                    runtime.block_on(async { server.open().await.close().await });
                });
            }
        });
    }
}
