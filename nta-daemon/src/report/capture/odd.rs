//! Packets that no sound sender makes, each kind with the first frames of it by the numbers that Wireshark gives them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_capture::Frame;
use nta_common::packet::proto;
use nta_core::domain::Timestamp;

/// Frames of a kind that are named.
const NAMED: usize = 10;
/// A record that states such a length is damaged, see `nta_capture`.
const IMPOSSIBLE_LENGTH: u32 = 1 << 30;
/// The longest IP packet.
const LONGEST_IP: usize = 65_535;
/// An echo of more is no usual ping.
const LARGE_ECHO: usize = 1_500;

/// TCP's flags.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// What is odd about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NoFlags,
    Xmas,
    SynFin,
    SynReset,
    FinAlone,
    SameEnds,
    BadSource,
    LoopbackOnWire,
    PortZero,
    HopLimitZero,
    SourceRoute,
    TinyFragment,
    FragmentBeyond,
    Redirect,
    LargeEcho,
    DamagedIp,
    DamagedTransport,
    ImpossibleLength,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::NoFlags,
        Self::Xmas,
        Self::SynFin,
        Self::SynReset,
        Self::FinAlone,
        Self::SameEnds,
        Self::BadSource,
        Self::LoopbackOnWire,
        Self::PortZero,
        Self::HopLimitZero,
        Self::SourceRoute,
        Self::TinyFragment,
        Self::FragmentBeyond,
        Self::Redirect,
        Self::LargeEcho,
        Self::DamagedIp,
        Self::DamagedTransport,
        Self::ImpossibleLength,
    ];

    /// Its name, and what it means.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoFlags => ("tcp_no_flags", "TCP without any flag: a null scan."),
            Self::Xmas => ("tcp_xmas", "TCP with FIN, PSH and URG and without ACK: a Christmas tree scan."),
            Self::SynFin => {
                ("tcp_syn_fin", "TCP with SYN and FIN: no stack sends both; scanners do, past simple filters.")
            }
            Self::SynReset => ("tcp_syn_rst", "TCP with SYN and RST: no stack sends both."),
            Self::FinAlone => ("tcp_fin_alone", "TCP with FIN and without ACK: a FIN scan."),
            Self::SameEnds => {
                ("same_ends", "Source and destination are one address: a land attack, or a broken stack.")
            }
            Self::BadSource => ("impossible_source", "The source is a multicast or broadcast address: it is forged."),
            Self::LoopbackOnWire => {
                ("loopback_on_wire", "A loopback address between two stations: it is forged, or leaks.")
            }
            Self::PortZero => ("port_zero", "TCP or UDP with port 0: no service has it; scanners and floods do."),
            Self::HopLimitZero => ("hop_limit_zero", "TTL or hop limit 0: no router passes it on."),
            Self::SourceRoute => ("source_route", "The sender names the routers: it may go around a filter."),
            Self::TinyFragment => {
                ("tiny_fragment", "A fragment that ends within the TCP header: it hides flags from filters.")
            }
            Self::FragmentBeyond => {
                ("fragment_too_far", "A fragment that ends behind the longest IP packet: a ping of death.")
            }
            Self::Redirect => ("icmp_redirect", "ICMP redirect: it moves a host's traffic to another router."),
            Self::LargeEcho => {
                ("large_echo", "An ICMP echo of more than 1500 bytes: no usual ping; a tunnel or a flood.")
            }
            Self::DamagedIp => ("damaged_ip", "An IP header that contradicts itself."),
            Self::DamagedTransport => ("damaged_transport", "A TCP or UDP header that contradicts itself."),
            Self::ImpossibleLength => ("impossible_length", "The record states a length that no frame has."),
        }
    }
}

/// A frame that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) number: u64,
    pub(crate) time: Timestamp,
    pub(crate) ends: Option<[IpAddr; 2]>,
    pub(crate) wire_len: u32,
}

/// What was odd.
#[derive(Debug, Default)]
pub(crate) struct Odd([(u64, Vec<Named>); Kind::ALL.len()]);

