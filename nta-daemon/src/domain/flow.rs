//! Flows as the daemon sees them: cumulative readings of the packet path turned into differences and totals.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_common::flow::Counts;
use nta_common::packet::proto;
use nta_common::tcp::{RTT_BUCKETS, TcpDirection};
use nta_common::{FlowKey4, FlowKey6, FlowStats, OverflowKey};

use super::{TcpCounts, Timestamp};

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
        let ([a, b], [a_port, b_port]): ([IpAddr; 2], _) = match self {
            Self::V4(k) => (k.addresses().map(|a| Ipv4Addr::from(a).into()), k.ports()),
            Self::V6(k) => (k.addresses().map(|a| Ipv6Addr::from(a).into()), k.ports()),
        };
        [(a, a_port), (b, b_port)]
    }

    /// IP protocol number.
    pub const fn proto(&self) -> u8 {
        match self {
            Self::V4(k) => k.proto(),
            Self::V6(k) => k.proto(),
        }
    }

    /// The identity of the flow that began at `first_ns`.
    pub fn id(&self, first_ns: u64) -> FlowId {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        // SipHash with fixed keys: the same flow has the same identity in every engine and after every restart.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        first_ns.hash(&mut hasher);
        FlowId(hasher.finish())
    }
}

/// Identity of a flow: a hash of its key and its first packet's time. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Round trips of both directions between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RttDelta {
    /// Samples.
    pub count: u32,
    /// Their sum in microseconds.
    pub sum_us: u32,
    /// Samples by size, see [`RTT_BUCKETS`].
    pub histogram: [u32; RTT_BUCKETS],
}

/// What a flow did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowDelta {
    /// Packets and bytes from `a` to `b`, and back.
    pub counts: [Counts; 2],
    /// TCP events from `a`, and from `b`.
    pub tcp: [TcpCounts; 2],
    /// Round trips.
    pub rtt: RttDelta,
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
}

/// A flow between readings: the last reading and the totals since its first packet.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// Identity.
    pub id: FlowId,
    /// The last reading of the packet path.
    pub last: FlowStats,
    /// Everything counted from `a` to `b`, and back.
    pub totals: [Counts; 2],
    /// TCP events from `a`, and from `b`.
    pub tcp_totals: [TcpCounts; 2],
    /// Time of the first packet, capture or wall clock.
    pub first: Timestamp,
    /// Time of the last packet.
    pub seen: Timestamp,
}

impl Tracked {
    /// A flow of which nothing was read yet. `clock_offset_ns` turns the packet path's clock into Unix time.
    pub fn new(key: &FlowKey, reading: &FlowStats, clock_offset_ns: u64) -> Self {
        let first_ns = reading.first_ns.wrapping_add(clock_offset_ns);
        Self {
            id: key.id(first_ns),
            last: FlowStats::default(),
            totals: [Counts::default(); 2],
            tcp_totals: [TcpCounts::default(); 2],
            first: Timestamp::from_nanos(first_ns),
            seen: Timestamp::from_nanos(first_ns),
        }
    }

    /// When another connection of the same ports has begun since the last reading: what this one did to its end, if
    /// anything, and the flow of the new one.
    pub fn split(
        &mut self,
        key: &FlowKey,
        reading: &FlowStats,
        clock_offset_ns: u64,
    ) -> Option<(Option<FlowDelta>, Self)> {
        if reading.cut.count == self.last.cut.count {
            return None;
        }
        let before = reading.before_cut(&self.last);
        if self.totals == [Counts::default(); 2] {
            *self = Self { last: self.last, ..Self::new(key, &before, clock_offset_ns) };
        }
        let delta = self.advance(&before, clock_offset_ns);
        let next = Self { last: before, ..Self::new(key, reading, clock_offset_ns) };
        Some((delta, next))
    }

