//! What happens to one packet: counted in the ledger, parsed, counted in its flow. The kernel programs and the user
//! engine of a replay differ only in where their flows live ([`Flows`]).

use core::hint::cold_path;

use crate::codegen::{fall_through, unlikely};
use crate::events;
use crate::limits::MAX_TUNNELS;
use crate::packet::{fragment, note, proto};
use crate::tcp;
use crate::tunnel::{Inner, Outer, Outers};
use crate::{Clock, Counter, CpuSlot, Embryo, Events, Family, FlowKey4, FlowKey6, FlowStats, LedgerSlot, Packet};
use crate::{FragmentKey, FragmentPorts, OverflowKey, PacketReader, Volume, parse_with};

/// Where flows are kept.
pub trait Flows {
    /// The entry of an IPv4 flow. An absent one is made with [`FlowStats::begin`] and noted in the ledger, or by
    /// [`Flows::begin`].
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_>;

    /// The same for IPv6.
    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_>;

    /// Begins the flow that was just found absent: its first packet is kept as what `keep` makes of it, if there is room for that in
    /// an [`Embryo`]. For who says [`Entry::absent`].
    #[inline(always)]
    fn begin(
        &mut self,
        _family: Family,
        _first: &First<'_>,
        _keep: impl FnOnce(&mut Embryo) -> bool,
        _ledger: &mut LedgerSlot,
    ) -> Entry<'_> {
        Entry::no_room()
    }

    /// The entry of the IPv4 flow of a tunnel; an absent one is made as in [`Flows::entry4`], always whole. Its addresses are
    /// those of the packet: the outermost one had its own given back before ([`Flows::untranslate`]).
    #[inline(always)]
    fn outer4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        self.entry4(key, first, ledger).flow
    }

    /// The same for IPv6.
    #[inline(always)]
    fn outer6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        self.entry6(key, first, ledger).flow
    }

    /// Remembers in which flow this direction of another one lies, in place of the oldest if there is no room; `false` when
    /// that is refused.
    #[inline(always)]
    fn nest(&mut self, _inner: &Inner, _outer: &Outer) -> bool {
        true
    }

    /// The aggregate of what went to a destination and found no room as a flow; `None` when that is full as well.
    fn overflow(&mut self, key: &OverflowKey) -> Option<&mut Volume>;

    /// Remembers the ports of a fragmented datagram, in place of the oldest if there is no room.
    fn remember(&mut self, key: &FragmentKey, ports: FragmentPorts);

    /// Gives an answer that came under a translated address the one that its connection began under. Not of ICMP.
    #[inline(always)]
    fn untranslate(&mut self, _packet: &mut Packet, _family: Family) {}

    /// Addresses an ICMP error to whom it goes behind the gateway, where the packet that it quotes is of a translated connection.
    #[inline(always)]
    fn unquote<R: PacketReader>(&mut self, _reader: &R, _error: &mut Packet, _family: Family) {}

    /// The ports of a datagram whose first fragment was seen.
    fn recall(&mut self, key: &FragmentKey) -> Option<FragmentPorts>;
}

/// Where a packet is counted. A structure whose fields always have a value: of an enumeration the compiler copies what a variant has not,
/// which the kernel's verifier refuses.
pub struct Entry<'a> {
    /// The entry of its flow, once it is added there.
    flow: Option<&'a mut FlowStats>,
    /// In this direction, which is another one than the packet's where addresses were translated.
    direction: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Whole,
    Embryo,
    Absent,
    NoRoom,
}

impl<'a> Entry<'a> {
    /// In this entry, once it is added there in this direction.
    #[inline(always)]
    pub const fn whole(flow: &'a mut FlowStats, direction: u32) -> Self {
        Self { flow: Some(flow), direction, place: Place::Whole }
    }

    /// As the only packet of its flow: it is counted.
    #[inline(always)]
    pub const fn embryo() -> Self {
        Self { flow: None, direction: 0, place: Place::Embryo }
    }

    /// Nowhere yet; its direction in the flow that is to begin.
    #[inline(always)]
    pub const fn absent(direction: u32) -> Self {
        Self { flow: None, direction, place: Place::Absent }
    }

