//! PagerDuty's Events API v2: an alert is an incident from its begin to its end.

use axum::http::Uri;
use serde_json::json;

use super::Failure;
use super::http::Client;
use super::message::{Delivery, Phase, cut};
use nta_core::domain::Severity;

/// Bytes of a summary, as PagerDuty has it.
const MAX_SUMMARY: usize = 1024;

/// Sends an event.
pub(super) async fn send(client: &Client, uri: &Uri, key: &str, delivery: &Delivery) -> Result<(), Failure> {
    client.post(uri, &[], body(key, delivery)).await
}

fn body(key: &str, delivery: &Delivery) -> String {
    let severity = match delivery.severity() {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "error",
        Some(Severity::Medium) => "warning",
        Some(Severity::Low) | None => "info",
    };
    let is_acknowledged = delivery.event.kind == "alert_handled" && delivery.text("status") == Some("acknowledged");
    let action = match delivery.phase() {
        Phase::Ends => "resolve",
        _ if is_acknowledged => "acknowledge",
        _ => "trigger",
    };
    json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": delivery.subject(),
        "client": "nta",
        "payload": {
            "summary": cut(&delivery.summary(), MAX_SUMMARY),
            "source": delivery.text("source").unwrap_or_else(|| delivery.sensor()),
            "severity": severity,
            "timestamp": delivery.event.time,
            "component": delivery.sensor(),
            "class": delivery.class(),
            "custom_details": delivery.event.data,
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_triggered_is_resolved_by_the_same_key() {
        let mut delivery = Delivery::test(0, "gw");
        let read =
            |delivery: &Delivery| serde_json::from_str::<serde_json::Value>(&body("key", delivery)).expect("JSON");
        let raised = read(&delivery);
        assert_eq!((&raised["event_action"], &raised["routing_key"]), (&"trigger".into(), &"key".into()));
        assert_eq!((&raised["payload"]["severity"], &raised["payload"]["class"]), (&"info".into(), &"test".into()));
        delivery.event.kind = "alert_cleared".to_owned();
        let cleared = read(&delivery);
        assert_eq!((&cleared["event_action"], &cleared["dedup_key"]), (&"resolve".into(), &raised["dedup_key"]));

        for (status, action) in [("acknowledged", "acknowledge"), ("resolved", "resolve"), ("open", "trigger")] {
            delivery.event.kind = "alert_handled".to_owned();
            delivery.event.data["status"] = status.into();
            let handled = read(&delivery);
            assert_eq!((&handled["event_action"], &handled["dedup_key"]), (&action.into(), &raised["dedup_key"]));
        }
        delivery.event.data = json!({ "reason": "eth0 has passed 100 packets" });
        delivery.event.kind = "capture_trouble".to_owned();
        let trouble = read(&delivery);
        delivery.event.data = json!({ "reason": "eth0 has passed 900 packets" });
        delivery.event.kind = "capture_recovered".to_owned();
        let over = read(&delivery);
        assert_eq!((&trouble["dedup_key"], &over["event_action"]), (&over["dedup_key"], &"resolve".into()));
        assert_eq!(trouble["dedup_key"], "nta/gw/capture/eth0");
    }
}
