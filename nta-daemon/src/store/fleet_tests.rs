//! What a sensor ships is stored once, and nothing of it is missed without a word.

use super::rows::BatchRows;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, flow, window};
use super::*;
use nta_core::detect::Networks;
use nta_core::domain::{Mode, Severity, Timestamp};

const SECOND: u64 = 1_000_000_000;

/// A store that ships, its writer and the task of it.
pub(super) struct Sensor {
    store: Store,
    writer: StoreWriter,
    task: tokio::task::JoinHandle<()>,
}

pub(super) const OUTBOX: Outbox = Outbox { flows: true, raw_packets: true, max_bytes: 1 << 30 };

impl Sensor {
    async fn begin(store: Store, started: u64) -> Self {
        let started = Timestamp::from_nanos(started * SECOND);
        let run = Run {
            started,
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: "gw1".to_owned(),
            uuid: Run::new_uuid(started),
            analysis: None,
        };
        let run = store.begin_run(&run).await.expect("run");
        let (writer, task) = store.writer(run, 4);
        Self { store, writer, task }
    }

    pub(super) async fn in_memory(outbox: Outbox) -> Self {
        Self::begin(Store::open("sqlite::memory:").await.expect("store").with_outbox(outbox), 1).await
    }

    /// Commits windows with these numbers, each with a flow.
    pub(super) async fn commit(&self, windows: impl IntoIterator<Item = u64>) {
        for id in windows {
            let batch =
                WindowBatch { window: Some(window(id)), flows: vec![flow(id, 100 + id, 1)], ..WindowBatch::default() };
            self.writer.send(batch).await.expect("send");
        }
        self.writer.flush().await.expect("flush");
    }

    /// The message with the batches from this number on, over the wire and back.
    pub(super) async fn shipment(&self, from: u64) -> Shipment {
        let state = self.store.outbox_state().await.expect("state");
        let about = About { given_up: state.given_up.batches, failed: state.failed, ..About::default() };
        let epoch = self.store.log_state().await.expect("log").epoch;
        let head = Head { sensor: "gw1".to_owned(), epoch, sent: Timestamp::from_nanos(SECOND), about };
        let shipment = self.store.shipment(from, MESSAGE_BYTES, head, &state).await.expect("shipment");
        Shipment::decode(&shipment.encode().expect("bytes")).expect("what was encoded")
    }

    async fn ships(&self, from: u64, server: &Store) -> Ingested {
        server.ingest(&self.shipment(from).await, Timestamp::from_nanos(9 * SECOND)).await.expect("ingested")
    }
}

/// What makes a batch wrong.
type Change<'a> = &'a dyn Fn(&mut BatchRows);

/// Only the batches with these numbers.
pub(super) fn only(shipment: &Shipment, numbers: &[u64]) -> Shipment {
    let mut part = shipment.clone();
    part.batches.retain(|(number, _)| numbers.contains(number));
    part
}

async fn packets(server: &Store) -> Vec<u64> {
    let page = server.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    page.items.iter().map(|window| window.packets).collect()
}

async fn is_stored_once_in_any_order(server: &Store) {
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=5).await;
    let all = sensor.shipment(1).await;
    assert_eq!(all.range(), Some((1, 5)));
    let now = Timestamp::from_nanos(9 * SECOND);
    let first = server.ingest(&only(&all, &[1, 2]), now).await.expect("ingested");
    assert_eq!((first.stored, first.watermark, first.missing), (2, 2, vec![]));
    let behind = server.ingest(&only(&all, &[4, 5]), now).await.expect("ingested");
    assert_eq!((behind.watermark, behind.missing), (2, vec![NumberRange { first: 3, last: 3 }]));
    let shipped = || async { server.shipped(Some("gw1"), 10).await.expect("shipped").remove(0) };
    assert!(!shipped().await.is_complete());
    // All of it again: only the hole adds something.
    let again = server.ingest(&all, now).await.expect("ingested");
    assert_eq!((again.stored, again.doubles, again.watermark, again.missing), (1, 4, 5, vec![]));
    let shipped = shipped().await;
    assert!(shipped.is_complete(), "{shipped:?}");
    assert_eq!((shipped.first, shipped.doubles, shipped.packets), (1, 4, 15), "1 + 2 + … + 5 packets");
    assert_eq!(packets(server).await, [1, 2, 3, 4, 5]);
    let hosts = server.host([10, 0, 0, 1].into(), &Whose::default()).await.expect("host");
    assert_eq!(hosts.first().map(|host| host.flows), Some(5), "sums count each batch once");
    // What is confirmed goes, and numbers go on behind it.
    sensor.store.acknowledge_outbox(again.watermark).await.expect("acknowledged");
    let state = sensor.store.outbox_state().await.expect("state");
    assert_eq!((state.pending, state.bytes, state.oldest, state.newest, state.acked), (0, 0, 6, 5, 5));
    sensor.commit([6]).await;
    let next = sensor.ships(6, server).await;
    assert_eq!((next.stored, next.watermark), (1, 6));
    // A run that was killed ends at the server when the next one begins.
    sensor.writer.shutdown().await.expect("shutdown");
    sensor.task.await.expect("task");
    let killed = Sensor::begin(sensor.store.clone(), 100).await;
    killed.commit([20]).await;
    let ingested = killed.ships(7, server).await;
    assert_eq!((ingested.stored, ingested.watermark), (1, 7));
    let ends: Vec<String> =
        server.events_after(0, 100).await.expect("events").into_iter().map(|event| event.kind).collect();
    assert_eq!(ends.iter().filter(|kind| *kind == "run_ended").count(), 1, "{ends:?}");
}

