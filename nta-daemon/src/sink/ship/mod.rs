//! Ships what a sensor stores to a server: batches out of the outbox, in their order, until the server's watermark has passed them.
//!
//! At least once from here, stored once there. Whatever fails is tried again with growing waits; what waits is in the database and bounded
//! there. A message without batches says every few seconds that the sensor is alive, and how far it is behind.

pub mod broker;
mod nats;
pub mod probe;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use rand::RngExt as _;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Standing;
use super::webhook::http::{Client, trusted};
use super::webhook::{Failure, now_ns};
use crate::config::{Broker, ShipConfig};
use crate::store::{About, Head, MESSAGE_BYTES, NumberRange, Outbox, OutboxState, Store, StoreError};
use nta_core::domain::Timestamp;
use settings::{SettingsAnswer, Trust};
pub use settings::{ShipSettings, sign, sign_by_key};

/// Content type of a message.
pub const CONTENT_TYPE: &str = "application/octet-stream";
/// Time for a message and its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 256 << 10;
/// Wait after the first failure; doubles with each, and is half of it to all of it by chance.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// Longest wait between attempts: a server that is back hears of a sensor within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often the server hears of a sensor that has nothing new.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often the same missing numbers are sent again.
const RESEND_EVERY: Duration = Duration::from_secs(60);
/// Characters of a reason that are passed on.
const MOST_TEXT: usize = 300;
/// Reasons that are passed on.
const MOST_REASONS: usize = 16;

/// How shipping goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShippingState {
    /// The server.
    pub to: String,
    /// Why nothing can be shipped at all.
    pub unusable: Option<String>,
    /// Batches that the server took since the start.
    pub sent: u64,
    /// Bytes of messages that it took.
    pub sent_bytes: u64,
    /// When it answered last.
    pub last_ok: Option<Timestamp>,
    /// When and why it failed last.
    pub last_error: Option<(Timestamp, String)>,
    /// Failures since the last success.
    pub failures: u32,
    /// Failures since the start.
    pub all_failures: u64,
    /// What waited when it was looked at last: with each attempt, and when all was taken.
    pub outbox: OutboxState,
    /// Up to this number the server has all.
    pub watermark: u64,
    /// Number of the server's settings that are followed.
    pub settings: u64,
    /// Number of those that were refused last.
    pub refused_settings: u64,
}

/// Who ships; clones share it.
#[derive(Clone, Debug)]
pub struct Shipping(Arc<Shared>);

struct Shared {
    store: Store,
    sensor: String,
    configured: Outbox,
    /// Bytes a second that are configured.
    configured_pace: u64,
    target: Result<Way, String>,
    /// Nkeys whose settings are followed over NATS.
    settings_keys: Vec<String>,
    /// When NATS is taken to have lost what is not stored.
    resend_after: Duration,
    /// Bytes a second: what is configured, until the server says otherwise.
    pace: Mutex<u64>,
    state: Mutex<ShippingState>,
}

/// Where to.
enum Way {
    /// A server.
    Http(Target),
    /// A stream that collectors read.
    Nats(Broker),
}

struct Target {
    client: Client,
    uri: Uri,
    token: Option<String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipping").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What the server answers.
#[derive(Debug, Deserialize)]
struct Answer {
    epoch: String,
    watermark: u64,
    missing: Vec<NumberRange>,
    refused: Vec<RefusedBatch>,
    settings: Option<SettingsAnswer>,
}

#[derive(Debug, Deserialize)]
struct RefusedBatch {
    number: u64,
    reason: String,
}

/// What a sensor ships by its configuration.
pub const fn outbox(config: &ShipConfig) -> Outbox {
    Outbox { flows: config.flows, raw_packets: config.headers, max_bytes: config.max_bytes }
}

impl Shipping {
    /// Ships as configured. Where token or certificates cannot be read it says so, and all waits.
    pub fn new(store: Store, sensor: String, config: &ShipConfig) -> Self {
        let target = || {
            if let Some(broker) = config.broker() {
                broker.credentials()?;
                broker::subject(broker::SHIP, &sensor)?;
                return Ok(Way::Nats(broker));
            }
            let uri = config.to.ingest().ok_or("ship.to is empty")?;
            let client = Client::new(trusted(&config.authorities()?), true);
            Ok(Way::Http(Target { client, uri, token: config.token()? }))
        };
        let target: Result<Way, String> = target();
        let unusable = target.as_ref().err().cloned();
        if let Some(reason) = &unusable {
            tracing::error!(reason, "ship: nothing is shipped, and waits");
        }
        let state = ShippingState { to: config.to.to_string(), unusable, ..ShippingState::default() };
        let configured_pace = config.max_bytes_per_s;
        let (pace, state) = (Mutex::new(configured_pace), Mutex::new(state));
        let (configured, resend_after) = (outbox(config), Duration::from_secs(config.resend_after_s));
        let settings_keys = config.settings_keys.clone();
        Self(Arc::new(Shared {
            store,
            sensor,
            configured,
            configured_pace,
            target,
            settings_keys,
            resend_after,
            pace,
            state,
        }))
    }

