//! Who holds which address, who asked for whom, and what each station claims: bounded tables over ARP and neighbour discovery.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::claimants::{Claimants, Contest, Said, Way};
use super::gateway::Sought;
use super::spoken::Spoken;
use super::{ArpSpoofConfig, is_shared};
use crate::domain::{Mac, Timestamp};

/// Entries of each table. A /16 network has as many addresses. When one is full, the tenth of it goes that was not
/// seen for longest.
pub(super) const MAX_ENTRIES: usize = 65_536;
const EVICT_SHARE: usize = 10;
/// A question is answered within this time, or not at all (RFC 4861's RetransTimer of 1 s, with a margin for stations
/// that sleep).
const ANSWER_WITHIN_NS: u64 = 5_000_000_000;
/// An unasked reply so soon after the sender's own question says the same thing twice.
const AT_ONCE_NS: u64 = 1_000_000_000;
/// Addresses remembered per station and family.
const MAX_ADDRESSES: usize = 12;
/// A station that speaks in the open under so many addresses stands for others: a host of virtual machines, a repeater. Two are
/// an old address and a new one.
const MANY_ADDRESSES: usize = 3;
/// The same of IPv6, where one interface has an address of the link, a stable one, and a temporary one of each of the last seven days
/// (RFC 8981 section 3.8) and of today.
const MANY_ADDRESSES_V6: usize = 11;
/// So often a station that has an address of its own speaks up for another's, whose holder goes on beside it. Once may be an
/// old address, twice a hand-over and back.
const MIN_TURNS: u32 = 3;
/// The same for the gateway's address.
const MIN_GATEWAY_TURNS: u32 = 2;
const NANOS: f64 = 1e9;

type Table<K, V> = HashMap<K, V, RandomState>;

/// What is wrong about a claim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    /// The address is another's, who lives.
    Conflict(Mac),
    /// The station claims this address towards that one, and that one towards this.
    BothWays(IpAddr),
    /// Unasked replies without end.
    Repeated,
    /// Question and unasked reply in one name, and another name besides.
    AsksAndAnswers,
    /// What was claimed before is given back, by the one who claimed it.
    Restores(Mac),
    /// Two stations use the address, neither of them in secret.
    Duplicate(Mac),
}

/// A claim that is reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) vlan: u16,
    pub(super) attacker: Mac,
    pub(super) address: IpAddr,
    pub(super) sign: Sign,
    /// Packets of it.
    pub(super) count: u32,
    /// Unasked replies with it within the time of a repetition.
    pub(super) unasked: u32,
    /// When the first and the last of these packets came; the first one of the claim may have come before the window.
    pub(super) seen: [Timestamp; 2],
}

impl Claim {
    pub(super) const fn key(&self) -> (u16, Mac, IpAddr) {
        (self.vlan, self.attacker, self.address)
    }
}

/// What one station claimed towards one target by questions and unasked replies.
#[derive(Clone, Copy, Debug)]
struct Unasked {
    /// Times of the last unasked replies, newest at `next - 1`.
    times: [Timestamp; Self::KEPT],
    next: usize,
    /// Question or reply.
    last: Timestamp,
    /// It was sent to another station than the claimant: who claims the target's address as well knows better.
    to_another: bool,
}

impl Unasked {
    /// More are not counted: far beyond what is reported.
    const KEPT: usize = 32;

