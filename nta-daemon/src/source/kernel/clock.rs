//! How the kernel's jiffies, its exact clock and the wall clock relate.
//!
//! The programs stamp packets with jiffies, which cost nothing to read. Jiffies advance by whole ticks of the exact
//! clock, so one offset, found once, turns them into nanoseconds of that clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nta_core::domain::Timestamp;

/// The values of `CONFIG_HZ` that kernels are built with.
const TICK_RATES: [u64; 6] = [100, 250, 300, 500, 1000, 1024];
/// How long to watch the counter: 30 ticks at 300 Hz against 25 at 250.
const WATCH: Duration = Duration::from_millis(100);

/// The relation of jiffies to the exact clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jiffies {
    /// Nanoseconds of a tick, rounded as the kernel does.
    pub(super) tick_ns: u64,
    /// What to subtract from `jiffies * tick_ns`: the smallest value for which the coarse time never runs ahead.
    pub(super) origin_ns: u64,
}

impl Jiffies {
    /// The tick at a time of the exact clock.
    pub(super) const fn at(&self, ns: u64) -> u64 {
        ns.wrapping_add(self.origin_ns) / self.tick_ns
    }
}

/// Reads both clocks through `read` (jiffies, exact nanoseconds) until their relation is clear.
pub(super) fn calibrate<E>(mut read: impl FnMut() -> Result<[u64; 2], E>) -> Result<Jiffies, E> {
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

/// The wall clock counts as set when it is off by more than this. A clock that is adjusted smoothly takes the monotonic one
/// along.
const STEP_NS: u64 = 100_000_000;
/// Two clocks are read at once when no more than this lies between.
const AT_ONCE_NS: u64 = 1_000_000;
/// How often that is tried.
const TRIES: usize = 8;

/// The time of a live run: it begins as the wall clock's, goes on by `CLOCK_MONOTONIC`, which is what `bpf_ktime_get_ns`
/// reads, and never jumps.
#[derive(Debug)]
pub struct LiveClock {
    /// What turns the monotonic clock into it.
    offset_ns: u64,
    /// How far the wall clock is ahead of it.
    ahead_ns: i64,
}

impl LiveClock {
    /// Begins now.
    pub fn begin() -> Self {
        Self { offset_ns: wall_offset_ns(), ahead_ns: 0 }
    }

    /// Goes on with the time of a run before, where the wall clock agrees with it.
    pub fn go_on_from(&mut self, offset_ns: u64) {
        if self.offset_ns.abs_diff(offset_ns) < STEP_NS {
            self.offset_ns = offset_ns;
        }
    }

    /// What turns the kernel's clock into it.
    pub const fn offset_ns(&self) -> u64 {
        self.offset_ns
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.at(monotonic_ns())
    }

    /// A time of the kernel's clock.
    pub const fn at(&self, kernel_ns: u64) -> Timestamp {
        Timestamp::from_nanos(kernel_ns.wrapping_add(self.offset_ns))
    }

    /// How far the wall clock was ahead of it at the last look.
    pub const fn ahead_ns(&self) -> i64 {
        self.ahead_ns
    }

    /// By how much the wall clock was set since the last call, in nanoseconds, if it was.
    pub fn step(&mut self) -> Option<i64> {
        self.stepped_to(wall_offset_ns())
    }

    fn stepped_to(&mut self, wall_offset_ns: u64) -> Option<i64> {
        let ahead_ns = wall_offset_ns.wrapping_sub(self.offset_ns) as i64;
        let step_ns = ahead_ns.saturating_sub(self.ahead_ns);
        if step_ns.unsigned_abs() < STEP_NS {
            return None;
        }
        self.ahead_ns = ahead_ns;
        Some(step_ns)
    }
}

/// What to add to the monotonic clock to get the wall clock, as read with as little between them as can be had.
fn wall_offset_ns() -> u64 {
    let read = || {
        let before = monotonic_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let took = monotonic_ns() - before;
        (took, wall.wrapping_sub(before + took / 2))
    };
    let mut best = read();
    for _ in 1..TRIES {
        if best.0 <= AT_ONCE_NS {
            break;
        }
        best = best.min(read());
    }
    best.1
}

/// `CLOCK_MONOTONIC`.
pub(super) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_once_and_small_steps_when_they_add_up() {
        let mut clock = LiveClock { offset_ns: 1 << 60, ahead_ns: 0 };
        let now = |ahead_ms: i64| (1_u64 << 60).wrapping_add_signed(ahead_ms * 1_000_000);
        let steps = [0, 60, 120, 130, -59_880, -59_880, -59_800, 31_536_000_000].map(|ms| clock.stepped_to(now(ms)));
        let ms = |ms: i64| Some(ms * 1_000_000);
        assert_eq!(steps, [None, None, ms(120), None, ms(-60_000), None, None, ms(31_536_059_880)]);
    }

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
