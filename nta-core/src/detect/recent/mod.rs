//! What a detector remembers beyond one window: bounded, and forgotten after a while.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use crate::domain::{Contributor, FlowObservation, Party, Timestamp};
use crate::window::address_number;

const NANOS: u64 = 1_000_000_000;
/// Sources of which a share is kept. Space-Saving (Metwally et al. 2005): a new one takes the place and the count of
/// the smallest, so that no source with more than 1/32 of all is missed.
const MAX_SHARES: usize = 32;
/// Contributors that a finding names.
const MAX_CONTRIBUTORS: usize = 10;
/// The smallest share of who is named, one in so many: below it, ten of them together are not a tenth of it all.
const LEAST_SHARE: u64 = 100;
/// A source with this share of it all, of which no other has half as much as it, did it.
const DOMINANT_SHARE: f64 = 0.5;

/// A table whose keys strangers choose: with another key in each process.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What is remembered about something.
pub(super) trait Weigh {
    /// How much is lost when it is forgotten. Sources can be made up by the million, each with little to its name.
    fn weight(&self) -> u64;
}

/// A bounded table. What was not met within the horizon is forgotten; when the table is full, the quarter that weighs
/// least has to go, of equal ones what was not met for longest, and is counted.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: Map<K, (Timestamp, V)>,
    most: usize,
    horizon_ns: u64,
    now: Timestamp,
    /// Whether room was made since the last window.
    made_room: bool,
    evicted: u64,
}

impl<K: Copy + Eq + Hash + Ord, V: Default + Weigh> Recent<K, V> {
    /// At most so many entries, each kept for so many seconds after it was last met.
    pub(super) fn new(most: usize, horizon_s: u64) -> Self {
        let horizon_ns = horizon_s.saturating_mul(NANOS);
        Self { entries: HashMap::default(), most, horizon_ns, now: Timestamp::default(), made_room: false, evicted: 0 }
    }

    /// A window that ends at `now` comes next, or has come. A clock set back beyond the horizon starts over.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.now == now {
            return;
        }
        if self.now.since(now) > self.horizon_ns {
            self.entries.clear();
        }
        self.now = now;
        self.made_room = false;
        let horizon_ns = self.horizon_ns;
        self.entries.retain(|_, (met, _)| now.since(*met) <= horizon_ns);
    }

    /// The entry of a key, now met.
    pub(super) fn meet(&mut self, key: K) -> &mut V {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.evict();
        }
        let entry = self.entries.entry(key).or_default();
        entry.0 = self.now;
        &mut entry.1
    }

    /// What a window brought, by weight and key, heaviest first: so that a flood of made-up sources does not displace who
    /// did most. Those that would find no room in any case are only counted. [`Recent::admit`] follows.
    pub(super) fn heaviest<W: Ord, T>(&mut self, mut brought: Vec<(W, K, T)>) -> Vec<(W, K, T)> {
        let order = |a: &(W, K, T), b: &(W, K, T)| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1));
        if brought.len() > self.most {
            brought.select_nth_unstable_by(self.most, order);
            self.evicted += (brought.len() - self.most) as u64;
            brought.truncate(self.most);
        }
        brought.sort_unstable_by(order);
        brought
    }

    /// The entry of a key, now met, unless there is no room for it: that is made once a window, so that a flood of keys, each
    /// as light as the others, does not turn the table over again and again.
    pub(super) fn admit(&mut self, key: K) -> Option<&mut V> {
        let full = self.entries.len() >= self.most;
        if full && !self.entries.contains_key(&key) {
            if std::mem::replace(&mut self.made_room, true) {
                self.evicted += 1;
                return None;
            }
            self.evict();
        }
        Some(self.meet(key))
    }

    /// The entry of a key, now met, if there is one.
    pub(super) fn meet_known(&mut self, key: &K) -> Option<&mut V> {
        let (met, value) = self.entries.get_mut(key)?;
        *met = self.now;
        Some(value)
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// All entries to change, in no order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, (_, value))| (key, value))
    }

    /// Entries that had to go because the table was full.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict(&mut self) {
        let weigh = |(key, (met, value)): (&K, &(Timestamp, V))| (value.weight(), *met, *key);
        let mut order: Vec<(u64, Timestamp, K)> = self.entries.iter().map(weigh).collect();
        let count = (self.most / 4).clamp(1, order.len());
        order.select_nth_unstable(count - 1);
        for (.., key) in &order[..count] {
            self.entries.remove(key);
        }
        self.evicted += count as u64;
    }
}

