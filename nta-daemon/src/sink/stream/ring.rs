//! The newest events, as all readers of the stream share them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::json::LogEventJson;
use crate::store::StoredEvent;
use nta_core::domain::Severity;

/// Events kept in memory; older ones are read from the store …
const MAX_EVENTS: usize = 4096;
/// … as are those beyond so many bytes.
const MAX_BYTES: usize = 4 << 20;

/// An event as readers get it.
#[derive(Debug)]
pub struct LogEvent {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// The sensor that it happened to.
    pub sensor: Option<String>,
    /// The whole of it as JSON.
    pub json: String,
}

impl From<StoredEvent> for LogEvent {
    fn from(stored: StoredEvent) -> Self {
        let json = LogEventJson::from(&stored);
        Self {
            seq: stored.seq,
            kind: stored.kind,
            severity: stored.severity,
            sensor: stored.sensor,
            // Texts and numbers: nothing of it can be refused.
            json: serde_json::to_string(&json).unwrap_or_default(),
        }
    }
}

impl From<&StoredEvent> for LogEventJson {
    fn from(stored: &StoredEvent) -> Self {
        Self {
            id: stored.seq,
            kind: stored.kind.clone(),
            time: stored.time.to_string(),
            sensor: stored.sensor.clone(),
            severity: stored.severity.map(|severity| severity.word().to_owned()),
            data: serde_json::from_str(&stored.body).unwrap_or_default(),
        }
    }
}

impl LogEvent {
    const fn bytes(&self) -> usize {
        size_of::<Self>() + self.kind.len() + self.json.len()
    }
}

/// The newest events in their order.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<LogEvent>>,
    bytes: usize,
}

impl Ring {
    pub(super) fn push(&mut self, event: Arc<LogEvent>) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES && self.events.len() > 1 {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The events behind a number, at most `most`; `None` where some of them may be in the store alone.
    pub(super) fn after(&self, seq: u64, most: usize) -> Option<Vec<Arc<LogEvent>>> {
        self.events.front().filter(|oldest| oldest.seq <= seq + 1)?;
        let from = self.events.partition_point(|event| event.seq <= seq);
        Some(self.events.iter().skip(from).take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, bytes: usize) -> Arc<LogEvent> {
        let json = "x".repeat(bytes);
        Arc::new(LogEvent { seq, kind: "window_closed".to_owned(), severity: None, sensor: None, json })
    }

    #[test]
    fn it_is_bounded_in_events_and_bytes_and_knows_what_it_has() {
        let mut ring = Ring::default();
        assert!(ring.after(0, 10).is_none(), "nothing is known");
        (1..=MAX_EVENTS as u64 + 10).for_each(|seq| ring.push(event(seq, 10)));
        let numbers = |ring: &Ring, seq, most| {
            ring.after(seq, most).map(|events| events.iter().map(|event| event.seq).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&ring, 9, 10), None, "10 is gone");
        assert_eq!(numbers(&ring, 10, 3), Some(vec![11, 12, 13]));
        assert_eq!(numbers(&ring, MAX_EVENTS as u64 + 10, 3), Some(vec![]));
        ring.push(event(MAX_EVENTS as u64 + 11, MAX_BYTES));
        assert_eq!(ring.events.len(), 1, "the newest stays, however large it is");
        ring.push(event(MAX_EVENTS as u64 + 12, 10));
        assert_eq!((ring.events.len(), ring.bytes), (1, ring.events[0].bytes()));
    }
}
