//! What gateways ship is stored as many together as have come, and leaves what it leaves in small messages.

use super::bulk_tests::{STORED, stored};
use super::fleet_tests::{OUTBOX, Sensor, only};
use super::server_tests::Server;
use super::*;
use nta_core::domain::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// The same from another gateway.
fn from_other(shipment: &Shipment, name: &str) -> Shipment {
    let mut other = Shipment { sensor: name.to_owned(), ..shipment.clone() };
    for (_, batch) in &mut other.batches {
        batch.run.sensor = name.to_owned();
        batch.run.uuid[..3].copy_from_slice(name.as_bytes());
    }
    other
}

async fn is_stored_together_as_in_small_messages(together: &Store, apart: &Store) {
    let sensor = Sensor::in_memory(OUTBOX).await;
    // By more rows than PostgreSQL takes without COPY.
    sensor.commit(1..=800).await;
    let all = sensor.shipment(1).await;
    assert_eq!(all.range(), Some((1, 800)));
    let other = from_other(&all, "gw2");
    let numbers: Vec<u64> = (1..=800).collect();
    let halves = [&numbers[..400], &numbers[400..]].map(|numbers| only(&all, numbers));
    let now = Timestamp::from_nanos(9 * SECOND);
    let group = [halves[0].clone(), other.clone(), halves[1].clone()];
    let found = together.ingest_all(&group, now).await.expect("taken");
    let found: Vec<_> =
        found.into_iter().map(|one| one.map(|one| (one.stored, one.watermark)).expect("stored")).collect();
    assert_eq!(found, [(400, 400), (800, 800), (400, 800)], "each message is answered by what came up to it");
    for numbers in numbers.chunks(20) {
        for log in [&all, &other] {
            let ingested = apart.ingest(&only(log, numbers), now).await.expect("ingested");
            assert_eq!((ingested.stored, ingested.watermark), (20, numbers[19]));
        }
    }
    let (found, expected) = (stored(together, &STORED).await, stored(apart, &STORED).await);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    let again = together.ingest_all(&group, now).await.expect("taken");
    let again: Vec<_> =
        again.into_iter().map(|one| one.map(|one| (one.stored, one.doubles)).expect("stored")).collect();
    assert_eq!(again, [(0, 400), (0, 800), (0, 400)]);
    let events = together.events_after(0, u32::MAX).await.expect("events");
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "a number is missing");
}

#[tokio::test]
async fn what_gateways_ship_is_stored_together_as_in_small_messages() {
    let (together, apart) = (Store::open("sqlite::memory:").await, Store::open("sqlite::memory:").await);
    is_stored_together_as_in_small_messages(&together.expect("store"), &apart.expect("store")).await;
}

#[tokio::test]
async fn what_gateways_ship_is_stored_together_as_in_small_messages_on_postgresql() {
    let name = "what_gateways_ship_is_stored_together_as_in_small_messages_on_postgresql";
    let (Some(one), Some(other)) = (Server::start(name), Server::start(name)) else { return };
    is_stored_together_as_in_small_messages(&one.open().await, &other.open().await).await;
}

#[tokio::test]
async fn a_message_that_the_database_refuses_takes_no_other_along() {
    let Some(server) = Server::start("a_message_that_the_database_refuses_takes_no_other_along") else { return };
    let server = server.open().await;
    let sensor = Sensor::in_memory(OUTBOX).await;
    sensor.commit(1..=4).await;
    let (all, now) = (sensor.shipment(1).await, Timestamp::from_nanos(9 * SECOND));
    let other = from_other(&all, "gw2");
    // Nothing can be added to the sum of its hour any more.
    let huge = |numbers: &[u64]| {
        let mut huge = from_other(&only(&all, numbers), "gw3");
        huge.batches[0].1.windows[0].packets = i64::MAX;
        huge
    };
    assert_eq!(server.ingest(&huge(&[1]), now).await.expect("ingested").stored, 1);
    let taken = server.ingest_all(&[other, huge(&[2, 3]), only(&all, &[1, 2]), only(&all, &[3, 4])], now).await;
    let taken: Vec<_> = taken.expect("taken").into_iter().map(|one| one.expect("stored")).collect();
    assert_eq!(taken.iter().map(|one| one.stored).collect::<Vec<_>>(), [4, 0, 2, 2]);
    assert_eq!(taken.iter().map(|one| one.watermark).collect::<Vec<_>>(), [4, 3, 2, 4]);
    let refused: Vec<u64> = taken.iter().flat_map(|one| &one.refused).map(|(number, _)| *number).collect();
    assert_eq!(refused, [2, 3], "{taken:?}");
}
