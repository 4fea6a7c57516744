//! `collect`: reads what sensors publish to a stream of NATS, stores it, and says on each sensor's own subject how far the store is.
//!
//! It keeps nothing: the store knows what it has, the stream what is not acknowledged. Several of them share the work. A message is acknowledged once
//! it is committed; killed in between, it comes again and adds nothing.

mod counts;
mod serve;
mod stream;
mod webhooks;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use async_nats::{Client, HeaderMap};
use futures_util::{FutureExt as _, StreamExt as _, future};
use nkeys::KeyPair;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::capture::clock;
use crate::config::CollectConfig;
use crate::service::Beat;
use crate::sink::ship::broker::{self, chain};
use crate::store::{Shipment, Store, StoreError};
pub use counts::{Counts, CountsNow, Reading};
pub use serve::{CollectError, collect};

/// Messages that are asked for at a time, and their bytes, more than one message has: by so many one that is killed holds the others up for
/// [`stream::ACK_WAIT`].
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 10 << 20;
/// What has come of them is stored in one transaction, until it has so many bytes: some ten thousand windows, for which no other
/// collector waits longer than it may for a lock.
const BYTES_TOGETHER: usize = 2 << 20;
/// The same of what they are once they are decompressed, in memory.
const MEMORY_TOGETHER: u64 = 64 << 20;
/// How long the stream may take to have some.
const ASK_FOR: Duration = Duration::from_secs(5);
/// Wait after a failure; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait: within a third of the time by which another collector would take a message over.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// One that reads; made by [`Collector::connect`].
#[derive(Debug)]
pub struct Collector {
    store: Store,
    client: Client,
    config: CollectConfig,
    /// What settings are signed with.
    key: Option<KeyPair>,
    counts: Counts,
    /// Fed as it reads, or tries to.
    beat: Mutex<Beat>,
}

impl Collector {
    /// Connects, and makes stream and consumer where they are not there.
    ///
    /// # Errors
    /// When NATS lets nobody in, is too old, or has no JetStream.
    pub async fn connect(store: Store, config: &CollectConfig, counts: Counts) -> Result<Self, String> {
        let client = broker::connect(&config.broker(), "nta collector").await?;
        let key = config.broker().key_pair()?;
        counts.reads_by(client.clone());
        let beat = Mutex::new(Beat::of_a_loop());
        let collector = Self { store, client, config: config.clone(), key, counts, beat };
        collector.consumer().await?;
        collector.counts.can_read();
        Ok(collector)
    }

    /// Reads until `stop`, and ends with the message that it is at.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut wait = FIRST_WAIT;
        while !stop.is_cancelled() {
            self.turned();
            let read = async {
                self.check_connection()?;
                let consumer = self.consumer().await?;
                self.read(&consumer, stop, &mut wait).await
            };
            if let Err(reason) = read.await {
                self.counts.cannot_read(&reason);
                tracing::warn!(reason, "collect: nothing can be read; it is tried again");
                let _stopped = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    /// What the watchdog is fed by.
    fn turned(&self) {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner).turned(false);
    }

    /// Requests wait for a connection and batches end without an error where there is none.
    fn check_connection(&self) -> Result<(), String> {
        let is_there = self.client.connection_state() == State::Connected;
        is_there.then_some(()).ok_or_else(|| "there is no connection to any of them".to_owned())
    }

    async fn consumer(&self) -> Result<PullConsumer, String> {
        broker::check_version(&self.client, &self.config.broker())?;
        stream::ensure(&self.client, &self.config).await
    }

    async fn read(&self, consumer: &PullConsumer, stop: &CancellationToken, wait: &mut Duration) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("messages cannot be asked for: {error}");
        while !stop.is_cancelled() {
            self.turned();
            let messages =
                consumer.batch().max_messages(AT_ONCE).max_bytes(BYTES_AT_ONCE).expires(ASK_FOR).messages().await;
            let mut messages = messages.map_err(|error| failed(&error))?;
            while let Some(Some(message)) = stop.run_until_cancelled(messages.next()).await {
                let message = message.map_err(|error| failed(&error))?;
                let (mut bytes, mut come) = (message.payload.len(), vec![message]);
                while bytes < BYTES_TOGETHER
                    && let Some(Some(message)) = messages.next().now_or_never()
                {
                    let message = message.map_err(|error| failed(&error))?;
                    bytes += message.payload.len();
                    come.push(message);
                }
                self.take(come, stop).await;
                self.turned();
                self.counts.can_read();
                *wait = FIRST_WAIT;
            }
            if stop.is_cancelled() {
                // Others take these at once.
                while let Some(Some(Ok(message))) = messages.next().now_or_never() {
                    let _comes_again = message.ack_with(AckKind::Nak(None)).await;
                }
                break;
            }
            self.check_connection()?;
            self.counts.can_read();
        }
        let _flushed = self.client.flush().await;
        Ok(())
    }

