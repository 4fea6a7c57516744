//! What may lie between the link layer and IP: an MPLS label stack (RFC 3032) with IP or an Ethernet frame (RFC 4448) in it, a
//! PPPoE session header (RFC 2516), the headers of LLC and SNAP (IEEE 802.2, RFC 1042).
//!
//! An MPLS label is 4 bytes, the lowest bit of byte 2 marks the last one; the first four bits of what follows say what it is, as
//! routers do (RFC 4928). A frame may have a control word of 4 bytes before it. PPPoE is 6 bytes, then the PPP protocol number
//! in 2. LLC and SNAP are 6 bytes, then an Ethernet type, and stand behind a length in place of a type.

use super::{Next, PacketReader, eth, tunnel};
use crate::Counter;
use crate::limits::{MAX_HEADER_BYTES, MAX_MPLS_LABELS};

pub(super) const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;

const LABEL_LEN: usize = 4;
const BOTTOM_OF_STACK: u8 = 0x01;
const PPPOE_LEN: usize = 6;
/// The largest number in the place of an Ethernet type that is a length.
const MAX_LENGTH: u16 = 1500;
const SNAP_LEN: usize = 8;
const CONTROL_WORD_LEN: usize = 4;
const TYPE_AT: usize = 12;

/// Steps over the shim, if there is one.
#[inline(always)]
pub(super) fn skip<R: PacketReader>(reader: &R, next: Next) -> Result<Next, Counter> {
    match next.ether_type {
        MPLS | MPLS_MULTICAST => labels(reader, next.offset),
        PPPOE_SESSION => {
            let at = reader.forget(next.offset) + PPPOE_LEN;
            let Some(protocol) = reader.read::<2>(at) else { return Err(Counter::ShimMalformed) };
            Ok(Next { ether_type: tunnel::ppp_ether_type(u16::from_be_bytes(protocol)), offset: at + 2 })
        }
        MAX_LENGTH.. => Ok(next),
        _ => Ok(snap(reader, next)),
    }
}

#[inline(always)]
fn snap<R: PacketReader>(reader: &R, next: Next) -> Next {
    let at = reader.forget(next.offset);
    match reader.read::<SNAP_LEN>(at) {
        Some([0xaa, 0xaa, 3, 0, 0, 0, high, low]) => {
            Next { ether_type: u16::from_be_bytes([high, low]), offset: at + SNAP_LEN }
        }
        _ => next,
    }
}

#[inline(always)]
fn labels<R: PacketReader>(reader: &R, start: usize) -> Result<Next, Counter> {
    let mut at = start;
    for _ in 0..MAX_MPLS_LABELS {
        if at >= MAX_HEADER_BYTES {
            return Err(Counter::ShimMalformed);
        }
        at = reader.forget(at);
        let Some(label) = reader.read::<LABEL_LEN>(at) else { return Err(Counter::ShimMalformed) };
        at += LABEL_LEN;
        if label[2] & BOTTOM_OF_STACK != 0 {
            let Some([first]) = reader.read::<1>(at) else { return Err(Counter::ShimMalformed) };
            let ether_type = match first >> 4 {
                4 => eth::IPV4,
                6 => eth::IPV6,
                _ => return Ok(pseudowire(reader, at)),
            };
            return Ok(Next { ether_type, offset: at });
        }
    }
    Err(Counter::ShimMalformed)
}

/// The packet of an Ethernet frame behind the labels, with or without a control word: whichever has a packet where it should be.
#[inline(always)]
fn pseudowire<R: PacketReader>(reader: &R, start: usize) -> Next {
    for before in [CONTROL_WORD_LEN, 0] {
        let at = reader.forget(start + before);
        let Some([high, low, first]) = reader.read::<3>(at + TYPE_AT) else { break };
        let next = Next { ether_type: u16::from_be_bytes([high, low]), offset: at + TYPE_AT + 2 };
        if matches!((next.ether_type, first >> 4), (eth::IPV4, 4) | (eth::IPV6, 6)) {
            return next;
        }
    }
    Next { ether_type: 0, offset: start }
}
