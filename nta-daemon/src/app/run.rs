//! Running and draining: the work (a capture, or a replay) on a thread of its own, the server, and the end of both.
//!
//! A task that ends by itself, by a panic or an error, ends the process with status 1 once what was counted is stored, so
//! that the service manager starts it again from what the database has. The panic's text is in the log and nowhere else.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{App, AppError, Hangup, Signal, Signals, muted};
use crate::capture::control::CaptureHandle;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::detecting::DetectHandle;
use crate::pipeline::metrics::MetricsHandle;
use crate::pipeline::mutes::MuteHandle;
use crate::pipeline::progress::Progress;
use crate::service;
use crate::sink::eve::EveOutput;
use crate::sink::ipfix::IpfixExporter;
use crate::sink::jsonl::Mirror;
use crate::sink::store::StoreOutput;
use crate::store::{StoreError, StoreStats};
use nta_core::alerting::EarlierAlert;
use nta_core::domain::{IdentityScope, Mode, Status};

/// How long a shutdown waits for the capture: behind a flood its last window has all that the kernel's maps held. Of what the service manager
/// gives (`TimeoutStopSec`) a third.
const CAPTURE_DEADLINE: Duration = Duration::from_secs(20);
/// How long a shutdown waits for the store.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How much of that the database has; the rest is there to write what it has not taken to the disk.
const DATABASE_DEADLINE: Duration = Duration::from_secs(6);
/// How long a shutdown waits for requests under way. One that takes longer must not cost what is to be stored.
const SERVER_DEADLINE: Duration = Duration::from_secs(2);
/// How long a shutdown waits for the server that is shipped to.
const SHIP_DEADLINE: Duration = Duration::from_secs(4);
/// How long a shutdown waits for jobs to come to their next step.
const JOBS_DEADLINE: Duration = Duration::from_secs(2);
/// What an answer says of a task that is gone.
const UNEXPECTED: &str = "stopped unexpectedly, restarting";

/// What the work gets from the App.
pub struct Task {
    /// Stores what the pipeline emits. The work calls [`StoreOutput::finish`] at its end.
    pub output: StoreOutput,
    /// What the pipeline shares its baselines by.
    pub baselines: BaselineHandle,
    /// Of a live run: what no alert is raised about for a while.
    pub mutes: MuteHandle,
    /// What is looked for, which may change meanwhile.
    pub detect: DetectHandle,
    /// Live, the files of JSON lines where they are configured.
    pub mirror: Option<Mirror>,
    /// Live, the events as Suricata writes them where they are configured.
    pub eve: Option<EveOutput>,
    /// Live, what goes to an IPFIX collector where one is configured.
    pub ipfix: Option<IpfixExporter>,
    /// What is counted for Prometheus.
    pub metrics: MetricsHandle,
    /// Names flows and alerts of a live run.
    pub ids: IdentityScope,
    /// Of a live run: alerts of the runs before that may come back.
    pub earlier: Vec<EarlierAlert>,
    /// Of a replay: how many of the same analysis are stored already.
    pub again: u32,
    /// Of a replay: says how far it is.
    pub progress: Progress,
    /// Publishes what the API says between two windows.
    pub status: watch::Sender<Status>,
    /// Cancelled when the work has to end.
    pub stop: CancellationToken,
}

/// How the work of an App ended.
pub trait Work: Send + 'static {
    /// Whether it is served on what the work left, until a signal.
    fn serves_on(&self) -> bool;
}