    /// Nowhere: there is no room.
    #[inline(always)]
    pub const fn no_room() -> Self {
        Self { flow: None, direction: 0, place: Place::NoRoom }
    }
}

/// What a new flow starts from: its first packet.
#[derive(Clone, Copy)]
pub struct First<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// Its direction: 0 from endpoint `a`, 1 from `b`.
    pub direction: u32,
    /// Its coarse time.
    pub now_ns: u64,
}

impl First<'_> {
    /// Direction of the originator: who sent the packet, or who must have sent one before, when it is a SYN-ACK.
    #[inline(always)]
    pub fn originator(&self) -> u8 {
        let p = self.packet;
        let answers = p.proto == proto::TCP && p.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
        (if answers { self.direction ^ 1 } else { self.direction }) as u8
    }
}

/// Accounts one frame and emits it as an event, if it is one. Returns the part of the ledger that it was counted in.
#[inline(always)]
pub fn account<R: PacketReader, C: Clock, F: Flows, E: Events>(
    reader: &R,
    clock: &C,
    flows: &mut F,
    events: &mut E,
    slot: &mut CpuSlot,
) -> Counter {
    let CpuSlot { ledger, packet, events: state, outers } = slot;
    ledger.bump(Counter::Seen);
    ledger.seen_bytes += u64::from(reader.wire_len());
    if unlikely(state.leaves_out(events)) {
        ledger.bump(Counter::SampledOut);
        return Counter::SampledOut;
    }
    events::raw(reader, events, state, ledger, || clock.coarse_ns());
    let family = match parse_with(reader, packet, outers) {
        Ok(family) => family,
        Err(reason) => {
            cold_path();
            ledger.bump(reason);
            if reason == Counter::Arp {
                events::arp(reader, packet, events, state, ledger, clock.coarse_ns());
            }
            return reason;
        }
    };
    reader.parsed(packet);
    let now_ns = clock.coarse_ns();
    if unlikely(packet.is_odd()) {
        notes(ledger, packet);
        if packet.fragment != fragment::NONE {
            fragments(flows, family, ledger, packet, now_ns);
        }
        if packet.dns != 0 {
            flows.untranslate(packet, family);
            events::dns(reader, packet, family, events, state, ledger, now_ns);
        }
        if packet.notes & note::ERROR != 0 {
            flows.unquote(reader, packet, family);
        }
        if packet.notes & (note::NEIGHBOR | note::TUNNEL) == note::NEIGHBOR {
            events::neighbor(reader, packet, events, state, ledger, now_ns);
        }
        if reader.tunnels().is_some() && packet.notes & note::TUNNEL != 0 {
            let packets = packet.segments(reader.segment_len());
            around(flows, family, ledger, packet, packets, outers, now_ns);
        }
    }
    let packets = split(reader, ledger, packet);
    // Neither is rare, but one of the two has to lie aside.
    let mut entry = if unlikely(family == Family::V6) {
        let (key, direction) = FlowKey6::of(packet);
        let entry = flows.entry6(&key, &First { packet, direction, now_ns }, ledger);
        fall_through();
        entry
    } else {
        let (key, direction) = FlowKey4::of(packet);
        flows.entry4(&key, &First { packet, direction, now_ns }, ledger)
    };
    if entry.place == Place::Absent {
        cold_path();
        let direction = entry.direction;
        let first = First { packet, direction, now_ns };
        entry = flows.begin(family, &first, |room| room.keep(reader, &first, packets, clock), ledger);
        fall_through();
    }
    if let Some(flow) = entry.flow {
        fall_through();
        let direction = entry.direction;
        ledger.add(Counter::Flow, packets);
        flow.add_from(reader, packet, packets, direction, now_ns, clock);
        return Counter::Flow;
    }
    cold_path();
    if entry.place == Place::Embryo {
        ledger.add(Counter::Flow, packets);
        return Counter::Flow;
    }
    ledger.add(Counter::Overflow, packets);
    ledger.overflow_bytes += u64::from(packet.wire_len);
    match flows.overflow(&OverflowKey::of(packet, family)) {
        Some(aggregate) => aggregate.add(packets, packet.wire_len, packet.ip_len),
        None => ledger.add(Counter::OverflowUnreported, packets),
    }
    Counter::Overflow
}