impl Odd {
    /// Looks at a frame in Ethernet form.
    pub(crate) fn look(&mut self, frame: &Frame<'_>) {
        if frame.wire_len >= IMPOSSIBLE_LENGTH {
            self.note(Kind::ImpossibleLength, frame, None);
        }
        let Some((ether_type, packet)) = behind_tags(frame.data) else { return };
        let mut found = Found { odd: self, frame, ends: None };
        // Zero-filled addresses are those of link headers that had none.
        let is_between_stations = frame.data.get(..12).is_some_and(|stations| stations != [0; 12]);
        match ether_type {
            0x0800 => v4(packet, is_between_stations, &mut found),
            0x86dd => v6(packet, is_between_stations, &mut found),
            _ => {}
        }
    }

    /// Kinds that there were, with what they mean, how many frames, and the first of them; most first.
    pub(crate) fn kinds(&self) -> Vec<(&'static str, &'static str, u64, &[Named])> {
        let mut all: Vec<_> = Kind::ALL
            .iter()
            .map(|kind| (kind.words(), &self.0[*kind as usize]))
            .filter(|(_, (count, _))| *count > 0)
            .map(|((name, about), (count, named))| (name, about, *count, named.as_slice()))
            .collect();
        all.sort_by_key(|(name, _, count, _)| (u64::MAX - count, *name));
        all
    }

    #[cold]
    fn note(&mut self, kind: Kind, frame: &Frame<'_>, ends: Option<[IpAddr; 2]>) {
        let (count, named) = &mut self.0[kind as usize];
        *count += 1;
        if named.len() < NAMED {
            let &Frame { number, time_ns, wire_len, .. } = frame;
            named.push(Named { number, time: Timestamp::from_nanos(time_ns), ends, wire_len });
        }
    }
}

/// Where what is found of a frame goes.
struct Found<'a, 'f> {
    odd: &'a mut Odd,
    frame: &'a Frame<'f>,
    ends: Option<[IpAddr; 2]>,
}

impl Found<'_, '_> {
    fn is(&mut self, kind: Kind) {
        self.odd.note(kind, self.frame, self.ends);
    }

    fn is_if(&mut self, condition: bool, kind: Kind) {
        if condition {
            self.is(kind);
        }
    }
}

/// The Ethernet type behind VLAN tags, and what follows.
fn behind_tags(data: &[u8]) -> Option<(u16, &[u8])> {
    let (mut ether_type, mut rest) = (number(data, 12)?, data.get(14..)?);
    for _ in 0..2 {
        if !matches!(ether_type, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        (ether_type, rest) = (number(rest, 2)?, rest.get(4..)?);
    }
    Some((ether_type, rest))
}

fn number(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_be_bytes(*bytes))
}

