//! GRE (RFC 2784, 2890), PPTP's variant of it (RFC 2637), and what others put into it: ERSPAN (draft-foschiano-erspan), redirected
//! packets (WCCP, draft-wilson-wrec-wccp-v2).

use super::{Next, PacketReader, TRANSPARENT_ETHERNET, bare, bounded, ppp};

/// ERSPAN of type I, without a header and a sequence number, and of type II, with both.
const ERSPAN: u16 = 0x88be;
const ERSPAN_LEN: usize = 8;
const ERSPAN_3: u16 = 0x22eb;
const ERSPAN_3_LEN: usize = 12;
/// Whether a platform's 8 bytes follow: the lowest bit of the header.
const ERSPAN_3_MORE: u8 = 1;

/// Version 2 of the protocol has 4 bytes before the packet, version 1 none.
const WCCP: u16 = 0x883e;
const WCCP_LEN: usize = 4;

/// PPP, of version 1 alone.
const PPTP: u16 = 0x880b;

const GRE_LEN: usize = 4;
/// GRE with checksum, routing, key, sequence number; and its version, which is 0 (1 is PPTP's, which has an acknowledgment).
const CHECKSUM: u8 = 0x80;
const ROUTING: u8 = 0x40;
const KEY: u8 = 0x20;
const SEQUENCE: u8 = 0x10;
const VERSION: u8 = 0x07;
const PPTP_VERSION: u8 = 1;
const ACKNOWLEDGMENT: u8 = 0x80;

#[inline(always)]
pub(super) fn enter<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [flags, version, type_high, type_low] = reader.read::<GRE_LEN>(at)?;
    let ether_type = u16::from_be_bytes([type_high, type_low]);
    let optional = |flags: u8, flag: u8| if flags & flag != 0 { 4 } else { 0 };
    let offset = at + GRE_LEN + optional(flags, KEY) + optional(flags, SEQUENCE);
    if version & VERSION == PPTP_VERSION && ether_type == PPTP {
        return ppp::enter(reader, offset + optional(version, ACKNOWLEDGMENT));
    }
    if version & VERSION != 0 || flags & ROUTING != 0 {
        return None;
    }
    let offset = offset + optional(flags, CHECKSUM);
    let header = match ether_type {
        ERSPAN if flags & SEQUENCE == 0 => 0,
        ERSPAN => ERSPAN_LEN,
        ERSPAN_3 => {
            let [last] = reader.read::<1>(bounded(reader, offset)? + ERSPAN_3_LEN - 1)?;
            ERSPAN_3_LEN + if last & ERSPAN_3_MORE != 0 { 8 } else { 0 }
        }
        WCCP => {
            let [first] = reader.read::<1>(bounded(reader, offset)?)?;
            return bare(reader, offset + if first >> 4 == 4 { 0 } else { WCCP_LEN });
        }
        _ => return Some(Next { ether_type, offset }),
    };
    Some(Next { ether_type: TRANSPARENT_ETHERNET, offset: offset + header })
}
