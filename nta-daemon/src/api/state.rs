//! What every handler may read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};
use utoipa::openapi::OpenApi;

use super::ApiError;
use super::access::{Access, Rules};
use super::graphql::Graph;
use super::guard::AllowedHosts;
use super::inside;
use super::page::Period;
use super::requests::Requests;
use super::routes::prometheus::OpenAlertsKnown;
use super::serve::{Allowed, Connections};
use super::tls::Tls;
use super::workers::Workers;
use crate::capture::control::CaptureHandle;
use crate::collector::Counts;
use crate::config::{Config, Current, ReloadHandle};
use crate::jobs::{AnalysisAccess, Jobs, KINDS, Tools};
use crate::pipeline::progress::Progress;
use crate::recording::{Recorder, RingCounts};
use crate::sink::{self, jsonl, ship::Shipping, stream::EventStream, webhook::Webhooks};
use crate::store::{Audit, Range, Run, Shipped, Store};
use crate::telemetry::{RECORDS, Records};
use crate::uploads::Uploads;
use nta_core::domain::{Mode, Status, Timestamp};

/// Messages of sensors that are read and stored at a time: each is written as a whole, one behind the other.
pub(super) const SHIPMENTS: usize = 4;
/// Pages of streams that are made at a time: of the database's four connections two are left to others.
pub(super) const STREAMS_READING: usize = 2;
/// Requests that wait for their jobs at a time: others are answered at once, so that reads have places too.
const ORDERS_WAITING: usize = 6;

/// Shared by all requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub(super) store: Store,
    pub(super) uploads: Uploads,
    pub(super) analysis: Arc<AnalysisAccess>,
    /// The same and what belongs to it, as jobs have them.
    pub(super) tools: Tools,
    jobs: Option<Jobs>,
    /// Requests that wait for their jobs.
    pub(super) orders_waiting: Arc<Semaphore>,
    pub(super) hosts: Arc<AllowedHosts>,
    pub(super) access: Arc<Access>,
    pub(super) workers: Workers,
    pub(super) connections: Arc<Connections>,
    pub(super) requests: Arc<Requests>,
    pub(super) document: Arc<OpenApi>,
    /// Where it is switched on.
    pub(super) graph: Option<Graph>,
    pub(super) status: watch::Receiver<Status>,
    /// The run that holds the capture of a replay.
    run: Option<[u8; 16]>,
    /// Places for messages of sensors.
    pub(super) shipments: Arc<Semaphore>,
    /// Where the pages of streams are made.
    pub(super) streams: Arc<Semaphore>,
    /// How far a replay is.
    pub(super) progress: Option<Progress>,
    /// What TLS is spoken with.
    pub(super) tls: Option<Arc<Tls>>,
    /// What became of the lines that mirror windows and anomalies.
    pub(super) mirror: Option<Arc<jsonl::Counters>>,
    /// What became of what goes to others.
    pub(super) outputs: Arc<[Arc<sink::Counters>]>,
    /// Records packets, in a daemon that captures.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Where captures are kept.
    pub(super) packet_folders: Arc<[PathBuf]>,
    pub(super) replayed: Arc<[PathBuf]>,
    /// By which the capture is asked for other interfaces, in a daemon that captures.
    pub(super) capture: Option<CaptureHandle>,
    /// The settings in effect.
    pub(super) config: Current,
    /// By which a reload is asked for, of a daemon that captures.
    pub(super) reload: Option<ReloadHandle>,
    /// The newest records of the log.
    pub(super) records: &'static Records,
    /// What the packet buffer took, where there is one.
    pub(super) ring: Option<Arc<RingCounts>>,
    /// Changes that are not in the audit log, as the store did not take them.
    pub(super) unaudited: Arc<AtomicU64>,
    /// What happens.
    pub(super) events: EventStream,
    pub(super) allowed: Allowed,
    /// Who is told of what happens; of a replay nobody.
    pub(super) webhooks: Option<Webhooks>,
    /// Who ships to a server.
    pub(super) shipping: Option<Shipping>,
    /// What was known at the last scrape of the sensors that ship to this one.
    pub(super) shipped: Arc<Mutex<Vec<Shipped>>>,
    /// What was known at the last scrape of alerts that go on.
    pub(super) open_alerts: Arc<OpenAlertsKnown>,
    /// What is inside for each sensor, as it was asked last.
    pub(super) insides: Arc<inside::Known>,
    /// What a collector read.
    pub(super) collected: Option<Counts>,
}

