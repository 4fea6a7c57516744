//! An alert as an event of the type `alert`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{begin, number, text};

/// Signatures of a site's own have numbers from here on, by the convention of Snort and Suricata…
const LOCAL_SIDS: u32 = 1_000_000;
/// … and as many of them.
const LOCAL_COUNT: u32 = 1_000_000;

/// The event of an alert in the API's shape. A party that is no address stands in `alert.metadata` alone.
pub fn alert(alert: &Value) -> Value {
    let mut event = begin("alert", text(alert, "raised_at"));
    if let Some(sensor) = alert["sensor"].as_str() {
        event.insert("host".to_owned(), sensor.into());
    }
    let address = |name: &str| alert[name].as_str().filter(|party| party.parse::<IpAddr>().is_ok());
    for (party, field) in [("source", "src_ip"), ("destination", "dest_ip")] {
        if let Some(address) = address(party) {
            event.insert(field.to_owned(), address.into());
        }
    }
    if let Some(port) = alert["port"].as_u64() {
        event.insert("dest_port".to_owned(), port.into());
    }
    let kind = text(alert, "type");
    let why = &alert["why"];
    let technique = &why["technique"];
    event.insert(
        "alert".to_owned(),
        json!({
            "action": "allowed",
            "gid": 1,
            "signature_id": signature_id(kind),
            "rev": 1,
            "signature": format!("NTA {kind}: {}", text(why, "summary")),
            "category": technique["name"].as_str().unwrap_or(kind),
            "severity": severity(text(alert, "severity")),
            "metadata": metadata(alert),
        }),
    );
    event.into()
}

/// A number for a kind that stays when kinds are added.
pub(in crate::export) fn signature_id(kind: &str) -> u32 {
    LOCAL_SIDS + crc32fast::hash(kind.as_bytes()) % LOCAL_COUNT
}

/// Suricata counts the other way round, from 1, the worst.
fn severity(word: &str) -> u8 {
    match word {
        "critical" | "high" => 1,
        "medium" => 2,
        "low" => 3,
        _ => 4,
    }
}

/// What Suricata has no field for. Its schema allows lists of texts.
fn metadata(alert: &Value) -> Map<String, Value> {
    let why = &alert["why"];
    let told = [
        ("nta_alert", alert["id"].as_str().map(str::to_owned)),
        ("nta_kind", alert["type"].as_str().map(str::to_owned)),
        ("nta_severity", alert["severity"].as_str().map(str::to_owned)),
        ("nta_state", alert["state"].as_str().map(str::to_owned)),
        ("nta_source", alert["source"].as_str().map(str::to_owned)),
        ("nta_destination", alert["destination"].as_str().map(str::to_owned)),
        ("nta_score", Some(alert["score"].to_string())),
        ("nta_windows", Some(number(alert, "windows").to_string())),
        ("nta_first_seen", alert["first_seen"].as_str().map(str::to_owned)),
        ("nta_last_seen", alert["last_seen"].as_str().map(str::to_owned)),
        ("nta_detector", alert["detector"].as_str().map(str::to_owned)),
        ("nta_measure", why["measure"].as_str().map(str::to_owned)),
        ("nta_observed", Some(why["observed"].to_string())),
        ("nta_threshold", Some(why["threshold"].to_string())),
        ("mitre_technique_id", why["technique"]["id"].as_str().map(str::to_owned)),
        ("mitre_technique_name", why["technique"]["name"].as_str().map(str::to_owned)),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!([value?])))).collect()
}
