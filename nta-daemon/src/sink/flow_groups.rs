//! Flows of few packets without an answer, which floods and scans make by the thousand: those of a window that have a service, a source or
//! a destination in common become one row, once there are more than each is of use.
//!
//! A flow that goes on is taken out of its row, and is answered and gets its own or stands in one of the window in which it went on: rows and
//! what stands in them add up to all flows.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::store::{FlowGroup, Many};
use nta_core::domain::{EndReason, FlowId, FlowRecord, FlowUpdate, Nesting, Readings, Timestamp};
use nta_core::window::Distinct;

/// Flows of a row that it names.
const EXAMPLES: usize = 5;
/// Flows that are known to stand in a row; more than the kernel's maps hold at their default size.
const MAX_KNOWN: usize = 1 << 20;
/// So many times more of them share nothing but the destination: what goes to a few services is a row for each of these.
const SERVICES: u32 = 4;
/// Packets of a flow that may stand in a row of many: a SYN with all of its retries (Linux makes 6, `tcp_syn_retries`), and what a flood sends
/// again from the same made-up sources. A larger stream without an answer is of use by itself.
const FEW_PACKETS: u64 = 100;
/// No candidate has this number.
const NONE: u32 = u32::MAX;

/// The flows of the open window that may stand together, and those of before that do.
pub(super) struct FlowGroups {
    /// So many keep a row each.
    most: u32,
    is_pinned: bool,
    /// Packets of one of them at most.
    most_packets: u64,
    /// Flows that began later keep a row each.
    until: Timestamp,
    hasher: RandomState,
    known: HashMap<FlowId, Known, foldhash::fast::RandomState>,
    candidates: Vec<Candidate>,
    /// What candidates of the open window have in common, by its hash.
    common: HashMap<u64, Common, foldhash::fast::RandomState>,
    groups: HashMap<u32, Open>,
    next: u32,
    moved: Moved,
}

/// Flows that went into rows of many, and that got their own after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) grouped: u64,
    pub(super) ungrouped: u64,
}

/// Where a flow is.
#[derive(Clone, Copy)]
enum Known {
    Candidate(u32),
    Grouped { group: u32, packets: u8, bytes: u32, ip_bytes: u32, payload: u32 },
}

/// A flow that may be one of many.
struct Candidate {
    flow: FlowRecord,
    /// What it has in common with others, and the candidate before it that has the same.
    common: [(u64, u32); 3],
}

/// What candidates have in common.
struct Common {
    count: u32,
    /// The newest candidate.
    newest: u32,
    group: Option<u32>,
}

/// A row of many.
struct Open {
    group: FlowGroup,
    /// Sources, destinations, destination ports; none once the window has closed.
    distinct: Option<Box<[Distinct; 3]>>,
    /// Flows that may still go on.
    known: u32,
    is_changed: bool,
}

impl FlowGroups {
    /// Of flows that have something in common, `most` keep a row each. Where maps are pinned, the next start goes on from rows: of a flow that has
    /// none it must know how much was told, so that only flows of one packet stand together.
    pub(super) fn new(most: u32, is_pinned: bool) -> Self {
        Self {
            most,
            is_pinned,
            most_packets: if is_pinned { 1 } else { FEW_PACKETS },
            until: Timestamp::from_nanos(u64::MAX),
            hasher: RandomState::new(),
            known: HashMap::default(),
            candidates: Vec::new(),
            common: HashMap::default(),
            groups: HashMap::new(),
            next: 0,
            moved: Moved::default(),
        }
    }

    /// The flows of the window that ends then come now.
    pub(super) const fn begin(&mut self, end: Timestamp) {
        if self.is_pinned {
            self.until = Timestamp::from_nanos(end.as_nanos().saturating_sub(Readings::MARGIN_NS));
        }
    }

    /// A flow that changed or is over; whether it stands, or may stand, in a row of many.
    pub(super) fn take(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord) -> bool {
        if update.delta.is_none() {
            self.ends(update)
        } else if update.delta.is_some_and(|delta| delta.is_new) && update.flow.first < self.until {
            self.put_together(flow)
        } else {
            self.goes_on(flow)
        }
    }

