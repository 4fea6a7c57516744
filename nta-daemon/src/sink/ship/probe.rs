//! Whether a server, or NATS, can be reached and lets this one in: asked without shipping anything.

use std::time::Duration;

use axum::http::StatusCode;

use super::broker::{self, chain};
use super::{CONTENT_TYPE, Client, MOST_ANSWER, trusted};
use crate::config::{Broker, ShipConfig};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks whom a sensor ships to; what was found.
///
/// # Errors
/// Why nothing would be taken.
pub async fn ship(config: &ShipConfig, sensor: Option<&str>) -> Result<String, String> {
    let Some(broker) = config.broker() else { return server(config).await };
    sensor.map_or(Ok(String::new()), |name| broker::subject(broker::SHIP, name))?;
    let client = broker::connect(&broker, "nta doctor").await?;
    let (version, most) = (client.server_info().version, client.max_payload());
    Ok(format!("{}: NATS {}, takes messages of at most {most} bytes", broker.url, version.escape_debug()))
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

/// A body that is no message is refused as that, once all else was accepted.
async fn server(config: &ShipConfig) -> Result<String, String> {
    let uri = config.to.ingest().ok_or("ship.to is empty")?;
    let client = Client::new(trusted(&config.authorities()?), true);
    let mut headers = vec![("content-type", CONTENT_TYPE.to_owned())];
    headers.extend(config.token()?.map(|token| ("authorization", format!("Bearer {token}"))));
    let to = &config.to;
    match client.exchange_within((PATIENCE, MOST_ANSWER), &uri, &headers, Vec::new()).await {
        Err(refused) if refused.status == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
            Ok(format!("{to}: it answers, and lets this sensor's token in"))
        }
        Err(failure) => Err(format!("{to}: {}", failure.reason)),
        Ok(_) => Err(format!("{to}: what answers is no server of nta")),
    }
}
