//! Round trips: what is known of a set of samples by their number, their sum and the packet path's histogram.
//!
//! One definition: minimum, quantiles and maximum are of the same samples. The histogram's buckets double in width, so a number
//! is off by less than a factor of two; below the first edge, 128 µs, by less than that, and beyond the last, 2.1 s, it lies
//! between there and the longest. Where a flow brings one sample a window,
//! as handshakes do, minimum and maximum are exact.

use nta_common::tcp::RTT_BUCKETS;

use crate::domain::SideSamples;

/// Upper edge of the first bucket in microseconds.
const FIRST_EDGE_US: u64 = 128;

/// Round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtt {
    /// Samples.
    pub count: u64,
    /// Their sum in microseconds.
    pub sum_us: u64,
    /// The shortest in microseconds; 0 without samples.
    pub min_us: u32,
    /// The longest in microseconds; 0 without samples.
    pub max_us: u32,
    /// By size, see [`RTT_BUCKETS`].
    pub histogram: [u32; RTT_BUCKETS],
}

/// The quantiles that are reported.
pub const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

impl Rtt {
    /// Samples of a flow between two readings.
    pub fn of(samples: &SideSamples) -> Self {
        let histogram = samples.histogram.map(u32::from);
        let count = histogram.iter().map(|count| u64::from(*count)).sum();
        let mut rtt = Self { count, sum_us: samples.sum_us.into(), histogram, ..Self::default() };
        if count > 0 {
            (rtt.min_us, rtt.max_us) = (rtt.shortest(), rtt.longest());
        }
        rtt
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_us = if self.count == 0 { other.min_us } else { self.min_us.min(other.min_us) };
        self.max_us = self.max_us.max(other.max_us);
        self.count += other.count;
        self.sum_us += other.sum_us;
        for (sum, count) in self.histogram.iter_mut().zip(other.histogram) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Mean in milliseconds; `None` without samples.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_us as f64 / self.count as f64 / 1000.0)
    }

    /// The shortest in milliseconds; `None` without samples.
    pub fn min_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from(self.min_us) / 1000.0)
    }

    /// The longest in milliseconds; `None` without samples.
    pub fn max_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| f64::from(self.max_us) / 1000.0)
    }

    /// The `q`-quantile (0 to 1) in milliseconds, interpolated geometrically inside its bucket, never outside of minimum and
    /// maximum; `None` without samples.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let total: u64 = self.histogram.iter().map(|count| u64::from(*count)).sum();
        if total == 0 {
            return None;
        }
        // The q-quantile is the sample of this rank, from 0 for the shortest to `total` - 1 for the longest.
        let rank = q * (total - 1) as f64;
        let mut below = 0_u64;
        for (bucket, &count) in self.histogram.iter().enumerate() {
            let reached = below + u64::from(count);
            if count > 0 && rank < reached as f64 {
                let (low, high) = self.edges(bucket);
                let share = ((rank - below as f64 + 0.5) / f64::from(count)).clamp(0.0, 1.0);
                let us = low * (high / low).powf(share);
                return Some(us.clamp(f64::from(self.min_us), f64::from(self.max_us)) / 1000.0);
            }
            below = reached;
        }
        self.max_ms()
    }

    /// Between which round trips a bucket's samples lie, of these.
    fn edges(&self, bucket: usize) -> (f64, f64) {
        let (low, high) = edges_us(bucket);
        let low = (low as f64).max(f64::from(self.min_us)).max(1.0);
        (low, (high as f64).min(f64::from(self.max_us)).max(low))
    }

    /// The longest sample, as far as number, sum and histogram say: between these bounds, in the geometric middle.
    fn longest(&self) -> u32 {
        let Some(top) = self.histogram.iter().rposition(|count| *count > 0) else { return 0 };
        let (least_rest, most_rest) = self.rest(top);
        let count = u64::from(self.histogram[top]);
        let (low, high) = edges_us(top);
        let least = self.sum_us.saturating_sub(most_rest).div_ceil(count);
        let most = self.sum_us.saturating_sub(least_rest + (count - 1) * low);
        middle(low, high, least, most)
    }

    /// The shortest one.
    fn shortest(&self) -> u32 {
        let Some(bottom) = self.histogram.iter().position(|count| *count > 0) else { return 0 };
        let (least_rest, most_rest) = self.rest(bottom);
        let count = u64::from(self.histogram[bottom]);
        let (low, high) = edges_us(bottom);
        let least = self.sum_us.saturating_sub(most_rest + (count - 1) * high);
        let most = self.sum_us.saturating_sub(least_rest) / count;
        middle(low, high, least, most)
    }

    /// The least and the most that the samples outside a bucket can add up to.
    fn rest(&self, without: usize) -> (u64, u64) {
        let others = self.histogram.iter().enumerate().filter(|(bucket, _)| *bucket != without);
        others.fold((0, 0), |(least, most), (bucket, count)| {
            let (low, high) = edges_us(bucket);
            (least + low * u64::from(*count), most + high * u64::from(*count))
        })
    }
}

