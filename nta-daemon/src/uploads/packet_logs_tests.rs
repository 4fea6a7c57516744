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

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_with_one_database_one_takes_a_log_whatever_folder_they_have() {
    for is_shared in [true, false] {
        let first = site(|_| {}).await;
        let other = tempfile::tempdir().expect("folder");
        let mut config = first.uploads.settings().clone();
        if !is_shared {
            config.uploads.folder = other.path().display().to_string();
        }
        let second = Uploads::new(&first.store, &config);
        let taken = first.uploads.take_packets(&batch(1), "test").await.expect("taken");
        let refused = second.take_packets(&batch(2), "test").await.expect_err("another has it");
        assert!(matches!(refused, PacketsRefused::Elsewhere), "{refused}");
        first.uploads.take_packets(&batch(2), "test").await.expect("taken");
        // What the first one has is whole: anybody goes on, in a capture of its own.
        first.uploads.0.end_idle_logs().await;
        let file_id = taken.file_id.expect("a capture");
        assert_eq!(packets_of(&first, &file_id).await, 100);
        let third = second.take_packets(&batch(3), "test").await.expect("taken");
        second.0.end_idle_logs().await;
        assert_eq!(packets_of(&first, &third.file_id.expect("a capture")).await, 50, "shared: {is_shared}");
        // A restart is the same server.
        let fourth = second.take_packets(&batch(4), "test").await.expect("taken").file_id;
        second.stop().await;
        drop(second);
        // Within one process its tasks may hold it a moment longer.
        let mut fifth = None;
        for _ in 0..500 {
            let again = Uploads::new(&first.store, &config);
            match again.take_packets(&batch(5), "test").await {
                Ok(taken) => {
                    fifth = taken.file_id;
                    break;
                }
                Err(refused) => assert!(matches!(refused, PacketsRefused::Elsewhere), "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(fourth, fifth);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_logs_of_the_same_packets_are_two_captures_and_what_never_fits_is_said_to_be_too_large() {
    let site = site(|config| config.uploads.quota_bytes = 10_000).await;
    let of = |epoch: &str| PacketBatch { epoch: epoch.to_owned(), is_last: true, ..batch(1) };
    let mut captures = Vec::new();
    for epoch in ["a", "b"] {
        captures.push(site.uploads.take_packets(&of(epoch), "test").await.expect("taken").file_id.expect("a capture"));
    }
    assert_ne!(captures[0], captures[1]);
    for file_id in captures {
        assert_eq!(packets_of(&site, &file_id).await, 50);
    }
    let mut huge = of("c");
    huge.records = huge.records.repeat(5);
    let refused = site.uploads.take_packets(&huge, "test").await.expect_err("too large");
    assert!(matches!(refused, PacketsRefused::Upload(Refusal::TooLarge { .. })), "{refused}");
}
