//! The time of a live run: how the monotonic clock and the wall clock relate.

use std::time::{SystemTime, UNIX_EPOCH};

use nta_core::domain::Timestamp;
use nta_loader::monotonic_ns;

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
}
