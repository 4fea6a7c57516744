//! What the daemon sets in the program: load-time constants, and what travels in front of a replayed packet.

/// Load-time settings, written into the program's read-only data before it is loaded: the verifier sees constants and
/// removes the branches that they switch off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// 1 when packets are injected by replay and carry a [`ReplayMeta`] in front of them, else 0.
    pub replay: u32,
    /// Length of a jiffy in nanoseconds (`1e9 / CONFIG_HZ`), for the free coarse clock.
    pub jiffy_ns: u32,
    /// What to subtract from `jiffies * jiffy_ns` to get the time of `bpf_ktime_get_ns`.
    pub jiffies_origin_ns: u64,
    /// 1 to account the inner packet of a tunnel in place of the tunnel, else 0.
    pub tunnels: u32,
    /// Every how many-th packet is accounted; 0 and 1 mean each.
    pub sample: u32,
    /// Of how many packets the head of one is emitted as an event; 0 emits none.
    pub raw_every: u32,
    /// Events of each kind ([`crate::Kind`]) that are emitted in a second, of one interface on one CPU; 0 emits none.
    pub events_per_second: [u32; 4],
    /// Padding, always 0.
    pub zero: u32,
    /// Where the kernel keeps what connection tracking says of a packet.
    pub conntrack: Conntrack,
    /// What a packet that was counted carries in the kernel (`tc_index` of `struct sk_buff`) on its way through other
    /// interfaces; 0 where none of these lie on top of one another.
    pub mark: u32,
    /// Slots of interfaces that are the ends of tunnels: a bit each. What comes out of one, or goes in, is another packet.
    pub tunnel_ends: u16,
    /// Slots of interfaces whose packets begin with their IP header (tunnels, PPP): a bit each.
    pub bare: u16,
    /// By which ports tunnels are known.
    pub tunnel_ports: TunnelPorts,
    /// Interface indices that are watched; the position is the slot in the ledger. 0 ends the list.
    pub interfaces: [u32; crate::limits::MAX_INTERFACES],
}

/// UDP ports of tunnels that are often configured to others. A place that is not needed holds the first port once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct TunnelPorts {
    /// Of VXLAN.
    pub vxlan: [u16; Self::EACH],
    /// Of Geneve.
    pub geneve: [u16; Self::EACH],
}

impl TunnelPorts {
    /// Ports of each kind.
    pub const EACH: usize = 4;
    /// VXLAN's registered port (IANA), and that of Linux before it was registered, which is as common.
    pub const VXLAN: [u16; 2] = [4789, 8472];
    /// Geneve's registered port (IANA).
    pub const GENEVE: [u16; 1] = [6081];

    /// Whether VXLAN goes to this port.
    #[inline(always)]
    pub(crate) const fn is_vxlan(&self, port: u16) -> bool {
        let [a, b, c, d] = self.vxlan;
        port == a || port == b || port == c || port == d
    }

    /// Whether Geneve goes to this port.
    #[inline(always)]
    pub(crate) const fn is_geneve(&self, port: u16) -> bool {
        let [a, b, c, d] = self.geneve;
        port == a || port == b || port == c || port == d
    }
}

impl Default for TunnelPorts {
    fn default() -> Self {
        let ([vxlan, before], [geneve]) = (Self::VXLAN, Self::GENEVE);
        Self { vxlan: [vxlan, before, vxlan, vxlan], geneve: [geneve; Self::EACH] }
    }
}

/// Offsets in bytes into the kernel's structures, by its type information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Conntrack {
    /// Of `_nfct` in `struct sk_buff`; 0 where nothing is to be read.
    pub skb: u32,
    /// Of `status` in `struct nf_conn`.
    pub status: u32,
    /// Of `tuplehash` in `struct nf_conn`.
    pub tuples: u32,
    /// Of `timeout` in `struct nf_conn`.
    pub timeout: u32,
}

/// What travels in front of each replayed packet as XDP metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ReplayMeta {
    /// Capture time in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Length of the frame on the wire in bytes, which a capture's snaplen may have cut.
    pub wire_len: u32,
    /// Captured bytes that are real; test runs refuse frames under 14 bytes, so shorter ones are padded behind it.
    pub captured_len: u32,
}

impl ReplayMeta {
    /// Bytes in front of the packet. XDP metadata must be a multiple of 4 and at most 32 bytes on older kernels.
    pub const SIZE: usize = size_of::<Self>();
}

const _: () = assert!(size_of::<Settings>() == 152 && ReplayMeta::SIZE == 16 && crate::limits::MAX_INTERFACES <= 16);

// SAFETY: `repr(C)`, only integers, no padding (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Settings {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ReplayMeta {}
