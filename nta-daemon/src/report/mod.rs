//! What a capture shows at first sight: the numbers of `replay`'s text, and the same in its JSON document.

mod alerts;
pub(crate) mod capture;
mod dns;
mod icmp;
mod lengths;
mod ranking;
mod tally;
mod text;
mod tunnels;

use std::collections::BTreeMap;

use nta_common::Counter;
use serde::Serialize;

use crate::json::{FlowJson, RttJson, RttSideJson, protocol_name};
use crate::replay::Summary;
pub(crate) use alerts::Alerts;
use nta_core::domain::{Timestamp, registered, server_port};
pub(crate) use tally::Tally;
use tally::Volume;
pub(crate) use text::{Look, Page, write};

/// Entries of a list that are named; the others are summed up.
const TOP: usize = 10;

/// The numbers. Those of the capture as a whole (packets, times, what was skipped) stand beside it in the document.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// From the first packet to the last one.
    pub(crate) duration_s: f64,
    /// Mean rate; null when all packets have one time.
    packets_per_s: Option<f64>,
    /// Of the bits on the wire.
    bits_per_s: Option<f64>,
    /// Mean length on the wire; null without packets.
    mean_packet_bytes: Option<f64>,
    /// Packets by their length on the wire.
    packet_lengths: Vec<lengths::Range>,
    /// What frames hold: IP by version, and everything else by what it is.
    network: Vec<Share>,
    /// IP protocols, most bytes first.
    protocols: Vec<Share>,
    /// Services by the ports that they are registered for, most bytes first; ten, and all others as one.
    services: Vec<Share>,
    /// ICMP messages, most packets first.
    icmp: Vec<Share>,
    /// DNS over UDP; null where nobody spoke it.
    dns: Option<dns::Dns>,
    /// Hosts with the most bytes.
    hosts: Vec<Host>,
    /// Hosts seen; `hosts_estimated` says that there were more than are kept apart.
    hosts_seen: u64,
    hosts_estimated: bool,
    /// Pairs of hosts with the most bytes.
    conversations: Vec<Conversation>,
    conversations_seen: u64,
    conversations_estimated: bool,
    /// Flows with the most bytes.
    top_flows: Vec<TopFlow>,
    /// TCP connections by Zeek's word for how far they came.
    connections: BTreeMap<&'static str, u64>,
    tcp: Tcp,
    round_trips: RoundTrips,
    /// Packets over time; null without any.
    timeline: Option<Timeline>,
    /// Frames without IP, by what they are.
    not_ip: BTreeMap<String, u64>,
    /// Tunnels that were opened and what they carry, those with the most bytes; ten.
    tunnels: Vec<tunnels::Tunnel>,
    /// All of them.
    tunnels_seen: u64,
    /// Packets of tunnels that were counted by their outer addresses; see `capture.tunnels`.
    tunnels_closed: BTreeMap<&'static str, u64>,
    /// Whether they are opened at all.
    #[serde(skip)]
    opens_tunnels: bool,
    detection: Detection,
}

/// A part of the traffic.
#[derive(Debug, Serialize)]
struct Share {
    name: String,
    packets: u64,
    bytes: u64,
    /// Left out where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<u64>,
    /// Of all bytes on the wire.
    share: f64,
}

#[derive(Debug, Serialize)]
struct Host {
    address: String,
    packets_sent: u64,
    packets_received: u64,
    bytes_sent: u64,
    bytes_received: u64,
    flows: u64,
}

/// What two hosts sent one another.
#[derive(Debug, Serialize)]
struct Conversation {
    a: String,
    b: String,
    packets_a_to_b: u64,
    packets_b_to_a: u64,
    bytes_a_to_b: u64,
    bytes_b_to_a: u64,
    flows: u64,
    /// From the capture's first packet to their first one.
    start_s: f64,
    duration_s: f64,
    /// Of the bits on the wire, over `duration_s`; null when all packets have one time.
    bits_per_s_a_to_b: Option<f64>,
    bits_per_s_b_to_a: Option<f64>,
}

#[derive(Debug, Serialize)]
struct TopFlow {
    /// The service's name, or what ICMP's message is called.
    service: Option<String>,
    #[serde(flatten)]
    flow: FlowJson,
}

/// What is wrong with TCP.
#[derive(Debug, Serialize)]
struct Tcp {
    packets: u64,
    /// SYNs that nobody answered: connections that stayed an attempt.
    unanswered_syns: u64,
    /// Connections that were refused.
    refused: u64,
    /// Connections of which neither SYN nor SYN-ACK was seen: they began before, or elsewhere.
    not_from_start: u64,
    /// Connections that went on behind a SYN whose answer was not seen: it went another way.
    answers_not_seen: u64,
    syn_retries: u64,
    resets: u64,
    retransmissions: u64,
    /// Of the packets, those that were sent again because something was lost; null without packets.
    loss_ratio: Option<f64>,
    out_of_order: u64,
    duplicate_acks: u64,
    zero_windows: u64,
}

/// From the capture point to each side and back.
#[derive(Debug, Serialize)]
struct RoundTrips {
    client: RttSideJson,
    server: RttSideJson,
    all: RttSideJson,
}