    /// Stores messages, answers their sensors and acknowledges them. One that can never be stored is ended, and said.
    async fn take(&self, come: Vec<Message>, stop: &CancellationToken) {
        let (mut messages, mut shipments, mut bytes) = (Vec::new(), Vec::new(), 0);
        for message in come {
            let sensor = sensor_of(&message);
            match Shipment::decode(&message.payload) {
                Ok(shipment) if shipment.sensor == sensor => {
                    bytes += shipment.bytes();
                    messages.push(message);
                    shipments.push(shipment);
                }
                Ok(other) => {
                    let reason =
                        format!("it is of the sensor `{}`, and came on the subject of `{sensor}`", other.sensor);
                    self.end(&message, &reason).await;
                }
                Err(error) => self.end(&message, &error.to_string()).await,
            }
            if bytes >= MEMORY_TOGETHER {
                self.store(&std::mem::take(&mut messages), &std::mem::take(&mut shipments), stop).await;
                bytes = 0;
            }
        }
        self.store(&messages, &shipments, stop).await;
    }

    async fn store(&self, messages: &[Message], shipments: &[Shipment], stop: &CancellationToken) {
        if messages.is_empty() {
            return;
        }
        let Some(taken) = self.try_to_store(messages, shipments, stop).await else { return };
        let ended = messages.iter().zip(taken).map(|(message, taken)| async move {
            match taken {
                Ok(taken) => self.acknowledge(message, taken).await,
                Err(error) => self.end(message, &error.chain()).await,
            }
        });
        future::join_all(ended).await;
    }

    async fn acknowledge(&self, message: &Message, taken: api::Taken) {
        self.counts.stored(taken.stored, taken.doubles, message.payload.len() as u64);
        self.answer(message, taken.answer).await;
        if let Err(error) = message.double_ack().await {
            self.counts.unacknowledged();
            let sensor = sensor_of(message);
            tracing::warn!(sensor, %error, "collect: a stored message is not acknowledged: it comes again, and adds nothing");
        }
    }

    /// Tries for a while to store them; `None` where they come again later, to this one or another.
    async fn try_to_store(
        &self,
        messages: &[Message],
        shipments: &[Shipment],
        stop: &CancellationToken,
    ) -> Option<Vec<Result<api::Taken, StoreError>>> {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match api::ingest(&self.store, shipments, clock::now(), self.key.as_ref()).await {
                Ok(taken) => return Some(taken),
                Err(error) => error,
            };
            self.counts.waited();
            self.turned();
            tracing::warn!(error = error.chain(), "collect: the store takes nothing; it is tried again");
            say(messages, AckKind::Progress).await;
            let is_stopped = stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none();
            if is_stopped || wait == LONGEST_WAIT {
                say(messages, AckKind::Nak((!is_stopped).then_some(stream::ACK_WAIT))).await;
                return None;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Has a message never come again, and tells its sensor.
    async fn end(&self, message: &Message, reason: &str) {
        let sensor = sensor_of(message);
        self.counts.ended();
        let bytes = message.payload.len();
        tracing::error!(sensor, bytes, reason, "collect: a message can never be stored, it is taken out of the stream");
        let problem = serde_json::json!({"problem": format!("a collector does not take the message: {reason}")});
        self.answer(message, problem.to_string().into_bytes()).await;
        if let Err(error) = message.double_ack_with(AckKind::Term).await {
            tracing::warn!(sensor, %error, "collect: it may come again");
        }
    }

    /// An answer that is lost comes with the sensor's next heartbeat.
    async fn answer(&self, message: &Message, answer: Vec<u8>) {
        let sensor = sensor_of(message);
        let Ok(subject) = broker::subject(broker::ACK, sensor) else { return };
        let mut headers = HeaderMap::new();
        if let Some(sent) = message.headers.as_ref().and_then(|headers| headers.get(broker::SENT)) {
            headers.insert(broker::SENT, sent.clone());
        }
        if let Err(error) = self.client.publish_with_headers(subject, headers, answer.into()).await {
            tracing::warn!(sensor, error = chain(&error), "collect: not answered");
        }
    }
}

/// On whose subject a message came.
fn sensor_of(message: &Message) -> &str {
    let sensor = message.subject.as_str().strip_prefix(broker::SHIP).and_then(|rest| rest.strip_prefix('.'));
    sensor.unwrap_or_default()
}

/// Says the same of all of them. What is not heard of comes again, and adds nothing.
async fn say(messages: &[Message], what: AckKind) {
    for message in messages {
        let _comes_again = message.ack_with(what).await;
    }
}