/// The time for which a window counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// First instant behind it.
    pub(super) end: Timestamp,
    /// Measured length in nanoseconds.
    pub(super) length_ns: u64,
}

/// A sum over the last seconds, kept by window; bounded by the longest time asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sliding {
    parts: VecDeque<(Counted, u64)>,
}

impl Sliding {
    /// Longest time that can be asked for, in seconds.
    pub(super) const LONGEST_S: u64 = 180;

    /// Adds what a window brought.
    pub(super) fn add(&mut self, counted: Counted, amount: u64) {
        let end = counted.end;
        while self.parts.front().is_some_and(|(at, _)| end.since(at.end) >= Self::LONGEST_S * NANOS || at.end > end) {
            self.parts.pop_front();
        }
        match self.parts.back_mut() {
            Some((at, sum)) if at.end == end => *sum += amount,
            _ => self.parts.push_back((counted, amount)),
        }
    }

    /// The sum of all that is kept.
    pub(super) fn total(&self) -> u64 {
        self.parts.iter().map(|(_, amount)| amount).sum()
    }

    /// The sum over the `seconds` up to `end`. Of a window that began before them it takes the share that lies in them, as if
    /// the window had counted evenly: where windows are closed late or early, the time that is summed up stays the same.
    pub(super) fn sum(&self, end: Timestamp, seconds: u64) -> u64 {
        let share = |(at, amount): &(Counted, u64)| {
            let room_ns = (seconds * NANOS).saturating_sub(end.since(at.end));
            if at.end > end || room_ns == 0 {
                0
            } else if at.length_ns <= room_ns {
                *amount
            } else {
                let (amount, length) = (u128::from(*amount), u128::from(at.length_ns));
                ((amount * u128::from(room_ns) + length / 2) / length) as u64
            }
        };
        self.parts.iter().map(share).sum()
    }

    /// What the window that ended at `end` brought.
    pub(super) fn newest(&self, end: Timestamp) -> u64 {
        self.parts.back().filter(|(at, _)| at.end == end).map_or(0, |(_, amount)| *amount)
    }
}

/// From when to when something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active(Option<(Timestamp, Timestamp)>);

impl Active {
    /// The shortest time by which packets are divided, in seconds: what a clock of a millisecond shows.
    const LEAST_S: f64 = 0.001;

    /// Takes what happened between two instants.
    pub(super) fn add(&mut self, first: Timestamp, last: Timestamp) {
        let (known_first, known_last) = self.0.unwrap_or((first, last));
        self.0 = Some((known_first.min(first), known_last.max(last)));
    }

    /// Packets a second while they came; of those whose time is not known, over the window's seconds.
    pub(super) fn rate(&self, packets: u64, window_s: f64) -> f64 {
        let lasted_s = self.0.map_or(window_s, |(first, last)| last.since(first) as f64 / 1e9);
        packets as f64 / lasted_s.max(Self::LEAST_S)
    }
}

/// Who had which share, the largest only.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    kept: Kept,
    total: u64,
    unknown: u64,
}

/// Most of what is watched has one source and needs no memory of its own.
#[derive(Clone, Debug, Default)]
enum Kept {
    #[default]
    Nobody,
    One(u128, Tally),
    Many(Box<Many>),
}

/// Hosts, each as one number for both families, and their shares: apart, so that looking for one compares nothing else.
#[derive(Clone, Debug)]
struct Many {
    who: Vec<u128>,
    shares: Vec<Tally>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    amount: u64,
    /// What of it may have been another's, whose place it took.
    borrowed: u64,
}

/// The first packet of flows that is known: of one that began before the window, the window's start.
pub(super) fn first_of(flows: &[FlowObservation], start: Timestamp) -> Timestamp {
    flows
        .iter()
        .map(|seen| if seen.is_new { seen.flow.first } else { start.max(seen.flow.first) })
        .min()
        .unwrap_or(start)
}

/// The address of a number.
pub(super) const fn address(number: u128) -> IpAddr {
    std::net::Ipv6Addr::from_bits(number).to_canonical()
}

