//! Ships by HTTP: one message after the other, each answered with how far the server is.

use tokio::time::Instant;

use super::settings::Trust;
use super::{
    Answer, CONTENT_TYPE, FIRST_WAIT, HEARTBEAT, LONGEST_WAIT, MESSAGE_BYTES, MOST_ANSWER, PATIENCE, Pace,
    RESEND_EVERY, RefusedBatch, Shared, Target, by_chance,
};
use crate::sink::Standing;
use crate::sink::webhook::Failure;
use crate::store::{NumberRange, OutboxState, StoreError};

pub(super) async fn follow(shared: &Shared, target: &Target, standing: &Standing) {
    let mut commits = shared.store.commits();
    let mut sender = Sender { shared, target, next: None, most: MESSAGE_BYTES, resent: None };
    let (mut wait, mut pace) = (FIRST_WAIT, Pace::default());
    loop {
        let due = pace.due(shared.pace());
        let is_due = due <= Instant::now();
        if !is_due {
            tokio::time::sleep_until(due.min(Instant::now() + HEARTBEAT)).await;
            if due <= Instant::now() {
                continue;
            }
        }
        // Whoever waits for its pace says meanwhile that it is there, and hears of another one.
        match sender.send(&standing.reasons(), is_due).await {
            Ok(sent) => {
                wait = FIRST_WAIT;
                if is_due {
                    pace.sent(sent.bytes);
                }
                if is_due && !sent.has_more {
                    let _changed = tokio::time::timeout(HEARTBEAT, commits.changed()).await;
                }
            }
            Err(failure) => {
                shared.note(&failure.reason);
                // A server that is well again hears of this one, whatever it said.
                let asked = failure.retry_after.unwrap_or_default().min(PATIENCE);
                tokio::time::sleep(asked.max(by_chance(wait))).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
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

impl Sender<'_> {
    /// Sends one message, with batches or as a sign of life, and takes up what the server answers.
    async fn send(&mut self, reasons: &[String], with_batches: bool) -> Result<Sent, Failure> {
        let store = &self.shared.store;
        let (outbox, log) = (store.outbox_state().await?, store.log_state().await?);
        self.shared.state().outbox = outbox.clone();
        let from = self.next.filter(|_| with_batches).unwrap_or(outbox.newest + 1);
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
