//! When a value is much above what is usual: the rule that the baseline detectors share.

use crate::baseline::{Expected, Metric};
use crate::domain::{Contributor, Measure, Timestamp};
use crate::window::{HostStats, Snapshot};

/// From where on a value is too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Times the usual value.
    pub(super) factor: f64,
    /// Usual deviations above it.
    pub(super) sigmas: f64,
    /// Never below this.
    pub(super) floor: f64,
}

impl Limits {
    /// The threshold for what is expected.
    pub(super) fn threshold(&self, expected: &Expected) -> f64 {
        (expected.median * self.factor).max(expected.median + expected.sigma * self.sigmas).max(self.floor)
    }
}

/// Windows in a row that were too much. One window may be chance; twice the threshold is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streak {
    windows: u32,
    last_end: Option<Timestamp>,
}

impl Streak {
    /// Takes a window; answers whether it is time to tell.
    pub(super) fn take(&mut self, snapshot: &Snapshot, measure: Option<&Measure>, least: u32) -> bool {
        // The window after one that was closed late begins before that one's end.
        let (start, end) = (snapshot.window.start, snapshot.window.end);
        let follows = self.last_end.is_some_and(|last| start <= last && end > last);
        self.last_end = Some(snapshot.window.end);
        let Some(measure) = measure else {
            self.windows = 0;
            return false;
        };
        self.windows = if follows { self.windows + 1 } else { 1 };
        self.windows >= least || measure.magnitude() >= 2.0
    }
}

/// Holds a metric against its baseline; `None` when it is within limits or nothing is known yet.
pub(super) fn above(metric: Metric, observed: f64, expected: Option<Expected>, limits: &Limits) -> Option<Measure> {
    let expected = expected?;
    let threshold = limits.threshold(&expected);
    (observed > threshold).then_some(Measure {
        name: metric.word(),
        unit: metric.unit(),
        observed,
        expected: Some(expected.median),
        threshold,
    })
}

/// The hosts with the largest values, largest first; equal ones by address.
pub(super) fn largest(snapshot: &Snapshot, most: usize, value: impl Fn(&HostStats) -> f64) -> Vec<Contributor> {
    let mut hosts: Vec<(f64, &HostStats)> =
        snapshot.hosts.iter().map(|host| (value(host), host)).filter(|(amount, _)| *amount > 0.0).collect();
    let order =
        |a: &(f64, &HostStats), b: &(f64, &HostStats)| b.0.total_cmp(&a.0).then_with(|| a.1.address.cmp(&b.1.address));
    if hosts.len() > most {
        hosts.select_nth_unstable_by(most, order);
        hosts.truncate(most);
    }
    hosts.sort_unstable_by(order);
    hosts.into_iter().map(|(amount, host)| Contributor { what: host.address.to_string(), amount }).collect()
}
