//! Every map: key, value, who writes, who reads, what happens when it is full.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use nta_common::held::{Asked, Held};
use nta_common::limits::{
    DEFAULT_FLOWS, DEFAULT_RING_BYTES, MAX_FRAGMENTED, MAX_INTERFACES, MAX_NESTED, MAX_OVERFLOWS,
};
use nta_common::nat::Translated;
use nta_common::tunnel::{Inner, Outer};
use nta_common::{CpuSlot, Embryo, FlowKey4, FlowKey6, FlowStats, FragmentKey, FragmentPorts, OverflowKey, Volume};

/// IPv4 flows. The programs create and update entries, the daemon reads and deletes them. A plain hash, not an LRU one:
/// that would evict early and silently. When full, packets go to [`nta_common::Counter::Overflow`].
/// The daemon sets the size.
#[map]
pub(crate) static FLOWS4: HashMap<FlowKey4, FlowStats> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// IPv6 flows; as [`FLOWS4`], apart from it so that IPv4 need not hash 40 bytes.
#[map]
pub(crate) static FLOWS6: HashMap<FlowKey6, FlowStats> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// IPv4 flows of which one packet was seen, and which whole entries were begun: every flow has an entry here before it has one in
/// [`FLOWS4`], so that of two CPUs that begin one at once one finds the other's. Entries are written once; the daemon reads them, and
/// removes those that are over or that it has read whole. When full, a new flow goes to [`nta_common::Counter::Overflow`].
/// The daemon sets the size.
#[map]
pub(crate) static EMBRYOS4: HashMap<FlowKey4, Embryo> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// The same of IPv6.
#[map]
pub(crate) static EMBRYOS6: HashMap<FlowKey6, Embryo> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// Translated IPv4 connections: under which key the answers are counted. Written by the egress program, read by all and by
/// the daemon. An LRU map, because connection tracking keeps a connection longer than its flow is kept; what it forgets early
/// is learned again. The daemon removes those whose connection is over, and sets the size.
#[map]
pub(crate) static NAT4: LruHashMap<FlowKey4, Translated<FlowKey4>> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// The same for IPv6.
#[map]
pub(crate) static NAT6: LruHashMap<FlowKey6, Translated<FlowKey6>> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);

/// Packets whose flow found no room, by destination. Written by the programs, read and cleaned by the daemon. When full,
/// packets are noted as [`nta_common::Counter::OverflowUnreported`].
#[map]
pub(crate) static OVERFLOW: HashMap<OverflowKey, Volume> = HashMap::with_max_entries(MAX_OVERFLOWS, 0);

/// Ports of fragmented datagrams, for their later fragments. Only the programs use it. An LRU map: what it forgets
/// early shows as [`nta_common::Counter::FragmentMiss`], and no packet is lost by it.
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, FragmentPorts> = LruHashMap::with_max_entries(MAX_FRAGMENTED, 0);

/// Which flow lies in which, where tunnels are opened. Written by the programs, read by the daemon, which removes what is over.
/// An LRU map: what it forgets is learned again with the next packet, and the daemon keeps what it has read. The daemon sets the
/// size.
#[map]
pub(crate) static NESTED: LruHashMap<Inner, Outer> = LruHashMap::with_max_entries(MAX_NESTED, 0);

/// The ledger, room for the packet at hand, turns and rate limits of events: slot by interface, one copy per CPU. Fixed size, never full.
#[map]
pub(crate) static LEDGER: PerCpuArray<CpuSlot> = PerCpuArray::with_max_entries(MAX_INTERFACES as u32, 0);

/// Events: DNS, ARP, heads of frames. Written by the programs, read by the daemon ten times a second. When full, the
/// event is left out and counted (the ledger's `event_…_no_room`). The daemon sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(DEFAULT_RING_BYTES, 0);

/// What does not fit the stack of a program while a flow begins.
#[repr(C)]
pub(crate) struct Fresh {
    /// A whole entry.
    pub(crate) flow: FlowStats,
    /// Its first packet, as it is kept, or a claim.
    pub(crate) embryo: Embryo,
    /// Whose it is.
    pub(crate) key4: FlowKey4,
    /// Or of IPv6.
    pub(crate) key6: FlowKey6,
    /// Of a claim: the direction of the originator.
    pub(crate) originator: u32,
    /// Of a claim: VLAN id of the packet.
    pub(crate) vlan: u32,
}

/// Where new entries are put together.
#[map]
pub(crate) static FRESH: PerCpuArray<Fresh> = PerCpuArray::with_max_entries(1, 0);

/// Jiffies and exact nanoseconds of one moment, for the daemon's calibration.
#[map]
pub(crate) static CLOCKS: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// Where what the kernel holds of a connection is read to: the stack of a program has no room for it.
#[map]
pub(crate) static HELD: PerCpuArray<Held> = PerCpuArray::with_max_entries(1, 0);

/// What the kernel holds of connections, for the daemon.
#[map]
pub(crate) static CONNECTIONS: Array<Asked> = Array::with_max_entries(1, 0);
