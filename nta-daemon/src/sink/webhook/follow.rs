//! A webhook on its way through the event log. Where it is, it knows itself: what the database does not take of that waits in memory,
//! so that nothing is sent twice while the disk is full. After a restart the database's cursor counts, and what lies behind it is sent again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::RngExt as _;

use super::message::{Delivery, told_as};
use super::{FIRST_WAIT, LONGEST_WAIT, Shared, Webhook, now_ns};
use crate::store::{DeadLetter, LogState, Notice, StoreError, StoredEvent, WebhookRow};
use nta_core::domain::{Severity, Timestamp};

/// Attempts before an event is given up: with the waits between them about forty minutes.
const MAX_ATTEMPTS: u32 = 14;
/// Failures in a row after which it is an event that a webhook takes nothing.
const TROUBLE_AFTER: u32 = 3;
/// Events read from the log at once.
const PAGE: u32 = 100;
/// How often the log is looked at without being told of a commit.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Dead letters, and notices, that wait for the database; of more the oldest are lost, which is logged with their number.
const MOST_UNSAVED: usize = 100;

/// Where a webhook is in the log, and what the database does not have of it.
#[derive(Debug, Default)]
struct Place {
    row: WebhookRow,
    is_saved: bool,
    /// Whether it is an event that it takes nothing, and none yet that it takes events again.
    is_in_trouble: bool,
    letters: VecDeque<DeadLetter>,
    notices: VecDeque<Notice>,
    /// Whether it was logged that the database takes none of it.
    is_failing: bool,
    lost: u64,
}

impl Place {
    fn give_up(&mut self, letter: DeadLetter) {
        self.row.dead = self.row.dead.saturating_add(1);
        self.letters.push_back(letter);
        self.cut();
    }

    fn note(&mut self, notice: Notice) {
        self.notices.push_back(notice);
        self.cut();
    }

    fn cut(&mut self) {
        let too_many = |waiting: usize| waiting.saturating_sub(MOST_UNSAVED);
        let letters = self.letters.drain(..too_many(self.letters.len())).count();
        let notices = self.notices.drain(..too_many(self.notices.len())).count();
        self.lost += (letters + notices) as u64;
    }
}

