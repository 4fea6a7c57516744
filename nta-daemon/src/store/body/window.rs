//! The document of a window.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nta_common::tcp::RTT_BUCKETS;
use nta_common::{Counter, LedgerSlot};
use serde::{Deserialize, Serialize};

use super::super::flows::{tcp_from_row, tcp_row};
use super::super::{StoreError, from_sql};
use super::{Body, VERSION, v1};
use nta_core::domain::{EventCounts, HostMeasure, HostMeasures, Timestamp, Visibility};
use nta_core::window::{Measured, NotWhole, Overflow, Protocol, Rtt, Talker, TcpSent, Window};

/// All of a window but its times and its number, which have columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct WindowBody {
    pub(super) v: u32,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) ip_bytes: u64,
    pub(super) flows: u64,
    pub(super) new_flows: u64,
    /// As in the column of flows.
    pub(super) tcp: Vec<u32>,
    pub(super) tcp_packets: u64,
    /// Of the clients and of the servers: packets, segments lost.
    pub(super) tcp_sent: [[u64; 2]; 2],
    /// Of all, to the clients, to the servers.
    pub(super) rtt: [RttBody; 3],
    pub(super) protocols: Vec<ProtocolBody>,
    pub(super) talkers: Vec<TalkerBody>,
    pub(super) others: Option<TalkerBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) overflow: Vec<OverflowBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) overflow_others: Option<OverflowBody>,
    /// By name; those that did not occur are left out, here and below.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) events: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) late_packets: u64,
    /// Counters of the ledger by name.
    pub(super) ledger: BTreeMap<String, u64>,
    pub(super) length_ns: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) outside_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_whole: Option<String>,
    /// Silence, gap, step of the wall clock, how far it is ahead, folded windows.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub(super) measured: [i64; 5],
    /// How near hosts came to what detectors look for, and how many more did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) near: Vec<NearBody>,
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) near_left_out: u64,
    /// There were some, and retention took them out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) near_forgotten: bool,
}

/// Samples, their sum, the shortest and the longest in microseconds; how many by size, without zeros at the end.
pub(super) type RttBody = (u64, u64, u32, u32, Vec<u32>);
/// Host, detector, measure, unit, value, threshold.
pub(super) type NearBody = (IpAddr, String, String, String, f64, f64);
/// Number, packets, bytes, flows.
pub(super) type ProtocolBody = (u8, u64, u64, u64);
/// Address, packets sent and received, bytes sent and received, flows.
pub(super) type TalkerBody = (Option<IpAddr>, u64, u64, u64, u64, u64);
/// Destination, port, protocol, whether these are SYNs, packets, bytes.
pub(super) type OverflowBody = (Option<IpAddr>, u16, u8, bool, u64, u64);

const fn is_none(ns: &u64) -> bool {
    *ns == 0
}

const fn is_usual(measured: &[i64; 5]) -> bool {
    matches!(measured, [0, 0, 0, 0, 0])
}

/// More packets, bytes or flows no window has: those of all windows that a longer one is made of still have room in a sum.
const MOST: u64 = 1 << 49;

/// Counters of the ledger that had another name before.
const RENAMED_COUNTERS: [(&str, &str); 1] = [("overflow_unreported", "overflow_untold")];
pub(super) const SEEN_BYTES: &str = "seen_bytes";
pub(super) const OVERFLOW_BYTES: &str = "overflow_bytes";

impl Body for WindowBody {
    type Before = v1::WindowBefore;
}

impl WindowBody {
    pub(in crate::store) fn read(id: i64, text: &str) -> Result<Self, StoreError> {
        let body: Self = super::of_row("windows", id, text)?;
        if body.counts().all(|count| count <= MOST) {
            return Ok(body);
        }
        Err(StoreError::Corrupt { table: "windows", id, reason: "a count is larger than any window has".to_owned() })
    }

