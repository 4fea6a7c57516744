//! Webhooks: each follows the event log of its sensor from a cursor of its own, which the database keeps.
//!
//! At least once: the cursor moves when the target has taken an event, or when it was given up. What fails is tried again with growing
//! waits; an event that fails for too long, or that the target refuses for good, becomes a dead letter, which is kept and can be sent again. Events behind it
//! wait in the log, and are passed over only where retention deletes them. Replays tell nobody: only events of live runs are sent.

mod alertmanager;
mod announce;
mod follow;
mod generic;
pub(super) mod http;
mod local;
mod message;
mod pagerduty;
mod signature;
mod slack;
mod smtp;
mod syslog;
mod target;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Secret, WebhookConfig};
use crate::sink::stream::Filter;
use crate::store::{DeadLetter, Store, StoreError, StoredEvent, WebhookRow};
use announce::Told;
use message::Delivery;
use nta_core::domain::Timestamp;
use target::Target;

/// Wait after the first failure; doubles with each, and is half of it to all of it by chance.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why something was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Failure {
    pub(in crate::sink) reason: String,
    /// What was answered, if anything.
    pub(in crate::sink) status: Option<StatusCode>,
    /// Whether the next attempt would fail in the same way.
    is_for_good: bool,
    /// Whether it was refused for its size.
    pub(in crate::sink) is_too_large: bool,
    pub(in crate::sink) retry_after: Option<Duration>,
}

impl Failure {
    pub(in crate::sink) const fn new(reason: String) -> Self {
        Self { reason, status: None, is_for_good: false, is_too_large: false, retry_after: None }
    }

    const fn for_good(reason: String) -> Self {
        Self { reason, status: None, is_for_good: true, is_too_large: false, retry_after: None }
    }
}

/// The wall clock, for headers that say when something was sent.
pub(super) fn now_ns() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// How a webhook does.
#[derive(Clone, Debug)]
pub struct WebhookState {
    /// What is configured.
    pub config: WebhookConfig,
    /// Why it cannot send at all.
    pub unusable: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// What the database knows of it; `None` before it has begun.
    pub row: Option<WebhookRow>,
    /// Dead letters of it.
    pub dead: u64,
}

/// What one has sent since the start.
#[derive(Clone, Debug)]
pub struct WebhookCounts {
    /// Its name.
    pub name: String,
    /// Attempts that were taken.
    pub taken: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that were given up.
    pub dead: u64,
    /// Whether the last attempt failed, or none can be made.
    pub is_failing: bool,
}

/// All webhooks of a sensor; clones share them.
#[derive(Clone, Debug)]
pub struct Webhooks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    sensor: String,
    all: RwLock<Vec<Arc<Webhook>>>,
    /// Since they have begun: what new ones begin with.
    begun: Mutex<Option<Begun>>,
}

/// The run that troubles are events of, and what ends all.
type Begun = (Option<[u8; 16]>, CancellationToken);

struct Webhook {
    config: WebhookConfig,
    /// What its target was made with: a file may hold others later.
    secrets: Result<Vec<Secret>, String>,
    target: Result<Target, String>,
    failures: Mutex<u32>,
    /// Attempts that were taken, attempts that failed, events that were given up.
    counts: [AtomicU64; 3],
    told: tokio::sync::Mutex<Told>,
    /// What follows the log for it, and what ends that.
    task: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(f)
    }
}

impl Webhooks {
    /// Those of the configuration. One whose secrets cannot be read says so, and sends nothing.
    pub fn new(store: Store, sensor: String, configs: &[WebhookConfig]) -> Self {
        let all = configs.iter().map(|config| Arc::new(Webhook::new(config))).collect();
        Self(Arc::new(Shared { store, sensor, all: RwLock::new(all), begun: Mutex::default() }))
    }

    /// Has each of them follow the log until `stop`; that one takes nothing is an event of `run`. Needs a tokio runtime.
    pub fn start(&self, run: Option<[u8; 16]>, stop: &CancellationToken) {
        let begun = (run, stop.clone());
        self.0.all().iter().for_each(|webhook| self.0.begin(webhook, &begun));
        *self.0.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// Has these in the place of the ones of before. One that is the same, with the same secrets, goes on; the others end, and those that
    /// are new begin where the database has them.
    pub async fn replace(&self, configs: &[WebhookConfig]) {
        let before = self.0.all();
        let known = |config: &WebhookConfig| before.iter().find(|known| known.is_of(config)).cloned();
        let now = configs.iter().map(|config| known(config).unwrap_or_else(|| Arc::new(Webhook::new(config))));
        let now: Vec<Arc<Webhook>> = now.collect();
        let is_in = |all: &[Arc<Webhook>], one: &Arc<Webhook>| all.iter().any(|other| Arc::ptr_eq(other, one));
        // Before another begins in its place: how far it is, one alone says.
        for webhook in before.iter().filter(|webhook| !is_in(&now, webhook)) {
            webhook.end().await;
        }
        (*self.0.all.write().unwrap_or_else(PoisonError::into_inner)).clone_from(&now);
        let begun = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(begun) = begun {
            now.iter().filter(|webhook| !is_in(&before, webhook)).for_each(|webhook| self.0.begin(webhook, &begun));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.all().is_empty()
    }

    /// What each has sent since the start; asks nobody.
    pub fn counts(&self) -> Vec<WebhookCounts> {
        let count = |webhook: &Webhook| {
            let [taken, failed, dead] = [0, 1, 2].map(|at| webhook.counts[at].load(Relaxed));
            let is_failing = webhook.target.is_err() || webhook.failures() > 0;
            WebhookCounts { name: webhook.config.name.clone(), taken, failed, dead, is_failing }
        };
        self.0.all().iter().map(|webhook| count(webhook)).collect()
    }

    /// How all of them do.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn states(&self) -> Result<Vec<WebhookState>, StoreError> {
        let mut states = Vec::new();
        for webhook in &self.0.all() {
            let name = &webhook.config.name;
            states.push(WebhookState {
                config: webhook.config.clone(),
                unusable: webhook.target.as_ref().err().cloned(),
                failures: webhook.failures(),
                row: self.0.store.webhook(&self.0.sensor, name).await?,
                dead: self.0.store.count_dead_letters(&self.0.sensor, name).await?,
            });
        }
        Ok(states)
    }

    /// The events that a webhook did not take, the newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letters(&self, name: Option<&str>, limit: u32) -> Result<Vec<DeadLetter>, StoreError> {
        self.0.store.dead_letters(&self.0.sensor, name, limit).await
    }

