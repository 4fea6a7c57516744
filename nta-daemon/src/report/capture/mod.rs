//! The report of one capture: what was read of it and what not, who talked to whom, what is suspicious and what to do. Every
//! number has a link to what it is made of.

mod build;
mod collect;
mod links;
mod odd;
mod page;
mod series;

use serde::{Deserialize, Serialize};

use super::dns::Dns;
use crate::json::words;

pub(crate) use build::{Read, build};
pub(crate) use collect::{Collector, FrameLook};
pub(crate) use page::{Page, page};

/// The report of a capture. Links are paths of this API, with the capture's rows only.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct CaptureReport {
    /// The capture.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(crate) file_id: String,
    /// What its client called it; empty where it gave no name.
    pub(crate) name: String,
    /// SHA-256 of its bytes.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) sha256: String,
    /// Its size.
    pub(crate) file_bytes: u64,
    /// What was read of it, and what not.
    pub(crate) read: ReadPart,
    /// From the first packet to the last one; null without packets.
    pub(crate) time_span: Option<CaptureSpan>,
    /// Sums.
    pub(crate) totals: ReportTotals,
    /// Hosts with the most bytes; ten.
    pub(crate) hosts: Vec<HostPart>,
    /// Pairs of hosts with the most bytes; ten.
    pub(crate) conversations: Vec<ConversationPart>,
    /// IP protocols, most bytes first.
    pub(crate) protocols: Vec<SharePart>,
    /// Services by the ports that they are registered for, most bytes first; ten, and all others as one.
    pub(crate) services: Vec<SharePart>,
    /// DNS over UDP; null where nobody spoke it.
    #[serde(default)] // reports of before have none
    #[schema(required)]
    pub(crate) dns: Option<Dns>,
    /// Bytes over time; null without packets.
    pub(crate) over_time: Option<OverTime>,
    /// Addresses that alerts name as the source, the worst first; fifty.
    pub(crate) suspicious_addresses: Vec<Suspicious>,
    /// Packets that no sound sender makes, by kind, most first.
    pub(crate) unusual_packets: Vec<Unusual>,
    /// Alerts, the worst first; a hundred.
    pub(crate) threats: Vec<Threat>,
    /// What to do, for the worst first.
    pub(crate) recommendations: Vec<Recommendation>,
}

/// What was read of a capture.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ReadPart {
    /// Format and compression.
    pub(crate) format: String,
    /// `complete`; `cut_off` or `corrupt` where it ends within a record or in something that is none, `stopped` where the analysis was
    /// stopped, `unreadable` where not even its header could be read.
    pub(crate) end: String,
    /// What is wrong with the end; null where nothing is.
    pub(crate) detail: Option<String>,
    /// Packets read, analysed or not: what `capinfos` counts.
    pub(crate) packets: u64,
    /// Of them those that are in a flow.
    pub(crate) analysed_packets: u64,
    /// Packets that are in no flow, by reason; link types that are not read among them.
    pub(crate) skipped: std::collections::BTreeMap<String, u64>,
    /// Link types of its interfaces.
    pub(crate) link_types: Vec<String>,
    /// Packets that were dropped while it was made, by its own statistics; null where it has none.
    pub(crate) dropped_while_capturing: Option<u64>,
    /// Packets whose time stamp was wrong; they have the time of their neighbours.
    pub(crate) wrong_times: u64,
    /// Records that state a length that no frame has; they count as 1 GiB.
    pub(crate) lengths_clamped: u64,
    /// One sentence about all of it.
    pub(crate) summary: String,
}

/// A time span.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct CaptureSpan {
    /// Time of the first packet.
    #[schema(format = DateTime)]
    pub(crate) from: String,
    /// Time of the last packet.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    /// Between them.
    pub(crate) seconds: f64,
    /// The windows of this time.
    pub(crate) link: String,
}

/// Sums over a capture.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ReportTotals {
    /// Packets.
    pub(crate) packets: u64,
    /// Their length on the wire.
    pub(crate) bytes: u64,
    /// Flows.
    pub(crate) flows: u64,
    /// Hosts seen.
    pub(crate) hosts: u64,
    /// Whether there were more hosts than are counted one by one.
    pub(crate) hosts_estimated: bool,
    /// Alerts.
    pub(crate) alerts: u64,
    /// Packets on the wire that no sound sender makes.
    pub(crate) unusual_packets: u64,
    /// Its flows.
    pub(crate) flows_link: String,
    /// Its hosts.
    pub(crate) hosts_link: String,
    /// Its alerts.
    pub(crate) alerts_link: String,
}

/// What a host sent and received.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct HostPart {
    /// Its address.
    pub(crate) address: String,
    pub(crate) packets_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) flows: u64,
    /// Its flows.
    pub(crate) link: String,
}

