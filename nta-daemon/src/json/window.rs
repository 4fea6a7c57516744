//! A window as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CountsJson, EventCountsJson, protocol_name, seconds, skipped, words};
use nta_core::window::{Overflow, Protocol, QUANTILES, Rtt, Talker, Window};

/// A closed window. `bytes` are frame bytes, `ip_bytes` IP bytes by the headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WindowJson {
    /// In a replay document the window's number in the run, from 1; in the API its id in the store.
    pub id: u64,
    /// First instant.
    #[schema(format = DateTime)]
    pub start: String,
    /// First instant behind it.
    #[schema(format = DateTime)]
    pub end: String,
    /// Measured length in seconds: how long packets were counted for it. With `gap_s` and `not_stored_s` it is `end` - `start`.
    pub span_s: f64,
    /// Why it is not whole: `late` (closed late, it holds what came until then), `run_began`, `run_ended` within it,
    /// `interrupted` by a restart, or `not_stored`: base windows of it are not in the database, or no longer; left out if it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = words::NotWhole)]
    pub not_whole: Option<String>,
    /// Seconds before it in which packets were counted and none came: no window covers them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silence_s: f64,
    /// Seconds before or within it in which nobody counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap_s: f64,
    /// Seconds of it whose base windows are not in the database, or no longer: its sums lack them. Only of windows that are made
    /// when they are asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_stored_s: f64,
    /// Seconds by which the wall clock was set within it; negative is back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_step_s: f64,
    /// Seconds by which the wall clock was ahead of the window's times when it began: a live run's times never jump.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wall_ahead_s: f64,
    /// Further windows that it stands for: of an input with many almost empty ones.
    #[serde(default, skip_serializing_if = "is_none")]
    pub folded: u64,
    /// Every packet seen, IP or not.
    pub packets: u64,
    /// Frame bytes of those.
    pub bytes: u64,
    /// `bytes` × 8 / `span_s`, or by a second where that is shorter.
    pub bandwidth_bps: f64,
    /// `packets` / `span_s`, or by a second where that is shorter.
    pub packets_per_s: f64,
    /// Bytes of IP packets by their headers.
    pub ip_bytes: u64,
    /// Flows with at least one packet.
    pub flows: u64,
    /// Flows whose first packet fell into the window.
    pub new_flows: u64,
    /// New TCP connections tried: `syn` less `syn_retries` (a repeated SYN-ACK counts as a retry too, so that in
    /// heavy loss this is a lower bound).
    pub connections: u64,
    /// Segments with SYN and without ACK, retries included.
    pub syn: u64,
    /// Segments with SYN and ACK, retries included.
    pub syn_ack: u64,
    /// SYN or SYN-ACK sent again.
    pub syn_retries: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
    /// TCP packets.
    pub tcp_packets: u64,
    /// TCP segments sent again.
    pub retransmissions: u64,
    /// TCP segments that arrived late.
    pub out_of_order: u64,
    /// Duplicate ACKs.
    pub duplicate_acks: u64,
    /// Segments that announced a window of 0.
    pub zero_windows: u64,
    /// Segments that passed twice, the same datagram within a moment, as mirror ports deliver them. They are in the sums of
    /// packets and bytes, and in no other count of TCP events.
    #[serde(default)]
    pub duplicates: u64,
    /// Part of the TCP packets that was sent again because something was lost; null without TCP. Retries of a SYN that nobody
    /// answers do not count.
    #[schema(minimum = 0)]
    pub loss_ratio: Option<f64>,
    /// The same by direction; null in windows of before.
    #[serde(default)]
    pub loss: Option<LossJson>,
    /// Round trips.
    pub rtt: RttJson,
    /// Every IP protocol, most bytes first.
    pub protocols: Vec<ProtocolJson>,
    /// The hosts with the most bytes, most first.
    pub top_talkers: Vec<TalkerJson>,
    /// All other hosts together; null when there are none.
    pub others: Option<TalkerJson>,
    /// Destinations of packets that found the flow table full, most packets first; their sources are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overflow: Vec<OverflowJson>,
    /// All other such destinations together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_others: Option<OverflowJson>,
    /// DNS messages, ARP packets and heads of frames that were reported as events.
    #[serde(default)]
    pub events: EventCountsJson,
    /// Packets whose time lay before the window's start.
    pub late_packets: u64,
    /// Packets in no flow by reason, without the reasons that did not occur.
    pub skipped: BTreeMap<String, u64>,
    /// Where every packet of the window ended up.
    pub ledger: CountsJson,
}

