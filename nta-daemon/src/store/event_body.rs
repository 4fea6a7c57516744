//! What an event says, as it was when it happened: a JSON object, which the API hands on as it is.

use serde::Serialize;

use super::body::AlertBody;
use super::from_sql;
use super::rows::{AlertRow, WindowRow};
use super::write::Event;
use nta_core::domain::{ClearReason, Severity, Timestamp};

/// A window that closed.
#[derive(Debug, Serialize)]
struct WindowClosed {
    id: i64,
    span_s: f64,
    window_start: String,
    window_end: String,
    packets: i64,
    bytes: i64,
    flows: i64,
    connections: i64,
    bandwidth_bps: i64,
}

/// What became of an alert.
#[derive(Debug, Serialize)]
struct AlertEvent<'a> {
    id: &'a str,
    r#type: &'a str,
    severity: &'static str,
    state: &'a str,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    port: Option<u16>,
    score: f64,
    detector: String,
    summary: String,
    raised_at: String,
    cleared_at: Option<String>,
    clear_reason: Option<&'a str>,
    /// The gateways that saw it, where it is one of several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<String>,
    /// The alert of several gateways that it is a part of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    folded_into: Option<&'a str>,
}

fn time(ns: i64) -> String {
    Timestamp::from_nanos(from_sql(ns)).to_string()
}

fn json(value: &impl Serialize) -> String {
    // Texts and numbers: nothing of it can be refused.
    serde_json::to_string(value).unwrap_or_else(|_never| "{}".to_owned())
}

/// A window closed that the database numbered so.
pub(super) fn window_closed(id: i64, window: &WindowRow) -> Event {
    let body = json(&WindowClosed {
        id,
        span_s: window.span_ns as f64 / 1e9,
        window_start: time(window.start_ns),
        window_end: time(window.end_ns),
        packets: window.packets,
        bytes: window.bytes,
        flows: window.flows,
        connections: window.connections,
        bandwidth_bps: window.bandwidth_bps,
    });
    Event { time_ns: window.end_ns, kind: "window_closed".into(), body }
}

/// An alert changed; `before` is the state that was stored, `raised_ns` since when it is known.
pub(super) fn alert(alert: &AlertRow, before: Option<&str>, raised_ns: i64) -> Event {
    let kind = match (alert.state.as_str(), before) {
        ("cleared", _) => "alert_cleared",
        // One that comes back after it was cleared is raised again.
        (_, Some("raised")) => "alert_changed",
        _ => "alert_raised",
    };
    let said = AlertBody::read(0, &alert.body).unwrap_or_default();
    let body = json(&AlertEvent {
        id: &alert.id,
        r#type: &alert.kind,
        severity: severity(alert.severity),
        state: &alert.state,
        source: alert.source.as_deref(),
        destination: alert.destination.as_deref(),
        port: said.port,
        score: said.score,
        detector: said.finding.detector,
        summary: said.finding.summary,
        raised_at: time(raised_ns),
        cleared_at: alert.cleared_ns.map(time),
        clear_reason: alert.cleared_ns.and(said.clear_reason.as_deref()),
        gateways: said.gateways,
        folded_into: None,
    });
    Event { time_ns: alert.cleared_ns.unwrap_or(alert.last_ns), kind: kind.into(), body }
}

/// What somebody did about an alert.
#[derive(Debug, Serialize)]
pub(super) struct Handled<'a> {
    pub(super) id: String,
    pub(super) r#type: String,
    #[serde(serialize_with = "severity_word")]
    pub(super) severity: i64,
    pub(super) state: String,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) summary: String,
    pub(super) raised_at: String,
    pub(super) by: &'a str,
    pub(super) status_before: String,
    pub(super) status: String,
    pub(super) verdict_before: Option<String>,
    pub(super) verdict: Option<String>,
    pub(super) note: Option<&'a str>,
}

/// Somebody did something about an alert.
pub(super) fn handled(at_ns: i64, handled: &Handled<'_>) -> Event {
    Event { time_ns: at_ns, kind: "alert_handled".into(), body: json(handled) }
}

fn severity_word<S: serde::Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity(*number))
}

/// The summary that an alert's document has.
pub(super) fn summary(body: &str) -> String {
    AlertBody::read(0, body).unwrap_or_default().finding.summary
}

/// A time in nanoseconds as events write it.
pub(super) fn written(ns: i64) -> String {
    time(ns)
}

/// The end of a run cleared an alert.
pub(super) fn cleared_with_run(alert: &AlertRow, end_ns: i64, reason: &str) -> Event {
    cleared(alert, end_ns, reason, None)
}

/// An alert became a part of another.
pub(super) fn folded(alert: &AlertRow, into: &str) -> Event {
    cleared(alert, alert.last_ns, ClearReason::Folded.word(), Some(into))
}

fn cleared(alert: &AlertRow, end_ns: i64, reason: &str, folded_into: Option<&str>) -> Event {
    let said = AlertBody::read(0, &alert.body).unwrap_or_default();
    let body = json(&AlertEvent {
        id: &alert.id,
        r#type: &alert.kind,
        severity: severity(alert.severity),
        state: "cleared",
        source: alert.source.as_deref(),
        destination: alert.destination.as_deref(),
        port: said.port,
        score: said.score,
        detector: said.finding.detector,
        summary: said.finding.summary,
        raised_at: time(alert.raised_ns),
        cleared_at: Some(time(end_ns)),
        clear_reason: Some(reason),
        gateways: said.gateways,
        folded_into,
    });
    Event { time_ns: end_ns, kind: "alert_cleared".into(), body }
}

fn severity(number: i64) -> &'static str {
    Severity::ALL.into_iter().find(|severity| *severity as i64 == number).unwrap_or(Severity::Low).word()
}
