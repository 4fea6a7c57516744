//! `GET /metrics`: the same numbers as `/api/status` for Prometheus, in the OpenMetrics text format. Labels are
//! interfaces, maps and names fixed at compile time, never addresses.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use nta_common::Counter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::api::extract::Query;
use crate::api::process::{self, ProcessJson};
use crate::api::serve::Connections;
use crate::api::state::VERSION;
use crate::api::{ApiError, ApiState};
use crate::json::{EventsJson, mode_name, seconds};
use crate::sink::jsonl::FileCount;
use crate::store::StoreStats;
use nta_core::domain::{ModelUse, Severity, Status};

/// Everything, from one snapshot.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_prometheus",
    tag = "about",
    responses((status = 200, description = "The exposition.", body = String,
        content_type = "application/openmetrics-text"))
)]
pub(in crate::api) async fn get(_: Query<()>, State(state): State<ApiState>) -> Result<Response, ApiError> {
    let (status, store, process) = (state.status(), state.store.stats(), process::read());
    let (connections, unaudited) = (Arc::clone(&state.connections), state.unaudited.load(Relaxed));
    let mirror = state.mirror.as_ref().map(|counters| (counters.files(), counters.is_failing()));
    let snapshot = Snapshot { status, store, process, connections, unaudited, mirror };
    let mut registry = Registry::with_prefix("nta");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_cannot_fail| ApiError::Internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

#[derive(Debug)]
struct Snapshot {
    status: Status,
    store: StoreStats,
    process: ProcessJson,
    connections: Arc<Connections>,
    unaudited: u64,
    mirror: Option<([FileCount; 2], bool)>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = Page(encoder);
        self.pipeline(&mut page)?;
        self.events(&mut page)?;
        self.detection(&mut page)?;
        self.maps(&mut page)?;
        self.store(&mut page)?;
        self.mirror(&mut page)?;
        self.process(&mut page)
    }
}

impl Snapshot {
    fn pipeline(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let status = &self.status;
        let interfaces = || status.ledger.interfaces.iter();
        let of = |value: fn(&nta_common::LedgerSlot) -> u64| {
            interfaces().map(move |i| (vec![("interface", i.name.as_str())], value(&i.counts) as f64))
        };
        page.family("packets", "Packets seen", COUNTER, of(|counts| counts.get(Counter::Seen)))?;
        page.family("bytes", "Frame bytes seen", COUNTER, of(|counts| counts.seen_bytes))?;
        let ledger = interfaces().flat_map(|i| {
            let labels = |c: Counter| vec![("interface", i.name.as_str()), ("counter", c.name())];
            Counter::ALL.into_iter().map(move |c| (labels(c), i.counts.get(c) as f64))
        });
        page.family("ledger_packets", "Packets by what became of them", COUNTER, ledger)?;
        let balanced = f64::from(u8::from(status.ledger.balances()));
        page.one("ledger_balanced", "1 when every packet seen is accounted for", GAUGE, balanced)?;
        page.one("flows_active", "Flows alive", GAUGE, status.flows_active as f64)?;
        page.one("flows", "Flows since the start", COUNTER, status.flows_total as f64)?;
        page.one("windows_closed", "Windows closed", COUNTER, status.windows_closed as f64)?;
        page.one("windows_folded", "Windows that others stand for", COUNTER, status.windows_folded as f64)?;
        let left_out = status.windows_left_out as f64;
        page.one("windows_left_out", "Windows without packets that were not reported", COUNTER, left_out)?;
        page.one("late_packets", "Packets later than their window", COUNTER, status.late_packets as f64)?;
        page.one("drain_seconds", "Time of the last drain of the maps", GAUGE, seconds(status.last_drain_ns))?;
        let up = f64::from(u8::from(status.failure.is_none()));
        page.one("capture_up", "1 while capture works", GAUGE, up)?;
        let start = status.started.as_secs_f64();
        page.one("start_time_seconds", "Start of the pipeline in Unix time", GAUGE, start)?;
        let labels = vec![("version", VERSION), ("mode", mode_name(status.mode)), ("engine", status.engine.as_str())];
        page.family("build_info", "Version, mode and engine", GAUGE, [(labels, 1.0)])
    }

    fn events(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let events = EventsJson::new(&self.status.events, &self.status.ledger.total());
        let reported = events.kinds.iter().map(|(kind, of)| (vec![("kind", kind.as_str())], of.reported as f64));
        page.family("events", "Packets reported as events", COUNTER, reported)?;
        let lost = events.kinds.iter().flat_map(|(kind, of)| {
            let labels = |reason| vec![("kind", kind.as_str()), ("reason", reason)];
            [(labels("limited"), of.limited as f64), (labels("no_room"), of.no_room as f64)]
        });
        page.family("events_lost", "Packets not reported as events, by reason", COUNTER, lost)?;
        let counts = &events.counts;
        let malformed =
            [("dns", counts.dns_malformed), ("arp", counts.arp_malformed)].map(|(k, n)| (vec![("kind", k)], n as f64));
        page.family("events_malformed", "Events that are no proper message", COUNTER, malformed)?;
        page.one("dns_queries", "DNS questions", COUNTER, counts.dns_queries as f64)?;
        page.one("dns_responses", "DNS answers", COUNTER, counts.dns_responses as f64)?;
        page.one("dns_nxdomain", "DNS answers that there is no such name", COUNTER, counts.dns_nxdomain as f64)?;
        page.one("arp_requests", "ARP requests", COUNTER, counts.arp_requests as f64)?;
        page.one("arp_replies", "ARP replies", COUNTER, counts.arp_replies as f64)
    }

