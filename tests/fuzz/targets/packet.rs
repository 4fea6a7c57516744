//! The packet parser and the accounting over arbitrary frames: a few frames an input, so that TCP state, fragments and
//! full tables are reached as well.
//!
//! An input is a byte of options and frames: length of the frame (2 bytes, little-endian), how much longer it was on the
//! wire (2), milliseconds since the frame before (2), the frame. The last frame takes what is left.

#![no_main]

use std::collections::HashMap;
use std::hash::Hash;

use libfuzzer_sys::fuzz_target;
use nta_common::events::EventState;
use nta_common::packet::fragment;
use nta_common::{
    CaptureClock, Counter, CpuSlot, Entry, EventBuffer, EventHead, Events, First, FlowKey4, FlowKey6, FlowStats, Flows,
    FragmentKey, FragmentPorts, Kind, LedgerSlot, OverflowKey, PacketReader, SliceReader, TunnelPorts, Volume, account,
};

/// Flows of each family, overflow aggregates and datagrams that are kept: few, so that inputs fill them.
const ROOM: usize = 4;
/// Payload bytes of each packet on the wire, when an input says that its frames were merged.
const SEGMENT_LEN: u32 = 100;
/// Tag control information of frames whose tag the stack took out.
const VLAN_TAG: u16 = 0x2064;
/// Of the byte of options: tunnels are opened.
const TUNNELS: u8 = 1;
/// Frames are merged ones.
const MERGED: u8 = 2;
/// Frames had a tag.
const TAGGED: u8 = 4;
/// Every so many-th packet is accounted.
const SAMPLED: u8 = 8;
/// No clock starts at 0.
const START_NS: u64 = 1_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Some((options, mut rest)) = input.split_first() else { return };
    let mut tables = Tables::default();
    let mut ledger = LedgerSlot::default();
    let mut now = CaptureClock(START_NS);
    while let Some((frame, next)) = Frame::take(rest) {
        now.0 += u64::from(frame.after_ms) * 1_000_000;
        let wire_len = frame.data.len() as u32 + u32::from(frame.cut);
        let slice =
            SliceReader::new(frame.data, wire_len).with_tunnels((options & TUNNELS != 0).then(TunnelPorts::default));
        one(&Reader { slice, options: *options }, &now, &mut tables, &mut ledger);
        rest = next;
    }
    assert_eq!(tables.counted().0, ledger.get(Counter::Flow) + ledger.get(Counter::Overflow) - tables.unreported.0);
    assert_eq!(tables.counted().1, tables.bytes - tables.unreported.1);
    assert_eq!((tables.v4.len() + tables.v6.len()) as u64, ledger.get(Counter::FlowCreated));
});

/// Accounts a frame and checks what must hold after each.
fn one(reader: &Reader<'_>, now: &CaptureClock, tables: &mut Tables, ledger: &mut LedgerSlot) {
    let before = *ledger;
    let mut slot = CpuSlot { ledger: *ledger, events: tables.state, ..CpuSlot::default() };
    let mut emitted = Emitted { sample: reader.options & SAMPLED, ..Emitted::default() };
    let counter = account(reader, now, tables, &mut emitted, &mut slot);
    let packet = slot.packet;
    (*ledger, tables.state) = (slot.ledger, slot.events);
    assert!(emitted.events <= 2, "a frame makes at most two events");
    let rise = |counter: Counter| ledger.get(counter) - before.get(counter);
    let bytes = ledger.seen_bytes - before.seen_bytes;
    assert!(counter.is_part() && rise(counter) > 0, "{counter:?} is where the packet is");
    assert_eq!(ledger.imbalance(), 0);
    assert!(bytes >= u64::from(reader.slice.wire_len()));
    if !matches!(counter, Counter::Flow | Counter::Overflow) {
        assert_eq!((rise(Counter::Seen), bytes), (1, u64::from(reader.slice.wire_len())));
        return;
    }
    tables.bytes += bytes;
    if rise(Counter::OverflowUnreported) > 0 {
        tables.unreported.0 += rise(Counter::Seen);
        tables.unreported.1 += bytes;
    }
    assert_eq!(bytes, u64::from(packet.wire_len));
    assert!(packet.payload_len <= packet.ip_len, "a payload is within its packet");
    assert!(matches!(packet.fragment, fragment::NONE | fragment::FIRST | fragment::LATER));
    assert!([packet.l4_truncated, packet.dns].iter().all(|flag| *flag <= 1));
    assert!(packet.vlan < 1 << 12);
    assert!(rise(Counter::FragmentFirst) + rise(Counter::FragmentLater) <= 1);
    assert_eq!(rise(Counter::FragmentLater), rise(Counter::FragmentHit) + rise(Counter::FragmentMiss));
}

/// One frame of an input.
struct Frame<'a> {
    data: &'a [u8],
    cut: u16,
    after_ms: u16,
}

