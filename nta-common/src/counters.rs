//! The ledger: every packet that a program sees lands in exactly one place, and these counters prove it.

use crate::Packet;
use crate::events::EventState;
use crate::tunnel::Outers;

/// One row of the ledger. The first group partitions [`Counter::Seen`]; the notes after it stand beside it.
///
/// `seen = flow + overflow + non-IP (arp, other) + malformed (by reason) + sampled out`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Counter {
    /// Every packet the program was called for.
    Seen = 0,
    /// Counted in an entry of a flow map.
    Flow,
    /// The flow map was full: counted in the overflow aggregate.
    Overflow,
    /// ARP, which is no IP.
    Arp,
    /// Any other ethertype that is neither IPv4 nor IPv6.
    NonIp,
    /// Left out by sampling.
    SampledOut,
    /// Shorter than an Ethernet header.
    EthTruncated,
    /// Ends inside a VLAN tag.
    VlanTruncated,
    /// More tags than [`crate::limits::MAX_VLAN_TAGS`].
    VlanTooDeep,
    /// Ends inside an MPLS label stack or a PPPoE header, or has more labels than
    /// [`crate::limits::MAX_MPLS_LABELS`].
    ShimMalformed,
    /// Ends inside the fixed IPv4 header.
    Ipv4Truncated,
    /// IPv4 with a wrong version, a header length under 20 or a total length under the header's.
    Ipv4Malformed,
    /// Ends inside the fixed IPv6 header.
    Ipv6Truncated,
    /// IPv6 with a wrong version.
    Ipv6Malformed,
    // Notes: beside the ledger, not part of its sum.
    /// Accounted by its IP header, but the transport header was cut off or malformed (ports are 0).
    L4Truncated,
    /// Accounted, but the chain of IPv6 extension headers was longer than the walk or cut off.
    Ipv6ChainCut,
    /// First fragments.
    FragmentFirst,
    /// Later fragments, which carry no ports.
    FragmentLater,
    /// Flow entries created.
    FlowCreated,
    /// Two CPUs created the same flow at once; the loser found the winner's entry.
    FlowRace,
    /// Flows of one packet that became whole entries with the second.
    FlowGrown,
    /// The map refused a new flow.
    FlowInsertFailed,
    /// Later fragments whose first one was remembered: counted in its flow.
    FragmentHit,
    /// Later fragments whose first one was not seen (or forgotten): counted in a flow without ports.
    FragmentMiss,
    /// Overflow packets for whose destination there was no room in the aggregate either.
    OverflowUnreported,
    /// Packets whose inner packet was accounted in place of the tunnel.
    TunnelOpened,
    /// DNS messages emitted as an event.
    EventDns,
    /// DNS messages not emitted: more than the rate limit allows.
    EventDnsLimited,
    /// DNS messages not emitted: no room in the ring buffer.
    EventDnsNoRoom,
    /// ARP packets emitted as an event.
    EventArp,
    /// ARP packets not emitted: more than the rate limit allows.
    EventArpLimited,
    /// ARP packets not emitted: no room in the ring buffer.
    EventArpNoRoom,
    /// Packet headers emitted as an event.
    EventRaw,
    /// Packet headers not emitted: more than the rate limit allows.
    EventRawLimited,
    /// Packet headers not emitted: no room in the ring buffer.
    EventRawNoRoom,
    /// Left to the interface where the packet came in (forwarded, already counted there). Not part of `seen`.
    AlreadyCounted,
    /// Translated connections whose two names were learned.
    NatLearned,
    /// Translated connections whose names found no room: their answers are counted in a flow of their own.
    NatNoRoom,
    /// Packets of opened tunnels whose own flow found no room.
    OuterNoRoom,
    /// Packets of opened tunnels of which it was not kept in which flow they lie.
    NestNoRoom,
    /// Messages of neighbour discovery emitted as an event.
    EventNd,
    /// Messages of neighbour discovery not emitted: more than the rate limit allows.
    EventNdLimited,
    /// Messages of neighbour discovery not emitted: no room in the ring buffer.
    EventNdNoRoom,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = Self::EventNdNoRoom as usize + 1;

    /// All counters in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Seen,
        Self::Flow,
        Self::Overflow,
        Self::Arp,
        Self::NonIp,
        Self::SampledOut,
        Self::EthTruncated,
        Self::VlanTruncated,
        Self::VlanTooDeep,
        Self::ShimMalformed,
        Self::Ipv4Truncated,
        Self::Ipv4Malformed,
        Self::Ipv6Truncated,
        Self::Ipv6Malformed,
        Self::L4Truncated,
        Self::Ipv6ChainCut,
        Self::FragmentFirst,
        Self::FragmentLater,
        Self::FlowCreated,
        Self::FlowRace,
        Self::FlowGrown,
        Self::FlowInsertFailed,
        Self::FragmentHit,
        Self::FragmentMiss,
        Self::OverflowUnreported,
        Self::TunnelOpened,
        Self::EventDns,
        Self::EventDnsLimited,
        Self::EventDnsNoRoom,
        Self::EventArp,
        Self::EventArpLimited,
        Self::EventArpNoRoom,
        Self::EventRaw,
        Self::EventRawLimited,
        Self::EventRawNoRoom,
        Self::AlreadyCounted,
        Self::NatLearned,
        Self::NatNoRoom,
        Self::OuterNoRoom,
        Self::NestNoRoom,
        Self::EventNd,
        Self::EventNdLimited,
        Self::EventNdNoRoom,
    ];

    /// The name under which API, metrics and the replay document give this counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Flow => "flow",
            Self::Overflow => "overflow",
            Self::Arp => "arp",
            Self::NonIp => "non_ip",
            Self::SampledOut => "sampled_out",
            Self::EthTruncated => "eth_truncated",
            Self::VlanTruncated => "vlan_truncated",
            Self::VlanTooDeep => "vlan_too_deep",
            Self::ShimMalformed => "shim_malformed",
            Self::Ipv4Truncated => "ipv4_truncated",
            Self::Ipv4Malformed => "ipv4_malformed",
            Self::Ipv6Truncated => "ipv6_truncated",
            Self::Ipv6Malformed => "ipv6_malformed",
            Self::L4Truncated => "l4_truncated",
            Self::Ipv6ChainCut => "ipv6_chain_cut",
            Self::FragmentFirst => "fragment_first",
            Self::FragmentLater => "fragment_later",
            Self::FlowCreated => "flow_created",
            Self::FlowRace => "flow_race",
            Self::FlowGrown => "flow_grown",
            Self::FlowInsertFailed => "flow_insert_failed",
            Self::FragmentHit => "fragment_hit",
            Self::FragmentMiss => "fragment_miss",
            Self::OverflowUnreported => "overflow_unreported",
            Self::TunnelOpened => "tunnel_opened",
            Self::EventDns => "event_dns",
            Self::EventDnsLimited => "event_dns_limited",
            Self::EventDnsNoRoom => "event_dns_no_room",
            Self::EventArp => "event_arp",
            Self::EventArpLimited => "event_arp_limited",
            Self::EventArpNoRoom => "event_arp_no_room",
            Self::EventRaw => "event_raw",
            Self::EventRawLimited => "event_raw_limited",
            Self::EventRawNoRoom => "event_raw_no_room",
            Self::AlreadyCounted => "already_counted",
            Self::NatLearned => "nat_learned",
            Self::NatNoRoom => "nat_no_room",
            Self::OuterNoRoom => "outer_no_room",
            Self::NestNoRoom => "nest_no_room",
            Self::EventNd => "event_nd",
            Self::EventNdLimited => "event_nd_limited",
            Self::EventNdNoRoom => "event_nd_no_room",
        }
    }

    /// Whether this counter is one of the parts whose sum is [`Counter::Seen`].
    pub const fn is_part(self) -> bool {
        (self as u32) > Self::Seen as u32 && (self as u32) <= Self::Ipv6Malformed as u32
    }

    /// Whether this counter says why a packet is not in a flow (the `skipped` of a replay).
    pub const fn is_skip(self) -> bool {
        self.is_part() && !matches!(self, Self::Flow | Self::Overflow)
    }
}