impl Shared {
    /// Sends what comes, one event after the other.
    pub(super) async fn follow(&self, webhook: &Webhook, run: Option<[u8; 16]>) {
        if webhook.target.is_err() {
            return;
        }
        let (mut commits, mut is_failing, mut place) = (self.store.commits(), false, None);
        loop {
            match self.send_what_is_new(webhook, &mut place, run).await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    let webhook = &webhook.config.name;
                    tracing::warn!(
                        webhook,
                        error = error.chain(),
                        "webhook: the event log cannot be read; it is tried again"
                    );
                }
                Err(_still) => {}
            }
            tokio::select! {
                changed = commits.changed(), if !is_failing => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn send_what_is_new(
        &self,
        webhook: &Webhook,
        known: &mut Option<Place>,
        run: Option<[u8; 16]>,
    ) -> Result<(), StoreError> {
        let name = &webhook.config.name;
        let log = self.store.log_state().await?;
        webhook.told.lock().await.log.clone_from(&log);
        let begun = match known.take() {
            Some(place) => place,
            None => {
                let row = self.store.webhook(&self.sensor, name).await?;
                // One that was in trouble when the daemon ended has the end of that still to come.
                let is_in_trouble = self.store.is_in_trouble(&self.sensor, &format!("webhook/{name}")).await?;
                Place { is_saved: row.is_some(), row: row.unwrap_or_default(), is_in_trouble, ..Place::default() }
            }
        };
        let place = known.insert(begun);
        if place.row.epoch != log.epoch || place.row.cursor > log.newest {
            // A new webhook, or a new log: it begins with what comes from now on.
            (place.row.epoch, place.row.cursor) = (log.epoch.clone(), log.newest);
            place.is_saved = false;
        }
        if place.row.cursor.saturating_add(1) < log.oldest {
            let missed = log.oldest - 1 - place.row.cursor;
            tracing::warn!(webhook = name, missed, "webhook: events were deleted before it took them");
            (place.row.missed, place.row.cursor) = (place.row.missed.saturating_add(missed), log.oldest - 1);
            place.is_saved = false;
        }
        if !place.is_saved {
            self.save(webhook, place, run).await;
        }
        loop {
            let events = self.store.events_after(place.row.cursor, PAGE).await?;
            let Some(last) = events.last().map(|event| event.seq) else { return Ok(()) };
            for event in events.iter().filter(|event| webhook.takes(event, &self.sensor)) {
                // What is told without a number and is under way arrives before that it is over.
                let told_as = told_as(event);
                let mut told = if told_as.is_some() { Some(webhook.told.lock().await) } else { None };
                let has_it = told.as_ref().zip(told_as.as_ref()).is_some_and(|(told, name)| told.has(name));
                if !has_it {
                    self.deliver(webhook, &log, event, place, run).await;
                }
                told.as_mut().zip(told_as).into_iter().for_each(|(told, name)| told.add(name));
                drop(told);
                place.row.cursor = event.seq;
                self.save(webhook, place, run).await;
            }
            if place.row.cursor < last {
                place.row.cursor = last;
                self.save(webhook, place, run).await;
            }
        }
    }

    /// Sends an event until it is taken or given up.
    async fn deliver(
        &self,
        webhook: &Webhook,
        log: &LogState,
        event: &StoredEvent,
        place: &mut Place,
        run: Option<[u8; 16]>,
    ) {
        let (name, delivery) = (&webhook.config.name, Delivery::new(log, event));
        let mut wait = FIRST_WAIT;
        for attempt in 1..=MAX_ATTEMPTS {
            let sent = webhook.send(&delivery).await;
            let (before, at) = (webhook.note(sent.is_err()), Timestamp::from_nanos(now_ns()));
            let failure = match sent {
                Ok(()) => {
                    let row = &mut place.row;
                    (row.delivered, row.last_ok) = (row.delivered.saturating_add(1), Some(at));
                    if std::mem::take(&mut place.is_in_trouble) {
                        tracing::info!(webhook = name, "webhook: it takes events again");
                        let over = format!("{name} takes events again");
                        place.note(Notice::new(at, "webhook_recovered", Severity::Medium, &over));
                    }
                    return;
                }
                Err(failure) => failure,
            };
            place.row.last_error = Some((at, failure.reason.clone()));
            if before == 0 {
                tracing::warn!(webhook = name, reason = failure.reason, "webhook: an event is not taken");
            }
            if before + 1 == TROUBLE_AFTER && !std::mem::replace(&mut place.is_in_trouble, true) {
                let reason = format!("{name} takes no events: {}", failure.reason);
                place.note(Notice::new(at, "webhook_trouble", Severity::Medium, &reason));
            }
            if failure.is_for_good || attempt == MAX_ATTEMPTS {
                webhook.counts[2].fetch_add(1, Relaxed);
                tracing::error!(
                    webhook = name,
                    event = event.seq,
                    reason = failure.reason,
                    "webhook: an event is given up, it is a dead letter"
                );
                return place.give_up(DeadLetter {
                    id: 0,
                    webhook: name.clone(),
                    event: event.clone(),
                    failed: at,
                    attempts: attempt,
                    error: failure.reason,
                });
            }
            self.save(webhook, place, run).await;
            let by_chance = rand::rng().random_range(0.5..=1.0);
            tokio::time::sleep(failure.retry_after.unwrap_or_default().max(wait.mul_f64(by_chance))).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Has the database keep where the webhook is. What it does not take waits for the next time.
    async fn save(&self, webhook: &Webhook, place: &mut Place, run: Option<[u8; 16]>) {
        let name = &webhook.config.name;
        let saved = self.try_to_save(name, place, run).await;
        place.is_saved = saved.is_ok();
        match saved {
            Ok(()) if place.is_failing => {
                place.is_failing = false;
                let lost = std::mem::take(&mut place.lost);
                tracing::info!(webhook = name, lost, "webhook: the database keeps its cursor again");
            }
            Err(error) if !place.is_failing => {
                place.is_failing = true;
                tracing::warn!(
                    webhook = name,
                    error = error.chain(),
                    "webhook: the database does not keep its cursor; what is sent from here on is sent again after a restart"
                );
            }
            _ => {}
        }
    }

    /// The cursor last: what lies before it is in the database, or was taken.
    async fn try_to_save(&self, name: &str, place: &mut Place, run: Option<[u8; 16]>) -> Result<(), StoreError> {
        while let Some(letter) = place.letters.front() {
            self.store.add_dead_letter(&self.sensor, letter).await?;
            place.letters.pop_front();
        }
        while let Some(notice) = place.notices.front() {
            // Where no run is that they could be of, the log has them alone.
            if let Some(run) = &run {
                self.store.note(run, notice).await?;
            }
            place.notices.pop_front();
        }
        self.store.set_webhook(&self.sensor, name, &place.row).await
    }
}
