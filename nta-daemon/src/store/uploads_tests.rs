//! Uploads in both databases.

use super::server_tests::Server;
use super::tests::{begin, flow, window};
use super::*;
use nta_core::domain::Timestamp;

fn upload(file_id: &str, added: u64) -> Upload {
    Upload {
        file_id: file_id.to_owned(),
        name: "a.pcap".to_owned(),
        state: UploadState::Receiving,
        bytes: 0,
        length: Some(100),
        sha256: None,
        head: None,
        added: Timestamp::from_nanos(added),
        changed: Timestamp::from_nanos(added),
        run: None,
        totals: UploadTotals { captures: 1, ..UploadTotals::default() },
        problem: None,
        recorded: None,
        span: None,
    }
}

async fn suite(store: &Store) {
    let now = Timestamp::from_nanos(50);
    for (id, added) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        store.insert_upload(&upload(id, added)).await.expect("inserted");
    }
    assert_eq!(store.upload("b").await.expect("read"), Some(upload("b", 2)));
    assert_eq!(store.upload("x").await.expect("read"), None);
    // The first with these bytes has them.
    assert_eq!(store.identify_upload("a", ("5a", 100), now).await.expect("noted"), None);
    assert_eq!(store.identify_upload("b", ("5a", 100), now).await.expect("noted").as_deref(), Some("a"));
    assert_eq!(store.upload("b").await.expect("read").and_then(|b| b.sha256), None);
    store.note_upload_head("a", "he").await.expect("noted");
    for (head, bytes, is_like) in
        [("he", None, true), ("he", Some(100), true), ("he", Some(99), false), ("ad", None, false)]
    {
        assert_eq!(store.has_upload_like(head, bytes).await.expect("read"), is_like, "{head} {bytes:?}");
    }
    // Pages meet each once.
    for descending in [true, false] {
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = store.uploads(Position { descending, after, limit: 1 }).await.expect("a page");
            met.extend(page.into_iter().map(|upload| upload.file_id));
            let Some(next) = next else { break };
            after = Some(next);
        }
        let expected = if descending { ["d", "c", "b", "a"] } else { ["a", "b", "c", "d"] };
        assert_eq!(met, expected);
    }
    let totals = UploadTotals { packets: 7, bytes: 700, flows: 3, alerts: 1, ..UploadTotals::default() };
    store
        .keep_report("a", ("{}", &totals, Some("cut_off: at byte 7")), Some([7, 9].map(Timestamp::from_nanos)), now)
        .await
        .expect("kept");
    assert_eq!(store.report("a").await.expect("read").as_deref(), Some("{}"));
    store.fail_upload("d", "no header", now).await.expect("noted");
    let failed = store.upload("d").await.expect("read").expect("it is there");
    assert_eq!((failed.state, failed.problem.as_deref()), (UploadState::Failed, Some("no header")));
    let sums = store.upload_totals().await.expect("sums");
    assert_eq!((sums.captures, sums.file_bytes, sums.packets, sums.flows), (4, 100, 7, 3));
    let left = store.uploads_in(&[UploadState::Receiving]).await.expect("read");
    assert_eq!(left.iter().map(|upload| upload.file_id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(store.delete_upload("a").await.expect("deleted") && !store.delete_upload("a").await.expect("deleted"));

    // A recording is known by its file and by its bytes; packets of a time are looked for where they may be.
    let ended = Timestamp::from_nanos(60);
    let recorded = Upload {
        state: UploadState::Recorded,
        bytes: 24,
        length: None,
        sha256: Some("4e".to_owned()),
        added: ended,
        changed: ended,
        totals: UploadTotals { captures: 1, file_bytes: 24, packets: 3, ..UploadTotals::default() },
        recorded: Some("eth0-0001.pcap".to_owned()),
        span: Some([40, 50].map(Timestamp::from_nanos)),
        ..upload("e", 60)
    };
    assert_eq!(store.insert_recorded(&recorded).await.expect("noted"), None);
    for again in [
        Upload { sha256: Some("5b".to_owned()), ..recorded.clone() },
        Upload { recorded: Some("eth0-0002.pcap".to_owned()), ..recorded.clone() },
    ] {
        let again = Upload { file_id: "f".to_owned(), ..again };
        assert_eq!(store.insert_recorded(&again).await.expect("known").as_deref(), Some("e"));
    }
    assert_eq!(store.recorded("eth0-0001.pcap").await.expect("read"), Some(recorded));
    for (times, expected) in [([50, 60], vec!["e", "d"]), ([51, 60], vec!["d"]), ([0, 39], vec!["d"])] {
        let may_have = store.uploads_of(times.map(Timestamp::from_nanos)).await.expect("read");
        assert_eq!(may_have.iter().map(|upload| upload.file_id.as_str()).collect::<Vec<_>>(), expected, "{times:?}");
    }

    // The rows of one run go, those of others stay, and what was counted of them too.
    let (writer, _task) = begin(store).await;
    let flows = (1..=30).map(|id| flow(id, 10 + id, id)).collect();
    writer.send(WindowBatch { window: Some(window(1)), flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let run = store.read("runs", Query::new("SELECT uuid FROM runs"), |row| Ok(row.blob("uuid")?)).await.expect("runs");
    let run: [u8; 16] = run[0].clone().try_into().expect("a UUID");
    store.delete_rows_of_run(&[7; 16], "nobody").await.expect("nothing");
    assert_eq!(store.flow_count().await.expect("count"), 30);
    store.delete_rows_of_run(&run, "test").await.expect("deleted");
    assert_eq!(store.flow_count().await.expect("count"), 0);
    let windows = store.windows_summary(&WindowFilter::default()).await.expect("summary");
    assert_eq!(windows.windows, 0, "{windows:?}");
}

#[tokio::test]
async fn uploads_on_sqlite() {
    suite(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn uploads_on_postgresql() {
    let Some(server) = Server::start("uploads_on_postgresql") else { return };
    let store = server.open().await;
    suite(&store).await;
    store.close().await;
}
