//! What every handler may read.

use std::sync::Arc;

use tokio::sync::watch;
use utoipa::openapi::OpenApi;

use super::guard::AllowedHosts;
use super::workers::Workers;
use crate::pipeline::baselines::BaselineHandle;
use crate::store::Store;
use nta_core::baseline::BaselineConfig;
use nta_core::detect::DetectConfig;
use nta_core::domain::{Status, Timestamp};
use nta_core::window::DEFAULT_WINDOW_NS;

/// Shared by all requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub(super) store: Store,
    pub(super) analysis: Arc<AnalysisAccess>,
    pub(super) hosts: Arc<AllowedHosts>,
    pub(super) workers: Workers,
    pub(super) document: Arc<OpenApi>,
    status: watch::Receiver<Status>,
}

/// What handlers need to read and change baselines, and to judge windows again.
#[derive(Clone, Debug, Default)]
pub struct AnalysisAccess {
    /// Shared with the pipeline.
    pub baselines: BaselineHandle,
    /// What is looked for.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
}

impl ApiState {
    /// Serves this store and this status.
    pub fn new(store: Store, status: watch::Receiver<Status>) -> Self {
        let document = Arc::new(OpenApi::default());
        let (analysis, hosts) = Default::default();
        Self { store, analysis, hosts, workers: Workers::computing(), document, status }
    }

    /// Serves these baselines.
    #[must_use]
    pub fn with_analysis(self, analysis: AnalysisAccess) -> Self {
        Self { analysis: Arc::new(analysis), ..self }
    }

    /// Answers for these hosts too.
    #[must_use]
    pub fn with_hosts(self, hosts: AllowedHosts) -> Self {
        Self { hosts: Arc::new(hosts), ..self }
    }

    /// Describes itself by this document.
    pub(super) fn with_document(self, document: OpenApi) -> Self {
        Self { document: Arc::new(document), ..self }
    }

    /// Length of a base window in nanoseconds.
    pub(super) fn base_ns(&self) -> u64 {
        let window_ns = self.status.borrow().window_ns;
        // Nothing is published before the pipeline begins.
        if window_ns == 0 { DEFAULT_WINDOW_NS } else { window_ns }
    }

    /// The pipeline's last published status.
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// The wall clock. Answers carry the time at which they were given; nothing else here depends on it.
pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// Version of the daemon.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