    /// The document without what hosts came near to; `None` where it cannot be read.
    pub(in crate::store) fn without_near(id: i64, text: &str) -> Option<String> {
        let mut body = Self::read(id, text).ok()?;
        (body.near, body.near_left_out, body.near_forgotten) = (Vec::new(), 0, true);
        serde_json::to_string(&body).ok()
    }

    /// All that is added up when windows are joined, but for the round trips.
    fn counts(&self) -> impl Iterator<Item = u64> {
        let own =
            [self.packets, self.bytes, self.ip_bytes, self.flows, self.new_flows, self.tcp_packets, self.late_packets];
        let protocols = self.protocols.iter().flat_map(|&(_, packets, bytes, flows)| [packets, bytes, flows]);
        let talkers = self.talkers.iter().chain(&self.others);
        let talkers = talkers.flat_map(|&(_, sent, received, bytes_sent, bytes_received, flows)| {
            [sent, received, bytes_sent, bytes_received, flows]
        });
        let overflow = self.overflow.iter().chain(&self.overflow_others);
        let overflow = overflow.flat_map(|&(.., packets, bytes)| [packets, bytes]);
        let named = self.events.values().chain(self.ledger.values()).copied();
        let counts = own.into_iter().chain(self.tcp_sent.into_iter().flatten()).chain(protocols);
        counts.chain(talkers).chain(overflow).chain(named)
    }

    /// The window with what stands in columns; `histograms` are those of windows of before.
    pub(in crate::store) fn window(
        self,
        id: i64,
        [start, end]: [Timestamp; 2],
        histograms: Option<&str>,
    ) -> Result<Window, StoreError> {
        let [rtt, rtt_sides @ ..] = v1::with_histograms(self.rtt.each_ref().map(rtt), histograms)
            .map_err(|reason| StoreError::Corrupt { table: "windows", id, reason })?;
        let measured = self.measured();
        let ledger = |name: &str| {
            let before = RENAMED_COUNTERS.iter().find(|(now, _)| *now == name).map(|(_, before)| *before);
            let known = self.ledger.get(name).or_else(|| self.ledger.get(before?));
            known.copied().unwrap_or_default()
        };
        Ok(Window {
            id: from_sql(id),
            start,
            end,
            packets: self.packets,
            bytes: self.bytes,
            ip_bytes: self.ip_bytes,
            flows: self.flows,
            new_flows: self.new_flows,
            tcp: tcp_from_row(&self.tcp),
            tcp_packets: self.tcp_packets,
            tcp_sent: self.tcp_sent.map(|[packets, lost]| TcpSent { packets, lost }),
            rtt,
            rtt_sides,
            // Of a run, not of its stored windows.
            visibility: Visibility::default(),
            protocols: self
                .protocols
                .iter()
                .map(|&(number, packets, bytes, flows)| Protocol { number, packets, bytes, flows })
                .collect(),
            top_talkers: self.talkers.into_iter().map(talker).collect(),
            others: self.others.map(talker),
            overflow: self.overflow.into_iter().map(overflow).collect(),
            overflow_others: self.overflow_others.map(overflow),
            events: events(&self.events),
            late_packets: self.late_packets,
            ledger: LedgerSlot {
                packets: Counter::ALL.map(|counter| ledger(counter.name())),
                seen_bytes: ledger(SEEN_BYTES),
                overflow_bytes: ledger(OVERFLOW_BYTES),
            },
            measured,
            near: HostMeasures {
                kept: self.near.into_iter().map(near).collect(),
                left_out: self.near_left_out,
                is_forgotten: self.near_forgotten,
            },
        })
    }

    fn measured(&self) -> Measured {
        let [silence_ns, gap_ns, clock_step_ns, wall_ahead_ns, folded] = self.measured;
        Measured {
            // Stands in a column, by which windows are found.
            span_ns: 0,
            length_ns: self.length_ns,
            outside_ns: self.outside_ns,
            not_whole: self.not_whole.as_deref().and_then(NotWhole::named),
            silence_ns: silence_ns.cast_unsigned(),
            gap_ns: gap_ns.cast_unsigned(),
            not_stored_ns: 0,
            clock_step_ns,
            wall_ahead_ns,
            folded: folded.cast_unsigned(),
        }
    }
}

