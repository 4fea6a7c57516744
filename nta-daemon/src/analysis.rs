//! What happens to a closed window: merged into the longer ones, judged by every detector, its findings made alerts.
//! Pure, like everything below it: time comes with the windows.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::baseline::{BaselineConfig, Baselines};
use crate::detect::{self, DetectConfig, Detector, Hygiene, View};
use crate::domain::{Alert, AlertChange, DetectionCounts, Finding};
use crate::model::Models;
use crate::window::{self, Cascade, Closed, Part, Snapshot, Span, one_by_one};

/// A window with fewer flows is judged before a second thread would have begun.
const FLOWS_FOR_TWO: usize = 1_000;
/// Detectors that take longest where there are many flows: they begin first, so that no thread waits for one of them.
const LONG: [&str; 4] = ["beaconing", "port_scan", "slowloris", "slow_scan"];

/// A window of any span with what was found in it, in the order in which it is to be told.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The window, without its flows.
    pub snapshot: Snapshot,
    /// Alerts that were raised, go on or are over with it.
    pub alerts: Vec<(AlertChange, Alert)>,
}

/// Longer windows, detectors and alerts over one stream of base windows.
pub struct Analysis {
    medium: Cascade,
    long: Cascade,
    detectors: Vec<Box<dyn Detector>>,
    hygiene: Hygiene,
    baselines: Baselines,
    /// Whether a second thread may help with a large window.
    may_share: bool,
}

