//! Flows as the daemon sees them: cumulative readings of the packet path turned into differences and totals.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_common::flow::Counts;
use nta_common::tcp::{RTT_BUCKETS, RttHistogram, by_direction};
use nta_common::tunnel::{Inner, Outer};
use nta_common::{FlowKey4, FlowKey6, FlowStats, OverflowKey};

use super::{TcpCounts, Tracked, both};

/// Key of a flow of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowKey {
    /// IPv4.
    V4(FlowKey4),
    /// IPv6.
    V6(FlowKey6),
}

impl FlowKey {
    /// Both endpoints in key order: `a`, then `b`.
    pub fn endpoints(&self) -> [(IpAddr, u16); 2] {
        let [a_port, b_port] = self.ports();
        match self {
            Self::V4(k) => {
                let [a, b] = k.addresses();
                [(Ipv4Addr::from(a).into(), a_port), (Ipv4Addr::from(b).into(), b_port)]
            }
            Self::V6(k) => {
                let [a, b] = k.addresses();
                [(Ipv6Addr::from(a).into(), a_port), (Ipv6Addr::from(b).into(), b_port)]
            }
        }
    }

    /// The ports of both endpoints in key order.
    pub const fn ports(&self) -> [u16; 2] {
        match self {
            Self::V4(k) => k.ports(),
            Self::V6(k) => k.ports(),
        }
    }

    /// IP protocol number.
    pub const fn proto(&self) -> u8 {
        match self {
            Self::V4(k) => k.proto(),
            Self::V6(k) => k.proto(),
        }
    }

    /// Its two directions as they are within another flow.
    pub fn inner(&self) -> [Inner; 2] {
        match self {
            Self::V4(k) => [0, 1].map(|direction| Inner::of_v4(k, direction)),
            Self::V6(k) => [0, 1].map(|direction| Inner::of_v6(k, direction)),
        }
    }
}

impl From<&Inner> for FlowKey {
    fn from(inner: &Inner) -> Self {
        inner.v4().map_or_else(|| Self::V6(inner.v6()), Self::V4)
    }
}

impl From<&Outer> for FlowKey {
    fn from(outer: &Outer) -> Self {
        outer.v4().map_or_else(|| Self::V6(outer.v6()), Self::V4)
    }
}

/// Identity of a flow, see [`IdentityScope::flow_id`](super::IdentityScope::flow_id). Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl FlowId {
    /// Of no flow.
    pub(super) const NONE: Self = Self(0);
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Round-trip samples of both directions, packed as in the entry: each is of the round trip to the far end of its direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RttSamples {
    sums_us: [u32; 2],
    histogram: RttHistogram,
}

/// Round-trip samples to one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideSamples {
    /// Their sum in microseconds.
    pub sum_us: u32,
    /// How many, by size, see [`RTT_BUCKETS`].
    pub histogram: [u16; RTT_BUCKETS],
}

impl RttSamples {
    /// All samples of an entry.
    pub fn of(reading: &FlowStats) -> Self {
        Self { sums_us: both(|side| reading.dir[side].tcp.rtt_sum_us), histogram: reading.rtt_histogram }
    }

    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut histogram = self.histogram;
        for (count, before) in histogram.iter_mut().zip(&earlier.histogram) {
            *count = count.wrapping_sub(*before);
        }
        Self { sums_us: both(|side| self.sums_us[side].wrapping_sub(earlier.sums_us[side])), histogram }
    }

    /// With the directions exchanged.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let [a, b] = self.sums_us;
        let mut histogram = self.histogram;
        histogram.iter_mut().for_each(|word| *word = word.rotate_left(u16::BITS));
        Self { sums_us: [b, a], histogram }
    }

    /// Those of each direction, when these are differences. `None` without any.
    pub fn sides(&self) -> Option<[SideSamples; 2]> {
        if self.histogram == [0; RTT_BUCKETS] {
            return None;
        }
        let mut sides = both(|side| SideSamples { sum_us: self.sums_us[side], ..SideSamples::default() });
        for (bucket, word) in self.histogram.iter().enumerate() {
            let [a, b] = by_direction(*word);
            (sides[0].histogram[bucket], sides[1].histogram[bucket]) = (a, b);
        }
        Some(sides)
    }
}

/// What a flow did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowDelta {
    /// Packets and bytes from `a` to `b`, and back: of a tunnel that is opened, without what is counted in the flows inside.
    pub counts: [Counts; 2],
    /// TCP events from `a`, and from `b`.
    pub tcp: [TcpCounts; 2],
    /// Round trips.
    pub rtt: RttSamples,
    /// Whether this is the flow's first reading.
    pub is_new: bool,
}

impl FlowDelta {
    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.counts[0].packets + self.counts[1].packets
    }

    /// Frame bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.counts[0].bytes + self.counts[1].bytes
    }
}

/// Why a flow is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// FIN from both sides, or a reset.
    Closed,
    /// No packet for longer than the protocol's time-out.
    Idle,
    /// The capture or the daemon ended.
    Shutdown,
    /// The daemon was killed: this is how it was when a window was stored last.
    Interrupted,
}

/// A flow that changed, as a source reports it.
#[derive(Clone, Copy, Debug)]
pub struct FlowUpdate<'a> {
    /// Which flow.
    pub key: &'a FlowKey,
    /// The flow after the change.
    pub flow: &'a Tracked,
    /// What its entry held.
    pub reading: &'a FlowStats,
    /// What changed; `None` when the flow only ended.
    pub delta: Option<&'a FlowDelta>,
    /// Why it is not kept any longer, if so.
    pub ended: Option<EndReason>,
}

/// Packets to one destination that found the flow table full, counted between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowDelta {
    /// Where to.
    pub destination: IpAddr,
    /// Destination port.
    pub port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Whether these are SYNs without ACK.
    pub syn: bool,
    /// How much.
    pub counts: Counts,
}

impl OverflowDelta {
    /// What was counted under a key.
    pub fn new(key: &OverflowKey, counts: Counts) -> Self {
        let destination = Ipv6Addr::from(key.destination()).to_canonical();
        Self { destination, port: key.port(), proto: key.proto(), syn: key.is_syn(), counts }
    }
}
