//! How many different things were met: exact while few, estimated beyond, mergeable.

use datasketches::hll::{HllSketch, HllType, HllUnion};

/// Things that are kept as they are; beyond it a sketch takes over.
const FEW: usize = 5;
/// 2^11 registers: counts up to about 190 stay exact (the sketch's own list), larger ones have a standard error of
/// 1.04 / √2048 = 2.3 % (Flajolet et al. 2007).
const LG_REGISTERS: u8 = 11;
/// Counts up to here are exact.
const MOST_EXACT: u64 = 150;

/// A count of distinct values, given as hashes. Whoever hashes must key the hash: the values are chosen by strangers.
#[derive(Clone, Debug)]
pub enum Distinct {
    /// The values' hashes.
    Few(u8, [u32; FEW]),
    /// HyperLogLog (`datasketches`: a list first, then registers of 8 bits, 2 KiB: 4 would do, and take as long again to
    /// update and merge).
    Many(Box<HllSketch>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(0, [0; FEW])
    }
}

impl Distinct {
    /// Meets a value.
    pub fn insert(&mut self, hash: u32) {
        match self {
            Self::Few(count, hashes) => {
                let known = &hashes[..usize::from(*count)];
                if known.contains(&hash) {
                    return;
                }
                if known.len() < FEW {
                    hashes[usize::from(*count)] = hash;
                    *count += 1;
                    return;
                }
                let mut sketch = sketch_of(hashes);
                sketch.update(hash);
                *self = Self::Many(Box::new(sketch));
            }
            Self::Many(sketch) => sketch.update(hash),
        }
    }

    /// Meets everything that `other` has met.
    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(count, hashes) => hashes[..usize::from(*count)].iter().for_each(|hash| self.insert(*hash)),
            Self::Many(theirs) => {
                let Ok(mut union) = HllUnion::new(LG_REGISTERS) else { return };
                union.update(theirs);
                match self {
                    Self::Few(count, hashes) => {
                        hashes[..usize::from(*count)].iter().for_each(|hash| union.update_value(*hash));
                    }
                    Self::Many(mine) => union.update(mine),
                }
                *self = Self::Many(Box::new(union.to_sketch(HllType::Hll8)));
            }
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        match self {
            Self::Few(count, _) => u64::from(*count),
            // The other estimator is closer, but depends on the order in which values came.
            Self::Many(sketch) => sketch.composite_estimate().round() as u64,
        }
    }

    /// The count in words: "about" from where on it is an estimate.
    pub fn words(&self) -> String {
        let count = self.count();
        if count > MOST_EXACT { format!("about {count}") } else { count.to_string() }
    }

    /// Memory behind the value itself, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(..) => 0,
            Self::Many(sketch) => sketch.estimated_size(),
        }
    }
}

fn sketch_of(hashes: &[u32]) -> HllSketch {
    let mut sketch = HllSketch::new(LG_REGISTERS, HllType::Hll8).expect("the number of registers is one that exists");
    hashes.iter().for_each(|hash| sketch.update(*hash));
    sketch
}

#[cfg(test)]
mod tests {
    use super::Distinct;

    fn of(range: std::ops::Range<u32>) -> Distinct {
        let mut distinct = Distinct::default();
        range.for_each(|i| distinct.insert(i.wrapping_mul(0x9e37_79b9)));
        distinct
    }

    #[test]
    fn few_are_exact_and_many_close() {
        for n in [0, 1, 5, 6, 50, 150] {
            assert_eq!(of(0..n).count(), u64::from(n));
        }
        assert_eq!(of(0..150).words(), "150");
        assert!(of(0..3_000).words().starts_with("about "));
        let many = of(0..50_000).count() as f64;
        assert!((many / 50_000.0 - 1.0).abs() < 0.1, "{many}");
    }

    #[test]
    fn merging_counts_what_both_met_once() {
        for (a, b, union) in [(0..3, 2..5, 5), (0..4, 2..40, 40), (0..40, 2..4, 40), (0..60, 30..90, 90)] {
            let mut merged = of(a);
            merged.merge(&of(b));
            assert_eq!(merged.count(), union);
        }
    }
}
