//! Records of packets as frames: what a client says of a packet becomes the headers that say it, so that what counts captures counts it.
//!
//! Sequence and acknowledgment numbers, which records have not, are made so that each segment follows the last one of its direction:
//! nothing is a retransmission, and a handshake has the round trips of its times. They follow from the frames before alone, so that a file
//! can be gone on with.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::IpAddr;

use nta_capture::{LinkType, PcapWriter};
use nta_common::packet::proto;
use nta_common::tcp::{ACK, FIN, SYN};

const FILE_HEADER: usize = 24;
const SALT_AT: usize = 12;
const PACKET_HEADER: usize = 16;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const MOST_TCP: usize = 60;
const PORTS: usize = 4;
const UDP: usize = 8;
const SCTP: usize = 12;
const ICMP: usize = 8;
/// Ethernet fills shorter frames up to this; what is shorter was seen before that, and is not filled.
const LEAST_FRAME: usize = 60;
/// Bytes of the longest IP packet without extensions, and of its Ethernet header.
const MOST_FRAME: usize = 65_535 + ETHERNET;
/// Directions of connections whose numbers are known; of older ones the numbers begin anew, behind all that were given.
const MOST_DIRECTIONS: usize = 32_768;
/// What a capture says of its longest packet.
const SNAP_LENGTH: u32 = 65_535;
const TTL: u8 = 64;
/// Neither of the numbers by which stacks and packet generators number nothing.
const FIRST_ID: u32 = 2;

/// What a client says of a packet.
#[derive(Clone, Copy, Debug)]
pub struct PacketRecord {
    /// When it passed, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// From which address it came.
    pub source: IpAddr,
    /// To which address it went, of the same family.
    pub destination: IpAddr,
    /// Protocol number of its transport header.
    pub protocol: u8,
    /// Source port, or type of an ICMP message; where it is not known nothing is read behind the IP header.
    pub source_port: Option<u16>,
    /// Destination port, or code of an ICMP message.
    pub destination_port: Option<u16>,
    /// Bytes of the frame on the wire.
    pub length: u32,
    /// Byte 13 of a TCP header; where it is not known only its ports are read.
    pub tcp_flags: Option<u8>,
    /// Bytes behind a TCP header, where they are known.
    pub payload_length: Option<u32>,
}

/// A record that says what cannot be.
#[derive(Debug)]
pub struct WrongRecord {
    /// Its number among those that came together, from 0.
    pub index: usize,
    /// Which of its fields.
    pub field: &'static str,
    /// What is wrong.
    pub detail: String,
}

impl WrongRecord {
    /// Memory takes what is written to it.
    fn never(error: &io::Error) -> Self {
        Self { index: 0, field: "packets", detail: error.to_string() }
    }
}

/// Addresses and ports of a direction.
type Direction = (IpAddr, IpAddr, u16, u16);

/// Where a direction is.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    next: u32,
    /// Number of its SYN, if nothing has come behind it.
    syn: Option<u32>,
}

/// Makes the frames of a log's packets, in its order.
#[derive(Debug, Default)]
pub(super) struct Frames {
    packets: u32,
    /// Behind every number that was given.
    highest: u32,
    young: HashMap<Direction, Numbers>,
    old: HashMap<Direction, Numbers>,
}

/// A TCP segment.
struct Segment {
    of: Direction,
    flags: u8,
    header: usize,
    payload: usize,
}

impl Frames {
    /// The frames of records, as they follow the others in a file or, where `is_first`, begin one. `salt` is in its header, where no reader
    /// looks: two files of the same packets differ by it.
    ///
    /// # Errors
    /// Names the number of the record that cannot be, and its field. Then what was made is none of this log's.
    pub(super) fn encode(
        &mut self,
        salt: u32,
        records: &[PacketRecord],
        is_first: bool,
    ) -> Result<Vec<u8>, WrongRecord> {
        let mut writer =
            PcapWriter::new(Vec::new(), LinkType::ETHERNET, SNAP_LENGTH).map_err(|error| WrongRecord::never(&error))?;
        if is_first {
            // The field for the accuracy of timestamps, which writers leave at 0 and readers ignore (draft-ietf-opsawg-pcap).
            writer.get_mut()[SALT_AT..SALT_AT + 4].copy_from_slice(&salt.to_le_bytes());
        } else {
            writer.get_mut().clear();
        }
        for (index, record) in records.iter().enumerate() {
            let wrong = |(field, detail)| WrongRecord { index, field, detail };
            let frame = self.make(record).map_err(wrong)?;
            writer.packet(record.time_ns, record.length, &[&frame]).map_err(|error| WrongRecord::never(&error))?;
        }
        Ok(writer.into_inner())
    }

