//! How packets lie in time: counts by steps that get longer as the capture does.

use nta_core::domain::Timestamp;

/// Steps that are kept. All growth joins 2 to 12 of them, so that at least a twelfth is in use.
const MOST_STEPS: usize = 1200;

/// Lengths of a step in nanoseconds; each is a multiple of the one before.
const LENGTHS: [u64; 17] = {
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;
    const H: u64 = 3_600 * S;
    let short = [MS, 2 * MS, 10 * MS, 20 * MS, 100 * MS, 200 * MS, S];
    let long = [2 * S, 10 * S, 60 * S, 300 * S, 600 * S, H, 6 * H, 24 * H, 168 * H, 8_736 * H];
    let mut all = [0; 17];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < short.len() { short[at] } else { long[at - short.len()] };
        at += 1;
    }
    all
};

/// Packets and their bytes over time.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Which of [`LENGTHS`].
    length: usize,
    /// Number of the first step since the Unix epoch.
    first: u64,
    steps: Vec<Step>,
    /// The step of the last packet: its first instant, its place.
    current: (u64, usize),
}

/// What came within a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Packets.
    pub packets: u64,
    /// Their length on the wire.
    pub bytes: u64,
}

impl Timeline {
    /// Counts a packet.
    #[inline]
    pub fn add(&mut self, time: Timestamp, wire_len: u32) {
        let time = time.as_nanos();
        let (begin, at) = self.current;
        let at = if time.wrapping_sub(begin) < LENGTHS[self.length] && !self.steps.is_empty() {
            at
        } else {
            self.find(time)
        };
        let step = &mut self.steps[at];
        step.packets += 1;
        step.bytes += u64::from(wire_len);
    }

    /// Length of a step in nanoseconds.
    pub const fn step_ns(&self) -> u64 {
        LENGTHS[self.length]
    }

    /// First instant of the first step.
    pub const fn start(&self) -> Timestamp {
        Timestamp::from_nanos(self.first.saturating_mul(self.step_ns()))
    }

    /// The steps, from the first one with a packet to the last one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Joined to at most so many columns: steps in a column, and the columns.
    pub fn columns(&self, most: usize) -> (usize, Vec<Step>) {
        let each = self.steps.len().div_ceil(most.max(1)).max(1);
        (each, self.steps.chunks(each).map(|steps| sum(steps.iter())).collect())
    }

    #[cold]
    fn find(&mut self, time: u64) -> usize {
        loop {
            let number = time / LENGTHS[self.length];
            if self.steps.is_empty() {
                self.first = number;
            }
            let last = self.first + (self.steps.len() as u64).max(1) - 1;
            let needed = last.max(number) - self.first.min(number) + 1;
            if needed <= MOST_STEPS as u64 || self.length + 1 == LENGTHS.len() {
                let before = self.first.saturating_sub(number) as usize;
                self.steps.splice(0..0, std::iter::repeat_n(Step::default(), before));
                self.first = self.first.min(number);
                let at = (number - self.first) as usize;
                if at >= self.steps.len() {
                    self.steps.resize(at + 1, Step::default());
                }
                self.current = (number * LENGTHS[self.length], at);
                return at;
            }
            self.join();
        }
    }

    /// Goes on with the next longer step.
    fn join(&mut self) {
        let factor = LENGTHS[self.length + 1] / LENGTHS[self.length];
        let mut joined: Vec<Step> = Vec::with_capacity(MOST_STEPS);
        let first = self.first / factor;
        for (number, step) in (self.first..).zip(&self.steps) {
            let at = (number / factor - first) as usize;
            if at == joined.len() {
                joined.push(Step::default());
            }
            joined[at] = sum([&joined[at], step].into_iter());
        }
        (self.length, self.first, self.steps) = (self.length + 1, first, joined);
    }
}

fn sum<'a>(steps: impl Iterator<Item = &'a Step>) -> Step {
    steps.fold(Step::default(), |sum, step| Step { packets: sum.packets + step.packets, bytes: sum.bytes + step.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Timeline {
        let mut timeline = Timeline::default();
        times.into_iter().for_each(|time| timeline.add(Timestamp::from_nanos(time), 100));
        timeline
    }

    #[test]
    fn each_length_is_a_multiple_of_the_one_before() {
        assert!(LENGTHS.windows(2).all(|pair| pair[0] < pair[1] && pair[1] % pair[0] == 0), "{LENGTHS:?}");
        // All time that a number of nanoseconds can hold.
        assert!(u64::MAX / LENGTHS[LENGTHS.len() - 1] < MOST_STEPS as u64);
    }

    #[test]
    fn every_packet_is_in_the_step_of_its_time_however_long_the_capture_is() {
        const S: u64 = 1_000_000_000;
        for (seconds, step_ns) in [(1, 1_000_000), (10, 10_000_000), (3_600, 10 * S), (86_400 * 365, 3_600 * 24 * S)] {
            let base = 1_700_000_000 * S;
            // In an order in which time goes back as well.
            let times: Vec<u64> = (0..997).map(|n| base + n * 31 % 997 * (seconds * S / 997)).collect();
            let timeline = of(times.iter().copied());
            assert_eq!(timeline.step_ns(), step_ns, "{seconds} s");
            for (at, step) in timeline.steps().iter().enumerate() {
                let begin = timeline.start().as_nanos() + at as u64 * step_ns;
                let within = times.iter().filter(|time| **time >= begin && **time - begin < step_ns).count() as u64;
                assert_eq!((step.packets, step.bytes), (within, within * 100));
            }
            let (each, columns) = timeline.columns(60);
            assert!(columns.len() <= 60 && columns.len() * each >= timeline.steps().len());
            assert_eq!(columns.iter().map(|column| column.packets).sum::<u64>(), 997);
        }
    }

    #[test]
    fn the_ends_of_time_fit() {
        let timeline = of([u64::MAX, 0, 5]);
        assert_eq!(timeline.steps().iter().map(|step| step.packets).sum::<u64>(), 3);
        assert!(timeline.steps().len() <= MOST_STEPS);
        assert_eq!(of([]).columns(10), (1, Vec::new()));
    }
}