/// Packets over time, in steps of equal length.
#[derive(Debug, Serialize)]
struct Timeline {
    start: String,
    step_s: f64,
    packets: Vec<u64>,
    bytes: Vec<u64>,
}

/// What looked at the traffic.
#[derive(Debug, Serialize)]
struct Detection {
    /// Detectors that were switched on.
    detectors: usize,
    /// Windows that they looked at.
    windows: u64,
    /// Findings, those that became no alert among them.
    findings: u64,
    /// Of these, about something on the allow-list.
    allowed: u64,
}

impl Report {
    /// Knows whether tunnels were to be opened.
    pub(crate) fn with_tunnels_opened(self, opens_tunnels: bool) -> Self {
        Self { opens_tunnels, ..self }
    }

    /// Of a capture that was read.
    pub(crate) fn new(summary: &Summary, tally: &Tally, detectors: usize) -> Self {
        let (first, last) = summary.times.unwrap_or_default();
        let duration_s = last.since(first) as f64 / 1e9;
        let rate = |amount: u64| (duration_s > 0.0).then(|| amount as f64 / duration_s);
        let all_bytes = summary.bytes;
        let (hosts, pairs) = (tally.pairs.top_hosts(TOP), tally.pairs.top(TOP));
        Self {
            duration_s,
            opens_tunnels: false,
            packets_per_s: rate(summary.packets),
            bits_per_s: bit_rate(all_bytes, duration_s),
            mean_packet_bytes: (summary.packets > 0).then(|| all_bytes as f64 / summary.packets as f64),
            packet_lengths: lengths::ranges(summary),
            network: network(summary, tally),
            protocols: protocols(tally, all_bytes),
            services: services(tally, all_bytes),
            icmp: icmp_messages(tally, all_bytes),
            dns: tally.dns.report(summary, TOP),
            hosts: hosts
                .first
                .into_iter()
                .map(|(address, amount)| Host {
                    address: address.to_string(),
                    packets_sent: amount.packets[0],
                    packets_received: amount.packets[1],
                    bytes_sent: amount.bytes[0],
                    bytes_received: amount.bytes[1],
                    flows: amount.flows,
                })
                .collect(),
            hosts_seen: hosts.seen,
            hosts_estimated: tally.pairs.is_estimate,
            conversations: pairs
                .first
                .into_iter()
                .map(|([a, b], amount)| {
                    let (begin, end) = (amount.first, amount.last);
                    let duration_s = end.saturating_sub(begin) as f64 / 1e9;
                    let rates = amount.bytes.map(|bytes| bit_rate(bytes, duration_s));
                    Conversation {
                        a: a.to_string(),
                        b: b.to_string(),
                        packets_a_to_b: amount.packets[0],
                        packets_b_to_a: amount.packets[1],
                        bytes_a_to_b: amount.bytes[0],
                        bytes_b_to_a: amount.bytes[1],
                        flows: amount.flows,
                        start_s: begin.saturating_sub(first.as_nanos()) as f64 / 1e9,
                        duration_s,
                        bits_per_s_a_to_b: rates[0],
                        bits_per_s_b_to_a: rates[1],
                    }
                })
                .collect(),
            conversations_seen: pairs.seen,
            conversations_estimated: tally.pairs.is_estimate,
            top_flows: tally.flows.iter().map(|(_, flow)| top_flow(flow)).collect(),
            tcp: tcp(tally),
            connections: tally.states(),
            round_trips: {
                let [client, server, all] = tally.rtt;
                let RttJson { all, client, server } = RttJson::new(&all, &[client, server]);
                RoundTrips { client, server, all }
            },
            timeline: timeline(summary),
            not_ip: summary.not_ip.iter().map(|(name, counts)| (name.clone(), counts.packets)).collect(),
            tunnels: tally.tunnels.top(TOP),
            tunnels_seen: tally.tunnels.seen(),
            tunnels_closed: tunnels::closed(tally),
            detection: Detection {
                detectors,
                windows: tally.windows,
                findings: summary.detection.findings,
                allowed: summary.detection.allowed,
            },
        }
    }
}

/// Bits a second over a time; none where there is no time.
fn bit_rate(bytes: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| bytes.saturating_mul(8) as f64 / seconds)
}

fn share(name: String, volume: &Volume, all_bytes: u64) -> Share {
    let &Volume { packets, bytes, flows } = volume;
    let share = if all_bytes > 0 { bytes as f64 / all_bytes as f64 } else { 0.0 };
    Share { name, packets, bytes, flows: (flows > 0).then_some(flows), share }
}