    /// Ships until `stop`. Needs a tokio runtime.
    pub fn start(&self, standing: Standing, stop: &CancellationToken) {
        let (shared, stop) = (Arc::clone(&self.0), stop.clone());
        tokio::spawn(async move {
            let ships = async {
                match &shared.target {
                    Ok(Way::Http(target)) => shared.follow(target, &standing).await,
                    Ok(Way::Nats(broker)) => nats::follow(&shared, broker, &standing).await,
                    Err(_said) => {}
                }
            };
            stop.run_until_cancelled(ships).await
        });
    }

    /// How it goes; asks nobody.
    pub fn state(&self) -> ShippingState {
        self.0.state().clone()
    }

    /// Why it does not go, once it has not for a while.
    pub fn trouble(&self) -> Option<String> {
        let state = self.0.state();
        if let Some(reason) = &state.unusable {
            return Some(format!("nothing is shipped to {}: {reason}", state.to));
        }
        let (at, reason) = state.last_error.as_ref().filter(|_| state.failures > 2)?;
        Some(format!("{} takes nothing (last tried at {at}): {reason}; it waits", state.to))
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, ShippingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(&self, target: &Target, standing: &Standing) {
        let mut commits = self.store.commits();
        let mut sender = Sender { shared: self, target, next: None, most: MESSAGE_BYTES, resent: None };
        let mut wait = FIRST_WAIT;
        loop {
            match sender.send(&standing.reasons()).await {
                Ok(sent) => {
                    wait = FIRST_WAIT;
                    self.pause_after(sent.bytes).await;
                    if !sent.has_more {
                        let _changed = tokio::time::timeout(HEARTBEAT, commits.changed()).await;
                    }
                }
                Err(failure) => {
                    self.note(&failure.reason);
                    tokio::time::sleep(failure.retry_after.unwrap_or_default().max(by_chance(wait))).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Waits for as long as so many bytes may take.
    async fn pause_after(&self, bytes: u64) {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pause) = (bytes * 1000).checked_div(pace) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn note(&self, reason: &str) {
        let mut state = self.state();
        if state.failures == 0 {
            tracing::warn!(to = state.to, reason, "ship: the server takes nothing; it is tried again and all waits");
        }
        state.failures = state.failures.saturating_add(1);
        state.all_failures += 1;
        state.last_error = Some((Timestamp::from_nanos(now_ns()), reason.to_owned()));
    }

    /// What a message says beside its batches.
    fn head(&self, epoch: String, outbox: &OutboxState, reasons: &[String]) -> Head {
        let about = self.about(outbox, reasons);
        Head { sensor: self.sensor.clone(), epoch, sent: Timestamp::from_nanos(now_ns()), about }
    }

    fn about(&self, outbox: &OutboxState, reasons: &[String]) -> About {
        let short = |reason: &String| reason.chars().take(MOST_TEXT).collect();
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pending_batches: outbox.pending,
            pending_bytes: outbox.bytes,
            pending_since_ns: outbox.since.map(Timestamp::as_nanos),
            given_up: outbox.given_up.batches,
            failed: outbox.failed,
            reasons: reasons.iter().take(MOST_REASONS).map(short).collect(),
            settings: self.state().settings,
        }
    }

    /// Whether the answer knows numbers that this database never gave: it is a copy of before, and its log begins anew.
    async fn is_of_before(&self, answer: &Answer, outbox: &OutboxState) -> Result<bool, StoreError> {
        if answer.watermark <= outbox.newest {
            return Ok(false);
        }
        let epoch = self.store.begin_epoch().await?;
        tracing::warn!(
            known = answer.watermark,
            newest = outbox.newest,
            epoch,
            "ship: the server knows batches that this database never had (it is one of before): they are told apart by a new log"
        );
        Ok(true)
    }

    /// Counts what was taken.
    fn took(&self, batches: u64, bytes: u64, watermark: u64) {
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(to = state.to, "ship: the server takes batches again");
        }
        state.failures = 0;
        state.sent += batches;
        state.sent_bytes += bytes;
        state.last_ok = Some(Timestamp::from_nanos(now_ns()));
        state.watermark = watermark;
    }
}

/// Half of a wait to all of it.
fn by_chance(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// What was sent.
struct Sent {
    bytes: u64,
    has_more: bool,
}

struct Sender<'a> {
    shared: &'a Shared,
    target: &'a Target,
    /// The number that is sent next; `None` before the server has said what it has.
    next: Option<u64>,
    /// Bytes of a message before it is compressed; less than usual where something on the way took no larger one.
    most: u64,
    /// Missing numbers that were sent again, and when.
    resent: Option<(NumberRange, Instant)>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.chain())
    }
}

impl Sender<'_> {
    /// Sends one message, and takes up what the server answers.
    async fn send(&mut self, reasons: &[String]) -> Result<Sent, Failure> {
        let store = &self.shared.store;
        let (outbox, log) = (store.outbox_state().await?, store.log_state().await?);
        self.shared.state().outbox = outbox.clone();
        let from = self.next.unwrap_or(outbox.newest + 1);
        let head = self.shared.head(log.epoch, &outbox, reasons);
        let shipment = store.shipment(from, self.most, head, &outbox).await?;
        let (range, bytes) = (shipment.range(), shipment.encode()?);
        let length = bytes.len() as u64;
        let mut headers = vec![("content-type", CONTENT_TYPE.to_owned())];
        headers.extend(self.target.token.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
        let exchange = self.target.client.exchange_within((PATIENCE, MOST_ANSWER), &self.target.uri, &headers, bytes);
        let answer = match (exchange.await, range) {
            (Err(failure), Some(range)) if failure.is_too_large => {
                self.divide(range, length, &failure.reason).await?;
                return Ok(Sent { bytes: length, has_more: true });
            }
            (answer, _) => answer?,
        };
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Failure::new(format!("the answer is none of a server of nta: {error}")))?;
        if self.shared.is_of_before(&answer, &outbox).await? {
            self.next = None;
            return Ok(Sent { bytes: length, has_more: true });
        }
        for RefusedBatch { number, reason } in &answer.refused {
            store.refuse_batch(*number, reason).await?;
        }
        store.acknowledge_outbox(answer.watermark).await?;
        if let Some(settings) = &answer.settings {
            self.shared.obey(Trust::Token(self.target.token.as_deref()), settings);
        }
        let behind = range.map_or(answer.watermark, |(_, last)| last).max(answer.watermark) + 1;
        let next = self.missing(&answer.missing, &outbox).unwrap_or(behind);
        self.next = Some(next);
        let has_more = next <= outbox.newest;
        let left = if has_more { None } else { store.outbox_state().await.ok() };
        self.shared.took(range.map_or(0, |(first, last)| last - first + 1), length, answer.watermark);
        self.shared.state().outbox = left.unwrap_or(outbox);
        Ok(Sent { bytes: length, has_more })
    }

    /// A message of these batches is too large: fewer go at a time, and one that is too large alone is set aside.
    async fn divide(&mut self, (first, last): (u64, u64), bytes: u64, reason: &str) -> Result<(), StoreError> {
        if first < last {
            self.most = (self.most / 2).max(1);
            tracing::info!(bytes, reason, most = self.most, "ship: messages get smaller, one was too large");
            return Ok(());
        }
        self.next = Some(first + 1);
        let reason =
            format!("it takes {bytes} bytes alone, and the server or a proxy takes no message as large: {reason}");
        self.shared.store.refuse_batch(first, &reason).await
    }

    /// The first number that the server misses and that is still here, unless it was sent again just now.
    fn missing(&mut self, missing: &[NumberRange], outbox: &OutboxState) -> Option<u64> {
        let hole = *missing.iter().find(|hole| hole.last >= outbox.oldest)?;
        if self.resent.is_some_and(|(known, at)| known == hole && at.elapsed() < RESEND_EVERY) {
            return None;
        }
        self.resent = Some((hole, Instant::now()));
        tracing::warn!(first = hole.first, last = hole.last, "ship: the server misses batches; they are sent again");
        Some(hole.first.max(outbox.oldest))
    }
}
