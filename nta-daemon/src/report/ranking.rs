//! Who has the most, among more than can be kept.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Keys that are kept. When they are more, the half with fewer bytes is summed up as others: what is largest over a capture is
/// among the larger half at each time, unless it was quiet until then.
const MOST_KEPT: usize = 65_536;

/// What two ends sent one another, the first end's part first; of a host, what it sent and what it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
    pub(super) flows: u64,
    /// First and last packet in nanoseconds.
    pub(super) span: Option<(u64, u64)>,
}

impl Amount {
    pub(super) const fn all_packets(&self) -> u64 {
        self.packets[0] + self.packets[1]
    }

    pub(super) const fn all_bytes(&self) -> u64 {
        self.bytes[0] + self.bytes[1]
    }

    /// With the ends exchanged.
    pub(super) const fn reversed(self) -> Self {
        let ([a, b], [c, d]) = (self.packets, self.bytes);
        Self { packets: [b, a], bytes: [d, c], ..self }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for end in 0..2 {
            self.packets[end] += other.packets[end];
            self.bytes[end] += other.bytes[end];
        }
        self.flows += other.flows;
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }
}

/// Amounts by key.
#[derive(Debug)]
pub(super) struct Ranking<K> {
    kept: HashMap<K, Amount, RandomState>,
    others: Amount,
    /// Keys that were summed up, one that came again counted again.
    summed_up: u64,
    most: usize,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { kept: HashMap::default(), others: Amount::default(), summed_up: 0, most: MOST_KEPT }
    }
}

impl<K: Copy + Eq + Hash + Ord> Ranking<K> {
    pub(super) fn add(&mut self, key: K, amount: &Amount) {
        self.kept.entry(key).or_default().add(amount);
        if self.kept.len() > self.most {
            self.sum_up();
        }
    }

    /// How many keys there are; at least so many when some were summed up.
    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Whether amounts may lack what came before their key was kept again.
    pub(super) const fn is_estimate(&self) -> bool {
        self.summed_up > 0
    }

    /// The first ones by bytes, and the sum of all others.
    pub(super) fn top(&self, count: usize) -> (Vec<(K, Amount)>, Amount) {
        let mut all = self.in_order();
        let mut rest = self.others;
        all.iter().skip(count).for_each(|(_, amount)| rest.add(amount));
        all.truncate(count);
        (all, rest)
    }

    fn in_order(&self) -> Vec<(K, Amount)> {
        let mut all: Vec<(K, Amount)> = self.kept.iter().map(|(key, amount)| (*key, *amount)).collect();
        all.sort_unstable_by_key(|(key, amount)| (std::cmp::Reverse((amount.all_bytes(), amount.all_packets())), *key));
        all
    }

    #[cold]
    fn sum_up(&mut self) {
        for (key, amount) in self.in_order().into_iter().skip(self.most / 2) {
            self.kept.remove(&key);
            self.others.add(&amount);
            self.summed_up += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stay_and_nothing_is_lost() {
        let mut ranking = Ranking { most: 8, ..Ranking::default() };
        let amount = |bytes| Amount { packets: [1, 0], bytes: [bytes, 0], flows: 1, span: Some((bytes, bytes)) };
        for round in 0..100_u64 {
            ranking.add(1_000 + round, &amount(1));
            ranking.add(round % 3, &amount(10 + round % 3));
        }
        let (top, others) = ranking.top(3);
        let bytes: Vec<(u64, u64)> = top.iter().map(|(key, amount)| (*key, amount.all_bytes())).collect();
        assert_eq!(bytes, [(2, 33 * 12), (1, 33 * 11), (0, 34 * 10)]);
        assert_eq!((others.all_bytes(), others.flows), (100, 100));
        assert!(ranking.is_estimate() && ranking.len() <= 8);
    }
}
