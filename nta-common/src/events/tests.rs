//! Which packets become events, with which bytes, how many of them, and what sampling leaves out.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::{CaptureClock, CpuSlot, Entry, First, FlowKey4, FlowKey6, FlowStats, Flows, FragmentKey, FragmentPorts};
use crate::{OverflowKey, SliceReader, Volume, account};

/// Keeps events; everything goes into one flow.
#[derive(Default)]
struct Bench {
    flow: FlowStats,
    emitted: Vec<(EventHead, Vec<u8>)>,
    sample: u32,
    raw_every: u32,
    room: usize,
}

impl Events for Bench {
    fn sample(&self) -> u32 {
        self.sample
    }

    fn raw_every(&self) -> u32 {
        self.raw_every
    }

    fn per_second(&self, _kind: Kind) -> u32 {
        3
    }

    fn put<const N: usize>(&mut self, fill: impl FnOnce(&mut EventBuffer<N>)) -> bool {
        if self.emitted.len() >= self.room {
            return false;
        }
        let mut event = EventBuffer { head: EventHead::default(), data: [0xee; N] };
        fill(&mut event);
        self.emitted.push((event.head, event.data[..event.head.data_len as usize].to_vec()));
        true
    }
}

struct OneFlow<'a>(&'a mut FlowStats);

