//! A copy of a SQLite database while a daemon writes into it, by SQLite's own backup: one state of it from beginning to end. It is
//! checked before it gets its name, and nobody ever finds half of one under it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::size;
use crate::private;

/// Pages that are copied between two looks at the token: 4 MiB.
const PAGES: i32 = 1024;
/// How long a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait before a step is tried again for which a lock was not free, and how often it is.
const LOCKED_WAIT: Duration = Duration::from_millis(50);
const MOST_LOCKED: u32 = 200;
/// Room that the check of the copy and its end may take beside it.
const SPARE: u64 = 1 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It would lie where something is.
    #[error("{} is there already; --force has it replaced", .0.display())]
    Exists(PathBuf),
    /// The copy would be the database.
    #[error("{} is the database itself", .0.display())]
    Same(PathBuf),
    /// The disk has not enough room.
    #[error("{needed} bytes are needed beside {}, and its disk has {free} free", path.display())]
    Room {
        /// The copy.
        path: PathBuf,
        /// Bytes of the copy.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The copy cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A statement failed.
    #[error("{what}: {source}")]
    Sql {
        /// What was done.
        what: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
    /// Others had a lock for too long.
    #[error("the database is locked by another process")]
    Locked,
    /// The database is damaged, and so is its copy.
    #[error("the copy is damaged, as the database may be: {0}")]
    Damaged(String),
    /// The copy is not as the database.
    #[error("table {table} has {there} rows and its copy {here}")]
    Rows {
        /// Which table.
        table: String,
        /// Rows of the database.
        there: u64,
        /// Rows of the copy.
        here: u64,
    },
    /// It was asked to stop.
    #[error("stopped: there is no copy")]
    Stopped,
}

/// A copy that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its bytes.
    pub bytes: u64,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
}

/// Copies the database file `from` to `to`, which nothing may be at unless `replaces`. `progress` hears of pages that are copied, of so many.
///
/// # Errors
/// Says why there is no copy; then nothing is left of it.
pub fn backup(
    from: &Path,
    to: &Path,
    replaces: bool,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64, u64),
) -> Result<Copied, BackupError> {
    if same(from, to) {
        return Err(BackupError::Same(to.to_owned()));
    }
    if !replaces && fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(sql("the database cannot be opened"))?;
    source.busy_timeout(BUSY_TIMEOUT).map_err(sql("the database"))?;
    // From the first read to the end it is the same state that is read, whatever others write meanwhile.
    source.execute_batch("BEGIN").map_err(sql("the database"))?;
    let needed = number(&source, "PRAGMA page_count")? * number(&source, "PRAGMA page_size")?;
    let free = size::free(to);
    if free < needed.saturating_add(SPARE) {
        return Err(BackupError::Room { path: to.to_owned(), needed, free });
    }
    let partial = Partial::make(to)?;
    let mut copy = Connection::open_with_flags(&partial.0, flags).map_err(sql("the copy cannot be opened"))?;
    copy.execute_batch("PRAGMA synchronous = OFF").map_err(sql("the copy"))?;
    let mut locked = 0;
    let copying = Backup::new(&source, &mut copy).map_err(sql("the copy cannot be begun"))?;
    loop {
        if stop.is_cancelled() {
            return Err(BackupError::Stopped);
        }
        let step = copying.step(PAGES).map_err(sql("the copy"))?;
        let at = copying.progress();
        let all = u64::try_from(at.pagecount).unwrap_or_default();
        progress(all - u64::try_from(at.remaining).unwrap_or_default().min(all), all);
        match step {
            StepResult::Done => break,
            StepResult::Busy | StepResult::Locked if locked == MOST_LOCKED => return Err(BackupError::Locked),
            StepResult::Busy | StepResult::Locked => {
                locked += 1;
                std::thread::sleep(LOCKED_WAIT);
            }
            _ => locked = 0,
        }
    }
    drop(copying);
    let rows = check(&source, &copy)?;
    // One file, without a log beside it.
    let mode: String = copy
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .map_err(sql("the copy cannot be ended"))?;
    tracing::debug!(mode, "the copy is one file");
    copy.close().map_err(|(_, source)| BackupError::Sql { what: "the copy cannot be closed", source })?;
    if stop.is_cancelled() {
        return Err(BackupError::Stopped);
    }
    let bytes = partial.keep(to, replaces)?;
    Ok(Copied { bytes, rows })
}

/// Holds the copy against the state that it is of.
fn check(source: &Connection, copy: &Connection) -> Result<BTreeMap<String, u64>, BackupError> {
    let mut statement = copy.prepare("PRAGMA integrity_check(1)").map_err(sql("the copy cannot be checked"))?;
    let found: String = statement.query_row([], |row| row.get(0)).map_err(sql("the copy cannot be checked"))?;
    if found != "ok" {
        return Err(BackupError::Damaged(found));
    }
    let mut rows = BTreeMap::new();
    for table in tables(source)? {
        let count = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
        let (there, here) = (number(source, &count)?, number(copy, &count)?);
        if there != here {
            return Err(BackupError::Rows { table, there, here });
        }
        rows.insert(table, here);
    }
    Ok(rows)
}

fn tables(conn: &Connection) -> Result<Vec<String>, BackupError> {
    let failed = sql("the tables cannot be listed");
    let list =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = conn.prepare(list).map_err(&failed)?;
    let names = statement.query_map([], |row| row.get(0)).map_err(&failed)?;
    names.collect::<Result<_, _>>().map_err(&failed)
}

fn number(conn: &Connection, statement: &str) -> Result<u64, BackupError> {
    let number: i64 = conn.query_row(statement, [], |row| row.get(0)).map_err(sql("the database cannot be read"))?;
    Ok(u64::try_from(number).unwrap_or_default())
}

fn sql(what: &'static str) -> impl Fn(rusqlite::Error) -> BackupError {
    move |source| BackupError::Sql { what, source }
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// What is not a copy yet; removed unless it is kept.
struct Partial(PathBuf);

impl Partial {
    fn make(to: &Path) -> Result<Self, BackupError> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = to.with_file_name(name);
        match private::make_file(&path) {
            Ok(_file) => Ok(Self(path)),
            Err(source) => Err(BackupError::File { path, source }),
        }
    }

    /// Gives it its name once it is on the disk; its bytes.
    fn keep(self, to: &Path, replaces: bool) -> Result<u64, BackupError> {
        let failed = |source| BackupError::File { path: to.to_owned(), source };
        let file = File::open(&self.0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        if replaces {
            fs::rename(&self.0, to).map_err(failed)?;
        } else {
            // Unlike a rename it replaces nothing that came meanwhile.
            match fs::hard_link(&self.0, to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(BackupError::Exists(to.to_owned()));
                }
                // Not every file system has links.
                Err(_) => fs::rename(&self.0, to).map_err(failed)?,
                Ok(()) => {}
            }
        }
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(file.metadata().map_err(failed)?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for end in ["", "-journal", "-wal", "-shm"] {
            let mut path = self.0.as_os_str().to_owned();
            path.push(end);
            let _not_there = fs::remove_file(path);
        }
    }
}