#[tokio::test]
async fn what_a_sensor_ships_is_stored_once_in_any_order() {
    is_stored_once_in_any_order(&Store::open("sqlite::memory:").await.expect("store")).await;
}

#[tokio::test]
async fn is_stored_once_in_any_order_on_postgresql() {
    let Some(server) = Server::start("is_stored_once_in_any_order_on_postgresql") else { return };
    is_stored_once_in_any_order(&server.open().await).await;
}

#[tokio::test]
async fn what_the_bound_forces_out_is_counted_and_makes_the_log_incomplete() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let whole = Sensor::in_memory(OUTBOX).await;
    whole.commit(1..=3).await;
    let bytes = whole.store.outbox_state().await.expect("state").bytes;
    // Room for about three batches.
    let sensor = Sensor::in_memory(Outbox { max_bytes: bytes, ..OUTBOX }).await;
    sensor.commit(1..=8).await;
    let state = sensor.store.outbox_state().await.expect("state");
    assert!(state.bytes <= bytes, "{} of {bytes}", state.bytes);
    assert_eq!((state.newest, state.pending + state.given_up.batches), (8, 8));
    let gone = state.given_up;
    assert_eq!((gone.windows, gone.flows, gone.alerts), (gone.batches, gone.batches, 0));
    // The server has known the sensor from its first batch on.
    server.ingest(&only(&whole.shipment(1).await, &[]), Timestamp::from_nanos(1)).await.expect("ingested");
    let mut shipment = sensor.shipment(1).await;
    shipment.epoch = whole.store.log_state().await.expect("log").epoch;
    let ingested = server.ingest(&shipment, Timestamp::from_nanos(1)).await.expect("ingested");
    assert_eq!((ingested.watermark, ingested.missing), (8, vec![]), "nobody asks for what is gone");
    let shipped = server.shipped(Some("gw1"), 10).await.expect("shipped").remove(0);
    assert_eq!((shipped.lost, shipped.is_complete()), (gone.batches, false));
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_back_holds_none_behind_it_up() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=5).await;
    let damage = Query::new("UPDATE outbox SET body = $1 WHERE seq = 3").bind(b"ntaoutb2".to_vec());
    let mut transaction = sensor.store.database.begin().await.expect("transaction");
    transaction.conn().expect("a connection").execute(damage).await.expect("damaged");
    transaction.commit().await.expect("committed");
    let first = sensor.ships(1, &server).await;
    sensor.store.acknowledge_outbox(first.watermark).await.expect("acknowledged");
    assert_eq!((first.stored, first.watermark), (4, 2), "the server waits for the third");
    // The next message says that it does not come.
    let second = sensor.ships(6, &server).await;
    assert_eq!((second.watermark, second.missing), (5, vec![]));
    let shipped = server.shipped(Some("gw1"), 10).await.expect("shipped").remove(0);
    assert_eq!((shipped.lost, shipped.is_complete()), (1, false));
    let state = sensor.store.outbox_state().await.expect("state");
    assert_eq!((state.failed, state.oldest), (1, 4), "it is kept, and is none that could be sent");
}

