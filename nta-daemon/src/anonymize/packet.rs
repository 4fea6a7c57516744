//! Frames with their addresses replaced, and without what lies behind the headers: a payload has addresses and more in it.
//!
//! What is kept: the Ethernet header, tags of VLANs, ARP, the headers of IPv4 and IPv6 with their options, those of TCP and UDP, eight
//! bytes of ICMP. Checksums that held hold again, those that did not do not. Lengths on the wire and in headers stay, so that
//! packets, bytes and retransmissions are counted as before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Anonymizer;

const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Tags of VLANs that are looked behind.
const MOST_TAGS: usize = 4;
/// Headers of IPv6 that are looked behind.
const MOST_EXTENSIONS: usize = 8;

impl Anonymizer {
    /// Replaces a frame by what may be shown of it.
    pub fn frame(&mut self, frame: &mut Vec<u8>) {
        let kept = self.rewrite(frame).unwrap_or(0);
        frame.truncate(kept);
    }

    /// Rewrites the headers; how many bytes may be shown. `None` where not even the addresses of Ethernet are there.
    fn rewrite(&mut self, frame: &mut [u8]) -> Option<usize> {
        for at in [0, 6] {
            let mac = self.mac(frame.get(at..at + 6)?.try_into().ok()?);
            frame[at..at + 6].copy_from_slice(&mac);
        }
        let mut at = 12;
        let mut kind = half(frame, at)?;
        for _ in 0..MOST_TAGS {
            if !VLAN.contains(&kind) {
                break;
            }
            at += 4;
            let Some(next) = half(frame, at) else { return Some(at - 4) };
            kind = next;
        }
        let at = at + 2;
        let shown = match kind {
            ARP => self.arp(&mut frame[at..]),
            IPV4 => self.ipv4(&mut frame[at..]),
            IPV6 => self.ipv6(&mut frame[at..]),
            _ => None,
        };
        Some(at + shown.unwrap_or(0))
    }

    /// ARP for IPv4 over Ethernet.
    fn arp(&mut self, packet: &mut [u8]) -> Option<usize> {
        const LENGTH: usize = 28;
        if packet.get(..6)? != [0, 1, 8, 0, 6, 4] || packet.len() < LENGTH {
            return None;
        }
        for at in [8, 18] {
            let mac = self.mac(packet[at..at + 6].try_into().ok()?);
            packet[at..at + 6].copy_from_slice(&mac);
            self.v4(packet, at + 6)?;
        }
        Some(LENGTH)
    }

    fn ipv4(&mut self, packet: &mut [u8]) -> Option<usize> {
        let header = usize::from(packet.first()? & 15) * 4;
        if packet[0] >> 4 != 4 || header < 20 || packet.len() < header {
            return None;
        }
        let before = sum(&packet[12..20]);
        self.v4(packet, 12)?;
        self.v4(packet, 16)?;
        let after = sum(&packet[12..20]);
        adjust(packet, 10, before, after);
        let is_first = half(packet, 6)? & 0x1fff == 0;
        // Options may have addresses in them; a record of a route is all there is of their use.
        packet[20..header].fill(1);
        let changed = is_first.then_some((before, after));
        Some(header + behind(packet[9], &mut packet[header..], changed))
    }

    fn ipv6(&mut self, packet: &mut [u8]) -> Option<usize> {
        const HEADER: usize = 40;
        if packet.first()? >> 4 != 6 || packet.len() < HEADER {
            return None;
        }
        let before = sum(&packet[8..HEADER]);
        self.v6(packet, 8)?;
        self.v6(packet, 24)?;
        let after = sum(&packet[8..HEADER]);
        let (mut next, mut at, mut is_first) = (packet[6], HEADER, true);
        for _ in 0..MOST_EXTENSIONS {
            let length = match (next, packet.get(at + 1)) {
                // Hop-by-hop and destination options.
                (0 | 60, Some(length)) => 8 + usize::from(*length) * 8,
                // A fragment's header.
                (44, Some(_)) => {
                    is_first &= half(packet, at + 2)? & 0xfff8 == 0;
                    8
                }
                _ => break,
            };
            if packet.len() < at + length {
                return Some(at);
            }
            (next, at) = (packet[at], at + length);
        }
        let changed = is_first.then_some((before, after));
        Some(at + behind(next, &mut packet[at..], changed))
    }

    fn v4(&mut self, packet: &mut [u8], at: usize) -> Option<()> {
        let place: &mut [u8; 4] = packet.get_mut(at..at + 4)?.try_into().ok()?;
        if let IpAddr::V4(other) = self.address(Ipv4Addr::from(*place).into()) {
            *place = other.octets();
        }
        Some(())
    }

    fn v6(&mut self, packet: &mut [u8], at: usize) -> Option<()> {
        let place: &mut [u8; 16] = packet.get_mut(at..at + 16)?.try_into().ok()?;
        if let IpAddr::V6(other) = self.address(Ipv6Addr::from(*place).into()) {
            *place = other.octets();
        }
        Some(())
    }
}

/// How many bytes of a transport's header may be shown. Its checksum covers the addresses, whose sums were and are `changed`; a later
/// fragment has no header.
fn behind(protocol: u8, segment: &mut [u8], changed: Option<(u32, u32)>) -> usize {
    let Some((before, after)) = changed else { return 0 };
    let (shown, checksum) = match protocol {
        TCP => (segment.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4), Some(16)),
        // A UDP checksum of 0 is none.
        UDP if segment.get(6..8) == Some(&[0, 0]) => (8, None),
        UDP => (8, Some(6)),
        // The checksum of ICMP does not cover addresses, that of ICMPv6 does.
        ICMP => (8, None),
        ICMPV6 => (8, Some(2)),
        _ => (0, None),
    };
    if let Some(at) = checksum
        && segment.len() >= at + 2
    {
        adjust(segment, at, before, after);
        // Of UDP 0 would say that there is none.
        if protocol == UDP && segment[at..at + 2] == [0, 0] {
            segment[at..at + 2].fill(0xff);
        }
    }
    shown.min(segment.len())
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The sum of the 16-bit words.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

/// Brings a checksum up to what it covers now (RFC 1624, equation 3).
fn adjust(bytes: &mut [u8], at: usize, before: u32, after: u32) {
    let Some(old) = half(bytes, at) else { return };
    let fold = |mut sum: u32| {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    };
    let sum = u32::from(!old) + u32::from(!(fold(before) as u16)) + fold(after);
    let new = !(fold(sum) as u16);
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
}
