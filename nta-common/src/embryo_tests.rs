//! A flow whose first packet was kept goes on as one whose first packet was counted.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::Embryo;
use crate::packet::{Packet, fragment, proto};
use crate::{CaptureClock, First, FlowStats, SliceReader};

const FRAME: usize = 200;
const PAYLOAD_AT: usize = 60;

/// Packets as a parser leaves them: what is no TCP has no flags.
fn packets() -> impl Strategy<Value = (Packet, Vec<u8>)> {
    let numbers = (0..4_u32, any::<u32>(), any::<u32>(), prop_oneof![Just(0), any::<u16>()], 0..3_u32);
    let kinds = (
        prop_oneof![3 => Just(proto::TCP), 2 => Just(proto::UDP), 1 => Just(proto::ICMP), 1 => any::<u8>()],
        any::<u8>(),
        prop_oneof![4 => Just(fragment::NONE), 1 => Just(fragment::FIRST), 1 => Just(fragment::LATER)],
        prop_oneof![5 => Just(0), 1 => Just(1_u8)],
        prop_oneof![Just(0), 1..40_u32, Just(1400)],
        prop_oneof![Just(0), Just(1), Just(77), Just(70_000)],
    );
    let packet = |((timestamps, seq, ack, window, vlan), (proto, flags, fragment, truncated, payload, id))| Packet {
        proto,
        tcp_flags: if proto == proto::TCP { flags } else { 0 },
        fragment,
        l4_truncated: truncated,
        payload_len: payload,
        wire_len: 60 + payload,
        ip_len: 46 + payload,
        seq,
        ack,
        window: u32::from(window),
        vlan: vlan as u16,
        datagram_id: id,
        has_timestamps: u32::from(timestamps == 0),
        ts_val: seq ^ ack,
        payload_at: PAYLOAD_AT as u32,
        ..Packet::default()
    };
    ((numbers, kinds).prop_map(packet), prop::collection::vec(any::<u8>(), FRAME))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn grown_is_what_counting_makes(
        (first, frame) in packets(),
        more in prop::collection::vec((packets(), 0..2_u32, 0..5_000_000_000_u64), 0..4),
        direction in 0..2_u32,
        count in 1..3_u32,
        now_ns in 1..u64::MAX / 4,
    ) {
        let (reader, clock) = (SliceReader::new(&frame, first.wire_len), CaptureClock(now_ns));
        let begins = First { packet: &first, direction, now_ns };
        let mut embryo = Embryo::default();
        // What was in the room before leaves no trace.
        embryo.keep(&reader, &First { packet: &Packet { proto: proto::UDP, ..Packet::default() }, ..begins }, 9, &clock);
        let is_kept = embryo.keep(&reader, &begins, count, &clock);
        let says_more = first.has_tcp()
            && (first.payload_len != 0 && (first.tcp_flags & 2 != 0 || first.has_timestamps != 0 || first.tcp_flags == 0)
                || first.datagram_id > 0xffff);
        prop_assert_eq!(is_kept, !says_more);
        if is_kept {
            let mut counted = FlowStats::default();
            counted.begin(&begins);
            counted.add_from(&reader, &first, count, direction, now_ns, &clock);
            let mut grown = embryo.grown(first.proto);
            prop_assert_eq!(grown, counted);
            let mut now_ns = now_ns;
            for ((packet, frame), direction, later) in more {
                now_ns += later;
                let packet = Packet { proto: first.proto, ..packet };
                for flow in [&mut grown, &mut counted] {
                    let reader = SliceReader::new(&frame, packet.wire_len);
                    flow.add_from(&reader, &packet, 1, direction, now_ns, &CaptureClock(now_ns));
                }
            }
            prop_assert_eq!(grown, counted);
        }
    }
}
