//! A flow between two readings of its entry: cumulative counters in, differences and totals out.

use std::net::{IpAddr, SocketAddr};

use nta_common::flow::Counts;
use nta_common::packet::proto;
use nta_common::tcp::letter;
use nta_common::{FlowStats, Volume};

use super::nesting::Nested;
use super::{
    EndReason, FlowDelta, FlowId, FlowKey, FlowRecord, FlowUpdate, IdentityScope, Names, Nesting, RttSamples,
    TcpCounts, Timestamp, Translation, both,
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
            Some(more) => both(|i| self.tcp[i].since(&more.before[i])),
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
        let counts = both(|i| volumes[i].since(&self.volumes[i]));
        if counts.iter().all(|counts| counts.packets == 0) {
            return None;
        }
        let own = self.own_of(counts, reading);
        let tcp = both(|i| TcpCounts::of(&reading.dir[i].tcp));
        let rtt = RttSamples::of(reading);
        let delta = FlowDelta {
            counts: own,
            tcp: both(|i| tcp[i].since(&self.tcp[i])),
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
        let states = both(|i| reading.dir[i].tcp.marks.state());
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
#[path = "tracked_tests.rs"]
mod tests;
