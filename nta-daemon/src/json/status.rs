//! What the pipeline reports about itself, as JSON.

use serde::{Deserialize, Serialize};

use super::{DetectionJson, EventsJson, HostsJson, LearningJson, LedgerJson, ModelJson, seconds, words};
use nta_core::domain::{Attachment, Conversations, MapFill, Mode, NicCounts, Status, Visibility};

/// A snapshot of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusJson {
    /// Where packets come from.
    #[schema(value_type = words::Mode)]
    pub mode: String,
    /// What counts them: `live`, or the engine of a replay.
    #[schema(value_type = words::Engine)]
    pub engine: String,
    /// When the pipeline started.
    #[schema(format = DateTime)]
    pub started: String,
    /// Attached programs; empty in replay.
    pub interfaces: Vec<AttachmentJson>,
    /// Where every packet ended up.
    pub ledger: LedgerJson,
    /// DNS messages, ARP packets and heads of frames that were reported as events, and what was not reported.
    pub events: EventsJson,
    /// How full the maps are.
    pub maps: Vec<MapJson>,
    /// Windows closed so far.
    pub windows_closed: u64,
    /// Windows that others stand for: those of a capture with many almost empty ones, and live those that were closed late.
    pub windows_folded: u64,
    /// Windows without packets that were left out, as a capture has too many of them: `silence_s` of the next window stands for them.
    #[serde(default)]
    pub windows_left_out: u64,
    /// Length of a window.
    pub window_span_s: f64,
    /// Start of the open window; null when none is open.
    #[schema(format = DateTime)]
    pub window_open_since: Option<String>,
    /// End of the last closed window; null before the first.
    #[schema(format = DateTime)]
    pub last_window_end: Option<String>,
    /// Flows alive.
    pub flows_active: u64,
    /// Flows since the start.
    pub flows_total: u64,
    /// Packets that came later than their window.
    pub late_packets: u64,
    /// Whether both directions of traffic are seen.
    #[serde(default)]
    pub visibility: VisibilityJson,
    /// TCP segments that passed twice within a moment, as mirror ports deliver them.
    #[serde(default)]
    pub duplicates: u64,
    /// How long the last drain of the maps took.
    pub last_drain_ms: f64,
    /// How long judging the last window took.
    #[serde(default)]
    pub last_analysis_ms: f64,
    /// What became of the detectors' findings.
    #[serde(default)]
    pub detection: DetectionJson,
    /// Hosts of windows and baselines.
    #[serde(default)]
    pub hosts: HostsJson,
    /// How far baselines have come.
    #[serde(default)]
    pub baselines: LearningJson,
    /// The model that judges beside the rules, or why none does.
    #[serde(default)]
    pub model: ModelJson,
    /// Why capture does not work; null while it does.
    pub failure: Option<String>,
}

impl From<&Status> for StatusJson {
    fn from(status: &Status) -> Self {
        Self {
            mode: mode_name(status.mode).to_owned(),
            engine: status.engine.clone(),
            started: status.started.to_string(),
            interfaces: status.attachments.iter().map(AttachmentJson::from).collect(),
            ledger: LedgerJson::from(&status.ledger),
            events: EventsJson::new(&status.events, &status.ledger.total()),
            maps: status.maps.iter().map(MapJson::from).collect(),
            windows_closed: status.windows_closed,
            windows_folded: status.windows_folded,
            windows_left_out: status.windows_left_out,
            window_span_s: seconds(status.window_ns),
            window_open_since: status.window_open_since.map(|time| time.to_string()),
            last_window_end: status.last_window_end.map(|time| time.to_string()),
            flows_active: status.flows_active,
            flows_total: status.flows_total,
            late_packets: status.late_packets,
            visibility: VisibilityJson::from(&status.visibility),
            duplicates: status.duplicates,
            last_drain_ms: seconds(status.last_drain_ns) * 1000.0,
            last_analysis_ms: seconds(status.last_analysis_ns) * 1000.0,
            detection: DetectionJson::from(&status.detection),
            hosts: HostsJson::from(status),
            baselines: LearningJson::from(&status.learning),
            model: ModelJson::from(&status.model),
            failure: status.failure.clone(),
        }
    }
}

/// Which sides of conversations are seen at the capture point. A flow counts in each window in which it has ten packets, one with
/// a single side only where the other must have talked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VisibilityJson {
    /// Whether at most one conversation in ten of a protocol shows both sides: then nothing follows from a missing answer. Null while
    /// there was no conversation to see it by.
    pub one_sided: Option<bool>,
    /// TCP.
    pub tcp: ConversationsJson,
    /// UDP.
    pub udp: ConversationsJson,
}

/// Conversations of a protocol; of many the older half is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConversationsJson {
    /// Of which both sides were seen.
    pub whole: u64,
    /// Of which one was.
    pub half: u64,
    /// Share of which both were; null without any.
    pub answered: Option<f64>,
}

impl From<&Visibility> for VisibilityJson {
    fn from(visibility: &Visibility) -> Self {
        let conversations =
            |of: &Conversations| ConversationsJson { whole: of.whole, half: of.half, answered: of.answered() };
        Self {
            one_sided: (*visibility != Visibility::default()).then(|| visibility.is_one_sided()),
            tcp: conversations(&visibility.tcp),
            udp: conversations(&visibility.udp),
        }
    }
}

/// How a program was attached to an interface, and why so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttachmentJson {
    /// Interface name.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// Hook for incoming packets.
    #[schema(value_type = words::Hook)]
    pub ingress: String,
    /// Hook for outgoing packets; never one of XDP.
    #[schema(value_type = words::Hook)]
    pub egress: String,
    /// How packets are counted: `wire`, as they come by, or `segments`, where offloads merge packets: each of these as
    /// those that it stands for on the wire.
    #[schema(value_type = words::CountBasis)]
    pub count_basis: String,
    /// Why these hooks and not better ones.
    pub reason: String,
    /// What the interface counted itself since then, to hold the ledger against.
    pub nic: NicJson,
}

/// What an interface counted itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NicJson {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets dropped before anyone saw them.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl From<NicCounts> for NicJson {
    fn from(nic: NicCounts) -> Self {
        let NicCounts { rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes } = nic;
        Self { rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes }
    }
}

impl From<&Attachment> for AttachmentJson {
    fn from(attachment: &Attachment) -> Self {
        Self {
            name: attachment.interface.clone(),
            index: attachment.index,
            ingress: attachment.ingress.clone(),
            egress: attachment.egress.clone(),
            count_basis: attachment.count_basis.clone(),
            reason: attachment.reason.clone(),
            nic: attachment.nic.into(),
        }
    }
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MapJson {
    /// Name of the map.
    pub name: String,
    /// Entries in use at the last reading.
    pub entries: u64,
    /// Entries it can hold; null when not limited.
    pub max_entries: Option<u64>,
    /// `entries` / `max_entries`, 0 to 1; null when not limited.
    pub fill_ratio: Option<f64>,
    /// Memory it takes.
    pub memory_bytes: u64,
}

impl From<&MapFill> for MapJson {
    fn from(map: &MapFill) -> Self {
        let limited = map.max_entries > 0;
        Self {
            name: map.name.clone(),
            entries: map.entries,
            max_entries: limited.then_some(map.max_entries),
            fill_ratio: limited.then(|| map.entries as f64 / map.max_entries as f64),
            memory_bytes: map.memory_bytes,
        }
    }
}

/// `live` or `replay`.
pub const fn mode_name(mode: Mode) -> &'static str {
    mode.word()
}