    /// A flow that is known goes on, or is another's row already; whether it still stands, or may stand, in a row of many.
    fn goes_on(&mut self, flow: &FlowRecord) -> bool {
        self.forget(flow.id) && self.put_together(flow)
    }

    fn put_together(&mut self, flow: &FlowRecord) -> bool {
        if !is_unanswered(flow, self.most_packets) || self.known.len() >= MAX_KNOWN {
            return false;
        }
        let keys = self.keys(flow);
        if let Some(group) = keys.iter().find_map(|key| self.common.get(key)?.group) {
            self.put(flow, group);
            return true;
        }
        let number = u32::try_from(self.candidates.len()).unwrap_or(NONE);
        let common = keys.map(|key| {
            let common = self.common.entry(key).or_insert(Common { count: 0, newest: NONE, group: None });
            common.count += 1;
            (key, std::mem::replace(&mut common.newest, number))
        });
        self.known.insert(flow.id, Known::Candidate(number));
        self.candidates.push(Candidate { flow: *flow, common });
        let most = [self.most, self.most, self.most.saturating_mul(SERVICES)];
        let is_many = |(key, most): &(u64, u32)| self.common.get(key).is_some_and(|common| common.count > *most);
        let many = keys.into_iter().zip(most).find(is_many).map(|(key, _)| key);
        if let Some(key) = many {
            self.open(key);
        }
        true
    }

    /// What a flow may have in common with others, what says most first.
    fn keys(&self, flow: &FlowRecord) -> [u64; 3] {
        let FlowRecord { originator, responder, proto, vlan, conn_state, history, .. } = flow;
        let state = (proto, vlan, conn_state, history, originator.tcp, responder.tcp);
        let key = |what: u8, address: IpAddr, port: u16| self.hasher.hash_one((what, address, port, state));
        [key(0, responder.address, responder.port), key(1, originator.address, 0), key(2, responder.address, 0)]
    }

    /// Puts all candidates that have this in common into one row.
    fn open(&mut self, key: u64) {
        let Some(common) = self.common.get_mut(&key) else { return };
        let mut at = common.newest;
        let number = self.next;
        common.group = Some(number);
        self.next = self.next.wrapping_add(1);
        let mut members = Vec::new();
        while let Some(candidate) = self.candidates.get(at as usize) {
            if self.is_candidate(at, candidate) {
                members.push((candidate.flow, candidate.common.map(|(key, _)| key)));
            }
            let Some((_, before)) = candidate.common.iter().find(|(of, _)| *of == key) else { break };
            at = *before;
        }
        // As they came.
        for (flow, keys) in members.into_iter().rev() {
            self.leave(keys);
            self.put(&flow, number);
        }
    }

    /// Whether it still is one: no row of many has it, and there is no newer record of it.
    fn is_candidate(&self, number: u32, candidate: &Candidate) -> bool {
        matches!(self.known.get(&candidate.flow.id), Some(Known::Candidate(known)) if *known == number)
    }

    /// One candidate less has these in common.
    fn leave(&mut self, keys: [u64; 3]) {
        for key in keys {
            if let Some(common) = self.common.get_mut(&key) {
                common.count = common.count.saturating_sub(1);
            }
        }
    }

    fn put(&mut self, flow: &FlowRecord, group: u32) {
        let open = self.groups.entry(group).or_insert_with(|| Open::new(flow, group));
        open.add(flow, &self.hasher);
        let short = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let sent = [flow.originator.sent, flow.responder.sent];
        let payload = [flow.originator.payload_bytes, flow.responder.payload_bytes];
        let grouped = Known::Grouped {
            group,
            packets: sent.iter().map(|sent| sent.packets as u8).sum(),
            bytes: short(sent.iter().map(|sent| sent.bytes).sum()),
            ip_bytes: short(sent.iter().map(|sent| sent.ip_bytes).sum()),
            payload: short(payload.into_iter().flatten().sum()),
        };
        self.known.insert(flow.id, grouped);
        self.moved.grouped += 1;
    }

