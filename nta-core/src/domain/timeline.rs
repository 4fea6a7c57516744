//! Live time and the wall clock: windows, flows and alerts live on a time that never jumps, and are labelled by what the
//! wall clock said then.

use std::collections::VecDeque;

use super::Timestamp;

/// Steps that are remembered. What began before the oldest of them is labelled as if it had begun right before it.
const MAX_STEPS: usize = 64;

/// What the wall clock said at each time of a live run, whose own time begins as the wall clock's and never jumps.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Since when the wall clock has been ahead by how many nanoseconds (negative: behind), oldest first.
    steps: VecDeque<(Timestamp, i64)>,
    /// How far it was ahead before the oldest step.
    before_ns: i64,
}

impl Timeline {
    /// From `time` on, the wall clock is ahead by so many nanoseconds. Not by how many more than before: a step from one end of
    /// time to the other is more than a number of nanoseconds can hold, and what it cannot hold would be missing ever after.
    pub fn set(&mut self, time: Timestamp, ahead_ns: i64) {
        match self.steps.back_mut() {
            Some(last) if last.0 >= time => last.1 = ahead_ns,
            _ => self.steps.push_back((time, ahead_ns)),
        }
        if self.steps.len() > MAX_STEPS
            && let Some((_, ahead_ns)) = self.steps.pop_front()
        {
            self.before_ns = ahead_ns;
        }
    }

    /// Whether the wall clock was ever set.
    pub fn was_set(&self) -> bool {
        !self.steps.is_empty()
    }

    /// How far the wall clock was ahead at `time`, in nanoseconds; negative when it was behind.
    pub fn ahead_ns(&self, time: Timestamp) -> i64 {
        self.last(|since| since <= time)
    }

    /// What the wall clock said at `time`, as the first instant of something or an instant within it.
    pub fn label(&self, time: Timestamp) -> Timestamp {
        time.offset(self.last(|since| since <= time))
    }

    /// What the wall clock said at `time`, as the first instant behind something: a step at that very time comes after it.
    pub fn label_end(&self, time: Timestamp) -> Timestamp {
        time.offset(self.last(|since| since < time))
    }

    fn last(&self, holds: impl Fn(Timestamp) -> bool) -> i64 {
        self.steps.iter().rev().find(|(since, _)| holds(*since)).map_or(self.before_ns, |(_, ahead_ns)| *ahead_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_before_a_step_keeps_its_label() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.label(at(100)), at(100));
        timeline.set(at(105), -60_000_000_000);
        timeline.set(at(200), -50_000_000_000);
        // The window from 100 to 105 ends before the step, the one from 105 on begins with it.
        assert_eq!((timeline.label(at(100)), timeline.label_end(at(105))), (at(100), at(105)));
        assert_eq!((timeline.label(at(105)), timeline.label_end(at(110))), (at(45), at(50)));
        assert_eq!(timeline.label(at(200)), at(150));
    }

    #[test]
    fn labels_follow_a_clock_that_was_at_both_ends_of_time() {
        const NOW_S: u64 = 1_795_000_000;
        let mut timeline = Timeline::default();
        let ahead = |wall_s: u64| (wall_s as i64 - NOW_S as i64) * 1_000_000_000;
        for (second, wall_s) in [(10, 30_000_000), (20, 9_364_000_000), (30, NOW_S)] {
            timeline.set(at(NOW_S + second), ahead(wall_s));
            assert_eq!(timeline.label(at(NOW_S + second)), at(wall_s + second), "the wall clock says {wall_s} s");
        }
        assert_eq!(timeline.label(at(NOW_S + 40)), at(NOW_S + 40));
    }

    #[test]
    fn a_clock_that_is_set_again_and_again_needs_no_more_memory() {
        let mut timeline = Timeline::default();
        (1..=1000).for_each(|second| timeline.set(at(second * 10), second as i64 * 1_000_000_000));
        assert_eq!(timeline.steps.len(), MAX_STEPS);
        assert_eq!(timeline.label(at(10_000)), at(11_000));
        assert_eq!(timeline.label(at(1)), at(1 + 1000 - MAX_STEPS as u64), "as right before the oldest that is known");
    }
}
