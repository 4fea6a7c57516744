//! What happens to a SQLite database's files while they are open: cut, overwritten, its log removed. SQLite does not notice all of
//! it and heals some. What looks wrong is examined; a file that is damaged is set aside under another name and a new one is made.
//!
//! The files are looked at by their lengths: who opens and closes the database file a second time gives up SQLite's locks on it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use sqlx::Error;

use super::open::{WAL_BYTES, identity};
use super::{Conn, Database, Query};
use crate::store::StoreError;

/// Damaged databases that may lie beside the one in use.
const MOST_SET_ASIDE: u32 = 9;
/// What a database file has at least: a page, and no page is smaller.
const SMALLEST: u64 = 512;
/// Bytes before the first frame of a write-ahead log, and before the page of each frame.
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// The first bytes of a write-ahead log, but for the last bit.
const WAL_MAGIC: u32 = 0x377f_0682;

/// What is known of the files, and what a statement said about them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Lengths at the last look.
    file: AtomicU64,
    wal: AtomicU64,
    /// Which file the index of the log (`FILE-shm`) was at the last look.
    index: Mutex<Option<(u64, u64)>>,
    /// A statement said something that only a damaged file explains.
    is_suspect: AtomicBool,
    /// What an examination found, until the file is set aside.
    found: Mutex<Option<String>>,
}

impl Watch {
    /// The files were opened anew.
    pub(super) fn reset(&self, path: &Path) {
        self.file.store(length(path), Relaxed);
        self.wal.store(length(&beside(path, "-wal")), Relaxed);
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = identity(&beside(path, "-shm"));
        self.is_suspect.store(false, Relaxed);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the index of the log was removed while it is open, once: whoever opens the file now makes another one, and neither side
    /// sees what the other writes. Connections of this process share the one that is open until all of them are closed.
    fn has_lost_index(&self, path: &Path) -> bool {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (*index, identity(&beside(path, "-shm")));
        *index = now;
        // SQLite itself removes it with the last connection, and makes another with the next.
        before.is_some() && now != before && is_mapped_and_removed(&beside(path, "-shm"))
    }

    /// Remembers an error that only a damaged file explains.
    pub(super) fn note(&self, error: &Error) {
        if tells_damage(error) {
            self.is_suspect.store(true, Relaxed);
        }
    }

    /// What looks wrong, if anything does, and whether that is the log alone. The lengths are those to compare with the next time.
    async fn looks_wrong(&self, path: &Path, conn: Option<&mut Conn>) -> Option<(String, bool)> {
        let (file, wal) = (length(path), length(&beside(path, "-wal")));
        let (file_before, wal_before) = (self.file.swap(file, Relaxed), self.wal.swap(wal, Relaxed));
        // A file shrinks when pages were freed; then it has all pages of the database.
        let is_cut =
            file < SMALLEST || file < file_before && bytes_of_pages(conn).await.is_none_or(|bytes| file < bytes);
        let seen = if is_cut {
            format!("it was cut from {file_before} to {file} bytes")
        } else if wal < wal_before.min(WAL_BYTES) {
            // SQLite itself cuts one that was longer, and leaves at least so much.
            format!("its write-ahead log was cut from {wal_before} to {wal} bytes")
        } else if wal >= WAL_HEADER && !begins_as_wal(&beside(path, "-wal")) {
            "its write-ahead log has lost its beginning".to_owned()
        } else if self.is_suspect.load(Relaxed) {
            "SQLite read what it had not written".to_owned()
        } else {
            return None;
        };
        let is_log = !is_cut && !self.is_suspect.load(Relaxed);
        // Until an examination has an answer.
        self.is_suspect.store(true, Relaxed);
        Some((seen, is_log))
    }
}

impl Database {
    /// Remembers an error that only a damaged file explains: the next transaction examines the file first.
    pub(in crate::store) fn note_failure(&self, error: &StoreError) {
        if let StoreError::Query { source, .. } = error {
            self.watch.note(source);
        }
    }

    /// Looks whether the files are as they were left. Of a damaged database it sets the files aside and answers with the error.
    pub(in crate::store) async fn check_files(&self) -> Result<(), StoreError> {
        let mut slot = self.writer.lock().await;
        self.check_files_of(&mut slot).await
    }

    /// The same for who has the writer's connection. The connection is another one where the files had to be opened anew.
    pub(super) async fn check_files_of(&self, slot: &mut Option<Conn>) -> Result<(), StoreError> {
        let Some(path) = self.path() else { return Ok(()) };
        if self.was_replaced() {
            return Ok(());
        }
        if self.watch.has_lost_index(path) {
            tracing::error!(
                database = self.url,
                consequence = "another process and the daemon do not see what the other writes, and rows are lost; stop both, then start the daemon",
                "the index of the database's log (FILE-shm) was removed or replaced"
            );
        }
        let Some((seen, is_log)) = self.watch.looks_wrong(path, slot.as_mut()).await else { return Ok(()) };
        let known = self.watch.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match known {
            Some(found) => Some(found),
            None => self.examine(path, slot.take(), is_log).await?.map(|found| format!("{seen}: {found}")),
        };
        let Some(found) = found else {
            // Connections that hold a log that was removed or cut would write to where nobody reads.
            *slot = Some(self.prepare().await?);
            // A log may be cut without harm when all of it was copied.
            tracing::info!(database = self.url, seen, "the database file was examined and is whole");
            return Ok(());
        };
        *self.watch.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        slot.take();
        let aside = self.set_aside(path).await?;
        Err(StoreError::Damaged { path: path.to_owned(), found, aside })
    }