    /// Takes a flow out of its row, or off the candidates; whether it was in one or among them.
    fn forget(&mut self, id: FlowId) -> bool {
        match self.known.remove(&id) {
            None => return false,
            Some(Known::Candidate(number)) => self.drop_candidate(number),
            Some(Known::Grouped { group, packets, bytes, ip_bytes, payload }) => {
                if let Some(open) = self.groups.get_mut(&group) {
                    open.take_out(packets.into(), [bytes, ip_bytes, payload].map(u64::from));
                    self.moved.ungrouped += 1;
                }
            }
        }
        true
    }

    /// It is none any more. It keeps its place, which others refer to.
    fn drop_candidate(&mut self, number: u32) {
        if let Some(candidate) = self.candidates.get(number as usize) {
            self.leave(candidate.common.map(|(key, _)| key));
        }
    }

    /// A flow is over without another packet; whether nothing need be stored of that.
    pub(super) fn ends(&mut self, update: &FlowUpdate<'_>) -> bool {
        match self.known.remove(&update.flow.id) {
            None => false,
            Some(Known::Candidate(number)) => {
                self.drop_candidate(number);
                false
            }
            Some(Known::Grouped { group, .. }) => {
                if let Some(open) = self.groups.get_mut(&group) {
                    open.known = open.known.saturating_sub(1);
                    if open.known == 0 && !open.is_changed {
                        self.groups.remove(&group);
                    }
                }
                true
            }
        }
    }

    /// The window has closed: flows that keep a row each go to `flows`; answers the rows of many that are new or have changed.
    pub(super) fn close(&mut self, flows: &mut Vec<FlowRecord>) -> (Vec<FlowGroup>, Moved) {
        let candidates = std::mem::take(&mut self.candidates);
        for (number, candidate) in (0..).zip(&candidates) {
            if self.is_candidate(number, candidate) {
                self.known.remove(&candidate.flow.id);
                flows.push(candidate.flow);
            }
        }
        self.common = HashMap::default();
        if self.known.len() < self.known.capacity() / 4 {
            self.known.shrink_to_fit();
        }
        let mut changed = Vec::new();
        for open in self.groups.values_mut().filter(|open| open.is_changed) {
            open.is_changed = false;
            open.close();
            changed.push(open.group.clone());
        }
        self.groups.retain(|_, open| open.known > 0);
        (changed, std::mem::take(&mut self.moved))
    }
}

/// Whether a flow is so many packets at most that nobody answered, between plain ends.
fn is_unanswered(flow: &FlowRecord, most_packets: u64) -> bool {
    let FlowRecord { originator, responder, nesting, ended, .. } = flow;
    let [one, other] = [originator.sent.packets, responder.sent.packets];
    one.min(other) == 0
        && (1..=most_packets).contains(&one.max(other))
        && ended.is_none()
        && *nesting == Nesting::default()
        && originator.translated.is_none()
        && responder.translated.is_none()
}

impl Open {
    fn new(first: &FlowRecord, number: u32) -> Self {
        let mut flow = FlowRecord { id: group_id(first.id, number), ended: Some(EndReason::Idle), ..*first };
        for end in [&mut flow.originator, &mut flow.responder] {
            (end.sent, end.tcp) = Default::default();
            end.payload_bytes = end.payload_bytes.map(|_| 0);
        }
        let group = FlowGroup { flow, many: Many::default() };
        Self { group, distinct: Some(Box::default()), known: 0, is_changed: true }
    }

    fn add(&mut self, new: &FlowRecord, hasher: &RandomState) {
        let FlowGroup { flow, many: Many { flows, examples, .. } } = &mut self.group;
        *flows += 1;
        (self.known, self.is_changed) = (self.known + 1, true);
        (flow.first, flow.last) = (flow.first.min(new.first), flow.last.max(new.last));
        if flow.service != new.service {
            flow.service = None;
        }
        for (end, of) in [(&mut flow.originator, &new.originator), (&mut flow.responder, &new.responder)] {
            end.sent.packets += of.sent.packets;
            end.sent.bytes += of.sent.bytes;
            end.sent.ip_bytes += of.sent.ip_bytes;
            end.tcp += of.tcp;
            end.payload_bytes = end.payload_bytes.zip(of.payload_bytes).map(|(sum, of)| sum + of);
            if end.address != of.address {
                end.address = unspecified(of.address);
            }
            if end.port != of.port {
                end.port = 0;
            }
        }
        if let Some(distinct) = &mut self.distinct {
            let [sources, destinations, ports] = &mut **distinct;
            sources.insert(hasher.hash_one(new.originator.address) as u32);
            destinations.insert(hasher.hash_one(new.responder.address) as u32);
            ports.insert(hasher.hash_one(new.responder.port) as u32);
        }
        if examples.len() < EXAMPLES {
            let ends = [&new.originator, &new.responder].map(|end| (end.address, end.port));
            examples.push(ends);
        }
    }

