//! IPFIX (RFC 7011): messages of flow records, each with both directions (RFC 5103), by four templates: IPv4 and IPv6, with ports and
//! with ICMP's type and code.

use std::net::IpAddr;
use std::sync::LazyLock;

use nta_common::flow::Counts;
use nta_common::packet::{icmp_code, proto};
use nta_core::domain::{EndReason, FlowRecord, Timestamp};

const VERSION: u16 = 10;
const HEADER_BYTES: usize = 16;
/// Bytes of a message: RFC 7011, section 10.3.3, has it fit into what the path takes; this is Ethernet's 1500 less IPv6 and UDP, and some
/// for a tunnel.
const MESSAGE_BYTES: usize = 1400;
/// Set of templates.
const TEMPLATES: u16 = 2;
/// The first template; they count up from it.
const FIRST_TEMPLATE: u16 = 256;
/// Whose elements those of the other direction are (RFC 5103, section 6.1).
const REVERSE: u32 = 29305;
const ENTERPRISE: u16 = 0x8000;

/// An element of IANA's registry, by its number, and its bytes here.
#[derive(Clone, Copy)]
enum Element {
    Of(u16, u16),
    /// The same of what the responder sent.
    Reverse(u16, u16),
}

use Element::{Of, Reverse};

/// What each record begins with, in the order in which [`Message::record`] writes it.
const COMMON: [Element; 14] = [
    Of(148, 8),    // flowId
    Of(152, 8),    // flowStartMilliseconds
    Of(153, 8),    // flowEndMilliseconds
    Of(1, 8),      // octetDeltaCount
    Of(2, 8),      // packetDeltaCount
    Reverse(1, 8), // octetDeltaCount
    Reverse(2, 8), // packetDeltaCount
    Of(239, 1),    // biflowDirection
    Of(136, 1),    // flowEndReason
    Of(4, 1),      // protocolIdentifier
    Of(60, 1),     // ipVersion
    Of(58, 2),     // vlanId
    Reverse(6, 2), // tcpControlBits; before those of the originator, as nfdump keeps the last that it meets
    Of(6, 2),      // tcpControlBits
];
/// And what it ends with: by IP version, and by ICMP or ports.
const ENDS: [[&[Element]; 2]; 2] = [
    [
        &[Of(8, 4), Of(12, 4), Of(7, 2), Of(11, 2)], // sourceIPv4Address, destination…, source- and destinationTransportPort
        &[Of(8, 4), Of(12, 4), Of(32, 2)],           // icmpTypeCodeIPv4
    ],
    [
        &[Of(27, 16), Of(28, 16), Of(7, 2), Of(11, 2)], // sourceIPv6Address, destination…
        &[Of(27, 16), Of(28, 16), Of(139, 2)],          // icmpTypeCodeIPv6
    ],
];

/// Why a record is written: IANA's flowEndReason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Without a packet for its time-out.
    Idle = 1,
    /// It goes on; the record has what came since the one before.
    Active = 2,
    /// Its end was seen.
    End = 3,
    /// Who counts it ended.
    Forced = 4,
}

impl From<Option<EndReason>> for Reason {
    fn from(ended: Option<EndReason>) -> Self {
        match ended {
            None => Self::Active,
            Some(EndReason::Closed) => Self::End,
            Some(EndReason::Idle) => Self::Idle,
            Some(EndReason::Shutdown | EndReason::Interrupted) => Self::Forced,
        }
    }
}

/// Part of a flow: what came since it was reported before.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The flow.
    pub flow: &'a FlowRecord,
    /// When the part begins.
    pub since: Timestamp,
    /// What originator and responder sent in it.
    pub sent: [Counts; 2],
    /// Why it is reported.
    pub reason: Reason,
}

impl<'a> Part<'a> {
    /// A flow as a whole.
    pub fn whole(flow: &'a FlowRecord) -> Self {
        let sent = [flow.originator.sent, flow.responder.sent];
        Self { flow, since: flow.first, sent, reason: flow.ended.into() }
    }
}

/// The set of templates, which is the same in every message.
static TEMPLATE_SET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut set = Vec::new();
    push(&mut set, TEMPLATES);
    push(&mut set, 0);
    for (index, ends) in ENDS.iter().flatten().enumerate() {
        let fields = COMMON.iter().chain(*ends);
        push(&mut set, FIRST_TEMPLATE + index as u16);
        push(&mut set, fields.clone().count() as u16);
        for field in fields {
            match *field {
                Of(id, bytes) => [id, bytes].into_iter().for_each(|value| push(&mut set, value)),
                Reverse(id, bytes) => {
                    [id | ENTERPRISE, bytes].into_iter().for_each(|value| push(&mut set, value));
                    set.extend(REVERSE.to_be_bytes());
                }
            }
        }
    }
    let bytes = (set.len() as u16).to_be_bytes();
    set[2..4].copy_from_slice(&bytes);
    set
});

