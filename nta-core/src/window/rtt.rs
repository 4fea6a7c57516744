//! Round-trip quantiles from the packet path's histogram.

use nta_common::tcp::RTT_BUCKETS;

/// Upper edge of the first bucket in microseconds.
const FIRST_EDGE_US: f64 = 128.0;

/// The `q`-quantile (0 to 1) in milliseconds, interpolated geometrically inside its bucket; `None` without samples.
///
/// Buckets double in width, so the error is at most a factor of two and typically a tenth of that.
pub(super) fn quantile_ms(histogram: &[u64; RTT_BUCKETS], q: f64) -> Option<f64> {
    let total: u64 = histogram.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0_u64;
    for (i, &count) in histogram.iter().enumerate() {
        let reached = below + count;
        if count > 0 && reached as f64 >= rank {
            let share = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
            let high = FIRST_EDGE_US * 2_f64.powi(i32::try_from(i).unwrap_or(i32::MAX));
            return Some(high / 2.0 * 2_f64.powf(share) / 1000.0);
        }
        below = reached;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_in_the_bucket_that_holds_the_rank() {
        let mut histogram = [0; RTT_BUCKETS];
        assert_eq!(quantile_ms(&histogram, 0.5), None);
        histogram[3] = 90; // 512 µs to 1024 µs
        histogram[10] = 10; // 65 ms to 131 ms
        let median = quantile_ms(&histogram, 0.5).expect("samples");
        assert!((0.512..1.024).contains(&median), "{median}");
        let p99 = quantile_ms(&histogram, 0.99).expect("samples");
        assert!((65.0..131.1).contains(&p99), "{p99}");
    }
}