    fn take_out(&mut self, packets: u64, [bytes, ip_bytes, payload]: [u64; 3]) {
        let FlowGroup { flow, many: Many { flows, .. } } = &mut self.group;
        // All are alike: they have the same events on the same side.
        let each = u32::try_from(*flows).unwrap_or(u32::MAX).max(1);
        for end in [&mut flow.originator, &mut flow.responder].into_iter().filter(|end| end.sent.packets > 0) {
            end.sent.packets = end.sent.packets.saturating_sub(packets);
            end.sent.bytes = end.sent.bytes.saturating_sub(bytes);
            end.sent.ip_bytes = end.sent.ip_bytes.saturating_sub(ip_bytes);
            end.payload_bytes = end.payload_bytes.map(|sum| sum.saturating_sub(payload));
            end.tcp = end.tcp.without_one_of(each);
        }
        *flows = flows.saturating_sub(1);
        (self.known, self.is_changed) = (self.known.saturating_sub(1), true);
    }

    /// No flow comes any more.
    fn close(&mut self) {
        if let Some(distinct) = self.distinct.take() {
            let [sources, destinations, ports] = distinct.each_ref().map(Distinct::count);
            let many = &mut self.group.many;
            // A sketch may say more than there can be.
            many.sources = sources.min(many.flows);
            many.destinations = destinations.min(many.flows);
            many.destination_ports = ports.min(many.flows);
        }
    }
}