/// How many packets on the wire the frame stands for; those beyond the one that was counted already are added.
#[inline(always)]
fn split<R: PacketReader>(reader: &R, ledger: &mut LedgerSlot, packet: &mut Packet) -> u32 {
    let packets = packet.segments(reader.segment_len());
    if packets > 1 {
        let frame_len = packet.wire_len;
        packet.split(packets, packet.payload_len);
        ledger.add(Counter::Seen, packets - 1);
        ledger.seen_bytes += u64::from(packet.wire_len - frame_len);
    }
    packets
}

/// Counts the packets around this one, which stands for so many, each in its own flow, and remembers which of these lies in which. One whose
/// flow is that of the packet inside is counted there.
#[inline(always)]
fn around<F: Flows>(
    flows: &mut F,
    family: Family,
    ledger: &mut LedgerSlot,
    packet: &Packet,
    packets: u32,
    outers: &mut Outers,
    now_ns: u64,
) {
    let Outers { packets: around, is_v6, count, inner, outer: link } = outers;
    for level in 0..MAX_TUNNELS {
        if level as u64 >= *count {
            break;
        }
        *inner = match (around.get(level + 1), is_v6.get(level + 1)) {
            (Some(next), Some(next_is_v6)) if level as u64 + 1 < *count => Inner::of(next, *next_is_v6 != 0),
            _ => Inner::of(packet, matches!(family, Family::V6)),
        };
        let (Some(outer), Some(outer_is_v6)) = (around.get_mut(level), is_v6.get(level)) else { break };
        outer.split(packets, packet.payload_len);
        let outer_is_v6 = *outer_is_v6 != 0;
        let outer_family = if outer_is_v6 { Family::V6 } else { Family::V4 };
        if outer.fragment == fragment::FIRST {
            // The later ones have no packet in them, and are counted in its flow as they are.
            flows.remember(&FragmentKey::of(outer, outer_family), FragmentPorts::of(outer, now_ns));
        }
        if level == 0 {
            // Connection tracking knows no other one.
            flows.untranslate(outer, outer_family);
        }
        let is_counted = if outer_is_v6 {
            let (key, direction) = FlowKey6::of(outer);
            *link = Outer::of_v6(&key);
            if link.is_flow_of(inner) {
                continue;
            }
            flows.outer6(&key, &First { packet: outer, direction, now_ns }, ledger).map(|flow| {
                flow.add_outer(outer, packets, direction, now_ns);
                link.first_ns = flow.first_ns;
            })
        } else {
            let (key, direction) = FlowKey4::of(outer);
            *link = Outer::of_v4(&key);
            if link.is_flow_of(inner) {
                continue;
            }
            flows.outer4(&key, &First { packet: outer, direction, now_ns }, ledger).map(|flow| {
                flow.add_outer(outer, packets, direction, now_ns);
                link.first_ns = flow.first_ns;
            })
        };
        if is_counted.is_none() {
            ledger.add(Counter::OuterNoRoom, packets);
            continue;
        }
        if !flows.nest(inner, link) {
            ledger.bump(Counter::NestNoRoom);
        }
    }
}

/// Gives a later fragment the ports of its datagram.
#[inline(always)]
fn fragments<F: Flows>(flows: &mut F, family: Family, ledger: &mut LedgerSlot, packet: &mut Packet, now_ns: u64) {
    let key = FragmentKey::of(packet, family);
    if packet.fragment == fragment::FIRST {
        ledger.bump(Counter::FragmentFirst);
        flows.remember(&key, FragmentPorts::of(packet, now_ns));
        return;
    }
    ledger.bump(Counter::FragmentLater);
    let known = flows.recall(&key).is_some_and(|ports| ports.apply(packet, now_ns));
    ledger.bump(if known { Counter::FragmentHit } else { Counter::FragmentMiss });
}

#[inline(always)]
fn notes(ledger: &mut LedgerSlot, packet: &Packet) {
    if packet.l4_truncated != 0 {
        ledger.bump(Counter::L4Truncated);
    }
    if packet.notes & note::CHAIN_CUT != 0 {
        ledger.bump(Counter::Ipv6ChainCut);
    }
    if packet.notes & note::TUNNEL != 0 {
        ledger.bump(Counter::TunnelOpened);
    }
}