    /// What is wrong with the database; `None` where nothing is. The log is copied into the file first, which heals what it
    /// can; where that was all that looked wrong the file is not read, which takes long.
    async fn examine(&self, path: &Path, conn: Option<Conn>, is_log: bool) -> Result<Option<String>, StoreError> {
        let failed = StoreError::query("runs");
        let or_damage =
            |error: Error| if tells_damage(&error) { Ok(Some(error.to_string())) } else { Err(failed(error)) };
        let nothing = || Some("not one page is left".to_owned());
        let mut conn = match conn {
            Some(conn) => conn,
            // A new connection takes a file without a page for a new one, and deletes its log.
            None if length(path) < SMALLEST => return Ok(nothing()),
            None => match self.target.connect().await {
                Ok(conn) => conn,
                Err(error) => return or_damage(error),
            },
        };
        let log = match copied(&mut conn).await {
            Ok(log) => log,
            Err(error) => return or_damage(error),
        };
        if length(path) < SMALLEST {
            return Ok(nothing());
        }
        let wal = length(&beside(path, "-wal"));
        if wal < log {
            return Ok(Some(format!("pages are missing that were only in {log} bytes of the log")));
        }
        if is_log {
            return Ok(None);
        }
        // The old connection has pages in its memory.
        let mut fresh = match self.target.connect().await {
            Ok(conn) => conn,
            Err(error) => return or_damage(error),
        };
        let said = match fresh.fetch_optional(Query::new("PRAGMA quick_check(1)")).await {
            Ok(row) => row.and_then(|row| row.text("quick_check").ok()).unwrap_or_default(),
            Err(error) => return or_damage(error),
        };
        if said != "ok" {
            return Ok(Some(said.replace('\n', " ")));
        }
        let runs = Query::new("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'");
        Ok((fresh.number(runs).await.map_err(&failed)? == 0).then(|| "its tables are gone".to_owned()))
    }

    /// Gives the files another name; answers which. Another process may have done so.
    async fn set_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let failed = |source| StoreError::SetAside { path: path.to_owned(), source };
        let _turn = super::turn::at_file(path).await.map_err(failed)?;
        let is_free = |to: &PathBuf| !fs::exists(to).unwrap_or(true);
        let mut names = (1..=MOST_SET_ASIDE).map(|number| beside(path, &format!(".damaged-{number}")));
        let Some(to) = names.find(is_free) else {
            let text = format!("{MOST_SET_ASIDE} damaged files lie beside it already; remove some");
            return Err(failed(io::Error::other(text)));
        };
        if !self.was_replaced() {
            fs::rename(path, &to).map_err(failed)?;
            for suffix in ["-wal", "-shm"] {
                // There may be none.
                let _ = fs::rename(beside(path, suffix), beside(&to, suffix));
            }
        }
        Ok(to)
    }
}

/// Whether this process has a file of this name in its memory that no folder has any more.
fn is_mapped_and_removed(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let removed = format!("/{name} (deleted)");
    fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.lines().any(|line| line.ends_with(&removed)))
}

/// Copies the write-ahead log into the file as far as readers allow it; how long the log must be for the pages that are only there.
async fn copied(conn: &mut Conn) -> Result<u64, Error> {
    let page = natural(conn.number(Query::new("PRAGMA page_size")).await?);
    let Some(row) = conn.fetch_optional(Query::new("PRAGMA wal_checkpoint(PASSIVE)")).await? else { return Ok(0) };
    let (frames, copied) = (natural(row.int("log")?), natural(row.int("checkpointed")?));
    Ok(if frames > copied { WAL_HEADER + frames * (FRAME_HEADER + page) } else { 0 })
}

/// Bytes of all pages of the database, those that are only in the log too.
async fn bytes_of_pages(conn: Option<&mut Conn>) -> Option<u64> {
    let conn = conn?;
    let pages = conn.number(Query::new("PRAGMA page_count")).await.ok()?;
    let page = conn.number(Query::new("PRAGMA page_size")).await.ok()?;
    Some(natural(pages).saturating_mul(natural(page)))
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whether an error says that the file is not what SQLite left there.
fn tells_damage(error: &Error) -> bool {
    /// SQLite's CORRUPT and NOTADB, each with its variants, and a read that ended too early.
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    const SHORT_READ: u32 = 522;
    let Error::Database(error) = error else { return false };
    let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
    matches!(code & 0xff, CORRUPT | NOT_A_DATABASE)
        || code == SHORT_READ
        || code == 1 && error.message().starts_with("no such table")
}

fn begins_as_wal(path: &Path) -> bool {
    let mut first = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok()
        && u32::from_be_bytes(first) & !1 == WAL_MAGIC
}

/// A file's length; 0 where there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_index_that_is_removed_while_it_is_open_is_noticed_once_and_one_that_sqlite_makes_anew_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("index-of-this-test.db");
        let store = crate::store::Store::open(&format!("sqlite:{}", path.display())).await.expect("a store");
        let lost = || store.database.watch.has_lost_index(&path);
        let transaction = store.database.begin().await.expect("a transaction");
        store.database.watch.reset(&path);
        assert!(!lost());
        fs::remove_file(beside(&path, "-shm")).expect("removed");
        assert_eq!([lost(), lost()], [true, false]);
        drop(transaction);
        store.close().await;
        let store = crate::store::Store::open(&format!("sqlite:{}", path.display())).await.expect("a store");
        let watch = Watch::default();
        watch.reset(&path);
        assert!(!watch.has_lost_index(&path), "another one, of a new connection");
        store.close().await;
    }
}