    /// The frame of a record, to be written with the length that it has on the wire.
    fn make(&mut self, record: &PacketRecord) -> Result<Vec<u8>, (&'static str, String)> {
        let length = record.length as usize;
        let ip = match (record.source, record.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => IPV4,
            (IpAddr::V6(_), IpAddr::V6(_)) => IPV6,
            _ => return Err(("destination", "is of another family than the source".to_owned())),
        };
        let ports = record.source_port.zip(record.destination_port);
        if record.protocol != proto::TCP && record.tcp_flags.is_some_and(|flags| flags != 0) {
            return Err(("tcp_flags", "only TCP has them".to_owned()));
        }
        let headers = ETHERNET + ip;
        let room = length.checked_sub(headers).filter(|_| length <= MOST_FRAME);
        let too_short = |least: usize| {
            ("length", format!("{length}: a frame with these headers has {least} to {MOST_FRAME} bytes"))
        };
        let room = room.ok_or_else(|| too_short(headers))?;
        let least = |least: usize| if room < least { Err(too_short(headers + least)) } else { Ok(()) };
        let mut transport = Vec::with_capacity(MOST_TCP);
        // Bytes behind the IP header that are the packet's and no filling.
        let mut carried = room;
        match (record.protocol, ports, record.tcp_flags) {
            (proto::TCP, Some((source, destination)), flags) => {
                least(TCP)?;
                let Some(flags) = flags else {
                    transport.extend(source.to_be_bytes().into_iter().chain(destination.to_be_bytes()));
                    return Ok(frame(self.id(), record, room, &transport));
                };
                let (header, payload) = lengths(room, length, flags, record.payload_length)?;
                carried = header + payload;
                let of = (record.source, record.destination, source, destination);
                self.segment(&mut transport, &Segment { of, flags, header, payload });
            }
            (proto::UDP | proto::UDP_LITE, Some((source, destination)), _) => {
                least(UDP)?;
                transport.extend(source.to_be_bytes().into_iter().chain(destination.to_be_bytes()));
                transport.extend((room as u16).to_be_bytes().into_iter().chain([0, 0]));
            }
            (proto::SCTP, Some((source, destination)), _) => {
                least(SCTP)?;
                transport.extend(source.to_be_bytes().into_iter().chain(destination.to_be_bytes()));
                transport.extend([0; SCTP - PORTS]);
            }
            (proto::ICMP | proto::ICMPV6, Some((kind, code)), _) => {
                least(ICMP)?;
                let byte = |field, number: u16| {
                    u8::try_from(number)
                        .map_err(|_large| (field, format!("{number}: an ICMP type or code is at most 255")))
                };
                transport.extend([byte("source_port", kind)?, byte("destination_port", code)?]);
                transport.extend([0; ICMP - 2]);
            }
            _ => {}
        }
        Ok(frame(self.id(), record, carried, &transport))
    }

