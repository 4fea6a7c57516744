//! Whether a server, or NATS, can be reached and lets this one in: asked without shipping anything.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use axum::http::StatusCode;

use super::broker::{self, chain};
use super::{Client, MOST_ANSWER, trusted};
use crate::config::{Broker, ShipConfig};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks whom a sensor ships to; what was found.
///
/// # Errors
/// Why nothing would be taken.
pub async fn ship(config: &ShipConfig, sensor: Option<&str>) -> Result<String, String> {
    let Some(broker) = config.broker() else { return server(config, sensor).await };
    sensor.map_or(Ok(String::new()), |name| broker::subject(broker::SHIP, name))?;
    let client = broker::connect(&broker, "nta doctor").await?;
    let (version, most) = (client.server_info().version, client.max_payload());
    if let Some(name) = sensor {
        may_publish(&client, &broker::subject(broker::SHIP, name)?)
            .await
            .map_err(|why| format!("{}: {why}", broker.url))?;
    }
    Ok(format!("{}: NATS {}, takes messages of at most {most} bytes", broker.url, version.escape_debug()))
}

/// Whether this one may publish to a subject: to a stream of another name than there is, so that no stream keeps it.
async fn may_publish(client: &async_nats::Client, subject: &str) -> Result<(), String> {
    let publish = PublishMessage::build().expected_stream("nta doctor asks");
    let stream = async_nats::jetstream::new(client.clone());
    let sent = stream.send_publish(subject.to_owned(), publish).await;
    let kept = match sent {
        Ok(acknowledged) => acknowledged.await,
        Err(error) => Err(error),
    };
    match kept.map_err(|error| (error.kind(), chain(&error))) {
        Ok(_) | Err((PublishErrorKind::WrongLastMessageId | PublishErrorKind::Other, _)) => Ok(()),
        Err((PublishErrorKind::StreamNotFound, _)) => {
            Err(format!("no stream takes {subject}: a collector makes it when it starts (`nta-daemon collect`)"))
        }
        Err((PublishErrorKind::TimedOut, _)) => {
            Err(format!("nothing answers to {subject}: these credentials may not publish there"))
        }
        Err((_, why)) => Err(format!("{subject}: {why}")),
    }
}

/// Asks where a collector reads; what was found.
///
/// # Errors
/// Why nothing could be read.
pub async fn collect(broker: &Broker) -> Result<String, String> {
    let client = broker::connect(broker, "nta doctor").await?;
    let version = client.server_info().version;
    let account = async_nats::jetstream::new(client).query_account().await;
    let account = account.map_err(|error| format!("{}: no JetStream: {}", broker.url, chain(&error)))?;
    Ok(format!("{}: NATS {} with JetStream, {} streams", broker.url, version.escape_debug(), account.streams))
}

/// A message of packets with the number 0, which there is not, is refused as that once all else was accepted: that the token is for this sensor
/// too. Of a server that does not read packets nothing is known of that.
async fn server(config: &ShipConfig, sensor: Option<&str>) -> Result<String, String> {
    let uri = config.to.ingest().ok_or("ship.to is empty")?;
    let client = Client::new(trusted(&config.authorities()?), true);
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(config.token()?.map(|token| ("authorization", format!("Bearer {token}"))));
    let sensor = sensor.unwrap_or("doctor");
    let none = serde_json::json!({ "sensor": sensor, "epoch": "doctor", "sequence": 0, "packets": [] });
    let to = &config.to;
    match client.exchange_within((PATIENCE, MOST_ANSWER), &uri, &headers, none.to_string().into_bytes()).await {
        Err(refused) if refused.status == Some(StatusCode::BAD_REQUEST) && refused.reason.contains("sequence") => {
            Ok(format!("{to}: it answers, and takes messages of {sensor}"))
        }
        Err(refused) if refused.status == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
            Ok(format!("{to}: it answers, and lets this sensor's token in"))
        }
        Err(failure) => Err(format!("{to}: {}", failure.reason)),
        Ok(_) => Err(format!("{to}: what answers is no server of nta")),
    }
}
