//! JSON with the headers of Standard Webhooks: the event as the API gives it, signed with every secret.

use axum::http::Uri;

use super::http::Client;
use super::message::Delivery;
use super::signature::signature;
use super::{Failure, now_ns};

/// Sends an event.
pub(super) async fn send(client: &Client, uri: &Uri, keys: &[Vec<u8>], delivery: &Delivery) -> Result<(), Failure> {
    // `timestamp` is when it happened, as the standard has it; the header says when it was sent.
    let mut body = serde_json::to_value(&delivery.event).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.insert("timestamp".to_owned(), delivery.event.time.clone().into());
    }
    let (body, time_s) = (body.to_string(), now_ns() / 1_000_000_000);
    let mut headers = vec![("webhook-id", delivery.id.clone()), ("webhook-timestamp", time_s.to_string())];
    if !keys.is_empty() {
        headers.push(("webhook-signature", signature(keys, &delivery.id, time_s, body.as_bytes())));
    }
    client.post(uri, &headers, body).await
}