impl Flows for OneFlow<'_> {
    fn entry4(&mut self, _: &FlowKey4, first: &First<'_>, _: &mut LedgerSlot) -> Entry<'_> {
        Entry::whole(self.0, first.direction)
    }

    fn entry6(&mut self, _: &FlowKey6, first: &First<'_>, _: &mut LedgerSlot) -> Entry<'_> {
        Entry::whole(self.0, first.direction)
    }

    fn overflow(&mut self, _: &OverflowKey) -> Option<&mut Volume> {
        None
    }

    fn remember(&mut self, _: &FragmentKey, _: FragmentPorts) {}

    fn recall(&mut self, _: &FragmentKey) -> Option<FragmentPorts> {
        None
    }
}

fn run(bench: &mut Bench, slot: &mut CpuSlot, at_ns: u64, frame: &[u8]) -> Counter {
    let mut flow = bench.flow;
    let counted = account(
        &SliceReader::new(frame, frame.len() as u32),
        &CaptureClock(at_ns),
        &mut OneFlow(&mut flow),
        bench,
        slot,
    );
    bench.flow = flow;
    counted
}

/// UDP from 192.0.2.1 to 198.51.100.2 with a payload of this length, whose bytes count up.
fn udp(ports: [u16; 2], payload_len: usize) -> Vec<u8> {
    let mut frame = std::vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + payload_len as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    frame.extend(ports.map(u16::to_be_bytes).concat());
    frame.extend((8 + payload_len as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload_len).map(|i| i as u8));
    frame
}

/// ARP behind these VLAN tags.
fn arp(tags: &[u16]) -> Vec<u8> {
    let mut frame = std::vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([8, 6]);
    frame.extend(1..=28);
    frame
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_dns_message_is_emitted_by_either_port_up_to_its_limit() {
    for (ports, len, emitted) in
        [([999, 53], 12, 12), ([5353, 5353], 29, 29), ([53, 999], 512, 512), ([53, 999], 700, 512)]
    {
        let (mut bench, mut slot) = (Bench { room: 9, ..Bench::default() }, CpuSlot::default());
        assert_eq!(run(&mut bench, &mut slot, 7, &udp(ports, len)), Counter::Flow);
        let (head, data) = &bench.emitted[0];
        assert_eq!((head.kind, head.family, head.src[0], head.dst[0]), (Kind::Dns as u32, 4, 0xc000_0201, 0xc633_6402));
        assert_eq!((head.time_ns, head.src_port, head.dst_port, head.message_len), (7, ports[0], ports[1], len as u32));
        assert!(data.iter().copied().eq((0..emitted).map(|i| i as u8)), "{ports:?} {len}: {data:?}");
    }
    let (mut bench, mut slot) = (Bench { room: 9, ..Bench::default() }, CpuSlot::default());
    run(&mut bench, &mut slot, 7, &udp([999, 54], 40));
    assert!(bench.emitted.is_empty(), "no DNS port");
}

#[test]
fn arp_is_emitted_behind_tags_and_without_bytes_when_cut() {
    for tags in [&[][..], &[5], &[5, 6]] {
        let (mut bench, mut slot) = (Bench { room: 9, ..Bench::default() }, CpuSlot::default());
        let frame = arp(tags);
        assert_eq!(run(&mut bench, &mut slot, 7, &frame), Counter::Arp);
        let (head, data) = &bench.emitted[0];
        assert_eq!((head.kind, head.vlan), (Kind::Arp as u32, tags.first().copied().unwrap_or(0)));
        assert_eq!(*data, [&frame[..12], &frame[frame.len() - 28..]].concat());
        run(&mut bench, &mut slot, 7, &frame[..frame.len() - 1]);
        assert_eq!(bench.emitted[1].0.data_len, 0);
    }
}

#[test]
fn neighbour_discovery_is_emitted_with_its_place_and_no_other_icmpv6_is() {
    for tags in 0..=2_usize {
        let mut frame = std::vec![2; 12];
        frame.extend([0x81, 0, 0, 5].repeat(tags));
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
        frame.extend([0xfe; 32]);
        let at = frame.len();
        for (kind, is_reported) in [(128, false), (133, false), (134, false), (135, true), (136, true), (137, false)] {
            let (mut bench, mut slot) = (Bench { room: 9, ..Bench::default() }, CpuSlot::default());
            let frame = [&frame[..], &[kind, 0], &[7; 30]].concat();
            assert_eq!(run(&mut bench, &mut slot, 7, &frame), Counter::Flow);
            assert_eq!(bench.emitted.len(), usize::from(is_reported), "{kind}");
            let Some((head, data)) = bench.emitted.first() else { continue };
            assert_eq!((head.kind, head.message_len as usize, head.time_ns), (Kind::Nd as u32, at, 7));
            assert_eq!((data.as_slice(), head.wire_len as usize), (frame.as_slice(), frame.len()));
            assert_eq!(slot.ledger.get(Counter::EventNd), 1);
        }
    }
}

#[test]
fn each_kind_has_its_limit_and_its_losses_are_counted() {
    let (mut bench, mut slot) = (Bench { room: 5, ..Bench::default() }, CpuSlot::default());
    let start = 100 * SECOND;
    for n in 0..5 {
        run(&mut bench, &mut slot, start + n, &udp([1, 53], 20));
    }
    run(&mut bench, &mut slot, start, &arp(&[]));
    for n in 0..2 {
        run(&mut bench, &mut slot, start + SECOND + n, &udp([1, 53], 20));
    }
    let count = |counter| slot.ledger.get(counter);
    let dns = Kind::Dns.counters().map(count);
    assert_eq!((dns, Kind::Arp.counters().map(count)), ([4, 2, 1], [1, 0, 0]));
    assert_eq!((count(Counter::Seen), count(Counter::Flow), slot.ledger.imbalance()), (8, 7, 0));
}

#[test]
fn every_nth_head_is_emitted() {
    let (mut bench, mut slot) = (Bench { room: 9, raw_every: 3, ..Bench::default() }, CpuSlot::default());
    for len in 0..7_u64 {
        run(&mut bench, &mut slot, len * SECOND, &udp([1, 2], 100 * len as usize));
    }
    let lengths: Vec<(u32, usize)> = bench.emitted.iter().map(|(head, data)| (head.wire_len, data.len())).collect();
    assert_eq!(lengths, [(242, 128), (542, 128)]);
}

#[test]
fn what_sampling_leaves_out_is_counted_and_balances() {
    let (mut bench, mut slot) = (Bench { room: 99, sample: 4, ..Bench::default() }, CpuSlot::default());
    for _ in 0..10 {
        run(&mut bench, &mut slot, 7, &udp([1, 2], 10));
    }
    let count = |counter| slot.ledger.get(counter);
    let counts = [Counter::Seen, Counter::Flow, Counter::SampledOut].map(count);
    assert_eq!((counts, slot.ledger.imbalance()), ([10, 2, 8], 0));
}
