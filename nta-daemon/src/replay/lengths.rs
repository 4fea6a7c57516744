//! How long packets are: counts by ranges that double, as `tshark -z plen,tree` has them.

/// The first range ends before this many bytes, and each one ends where twice as many are.
const FIRST: u32 = 20;
/// Ranges; the last one has no end.
const RANGES: usize = 10;

/// Packets by their length on the wire.
#[derive(Clone, Debug, Default)]
pub struct Lengths([u64; RANGES]);

impl Lengths {
    /// Counts a packet.
    #[inline]
    pub fn add(&mut self, wire_len: u32) {
        let doubled = u32::BITS - (wire_len / FIRST).leading_zeros();
        self.0[(doubled as usize).min(RANGES - 1)] += 1;
    }

    /// Each range: its shortest and its longest length in bytes, and how many packets are of such a length.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, Option<u32>, u64)> {
        let begin = |range: usize| if range == 0 { 0 } else { FIRST << (range - 1) };
        let end = move |range: usize| (range + 1 < RANGES).then(|| begin(range + 1) - 1);
        self.0.iter().enumerate().map(move |(range, many)| (begin(range), end(range), *many))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_the_range_that_says_so() {
        for length in (0..12_000).chain([65_535, 262_144, u32::MAX]) {
            let mut lengths = Lengths::default();
            lengths.add(length);
            let found: Vec<_> = lengths.ranges().filter(|(.., many)| *many == 1).collect();
            let [(least, most, _)] = found[..] else { panic!("{length}: {found:?}") };
            assert!(least <= length && most.is_none_or(|most| length <= most), "{length}: {found:?}");
        }
        let ranges: Vec<_> = Lengths::default().ranges().map(|(least, most, _)| (least, most)).collect();
        assert_eq!((ranges[0], ranges[3], ranges[9]), ((0, Some(19)), (80, Some(159)), (5_120, None)));
    }
}
