//! A flow between two readings of its entry: cumulative counters in, differences and totals out.

use std::net::{IpAddr, SocketAddr};

use nta_common::flow::Counts;
use nta_common::packet::proto;
use nta_common::tcp::letter;
use nta_common::{FlowStats, Volume};

use super::nesting::Nested;
use super::{
    EndReason, FlowDelta, FlowId, FlowKey, FlowRecord, FlowUpdate, IdentityScope, Names, Nesting, RttSamples,
    TcpCounts, Timestamp, Translation,
};

/// A flow between readings: what was reported of it. Small, because there is one for each entry of the maps.
#[derive(Debug)]
pub struct Tracked {
    /// Identity.
    pub id: FlowId,
    /// Everything counted from `a` to `b`, and back.
    pub totals: [Counts; 2],
    /// Time of the first packet, capture or wall clock.
    pub first: Timestamp,
    /// Time of the last packet.
    pub seen: Timestamp,
    /// What the entry's counters were at the last reading.
    volumes: [Volume; 2],
    cuts: u32,
    tcp: [TcpCounts; 2],
    more: Option<Box<More>>,
}

/// What the readings of a source refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Turns the packet path's clock into Unix time.
    pub clock_offset_ns: u64,
    /// Names the flows that are new.
    pub ids: IdentityScope,
}

impl Origin {
    const fn time(&self, ns: u64) -> Timestamp {
        Timestamp::from_nanos(ns.wrapping_add(self.clock_offset_ns))
    }

    /// The identity that a flow of this key gets whose first packet came at this time of the packet path's clock.
    pub fn flow_id(&self, key: &FlowKey, first_ns: u64) -> FlowId {
        self.ids.flow_id(key, self.time(first_ns))
    }
}

/// What many flows do without.
#[derive(Debug, Default)]
struct More {
    /// Round trips up to the last reading.
    rtt: RttSamples,
    /// TCP events of the connections that had the entry before this one.
    before: [TcpCounts; 2],
    /// The names of its ends, where the gateway translates them.
    translation: Option<Translation>,
    /// The connection that was translated so is over.
    translation_over: bool,
    /// Which end began the connection, where that was before the flow and is known.
    began_by: Option<usize>,
    /// Of a flow that carries others, or is carried.
    nested: Option<Box<Nested>>,
}

impl Tracked {
    /// A flow of which nothing was read yet.
    pub fn new(key: &FlowKey, reading: &FlowStats, origin: &Origin) -> Self {
        let first = origin.time(reading.first_ns);
        Self {
            id: origin.flow_id(key, reading.first_ns),
            totals: Default::default(),
            first,
            seen: first,
            volumes: Default::default(),
            cuts: 0,
            tcp: Default::default(),
            more: None,
        }
    }

