//! Events as JSON, and how many there were.

use std::collections::BTreeMap;

use nta_common::{Kind, LedgerSlot};
use serde::{Deserialize, Serialize};

use nta_core::domain::{ArpPacket, DnsMessage, EventCounts, NeighborMessage};

/// A DNS message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DnsJson {
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// Who asks, or is answered.
    pub client: String,
    /// Its port.
    pub client_port: u16,
    /// Who is asked, or answers.
    pub server: String,
    /// Its port.
    pub server_port: u16,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// Number that answer and question share.
    pub id: u16,
    /// An answer, not a question.
    pub response: bool,
    /// Operation: 0 is a query.
    pub opcode: u8,
    /// Response code: 0 no error, 3 no such name.
    pub rcode: u8,
    /// What is asked for; at most 16.
    pub questions: Vec<QuestionJson>,
    /// Answer records, by the header.
    pub answers: u16,
    /// Data bytes of each of them, as far as they lie in the first 512 bytes of the message.
    pub answer_sizes: Vec<u16>,
    /// Length of the whole message.
    pub message_bytes: u32,
    /// Whether there is more of the message than was looked at.
    pub cut: bool,
    /// Whether it is no proper message.
    pub malformed: bool,
}

/// What a DNS message asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuestionJson {
    /// The name, with `\\DDD` for what is not printable; empty for the root.
    pub name: String,
    /// Type of record by number.
    #[serde(rename = "type")]
    pub qtype: u16,
}

impl From<&DnsMessage> for DnsJson {
    fn from(message: &DnsMessage) -> Self {
        let question = |q: &nta_core::domain::Question| QuestionJson { name: q.name.clone(), qtype: q.qtype };
        Self {
            time: message.time.to_string(),
            client: message.client.0.to_string(),
            client_port: message.client.1,
            server: message.server.0.to_string(),
            server_port: message.server.1,
            vlan: message.vlan,
            id: message.id,
            response: message.is_response,
            opcode: message.opcode,
            rcode: message.rcode,
            questions: message.questions.iter().map(question).collect(),
            answers: message.answers,
            answer_sizes: message.answer_sizes.clone(),
            message_bytes: message.message_bytes,
            cut: message.is_cut,
            malformed: message.is_malformed,
        }
    }
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArpJson {
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who speaks.
    pub sender_mac: String,
    /// Its address.
    pub sender_ip: String,
    /// About or to whom.
    pub target_mac: String,
    /// Its address.
    pub target_ip: String,
    /// Source of the frame.
    pub frame_source: String,
    /// Destination of the frame.
    pub frame_destination: String,
}

impl From<&ArpPacket> for ArpJson {
    fn from(packet: &ArpPacket) -> Self {
        Self {
            time: packet.time.to_string(),
            vlan: packet.vlan,
            operation: packet.operation,
            sender_mac: packet.sender.0.to_string(),
            sender_ip: packet.sender.1.to_string(),
            target_mac: packet.target.0.to_string(),
            target_ip: packet.target.1.to_string(),
            frame_source: packet.frame_source.to_string(),
            frame_destination: packet.frame_destination.to_string(),
        }
    }
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NeighborJson {
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// 135 asks, 136 answers or announces.
    pub kind: u8,
    /// Whether an advertisement replaces what is known.
    pub overrides: bool,
    /// Source of the packet.
    pub source: String,
    /// Destination of the packet.
    pub destination: String,
    /// The address that is asked for, or spoken for.
    pub target: String,
    /// Link-layer address of the source of a solicitation, or the target of an advertisement; null where none is given.
    pub link_layer: Option<String>,
    /// Source of the frame.
    pub frame_source: String,
    /// Destination of the frame.
    pub frame_destination: String,
}

impl From<&NeighborMessage> for NeighborJson {
    fn from(message: &NeighborMessage) -> Self {
        Self {
            time: message.time.to_string(),
            vlan: message.vlan,
            kind: if message.is_advertisement { 136 } else { 135 },
            overrides: message.is_override,
            source: message.source.to_string(),
            destination: message.destination.to_string(),
            target: message.target.to_string(),
            link_layer: message.link_layer.map(|mac| mac.to_string()),
            frame_source: message.frame_source.to_string(),
            frame_destination: message.frame_destination.to_string(),
        }
    }
}

/// Events by what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EventCountsJson {
    /// DNS questions.
    pub dns_queries: u64,
    /// DNS answers.
    pub dns_responses: u64,
    /// Answers that there is no such name.
    pub dns_nxdomain: u64,
    /// Messages on DNS's ports that are none.
    pub dns_malformed: u64,
    /// ARP requests.
    pub arp_requests: u64,
    /// ARP replies.
    pub arp_replies: u64,
    /// ARP packets that are cut off or not for IPv4 over Ethernet.
    pub arp_malformed: u64,
    /// Neighbour solicitations.
    pub nd_solicitations: u64,
    /// Neighbour advertisements.
    pub nd_advertisements: u64,
    /// Messages of neighbour discovery that no host heeds: cut off, from behind a router, with a wrong code.
    pub nd_malformed: u64,
    /// Heads of frames.
    pub raw_packets: u64,
}

/// Conversions of both directions between structures with the same fields, each named once.
macro_rules! same_fields {
    ($domain:ident, $json:ident { $($field:ident),+ $(,)? }) => {
        impl From<&$json> for $domain {
            fn from(&$json { $($field),+ }: &$json) -> Self {
                Self { $($field),+ }
            }
        }

        impl From<&$domain> for $json {
            fn from(&$domain { $($field),+ }: &$domain) -> Self {
                Self { $($field),+ }
            }
        }
    };
}

same_fields!(
    EventCounts,
    EventCountsJson {
        dns_queries,
        dns_responses,
        dns_nxdomain,
        dns_malformed,
        arp_requests,
        arp_replies,
        arp_malformed,
        nd_solicitations,
        nd_advertisements,
        nd_malformed,
        raw_packets,
    }
);

/// Events since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventsJson {
    /// By what they say.
    #[serde(flatten)]
    pub counts: EventCountsJson,
    /// By kind (`dns`, `arp`, `nd`, `raw`): how many were reported, and how many were not, by reason.
    pub kinds: BTreeMap<String, EventLossJson>,
}

/// What became of the events of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventLossJson {
    /// Reported.
    pub reported: u64,
    /// Not reported: more than the rate limit allows.
    pub limited: u64,
    /// Not reported: no room in the ring buffer.
    pub no_room: u64,
}

impl EventsJson {
    /// From the counts and the ledger's sum.
    pub fn new(counts: &EventCounts, ledger: &LedgerSlot) -> Self {
        let kind = |kind: Kind| {
            let [reported, limited, no_room] = kind.counters().map(|counter| ledger.get(counter));
            (kind.name().to_owned(), EventLossJson { reported, limited, no_room })
        };
        Self { counts: counts.into(), kinds: Kind::ALL.into_iter().map(kind).collect() }
    }
}
