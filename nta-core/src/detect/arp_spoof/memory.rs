//! Who holds which address, who asked for whom, and what each station claims: bounded tables over ARP packets.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use foldhash::fast::RandomState;

use super::{ArpSpoofConfig, is_shared};
use crate::domain::{ArpPacket, Mac, Timestamp};

/// Entries of each table. A /16 network has as many addresses. When one is full, the tenth of it goes that was not
/// seen for longest.
const MAX_ENTRIES: usize = 65_536;
const EVICT_SHARE: usize = 10;
/// A question is answered within this time, or not at all (RFC 4861's RetransTimer of 1 s, with a margin for stations
/// that sleep).
const ANSWER_WITHIN_NS: u64 = 5_000_000_000;
/// An unasked reply so soon after the sender's own question says the same thing twice.
const AT_ONCE_NS: u64 = 1_000_000_000;
/// Addresses remembered per station.
const MAX_ADDRESSES: usize = 4;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const NANOS: f64 = 1e9;

type Table<K, V> = HashMap<K, V, RandomState>;

/// What gives a forged claim away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    /// The address is another's, who lives.
    Conflict(Mac),
    /// The station claims this address towards that one, and that one towards this.
    BothWays(Ipv4Addr),
    /// Unasked replies without end.
    Repeated,
    /// Question and unasked reply in one name, and another name besides.
    AsksAndAnswers,
    /// What was claimed before is given back, by the one who claimed it.
    Restores(Mac),
}

/// A forged claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) vlan: u16,
    pub(super) attacker: Mac,
    pub(super) address: Ipv4Addr,
    pub(super) sign: Sign,
    /// Packets of it.
    pub(super) count: u32,
    /// Unasked replies with it within the time of a repetition.
    pub(super) unasked: u32,
}

impl Claim {
    pub(super) const fn key(&self) -> (u16, Mac, Ipv4Addr) {
        (self.vlan, self.attacker, self.address)
    }
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    mac: Mac,
    last: Timestamp,
    /// Seen in something else than an unasked reply: a question, an announcement or an answer that was asked for.
    open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    holder: Holder,
    challenger: Option<Holder>,
}

/// What one station claimed towards one target by questions and unasked replies.
#[derive(Clone, Copy, Debug)]
struct Unasked {
    /// Times of the last unasked replies, newest at `next - 1`.
    times: [Timestamp; Self::KEPT],
    next: usize,
    /// Question or reply.
    last: Timestamp,
}

impl Unasked {
    /// More are not counted: far beyond what is reported.
    const KEPT: usize = 32;

    const fn new() -> Self {
        Self { times: [Timestamp::from_nanos(0); Self::KEPT], next: 0, last: Timestamp::from_nanos(0) }
    }

    const fn add(&mut self, time: Timestamp) {
        self.times[self.next % Self::KEPT] = time;
        self.next += 1;
    }