    /// Takes up a file of frames that were made before, to its end: then it is as if it had made them.
    ///
    /// # Errors
    /// Of the file.
    pub(super) fn recall(&mut self, mut file: impl Read) -> io::Result<()> {
        let mut frame = Vec::new();
        let mut header = [0; FILE_HEADER];
        file.read_exact(&mut header)?;
        let mut header = [0; PACKET_HEADER];
        loop {
            match file.read_exact(&mut header) {
                Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            frame.resize(
                (u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize).min(MOST_FRAME),
                0,
            );
            file.read_exact(&mut frame)?;
            self.again(&frame);
        }
    }

    fn again(&mut self, frame: &[u8]) {
        self.id();
        let (addresses, at, protocol): ((IpAddr, IpAddr), usize, u8) = match frame.get(12..ETHERNET) {
            Some([0x08, 0x00]) => {
                let Some(h) = frame.get(ETHERNET..).and_then(<[u8]>::first_chunk::<IPV4>) else { return };
                let at = |from: usize| IpAddr::from([h[from], h[from + 1], h[from + 2], h[from + 3]]);
                ((at(12), at(16)), ETHERNET + IPV4, h[9])
            }
            _ => {
                let Some(h) = frame.get(ETHERNET..).and_then(<[u8]>::first_chunk::<IPV6>) else { return };
                let at = |from: usize| {
                    let mut octets = [0; 16];
                    octets.copy_from_slice(&h[from..from + 16]);
                    IpAddr::from(octets)
                };
                ((at(8), at(24)), ETHERNET + IPV6, h[6])
            }
        };
        let Some(tcp) = frame.get(at..).and_then(<[u8]>::first_chunk::<TCP>).filter(|_| protocol == proto::TCP) else {
            return;
        };
        let header = usize::from(tcp[12] >> 4) * 4;
        let carried = match addresses.0 {
            IpAddr::V4(_) => usize::from(u16::from_be_bytes([frame[16], frame[17]])).saturating_sub(IPV4),
            IpAddr::V6(_) => usize::from(u16::from_be_bytes([frame[18], frame[19]])),
        };
        let port = |from: usize| u16::from_be_bytes([tcp[from], tcp[from + 1]]);
        let of = (addresses.0, addresses.1, port(0), port(2));
        let mut unused = Vec::new();
        self.segment(&mut unused, &Segment { of, flags: tcp[13], header, payload: carried.saturating_sub(header) });
    }

    fn id(&mut self) -> u16 {
        let id = FIRST_ID + self.packets % (u32::from(u16::MAX) - FIRST_ID + 1);
        self.packets = self.packets.wrapping_add(1);
        id as u16
    }

    /// Writes the header of a segment that follows the last one of its direction.
    fn segment(&mut self, to: &mut Vec<u8>, segment: &Segment) {
        let (source, destination, source_port, destination_port) = segment.of;
        let acknowledged = self.known((destination, source, destination_port, source_port)).map_or(0, |peer| peer.next);
        let known = self.known(segment.of);
        let is_syn = segment.flags & SYN != 0;
        let fin = u32::from(segment.flags & FIN != 0);
        let seq = match known {
            // Sent again: nothing has followed it.
            Some(Numbers { syn: Some(syn), .. }) if is_syn => syn,
            Some(Numbers { next, .. }) if !is_syn => next,
            // A connection begins, or is seen first in its middle.
            _ => self.highest,
        };
        let next = seq.wrapping_add(segment.payload as u32).wrapping_add(u32::from(is_syn)).wrapping_add(fin);
        if (next.wrapping_sub(self.highest) as i32) > 0 {
            self.highest = next;
        }
        self.keep(segment.of, Numbers { next, syn: is_syn.then_some(seq) });
        to.extend(source_port.to_be_bytes().into_iter().chain(destination_port.to_be_bytes()));
        to.extend(seq.to_be_bytes());
        to.extend(if segment.flags & ACK == 0 { [0; 4] } else { acknowledged.to_be_bytes() });
        // A window that is never closed: records do not say.
        to.extend([(segment.header as u8 / 4) << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    }

    fn known(&self, direction: Direction) -> Option<Numbers> {
        self.young.get(&direction).or_else(|| self.old.get(&direction)).copied()
    }

    fn keep(&mut self, direction: Direction, numbers: Numbers) {
        if self.young.len() >= MOST_DIRECTIONS && !self.young.contains_key(&direction) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(direction, numbers);
    }
}

/// Bytes of a TCP header and behind it, of `room` behind the IP header.
fn lengths(
    room: usize,
    length: usize,
    flags: u8,
    payload: Option<u32>,
) -> Result<(usize, usize), (&'static str, String)> {
    if let Some(payload) = payload {
        let payload = payload as usize;
        let header = room.checked_sub(payload).filter(|header| *header >= TCP);
        let header = header.ok_or_else(|| {
            (
                "payload_length",
                format!("{payload}: of this frame's bytes at most {} are behind its headers", room - TCP),
            )
        })?;
        // More than the longest header is filling, of short frames alone.
        return match (header <= MOST_TCP, length == LEAST_FRAME) {
            (true, false) => Ok((header & !3, payload)),
            (_, true) => Ok((TCP, payload)),
            (false, false) => Err((
                "payload_length",
                format!("{payload}: it leaves {header} bytes for a TCP header, which has at most {MOST_TCP}"),
            )),
        };
    }
    if flags & SYN != 0 {
        // Options, and no payload.
        return Ok(if length == LEAST_FRAME { (TCP, 0) } else { (room.min(MOST_TCP) & !3, 0) });
    }
    Ok((TCP, if length == LEAST_FRAME { 0 } else { room - TCP }))
}

/// Ethernet and IP around a transport header, of a packet that carries so many bytes behind its IP header.
fn frame(id: u16, record: &PacketRecord, carried: usize, transport: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    match (record.source, record.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend(((IPV4 + carried) as u16).to_be_bytes());
            frame.extend(id.to_be_bytes());
            frame.extend([0, 0, TTL, record.protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            let sum = checksum(&frame[ETHERNET..]);
            frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        }
        (source, destination) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((carried as u16).to_be_bytes());
            frame.extend([record.protocol, TTL]);
            for address in [source, destination] {
                match address {
                    IpAddr::V6(address) => frame.extend(address.octets()),
                    IpAddr::V4(address) => frame.extend(address.to_ipv6_mapped().octets()),
                }
            }
        }
    }
    frame.extend(transport);
    frame
}

/// Of an IPv4 header (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
#[path = "packet_frames_tests.rs"]
mod tests;
