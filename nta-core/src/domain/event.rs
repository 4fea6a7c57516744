//! What single packets say: DNS messages, ARP, heads of frames.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Timestamp;
use super::counts::counts;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketEvent {
    /// A DNS message.
    Dns(DnsMessage),
    /// An ARP packet for IPv4 over Ethernet.
    Arp(ArpPacket),
    /// An ARP packet that is cut off or for something else.
    ArpMalformed(Timestamp),
    /// A neighbour solicitation or advertisement.
    Nd(NeighborMessage),
    /// One that no host would heed.
    NdMalformed(Timestamp),
    /// The head of a frame.
    RawPacket(RawPacket),
}

impl PacketEvent {
    /// When.
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Dns(message) => message.time,
            Self::Arp(packet) => packet.time,
            Self::ArpMalformed(time) | Self::NdMalformed(time) => *time,
            Self::Nd(message) => message.time,
            Self::RawPacket(packet) => packet.time,
        }
    }

    /// The same, to be changed.
    pub const fn time_mut(&mut self) -> &mut Timestamp {
        match self {
            Self::Dns(message) => &mut message.time,
            Self::Arp(packet) => &mut packet.time,
            Self::ArpMalformed(time) | Self::NdMalformed(time) => time,
            Self::Nd(message) => &mut message.time,
            Self::RawPacket(packet) => &mut packet.time,
        }
    }
}

/// A DNS message over UDP, as far as it was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    /// When.
    pub time: Timestamp,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// Who asks, or is answered; by the message's own word.
    pub client: (IpAddr, u16),
    /// Who is asked, or answers.
    pub server: (IpAddr, u16),
    /// Length of the whole message by its headers.
    pub message_bytes: u32,
    /// Number that answer and question share.
    pub id: u16,
    /// An answer, not a question.
    pub is_response: bool,
    /// Operation: 0 is a query.
    pub opcode: u8,
    /// Response code: 0 no error, 3 no such name.
    pub rcode: u8,
    /// Questions, at most 16.
    pub questions: Vec<Question>,
    /// Answer records, by the header.
    pub answers: u16,
    /// Data bytes of each of them, as far as they were reported.
    pub answer_sizes: Vec<u16>,
    /// Whether there is more of the message than was reported.
    pub is_cut: bool,
    /// Whether what was reported is no proper message.
    pub is_malformed: bool,
}

impl DnsMessage {
    /// Data bytes of all answer records that were reported.
    pub fn answer_bytes(&self) -> u32 {
        self.answer_sizes.iter().map(|size| u32::from(*size)).sum()
    }
}

/// What a DNS message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name without its last dot; whatever is not printable ASCII as `\\DDD`; at most 255 characters.
    pub name: String,
    /// Type of record by number.
    pub qtype: u16,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// When.
    pub time: Timestamp,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who speaks.
    pub sender: (Mac, Ipv4Addr),
    /// About or to whom.
    pub target: (Mac, Ipv4Addr),
    /// Source of the frame, which an honest sender's is equal to.
    pub frame_source: Mac,
    /// Destination of the frame.
    pub frame_destination: Mac,
}

/// A neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborMessage {
    /// When.
    pub time: Timestamp,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// It answers or announces; else it asks.
    pub is_advertisement: bool,
    /// It replaces what is known: one for a proxy's or an anycast address does not.
    pub is_override: bool,
    /// Who speaks; unspecified where a host looks whether the address is free.
    pub source: Ipv6Addr,
    /// To whom, or to which group.
    pub destination: Ipv6Addr,
    /// The address that is asked for, or spoken for.
    pub target: Ipv6Addr,
    /// The station that has the source (of a solicitation) or the target (of an advertisement), where the message says it.
    pub link_layer: Option<Mac>,
    /// Source of the frame.
    pub frame_source: Mac,
    /// Destination of the frame.
    pub frame_destination: Mac,
}

/// The head of one frame of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPacket {
    /// When.
    pub time: Timestamp,
    /// Length on the wire.
    pub wire_len: u32,
    /// Its first bytes.
    pub head: Vec<u8>,
}

counts! {
    /// Events by what they say.
    EventCounts of u64 {
        /// DNS questions.
        dns_queries,
        /// DNS answers.
        dns_responses,
        /// Answers that there is no such name.
        dns_nxdomain,
        /// Messages on DNS's ports that are none.
        dns_malformed,
        /// ARP requests.
        arp_requests,
        /// ARP replies.
        arp_replies,
        /// ARP packets that are cut off or not for IPv4 over Ethernet.
        arp_malformed,
        /// Neighbour solicitations.
        nd_solicitations,
        /// Neighbour advertisements.
        nd_advertisements,
        /// Messages of neighbour discovery that no host heeds.
        nd_malformed,
        /// Heads of frames.
        raw_packets,
    }
}

impl EventCounts {
    /// Counts an event.
    pub fn count(&mut self, event: &PacketEvent) {
        match event {
            PacketEvent::Dns(message) if message.is_malformed => self.dns_malformed += 1,
            PacketEvent::Dns(message) if message.is_response => {
                self.dns_responses += 1;
                self.dns_nxdomain += u64::from(message.rcode == NXDOMAIN);
            }
            PacketEvent::Dns(_) => self.dns_queries += 1,
            PacketEvent::Arp(packet) if packet.operation == REQUEST => self.arp_requests += 1,
            PacketEvent::Arp(packet) => self.arp_replies += u64::from(packet.operation == REPLY),
            PacketEvent::ArpMalformed(_) => self.arp_malformed += 1,
            PacketEvent::Nd(message) if message.is_advertisement => self.nd_advertisements += 1,
            PacketEvent::Nd(_) => self.nd_solicitations += 1,
            PacketEvent::NdMalformed(_) => self.nd_malformed += 1,
            PacketEvent::RawPacket(_) => self.raw_packets += 1,
        }
    }
}

/// The answer "no such name" (RFC 1035 section 4.1.1).
const NXDOMAIN: u8 = 3;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