#[tokio::test]
async fn a_database_of_before_gets_another_log_and_loses_nothing() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let ahead = Sensor::in_memory(OUTBOX).await;
    ahead.commit(1..=9).await;
    let ingested = ahead.ships(1, &server).await;
    // The sensor's database is one of before: it gives numbers again that the server knows.
    let behind = Sensor::in_memory(OUTBOX).await;
    behind.commit(1..=2).await;
    assert!(ingested.watermark > behind.store.outbox_state().await.expect("state").newest);
    let epoch = behind.store.begin_epoch().await.expect("epoch");
    assert_eq!(behind.store.log_state().await.expect("log").epoch, epoch);
    let again = behind.ships(1, &server).await;
    assert_eq!((again.stored, again.doubles, again.watermark), (2, 0, 2));
    assert_eq!(server.shipped(Some("gw1"), 10).await.expect("shipped").len(), 2, "both logs are told apart");
}

async fn two_gateways_of_one_name(server: &Store) {
    let at = |second: u64| Timestamp::from_nanos(second * SECOND);
    let begin = async |started| {
        Sensor::begin(Store::open("sqlite::memory:").await.expect("store").with_outbox(OUTBOX), started).await
    };
    let (one, two) = (begin(1).await, begin(50).await);
    let ended = async || {
        let events = server.events_after(0, 100).await.expect("events");
        events.into_iter().filter(|event| event.kind == "run_ended").count()
    };
    let beside = async || {
        let logs = server.shipped(Some("gw1"), 10).await.expect("shipped");
        assert_eq!(logs.len(), 2);
        logs[0].is_beside(&logs[1])
    };
    for (number, second) in (1..=3).zip([100, 110, 120]) {
        one.commit([number]).await;
        server.ingest(&one.shipment(number).await, at(second)).await.expect("ingested");
        two.commit([number + 10]).await;
        server.ingest(&two.shipment(number).await, at(second + 5)).await.expect("ingested");
        // One word of the second could be the first of a new database.
        assert_eq!(beside().await, number > 1);
        assert_eq!(ended().await, 0, "neither ends the other's run");
    }
    // The first is away for more than a minute.
    two.commit([20]).await;
    server.ingest(&two.shipment(4).await, at(181)).await.expect("ingested");
    assert_eq!(ended().await, 1, "the run of who says nothing any more is over");
}

#[tokio::test]
async fn two_gateways_of_one_name_are_seen_and_end_not_each_others_runs() {
    two_gateways_of_one_name(&Store::open("sqlite::memory:").await.expect("store")).await;
}

#[tokio::test]
async fn two_gateways_of_one_name_are_seen_on_postgresql() {
    let Some(server) = Server::start("two_gateways_of_one_name_are_seen_on_postgresql") else { return };
    two_gateways_of_one_name(&server.open().await).await;
}

#[tokio::test]
async fn what_is_kept_aside_is_listed_and_does_not_wait() {
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=3).await;
    let all = sensor.store.outbox_state().await.expect("state");
    sensor.store.refuse_batch(1, "window 1 is none").await.expect("refused");
    let state = sensor.store.outbox_state().await.expect("state");
    assert_eq!((state.pending, state.failed), (2, 1));
    assert!(state.since > all.since, "{state:?}");
    let aside = sensor.store.batches_aside(10).await.expect("aside");
    assert_eq!(
        aside.iter().map(|batch| (batch.number, batch.reason.as_str())).collect::<Vec<_>>(),
        [(1, "window 1 is none")]
    );
    assert_eq!(Some(aside[0].made), all.since);
    sensor.store.acknowledge_outbox(3).await.expect("acknowledged");
    let state = sensor.store.outbox_state().await.expect("state");
    assert_eq!((state.pending, state.failed, state.since), (0, 1, None));
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_what_is_wrong() {
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=2).await;
    let good = sensor.shipment(1).await;
    let bytes = good.encode().expect("bytes");
    let refused = |bytes: &[u8]| Shipment::decode(bytes).expect_err("refused").to_string();
    assert!(refused(b"").contains("begin with"));
    assert!(refused(&bytes[..bytes.len() - 3]).contains("zstd"));
    let mut flipped = bytes.clone();
    flipped[9] ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    let mut newer = bytes;
    newer[7] = b'3';
    assert!(refused(&newer).contains("ntaship3"), "a version that is not known is named");
    let bomb = zstd::bulk::compress(&vec![0; 65 << 20], 3).expect("compressed");
    assert!(refused(&[b"ntaship2".as_slice(), &[0; 4], &bomb].concat()).contains("more than"));
    let wrong = |change: &dyn Fn(&mut Shipment)| {
        let mut shipment = good.clone();
        change(&mut shipment);
        refused(&shipment.encode().expect("bytes"))
    };
    assert!(wrong(&|s| s.sensor = "a/b".to_owned()).contains("sensor: expected"));
    assert!(wrong(&|s| s.oldest = 0).contains("oldest"));
    assert!(wrong(&|s| s.newest = u64::MAX).contains("newest"));
    assert!(wrong(&|s| s.batches.reverse()).contains("numbers rise"));
}

