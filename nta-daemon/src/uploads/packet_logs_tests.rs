//! Logs of packets over their whole life: idle, full, deleted, without room.

use super::*;
use crate::config::Config;
use crate::store::Store;

fn batch(number: u64) -> PacketBatch {
    let record = |n: u64| PacketRecord {
        time_ns: (1_700_000_000 + number) * 1_000_000_000 + n,
        source: "192.0.2.1".parse().expect("an address"),
        destination: "192.0.2.2".parse().expect("an address"),
        protocol: 17,
        source_port: Some(5000),
        destination_port: Some(5001),
        length: 100,
        tcp_flags: None,
        payload_length: None,
    };
    let records = (0..50).map(record).collect();
    PacketBatch { sensor: "gw".to_owned(), epoch: "e".to_owned(), number, records, is_last: false }
}

struct Site {
    uploads: Uploads,
    store: Store,
    _folder: tempfile::TempDir,
}

async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let mut config = Config::default();
    config.uploads.folder = folder.path().join("captures").display().to_string();
    config.uploads.keep_free_bytes = 0;
    config.uploads.packets_idle_s = 0;
    change(&mut config);
    Site { uploads: Uploads::new(&store, &config), store, _folder: folder }
}

async fn packets_of(site: &Site, file_id: &str) -> u64 {
    for _ in 0..3000 {
        let upload = site.store.upload(file_id).await.expect("read").expect("a capture");
        if upload.state == UploadState::Analysed {
            return upload.totals.packets;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{file_id} is not analysed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_which_nothing_comes_is_a_capture_and_goes_on_in_another() {
    let site = site(|_| {}).await;
    let take = async |number| site.uploads.take_packets(&batch(number), "test").await.expect("taken");
    let first = take(1).await.file_id.expect("a capture");
    assert_eq!(take(2).await.file_id.as_ref(), Some(&first));
    site.uploads.0.end_idle_logs().await;
    assert_eq!(packets_of(&site, &first).await, 100);
    let second = take(3).await;
    assert_eq!(second.watermark, 3);
    let second = second.file_id.expect("a capture");
    assert_ne!(second, first);
    // What was there before is told, and counted nowhere.
    assert!(take(2).await.is_double);
    site.uploads.0.end_idle_logs().await;
    assert_eq!(packets_of(&site, &second).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_is_full_or_deleted_is_followed_by_another() {
    // Each message takes 50 packets of 58 bytes and their headers.
    let site = site(|config| config.uploads.max_bytes = 24 + 2 * 50 * (16 + 42)).await;
    let take = async |number| {
        site.uploads.take_packets(&batch(number), "test").await.expect("taken").file_id.expect("a capture")
    };
    let (first, second) = (take(1).await, take(2).await);
    assert_eq!(first, second);
    let third = take(3).await;
    assert_ne!(third, first);
    assert_eq!(packets_of(&site, &first).await, 100);
    site.uploads.delete(&third).await.expect("deleted");
    let fourth = take(4).await;
    assert_ne!(fourth, third);
    site.uploads.0.end_idle_logs().await;
    assert_eq!(packets_of(&site, &fourth).await, 50);
    assert_eq!(
        site.store.packet_log("gw", "e").await.expect("read").map(|log| (log.last, log.records)),
        Some((4, 200))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_room_is_refused_and_goes_on_when_there_is() {
    let site = site(|config| config.uploads.quota_bytes = 4000).await;
    let take = async |number| site.uploads.take_packets(&batch(number), "test").await;
    let first = take(1).await.expect("taken").file_id.expect("a capture");
    let full = take(2).await.expect_err("no room");
    assert!(matches!(full, PacketsRefused::Upload(Refusal::NoRoom(_))), "{full}");
    site.uploads.delete(&first).await.expect("deleted");
    let second = take(2).await.expect("taken");
    assert_eq!(second.watermark, 2);
    site.uploads.0.end_idle_logs().await;
    assert_eq!(packets_of(&site, &second.file_id.expect("a capture")).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_logs_come_at_a_time_as_are_taken() {
    let site = site(|_| {}).await;
    for n in 0..MOST_OPEN {
        let batch = PacketBatch { epoch: n.to_string(), records: Vec::new(), ..batch(1) };
        assert!(site.uploads.take_packets(&batch, "test").await.expect("taken").is_stored);
    }
    let one_more = PacketBatch { epoch: "more".to_owned(), ..batch(1) };
    assert!(matches!(site.uploads.take_packets(&one_more, "test").await, Err(PacketsRefused::Busy)));
    site.uploads.0.end_idle_logs().await;
    assert!(site.uploads.take_packets(&one_more, "test").await.expect("taken").is_stored);
}
