//! Shipping, from both sides: what waits at a gateway, and what a server has of each sensor.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::Snapshot;
use super::page::{COUNTER, GAUGE, Page};
use crate::api::{ApiState, MOST_LOGS};
use crate::json::seconds;
use crate::store::Shipped;
use nta_core::domain::Timestamp;

/// Sensors with series of their own, those heard of last.
const MOST_SENSORS: usize = 500;
/// Who was not heard of for so long has no series any more, in nanoseconds.
const FORGOTTEN_AFTER_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// A scrape waits so long for the database, and shows what was known before else.
const PATIENCE: Duration = Duration::from_millis(250);

/// The newest log of each sensor.
pub(super) async fn sensors(state: &ApiState) -> Vec<Shipped> {
    let read = tokio::time::timeout(PATIENCE, state.store.shipped(None, MOST_LOGS)).await;
    let mut known = state.shipped.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Ok(mut logs)) = read {
        let mut names = BTreeSet::new();
        // The one heard of last comes first.
        logs.retain(|log| names.insert(log.sensor.clone()));
        *known = logs;
    }
    known.clone()
}

impl Snapshot {
    /// What waits for the server.
    pub(super) fn shipping(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let (shipping, is_failing) = &self.shipping;
        let outbox = &shipping.outbox;
        let pending = outbox.pending as f64;
        page.one("shipping_pending_batches", "Batches that wait for the server", GAUGE, pending)?;
        page.one("shipping_pending_bytes", "Their bytes on disk", GAUGE, outbox.bytes as f64)?;
        let oldest = outbox.since.map_or(0.0, |since| seconds(self.now.since(since)));
        page.one("shipping_oldest_seconds", "Age of the oldest batch that waits, 0 where none does", GAUGE, oldest)?;
        page.one("shipping_sent_batches", "Batches that the server took", COUNTER, shipping.sent as f64)?;
        page.one("shipping_sent_bytes", "Bytes of messages that it took", COUNTER, shipping.sent_bytes as f64)?;
        page.one("shipping_failures", "Messages that it did not take", COUNTER, shipping.all_failures as f64)?;
        let failing = f64::from(u8::from(*is_failing));
        page.one("shipping_failing", "1 while the server takes nothing", GAUGE, failing)?;
        let failed = outbox.failed as f64;
        page.one("shipping_failed_batches", "Batches kept aside that are never sent", GAUGE, failed)?;
        let kind = |name| vec![("kind", name)];
        let given_up = [
            (kind("batches"), outbox.given_up.batches as f64),
            (kind("windows"), outbox.given_up.windows as f64),
            (kind("flows"), outbox.given_up.flows as f64),
            (kind("alerts"), outbox.given_up.alerts as f64),
        ];
        page.family("shipping_given_up", "What the bound of what waits forced out, by kind", COUNTER, given_up)?;
        let about = "Number up to which the server has all batches";
        page.one("shipping_watermark", about, GAUGE, shipping.watermark as f64)
    }

    /// What this server has of each sensor.
    pub(super) fn fleet(&self, page: &mut Page<'_>) -> std::fmt::Result {
        page.one("sensors", "Sensors that ever shipped to this server", GAUGE, self.sensors.len() as f64)?;
        let now = self.now;
        let is_known = |log: &&Shipped| now.since(log.received) < FORGOTTEN_AFTER_NS;
        let shown: Vec<&Shipped> = self.sensors.iter().filter(is_known).take(MOST_SENSORS).collect();
        let of = |value: fn(&Shipped, Timestamp) -> f64| {
            shown.iter().map(move |log| (vec![("sensor", log.sensor.as_str())], value(log, now)))
        };
        let lag =
            shown.iter().filter_map(|log| Some((vec![("sensor", log.sensor.as_str())], seconds(now.since(log.last?)))));
        page.family("sensor_lag_seconds", "From the end of a sensor's newest window here until now", GAUGE, lag)?;
        let silent = of(|log, now| seconds(now.since(log.received)));
        page.family("sensor_silent_seconds", "Since a sensor was heard of last", GAUGE, silent)?;
        let missing = of(|log, _| log.missing().iter().map(|hole| hole.last - hole.first + 1).sum::<u64>() as f64);
        page.family("sensor_missing_batches", "Batches missing before later ones, asked for again", GAUGE, missing)?;
        let lost = of(|log, _| log.gone() as f64);
        page.family("sensor_lost_batches", "Batches of a sensor's log that are lost for good", GAUGE, lost)?;
        let doubles = of(|log, _| log.doubles as f64);
        page.family("sensor_double_batches", "Batches that came again and added nothing", COUNTER, doubles)?;
        let complete = of(|log, _| f64::from(u8::from(log.is_complete())));
        page.family("sensor_complete", "1 when all is here that a sensor ever numbered", GAUGE, complete)?;
        let pending = of(|log, _| log.said.about.pending_batches as f64);
        page.family("sensor_pending_batches", "Batches that waited at a sensor, as it said last", GAUGE, pending)
    }
}
