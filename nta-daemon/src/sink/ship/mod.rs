//! Ships what a sensor stores to a server: batches out of the outbox, in their order, until the server's watermark has passed them.
//!
//! At least once from here, stored once there. Whatever fails is tried again with growing waits; what waits is in the database and bounded
//! there. A message without batches says every few seconds that the sensor is alive, and how far it is behind.

pub mod broker;
mod http;
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
use settings::SettingsAnswer;
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
/// How often the end of a daemon looks whether all is shipped.
const SETTLE_EVERY: Duration = Duration::from_millis(20);
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
    /// Since when it fails.
    pub failing_since: Option<Instant>,
    /// Failures since the start.
    pub all_failures: u64,
    /// What waited when it was looked at last: with each attempt, and when all was taken.
    pub outbox: OutboxState,
    /// Up to this number the server has all.
    pub watermark: u64,
    /// Number of the server's settings that are followed.
    pub settings: u64,
    /// Number of those that are not followed, as nobody who is believed has signed them; 0 once others are.
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
                    Ok(Way::Http(target)) => http::follow(&shared, target, &standing).await,
                    Ok(Way::Nats(broker)) => nats::follow(&shared, broker, &standing).await,
                    Err(_said) => {}
                }
            };
            stop.run_until_cancelled(ships).await
        });
    }

    /// Waits until the server has all that is stored, for so long at most and while it takes something. What it does not have then goes at the
    /// next start; answers how many batches that are.
    pub async fn settle(&self, within: Duration) -> u64 {
        let takes = || {
            let state = self.0.state();
            state.unusable.is_none() && state.failures == 0
        };
        let waiting = async || self.0.store.outbox_state().await.map_or(0, |outbox| outbox.pending);
        let all = async {
            while takes() && waiting().await > 0 {
                tokio::time::sleep(SETTLE_EVERY).await;
            }
        };
        let _late = tokio::time::timeout(within, all).await;
        waiting().await
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
        let lasts = state.failing_since.is_some_and(|since| since.elapsed() > PATIENCE);
        if let Some((at, reason)) = state.last_error.as_ref().filter(|_| state.failures > 2 || lasts) {
            return Some(format!("{} takes nothing (last tried at {at}): {reason}; it waits", state.to));
        }
        (state.refused_settings > 0).then(|| {
            format!(
                "the settings {} that {} wants are not followed: nobody has signed them who is believed, or they are none",
                state.refused_settings, state.to
            )
        })
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, ShippingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may be sent a second; 0 is no bound.
    fn pace(&self) -> u64 {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, reason: &str) {
        let mut state = self.state();
        if state.failures == 0 {
            tracing::warn!(to = state.to, reason, "ship: the server takes nothing; it is tried again and all waits");
        }
        state.failing_since.get_or_insert_with(Instant::now);
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
        (state.failures, state.failing_since) = (0, None);
        state.sent += batches;
        state.sent_bytes += bytes;
        state.last_ok = Some(Timestamp::from_nanos(now_ns()));
        state.watermark = watermark;
    }
}

/// What was sent last, for as long as it takes by the pace.
#[derive(Clone, Copy, Debug)]
struct Pace {
    bytes: u64,
    at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes: 0, at: Instant::now() }
    }
}

impl Pace {
    fn sent(&mut self, bytes: u64) {
        *self = Self { bytes, at: Instant::now() };
    }

    /// When more may be sent at so many bytes a second, which may have changed meanwhile.
    fn due(&self, pace: u64) -> Instant {
        let pause_ms = self.bytes.saturating_mul(1000).checked_div(pace).unwrap_or_default();
        self.at + Duration::from_millis(pause_ms.min(MOST_PAUSE_MS))
    }
}

/// The longest pause: a message as large as may be at the slowest pace would take half a day.
const MOST_PAUSE_MS: u64 = 86_400_000;

/// Half of a wait to all of it.
fn by_chance(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.chain())
    }
}