#[tokio::test]
async fn a_batch_that_no_window_can_be_is_refused_alone_and_the_others_are_stored() {
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=2).await;
    let good = sensor.shipment(1).await;
    let wrong: [(&str, Change<'_>); 5] = [
        ("another sensor's", &|batch| batch.run.sensor = "gw2".to_owned()),
        ("live run", &|batch| batch.run.mode = "replay".to_owned()),
        ("window 1 is none", &|batch| batch.windows[0].packets = -1),
        ("stay with the sensor", &|batch| batch.baselines = Some((String::new(), 0, String::new()))),
        ("no event", &|batch| {
            batch.notices = vec![Notice::new(Timestamp::from_nanos(1), "made_up", Severity::High, "")];
        }),
    ];
    for (why, change) in wrong {
        let server = Store::open("sqlite::memory:").await.expect("store");
        let mut shipment = good.clone();
        change(&mut shipment.batches[0].1);
        let ingested = server.ingest(&shipment, Timestamp::from_nanos(1)).await.expect("answered");
        assert_eq!((ingested.stored, ingested.watermark), (1, 2), "{why}: {ingested:?}");
        assert!(ingested.refused.len() == 1 && ingested.refused[0].1.contains(why), "{why}: {ingested:?}");
        assert_eq!(packets(&server).await, [2], "{why}");
        assert!(!server.shipped(Some("gw1"), 10).await.expect("shipped").remove(0).is_complete());
    }
}

#[tokio::test]
async fn the_run_of_another_sensor_is_not_written_into() {
    let server = Store::open("sqlite::memory:").await.expect("store");
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=2).await;
    let good = sensor.shipment(1).await;
    server.ingest(&only(&good, &[1]), Timestamp::from_nanos(1)).await.expect("ingested");
    let mut forged = only(&good, &[2]);
    forged.sensor = "gw2".to_owned();
    forged.batches[0].1.run.sensor = "gw2".to_owned();
    let ingested = server.ingest(&forged, Timestamp::from_nanos(1)).await.expect("answered");
    assert_eq!((ingested.stored, ingested.refused.len()), (0, 1), "{ingested:?}");
    assert_eq!(packets(&server).await, [1]);
    let shipped = server.shipped(Some("gw2"), 10).await.expect("shipped").remove(0);
    assert_eq!((shipped.refused, shipped.is_complete()), (1, false));
}

#[tokio::test]
async fn what_is_inside_stands_behind_what_versions_before_read() {
    const MARK: &[u8; 8] = b"ntaship2";
    let local = Networks::from(vec!["192.0.2.0/24".parse().expect("a network")]);
    let store = Store::open("sqlite::memory:").await.expect("store").with_outbox(OUTBOX).with_local_networks(local);
    let sensor = Sensor::begin(store, 1).await;
    sensor.commit([1]).await;
    let shipment = sensor.shipment(1).await;
    assert_eq!(shipment.networks, Some(vec!["192.0.2.0/24".to_owned()]));
    // A version before reads the document, and nothing behind it.
    let plain = shipment::open(MARK, &shipment.encode().expect("bytes")).expect("a message");
    let read: Shipment = shipment::from_plain(&plain).expect("the document");
    assert_eq!((read.range(), read.networks), (Some((1, 1)), None));
    // And sends no more.
    let before = shipment::seal(MARK, &shipment::to_plain(&shipment).expect("a document")).expect("bytes");
    let before = Shipment::decode(&before).expect("a message");
    assert_eq!(before.networks, None);
    let server = Store::open("sqlite::memory:").await.expect("store");
    for (message, stored) in [(&before, 1), (&shipment, 0), (&before, 0)] {
        let ingested = server.ingest(message, Timestamp::from_nanos(9 * SECOND)).await.expect("ingested");
        assert_eq!(ingested.stored, stored);
    }
    let known = server.networks_of_sensors().await.expect("networks");
    let holds = |address: &str| known["gw1"].contains(&address.parse().expect("an address"));
    assert_eq!((known.len(), holds("192.0.2.9"), holds("10.0.0.1")), (1, true, false));
    let wrong = Shipment { networks: Some(vec!["192.0.2.1/24".to_owned()]), ..shipment };
    let refused = Shipment::decode(&wrong.encode().expect("bytes")).expect_err("no network");
    assert!(refused.to_string().contains("networks"), "{refused}");
}
