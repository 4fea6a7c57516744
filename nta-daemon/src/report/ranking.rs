//! Who sent how much to whom, and which hosts and pairs have the most, among more than can be kept.
//!
//! Every flow is looked up once, as a pair of addresses; what hosts sent and received follows from the pairs.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use foldhash::fast::RandomState;

/// Pairs that are kept apart, and hosts. When they are more, the half with fewer bytes is summed up: what is largest over a
/// capture is among the larger half at each time, unless it was quiet until then.
const MOST_KEPT: usize = 65_536;

/// What two ends sent one another, the first end's part first; of a host, what it sent and what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
    pub(super) flows: u64,
    /// First and last packet in nanoseconds.
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Default for Amount {
    fn default() -> Self {
        Self { packets: [0; 2], bytes: [0; 2], flows: 0, first: u64::MAX, last: 0 }
    }
}

impl Amount {
    const fn all(&self) -> (u64, u64) {
        (self.bytes[0] + self.bytes[1], self.packets[0] + self.packets[1])
    }

    /// With the ends exchanged.
    pub(super) const fn reversed(self) -> Self {
        let ([a, b], [c, d]) = (self.packets, self.bytes);
        Self { packets: [b, a], bytes: [d, c], ..self }
    }

    fn add(&mut self, other: &Self) {
        for end in 0..2 {
            self.packets[end] += other.packets[end];
            self.bytes[end] += other.bytes[end];
        }
        self.flows += other.flows;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Addresses as numbers, the lower one first: quicker to hash and compare.
type Pair = [u128; 2];
type Amounts<K> = HashMap<K, Amount, RandomState>;

/// Amounts by pair of addresses.
#[derive(Debug)]
pub(super) struct Pairs {
    kept: Amounts<Pair>,
    /// Of pairs that were summed up.
    hosts: Amounts<u128>,
    /// Whether some were.
    pub(super) is_estimate: bool,
    most: usize,
}

/// The first ones by bytes, and how many there are.
pub(super) struct Top<K> {
    pub(super) first: Vec<(K, Amount)>,
    pub(super) seen: u64,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { kept: HashMap::default(), hosts: HashMap::default(), is_estimate: false, most: MOST_KEPT }
    }
}

impl Pairs {
    /// Adds what these two sent one another.
    pub(super) fn add(&mut self, [a, b]: [IpAddr; 2], amount: &Amount) {
        let (a, b) = (number(a), number(b));
        if a <= b {
            self.kept.entry([a, b]).or_default().add(amount);
        } else {
            self.kept.entry([b, a]).or_default().add(&amount.reversed());
        }
        if self.kept.len() > self.most {
            self.sum_up();
        }
    }

    /// The pairs with the most bytes.
    pub(super) fn top(&self, count: usize) -> Top<[IpAddr; 2]> {
        let first = largest(&self.kept, count).into_iter().map(|(pair, amount)| (pair.map(address), amount));
        Top { first: first.collect(), seen: self.kept.len() as u64 }
    }

    /// The hosts with the most bytes.
    pub(super) fn top_hosts(&self, count: usize) -> Top<IpAddr> {
        let mut hosts = self.hosts.clone();
        self.kept.iter().for_each(|(pair, amount)| add_hosts(&mut hosts, *pair, amount));
        let first = largest(&hosts, count).into_iter().map(|(host, amount)| (address(host), amount));
        Top { first: first.collect(), seen: hosts.len() as u64 }
    }

    #[cold]
    fn sum_up(&mut self) {
        for (pair, amount) in largest(&self.kept, usize::MAX).into_iter().skip(self.most / 2) {
            self.kept.remove(&pair);
            add_hosts(&mut self.hosts, pair, &amount);
        }
        if self.hosts.len() > self.most {
            for (host, _) in largest(&self.hosts, usize::MAX).into_iter().skip(self.most / 2) {
                self.hosts.remove(&host);
            }
        }
        self.is_estimate = true;
    }
}

fn add_hosts(hosts: &mut Amounts<u128>, [a, b]: Pair, amount: &Amount) {
    hosts.entry(a).or_default().add(amount);
    if a != b {
        hosts.entry(b).or_default().add(&amount.reversed());
    }
}

/// By bytes, then packets, most first; equal ones in the order of their addresses.
fn largest<K: Copy + Eq + Hash + Ord>(amounts: &Amounts<K>, count: usize) -> Vec<(K, Amount)> {
    let mut all: Vec<(K, Amount)> = amounts.iter().map(|(key, amount)| (*key, *amount)).collect();
    all.sort_unstable_by_key(|(key, amount)| (std::cmp::Reverse(amount.all()), *key));
    all.truncate(count);
    all
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128) -> IpAddr {
    Ipv6Addr::from_bits(number).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(bytes: u64) -> Amount {
        Amount { packets: [1, 0], bytes: [bytes, 0], flows: 1, first: bytes, last: bytes }
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn pairs_have_both_directions_and_hosts_follow_from_them() {
        let mut pairs = Pairs::default();
        pairs.add([host(2), host(1)], &amount(100));
        pairs.add([host(1), host(2)], &amount(10));
        pairs.add([host(3), host(3)], &amount(7));
        let top = pairs.top(1);
        assert_eq!((top.first[0].0, top.first[0].1.bytes, top.seen), ([host(1), host(2)], [10, 100], 2));
        let hosts = pairs.top_hosts(9);
        let bytes: Vec<(IpAddr, [u64; 2])> = hosts.first.iter().map(|(host, amount)| (*host, amount.bytes)).collect();
        assert_eq!(bytes, [(host(1), [10, 100]), (host(2), [100, 10]), (host(3), [7, 0])]);
    }

    #[test]
    fn the_largest_stay_whatever_else_comes() {
        let mut pairs = Pairs { most: 8, ..Pairs::default() };
        for round in 0..100 {
            pairs.add([host(1_000 + round), host(1)], &amount(1));
            pairs.add([host(round % 3 + 2), host(1)], &amount(10 + u64::from(round % 3)));
        }
        let top = pairs.top(3).first;
        let bytes: Vec<u64> = top.iter().map(|(_, amount)| amount.bytes[1]).collect();
        assert_eq!(bytes, [33 * 12, 33 * 11, 34 * 10]);
        // The host that all others talked to has all of it.
        assert_eq!(
            pairs.top_hosts(1).first[0],
            (
                host(1),
                Amount {
                    packets: [0, 200],
                    bytes: [0, 100 + 33 * 12 + 33 * 11 + 34 * 10],
                    flows: 200,
                    first: 1,
                    last: 12,
                }
            )
        );
        assert!(pairs.is_estimate);
    }
}
