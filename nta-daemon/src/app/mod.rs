//! `Config -> App::build -> run -> drain`: the one owner of every task (capture or replay, store writer, HTTP server) and of
//! the token that ends them. What can be refused is tried in [`App::build`], before the network is touched.

mod analysis;
mod models;
mod muted;
mod outputs;
mod refusal;
mod reload;
mod run;
mod serve;
mod served;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Tls, TlsError};
use crate::capture::clock;
use crate::capture::control::CaptureHandle;
use crate::config::{Config, Current, ReloadHandle, Reloads};
use crate::jobs::Jobs;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::detecting::DetectHandle;
use crate::pipeline::metrics::MetricsHandle;
use crate::pipeline::mutes::MuteHandle;
use crate::pipeline::progress::Progress;
use crate::sink::eve::EveError;
use crate::sink::jsonl::MirrorError;
use crate::sink::remote_write::RemoteWriteError;
use crate::sink::ship;
use crate::sink::ship::Shipping;
use crate::sink::webhook::Webhooks;
use crate::store::{Lease, LeftSpool, Run, Store, StoreError, StoreWriter, baselines_name, spools_of};
use crate::telemetry::RECORDS;
use crate::uploads::Uploads;
use nta_core::alerting::EarlierAlert;
use nta_core::baseline::{BaselineConfig, Baselines, Import};
use nta_core::domain::{IdentityScope, Mode, Readings, Resume, RunId, SensorId, Status, Timestamp};

pub use analysis::Analysis;
use analysis::Looked;
use outputs::Outputs;
pub use reload::Hangup;
pub use run::{Task, Work};
pub use served::Served;
pub use signals::{Signal, Signals, Stops};

/// Windows that may wait for the database.
const STORE_QUEUE: usize = 64;

/// Why the daemon cannot serve, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source} (choose another one with --listen or api.listen)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The files of JSON lines cannot be written.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Events cannot be written.
    #[error(transparent)]
    Eve(#[from] EveError),
    /// The folder of hours cannot be used.
    #[error("archive.folder: {0}")]
    History(#[source] std::io::Error),
    /// Metrics cannot be pushed.
    #[error(transparent)]
    RemoteWrite(#[from] RemoteWriteError),
    /// There is no thread that sends flows.
    #[error("ipfix.to: there is no thread to send flows: {0}")]
    Ipfix(#[source] std::io::Error),
    /// The database cannot be used.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
    /// The file of the database cannot be made, or not be written.
    #[error(
        "database {}: {source} (for user {user}): give that user the right to write there, or choose another file with \
         --database or store.database", path.display()
    )]
    DatabaseFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
        /// Who it was tried as.
        user: u32,
    },
    /// TLS cannot be spoken with what is configured.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// Others reach the listener, and nobody could use it.
    #[error(
        "other machines reach {address} (api.listen), and there is no token that holds: `nta-daemon tokens create --role admin`, with the \
         same --config or --database, makes one; `api.insecure = \"i understand\"` serves it to everybody"
    )]
    NoToken {
        /// Where it listens.
        address: SocketAddr,
    },
    /// Another daemon captures for the sensor.
    #[error("the lease was lost: {0}")]
    LeaseLost(StoreError),
    /// A task ended that must not; the log has the details.
    #[error("{task} stopped unexpectedly")]
    Stopped {
        /// The task.
        task: &'static str,
    },
    /// The database did not take all before the end, and there is no spool that keeps it for the next start.
    #[error(
        "{batches} batches of the run are lost: the database did not take them in time, and no spool keeps them (make room for \
         it, or see `store:` in the log)"
    )]
    NotStored {
        /// How many.
        batches: u64,
    },
    /// A task did not end when it was asked to.
    #[error("{task} did not end in time")]
    Late {
        /// The task.
        task: &'static str,
    },
}

/// What an [`App`] is for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Live or replay.
    pub mode: Mode,
    /// The interfaces, or the captures' paths.
    pub source: String,
    /// Where to serve; `None` serves nothing.
    pub listen: Option<SocketAddr>,
    /// What the API says before the first window closes.
    pub status: Status,
    /// Of a replay: what is analysed, so that the second time answers from the first.
    pub analysis: Option<Analysis>,
    /// Of a replay: the files that are replayed, which have the packets of its alerts.
    pub files: Vec<PathBuf>,
}