    /// A flow of which a run before reported this, when its clock was so far from Unix time: it goes on as the same.
    pub fn resumed(
        key: &FlowKey,
        reading: &FlowStats,
        origin: &Origin,
        reported: &FlowRecord,
        reported_offset_ns: u64,
    ) -> Self {
        let new = Self::new(key, reading, origin);
        let [a, _] = key.endpoints();
        let mut sides = [&reported.originator, &reported.responder];
        if reported.counted_as()[0] != a {
            sides.reverse();
        }
        let present = reading.before_present();
        let is_present =
            reading.cuts == 0 || reported.first.as_nanos().wrapping_sub(reported_offset_ns) == reading.first_ns;
        // What was reported is of the present connection, or of the one before it, or of one before that: of these, what came
        // after the last reading is not known any more.
        let before = match (is_present, reading.cuts) {
            (true, _) => present,
            (false, 1) => Default::default(),
            (false, _) => return Self { volumes: present, cuts: reading.cuts, ..new },
        };
        let volumes_reported: [Volume; 2] = std::array::from_fn(|i| before[i].plus(&sides[i].sent));
        let now = volumes(reading);
        // An entry that was removed and made again meanwhile holds less.
        if (0..2).any(|i| !volumes_reported[i].precedes(&now[i])) {
            return new;
        }
        let (cuts, tcp, tcp_before) = if is_present && reading.cuts > 0 {
            let tcp = reading.dir.each_ref().map(|side| TcpCounts::of(&side.tcp));
            (reading.cuts, tcp, std::array::from_fn(|i| tcp[i].since(&sides[i].tcp)))
        } else {
            (0, sides.map(|side| side.tcp), Default::default())
        };
        let is_nested = reported.nesting != Nesting::default();
        let is_turned = sides[0].address != reported.originator.address || sides[0].port != reported.originator.port;
        let nesting = if is_turned { reported.nesting.reversed() } else { reported.nesting };
        let nested = is_nested.then(|| Box::new(Nested::resumed(&nesting, sides.map(|side| side.sent))));
        Self {
            id: reported.id,
            totals: sides.map(|side| side.sent),
            first: reported.first,
            seen: reported.last,
            volumes: volumes_reported,
            cuts,
            tcp,
            more: Some(Box::new(More { rtt: RttSamples::of(reading), before: tcp_before, nested, ..More::default() })),
        }
    }

    /// This end, in key order, began the connection, before the flow's first packet.
    pub fn began_by(&mut self, end: usize) {
        self.more.get_or_insert_default().began_by = Some(end & 1);
    }

    /// Which end, in key order, began the connection, where that was before the flow's first packet and is known.
    pub fn beginner(&self) -> Option<usize> {
        self.more.as_ref()?.began_by
    }