impl From<&Window> for WindowJson {
    fn from(window: &Window) -> Self {
        let span_s = seconds(window.length_ns());
        let tcp = &window.tcp;
        let ip_frame_bytes = window.protocols.iter().map(|p| p.bytes).sum();
        Self {
            id: window.id,
            start: window.start.to_string(),
            end: window.end.to_string(),
            span_s,
            not_whole: window.measured.not_whole.map(|reason| reason.word().to_owned()),
            silence_s: seconds(window.measured.silence_ns),
            gap_s: seconds(window.measured.gap_ns),
            not_stored_s: seconds(window.measured.not_stored_ns),
            clock_step_s: window.measured.clock_step_ns as f64 / 1e9,
            wall_ahead_s: window.measured.wall_ahead_ns as f64 / 1e9,
            folded: window.measured.folded,
            packets: window.packets,
            bytes: window.bytes,
            bandwidth_bps: window.per_second(window.bytes) * 8.0,
            packets_per_s: window.per_second(window.packets),
            ip_bytes: window.ip_bytes,
            flows: window.flows,
            new_flows: window.new_flows,
            connections: u64::from(tcp.syn.saturating_sub(tcp.syn_retry)),
            syn: tcp.syn.into(),
            syn_ack: tcp.syn_ack.into(),
            syn_retries: tcp.syn_retry.into(),
            fin: tcp.fin.into(),
            rst: tcp.rst.into(),
            tcp_packets: window.tcp_packets,
            retransmissions: tcp.retransmissions.into(),
            out_of_order: tcp.out_of_order.into(),
            duplicate_acks: tcp.dup_acks.into(),
            zero_windows: tcp.zero_windows.into(),
            duplicates: tcp.duplicates.into(),
            loss_ratio: ratio(window.lost(), window.tcp_packets),
            loss: Some(LossJson::from(window)),
            rtt: RttJson::from(window),
            protocols: window.protocols.iter().map(|p| ProtocolJson::new(p, ip_frame_bytes)).collect(),
            top_talkers: window.top_talkers.iter().map(TalkerJson::from).collect(),
            others: window.others.as_ref().map(TalkerJson::from),
            overflow: window.overflow.iter().map(OverflowJson::from).collect(),
            overflow_others: window.overflow_others.as_ref().map(OverflowJson::from),
            events: EventCountsJson::from(&window.events),
            late_packets: window.late_packets,
            skipped: skipped(&window.ledger),
            ledger: CountsJson(window.ledger),
        }
    }
}

const fn is_zero(seconds: &f64) -> bool {
    seconds.abs() < f64::EPSILON
}

const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Packets to one destination that found the flow table full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OverflowJson {
    /// Where to; null for the sum of the others.
    pub destination: Option<String>,
    /// Destination port.
    pub port: u16,
    /// Name of the IP protocol.
    pub protocol: String,
    /// Whether these are SYNs without ACK.
    pub syn: bool,
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
}

impl From<&Overflow> for OverflowJson {
    fn from(overflow: &Overflow) -> Self {
        Self {
            destination: overflow.destination.map(|address| address.to_string()),
            port: overflow.port,
            protocol: protocol_name(overflow.proto),
            syn: overflow.syn,
            packets: overflow.packets,
            bytes: overflow.bytes,
        }
    }
}

/// Loss by direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LossJson {
    /// In what the clients sent, who began the connections.
    pub client: SideLossJson,
    /// In what the servers sent.
    pub server: SideLossJson,
}