impl ApiState {
    /// Serves this store and this status.
    pub fn new(store: Store, status: watch::Receiver<Status>) -> Self {
        let document = Arc::new(OpenApi::default());
        let tools = Tools::new(store.clone(), status.clone());
        let (analysis, hosts) = Default::default();
        let access = Arc::new(Access::new(store.clone(), status.clone(), Rules::default()));
        let events = EventStream::new(store.clone());
        Self {
            uploads: tools.uploads.clone(),
            events,
            allowed: Allowed::default(),
            webhooks: None,
            shipping: None,
            shipped: Arc::default(),
            open_alerts: Arc::default(),
            insides: Arc::default(),
            collected: None,
            analysis,
            hosts,
            access,
            workers: Workers::computing(),
            connections: Arc::default(),
            requests: Arc::default(),
            document,
            graph: None,
            tools,
            jobs: None,
            orders_waiting: Arc::new(Semaphore::new(ORDERS_WAITING)),
            store,
            status,
            run: None,
            shipments: Arc::new(Semaphore::new(SHIPMENTS)),
            streams: Arc::new(Semaphore::new(STREAMS_READING)),
            progress: None,
            tls: None,
            mirror: None,
            outputs: Arc::default(),
            recorder: None,
            packet_folders: Arc::default(),
            replayed: Arc::default(),
            capture: None,
            config: Current::default(),
            reload: None,
            records: &RECORDS,
            ring: None,
            unaudited: Arc::default(),
        }
    }

    /// Has at most so many connections open at a time, as far as there are descriptors.
    #[must_use]
    pub fn with_connections(self, most: usize) -> Self {
        Self { allowed: Allowed::of(most), ..self }
    }

    /// Lets at most so many readers follow the events at a time, who leave a quarter of the connections to others.
    #[must_use]
    pub fn with_readers(self, most: usize) -> Self {
        let room = (self.allowed.connections - self.allowed.connections / 4).max(1);
        if most > room {
            tracing::warn!(
                asked = most,
                readers = room,
                "api: fewer readers of events than asked for: there are too few connections"
            );
        }
        let most = most.min(room);
        Self { events: EventStream::for_readers(self.store.clone(), most), ..self }
    }

    /// Says how shipping to a server goes.
    #[must_use]
    pub fn with_shipping(self, shipping: Shipping) -> Self {
        Self { shipping: Some(shipping), ..self }
    }

    /// Says what a collector read.
    #[must_use]
    pub fn with_collected(self, counts: Counts) -> Self {
        Self { collected: Some(counts), ..self }
    }

    /// Says how these webhooks do.
    #[must_use]
    pub fn with_webhooks(self, webhooks: Webhooks) -> Self {
        Self { webhooks: Some(webhooks), ..self }
    }

    /// Serves these baselines.
    #[must_use]
    pub fn with_analysis(self, analysis: AnalysisAccess) -> Self {
        let analysis = Arc::new(analysis);
        let tools = self.tools.with_analysis(Arc::clone(&analysis));
        Self { analysis, tools, ..self }
    }

    /// Answers for these hosts too.
    #[must_use]
    pub fn with_hosts(self, hosts: AllowedHosts) -> Self {
        Self { hosts: Arc::new(hosts), ..self }
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Lets in by these rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { access: Arc::new(self.access.by(rules)), ..self }
    }