impl<'a> Frame<'a> {
    fn take(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = input.split_first_chunk::<6>()?;
        let [len, cut, after_ms] = [[head[0], head[1]], [head[2], head[3]], [head[4], head[5]]].map(u16::from_le_bytes);
        let (data, rest) = rest.split_at(usize::from(len).min(rest.len()));
        Some((Self { data, cut, after_ms }, rest))
    }
}

/// The reader of a capture, with what only the kernel's knows.
struct Reader<'a> {
    slice: SliceReader<'a>,
    options: u8,
}

impl PacketReader for Reader<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.slice.read(offset)
    }

    fn wire_len(&self) -> u32 {
        self.slice.wire_len()
    }

    fn readable(&self) -> usize {
        self.slice.readable()
    }

    fn segment_len(&self) -> u32 {
        if self.options & MERGED != 0 { SEGMENT_LEN } else { 0 }
    }

    fn vlan_tag(&self) -> Option<u16> {
        (self.options & TAGGED != 0).then_some(VLAN_TAG)
    }

    fn tunnels(&self) -> Option<TunnelPorts> {
        self.slice.tunnels()
    }
}

/// Looks at the events of a frame.
#[derive(Default)]
struct Emitted {
    sample: u8,
    events: usize,
}

impl Events for Emitted {
    fn sample(&self) -> u32 {
        u32::from(self.sample)
    }

    fn raw_every(&self) -> u32 {
        2
    }

    fn per_second(&self, _kind: Kind) -> u32 {
        3
    }

    fn put<const N: usize>(&mut self, fill: impl FnOnce(&mut EventBuffer<N>)) -> bool {
        let mut event = EventBuffer { head: EventHead::default(), data: [0; N] };
        fill(&mut event);
        assert!(Kind::of(event.head.kind).is_some() && event.head.data_len as usize <= N);
        self.events += 1;
        self.events % 2 == 1
    }
}

/// Flows in memory.
#[derive(Default)]
struct Tables {
    state: EventState,
    v4: HashMap<FlowKey4, FlowStats>,
    v6: HashMap<FlowKey6, FlowStats>,
    overflow: HashMap<OverflowKey, Volume>,
    fragments: HashMap<FragmentKey, FragmentPorts>,
    /// Of packets in flows and overflow.
    bytes: u64,
    /// Packets and bytes for which there was no room in the overflow aggregate either.
    unreported: (u64, u64),
}

impl Tables {
    /// Packets and bytes that flows and overflow hold together, but for the outsides of tunnels.
    fn counted(&self) -> (u64, u64) {
        let sum = |volumes: &mut dyn Iterator<Item = Volume>| {
            let all = volumes.map(|volume| volume.since(&Volume::default()));
            all.fold((0, 0), |(packets, bytes), counts| (packets + counts.packets, bytes + counts.bytes))
        };
        let flows = || self.v4.values().chain(self.v6.values());
        let all =
            sum(&mut flows().flat_map(|flow| &flow.dir).map(|dir| dir.volume).chain(self.overflow.values().copied()));
        let opened = sum(&mut flows().flat_map(|flow| flow.opened()));
        (all.0 - opened.0, all.1 - opened.1)
    }
}

/// The entry of a key in a table with room for [`ROOM`].
fn entry<'a, K: Copy + Eq + Hash>(
    table: &'a mut HashMap<K, FlowStats>,
    key: &K,
    first: &First<'_>,
    ledger: &mut LedgerSlot,
) -> Option<&'a mut FlowStats> {
    if !table.contains_key(key) {
        if table.len() == ROOM {
            ledger.bump(Counter::FlowInsertFailed);
            return None;
        }
        let mut flow = FlowStats::default();
        flow.begin(first);
        table.insert(*key, flow);
        ledger.bump(Counter::FlowCreated);
    }
    table.get_mut(key)
}

impl Flows for Tables {
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_> {
        entry(&mut self.v4, key, first, ledger).map_or(Entry::no_room(), |flow| Entry::whole(flow, first.direction))
    }

    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_> {
        entry(&mut self.v6, key, first, ledger).map_or(Entry::no_room(), |flow| Entry::whole(flow, first.direction))
    }

    fn overflow(&mut self, key: &OverflowKey) -> Option<&mut Volume> {
        if self.overflow.len() == ROOM && !self.overflow.contains_key(key) {
            return None;
        }
        Some(self.overflow.entry(*key).or_default())
    }

    fn remember(&mut self, key: &FragmentKey, ports: FragmentPorts) {
        if self.fragments.len() < ROOM || self.fragments.contains_key(key) {
            self.fragments.insert(*key, ports);
        }
    }

    fn recall(&mut self, key: &FragmentKey) -> Option<FragmentPorts> {
        self.fragments.get(key).copied()
    }
}
