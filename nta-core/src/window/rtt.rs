//! Round trips: what is known of a set of samples by their number, their sum and the packet path's histogram.
//!
//! One definition: minimum, quantiles and maximum are of the same samples. The q-quantile is the smallest sample that at least
//! the part q of all samples does not exceed (nearest rank; RFC 2330, section 11.3): of few samples one of them. The histogram's buckets double in width, so a number
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
        let mut histogram = [0; RTT_BUCKETS];
        let mut count = 0;
        for (own, samples) in histogram.iter_mut().zip(samples.histogram) {
            *own = u32::from(samples);
            count += u64::from(samples);
        }
        let mut rtt = Self { count, sum_us: samples.sum_us.into(), histogram, ..Self::default() };
        if count == 1 && rtt.histogram[bucket_of(samples.sum_us)] == 1 {
            // A sample in its bucket, as of a handshake: most flows have no other.
            (rtt.min_us, rtt.max_us) = (samples.sum_us, samples.sum_us);
        } else if count > 0 {
            (rtt.min_us, rtt.max_us) = (rtt.shortest(), rtt.longest());
        }
        rtt
    }

    /// Adds samples of a flow.
    pub fn add(&mut self, samples: &SideSamples) {
        if samples.histogram != [0; RTT_BUCKETS] {
            self.merge(&Self::of(samples));
        }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_us = if self.count == 0 { other.min_us } else { self.min_us.min(other.min_us) };
        self.max_us = self.max_us.max(other.max_us);
        self.count = self.count.saturating_add(other.count);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (sum, count) in self.histogram.iter_mut().zip(other.histogram) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Upper edge of a bucket of the histogram in seconds; that of the last one is infinite.
    pub fn upper_edge_s(bucket: usize) -> f64 {
        if bucket + 1 >= RTT_BUCKETS { f64::INFINITY } else { (FIRST_EDGE_US << bucket) as f64 / 1e6 }
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

    /// The `q`-quantile (0 to 1) in milliseconds by nearest rank; `None` without samples.
    ///
    /// The first and the last sample are minimum and maximum; one between them is interpolated geometrically inside its bucket.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let total: u64 = self.histogram.iter().map(|count| u64::from(*count)).sum();
        if total == 0 {
            return None;
        }
        let rank = nearest_rank(q, total);
        if rank == total {
            return self.max_ms();
        }
        // Windows of before may have no minimum.
        if rank == 1 && self.min_us > 0 {
            return self.min_ms();
        }
        let mut below = 0_u64;
        for (bucket, &count) in self.histogram.iter().enumerate() {
            let reached = below + u64::from(count);
            if rank <= reached {
                let (low, high) = self.edges(bucket);
                let share = ((rank - below) as f64 - 0.5) / f64::from(count);
                let us = low * (high / low).powf(share);
                return Some(us.clamp(f64::from(self.min_us), f64::from(self.max_us)) / 1000.0);
            }
            below = reached;
        }
        self.max_ms()
    }

    /// The `q`-quantile of samples that are those of `parts` together: between the parts' own, as it must be by nearest rank,
    /// although each is an estimate.
    pub fn quantile_of_all_ms(&self, q: f64, parts: &[Self]) -> Option<f64> {
        let parts = || parts.iter().filter_map(|part| part.quantile_ms(q));
        let (least, most) = (parts().min_by(f64::total_cmp), parts().max_by(f64::total_cmp));
        let all = self.quantile_ms(q)?;
        Some(least.zip(most).map_or(all, |(least, most)| all.clamp(least, most)))
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

/// Which of so many sorted samples, counted from 1, is the `q`-quantile: `q * total`, rounded up.
fn nearest_rank(q: f64, total: u64) -> u64 {
    // What the product is off by does not reach the next rank.
    let exact = q * total as f64 * (1.0 - 4.0 * f64::EPSILON);
    (exact.ceil() as u64).clamp(1, total)
}

/// The shortest and the longest round trip of a bucket; the last one has no upper edge.
const fn edges_us(bucket: usize) -> (u64, u64) {
    let low = if bucket == 0 { 1 } else { FIRST_EDGE_US << (bucket - 1) };
    let high = if bucket == RTT_BUCKETS - 1 { u32::MAX as u64 } else { (FIRST_EDGE_US << bucket) - 1 };
    (low, high)
}

/// The bucket of a round trip.
const fn bucket_of(us: u32) -> usize {
    let above = (us as u64 / FIRST_EDGE_US).checked_ilog2();
    match above {
        None => 0,
        Some(doublings) if (doublings as usize) < RTT_BUCKETS - 1 => doublings as usize + 1,
        Some(_) => RTT_BUCKETS - 1,
    }
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

    /// The definition, sample by sample.
    fn smallest_not_exceeded_by(sorted: &[u32], q: f64) -> u32 {
        let reaches = |us: &&u32| {
            let part = sorted.iter().filter(|other| other <= us).count() as f64 / sorted.len() as f64;
            part >= q - 1e-12
        };
        *sorted.iter().find(reaches).expect("the last one is reached")
    }

    #[test]
    fn of_few_samples_a_quantile_is_one_of_them() {
        let flow = |us| Rtt::of(&kept(&[us]));
        let mut both = flow(2_037);
        both.merge(&flow(149_096));
        assert_eq!(QUANTILES.map(|q| both.quantile_ms(q)), [Some(2.037), Some(149.096), Some(149.096)]);
        // Of 20 samples the 95 % quantile is the 19th, of 100 the 99 % quantile the 99th: no rounding lifts them.
        assert_eq!((nearest_rank(0.95, 20), nearest_rank(0.99, 100), nearest_rank(0.5, 1)), (19, 99, 1));
        assert_eq!((nearest_rank(0.95, 21), nearest_rank(0.99, 101), nearest_rank(0.0, 9)), (20, 100, 1));
    }

    #[test]
    fn a_quantile_of_all_lies_between_those_of_the_parts() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..3000 {
            let sizes = [next(12), next(300)];
            let spread = 3 + next(60_000);
            let samples = sizes.map(|many| (0..many).map(|_| (20 + next(spread)) as u32).collect::<Vec<_>>());
            let parts = samples.each_ref().map(|samples| {
                let flows = samples.chunks(3).map(|flow| Rtt::of(&kept(flow)));
                flows.fold(Rtt::default(), |mut all, flow| {
                    all.merge(&flow);
                    all
                })
            });
            let mut all = parts[0];
            all.merge(&parts[1]);
            let mut before = all.min_ms();
            for q in QUANTILES {
                let of_parts: Vec<f64> = parts.iter().filter_map(|part| part.quantile_ms(q)).collect();
                let whole = all.quantile_of_all_ms(q, &parts);
                let Some(whole) = whole else { continue };
                let (least, most) =
                    (of_parts.iter().copied().fold(f64::MAX, f64::min), of_parts.iter().copied().fold(0.0, f64::max));
                assert!(least <= whole && whole <= most, "{q}: {of_parts:?} {whole}");
                assert!(before <= Some(whole) && Some(whole) <= all.max_ms());
                before = Some(whole);
                // Without knowing the parts: in a bucket between theirs.
                let bucket = |ms: f64| bucket_of((ms * 1000.0) as u32);
                let alone = bucket(all.quantile_ms(q).expect("samples"));
                assert!((bucket(least)..=bucket(most)).contains(&alone), "{q}: {of_parts:?}");
            }
        }
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
            let [p50, p95, p99] = QUANTILES.map(|q| whole.quantile_ms(q).expect("samples"));
            let (min, max) = (whole.min_ms().expect("samples"), whole.max_ms().expect("samples"));
            assert!(min <= p50 && p50 <= p95 && p95 <= p99 && p99 <= max, "{all:?}: {min} {p50} {p95} {p99} {max}");
            let rank = |q: f64| f64::from(smallest_not_exceeded_by(&all, q));
            for (estimate, exact) in
                [(min, rank(0.0)), (p50, rank(0.5)), (p95, rank(0.95)), (p99, rank(0.99)), (max, rank(1.0))]
            {
                let ratio = estimate * 1000.0 / exact;
                let in_last = exact >= edges_us(RTT_BUCKETS - 1).0 as f64;
                assert!(in_last || (0.5..=2.0).contains(&ratio), "{all:?}: {estimate} for {exact}");
            }
            assert_eq!(whole.count, all.len() as u64);
        }
    }
}
