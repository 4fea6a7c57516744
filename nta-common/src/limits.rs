//! Every limit that kernel and user space share, by name.

/// Bytes of a frame that the parser may look at. Headers that reach past it count as truncated. Chosen so that every
/// legal header chain up to the other limits fits; a power of two because the eBPF reader masks offsets with it.
pub const MAX_HEADER_BYTES: usize = 1024;

/// 802.1Q / 802.1ad tags that are walked before a frame counts as [`crate::Counter::VlanTooDeep`].
pub const MAX_VLAN_TAGS: usize = 3;

/// MPLS labels that are walked (RFC 3032 sets no limit; more than four are not seen outside of tests).
pub const MAX_MPLS_LABELS: usize = 6;

/// Tunnels inside one another that are opened when the setting says so (as many as Zeek opens, `Tunnel::max_depth`).
pub const MAX_TUNNELS: usize = 2;

/// IPv6 extension headers that are walked before the walk stops and the packet is accounted with the header type
/// reached (RFC 8200 names seven kinds; more than six in one packet is not seen outside of tests).
pub const MAX_IPV6_EXTENSIONS: usize = 6;

/// TCP options that are looked at when searching for the timestamp (RFC 9293: at most 40 bytes of options).
pub const MAX_TCP_OPTIONS: usize = 12;

/// Interfaces that one daemon watches; each owns a slot of the ledger.
pub const MAX_INTERFACES: usize = 16;

/// Overflow aggregates: destinations, with port and protocol, of packets that found the flow map full.
pub const MAX_OVERFLOWS: u32 = 16_384;

/// Fragmented datagrams whose ports are remembered at once (Cilium's default).
pub const MAX_FRAGMENTED: u32 = 8_192;

/// Directions of flows within tunnels of which is known in which flow they lie, where tunnels are opened.
pub const MAX_NESTED: u32 = 65_536;

/// Default size of the ring buffer of events in bytes: 7,000 DNS messages.
pub const DEFAULT_RING_BYTES: u32 = 4 << 20;

/// Default size of each flow map, in flows. The daemon computes the real one from `capture.map_memory_mib`.
pub const DEFAULT_FLOWS: u32 = 65_536;