    fn since(&self, now: Timestamp, within_ns: u64) -> u32 {
        let kept = &self.times[..self.next.min(Self::KEPT)];
        kept.iter().filter(|time| now.since(**time) <= within_ns).count() as u32
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Station {
    addresses: [Option<Ipv4Addr>; MAX_ADDRESSES],
    /// In whose name it asked and answered at once, and when.
    twofold: Option<(Ipv4Addr, Timestamp)>,
    last: Timestamp,
}

/// The tables.
#[derive(Debug)]
pub(super) struct Memory {
    min_repeats: u32,
    repeat_within_ns: u64,
    handover_ns: u64,
    memory_ns: u64,
    bindings: Table<(u16, Ipv4Addr), Binding>,
    /// Who (by address) asked for whom, and when.
    questions: Table<(u16, Ipv4Addr, Ipv4Addr), Timestamp>,
    /// Until then questions may have been forgotten: no reply counts as unasked.
    blind_until: Timestamp,
    unasked: Table<(u16, Mac, Ipv4Addr, Ipv4Addr), Unasked>,
    stations: Table<(u16, Mac), Station>,
    /// What had to go because a table was full.
    pub(super) evicted: u64,
}

impl Memory {
    pub(super) fn new(config: &ArpSpoofConfig) -> Self {
        Self {
            min_repeats: config.min_repeats,
            repeat_within_ns: (config.repeat_within_s * NANOS) as u64,
            handover_ns: (config.handover_s * NANOS) as u64,
            memory_ns: (config.memory_s * NANOS) as u64,
            bindings: Table::default(),
            questions: Table::default(),
            blind_until: Timestamp::default(),
            unasked: Table::default(),
            stations: Table::default(),
            evicted: 0,
        }
    }

    /// Takes a packet; what is forged about it, if anything.
    pub(super) fn take(&mut self, packet: &ArpPacket) -> Option<Claim> {
        let (vlan, now) = (packet.vlan, packet.time);
        let ((sender, address), (_, target)) = (packet.sender, packet.target);
        let is_reply = packet.operation == REPLY;
        if !is_reply && packet.operation != REQUEST {
            return None;
        }
        let was_asked = is_reply && self.asked(vlan, address, target, now, ANSWER_WITHIN_NS);
        if !is_reply {
            self.ask(vlan, target, address, now);
        }
        // A probe claims nothing (RFC 5227 section 1.1); a shared address may be at any station.
        if address.is_unspecified() || is_shared(sender) || is_shared(packet.frame_source) {
            return None;
        }
        let is_announcement = target == address || target.is_unspecified();
        let is_unasked = is_reply && !was_asked && !is_announcement && now >= self.blind_until;
        let attacker = packet.frame_source;
        let claim = |sign, unasked| Claim { vlan, attacker, address, sign, count: 1, unasked };
        if sender != attacker {
            // A repeater forwards for its clients, and never spoke for their addresses itself.
            if !is_unasked {
                return None;
            }
            if self.addresses(vlan, attacker).contains(&address) {
                return Some(claim(Sign::Restores(sender), 0));
            }
            let other = self.bindings.get(&(vlan, address)).map(|binding| binding.holder);
            let other = other.filter(|holder| holder.mac != sender && now.since(holder.last) <= self.handover_ns);
            return other.map(|holder| claim(Sign::Conflict(holder.mac), 0));
        }
        let speaks_to = (is_unasked || !is_reply) && !is_announcement;
        let unasked = if speaks_to { self.note_towards((vlan, sender, address, target), now, is_unasked) } else { 0 };
        let is_twofold = is_unasked && self.asked(vlan, target, address, now, AT_ONCE_NS);
        let forged = self.note_station(packet, is_twofold);
        let seen = Holder { mac: sender, last: now, open: !is_unasked };
        if let Some((suspect, holder)) = self.bind(vlan, address, seen) {
            return Some(Claim { attacker: suspect, ..claim(Sign::Conflict(holder), unasked) });
        }
        // A question claims as well: tools poison by questions too. A station that moved may ask for its old address.
        let within_ns = if is_unasked { self.memory_ns } else { self.handover_ns };
        let back = self.unasked.get(&(vlan, sender, target, address)).filter(|_| speaks_to);
        if back.is_some_and(|back| now.since(back.last) <= within_ns) {
            return Some(claim(Sign::BothWays(target), unasked));
        }
        if unasked >= self.min_repeats {
            return Some(claim(Sign::Repeated, unasked));
        }
        forged.map(|forged| Claim { address: forged, ..claim(Sign::AsksAndAnswers, unasked) })
    }

    /// The addresses under which a station spoke.
    pub(super) fn addresses(&self, vlan: u16, mac: Mac) -> Vec<Ipv4Addr> {
        let station = self.stations.get(&(vlan, mac));
        station.map_or_else(Vec::new, |station| station.addresses.iter().flatten().copied().collect())
    }

    fn ask(&mut self, vlan: u16, asked: Ipv4Addr, asker: Ipv4Addr, now: Timestamp) {
        if self.questions.len() >= MAX_ENTRIES {
            self.questions.retain(|_, time| now.since(*time) <= ANSWER_WITHIN_NS);
            if self.questions.len() >= MAX_ENTRIES {
                self.evicted += self.questions.len() as u64;
                self.questions.clear();
                self.blind_until = now.plus(ANSWER_WITHIN_NS);
            }
        }
        self.questions.insert((vlan, asked, asker), now);
    }

    fn asked(&self, vlan: u16, asked: Ipv4Addr, asker: Ipv4Addr, now: Timestamp, within_ns: u64) -> bool {
        self.questions.get(&(vlan, asked, asker)).is_some_and(|time| now.since(*time) <= within_ns)
    }

    /// Notes whom the station spoke to in which name; how many unasked replies that were of late.
    fn note_towards(&mut self, key: (u16, Mac, Ipv4Addr, Ipv4Addr), now: Timestamp, is_unasked: bool) -> u32 {
        self.evicted += make_room(&mut self.unasked, &key, |entry| entry.last);
        let entry = self.unasked.entry(key).or_insert_with(Unasked::new);
        entry.last = now;
        if !is_unasked {
            return 0;
        }
        entry.add(now);
        entry.since(now, self.repeat_within_ns)
    }

    /// Notes under which address a station speaks; the one that it forged, if it speaks under another besides.
    fn note_station(&mut self, packet: &ArpPacket, is_twofold: bool) -> Option<Ipv4Addr> {
        let ((mac, address), now) = (packet.sender, packet.time);
        let key = (packet.vlan, mac);
        self.evicted += make_room(&mut self.stations, &key, |entry| entry.last);
        let station = self.stations.entry(key).or_default();
        station.last = now;
        if is_twofold {
            station.twofold = Some((address, now));
        }
        if !station.addresses.contains(&Some(address))
            && let Some(free) = station.addresses.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(address);
        }
        let (forged, time) = station.twofold?;
        let speaks_otherwise = station.addresses.iter().flatten().any(|other| *other != forged);
        let says_it_now = is_twofold || address != forged;
        (speaks_otherwise && says_it_now && now.since(time) <= self.memory_ns).then_some(forged)
    }

    /// Notes who holds the address; who took it from whom, if both live.
    fn bind(&mut self, vlan: u16, address: Ipv4Addr, seen: Holder) -> Option<(Mac, Mac)> {
        let key = (vlan, address);
        self.evicted += make_room(&mut self.bindings, &key, |entry| entry.holder.last);
        let entry = self.bindings.entry(key).or_insert(Binding { holder: seen, challenger: None });
        let now = seen.last;
        if entry.holder.mac == seen.mac {
            let silent_ns = now.since(entry.holder.last);
            entry.holder.last = now;
            entry.holder.open |= seen.open;
            // It was silent, another took its place, and now it is back: both live.
            let late = entry
                .challenger
                .filter(|other| silent_ns > self.handover_ns && now.since(other.last) <= self.handover_ns);
            return late.map(|other| (other.mac, seen.mac));
        }
        let silent_ns = now.since(entry.holder.last);
        if silent_ns > self.memory_ns {
            *entry = Binding { holder: seen, challenger: None };
            return None;
        }
        let known = entry.challenger.filter(|other| other.mac == seen.mac);
        let open = seen.open || known.is_some_and(|other| other.open);
        entry.challenger = Some(Holder { open, ..seen });
        if silent_ns > self.handover_ns {
            return None;
        }
        // Whoever only ever claimed it unasked is the suspect, even if it came first.
        if open && !entry.holder.open {
            let suspect = entry.holder.mac;
            *entry = Binding { holder: Holder { open, ..seen }, challenger: Some(entry.holder) };
            return Some((suspect, seen.mac));
        }
        Some((seen.mac, entry.holder.mac))
    }
}

/// Makes room for a new key: a tenth goes, those not seen for longest. Answers how many went.
fn make_room<K: Copy + Eq + std::hash::Hash, V>(
    table: &mut Table<K, V>,
    key: &K,
    last: impl Fn(&V) -> Timestamp,
) -> u64 {
    if table.len() < MAX_ENTRIES || table.contains_key(key) {
        return 0;
    }
    let mut times: Vec<Timestamp> = table.values().map(&last).collect();
    let (_, limit, _) = times.select_nth_unstable(MAX_ENTRIES / EVICT_SHARE);
    let limit = *limit;
    let before = table.len();
    table.retain(|_, entry| last(entry) > limit);
    (before - table.len()) as u64
}