/// What two hosts sent one another.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ConversationPart {
    /// One address.
    pub(crate) a: String,
    /// The other one.
    pub(crate) b: String,
    pub(crate) packets_a_to_b: u64,
    pub(crate) packets_b_to_a: u64,
    pub(crate) bytes_a_to_b: u64,
    pub(crate) bytes_b_to_a: u64,
    pub(crate) flows: u64,
    /// From its first packet to its last one.
    pub(crate) duration_s: f64,
    /// Flows of `a` in the time of the conversation.
    pub(crate) link: String,
}

/// A part of the traffic.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct SharePart {
    /// Its name.
    pub(crate) name: String,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) flows: u64,
    /// Of all bytes on the wire.
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) share: f64,
    /// Its flows; null of a sum of several.
    pub(crate) link: Option<String>,
}

/// Bytes over time, in steps of equal length.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct OverTime {
    /// First instant of the first step.
    #[schema(format = DateTime)]
    pub(crate) start: String,
    /// Length of a step.
    pub(crate) step_s: f64,
    /// By IP protocol, those with the most bytes; eight, and the others as one.
    pub(crate) protocols: Vec<SeriesPart>,
    /// By service, as `protocols`.
    pub(crate) services: Vec<SeriesPart>,
    /// The windows that they are made of.
    pub(crate) link: String,
}

/// Bytes of one name, step by step.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct SeriesPart {
    /// Its name.
    pub(crate) name: String,
    /// Bytes of each step.
    pub(crate) bytes: Vec<u64>,
}

/// An address that alerts name as the source.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Suspicious {
    /// An address, a MAC address or a network.
    pub(crate) address: String,
    /// Of its worst alert.
    #[schema(value_type = words::Severity)]
    pub(crate) severity: String,
    /// Of its surest alert, 0 to 1.
    pub(crate) score: f64,
    /// Its alerts.
    pub(crate) alerts: u64,
    /// Why: what its alerts say, the worst first; ten.
    pub(crate) reasons: Vec<ReportReason>,
    /// A display filter for Wireshark.
    pub(crate) wireshark: Option<String>,
    /// Its flows; null where it is no host.
    pub(crate) link: Option<String>,
}

/// What an alert says.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ReportReason {
    /// Kind of the alert.
    #[serde(rename = "type")]
    #[schema(value_type = words::AlertType)]
    pub(crate) kind: String,
    #[schema(value_type = words::Severity)]
    pub(crate) severity: String,
    /// What happened, with the numbers.
    pub(crate) summary: String,
    /// The alert.
    pub(crate) link: String,
}

/// Packets of one odd kind.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Unusual {
    /// Name of the kind.
    pub(crate) kind: String,
    /// What is odd, and what it may mean.
    pub(crate) about: String,
    /// Packets of it.
    pub(crate) packets: u64,
    /// The first ten of them.
    pub(crate) frames: Vec<FramePart>,
    /// A display filter for Wireshark that shows these.
    pub(crate) wireshark: String,
}

/// A frame.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct FramePart {
    /// Its number in the capture, as Wireshark shows it.
    pub(crate) number: u64,
    /// When it was captured.
    #[schema(format = DateTime)]
    pub(crate) time: String,
    /// Null where it could not be read.
    pub(crate) source: Option<String>,
    pub(crate) destination: Option<String>,
    /// Its length on the wire.
    pub(crate) bytes: u64,
    /// Flows of its source at its time; null where no source could be read.
    pub(crate) link: Option<String>,
}

/// An alert in a report.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Threat {
    /// Kind of the alert.
    #[serde(rename = "type")]
    #[schema(value_type = words::AlertType)]
    pub(crate) kind: String,
    #[schema(value_type = words::Severity)]
    pub(crate) severity: String,
    /// How sure the detectors are, 0 to 1.
    pub(crate) score: f64,
    pub(crate) source: Option<String>,
    pub(crate) destination: Option<String>,
    /// First packet of what was found.
    #[schema(format = DateTime)]
    pub(crate) from: String,
    /// Last packet of it.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    /// What happened, with the numbers.
    pub(crate) summary: String,
    /// Technique of MITRE ATT&CK, where there is one.
    pub(crate) technique: Option<String>,
    /// The alert.
    pub(crate) link: String,
    /// Flows of its source, or of its destination, in its time; null where neither is a host.
    pub(crate) flows_link: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Recommendation {
    /// What to do.
    pub(crate) text: String,
    /// Kind of the alerts that it is for.
    #[serde(rename = "type")]
    #[schema(value_type = words::AlertType)]
    pub(crate) kind: String,
    /// Of the worst of them.
    #[schema(value_type = words::Severity)]
    pub(crate) severity: String,
    /// How many there are.
    pub(crate) alerts: u64,
    /// These alerts.
    pub(crate) link: String,
}
