//! The stream that sensors publish to and the consumer that collectors share: made where they are not there, else left as they are.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::config::CollectConfig;
use crate::sink::ship::broker::{self, chain};

/// Its name.
const STREAM: &str = "NTA_SHIP";
/// The consumer's.
const CONSUMER: &str = "nta-collect";
/// After so long without a word another collector gets a message.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(20);
/// Messages that all collectors may have at a time.
const MOST_PENDING: i64 = 1024;

/// Sees to both.
///
/// # Errors
/// When JetStream is off, or does not allow it.
pub(super) async fn ensure(client: &Client, config: &CollectConfig) -> Result<PullConsumer, String> {
    let failed = |what: &str, error: &dyn std::error::Error| format!("{what} cannot be had: {}", chain(error));
    // What is stored leaves it; what does not fit stays with the sensors.
    let stream = Config {
        name: STREAM.to_owned(),
        description: Some("what sensors of nta ship; nta-daemon collect reads it".to_owned()),
        subjects: vec![format!("{}.>", broker::SHIP)],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(config.max_bytes).unwrap_or(i64::MAX),
        num_replicas: usize::try_from(config.replicas).unwrap_or(1),
        storage: StorageType::File,
        ..Config::default()
    };
    let stream = jetstream::new(client.clone()).get_or_create_stream(stream).await;
    let stream = stream.map_err(|error| failed("the stream NTA_SHIP", &error))?;
    let consumer = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MOST_PENDING,
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer(CONSUMER, consumer).await;
    consumer.map_err(|error| failed("the consumer nta-collect", &error))
}