impl Analysis {
    /// Over base windows of `base_ns`.
    pub fn new(base_ns: u64, config: &DetectConfig, baseline: &BaselineConfig, models: &Models) -> Self {
        let mut detectors = detect::detectors(config);
        detectors.extend(detect::learned(config, models));
        Self {
            medium: Cascade::new(Span::Medium, base_ns),
            long: Cascade::new(Span::Long, base_ns),
            detectors,
            hygiene: Hygiene::new(config.hygiene.clone()),
            baselines: Baselines::new(baseline.clone()),
            may_share: std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1),
        }
    }

    /// Keeps to one thread: others are busy with the packets meanwhile.
    pub const fn alone(&mut self) {
        self.may_share = false;
    }

    /// What became of the findings so far.
    pub fn counts(&self) -> DetectionCounts {
        let evicted = self.detectors.iter().map(|detector| detector.evicted()).sum();
        DetectionCounts { evicted, ..self.hygiene.counts() }
    }

    /// What is usual so far.
    pub const fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// What is usual, to be replaced by what was learned before.
    pub const fn baselines_mut(&mut self) -> &mut Baselines {
        &mut self.baselines
    }

    /// Judges a base window, and the longer ones that it completes.
    pub fn close(&mut self, closed: Closed) -> Vec<Judged> {
        let shared = self.may_share && closed.flows() >= FLOWS_FOR_TWO;
        let base = closed.complete(if shared { fill_both } else { one_by_one });
        let (found, medium) = self.inspect_and_merge(&base);
        let mut long = Vec::new();
        for closed in &medium {
            self.long.add(closed, &mut |closed| long.push(closed));
        }
        // In the order of their ends: one that a silence closed late comes before this window.
        let start = base.window.start;
        let (before, with): (Vec<_>, Vec<_>) =
            medium.into_iter().chain(long).partition(|closed| closed.window.end <= start);
        let mut judged: Vec<Judged> = before.into_iter().map(|closed| self.judge(closed)).collect();
        judged.push(self.conclude(base, found));
        judged.extend(with.into_iter().map(|closed| self.judge(closed)));
        judged
    }

    /// Has the detectors of base windows look at one, and merges it into the longer window, whose end it may be. With
    /// many flows two threads share the work, and find the same.
    fn inspect_and_merge(&mut self, base: &Snapshot) -> (Vec<Finding>, Vec<Snapshot>) {
        let Self { medium, detectors, baselines, may_share, .. } = self;
        let view = View { snapshot: base, baselines };
        let mut merge = || {
            let mut closed = Vec::new();
            medium.add(base, &mut |snapshot| closed.push(snapshot));
            closed
        };
        if !*may_share || base.flows.len() < FLOWS_FOR_TWO {
            return (inspect(detectors, &view), merge());
        }
        // Each takes the next detector as soon as it has time.
        let mut left: Vec<_> = detectors.iter_mut().enumerate().collect();
        left.sort_by_key(|(_, detector)| LONG.contains(&detector.name()));
        let left = Mutex::new(left);
        let work = || {
            let mut found = Vec::new();
            while let Some((at, detector)) = left.lock().ok().and_then(|mut left| left.pop()) {
                found.push((at, inspect(std::slice::from_mut(detector), &view)));
            }
            found
        };
        let (closed, mut found) = std::thread::scope(|scope| {
            let other = scope.spawn(work);
            let closed = merge();
            let mut found = work();
            match other.join() {
                Ok(others) => found.extend(others),
                // A detector's panic is what it would be on one thread.
                Err(panic) => std::panic::resume_unwind(panic),
            }
            (closed, found)
        });
        found.sort_unstable_by_key(|(at, _)| *at);
        (found.into_iter().flat_map(|(_, findings)| findings).collect(), closed)
    }

    /// Judges what is still open: the end of a capture, or of the daemon.
    pub fn finish(&mut self) -> Vec<Judged> {
        let mut open = Vec::new();
        self.medium.flush(&mut |closed| open.push(closed));
        let mut long = Vec::new();
        for closed in &open {
            self.long.add(closed, &mut |closed| long.push(closed));
        }
        self.long.flush(&mut |closed| long.push(closed));
        open.into_iter().chain(long).map(|closed| self.judge(closed)).collect()
    }

    fn judge(&mut self, snapshot: Snapshot) -> Judged {
        let findings = inspect(&mut self.detectors, &View { snapshot: &snapshot, baselines: &self.baselines });
        self.conclude(snapshot, findings)
    }

    fn conclude(&mut self, mut snapshot: Snapshot, mut findings: Vec<Finding>) -> Judged {
        // Detectors go through hosts in no order; what is told must not depend on it.
        findings.sort_by_key(|finding| (finding.kind, finding.source, finding.destination, finding.port));
        let mut alerts = Vec::new();
        self.hygiene.judge(findings, snapshot.window.end, &mut |change, alert| alerts.push((change, alert.clone())));
        if snapshot.span == Span::Medium {
            self.learn(&snapshot);
        }
        // Nobody asks for them any more, and they are most of its memory.
        window::give_back(std::mem::take(&mut snapshot.flows));
        Judged { snapshot, alerts }
    }

    /// What is under alert is not usual, unless it has gone on for so long that it has become so.
    fn learn(&mut self, snapshot: &Snapshot) {
        let accept_after_ns = self.baselines.accept_after_ns();
        let fresh = |alert: &&Alert| snapshot.window.end.since(alert.raised) < accept_after_ns;
        let open: Vec<&Alert> = self.hygiene.open().filter(fresh).collect();
        let kinds: HashSet<_> = open.iter().map(|alert| alert.key.kind).collect();
        let hosts: HashSet<_> =
            open.iter().flat_map(|alert| [alert.key.source.host(), alert.key.destination.host()]).flatten().collect();
        self.baselines.learn(snapshot, &|metric, host| {
            metric.is_some_and(|metric| kinds.iter().any(|kind| metric.is_disturbed_by(*kind)))
                || host.is_some_and(|host| hosts.contains(&host))
        });
    }
}

/// Fills both parts of the hosts at once.
fn fill_both([one, other]: [Part<'_>; 2]) {
    std::thread::scope(|scope| {
        scope.spawn(|| other.fill());
        one.fill();
    });
}

/// What the detectors of a window's span say about it.
fn inspect(detectors: &mut [Box<dyn Detector>], view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for detector in detectors.iter_mut().filter(|detector| detector.judges(view.snapshot.span)) {
        detector.inspect(view, &mut findings);
    }
    findings
}