    /// Takes what is said of the names of its ends, before the reading that goes with it. Where that makes another connection of
    /// what was counted since the last reading, the one before ends here.
    pub fn name(
        &mut self,
        names: Names,
        (key, reading): (&FlowKey, &FlowStats),
        origin: &Origin,
        emit: &mut dyn FnMut(FlowUpdate<'_>),
    ) {
        let is_over = self.more.as_ref().is_some_and(|more| more.translation_over);
        if names == Names::Unsaid && !is_over {
            return;
        }
        let known = self.translation().copied();
        let now = match names {
            // Without a packet since, it may go on as it was.
            Names::Over if known.is_some() && self.is_at(reading) => {
                self.more.get_or_insert_default().translation_over = true;
                return;
            }
            Names::Unsaid | Names::Over if known.is_some() => None,
            Names::Unsaid | Names::Over => return,
            Names::Translated(names) => Some(names),
        };
        if self.is_at(reading) {
            return;
        }
        let is_another = match (known, now) {
            (Some(known), Some(now)) => !known.agrees(&now),
            // One whose names were not known has no answers: these came under the other name.
            (None, Some(_)) => self.totals.iter().all(|sent| sent.packets > 0),
            (_, None) => true,
        };
        if is_another && self.totals != [Counts::default(); 2] {
            if reading.cuts == self.cuts {
                self.begin_anew(key, reading, origin, emit);
            } else {
                self.split(key, reading, origin, emit);
            }
        }
        let more = self.more.get_or_insert_default();
        (more.translation, more.translation_over) = (now, false);
    }

    /// Reports the connection up to the last reading and goes on with another one in the same entry. When that began is not known
    /// but for the time of its last packet.
    fn begin_anew(
        &mut self,
        key: &FlowKey,
        reading: &FlowStats,
        origin: &Origin,
        emit: &mut dyn FnMut(FlowUpdate<'_>),
    ) {
        emit(FlowUpdate { key, flow: self, reading, delta: None, ended: Some(EndReason::Idle) });
        let mut more = self.more.take().unwrap_or_default();
        (more.before, more.began_by) = (self.tcp, None);
        let first = origin.time(reading.last_ns);
        *self = Self {
            id: origin.flow_id(key, reading.last_ns),
            totals: Default::default(),
            first,
            seen: first,
            volumes: self.volumes,
            cuts: self.cuts,
            tcp: self.tcp,
            more: Some(more),
        };
    }

    /// The flow lies within these others, by direction, as far as that is known.
    pub fn put_within(&mut self, outer: [Option<FlowId>; 2]) {
        self.more.get_or_insert_default().nested.get_or_insert_default().put_within(outer);
    }

    /// What it has to do with tunnels that are opened, its sides in key order.
    pub fn nesting(&self) -> Nesting {
        self.nested().map(Nested::nesting).unwrap_or_default()
    }

    /// Whether it carries other flows, or is carried.
    pub fn is_nested(&self) -> bool {
        self.nested().is_some()
    }

    /// What of it is counted in no other flow; `None` where that is all.
    pub fn own(&self) -> Option<[Counts; 2]> {
        self.nested()?.own()
    }

    fn nested(&self) -> Option<&Nested> {
        self.more.as_ref()?.nested.as_deref()
    }

    /// The ends of the flow, in key order, as they are behind all translation.
    pub fn endpoints(&self, key: &FlowKey) -> [(IpAddr, u16); 2] {
        self.translation().map_or_else(|| key.endpoints(), |names| names.ends)
    }

    /// By which other name each end is known on the far side of the gateway.
    pub fn translated(&self) -> [Option<SocketAddr>; 2] {
        self.translation().map_or_else(Default::default, |names| names.outside)
    }

    fn translation(&self) -> Option<&Translation> {
        self.more.as_ref()?.translation.as_ref()
    }

    /// TCP events from `a`, and from `b`.
    pub fn tcp_totals(&self) -> [TcpCounts; 2] {
        match &self.more {
            Some(more) => std::array::from_fn(|i| self.tcp[i].since(&more.before[i])),
            None => self.tcp,
        }
    }

    /// Whether nothing was counted since the last reading: every packet changes a volume.
    pub fn is_at(&self, reading: &FlowStats) -> bool {
        self.volumes == volumes(reading) && self.cuts == reading.cuts
    }

    /// Takes a new reading and reports what was counted since the last one, and why the flow ends, if it does. When another
    /// connection of the same ports has begun meanwhile, the one before is reported to its end.
    pub fn take(
        &mut self,
        key: &FlowKey,
        reading: &FlowStats,
        origin: &Origin,
        ended: Option<EndReason>,
        emit: &mut dyn FnMut(FlowUpdate<'_>),
    ) {
        if reading.cuts != self.cuts {
            self.split(key, reading, origin, emit);
        }
        let delta = self.advance(reading, origin);
        if delta.is_some() || ended.is_some() {
            emit(FlowUpdate { key, flow: self, reading, delta: delta.as_ref(), ended });
        }
    }

    /// Reports the connection before the last cut and goes on with the one behind it.
    fn split(&mut self, key: &FlowKey, reading: &FlowStats, origin: &Origin, emit: &mut dyn FnMut(FlowUpdate<'_>)) {
        let mut before = reading.before_cut(&self.volumes);
        // The counters go on over a cut; what the new connection's history says is surely of that one.
        for (code, direction) in reading.tcp.letters() {
            let (side, reported) = (&mut before.dir[direction as usize].tcp, &self.tcp[direction as usize]);
            let (count, reported) = match code {
                letter::SYN => (&mut side.syn, reported.syn),
                letter::HANDSHAKE => (&mut side.syn_ack, reported.syn_ack),
                letter::FIN => (&mut side.fin, reported.fin),
                letter::RESET => (&mut side.rst, reported.rst),
                _ => continue,
            };
            if *count != reported {
                *count = count.wrapping_sub(1);
            }
        }
        if self.totals == [Counts::default(); 2] {
            let Self { id, first, seen, .. } = Self::new(key, &before, origin);
            (self.id, self.first, self.seen) = (id, first, seen);
        }
        let delta = self.advance(&before, origin);
        emit(FlowUpdate { key, flow: self, reading: &before, delta: delta.as_ref(), ended: Some(EndReason::Closed) });
        let mut more = self.more.take().unwrap_or_default();
        (more.before, more.began_by) = (self.tcp, None);
        *self = Self {
            volumes: self.volumes,
            cuts: reading.cuts,
            tcp: self.tcp,
            more: Some(more),
            ..Self::new(key, reading, origin)
        };
    }

    /// What was counted since the last reading; `None` when nothing was.
    fn advance(&mut self, reading: &FlowStats, origin: &Origin) -> Option<FlowDelta> {
        let volumes = volumes(reading);
        let counts = std::array::from_fn(|i| volumes[i].since(&self.volumes[i]));
        if counts.iter().all(|counts: &Counts| counts.packets == 0) {
            return None;
        }
        let own = self.own_of(counts, reading);
        let tcp = reading.dir.each_ref().map(|side| TcpCounts::of(&side.tcp));
        let rtt = RttSamples::of(reading);
        let delta = FlowDelta {
            counts: own,
            tcp: std::array::from_fn(|i| tcp[i].since(&self.tcp[i])),
            rtt: self.more.as_ref().map_or(rtt, |more| rtt.since(&more.rtt)),
            is_new: self.totals == [Counts::default(); 2],
        };
        if delta.rtt != RttSamples::default() {
            self.more.get_or_insert_default().rtt = rtt;
        }
        self.totals[0] += counts[0];
        self.totals[1] += counts[1];
        self.seen = origin.time(reading.last_ns);
        (self.volumes, self.tcp) = (volumes, tcp);
        Some(delta)
    }

    /// What of new packets is counted in no other flow.
    fn own_of(&mut self, counts: [Counts; 2], reading: &FlowStats) -> [Counts; 2] {
        let opened = reading.opened();
        if opened == [Volume::default(); 2] {
            return counts;
        }
        let before = self.totals;
        self.more.get_or_insert_default().nested.get_or_insert_default().take(opened, before, counts)
    }

    /// When the flow is over if no packet comes any more, and for which reason. `reading` is the last one.
    pub fn expiry(&self, key: &FlowKey, reading: &FlowStats) -> (Timestamp, EndReason) {
        use nta_common::tcp::Endpoint::{Closed, Inactive, Reset, SynAckSent, SynSent};
        let states = reading.dir.each_ref().map(|side| side.tcp.marks.state());
        let answered = self.totals.iter().all(|sent| sent.packets != 0);
        let (after_ns, reason) = match (key.proto(), states) {
            // Nothing more can come: a reset, both closed, or one closed and nothing of the other.
            (proto::TCP, [Reset, _] | [_, Reset] | [Closed, Closed | Inactive] | [Inactive, Closed]) => {
                (CLOSE_DELAY_NS, EndReason::Closed)
            }
            // A SYN that nobody answered.
            (proto::TCP, [SynSent | SynAckSent, Inactive] | [Inactive, SynSent | SynAckSent]) => {
                (ATTEMPT_DELAY_NS, EndReason::Idle)
            }
            (proto::TCP, _) if answered => (TCP_IDLE_NS, EndReason::Idle),
            _ => (OTHER_IDLE_NS, EndReason::Idle),
        };
        (self.seen.plus(after_ns), reason)
    }
}

fn volumes(reading: &FlowStats) -> [Volume; 2] {
    [reading.dir[0].volume, reading.dir[1].volume]
}

/// A closed connection is kept this long for its stragglers: Zeek's `tcp_close_delay`.
const CLOSE_DELAY_NS: u64 = 5_000_000_000;
/// An attempt without an answer is over this long after its last packet. Zeek's `tcp_attempt_delay` counts from the
/// first, which makes a connection of each later SYN of a row of retries.
const ATTEMPT_DELAY_NS: u64 = 5_000_000_000;
/// Zeek's `tcp_inactivity_timeout`: 5 minutes.
const TCP_IDLE_NS: u64 = 300_000_000_000;
/// Zeek's `udp_inactivity_timeout` and `icmp_inactivity_timeout`: 1 minute; also for unanswered TCP.
const OTHER_IDLE_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use nta_common::packet::Packet;
    use nta_common::tcp::{ACK, RST, SYN};
    use nta_common::{CaptureClock, First, FlowKey4};

    use super::*;

    /// Counts a segment between 192.0.2.1:40000, or its peer, and 198.51.100.2:443.
    fn segment(entry: &mut FlowStats, second: u64, answer: bool, flags: u8, seq: u32) -> FlowKey {
        let mut packet = Packet {
            proto: proto::TCP,
            tcp_flags: flags,
            src4: 0xc000_0201,
            dst4: 0xc633_6402,
            src_port: 40000,
            dst_port: 443,
            seq,
            ip_len: 40,
            wire_len: 54,
            ..Packet::default()
        };
        if answer {
            (packet.src4, packet.dst4) = (packet.dst4, packet.src4);
            (packet.src_port, packet.dst_port) = (packet.dst_port, packet.src_port);
        }
        let (key, direction) = FlowKey4::of(&packet);
        let now_ns = second * 1_000_000_000;
        if *entry == FlowStats::default() {
            entry.begin(&First { packet: &packet, direction, now_ns });
        }
        entry.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
        FlowKey::V4(key)
    }

    /// Of each update: packets, SYNs, resets of both directions since the last reading, and why the flow ended.
    fn reported(flow: &mut Tracked, key: &FlowKey, entry: &FlowStats) -> Vec<(u64, u32, u32, Option<EndReason>)> {
        let mut all = Vec::new();
        flow.take(key, entry, &Origin::default(), None, &mut |update| {
            let delta = update.delta.copied().unwrap_or_default();
            let [a, b] = delta.tcp;
            assert_eq!(update.flow.tcp_totals().map(|tcp| tcp.syn), [a.syn, b.syn], "of this connection alone");
            all.push((delta.packets(), a.syn + b.syn, a.rst + b.rst, update.ended));
        });
        all
    }

    #[test]
    fn the_syn_of_a_connection_on_used_ports_is_its_own() {
        let refused = |entry: &mut FlowStats| {
            segment(entry, 1, false, SYN, 7);
            segment(entry, 1, true, RST | ACK, 0)
        };
        // Read in between.
        let mut entry = FlowStats::default();
        let key = refused(&mut entry);
        let mut flow = Tracked::new(&key, &entry, &Origin::default());
        assert_eq!(reported(&mut flow, &key, &entry), [(2, 1, 1, None)]);
        let first = flow.id;
        segment(&mut entry, 2, false, SYN, 900);
        let mut ends = Vec::new();
        flow.take(&key, &entry, &Origin::default(), None, &mut |update| {
            let syns = update.delta.map(|delta| delta.tcp.iter().map(|tcp| tcp.syn).sum::<u32>());
            ends.push((update.flow.id == first, syns, update.ended));
        });
        assert_eq!(ends, [(true, None, Some(EndReason::Closed)), (false, Some(1), None)]);

        // Both in one reading.
        let mut entry = FlowStats::default();
        refused(&mut entry);
        segment(&mut entry, 2, false, SYN, 900);
        let mut flow = Tracked::new(&key, &entry, &Origin::default());
        assert_eq!(reported(&mut flow, &key, &entry), [(2, 1, 1, Some(EndReason::Closed)), (1, 1, 0, None)]);
    }

    #[test]
    fn a_run_goes_on_from_what_another_reported_wherever_that_was_killed() {
        // Two connections on the same ports, a packet at a time; the first run is killed before one of them.
        let steps = [(false, SYN), (true, RST | ACK), (false, SYN), (true, SYN | ACK), (false, ACK), (true, ACK)];
        for kill in 1..steps.len() - 1 {
            for late in [0, 1] {
                let mut entry = FlowStats::default();
                let (mut packets, mut syns) = (0, 0);
                let mut before: Option<(FlowKey, Tracked, FlowRecord)> = None;
                for (second, (answer, flags)) in steps.into_iter().enumerate() {
                    let key = segment(&mut entry, second as u64 + 1, answer, flags, 7 + 900 * (second as u32 / 2));
                    // Killed, and packets come while nobody reads.
                    if second >= kill && second < kill + late {
                        continue;
                    }
                    let mut flow = match before.take() {
                        None => Tracked::new(&key, &entry, &Origin::default()),
                        Some((_, _, reported)) if second == kill + late => {
                            Tracked::resumed(&key, &entry, &Origin::default(), &reported, 0)
                        }
                        Some((_, flow, _)) => flow,
                    };
                    let mut record = None;
                    flow.take(&key, &entry, &Origin::default(), None, &mut |update| {
                        let delta = update.delta.copied().unwrap_or_default();
                        packets += delta.packets();
                        syns += delta.tcp[0].syn + delta.tcp[1].syn;
                        record = Some(FlowRecord::of(&update));
                    });
                    let record = record.expect("every packet changes the flow");
                    before = Some((key, flow, record));
                }
                assert_eq!((packets, syns), (steps.len() as u64, 2), "killed before packet {kill}, {late} later");
            }
        }
    }

    /// A datagram between a client and a gateway's port, or its answer.
    fn datagram(entry: &mut FlowStats, second: u64, answer: bool) -> FlowKey {
        let mut packet = Packet {
            proto: proto::UDP,
            src4: 0xcb00_7102,
            dst4: 0xcb00_7101,
            src_port: 4500,
            dst_port: 8080,
            ip_len: 40,
            wire_len: 54,
            ..Packet::default()
        };
        if answer {
            (packet.src4, packet.dst4) = (packet.dst4, packet.src4);
            (packet.src_port, packet.dst_port) = (packet.dst_port, packet.src_port);
        }
        let (key, direction) = FlowKey4::of(&packet);
        let now_ns = second * 1_000_000_000;
        if *entry == FlowStats::default() {
            entry.begin(&First { packet: &packet, direction, now_ns });
        }
        entry.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
        FlowKey::V4(key)
    }

    /// Of each update: whether it is the flow of before, to which host the port leads, packets since the last reading, whether it ended.
    fn named(flow: &mut Tracked, names: Names, key: &FlowKey, entry: &FlowStats) -> Vec<(bool, Option<u8>, u64, bool)> {
        let (mut all, origin, before) = (Vec::new(), Origin::default(), flow.id);
        let mut emit = |update: FlowUpdate<'_>| {
            let host = |(address, _): (IpAddr, u16)| match address {
                IpAddr::V4(address) if address.octets()[0] == 10 => Some(address.octets()[3]),
                _ => None,
            };
            let packets = update.delta.map_or(0, FlowDelta::packets);
            let host = update.flow.endpoints(key).into_iter().find_map(host);
            all.push((update.flow.id == before, host, packets, update.ended.is_some()));
        };
        flow.name(names, (key, entry), &origin, &mut emit);
        flow.take(key, entry, &origin, None, &mut emit);
        all
    }

    fn leads_to(host: u8, key: &FlowKey, learned: u64) -> Names {
        let mut ends = key.endpoints();
        let at = usize::from(ends[1].1 == 8080);
        ends[at] = (IpAddr::from([10, 9, 1, host]), 9999);
        let mut outside = [None; 2];
        outside[at] = Some(SocketAddr::from(key.endpoints()[at]));
        Names::Translated(Translation { ends, outside, learned })
    }

    #[test]
    fn a_port_forward_that_moves_begins_another_flow_and_the_one_before_keeps_its_name() {
        let mut entry = FlowStats::default();
        let key = datagram(&mut entry, 1, false);
        let mut flow = Tracked::new(&key, &entry, &Origin::default());
        assert_eq!(named(&mut flow, leads_to(2, &key, 1), &key, &entry), [(true, Some(2), 1, false)]);
        datagram(&mut entry, 2, true);
        // The same connection timed out and began again: learned once more, with the same names.
        assert_eq!(named(&mut flow, leads_to(2, &key, 5), &key, &entry), [(true, Some(2), 1, false)]);
        datagram(&mut entry, 3, false);
        let moved = named(&mut flow, leads_to(3, &key, 9), &key, &entry);
        assert_eq!(moved, [(true, Some(2), 0, true), (false, Some(3), 1, false)]);
        assert_eq!(flow.totals.iter().map(|sent| sent.packets).sum::<u64>(), 1);
        // The rule is removed; nothing comes for a while.
        assert_eq!(named(&mut flow, Names::Over, &key, &entry), []);
        assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), []);
        datagram(&mut entry, 4, false);
        datagram(&mut entry, 4, true);
        let removed = named(&mut flow, Names::Unsaid, &key, &entry);
        assert_eq!(removed, [(true, Some(3), 0, true), (false, None, 2, false)]);
        // It is there again; the gateway has answered meanwhile.
        datagram(&mut entry, 5, false);
        let back = named(&mut flow, leads_to(2, &key, 20), &key, &entry);
        assert_eq!(back, [(true, None, 0, true), (false, Some(2), 1, false)]);
    }

