//! The daemon's load-time constants. The verifier knows their values, so a branch that they switch off costs nothing.

use nta_common::limits::MAX_INTERFACES;
use nta_common::{Conntrack, Kind, Settings, TunnelPorts, unlikely};

/// Written by the daemon before the program is loaded.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    interfaces: [0; MAX_INTERFACES],
    replay: 0,
    jiffy_ns: 0,
    jiffies_origin_ns: 0,
    tunnels: 0,
    sample: 0,
    raw_every: 0,
    events_per_second: [0; 4],
    zero: 0,
    mark: 0,
    tunnel_ends: 0,
    bare: 0,
    tunnel_ports: TunnelPorts { vxlan: [0; TunnelPorts::EACH], geneve: [0; TunnelPorts::EACH] },
    conntrack: Conntrack { skb: 0, status: 0, tuples: 0, timeout: 0 },
};

macro_rules! setting {
    ($($field:tt)+) => {
        // SAFETY: reads a field of an initialised static; volatile, because the loader replaces its bytes and the
        // compiler must not fold the zeros in.
        unsafe { core::ptr::read_volatile(&raw const SETTINGS.$($field)+) }
    };
}

/// Whether packets are injected by a replay.
#[inline(always)]
pub(crate) fn replay() -> bool {
    setting!(replay) != 0
}

/// By which ports tunnels are known, where the inner packet is accounted in place of the tunnel.
#[inline(always)]
pub(crate) fn tunnels() -> Option<TunnelPorts> {
    (setting!(tunnels) != 0).then(|| TunnelPorts {
        vxlan: [
            setting!(tunnel_ports.vxlan[0]),
            setting!(tunnel_ports.vxlan[1]),
            setting!(tunnel_ports.vxlan[2]),
            setting!(tunnel_ports.vxlan[3]),
        ],
        geneve: [
            setting!(tunnel_ports.geneve[0]),
            setting!(tunnel_ports.geneve[1]),
            setting!(tunnel_ports.geneve[2]),
            setting!(tunnel_ports.geneve[3]),
        ],
    })
}

/// Every how many-th packet is accounted.
#[inline(always)]
pub(crate) fn sample() -> u32 {
    setting!(sample)
}

/// Of how many packets the head of one is emitted.
#[inline(always)]
pub(crate) fn raw_every() -> u32 {
    setting!(raw_every)
}

/// Events of this kind that are emitted in a second.
#[inline(always)]
pub(crate) fn events_per_second(kind: Kind) -> u32 {
    match kind {
        Kind::Dns => setting!(events_per_second[0]),
        Kind::Arp => setting!(events_per_second[1]),
        Kind::Raw => setting!(events_per_second[2]),
        Kind::Nd => setting!(events_per_second[3]),
    }
}

/// Whether translated connections are joined.
#[inline(always)]
pub(crate) fn joins_nat() -> bool {
    setting!(conntrack.skb) != 0
}

/// See [`Conntrack`].
#[inline(always)]
pub(crate) fn conntrack() -> Conntrack {
    Conntrack {
        skb: setting!(conntrack.skb),
        status: setting!(conntrack.status),
        tuples: setting!(conntrack.tuples),
        timeout: setting!(conntrack.timeout),
    }
}

/// See [`Settings::mark`].
#[inline(always)]
pub(crate) fn mark() -> u32 {
    setting!(mark)
}

/// Whether the interface of a slot is the end of a tunnel.
#[inline(always)]
pub(crate) fn is_tunnel_end(slot: u32) -> bool {
    setting!(tunnel_ends) >> (slot & 15) & 1 != 0
}

/// Whether packets of the interface of a slot begin with their IP header.
#[inline(always)]
pub(crate) fn is_bare(slot: u32) -> bool {
    unlikely(setting!(bare) != 0) && setting!(bare) >> (slot & 15) & 1 != 0
}

/// Nanoseconds of a jiffy.
#[inline(always)]
pub(crate) fn jiffy_ns() -> u64 {
    u64::from(setting!(jiffy_ns))
}

/// See [`Settings::jiffies_origin_ns`].
#[inline(always)]
pub(crate) fn jiffies_origin_ns() -> u64 {
    setting!(jiffies_origin_ns)
}

/// The ledger slot of the interface that a program runs on. With a single watched interface it is known without looking:
/// at XDP the index is three dependent loads away.
#[inline(always)]
pub(crate) fn own_slot(interface: impl FnOnce() -> u32) -> u32 {
    if setting!(interfaces[1]) == 0 { 0 } else { slot(interface()) }
}

/// The ledger slot of any interface; the last slot takes those that the daemon did not name.
#[inline(always)]
fn slot(interface: u32) -> u32 {
    for slot in 0..MAX_INTERFACES - 1 {
        let watched = setting!(interfaces[slot]);
        if watched == 0 {
            break;
        }
        if watched == interface {
            return slot as u32;
        }
    }
    MAX_INTERFACES as u32 - 1
}

/// Whether packets that enter by this interface, which exists, are counted there.
#[inline(always)]
pub(crate) fn is_watched(interface: u32) -> bool {
    slot(interface) != MAX_INTERFACES as u32 - 1
}
