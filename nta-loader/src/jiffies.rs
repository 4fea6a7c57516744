//! How the kernel's jiffies and its exact clock relate.
//!
//! The programs stamp packets with jiffies, which cost nothing to read. Jiffies advance by whole ticks of the exact
//! clock, so one offset, found once, turns them into nanoseconds of that clock.

use std::time::{Duration, Instant};

/// The values of `CONFIG_HZ` that kernels are built with.
const TICK_RATES: [u64; 6] = [100, 250, 300, 500, 1000, 1024];
/// How long to watch the counter: 30 ticks at 300 Hz against 25 at 250.
const WATCH: Duration = Duration::from_millis(100);

/// The relation of jiffies to the exact clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jiffies {
    /// Nanoseconds of a tick, rounded as the kernel does.
    pub(crate) tick_ns: u64,
    /// What to subtract from `jiffies * tick_ns`: the smallest value for which the coarse time never runs ahead.
    pub(crate) origin_ns: u64,
}

impl Jiffies {
    /// The tick at a time of the exact clock.
    pub(crate) const fn at(&self, ns: u64) -> u64 {
        ns.wrapping_add(self.origin_ns) / self.tick_ns
    }
}

/// Reads both clocks through `read` (jiffies, exact nanoseconds) until their relation is clear.
pub(crate) fn calibrate<E>(mut read: impl FnMut() -> Result<[u64; 2], E>) -> Result<Jiffies, E> {
    let began = Instant::now();
    let first = read()?;
    let mut samples = vec![first];
    let last = loop {
        std::thread::sleep(Duration::from_micros(200));
        let sample = read()?;
        samples.push(sample);
        if began.elapsed() >= WATCH {
            break sample;
        }
    };
    let rate = (last[0] - first[0]) as f64 / ((last[1] - first[1]).max(1) as f64 / 1e9);
    let nearest = |a: &u64, b: &u64| (*a as f64 - rate).abs().total_cmp(&(*b as f64 - rate).abs());
    let hz = TICK_RATES.into_iter().min_by(nearest).unwrap_or(250);
    let tick_ns = (1_000_000_000 + hz / 2) / hz;
    let ahead = |[jiffies, exact]: [u64; 2]| jiffies.wrapping_mul(tick_ns).wrapping_sub(exact);
    // Jiffies start near -300 s, so the product may wrap; the differences are compared around the first one.
    let base = ahead(first);
    let most = samples.into_iter().map(|sample| ahead(sample).wrapping_sub(base) as i64).max().unwrap_or(0);
    Ok(Jiffies { tick_ns, origin_ns: base.wrapping_add(most as u64) })
}

/// `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rate_and_offset_of_a_made_up_kernel() {
        for hz in [100_u64, 250, 300, 1000] {
            let tick = (1_000_000_000 + hz / 2) / hz;
            let began = Instant::now();
            let start_jiffies = u64::from(u32::MAX) - 300 * hz;
            let read = || {
                let exact = 77_000_000_000 + began.elapsed().as_nanos() as u64;
                Ok::<_, ()>([start_jiffies + exact / tick, exact])
            };
            let found = calibrate(read).expect("no error");
            assert_eq!(found.tick_ns, tick);
            let exact = 500_000_000_000_u64;
            let coarse = (start_jiffies + exact / tick).wrapping_mul(tick).wrapping_sub(found.origin_ns);
            let lag = exact as i64 - coarse as i64;
            assert!((-1_000_000..2 * tick as i64).contains(&lag), "{hz} Hz: {lag} ns");
        }
    }
}