fn network(summary: &Summary, tally: &Tally) -> Vec<Share> {
    let mut parts = Vec::new();
    for (name, is_v6) in [("IPv4", false), ("IPv6", true)] {
        let mut sum = Volume::default();
        tally.protocols.iter().filter(|((v6, _), _)| *v6 == is_v6).for_each(|(_, volume)| sum.add(volume));
        parts.push((name.to_owned(), sum));
    }
    let total = summary.ledger.total();
    for (name, counts) in &summary.not_ip {
        parts.push((name.clone(), Volume { packets: counts.packets, bytes: counts.bytes, flows: 0 }));
    }
    let overflow = total.get(Counter::Overflow);
    parts.push(("flow table full".to_owned(), Volume { packets: overflow, bytes: total.overflow_bytes, flows: 0 }));
    let mut rest = Volume { packets: summary.packets, bytes: summary.bytes, flows: 0 };
    for (_, volume) in &parts {
        rest.packets = rest.packets.saturating_sub(volume.packets);
        rest.bytes = rest.bytes.saturating_sub(volume.bytes);
    }
    let unread: u64 = summary.skipped_link_types.values().sum();
    parts.push(("other link types".to_owned(), Volume { packets: unread, bytes: 0, flows: 0 }));
    rest.packets = rest.packets.saturating_sub(unread);
    parts.push(("damaged or cut off".to_owned(), rest));
    parts.retain(|(_, volume)| volume.packets > 0);
    in_order(parts, summary.bytes)
}

/// By bytes, most first.
fn in_order(mut parts: Vec<(String, Volume)>, all_bytes: u64) -> Vec<Share> {
    parts.sort_by(|(a, one), (b, other)| (other.bytes, other.packets, a).cmp(&(one.bytes, one.packets, b)));
    parts.into_iter().map(|(name, volume)| share(name, &volume, all_bytes)).collect()
}

fn protocols(tally: &Tally, all_bytes: u64) -> Vec<Share> {
    let mut by_number: BTreeMap<u8, Volume> = BTreeMap::new();
    for ((_, number), volume) in &tally.protocols {
        by_number.entry(*number).or_default().add(volume);
    }
    in_order(by_number.into_iter().map(|(number, volume)| (protocol_name(number), volume)).collect(), all_bytes)
}

fn services(tally: &Tally, all_bytes: u64) -> Vec<Share> {
    let named = tally.services().map(|((proto, port), volume)| (service_name(proto, port), *volume)).collect();
    let mut all = in_order(named, all_bytes);
    if all.len() > TOP + 1 {
        let rest = all.split_off(TOP);
        let mut sum = Volume::default();
        rest.iter().for_each(|part| {
            sum.add(&Volume { packets: part.packets, bytes: part.bytes, flows: part.flows.unwrap_or_default() });
        });
        all.push(share(format!("{} others", rest.len()), &sum, all_bytes));
    }
    all
}

fn service_name(proto: u8, port: u16) -> String {
    let protocol = protocol_name(proto);
    match registered(proto, port) {
        Some(name) => format!("{name} ({protocol}/{port})"),
        None if port == 0 => format!("{protocol} without ports"),
        None => format!("{protocol}/{port}"),
    }
}

fn icmp_messages(tally: &Tally, all_bytes: u64) -> Vec<Share> {
    let mut by_name: BTreeMap<String, Volume> = BTreeMap::new();
    for ((proto, kind, code), volume) in &tally.icmp {
        let name = format!("{} {}", protocol_name(*proto), icmp::message(*proto, *kind, *code));
        by_name.entry(name).or_default().add(volume);
    }
    in_order(by_name.into_iter().collect(), all_bytes)
}

fn top_flow(flow: &nta_core::domain::FlowRecord) -> TopFlow {
    use nta_common::packet::proto;

    let service = match flow.proto {
        proto::ICMP | proto::ICMPV6 => Some(icmp::message(flow.proto, flow.originator.port, flow.responder.port)),
        number => {
            registered(number, server_port(number, [flow.originator.port, flow.responder.port])).map(str::to_owned)
        }
    };
    TopFlow { service, flow: FlowJson::from(flow) }
}

fn tcp(tally: &Tally) -> Tcp {
    let states = tally.states();
    let state = |name| states.get(name).copied().unwrap_or_default();
    let counts = &tally.tcp;
    Tcp {
        packets: tally.tcp_packets,
        unanswered_syns: state("S0").saturating_sub(tally.answers_unseen),
        answers_not_seen: tally.answers_unseen,
        refused: state("REJ"),
        not_from_start: tally.begun_before,
        syn_retries: counts.syn_retries,
        resets: counts.resets,
        retransmissions: counts.retransmissions,
        loss_ratio: (tally.tcp_packets > 0).then(|| counts.lost as f64 / tally.tcp_packets as f64),
        out_of_order: counts.out_of_order,
        duplicate_acks: counts.duplicate_acks,
        zero_windows: counts.zero_windows,
    }
}

fn timeline(summary: &Summary) -> Option<Timeline> {
    let timeline = &summary.timeline;
    (!timeline.steps().is_empty()).then(|| Timeline {
        start: timeline.start().to_string(),
        step_s: timeline.step_ns() as f64 / 1e9,
        packets: timeline.steps().iter().map(|step| step.packets).collect(),
        bytes: timeline.steps().iter().map(|step| step.bytes).collect(),
    })
}

/// A time within the capture: what a window begins with before the first packet is none of it.
pub(crate) fn within(time: Timestamp, times: Option<(Timestamp, Timestamp)>) -> Timestamp {
    times.map_or(time, |(first, _)| time.max(first))
}