    /// Reads who may use the API: from then on the store is not needed to know it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read_tokens(&self) -> Result<(), ApiError> {
        self.access.refresh().await
    }

    /// Keeps who changed what. The change is made: that this could not be kept is logged, and counted.
    pub(super) async fn record(&self, change: &Audit) {
        if let Err(error) = self.store.audit(change).await {
            self.unaudited.fetch_add(1, Relaxed);
            let Audit { who, action, target, .. } = change;
            tracing::error!(error = error.chain(), who, action, target, "api: a change is not in the audit log");
        }
    }

    /// Shows the capture of this run unless a request names another time, in a replay.
    #[must_use]
    pub fn with_run(self, run: [u8; 16]) -> Self {
        Self { run: Some(run), ..self }
    }

    /// Takes captures as these say.
    #[must_use]
    pub fn with_uploads(self, uploads: Uploads) -> Self {
        Self { tools: self.tools.with_uploads(uploads.clone()), uploads, ..self }
    }

    /// Says how far the analysis of a replay is.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Says what becomes of what goes to others.
    #[must_use]
    pub fn with_outputs(self, outputs: Vec<Arc<sink::Counters>>) -> Self {
        Self { outputs: outputs.into(), ..self }
    }

    /// Says what becomes of the lines of files that mirror windows and anomalies.
    #[must_use]
    pub fn with_mirror(self, counters: Arc<jsonl::Counters>) -> Self {
        Self { mirror: Some(counters), ..self }
    }

    /// Counts what the packet buffer takes.
    #[must_use]
    pub fn with_ring(self, counts: Arc<RingCounts>) -> Self {
        Self { ring: Some(counts), ..self }
    }

    /// Looks for packets of alerts in these folders.
    #[must_use]
    pub fn with_packets(self, folders: Vec<PathBuf>) -> Self {
        Self { packet_folders: folders.into(), ..self }
    }

    /// Looks for packets in these captures too, which are those that are replayed.
    #[must_use]
    pub fn with_replayed(self, captures: Vec<PathBuf>) -> Self {
        Self { replayed: captures.into(), ..self }
    }

    /// Starts and stops capture by request.
    #[must_use]
    pub fn with_capture(self, capture: CaptureHandle) -> Self {
        Self { capture: Some(capture), ..self }
    }

    /// Shows these settings.
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        Self { config: config.into(), ..self }
    }

    /// Shows these records of a log.
    #[must_use]
    pub fn with_records(self, records: &'static Records) -> Self {
        Self { records, ..self }
    }

    /// Records packets by request.
    #[must_use]
    pub fn with_recorder(self, recorder: Recorder) -> Self {
        Self { recorder: Some(Arc::new(recorder)), ..self }
    }

    /// Learns from this sensor's windows, and judges these.
    #[must_use]
    pub fn with_sensor(self, name: String) -> Self {
        Self { tools: self.tools.with_sensor(name), ..self }
    }

    /// Does its jobs by these; unless given it has its own.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs) -> Self {
        self.uploads.analyse_by(&jobs);
        Self { jobs: Some(jobs), ..self }
    }

    /// What jobs work with.
    pub const fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The state with jobs of its own, where it was given none.
    pub(super) fn with_own_jobs(mut self) -> Self {
        let run = Run::new_uuid(now());
        let tools = &self.tools;
        let jobs = self.jobs.get_or_insert_with(|| Jobs::new(tools.clone(), run, KINDS));
        self.uploads.analyse_by(jobs);
        self
    }

    /// All jobs.
    pub(super) fn jobs(&self) -> Result<&Jobs, ApiError> {
        self.jobs.as_ref().ok_or(ApiError::Internal)
    }

    /// Describes itself by this document.
    pub(super) fn with_document(self, document: OpenApi) -> Self {
        Self { document: Arc::new(document), ..self }
    }

    /// Length of a base window in nanoseconds.
    pub(super) fn base_ns(&self) -> u64 {
        self.tools.base_ns()
    }

    /// The time range that is asked for, filled up: with the last day, in a replay with the span of its capture.
    pub(super) async fn range(&self, Period { from, to }: Period) -> Result<Range, ApiError> {
        if from.is_some() && to.is_some() {
            return Ok(Range { from, to });
        }
        let day_before = |to: Timestamp| Timestamp::from_nanos(to.as_nanos().saturating_sub(DAY_NS));
        let is_live = self.status.borrow().mode == Mode::Live;
        let span = match self.run {
            Some(run) if !is_live => self.store.span_of_run(&run).await?,
            _ => None,
        };
        Ok(match span {
            Some((first, end)) => Range {
                // A time that has nothing to do with the capture is another one's.
                from: from.or_else(|| Some(to.filter(|to| *to <= first).map_or(first, day_before))),
                to: to.or_else(|| Some(end).filter(|end| from.is_none_or(|from| from < *end))),
            },
            None if is_live => {
                Range { from: from.or_else(|| Some(day_before(to.unwrap_or_else(now)).floor(SECOND_NS))), to }
            }
            None => Range { from, to },
        })
    }

    /// How many analyses of the capture of a replay the lists show; `None` live, and where the store does not say.
    pub(super) async fn analyses_shown(&self) -> Option<u64> {
        let is_live = self.status.borrow().mode == Mode::Live;
        self.store.runs_alike(&self.run.filter(|_| !is_live)?).await.ok()
    }

    /// The pipeline's last published status.
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// The wall clock. Answers carry the time at which they were given; nothing else here depends on it.
pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// Version of the daemon.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