impl From<&Window> for WindowBody {
    fn from(window: &Window) -> Self {
        let talker = |talker: &Talker| {
            let Talker { address, packets_sent, packets_received, bytes_sent, bytes_received, flows } = *talker;
            (address, packets_sent, packets_received, bytes_sent, bytes_received, flows)
        };
        let overflow = |overflow: &Overflow| {
            let Overflow { destination, port, proto, syn, packets, bytes } = *overflow;
            (destination, port, proto, syn, packets, bytes)
        };
        let ledger = &window.ledger;
        let counters = Counter::ALL.iter().map(|counter| (counter.name(), ledger.get(*counter)));
        let counters = counters.chain([(SEEN_BYTES, ledger.seen_bytes), (OVERFLOW_BYTES, ledger.overflow_bytes)]);
        let Measured { silence_ns, gap_ns, clock_step_ns, wall_ahead_ns, folded, .. } = window.measured;
        let [silence_ns, gap_ns, folded] = [silence_ns, gap_ns, folded].map(u64::cast_signed);
        Self {
            v: VERSION,
            packets: window.packets,
            bytes: window.bytes,
            ip_bytes: window.ip_bytes,
            flows: window.flows,
            new_flows: window.new_flows,
            tcp: tcp_row(&window.tcp).to_vec(),
            tcp_packets: window.tcp_packets,
            tcp_sent: window.tcp_sent.map(|TcpSent { packets, lost }| [packets, lost]),
            rtt: [&window.rtt, &window.rtt_sides[0], &window.rtt_sides[1]].map(rtt_body),
            protocols: window.protocols.iter().map(|p| (p.number, p.packets, p.bytes, p.flows)).collect(),
            talkers: window.top_talkers.iter().map(talker).collect(),
            others: window.others.as_ref().map(talker),
            overflow: window.overflow.iter().map(overflow).collect(),
            overflow_others: window.overflow_others.as_ref().map(overflow),
            events: named(event_counts(&window.events)),
            late_packets: window.late_packets,
            ledger: named(counters),
            length_ns: window.length_ns(),
            outside_ns: window.measured.outside_ns,
            not_whole: window.measured.not_whole.map(|reason| reason.word().to_owned()),
            measured: [silence_ns, gap_ns, clock_step_ns, wall_ahead_ns, folded],
            near: window.near.kept.iter().map(near_body).collect(),
            near_left_out: window.near.left_out,
            near_forgotten: window.near.is_forgotten,
        }
    }
}

fn near_body(near: &HostMeasure) -> NearBody {
    let HostMeasure { detector, host, name, unit, observed, threshold } = near;
    (*host, detector.to_string(), name.to_string(), unit.to_string(), *observed, *threshold)
}

fn near((host, detector, name, unit, observed, threshold): NearBody) -> HostMeasure {
    HostMeasure { detector: detector.into(), host, name: name.into(), unit: unit.into(), observed, threshold }
}

fn rtt_body(rtt: &Rtt) -> RttBody {
    let Rtt { count, sum_us, min_us, max_us, histogram } = *rtt;
    let kept = histogram.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    (count, sum_us, min_us, max_us, histogram[..kept].to_vec())
}

fn rtt((count, sum_us, min_us, max_us, kept): &RttBody) -> Rtt {
    let mut histogram = [0; RTT_BUCKETS];
    histogram.iter_mut().zip(kept).for_each(|(count, kept)| *count = *kept);
    Rtt { count: *count, sum_us: *sum_us, min_us: *min_us, max_us: *max_us, histogram }
}

/// Those that occurred, by name.
fn named(counts: impl IntoIterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
}

const fn talker((address, packets_sent, packets_received, bytes_sent, bytes_received, flows): TalkerBody) -> Talker {
    Talker { address, packets_sent, packets_received, bytes_sent, bytes_received, flows }
}

const fn overflow((destination, port, proto, syn, packets, bytes): OverflowBody) -> Overflow {
    Overflow { destination, port, proto, syn, packets, bytes }
}

