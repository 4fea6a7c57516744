//! A collector: what it read of its stream, and whether it can.

use super::Snapshot;
use super::page::{COUNTER, GAUGE, Page};

const FAILING: &str = "1 while a collector can read nothing";

impl Snapshot {
    pub(super) fn collected(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let Some((counts, reading, is_failing)) = &self.collected else {
            // What rules ask for is there without series.
            return page.family("collector_failing", FAILING, GAUGE, []);
        };
        let connected = f64::from(u8::from(reading.connected));
        page.one("collector_connected", "1 while a collector is connected to NATS", GAUGE, connected)?;
        page.one("collector_failing", FAILING, GAUGE, f64::from(u8::from(*is_failing)))?;
        let about = "Attempts to read messages that failed";
        page.one("collector_read_failures", about, COUNTER, reading.all_failures as f64)?;
        let messages = [
            ("stored", counts.messages),
            ("ended", counts.ended),
            ("store_refused", counts.waited),
            ("unacknowledged", counts.unacknowledged),
        ];
        let messages = messages.map(|(outcome, messages)| (vec![("outcome", outcome)], messages as f64));
        let about = "Messages of sensors that were read from NATS, by what became of them";
        page.family("collector_messages", about, COUNTER, messages)?;
        let batches = [("stored", counts.batches), ("double", counts.doubles)];
        let batches = batches.map(|(outcome, batches)| (vec![("outcome", outcome)], batches as f64));
        page.family("collector_batches", "Batches in them, by whether they were there already", COUNTER, batches)?;
        page.one("collector_bytes", "Bytes of the messages stored", COUNTER, counts.bytes as f64)
    }
}