    fn detection(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let status = &self.status;
        let counts = &status.detection;
        page.one("analysis_seconds", "Time of judging the last window", GAUGE, seconds(status.last_analysis_ns))?;
        let outcome = |name| vec![("outcome", name)];
        let reported = counts.allowed + counts.muted + counts.refused + counts.warming_up + counts.waiting;
        let findings = [
            (outcome("alerted"), counts.findings.saturating_sub(reported) as f64),
            (outcome("allowed"), counts.allowed as f64),
            (outcome("muted"), counts.muted as f64),
            (outcome("refused"), counts.refused as f64),
            (outcome("warming_up"), counts.warming_up as f64),
            (outcome("waiting"), counts.waiting as f64),
        ];
        page.family("findings", "Findings by what became of them", COUNTER, findings)?;
        page.one("alerts_raised", "Alerts raised, those that came back among them", COUNTER, counts.raised as f64)?;
        page.one("alerts_cleared", "Alerts cleared", COUNTER, counts.cleared as f64)?;
        let open = Severity::ALL.iter().zip(counts.open).map(|(s, n)| (vec![("severity", s.word())], n as f64));
        page.family("alerts_open", "Alerts that go on", GAUGE, open)?;
        page.one("window_hosts", "Hosts of the last base window", GAUGE, status.window_hosts as f64)?;
        let beyond = status.window_other_packets as f64;
        page.one("window_hosts_beyond_limit_packets", "Packets of hosts beyond the limit in it", GAUGE, beyond)?;
        let learning = &status.learning;
        page.one("baseline_hosts", "Hosts that a baseline is kept for", GAUGE, learning.hosts as f64)?;
        let in_use = f64::from(u8::from(status.model.state == ModelUse::InUse));
        page.one("model_in_use", "Whether a learned model judges beside the rules, 1 or 0", GAUGE, in_use)?;
        page.one("baseline_hosts_evicted", "Hosts whose baseline had to go", COUNTER, learning.hosts_evicted as f64)?;
        let metrics = || learning.metrics.iter();
        let samples = metrics().map(|m| (vec![("metric", m.name)], f64::from(m.samples)));
        page.family("baseline_samples", "Windows learned from", GAUGE, samples)?;
        let ready = metrics().map(|m| (vec![("metric", m.name)], f64::from(u8::from(m.is_ready))));
        page.family("baseline_ready", "1 when anything is expected of the metric", GAUGE, ready)
    }

    fn maps(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let of = |value: fn(&nta_core::domain::MapFill) -> u64| {
            self.status.maps.iter().map(move |map| (vec![("map", map.name.as_str())], value(map) as f64))
        };
        page.family("map_entries", "Entries in use", GAUGE, of(|map| map.entries))?;
        page.family("map_max_entries", "Entries a map can hold, 0 without limit", GAUGE, of(|map| map.max_entries))?;
        page.family("map_memory_bytes", "Memory of a map", GAUGE, of(|map| map.memory_bytes))
    }

