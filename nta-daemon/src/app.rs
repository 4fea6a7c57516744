//! Wires the tasks of a serving daemon: pipeline thread, store writer, HTTP server; and drains them in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{self, AnalysisAccess, ApiState};
use crate::config::Config;
use crate::json::mode_name;
use crate::live;
use crate::pipeline::Output;
use crate::pipeline::baselines::BaselineHandle;
use crate::store::{Batch, Found, Run, Store, StoreError, StoreWriter};
use nta_core::baseline::{BaselineConfig, Baselines, Import};
use nta_core::domain::{Alert, AlertChange, Event, FlowRecord, FlowUpdate, Mode, RawPacket, Status};
use nta_core::window::{Snapshot, Span, Window};

/// Windows that may wait for the database.
const STORE_QUEUE: usize = 64;
/// Windows kept back while the queue is full; beyond it the oldest one's flows and window are given up, and counted.
const MAX_HELD_BACK: usize = 1024;
/// Heads of frames stored with one window; more are dropped, and counted.
const MAX_RAW_PACKETS: usize = 50_000;
/// Alerts kept of windows that were given up.
const MAX_KEPT_ALERTS: usize = 10_000;
/// How often baselines are stored while they change.
const SAVE_BASELINES_EVERY: Duration = Duration::from_secs(300);
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
        let store = Store::open(&config.store.database).await?;
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
        StoreOutput {
            writer: self.writer.clone(),
            status: self.status.clone(),
            window: None,
            flows: Vec::new(),
            raw_packets: Vec::new(),
            found: Found::new(self.store.clone(), self.feature_hosts),
            baselines: self.baselines.clone(),
            baselines_name: mode_name(self.status.borrow().mode),
            baselines_saved: Instant::now(),
            held_back: std::collections::VecDeque::new(),
            waits,
            given_up: 0,
        }
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

