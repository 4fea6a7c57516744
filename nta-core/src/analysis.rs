//! What happens to a closed window: merged into the longer ones, judged by every detector, its findings made alerts.
//! Pure, like everything below it: time comes with the windows.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::alerting::Alerter;
use crate::baseline::{BaselineConfig, Baselines};
use crate::detect::{self, DetectConfig, Detector, View};
use crate::domain::{Alert, AlertChange, DetectionCounts, Finding};
use crate::model::Models;
use crate::window::{Both, Cascade, Closed, Flows, Run, See, Snapshot, Span};

/// A window with fewer flows is judged before a second thread would have begun.
const FLOWS_FOR_TWO: usize = 1_000;
/// Detectors that take flows for as long as all others together, where there are many: another thread is theirs.
const HALF: [&str; 2] = ["beaconing", "data_exfiltration"];
/// Detectors that judge longest where there are many flows, the longest first: they begin, so that no thread waits for one.
const LONG: [&str; 4] = ["port_scan", "distributed_flood", "slow_scan", "slowloris"];

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
    hygiene: Alerter,
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
            hygiene: Alerter::new(config.hygiene.clone()),
            baselines: Baselines::new(baseline.clone()),
            may_share: false,
        }
    }

    /// Lets a second thread help with large windows, where the machine has `processors` for it and no other thread needs them
    /// meanwhile.
    #[must_use]
    pub const fn with_processors(mut self, processors: usize) -> Self {
        self.may_share = processors > 1;
        self
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
        let threads = Threads { two: self.may_share && closed.flows() >= FLOWS_FOR_TWO };
        let base = self.complete(closed, threads);
        let mut medium = Vec::new();
        self.medium.add(&base, &threads, &mut |closed| medium.push(closed));
        let mut long = Vec::new();
        for closed in &medium {
            self.long.add(closed, &threads, &mut |closed| long.push(closed));
        }
        let found = self.inspect(&base, threads);
        // In the order of their ends: one that a silence closed late comes before this window.
        let start = base.window.start;
        let (before, with): (Vec<_>, Vec<_>) =
            medium.into_iter().chain(long).partition(|closed| closed.window.end <= start);
        let mut judged: Vec<Judged> = before.into_iter().map(|closed| self.judge(closed)).collect();
        judged.push(self.conclude(base, found));
        judged.extend(with.into_iter().map(|closed| self.judge(closed)));
        judged
    }

    /// Completes a base window, and has the detectors of base windows take its flows. With many of them two threads share the
    /// work, here and further on, and find the same.
    fn complete(&mut self, closed: Closed, threads: Threads) -> Snapshot {
        let mut detectors: Vec<_> = self.detectors.iter_mut().filter(|detector| detector.judges(Span::Base)).collect();
        let mut others = Vec::new();
        if threads.two {
            (detectors, others) = detectors.into_iter().partition(|detector| HALF.contains(&detector.name()));
        }
        let show = |run: &Run<'_>, to: &mut [&mut Box<dyn Detector>]| to.iter_mut().for_each(|one| one.take(run));
        let see: [&mut See<'_>; 2] = [&mut |run| show(run, &mut detectors), &mut |run| show(run, &mut others)];
        closed.complete_with(&threads, see)
    }

    /// Has the detectors of base windows judge one.
    fn inspect(&mut self, base: &Snapshot, threads: Threads) -> Vec<Finding> {
        let Self { detectors, baselines, .. } = self;
        let view = View { snapshot: base, baselines };
        let mut left: Vec<_> = detectors.iter_mut().enumerate().collect();
        left.sort_by_key(|(_, detector)| LONG.iter().rev().position(|name| *name == detector.name()));
        // Each thread takes the next detector as soon as it has time.
        let left = Mutex::new(left);
        let work = || {
            let mut found = Vec::new();
            while let Some((at, detector)) = left.lock().ok().and_then(|mut left| left.pop()) {
                found.push((at, inspect(std::slice::from_mut(detector), &view)));
            }
            found
        };
        let (mut found, others) = threads.both(work, work);
        found.extend(others);
        found.sort_unstable_by_key(|(at, _)| *at);
        found.into_iter().flat_map(|(_, findings)| findings).collect()
    }

    /// Judges what is still open: the end of a capture, or of the daemon.
    pub fn finish(&mut self) -> Vec<Judged> {
        let mut open = Vec::new();
        let threads = Threads { two: false };
        self.medium.flush(&threads, &mut |closed| open.push(closed));
        let mut long = Vec::new();
        for closed in &open {
            self.long.add(closed, &threads, &mut |closed| long.push(closed));
        }
        self.long.flush(&threads, &mut |closed| long.push(closed));
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
        snapshot.flows = Flows::default();
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

/// Whether two threads share the work.
#[derive(Clone, Copy, Debug)]
struct Threads {
    two: bool,
}

impl Both for Threads {
    fn both<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        if !self.two {
            return (one(), other());
        }
        // Whoever comes first takes it: where no thread can be had, `spawn_scoped` drops what it was given.
        let other = Mutex::new(Some(other));
        let take = || other.lock().ok().and_then(|mut other| other.take()).map(|other| other());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, take);
            let one = one();
            let other = match thread {
                // A panic is what it would be on one thread.
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_no_thread) => take(),
            };
            (one, other.expect("taken once"))
        })
    }
}

/// What the detectors of a window's span say about it.
fn inspect(detectors: &mut [Box<dyn Detector>], view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for detector in detectors.iter_mut().filter(|detector| detector.judges(view.snapshot.span)) {
        detector.inspect(view, &mut findings);
    }
    findings
}