/// A message with the templates and without a record, to be sent before this message: what every collector needs before it reads one.
pub fn templates_before(message: &[u8]) -> Vec<u8> {
    let mut templates = message.iter().take(HEADER_BYTES).copied().collect::<Vec<u8>>();
    templates.extend(TEMPLATE_SET.iter());
    // Both are of the same time, and have the same number of records before them.
    let bytes = (templates.len() as u16).to_be_bytes();
    if let Some(place) = templates.get_mut(2..4) {
        place.copy_from_slice(&bytes);
    }
    templates
}

/// Makes messages of one observation domain.
#[derive(Debug)]
pub struct Encoder {
    domain: u32,
    /// Records of all messages before this one.
    sequence: u32,
    records: u32,
    /// The message so far, without its header.
    sets: Vec<u8>,
    /// Where its last set begins, and by which template.
    open: Option<(usize, u16)>,
}

impl Encoder {
    /// For this observation domain.
    pub const fn new(domain: u32) -> Self {
        Self { domain, sequence: 0, records: 0, sets: Vec::new(), open: None }
    }

    /// Adds a record; answers the message before it where it does not fit into that any more.
    pub fn add(&mut self, part: &Part<'_>, at: Timestamp) -> Option<Vec<u8>> {
        let FlowRecord { originator, responder, proto, .. } = part.flow;
        let is_v6 = originator.address.is_ipv6();
        let is_icmp = matches!(*proto, proto::ICMP | proto::ICMPV6);
        let index = 2 * usize::from(is_v6) + usize::from(is_icmp);
        let template = FIRST_TEMPLATE + index as u16;
        let mut record = common(part, is_v6);
        for address in [originator.address, responder.address] {
            match address {
                IpAddr::V4(address) => record.extend(address.octets()),
                IpAddr::V6(address) => record.extend(address.octets()),
            }
        }
        if is_icmp {
            // Type and code are one byte each, and lie where others have their ports.
            record.extend([originator.port as u8, icmp_code(*proto, originator.port, responder.port)]);
        } else {
            [originator.port, responder.port].into_iter().for_each(|port| push(&mut record, port));
        }
        let is_full = HEADER_BYTES + self.sets.len() + 4 + record.len() > MESSAGE_BYTES;
        let before = if is_full { self.take(at) } else { None };
        if self.open.is_none_or(|(_, of)| of != template) {
            self.close();
            self.open = Some((self.sets.len(), template));
            push(&mut self.sets, template);
            push(&mut self.sets, 0_u16);
        }
        self.sets.extend(record);
        self.records += 1;
        before
    }

    /// The message so far, if there is anything in it.
    pub fn take(&mut self, at: Timestamp) -> Option<Vec<u8>> {
        self.close();
        let sets = std::mem::take(&mut self.sets);
        if sets.is_empty() {
            return None;
        }
        let message = self.message(&sets, at);
        self.sequence = self.sequence.wrapping_add(std::mem::take(&mut self.records));
        Some(message)
    }

    /// Writes the length of the set that is open.
    fn close(&mut self) {
        if let Some((begin, _)) = self.open.take() {
            let bytes = (self.sets.len() - begin) as u16;
            self.sets[begin + 2..begin + 4].copy_from_slice(&bytes.to_be_bytes());
        }
    }

    fn message(&self, sets: &[u8], at: Timestamp) -> Vec<u8> {
        let seconds = u32::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEADER_BYTES + sets.len());
        push(&mut message, VERSION);
        push(&mut message, (HEADER_BYTES + sets.len()) as u16);
        [seconds, self.sequence, self.domain].into_iter().for_each(|value| message.extend(value.to_be_bytes()));
        message.extend(sets);
        message
    }
}

fn push(to: &mut Vec<u8>, value: u16) {
    to.extend(value.to_be_bytes());
}

/// What a record begins with, see [`COMMON`].
fn common(part: &Part<'_>, is_v6: bool) -> Vec<u8> {
    let Part { flow, since, sent: [orig, resp], reason } = part;
    let mut record = Vec::with_capacity(96);
    let milliseconds = |time: Timestamp| time.as_nanos() / 1_000_000;
    let numbers = [
        flow.id.0,
        milliseconds(*since),
        milliseconds(flow.last),
        orig.ip_bytes,
        orig.packets,
        resp.ip_bytes,
        resp.packets,
    ];
    numbers.into_iter().for_each(|value| record.extend(value.to_be_bytes()));
    // The source is who began.
    record.extend([1, *reason as u8, flow.proto, if is_v6 { 6 } else { 4 }]);
    [flow.vlan, flags(flow, 1), flags(flow, 0)].into_iter().for_each(|value| push(&mut record, value));
    record
}

/// FIN, SYN, RST and ACK among what a side sent; the others are not kept.
fn flags(flow: &FlowRecord, side: usize) -> u16 {
    let (tcp, letters) = match side {
        0 => (&flow.originator.tcp, b"HADF"),
        _ => (&flow.responder.tcp, b"hadf"),
    };
    let acknowledges = flow.proto == proto::TCP && flow.history.has(letters);
    [(tcp.fin > 0, 1), (tcp.syn > 0 || tcp.syn_ack > 0, 2), (tcp.rst > 0, 4), (tcp.syn_ack > 0 || acknowledges, 16)]
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, bit)| bit)
        .sum()
}