/// An open database with its writer, and a bound listener: everything that can be refused was tried.
pub struct App {
    /// The address that is listened on.
    pub address: Option<SocketAddr>,
    config: Config,
    status: watch::Sender<Status>,
    baselines: BaselineHandle,
    mutes: MuteHandle,
    /// What is looked for.
    detect: DetectHandle,
    /// The settings in effect; `config` is those of the start.
    current: Current,
    /// By which a reload is asked for, and where it is.
    reload: ReloadHandle,
    reloads: Reloads,
    metrics: MetricsHandle,
    ids: IdentityScope,
    /// Alerts of the runs before that may come back.
    earlier: Vec<EarlierAlert>,
    sensor: String,
    served: Option<Served>,
    /// What the listener speaks TLS with.
    tls: Option<Arc<Tls>>,
    outputs: Box<Outputs>,
    /// What the run before left for this one to go on from.
    resume: Option<Resume>,
    /// The run before, and the identity of this one.
    before: Option<i64>,
    run: [u8; 16],
    /// The run whose rows are served: in a replay of what is known, that of before.
    data: [u8; 16],
    /// That no other daemon captures for this sensor with this database, until the App is gone; in a replay, that no other
    /// process stores the same analysis, until it is stored.
    lease: Option<Lease>,
    store: Store,
    /// Whether this analysis is in the database already: what comes of it is not stored again.
    is_known: bool,
    /// How far a replay is.
    progress: Progress,
    /// How many of the same are stored already.
    again: u32,
    uploads: Uploads,
    /// By which the capture is asked for other interfaces, of a live run.
    capture: Option<CaptureHandle>,
    /// The same, for a reload.
    orders: Option<CaptureHandle>,
    /// The files that are replayed.
    replayed: Vec<PathBuf>,
    writer: StoreWriter,
    write_task: JoinHandle<()>,
    /// Once it serves.
    jobs: Option<Jobs>,
    /// Of a live run, once it serves.
    webhooks: Option<Webhooks>,
    /// Who ships to a server, and what ends that, behind all else.
    shipping: Option<Shipping>,
    ship: CancellationToken,
    /// Ends every task.
    stop: CancellationToken,
}

impl App {
    /// Binds the address, opens the database and registers the run; live, the baselines go on from where they were.
    ///
    /// # Errors
    /// Names the address or the database that cannot be used.
    pub async fn build(config: &Config, plan: Plan) -> Result<Self, AppError> {
        RECORDS.hide(config.secrets());
        let (served, mut store) = Served::begin(config, plan.listen).await?;
        let host = host_name();
        let left =
            config.store.spool(store.path(), &host).map(|(folder, _)| spools_of(&host, &folder)).unwrap_or_default();
        let sensor = match config.sensor.name.get() {
            Some(name) => name.to_owned(),
            None => store.sensor_name(&host, left.first().map(|left| left.sensor.clone())).await?,
        };
        let mut lease = None;
        if plan.mode == Mode::Live {
            lease = Some(store.lease(&sensor).await?);
            for LeftSpool { sensor, folder, .. } in left.iter().filter(|left| left.has_batches && left.sensor != sensor)
            {
                let folder = folder.display().to_string();
                tracing::warn!(
                    folder,
                    "batches of the sensor {sensor} wait here; a run with that `sensor.name` stores them"
                );
            }
            if let Some((folder, most)) = config.store.spool(store.path(), &sensor) {
                store = store.with_spool(folder, most);
            }
        }
        if plan.mode == Mode::Live && !config.ship.to.is_empty() {
            let local = config.detect.local_networks.clone();
            store = store.with_outbox(ship::outbox(&config.ship)).with_local_networks(local);
        }
        let is_live = plan.mode == Mode::Live;
        let outputs = Box::new(if is_live { Outputs::start(config, &store, &sensor)? } else { Outputs::default() });
        let Looked { new, known: data, earlier, lease: analysing } = analysis::look_up(&store, plan.analysis).await?;
        let run = Run {
            started: clock::now(),
            mode: plan.mode,
            source: plan.source,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sensor,
            uuid: Run::new_uuid(clock::now()),
            analysis: new,
        };
        let named = run.sensor.parse().unwrap_or_else(|_| SensorId::replay());
        let ids = IdentityScope::of_run(&named, &RunId(run.uuid));
        let resume = if plan.mode == Mode::Live { store.resume(&run.sensor).await } else { None };
        let sensor = run.sensor.clone();
        let (before, uuid) = (resume.as_ref().map(|resume| resume.run), run.uuid);
        let analysis = run.analysis.clone();
        let run = store.begin_run(&run).await?;
        if let Some(analysis) = analysis {
            store.check_analysis(&analysis, earlier).await?;
        }
        let (writer, write_task) = store.writer(run, STORE_QUEUE);
        let baselines = BaselineHandle::default();
        let mutes = MuteHandle::default();
        let mut alerts = Vec::new();
        if plan.mode == Mode::Live {
            restore(&store, &sensor, &config.baseline, &baselines).await;
            muted::restore(&store, &sensor, &mutes).await;
            let hold_ns = config.detect.alerting.longest_hold_ns();
            let since = Timestamp::from_nanos(clock::now().as_nanos().saturating_sub(hold_ns));
            alerts = store.earlier_alerts(&sensor, since).await.unwrap_or_else(|error| {
                tracing::warn!(
                    error = error.chain(),
                    "alerts of the run before cannot be read: what comes back is new"
                );
                Vec::new()
            });
        }
        // Whoever asks before the pipeline begins learns how long its windows will be.
        let window_ns = config.windows.span_ns();
        let (status, _watched) = watch::channel(Status { mode: plan.mode, window_ns, ..plan.status });
        let (config, stop) = (config.clone(), CancellationToken::new());
        let uploads = Uploads::new(&store, &config);
        let (reload, reloads) = ReloadHandle::new();
        let (detect, current) = (config.detect.clone().into(), config.clone().into());
        Ok(Self {
            address: served.as_ref().map(|served| served.address),
            config,
            status,
            baselines,
            mutes,
            detect,
            current,
            reload,
            reloads,
            metrics: MetricsHandle::default(),
            ids,
            earlier: alerts,
            sensor,
            tls: served.as_ref().and_then(|served| served.tls.clone()),
            served,
            outputs,
            resume,
            before,
            run: uuid,
            data: data.unwrap_or(uuid),
            lease: lease.or(analysing),
            store,
            is_known: data.is_some(),
            progress: Progress::default(),
            again: earlier,
            uploads,
            capture: None,
            orders: None,
            replayed: plan.files,
            writer,
            write_task,
            jobs: None,
            webhooks: None,
            shipping: None,
            ship: CancellationToken::new(),
            stop,
        })
    }

