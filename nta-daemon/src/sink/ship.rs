//! Ships what a sensor stores to a server: batches out of the outbox, in their order, until the server's watermark has passed them.
//!
//! At least once from here, stored once there. Whatever fails is tried again with growing waits; what waits is in the database and bounded
//! there. A message without batches says every few seconds that the sensor is alive, and how far it is behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::webhook::http::{Client, trusted};
use super::webhook::{Failure, now_ns};
use crate::config::ShipConfig;
use crate::store::{About, Head, MESSAGE_BYTES, NumberRange, Outbox, OutboxState, Store, StoreError};
use nta_core::domain::{Status, Timestamp};

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
    target: Result<Target, String>,
    /// Bytes a second: what is configured, until the server says otherwise.
    pace: Mutex<u64>,
    state: Mutex<ShippingState>,
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

#[derive(Debug, Deserialize)]
struct SettingsAnswer {
    version: u64,
    /// JSON, as it was signed.
    text: String,
    /// HMAC-SHA-256 in hexadecimal digits.
    signature: Option<String>,
}

/// What a server may have a sensor do otherwise than it is configured; what is null stays as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShipSettings {
    /// Whether flows are shipped.
    pub flows: Option<bool>,
    /// Whether heads of frames are.
    pub headers: Option<bool>,
    /// Most bytes a second.
    pub max_bytes_per_s: Option<u64>,
}

/// The signature of settings for who shows a token with this hash.
pub fn sign(token_hash: &[u8; 32], version: u64, text: &str) -> String {
    mac(token_hash, version, text)
        .finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |all, byte| format!("{all}{byte:02x}"))
}

fn mac(token_hash: &[u8; 32], version: u64, text: &str) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token_hash) else { unreachable!("a key of any length is taken") };
    mac.update(format!("{version}.").as_bytes());
    mac.update(text.as_bytes());
    mac
}

/// What a sensor ships by its configuration.
pub const fn outbox(config: &ShipConfig) -> Outbox {
    Outbox { flows: config.flows, raw_packets: config.headers, max_bytes: config.max_bytes }
}

impl Shipping {
    /// Ships as configured. Where token or certificates cannot be read it says so, and all waits.
    pub fn new(store: Store, sensor: String, config: &ShipConfig) -> Self {
        let target = || {
            let uri = config.to.ingest().ok_or("ship.to is empty")?;
            let client = Client::new(trusted(&config.authorities()?), true);
            Ok(Target { client, uri, token: config.token()? })
        };
        let target: Result<Target, String> = target();
        let unusable = target.as_ref().err().cloned();
        if let Some(reason) = &unusable {
            tracing::error!(reason, "ship: nothing is shipped, and waits");
        }
        let state = ShippingState { to: config.to.to_string(), unusable, ..ShippingState::default() };
        let configured_pace = config.max_bytes_per_s;
        let (pace, state) = (Mutex::new(configured_pace), Mutex::new(state));
        Self(Arc::new(Shared { store, sensor, configured: outbox(config), configured_pace, target, pace, state }))
    }

    /// Ships until `stop`. Needs a tokio runtime.
    pub fn start(&self, status: watch::Receiver<Status>, stop: &CancellationToken) {
        let (shared, stop) = (Arc::clone(&self.0), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(shared.follow(status)).await });
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

    async fn follow(&self, status: watch::Receiver<Status>) {
        let Ok(target) = &self.target else { return };
        let mut commits = self.store.commits();
        let mut sender = Sender { shared: self, target, next: None, most: MESSAGE_BYTES, resent: None };
        let mut wait = FIRST_WAIT;
        loop {
            let reasons = status.borrow().degraded.clone();
            match sender.send(&reasons).await {
                Ok(sent) => {
                    wait = FIRST_WAIT;
                    let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(pause) = (sent.bytes * 1000).checked_div(pace) {
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                    if !sent.has_more {
                        let _changed = tokio::time::timeout(HEARTBEAT, commits.changed()).await;
                    }
                }
                Err(failure) => {
                    self.note(&failure.reason);
                    let by_chance = rand::rng().random_range(0.5..=1.0);
                    tokio::time::sleep(failure.retry_after.unwrap_or_default().max(wait.mul_f64(by_chance))).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
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

    /// Follows what the server wants, if it is the server that wants it.
    fn obey(&self, target: &Target, settings: &SettingsAnswer) {
        if settings.version == self.state().settings {
            return;
        }
        let is_signed = match (&target.token, &settings.signature) {
            (Some(token), Some(signature)) => {
                sign(&Sha256::digest(token).into(), settings.version, &settings.text) == *signature
            }
            // Without a token anybody may speak for the server, on the loopback.
            (token, _) => token.is_none(),
        };
        let wanted = serde_json::from_str::<ShipSettings>(&settings.text);
        let (true, Ok(wanted)) = (is_signed, wanted) else {
            tracing::warn!(version = settings.version, is_signed, "ship: the server's settings are not followed");
            self.state().settings = settings.version;
            return;
        };
        let configured = self.configured;
        self.store.change_outbox(|outbox| {
            outbox.flows = wanted.flows.unwrap_or(configured.flows);
            outbox.raw_packets = wanted.headers.unwrap_or(configured.raw_packets);
        });
        let pace = wanted.max_bytes_per_s.unwrap_or(self.configured_pace);
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
        self.state().settings = settings.version;
        tracing::info!(
            version = settings.version,
            settings = settings.text,
            "ship: the server's settings are followed"
        );
    }
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
        let head = Head {
            sensor: self.shared.sensor.clone(),
            epoch: log.epoch,
            sent: Timestamp::from_nanos(now_ns()),
            about: self.about(&outbox, reasons),
        };
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
        if answer.watermark > outbox.newest {
            let epoch = store.begin_epoch().await?;
            tracing::warn!(
                known = answer.watermark,
                newest = outbox.newest,
                epoch,
                "ship: the server knows batches that this database never had (it is one of before): they are told apart by a new log"
            );
            self.next = None;
            return Ok(Sent { bytes: length, has_more: true });
        }
        for RefusedBatch { number, reason } in &answer.refused {
            store.refuse_batch(*number, reason).await?;
        }
        store.acknowledge_outbox(answer.watermark).await?;
        if let Some(settings) = &answer.settings {
            self.shared.obey(self.target, settings);
        }
        let behind = range.map_or(answer.watermark, |(_, last)| last).max(answer.watermark) + 1;
        let next = self.missing(&answer.missing, &outbox).unwrap_or(behind);
        self.next = Some(next);
        let has_more = next <= outbox.newest;
        let left = if has_more { None } else { store.outbox_state().await.ok() };
        let mut state = self.shared.state();
        if state.failures > 0 {
            tracing::info!(to = state.to, "ship: the server takes batches again");
        }
        state.failures = 0;
        state.sent += range.map_or(0, |(first, last)| last - first + 1);
        state.sent_bytes += length;
        state.last_ok = Some(Timestamp::from_nanos(now_ns()));
        state.watermark = answer.watermark;
        state.outbox = left.unwrap_or(outbox);
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
            settings: self.shared.state().settings,
        }
    }
}