/// The counters of one interface on one CPU: the value of the per-CPU ledger map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LedgerSlot {
    /// Frame bytes of the packets behind [`Counter::Overflow`].
    pub overflow_bytes: u64,
    /// Frame bytes of the packets behind [`Counter::Seen`].
    pub seen_bytes: u64,
    /// Packets by [`Counter`].
    pub packets: [u64; Counter::COUNT],
}

/// What a program owns on one CPU for one interface: room for the packet at hand, a row of the ledger, and whose turn it
/// is to be sampled or emitted as an event. One look-up yields all of it; what each packet touches lies together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CpuSlot {
    /// The packet that is parsed right now.
    pub packet: Packet,
    /// The counters.
    pub ledger: LedgerSlot,
    /// Turns and rate limits.
    pub events: EventState,
    /// What is around the packet.
    pub outers: Outers,
}

impl Default for LedgerSlot {
    fn default() -> Self {
        Self { packets: [0; Counter::COUNT], seen_bytes: 0, overflow_bytes: 0 }
    }
}

impl LedgerSlot {
    /// Adds one to a counter.
    #[inline(always)]
    pub fn bump(&mut self, counter: Counter) {
        self.packets[counter as usize] += 1;
    }

    /// Adds to a counter.
    #[inline(always)]
    pub fn add(&mut self, counter: Counter, packets: u32) {
        self.packets[counter as usize] += u64::from(packets);
    }

    /// Reads a counter.
    #[inline(always)]
    pub fn get(&self, counter: Counter) -> u64 {
        self.packets[counter as usize]
    }

    /// Adds another slot to this one (another CPU, another interface).
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.packets.iter_mut().zip(&other.packets) {
            *mine += theirs;
        }
        self.seen_bytes += other.seen_bytes;
        self.overflow_bytes += other.overflow_bytes;
    }

    /// `seen` minus the sum of its parts; 0 when the ledger balances.
    pub fn imbalance(&self) -> i64 {
        let parts: u64 = Counter::ALL.iter().filter(|c| c.is_part()).map(|&c| self.get(c)).sum();
        self.get(Counter::Seen).wrapping_sub(parts) as i64
    }
}

const _: () = assert!(
    size_of::<CpuSlot>() == size_of::<LedgerSlot>() + 96 + 56 + size_of::<Outers>() && align_of::<Packet>() == 8
);
const _: () = assert!(size_of::<LedgerSlot>() == 8 * (Counter::COUNT + 2));

// SAFETY: `repr(C)`, only integers, no padding (the sizes are asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CpuSlot {}
