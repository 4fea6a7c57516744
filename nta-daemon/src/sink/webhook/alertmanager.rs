//! Alertmanager's API v2. What its alerts are the same by are their labels, among them the severity, by which people route: so of
//! each event the other severities of the same alert are ended with it.

use axum::http::Uri;
use serde_json::{Value, json};

use super::http::Client;
use super::message::{Delivery, Phase};
use super::{Failure, now_ns};
use nta_core::domain::{Severity, Timestamp};

/// An alert that nothing is heard of for so long ends there by itself.
const LASTS_NS: u64 = 3_600_000_000_000;
const API: &str = "/api/v2/alerts";

/// Sends an event.
pub(super) async fn send(client: &Client, uri: &Uri, token: Option<&str>, delivery: &Delivery) -> Result<(), Failure> {
    let headers: Vec<_> = token.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
    let uri = endpoint(uri)?;
    client.post(&uri, &headers, body(delivery, now_ns())).await
}

/// The place of its API below an address that names it or Alertmanager itself.
fn endpoint(uri: &Uri) -> Result<Uri, Failure> {
    if uri.path().ends_with(API) {
        return Ok(uri.clone());
    }
    let mut parts = uri.clone().into_parts();
    let path = format!("{}{API}", uri.path().trim_end_matches('/'));
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).map_err(|error| Failure::for_good(error.to_string()))
}

fn body(delivery: &Delivery, now_ns: u64) -> String {
    let is = delivery.severity().unwrap_or(Severity::Low);
    let goes_on = delivery.phase() != Phase::Ends;
    let ends_at = |of: Severity| {
        let ns = if of == is && goes_on { now_ns.saturating_add(LASTS_NS) } else { now_ns };
        Timestamp::from_nanos(ns).to_string()
    };
    let starts_at = delivery.text("raised_at").unwrap_or(&delivery.event.time);
    let alerts: Vec<Value> = Severity::ALL
        .into_iter()
        .map(|severity| {
            let mut labels = json!({
                "alertname": delivery.class(), "severity": severity.word(), "sensor": delivery.sensor(), "subject": delivery.subject(),
            });
            for name in ["source", "destination"] {
                if let (Some(value), Some(labels)) = (delivery.text(name), labels.as_object_mut()) {
                    labels.insert(name.to_owned(), value.into());
                }
            }
            json!({
                "labels": labels, "startsAt": starts_at, "endsAt": ends_at(severity),
                "annotations": { "summary": delivery.summary(), "event": delivery.event.id.to_string() },
            })
        })
        .collect();
    Value::Array(alerts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_severity_goes_on_and_the_others_end() {
        let mut delivery = Delivery::test(1_000_000_000, "gw");
        let ends = |delivery: &Delivery| {
            let alerts: Vec<Value> = serde_json::from_str(&body(delivery, 2_000_000_000)).expect("JSON");
            let end = |alert: &Value| {
                let severity = alert["labels"]["severity"].as_str().expect("a severity").to_owned();
                (severity, alert["endsAt"] == "1970-01-01T00:00:02.000000Z")
            };
            alerts.iter().map(end).collect::<Vec<_>>()
        };
        let expected = |going: Option<&str>| {
            Severity::ALL.map(|severity| (severity.word().to_owned(), going != Some(severity.word()))).to_vec()
        };
        assert_eq!(ends(&delivery), expected(Some("low")));
        delivery.event.severity = Some("high".to_owned());
        assert_eq!(ends(&delivery), expected(Some("high")));
        delivery.event.kind = "alert_cleared".to_owned();
        assert_eq!(ends(&delivery), expected(None));
    }

    #[test]
    fn the_api_is_found_below_the_address() {
        for (uri, expected) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/prefix/", "http://am:9093/prefix/api/v2/alerts"),
            ("http://am:9093/api/v2/alerts", "http://am:9093/api/v2/alerts"),
        ] {
            let found = endpoint(&uri.parse().expect("a URI")).unwrap_or_default();
            assert_eq!(found.to_string(), expected);
        }
    }
}
