//! What every kind says of an event, in words and numbers of its own.

use serde_json::Value;

use crate::json::LogEventJson;
use crate::store::{LogState, StoredEvent, about};
use nta_core::domain::Severity;

/// What is about to be sent.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// The same for every attempt, and for no other event: the receiver knows by it what it has already.
    pub(super) id: String,
    pub(super) event: LogEventJson,
}

/// Whether something goes on or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Begins,
    Ends,
    /// It has no end: it is told once.
    Once,
}

impl Delivery {
    pub(super) fn new(log: &LogState, event: &StoredEvent) -> Self {
        let id = told_as(event).unwrap_or_else(|| event.seq.to_string());
        Self { id: format!("nta_{}_{id}", log.epoch), event: event.into() }
    }

    /// What a test sends: an alert that names itself one, and that no log has.
    pub(super) fn test(now_ns: u64, sensor: &str) -> Self {
        let time = nta_core::domain::Timestamp::from_nanos(now_ns);
        let data = serde_json::json!({
            "id": "0000000000000000", "type": "test", "severity": "low", "state": "raised", "source": null, "destination": null,
            "port": null, "score": 0.0, "detector": "test", "raised_at": time.to_string(), "cleared_at": null,
            "clear_reason": null, "summary": "A test of this webhook: nothing has happened",
        });
        let event = LogEventJson {
            id: 0,
            kind: "alert_raised".to_owned(),
            time: time.to_string(),
            sensor: Some(sensor.to_owned()),
            severity: Some("low".to_owned()),
            data,
        };
        Self { id: format!("nta_test_{now_ns}"), event }
    }

    pub(super) fn sensor(&self) -> &str {
        self.event.sensor.as_deref().unwrap_or("nta")
    }

    pub(super) fn severity(&self) -> Option<Severity> {
        Severity::named(self.event.severity.as_deref()?)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.event.data.get(name).and_then(Value::as_str)
    }

    pub(super) fn is_alert(&self) -> bool {
        self.event.kind.starts_with("alert_")
    }

    /// What it is about, the same from its begin to its end.
    pub(super) fn subject(&self) -> String {
        let about = match self.event.kind.split('_').next() {
            Some("alert") => self.text("id").unwrap_or_default().to_owned(),
            Some("store") => "store/database".to_owned(),
            Some(kind @ ("capture" | "webhook")) => {
                // The reason begins with what it is about; numbers in it change.
                format!("{kind}/{}", self.text("reason").map_or("", about))
            }
            _ => format!("{}/{}", self.event.kind, self.event.id),
        };
        format!("nta/{}/{about}", self.sensor())
    }

    pub(super) fn phase(&self) -> Phase {
        match self.event.kind.as_str() {
            "alert_raised" | "alert_changed" | "capture_trouble" | "store_trouble" | "webhook_trouble" => Phase::Begins,
            "alert_cleared" | "capture_recovered" | "store_recovered" | "webhook_recovered" => Phase::Ends,
            "alert_handled" if self.text("status") == Some("resolved") => Phase::Ends,
            "alert_handled" => Phase::Begins,
            _ => Phase::Once,
        }
    }

    /// The kind of thing it is, for people: `port_scan`, `capture_trouble`.
    pub(super) fn class(&self) -> &str {
        if self.is_alert() { self.text("type").unwrap_or("alert") } else { &self.event.kind }
    }

    /// One line that says what happened.
    pub(super) fn summary(&self) -> String {
        let said = self.text("summary").filter(|said| !said.is_empty()).or_else(|| self.text("reason"));
        let class = self.class().replace('_', " ");
        let over = match self.event.kind.as_str() {
            "alert_cleared" => "cleared: ",
            "capture_recovered" | "store_recovered" | "webhook_recovered" => "over: ",
            _ => "",
        };
        let over = match (self.event.kind.as_str(), self.text("status"), self.text("by")) {
            ("alert_handled", Some(status), Some(by)) => format!("{status} by {by}: "),
            _ => over.to_owned(),
        };
        let severity = self.event.severity.as_deref().map(|severity| format!("[{severity}] ")).unwrap_or_default();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        clean(&format!("{severity}{over}{class}{said}"))
    }
}

/// Name of an event that may be told before it is logged: the same in both, so that its receiver knows what it has.
pub(super) fn told_as(event: &StoredEvent) -> Option<String> {
    if !event.kind.starts_with("capture_") && !event.kind.starts_with("store_") {
        return None;
    }
    let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
    let about = body.get("reason").and_then(Value::as_str).map_or("", about);
    let severity = event.severity.map_or("", Severity::word);
    let name = format!("{}_{}_{severity}_{}", event.kind, event.time.as_nanos(), about);
    // Names of interfaces have almost any byte; a header does not.
    let plain = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    Some(name.bytes().map(plain).collect())
}

/// A text of one line: what came from the network must not make another.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The beginning of a text that is longer than so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
