//! What `/metrics` has, pushed by remote-write 1.0 to a store of Prometheus' kind.
//!
//! Every so many seconds the exposition becomes a message. A message that the store does not take now is tried again with growing waits, and those
//! behind it wait, up to a bound in bytes, the oldest going first. What the store refuses (4xx but 429) is dropped, as the protocol demands.

mod message;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::message::{Messages, Request};
use super::counters::{Counters, Kind};
use super::webhook::http::{Client, trusted};
use super::webhook::{Failure, now_ns};
use crate::config::RemoteWriteConfig;

const KIND: Kind = Kind { name: "remote_write", unit: "samples", about: "Samples that are pushed by remote-write" };
/// Bytes of messages that wait: of a gateway with 1,000 series a working day.
const WAITING_BYTES: usize = 16 << 20;
/// Time for a push.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for the last one.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 16 << 10;
/// Wait after the first failure; doubles with each, and is half of it to all of it by chance.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why nothing can be pushed.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub struct RemoteWriteError(&'static str, String);

/// Pushes what is exposed.
pub struct RemoteWrite {
    config: RemoteWriteConfig,
    uri: Uri,
    client: Client,
    sensor: String,
    counters: Arc<Counters>,
    waiting: Mutex<VecDeque<Request>>,
    /// Something waits.
    some: Notify,
}

impl RemoteWrite {
    /// As configured; `None` where nothing is to be pushed.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used.
    pub fn new(config: &RemoteWriteConfig, sensor: &str) -> Result<Option<Self>, RemoteWriteError> {
        if config.to.is_empty() {
            return Ok(None);
        }
        config.headers().map_err(|(key, why)| RemoteWriteError(key, why))?;
        let authorities = config.authorities().map_err(|why| RemoteWriteError("remote_write.ca_file", why))?;
        let uri = config
            .to
            .as_str()
            .parse::<Uri>()
            .map_err(|error| RemoteWriteError("remote_write.to", error.to_string()))?;
        // What a query holds may be a secret.
        let shown = config.to.as_str().split('?').next().unwrap_or_default();
        Ok(Some(Self {
            config: config.clone(),
            client: Client::new(trusted(&authorities), true),
            sensor: sensor.to_owned(),
            counters: Arc::new(Counters::new(KIND, shown)),
            waiting: Mutex::default(),
            some: Notify::new(),
            uri,
        }))
    }

    /// What became of the samples; counts on while they are pushed.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Pushes what `exposition` answers, in the text format, until `stop`; then says that its series have ended.
    pub async fn run<F>(self, stop: CancellationToken, exposition: impl Fn() -> F)
    where
        F: Future<Output = Option<String>>,
    {
        let mut messages = Messages::new(&self.sensor);
        let gathers = async {
            let mut ticks = tokio::time::interval(Duration::from_secs(self.config.interval_s));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                if let Some(text) = exposition().await {
                    messages.of(&text, now_ms()).into_iter().for_each(|request| self.add(request));
                }
            }
        };
        let pushes = self.push_all();
        stop.run_until_cancelled(async { tokio::join!(gathers, pushes) }).await;
        if self.counters.is_failing() {
            return;
        }
        for request in messages.of("", now_ms()) {
            // A store that does not hear of it forgets the series five minutes later.
            let _ = self.push(&request.body, END_PATIENCE).await;
        }
    }

    fn add(&self, request: Request) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(request);
        while waiting.iter().map(|request| request.body.len()).sum::<usize>() > WAITING_BYTES {
            self.counters.dropped(waiting.pop_front().map_or(0, |oldest| oldest.samples));
        }
        self.some.notify_one();
    }

    fn next(&self) -> Option<Request> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Pushes one message after the other.
    async fn push_all(&self) {
        loop {
            let Some(request) = self.next() else {
                self.some.notified().await;
                continue;
            };
            let mut wait = FIRST_WAIT;
            loop {
                match self.push(&request.body, PATIENCE).await {
                    Ok(()) => break self.counters.sent(request.samples),
                    Err(failure) => {
                        self.counters.failed(&failure.reason);
                        if is_refused(&failure) {
                            break self.counters.dropped(request.samples);
                        }
                        let by_chance = rand::rng().random_range(0.5..=1.0);
                        tokio::time::sleep(
                            failure
                                .retry_after
                                .map_or_else(|| wait.mul_f64(by_chance), |asked| asked.min(LONGEST_WAIT)),
                        )
                        .await;
                        wait = LONGEST_WAIT.min(wait * 2);
                    }
                }
            }
        }
    }

    async fn push(&self, body: &[u8], patience: Duration) -> Result<(), Failure> {
        let own = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        let further = self.config.headers().map_err(|(key, why)| Failure::new(format!("{key}: {why}")))?;
        let further = further.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = own.into_iter().chain(further).map(|(name, value)| (name, value.to_owned())).collect();
        self.client.exchange_within((patience, MOST_ANSWER), &self.uri, &headers, body.to_vec()).await.map(drop)
    }
}

/// Whether the store would refuse it again.
fn is_refused(failure: &Failure) -> bool {
    failure.status.is_some_and(|status| !status.is_server_error() && status.as_u16() != 429)
}

fn now_ms() -> i64 {
    i64::try_from(now_ns() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::webhook::tests::{next, server};
    use super::*;

    #[tokio::test]
    async fn what_fails_is_pushed_again_and_what_is_refused_is_dropped() {
        // The first is pushed again after two failures, the second is refused, the third is the end.
        let (address, mut requests) = server(&[503, 429, 200, 400]).await;
        let config = RemoteWriteConfig {
            to: format!("http://{address}/api/v1/write?a=b").parse().expect("a URL"),
            interval_s: 1,
            ..RemoteWriteConfig::default()
        };
        let push = RemoteWrite::new(&config, "gw").expect("usable").expect("configured");
        let (counters, stop) = (push.counters(), CancellationToken::new());
        let running = tokio::spawn(push.run(stop.clone(), || async { Some("a 1\nb 2\n".to_owned()) }));
        for _attempt in 0..4 {
            let (head, _body) = next(&mut requests).await;
            assert!(head.starts_with("post /api/v1/write?a=b http/1.1"), "{head}");
            for header in ["content-encoding: snappy", "x-prometheus-remote-write-version: 0.1.0"] {
                assert!(head.contains(header), "{head}");
            }
        }
        next(&mut requests).await;
        while counters.counts()[0] < 4 || counters.is_failing() {
            tokio::task::yield_now().await;
        }
        assert_eq!(counters.counts()[1], 2);
        assert!(counters.last_error().is_some_and(|error| error.contains("400")));
        stop.cancel();
        running.await.expect("it ends");
        assert!(!counters.to().contains("a=b"));
        // What was pushed last says that both series have ended.
        let mut last = None;
        while let Ok(request) = requests.try_recv() {
            last = Some(request);
        }
        assert!(last.is_some());
    }
}