/// The shortest and the longest round trip of a bucket; the last one has no upper edge.
const fn edges_us(bucket: usize) -> (u64, u64) {
    let low = if bucket == 0 { 1 } else { FIRST_EDGE_US << (bucket - 1) };
    let high = if bucket == RTT_BUCKETS - 1 { u32::MAX as u64 } else { (FIRST_EDGE_US << bucket) - 1 };
    (low, high)
}

/// The geometric middle of what both pairs of bounds allow. A sum that wrapped contradicts the bucket, which then counts alone.
fn middle(low: u64, high: u64, least: u64, most: u64) -> u32 {
    let (least, most) = (least.max(low), most.min(high));
    let (least, most) = if least <= most { (least, most) } else { (low, high.min(2 * low)) };
    (least as f64 * most as f64).sqrt().round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the packet path keeps of these samples, in microseconds.
    fn kept(samples: &[u32]) -> SideSamples {
        let mut kept = SideSamples::default();
        for us in samples {
            kept.sum_us += us;
            let bucket = (0..RTT_BUCKETS).rfind(|bucket| u64::from(*us) >= edges_us(*bucket).0).expect("a bucket");
            kept.histogram[bucket] += 1;
        }
        kept
    }

    #[test]
    fn a_single_sample_is_exact() {
        for us in [1, 50, 127, 128, 30_000, 9_000_000] {
            let rtt = Rtt::of(&kept(&[us]));
            let ms = Some(f64::from(us) / 1000.0);
            assert_eq!([rtt.min_ms(), rtt.quantile_ms(0.5), rtt.quantile_ms(0.99), rtt.max_ms()], [ms; 4]);
        }
        assert_eq!(Rtt::default().quantile_ms(0.5), None);
    }

    #[test]
    fn whatever_the_samples_numbers_are_in_order_and_off_by_less_than_a_factor_of_two() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..3000 {
            // Flows of a few samples each, of which some are alike.
            let (mut whole, mut all) = (Rtt::default(), Vec::new());
            for _ in 0..=next() % 5 {
                let base = 200_u64 << (next() % 14);
                let samples: Vec<u32> = (0..=next() % 6).map(|_| (base + next() % (base * 3)) as u32).collect();
                whole.merge(&Rtt::of(&kept(&samples)));
                all.extend(samples);
            }
            all.sort_unstable();
            let [p50, p95, p99] = QUANTILES.map(|q| whole.quantile_ms(q).expect("samples") * 1000.0);
            let (min, max) = (f64::from(whole.min_us), f64::from(whole.max_us));
            assert!(min <= p50 && p50 <= p95 && p95 <= p99 && p99 <= max, "{all:?}: {min} {p50} {p95} {p99} {max}");
            let rank = |q: f64| f64::from(all[(q * (all.len() - 1) as f64) as usize]);
            for (estimate, exact) in
                [(min, rank(0.0)), (p50, rank(0.5)), (p95, rank(0.95)), (p99, rank(0.99)), (max, rank(1.0))]
            {
                let ratio = estimate / exact;
                let in_last = exact >= edges_us(RTT_BUCKETS - 1).0 as f64;
                assert!(in_last || (0.5..=2.0).contains(&ratio), "{all:?}: {estimate} for {exact}");
            }
            assert_eq!(whole.count, all.len() as u64);
        }
    }
}