    /// Takes a new reading; `None` when nothing was counted since the last one.
    pub fn advance(&mut self, reading: &FlowStats, clock_offset_ns: u64) -> Option<FlowDelta> {
        let [(a, last_a), (b, last_b)] = [(&reading.dir[0], &self.last.dir[0]), (&reading.dir[1], &self.last.dir[1])];
        let counts = [a.volume.since(&last_a.volume), b.volume.since(&last_b.volume)];
        if counts[0].packets == 0 && counts[1].packets == 0 {
            return None;
        }
        let mut rtt = RttDelta {
            count: samples(reading, |d| d.rtt.count).wrapping_sub(samples(&self.last, |d| d.rtt.count)),
            sum_us: samples(reading, |d| d.rtt.sum_us).wrapping_sub(samples(&self.last, |d| d.rtt.sum_us)),
            ..RttDelta::default()
        };
        for (i, bucket) in rtt.histogram.iter_mut().enumerate() {
            *bucket = reading.tcp.rtt_histogram[i].wrapping_sub(self.last.tcp.rtt_histogram[i]);
        }
        let delta = FlowDelta {
            counts,
            tcp: [TcpCounts::between(&last_a.tcp, &a.tcp), TcpCounts::between(&last_b.tcp, &b.tcp)],
            rtt,
            is_new: self.totals == [Counts::default(); 2],
        };
        self.tcp_totals[0] += delta.tcp[0];
        self.tcp_totals[1] += delta.tcp[1];
        self.totals[0] += counts[0];
        self.totals[1] += counts[1];
        self.seen = Timestamp::from_nanos(reading.last_ns.wrapping_add(clock_offset_ns));
        self.last = *reading;
        Some(delta)
    }

    /// Whether the flow is over at `now`, by its last reading.
    pub fn ended(&self, key: &FlowKey, now: Timestamp) -> Option<EndReason> {
        (now >= self.deadline(key)).then_some(if self.is_closed(key) { EndReason::Closed } else { EndReason::Idle })
    }

    /// When the flow is over if no packet comes any more.
    pub fn deadline(&self, key: &FlowKey) -> Timestamp {
        let answered = self.totals[0].packets != 0 && self.totals[1].packets != 0;
        let after_ns = match key.proto() {
            proto::TCP if self.is_closed(key) => CLOSE_DELAY_NS,
            proto::TCP if self.is_attempt() => ATTEMPT_DELAY_NS,
            proto::TCP if answered => TCP_IDLE_NS,
            _ => OTHER_IDLE_NS,
        };
        self.seen.plus(after_ns)
    }

    /// Whether the endpoints' states allow nothing more: a reset, both closed, or one closed and nothing of the other.
    fn is_closed(&self, key: &FlowKey) -> bool {
        use nta_common::tcp::Endpoint::{Closed, Inactive, Reset};
        let states = self.last.dir.map(|side| side.tcp.marks.state());
        key.proto() == proto::TCP
            && matches!(states, [Reset, _] | [_, Reset] | [Closed, Closed | Inactive] | [Inactive, Closed])
    }

    /// Whether it is a SYN that nobody answered.
    fn is_attempt(&self) -> bool {
        use nta_common::tcp::Endpoint::{Inactive, SynAckSent, SynSent};
        let states = self.last.dir.map(|side| side.tcp.marks.state());
        matches!(states, [SynSent | SynAckSent, Inactive] | [Inactive, SynSent | SynAckSent])
    }
}

fn samples(reading: &FlowStats, field: impl Fn(&TcpDirection) -> u32) -> u32 {
    field(&reading.dir[0].tcp).wrapping_add(field(&reading.dir[1].tcp))
}

/// A flow that changed, as a source reports it.
#[derive(Clone, Copy, Debug)]
pub struct FlowUpdate<'a> {
    /// Which flow.
    pub key: &'a FlowKey,
    /// The flow after the change.
    pub flow: &'a Tracked,
    /// What changed; `None` when the flow only ended.
    pub delta: Option<&'a FlowDelta>,
    /// Why it is not kept any longer, if so.
    pub ended: Option<EndReason>,
}

/// A closed connection is kept this long for its stragglers: Zeek's `tcp_close_delay`.
const CLOSE_DELAY_NS: u64 = 5_000_000_000;
/// An attempt without an answer is over this long after its last packet. Zeek's `tcp_attempt_delay` counts from the
/// first, which makes a connection of each later SYN of a row of retries.
const ATTEMPT_DELAY_NS: u64 = 5_000_000_000;
/// Zeek's `tcp_inactivity_timeout`: 5 minutes.
const TCP_IDLE_NS: u64 = 300_000_000_000;
/// Zeek's `udp_inactivity_timeout` and `icmp_inactivity_timeout`: 1 minute; also for unanswered TCP.
const OTHER_IDLE_NS: u64 = 60_000_000_000;

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
