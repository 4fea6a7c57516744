//! What happens to the files of a database while it is open: it is recognised, said with its cause, and gone on from.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::db::Query;
use super::tests::{begin, flow, window};
use super::*;

/// Batches before and after the damage.
const BEFORE: u64 = 12;
const AFTER: u64 = 6;

fn batch(number: u64) -> WindowBatch {
    let flows = (0..5).map(|n| flow(number * 100 + n, 10, 3)).collect();
    WindowBatch { window: Some(window(number)), flows, ..WindowBatch::default() }
}

fn cut(path: &Path, bytes: u64) {
    File::options().write(true).open(path).and_then(|file| file.set_len(bytes)).expect("cut");
}

fn overwrite(path: &Path, from: u64, bytes: u64) {
    let mut file = File::options().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(from)).expect("seek");
    file.write_all(&vec![0xa5; usize::try_from(bytes).expect("few")]).expect("overwritten");
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

/// What is done to the file and its log, and whether all rows were copied into the file before.
type Deed = (&'static str, bool, fn(&Path, &Path));

async fn windows(store: &Store, from: u64) -> Vec<i64> {
    let sql = "SELECT number FROM windows WHERE number >= $1 ORDER BY number";
    let rows = store.database.fetch_all(Query::new(sql).bind(to_sql(from))).await.expect("windows");
    rows.iter().map(|row| row.first().expect("a number")).collect()
}

/// Does it to an open database. Whether another file was opened in its place, and what was said.
async fn go_on_after((what, is_copied, deed): Deed) -> (u64, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let url = format!("sqlite:{}", path.display());
    let store = Store::open(&url).await.expect("open").with_spool(folder.path().join("spool"), 1 << 30);
    let (writer, task) = begin(&store).await;
    for number in 1..=BEFORE {
        writer.send(batch(number)).await.expect("send");
        writer.flush().await.expect("written");
    }
    if is_copied {
        let mut conn = store.database.connect().await.expect("a connection");
        conn.run("PRAGMA wal_checkpoint(PASSIVE)").await.expect("copied");
        store.database.check_files().await.expect("that is no damage");
    }
    deed(&path, &folder.path().join("nta.db-wal"));
    for number in BEFORE + 1..=BEFORE + AFTER {
        writer.send(batch(number)).await.expect("send");
        writer.flush().await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    }
    let stats = store.stats();
    assert_eq!((stats.windows, stats.batches_lost, stats.batches_waiting), (BEFORE + AFTER, 0, 0), "{what}");
    assert!(!stats.failing, "{what}");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer");
    store.close().await;

    // Another process finds what was counted as written: all of it, or in the new file all since.
    let other = Store::open(&url).await.expect("open");
    let found = windows(&other, 1).await;
    let first = if stats.database_renewals == 0 { 1 } else { *found.first().expect("a window") };
    assert!(first <= to_sql(BEFORE + AFTER), "{what}: {found:?}");
    assert_eq!(found, (first..=to_sql(BEFORE + AFTER)).collect::<Vec<_>>(), "{what}");
    let check = Query::new("SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'");
    let wrong = other.database.fetch_optional(check).await.expect("a check").expect("a row").first().expect("a number");
    assert_eq!(wrong, 0, "{what}");
    let aside = folder.path().join("nta.db.damaged-1");
    assert_eq!(aside.exists(), stats.database_renewals > 0, "{what}: set aside");
    let events = other.events_after(0, u32::MAX).await.expect("events");
    let trouble = events.iter().filter(|event| event.kind == "store_trouble").count() as u64;
    assert!(trouble >= stats.database_renewals, "{what}: the new file says why it begins here");
    other.close().await;
    (stats.database_renewals, stats.last_error.unwrap_or_default())
}

#[tokio::test]
async fn a_file_that_is_damaged_is_set_aside_and_said_with_its_cause() {
    let deeds: [(Deed, &str); 6] = [
        (("the file cut to nothing", true, |file, _| cut(file, 0)), "it was cut from"),
        (("the file cut in the middle", true, |file, _| cut(file, length(file) / 2)), "it was cut from"),
        (("the log cut to nothing", false, |_, log| cut(log, 0)), "its write-ahead log was cut from"),
        (("the log cut in the middle", false, |_, log| cut(log, length(log) / 2)), "its write-ahead log was cut from"),
        (
            ("both cut to nothing", false, |file, log| {
                cut(file, 0);
                cut(log, 0);
            }),
            "it was cut from",
        ),
        // All pages but those that the log has by now.
        (
            ("the file overwritten", true, |file, _| overwrite(file, 0, length(file))),
            "SQLite read what it had not written",
        ),
    ];
    for (deed, cause) in deeds {
        let (renewals, error) = go_on_after(deed).await;
        assert_eq!(renewals, 1, "{}: {error}", deed.0);
        let is_said = error.contains("is damaged: ") && error.contains(cause) && error.contains("nta.db.damaged-1");
        assert!(is_said, "{}: {error}", deed.0);
    }
}

#[tokio::test]
async fn a_file_that_its_log_heals_goes_on_whole() {
    let deeds: [Deed; 4] = [
        ("the file cut to nothing, and its log has all", false, |file, _| cut(file, 0)),
        ("the log removed", false, |_, log| fs::remove_file(log).expect("removed")),
        ("the log cut when all was copied", true, |_, log| cut(log, 0)),
        ("the file overwritten, and its log has all", false, |file, _| overwrite(file, 0, length(file))),
    ];
    for deed in deeds {
        assert_eq!(go_on_after(deed).await, (0, String::new()), "{}", deed.0);
    }
}

#[tokio::test]
async fn a_damaged_file_that_cannot_be_set_aside_makes_batches_wait() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let url = format!("sqlite:{}", path.display());
    let store = Store::open(&url).await.expect("open").with_spool(folder.path().join("spool"), 1 << 30);
    let (writer, _task) = begin(&store).await;
    writer.send(batch(1)).await.expect("send");
    writer.flush().await.expect("written");
    let names: Vec<_> = (1..=9).map(|n| folder.path().join(format!("nta.db.damaged-{n}"))).collect();
    names.iter().for_each(|name| fs::write(name, "older").expect("a file"));
    cut(&folder.path().join("nta.db-wal"), 0);
    writer.send(batch(2)).await.expect("send");
    let said = writer.flush().await.expect_err("nothing is written").chain();
    assert!(said.contains("cannot be set aside") && said.contains("remove some"), "{said}");
    assert_eq!(store.stats().batches_waiting, 1);

    fs::remove_file(&names[4]).expect("removed");
    writer.flush().await.expect("written");
    assert_eq!((store.stats().database_renewals, windows(&store, 1).await), (1, vec![2]));
    assert!(names.iter().enumerate().all(|(n, name)| (fs::read(name).expect("a file") == b"older") == (n != 4)));
}
