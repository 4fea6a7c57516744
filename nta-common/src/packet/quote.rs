//! What an ICMP error quotes: the first bytes of the packet that it is about (RFC 792; RFC 4443 section 2.4), as that passed
//! where the error comes from.
//!
//! Read only where addresses are translated: there the quoted packet has the names that the gateway gave it, and the kernel's
//! connection tracking hands the error to whom it is about by these.

use super::{Packet, PacketReader, fragment, ipv4, ipv6, proto};
use crate::limits::MAX_HEADER_BYTES;
use crate::nat::Key;
use crate::{FlowKey4, FlowKey6};

/// Protocols whose header begins with both ports.
#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP)
}

/// The key of the packet that this IPv4 error quotes, as answers to it are looked up, and its direction. `None` where it quotes none
/// with a whole header, or one that whom it goes to has not sent.
#[inline(always)]
pub fn v4<R: PacketReader>(reader: &R, error: &Packet) -> Option<(FlowKey4, u32)> {
    let at = begin(reader, error)?;
    let h = reader.read::<{ ipv4::HEADER_LEN }>(at)?;
    let address = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
    let header_len = usize::from(h[0] & 0xf) * 4;
    let is_later_fragment = u16::from_be_bytes([h[6], h[7]]) & ipv4::FRAGMENT_OFFSET != 0;
    if h[0] >> 4 != 4 || header_len < ipv4::HEADER_LEN || is_later_fragment || address(12) != error.dst4 {
        return None;
    }
    let ports = ports::<R, FlowKey4>(reader, at + header_len, h[9])?;
    Some(FlowKey4::between((address(12), ports[0]), (address(16), ports[1]), h[9]))
}

/// The same of an IPv6 error. One that quotes a packet with extension headers is not followed.
#[inline(always)]
pub fn v6<R: PacketReader>(reader: &R, error: &Packet) -> Option<(FlowKey6, u32)> {
    let at = begin(reader, error)?;
    let h = reader.read::<8>(at)?;
    let source = words(reader.read::<16>(at + 8)?);
    let destination = words(reader.read::<16>(at + 24)?);
    if h[0] >> 4 != 6 || source[0] != error.dst6[0] || source[1] != error.dst6[1] {
        return None;
    }
    let ports = ports::<R, FlowKey6>(reader, at + ipv6::HEADER_LEN, h[6])?;
    Some(FlowKey6::between((source, ports[0]), (destination, ports[1]), h[6]))
}

/// Where the quoted packet begins.
#[inline(always)]
fn begin<R: PacketReader>(reader: &R, error: &Packet) -> Option<usize> {
    let at = error.payload_at as usize;
    (error.fragment != fragment::LATER && at < MAX_HEADER_BYTES).then(|| reader.forget(at))
}

/// Source and destination port of the quoted packet; of an echo its identifier in both places.
#[inline(always)]
fn ports<R: PacketReader, K: Key>(reader: &R, at: usize, protocol: u8) -> Option<[u16; 2]> {
    let (icmp, request, _) = K::ICMP;
    if protocol != icmp && !has_ports(protocol) {
        return Some([0; 2]);
    }
    if at >= MAX_HEADER_BYTES {
        return None;
    }
    // Every error quotes as much (RFC 792).
    let h = reader.read::<8>(reader.forget(at))?;
    let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
    if protocol != icmp {
        return Some([word(0), word(2)]);
    }
    (h[0] == request).then(|| [word(4); 2])
}

#[inline(always)]
const fn words([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> [u64; 2] {
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::packet::tests::{UDP, eth, ipv4, ipv6};
    use crate::packet::{SliceReader, note, parse};

    /// What an error with this frame quotes: the answers' key, and the direction.
    fn quoted<K: Key>(frame: &[u8]) -> Option<(K, u32)> {
        let (reader, mut packet) = (SliceReader::new(frame, frame.len() as u32), Packet::default());
        parse(&reader, &mut packet).ok().filter(|_| packet.notes & note::ERROR != 0)?;
        K::quoted(&reader, &packet)
    }

    /// An error in answer to an IPv4 packet of `192.0.2.1`, to which it goes.
    fn error(quote: &[u8]) -> Vec<u8> {
        let [mut outer, header] =
            [ipv4(proto::ICMP, &[], 0, &[&[3, 3, 0, 0, 0, 0, 0, 0], quote].concat()), eth(0x0800)];
        outer[12..20].copy_from_slice(&[203, 0, 113, 9, 192, 0, 2, 1]);
        [header, outer].concat()
    }

    #[test]
    fn an_error_quotes_the_packet_that_it_answers() {
        let (sender, peer) = (0xc000_0201, 0xc000_0202);
        let udp = FlowKey4::between((sender, 0x14e9), (peer, 53), proto::UDP);
        assert_eq!(quoted(&error(&ipv4(proto::UDP, &[], 0, &UDP))), Some(udp));
        assert_eq!(
            quoted(&error(&ipv4(proto::UDP, &[1, 1, 1, 0], 0, &UDP[..8]))),
            Some(udp),
            "with options, and no more than has to be"
        );
        let gre = FlowKey4::between((sender, 0), (peer, 0), 47);
        assert_eq!(quoted(&error(&ipv4(47, &[], 0, &[]))), Some(gre), "a protocol without ports");
        let echo = FlowKey4::between((sender, 7), (peer, 7), proto::ICMP);
        assert_eq!(quoted(&error(&ipv4(proto::ICMP, &[], 0, &[8, 0, 0, 0, 0, 7, 0, 1]))), Some(echo));
    }

    #[test]
    fn an_ipv6_error_quotes_the_packet_that_it_answers() {
        let mut outer = ipv6(proto::ICMPV6, &[&[1, 4, 0, 0, 0, 0, 0, 0], &ipv6(proto::UDP, &UDP)[..]].concat());
        // To whom the quoted packet came from.
        let sender: Vec<u8> = outer[8..24].to_vec();
        outer[24..40].copy_from_slice(&sender);
        let frame = [eth(0x86dd), outer].concat();
        let ends = [1, 2].map(|host| [0x2001_0db8_0000_0000, host]);
        let expected = FlowKey6::between((ends[0], 0x14e9), (ends[1], 53), proto::UDP);
        assert_eq!(quoted(&frame), Some(expected));
        for length in 0..frame.len() - UDP.len() + 8 {
            assert_eq!(quoted::<FlowKey6>(&frame[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn an_error_that_quotes_nothing_of_whom_it_goes_to_is_left_as_it_is() {
        let mut foreign = ipv4(proto::UDP, &[], 0, &UDP);
        foreign[15] = 9;
        let whole = error(&ipv4(proto::UDP, &[], 0, &UDP));
        let echo_reply = ipv4(proto::ICMP, &[], 0, &[0, 0, 0, 0, 0, 7, 0, 1]);
        for (what, frame) in [
            ("sent by another", error(&foreign)),
            ("a later fragment has no ports", error(&ipv4(proto::UDP, &[], 5, &UDP))),
            ("nobody answers an echo's answer", error(&echo_reply)),
            ("not of this version", error(&ipv6(proto::UDP, &UDP))),
            ("ports cut off", whole[..14 + 20 + 8 + 20 + 7].to_vec()),
            ("header cut off", whole[..14 + 20 + 8 + 19].to_vec()),
        ] {
            assert_eq!(quoted::<FlowKey4>(&frame), None, "{what}");
        }
        let echo = [eth(0x0800), ipv4(proto::ICMP, &[], 0, &[8, 0, 0, 0, 0, 7, 0, 1])].concat();
        assert_eq!(quoted::<FlowKey4>(&echo), None, "no error");
    }
}
