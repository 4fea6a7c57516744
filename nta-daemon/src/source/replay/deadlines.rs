//! When the user engine has to look at which flow again.

use std::collections::BTreeMap;

use nta_core::domain::Timestamp;

/// When which entries have to be looked at again: lists by intervals of time. Looking at every entry every ten seconds
/// took a quarter of a replay.
#[derive(Default)]
pub(super) struct Deadlines {
    intervals: BTreeMap<u64, Vec<u32>>,
}

/// Of an entry that is in no list.
pub(super) const UNLISTED: u64 = u64::MAX;

impl Deadlines {
    /// Width of an interval: how often the pipeline asks.
    const INTERVAL_NS: u64 = 10_000_000_000;

    pub(super) const fn interval(deadline: Timestamp) -> u64 {
        deadline.as_nanos() / Self::INTERVAL_NS
    }

    pub(super) fn list(&mut self, interval: u64, slot: u32) {
        self.intervals.entry(interval).or_default().push(slot);
    }

    /// Takes the lists of all intervals that have begun.
    pub(super) fn due(&mut self, now: Timestamp) -> BTreeMap<u64, Vec<u32>> {
        let later = self.intervals.split_off(&(Self::interval(now) + 1));
        std::mem::replace(&mut self.intervals, later)
    }
}