    #[test]
    fn names_that_are_learned_late_are_those_of_the_whole_flow() {
        let mut entry = FlowStats::default();
        let key = datagram(&mut entry, 1, false);
        let mut flow = Tracked::new(&key, &entry, &Origin::default());
        assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), [(true, None, 1, false)]);
        datagram(&mut entry, 2, false);
        assert_eq!(named(&mut flow, leads_to(2, &key, 1), &key, &entry), [(true, Some(2), 1, false)]);
        assert_eq!(flow.totals.iter().map(|sent| sent.packets).sum::<u64>(), 2);
    }

    #[test]
    fn a_translated_connection_that_is_over_and_goes_on_under_the_same_names_is_one_flow() {
        let mut entry = FlowStats::default();
        let key = datagram(&mut entry, 1, false);
        let mut flow = Tracked::new(&key, &entry, &Origin::default());
        named(&mut flow, leads_to(2, &key, 1), &key, &entry);
        assert_eq!(named(&mut flow, Names::Over, &key, &entry), []);
        datagram(&mut entry, 40, false);
        assert_eq!(named(&mut flow, leads_to(2, &key, 9), &key, &entry), [(true, Some(2), 1, false)]);
        datagram(&mut entry, 41, false);
        assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), [(true, Some(2), 1, false)]);
    }

    #[test]
    fn a_connection_that_is_older_than_its_flow_was_begun_by_whom_the_kernel_says() {
        let beginner = |key: &FlowKey, entry: &FlowStats, end: Option<usize>| {
            let mut flow = Tracked::new(key, entry, &Origin::default());
            if let Some(end) = end {
                flow.began_by(end);
            }
            let mut found = Vec::new();
            flow.take(key, entry, &Origin::default(), None, &mut |update| found.push(update.outcome().0));
            found
        };
        let mut entry = FlowStats::default();
        let key = datagram(&mut entry, 1, true);
        let answering = entry.originator as usize;
        assert_eq!(beginner(&key, &entry, None), [answering], "the sender of the first packet");
        assert_eq!(beginner(&key, &entry, Some(1 - answering)), [1 - answering]);
        // Who sends a SYN begins a connection of his own.
        let mut entry = FlowStats::default();
        let key = segment(&mut entry, 1, false, SYN, 7);
        let opening = entry.originator as usize;
        assert_eq!(beginner(&key, &entry, Some(1 - opening)), [opening]);
    }
}