impl Tally {
    const fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.borrowed += other.borrowed;
    }
}

impl Many {
    fn add(&mut self, host: u128, share: Tally) {
        if let Some(at) = self.who.iter().position(|known| *known == host) {
            self.shares[at].add(share);
        } else if self.who.len() < MAX_SHARES {
            self.who.push(host);
            self.shares.push(share);
        } else {
            let least = self.shares.iter().map(|share| share.amount).min().unwrap_or_default();
            let at = (0..MAX_SHARES).filter(|at| self.shares[*at].amount == least).min_by_key(|at| self.who[*at]);
            if let Some(at) = at {
                self.who[at] = host;
                self.shares[at] = Tally { amount: least + share.amount, borrowed: least + share.borrowed };
            }
        }
    }
}

impl Shares {
    /// Adds to the share of a host.
    pub(super) fn add(&mut self, host: IpAddr, amount: u64) {
        self.add_part(address_number(host), Tally { amount, borrowed: 0 });
    }

    fn add_part(&mut self, host: u128, share: Tally) {
        self.total += share.amount;
        match &mut self.kept {
            Kept::Nobody => self.kept = Kept::One(host, share),
            Kept::One(known, own) if *known == host => own.add(share),
            Kept::One(known, own) => {
                self.kept = Kept::Many(Box::new(Many { who: vec![*known, host], shares: vec![*own, share] }));
            }
            Kept::Many(many) => many.add(host, share),
        }
    }

    fn kept(&self) -> impl Iterator<Item = (u128, Tally)> {
        let (one, many) = match &self.kept {
            Kept::Nobody => (None, None),
            Kept::One(host, share) => (Some((*host, *share)), None),
            Kept::Many(many) => (None, Some(many.who.iter().copied().zip(many.shares.iter().copied()))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn of(&self) -> impl Iterator<Item = (IpAddr, Tally)> {
        self.kept().map(|(number, share)| (address(number), share))
    }

    /// Adds what nobody knows the source of.
    pub(super) const fn add_unknown(&mut self, amount: u64) {
        self.total += amount;
        self.unknown += amount;
    }

    /// Adds all shares of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (host, share) in other.kept() {
            self.add_part(host, share);
        }
        self.add_unknown(other.unknown);
    }

    /// How many sources are known by name, 32 at most.
    pub(super) fn known_sources(&self) -> u64 {
        self.kept().count() as u64
    }

    /// Share of the largest, 0 to 1.
    pub(super) fn largest(&self) -> f64 {
        let most = self.kept().map(|(_, share)| share.amount).max().unwrap_or(0);
        if self.total == 0 { 0.0 } else { most as f64 / self.total as f64 }
    }

    /// Who did it: one host, or many.
    pub(super) fn party(&self) -> Party {
        let most = self.of().map(|(host, share)| (share.amount, host)).max();
        match most {
            Some((amount, host)) if self.largest() >= DOMINANT_SHARE && !self.has_second(host, amount / 2) => {
                Party::Host(host)
            }
            _ => Party::Many,
        }
    }

    /// Whether another than this one has more than so much.
    fn has_second(&self, first: IpAddr, amount: u64) -> bool {
        self.of().any(|(host, share)| host != first && share.amount > amount)
    }

    /// The largest shares, largest first: what each has at least of `counted`, which a finding tells. A finding counts the last
    /// seconds and shares are remembered longer, so that a share is a part of it all and not an amount of its own. Of sources
    /// that each have next to nothing, as forged ones have, none is named: the ten that happen to be remembered stand for nobody.
    pub(super) fn contributors(&self, counted: u64) -> Vec<Contributor> {
        let sure = self.of().map(|(host, share)| (host, share.amount - share.borrowed));
        let mut shares: Vec<(IpAddr, u64)> = sure.filter(|(_, amount)| *amount * LEAST_SHARE >= self.total).collect();
        shares.sort_unstable_by_key(|(host, amount)| (std::cmp::Reverse(*amount), *host));
        shares.truncate(MAX_CONTRIBUTORS);
        let part = |amount: u64| (amount as f64 / self.total as f64 * counted as f64).round();
        shares.iter().map(|(host, amount)| Contributor { what: host.to_string(), amount: part(*amount) }).collect()
    }
}

#[cfg(test)]
mod tests;
