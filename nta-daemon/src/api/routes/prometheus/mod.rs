//! `GET /metrics`: the same numbers as `/api/status` for Prometheus, with sums and histograms since the start, in the OpenMetrics text
//! format or in that of before. Labels are interfaces, maps, routes, sensors and names fixed at compile time, never addresses or paths of files.

mod alerts;
mod collected;
mod families;
mod fleet;
mod page;
mod service;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::accept;
use crate::api::extract::Query;
use crate::api::process::{self, ProcessJson, Standard};
use crate::api::requests::Requests;
use crate::api::serve::Connections;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::collector::{CountsNow, Reading};
use crate::jobs::JobCounts;
use crate::pipeline::metrics::Counted;
use crate::sink;
use crate::sink::jsonl::FileCount;
use crate::sink::ship::ShippingState;
use crate::sink::stream::StreamStats;
use crate::sink::webhook::{WebhookCounts, Webhooks};
use crate::store::{Shipped, StoreStats};
use crate::telemetry::RecordCounts;
use crate::uploads::Uploads;
use nta_core::domain::{AlertKind, Status, Timestamp};

pub(in crate::api) use alerts::Known as OpenAlertsKnown;
use alerts::Open;
use page::Page;

const OPEN_METRICS: &str = "application/openmetrics-text";
const TEXT: &str = "text/plain";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, from one snapshot: as OpenMetrics for who names that in `Accept`, else in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_prometheus",
    tag = "about",
    responses((status = 200, description = "The exposition.", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    )))
)]
pub(in crate::api) async fn get(
    _: Query<()>,
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let text = open_metrics(&state).await?;
    let (media_type, text) = if accept::prefers(&headers, OPEN_METRICS, TEXT) {
        (OPEN_METRICS_TYPE, text)
    } else {
        (TEXT_TYPE, text::plain(&text))
    };
    Ok(([(header::CONTENT_TYPE, media_type), (header::VARY, "Accept")], text).into_response())
}

/// Everything in the text format of Prometheus.
pub(in crate::api) async fn plain(state: &ApiState) -> Result<String, ApiError> {
    Ok(text::plain(&open_metrics(state).await?))
}

/// Everything in that of OpenMetrics.
async fn open_metrics(state: &ApiState) -> Result<String, ApiError> {
    let sensors = fleet::sensors(state).await;
    let is_centre = !sensors.is_empty() || state.collected.is_some();
    let snapshot = Snapshot {
        status: state.status(),
        store: state.store.stats(),
        commits: state.store.commit_times(),
        process: process::read(),
        standard: process::standard(),
        connections: Arc::clone(&state.connections),
        requests: Arc::clone(&state.requests),
        counted: state.analysis.metrics.counted(),
        unaudited: state.unaudited.load(Relaxed),
        limited: state.access.refused(),
        jobs: state.jobs()?.counts(),
        results: {
            let results = &state.tools().results;
            [results.used_bytes(), results.expired(), results.refused()]
        },
        stream: state.events.stats(),
        uploads: (state.uploads.clone(), state.uploads.used_bytes()),
        webhooks: state.webhooks.as_ref().map(Webhooks::counts).unwrap_or_default(),
        records: state.records.counts(),
        ring: state.ring.as_ref().map(|counts| counts.all()).unwrap_or_default(),
        shipping: state
            .shipping
            .as_ref()
            .map(|shipping| (shipping.state(), shipping.trouble().is_some()))
            .unwrap_or_default(),
        sensors,
        open: if is_centre { Open::Centre(alerts::open(state).await) } else { Open::Own },
        raised_elsewhere: state.store.alerts_raised_elsewhere(),
        now: now(),
        collected: state
            .collected
            .as_ref()
            .map(|counts| (counts.now(), counts.how_it_reads(), counts.trouble().is_some())),
        mirror: state.mirror.as_ref().map(|counters| (counters.files(), counters.is_failing())),
        outputs: Arc::clone(&state.outputs),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_cannot_fail| ApiError::Internal)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot {
    status: Status,
    store: StoreStats,
    commits: Histogram,
    process: ProcessJson,
    standard: Standard,
    connections: Arc<Connections>,
    requests: Arc<Requests>,
    counted: Counted,
    unaudited: u64,
    limited: u64,
    jobs: JobCounts,
    /// Bytes of the files that jobs made; those that were deleted, and those without room.
    results: [u64; 3],
    mirror: Option<([FileCount; 2], bool)>,
    outputs: Arc<[Arc<sink::Counters>]>,
    stream: StreamStats,
    uploads: (Uploads, u64),
    webhooks: Vec<WebhookCounts>,
    records: RecordCounts,
    ring: Vec<(String, [u64; 2])>,
    /// How shipping goes, and whether it fails; of who ships nothing nothing waits.
    shipping: (ShippingState, bool),
    /// The newest log of each sensor that ships to this server, the one heard of last first.
    sensors: Vec<Shipped>,
    open: Open,
    raised_elsewhere: BTreeMap<AlertKind, u64>,
    now: Timestamp,
    /// What a collector read, how reading goes, and whether it fails.
    collected: Option<(CountsNow, Reading, bool)>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = Page { encoder, prefix: "nta_" };
        self.pipeline(&mut page)?;
        self.events(&mut page)?;
        self.detection(&mut page)?;
        self.maps(&mut page)?;
        self.store(&mut page)?;
        self.mirror(&mut page)?;
        self.outputs(&mut page)?;
        self.ring(&mut page)?;
        self.shipping(&mut page)?;
        self.fleet(&mut page)?;
        self.collected(&mut page)?;
        self.jobs(&mut page)?;
        self.http(&mut page)?;
        self.service(&mut page)?;
        page.prefix = "";
        families::process(&mut page, &self.process, &self.standard)
    }
}
