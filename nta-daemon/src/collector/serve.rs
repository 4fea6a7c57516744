//! A collector from its start to its end: what it reads, what it serves beside it, and what it deletes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Collector, Counts, webhooks};
use crate::api::{self, AnalysisAccess};
use crate::app::{AppError, Served, Signal, Signals};
use crate::config::Config;
use crate::service;
use crate::telemetry::RECORDS;
use crate::uploads::Uploads;
use nta_core::domain::Status;

/// How often is deleted what is too old or too much.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How long the end waits for the message that is being stored, and for requests under way.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a collector cannot read, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Address, certificate or database cannot be used.
    #[error(transparent)]
    App(#[from] AppError),
    /// NATS cannot be used.
    #[error("cannot collect from {0}")]
    Nats(String),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    /// A task ended that must not; the log has the details.
    #[error("{0} stopped unexpectedly")]
    Stopped(&'static str),
}

/// Reads, and serves where an address is given, until a signal.
///
/// # Errors
/// When it cannot begin, or a part of it ended by itself.
pub async fn collect(config: &Config, listen: Option<SocketAddr>) -> Result<(), CollectError> {
    let mut signals = Signals::catch().map_err(CollectError::Signals)?;
    RECORDS.hide(config.secrets());
    let (served, store) = Served::begin(config, listen).await?;
    let (counts, stop) = (Counts::of(&config.collect.from), CancellationToken::new());
    let connected = tokio::select! {
        connected = Collector::connect(store.clone(), &config.collect, counts.clone()) => connected,
        _signal = signals.stop() => {
            store.close().await;
            return Ok(());
        }
    };
    let collector = match connected {
        Ok(collector) => collector,
        Err(reason) => {
            store.close().await;
            return Err(CollectError::Nats(reason));
        }
    };
    let (_status, status) = watch::channel(Status::default());
    let webhooks = webhooks::of(&store, &config.webhooks);
    let sending = webhooks.clone().map(|of| tokio::spawn(webhooks::send(of, store.clone(), stop.clone())));
    let from = config.collect.from.to_string();
    let mut server = match served {
        Some(served) => {
            let (detect, baseline) = (config.detect.clone().into(), config.baseline.clone());
            let access = AnalysisAccess { detect, baseline, ..AnalysisAccess::default() };
            let state = served.state(config, store.clone(), status, access);
            let mut state = state.with_uploads(Uploads::new(&store, config)).with_collected(counts.clone());
            if let Some(webhooks) = webhooks {
                state = state.with_webhooks(webhooks);
            }
            let scheme = if served.tls.is_some() { "https" } else { "http" };
            let (url, database) = (format!("{scheme}://{}", served.address), config.store.database.shown());
            tracing::info!(from, url, database, "collecting and serving");
            tokio::spawn(api::serve(served.listener, state, stop.clone().cancelled_owned()))
        }
        None => {
            tracing::info!(from, database = config.store.database.shown(), "collecting");
            tokio::spawn(std::future::pending())
        }
    };
    let (reads, retains) = (stop.clone(), store.clone());
    let mut reading = tokio::spawn(async move { collector.run(&reads).await });
    let retaining = tokio::spawn(async move {
        loop {
            tokio::time::sleep(RETAIN_EVERY).await;
            if let Err(error) = retains.retain().await {
                tracing::warn!(error = error.chain(), "store: what is too old is not deleted");
            }
        }
    });
    let line = format!("collects from {from}");
    service::ready(&line);
    let ended = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(signal) => {
                    tracing::info!(signal, "stopping");
                    break None;
                }
                Signal::Hangup => {
                    service::reloading();
                    tracing::info!(signal = "SIGHUP", "a collector reads its configuration when it starts");
                    service::ready(&line);
                }
            },
            _ended = &mut reading => break Some("the collector"),
            _ended = &mut server => break Some("the server"),
        }
    };
    stop.cancel();
    service::stopping();
    retaining.abort();
    if let Some(sending) = sending {
        let _late = tokio::time::timeout(DEADLINE, sending).await;
    }
    if ended != Some("the collector") && tokio::time::timeout(DEADLINE, reading).await.is_err() {
        tracing::warn!(deadline_s = DEADLINE.as_secs(), "a message is left to others");
    }
    if listen.is_some() && ended != Some("the server") {
        let _late = tokio::time::timeout(DEADLINE, server).await;
    }
    store.close().await;
    let counts = counts.now();
    tracing::info!(
        messages = counts.messages,
        batches = counts.batches,
        doubles = counts.doubles,
        ended = counts.ended,
        "collected"
    );
    ended.map_or(Ok(()), |what| Err(CollectError::Stopped(what)))
}
