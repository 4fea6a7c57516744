//! Copies of a database, while it is written and where something is wrong.

use std::os::unix::fs::PermissionsExt as _;

use tokio_util::sync::CancellationToken;

use super::tests::{begin, flow, window};
use super::*;

fn copy(from: &std::path::Path, to: &std::path::Path, replaces: bool) -> Result<Copied, BackupError> {
    backup(from, to, replaces, &CancellationToken::new(), |_, _| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_database_that_is_written_meanwhile_is_one_state_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (from, to) = (folder.path().join("nta.db"), folder.path().join("copy.db"));
    let store = Store::open(&format!("sqlite:{}", from.display())).await.expect("open");
    let (writer, task) = begin(&store).await;
    let write = async |id: u64| {
        let flows = vec![flow(2 * id, id, 1), flow(2 * id + 1, id, 1)];
        writer.send(WindowBatch { window: Some(window(id)), flows, ..WindowBatch::default() }).await.expect("send");
    };
    for id in 1..=200 {
        write(id).await;
    }
    writer.flush().await.expect("stored");
    let copying = tokio::task::spawn_blocking({
        let (from, to) = (from.clone(), to.clone());
        move || copy(&from, &to, false)
    });
    let mut last = 200;
    while !copying.is_finished() {
        last += 1;
        write(last).await;
    }
    let copied = copying.await.expect("no panic").expect("a copy");
    assert_eq!(to.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(copied.bytes, to.metadata().expect("there").len());
    // A window and its two flows are written together: no state of the database has one without the others.
    let windows = copied.rows["windows"];
    assert!((200..=last).contains(&windows), "{windows} of {last}");
    assert_eq!(copied.rows["flows"], 2 * windows);
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    store.close().await;

    let restored = Store::open(&format!("sqlite:{}", to.display())).await.expect("the copy opens");
    assert_eq!(restored.window(windows).await.expect("read").map(|window| window.id), Some(windows));
    assert_eq!(restored.window(windows + 1).await.expect("read"), None);
    restored.close().await;
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("partial")), "{names:?}");
}

#[tokio::test]
async fn nothing_is_left_of_a_copy_that_is_refused_stopped_or_damaged() {
    let folder = tempfile::tempdir().expect("folder");
    let (from, to) = (folder.path().join("nta.db"), folder.path().join("copy.db"));
    let store = Store::open(&format!("sqlite:{}", from.display())).await.expect("open");
    let (writer, task) = begin(&store).await;
    let flows = (1..=2_000).map(|id| flow(id, 1, 1)).collect();
    writer.send(WindowBatch { window: Some(window(1)), flows, ..WindowBatch::default() }).await.expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    store.close().await;

    std::fs::write(&to, "another's").expect("a file");
    assert!(matches!(copy(&from, &to, false), Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(&to).expect("there"), b"another's");
    assert!(matches!(copy(&from, &from, true), Err(BackupError::Same(_))));
    copy(&from, &to, true).expect("replaced");

    let other = folder.path().join("other.db");
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(matches!(backup(&from, &other, false, &stop, |_, _| {}), Err(BackupError::Stopped)));
    assert!(!other.exists());

    // Its second half is overwritten with what no page begins with.
    let mut bytes = std::fs::read(&from).expect("the database");
    let half = bytes.len() / 2;
    bytes[half..].fill(0xa5);
    std::fs::write(&from, bytes).expect("damaged");
    let refused = copy(&from, &other, false).expect_err("damaged");
    assert!(matches!(refused, BackupError::Damaged(_) | BackupError::Sql { .. }), "{refused}");
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
    assert!(!other.exists() && left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}
