//! An incoming webhook of Slack, and of what speaks like it (Mattermost, Rocket.Chat).

use axum::http::Uri;
use serde_json::json;

use super::Failure;
use super::http::Client;
use super::message::{Delivery, cut};
use nta_core::domain::Severity;

/// Characters of a text; Slack takes 3,000 of a section.
const MAX_TEXT: usize = 2500;

/// Sends an event.
pub(super) async fn send(client: &Client, uri: &Uri, token: Option<&str>, delivery: &Delivery) -> Result<(), Failure> {
    let headers: Vec<_> = token.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
    client.post(uri, &headers, body(delivery)).await
}

/// The message: a line for who reads no more, and beside it who and where.
fn body(delivery: &Delivery) -> String {
    let summary = escape(cut(&delivery.summary(), MAX_TEXT));
    let color = match delivery.severity() {
        Some(Severity::Critical) => "#b00020",
        Some(Severity::High) => "#e05a00",
        Some(Severity::Medium) => "#d0a000",
        Some(Severity::Low) | None => "#808080",
    };
    let mut fields = Vec::new();
    for (title, name) in
        [("Source", "source"), ("Destination", "destination"), ("Detector", "detector"), ("Alert", "id")]
    {
        if let Some(value) = delivery.text(name) {
            fields.push(json!({ "title": title, "value": escape(value), "short": true }));
        }
    }
    fields.push(json!({ "title": "Sensor", "value": escape(delivery.sensor()), "short": true }));
    let attachment = json!({ "color": color, "fallback": summary, "fields": fields, "footer": delivery.event.time });
    json!({ "text": summary, "attachments": [attachment] }).to_string()
}

/// As Slack asks for: nothing of it is a mention or a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_the_network_makes_no_mention_and_no_link() {
        let mut delivery = Delivery::test(0, "a<b");
        delivery.event.data["summary"] = "<!channel> & <http://evil.example|here>\nmore".into();
        let body: serde_json::Value = serde_json::from_str(&body(&delivery)).expect("JSON");
        let text = body["text"].as_str().expect("a text");
        assert_eq!(text, "[low] test: &lt;!channel&gt; &amp; &lt;http://evil.example|here&gt; more");
        assert!(body["attachments"][0]["fields"].to_string().contains("a&lt;b"));
    }
}