impl App {
    /// Serves, runs `work` on a thread of its own, and drains when it ends or a signal asks for it.
    ///
    /// # Errors
    /// When a task ended by itself that must not, or did not end in time.
    pub async fn run<W: Work>(
        mut self,
        work: impl FnOnce(Task) -> W + Send + 'static,
        signals: &mut Signals,
        hangup: &mut Hangup<'_>,
    ) -> Result<W, AppError> {
        if self.is_known {
            self.progress.complete();
        }
        let mut server = self.serve();
        if self.status.borrow().mode == Mode::Live {
            tokio::spawn(service::follow(self.status.subscribe(), self.stop.clone()));
        } else {
            service::ready("serves a replay");
        }
        let task = Task {
            output: self.output(),
            baselines: self.baselines.clone(),
            mutes: self.mutes.clone(),
            detect: self.detect.clone(),
            mirror: self.outputs.mirror.take(),
            eve: self.outputs.eve.take(),
            ipfix: self.outputs.ipfix.take(),
            metrics: self.metrics.clone(),
            ids: self.ids,
            earlier: std::mem::take(&mut self.earlier),
            again: self.again,
            progress: self.progress.clone(),
            status: self.status.clone(),
            stop: self.stop.clone(),
        };
        let (store, sensor) = (self.store.clone(), self.sensor.clone());
        let muted = tokio::spawn(muted::keep(store, sensor, self.mutes.clone(), self.stop.clone()));
        let mut lease = match self.lease.take() {
            Some(lease) => tokio::spawn(lease.keep(self.store.clone())),
            None => tokio::spawn(std::future::pending()),
        };
        let mut working = tokio::task::spawn_blocking(move || work(task));
        let mut done = None;
        let failed = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop(signal) => {
                        tracing::info!(signal, "stopping");
                        break None;
                    }
                    Signal::Hangup => drop(self.read_again("SIGHUP", hangup).await),
                },
                Some(asked) = self.reloads.recv() => {
                    let _gone = asked.send(self.read_again("a request", hangup).await);
                }
                ended = &mut working, if done.is_none() => match ended {
                    Ok(work) if work.serves_on() => {
                        done = Some(work);
                        self.flush().await;
                        self.progress.complete();
                        // What was analysed is stored: others that wait for it answer from it.
                        give_back(std::mem::replace(&mut lease, tokio::spawn(std::future::pending()))).await;
                        self.say_analyses().await;
                        self.say_where("serving what was found; stop with Ctrl-C");
                    }
                    Ok(work) => {
                        done = Some(work);
                        break None;
                    }
                    Err(panicked) => {
                        log_end("capture", &panicked);
                        self.status.send_modify(|status| status.failure = Some(UNEXPECTED.to_owned()));
                        break Some(AppError::Stopped { task: "the capture" });
                    }
                },
                ended = &mut server => {
                    match ended {
                        Ok(Ok(())) => tracing::error!("the server ended by itself"),
                        Ok(Err(error)) => tracing::error!(%error, "the server ended"),
                        Err(error) => log_end("server", &error),
                    }
                    server = tokio::spawn(std::future::pending());
                    break Some(AppError::Stopped { task: "the server" });
                }
                lost = &mut lease => {
                    lease = tokio::spawn(std::future::pending());
                    break Some(lost.map_or(AppError::Stopped { task: "the lease" }, AppError::LeaseLost));
                }
                ended = &mut self.write_task => {
                    if let Err(error) = ended {
                        log_end("store's writer", &error);
                    }
                    self.write_task = tokio::spawn(async {});
                    break Some(AppError::Stopped { task: "the store's writer" });
                }
            }
        };
        self.stop.cancel();
        service::stopping();
        self.store.stops();
        let mut late = None;
        if done.is_none() && !working.is_finished() {
            match tokio::time::timeout(CAPTURE_DEADLINE, working).await {
                Ok(Ok(work)) => done = Some(work),
                Ok(Err(panicked)) => {
                    log_end("capture", &panicked);
                    late = Some(AppError::Stopped { task: "the capture" });
                }
                Err(_) => late = Some(AppError::Late { task: "the capture" }),
            }
        }
        // Before the store closes.
        let _kept = tokio::time::timeout(JOBS_DEADLINE, muted).await;
        let lost = self.drain(Some(server)).await.err();
        give_back(lease).await;
        match (failed.or(late).or(lost), done) {
            (None, Some(work)) => Ok(work),
            (error, _) => Err(error.unwrap_or(AppError::Stopped { task: "the capture" })),
        }
    }

    /// What health says from the first answer on: why nothing is counted, if so.
    pub fn begin_with(&self, failure: Option<String>) {
        self.status.send_modify(|status| status.failure = failure);
    }

    /// Has the API ask for other interfaces by this.
    pub fn take_orders_by(&mut self, capture: CaptureHandle) {
        self.orders = Some(capture.clone());
        self.capture = Some(capture);
    }

    /// Says where it serves.
    pub fn say_where(&self, what: &str) {
        if let Some(address) = self.address {
            let scheme = if self.tls.is_some() { "https" } else { "http" };
            tracing::info!(url = %format!("{scheme}://{address}"), database = self.config.store.database.shown(), "{what}");
        }
    }

    /// Says that what is served is there more than once.
    async fn say_analyses(&self) {
        if let Ok(analyses @ 2..) = self.store.runs_alike(&self.data).await {
            tracing::warn!(
                analyses,
                "the database has these captures analysed more than once: lists and sums show all of them, each window as often \
                 (a database of its own for each analysis keeps them apart)"
            );
        }
    }

    /// Ends an App whose work could not begin.
    pub async fn abandon(self) {
        self.stop.cancel();
        let _said = self.drain(None).await; // why it could not begin is the error
    }

    /// Returns when everything that was put out so far is in the database.
    async fn flush(&self) {
        if let Err(error) = self.writer.flush().await {
            tracing::error!(error = error.chain(), "not everything is stored");
        }
    }

    /// Ends the server, then writes what is queued, each within its deadline.
    async fn drain(self, server: Option<JoinHandle<std::io::Result<()>>>) -> Result<(), AppError> {
        if let Some(server) = server.filter(|_| self.address.is_some()) {
            match tokio::time::timeout(SERVER_DEADLINE, server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::error!(%error, "the server ended with an error"),
                Ok(Err(error)) => log_end("server", &error),
                Err(_) => tracing::warn!(deadline_s = SERVER_DEADLINE.as_secs(), "requests under way are broken off"),
            }
        }
        self.outputs.end().await;
        self.uploads.stop().await;
        if let Some(jobs) = &self.jobs {
            let late = jobs.shutdown(JOBS_DEADLINE).await;
            if late > 0 {
                let deadline_s = JOBS_DEADLINE.as_secs();
                tracing::warn!(
                    jobs = late,
                    deadline_s,
                    "jobs did not end in time: the next start resumes them or says that they are lost"
                );
            }
        }
        let store = self.store.clone();
        let hurry = tokio::spawn({
            let store = store.clone();
            async move {
                tokio::time::sleep(DATABASE_DEADLINE).await;
                store.is_out_of_time();
            }
        });
        let ended = tokio::time::timeout(DRAIN_DEADLINE, async {
            if let Err(error) = self.writer.shutdown().await {
                tracing::error!(error = error.chain(), "not everything is stored");
            }
            if let Err(error) = self.write_task.await {
                log_end("store's writer", &error);
            }
            if let Some(shipping) = &self.shipping {
                let waiting = shipping.settle(SHIP_DEADLINE).await;
                if waiting > 0 {
                    tracing::warn!(
                        batches = waiting,
                        "ship: the server does not have these yet; they go at the next start"
                    );
                }
            }
            self.ship.cancel();
            self.store.close().await;
        });
        if ended.await.is_err() {
            tracing::warn!(deadline_s = DRAIN_DEADLINE.as_secs(), "shutdown took too long, giving up on the rest");
        }
        hurry.abort();
        let stats = store.stats();
        if stats.waits_on_disk() {
            let folder = store.spool_folder().map(|folder| folder.display().to_string());
            tracing::warn!(
                batches = stats.batches_waiting,
                folder,
                "these wait on disk, and go into the database at the next start"
            );
        }
        let is_replay = self.status.borrow().mode == Mode::Replay;
        match not_stored(&stats, is_replay) {
            0 => Ok(()),
            batches => Err(AppError::NotStored { batches }),
        }
    }
}

/// Batches that are in neither database nor spool at the end. Of a live run, which may have gone on for months, what was lost on
/// the way was said when it was lost; of a replay the stored analysis is not what was printed.
const fn not_stored(stats: &StoreStats, is_replay: bool) -> u64 {
    stats.batches_in_memory + stats.queue_length + if is_replay { stats.batches_lost } else { 0 }
}

/// Ends who looks after a lease, and waits until it is free.
async fn give_back(lease: JoinHandle<StoreError>) {
    lease.abort();
    let _aborted = lease.await;
}

/// The text of a panic is for the log alone.
fn log_end(task: &str, error: &JoinError) {
    tracing::error!(%error, "the {task} ended abnormally");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_on_the_way_is_a_failure_of_a_replay_alone() {
        let stats = |batches_in_memory, queue_length, batches_lost| StoreStats {
            batches_in_memory,
            queue_length,
            batches_lost,
            ..StoreStats::default()
        };
        for (stats, live, replay) in [(stats(0, 0, 0), 0, 0), (stats(2, 1, 0), 3, 3), (stats(0, 0, 4), 0, 4)] {
            assert_eq!((not_stored(&stats, false), not_stored(&stats, true)), (live, replay), "{stats:?}");
        }
    }
}
