//! TCP (RFC 9293) and its timestamp option (RFC 7323).
//!
//! Offsets: ports 0..4, sequence 4..8, acknowledgment 8..12, data offset 12, flags 13, window 14..16, options from 20.

use core::hint::cold_path;

use super::{Packet, PacketReader};
use crate::limits::{MAX_HEADER_BYTES, MAX_TCP_OPTIONS};

const HEADER_LEN: usize = 20;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LEN: u8 = 10;
/// How nearly every stack lays the option out: two no-operations, kind 8, length 10 (RFC 7323 appendix A).
const TIMESTAMPS_USUAL: [u8; 4] = [NO_OPERATION, NO_OPERATION, TIMESTAMPS, TIMESTAMPS_LEN];

#[inline(always)]
pub(super) fn parse<R: PacketReader>(reader: &R, offset: usize, l4_len: u32, packet: &mut Packet) -> Option<()> {
    let Some(h) = reader.read::<HEADER_LEN>(offset) else {
        // Cut behind the ports: they still name the flow.
        let ports = reader.read::<4>(offset)?;
        packet.src_port = u16::from_be_bytes([ports[0], ports[1]]);
        packet.dst_port = u16::from_be_bytes([ports[2], ports[3]]);
        return None;
    };
    packet.src_port = u16::from_be_bytes([h[0], h[1]]);
    packet.dst_port = u16::from_be_bytes([h[2], h[3]]);
    let header_len = usize::from(h[12] >> 4) * 4;
    if header_len < HEADER_LEN || header_len as u32 > l4_len {
        return None;
    }
    packet.seq = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
    packet.ack = u32::from_be_bytes([h[8], h[9], h[10], h[11]]);
    packet.tcp_flags = h[13];
    packet.window = u32::from(u16::from_be_bytes([h[14], h[15]]));
    packet.payload_len = l4_len - header_len as u32;
    packet.payload_at = (offset + header_len) as u32;
    packet.has_timestamps = 0;
    if header_len > HEADER_LEN {
        let (options, end) = (offset + HEADER_LEN, offset + header_len);
        timestamps(reader, options, if end < MAX_HEADER_BYTES { reader.forget(end) } else { MAX_HEADER_BYTES }, packet);
    }
    Some(())
}

/// Value and echo of the timestamp option, if the options begin with it in its usual layout.
#[inline(always)]
pub(super) fn fast_path_timestamps<R: PacketReader>(reader: &R, options: usize) -> Option<[u32; 2]> {
    let o = reader.read::<12>(options)?;
    if [o[0], o[1], o[2], o[3]] != TIMESTAMPS_USUAL {
        cold_path();
        return None;
    }
    Some([u32::from_be_bytes([o[4], o[5], o[6], o[7]]), u32::from_be_bytes([o[8], o[9], o[10], o[11]])])
}

#[inline(always)]
fn timestamps<R: PacketReader>(reader: &R, options: usize, end: usize, packet: &mut Packet) {
    if let Some([value, echo]) = fast_path_timestamps(reader, options)
        && options + 12 <= end
    {
        packet.ts_val = value;
        packet.ts_ecr = echo;
        packet.has_timestamps = 1;
        return;
    }
    let mut at = options;
    for _ in 0..MAX_TCP_OPTIONS {
        if at >= end || at >= MAX_HEADER_BYTES {
            return;
        }
        at = reader.forget(at);
        let Some([kind]) = reader.read::<1>(at) else { return };
        if kind == END_OF_OPTIONS {
            return;
        }
        if kind == NO_OPERATION {
            at += 1;
            continue;
        }
        let Some([_, len]) = reader.read::<2>(at) else { return };
        if kind == TIMESTAMPS && len == TIMESTAMPS_LEN && at + 10 <= end {
            if let Some(o) = reader.read::<10>(at) {
                packet.ts_val = u32::from_be_bytes([o[2], o[3], o[4], o[5]]);
                packet.ts_ecr = u32::from_be_bytes([o[6], o[7], o[8], o[9]]);
                packet.has_timestamps = 1;
            }
            return;
        }
        if len < 2 {
            return;
        }
        at += usize::from(len);
    }
}