    fn store(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let store = &self.store;
        page.one("store_batches", "Batches committed", COUNTER, store.batches as f64)?;
        page.one("store_batches_lost", "Batches given up", COUNTER, store.batches_lost as f64)?;
        page.one("store_failures", "Attempts to write that failed", COUNTER, store.failures as f64)?;
        page.one("store_queue_length", "Batches waiting", GAUGE, store.queue_length as f64)?;
        page.one("store_queue_full", "Batches refused by a full queue", COUNTER, store.queue_full as f64)?;
        let commit_s = store.last_commit_us as f64 / 1e6;
        page.one("store_commit_seconds", "Time of the last commit", GAUGE, commit_s)?;
        let failing = f64::from(u8::from(store.failing));
        page.one("store_failing", "1 while the database takes no writes", GAUGE, failing)?;
        page.one(
            "store_batches_waiting",
            "Batches that the database did not take",
            GAUGE,
            store.batches_waiting as f64,
        )?;
        let in_memory = store.batches_in_memory as f64;
        page.one("store_batches_in_memory", "Of these, batches that no disk keeps", GAUGE, in_memory)?;
        page.one("store_spool_bytes", "Bytes of the spool", GAUGE, store.spool_bytes as f64)?;
        let gone = store.spool_gone as f64;
        page.one("store_spool_gone", "Segments of the spool that somebody removed: lost", COUNTER, gone)?;
        let passed_over = store.spool_passed_over as f64;
        page.one("store_spool_passed_over", "Batches in the spool that cannot be read now", GAUGE, passed_over)?;
        let renewals = store.database_renewals as f64;
        page.one(
            "store_database_renewals",
            "Database files opened in the place of one that was lost",
            COUNTER,
            renewals,
        )?;
        for (name, help, bytes) in [
            ("store_database_bytes", "Bytes of the database", store.database_bytes),
            ("store_wal_bytes", "Bytes of the write-ahead log", store.wal_bytes),
            ("store_disk_free_bytes", "Bytes free on the database's disk", store.disk_free_bytes),
        ] {
            if let Some(bytes) = bytes {
                page.one(name, help, GAUGE, bytes as f64)?;
            }
        }
        let kind = |name| vec![("kind", name)];
        let cut = [
            (kind("windows"), store.cut_windows as f64),
            (kind("flows"), store.cut_flows as f64),
            (kind("alerts"), store.cut_alerts as f64),
        ];
        page.family("store_rows_cut", "Rows that bounds forced out before they were stored", COUNTER, cut)?;
        let table = |name| vec![("table", name)];
        let written = [
            (table("windows"), store.windows as f64),
            (table("flows"), store.flow_rows as f64),
            (table("raw_packets"), store.raw_packets as f64),
            (table("detected_alerts"), store.alert_rows as f64),
            (table("anomalies"), store.anomaly_rows as f64),
            (table("aggregated_features"), store.feature_rows as f64),
        ];
        page.family("store_rows_written", "Rows inserted or updated", COUNTER, written)?;
        let deleted = [
            (table("windows"), store.windows_deleted as f64),
            (table("flows"), store.flows_deleted as f64),
            (table("raw_packets"), store.raw_packets_deleted as f64),
            (table("detected_alerts"), store.alerts_deleted as f64),
            (table("anomalies"), store.anomalies_deleted as f64),
            (table("aggregated_features"), store.features_deleted as f64),
        ];
        let dropped = store.raw_packets_dropped as f64;
        page.one("store_raw_packets_dropped", "Heads of frames of which a window had too many", COUNTER, dropped)?;
        let mut unreadable = Vec::new();
        for (table, rows) in &store.rows_unreadable {
            unreadable.push((vec![("table", table.as_str())], *rows as f64));
        }
        let about = "Rows that cannot be read and were left out of an answer, at each reading";
        page.family("store_rows_unreadable", about, COUNTER, unreadable)?;
        let left_out = store.features_left_out as f64;
        page.one("store_features_left_out", "Hosts whose features were not stored", COUNTER, left_out)?;
        page.family("store_rows_deleted", "Rows deleted by retention", COUNTER, deleted)
    }

    /// The files of JSON lines, where there are any.
    fn mirror(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let Some((files, is_failing)) = &self.mirror else { return Ok(()) };
        let lines = files.iter().flat_map(|count| {
            let labels = |outcome| vec![("file", count.file), ("outcome", outcome)];
            [("written", count.written), ("queue_full", count.queue_full), ("failed", count.failed)]
                .map(|(outcome, lines)| (labels(outcome), lines as f64))
        });
        page.family("jsonl_lines", "Lines of the files of JSON lines by what became of them", COUNTER, lines)?;
        page.one("jsonl_failing", "1 while the disk takes no lines", GAUGE, f64::from(u8::from(*is_failing)))
    }

    fn process(&self, page: &mut Page<'_>) -> std::fmt::Result {
        if let Some(cpu_s) = self.process.cpu_s {
            page.one("process_cpu_seconds", "CPU time of the daemon", COUNTER, cpu_s)?;
        }
        if let Some(bytes) = self.process.rss_bytes {
            page.one("process_resident_memory_bytes", "Resident memory of the daemon", GAUGE, bytes as f64)?;
        }
        let lost = self.process.log_lines_lost as f64;
        page.one("log_lines_lost", "Log lines that nobody read", COUNTER, lost)?;
        let connections = &self.connections;
        page.one("http_connections", "Connections to the API", GAUGE, connections.open() as f64)?;
        let early = connections.closed_early() as f64;
        let unaudited = self.unaudited as f64;
        page.one("audit_lost", "Changes that the store did not take into the audit log", COUNTER, unaudited)?;
        page.one("http_connections_cut", "Idle connections that had to make room for others", COUNTER, early)
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The exposition, written family by family.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn one(&mut self, name: &str, help: &str, kind: MetricType, value: f64) -> std::fmt::Result {
        write_value(&mut self.0.encode_descriptor(name, help, None, kind)?, kind, value)
    }

    fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> std::fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in rows {
            write_value(&mut family.encode_family(&labels)?, kind, value)?;
        }
        Ok(())
    }
}

fn write_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> std::fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

const COUNTER: MetricType = MetricType::Counter;
const GAUGE: MetricType = MetricType::Gauge;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
