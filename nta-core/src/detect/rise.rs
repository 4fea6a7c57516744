//! When a value is much above what is usual: the rule that the baseline detectors share.

use super::View;
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
    /// Takes a window and what was too much in it; hands that back when it is time to report it.
    pub(super) fn take<T>(
        &mut self,
        snapshot: &Snapshot,
        found: Option<T>,
        measure: impl Fn(&T) -> &Measure,
        least: u32,
    ) -> Option<T> {
        // The window after one that was closed late begins before that one's end.
        let (start, end) = (snapshot.window.start, snapshot.window.end);
        let follows = self.last_end.is_some_and(|last| start <= last && end > last);
        self.last_end = Some(end);
        self.windows = match &found {
            Some(_) if follows => self.windows + 1,
            found => u32::from(found.is_some()),
        };
        found.filter(|found| self.windows >= least || measure(found).magnitude() >= 2.0)
    }
}

/// Holds a metric against its baseline, and against a limit beyond which it is too much whatever is usual.
pub(super) fn beyond(view: &View<'_>, metric: Metric, limits: &Limits, limit: Option<f64>) -> Option<Measure> {
    let observed = metric.of(view.snapshot)?;
    let expected = view.expect(metric);
    above(metric, observed, expected, limits).or_else(|| {
        let threshold = limit.filter(|limit| observed > *limit)?;
        let expected = expected.map(|expected| expected.median);
        Some(Measure { name: metric.word(), unit: metric.unit(), observed, expected, threshold })
    })
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