macro_rules! events {
    ($($name:ident),+ $(,)?) => {
        const fn event_counts(events: &EventCounts) -> [(&'static str, u64); 11] {
            let EventCounts { $($name),+ } = *events;
            [$((stringify!($name), $name)),+]
        }

        fn events(counts: &BTreeMap<String, u64>) -> EventCounts {
            EventCounts { $($name: counts.get(stringify!($name)).copied().unwrap_or_default()),+ }
        }
    };
}

events!(
    dns_queries,
    dns_responses,
    dns_nxdomain,
    dns_malformed,
    arp_requests,
    arp_replies,
    arp_malformed,
    nd_solicitations,
    nd_advertisements,
    nd_malformed,
    raw_packets,
);

#[cfg(test)]
pub(in crate::store) mod tests {
    use super::*;
    use nta_core::domain::{SideSamples, TcpCounts};

    /// A window with something in every field that a document has.
    pub(in crate::store) fn full() -> Window {
        let samples =
            |sum_us, bucket| SideSamples { sum_us, histogram: std::array::from_fn(|at| u16::from(at == bucket)) };
        let sides = [Rtt::of(&samples(1500, 4)), Rtt::of(&samples(100, 0))];
        let mut rtt = sides[0];
        rtt.merge(&sides[1]);
        let mut ledger = LedgerSlot { seen_bytes: 900, overflow_bytes: 60, ..LedgerSlot::default() };
        ledger.bump(Counter::Seen);
        let talker = Talker { address: Some([10, 0, 0, 1].into()), bytes_sent: 8, ..Talker::default() };
        let overflow =
            Overflow { destination: Some([10, 0, 0, 2].into()), proto: 17, packets: 1, ..Overflow::default() };
        let measure = HostMeasure {
            detector: "syn_flood".into(),
            host: [10, 0, 0, 2].into(),
            name: "futile_syns".into(),
            unit: "SYNs".into(),
            observed: 120.5,
            threshold: 300.0,
        };
        Window {
            id: 3,
            start: Timestamp::from_nanos(5_000_000_000),
            end: Timestamp::from_nanos(10_000_000_000),
            packets: 9,
            bytes: 900,
            ip_bytes: 800,
            flows: 2,
            new_flows: 1,
            tcp: TcpCounts { syn: 4, retransmissions: 2, ..TcpCounts::default() },
            tcp_packets: 8,
            visibility: Visibility::default(),
            tcp_sent: [TcpSent { packets: 5, lost: 2 }, TcpSent { packets: 3, lost: 0 }],
            rtt,
            rtt_sides: sides,
            protocols: vec![Protocol { number: 6, packets: 8, bytes: 800, flows: 1 }],
            top_talkers: vec![talker],
            others: Some(Talker { flows: 3, ..Talker::default() }),
            overflow: vec![overflow],
            overflow_others: Some(Overflow { packets: 2, ..Overflow::default() }),
            events: EventCounts { dns_queries: 7, raw_packets: 1, ..EventCounts::default() },
            late_packets: 1,
            ledger,
            measured: Measured {
                span_ns: 0,
                length_ns: 4_000_000_000,
                outside_ns: 3_000_000,
                not_whole: Some(NotWhole::RunEnded),
                silence_ns: 7_000_000_000,
                gap_ns: 2_000_000_000,
                not_stored_ns: 0,
                clock_step_ns: -3_000_000_000,
                wall_ahead_ns: -60_000_000_000,
                folded: 4,
            },
            near: HostMeasures { kept: vec![measure], left_out: 2, is_forgotten: false },
        }
    }

    #[test]
    fn a_window_survives_the_way_into_a_document_and_back() {
        let window = full();
        let text = serde_json::to_string(&WindowBody::from(&window)).expect("JSON");
        assert!(text.starts_with(super::super::BEGIN), "{text}");
        let back = WindowBody::read(1, &text).expect("a window");
        assert_eq!(back.window(3, [window.start, window.end], None).expect("a window"), window);
    }
}