fn v4(packet: &[u8], is_between_stations: bool, found: &mut Found<'_, '_>) {
    let Some(header) = packet.first_chunk::<20>() else { return };
    let [header_len, total] =
        [usize::from(header[0] & 15) * 4, usize::from(u16::from_be_bytes([header[2], header[3]]))];
    // A length of 0 is what a sending host's segmentation offload leaves.
    if header[0] >> 4 != 4 || header_len < 20 || total != 0 && total < header_len {
        return found.is(Kind::DamagedIp);
    }
    let [source, destination] =
        [12, 16].map(|at| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    found.ends = Some([source.into(), destination.into()]);
    found.is_if(source.is_multicast() || source.is_broadcast(), Kind::BadSource);
    let is_loopback = source.is_loopback() || destination.is_loopback();
    found.is_if(is_loopback && is_between_stations, Kind::LoopbackOnWire);
    found.is_if(source == destination && !is_loopback && !source.is_unspecified(), Kind::SameEnds);
    found.is_if(header[8] == 0, Kind::HopLimitZero);
    if header_len > 20 {
        found.is_if(has_source_route(packet.get(20..header_len).unwrap_or_default()), Kind::SourceRoute);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (offset, more) = (usize::from(fragment & 0x1fff) * 8, fragment & 0x2000 != 0);
    let length = total.saturating_sub(header_len);
    found.is_if(offset + length > LONGEST_IP - header_len && offset > 0, Kind::FragmentBeyond);
    let is_tcp = header[9] == proto::TCP;
    found.is_if(is_tcp && (offset == 8 || offset == 0 && more && length < 20), Kind::TinyFragment);
    if offset == 0 {
        transport(
            header[9],
            packet.get(header_len..).unwrap_or_default(),
            (total != 0 && !more).then_some(length),
            found,
        );
    }
}

/// Whether options hold a loose or a strict source route.
fn has_source_route(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match (kind, rest.first()) {
            (131 | 137, _) => return true,
            (1, _) => options = rest,
            (0, _) | (_, None | Some(0 | 1)) => return false,
            (_, Some(length)) => options = options.get(usize::from(*length)..).unwrap_or_default(),
        }
    }
    false
}

fn v6(packet: &[u8], is_between_stations: bool, found: &mut Found<'_, '_>) {
    let Some(header) = packet.first_chunk::<40>() else { return };
    if header[0] >> 4 != 6 {
        return found.is(Kind::DamagedIp);
    }
    let address =
        |at: usize| header.get(at..at + 16).and_then(<[u8]>::first_chunk).map(|b: &[u8; 16]| Ipv6Addr::from(*b));
    let (Some(source), Some(destination)) = (address(8), address(24)) else { return };
    found.ends = Some([source.into(), destination.into()]);
    found.is_if(source.is_multicast(), Kind::BadSource);
    let is_loopback = source.is_loopback() || destination.is_loopback();
    found.is_if(is_loopback && is_between_stations, Kind::LoopbackOnWire);
    found.is_if(source == destination && !is_loopback && !source.is_unspecified(), Kind::SameEnds);
    found.is_if(header[7] == 0, Kind::HopLimitZero);
    let rest = &packet[40..];
    // RFC 5095: routing header of type 0.
    found.is_if(header[6] == 43 && rest.get(2) == Some(&0), Kind::SourceRoute);
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    transport(header[6], rest, (length != 0).then_some(length), found);
}

/// `length` is that of the header and what follows, where the packet states it and is whole.
fn transport(protocol: u8, data: &[u8], length: Option<usize>, found: &mut Found<'_, '_>) {
    let is_shorter_than = |least: usize| length.is_some_and(|length| length < least);
    match protocol {
        proto::TCP => {
            if is_shorter_than(20) {
                return found.is(Kind::DamagedTransport);
            }
            let Some(header) = data.first_chunk::<14>() else { return };
            found.is_if(header[..2] == [0; 2] || header[2..4] == [0; 2], Kind::PortZero);
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < 20 || is_shorter_than(header_len) {
                return found.is(Kind::DamagedTransport);
            }
            match header[13] & 63 {
                0 => found.is(Kind::NoFlags),
                FIN => found.is(Kind::FinAlone),
                flags if flags & (SYN | FIN) == SYN | FIN => found.is(Kind::SynFin),
                flags if flags & (SYN | RST) == SYN | RST => found.is(Kind::SynReset),
                flags if flags & (FIN | PSH | URG | ACK) == FIN | PSH | URG => found.is(Kind::Xmas),
                _ => {}
            }
        }
        proto::UDP => {
            let Some(header) = data.first_chunk::<8>() else {
                return found.is_if(is_shorter_than(8), Kind::DamagedTransport);
            };
            found.is_if(header[..2] == [0; 2] || header[2..4] == [0; 2], Kind::PortZero);
            let stated = usize::from(u16::from_be_bytes([header[4], header[5]]));
            found.is_if((1..8).contains(&stated) || is_shorter_than(stated), Kind::DamagedTransport);
        }
        proto::ICMP => {
            let kind = data.first().copied();
            found.is_if(kind == Some(5), Kind::Redirect);
            found.is_if(
                matches!(kind, Some(0 | 8)) && length.is_some_and(|length| length > LARGE_ECHO),
                Kind::LargeEcho,
            );
        }
        proto::ICMPV6 => found.is_if(data.first() == Some(&137), Kind::Redirect),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame of an IPv4 packet; `change` may break it.
    fn frame(protocol: u8, transport: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let total = (20 + transport.len()) as u16;
        let mut data = vec![2; 12];
        data.extend([8, 0, 0x45, 0]);
        data.extend(total.to_be_bytes());
        data.extend([0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
        data.extend(transport);
        change(&mut data);
        data
    }

    fn tcp(flags: u8) -> Vec<u8> {
        [&[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags][..], &[0; 6]].concat()
    }

    fn kinds(data: &[u8]) -> Vec<&'static str> {
        let mut odd = Odd::default();
        let frame = Frame { time_ns: 5, wire_len: data.len() as u32, data, is_wanted: true, number: 7 };
        odd.look(&frame);
        odd.kinds().into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn each_kind_is_found_in_a_packet_of_its_own_and_sound_ones_are_not() {
        let udp = |length: u16| [&[0, 53, 0x30, 0x39][..], &length.to_be_bytes(), &[0; 2]].concat();
        for flags in [2, 0x12, 0x10, 0x18, 0x11, 0x14, 4, 0x38] {
            assert!(kinds(&frame(6, &tcp(flags), |_| {})).is_empty(), "flags {flags:#x}");
        }
        assert!(kinds(&frame(17, &udp(8), |_| {})).is_empty());
        assert!(kinds(&frame(1, &[8, 0, 0, 0], |_| {})).is_empty());
        let cases = [
            (frame(6, &tcp(0), |_| {}), "tcp_no_flags"),
            (frame(6, &tcp(0x29), |_| {}), "tcp_xmas"),
            (frame(6, &tcp(3), |_| {}), "tcp_syn_fin"),
            (frame(6, &tcp(6), |_| {}), "tcp_syn_rst"),
            (frame(6, &tcp(1), |_| {}), "tcp_fin_alone"),
            (frame(6, &tcp(2), |data| data[30..34].copy_from_slice(&[192, 0, 2, 1])), "same_ends"),
            (frame(6, &tcp(2), |data| data[26] = 224), "impossible_source"),
            (frame(6, &tcp(2), |data| data[26] = 127), "loopback_on_wire"),
            (frame(6, &tcp(2), |data| data[34..36].fill(0)), "port_zero"),
            (frame(6, &tcp(2), |data| data[22] = 0), "hop_limit_zero"),
            (frame(6, &tcp(2), |data| data[20] |= 0x20), ""),
            (frame(6, &tcp(2)[..8], |data| data[20] = 0x20), "tiny_fragment"),
            (frame(1, &[0; 60], |data| data[20..22].copy_from_slice(&[0x1f, 0xff])), "fragment_too_far"),
            (frame(1, &[5, 0, 0, 0], |_| {}), "icmp_redirect"),
            (frame(1, &[&[8, 0, 0, 0][..], &[0; 1600]].concat(), |_| {}), "large_echo"),
            (frame(6, &tcp(2), |data| data[14] = 0x44), "damaged_ip"),
            (frame(6, &tcp(2), |data| data[46] = 0x40), "damaged_transport"),
            (frame(17, &udp(9), |_| {}), "damaged_transport"),
        ];
        for (data, expected) in cases {
            let expected: Vec<&str> = Some(expected).filter(|name| !name.is_empty()).into_iter().collect();
            assert_eq!(kinds(&data), expected);
        }
    }

    #[test]
    fn frames_are_named_by_their_numbers_and_counted_beyond_those() {
        let mut odd = Odd::default();
        let data = frame(6, &tcp(0), |_| {});
        for number in 1..=50 {
            odd.look(&Frame { time_ns: number, wire_len: 54, data: &data, is_wanted: true, number });
        }
        let kinds = odd.kinds();
        let [(_, _, 50, named)] = &kinds[..] else { panic!("{kinds:?}") };
        assert_eq!(named.iter().map(|named| named.number).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        assert_eq!(
            named[0].ends.map(|ends| ends.map(|end| end.to_string())),
            Some(["192.0.2.1", "198.51.100.2"].map(str::to_owned))
        );
    }
}