    /// Sends a test; `None` where there is no such webhook, and why where it is not taken.
    pub async fn test(&self, name: &str) -> Option<Result<(), String>> {
        let webhook = self.find(name)?;
        Some(webhook.send(&Delivery::test(now_ns(), &self.0.sensor)).await.map_err(|failure| failure.reason))
    }

    /// Sends a dead letter again, which then is none any more; `None` where there is none of this number, or its webhook is gone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn retry(&self, id: u64) -> Result<Option<Result<(), String>>, StoreError> {
        let Some(letter) = self.0.store.dead_letter(&self.0.sensor, id).await? else { return Ok(None) };
        let Some(webhook) = self.find(&letter.webhook) else { return Ok(None) };
        let log = self.0.store.log_state().await?;
        match webhook.send(&Delivery::new(&log, &letter.event)).await {
            Ok(()) => {
                self.0.store.delete_dead_letter(id).await?;
                Ok(Some(Ok(())))
            }
            Err(failure) => {
                self.0.store.failed_again(id, &failure.reason, Timestamp::from_nanos(now_ns())).await?;
                Ok(Some(Err(failure.reason)))
            }
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Webhook>> {
        self.0.all().into_iter().find(|webhook| webhook.config.name == name)
    }
}

impl Shared {
    /// Those of now.
    fn all(&self) -> Vec<Arc<Webhook>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(self: &Arc<Self>, webhook: &Arc<Webhook>, (run, stop): &Begun) {
        let (shared, one, stop, run) = (Arc::clone(self), Arc::clone(webhook), stop.child_token(), *run);
        let end = stop.clone();
        let task = tokio::spawn(async move {
            let both = async { tokio::join!(shared.follow(&one, run), shared.announce(&one)) };
            stop.run_until_cancelled(both).await;
        });
        *webhook.task.lock().unwrap_or_else(PoisonError::into_inner) = Some((end, task));
    }
}

impl Webhook {
    fn new(config: &WebhookConfig) -> Self {
        let secrets = config.read_secrets();
        let target = secrets.clone().and_then(|secrets| Target::of(config, &secrets));
        if let Err(reason) = &target {
            tracing::error!(webhook = config.name, reason, "webhook: nothing is sent");
        }
        let (failures, counts, told, task) = Default::default();
        Self { config: config.clone(), secrets, target, failures, counts, told, task }
    }

    /// Whether it is what this configuration, and the file of its secrets, would give.
    fn is_of(&self, config: &WebhookConfig) -> bool {
        self.config == *config && self.secrets.is_ok() && self.secrets == config.read_secrets()
    }

    /// Ends what follows the log for it. An event that is under way is sent again by who begins in its place.
    async fn end(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((end, task)) = task {
            end.cancel();
            let _panicked = task.await;
        }
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), Failure> {
        match &self.target {
            Ok(target) => target.send(delivery).await,
            Err(reason) => Err(Failure::for_good(reason.clone())),
        }
    }

    fn failures(&self) -> u32 {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an attempt went; answers how many had failed before it.
    fn note(&self, failed: bool) -> u32 {
        self.counts[usize::from(failed)].fetch_add(1, Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if failed { failures.saturating_add(1) } else { 0 };
        std::mem::replace(&mut *failures, next)
    }

    fn takes(&self, event: &StoredEvent, sensor: &str) -> bool {
        let is_of = |word: &String| Filter::types_of(word).contains(&event.kind.as_str());
        // Its own trouble would be one more thing that it does not take.
        let is_own =
            event.kind.starts_with("webhook_") && event.body.contains(&format!("\"reason\":\"{} ", self.config.name));
        // Of the alerts that gateways ship they send messages themselves.
        let is_of_several = event.sensor.is_none() && event.kind.starts_with("alert_");
        event.is_live
            && (event.sensor.as_deref() == Some(sensor) || is_of_several)
            && self.config.types.iter().any(is_of)
            && event.severity.is_none_or(|severity| severity >= self.config.min_severity)
            && !is_own
    }
}

#[cfg(test)]
mod follow_tests;
#[cfg(test)]
#[path = "webhook_tests.rs"]
pub(super) mod tests;