    /// What the run before left for this one to go on from, once.
    pub const fn take_resume(&mut self) -> Option<Resume> {
        self.resume.take()
    }

    /// The flows of the run before go on in this one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_over_flows(&self) -> Result<(), AppError> {
        let Some(before) = self.before else { return Ok(()) };
        Ok(self.store.take_over_flows(before, &self.run).await?)
    }

    /// Stores from where this run reads its maps, for the next start if this one is killed before its first window.
    pub async fn begin_readings(&self, readings: &Readings) {
        if let Err(error) = self.store.begin_readings(&self.run, readings).await {
            tracing::warn!(
                error = error.chain(),
                "not stored from where the maps are read: a kill now loses what was counted"
            );
        }
    }
}

/// Takes the stored baselines; without them, or with ones that cannot be used, learning begins anew.
async fn restore(store: &Store, sensor: &str, config: &BaselineConfig, handle: &BaselineHandle) {
    let export = match store.baselines(&baselines_name(Mode::Live, sensor)).await {
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

/// The host's name, as a sensor's name may have it; `sensor` where there is none.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(48).collect();
    if name.is_empty() { "sensor".to_owned() } else { name }
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
        let plan = Plan {
            mode,
            source: "eth0".to_owned(),
            listen: None,
            status: Status::default(),
            analysis: None,
            files: Vec::new(),
        };
        App::build(config, plan).await.expect("it starts")
    }

    #[tokio::test]
    async fn a_live_start_goes_on_with_the_stored_baselines_and_a_replay_begins_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let config = config(folder.path());
        let app = start(&config, Mode::Live).await;
        assert!(app.baselines.latest().is_none(), "nothing is stored yet");
        let network = [(Metric::Loss, Series::default())].into();
        let export = Export { network, updated_ns: 7, ..Export::default() };
        app.store.save_baselines(&baselines_name(Mode::Live, &app.sensor), &export).await.expect("save");
        app.abandon().await;

        let app = start(&config, Mode::Live).await;
        let mut pipeline = Baselines::new(config.baseline.clone());
        assert_eq!(app.baselines.carry_out(&mut pipeline), (true, vec![]));
        assert_eq!(pipeline.export(), export);
        app.abandon().await;
        let app = start(&config, Mode::Replay).await;
        assert!(app.baselines.latest().is_none());
        app.abandon().await;
    }
}
