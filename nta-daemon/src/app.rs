//! Wires the tasks of a serving daemon: pipeline thread, store writer, HTTP server; and drains them in order.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{self, AnalysisAccess, ApiState};
use crate::config::Config;
use crate::json::mode_name;
use crate::live;
use crate::pipeline::baselines::BaselineHandle;
use crate::sink::store::StoreOutput;
use crate::store::{Found, Run, Store, StoreError, StoreWriter};
use nta_core::baseline::{BaselineConfig, Baselines, Import};
use nta_core::domain::{Mode, Status};

/// Windows that may wait for the database.
const STORE_QUEUE: usize = 64;
/// How long a shutdown waits for the capture, and for the store.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a shutdown waits for requests under way. One that takes longer must not cost what is to be stored.
const SERVER_DEADLINE: Duration = Duration::from_secs(2);

/// Why the daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store with its writer, and a server in front of it.
pub struct App {
    /// Publishes the pipeline's state.
    pub status: watch::Sender<Status>,
    /// The address that is listened on.
    pub address: SocketAddr,
    /// What the pipeline is to share its baselines by.
    pub baselines: BaselineHandle,
    feature_hosts: usize,
    store: Store,
    writer: StoreWriter,
    write_task: JoinHandle<()>,
    server: JoinHandle<std::io::Result<()>>,
    stop_server: tokio::sync::oneshot::Sender<()>,
}

impl App {
    /// Opens the database, registers the run and starts serving; live, the baselines go on from where they were.
    pub async fn start(config: &Config, listen: SocketAddr, source: &str, status: Status) -> Result<Self, AppError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|source| AppError::Listen { address: listen, source })?;
        let address = listener.local_addr().unwrap_or(listen);
        let store = Store::open(config.store.database.as_str()).await?;
        let run = Run {
            started: live::now(),
            mode: status.mode,
            source: source.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let run = store.begin_run(&run).await?;
        let (writer, write_task) = store.writer(run, STORE_QUEUE);
        let baselines = BaselineHandle::default();
        if status.mode == Mode::Live {
            restore(&store, &config.baseline, &baselines).await;
        }
        let (status, watched) = watch::channel(status);
        let (stop_server, stopped) = tokio::sync::oneshot::channel::<()>();
        let access = AnalysisAccess {
            baselines: baselines.clone(),
            detect: config.detect.clone(),
            baseline: config.baseline.clone(),
        };
        let state = ApiState::new(store.clone(), watched).with_analysis(access);
        let server = tokio::spawn(api::serve(listener, state, async {
            let _ = stopped.await; // an error means that the sender is gone, which stops the server too
        }));
        let feature_hosts = config.store.feature_hosts;
        Ok(Self { status, address, baselines, feature_hosts, store, writer, write_task, server, stop_server })
    }

    /// An output that stores what the pipeline produces. Live, it never waits for the database; a replay does.
    pub fn output(&self) -> StoreOutput {
        let waits = self.status.borrow().mode == Mode::Replay;
        let mode = mode_name(self.status.borrow().mode);
        let found = Found::new(self.store.clone(), self.feature_hosts);
        StoreOutput::new(self.writer.clone(), self.status.clone(), found, (mode, self.baselines.clone()), waits)
    }

    /// Returns when everything that was put out so far is in the database.
    pub async fn flush(&self) {
        report("store", &Ok(self.writer.flush().await.map_err(|e| e.to_string())));
    }

    /// Stops the server, then writes what is queued, each within its deadline.
    pub async fn drain(self) {
        let _ = self.stop_server.send(()); // an error means that the server has ended by itself
        match tokio::time::timeout(SERVER_DEADLINE, self.server).await {
            Ok(ended) => report("server", &ended.map(|served| served.map_err(|e| e.to_string()))),
            Err(_) => tracing::warn!(deadline_s = SERVER_DEADLINE.as_secs(), "requests under way are broken off"),
        }
        let ended = tokio::time::timeout(DRAIN_DEADLINE, async {
            report("store", &Ok(self.writer.shutdown().await.map_err(|e| e.to_string())));
            report("store", &self.write_task.await.map(Ok));
            self.store.close().await;
        });
        if ended.await.is_err() {
            tracing::warn!(deadline_s = DRAIN_DEADLINE.as_secs(), "shutdown took too long, giving up on the rest");
        }
    }
}

/// Takes the stored baselines; without them, or with ones that cannot be used, learning begins anew.
async fn restore(store: &Store, config: &BaselineConfig, handle: &BaselineHandle) {
    let export = match store.baselines(mode_name(Mode::Live)).await {
        Ok(None) => return,
        Ok(Some(export)) => export,
        Err(error) => return tracing::warn!(error = error.chain(), "stored baselines cannot be read"),
    };
    match Baselines::new(config.clone()).import(export.clone()) {
        Ok(()) => {
            tracing::info!(
                metrics = export.network.len(),
                hosts = export.hosts.len(),
                "baselines go on from the database"
            );
            handle.publish(export.clone());
            if let Err(error) = handle.order(Import::All(export)) {
                tracing::warn!(%error, "stored baselines not taken");
            }
        }
        Err(reason) => tracing::warn!(reason, "stored baselines cannot be used"),
    }
}

fn report(what: &str, ended: &Result<Result<(), String>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} ended with an error"),
        Err(error) => tracing::error!(%error, "{what} ended abnormally"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::baseline::{Export, Metric, Series};

    fn config(folder: &std::path::Path) -> Config {
        let mut config = Config::default();
        config.store.database = format!("sqlite:{}", folder.join("nta.db").display()).parse().expect("a URL");
        config
    }

    async fn start(config: &Config, mode: Mode) -> App {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        App::start(config, listen, "eth0", Status { mode, ..Status::default() }).await.expect("it starts")
    }

    #[tokio::test]
    async fn a_live_start_goes_on_with_the_stored_baselines_and_a_replay_begins_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let config = config(folder.path());
        let app = start(&config, Mode::Live).await;
        assert!(app.baselines.latest().is_none(), "nothing is stored yet");
        let network = [(Metric::Loss, Series::default())].into();
        let export = Export { network, updated_ns: 7, ..Export::default() };
        app.store.save_baselines("live", &export).await.expect("save");
        app.drain().await;

        let app = start(&config, Mode::Live).await;
        let mut pipeline = Baselines::new(config.baseline.clone());
        assert_eq!(app.baselines.carry_out(&mut pipeline), (true, vec![]));
        assert_eq!(pipeline.export(), export);
        app.drain().await;
        let app = start(&config, Mode::Replay).await;
        assert!(app.baselines.latest().is_none());
        app.drain().await;
    }
}
