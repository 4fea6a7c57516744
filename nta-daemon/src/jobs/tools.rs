//! What jobs and handlers share: the store, the baselines, and the pipeline's last published status.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::ApiError;
use crate::config::Config;
use crate::model_loader::Registry;
use crate::pipeline::baselines::{BaselineHandle, Busy};
use crate::pipeline::detecting::DetectHandle;
use crate::pipeline::metrics::MetricsHandle;
use crate::pipeline::mutes::MuteHandle;
use crate::results::Results;
use crate::store::{Store, WindowFilter, baselines_name};
use crate::uploads::Uploads;
use nta_core::baseline::{BaselineConfig, Baselines, Export, Import};
use nta_core::domain::{Status, Timestamp};
use nta_core::window::{DEFAULT_WINDOW_NS, Span, Window};

/// What is needed to read and change baselines, and to judge windows again.
#[derive(Clone, Debug, Default)]
pub struct AnalysisAccess {
    /// Shared with the pipeline.
    pub baselines: BaselineHandle,
    /// What no alert is raised about, shared with the pipeline.
    pub mutes: MuteHandle,
    /// What it counts for Prometheus.
    pub metrics: MetricsHandle,
    /// What is looked for.
    pub detect: DetectHandle,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
}

/// Shared by all jobs and requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The database.
    pub store: Store,
    /// The baselines, and what is looked for.
    pub analysis: Arc<AnalysisAccess>,
    /// The captures, and what they are analysed with.
    pub uploads: Uploads,
    /// Files that jobs make.
    pub results: Results,
    /// The models, and which of them judge.
    pub models: Registry,
    /// What the pipeline published last.
    pub status: watch::Receiver<Status>,
    /// Whose windows are learned from and judged again; `None` for those of all.
    pub sensor: Option<String>,
    /// What is stored of baselines, once it was read.
    stored: Arc<Mutex<Option<Arc<Export>>>>,
}

impl Tools {
    /// Tools over this store and this status.
    pub fn new(store: Store, status: watch::Receiver<Status>) -> Self {
        let settings = Config::default();
        let (uploads, results) = (Uploads::new(&store, &settings), Results::new(&store, &settings));
        let models = Registry::new(&store, &settings, uploads.models().clone());
        Self { store, uploads, results, models, status, analysis: Arc::default(), sensor: None, stored: Arc::default() }
    }

    /// With these captures, and results where their configuration says.
    #[must_use]
    pub fn with_uploads(self, uploads: Uploads) -> Self {
        let results = Results::new(&self.store, uploads.settings());
        let models = Registry::new(&self.store, uploads.settings(), uploads.models().clone());
        Self { results, models, uploads, ..self }
    }

    /// With these baselines.
    #[must_use]
    pub fn with_analysis(self, analysis: Arc<AnalysisAccess>) -> Self {
        Self { analysis, ..self }
    }

    /// For the windows of this sensor.
    #[must_use]
    pub fn with_sensor(self, name: String) -> Self {
        Self { sensor: Some(name), ..self }
    }

    /// Length of a base window in nanoseconds.
    pub(crate) fn base_ns(&self) -> u64 {
        let window_ns = self.status.borrow().window_ns;
        // Nothing is published before the pipeline begins.
        if window_ns == 0 { DEFAULT_WINDOW_NS } else { window_ns }
    }

    /// The newest stored windows of 30 s of this sensor within a range, oldest first.
    pub(crate) async fn medium_windows(
        &self,
        most: u32,
        [from, to]: [Option<Timestamp>; 2],
    ) -> Result<Vec<Window>, ApiError> {
        let span_ns = Some(self.base_ns() * Span::Medium.factor());
        let whose = self.sensor.clone().into();
        let filter = WindowFilter { from, to, span_ns, whose };
        Ok(self.store.network_windows(Span::Medium, &filter, most).await?)
    }

    /// What is known of baselines: the pipeline's, or what was stored before its first window; and which of them.
    pub(crate) async fn known(&self) -> Result<(Arc<Export>, &'static str), ApiError> {
        if let Some(export) = self.analysis.baselines.latest() {
            return Ok((export, "pipeline"));
        }
        // Nobody but an import changes what is stored while no pipeline publishes; it is large, and read once.
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(export) = stored {
            return Ok((export, "store"));
        }
        Ok(match self.store.baselines(&self.baselines_name()).await? {
            Some(export) => (self.keep(Some(export)).unwrap_or_default(), "store"),
            None => (Arc::default(), "none"),
        })
    }

    /// Baselines made of an export.
    pub(crate) fn baselines(&self, export: Export) -> Result<Baselines, ApiError> {
        let mut baselines = Baselines::new(self.analysis.baseline.clone());
        let import = baselines.import(export);
        import
            .map_err(|detail| ApiError::Unprocessable { field: None, detail: format!("stored baselines: {detail}") })?;
        Ok(baselines)
    }

    /// Hands an import to the pipeline, and stores what is known with it.
    pub(crate) async fn apply(&self, import: Import) -> Result<Baselines, ApiError> {
        let (export, _) = self.known().await?;
        let mut imported = self.baselines((*export).clone())?;
        let refused = |detail| ApiError::Unprocessable { field: None, detail };
        imported.take(import.clone()).map_err(refused)?;
        let busy = |busy: Busy| ApiError::Conflict { detail: busy.to_string() };
        self.analysis.baselines.order(import).map_err(busy)?;
        let export = imported.export();
        let saved = self.store.save_baselines(&self.baselines_name(), &export).await;
        self.keep(saved.is_ok().then_some(export));
        saved?;
        Ok(imported)
    }

    fn baselines_name(&self) -> String {
        baselines_name(self.status.borrow().mode, self.sensor.as_deref().unwrap_or_default())
    }

    /// Keeps what is stored, or forgets it.
    fn keep(&self, export: Option<Export>) -> Option<Arc<Export>> {
        let export = export.map(Arc::new);
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&export);
        export
    }
}