/// Puts older alerts before newer ones, each once in its last state; of too many the oldest go.
fn keep_alerts(mut older: Vec<Alert>, newer: &mut Vec<Alert>) {
    let known: std::collections::HashSet<_> = newer.iter().map(|alert| alert.id).collect();
    older.retain(|alert| !known.contains(&alert.id));
    older.append(newer);
    older.drain(..older.len().saturating_sub(MAX_KEPT_ALERTS));
    *newer = older;
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

/// Puts each window with its flows into the store's queue and publishes the state.
pub struct StoreOutput {
    writer: StoreWriter,
    status: watch::Sender<Status>,
    window: Option<Window>,
    flows: Vec<FlowRecord>,
    raw_packets: Vec<RawPacket>,
    found: Found,
    baselines: BaselineHandle,
    baselines_name: &'static str,
    baselines_saved: Instant,
    held_back: std::collections::VecDeque<Batch>,
    waits: bool,
    given_up: u64,
}

impl StoreOutput {
    fn send(&mut self, batch: Batch) {
        if self.waits {
            return self.send_waiting(batch);
        }
        self.held_back.push_back(batch);
        while let Some(next) = self.held_back.pop_front() {
            if let Err(refused) = self.writer.try_send(next) {
                self.held_back.push_front(refused);
                break;
            }
        }
        if self.held_back.len() > MAX_HELD_BACK {
            let given_up = self.held_back.pop_front();
            // Alerts are few, and what an operator needs most.
            if let (Some(oldest), Some(next)) = (given_up, self.held_back.front_mut()) {
                keep_alerts(oldest.alerts, &mut next.alerts);
            }
            self.given_up += 1;
            tracing::error!(windows = self.given_up, "the database is too slow: windows were given up");
        }
    }

    /// For a replay, and at the end: they run on a thread of their own, which may block.
    fn send_waiting(&self, batch: Batch) {
        if let Err(error) = tokio::runtime::Handle::current().block_on(self.writer.send(batch)) {
            tracing::error!(%error, "window not stored");
        }
    }

    /// Sends what was kept back, then the ends of flows that came after the last window.
    pub fn finish(mut self) {
        for batch in std::mem::take(&mut self.held_back) {
            self.send_waiting(batch);
        }
        self.baselines.end();
        let mut batch = self.batch();
        batch.baselines = self.baselines.latest().map(|export| (self.baselines_name, export));
        self.send_waiting(batch);
    }

    /// What was told since the last one.
    fn batch(&mut self) -> Batch {
        let (flows, raw_packets) = (std::mem::take(&mut self.flows), std::mem::take(&mut self.raw_packets));
        let mut batch = Batch { window: self.window.take(), flows, raw_packets, ..Batch::default() };
        self.found.move_into(&mut batch);
        batch
    }
}

impl Output for StoreOutput {
    fn flow(&mut self, _update: &FlowUpdate<'_>, flow: &FlowRecord) {
        self.flows.push(*flow);
    }

    fn event(&mut self, event: &Event) {
        let Event::RawPacket(packet) = event else { return };
        if self.raw_packets.len() < MAX_RAW_PACKETS {
            self.raw_packets.push(packet.clone());
        } else {
            self.writer.note_raw_packet_dropped();
        }
    }

    fn window(&mut self, snapshot: &Snapshot) {
        if snapshot.span == Span::Base {
            self.window = Some(snapshot.window.clone());
        }
        self.found.window(snapshot);
    }

    fn alert(&mut self, change: AlertChange, alert: &Alert) {
        self.found.alert(change, alert);
    }

    fn judged(&mut self, snapshot: &Snapshot) {
        self.found.judged(snapshot);
    }

    fn closed(&mut self, status: &Status) {
        let mut batch = self.batch();
        if self.baselines_saved.elapsed() >= SAVE_BASELINES_EVERY {
            self.baselines_saved = Instant::now();
            batch.baselines = self.baselines.latest().map(|export| (self.baselines_name, export));
        }
        // Before the store has it: who reads a window finds a ledger that is no older.
        self.status.send_replace(status.clone());
        self.send(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::baseline::{Export, Metric, Series};
    use nta_core::domain::{AlertKind, Finding, Measure, Party};

    fn config(folder: &std::path::Path) -> Config {
        let mut config = Config::default();
        config.store.database = format!("sqlite:{}", folder.join("nta.db").display());
        config
    }

    fn finding() -> Finding {
        Finding {
            detector: "port_scan",
            kind: AlertKind::PortScan,
            source: Party::Nobody,
            destination: Party::Many,
            port: None,
            start: live::now(),
            end: live::now(),
            measure: Measure { name: "ports", unit: "ports", observed: 40.0, expected: None, threshold: 15.0 },
            score: 0.5,
            sentence: String::new(),
            facts: Vec::new(),
            contributors: Vec::new(),
        }
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

    #[tokio::test]
    async fn alerts_outlive_the_windows_that_a_slow_database_makes_us_give_up() {
        let folder = tempfile::tempdir().expect("folder");
        let app = start(&config(folder.path()), Mode::Live).await;
        let mut output = app.output();
        // The single-threaded runtime of the test does not run the writer: nothing is taken from its queue.
        let window = |id| Batch { window: Some(Window { id, ..Window::default() }), ..Batch::default() };
        let mut hygiene = nta_core::alerting::Alerter::new(nta_core::alerting::AlertingConfig::default());
        let mut alert = None;
        hygiene.judge(vec![finding()], live::now(), &mut |_, raised| alert = Some(raised.clone()));
        let alert = alert.expect("an alert");
        for id in 0..(STORE_QUEUE + MAX_HELD_BACK + 3) as u64 {
            // Two alerts take turns: of each only the last state is kept.
            let alert = Alert { id: nta_core::domain::AlertId(id % 2), windows: id as u32, ..alert.clone() };
            output.send(Batch { alerts: vec![alert], ..window(id) });
        }
        assert_eq!((output.given_up, output.held_back.len()), (3, MAX_HELD_BACK));
        let next = output.held_back.front().expect("held back");
        let told: Vec<u32> = next.alerts.iter().map(|alert| alert.windows).collect();
        let own = (STORE_QUEUE + 3) as u32;
        assert_eq!(told, [own - 1, own], "those of the windows that were given up go with the next");
    }
}
