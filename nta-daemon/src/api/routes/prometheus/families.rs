//! What is exposed of a snapshot.

use nta_common::{Counter, LedgerSlot};

use super::Snapshot;
use super::page::{COUNTER, GAUGE, Page};
use crate::api::process::{ProcessJson, Standard};
use crate::api::state::VERSION;
use crate::json::{EventsJson, mode_name, protocol_name};
use crate::pipeline::metrics::Direction;
use crate::sink::Kind;
use crate::store::Length;
use nta_core::domain::{AlertKind, Interface, Mode, ModelUse};
use nta_core::window::Rtt;

impl Snapshot {
    pub(super) fn pipeline(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let status = &self.status;
        // Of a replay it is one, and its name would be the path of a file.
        let is_live = status.mode == Mode::Live;
        let name = |interface: &'_ Interface| if is_live { interface.name.clone() } else { "capture".to_owned() };
        let interfaces: Vec<(String, LedgerSlot)> =
            status.ledger.interfaces.iter().map(|interface| (name(interface), interface.counts)).collect();
        let of = |value: fn(&LedgerSlot) -> u64| {
            interfaces.iter().map(move |(name, counts)| (vec![("interface", name.as_str())], value(counts) as f64))
        };
        page.family("packets", "Packets seen", COUNTER, of(|counts| counts.get(Counter::Seen)))?;
        page.family("bytes", "Frame bytes of these packets", COUNTER, of(|counts| counts.seen_bytes))?;
        let dropped =
            status.attachments.iter().map(|of| (vec![("interface", of.interface.as_str())], of.nic.rx_dropped as f64));
        let about = "Packets that an interface dropped before any program saw them";
        page.family("interface_dropped_packets", about, COUNTER, dropped)?;
        // The parts, whose sum is nta_packets_total; and, apart from them, what else was noted.
        let ledger = |label: &'static str, is_in: fn(Counter) -> bool| {
            interfaces.iter().flat_map(move |(name, counts)| {
                let labels = move |counter: Counter| vec![("interface", name.as_str()), (label, counter.name())];
                Counter::ALL
                    .into_iter()
                    .filter(move |counter| is_in(*counter))
                    .map(move |counter| (labels(counter), counts.get(counter) as f64))
            })
        };
        let about = "Packets by what became of them; their sum is that of nta_packets";
        page.family("ledger_packets", about, COUNTER, ledger("outcome", Counter::is_part))?;
        let is_note = |counter: Counter| !counter.is_part() && counter != Counter::Seen;
        page.family(
            "ledger_notes",
            "What else was noted of packets, flows and events",
            COUNTER,
            ledger("note", is_note),
        )?;
        self.traffic(page)?;
        let balanced = f64::from(u8::from(status.ledger.balances()));
        page.one("ledger_balanced", "1 when every packet seen is accounted for", GAUGE, balanced)?;
        page.one("flows_active", "Flows alive", GAUGE, status.flows_active as f64)?;
        page.one("flows", "Flows since the start", COUNTER, status.flows_total as f64)?;
        page.one("windows_closed", "Windows closed", COUNTER, status.windows_closed as f64)?;
        page.one("windows_folded", "Windows that others stand for", COUNTER, status.windows_folded as f64)?;
        let left_out = status.windows_left_out as f64;
        page.one("windows_left_out", "Windows without packets that were not reported", COUNTER, left_out)?;
        page.one("late_packets", "Packets later than their window", COUNTER, status.late_packets as f64)?;
        page.own("drain_seconds", "Times of reading what was counted, of each window", &self.counted.drain)?;
        if let Some(end) = status.last_window_end {
            let about = "End of the last window in Unix time";
            page.one("last_window_timestamp_seconds", about, GAUGE, end.as_secs_f64())?;
        }
        let up = f64::from(u8::from(status.failure.is_none()));
        page.one("capture_up", "1 while capture works", GAUGE, up)?;
        let about = "Interfaces that are not counted although they should be, each with a reason in /health";
        page.one("capture_degraded", about, GAUGE, status.degraded.len() as f64)?;
        page.one("window_seconds", "Length of a base window", GAUGE, status.window_ns as f64 / 1e9)?;
        let start = status.started.as_secs_f64();
        page.one("start_time_seconds", "Start of the pipeline in Unix time", GAUGE, start)?;
        let labels = vec![("version", VERSION), ("mode", mode_name(status.mode)), ("engine", status.engine.as_str())];
        page.family("build_info", "Version, mode and engine", GAUGE, [(labels, 1.0)])
    }

    pub(super) fn events(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let events = EventsJson::new(&self.status.events, &self.status.ledger.total());
        let reported = events.kinds.iter().map(|(kind, of)| (vec![("kind", kind.as_str())], of.reported as f64));
        page.family("events", "Packets reported as events", COUNTER, reported)?;
        let lost = events.kinds.iter().flat_map(|(kind, of)| {
            let labels = |reason| vec![("kind", kind.as_str()), ("reason", reason)];
            [(labels("limited"), of.limited as f64), (labels("no_room"), of.no_room as f64)]
        });
        page.family("events_lost", "Packets not reported as events, by reason", COUNTER, lost)?;
        let counts = &events.counts;
        let malformed = [("dns", counts.dns_malformed), ("arp", counts.arp_malformed), ("nd", counts.nd_malformed)]
            .map(|(k, n)| (vec![("kind", k)], n as f64));
        page.family("events_malformed", "Events that are no proper message", COUNTER, malformed)?;
        page.one("dns_queries", "DNS questions", COUNTER, counts.dns_queries as f64)?;
        page.one("dns_responses", "DNS answers", COUNTER, counts.dns_responses as f64)?;
        page.one("dns_nxdomain", "DNS answers that there is no such name", COUNTER, counts.dns_nxdomain as f64)?;
        page.one("arp_requests", "ARP requests", COUNTER, counts.arp_requests as f64)?;
        page.one("arp_replies", "ARP replies", COUNTER, counts.arp_replies as f64)
    }

    pub(super) fn jobs(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let jobs = &self.jobs;
        let states = [("queued", jobs.waiting), ("running", jobs.running)];
        let states = states.map(|(state, count)| (vec![("state", state)], count as f64));
        page.family("jobs", "Jobs that wait or are under way", GAUGE, states)?;
        let ended =
            jobs.ended.iter().map(|((kind, state), count)| (vec![("kind", *kind), ("state", *state)], *count as f64));
        page.family("jobs_ended", "Jobs that ended, by kind and how", COUNTER, ended)?;
        page.one("jobs_refused", "Orders for jobs that were refused: too many wait", COUNTER, jobs.refused as f64)?;
        page.one("jobs_deleted", "Jobs deleted by retention", COUNTER, jobs.deleted as f64)?;
        let lost = jobs.unsaved_lost as f64;
        page.one("results_bytes", "Bytes of the files that jobs made", GAUGE, self.results[0] as f64)?;
        page.one("results_expired", "Files of jobs deleted by retention", COUNTER, self.results[1] as f64)?;
        page.one("results_refused", "Files of jobs for which there was no room", COUNTER, self.results[2] as f64)?;
        page.one("jobs_ends_lost", "Ends of jobs that the store did not take", COUNTER, lost)
    }

    pub(super) fn detection(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let status = &self.status;
        let counts = &status.detection;
        page.own("analysis_seconds", "Times of judging each window", &self.counted.analysis)?;
        let elsewhere = |kind: &str| AlertKind::named(kind).and_then(|kind| self.raised_elsewhere.get(&kind)).copied();
        let raised = self.counted.raised.iter().map(|(kind, count)| {
            (vec![("type", *kind)], count.saturating_add(elsewhere(kind).unwrap_or_default()) as f64)
        });
        page.family("alerts", "Alerts raised by kind, those that came back among them", COUNTER, raised)?;
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
        self.open_alerts(page)?;
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

    pub(super) fn maps(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let of = |value: fn(&nta_core::domain::MapFill) -> u64| {
            self.status.maps.iter().map(move |map| (vec![("map", map.name.as_str())], value(map) as f64))
        };
        page.family("map_entries", "Entries in use", GAUGE, of(|map| map.entries))?;
        page.family("map_max_entries", "Entries a map can hold, 0 without limit", GAUGE, of(|map| map.max_entries))?;
        page.family("map_memory_bytes", "Memory of a map", GAUGE, of(|map| map.memory_bytes))
    }

    pub(super) fn store(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let store = &self.store;
        page.one("store_batches", "Batches committed", COUNTER, store.batches as f64)?;
        page.one("store_batches_lost", "Batches given up", COUNTER, store.batches_lost as f64)?;
        page.one("store_failures", "Attempts to write that failed", COUNTER, store.failures as f64)?;
        page.one("store_queue_length", "Batches waiting", GAUGE, store.queue_length as f64)?;
        page.one("store_queue_full", "Batches refused by a full queue", COUNTER, store.queue_full as f64)?;
        page.own("store_commit_seconds", "Times of transactions that were committed", &self.commits)?;
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
            (table("near_measures"), store.near_measures_deleted as f64),
            (table("hosts"), store.hosts_deleted as f64),
            (table("services"), store.services_deleted as f64),
        ];
        let apart =
            "Alerts of gateways that stay by themselves because the one of several has as many parts as it may have";
        page.one("store_alerts_not_joined", apart, COUNTER, store.alerts_not_joined as f64)?;
        let grouped = "Flows stored with others in one row, as floods and scans make them";
        page.one("store_flows_grouped", grouped, COUNTER, store.flows_grouped as f64)?;
        let ungrouped = "Of these, flows that went on and got a row of their own";
        page.one("store_flows_ungrouped", ungrouped, COUNTER, store.flows_ungrouped as f64)?;
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
        page.family("store_rows_deleted", "Rows deleted by retention", COUNTER, deleted)?;
        let ages = [store.windows_5s_aged, store.windows_30s_aged, store.windows_180s_aged, store.windows_1h_aged];
        let aged = Length::ALL.iter().zip(ages).map(|((_, name), rows)| (vec![("length", *name)], rows as f64));
        page.family("store_windows_aged", "Windows deleted for their age, by their length", COUNTER, aged)
    }

    /// The files of JSON lines, where there are any.
    pub(super) fn mirror(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let Some((files, is_failing)) = &self.mirror else { return Ok(()) };
        let lines = files.iter().flat_map(|count| {
            let labels = |outcome| vec![("file", count.file), ("outcome", outcome)];
            [("written", count.written), ("queue_full", count.queue_full), ("failed", count.failed)]
                .map(|(outcome, lines)| (labels(outcome), lines as f64))
        });
        page.family("jsonl_lines", "Lines of the files of JSON lines by what became of them", COUNTER, lines)?;
        page.one("jsonl_failing", "1 while the disk takes no lines", GAUGE, f64::from(u8::from(*is_failing)))
    }

    /// What goes to others, where anything does.
    pub(super) fn outputs(&self, page: &mut Page<'_>) -> std::fmt::Result {
        for output in self.outputs.iter() {
            let (Kind { name, unit, about }, [sent, dropped]) = (output.kind(), output.counts());
            let counts = [("sent", sent), ("dropped", dropped)]
                .map(|(outcome, count)| (vec![("outcome", outcome)], count as f64));
            page.family(&format!("{name}_{unit}"), &format!("{about} by what became of them"), COUNTER, counts)?;
            let failing = f64::from(u8::from(output.is_failing()));
            page.one(&format!("{name}_failing"), &format!("1 while no {unit} are taken"), GAUGE, failing)?;
        }
        Ok(())
    }

    /// The packet buffer, where there is one.
    pub(super) fn ring(&self, page: &mut Page<'_>) -> std::fmt::Result {
        if self.ring.is_empty() {
            return Ok(());
        }
        let packets = self.ring.iter().flat_map(|(interface, [kept, dropped])| {
            [("kept", kept), ("dropped_by_kernel", dropped)].map(|(outcome, packets)| {
                (vec![("interface", interface.as_str()), ("outcome", outcome)], *packets as f64)
            })
        });
        page.family(
            "ring_packets",
            "Packets of the packet buffer (capture.ring) by what became of them",
            COUNTER,
            packets,
        )
    }

    /// Traffic in flows by protocol and direction, and round trips.
    fn traffic(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let named: Vec<(String, Direction, [u64; 2])> = self
            .counted
            .traffic
            .iter()
            .map(|((proto, direction), sums)| (protocol_name(*proto), *direction, *sums))
            .collect();
        let of = |place: usize| {
            named.iter().map(move |(protocol, direction, sums)| {
                (vec![("protocol", protocol.as_str()), ("direction", direction.word())], sums[place] as f64)
            })
        };
        page.family("flow_packets", "Packets in flows by IP protocol and direction", COUNTER, of(0))?;
        page.family("flow_bytes", "Frame bytes of these packets", COUNTER, of(1))?;
        let (histogram, sum_us) = &self.counted.rtt;
        let buckets: Vec<(f64, u64)> =
            histogram.iter().enumerate().map(|(bucket, count)| (Rtt::upper_edge_s(bucket), *count)).collect();
        page.histogram("round_trip_seconds", "Round trips of TCP", *sum_us as f64 / 1e6, &buckets)
    }

    pub(super) fn http(&self, page: &mut Page<'_>) -> std::fmt::Result {
        page.own("http_requests", "Requests to the API by route and answer", &self.requests.answered)?;
        let about = "Times until answers of the API began, by route";
        page.own("http_request_duration_seconds", about, &self.requests.took)?;
        let lost = self.process.log_lines_lost as f64;
        page.one("log_lines_lost", "Log lines that nobody read", COUNTER, lost)?;
        let connections = &self.connections;
        page.one("http_connections", "Connections to the API", GAUGE, connections.open() as f64)?;
        let early = connections.closed_early() as f64;
        page.one("http_connections_cut", "Idle connections that had to make room for others", COUNTER, early)?;
        let limited = self.limited as f64;
        page.one("http_requests_limited", "Requests that came too often and were refused (429)", COUNTER, limited)?;
        let unaudited = self.unaudited as f64;
        page.one("audit_lost", "Changes that the store did not take into the audit log", COUNTER, unaudited)
    }
}

/// What every program says about itself, by the names that they all use.
pub(super) fn process(page: &mut Page<'_>, process: &ProcessJson, standard: &Standard) -> std::fmt::Result {
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (name, help, kind, value) in [
        ("process_start_time_seconds", "Start of the process in Unix time", GAUGE, standard.started_s),
        ("process_cpu_seconds", "User and system CPU time", COUNTER, process.cpu_s),
        ("process_resident_memory_bytes", "Resident memory", GAUGE, whole(process.rss_bytes)),
        ("process_virtual_memory_bytes", "Virtual memory", GAUGE, whole(standard.virtual_bytes)),
        ("process_threads", "Threads", GAUGE, whole(standard.threads)),
        ("process_open_fds", "Open file descriptors", GAUGE, whole(standard.open_fds)),
        ("process_max_fds", "File descriptors that it may open", GAUGE, whole(standard.max_fds)),
    ] {
        if let Some(value) = value {
            page.one(name, help, kind, value)?;
        }
    }
    Ok(())
}
