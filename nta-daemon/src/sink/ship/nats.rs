//! Ships by NATS: messages are published to a stream that collectors read, and what the store has comes back.
//!
//! What the stream acknowledged is not yet stored: it only goes on to the next message. The outbox keeps a batch until the store's
//! watermark has passed it, so that a stream which is deleted, or a server that loses what it has, costs time and nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::time::Instant;

use super::broker::{self, chain};
use super::settings::Trust;
use super::{Answer, FIRST_WAIT, HEARTBEAT, LONGEST_WAIT, PATIENCE, Pace, RefusedBatch, Shared, by_chance};
use crate::config::Broker;
use crate::sink::Standing;
use crate::sink::webhook::Failure;
use crate::store::{MESSAGE_BYTES, OutboxState, Shipment};

/// Published messages whose batches are not stored yet, once all goes well; fewer after something was lost.
const MOST_IN_FLIGHT: usize = 32;
/// Bytes of a message that are not its content.
const HEADER_BYTES: usize = 512;

/// What comes back: how far the store is, or why a message was not taken.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Answer(Answer),
    Refusal { problem: String },
}

pub(super) async fn follow(shared: &Shared, broker: &Broker, standing: &Standing) {
    let mut wait = FIRST_WAIT;
    loop {
        let Err(failure) = ship(shared, broker, standing, &mut wait).await;
        shared.note(&failure.reason);
        tokio::time::sleep(by_chance(wait)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Ships over one connection until something fails; the next begins from what the store has.
async fn ship(
    shared: &Shared,
    broker: &Broker,
    standing: &Standing,
    wait: &mut Duration,
) -> Result<std::convert::Infallible, Failure> {
    let client = broker::connect(broker, &format!("nta {}", shared.sensor)).await.map_err(Failure::new)?;
    let mut session = Session::begin(shared, client).await?;
    let (mut commits, mut pace) = (shared.store.commits(), Pace::default());
    loop {
        broker::check_version(&session.client, broker).map_err(Failure::new)?;
        let reasons = standing.reasons();
        let outbox = shared.store.outbox_state().await?;
        shared.state().outbox = outbox.clone();
        let has_more = session.next.is_some_and(|next| next <= outbox.newest);
        let due = pace.due(shared.pace());
        let is_paced = has_more && due > Instant::now();
        let sends = has_more && !is_paced && session.in_flight.len() < session.window;
        if sends && let Some(from) = session.next {
            pace.sent(session.publish(from, &outbox, &reasons).await?);
        }
        let heartbeat = session.published + HEARTBEAT.min(shared.resend_after);
        let answer = if sends {
            session.answers.next().now_or_never()
        } else {
            tokio::select! {
                answer = session.answers.next() => Some(answer),
                _changed = commits.changed(), if !has_more => None,
                () = tokio::time::sleep_until(due), if is_paced => None,
                () = tokio::time::sleep_until(heartbeat) => {
                    session.publish(outbox.newest + 1, &outbox, &reasons).await?;
                    session.look_for_answers();
                    None
                }
            }
        };
        match answer {
            None => {}
            Some(None) => return Err(Failure::new("the connection has ended".to_owned())),
            Some(Some(answer)) => {
                session.take(&answer).await?;
                *wait = FIRST_WAIT;
            }
        }
    }
}

/// A message that was published and whose batches are not known to be stored.
struct InFlight {
    last: u64,
    at: Instant,
}

struct Session<'a> {
    shared: &'a Shared,
    client: Client,
    stream: Context,
    subject: String,
    answers: Subscriber,
    /// Of this session, and since when: what a message is marked by.
    mark: String,
    began: Instant,
    /// The number that is sent next; `None` before a collector has said what the store has.
    next: Option<u64>,
    watermark: u64,
    in_flight: VecDeque<InFlight>,
    /// Messages that may be in flight.
    window: usize,
    /// Place of the last message in the stream.
    place: u64,
    published: Instant,
    answered: Instant,
}

impl<'a> Session<'a> {
    async fn begin(shared: &'a Shared, client: Client) -> Result<Self, Failure> {
        let subject = |of| broker::subject(of, &shared.sensor).map_err(Failure::new);
        let answers = client.subscribe(subject(broker::ACK)?).await;
        let answers = answers.map_err(|error| Failure::new(format!("answers cannot be heard: {}", chain(&error))))?;
        let now = Instant::now();
        let mut session = Self {
            shared,
            stream: jetstream::new(client.clone()),
            client,
            subject: subject(broker::SHIP)?,
            answers,
            mark: format!("{:016x}", rand::random::<u64>()),
            began: now,
            next: None,
            watermark: 0,
            in_flight: VecDeque::new(),
            window: 1,
            place: 0,
            published: now,
            answered: now,
        };
        let outbox = shared.store.outbox_state().await?;
        session.publish(outbox.newest + 1, &outbox, &[]).await?;
        Ok(session)
    }

    /// Publishes batches from this number on, and waits until the stream has them; answers how many bytes.
    async fn publish(&mut self, from: u64, outbox: &OutboxState, reasons: &[String]) -> Result<u64, Failure> {
        let store = &self.shared.store;
        let head = self.shared.head(store.log_state().await?.epoch, outbox, reasons);
        let most = self.client.max_payload().saturating_sub(HEADER_BYTES);
        let (range, bytes) = match fitting(store.shipment(from, MESSAGE_BYTES, head, outbox).await?, most)? {
            Ok(message) => message,
            Err((number, length)) => {
                let reason = format!(
                    "it takes {length} bytes alone, and NATS takes {most} a message (`max_payload` of its configuration)"
                );
                store.refuse_batch(number, &reason).await?;
                return Ok(0);
            }
        };
        let length = bytes.len() as u64;
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert(broker::SENT, format!("{}.{}", self.mark, (now - self.began).as_millis()));
        let published = self.stream.publish_with_headers(self.subject.clone(), headers, bytes.into()).await;
        let published = match published {
            Ok(published) => published.await,
            Err(error) => Err(error),
        };
        let place = published.map_err(|error| not_published(&error, &self.subject))?.sequence;
        self.published = now;
        self.shared.state().sent_bytes += length;
        if let Some((_, last)) = range {
            self.in_flight.push_back(InFlight { last, at: now });
            self.next = self.next.map(|next| next.max(last + 1));
        } else if from <= outbox.newest {
            // What is left of these numbers is no batch that can be sent.
            self.next = Some(outbox.newest + 1);
        }
        if place <= self.place {
            self.begin_again("the stream is another one than before");
        }
        self.place = place;
        Ok(length)
    }

    /// Publishes again what the store does not have, one message after the other until it is answered.
    fn begin_again(&mut self, reason: &str) {
        let lost = self.in_flight.len();
        if lost > 0 {
            let from = self.watermark + 1;
            tracing::warn!(reason, from, messages = lost, "ship: what was published is not stored; it is sent again");
        }
        self.in_flight.clear();
        self.window = 1;
        self.next = self.next.map(|_| self.watermark + 1);
    }

    /// Says so where nobody answers.
    fn look_for_answers(&self) {
        if self.answered.elapsed() > PATIENCE {
            let waits = self.answered.elapsed().as_secs();
            self.shared.note(&format!("no collector has answered for {waits} s; NATS takes messages"));
        }
    }

    /// Takes up how far the store is.
    async fn take(&mut self, message: &Message) -> Result<(), Failure> {
        let wrong = |_error| Failure::new("the answer is none of a collector of nta".to_owned());
        let answer = match serde_json::from_slice(&message.payload).map_err(wrong)? {
            Reply::Answer(answer) => answer,
            Reply::Refusal { problem } => return Err(Failure::new(problem)),
        };
        self.answered = Instant::now();
        let store = &self.shared.store;
        // In this order: what is given meanwhile is no number of before.
        let (outbox, log) = (store.outbox_state().await?, store.log_state().await?);
        if answer.epoch != log.epoch {
            return Ok(());
        }
        if answer.watermark > outbox.newest && !self.is_answer(message) {
            // Whoever may publish here could say so: it is believed of an answer to a message of this session alone.
            tracing::warn!(
                watermark = answer.watermark,
                "ship: an answer to no message of this session is not believed"
            );
            return Ok(());
        }
        if self.shared.is_of_before(&answer, &outbox).await? {
            (self.next, self.watermark) = (None, 0);
            self.in_flight.clear();
            return self.publish(outbox.newest + 1, &outbox, &[]).await.map(drop);
        }
        for RefusedBatch { number, reason } in &answer.refused {
            store.refuse_batch(*number, reason).await?;
        }
        if let Some(settings) = &answer.settings {
            self.shared.obey(Trust::Keys(&self.shared.settings_keys), settings);
        }
        // Of several collectors one may answer later what it knew before.
        let passed = answer.watermark.saturating_sub(self.watermark);
        if passed > 0 || self.next.is_none() {
            store.acknowledge_outbox(answer.watermark).await?;
            self.watermark = self.watermark.max(answer.watermark);
        }
        let before = self.in_flight.len();
        self.in_flight.retain(|message| message.last > self.watermark);
        if self.in_flight.len() < before {
            self.window = (self.window * 2).min(MOST_IN_FLIGHT);
        }
        let is_first = self.next.is_none();
        self.next = Some(self.next.unwrap_or_default().max(self.watermark + 1));
        self.shared.took(if is_first { 0 } else { passed }, 0, self.watermark);
        if self.has_overtaken(message) {
            self.begin_again("a message that was published long after it is stored");
        }
        Ok(())
    }

    /// Whether it answers a message of this session.
    fn is_answer(&self, answer: &Message) -> bool {
        let sent = answer.headers.as_ref().and_then(|headers| headers.get(broker::SENT)).map(ToString::to_string);
        sent.is_some_and(|sent| sent.strip_prefix(&self.mark).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Whether what is in flight was published long before the message that this answers.
    fn has_overtaken(&self, answer: &Message) -> bool {
        let sent = answer.headers.as_ref().and_then(|headers| headers.get(broker::SENT)).map(ToString::to_string);
        let sent = sent.as_deref().and_then(|sent| sent.strip_prefix(&self.mark)?.strip_prefix('.')?.parse().ok());
        let sent = sent.map(|ms| self.began + Duration::from_millis(ms));
        let oldest = self.in_flight.front();
        sent.zip(oldest).is_some_and(|(sent, oldest)| sent > oldest.at + self.shared.resend_after)
    }
}

/// Numbers of batches, and the message that has them.
type Ready = (Option<(u64, u64)>, Vec<u8>);

/// A message of at most so many bytes, of its batches as many as fit; else the number and the bytes of one that is larger alone.
fn fitting(mut shipment: Shipment, most: usize) -> Result<Result<Ready, (u64, usize)>, Failure> {
    loop {
        let bytes = shipment.encode()?;
        if bytes.len() <= most {
            return Ok(Ok((shipment.range(), bytes)));
        }
        if !shipment.halve() {
            let number = shipment.range().map_or(0, |(first, _)| first);
            return Ok(Err((number, bytes.len())));
        }
    }
}

fn not_published(error: &PublishError, subject: &str) -> Failure {
    Failure::new(match error.kind() {
        PublishErrorKind::StreamNotFound => {
            format!("no stream takes {subject}: a collector makes it when it starts (`nta-daemon collect`)")
        }
        // NATS says no more to whom it does not let.
        PublishErrorKind::TimedOut => {
            format!("not published to {subject}: nothing answers; may `ship.credentials_file` publish there?")
        }
        _ => format!("not published to {subject}: {}", chain(error)),
    })
}