    const fn new() -> Self {
        Self {
            times: [Timestamp::from_nanos(0); Self::KEPT],
            next: 0,
            last: Timestamp::from_nanos(0),
            to_another: false,
        }
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
    addresses: [Option<IpAddr>; MAX_ADDRESSES],
    /// Those of them that it used in the open.
    open: [bool; MAX_ADDRESSES],
    /// In whose name it asked and answered at once, and when.
    twofold: Option<(IpAddr, Timestamp)>,
    last: Timestamp,
}

/// The tables.
#[derive(Debug)]
pub(super) struct Memory {
    min_repeats: u32,
    repeat_within_ns: u64,
    handover_ns: u64,
    memory_ns: u64,
    addresses: Table<(u16, IpAddr), Claimants>,
    /// Who (by address) asked for whom, and when.
    questions: Table<(u16, IpAddr, IpAddr), Timestamp>,
    /// Until then questions may have been forgotten: no reply counts as unasked.
    blind_until: Timestamp,
    unasked: Table<(u16, Mac, IpAddr, IpAddr), Unasked>,
    /// By VLAN, station, and whether its addresses are of IPv6.
    stations: Table<(u16, Mac, bool), Station>,
    sought: Sought,
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
            addresses: Table::default(),
            questions: Table::default(),
            blind_until: Timestamp::default(),
            unasked: Table::default(),
            stations: Table::default(),
            sought: Sought::default(),
            evicted: 0,
        }
    }

    /// Takes a packet; what is wrong about it, if anything.
    pub(super) fn take(&mut self, packet: &Spoken) -> Option<Claim> {
        let (vlan, now) = (packet.vlan, packet.time);
        let ((sender, address), (target_mac, target)) = (packet.sender, packet.target);
        let is_reply = packet.is_reply;
        let was_asked = is_reply && self.asked(vlan, address, target, now, ANSWER_WITHIN_NS);
        let is_announcement = target == address || target.is_unspecified();
        if !is_reply {
            self.ask(vlan, target, address, now);
            if !is_announcement {
                self.evicted += self.sought.ask(vlan, target, packet.asker(), now);
            }
        }
        // A probe claims nothing (RFC 5227 section 1.1); a shared address may be at any station.
        if !packet.claims || address.is_unspecified() || is_shared(sender) || is_shared(packet.frame_source) {
            return None;
        }
        let way = match (is_reply, is_announcement) {
            (_, true) => Way::Open,
            (false, _) if packet.is_to_all => Way::Open,
            (false, _) => Way::Probe,
            (true, _) if was_asked || now < self.blind_until => Way::Asked,
            (true, _) => Way::Unasked,
        };
        let seen = [now; 2];
        let claim = |attacker, sign, unasked| Claim { vlan, attacker, address, sign, count: 1, unasked, seen };
        let frame_source = packet.frame_source;
        let said = Said { mac: sender, time: now, way, is_reply, is_announcement, target };
        if sender != frame_source {
            return self.take_forwarded(packet, &said).map(|(attacker, sign)| claim(attacker, sign, 0));
        }
        let is_unasked = way == Way::Unasked;
        let speaks_to = (is_unasked || !is_reply) && !is_announcement;
        let reached = if is_reply { target_mac } else { packet.frame_destination };
        let to_another = reached != sender && reached != Mac::default() && reached.0[0] & 1 == 0;
        let towards = (vlan, sender, address, target);
        let unasked = if speaks_to { self.note_towards(towards, now, is_unasked, to_another) } else { 0 };
        let is_twofold = is_unasked && self.asked(vlan, target, address, now, AT_ONCE_NS);
        let forged = self.note_station(packet, is_twofold, way == Way::Open);
        let contest = self.contest(vlan, address, &said);
        // Another's packet, or one in another name, shows that a claim was forged; it was made when it was made.
        let made = |attacker, forged| {
            let claimant = self.addresses.get(&(vlan, forged)).and_then(|all| all.of(attacker));
            [claimant.map_or(now, |claimant| claimant.last); 2]
        };
        if let Some((suspect, sign @ Sign::Conflict(_))) = contest {
            return Some(Claim { seen: made(suspect, address), ..claim(suspect, sign, unasked) });
        }
        // A question claims as well: tools poison by questions too. A station that moved may ask for its old address.
        let within_ns = if is_unasked { self.memory_ns } else { self.handover_ns };
        let back = self.unasked.get(&(vlan, sender, target, address)).filter(|_| speaks_to);
        if back.is_some_and(|back| now.since(back.last) <= within_ns && (back.to_another || to_another)) {
            return Some(claim(sender, Sign::BothWays(target), unasked));
        }
        let is_open =
            self.addresses.get(&(vlan, address)).and_then(|all| all.of(sender)).is_some_and(|one| one.is_open());
        if unasked >= self.min_repeats && !is_open {
            return Some(claim(sender, Sign::Repeated, unasked));
        }
        let forged = forged.filter(|forged| self.is_anothers(vlan, *forged, packet));
        forged
            .map(|forged| Claim {
                address: forged,
                seen: made(sender, forged),
                ..claim(sender, Sign::AsksAndAnswers, unasked)
            })
            .or_else(|| contest.map(|(later, sign)| claim(later, sign, unasked)))
    }

    /// Since when a station claims an address, as far as one remembers.
    pub(super) fn claimed_since(&self, claim: &Claim) -> Option<Timestamp> {
        self.addresses.get(&(claim.vlan, claim.address))?.of(claim.attacker).map(|claimant| claimant.first)
    }

    /// A packet in a frame of another station than its sender: one that forwards for its clients, or that forges. The claimed
    /// address is the one that the traffic will go to.
    fn take_forwarded(&mut self, packet: &Spoken, said: &Said) -> Option<(Mac, Sign)> {
        let (vlan, frame_source) = (packet.vlan, packet.frame_source);
        let (sender, address) = packet.sender;
        let known = self.addresses.get(&(vlan, address));
        if let Some(forwarder) = known.and_then(|all| all.of(frame_source)) {
            // It claimed the address itself: in secret, and gives it back, or because it stands for that station.
            let gives_back = said.way == Way::Unasked && forwarder.unasked > 0 && !forwarder.is_open();
            return gives_back.then_some((frame_source, Sign::Restores(sender)));
        }
        self.contest(vlan, address, said)
    }

    /// What a claim means beside those of others: who is to be named, and why.
    fn contest(&mut self, vlan: u16, address: IpAddr, said: &Said) -> Option<(Mac, Sign)> {
        let key = (vlan, address);
        self.evicted += make_room(&mut self.addresses, &key, MAX_ENTRIES, Claimants::last);
        let claimants = self.addresses.entry(key).or_default();
        match claimants.take(said, self.handover_ns, self.memory_ns)? {
            Contest::Taken { by, from } => Some((by, Sign::Conflict(from))),
            Contest::Doubled { later, earlier } => {
                (!self.stands_for_many(key, later, earlier)).then_some((later, Sign::Duplicate(earlier)))
            }
            Contest::Turns { later, earlier, own_turns, announced } => {
                let is_gateway = self.sought.is_gateway(vlan, address);
                let least = if is_gateway { MIN_GATEWAY_TURNS } else { MIN_TURNS };
                // Who stands for others passes on what they say; who announces a living station's address takes it.
                if announced < least && self.stands_for_many(key, later, earlier) {
                    return None;
                }
                let has_another = self.addresses(key, later).iter().any(|other| *other != address);
                let takes = own_turns >= least;
                let sign = if takes && (has_another || is_gateway) { Sign::Conflict } else { Sign::Duplicate };
                Some((later, sign(earlier)))
            }
        }
    }

    /// Whether one of the two speaks for others in the open.
    fn stands_for_many(&self, (vlan, address): (u16, IpAddr), one: Mac, other: Mac) -> bool {
        let least = if address.is_ipv6() { MANY_ADDRESSES_V6 } else { MANY_ADDRESSES };
        let stations = [one, other].into_iter().filter_map(|mac| self.stations.get(&(vlan, mac, address.is_ipv6())));
        stations.map(Station::spoken_for).any(|addresses| addresses >= least)
    }

    /// Whether an address that the sender of a packet claimed is another's: it asks for it now, another station lives under it,
    /// or it is the gateway's.
    fn is_anothers(&self, vlan: u16, claimed: IpAddr, packet: &Spoken) -> bool {
        let asks_for_it = !packet.is_reply && packet.target.1 == claimed && packet.sender.1 != claimed;
        let known = self.addresses.get(&(vlan, claimed));
        let other = known.and_then(|all| all.living(packet.sender.0, packet.time, self.handover_ns));
        asks_for_it || other.is_some() || self.sought.is_gateway(vlan, claimed)
    }

    /// The addresses under which a station spoke, of the family of this one.
    pub(super) fn addresses(&self, (vlan, address): (u16, IpAddr), mac: Mac) -> Vec<IpAddr> {
        let station = self.stations.get(&(vlan, mac, address.is_ipv6()));
        station.map_or_else(Vec::new, |station| station.addresses.iter().flatten().copied().collect())
    }

    fn ask(&mut self, vlan: u16, asked: IpAddr, asker: IpAddr, now: Timestamp) {
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

    fn asked(&self, vlan: u16, asked: IpAddr, asker: IpAddr, now: Timestamp, within_ns: u64) -> bool {
        self.questions.get(&(vlan, asked, asker)).is_some_and(|time| now.since(*time) <= within_ns)
    }

    /// Notes whom the station spoke to in which name; how many unasked replies that were of late.
    fn note_towards(
        &mut self,
        key: (u16, Mac, IpAddr, IpAddr),
        now: Timestamp,
        is_unasked: bool,
        to_another: bool,
    ) -> u32 {
        self.evicted += make_room(&mut self.unasked, &key, MAX_ENTRIES, |entry| entry.last);
        let entry = self.unasked.entry(key).or_insert_with(Unasked::new);
        entry.last = now;
        entry.to_another = to_another;
        if !is_unasked {
            return 0;
        }
        entry.add(now);
        entry.since(now, self.repeat_within_ns)
    }

    /// Notes under which address a station speaks; the one that it forged, if it speaks under another besides.
    fn note_station(&mut self, packet: &Spoken, is_twofold: bool, is_open: bool) -> Option<IpAddr> {
        let ((mac, address), now) = (packet.sender, packet.time);
        let key = (packet.vlan, mac, address.is_ipv6());
        self.evicted += make_room(&mut self.stations, &key, MAX_ENTRIES, |entry| entry.last);
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
        if let Some(at) = station.addresses.iter().position(|known| *known == Some(address)) {
            station.open[at] |= is_open;
        }
        let (forged, time) = station.twofold?;
        let speaks_otherwise = station.addresses.iter().flatten().any(|other| *other != forged);
        let says_it_now = is_twofold || address != forged;
        (speaks_otherwise && says_it_now && now.since(time) <= self.memory_ns).then_some(forged)
    }
}

impl Station {
    /// Under how many addresses it speaks in the open.
    fn spoken_for(&self) -> usize {
        self.open.iter().filter(|open| **open).count()
    }
}

/// Makes room for a new key: a tenth goes, those not seen for longest. Answers how many went.
pub(super) fn make_room<K: Copy + Eq + std::hash::Hash, V>(
    table: &mut Table<K, V>,
    key: &K,
    most: usize,
    last: impl Fn(&V) -> Timestamp,
) -> u64 {
    if table.len() < most || table.contains_key(key) {
        return 0;
    }
    let mut times: Vec<Timestamp> = table.values().map(&last).collect();
    let (_, limit, _) = times.select_nth_unstable(most / EVICT_SHARE);
    let limit = *limit;
    let before = table.len();
    table.retain(|_, entry| last(entry) > limit);
    (before - table.len()) as u64
}