/// Loss in what one side sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SideLossJson {
    /// TCP packets.
    pub packets: u64,
    /// Segments sent again, but for the retries of a SYN that nobody answers.
    pub retransmissions: u64,
    /// `retransmissions` / `packets`; null without packets.
    #[schema(minimum = 0)]
    pub ratio: Option<f64>,
}

impl From<&Window> for LossJson {
    fn from(window: &Window) -> Self {
        let [client, server] = window.tcp_sent.each_ref().map(|sent| SideLossJson {
            packets: sent.packets,
            retransmissions: sent.lost,
            ratio: ratio(sent.lost, sent.packets),
        });
        Self { client, server }
    }
}

/// Round trips of a window: one set of samples. Quantiles are off by less than a factor of two (below 128 µs: by less than
/// that), minimum and maximum by as much, and exact where a connection brings one sample a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RttJson {
    /// Of all samples.
    #[serde(flatten)]
    pub all: RttSideJson,
    /// From here to the clients and back, who began the connections.
    #[serde(default)]
    pub client: RttSideJson,
    /// From here to the servers and back.
    #[serde(default)]
    pub server: RttSideJson,
}

/// Numbers of some round trips; null without samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RttSideJson {
    /// Samples.
    pub samples: u64,
    /// Mean, exact.
    pub mean_ms: Option<f64>,
    /// The shortest.
    #[serde(default)]
    pub min_ms: Option<f64>,
    /// Median: the smallest sample that half of the samples do not exceed (nearest rank), as are the other quantiles.
    pub p50_ms: Option<f64>,
    /// 95 % are not longer.
    pub p95_ms: Option<f64>,
    /// 99 % are not longer.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

impl From<&Window> for RttJson {
    fn from(window: &Window) -> Self {
        Self::new(&window.rtt, &window.rtt_sides)
    }
}

impl RttJson {
    /// Of all samples, and of the clients' and the servers' that they are made of.
    pub fn new(all: &Rtt, sides: &[Rtt; 2]) -> Self {
        let [client, server] = sides.each_ref().map(|side| RttSideJson::new(side, &[]));
        Self { all: RttSideJson::new(all, sides), client, server }
    }
}

impl RttSideJson {
    fn new(rtt: &Rtt, parts: &[Rtt]) -> Self {
        let [p50_ms, p95_ms, p99_ms] = QUANTILES.map(|q| rtt.quantile_of_all_ms(q, parts));
        Self {
            samples: rtt.count,
            mean_ms: rtt.mean_ms(),
            min_ms: rtt.min_ms(),
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms: rtt.max_ms(),
        }
    }
}

/// What one IP protocol did in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProtocolJson {
    /// Name, such as `tcp`; its number where it has none.
    pub protocol: String,
    /// IP protocol number.
    pub number: u8,
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
    /// Part of the frame bytes of all IP protocols.
    #[schema(minimum = 0, maximum = 1)]
    pub share: f64,
}

impl ProtocolJson {
    fn new(protocol: &Protocol, all_bytes: u64) -> Self {
        Self {
            protocol: protocol_name(protocol.number),
            number: protocol.number,
            packets: protocol.packets,
            bytes: protocol.bytes,
            flows: protocol.flows,
            share: ratio(protocol.bytes, all_bytes).unwrap_or_default(),
        }
    }
}

/// What one host did in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TalkerJson {
    /// Its address; left out in the sum of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Frame bytes sent.
    pub bytes_sent: u64,
    /// Frame bytes received.
    pub bytes_received: u64,
    /// Flows it took part in.
    pub flows: u64,
}

impl From<&Talker> for TalkerJson {
    fn from(talker: &Talker) -> Self {
        Self {
            address: talker.address.map(|address| address.to_string()),
            packets_sent: talker.packets_sent,
            packets_received: talker.packets_received,
            bytes_sent: talker.bytes_sent,
            bytes_received: talker.bytes_received,
            flows: talker.flows,
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