/// Stands for several addresses.
const fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Identity of the row of this number whose first flow is this one, which may get a row of its own, or be the first of a later one: as
/// `SplitMix64` (Steele et al. 2014) makes them from a seed, so that different ones are different.
const fn group_id(FlowId(first): FlowId, number: u32) -> FlowId {
    let mut id = first.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1));
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    FlowId(id ^ (id >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_common::flow::Counts;
    use nta_core::domain::{ConnState, Endpoint, History, TcpCounts};

    /// A SYN from this source and port to this destination and port.
    fn syn(id: u64, [source, destination]: [[u8; 4]; 2], port: u16) -> FlowRecord {
        let end = |address: [u8; 4], port, packets, syn| Endpoint {
            address: address.into(),
            port,
            sent: Counts { packets, bytes: 60 * packets, ip_bytes: 40 * packets },
            tcp: TcpCounts { syn, ..TcpCounts::default() },
            payload_bytes: Some(0),
            translated: None,
        };
        FlowRecord {
            id: FlowId(id),
            proto: 6,
            originator: end(source, 40_000 + (id % 1000) as u16, 1, 1),
            responder: end(destination, port, 0, 0),
            nesting: Nesting::default(),
            vlan: 0,
            first: Timestamp::from_nanos(1000 + id),
            last: Timestamp::from_nanos(1000 + id),
            handshake_us: [0, 0],
            service: None,
            conn_state: ConnState::S0,
            history: History::parse("S"),
            ended: None,
        }
    }

    /// The flow after so many packets of each side, all but the first of the originator without an event.
    fn of_packets(flow: FlowRecord, packets: [u64; 2]) -> FlowRecord {
        let [originator, responder] =
            packets.map(|packets| Counts { packets, bytes: 60 * packets, ip_bytes: 40 * packets });
        let with = |end: Endpoint, sent| Endpoint { sent, ..end };
        FlowRecord { originator: with(flow.originator, originator), responder: with(flow.responder, responder), ..flow }
    }

    /// Takes them as one window: rows of one, and of many.
    fn window(groups: &mut FlowGroups, flows: impl Iterator<Item = FlowRecord>) -> (Vec<FlowRecord>, Vec<FlowGroup>) {
        let mut rows = Vec::new();
        flows.for_each(|flow| rows.extend((!groups.put_together(&flow)).then_some(flow)));
        let (mut many, moved) = groups.close(&mut rows);
        assert_eq!(moved.grouped - moved.ungrouped, many.iter().map(|group| group.many.flows).sum::<u64>());
        many.sort_by_key(|group| std::cmp::Reverse(group.many.flows));
        (rows, many)
    }

    const VICTIM: [u8; 4] = [192, 0, 2, 1];
    const SCANNER: [u8; 4] = [203, 0, 113, 9];

    fn source(n: u64) -> [u8; 4] {
        let [.., a, b, c] = n.to_be_bytes();
        [198, a, b, c]
    }

    #[test]
    fn a_flood_is_one_row_for_each_service_that_it_goes_to() {
        let mut groups = FlowGroups::new(100, false);
        let flood = (0..20_000).map(|n| syn(n, [source(n), VICTIM], if n % 2 == 0 { 443 } else { 80 }));
        let (rows, many) = window(&mut groups, flood);
        assert_eq!((rows.len(), many.len()), (0, 2));
        let [one, other] = [0, 1].map(|at| &many[at]);
        assert_eq!((one.many.flows, other.many.flows), (10_000, 10_000));
        let sources = one.many.sources;
        assert!((9_000..=10_000).contains(&sources) && one.many.destination_ports == 1, "{:?}", one.many);
        assert_eq!(one.flow.originator.address.to_string(), "0.0.0.0");
        assert_eq!(one.flow.responder.address, IpAddr::from(VICTIM));
        assert_eq!(one.flow.responder.port + other.flow.responder.port, 443 + 80);
        assert_eq!(one.flow.originator.sent, Counts { packets: 10_000, bytes: 600_000, ip_bytes: 400_000 });
        assert_eq!((one.flow.originator.tcp.syn, one.flow.originator.payload_bytes), (10_000, Some(0)));
        assert_eq!((one.many.examples.len(), one.flow.ended), (EXAMPLES, Some(EndReason::Idle)));
        assert!(one.flow.last.since(one.flow.first) > 19_000);
    }

    #[test]
    fn a_scan_is_one_row_of_its_source_and_a_flood_to_any_port_one_of_its_destination() {
        let mut groups = FlowGroups::new(100, false);
        let scan = (0..3000).map(|n| syn(n, [SCANNER, VICTIM], n as u16 + 1));
        let any_port = (3000..6000).map(|n| syn(n, [source(n), [192, 0, 2, 7]], n as u16));
        let (rows, many) = window(&mut groups, scan.chain(any_port));
        assert_eq!((rows.len(), many.len()), (0, 2));
        let by_source = many.iter().find(|group| group.flow.originator.address == IpAddr::from(SCANNER));
        let by_source = by_source.expect("the scan's");
        assert_eq!((by_source.flow.responder.address, by_source.flow.responder.port), (VICTIM.into(), 0));
        assert!(by_source.many.sources == 1 && by_source.many.destination_ports > 2800, "{:?}", by_source.many);
    }

    #[test]
    fn few_that_are_alike_and_what_was_answered_keep_a_row_each() {
        let mut groups = FlowGroups::new(100, false);
        let mut flows: Vec<_> = (0..100).map(|n| syn(n, [source(n), VICTIM], 443)).collect();
        let mut answered = syn(500, [source(500), VICTIM], 443);
        answered.responder.sent.packets = 1;
        flows.push(answered);
        // Another state is another thing.
        flows.extend((600..700).map(|n| FlowRecord { conn_state: ConnState::Oth, ..syn(n, [source(n), VICTIM], 443) }));
        let (rows, many) = window(&mut groups, flows.into_iter());
        assert_eq!((rows.len(), many.len()), (201, 0));
        // The next window begins anew.
        let (rows, many) = window(&mut groups, (1000..1100).map(|n| syn(n, [source(n), VICTIM], 443)));
        assert_eq!((rows.len(), many.len()), (100, 0));
    }

    #[test]
    fn a_flow_that_goes_on_leaves_its_row_and_a_row_of_none_is_said() {
        let mut groups = FlowGroups::new(2, false);
        let flows: Vec<_> = (0..4).map(|n| syn(n, [source(n), VICTIM], 443)).collect();
        let (_, many) = window(&mut groups, flows.iter().copied());
        let first = &many[0];
        assert_eq!((first.many.flows, many.len()), (4, 1));
        let answered = |n: usize| FlowRecord { conn_state: ConnState::Sf, ..of_packets(flows[n], [2, 1]) };
        assert!(!groups.goes_on(&answered(2)));
        let (rows, moved) = (&mut Vec::new(), Moved { grouped: 0, ungrouped: 1 });
        let (changed, said) = groups.close(rows);
        assert_eq!((changed.len(), said), (1, moved));
        let (now, Counts { packets, bytes, .. }) = (&changed[0], changed[0].flow.originator.sent);
        assert_eq!((now.flow.id, now.flow.first, now.many.flows), (first.flow.id, first.flow.first, 3));
        assert_eq!((packets, bytes, now.flow.originator.tcp.syn), (3, 180, 3));
        assert!(groups.close(rows).0.is_empty(), "said once");
        [0, 1, 3].into_iter().for_each(|n| assert!(!groups.goes_on(&answered(n))));
        let (changed, _) = groups.close(rows);
        assert_eq!((changed[0].many.flows, changed[0].flow.originator.sent), (0, Counts::default()));
        assert!(groups.known.is_empty() && groups.groups.is_empty() && rows.is_empty());
    }

    #[test]
    fn one_that_goes_on_within_the_window_is_neither_candidate_nor_member() {
        let mut groups = FlowGroups::new(3, false);
        let flows: Vec<_> = (0..6).map(|n| syn(n, [source(n), VICTIM], 443)).collect();
        flows[..2].iter().for_each(|flow| assert!(groups.put_together(flow)));
        assert!(!groups.goes_on(&of_packets(flows[0], [2, 1])));
        flows[2..].iter().for_each(|flow| assert!(groups.put_together(flow)));
        let mut rows = Vec::new();
        let (many, _) = groups.close(&mut rows);
        assert_eq!((many[0].many.flows, rows.len()), (5, 0));
    }

    #[test]
    fn what_is_sent_again_stands_in_a_row_of_the_window_in_which_it_was() {
        let syn_again = |n| {
            let mut flow = of_packets(syn(n, [source(n), VICTIM], 443), [2, 0]);
            flow.originator.tcp.syn_retry = 1;
            flow
        };
        let mut groups = FlowGroups::new(100, false);
        let (rows, many) = window(&mut groups, (0..1000).map(|n| syn(n, [source(n), VICTIM], 443)));
        assert_eq!((rows.len(), many[0].many.flows), (0, 1000));
        // Half of them are sent again, the first among them, and one more of them is answered.
        let own: Vec<_> = (0..500).map(syn_again).filter(|flow| !groups.goes_on(flow)).collect();
        assert!(own.is_empty());
        assert!(!groups.goes_on(&of_packets(syn(999, [source(999), VICTIM], 443), [1, 1])));
        let mut rows = Vec::new();
        let (mut now, moved) = groups.close(&mut rows);
        now.sort_by_key(|group| group.many.flows);
        assert_eq!((rows.len(), now.len(), moved), (0, 2, Moved { grouped: 500, ungrouped: 501 }));
        let [before, again] = [&now[0], &now[1]].map(|group| (group.many.flows, group.flow.originator.sent.packets));
        assert_eq!((before, again), ((499, 499), (500, 1000)));
        assert_eq!((now[0].flow.id, now[1].flow.first), (many[0].flow.id, many[0].flow.first));
        assert_ne!(now[0].flow.id, now[1].flow.id);
        // Where the next start goes on from rows, each has its own.
        let mut groups = FlowGroups::new(100, true);
        let (_, many) = window(&mut groups, (0..1000).map(|n| syn(n, [source(n), VICTIM], 443)));
        assert_eq!(many[0].many.flows, 1000);
        assert_eq!((0..500).map(syn_again).filter(|flow| groups.goes_on(flow)).count(), 0);
    }
}
