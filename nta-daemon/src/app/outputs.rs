//! What a run gives to the store, and a live one to others beside the API: lines, events, flows, metrics, hours.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::api::{self, ApiState};
use crate::capture::clock;
use crate::config::Config;
use crate::history::History;
use crate::sink::Counters;
use crate::sink::eve::EveOutput;
use crate::sink::ipfix::IpfixExporter;
use crate::sink::jsonl::Mirror;
use crate::sink::remote_write::RemoteWrite;
use crate::sink::store::StoreOutput;
use crate::store::{Found, Store};
use nta_core::domain::Mode;
use nta_core::window::Lengths;

/// How long a shutdown waits for the push that says that all series end.
const DEADLINE: Duration = Duration::from_secs(3);

/// Each where it is configured.
#[derive(Default)]
pub(super) struct Outputs {
    /// The files of JSON lines.
    pub(super) mirror: Option<Mirror>,
    pub(super) eve: Option<EveOutput>,
    pub(super) ipfix: Option<IpfixExporter>,
    remote_write: Option<RemoteWrite>,
    history: Option<History>,
    /// Pushes metrics, once there is an API.
    pushes: Option<JoinHandle<()>>,
}

impl App {
    /// An output that stores what the pipeline produces. Live, it never waits for the database; a replay does.
    pub(super) fn output(&self) -> StoreOutput {
        let mode = self.status.borrow().mode;
        let waits = mode == Mode::Replay;
        let lengths = if waits { Lengths::Nominal } else { Lengths::Measured };
        let found = Found::new(self.store.clone(), self.config.store.feature_hosts).with_lengths(lengths);
        let beside = (mode, self.baselines.clone());
        let output = StoreOutput::new(self.writer.clone(), self.status.clone(), found, beside, waits);
        let output = output.that_groups(self.config.group_flows(mode));
        if self.is_known { output.that_stores_nothing() } else { output }
    }
}

impl Outputs {
    /// All that are configured.
    ///
    /// # Errors
    /// Names the setting that cannot be followed.
    pub(super) fn start(config: &Config, store: &Store, sensor: &str) -> Result<Self, AppError> {
        let archive = &config.archive;
        let has_folder = !archive.folder.as_os_str().is_empty();
        let history = has_folder.then(|| History::new(store.clone(), &archive.folder, archive.max_bytes));
        Ok(Self {
            mirror: Mirror::open(&config.jsonl, sensor)?,
            eve: EveOutput::start(&config.eve, sensor)?,
            ipfix: IpfixExporter::start(&config.ipfix).map_err(AppError::Ipfix)?,
            remote_write: RemoteWrite::new(&config.remote_write, sensor)?,
            history: history.transpose().map_err(AppError::History)?,
            pushes: None,
        })
    }

    /// What becomes of what they send; the lines have counters of their own.
    pub(super) fn counters(&self) -> Vec<Arc<Counters>> {
        let all = [
            self.eve.as_ref().map(EveOutput::counters),
            self.ipfix.as_ref().map(IpfixExporter::counters),
            self.remote_write.as_ref().map(RemoteWrite::counters),
            self.history.as_ref().map(History::counters),
        ];
        all.into_iter().flatten().collect()
    }

    /// Begins those that give what the API says or the store has.
    pub(super) fn begin(&mut self, state: &ApiState, stop: &CancellationToken) {
        if let Some(history) = self.history.take() {
            tokio::spawn(history.keep(stop.clone(), clock::now));
        }
        if let Some(push) = self.remote_write.take() {
            let exposed = state.clone();
            let exposition = move || {
                let state = exposed.clone();
                async move { api::exposition(&state).await.ok() }
            };
            self.pushes = Some(tokio::spawn(push.run(stop.clone(), exposition)));
        }
    }

    /// Waits for those that have something to say at the end.
    pub(super) async fn end(self) {
        if let Some(pushes) = self.pushes {
            let _late = tokio::time::timeout(DEADLINE, pushes).await; // the store forgets the series later
        }
    }
}
